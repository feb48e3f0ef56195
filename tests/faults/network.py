# SPDX-License-Identifier: Apache-2.0
"""
What the network can do to batches: a link that is down, replies that are lost
after the commit, a client that repeats, reorders and invents.
"""

import contextlib
import os
import random
import socket
import subprocess
import threading
import time

from fleet import Fleet, check, compare, equal, eventually, synth, wait_s


def ip(*words, check_it=True):
    return subprocess.run(["ip", *words], check=check_it, capture_output=True,
                          text=True)


@contextlib.contextmanager
def far_side():
    """
    A network namespace joined to ours by a link of two ends, named after us:
    (its name, our end, our address).
    """
    pid = os.getpid()
    name, link, net = f"redtap-{pid}", f"rt{pid}", f"10.219.{pid % 256}"
    ip("netns", "add", name)
    try:
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0",
           "netns", name)
        ip("addr", "add", f"{net}.1/30", "dev", link)
        ip("link", "set", link, "up")
        ip("-n", name, "addr", "add", f"{net}.2/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        yield name, link, f"{net}.1"
    finally:
        ip("link", "del", link, check_it=False)
        ip("netns", "del", name, check_it=False)


def cut(port, seconds=30):
    """Agents whose link to the aggregator is down for some time."""
    with far_side() as (namespace, link, address), Fleet(port) as fleet:
        url = f"tcp://{address}:{fleet.ingest}"
        fleet.start_aggregator("--ingest.allow-plaintext", listen=url)
        fleet.start_agents(url, prefix=["ip", "netns", "exec", namespace])
        wait_s(2, fleet.look)
        ip("link", "set", link, "down")
        time.sleep(0.5)
        before = fleet.look().sum("redtap_aggregator_events_total")
        wait_s(seconds, fleet.look)
        equal("counted while the link was down",
              fleet.look().sum("redtap_aggregator_events_total") - before, 0)
        up = fleet.look().select("redtap_agent_up")
        if seconds > 20:
            equal("agents that are up", sum(up.values()), 0)
        ip("link", "set", link, "up")
        # TCP tries again after up to as long as it was cut off.
        begin = time.monotonic()
        eventually("all agents are heard again", lambda: sum(
            fleet.look().select("redtap_agent_up").values()) == fleet.count
            and fleet.look().sum("redtap_aggregator_events_total") > before,
            120, 0.5)
        print(f"# heard again after {time.monotonic() - begin:.1f} s",
              flush=True)
        wait_s(2, fleet.look)
        return fleet.judge(fleet.stop_agents())[:2]


class Thief(threading.Thread):
    """
    Stands between agents and aggregator. With probability p it keeps what the
    aggregator answers and hangs up: the batch was committed, the agent can't
    know.
    """

    def __init__(self, port, to, p=0.15, seed=7):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.to, self.p, self.rnd = to, p, random.Random(seed)
        self.stolen, self.honest = 0, False

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                near = self.listener.accept()[0]
                try:
                    far = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    near.close()
                    continue
                for a, b, steals in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self.carry, args=(a, b, steals),
                                     daemon=True).start()

    def carry(self, a, b, steals):
        passed = 0
        with contextlib.suppress(OSError):
            while True:
                data = a.recv(1 << 16)
                if not data:
                    break
                # The first 8 bytes are the handshake of the two sockets.
                if steals and passed >= 8 and not self.honest and \
                        self.rnd.random() < self.p:
                    self.stolen += 1
                    break
                passed += len(data)
                b.sendall(data)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.listener.close()


def lost_replies(port, seconds=8):
    with Fleet(port) as fleet:
        fleet.start_aggregator()
        thief = Thief(port + 2, fleet.ingest)
        thief.start()
        fleet.start_agents(f"tcp://127.0.0.1:{port + 2}")
        wait_s(seconds, fleet.look)
        eventually("enough replies are lost", lambda: thief.stolen > 20, 120)
        thief.honest = True
        result = fleet.judge(fleet.stop_agents())[:2]
        again = fleet.look().sum("redtap_aggregator_batches_duplicate_total")
        thief.stop()
        check(again >= thief.stolen, f"{again} batches came again, but "
              f"{thief.stolen} replies were lost")
        print(f"# {thief.stolen} replies lost, {again:.0f} batches came "
              "again", flush=True)
        return result


def hostile(port, events=200003):
    """Batches repeated, reordered, with rubbish in between."""
    sent = counted = 0
    known = {}
    with Fleet(port) as fleet:
        fleet.start_aggregator()
        for fault in ("dup", "reorder", "rubbish"):
            # One agent: the next batch reports what came too late, and
            # here an odd one is the last of all.
            agents = 1 if fault == "reorder" else 8
            t = synth(fleet, f"--fault={fault}", f"--id={fault}",
                      f"--events={events}", "--rate=100000", "--batch=499",
                      f"--agents={agents}", "--services=3", "--routes=5")
            _, known = compare(fleet, t, known)
            sent += t["events"]
            what = {"dup": "duplicates", "reorder": "late",
                    "rubbish": "rubbish"}[fault]
            check(t[what] > 100, f"{fault}: only {t[what]}")
            if fault == "reorder":
                # What came too late is a counted loss, to the last request.
                equal("requests lost to the wrong order", sum(
                    fleet.metrics().select(
                        "redtap_agent_events_dropped_total",
                        stage="sequence_gap").values()), events - t["events"])
            print(f"# {fault}: {t[what]} {what}, {t['events']} events "
                  "counted once", flush=True)
        counted = sum(n for n, _ in known.values())
        equal("events in all", counted, sent)
    return sent, counted

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proof 4 of docs/GUARANTEES.md: for SECONDS (30) agents produce FACTOR (10) times
as many requests as the aggregator takes. The aggregator is made slow by giving
it a small share of the time (SIGSTOP, SIGCONT), which hits all of its work.
Its memory and that of the agents stays flat, every request is counted, and
what lost its detail is reported.

	overload.py [SECONDS [PORT]]
"""

import signal
import sys
import threading
import time

from fleet import Fleet, check, rss_bytes, synth
from harness import Report, note

FACTOR = 10
AGENTS = 8
EVENTS_A_BATCH = 106  # crash.c's mean
OUTBOX_CAP = 128 << 10  # full within 5 s


class Slow(threading.Thread):
    """Lets a process run for `on` s of every `on` + `off` s."""

    def __init__(self, pid, on=0.01, off=0.49):
        super().__init__(daemon=True)
        self.process, self.on, self.off = pid, on, off
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(self.off)
            self.process.send_signal(signal.SIGCONT)
            time.sleep(self.on)

    def stop(self):
        self.ended.set()
        self.join()


def capacity(fleet):
    """Requests a second of the slowed aggregator, small outboxes filled."""
    truth = synth(fleet, "--speed=max", f"--agents={AGENTS}", "--duration=5s",
                  f"--batch={EVENTS_A_BATCH}", "--services=1", "--routes=2",
                  "--id=measure")
    return truth["events_per_second"]


def overload(seconds, port):
    with Fleet(port, agents=AGENTS, flags=["--ingest.queue=8MiB"]) as fleet:
        fleet.start_aggregator()
        fleet.look()
        slow = Slow(fleet.aggregator.popen)
        slow.start()
        able = capacity(fleet)
        tick_us = int(1e6 * AGENTS * EVENTS_A_BATCH / (FACTOR * able))
        fleet.start_agents(cap=OUTBOX_CAP, tick_us=max(tick_us, 50))
        begin = time.monotonic()
        time.sleep(5)  # outboxes are full by now
        agents = [p.pid for p in fleet.agents.values()]
        at_first = rss_bytes(fleet.aggregator.pid), max(map(rss_bytes, agents))
        most = list(at_first)
        while time.monotonic() - begin < seconds:
            most[0] = max(most[0], rss_bytes(fleet.aggregator.pid))
            most[1] = max(most[1], max(map(rss_bytes, agents)))
            time.sleep(0.25)
        took = time.monotonic() - begin
        slow.stop()
        sent, counted, rolled_up = fleet.judge(fleet.stop_agents())
        mib = [x / (1 << 20) for x in (*at_first, *most)]
        note(f"the slowed aggregator takes {able:.0f}/s; offered "
             f"{sent / took:.0f}/s for {took:.0f} s")
        note(f"bench: overload_aggregator_rss {mib[2]:.1f} MiB "
             f"({mib[0]:.1f} after 5 s)")
        note(f"bench: overload_agent_rss {mib[3]:.1f} MiB "
             f"({mib[1]:.1f} after 5 s)")
        note(f"overload: sent={sent} counted={counted} rolled_up={rolled_up} "
             f"lost={sent - counted}")
        check(sent / took > 0.9 * FACTOR * able,
              f"only {sent / took / able:.1f} times more was offered")
        check(rolled_up > 0, "nothing was rolled up")
        check(mib[2] < mib[0] + 8, "the aggregator grew")
        check(mib[3] < mib[1] + 4, "an agent grew")


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 21920
    report = Report()
    with report.case(f"{FACTOR} times more than the aggregator takes, "
                     f"{seconds:.0f} s long: memory flat, all counted, "
                     "rollups reported"):
        overload(seconds, port)
    report.exit()


if __name__ == "__main__":
    main()

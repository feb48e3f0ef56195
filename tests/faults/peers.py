#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proofs about who else talks to the aggregator: two agents with one id, peers
that send rubbish or nothing, scrapers by the hundred and ones that read a byte
a second. Whatever they do, honest agents are counted to the last request.

	peers.py [SECONDS [PORT]]
"""

import contextlib
import http.client
import os
import socket
import struct
import sys
import threading
import time

from fleet import CRASH, Fleet, account_of, accounts_balance, check, compare, \
    equal, eventually, fds, rss_bytes, start_synth, truth_of, wait_s
from harness import Process, Report, note
import json

MIB = 1 << 20
HANDSHAKE = b"\0SP\0" + struct.pack(">HH", 0x30, 0)  # REQ
CONFLICT_S = 20  # an agent that was silent for 15 s is gone


def agent(w, name, done):
    p = Process([CRASH, "agent", name, f"tcp://127.0.0.1:{w.ingest}", "",
                 w.dir / done], w.dir / f"{done}.log")
    w.processes.append(p)
    return p


def end(w, p, done):
    p.popen.terminate()
    equal("the agent's exit status", p.popen.wait(90), 0)
    return truth_of(int((w.dir / done).read_text()))[0]


def one_id(port):
    """The newer one counts, the older keeps what it has until it is gone."""
    with Fleet(port) as w:
        w.start_aggregator()
        older = agent(w, "twin", "older")
        eventually("the older is heard", lambda: account_of(
            w.look(), "twin")[1], 20)
        time.sleep(0.5)
        newer = agent(w, "twin", "newer")
        eventually("the conflict shows", lambda: w.look().sum(
            "redtap_agent_conflicts_total", node="twin"), 20)
        check("two agents use the same id agent=twin" in w.aggregator.tail(),
              "the log does not name it")
        wait_s(2, w.look)
        sent = end(w, newer, "newer")
        conflicts = w.look().sum("redtap_agent_conflicts_total", node="twin")
        wait_s(CONFLICT_S, w.look, 1)
        sent += end(w, older, "older")
        m = w.look()
        equal("captured, counted, dropped", account_of(m, "twin"),
              [sent, sent, 0])
        equal("requests", m.sum("redtap_http_requests_total", job="twin"),
              sent)
        equal("counters that went down", w.went_down[:5], [])
        note(f"two agents, one id: sent={sent} counted={sent} "
             f"conflicts={conflicts:.0f}")


def gone(s):
    """The other side has hung up."""
    s.settimeout(10)
    with contextlib.suppress(ConnectionError):
        while s.recv(4096):
            pass
    return True


def message(body):
    """A request of the scalability protocols, with its id in front."""
    body = struct.pack(">I", 0x80000001) + body
    return struct.pack(">Q", len(body)) + body


def connect(w, *data):
    s = socket.create_connection(("127.0.0.1", w.ingest))
    for part in data:
        s.sendall(part)
    return s


def rubbish(w):
    """What a stranger may try; how often it was cut off."""
    refused = w.look().sum("redtap_aggregator_batches_refused_total")
    s = connect(w, os.urandom(4096))
    check(gone(s), "a stranger was not cut off")
    s = connect(w, HANDSHAKE, struct.pack(">Q", 1 << 62))
    check(gone(s), "2^62 bytes are announced, and awaited")
    for _ in range(5):
        with contextlib.suppress(ConnectionError):
            s = connect(w, HANDSHAKE)
            for _ in range(40):
                s.sendall(message(os.urandom(300)))
                time.sleep(0.01)
            check(gone(s), "rubbish is listened to for ever")
    eventually("rubbish is counted", lambda: w.look().sum(
        "redtap_aggregator_batches_refused_total") >= refused + 5 * 8, 5)
    eventually("so is who was cut off", lambda: w.look().sum(
        "redtap_aggregator_ingest_cut_off_total") >= 5, 5)


def strangers(seconds, port):
    with Fleet(port) as w:
        w.start_aggregator()
        made = start_synth(w, "--rate=20000", f"--duration={seconds}s",
                           "--agents=8", "--services=3", "--routes=5")
        time.sleep(1)
        before = fds(w.aggregator.pid)
        silent = [connect(w) for _ in range(100)]
        silent += [connect(w, HANDSHAKE) for _ in range(100)]
        rubbish(w)
        equal("synth's exit status", made.popen.wait(90), 0)
        truth = json.loads((w.dir / "truth").read_text())
        n, _ = compare(w, truth)
        equal("requests", n, truth["events"])
        for s in silent:
            s.close()
        eventually("their files are closed", lambda: fds(
            w.aggregator.pid) <= before + 5, 20)
        equal("counters that went down", w.went_down[:5], [])
        m = w.look()
        note(f"strangers: {n} requests counted, "
             f"{m.sum('redtap_aggregator_batches_refused_total'):.0f} "
             "messages refused, "
             f"{m.sum('redtap_aggregator_ingest_cut_off_total'):.0f} cut off")


class Scraper(threading.Thread):
    def __init__(self, port, ended):
        super().__init__(daemon=True)
        self.port, self.ended, self.answers = port, ended, 0

    def run(self):
        while not self.ended.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                c = http.client.HTTPConnection("127.0.0.1", self.port,
                                               timeout=30)
                c.request("GET", "/metrics")
                r = c.getresponse()
                if r.read() and r.status == 200:
                    self.answers += 1
                c.close()


class Slow(threading.Thread):
    """Reads one byte a second, with as little room as there is."""

    def __init__(self, port, ended):
        super().__init__(daemon=True)
        self.ended = ended
        self.s = socket.socket()
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.s.connect(("127.0.0.1", port))
        self.s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    def run(self):
        with contextlib.suppress(OSError):
            while not self.ended.wait(1):
                self.s.recv(1)
        self.s.close()


def ingest_with(w, seconds, n, slow):
    """
    Seconds that a made fleet of a fixed rate took, while n scrape without a
    pause and some read slowly; answers that they got; the greatest RSS.
    """
    ended = threading.Event()
    scrapers = [Scraper(w.web, ended) for _ in range(n)]
    slows = [Slow(w.web, ended) for _ in range(slow)]
    for t in scrapers + slows:
        t.start()
    begin, most = time.monotonic(), 0
    made = start_synth(w, "--rate=10000", f"--duration={seconds}s",
                       "--agents=8", "--services=1", "--routes=2",
                       f"--id=with-{n}-{slow}")
    while made.popen.poll() is None and time.monotonic() - begin < 90:
        most = max(most, rss_bytes(w.aggregator.pid))
        time.sleep(0.1)
    took = time.monotonic() - begin
    ended.set()
    equal("synth's exit status", made.popen.wait(5), 0)
    for t in scrapers:
        t.join(30)
    truth = json.loads((w.dir / "truth").read_text())
    return took, sum(t.answers for t in scrapers), most, truth


def scrapers(seconds, port):
    with Fleet(port) as w:
        w.start_aggregator()
        alone, _, rss, truth = ingest_with(w, seconds, 0, 0)
        known = compare(w, truth)[1]
        took, answers, most, truth = ingest_with(w, seconds, 100, 20)
        compare(w, truth, known)
        note(f"scrapers: {truth['events']} requests took {took:.1f} s with "
             f"100 scrapers ({answers} answers) and 20 slow readers, "
             f"{alone:.1f} s without; RSS {most / MIB:.1f} MiB, "
             f"{rss / MIB:.1f} without")
        check(answers > 100, f"only {answers} scrapes were answered")
        check(took < alone + 2, "ingest was held up")
        check(most < rss + 96 * MIB, "the aggregator grew")
        check(accounts_balance(w.look()) > 0, "no agents")


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 21950
    report = Report()
    with report.case("of two agents with one id the older is refused, named, "
                     "and counted once the newer is gone"):
        one_id(port)
    with report.case("peers that send rubbish or nothing are refused, counted "
                     "and cut off, and change nothing for agents"):
        strangers(seconds, port)
    with report.case("100 scrapers at once and 20 that read one byte a second "
                     "change nothing for ingest"):
        scrapers(seconds, port)
    report.exit()


if __name__ == "__main__":
    main()

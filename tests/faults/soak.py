#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proof 6 of docs/GUARANTEES.md: under a made fleet and real traffic, memory,
files and threads of both programs stay flat.

	soak.py [MINUTES [PORT]]
"""

import http.client
import http.server
import json
import os
import sys
import threading
import time

from fleet import AGENT, Fleet, check, compare, equal, fds, rss_bytes, \
    start_synth, status_of
from harness import Process, Report, eventually, note

MIB = 1 << 20
RATE = 5000


class Traffic(threading.Thread):
    """A server and a client that hangs up every 100 requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args):
            pass

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.ended, self.asked = port, threading.Event(), 0
        self.server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", port), self.Handler)
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def run(self):
        while not self.ended.is_set():
            c = http.client.HTTPConnection("127.0.0.1", self.port)
            for _ in range(100):
                c.request("GET", f"/items/{self.asked}")
                c.getresponse().read()
                self.asked += 1
                time.sleep(0.002)
            c.close()

    def stop(self):
        self.ended.set()
        self.join()
        self.server.shutdown()


def mean(values):
    return sum(values) / len(values)


def judge(name, rows):
    """rows: (rss, fds, threads), one a second, warm-up left out."""
    part = max(1, len(rows) // 4)
    first, last = rows[:part], rows[-part:]
    grown = mean([r[0] for r in last]) - mean([r[0] for r in first])
    rss = mean([r[0] for r in last]) / MIB
    note(f"bench: soak_{name}_rss {rss:.1f} MiB grown={grown / MIB:.2f}")
    for i, what in ((1, "fds"), (2, "threads")):
        a, b = max(r[i] for r in first), max(r[i] for r in last)
        note(f"bench: soak_{name}_{what} {b} at_first={a}")
        check(b <= a + 2, f"{name}: {what} grew from {a} to {b}")
    check(grown < max(3 * MIB, 0.05 * rss * MIB),
          f"{name}: grew by {grown / MIB:.2f} MiB")


def soak(seconds, port):
    warm = max(20, seconds / 5)
    with Fleet(port, flags=["--retention.raw-bytes=8MiB"]) as w:
        w.start_aggregator()
        agent = Process(
            [AGENT, "run", "--node=soak", f"--include.port={port + 9}",
             f"--to=tcp://127.0.0.1:{w.ingest}"], w.dir / "agent.log")
        w.processes.append(agent)
        eventually("the agent is heard", lambda: w.metrics().sum(
            "redtap_agent_up", node="soak"), 20)
        made = start_synth(w, f"--rate={RATE}", f"--duration={seconds:.0f}s",
                           "--services=5", "--routes=10")
        traffic = Traffic(port + 9)
        traffic.start()
        rows = {"aggregator": [], "agent": []}
        begin = time.monotonic()
        while time.monotonic() - begin < seconds - 2:
            time.sleep(1)
            w.look()
            if time.monotonic() - begin < warm:
                continue
            for name, p in (("aggregator", w.aggregator), ("agent", agent)):
                rows[name].append((rss_bytes(p.pid), fds(p.pid), int(
                    status_of(p.pid)["Threads"])))
        traffic.stop()
        equal("synth's exit status", made.popen.wait(90), 0)
        truth = json.loads((w.dir / "truth").read_text())
        n, _ = compare(w, truth)

        def all_here():
            m = w.metrics()
            return [m.sum(f"redtap_agent_events_{k}_total", node="soak")
                    for k in ("captured", "counted", "dropped")] == \
                [2 * traffic.asked, 2 * traffic.asked, 0]
        eventually(f"{traffic.asked} requests, seen from both sides, are "
                   "counted", all_here, 10)
        note(f"soak: {seconds:.0f} s, made={n} real={traffic.asked}, "
             "each counted once")
        equal("counters that went down", w.went_down[:5], [])
        for name, values in rows.items():
            judge(name, values)


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 21950
    report = Report()
    sentence = f"memory, files and threads stay flat for {minutes:g} minutes"
    with report.case(sentence):
        if os.geteuid() != 0:
            report.skip(sentence, "not root")
            report.exit()
        soak(60 * minutes, port)
    report.exit()


if __name__ == "__main__":
    main()

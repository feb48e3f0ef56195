#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proof 6 of docs/GUARANTEES.md: under a made fleet and real traffic, memory,
files and threads of both programs stay flat. One line tells it all, first and
last quarter of each: soak: minutes=… sent=… counted=… …=FIRST/LAST verdict=flat

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
    """
    (words, what grew) of rows (rss, fds, threads), one a second, warm-up left
    out: means of memory and maxima of the rest, in their first and last
    quarter.
    """
    part = max(1, len(rows) // 4)
    first, last = rows[:part], rows[-part:]
    a, b = (mean([r[0] for r in part]) / MIB for part in (first, last))
    words, grew = [f"{name}_rss_mib={a:.1f}/{b:.1f}"], []
    if b - a >= max(3, 0.05 * b):
        grew.append(f"{name}_rss")
    for i, what in ((1, "fds"), (2, "threads")):
        a, b = max(r[i] for r in first), max(r[i] for r in last)
        words.append(f"{name}_{what}={a}/{b}")
        if b > a + 2:
            grew.append(f"{name}_{what}")
    return words, grew


def soak(seconds, port):
    warm = max(20, seconds / 5)
    with Fleet(port, flags=["--retention.raw-bytes=1MiB"]) as w:
        w.start_aggregator()
        agent = Process(
            [AGENT, "run", "--node=soak", f"--include.port={port + 9}",
             # Its files are as many as programs that use TLS on this host.
             "--capture.tls=off",
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
        equal("counters that went down", w.went_down[:5], [])
        words, grew = [], []
        for name, values in rows.items():
            more, these = judge(name, values)
            words, grew = words + more, grew + these
        sent = n + 2 * traffic.asked
        print(f"soak: minutes={seconds / 60:g} sent={sent} counted={sent} "
              + " ".join(words) + " verdict="
              + (f"grew:{','.join(grew)}" if grew else "flat"), flush=True)
        equal("what grew", grew, [])


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

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proof 5 of docs/GUARANTEES.md: the wall clock of an agent's node jumps an hour
ahead and an hour back in mid-run. Durations stay right, each request is counted
once and in a window that makes sense, the skew is shown.
"""

import http.client
import http.server
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import AGENT, Fleet  # noqa: E402
from harness import Process, Report, Skip, check, equal, eventually, \
    http_get, note  # noqa: E402

PORT = 21980
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
SLEEP_S = 0.05
NAME = "http_server_request_duration_seconds"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        time.sleep(SLEEP_S)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Clock:
    """The wall clock as the agent sees it."""

    def __init__(self, path):
        self.path = path
        self.path.write_text("+0\n")

    def jump(self, seconds):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.path)

    def environment(self):
        return dict(os.environ, LD_PRELOAD=LIBRARY, FAKETIME_NO_CACHE="1",
                    FAKETIME_TIMESTAMP_FILE=str(self.path),
                    FAKETIME_DONT_FAKE_MONOTONIC="1")


def ask(n):
    """Seconds that n requests took as the client saw it."""
    c = http.client.HTTPConnection("127.0.0.1", PORT + 9)
    begin = time.monotonic()
    for _ in range(n):
        c.request("GET", "/clock")
        c.getresponse().read()
    took = time.monotonic() - begin
    c.close()
    return took


def shown(w):
    m = w.look()
    return (int(m.sum(NAME + "_count", http_route="/clock")),
            m.sum(NAME + "_sum", http_route="/clock"),
            m.sum("redtap_agent_clock_skew_seconds", node="clock"))


def in_windows(w, begin, end):
    """Requests of both sides whose windows start in [begin, end)."""
    status, _, body = http_get(w.web, f"/api/v1/windows?from={int(begin)}"
                               f"&to={int(end)}&by=role")
    equal("status", status, 200)
    return sum(g["count"] for window in json.loads(body)["windows"]
               for g in window["groups"] if g["role"] == "server")


def phase(w, clock, jump, n):
    """n requests after a jump; the seconds that they took."""
    clock.jump(jump)
    time.sleep(0.5)
    before = shown(w)
    took = ask(n)
    eventually("they are counted", lambda: shown(w)[0] == before[0] + n, 10)
    grown = shown(w)[1] - before[1]
    note(f"clock {jump:+d} s: {n} requests, {grown:.3f} s shown, "
         f"{took:.3f} s seen by the client")
    check(n * SLEEP_S <= grown <= took, "the durations are wrong")
    eventually(f"the skew is {jump} s", lambda: abs(
        shown(w)[2] - jump) < 2, 10)
    return n


def jumps(w):
    clock = Clock(w.dir / "clock")
    agent = Process([AGENT, "run", "--node=clock",
                     f"--include.port={PORT + 9}",
                     f"--to=tcp://127.0.0.1:{w.ingest}"],
                    w.dir / "agent.log", env=clock.environment())
    w.processes.append(agent)
    eventually("the agent is heard", lambda: w.metrics().sum(
        "redtap_agent_up", node="clock"), 20)
    now = time.time()
    n = phase(w, clock, 0, 7)
    n += phase(w, clock, 3600, 11)
    n += phase(w, clock, -3600, 13)
    n += phase(w, clock, 0, 17)
    equal("counted", shown(w)[0], n)
    m = w.metrics()
    equal("captured, counted, dropped", [int(m.sum(
        f"redtap_agent_events_{k}_total", node="clock"))
        for k in ("captured", "counted", "dropped")], [2 * n, 2 * n, 0])
    time.sleep(1.5)  # windows are written once a second
    # A clock that is behind files requests where it says, which is a time
    # that has been; one that is ahead cannot: they count as of their arrival.
    equal("windows in all", in_windows(w, now - 7200, now + 7200), n)
    equal("windows of the future", in_windows(w, now + 60, now + 7200), 0)
    equal("windows of now", in_windows(w, now - 20, time.time() + 20),
          7 + 11 + 17)
    equal("windows of an hour ago", in_windows(w, now - 3620, now - 3500), 13)
    equal("counters that went down", w.went_down[:5], [])
    equal("the agent's exit status", agent.stop(), 0)


def main():
    report = Report()
    with report.case("an agent's clock jumps an hour ahead and back: "
                     "durations are right, windows sensible, the skew shown"):
        if os.geteuid() != 0:
            raise Skip("not root")
        if not os.path.exists(LIBRARY):
            raise Skip("no libfaketime")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT + 9),
                                                 Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Fleet(PORT) as w:
            w.start_aggregator()
            jumps(w)
    report.exit()


if __name__ == "__main__":
    main()

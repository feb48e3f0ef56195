#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proof 5 of docs/GUARANTEES.md: the wall clock of an agent's node jumps an hour
ahead and an hour back in mid-run, or is off by an hour from the start. Durations
stay right, each request is counted once and in a window of now, the skew is
shown. The log replayed gives the same; what is old stays old.
"""

import http.client
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import AGENT, AGGREGATOR, Fleet  # noqa: E402
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


def shown(w, node="clock"):
    m = w.look()
    return (int(m.sum(NAME + "_count", http_route="/clock")),
            m.sum(NAME + "_sum", http_route="/clock"),
            m.sum("redtap_agent_clock_skew_seconds", node=node))


def in_windows(w, begin, end):
    """Requests of both sides whose windows start in [begin, end)."""
    status, _, body = http_get(w.web, f"/api/v1/windows?from={int(begin)}"
                               f"&to={int(end)}&by=role")
    equal("status", status, 200)
    return sum(g["count"] for window in json.loads(body)["windows"]
               for g in window["groups"] if g["role"] == "server")


def all_windows(w, begin, end):
    """Byte for byte."""
    return http_get(w.web, f"/api/v1/windows?from={int(begin)}&to={int(end)}"
                    "&by=service,route,method,status,role")[2]


def phase(w, clock, jump, n, node="clock"):
    """n requests after a jump, which comes in the middle of them."""
    before = shown(w, node)
    took = ask(n // 2)
    clock.jump(jump)
    took += ask(n - n // 2)
    eventually("they are counted", lambda: shown(w)[0] == before[0] + n, 10)
    grown = shown(w, node)[1] - before[1]
    note(f"clock {jump:+d} s: {n} requests, {grown:.3f} s shown, "
         f"{took:.3f} s seen by the client")
    check(n * SLEEP_S <= grown <= took, "the durations are wrong")
    eventually(f"the skew is {jump} s", lambda: abs(
        shown(w, node)[2] - jump) < 2, 10)
    return n


def start_agent(w, clock, node):
    agent = Process([AGENT, "run", f"--node={node}",
                     f"--include.port={PORT + 9}",
                     f"--to=tcp://127.0.0.1:{w.ingest}"],
                    w.dir / f"{node}.log", env=clock.environment())
    w.processes.append(agent)
    eventually(f"{node} is heard", lambda: w.metrics().sum(
        "redtap_agent_up", node=node), 20)
    return agent


def adds_up(w, node, n):
    m = w.metrics()
    equal(f"{node}: captured, counted, dropped", [int(m.sum(
        f"redtap_agent_events_{k}_total", node=node))
        for k in ("captured", "counted", "dropped")], [2 * n, 2 * n, 0])


def jumps(w, begin):
    clock = Clock(w.dir / "clock")
    agent = start_agent(w, clock, "clock")
    n = phase(w, clock, 0, 7)
    n += phase(w, clock, 3600, 11)
    n += phase(w, clock, -3600, 13)
    n += phase(w, clock, 0, 17)
    equal("counted", shown(w)[0], n)
    adds_up(w, "clock", n)
    equal("the agent's exit status", agent.stop(), 0)
    time.sleep(1.5)  # windows are written once a second
    equal("windows in all", in_windows(w, begin - 9000, begin + 9000), n)
    equal("windows of now", in_windows(w, begin - 20, time.time() + 20), n)
    equal("batches that were moved", w.metrics().sum(
        "redtap_aggregator_batches_corrected_total"), 0)
    return n


def wrong_from_the_start(w, begin, n, off, node, more):
    """Its times are moved, by what its clock is off."""
    clock = Clock(w.dir / node)
    clock.jump(off)
    agent = start_agent(w, clock, node)
    phase(w, clock, off, more, node)
    phase(w, clock, 0, more, node)  # somebody puts it right
    adds_up(w, node, 2 * more)
    equal("the agent's exit status", agent.stop(), 0)
    time.sleep(1.5)
    n += 2 * more
    equal("windows in all", in_windows(w, begin - 9000, begin + 9000), n)
    equal("windows of now", in_windows(w, begin - 20, time.time() + 20), n)
    check(w.metrics().sum("redtap_aggregator_batches_corrected_total") > 0,
          "no batch was moved")
    return n


def old(w, begin, n):
    """What other programs logged two hours ago happened two hours ago."""
    lines = w.dir / "old.json"
    with open(lines, "w", encoding="ascii") as f:
        for i in range(19):
            f.write(json.dumps({
                "time": begin - 7200 + i, "method": "GET", "target": "/old",
                "status": 200, "duration": 0.01}) + "\n")
    out = subprocess.run([AGENT, "replay",
                          f"--to=tcp://127.0.0.1:{w.ingest}",
                          "--format=json", "--service=old", lines],
                         capture_output=True, text=True, check=False)
    equal(f"replay's exit status ({out.stderr})", out.returncode, 0)
    eventually("they are in windows of then", lambda: in_windows(
        w, begin - 7220, begin - 7160) == 19, 5)
    equal("windows of now", in_windows(w, begin - 20, time.time() + 20), n)


def again(w, begin):
    """The log into an empty aggregator, and after a restart from the log."""
    end = begin + 9000
    want = all_windows(w, begin - 9000, end)
    trace = w.dir / "all.trace"
    out = subprocess.run([AGGREGATOR, "export", f"--store.dir={w.store}",
                          f"--output={trace}"], capture_output=True, text=True,
                         check=False)
    equal(f"export's exit status ({out.stderr})", out.returncode, 0)
    equal("counters that went down", w.went_down[:5], [])
    with Fleet(PORT + 4) as v:
        v.start_aggregator()
        out = subprocess.run([AGENT, "replay", f"--to=tcp://127.0.0.1:"
                              f"{v.ingest}", trace], capture_output=True,
                             text=True, check=False)
        equal(f"replay's exit status ({out.stderr})", out.returncode, 0)
        eventually("windows are the same", lambda: all_windows(
            v, begin - 9000, end) == want, 5)
        equal("batches that were moved", v.metrics().sum(
            "redtap_aggregator_batches_corrected_total"), 0)


def all_of_it(w):
    begin = time.time()
    n = jumps(w, begin)
    n = wrong_from_the_start(w, begin, n, -3600, "behind", 5)
    n = wrong_from_the_start(w, begin, n, 3600, "ahead", 3)
    old(w, begin, n)
    again(w, begin)


def main():
    report = Report()
    with report.case("an agent's clock jumps an hour ahead and back, or is "
                     "off by an hour: durations are right, windows of now "
                     "hold its requests, the skew is shown, a replay gives "
                     "the same"):
        if os.geteuid() != 0:
            raise Skip("not root")
        if not os.path.exists(LIBRARY):
            raise Skip("no libfaketime")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT + 9),
                                                 Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Fleet(PORT) as w:
            w.start_aggregator()
            all_of_it(w)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What the page costs with 1,000 services of 10 routes each, with requests to all
of them every 10 s: the time of each answer, the first paint, and how much slower
ingest is while five browsers watch. Prints `bench: NAME VALUE UNIT goal=G ok|short`.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "integration"))

import page  # noqa: E402
from figures import bench  # noqa: E402
from harness import AGENT, Redtap, http_get  # noqa: E402

PORT = 21728
ROUNDS = 5
BROWSERS = 5
INGEST_S = 12
SERVICE = "wide/service-0007"

QUESTIONS = {
    "services": "services?range=900",
    "services_by_p99": "services?range=900&order=p99&limit=200",
    "services_of_an_hour": "services?range=3600",
    "service": "service?range=900&service=" + urllib.parse.quote(SERVICE),
    "route": "service?range=900&cells=1&method=GET&route=%2Fr3%2F%7Bid%7D"
             "&service=" + urllib.parse.quote(SERVICE),
    "graph": "graph?range=900",
    "requests": "requests?range=900&errors=1",
    "agents": "agents",
    "cardinality": "cardinality?view=http_server_request_duration_seconds",
    "gaps": "gaps",
    "status": "status",
}


def ask(rt, path):
    begun = time.monotonic()
    status, _, body = http_get(rt.web, "/api/v1/" + path)
    assert status == 200, (path, status, body[:200])
    return (time.monotonic() - begun) * 1000


def answers(rt):
    for name, path in QUESTIONS.items():
        bench(f"page_{name}", statistics.median(
            ask(rt, path) for _ in range(ROUNDS)), "ms", 100, least=False)


def paints(rt):
    browser = page.Browser(f"http://127.0.0.1:{PORT}/")
    times = {"overview": [], "service": []}
    for _ in range(ROUNDS):
        browser.open()
        browser.goto("table.rows")
        times["overview"].append(browser.do("paint"))
        browser.open()
        browser.goto("table.rows", v="service", service=SERVICE)
        times["service"].append(browser.do("paint"))
    browser.close()
    for name, values in times.items():
        bench(f"page_paint_{name}", statistics.median(values), "ms", 300,
              least=False)


def ingest(rt):
    """Events a second that are acknowledged, as fast as they can be sent."""
    done = subprocess.run(
        [str(AGENT), "synth", f"--to=tcp://127.0.0.1:{rt.ingest}",
         "--agents=4", "--events=1000000000", f"--duration={INGEST_S}s",
         "--speed=max", "--id=load"], capture_output=True, text=True,
        timeout=300, check=True)
    return json.loads(done.stdout)["events"] / INGEST_S


def look_on(rt, stop):
    """A browser that refreshes each 10 s, as the page does."""
    while not stop.is_set():
        for path in ("services", "service", "graph", "agents"):
            ask(rt, QUESTIONS[path])
        stop.wait(10)


def ratio(rt):
    ingest(rt)  # warm
    alone, watched = [], []
    for _ in range(3):
        alone.append(ingest(rt))
        stop = threading.Event()
        crowd = [threading.Thread(target=look_on, args=(rt, stop))
                 for _ in range(BROWSERS)]
        for t in crowd:
            t.start()
        watched.append(ingest(rt))
        stop.set()
        for t in crowd:
            t.join()
    # Others use the machine, too: the best of each is what it can do.
    bench("page_ingest_alone", max(alone), "events/s")
    bench("page_ingest_watched", max(watched), "events/s")
    bench("page_ingest_ratio", max(watched) / max(alone), "x", 0.97)


def main():
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        page.fleet(rt, "wide", 30, 1000, 10)
        time.sleep(3)
        answers(rt)
        paints(rt)
        ratio(rt)


if __name__ == "__main__":
    main()

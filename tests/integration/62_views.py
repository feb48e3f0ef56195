#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
A real aggregator with views of a configuration: a start and `rebuild` make the
same of the log, and a reload says and does what it can.
"""

import os
import signal
import subprocess

from harness import AGGREGATOR, BUILD, Redtap, Report, check, equal, \
    eventually, http_get

PUSH = BUILD / "tests" / "integration" / "push"
VIEWS = """
views:
  - name: http_server_request_duration_seconds
    buckets: [0.002, 0.5]
  - name: pushed_requests
    labels: [service]
    node: true
    filter: {status: ['2*']}
"""
SENT = 997


def push(rt):
    lines = "".join(f"{100 + 7 * i} {200 if i % 3 else 500} 0\n"
                    for i in range(SENT))
    subprocess.run([PUSH, f"tcp://127.0.0.1:{rt.ingest}", "pusher"],
                   input=lines, text=True, timeout=60, check=True)


def view_lines(rt):
    """What the views show; the aggregator's own metrics differ by the run."""
    body = http_get(rt.web, "/metrics", {"Accept": "text/plain"})[2].decode()
    return [line for line in body.splitlines()
            if line.startswith(("http_", "pushed_", "redtap_http_"))]


def reload_status(rt):
    body = http_get(rt.web, "/metrics", {"Accept": "text/plain"})[2].decode()
    return [line[-1] for line in body.splitlines() if line.startswith(
        "redtap_config_last_reload_successful ")][0]


def rebuilt(rt, path):
    before = view_lines(rt)
    rt.aggregator.stop()
    path.write_text(VIEWS, encoding="ascii")
    rt.start_aggregator()
    at_start = view_lines(rt)
    check(at_start != before, "the views have not changed")
    want = sum(1 for i in range(SENT) if i % 3)
    check(f'pushed_requests_total{{service="pushed",node="pusher"}} {want}'
          in at_start, "the filter does not count what it says")
    rt.aggregator.stop()
    subprocess.run([AGGREGATOR, "rebuild", "--all", f"--store.dir={rt.store}",
                    f"--config.file={path}"],
                   capture_output=True, timeout=60, check=True)
    rt.start_aggregator()
    equal("views after rebuild --all", view_lines(rt), at_start)


def reloads(rt, path):
    equal("status of reload at start", reload_status(rt), "1")
    path.write_text(VIEWS + "nonsense: 1\n", encoding="ascii")
    os.kill(rt.aggregator.pid, signal.SIGHUP)
    eventually("a wrong file is refused", lambda: reload_status(rt) == "0")
    check("views.yml:9:1: unknown key 'nonsense'" in rt.aggregator.tail(),
          "the place is not in the log:\n" + rt.aggregator.tail())
    path.write_text(VIEWS.replace("[service]", "[job]")
                    + "log: {level: debug}\n", encoding="ascii")
    os.kill(rt.aggregator.pid, signal.SIGHUP)
    eventually("a good one is taken", lambda: reload_status(rt) == "1")
    check(r'restart needed keys=\"views\"' in rt.aggregator.tail(),
          "what needs a restart is not told:\n" + rt.aggregator.tail())


def main():
    report = Report()
    with Redtap(21890) as rt:
        path = rt.dir / "views.yml"
        path.write_text("views: []\n", encoding="ascii")
        rt.aggregator_flags = [f"--config.file={path}"]
        rt.start_aggregator()
        push(rt)
        with report.case("a changed view is folded again, and a rebuild "
                         "makes the same of it"):
            rebuilt(rt, path)
        with report.case("a reload refuses what is wrong and tells what "
                         "needs a restart"):
            reloads(rt, path)
    report.exit()


if __name__ == "__main__":
    main()

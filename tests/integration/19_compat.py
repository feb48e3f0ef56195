#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
A program in 32-bit mode talks to a usual one. The usual one's side is exact
with every front-end. So is the 32-bit side, where a front-end hooks TCP itself;
tracepoints of system calls are not there for it, so `syscall` and `socket` see
none of it, and make nothing up either.
"""

import os
import subprocess

from harness import BUILD, PATIENCE, Redtap, Report, Request, Skip, agree, \
    equal

PORT, REQUESTS, WAYS = 21506, 7, 3


def compat(rt):
    sees = rt.capture() not in ("syscall", "socket")
    before = rt.metrics()
    driver = subprocess.Popen(
        [BUILD / "tests" / "integration" / "compat", str(PORT), str(REQUESTS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, OTEL_SERVICE_NAME="compat"))
    rows, done = [], 0
    for line in driver.stdout:
        if line.startswith("no "):
            raise Skip(line.strip())
        if line == "end\n":
            break
        role, route, status, count = line.split()
        done += int(count)
        if role == "server" or sees:
            rows += [Request(role, "GET", route, int(status))] * int(count)
    try:
        equal("requests of the driver", done, 2 * WAYS * REQUESTS)
        delta = rt.quiet().minus(before)
    finally:
        driver.stdin.close()
        equal("exit status of the driver", driver.wait(10 * PATIENCE), 0)
    agree(delta, "compat", rows)
    equal("counted", rt.audit(delta)[1], len(rows))


def main():
    report = Report()
    with Redtap(web=21408) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        with report.case("32-bit calls: the other side is exact, theirs is "
                         "exact or not there"):
            compat(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

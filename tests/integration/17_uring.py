#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Messages that move by io_uring and no other system call: inside TCP they look
like any other, so fentry and kprobe count them exactly.
"""

import os
import subprocess

from harness import BUILD, PATIENCE, Redtap, Report, Request, Skip, agree, \
    equal

PORT, REQUESTS, KINDS = 21504, 5, 6


def uring(rt):
    if rt.capture() in ("syscall", "socket"):
        raise Skip(f"capture={rt.capture()} sees no requests through io_uring;"
                   " fentry and kprobe do")
    before = rt.metrics()
    driver = subprocess.Popen(
        [BUILD / "tests" / "integration" / "uring", str(PORT), str(REQUESTS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, OTEL_SERVICE_NAME="uring"))
    rows = []
    for line in driver.stdout:
        if line.startswith("no "):
            raise Skip(line[3:].strip())
        if line == "end\n":
            break
        role, route, status, count = line.split()
        rows += [Request(role, "POST", route, int(status))] * int(count)
    try:
        equal("requests of the driver", len(rows), 2 * KINDS * REQUESTS)
        m = rt.quiet()
    finally:
        driver.stdin.close()
        equal("exit status of the driver", driver.wait(10 * PATIENCE), 0)
    agree(m.minus(before), "uring", rows)


def main():
    report = Report()
    with Redtap(web=21406) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        with report.case("io_uring: send, recv, sendmsg, recvmsg by the "
                         "caller, a worker and the polling thread: exact"):
            uring(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

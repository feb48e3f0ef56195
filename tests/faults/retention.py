#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The longest stall of ingest while retention deletes and vacuums: the answers'
times as an agent sees them, without anything to delete and with a log that is
over its limit all the time.

	retention.py [SECONDS [PORT]]
"""

import http.client
import sys
import time

from fleet import Fleet, check, start_synth
from harness import Report, note

GOAL_MS = 100  # on a quiet machine


def longest_ms(fleet, seconds):
    """Scrape of the commit counter every 2 ms: its longest stand-still."""

    end = time.monotonic() + seconds
    last, since, worst = None, time.monotonic(), 0.0
    c = http.client.HTTPConnection("127.0.0.1", fleet.web)
    while time.monotonic() < end:
        c.request("GET", "/metrics")
        text = c.getresponse().read().decode()
        value = [line for line in text.splitlines()
                 if line.startswith("redtap_aggregator_batches_total ")][0]
        now = time.monotonic()
        if value != last:
            if last is not None:
                worst = max(worst, now - since)
            last, since = value, now
        time.sleep(0.002)
    return 1000 * worst


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 21960
    report = Report()
    figures = {}
    with report.case("ingest never stands still for long while retention "
                     "deletes"):
        for name, flags in (("idle", []),
                            ("busy", ["--retention.raw-bytes=4MiB"])):
            with Fleet(port, flags=flags) as w:
                w.start_aggregator()
                made = start_synth(w, "--agents=8", "--batch=1000",
                                   "--rate=200000",
                                   f"--duration={seconds + 4:.0f}s",
                                   "--services=2", "--routes=5")
                time.sleep(3)
                figures[name] = longest_ms(w, seconds)
                check(made.popen.wait(60) == 0, made.tail())
                deleted = w.metrics().sum(
                    "redtap_aggregator_retention_deleted_batches_total")
                check((deleted > 100) == (name == "busy"),
                      f"{name}: {deleted} batches were deleted")
        note(f"bench: retention_longest_stall {figures['busy']:.0f} ms "
             f"goal={GOAL_MS} without_retention={figures['idle']:.0f} "
             f"deleted_batches={deleted:.0f}")
        check(figures["busy"] < GOAL_MS, "it stood still for too long")
    report.exit()


if __name__ == "__main__":
    main()

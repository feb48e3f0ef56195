#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Few file descriptors: strangers at the ingest port take none from scrapes and
the store. Truth: the limit that was set, and connections made here.
"""

import os
import pathlib
import resource
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import Fleet, fds  # noqa: E402
from harness import AGGREGATOR, Process, Report, check, equal, \
    eventually  # noqa: E402

PORT = 21994
FDS, STRANGERS = 256, 400
SHARE = FDS * 70 // 100


def start(w):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (FDS, FDS))
    w.aggregator = Process(
        [AGGREGATOR, "serve", f"--web.listen-address=127.0.0.1:{w.web}",
         f"--ingest.listen=tcp://127.0.0.1:{w.ingest}",
         f"--store.dir={w.store}"], w.dir / "aggregator.log", preexec_fn=few)
    w.processes.append(w.aggregator)
    w.wait_ready()


def strangers(w):
    before = fds(w.aggregator.pid)
    taken = [socket.create_connection(("127.0.0.1", w.ingest), 5)
             for _ in range(STRANGERS)]
    try:
        eventually("they have their share", lambda: fds(
            w.aggregator.pid) >= SHARE)
        w.metrics()
        # A scrape has a connection of its own.
        check(fds(w.aggregator.pid) <= before + SHARE + 2,
              f"{fds(w.aggregator.pid)} descriptors, {before} before")
    finally:
        for s in taken:
            s.close()
    eventually("all are given back",
               lambda: fds(w.aggregator.pid) <= before + 2)


def main():
    report = Report()
    with Fleet(PORT) as w:
        start(w)
        with report.case(f"{STRANGERS} strangers at the ingest port leave a "
                         f"process of {FDS} descriptors some for scrapes"):
            strangers(w)
        with report.case("it ends with status 0"):
            equal("exit status", w.aggregator.stop(), 0)
            check(os.path.exists(w.store / "redtap.db"), "the store is there")
    report.exit()


if __name__ == "__main__":
    main()

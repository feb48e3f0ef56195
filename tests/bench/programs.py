#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What reading the maps of user programs costs: the time of a read of 100,000 keys,
at rest and while all of them are added to, and the worker's memory. As root.

	programs.py
"""

import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "integration"))
from harness import equal, eventually  # noqa: E402
from programs import Driver, Programs, needs_clang  # noqa: E402
from figures import bench  # noqa: E402

PORT = 21780
KEYS = 100000
READS = 15


def reads(rt, n):
    """Milliseconds of n reads, each one once."""
    took, last = [], None
    while len(took) < n:
        now = rt.list()["keys"]
        if now["read_us"] != last:
            last = now["read_us"]
            took.append(now["took_us"] / 1000)
        time.sleep(0.05)
    return took


def rss_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    needs_clang()
    with Programs(PORT, "keys") as rt:
        rt.aggregator_flags.append(
            f"--config.file={rt.dir / 'aggregator.yaml'}")
        (rt.dir / "aggregator.yaml").write_text(
            f"samples: {{max_series: {2 * KEYS}}}\n")
        rt.start()
        rt.running("keys")
        driver = Driver()
        added = int(driver.ask(f"add 0 {KEYS} 1 1")[0])
        equal("added", added, KEYS)
        eventually("all is read", lambda: rt.identity()[0] == KEYS, 60)
        reads(rt, 2)
        bench("read_100k_idle_ms", statistics.median(reads(rt, READS)), "ms",
              100)
        driver.popen.stdin.write(f"add 0 {KEYS} 100000 1\n")
        driver.popen.stdin.flush()
        bench("read_100k_all_grow_ms", statistics.median(reads(rt, READS)),
              "ms", 200)
        bench("worker_mib", rss_mib(rt.worker()), "MiB", 200)
        driver.popen.kill()
        driver.popen.wait()


if __name__ == "__main__":
    main()

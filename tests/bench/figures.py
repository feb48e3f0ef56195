# SPDX-License-Identifier: Apache-2.0
"""What a bench prints, and what it reads of a process."""

import os
import pathlib
import resource
import time

TICK = os.sysconf("SC_CLK_TCK")


def bench(name, value, unit, goal=None, least=True):
    """One figure; goal is the least (or the most) that is good enough."""
    verdict = ""
    if goal is not None:
        good = value >= goal if least else value <= goal
        sign = ">=" if least else "<="
        verdict = f" goal={sign}{goal} {'ok' if good else 'short'}"
    print(f"bench: {name} {value:.6g} {unit}{verdict}", flush=True)


def cpu_s(pid):
    """User and system time of all threads of a process, to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3)


def children_cpu_s():
    """… and of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rss_mib(pid, field="VmRSS"):
    """VmRSS: resident now; VmHWM: the most it ever was."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().split("\n"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0

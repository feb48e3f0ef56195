# SPDX-License-Identifier: Apache-2.0
"""What a bench prints, and what it reads of a process."""

import os
import pathlib

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
    """User and system time of a process, its waited-for children included."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1]
    return sum(int(x) for x in fields.split()[11:15]) / TICK


def rss_mib(pid, field="VmRSS"):
    """VmRSS: resident now; VmHWM: the most it ever was."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().split("\n"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Instructions per event, counted by callgrind, against what was written down in
instructions.txt: a way to catch what gets slower that no busy machine disturbs.
    instructions.py --build=DIR [--write]
libc must not use the newer instruction sets, so that the same program
takes the same instructions on every machine of one architecture.
"""
import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "instructions.txt")
TOLERANCE = 0.03  # hashes are seeded: some counts differ by 0.5 %
# name, program, what an event is
FIGURES = [
    ("parse", "agent", "request, from two records to an exchange"),
    ("encode", "agent", "event, packed and encoded"),
    ("agent", "agent", "request, from records to encoded batch"),
    ("h2", "h2", "request in HTTP/2, from its pieces to an exchange"),
    ("fold", "fold", "event, decoded and counted in all views"),
    ("edges", "fold", "event, the same and joined with its other side"),
    ("small", "small", "batch of 5 events, from message to reply"),
    ("render", "scrape", "line of text exposition"),
]
HEAD = """\
# Instructions per event as callgrind counts them. Written by
#     make bench-instructions WRITE=1
# and compared by make test. Build: {build}
"""


def build_of():
    """Compiler and processor: columns are decoded with bmi2 where it is."""
    cc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True,
                        text=True).stdout.strip()
    with open("/proc/cpuinfo") as f:
        bmi2 = " with bmi2" if re.search(r"\bbmi2\b", f.read()) else ""
    return f"{platform.machine()}{bmi2}, gcc {cc.split('.')[0]}"


def count(build, name, program):
    """Instructions per event inside of count_NAME()."""
    env = dict(os.environ, GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX2,-AVX,"
               "-AVX512VL,-AVX512BW,-AVX512F,-ERMS,-FSRM,-BMI2,-MOVBE,-RTM,"
               "-SSE4_2,-SSSE3")
    with tempfile.TemporaryDirectory() as d:
        r = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--toggle-collect=count_{name}",
             f"--callgrind-out-file={d}/out",
             os.path.join(build, "tests/bench", program), name],
            env=env, capture_output=True, text=True)
    events = re.search(rf"^counted: {name} (\d+)$", r.stdout, re.M)
    total = re.search(r"Collected : (\d+)", r.stderr)
    if r.returncode or not events or not total:
        sys.exit(f"not ok - {name}: {r.stdout}{r.stderr}")
    return int(total[1]) / int(events[1])


def read():
    """What was written down: build and {name: figure}."""
    with open(TABLE) as f:
        text = f.read()
    return (re.search(r"Build: (.*)", text)[1],
            {m[1]: float(m[2])
             for m in re.finditer(r"^(\w+)\s+([\d.]+)\s", text, re.M)})


def write(figures):
    with open(TABLE, "w") as f:
        f.write(HEAD.format(build=build_of()))
        for name, _, what in FIGURES:
            f.write(f"{name:<8}{figures[name]:8.1f}  {what}\n")


def compare(name, now, before):
    """Prints a line; True if now is no worse."""
    change = f"{before:.1f} instructions before, {now:.1f} now"
    if now > before * (1 + TOLERANCE):
        print(f"not ok - {name} takes no more instructions per event: {change},"
              f" {100 * (now / before - 1):+.1f} % (tolerance"
              f" {100 * TOLERANCE:.0f} %). If it must, make bench-instructions"
              " WRITE=1 and commit tests/bench/instructions.txt")
        return False
    print(f"ok - {name} takes no more instructions per event: {change}")
    if now < before * (1 - TOLERANCE):
        print("# better: keep it so with make bench-instructions WRITE=1")
    return True


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default="build")
    p.add_argument("--write", action="store_true")
    a = p.parse_args()
    if not shutil.which("valgrind"):
        print("skip - instructions per event: no valgrind")
        return 0
    if not a.write:
        build, before = read()
        if build != build_of():
            print(f"skip - instructions per event: written down for {build},"
                  f" this is {build_of()}")
            return 0
    now = {n: count(a.build, n, program) for n, program, _ in FIGURES}
    if a.write:
        write(now)
        print(open(TABLE).read(), end="")
        return 0
    good = [compare(n, now[n], before[n]) for n in now]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

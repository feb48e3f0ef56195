#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What a local user without privileges can put before an agent that runs as root:
libraries whose headers claim too much, and more libraries than there are
places. Truth: how many files of each kind were made here.
"""

import contextlib
import glob
import mmap
import os
import pathlib
import shutil
import struct

from harness import Redtap, Report, Skip, equal, eventually

WEB = 21680
USER, CROWD, OTHER, LAST = 12345, 12346, 12347, 12348
LIBSSL = next(iter(glob.glob("/usr/lib/*/libssl.so.3")), "")
COPIES, EACH = 132, 6  # files; how many a process maps, beside its own
PLACES = 64  # of one user
COUNTER = "redtap_agent_tls_%s_total"


def held(files, user, up, down):
    """
    In a child: maps the beginning of each file as code, and waits. The files
    are opened first: the folder of all temporary files may be root's alone.
    """
    with contextlib.ExitStack() as stack:
        fds = [stack.enter_context(open(name, "rb")) for name in files]
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        maps = [mmap.mmap(f.fileno(), 4096, mmap.MAP_PRIVATE,
                          mmap.PROT_READ | mmap.PROT_EXEC) for f in fds]
    equal("mapped files", len(maps), len(files))
    os.write(up, b"x")
    os.read(down, 1)


def hold(files, user):
    """A process of that user that maps the files until it is ended."""
    ready, up = os.pipe()
    down, end_of = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(end_of)
        try:
            held(files, user, up, down)
        finally:
            os._exit(0)
    os.close(up)
    os.close(down)
    equal("what the holder says", os.read(ready, 1), b"x")
    os.close(ready)
    return pid, end_of


def end(holders):
    for _, end_of in holders:
        os.close(end_of)
    for pid, _ in holders:
        os.waitpid(pid, 0)


def greedy(path, sections, mib):
    """A sparse library: so many tables of symbols, all the same mib of it."""
    size, at, headers = mib << 20, 1 << 23, 0x1000
    with open(path, "wb") as f:
        f.write(b"\x7fELF\2\1\1" + bytes(9) + struct.pack(
            "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, headers, 0, 64, 56, 1, 64,
            sections, 0))
        f.write(struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 4096, 4096, 4096))
        f.seek(headers)
        f.write(struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at, size, 0, 0, 1, 0))
        f.write(struct.pack("<IIQQQQIIQQ", 0, 11, 0, 0, at, size, 0, 0, 8, 24)
                * (sections - 1))
        f.truncate(at + 2 * size)
        f.seek(at + size - 9)
        f.write(b"SSL_read\0")


def probe(rt, name):
    """1, 0, or None: not told of."""
    got = rt.metrics().select("redtap_agent_probe_attached", node=rt.NODE,
                              probe=name)
    return next(iter(got.values())) if got else None


def told(rt, what):
    return rt.metrics().sum(COUNTER % what)


def claims(rt, dir_):
    """Whatever headers claim: told, and others are attached meanwhile."""
    files = []
    for i, (sections, mib) in enumerate(
            ((65000, 64), (16000, 64), (16001, 250), (3, 4000), (40000, 1))):
        folder = dir_ / str(i)
        folder.mkdir()
        files.append(folder / "libssl.so.3")
        greedy(files[-1], sections, mib)
    broken = dir_ / "libssl-broken.so.3"
    broken.write_bytes(pathlib.Path(LIBSSL).read_bytes()[:100000])
    cut = [broken]
    holders = [hold(files + cut, USER)]
    try:
        # Four are over a limit, one is cut; the second has one table read.
        eventually("they are refused", lambda: told(rt, "refused") == 5)
        mine = dir_ / "libssl-mine.so.3"
        shutil.copy(os.path.realpath(LIBSSL), mine)
        holders.append(hold([mine], USER))
        eventually("a good one is attached",
                   lambda: probe(rt, "tls/libssl-mine.so.3") == 1)
    finally:
        end(holders)
    equal("refused in all", told(rt, "refused"), 5)


def crowds(rt, dir_):
    """One user's copies take that user's places, and no other's."""
    copies = []
    for i in range(COPIES):
        folder = dir_ / f"copy{i}"
        folder.mkdir()
        copies.append(folder / "libssl-copy.so.3")
        shutil.copy(os.path.realpath(LIBSSL), copies[-1])
    holders = [hold(copies[i:i + EACH], CROWD)
               for i in range(0, COPIES, EACH)]
    try:
        # What finds no place is tried again after a minute.
        eventually("the others have no place",
                   lambda: told(rt, "crowded") >= COPIES - PLACES, 50, 0.2)
        equal("without a place", told(rt, "crowded"), COPIES - PLACES)
        others = dir_ / "libssl-other.so.3"
        shutil.copy(os.path.realpath(LIBSSL), others)
        holders.append(hold([others], OTHER))
        eventually("another user's is attached",
                   lambda: probe(rt, "tls/libssl-other.so.3") == 1)
    finally:
        end(holders)


def stops(rt, dir_):
    """SIGTERM ends the agent although files are still to be read."""
    files = []
    for i in range(EACH):
        files.append(dir_ / f"libssl-slow{i}.so.3")
        greedy(files[-1], 16000, 120)
    holder = hold(files, LAST)
    try:
        equal("exit status", rt.agent.stop(), 0)
    finally:
        end([holder])


def main():
    report = Report()
    with Redtap(WEB) as rt:
        files = rt.dir / "files"
        files.mkdir()
        os.chmod(files, 0o755)
        if not LIBSSL:
            raise Skip("no libssl.so.3")
        rt.start_aggregator()
        rt.start_agent()
        for sentence, fn in (
                ("libraries that claim too much are refused and told",
                 claims),
                ("a user's copies of a library take no places of others",
                 crowds),
                ("a stop does not wait for a file", stops)):
            with report.case(sentence):
                fn(rt, files)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proof 3 of docs/GUARANTEES.md: a disk that is full and has room again, and one
that turns read-only. While it lasts readiness is red and nothing is
acknowledged; afterwards every request is there once.
"""

import contextlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from fleet import Failure, Fleet, check, compare, equal, start_synth
from harness import Report, Skip, note
import json

PORT = 21910


def sh(*argv):
    out = subprocess.run(argv, capture_output=True, text=True, check=False)
    if out.returncode:
        raise Failure(f"{' '.join(map(str, argv))}: {out.stderr.strip()}")
    return out.stdout.strip()


@contextlib.contextmanager
def mounted(*options):
    """A folder with a file system of its own."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="redtap-disk-"))
    try:
        sh("mount", *options, path)
    except Failure as e:
        path.rmdir()
        raise Skip(f"cannot mount: {e}") from None
    try:
        yield path
    finally:
        sh("umount", path)
        path.rmdir()


def events_of(fleet):
    return int(fleet.look().sum("redtap_aggregator_events_total"))


def stands_still(fleet, seconds=2.0):
    """Readiness stays red and nothing more is counted."""
    before = events_of(fleet)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status, why = fleet.readiness()
        equal("/-/ready", status, 503)
        time.sleep(0.1)
    equal("counted on a broken disk", events_of(fleet) - before, 0)
    return why


def finish(fleet, made):
    equal("synth's exit status", made.popen.wait(90), 0)
    truth = json.loads((fleet.dir / "truth").read_text())
    equal("batches without an answer", truth["outstanding"], 0)
    n, _ = compare(fleet, truth)
    equal("requests", n, truth["events"])
    equal("counters that went down", fleet.went_down[:5], [])
    return n


def full():
    """A tmpfs of 6 MiB, filled by the store itself; then 64 MiB."""
    with mounted("-t", "tmpfs", "-o", "size=6m", "redtap") as store, \
            Fleet(PORT, store=store) as fleet:
        fleet.start_aggregator()
        made = start_synth(fleet, "--events=700001", "--rate=140000",
                           "--batch=997")
        why = fleet.wait_ready(503, 30)
        check("full" in why or "space" in why.lower(), f"it says: {why}")
        stands_still(fleet)
        check(made.alive(), "synth has ended: the disk was never needed")
        sh("mount", "-o", "remount,size=64m", store)
        fleet.wait_ready(200, 15)
        n = finish(fleet, made)
        note(f"disk full: {n} requests sent, {n} counted; it said: "
             f"{why.strip()}")
        # And all of it is on the disk, not in memory only.
        fleet.aggregator.popen.kill()
        fleet.aggregator.popen.wait()
        fleet.start_aggregator()
        compare(fleet, json.loads((fleet.dir / "truth").read_text()))


@contextlib.contextmanager
def loop_disk():
    """(folder, trigger file) of an ext4 that turns read-only on errors."""
    image = pathlib.Path(tempfile.mkdtemp(prefix="redtap-loop-")) / "image"
    try:
        with open(image, "wb") as f:
            f.truncate(96 << 20)
        sh("mkfs.ext4", "-q", image)
        with mounted("-o", "loop,errors=remount-ro", image) as path:
            device = sh("findmnt", "-n", "-o", "SOURCE", path)
            trigger = pathlib.Path(
                f"/sys/fs/ext4/{pathlib.Path(device).name}/trigger_fs_error")
            if not trigger.exists():
                raise Skip("this kernel has no trigger_fs_error")
            yield path, trigger, image
    finally:
        shutil.rmtree(image.parent)


def read_only():
    """An error of the file system, as a failing disk has it; then a repair."""
    with loop_disk() as (path, trigger, image), \
            Fleet(PORT, store=path / "store") as fleet:
        fleet.start_aggregator()
        made = start_synth(fleet, "--events=300001", "--rate=60000",
                           "--batch=499")
        time.sleep(1.5)
        trigger.write_text("broken by a test\n")
        why = fleet.wait_ready(503, 15)
        stands_still(fleet)
        check(made.alive(), "synth has ended: the disk was never needed")
        # A start on such a disk is a clear error, no crash loop's crash.
        equal("SIGTERM", fleet.aggregator.stop(), 0)
        sh("umount", path)
        subprocess.run(["e2fsck", "-fy", image], capture_output=True,
                       check=False)
        sh("mount", "-o", "loop", image, path)
        fleet.start_aggregator()
        n = finish(fleet, made)
        note(f"disk read-only: {n} requests sent, {n} counted; it said: "
             f"{why.strip()}")
        equal("SIGTERM", fleet.aggregator.stop(), 0)


def main():
    report = Report()
    with report.case("a full disk turns readiness red, loses nothing, and "
                     "all goes on when there is room"):
        full()
    with report.case("a disk that turns read-only does the same; all goes on "
                     "after its repair"):
        read_only()
    report.exit()


if __name__ == "__main__":
    main()

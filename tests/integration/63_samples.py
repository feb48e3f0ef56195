#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Readings of user programs from a made fleet whose truth is known: counted once
through kill -9, lost replies and repeats, the same out of a rebuild and a
replay, and fit for Prometheus in every format.

	63_samples.py [KILLS [INCREMENTS]]
"""

import json
import pathlib
import subprocess
import sys
import threading
import time

from harness import AGENT, AGGREGATOR, Failure, Metrics, Redtap, Report, \
    check, equal, eventually, http_get, note, went_down

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from network import Thief  # noqa: E402

PORT = 21730  # and the next two
AGENTS, SERIES = 8, 500
# The made fleet's metrics, and those about its programs.
FAMILIES = ("synth_", "redtap_program_")
ACCEPT = {
    "text": "text/plain",
    "openmetrics": "application/openmetrics-text; version=1.0.0",
}


def lines_of(rt, families=FAMILIES):
    body = http_get(rt.web, "/metrics")[2].decode()
    return "".join(line + "\n" for line in body.splitlines()
                   if line.removeprefix("# HELP ").removeprefix("# TYPE ")
                   .startswith(families))


def same(got, want):
    """Byte for byte, but nodes are listed as they came or were loaded."""
    def readings(text):
        return [x for x in text.splitlines() if "synth_" in x.split("{")[0]]
    check(readings(want), "no readings")
    check(readings(got) == readings(want), "readings differ")
    equal("the lines about programs", sorted(got.splitlines()),
          sorted(want.splitlines()))


class Watcher(threading.Thread):
    """Scrapes all the time and notes what goes down."""

    def __init__(self, rt):
        super().__init__(daemon=True)
        self.rt, self.last, self.down, self.scrapes = rt, Metrics(), [], 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            try:
                m = Metrics(lines_of(self.rt, ("synth_",)))
            except (OSError, Failure):
                continue  # it is down, or not ready
            except Exception:
                continue  # a reply that the kill cut off
            if not m.samples:
                continue
            self.down += went_down(self.last, m)
            self.last = m
            self.scrapes += 1

    def stop(self):
        self.ended.set()
        self.join()


def start_fleet(rt, url, increments, *flags):
    """The made fleet as a process, and where its truth will be."""
    truth = rt.dir / "truth"
    return rt.spawn(
        [AGENT, "synth", f"--to={url}", f"--agents={AGENTS}",
         f"--samples={SERIES}", f"--events={increments}",
         f"--truth={truth}", *flags], "synth"), truth


def compare(m, truth):
    """Every series of the scrape, over nodes, against the truth."""
    samples = truth["samples"]
    for key, want in samples["counters"].items():
        equal(f"counter {key}", m.sum("synth_hits_total", key=key), want)
    for key, (count, total) in samples["histograms"].items():
        equal(f"count of {key}", m.sum("synth_values_count", key=key),
              count)
        equal(f"sum of {key}", m.sum("synth_values_sum", key=key), total)
    gauges = m.samples["synth_level"]
    equal("gauges", len(gauges), AGENTS * samples["gauges"])
    for labels, value in gauges.items():
        equal(f"gauge {labels}", value, int(dict(labels)["key"][1:]) - 5)
    got = m.sum("synth_hits_total") + m.sum("synth_values_count")
    equal("increments", got, samples["increments"])
    equal("of them said to be counted",
          m.sum("redtap_program_increments_counted_total"), got)
    equal("of them said to be read",
          m.sum("redtap_program_increments_read_total"), got)
    return int(got)


def killed(kills, increments):
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        thief = Thief(PORT + 2, rt.ingest, p=0.03)
        thief.start()
        watcher = Watcher(rt)
        watcher.start()
        # Slow enough that every kill is in the middle.
        rate = increments // (kills + 2)
        fleet, path = start_fleet(
            rt, f"tcp://127.0.0.1:{PORT + 2}", increments, f"--rate={rate}",
            "--fault=dup", "--reply-timeout=500ms")
        for _ in range(kills):
            time.sleep(0.7)
            equal("exit status", rt.aggregator.stop(9), -9)
            rt.start_aggregator()
        check(fleet.alive(), "the fleet had ended before the last kill")
        thief.honest = True
        equal("exit status of synth: " + fleet.tail(),
              fleet.popen.wait(300), 0)
        truth = json.loads(path.read_text())
        check(truth["duplicates"] > 0, "no batch was sent twice")
        equal("outstanding", truth["outstanding"], 0)
        n = compare(Metrics(lines_of(rt)), truth)
        watcher.stop()
        thief.stop()
        equal("went down", watcher.down[:5], [])
        note(f"kills={kills} increments={n} replies lost={thief.stolen} "
             f"resent={truth['resent']} twice={truth['duplicates']} "
             f"scrapes={watcher.scrapes}")


def source(dir_):
    """A store with readings: its metrics and its trace."""
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        fleet, path = start_fleet(rt, f"tcp://127.0.0.1:{rt.ingest}", 100000,
                                  "--speed=max")
        equal("exit status of synth: " + fleet.tail(),
              fleet.popen.wait(60), 0)
        compare(Metrics(lines_of(rt)), json.loads(path.read_text()))
        before = lines_of(rt)
        formats(rt)
        subprocess.run([AGGREGATOR, "export", f"--store.dir={rt.store}", "-o",
                        dir_], check=True, timeout=60)
        equal("exit status", rt.aggregator.stop(), 0)
        subprocess.run([AGGREGATOR, "rebuild", f"--store.dir={rt.store}"],
                       check=True, timeout=60)
        rt.start_aggregator()
        same(lines_of(rt), before)
    return before


def replayed(trace, metrics):
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        subprocess.run([AGENT, "replay", f"--to=tcp://127.0.0.1:{rt.ingest}",
                        trace], check=True, timeout=60)
        eventually("the replay is counted", lambda: Metrics(
            lines_of(rt)).sum("synth_hits_total") > 0)
        same(lines_of(rt), metrics)


def formats(rt):
    """promtool reads the first; OpenMetrics has a grammar of its own."""
    body = http_get(rt.web, "/metrics", {"Accept": ACCEPT["text"]})[2]
    done = subprocess.run(["promtool", "check", "metrics"], input=body,
                          capture_output=True, timeout=60, check=False)
    said = [line for line in (done.stdout + done.stderr).decode().splitlines()
            if line.startswith(FAMILIES)]
    equal("what promtool says of readings", said, [])
    body = http_get(rt.web, "/metrics",
                    {"Accept": ACCEPT["openmetrics"]})[2].decode()
    check("# TYPE synth_hits counter\n" in body, "no counter")
    check("# TYPE synth_values histogram\n" in body, "no histogram")
    check("# TYPE synth_level gauge\n" in body, "no gauge")
    check(body.endswith("# EOF\n"), "no end")


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    increments = int(sys.argv[2]) if len(sys.argv) > 2 else 1000000
    report = Report()
    with report.case(f"readings count once through {kills} kill -9, lost "
                     "replies and repeats, and none goes down"):
        killed(kills, increments)
    trace = pathlib.Path(f"/tmp/redtap-samples-{time.time_ns()}.trace")
    try:
        metrics = ""
        with report.case("a rebuild of the store shows the same bytes, and "
                         "promtool has nothing to say"):
            metrics = source(trace)
        with report.case("a replay into an empty store shows the same bytes"):
            replayed(trace, metrics)
    finally:
        trace.unlink(missing_ok=True)
    report.exit()


if __name__ == "__main__":
    main()

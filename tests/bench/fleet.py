#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What a fleet costs the aggregator: many agents that each send a few requests
every half second, as real ones do.

    fleet.py [--seconds=S] [--agents=N,…] [--rates=R,…] [--crowd=N] [--away=S]
             [--build=DIR] [--store=DIR] [part ...]

Parts:
  grid     each number of agents at each rate (requests per second and agent)
  restart  the aggregator is away while --crowd agents go on
  catchup  one agent was cut off for an hour, 1,000 others go on

Every run checks that what the aggregator counted is what the fleet sent. The
age of an agent's data is how long ago its oldest request happened that the
answer of /metrics does not have yet. Prints `bench: NAME VALUE UNIT goal=G
ok|short`, one line a figure.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

from figures import bench, cpu_s, rss_mib
from ingest import HTTP, INGEST, Aggregator, load

SERIES = ("--services=8", "--routes=2")  # as "100" in ingest.py
COUNTED = re.compile(
    rb'^redtap_agent_events_counted_total\{node="synth-(\d+)"\} (\d+)', re.M)
RATE = 10  # requests per second and agent of --crowd and of the others
FRESH_S = 5


def total(body, name):
    return float(re.search(rb"^" + name.encode() + rb" (\S+)", body, re.M)[1])


class Look:
    """A scrape: when its answer began, and what it had of each agent."""

    def __init__(self):
        c = http.client.HTTPConnection("127.0.0.1", HTTP, timeout=60)
        c.request("GET", "/metrics")
        answer = c.getresponse()
        self.us = time.time() * 1e6
        body = answer.read()
        c.close()
        self.counted = [(int(i) - 1, int(n)) for i, n in
                        COUNTED.findall(body)]
        self.batches = total(body, "redtap_aggregator_batches_total")
        self.events = total(body, "redtap_aggregator_events_total")
        self.gather_s = total(body, "redtap_aggregator_ingest_gather_seconds")

    def ages(self, truth):
        """
        Seconds, ascending. Event c of agent k happened c + 1 gaps after the
        begin of the agent's first interval.
        """
        interval, agents = truth["interval_us"], truth["agents"]
        gap, start = interval / truth["batch"], truth["start_us"] - interval
        return sorted(max(0, self.us - start - k * interval / agents
                          - (c + 1) * gap) / 1e6 for k, c in self.counted)


def rank(values, share):
    return values[min(int(len(values) * share), len(values) - 1)]


def wake_ups(pid):
    """Times that a thread of the process began to wait."""
    n = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        n += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)",
                           (task / "status").read_text(), re.M)[1])
    return n


class Fleet:
    """redtap-agent synth in the background."""

    def __init__(self, agg, agents, rate, seconds):
        self.agg, self.path = agg, agg.dir / "truth"
        self.before = agg.events()
        self.process = subprocess.Popen(
            [f"{agg.args.build}/redtap-agent", "synth",
             f"--to=tcp://127.0.0.1:{INGEST}", f"--agents={agents}",
             f"--rate={agents * rate}", f"--duration={seconds}s",
             "--settle=120s", f"--truth={self.path}", *SERIES],
            stderr=subprocess.PIPE, text=True)

    def end(self, others=0):
        """The truth, once all of it was counted; others sent as well."""
        _, text = self.process.communicate()
        if self.process.returncode:
            sys.exit(f"bench: synth failed: {text}")
        with open(self.path, encoding="ascii") as f:
            truth = json.loads(f.readline().rstrip().rstrip(",") + "}")
        counted = self.agg.events() - self.before - others
        if counted != truth["events"] or truth["outstanding"]:
            sys.exit(f"bench: {counted:.0f} counted, {truth['events']} sent, "
                     f"{truth['outstanding']} batches not answered")
        return truth

    def wait_connected(self, agents):
        deadline = time.monotonic() + 60
        while len(os.listdir(f"/proc/{self.agg.process.pid}/fd")) < agents:
            if time.monotonic() > deadline:
                sys.exit("bench: the fleet is not connected after 60 s")
            time.sleep(0.1)


def part_grid(args):
    with Aggregator(args) as agg:
        load(agg, 1, 64, "100")
        sent = load(agg, args.seconds, 64, "100", "--id=timed")
        full_us = sent["cpu"] * 1e6 / sent["batches"]
        bench("fleet_full_batch_cpu", full_us, "us/batch of "
              f"{sent['events'] / sent['batches']:.0f} events")
    for agents in args.agents:
        for rate in args.rates:
            cell(args, agents, rate, full_us)


def cell(args, agents, rate, full_us):
    """CPU is that between two scrapes, so they are no part of it."""
    name = f"fleet_{agents}x{rate}"
    with Aggregator(args) as agg:
        pid = agg.process.pid
        fleet = Fleet(agg, agents, rate, 2 * args.seconds + 8)
        fleet.wait_connected(agents)
        time.sleep(3)  # the pace is found
        first = Look()
        cpu, wakes, begin = cpu_s(pid), wake_ups(pid), time.monotonic()
        time.sleep(args.seconds)
        cpu, took = cpu_s(pid) - cpu, time.monotonic() - begin
        wakes = (wake_ups(pid) - wakes) / took
        last = Look()
        looks = [first, last]
        for _ in range(args.seconds):
            time.sleep(0.9)
            looks.append(Look())
        truth = fleet.end()
        cpu, between = cpu / took, (last.us - first.us) / 1e6
        batches = (last.batches - first.batches) / between
        events = (last.events - first.events) / between
        ages = sorted(a for look in looks for a in look.ages(truth))
        bench(f"{name}_batches", batches, "batches/s")
        bench(f"{name}_cpu", 100 * cpu, "% of a core")
        us = cpu * 1e6 / batches
        small = agents >= 5000 and rate <= 10
        bench(f"{name}_cpu_batch", us, "us/batch", 15 if small else None,
              least=False)
        bench(f"{name}_ratio", us / full_us, "full batches")
        bench(f"{name}_cpu_event", cpu * 1e9 / events, "ns/event")
        bench(f"{name}_wake_ups", wakes, "per second")
        bench(f"{name}_gather", last.gather_s, "s")
        bench(f"{name}_age_p50", rank(ages, 0.5), "s")
        bench(f"{name}_age_p99", rank(ages, 0.99), "s",
              2 if last.gather_s <= 1 else None, least=False)
        bench(f"{name}_reply_p99", truth["reply_ms_p99"], "ms")
        bench(f"{name}_rss", rss_mib(pid, "VmHWM"), "MiB")


class Connections(threading.Thread):
    """How many descriptors a process has, ten times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.seen, self.ended = pid, [], False
        self.start()

    def run(self):
        while not self.ended:
            try:
                n = len(os.listdir(f"/proc/{self.pid}/fd"))
            except OSError:
                break
            self.seen.append((time.monotonic(), n))
            time.sleep(0.1)

    def most_new(self):
        """In a tenth of a second; scaled, as a busy machine looks less."""
        return max(((b - a) / (t - s) / 10 for (s, a), (t, b) in
                    zip(self.seen, self.seen[1:])), default=0)

    def reached(self, n):
        return next((t for t, have in self.seen if have >= n), float("inf"))


def part_restart(args):
    """Ready at once, no crowd at the door, all counted, fresh again soon."""
    n, looks = args.crowd, []
    with Aggregator(args) as agg:
        fleet = Fleet(agg, n, RATE, args.away + 50)
        fleet.wait_connected(n)
        time.sleep(3)
        agg.stop(signal.SIGTERM)
        time.sleep(args.away)
        begin = time.monotonic()
        ready = agg.start()
        watch = Connections(agg.process.pid)
        cpu = cpu_s(agg.process.pid)
        while time.monotonic() - begin < 35:
            looks.append((time.monotonic() - begin, Look()))
            time.sleep(0.5)
        cpu = cpu_s(agg.process.pid) - cpu
        watch.ended = True
        truth = fleet.end()
        bench("fleet_restart_ready", ready, "s", 1, least=False)
        bench("fleet_restart_connected", watch.reached(n) - begin, "s")
        bench("fleet_restart_most_new_connections", watch.most_new(),
              "in 0.1 s")
        fresh = float("inf")  # from this look on
        for t, look in reversed(looks):
            if len(look.counted) < n or \
                    rank(look.ages(truth), 0.99) > FRESH_S:
                break
            fresh = t
        bench("fleet_restart_fresh", fresh, "s", 30, least=False)
        bench("fleet_restart_age_p99_at_last",
              rank(looks[-1][1].ages(truth), 0.99), "s", FRESH_S, least=False)
        bench("fleet_restart_cpu", 100 * cpu / 35, "% of a core")
        bench("fleet_restart_events", truth["events"], "events, all counted")
        bench("fleet_restart_rss", rss_mib(agg.process.pid, "VmHWM"), "MiB")


def part_catchup(args):
    for kind in ("memory", "file"):
        with Aggregator(args) as agg:
            looks, others = [], 1000
            fleet = Fleet(agg, others, RATE, 45)
            fleet.wait_connected(others)
            argv = [f"{args.build}/tests/bench/backlog",
                    f"tcp://127.0.0.1:{INGEST}", "cut-off", "3600", "1000"]
            if kind == "file":
                argv.append(str(agg.dir / "outbox.db"))
            late = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            while late.poll() is None:
                looks.append(Look())
                time.sleep(0.2)
            time.sleep(1)
            looks.append(Look())
            told = json.loads(late.communicate()[0])
            if late.returncode or told["dropped"] or told["rolled_up"]:
                sys.exit(f"bench: {told}")
            truth = fleet.end(told["requests"])
            ages = sorted(a for look in looks for a in look.ages(truth))
            name = f"fleet_catchup_{kind}"
            bench(f"{name}_requests", told["requests"], "requests")
            bench(f"{name}_messages", told["messages"],
                  f"messages of {told['batches']} batches")
            bench(f"{name}_time", told["seconds"], "s", 20, least=False)
            bench(f"{name}_age_p99_of_others", rank(ages, 0.99), "s", 2,
                  least=False)


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    parts = {name[5:]: f for name, f in globals().items()
             if name.startswith("part_")}
    p = argparse.ArgumentParser(description=__doc__.split("\n", 2)[1])
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--agents", type=numbers, default=[100, 1000, 5000, 10000])
    p.add_argument("--rates", type=numbers, default=[1, 10, 100])
    p.add_argument("--crowd", type=int, default=10000)
    p.add_argument("--away", type=int, default=60)
    p.add_argument("--build", default="build")
    p.add_argument("--store", default=None,
                   help="folder for the stores (TMPDIR)")
    p.add_argument("part", nargs="*", choices=[*parts, []])
    args = p.parse_args()
    for name in args.part or parts:
        parts[name](args)


if __name__ == "__main__":
    main()

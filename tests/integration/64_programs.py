#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Programs of users against truths of the kernel and of a driver: counters,
per-CPU maps, histograms of each kind, many keys, rings that overflow, and
programs that are broken in every way.
"""

import bisect
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import Failure, Report, check, equal, eventually, note
from programs import Driver, Programs, needs_clang

PORT = 21740


class Sampler(threading.Thread):
    """Reads a file of /proc a thousand times a second."""

    def __init__(self, read):
        super().__init__(daemon=True)
        self.read, self.ended = read, threading.Event()
        self.when, self.what = [], []

    def run(self):
        while not self.ended.is_set():
            before = time.time()
            value = self.read()
            self.when.append((before, time.time()))
            self.what.append(value)
            time.sleep(0.0005)

    def stop(self):
        self.ended.set()
        self.join()

    def around(self, us, took_us):
        """Values from before a read began until after it ended."""
        ends = [end for _, end in self.when]
        first = bisect.bisect_right(ends, us / 1e6) - 1
        last = bisect.bisect_left(self.when, ((us + took_us) / 1e6, 0))
        if first < 0 or last >= len(self.what):
            return []
        return self.what[first:last + 1]


def processes():
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith("processes "):
            return int(line.split()[1])
    raise Failure("no processes in /proc/stat")


def softirqs():
    """{(kind, cpu): n}"""
    lines = pathlib.Path("/proc/softirqs").read_text().splitlines()
    return {(line.split(":")[0].strip(), cpu): int(n)
            for line in lines[1:]
            for cpu, n in enumerate(line.split(":")[1].split())}


def last_read(rt, name):
    """((us, took us), the page of maps) of one read."""
    for _ in range(50):
        us = rt.list()[name]["read_us"]
        text = rt.talk("maps", name)
        again = rt.list()[name]
        if us > 0 and again["read_us"] == us:
            return (us, again["took_us"]), text
    raise Failure("reads come too fast")


def rows(text, map_name):
    """{labels: value} of a map in the page of maps."""
    part = text.split(f"### Map: {map_name}\n")[1].split("```")[1]
    out = {}
    for line in part.strip().splitlines():
        _, rest = line.split(" ([", 1)
        labels, value = rest.split("]) ", 1)
        out[labels] = int(value.split("-> ")[1])
    return out


def sandwich(rt, name, sampler, value_of, stable, tries=60):
    """
    (truth, ours) of two reads at whose moments the truth stood still: the
    differences must be the same.
    """
    pairs = []
    for _ in range(tries):
        when, text = last_read(rt, name)
        time.sleep(0.02)
        seen = sampler.around(*when)
        for truth in stable(seen):
            pairs.append((truth, value_of(text)))
        if len(pairs) >= 12:
            break
        time.sleep(0.3)
    return pairs


def forks(built):
    with Programs(PORT, "forks", built=built,
                  config=["programs: {limits: {interval: 100ms}}"]) as rt:
        rt.start()
        rt.running("forks")
        sampler = Sampler(processes)
        sampler.start()
        pairs = sandwich(
            rt, "forks", sampler,
            lambda text: rows(text, "forks_total")[""],
            lambda seen: set(seen) if seen and len(set(seen)) == 1 else ())
        sampler.stop()
        check(len(pairs) >= 3, f"only {len(pairs)} moments without a fork")
        base = pairs[0]
        for truth, ours in pairs[1:]:
            equal("processes made between two reads", ours - base[1],
                  truth - base[0])
        made = pairs[-1][0] - base[0]
        note(f"{len(pairs)} moments, {made} processes between them")
        check(made > 0, "no process was made")
        rt.agent.stop()
        equal("metrics", len(rt.lines_of("ebpf_exporter_forks_total").samples
                             ["ebpf_exporter_forks_total"]), 1)
        rt.check_identity()


def datagrams(cpu, n=300):
    """Each of them is a softirq NET_RX on the CPU that sends it."""
    os.sched_setaffinity(0, {cpu})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
        a.bind(("127.0.0.1", 0))
        for _ in range(n):
            b.sendto(b"x", a.getsockname())
            a.recv(16)


@contextlib.contextmanager
def never_idle(cpus):
    """Keeps CPUs busy with what yields to all else."""
    busy = [subprocess.Popen(["nice", "-n", "19", "taskset", "-c", str(cpu),
                              "sh", "-c", "while :; do :; done"])
            for cpu in cpus]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def per_cpu(built):
    """
    NET_RX alone is compared, and no CPU idles: of softirqs that end an idle
    phase, Linux 6.18 counts one in a thousand without its tracepoint.
    """
    cpus = sorted(os.sched_getaffinity(0))
    with never_idle(cpus), Programs(PORT, "softirqs", built=built,
                  config=["programs: {limits: {interval: 100ms}}"]) as rt:
        rt.start()
        rt.running("softirqs")
        sampler = Sampler(softirqs)
        sampler.start()
        compared, grown, base = 0, 0, {}
        for turn in range(30):
            datagrams(cpus[turn % len(cpus)])
            os.sched_setaffinity(0, cpus)
            when, text = last_read(rt, "softirqs")
            time.sleep(0.05)
            seen = sampler.around(*when)
            ours = rows(text, "softirqs_total")
            for kind, cpu in (seen[0] if seen else {}):
                values = {s[kind, cpu] for s in seen}
                if kind != "NET_RX" or len(values) != 1:
                    continue
                now = values.pop(), ours.get(f"{kind} {cpu}", 0)
                if cpu in base:
                    equal(f"softirqs {kind} of CPU {cpu}",
                          now[1] - base[cpu][1], now[0] - base[cpu][0])
                    compared += 1
                    grown += now[0] - base[cpu][0]
                else:
                    base[cpu] = now
        sampler.stop()
        note(f"{compared} comparisons, on {len(base)} CPUs, all in all "
             f"{grown} softirqs")
        check(compared >= 5 and grown > 300, "too few comparisons")
        rt.agent.stop()
        # Summed by the worker, and by whoever asks: the same.
        m = rt.lines_of("ebpf_exporter_softirqs")
        by_cpu, summed = {}, {}
        for name, into in (("softirqs_total", by_cpu),
                           ("softirqs_summed_total", summed)):
            for labels, n in m.samples["ebpf_exporter_" + name].items():
                kind = dict(labels)["kind"]
                into[kind] = into.get(kind, 0) + n
        check(len(by_cpu) > 3, f"{by_cpu}")
        equal("summed up", summed, by_cpu)
        rt.check_identity()


def log2_bounds(low, high):
    return [2.0 ** k for k in range(low, high + 1)]


def histograms(built):
    """Values 0 to 1,025 once each, against a reference in Python."""
    values = range(1026)
    # What the program clamps is in its last bucket.
    reference = {
        "exp2_values": log2_bounds(0, 12),
        "exp2zero_values": [0.0] + log2_bounds(0, 12),
        "linear_values": [50.0 * k for k in range(0, 21)],
        "fixed_values": [10.0, 100.0, 1000.0],
    }
    with Programs(PORT, "values", built=built) as rt:
        rt.start()
        rt.running("values")
        driver = Driver()
        equal("calls", driver.take(0, 1026), 1026)
        driver.close()
        names = tuple(reference)
        rt.becomes("all values are counted", lambda: {
            n: int(rt.lines_of(n).sum(n + "_count")) for n in names},
            {n: 1026 for n in names})
        m = rt.lines_of(*names)
        for name, bounds in reference.items():
            want, clamped = [], bounds[-1]
            for le in bounds:
                want.append((le, sum(1 for v in values
                                     if min(v, clamped) <= le)))
            want.append((float("inf"), 1026))
            labels = next(iter(m.samples[name + "_count"]))
            equal(name, m.buckets(name, dict(labels)), want)
            # A linear histogram's sum is of steps, as its keys are.
            step = 50 if name == "linear_values" else 1
            equal(name + "_sum", m.sum(name + "_sum"),
                  sum(-(-v // step) * step for v in values))
        rt.check_identity()


def many_keys(built):
    """100,000 keys and more, read while two threads add."""
    with Programs(PORT, "keys", built=built) as rt:
        rt.start()
        rt.running("keys")
        driver = Driver()
        added = int(driver.ask("add 0 100000 1 1")[0])
        for turn in range(10):
            # New keys come all the time, as old ones are added to.
            added += int(driver.ask(
                f"add {turn * 2000} 20000 20 2")[0])
            added += int(driver.ask(
                f"add {100000 + turn * 2000} 2000 2 2")[0])
        driver.close()
        rt.becomes("Σ = added", lambda: rt.identity()[0], added, 60)
        rt.becomes("counted", lambda: int(
            rt.lines_of("counter_keys").sum("counter_keys")), added, 60)
        rt.check_identity()
        entries = rt.list()["keys"]["entries"]
        equal("keys", entries, 120000)
        note(f"added {added} to {entries} keys")


def ring(built):
    """A ring of 4 KiB whose reader sleeps: delivered + lost = sent."""
    with Programs(PORT, "ring", built=built) as rt:
        rt.start()
        rt.running("ring")
        driver = Driver()
        equal("calls", driver.take(0, 5000), 5000)
        worker = rt.worker()
        try:
            os.kill(worker, signal.SIGSTOP)
            equal("calls", driver.take(0, 5007), 5007)
        finally:
            os.kill(worker, signal.SIGCONT)
        driver.close()
        rt.becomes("read", lambda: rt.identity()[0], 10007)
        read, counted, dropped = rt.identity()
        delivered = int(rt.lines_of("ring_events_total").sum(
            "ring_events_total"))
        m = rt.lines_of("redtap_program_increments_dropped_total")
        lost = int(m.sum("redtap_program_increments_dropped_total",
                         stage="ring"))
        equal("delivered + lost", delivered + lost, 10007)
        equal("counted", counted, delivered)
        equal("dropped", dropped, lost)
        check(lost > 4000, f"only {lost} were lost: the reader was too fast")
        note(f"sent 10007, delivered {delivered}, lost {lost}")


def main():
    report = Report()
    needs_clang()
    with tempfile.TemporaryDirectory(prefix="redtap-built-") as tmp:
        built = pathlib.Path(tmp)
        with report.case("processes made = /proc/stat, at every moment that "
                         "no other comes in between"):
            forks(built)
        with report.case("softirqs by CPU = /proc/softirqs, and summed up"):
            per_cpu(built)
        with report.case("histograms of each kind = a reference, bucket by "
                         "bucket"):
            histograms(built)
        with report.case("120,000 keys that two threads add to while they "
                         "are read: Σ = added"):
            many_keys(built)
        with report.case("a full ring: delivered + lost = sent"):
            ring(built)
    report.exit()


if __name__ == "__main__":
    main()

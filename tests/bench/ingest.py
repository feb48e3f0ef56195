#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What the aggregator takes in: real processes, nng on loopback, acknowledged
after commit, `redtap-agent synth` as the fleet on the same machine.

    ingest.py [--seconds=S] [--build=DIR] [--store=DIR] [part ...]

Parts: speed, series, agents, crowd, restart, stalls, peers (all without an
argument).
Every run checks that what the aggregator counted is what the fleet sent. Prints
`bench: NAME VALUE UNIT goal=G ok|short`, one line a figure.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request

from figures import TICK, bench, children_cpu_s, cpu_s, rss_mib

HTTP, INGEST, PEER = 19670, 19671, 19672
# Label sets: services x routes x some six statuses.
# With 1M a view keeps its budget of 100,000 and counts the rest together.
SERIES = {"10": (1, 2), "100": (8, 2), "1k": (10, 17), "100k": (800, 21),
          "1M": (2048, 400)}


def get(path, port=HTTP):
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


class Aggregator:
    """One aggregator with a store of its own."""

    def __init__(self, args, *flags):
        self.args, self.flags = args, flags
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="redtap-bench.",
                                                 dir=args.store))
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        if self.process:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        """Seconds until it is ready."""
        begin = time.monotonic()
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [f"{self.args.build}/redtap-aggregator", "serve",
                 f"--store.dir={self.dir}",
                 f"--web.listen-address=127.0.0.1:{HTTP}",
                 f"--ingest.listen=tcp://127.0.0.1:{INGEST}", *self.flags],
                stderr=log, stdout=log)
        while True:
            try:
                get("/-/ready")
                return time.monotonic() - begin
            except OSError:
                if self.process.poll() is not None:
                    sys.exit((self.dir / "log").read_text())
                if time.monotonic() - begin > 90:
                    sys.exit("bench: the aggregator is not ready after 90 s")
                time.sleep(0.005)

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(60)
        self.process = None

    def metric(self, name):
        for line in get("/metrics").split("\n"):
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def events(self):
        """Counted so far: by the log if it is whole, as a scrape of many
        series costs memory that is measured here."""
        if "--retention.raw-bytes=16MiB" in self.flags:
            return self.metric("redtap_aggregator_events_total")
        db = sqlite3.connect(f"file:{self.dir}/redtap.db?mode=ro", uri=True)
        (n,) = db.execute("SELECT sum(requests) FROM log").fetchone()
        db.close()
        return n or 0

    def disk_bytes(self):
        return sum(p.stat().st_size for p in self.dir.glob("redtap.db"))


def load(agg, seconds, agents, series, *flags, speed=("--speed=max",)):
    """A fleet for some seconds: its truth, and what it cost the aggregator."""
    services, routes = SERIES[series]
    truth = agg.dir / "truth"
    before = agg.events()
    cpu = cpu_s(agg.process.pid)
    done = subprocess.run(
        [f"{agg.args.build}/redtap-agent", "synth",
         f"--to=tcp://127.0.0.1:{INGEST}", f"--agents={agents}",
         f"--services={services}", f"--routes={routes}",
         f"--duration={seconds}s", f"--truth={truth}", *speed, *flags],
        stderr=subprocess.PIPE, text=True, check=False)
    cpu = cpu_s(agg.process.pid) - cpu
    if done.returncode != 0:
        sys.exit(f"bench: synth failed ({done.returncode}): {done.stderr}")
    # The first line has all that is needed; the rest is long.
    with open(truth, encoding="ascii") as f:
        sent = json.loads(f.readline().rstrip().rstrip(",") + "}")
    counted = agg.events() - before
    if counted != sent["events"] or sent["outstanding"]:
        sys.exit(f"bench: {counted:.0f} counted, {sent['events']} sent, "
                 f"{sent['outstanding']} not answered")
    sent["cpu_ns"] = cpu * 1e9 / max(sent["events"], 1)
    sent["cpu"] = cpu
    return sent


def part_speed(args):
    """With 100 label sets, as the peers' figures are made."""
    with Aggregator(args) as agg:
        load(agg, 1, 256, "100")
        sent = load(agg, args.seconds, 256, "100", "--id=timed")
        bench("ingest_speed", sent["events_per_second"], "events/s", 10000000)
        bench("ingest_cpu", sent["cpu_ns"], "ns/event", 60, least=False)
        bench("ingest_wire", sent["bytes"] / sent["events"], "bytes/event")
        args.ours = 1e9 / sent["cpu_ns"]


def part_series(args):
    for series in SERIES:
        with Aggregator(args) as agg:
            load(agg, 2, 64, series)
            sent = load(agg, args.seconds, 64, series, "--id=timed")
            name = f"ingest_{series}_series"
            bench(name + "_speed", sent["events_per_second"], "events/s")
            bench(name + "_cpu", sent["cpu_ns"], "ns/event")
            bench(name + "_wire", sent["bytes"] / sent["events"],
                  "bytes/event")
            bench(name + "_rss", rss_mib(agg.process.pid, "VmHWM"), "MiB",
                  256 if series == "100k" else None, least=False)


def part_agents(args):
    # So many agents have little to say each, or their messages take gigabytes.
    for agents, flags in ((1, ()), (100, ()), (10000, ("--batch=500",))):
        with Aggregator(args) as agg:
            sent = load(agg, args.seconds, agents, "1k", *flags)
            name = f"ingest_{agents}_agents"
            bench(name + "_speed", sent["events_per_second"], "events/s")
            bench(name + "_cpu", sent["cpu_ns"], "ns/event")
            bench(name + "_rss", rss_mib(agg.process.pid, "VmHWM"), "MiB")


def part_crowd(args):
    """10,000 agents that send 8,192 events each at once: some 850 MiB, of
    which the aggregator may hold 16 at a time."""
    with Aggregator(args, "--ingest.queue=16MiB") as agg:
        sent = load(agg, 80, 10000, "1k", "--batch=8192",
                    f"--events={10000 * 8192}", "--settle=60s")
        bench("ingest_crowd_sent", sent["bytes"] / (1 << 20), "MiB")
        bench("ingest_crowd_rss", rss_mib(agg.process.pid, "VmHWM"), "MiB", 128,
              least=False)
        bench("ingest_crowd_waited",
              agg.metric("redtap_aggregator_ingest_waited_total"), "messages")


def part_restart(args):
    """A log of 256 MiB without a checkpoint of its counters."""
    with Aggregator(args, "--store.checkpoint=1h") as agg:
        sent = load(agg, 60, 64, "1k", f"--events={30 * 1000 * 1000}")
        before = agg.metric("redtap_aggregator_events_total")
        agg.stop(signal.SIGKILL)
        bench("store_disk", agg.disk_bytes() / sent["events"], "bytes/event")
        seconds = agg.start()
        if agg.metric("redtap_aggregator_events_total") != before:
            sys.exit("bench: the restart changed the count")
        bench("restart_without_checkpoint", sent["events"] / seconds,
              "events/s")
        bench("restart_without_checkpoint_time", seconds, "s")
        agg.stop(signal.SIGTERM)
        bench("restart_full_log", agg.start(), "s", 5, least=False)


def part_stalls(args):
    """Answers later than 500 ms are asked for again, and so counted."""
    with Aggregator(args, "--store.checkpoint=2s",
                    "--retention.raw-bytes=16MiB") as agg:
        sent = load(agg, 2 * args.seconds, 100, "100k",
                    "--reply-timeout=500ms", speed=("--rate=500000",))
        bench("stall_answers_over_500_ms", sent["resent"], "answers", 0,
              least=False)
        bench("stall_checkpoints",
              agg.metric("redtap_aggregator_checkpoints_total"), "rounds")
        bench("stall_retention_deleted",
              agg.metric("redtap_aggregator_retention_deleted_batches_total"),
              "batches")


def import_lines(n):
    """Samples as a Prometheus client would push them, 100 label sets."""
    now = int(time.time() * 1000)
    return "".join(
        'http_server_request_duration_seconds{job="service-%d",'
        'http_route="/route-%d/{id}",http_request_method="GET",'
        'http_response_status_code="200"} 0.0%d %d\n'
        % (i % 10, i // 10 % 10, i % 97, now + i // 100)
        for i in range(n)).encode()


def installed(program, package):
    """Its path, after an attempt to install it; None: it cannot be had."""
    if not shutil.which(program) and os.getuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "-q",
                        "--no-install-recommends", package],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=False)
    if not shutil.which(program):
        print(f"skip - {package} is not installed")
    return shutil.which(program)


def peer_victoriametrics(binary, args):
    """Samples a CPU-second; raw import, which stores each and adds none up."""
    place = tempfile.mkdtemp(prefix="redtap-bench.", dir=args.store)
    peer = subprocess.Popen(
        [binary, f"-storageDataPath={place}", "-retentionPeriod=1",
         f"-httpListenAddr=127.0.0.1:{PEER}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                get("/health", PEER)
                break
            except OSError:
                time.sleep(0.05)
        body, sent = import_lines(50000), 0
        cpu = cpu_s(peer.pid)
        until = time.monotonic() + args.seconds
        while time.monotonic() < until:
            url = f"http://127.0.0.1:{PEER}/api/v1/import/prometheus"
            urllib.request.urlopen(url, data=body, timeout=60).close()
            sent += 50000
        return sent / max(cpu_s(peer.pid) - cpu, 1 / TICK)
    finally:
        peer.kill()
        peer.wait()
        shutil.rmtree(place, ignore_errors=True)


MTAIL = r"""
histogram http_server_request_duration_seconds by job, http_route, \
http_request_method, http_response_status_code buckets 0.005, 0.01, 0.025, \
0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10
/^(?P<job>\S+) (?P<method>\S+) (?P<route>\S+) (?P<status>\d+) (?P<s>\d+\.\d+)$/ {
  http_server_request_duration_seconds[$job][$route][$method][$status] = $s
}
""".replace("\\\n", "")


def peer_mtail(binary, args):
    """Lines of an access log a CPU-second, into the same histogram: one
    process, nothing kept on disk, no histogram but this."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="redtap-bench.",
                                          dir=args.store))
    lines = 200000 * args.seconds
    (place / "progs").mkdir()
    (place / "progs" / "http.mtail").write_text(MTAIL)
    with open(place / "log", "w", encoding="ascii") as f:
        f.writelines(f"service-{i % 10} GET /route-{i // 10 % 10}/{{id}} 200 "
                     f"0.0{i % 90 + 10}\n" for i in range(lines))
    before = children_cpu_s()
    out = subprocess.run(
        [binary, "--one_shot", f"--progs={place}/progs", "--address=127.0.0.1",
         f"--port={PEER}", f"--logs={place}/log", f"--log_dir={place}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        check=True).stdout
    used = children_cpu_s() - before
    shutil.rmtree(place, ignore_errors=True)
    metric = json.loads(out)["http_server_request_duration_seconds"][0]
    counted = sum(sum(v["Value"]["Buckets"].values())
                  for v in metric["LabelValues"])
    if counted != lines:
        sys.exit(f"bench: mtail counted {counted} of {lines} lines")
    return lines / used


def part_peers(args):
    """
    Events a CPU-second, against what else can count them and is packaged for
    Debian 12: mtail makes the same histogram of log lines; VictoriaMetrics
    1.79 only stores samples, as its stream aggregation came with 1.86.
    """
    print("skip - statsd_exporter, OpenTelemetry's collector, VictoriaMetrics' "
          "stream aggregation: Debian 12 has no package of it")
    if not getattr(args, "ours", None):
        part_speed(args)
    bench("peer_redtap", args.ours, "events/CPU-s")
    for name, program, package, run, goal in (
            ("mtail", "mtail", "mtail", peer_mtail, 15),
            ("victoriametrics_raw_import", "victoria-metrics",
             "victoria-metrics", peer_victoriametrics, 15)):
        binary = installed(program, package)
        if binary:
            theirs = run(binary, args)
            bench(f"peer_{name}", theirs, "events/CPU-s")
            bench(f"peer_ratio_{name}", args.ours / theirs, "x", goal)


def main():
    parts = {name[5:]: f for name, f in globals().items()
             if name.startswith("part_")}
    p = argparse.ArgumentParser(description=__doc__.split("\n", 2)[1])
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--build", default="build")
    p.add_argument("--store", default=None,
                   help="folder for the stores (TMPDIR)")
    p.add_argument("part", nargs="*", choices=[*parts, []])
    args = p.parse_args()
    for name in args.part or parts:
        parts[name](args)


if __name__ == "__main__":
    main()

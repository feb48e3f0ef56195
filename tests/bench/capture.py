#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What capture costs the application: nginx and wrk on loopback, with the agent
and without in turn, because the machine drifts more than the difference.

    capture.py [--capture=MODES] [--rounds=N] [--seconds=S] [--apart]
               [workload ...]

Without --capture each front-end that this kernel lets attach. Workloads: start
(of the agent, until it captures), hooks (requests to and fro in one thread: what
the kernel side costs, by program too), saturation (nginx keep-alive, a small file,
as fast as it goes), tls (the same over HTTPS), fixed (10,000 requests/s), peak
(nginx answers from memory: the most events), latency (one connection at a
time), redis (ping-pong that is not HTTP), bulk (a transfer that is not HTTP).
--apart gives nginx one processor, and all else the others.
Prints `bench: NAME VALUE UNIT goal=G ok|short`, one line a figure, medians of
the rounds.

nginx is as Debian sets it up (sendfile, a file opened anew for each request),
but with one worker and no access log: eight system calls a request.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

from figures import bench, children_cpu_s, cpu_s, rss_mib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "integration"))
import harness  # noqa: E402

WEB, NGINX, REDIS, BULK = 21404, 21590, 21591, 21592
HOOKS = harness.BUILD / "tests/bench/hooks"
STATISTICS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")


def make_certificate(redtap):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", redtap.dir / "key.pem",
         "-out", redtap.dir / "cert.pem"], check=True, capture_output=True)


def start_nginx(redtap, opt, tls=False):
    make_certificate(redtap)
    listen = f"127.0.0.1:{NGINX}" + (" ssl" if tls else "")
    root = redtap.dir / "www"
    root.mkdir()
    (root / "small.html").write_text("x" * 600 + "\n")
    conf = redtap.dir / "nginx.conf"
    conf.write_text(f"""
daemon off; master_process off; worker_processes 1;
pid {redtap.dir}/nginx.pid; error_log {redtap.dir}/nginx-error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000000;
  ssl_certificate {redtap.dir}/cert.pem;
  ssl_certificate_key {redtap.dir}/key.pem;
  server {{
    listen {listen}; root {root};
    location /memory {{ return 200 "{'x' * 600}"; }}
  }}
}}
""")
    server = redtap.spawn(["nginx", "-p", redtap.dir, "-c", conf], "nginx")
    if opt.apart:
        os.sched_setaffinity(server.pid, {0})
    harness.eventually("nginx listens", lambda: harness.port_open(NGINX))
    return server


class Wrk:
    """One run of wrk: requests, CPU, latencies."""

    def __init__(self, seconds, connections, path="small.html", tls=False):
        begin = children_cpu_s()
        out = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency",
             f"http{'s' if tls else ''}://127.0.0.1:{NGINX}/{path}"],
            check=True, capture_output=True, text=True).stdout
        self.cpu_s = children_cpu_s() - begin
        self.requests = int(re.search(r"(\d+) requests in", out).group(1))
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)",
                                    out).group(1))
        unit = {"us": 1.0, "ms": 1e3, "s": 1e6}
        self.us = {
            q: float(v) * unit[u] for q, v, u in re.findall(
                r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", out, re.M)}


def alternate(redtap, rounds, measure):
    """[(without, with)]: measure(agent or None) in turn."""
    pairs = []
    for _ in range(rounds):
        without = measure(None)
        redtap.start_agent()
        pairs.append((without, measure(redtap.agent)))
        redtap.quiet(timeout_s=60)
        redtap.agent.stop()
        redtap.agent = None
    return pairs


def median(values):
    return statistics.median(list(values))


class Paced:
    """One run of h2load at 10,000 requests/s."""

    CONNECTIONS, EACH = 16, 625

    def __init__(self, redtap, seconds):
        log = redtap.dir / "paced.log"
        begin = children_cpu_s()
        subprocess.run(
            ["h2load", "--h1", "-t1", f"-c{self.CONNECTIONS}",
             f"--rps={self.EACH}", f"-D{seconds}", f"--log-file={log}",
             f"http://127.0.0.1:{NGINX}/small.html"],
            check=True, capture_output=True)
        self.cpu_s = children_cpu_s() - begin
        us = sorted(int(line.split()[2])
                    for line in log.read_text().splitlines())
        log.unlink()
        self.requests = len(us)
        self.rate = self.requests / seconds
        self.us = {"50": us[len(us) // 2], "99": us[len(us) * 99 // 100]}


def on_nginx(redtap, opt, load, tls=False):
    """Pairs of load(), with what it cost nginx and the agent."""
    nginx = start_nginx(redtap, opt, tls)

    def measure(agent):
        before = redtap.metrics()
        app = cpu_s(nginx.pid)
        own = cpu_s(agent.pid) if agent else 0.0
        run = load()
        run.nginx_s = cpu_s(nginx.pid) - app
        run.app_s = run.nginx_s + run.cpu_s
        run.rss = 0.0
        if agent:
            redtap.quiet(timeout_s=60)
            run.agent_s = cpu_s(agent.pid) - own
            run.rss = rss_mib(agent.pid)
            delta = redtap.metrics().minus(before)
            run.dropped = delta.sum("redtap_agent_events_dropped_total")
            run.counted = delta.sum("redtap_http_requests_total")
        return run

    return alternate(redtap, opt.rounds, measure)


def tell_cpu(tag, pairs):
    """nginx-kept: of its throughput, if it has a processor for itself."""
    bench(f"{tag}-nginx-kept",
          median(a.nginx_s / a.requests / (b.nginx_s / b.requests)
                 for a, b in pairs), "ratio")
    for name, cpu in (("nginx", lambda run: run.nginx_s / run.requests),
                      ("client", lambda run: run.cpu_s / run.requests)):
        bench(f"{tag}-{name}-cpu",
              median(cpu(a) for a, _ in pairs) * 1e6, "us/request")
        bench(f"{tag}-{name}-cpu-added",
              median(cpu(b) - cpu(a) for a, b in pairs) * 1e6, "us/request")
    bench(f"{tag}-application-cpu-added",
          median((b.app_s / b.requests - a.app_s / a.requests) * 1e6 / 2
                 for a, b in pairs), "us/event")
    bench(f"{tag}-agent-cpu",
          median(b.agent_s / b.requests * 1e6 / 2 for _, b in pairs),
          "us/event")
    bench(f"{tag}-cpu-total",
          median((b.app_s / b.requests - a.app_s / a.requests
                  + b.agent_s / b.requests) * 1e6 / 2 for a, b in pairs),
          "us/event")


def tell_rate(tag, pairs, goal=None):
    bench(f"{tag}-throughput-kept",
          median(b.rate / a.rate for a, b in pairs), "ratio", goal)
    bench(f"{tag}-requests-without", median(a.rate for a, _ in pairs), "1/s")
    bench(f"{tag}-requests-with", median(b.rate for _, b in pairs), "1/s")


def tell_counts(tag, pairs):
    bench(f"{tag}-agent-rss", max(b.rss for _, b in pairs), "MiB", 16,
          least=False)
    bench(f"{tag}-dropped", sum(b.dropped for _, b in pairs), "events", 0,
          least=False)
    bench(f"{tag}-counted-per-request",
          sum(b.counted for _, b in pairs)
          / sum(b.requests for _, b in pairs), "events")


def tell_added(tag, pairs):
    for q in "50", "99":
        bench(f"{tag}-p{q}-added",
              median(b.us[q] - a.us[q] for a, b in pairs), "us")


def saturation(redtap, opt):
    pairs = on_nginx(redtap, opt, lambda: Wrk(opt.seconds, 16))
    tag = f"capture-{opt.front}"
    tell_rate(tag, pairs, 0.90 if opt.front == "fentry" else 0.85)
    tell_cpu(tag, pairs)
    tell_counts(tag, pairs)
    tell_added(tag, pairs)
    nothing = nothing_ns(opt, lambda: Wrk(opt.seconds, 16))
    run, ran = with_statistics(redtap, lambda: Wrk(opt.seconds, 16))
    bpf = (sum(ns - runs * nothing for runs, ns in ran.values())
           / 1e3 / run.requests / 2)
    bench(f"{tag}-nothing", nothing, "ns/run")
    bench(f"{tag}-bpf", bpf, "us/event")
    bench(f"{tag}-bpf-and-agent",
          bpf + median(b.agent_s / b.requests * 1e6 / 2 for _, b in pairs),
          "us/event", 2.5, least=False)


def tls(redtap, opt):
    pairs = on_nginx(redtap, opt, lambda: Wrk(opt.seconds, 16, tls=True), True)
    tag = f"capture-{opt.front}-tls"
    tell_rate(tag, pairs)
    tell_cpu(tag, pairs)
    tell_counts(tag, pairs)


def fixed(redtap, opt):
    pairs = on_nginx(redtap, opt, lambda: Paced(redtap, opt.seconds))
    tag = f"capture-{opt.front}-fixed"
    bench(f"{tag}-requests", median(b.rate for _, b in pairs), "1/s")
    tell_cpu(tag, pairs)
    tell_added(tag, pairs)


def peak(redtap, opt):
    pairs = on_nginx(redtap, opt, lambda: Wrk(opt.seconds, 64, "memory"))
    tag = f"capture-{opt.front}-peak"
    tell_rate(tag, pairs)
    tell_counts(tag, pairs)


def start(redtap, opt):
    """From exec to the line that says so."""
    took = []
    for _ in range(opt.rounds):
        begin = time.monotonic()
        redtap.start_agent(wait=False)
        harness.eventually("the agent captures", lambda:
                           'msg="ready ' in redtap.agent.log.read_text(),
                           every_s=0.002)
        took.append((time.monotonic() - begin) * 1e3)
        redtap.agent.stop()
        redtap.agent.log.unlink()
        redtap.agent = None
    bench(f"agent-start-{opt.front}", median(took), "ms", 300, least=False)


def programs(pid):
    """{name: (runs, ns)} of the programs that a process has, by now."""
    ids = set()
    for fd in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            ids.update(map(int, re.findall(r"^prog_id:\s+(\d+)",
                                           fd.read_text(), re.M)))
    shown = json.loads(subprocess.run(
        ["bpftool", "--json", "prog", "show"], check=True,
        capture_output=True).stdout)
    return {p.get("name", p["id"]): (p.get("run_cnt", 0),
                                     p.get("run_time_ns", 0))
            for p in shown if p["id"] in ids}


def measured(pid, load):
    """One load(): what it says, and the programs() that a process has had."""
    STATISTICS.write_text("1")
    try:
        return load(), programs(pid)
    finally:
        STATISTICS.write_text("0")


def with_statistics(redtap, load):
    """measured() beside an agent."""
    redtap.start_agent()
    try:
        return measured(redtap.agent.pid, load)
    finally:
        redtap.agent.stop()
        redtap.agent = None


def nothing_ns(opt, load):
    """
    What the kernel says that a run of a program takes that does nothing, at the
    same places and under the same load: the clock that it looks at.
    """
    with subprocess.Popen([HOOKS, "hold", opt.front], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as held:
        if not held.stdout.readline():  # kprobe: there are no such places
            return 0
        ran = measured(held.pid, load)[1].values()
        held.stdin.close()
    return sum(ns for _, ns in ran) / max(sum(n for n, _ in ran), 1)


def tell_programs(tag, ran, n, unit):
    """Of n events, or whatever the unit is."""
    for name, (runs, ns) in sorted(ran.items()):
        if runs >= n / 100:
            bench(f"{tag}-{name}", ns / runs, "ns/run")
            bench(f"{tag}-{name}-runs", runs / n, f"1/{unit}")


def hooks(redtap, opt):
    """One thread that plays both ends, so that nothing else is measured."""
    def run(*args):
        return subprocess.run([HOOKS, *args], check=True, capture_output=True,
                              text=True).stdout

    def measure(_):
        out = run("exchange", str(opt.seconds)).split()
        return float(out[0]), int(out[2])

    print(run("floor", opt.front), end="")

    tag = f"capture-{opt.front}-hooks"
    pairs = alternate(redtap, opt.rounds, measure)
    bench(f"{tag}-added", median(b[0] - a[0] for a, b in pairs) / 2,
          "ns/event")
    bench(f"{tag}-without", median(a[0] for a, _ in pairs), "ns/request")
    out, ran = with_statistics(redtap, lambda: measure(None))
    tell_programs(tag, ran, 2 * out[1], "event")


def latency(redtap, opt):
    start_nginx(redtap, opt)
    pairs = alternate(redtap, opt.rounds, lambda _: Wrk(opt.seconds, 1))
    tell_added(f"capture-{opt.front}-alone", pairs)


def not_http(redtap, opt, name, n, load):
    """
    load() moves n requests, or pieces, and returns the time that took, and the
    CPU that its programs took.
    """
    tag = f"capture-{opt.front}-{name}"
    pairs = alternate(redtap, opt.rounds, lambda _: load())
    bench(f"{tag}-throughput-kept", median(a[0] / b[0] for a, b in pairs),
          "ratio", 0.995)
    bench(f"{tag}-cpu-kept", median(a[1] / b[1] for a, b in pairs), "ratio",
          0.995)
    bench(f"{tag}-cpu", median(a[1] for a, _ in pairs) / n * 1e6, "us/request")
    bench(f"{tag}-cpu-added",
          median(b[1] - a[1] for a, b in pairs) / n * 1e6, "us/request")
    tell_programs(tag, with_statistics(redtap, load)[1], n, "request")


def redis(redtap, opt):
    """Both ends are captured; neither is HTTP."""
    server = redtap.spawn(
        ["redis-server", "--port", str(REDIS), "--save", "",
         "--bind", "127.0.0.1", "--dir", redtap.dir], "redis")
    harness.eventually("redis listens", lambda: harness.port_open(REDIS))
    n = opt.seconds * 50000

    def load():
        cpu = cpu_s(server.pid) + children_cpu_s()
        out = subprocess.run(
            ["redis-benchmark", "-p", str(REDIS), "-t", "ping_mbulk", "-q",
             "-c", "16", "-n", str(n), "--csv"],
            check=True, capture_output=True, text=True).stdout
        rate = float(out.strip().split("\n")[-1].split(",")[1].strip('"'))
        return n / rate, cpu_s(server.pid) + children_cpu_s() - cpu

    not_http(redtap, opt, "redis", n, load)


def bulk(redtap, opt):
    """socat from /dev/zero to /dev/null, 64 KiB a piece, as fast as it goes."""
    size = opt.seconds << 30

    def load():
        begin, cpu = time.monotonic(), children_cpu_s()
        subprocess.run(
            f"socat -u -b65536 TCP-LISTEN:{BULK},bind=127.0.0.1,reuseaddr "
            f"OPEN:/dev/null & head -c {size} /dev/zero | socat -u -b65536 "
            f"STDIN TCP:127.0.0.1:{BULK},retry=1000,interval=0.001; wait $!",
            shell=True, check=True)
        return time.monotonic() - begin, children_cpu_s() - cpu

    not_http(redtap, opt, "bulk", size >> 16, load)


def fronts():
    """Those that this kernel lets attach, the cheapest first."""
    out = subprocess.run([harness.AGENT, "check"], capture_output=True,
                         text=True, check=False).stdout
    return re.findall(r"^ok +capture +(\w+) can be used", out, re.M)


def main():
    workloads = {f.__name__: f for f in (
        start, hooks, saturation, tls, fixed, peak, latency, redis, bulk)}
    parser = argparse.ArgumentParser()
    parser.add_argument("--capture")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("workload", nargs="*", default=list(workloads))
    opt = parser.parse_args()
    if opt.apart:
        os.sched_setaffinity(0, os.sched_getaffinity(0) - {0})
    for opt.front in opt.capture.split() if opt.capture else fronts():
        for name in opt.workload:
            with harness.Redtap(
                    WEB, agent_flags=[f"--capture={opt.front}"]) as redtap:
                redtap.start_aggregator()
                workloads[name](redtap, opt)


if __name__ == "__main__":
    main()

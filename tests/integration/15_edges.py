#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The edges: every system call that moves bytes, routes that are capped, messages
that are not HTTP although they begin like it, and traffic that is not HTTP at
all, with what it costs after the verdict.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import cases
from conversation import hold
from harness import BUILD, FAMILY, PATIENCE, Failure, Redtap, Report, \
    Request, Skip, agree, check, equal, eventually, note, observed, port_open

DRIVERS = BUILD / "tests" / "integration"
SYSCALLS_PORT, REDIS_PORT, TLS_PORT, PINGPONG_PORT = 21500, 21501, 21502, 21503
HTTP2_PORT = 21505
GUEST = os.environ.get("REDTAP_GUEST")  # emulated, and slow
REQUESTS = 3  # a connection, in syscalls.c
CONFIG = ["routes:", f"  cap: {cases.ROUTE_CAP}",
          '  patterns: ["/shop/{category}/{item}"]']


def syscalls(rt, report):
    sentence = ("read, readv, recvfrom, recvmsg, recvmmsg, splice with write, "
                "writev, sendto, sendmsg, sendmmsg, sendfile, splice: exact, "
                "IPv4 and IPv6")
    with report.case(sentence):
        before = rt.metrics()
        driver = subprocess.Popen(
            [DRIVERS / "syscalls", str(SYSCALLS_PORT), str(REQUESTS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, OTEL_SERVICE_NAME="syscalls"))
        rows = []
        for line in driver.stdout:
            if line == "end\n":
                break
            role, route, status, count = line.split()
            rows += [Request(role, "POST", route, int(status))] * int(count)
        try:
            equal("requests of the driver", len(rows), 2 * 84 * REQUESTS)
            m = rt.quiet()
        finally:
            driver.stdin.close()
            equal("exit status of the driver", driver.wait(10 * PATIENCE), 0)
        agree(m.minus(before), "syscalls", rows)


def routes(rt, report):
    before = rt.metrics()
    pattern, capped = hold(["userpattern", "routecap"])
    delta = rt.quiet().minus(before)
    for conversation in (pattern, capped):
        conversation.end()
    with report.case("patterns of the configuration come before our own"):
        check(not pattern.wrong, pattern.wrong)
        agree(delta, "userpattern", pattern.rows)
    with report.case(f"beyond {cases.ROUTE_CAP} routes of a service there is "
                     "one overflow route, and no request is lost"):
        check(not capped.wrong, capped.wrong)
        counts = {key[1]: have[0] for key, have in
                  observed(delta, "server", "routecap").items()}
        sent = {route for route, _, _ in cases.MANY_ROUTES}
        over = len(sent) - cases.ROUTE_CAP
        equal("requests", sum(counts.values()), len(sent))
        equal("routes of their own", sum(1 for r in counts if r in sent),
              cases.ROUTE_CAP)
        equal("others", {r: n for r, n in counts.items() if r not in sent},
              {"/{overflow}": over})
        equal("routes_overflowed",
              delta.sum("redtap_agent_routes_overflowed_total"), over)


def malformed(rt, report):
    before = rt.metrics()
    held = hold(["badrequest", "badresponse"])
    delta = rt.quiet().minus(before)
    for conversation in held:
        conversation.end()
    for conversation in held:
        sentence = cases.EDGES[conversation.name].__doc__
        with report.case(f"{conversation.name}: {sentence}"):
            check(not conversation.wrong, conversation.wrong)
            agree(delta, conversation.name, conversation.rows)
    with report.case("each of them is counted as malformed, once a side"):
        equal("malformed", delta.sum("redtap_agent_malformed_total"),
              2 * (len(cases.BAD_REQUESTS) + len(cases.BAD_RESPONSES)))


def writers(rt, report):
    """A kernel keeps ten return probes of tcp_sendmsg() at a time."""
    before = rt.metrics()
    held, = hold(["manywriters"])
    delta = rt.quiet().minus(before)
    held.end()
    with report.case("31 writers that wait at the same time: each counted, or "
                     "with capture=kprobe reported as dropped"):
        check(not held.wrong, held.wrong)
        captured, counted, dropped = rt.audit(delta)
        equal("captured", captured, len(held.rows))
        if rt.capture() == "kprobe":
            note(f"writers: counted {counted:.0f}, dropped {dropped:.0f}")
        else:
            agree(delta, "manywriters", held.rows)


def no_events(rt, before, job):
    m = rt.quiet()
    delta = m.minus(before)
    equal("captured, counted, dropped", rt.audit(delta), (0, 0, 0))
    for role in ("server", "client"):
        equal(f"{role} series", observed(delta, role, job), {})
    return delta


def redis(rt, report):
    sentence = "a Redis server and its benchmark make no events"
    with report.case(sentence):
        if not shutil.which("redis-server"):
            raise Skip("redis-server is not installed")
        before = rt.metrics()
        rt.spawn(["redis-server", "--port", REDIS_PORT, "--bind", "127.0.0.1",
                  "--save", "", "--dir", rt.dir], "redis",
                 env=dict(os.environ, OTEL_SERVICE_NAME="redis"))
        eventually("redis answers", lambda: port_open(REDIS_PORT))
        done = subprocess.run(
            ["redis-benchmark", "-p", str(REDIS_PORT), "-n",
             "301" if GUEST else "3001", "-c", "7", "-t", "ping,set,get,lpush", "-q"], capture_output=True,
            text=True, timeout=30 * PATIENCE,
            env=dict(os.environ, OTEL_SERVICE_NAME="redis"))
        equal("exit status of redis-benchmark", done.returncode, 0)
        delta = no_events(rt, before, "redis")
        verdicts = delta.sum("redtap_agent_tap_not_http_total")
        check(verdicts > 0, "no connection was given the verdict")
        equal("malformed", delta.sum("redtap_agent_malformed_total"), 0)


def tls(rt, report):
    with report.case("TLS that does not carry HTTP makes no events"):
        key, cert = rt.dir / "key.pem", rt.dir / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
             "/CN=localhost", "-keyout", key, "-out", cert, "-days", "1"],
            check=True, capture_output=True)
        before = rt.metrics()
        rt.spawn(["openssl", "s_server", "-rev", "-accept",
                  f"127.0.0.1:{TLS_PORT}", "-key", key, "-cert", cert], "tls",
                 env=dict(os.environ, OTEL_SERVICE_NAME="tls"))
        eventually("openssl listens", lambda: port_open(TLS_PORT))
        for n in range(3):
            client = subprocess.Popen(
                ["openssl", "s_client", "-quiet", "-connect",
                 f"127.0.0.1:{TLS_PORT}"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=dict(os.environ, OTEL_SERVICE_NAME="tls"))
            for i in range(50):
                line = b"line %d of %d, no HTTP" % (i, n)
                client.stdin.write(line + b"\n")
                client.stdin.flush()
                equal("echo", client.stdout.readline(), line[::-1] + b"\n")
            client.stdin.close()
            client.kill()
            client.wait()
        no_events(rt, before, "tls")


NGINX = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ }}
http {{ access_log off; client_body_temp_path tmp; proxy_temp_path tmp;
	fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
	server {{ listen 127.0.0.1:{port} http2; return 200 "two\n"; }} }}
"""


def http2(rt, report):
    with report.case("HTTP/2 is counted by request and side, as HTTP/1 is"):
        if not shutil.which("nginx") or not shutil.which("curl"):
            raise Skip("nginx or curl is not installed")
        env = dict(os.environ, OTEL_SERVICE_NAME="http2")
        curl = dict(os.environ, OTEL_SERVICE_NAME="curl")
        conf = rt.dir / "http2.conf"
        conf.write_text(NGINX.format(port=HTTP2_PORT))
        rt.spawn(["nginx", "-p", rt.dir, "-c", conf], "nginx", env=env)
        eventually("nginx listens", lambda: port_open(HTTP2_PORT))
        before = rt.metrics()
        for _ in range(7):
            done = subprocess.run(
                ["curl", "-s", "--http2-prior-knowledge", "-w",
                 "%{http_version} %{http_code}", "-o", "/dev/null",
                 f"http://127.0.0.1:{HTTP2_PORT}/"],
                capture_output=True, text=True, env=curl)
            equal("what curl saw", done.stdout, "2 200")
        delta = rt.quiet().minus(before)
        agree(delta, "http2", [
            Request("server", "GET", "/", 200, version="2")
            for _ in range(7)])
        # curl may have ended before its name could be read.
        equal("curl's requests", delta.sum(
            FAMILY["client"] + "_count", network_protocol_version="2",
            server_port=str(HTTP2_PORT), http_response_status_code="200"), 7)
        equal("captured, counted, dropped", rt.audit(delta), (14, 14, 0))
        equal("HTTP/2 connections", delta.sum("redtap_agent_http2_total"), 14)
        equal("malformed", delta.sum("redtap_agent_malformed_total"), 0)


class BpfStats:
    """The kernel's own account of time in the agent's programs."""

    KNOB = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")

    def __init__(self, agent_pid):
        self.fdinfo = pathlib.Path(f"/proc/{agent_pid}/fdinfo")
        if not self.KNOB.exists():
            raise Skip("no kernel.bpf_stats_enabled")

    def __enter__(self):
        self.old = self.KNOB.read_text()
        self.KNOB.write_text("1")
        return self

    def __exit__(self, kind, value, trace):
        self.KNOB.write_text(self.old)

    def read(self):
        """(ns, runs) so far."""
        programs = {}
        for file in self.fdinfo.iterdir():
            info = dict(line.split(":\t", 1) for line
                        in file.read_text().splitlines() if ":\t" in line)
            if "run_time_ns" in info:
                programs[info["prog_id"]] = (int(info["run_time_ns"]),
                                             int(info["run_cnt"]))
        check(programs, "the agent holds no program")
        return tuple(map(sum, zip(*programs.values())))


def verdict_cost(rt, report):
    with report.case("after the verdict a connection that is not HTTP costs "
                     "next to nothing"):
        if GUEST:
            raise Skip("an emulated processor's time says nothing")
        turns = 50000
        before = rt.metrics()
        with BpfStats(rt.agent.pid) as stats:
            ns, runs = stats.read()
            done = subprocess.run(
                [DRIVERS / "pingpong", str(PINGPONG_PORT), str(turns)],
                capture_output=True, text=True, timeout=60 * PATIENCE)
            ns, runs = (b - a for a, b in zip((ns, runs), stats.read()))
        equal("exit status of the driver", done.returncode, 0)
        # Other programs of the host run ours too, so per run is the bound.
        note(f"after the verdict: {ns / (4 * turns):.0f} ns a call in "
             f"{runs / (4 * turns):.1f} program runs (a turn of four calls "
             f"takes {done.stdout.strip()} ns)")
        delta = no_events(rt, before, "pingpong")
        verdicts = delta.sum("redtap_agent_tap_not_http_total")
        check(verdicts >= 2, f"{verdicts} verdicts, but two sides")
        check(ns / runs < 3000, f"{ns / runs:.0f} ns a run")


def main():
    report = Report()
    with Redtap(web=21402, config=CONFIG) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        begin = time.monotonic()
        suites = (syscalls, routes, writers, malformed, redis, tls,
                  http2, verdict_cost)
        for suite in suites:
            if len(sys.argv) > 1 and suite.__name__ not in sys.argv:
                continue
            since = time.monotonic()
            try:
                suite(rt, report)
            except Failure as e:
                report.not_ok(suite.__name__, e)
            note(f"{suite.__name__}: {time.monotonic() - since:.1f} s")
        note(f"the edges took {time.monotonic() - begin:.1f} s")
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

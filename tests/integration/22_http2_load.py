#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
HTTP/2 at full speed: nghttpd under h2load, 1, 10 and 100 streams at once on
each connection, in the clear and inside TLS. The truth is h2load's summary.
"""

import collections
import os
import re
import shutil
import subprocess

from harness import FAMILY, PATIENCE, VERSION_LABEL, Redtap, Report, Skip, \
    check, equal, eventually, note, port_open

PLAIN, TLS = 21410, 21411
# A hundred streams on each of 16 connections are 300,000 requests a second for
# both ends together, while both CPUs are busy: room for all of them.
CONFIG = ["capture: {ring_bytes: 67108864}"]
REQUESTS, CONNECTIONS = 100000, 16
BODY = b"x" * 100
SUMMARY = re.compile(
    r"requests: (?P<total>\d+) total, \d+ started, (?P<done>\d+) done, "
    r"(?P<good>\d+) succeeded, (?P<failed>\d+) failed, (?P<errored>\d+) "
    r"errored, \d+ timeout\n"
    r"status codes: (?P<s2>\d+) 2xx, (?P<s3>\d+) 3xx, (?P<s4>\d+) 4xx, "
    r"(?P<s5>\d+) 5xx\n"
    r"traffic: .*?, .*? headers .*?, \S+ \((?P<data>\d+)\) data")
RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")


def service(name):
    return dict(os.environ, OTEL_SERVICE_NAME=name)


def serve(rt, port, name, *flags):
    server = rt.spawn(["nghttpd", "-a", "127.0.0.1", "-d", rt.dir / "www",
                       *flags], name, env=service(name))
    eventually("nghttpd listens", lambda: port_open(port))
    return server


def load(url, streams):
    """What h2load says of itself: its summary, and requests per second."""
    done = subprocess.run(
        ["h2load", f"-n{REQUESTS}", f"-c{CONNECTIONS}", f"-m{streams}", "-t1",
         url], stdout=subprocess.PIPE, text=True, timeout=120 * PATIENCE,
        env=service("h2load"), check=True)
    found = SUMMARY.search(done.stdout)
    check(found, done.stdout)
    rate = RATE.search(done.stdout)
    return {k: int(v) for k, v in found.groupdict().items()}, \
        float(rate.group(1))


def by_status(m, role, **want):
    """Requests by the first digit of their status; "error" for the others."""
    out = collections.Counter()
    for labels, n in m.select(FAMILY[role] + "_count", **want).items():
        have = dict(labels)
        equal("protocol version", have.get(VERSION_LABEL), "2")
        out[(have.get("http_response_status_code") or "error")[0]] += int(n)
    return dict(out)


def agree(rt, before, said, scheme, server):
    delta = rt.quiet().minus(before)
    captured, counted, dropped = rt.audit(delta)
    equal("dropped", dict(delta.select("redtap_agent_events_dropped_total",
                                       node=rt.NODE)),
          {k: 0 for k in delta.select("redtap_agent_events_dropped_total",
                                      node=rt.NODE)})
    equal("captured", captured, counted + dropped)
    want = {k: said["s" + k] for k in "2345" if said["s" + k]}
    equal("server's requests", by_status(delta, "server", job=server,
                                         url_scheme=scheme), want)
    equal("client's requests", by_status(delta, "client", job="h2load"), want)
    equal("bytes of the bodies", delta.sum(
        "http_server_response_body_size_bytes_sum", job=server), said["data"])
    for name in ("redtap_agent_http2_desynced_total",
                 "redtap_agent_http2_fields_unknown_total",
                 "redtap_agent_tap_http2_lost_total",
                 "redtap_agent_tap_http2_unwalked_total",
                 "redtap_agent_malformed_total", "redtap_agent_orphans_total"):
        equal(name, delta.sum(name, node=rt.NODE), 0)
    equal("connections, and their other ends",
          delta.sum("redtap_agent_http2_total", node=rt.NODE),
          2 * CONNECTIONS)
    return delta


def plain(rt, streams):
    before = rt.metrics()
    said, rate = load(f"http://127.0.0.1:{PLAIN}/small", streams)
    equal("h2load is done", said["done"], REQUESTS)
    agree(rt, before, said, "http", "nghttpd")
    note(f"{streams} streams at once: {rate:.0f} requests/s")


def inside_tls(rt, streams):
    before = rt.metrics()
    said, rate = load(f"https://127.0.0.1:{TLS}/small", streams)
    equal("h2load is done", said["done"], REQUESTS)
    agree(rt, before, said, "https", "nghttpd-tls")
    note(f"{streams} streams at once in TLS: {rate:.0f} requests/s")


def graph(rt):
    """Each request is one edge with both its sides."""
    edges = {}
    for labels, n in rt.metrics().select(
            "traces_service_graph_request_total").items():
        have = dict(labels)
        edges[have["client"], have["server"],
              have.get("connection_type", "")] = int(n)
    equal("edges", edges, {
        ("h2load", "nghttpd", ""): 3 * REQUESTS,
        ("h2load", "nghttpd-tls", ""): 3 * REQUESTS})


def main():
    report = Report()
    with Redtap(web=21404, config=CONFIG) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
            for program in ("nghttpd", "h2load", "openssl"):
                if not shutil.which(program):
                    raise Skip(f"{program} is not installed")
            (rt.dir / "www").mkdir()
            (rt.dir / "www" / "small").write_bytes(BODY)
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                 "-subj", "/CN=localhost", "-keyout", rt.dir / "key.pem",
                 "-out", rt.dir / "cert.pem"], check=True,
                stderr=subprocess.DEVNULL)
            serve(rt, PLAIN, "nghttpd", "--no-tls", PLAIN)
            serve(rt, TLS, "nghttpd-tls", TLS, rt.dir / "key.pem",
                  rt.dir / "cert.pem")
        if report.failed:
            report.exit()
        for streams in (1, 10, 100):
            with report.case(f"{REQUESTS} requests, {streams} at once on a "
                             "connection: by status, and their bytes, as "
                             "h2load says, at both ends"):
                plain(rt, streams)
            with report.case(f"the same inside TLS, {streams} at once"):
                inside_tls(rt, streams)
        with report.case("in the service graph each request is one edge, with "
                         "a hundred at once on a connection too"):
            graph(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

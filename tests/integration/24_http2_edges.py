#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What is hard in HTTP/2: calls cut anywhere, a large answer beside small ones,
streams that end badly, connections older than the agent, a ring that overflows.
"""

import collections
import contextlib
import importlib
import json
import os
import re
import signal
import subprocess

from harness import FAMILY, PATIENCE, VERSION_LABEL, Redtap, Report, check, \
    equal, eventually, http_get, note, now, port_open

programs = importlib.import_module("23_http2_programs")
HERE, PYTHON, service = programs.HERE, programs.PYTHON, programs.service
SCRIPTED, NGHTTPD, NODE, GRPC, HYPERCORN = range(21410, 21415)
LARGE = 100 << 20


def peer(rt, name, argv, job=None):
    return rt.spawn(argv, name, env=service(job or name),)


def scripted(rt, what):
    """What the script did, once it has done it."""
    done = subprocess.run(
        [PYTHON, HERE / "scripted.py", str(SCRIPTED), what],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        timeout=120 * PATIENCE, env=service("scripted"), check=True)
    said = json.loads(done.stdout)
    want = collections.Counter()
    for key, n in said["seen"].items():
        role, method, route, status, error = json.loads(key)
        want["scripted", role, method, route, status, error, "2"] += n
    return said["bytes"], want


def no_streams(rt):
    """Two ticks after the end, which quiet() waits for, nothing is open."""
    equal("open streams",
          rt.lines("redtap_http2_open_streams").sum(
              "redtap_http2_open_streams", node=rt.NODE), 0)


def cuts(rt):
    before = rt.metrics()
    total, want = scripted(rt, "cuts")
    delta = rt.quiet().minus(before)
    programs.compare("requests", programs.requests(delta), want)
    calls = collections.Counter({
        ("scripted", role, "p.Svc/Do", "NOT_FOUND", error): total
        for role, error in (("server", None), ("client", "NOT_FOUND"))})
    programs.compare("calls", programs.calls(delta), calls)
    equal("dropped", rt.audit(delta)[2], 0)
    equal("bytes of answers", delta.sum(
        "http_server_response_body_size_bytes_sum", job="scripted"),
        total * (330 + 40))
    no_streams(rt)
    note(f"{total} conversations")


def ends(rt):
    before = rt.metrics()
    _, want = scripted(rt, "ends")
    delta = rt.quiet().minus(before)
    programs.compare("requests", programs.requests(delta), want)
    equal("dropped", rt.audit(delta)[2], 0)
    no_streams(rt)


def tunnels(rt):
    before = rt.metrics()
    scripted(rt, "tunnels")
    delta = rt.quiet().minus(before)
    have = collections.Counter()
    for name in ("redtap_http_tunnels_total", "redtap_http_tunnel_bytes_total"):
        for labels, n in delta.select(name, node=rt.NODE).items():
            have[tuple(v for k, v in labels if k != "node")] += int(n)
    # Both ends are seen, by HTTP/1.1 and by HTTP/2.
    programs.compare("tunnels", have, collections.Counter({
        ("connect",): 4, ("websocket",): 4, ("other",): 0,
        ("request", "connect"): 2 * 3400, ("request", "websocket"): 2 * 5020,
        ("response", "connect"): 2 * 910,
        ("response", "websocket"): 2 * 70600}))
    for protocol in ("connect", "websocket"):
        took = delta.sum("redtap_http_tunnel_seconds_total",
                         protocol=protocol)
        check(1.2 <= took <= 1.2 + 4 * 0.1 * PATIENCE, f"{protocol}: {took} s")


# --- programs that are killed -------------------------------------------------

class NodeClient:
    """Obeys one line at a time."""

    def __init__(self, url, job, connections=4):
        self.job = job
        self.popen = subprocess.Popen(
            ["node", HERE / "node_client.js", url, str(connections)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=service(job))

    def begin(self, n, at_once, *paths):
        self.popen.stdin.write(json.dumps([n, at_once, *paths]) + "\n")
        self.popen.stdin.flush()

    def ask(self, n, at_once, *paths):
        """{(method, path, status): how often} of these requests."""
        self.begin(n, at_once, *paths)
        return {tuple(k.split(" ")): v for k, v in
                json.loads(self.popen.stdout.readline()).items()}

    def stop(self):
        self.popen.stdin.close()
        self.popen.wait(30 * PATIENCE)


def node_server(rt, name, job="node-server"):
    server = peer(rt, name, ["node", HERE / "node_server.js", NODE], job)
    eventually("node listens", lambda: port_open(NODE))
    return server


def streams_open(rt, n):
    eventually(f"{n} streams are open", lambda: rt.lines(
        "redtap_http2_open_streams").sum("redtap_http2_open_streams",
                                         node=rt.NODE) == n)


def killed(rt):
    """400 requests are open at either end when one of them is killed."""
    for victim in ("client", "server"):
        before = rt.metrics()
        server = node_server(rt, f"node-{victim}-dies")
        client = NodeClient(f"http://127.0.0.1:{NODE}", "node-client")
        answered = client.ask(50, 10, "/plain")
        equal("answered", answered, {("GET", "/plain", "200"): 50})
        client.begin(400, 400, "/never")
        streams_open(rt, 800)
        if victim == "client":
            client.popen.kill()
        else:
            server.stop(signal.SIGKILL)
        delta = rt.quiet().minus(before)
        want = collections.Counter()
        for role in ("server", "client"):
            route = ["/plain", "/never"] if role == "server" else [None] * 2
            want[f"node-{role}", role, "GET", route[0], "200", None, "2"] += 50
            want[f"node-{role}", role, "GET", route[1], None, "aborted",
                 "2"] += 400
        got = programs.requests(delta)
        programs.compare(f"the {victim} was killed", got, want)
        equal("dropped", rt.audit(delta)[2], 0)
        no_streams(rt)
        with contextlib.suppress(BrokenPipeError):
            client.stop()
        if server.alive():
            server.stop()


# --- one large answer beside small ones -----------------------------------------

ROW = re.compile(r"^ *\d+ +(\S+) +\**(\S+) +\S+ +(\d+) +\S+ (\S+)$", re.M)


def in_seconds(text):
    value, unit = re.match(r"\+?([\d.]+)(us|ms|s)$", text).groups()
    return float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit]


def large(rt):
    before = rt.metrics()
    www = rt.dir / "www"
    (www / "large").write_bytes(os.urandom(1 << 20) * 100)
    peer(rt, "nghttpd", ["nghttpd", "-a", "127.0.0.1", "-d", www, "--no-tls",
                         "-w30", "-W30", NGHTTPD])
    eventually("nghttpd listens", lambda: port_open(NGHTTPD))
    url = f"http://127.0.0.1:{NGHTTPD}"
    done = subprocess.run(
        ["nghttp", "-ns", "-w30", "-W30", url + "/large"] +
        [f"{url}/small?{i}" for i in range(50)], stdout=subprocess.PIPE,
        text=True, check=True, timeout=60 * PATIENCE, env=service("nghttp"))
    rows = {path: in_seconds(end) - in_seconds(begin)
            for end, begin, _, path in ROW.findall(done.stdout)}
    equal("answers", len(rows), 51)
    delta = rt.quiet().minus(before)
    equal("bytes", delta.sum("http_server_response_body_size_bytes_sum",
                             job="nghttpd"), LARGE + 50 * 100)
    for role, job in (("server", "nghttpd"), ("client", "nghttp")):
        have = json.loads(http_get(rt.web, "/api/v1/requests?range=300&"
                                   f"service={job}&role={role}&limit=60")[2])
        have = have["requests"]
        equal(f"requests of {job}", len(have["duration"]), 51)
        took = sorted(zip(have["response_bytes"], have["duration"]))
        equal("bytes of the large one", took[-1][0], LARGE)
        small = max(d for n, d in took[:-1])
        note(f"{role}: large {took[-1][1]:.4f} s, small at most {small:.4f} s; "
             f"nghttp says {rows['/large']:.4f} s, at most "
             f"{max(v for k, v in rows.items() if k != '/large'):.4f} s")
        check(small < 0.05, f"a small one took {small}")
        if role == "client":
            check(abs(took[-1][1] - rows["/large"]) <= 0.005 * PATIENCE,
                  "the large one took another time")


# --- joined late, and a ring that overflows ------------------------------------------

UNKNOWN = "redtap_agent_http2_fields_unknown_total"
PATHS = ["/plain", "/gone", "/broken", "+/made", "/plain?x=1", "/trailers"]


def true_or_absent(delta, role, job, said):
    """
    Each request is there; what is shown of it is true, and what is absent is
    counted as unknown. said: {(method, path, status): n}
    """
    truth = collections.Counter()
    for (method, path, status), n in said.items():
        truth[method, path.partition("?")[0], status] += n
    absent = collections.Counter()
    fields = ("http_request_method", "http_route",
              "http_response_status_code")
    total = 0
    rows = []
    for labels, n in delta.select(FAMILY[role] + "_count", job=job).items():
        have = dict(labels)
        if n:
            equal("version", have[VERSION_LABEL], "2")
            rows.append(([have.get(f) for f in fields], int(n)))
    for key, n in sorted(rows, key=lambda row: row[0].count(None)):
        if key[0] == "_OTHER":
            key[0] = None
        total += n
        left = n
        for known in sorted(truth):
            if all(k is None or k == t for k, t in zip(key, known)):
                took = min(left, truth[known])
                truth[known] -= took
                left -= took
        check(not left, f"{role}: {key} is shown {n} times, {left} too often")
        for f, k in zip(("method", "path", "status"), key):
            if k is None and (role == "server" or f != "path"):
                absent[f] += n
    return total, absent


def late(rt):
    """Restarts the agent while connections are open and idle."""
    server = node_server(rt, "node-late")
    client = NodeClient(f"http://127.0.0.1:{NODE}", "node-client")
    (rt.dir / "app.py").write_text(programs.HYPERCORN_APP)
    python = rt.spawn(
        [PYTHON, "/usr/bin/hypercorn", "-w", "1", "-b",
         f"127.0.0.1:{HYPERCORN}", "app:app"], "hypercorn-late", cwd=rt.dir,
        env=service("hypercorn", SEEN=str(rt.dir / "seen")))
    eventually("hypercorn listens", lambda: port_open(HYPERCORN))
    other = NodeClient(f"http://127.0.0.1:{HYPERCORN}", "node-other")
    rpc = rt.spawn([PYTHON, HERE / "grpc_server.py", GRPC], "grpc-late",
                   env=service("grpc-server"))
    eventually("the gRPC server listens", lambda: port_open(GRPC))
    caller = subprocess.Popen(
        [PYTHON, HERE / "grpc_client.py", str(GRPC), "1", "2"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=service("grpc-python"))
    for c in (client, other):
        c.ask(200, 10, *PATHS[:4])
    first = json.loads(caller.stdout.readline())["ended"]
    check(sum(first.values()) > 80, "too few calls")
    equal("exit status of the agent", rt.agent.stop(), 0)
    rt.start_agent()
    before = rt.metrics()
    said = client.ask(1000, 20, *PATHS)
    said_other = other.ask(1000, 20, *PATHS[:4])
    caller.stdin.write("\n")
    caller.stdin.flush()
    called = json.loads(caller.stdout.readline())["ended"]
    delta = rt.quiet().minus(before)
    equal("dropped", rt.audit(delta)[2], 0)
    absent = collections.Counter()
    for role, job, truth in (
            ("server", "node-server", said), ("client", "node-client", said),
            ("server", "hypercorn", said_other),
            ("client", "node-other", said_other)):
        total, missing = true_or_absent(delta, role, job, truth)
        equal(f"requests of {job}", total, 1000)
        absent += missing
    calls = programs.calls(delta)
    plain = programs.requests(delta)
    n = sum(called.values())
    for role, job in (("server", "grpc-server"), ("client", "grpc-python")):
        have = {k[2:]: v for k, v in calls.items() if k[0] == job}
        total = sum(have.values()) + sum(
            v for k, v in plain.items() if k[0] == job)
        equal(f"calls of {job}", total, n)
    unknown = {dict(k)["field"]: int(v) for k, v in
               delta.select(UNKNOWN).items() if v}
    note(f"{int(delta.sum('redtap_agent_http2_late_joined_total'))} "
         f"connections joined; unknown fields of {4000 + 2 * n} requests: "
         f"{unknown}; absent: {dict(absent)}")
    for field in ("method", "status"):
        equal(f"unknown {field}", unknown.get(field, 0), absent[field])
    # The routes of clients are not shown; they know as much as their servers.
    equal("unknown path", unknown.get("path", 0), 2 * sum(
        v for k, v in plain.items() if k[1] == "server" and not k[3]))
    for c in (client, other):
        c.stop()
    caller.stdin.close()
    caller.wait(30)
    for p in (server, python, rpc):
        p.stop()


def overflow(rt):
    """
    Requests of any program count as lost, so that it is tried anew if others
    have asked meanwhile.
    """
    for _ in range(2):
        if overflow_once(rt) == 60000:
            return
        note("others have asked, too")
    equal("sent", overflow_once(rt), 60000)


def overflow_once(rt):
    """The agent stands still while four connections carry on."""
    server = node_server(rt, "node-overflow")
    client = NodeClient(f"http://127.0.0.1:{NODE}", "node-client")
    client.ask(100, 10, *PATHS)
    before = rt.quiet()
    os.kill(rt.agent.pid, signal.SIGSTOP)
    said = client.ask(20000, 40, *PATHS)
    os.kill(rt.agent.pid, signal.SIGCONT)
    between = rt.quiet()
    delta = between.minus(before)
    captured, counted, dropped = rt.audit(delta)
    note(f"of 40000 at both ends {counted:.0f} are counted, {dropped:.0f} "
         f"dropped, {40000 - captured:.0f} in doubt until the end")
    equal("captured = counted + dropped", captured, counted + dropped)
    check(dropped > 1000, "the ring did not overflow")
    said = client.ask(10000, 40, *PATHS)
    last = rt.quiet().minus(between)
    absent = collections.Counter()
    for role, job in (("server", "node-server"), ("client", "node-client")):
        total, missing = true_or_absent(last, role, job, said)
        equal(f"requests of {job}", total, 10000)
        absent += missing
    equal("dropped afterwards", rt.audit(last)[2], 0)
    note(f"fields absent afterwards: {dict(absent)}")
    client.stop()
    server.stop()
    captured, counted, dropped = rt.audit(rt.quiet().minus(before))
    no_streams(rt)
    return counted + dropped


SUITE = [
    (cuts, "one conversation with all that HTTP/2 has, cut at every offset and "
           "in calls of a byte: always the same events"),
    (ends, "resets of either side, GOAWAY, a close in the midst: the outcomes "
           "of the script"),
    (tunnels, "WebSocket and CONNECT, by HTTP/1.1 and HTTP/2: their number, "
              "bytes and time"),
    (killed, "400 open requests when the client, then the server is killed: "
             "their outcomes, and none is left"),
    (large, "100 MiB on a stream beside 50 small answers: small stay short, the "
            "large one lasts from its first to its last byte"),
    (late, "an agent that joins open connections counts each stream that begins "
           "afterwards; fields are true or absent"),
    (overflow, "a ring that overflows: counted + dropped = sent, and nothing "
               "wrong in 10,000 requests afterwards"),
]


def main():
    report = Report()
    only = os.environ.get("ONLY", "")
    with Redtap(web=21404, config=["capture: {ring_bytes: 262144}"]) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
            programs.make_tree(rt)
        if report.failed:
            report.exit()
        for test, sentence in SUITE:
            if only in test.__name__:
                with report.case(sentence):
                    begun = now()
                    test(rt)
                    note(f"{test.__name__}: {now() - begun:.1f} s")
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Traces out of one aggregator into another: the same bytes come out, each
request counts once however often and however interrupted, and the past written
for Prometheus is what a real Prometheus then answers. Truth: the made fleet's
own, or numbers written down here.
"""

import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

from harness import AGENT, AGGREGATOR, Failure, Process, Redtap, Report, \
    Skip, check, equal, eventually, http_get, note, port_open

PORT = 21700  # and the next one
PROMETHEUS = 21710
WEB_SERVER = 21720
FAMILIES = ("http_", "redtap_http_", "target_info")
EVENTS = 60013
HISTOGRAM = "http_server_request_duration_seconds"


def run(*argv, status=0):
    done = subprocess.run([str(a) for a in argv], capture_output=True,
                          text=True, timeout=120, check=False)
    equal(f"exit status of {argv[1]}, which said {done.stderr[-600:]}",
          done.returncode, status)
    return done


def replay(rt, *argv, status=0):
    return run(AGENT, "replay", f"--to=tcp://127.0.0.1:{rt.ingest}", *argv,
               status=status).stderr


def said(stderr, key):
    """The number after key= in the line that ends a file's replay."""
    line = [x for x in stderr.splitlines() if "replayed file=" in x][-1]
    return int(line.split(f" {key}=")[1].split()[0].rstrip('"'))


def fresh():
    return Redtap(PORT)


def http_lines(rt):
    """The HTTP families of a scrape, byte for byte."""
    body = http_get(rt.web, "/metrics")[2].decode()
    return "".join(line + "\n" for line in body.splitlines()
                   if line.startswith(FAMILIES))


def windows(rt, span, want):
    """The answer of the API once it holds `want` requests, byte for byte."""
    path = f"/api/v1/windows?from={span[0]}&to={span[1]}" \
           "&by=service,route,method,status,role"

    def whole():
        body = http_get(rt.web, path)[2]
        n = sum(g["count"] for w in json.loads(body)["windows"]
                for g in w["groups"])
        check(n <= want, f"{n} requests in windows, want {want}")
        return body if n == want else None
    return eventually(f"{want} requests in windows", whole, 15)


def counted(rt):
    m = rt.metrics()
    return int(m.sum("redtap_http_requests_total"))


def source(dir_):
    """A trace of a made fleet: (file, HTTP metrics, windows, time span)."""
    trace = dir_ / "fleet.trace"
    start = int(time.time())
    with fresh() as rt:
        rt.start_aggregator()
        run(AGENT, "synth", f"--to=tcp://127.0.0.1:{rt.ingest}",
            "--agents=5", f"--events={EVENTS}", "--rate=15000",
            "--services=4", "--routes=7", "--batch=211",
            f"--truth={dir_ / 'truth'}")
        truth = json.loads((dir_ / "truth").read_text())
        equal("events of the fleet", truth["events"], EVENTS)
        span = (start - 60, int(time.time()) + 60)
        out = windows(rt, span, EVENTS), http_lines(rt)
        run(AGGREGATOR, "export", f"--store.dir={rt.store}", "-o", trace)
        body = http_get(rt.web, f"/api/v1/trace?from={span[0]}")[2]
        (dir_ / "api.trace").write_bytes(body)
        run(AGGREGATOR, "export", f"--store.dir={rt.store}",
            "--service=service-2", "-o", dir_ / "part.trace")
    return trace, out[1], out[0], span, truth


def same_bytes(src):
    trace, metrics, wins, span, _ = src
    for again in (1, 2):
        with fresh() as rt:
            rt.start_aggregator()
            stderr = replay(rt, trace)
            equal("requests sent", said(stderr, "requests"), EVENTS)
            check(http_lines(rt) == metrics, f"metrics differ, time {again}")
            check(windows(rt, span, EVENTS) == wins,
                  f"windows differ, time {again}")


def api_is_the_same(src, dir_):
    with fresh() as rt:
        rt.start_aggregator()
        replay(rt, dir_ / "api.trace")
        check(http_lines(rt) == src[1], "metrics differ")


def counts_once(src):
    with fresh() as rt:
        rt.start_aggregator()
        replay(rt, src[0], "--as=again")
        stderr = replay(rt, src[0], "--as=again")
        equal("sent the second time", said(stderr, "requests"), 0)
        equal("known", said(stderr, "counted_before"), EVENTS)
        equal("counted", counted(rt), EVENTS)
        replay(rt, src[0], "--as=other")
        equal("counted as another agent", counted(rt), 2 * EVENTS)
        m = rt.metrics()
        equal("lost", int(m.sum("redtap_agent_events_dropped_total")), 0)


def one_service(src, dir_):
    want = sum(s["count"] for s in src[4]["series"]
               if s["service"] == "service-2")
    check(0 < want < EVENTS, f"a poor choice: {want}")
    check(b"service-1" not in subprocess.run(
        ["sh", "-c", f"tail -c +17 {dir_ / 'part.trace'} | strings"],
        capture_output=True, check=True).stdout, "names leak")
    with fresh() as rt:
        rt.start_aggregator()
        replay(rt, dir_ / "part.trace")
        equal("counted", counted(rt), want)
        got = [x for x in http_lines(rt).splitlines()
               if not x.startswith("target_info")]
        all_ = [x for x in src[1].splitlines() if 'job="synth/service-2"' in x
                and not x.startswith("target_info")]
        check(len(got) > 50 and got == all_, "metrics differ")
        m = rt.metrics()
        equal("captured", int(m.sum("redtap_agent_events_captured_total")),
              want)


def interrupted(src):
    """SIGINT, kill -9 of either side, and then once more to the end."""
    trace, metrics, wins, span, _ = src
    with fresh() as rt:
        rt.start_aggregator()
        seen = []
        for sig in (signal.SIGINT, signal.SIGKILL):
            p = Process([AGENT, "replay", trace, "--speed=2",
                         f"--to=tcp://127.0.0.1:{rt.ingest}"],
                        rt.dir / "replay.log")
            time.sleep(0.9)
            if sig == signal.SIGINT:
                rt.aggregator.stop(signal.SIGKILL)
                rt.start_aggregator()
            check(p.alive(), f"it ended too soon: {p.tail()}")
            p.stop(sig)
            seen.append(counted(rt))
        note(f"counted when it was interrupted: {seen}")
        check(0 < seen[0] < EVENTS and seen[0] <= seen[1] < EVENTS,
              f"not in the middle: {seen}")
        stderr = replay(rt, trace)
        # What was on its way when it was killed came after that look.
        known = said(stderr, "counted_before")
        check(known >= seen[1], f"{known} counted before, not {seen[1]}")
        equal("sent at last", said(stderr, "requests"), EVENTS - known)
        check(http_lines(rt) == metrics, "metrics differ")
        check(windows(rt, span, EVENTS) == wins, "windows differ")


def on_a_terminal(argv):
    """Exit status and all that a program writes to a terminal of its own."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(argv[0], [str(a) for a in argv])
    text = b""
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError:  # EIO: the program closed its side
            part = b""
        if not part:
            break
        text += part
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode()


def draws(src):
    bar = re.compile(r"\[(#*)(\.*)\] +(\d+)% (\d+) requests, \d+/s")
    with fresh() as rt:
        rt.start_aggregator()
        status, text = on_a_terminal(
            [AGENT, "replay", f"--to=tcp://127.0.0.1:{rt.ingest}", src[0],
             "--speed=4"])
        equal("exit status", status, 0)
        drawn = [m.groups() for m in bar.finditer(text)]
        for full, rest, percent, n in drawn:
            equal("width of the bar", len(full + rest), 30)
            equal("part that is full", len(full), 30 * int(n) // EVENTS)
            equal("per cent", int(percent), round(100 * int(n) / EVENTS))
        done = [int(x[3]) for x in drawn]
        check(done == sorted(done) and len(set(done)) >= 3,
              f"it does not go on: {done}")
        equal("requests at the end", done[-1], EVENTS)
        check(drawn[-1][1] == "" and drawn[-1][2] == "100", f"{drawn[-1]}")
        check(re.search(r"requests, \d+/s\033\[K\r?\n", text),
              "the bar's line is not ended")
    with fresh() as rt:
        rt.start_aggregator()
        stderr = replay(rt, src[0])
        check("\r" not in stderr and "\033" not in stderr
              and not bar.search(stderr), f"drawn into a file: {stderr}")


def nobody_answers(src):
    """It says so, ends, and goes on once there is somebody."""
    with fresh() as rt:
        begin = time.monotonic()
        stderr = replay(rt, src[0], src[0], "--wait=6s", status=1)
        took = time.monotonic() - begin
        check(6 <= took < 40, f"it gave up after {took:.1f} s")
        equal("told once", stderr.count("no reply yet to="), 1)
        check(f"to=tcp://127.0.0.1:{rt.ingest} " in stderr, stderr)
        equal("files tried", stderr.count("replayed file="), 1)
        equal("files left", stderr.count("left out file="), 1)
        equal("sent", said(stderr, "requests"), 0)
        check("the aggregator does not reply: see --to and --wait; the same "
              "command continues from here" in stderr, stderr)
        rt.start_aggregator()
        stderr = replay(rt, src[0], "--wait=6s")
        equal("sent", said(stderr, "requests"), EVENTS)


def damaged(src, dir_):
    data = src[0].read_bytes()
    cut = dir_ / "cut.trace"
    cut.write_bytes(data[:-400])
    with fresh() as rt:
        rt.start_aggregator()
        stderr = replay(rt, cut, status=1)
        check("file ends early" in stderr, stderr)
        n = said(stderr, "requests")
        check(0 < n < EVENTS, f"{n} requests of it")
        equal("counted", counted(rt), n)


def shifted(src):
    with fresh() as rt:
        rt.start_aggregator()
        # As if the trace were a day old: --shift moves it, whole windows.
        before = time.time()
        replay(rt, src[0], "--shift=now")
        span = (int(before) - 120, int(time.time()) + 20)
        windows(rt, span, EVENTS)
        check(http_lines(rt) == src[1], "metrics differ")


# --- what others logged -------------------------------------------------------

LOG = """\
10.0.0.1 - - [21/Nov/2026:10:00:00 +0100] "GET /users/42?x=1 HTTP/1.1" 200 \
1234 "-" "curl/7.88" 0.012
10.0.0.1 - bob s [21/Nov/2026:10:00:01 +0100] "POST /cart HTTP/2.0" 503 12 \
"-" "a \\"b\\"" 1.500
this is not a line of a log
10.0.0.1 - - [21/Nov/2026:10:00:02 +0100] "GET /users/7 HTTP/1.1" 200 1 \
"-" "-" 0.004
10.0.0.1 - - [21/Nov/2026:10:00:03 +0100] "GET /users/7 HTTP/1.1" 499 0 \
"-" "-" 3.000
"""

JSON = """\
{"ts": "2026-11-21T09:00:00.25Z", "m": "GET", "u": "/a/1", "code": 200, \
"took": 20, "svc": {"name": "api"}}
{"ts": 1795251601.5, "m": "GET", "u": "/a/2", "code": "404", "took": 5, \
"svc": {"name": "api"}}
{"ts": "never", "m": "GET", "u": "/a/2", "code": 404, "took": 5}
{"broken
"""

HAR = {"log": {"version": "1.2", "entries": [
    {"startedDateTime": "2026-11-21T10:00:00.000+01:00", "time": 120.5,
     "request": {"method": "GET", "url": "https://shop.example/x?q=1",
                 "bodySize": 0},
     "response": {"status": 200, "httpVersion": "h2", "bodySize": 777}},
    {"startedDateTime": "2026-11-21T10:00:01.000+01:00", "time": 3,
     "request": {"method": "GET", "url": "data:image/png", "bodySize": 0},
     "response": {"status": 200}}]}}


def series(rt, name):
    return {tuple(sorted((k, v) for k, v in labels if k not in (
        "instance", "url_scheme", "network_protocol_version"))): value
        for labels, value in rt.metrics().samples.get(name, {}).items()}


def key(**labels):
    return tuple(sorted(labels.items()))


def imports_log(dir_):
    path = dir_ / "access.log"
    path.write_text(LOG)
    with fresh() as rt:
        rt.start_aggregator()
        stderr = replay(rt, path, "--service=shop")
        check("access.log: line 3: " in stderr, stderr)
        check("bad=1" in stderr, stderr)
        job = {"job": "shop", "http_request_method": "GET",
               "http_route": "/users/{id}"}
        equal("counts", series(rt, HISTOGRAM + "_count"), {
            key(**job, http_response_status_code="200"): 2,
            key(**job, error_type="aborted"): 1,
            key(job="shop", http_request_method="POST", http_route="/cart",
                http_response_status_code="503", error_type="503"): 1})
        equal("sums", series(rt, HISTOGRAM + "_sum")[
            key(**job, http_response_status_code="200")], 0.016)
        # 10:00:01.5 +0100 less its 1.5 s ends in the window of 09:00:00.
        windows(rt, (1795251600, 1795251610), 4)
        equal("sent", [said(stderr, key) for key in (
            "requests", "batches", "counted_before")], [4, 1, 0])
        stderr = replay(rt, path, "--service=shop")
        equal("sent the second time", [said(stderr, key) for key in (
            "requests", "batches", "counted_before")], [0, 0, 4])
        equal("counted after a second time", counted(rt), 4)


def imports_json(dir_):
    path = dir_ / "lines.json"
    path.write_text(JSON)
    with fresh() as rt:
        rt.start_aggregator()
        stderr = replay(rt, path, "--map=time=ts,method=m,target=u,"
                        "status=code,duration_ms=took,service=svc.name")
        check("line 3: " in stderr and "line 4: " in stderr, stderr)
        job = {"job": "api", "http_request_method": "GET",
               "http_route": "/a/{id}"}
        equal("counts", series(rt, HISTOGRAM + "_count"), {
            key(**job, http_response_status_code="200"): 1,
            key(**job, http_response_status_code="404"): 1})
        equal("sums", series(rt, HISTOGRAM + "_sum"), {
            key(**job, http_response_status_code="200"): 0.02,
            key(**job, http_response_status_code="404"): 0.005})


def imports_har(dir_):
    path = dir_ / "session.har"
    path.write_text(json.dumps(HAR))
    with fresh() as rt:
        rt.start_aggregator()
        stderr = replay(rt, path)
        check("other=1" in stderr, stderr)
        equal("sums", series(
            rt, "http_client_request_duration_seconds_sum"), {
            key(job="imported", http_request_method="GET",
                server_address="shop.example", server_port="443",
                http_response_status_code="200"): 0.1205})


def refuses_other_files(dir_):
    path = dir_ / "other"
    path.write_bytes(bytes(range(256)) * 10)
    with fresh() as rt:
        rt.start_aggregator()
        check("it is not text" in replay(rt, path, status=1), "no word")


# --- straight from capture ----------------------------------------------------

def records(dir_):
    trace = dir_ / "node.trace"
    with fresh() as rt:
        rt.agent_flags = [f"--record={trace}", f"--include.port={WEB_SERVER}"]
        rt.start_aggregator()
        rt.start_agent()
        rt.spawn(["python3", "-m", "http.server", str(WEB_SERVER),
                  "--bind=127.0.0.1", f"--directory={rt.store}"], "server")
        eventually("the server is up", lambda: port_open(WEB_SERVER))
        for i in range(23):
            http_get(WEB_SERVER, "/" if i % 2 else "/nothing")
        rt.quiet()
        equal("agent's exit", rt.agent.stop(), 0)
        metrics = [x for x in http_lines(rt).splitlines()
                   if not x.startswith("target_info")]
        total = counted(rt)
        check(total >= 2 * 23, f"{total} counted")
    with fresh() as rt:
        rt.start_aggregator()
        replay(rt, trace)
        equal("counted", counted(rt), total)
        check([x for x in http_lines(rt).splitlines()
               if not x.startswith("target_info")] == metrics,
              "metrics differ")


# --- Prometheus ---------------------------------------------------------------

def ask(query, time_s):
    body = http_get(PROMETHEUS, "/api/v1/query?" + urllib.parse.urlencode(
        {"query": query, "time": time_s}))[2]
    answer = json.loads(body)
    equal("status of the query", answer["status"], "success")
    return answer["data"]["result"]


def backfill(src, dir_):
    for program in ("prometheus", "promtool"):
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")
    text, tsdb = dir_ / "past.om", dir_ / "tsdb"
    run(AGENT, "replay", src[0], f"--backfill={text}")
    run("promtool", "tsdb", "create-blocks-from", "openmetrics", text, tsdb)
    config = dir_ / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    p = Process(["prometheus", f"--config.file={config}",
                 f"--storage.tsdb.path={tsdb}",
                 "--storage.tsdb.retention.time=10y",
                 f"--web.listen-address=127.0.0.1:{PROMETHEUS}"],
                dir_ / "prometheus.log")
    try:
        def ready():
            check(p.alive(), p.tail())
            try:
                return http_get(PROMETHEUS, "/-/ready")[0] == 200
            except OSError:
                return False
        eventually("prometheus is ready", ready, 20)
        end = max(int(line.split()[-1])
                  for line in text.read_text().splitlines()
                  if not line.startswith("#"))
        same_as_live(src, end)
    finally:
        p.stop()


def same_as_live(src, end):
    """Every sample of the live histograms, and increases by service."""
    live = {}
    for line in src[1].splitlines():
        if line.startswith((HISTOGRAM, HISTOGRAM.replace("server", "client"))):
            labels, value = line.rsplit(" ", 1)
            live[labels] = float(value)
    got = {}
    for side in ("server", "client"):
        name = HISTOGRAM.replace("server", side)
        for suffix in ("_bucket", "_sum", "_count"):
            for r in ask(f"{name}{suffix}", end):
                m = dict(r["metric"])
                got[frozenset(m.items())] = float(r["value"][1])
    want = {}
    for labels, value in live.items():
        name, rest = labels.split("{", 1)
        pairs = dict(x.split("=", 1) for x in rest[:-1].split('",'))
        pairs = {k: v.strip('"') for k, v in pairs.items()}
        want[frozenset({**pairs, "__name__": name}.items())] = value
    equal("number of series", len(got), len(want))
    check(len(want) > 100, "too few to tell")
    for labels, value in want.items():
        if abs(got.get(labels, -1) - value) > 1e-6:
            raise Failure(f"{dict(labels)}: {got.get(labels)}, want {value}")
    # From the zeros that each series begins with.
    for service in ("synth/service-0", "synth/service-3"):
        total = sum(v for k, v in want.items() if dict(k)["job"] == service
                    and dict(k)["__name__"] == HISTOGRAM + "_count")
        rise = ask(f'sum(max_over_time({HISTOGRAM}_count{{job="{service}"}}'
                   f'[1h]) - min_over_time({HISTOGRAM}_count'
                   f'{{job="{service}"}}[1h]))', end)
        equal(f"increase of {service}", float(rise[0]["value"][1]), total)


def main():
    report = Report()
    dir_ = pathlib.Path(tempfile.mkdtemp(prefix="redtap-replay-"))
    try:
        src = source(dir_)
        cases = [
            ("a replay into a fresh aggregator gives the same bytes, twice",
             same_bytes, (src,)),
            ("a trace from the API does too", api_is_the_same, (src, dir_)),
            ("the same file under the same id counts once", counts_once,
             (src,)),
            ("an export of one service holds it and nothing else",
             one_service, (src, dir_)),
            ("interrupted replays go on, nothing lost or twice", interrupted,
             (src,)),
            ("without an aggregator it says what it waits for, and gives up",
             nobody_answers, (src,)),
            ("progress is drawn on a terminal, and nowhere else", draws,
             (src,)),
            ("a cut file is replayed up to the cut, and told", damaged,
             (src, dir_)),
            ("a trace shifted to now has the same metrics", shifted, (src,)),
            ("an access log counts, bad lines are shown", imports_log,
             (dir_,)),
            ("JSON lines count by their map", imports_json, (dir_,)),
            ("a HAR file counts as a client", imports_har, (dir_,)),
            ("other files are refused", refuses_other_files, (dir_,)),
            ("a recording of a capture replays to the same metrics", records,
             (dir_,)),
            ("Prometheus answers from backfilled blocks as from the endpoint",
             backfill, (src, dir_)),
        ]
        for sentence, fn, args in cases:
            with report.case(sentence):
                fn(*args)
    finally:
        shutil.rmtree(dir_, ignore_errors=True)
    report.exit()


if __name__ == "__main__":
    main()

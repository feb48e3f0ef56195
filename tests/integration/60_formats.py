#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The real Prometheus scrapes each format of the endpoint, and what it computes
from them is compared with the raw durations, which only this test knows. They
go in as an agent's batches; the agent's own side has other tests.
"""

import contextlib
import http.server
import json
import math
import os
import random
import re
import shutil
import subprocess
import threading
import urllib.parse

from harness import BUILD, Metrics, Redtap, Report, Skip, check, equal, \
    eventually, http_get, note

PUSH = BUILD / "tests" / "integration" / "push"
PROMETHEUS = {"text": 21561, "openmetrics": 21562, "protobuf": 21563}
PROXY = 21564
FAMILY = "http_server_request_duration_seconds"
BOUNDS = [0, .005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10]
CONFIG = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: redtap
    honor_labels: true
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""
COUNTS = {200: 7919, 404: 1009, 500: 101}
QUANTILES = (0.5, 0.9, 0.99)


def durations():
    """{status: [µs]}, log-normal, so that every bucket matters."""
    rng = random.Random(20260101)
    middle = {200: 20_000, 404: 900, 500: 700_000}
    return {status: [max(1, int(middle[status] * 2 ** rng.gauss(0, 1.7)))
                     for _ in range(n)] for status, n in COUNTS.items()}


def push(rt, values):
    lines = [f"{us} {status} {i % 2}" for status, all_us in values.items()
             for i, us in enumerate(all_us)]
    random.Random(7).shuffle(lines)
    done = subprocess.run([PUSH, f"tcp://127.0.0.1:{rt.ingest}", "pusher"],
                          input="\n".join(lines) + "\n", text=True,
                          capture_output=True, timeout=60, check=False)
    equal("status of push: " + done.stderr, done.returncode, 0)


class TextOnly(http.server.BaseHTTPRequestHandler):
    """Between Prometheus and us: asks for the format it never asks for."""

    web = 0

    def do_GET(self):
        status, headers, body = http_get(self.web, "/metrics",
                                         {"Accept": "text/plain"})
        self.send_response(status)
        self.send_header("Content-Type", headers["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def text_proxy(rt):
    TextOnly.web = rt.web
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PROXY), TextOnly)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def start_prometheus(rt, name):
    if not shutil.which("prometheus"):
        raise Skip("prometheus is not installed")
    config = rt.dir / f"prometheus-{name}.yml"
    config.write_text(CONFIG.format(
        port=PROXY if name == "text" else rt.web))
    flags = ["--enable-feature=native-histograms"] \
        if name == "protobuf" else []
    process = rt.spawn(
        ["prometheus", f"--config.file={config}",
         f"--storage.tsdb.path={rt.dir / name}",
         f"--web.listen-address=127.0.0.1:{PROMETHEUS[name]}", *flags], name)

    def ready():
        check(process.alive(), "prometheus ended:\n" + process.tail())
        try:
            return http_get(PROMETHEUS[name], "/-/ready")[0] == 200
        except OSError:
            return False
    eventually("prometheus is ready", ready, 30)


def query(name, expression):
    body = http_get(PROMETHEUS[name], "/api/v1/query?query="
                    + urllib.parse.quote(expression))[2]
    answer = json.loads(body)
    equal(f"status of {expression}", answer["status"], "success")
    return answer["data"]["result"]


def number(name, expression):
    result = query(name, expression)
    return float(result[0]["value"][1]) if len(result) == 1 else None


def truth(values, q):
    """The value at rank q·n, s: what histogram_quantile estimates."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] / 1e6


def classic_width(value):
    """(lower, upper) of the bucket that holds value."""
    upper = next((b for b in BOUNDS if value <= b), math.inf)
    lower = BOUNDS[BOUNDS.index(upper) - 1] if upper != math.inf else 10
    return lower, min(upper, 10) if upper == math.inf else upper


def check_quantiles(name, values):
    for status in COUNTS:
        for q in QUANTILES:
            want = truth(values[status], q)
            by = f'{{http_response_status_code="{status}"}}'
            if name == "protobuf":
                got = number(name, f"histogram_quantile({q}, {FAMILY}{by})")
                low, high = want * 2 ** -.125, want * 2 ** .125
            else:
                got = number(name, f"histogram_quantile({q}, "
                             f"{FAMILY}_bucket{by})")
                low, high = classic_width(want)
            check(got is not None, f"{name}: no quantile of {status}")
            check(low <= got <= high, f"{name}: {q} of {status} is {got}, "
                  f"the truth {want} lies in [{low}, {high}]")


def check_format(rt, name, values):
    start_prometheus(rt, name)
    count = f"histogram_count({FAMILY})" if name == "protobuf" \
        else f"{FAMILY}_count"
    total = sum(COUNTS.values())
    eventually("the scrape is there",
               lambda: number(name, f"sum({count})") == total, 20)
    equal("up", number(name, "up"), 1)
    for status, n in COUNTS.items():
        by = f'{{http_response_status_code="{status}"}}'
        got = number(name, count.replace(FAMILY, FAMILY + by)
                     if name == "protobuf" else count + by)
        equal(f"{name}: requests with {status}", got, n)
        got = number(name, f"histogram_sum({FAMILY}{by})"
                     if name == "protobuf" else f"{FAMILY}_sum{by}")
        want = sum(values[status]) / 1e6
        check(abs(got - want) < 1e-9 * want,
              f"{name}: sum of {status} is {got}, not {want}")
    equal("classic and native are not mixed",
          query(name, f"{FAMILY}_bucket") == [], name == "protobuf")
    check_quantiles(name, values)
    errors = number(name, "sum(redtap_http_request_errors_total)")
    equal("errors", errors, COUNTS[500])


def sizes(rt):
    kinds = {
        "text": "text/plain",
        "protobuf": "application/vnd.google.protobuf;proto=io.prometheus."
                    "client.MetricFamily;encoding=delimited"}
    length = {}
    for kind, accept in kinds.items():
        status, headers, body = http_get(rt.web, "/metrics",
                                         {"Accept": accept})
        equal("status", status, 200)
        check(headers["Content-Type"].startswith(accept.split(";")[0]),
              headers["Content-Type"])
        length[kind] = len(body)
    note(f"bytes of this small scrape: {length}")


def quiet_promtool(rt):
    if not shutil.which("promtool"):
        raise Skip("promtool is not installed")
    body = http_get(rt.web, "/metrics")[2]
    Metrics(body.decode())
    said = subprocess.run(["promtool", "check", "metrics"], input=body,
                          capture_output=True, check=False)
    equal("what promtool says", (said.stdout + said.stderr).decode(), "")
    equal("its status", said.returncode, 0)


def exemplars(rt, values):
    """The slowest request of each bucket, and the API knows each of them."""
    _, _, body = http_get(rt.web, "/metrics", {
        "Accept": "application/openmetrics-text;version=1.0.0"})
    seen, traced = {}, 0
    for line in body.decode().splitlines():
        found = re.match(FAMILY + r"_bucket\{.*status_code=\"(\d+)\".*"
                         r"le=\"([^\"]+)\"\} \d+ # \{(.*)\} ([0-9.]+) ", line)
        if not found:
            continue
        status, le = int(found[1]), float(found[2])
        labels = dict(re.findall(r'(\w+)="([^"]*)"', found[3]))
        seen[status, le] = round(float(found[4]) * 1e6)
        code, _, answer = http_get(
            rt.web, "/api/v1/requests/" + labels["request_id"])
        equal("status of the request's page", code, 200)
        event = json.loads(answer)
        equal("duration of " + labels["request_id"],
              round(event["duration"] * 1e6), seen[status, le])
        equal("status of " + labels["request_id"], event["status"], status)
        for key in ("trace_id", "span_id"):
            equal(key, event.get(key), labels.get(key))
        traced += "trace_id" in labels
    truth = {}
    for status, all_us in values.items():
        for us in all_us:
            le = min([b for b in BOUNDS if us <= b * 1e6], default=math.inf)
            truth[status, le] = max(us, truth.get((status, le), 0))
    truth = {k: v for k, v in truth.items() if k[1] != 0}
    equal("slowest request by status and bucket", seen, truth)
    check(0 < traced < len(seen), f"{traced} of {len(seen)} are traced")


def main():
    report = Report()
    values = durations()
    with Redtap(21560 - 2, aggregator_flags=os.environ.get(
            "REDTAP_FLAGS", "").split()) as rt:
        rt.start_aggregator()
        push(rt, values)
        with report.case("promtool has nothing to say about live metrics"):
            quiet_promtool(rt)
        with report.case("protobuf and text are served as asked for"):
            sizes(rt)
        with report.case("each bucket's exemplar is its slowest request, and "
                         "its request_id finds it"):
            exemplars(rt, values)
        with text_proxy(rt):
            for name in PROMETHEUS:
                with report.case("Prometheus agrees with the raw durations "
                                 f"over {name}"):
                    check_format(rt, name, values)
    report.exit()


if __name__ == "__main__":
    main()

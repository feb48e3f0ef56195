#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The oracle: Debian's Prometheus counts its own answers by code, and so do we.
It also scrapes our endpoint, and promtool has nothing to say about it.
"""

import collections
import json
import os
import shutil
import subprocess
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from harness import FAMILY, Metrics, Redtap, Report, Skip, check, equal, \
    eventually, http_get, note, series_key

PORT = 21520
ORACLE = "prometheus_http_requests_total"
CONFIG = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: redtap
    honor_labels: true
    static_configs:
      - targets: ["127.0.0.1:{web}"]
"""
# What to ask, how often, and what it answers.
QUESTIONS = [
    ("/api/v1/query?query=up", 101, 200),
    ("/-/healthy", 53, 200),
    ("/api/v1/query?query=sum(", 41, 400),
    ("/api/v1/query_range?query=up&start=2&end=1&step=1", 13, 400),
    ("/api/v1/label/not-a-name/values", 7, 400),
    ("/consoles/nothing-here.html", 31, 404),
    ("/", 5, 302),
]


def start_prometheus(rt):
    for program in ("prometheus", "promtool"):
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")
    config = rt.dir / "prometheus.yml"
    config.write_text(CONFIG.format(web=rt.web))
    process = rt.spawn(
        ["prometheus", f"--config.file={config}",
         f"--storage.tsdb.path={rt.dir / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{PORT}"], "prometheus",
        env=dict(os.environ, OTEL_SERVICE_NAME="prometheus-it"))

    def ready():
        check(process.alive(), "prometheus ended:\n" + process.tail())
        try:
            return http_get(PORT, "/-/ready")[0] == 200
        except OSError:
            return False
    eventually("prometheus is ready", ready, 20)


def by_code(metrics):
    """{code: requests} that Prometheus says it has answered."""
    out = collections.Counter()
    for labels, n in metrics.samples.get(ORACLE, {}).items():
        out[dict(labels)["code"]] += int(n)
    return out


def read_oracle():
    """Its count, in which the question itself is not yet."""
    metrics = Metrics()
    body = http_get(PORT, "/metrics")[2].decode()
    for line in body.splitlines():
        if line.startswith(ORACLE + "{"):
            name, labels, value = Metrics._sample(line, line)
            metrics.samples.setdefault(name, {})[labels] = value
    return by_code(metrics)


def ask(question):
    path, _, expected = question
    equal(f"answer to {path}", http_get(PORT, path)[0], expected)


def oracle(rt):
    before = rt.quiet()
    told = read_oracle()
    asked = [q for q in QUESTIONS for _ in range(q[1])]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(ask, asked))
    increase = read_oracle()
    increase.subtract(told)
    increase = +increase
    increase["200"] += 1  # the last reading, which it could not tell yet
    delta = rt.quiet().minus(before)
    ours = collections.Counter()
    for labels, n in delta.select(FAMILY["server"] + "_count",
                                  job="prometheus-it").items():
        ours[series_key("server", labels)[2]] += int(n)
    note("by code: " + ", ".join(f"{code}: {n}" for code, n
                                 in sorted(increase.items())))
    equal("requests by code", dict(ours), dict(increase))
    check({"200", "400", "404"} <= set(increase), f"codes: {increase}")
    equal("requests asked", sum(increase.values()), len(asked) + 2)


def query(expression):
    body = http_get(PORT, "/api/v1/query?query="
                    + urllib.parse.quote(expression))[2]
    answer = json.loads(body)
    equal("status of the query", answer["status"], "success")
    return answer["data"]["result"]


def scraped(rt):
    """up, and a count that stands still comes back as we show it."""
    selector = FAMILY["server"] + \
        '_count{job="prometheus-it",http_response_status_code="400"}'
    shown = rt.quiet().sum(FAMILY["server"] + "_count", job="prometheus-it",
                           http_response_status_code="400")
    check(shown > 0, "nothing to query")

    def same():
        up = query('up{job="redtap"}')
        value = query(f"sum({selector})")
        return up and up[0]["value"][1] == "1" and value \
            and float(value[0]["value"][1]) == shown
    eventually("up is 1 and the count comes back", same, 10)
    result = query(selector)
    for series in result:
        equal("job", series["metric"]["job"], "prometheus-it")
        check("exported_job" not in series["metric"], "labels were renamed")


def promtool(rt):
    body = http_get(rt.web, "/metrics")[2]
    done = subprocess.run(["promtool", "check", "metrics"], input=body,
                          capture_output=True, timeout=30)
    equal("promtool's words", (done.stdout + done.stderr).decode(), "")
    equal("promtool's exit status", done.returncode, 0)


def main():
    report = Report()
    with Redtap(web=21406) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        ready = False
        with report.case("prometheus starts beside them"):
            start_prometheus(rt)
            ready = True
        if ready:
            with report.case("by code, the increase of " + ORACLE
                             + " equals ours"):
                oracle(rt)
            with report.case("prometheus scrapes us: up is 1, and a value "
                             "comes back as we show it"):
                scraped(rt)
        with report.case("promtool check metrics is silent"):
            promtool(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

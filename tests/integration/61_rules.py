#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
deploy/prometheus and deploy/grafana against the real thing: promtool's own
tests of the rules; then a Prometheus with the shipped rules scrapes a live
aggregator, and every rule and every query of the dashboard must return data.
"""

import json
import random
import re
import shutil
import subprocess
import time
import urllib.parse

from harness import BUILD, ROOT, Redtap, Report, Skip, check, equal, \
    eventually, http_get, note

PUSH = BUILD / "tests" / "integration" / "push"
PORT = 20565  # outside of what the agent captures
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "redtap.json"


def promtool(*args, cwd=RULES):
    if not shutil.which("promtool"):
        raise Skip("promtool is not installed")
    done = subprocess.run(["promtool", *args], cwd=cwd, text=True,
                          capture_output=True, check=False)
    equal(f"promtool {' '.join(args)}: {done.stdout}{done.stderr}",
          done.returncode, 0)


def write_config(rt):
    """The shipped one, but for addresses and patience."""
    text = (RULES / "prometheus.yml").read_text()
    for old, new in (("scrape_interval: 15s", "scrape_interval: 1s"),
                     ("evaluation_interval: 15s", "evaluation_interval: 1s"),
                     ("localhost:9470", f"127.0.0.1:{rt.web}")):
        check(old in text, f"no {old!r} in prometheus.yml")
        text = text.replace(old, new)
    for name in ("redtap.rules.yml", "redtap.alerts.yml"):
        shutil.copy(RULES / name, rt.dir)
    path = rt.dir / "prometheus.yml"
    path.write_text(text)
    return path


def start_prometheus(rt):
    if not shutil.which("prometheus"):
        raise Skip("prometheus is not installed")
    process = rt.spawn(
        ["prometheus", f"--config.file={write_config(rt)}",
         f"--storage.tsdb.path={rt.dir / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{PORT}"], "prometheus")

    def ready():
        check(process.alive(), "prometheus ended:\n" + process.tail())
        try:
            return http_get(PORT, "/-/ready")[0] == 200
        except OSError:
            return False
    eventually("prometheus is ready", ready, 30)


def api(path):
    answer = json.loads(http_get(PORT, "/api/v1/" + path)[2])
    equal(f"status of {path}: {answer}", answer["status"], "success")
    return answer["data"]


def query(expression):
    return api("query?query=" + urllib.parse.quote(expression))["result"]


def push(rt):
    """Some requests of every kind, and some that are seen from both sides."""
    rng = random.Random(3)
    lines = "".join(
        f"{int(1000 * 2 ** rng.gauss(4, 2)) + 1} "
        f"{rng.choice([200, 200, 200, 404, 500])} 0\n"
        for _ in range(211))
    for more in (["pusher"], ["edger", "edges"], ["caller", "calls"]):
        done = subprocess.run(
            [PUSH, f"tcp://127.0.0.1:{rt.ingest}", *more], input=lines,
            text=True, capture_output=True, timeout=30, check=False)
        equal("status of push: " + done.stderr, done.returncode, 0)


def edges_are_exact(rt, rounds):
    """The pushed pairs are one edge, whose client waits 1 ms longer."""
    m = rt.metrics()
    edge = {"client": "caller", "server": "pushed"}
    equal("requests of the edge", m.sum(
        "traces_service_graph_request_total", **edge), 211 * rounds)
    equal("network times of 1 ms", m.sum(
        "redtap_service_graph_network_seconds_bucket", le="0.001", **edge)
        - m.sum("redtap_service_graph_network_seconds_bucket", le="0.0005",
                **edge), 211 * rounds)


def rules_return_data(rt):
    names = re.findall(r"record: (\S+)",
                       (RULES / "redtap.rules.yml").read_text())
    check(len(names) > 10, f"rules: {names}")
    for name in names:
        eventually(f"{name} has data", lambda n=name: query(n), 20, 0.5)
    for group in api("rules")["groups"]:
        for rule in group["rules"]:
            equal(f"health of {rule['name']}: {rule.get('lastError')}",
                  rule["health"], "ok")
            if rule["type"] == "alerting" and rule["name"].startswith(
                    "Redtap"):
                equal(f"state of {rule['name']}", rule["state"], "inactive")


def dashboard_queries():
    """[(panel, expression)] with its variables filled in."""
    board = json.loads(DASHBOARD.read_text())
    out = []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "30s")
            text = text.replace("$job", ".*")
            check("$" not in text, f"{panel['title']}: {text}")
            out.append((panel["title"], text))
    return out


def dashboard_returns_data():
    queries = dashboard_queries()
    check(len(queries) > 15, f"only {len(queries)} queries")
    for title, text in queries:
        result = eventually(f"{title}: {text} has data",
                            lambda t=text: query(t), 20, 0.5)
        for series in result:
            check(series["value"][1] not in ("NaN", "+Inf"),
                  f"{title}: {text}: {series}")
    note(f"{len(queries)} queries of the dashboard returned data")


def main():
    report = Report()
    with report.case("promtool accepts the rules and the configuration"):
        promtool("check", "rules", "redtap.rules.yml", "redtap.alerts.yml")
        promtool("check", "config", "prometheus.yml")
    with report.case("rules and alerts do what their tests say"):
        promtool("test", "rules", "redtap.test.yml")
    with Redtap(21556) as rt:
        rt.start()  # an agent that runs: what is pushed tells of none
        push(rt)
        with report.case("every recording rule returns data, no alert of "
                         "ours is up"):
            start_prometheus(rt)
            # It takes some seconds before it scrapes at all; and rates need
            # an increase between two scrapes.
            eventually("it scrapes", lambda: query("up == 1"), 30, 0.2)
            for _ in range(3):
                time.sleep(1.2)
                push(rt)
            rules_return_data(rt)
            edges_are_exact(rt, 4)
        with report.case("every query of the dashboard returns data"):
            push(rt)
            dashboard_returns_data()
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
check.py [COMPOSE COMMAND …]: compares what the shop of this demo did with what was
counted, after `VISITS=N docker compose up`: every service says itself how many
requests it answered. Then asks Prometheus for the same, and for every query of
the dashboard. Prints "ok - …" and "not ok - …" lines; status 1 if any is not.
REDTAP_PORT and PROMETHEUS_PORT are the published ports. Visits must last for some
scrapes, or there is no rate to show: VISITS=400 is half a minute.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
COMPOSE = sys.argv[1:] or ["docker", "compose", "-f",
                           str(HERE / "compose.yaml")]
REDTAP = f"http://127.0.0.1:{os.environ.get('REDTAP_PORT', '9470')}"
PROMETHEUS = f"http://127.0.0.1:{os.environ.get('PROMETHEUS_PORT', '9090')}"
SERVICES = "front", "catalogue", "cart", "payment"
COUNT = "http_server_request_duration_seconds_count"
failed = False


def compose(*argv):
    return subprocess.run([*COMPOSE, *argv], check=True, text=True,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def logs(service):
    """Lines that the service wrote, without compose's own before them."""
    return [line.split("|", 1)[-1].strip() for line in
            compose("logs", "--no-color", service).splitlines()]


def told(service):
    """{"GET 200": n}, as the service says it."""
    compose("kill", "-s", "SIGUSR1", service)
    for _ in range(100):
        found = [line for line in logs(service) if line.startswith("{")]
        if found:
            return json.loads(found[-1])
        time.sleep(0.1)
    raise SystemExit(f"{service} does not answer SIGUSR1")


def counted(name):
    """{service: {"GET 200": n}} of the compose project, by the scrape."""
    out = {}
    with urllib.request.urlopen(REDTAP + "/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if not line.startswith(name + "{"):
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            service = labels["job"].split("/")[-1]
            key = (f"{labels['http_request_method']} "
                   f"{labels.get('http_response_status_code')}")
            of = out.setdefault(service, {})
            of[key] = of.get(key, 0) + int(float(line.rsplit(" ", 1)[1]))
    return out


def prometheus(query):
    url = PROMETHEUS + "/api/v1/query?query=" + urllib.parse.quote(query)
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)["data"]["result"]


def say(sentence, why=None):
    global failed
    failed |= why is not None
    print(f"not ok - {sentence}: {why}" if why is not None
          else f"ok - {sentence}", flush=True)


def eventually(sentence, difference, seconds=60):
    """difference() is None once all is well."""
    end = time.monotonic() + seconds
    while True:
        why = difference()
        if why is None or time.monotonic() > end:
            return say(sentence, why)
        time.sleep(1)


def main():
    while "done" not in logs("visitors"):
        time.sleep(1)
    truth = {service: told(service) for service in SERVICES}
    total = sum(n for of in truth.values() for n in of.values())

    def differs(got):
        return None if got == truth else f"counted {got}, answered {truth}"

    eventually(f"{total} requests of the shop's services are {total} counted, "
               "by service, method and status", lambda: differs(
                   {s: counted(COUNT).get(s) for s in SERVICES}))

    def scraped():
        got = {}
        for row in prometheus(f"sum by (job) ({COUNT})"):
            service = row["metric"].get("job", "").split("/")[-1]
            if service in SERVICES:
                got[service] = int(float(row["value"][1]))
        want = {s: sum(of.values()) for s, of in truth.items()}
        return None if got == want else f"has {got}, answered {want}"

    eventually("Prometheus has them", scraped)
    board = json.loads((HERE.parent / "grafana/redtap.json").read_text())
    queries = [t["expr"] for p in board["panels"]
               for t in p.get("targets", []) if "expr" in t]

    def without_data():
        empty = []
        for query in queries:
            query = query.replace("$job", ".*").replace(
                "$__rate_interval", "5m").replace("$__range", "1h")
            if not prometheus(query):
                empty.append(query)
        return "\n#   ".join(["no data of:"] + empty) if empty else None

    eventually(f"the dashboard's {len(queries)} queries return data",
               without_data)
    sys.exit(failed)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
`top` and `query` against an aggregator and against its store, with the truth
of a made fleet: counts are equal, quantiles within the width of a bucket.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

from harness import AGENT, AGGREGATOR, Redtap, Report, check, equal, \
    eventually, http_get

PORT = 21702
EVENTS = 20011


def aggregator(*argv, status=0):
    done = subprocess.run([str(AGGREGATOR), *map(str, argv)],
                          capture_output=True, text=True, timeout=60,
                          check=False)
    equal(f"exit status of {argv}, which said {done.stderr[-300:]}",
          done.returncode, status)
    return done


def fleet(rt):
    path = rt.dir / "truth"
    subprocess.run([str(AGENT), "synth", f"--to=tcp://127.0.0.1:{rt.ingest}",
                    "--agents=2", f"--events={EVENTS}", "--speed=max",
                    "--services=3", "--routes=5", "--batch=400",
                    f"--truth={path}"], check=True, timeout=60)
    truth = json.loads(path.read_text())
    equal("events", truth["events"], EVENTS)
    return truth["series"]


def rows(text):
    """[[cells]] below the head, which must be there."""
    lines = text.splitlines()
    check(re.search(r"requests +req/s +errors +p50 +p90 +p99$", lines[0]),
          f"head: {lines[0]}")
    return [line.split() for line in lines[1:]]


def seconds(text):
    number, unit = re.fullmatch(r"([0-9.]+)(µs|ms|s)", text).groups()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1}[unit]


def expected(truth, *keys):
    out = {}
    for s in truth:
        key = tuple(f"synth/{s['service']}" if k == "service" else s[k]
                    for k in keys)
        entry = out.setdefault(key, [0, 0])
        entry[0] += s["count"]
        entry[1] += s["count"] if s["status"] >= 500 or \
            s["outcome"] != 0 else 0
    return out


def queries(rt, truth):
    want = expected(truth, "service")
    for source in (f"http://127.0.0.1:{rt.web}", rt.store,
                   rt.store / "redtap.db"):
        got = rows(aggregator("query", source, "--by=service").stdout)
        equal(f"counts of {source}", {(r[0],): int(r[1]) for r in got},
              {k: v[0] for k, v in want.items()})
        for r in got:
            share = 100 * want[(r[0],)][1] / want[(r[0],)][0]
            equal(f"errors of {r[0]}", r[3], f"{share:.2f}%")


def same_json(rt, _):
    arguments = ["--json", "--by=service,route", "--step=all",
                 f"--from={int(time.time()) // 10 * 10 - 120}",
                 f"--to={int(time.time()) // 10 * 10 + 20}"]
    live = aggregator("query", f"http://127.0.0.1:{rt.web}", *arguments)
    equal("live and store", live.stdout,
          aggregator("query", rt.store, *arguments).stdout)
    equal("windows", len(json.loads(live.stdout)["windows"]), 1)


def one_shot(rt, truth):
    out = aggregator("top", f"http://127.0.0.1:{rt.web}", "--once",
                     "--by=service,role,route", "--range=120s").stdout
    got = rows(out)
    want = expected(truth, "service", "route")
    equal("counts", {(r[0], r[2]): int(r[3]) for r in got},
          {k: v[0] for k, v in want.items()})
    rates = [float(r[4]) for r in got]
    equal("order", rates, sorted(rates, reverse=True))
    for r in got:
        p50, p90, p99 = (seconds(x) for x in r[6:9])
        check(p50 <= p90 <= p99, f"quantiles of {r}")
    # A single template's series: its exact median, a bucket (9 %) off.
    medians = {(f"synth/{s['service']}", s["route"], s["status"],
                s["outcome"]): s for s in truth if s["count"] > 500}
    check(medians, "no series is large enough")
    body = json.loads(http_get(
        rt.web, "/api/v1/windows?step=all&by=service,route,status")[2])
    for g in body["windows"][0]["groups"]:
        s = medians.get((g["service"], g["route"], int(g.get("status", 0)),
                         0))
        if s:
            exact = s["p50_us"] / 1e6
            check(abs(g["p50"] - exact) <= 0.1 * exact,
                  f"median of {g}: {exact}")


def steps(rt, _):
    status, _, body = http_get(rt.web, "/api/v1/windows?step=7")
    equal("status", (status, json.loads(body)["where"]), (400, "step"))
    done = aggregator("query", f"http://127.0.0.1:{rt.web}", "--step=7",
                      status=1)
    check("multiple of 10" in done.stderr, done.stderr)
    ten = rows(aggregator("query", rt.store, "--by=role",
                          "--step=10").stdout)
    equal("sum of the steps", sum(int(r[2]) for r in ten), EVENTS)


def refreshes(rt, _):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(str(AGGREGATOR), [
            str(AGGREGATOR), "top", f"http://127.0.0.1:{rt.web}",
            "--interval=200ms", "--range=120s"])
    seen, end = b"", time.monotonic() + 10
    while seen.count(b"\033[2J") < 3 and time.monotonic() < end:
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 65536)
    os.kill(pid, signal.SIGINT)
    while True:
        try:
            if not os.read(fd, 65536):
                break
        except OSError:
            break
    equal("exit status", os.waitpid(pid, 0)[1], 0)
    check(seen.count(b"\033[2J") >= 3, f"not refreshed: {seen[-200:]!r}")
    check(b"synth/service-0" in seen, "no service in it")


def no_answer(rt, _):
    done = aggregator("top", "http://127.0.0.1:1", "--once", status=1)
    check("127.0.0.1:1: " in done.stderr, done.stderr)
    aggregator("query", rt.dir / "nothing", status=1)


def main():
    report = Report()
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        truth = fleet(rt)
        eventually("all in windows", lambda: sum(
            g["count"] for w in json.loads(http_get(
                rt.web, "/api/v1/windows")[2])["windows"]
            for g in w["groups"]) == EVENTS)
        for sentence, fn in (
                ("query counts what the fleet sent, live and from a store",
                 queries),
                ("query's JSON is the API's", same_json),
                ("top shows services and routes, the busiest first",
                 one_shot),
                ("top refreshes on a terminal", refreshes),
                ("steps add up, wrong ones are refused", steps),
                ("a missing aggregator and a missing store are reported", no_answer)):
            with report.case(sentence):
                fn(rt, truth)
    report.exit()


if __name__ == "__main__":
    main()

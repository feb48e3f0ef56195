#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proof 7 of docs/GUARANTEES.md: a short run from agents to a scrape, with the
aggregator and one agent under valgrind: no leak, no invalid access.
"""

import re
import sys

from fleet import CRASH, Fleet, check, equal, synth, compare, wait_s
from harness import Process, Report, eventually, http_get, note

PORT = 21970
VALGRIND = ["valgrind", "--leak-check=full", "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite", "--error-exitcode=99",
            "--child-silent-after-fork=yes"]


def figures(process):
    text = process.log.read_text(errors="replace")
    check("ERROR SUMMARY: 0 errors" in text, process.tail(40))
    lost = re.findall(r"(definitely|indirectly) lost: ([\d,]+) bytes", text)
    equal("bytes lost", [n for _, n in lost if n != "0"], [])
    note(f"{process.name}: " + re.findall(r"total heap usage: (.*)",
                                          text)[-1])


def main():
    report = Report()
    with Fleet(PORT, agents=1) as w:
        with report.case("an aggregator and an agent leak nothing under "
                         "valgrind"):
            w.start_aggregator(wait=False, prefix=VALGRIND)
            w.wait_ready(200, 60)
            truth = synth(w, "--events=20011", "--rate=10000", "--agents=3",
                          "--services=2", "--routes=3")
            compare(w, truth)
            agent = Process(
                [*VALGRIND, CRASH, "agent", "fault-0",
                 f"tcp://127.0.0.1:{w.ingest}", w.dir / "outbox-0",
                 w.dir / "done-0", 1 << 20, 20000], w.dir / "fault-0.log")
            w.agents["fault-0"] = agent
            w.processes.append(agent)
            eventually("the agent is heard", lambda: w.look().select(
                "redtap_agent_up", node="fault-0"), 60)
            wait_s(3, w.look)
            for path in ("/", "/-/healthy", "/api/v1/windows", "/nowhere"):
                http_get(w.web, path)
            for accept in ("application/openmetrics-text;version=1.0.0",
                           "application/vnd.google.protobuf;proto=io."
                           "prometheus.client.MetricFamily;"
                           "encoding=delimited"):
                http_get(w.web, "/metrics", {"Accept": accept})
            sent, counted, _ = w.judge(w.stop_agents())
            note(f"sent={sent} counted={counted}")
            equal("the aggregator's exit status",
                  w.aggregator.stop(timeout_s=60), 0)
            figures(w.aggregator)
            figures(agent)
    report.exit()


if __name__ == "__main__":
    sys.exit(main())

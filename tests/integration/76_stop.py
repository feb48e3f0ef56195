#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
An agent that must stop while its aggregator is away: it says how many requests
it gives up, and the next start closes the sum; with a file for its outbox it
gives none up. And a made fleet joins what became due meanwhile, as agents do.
"""

import http.server
import json
import pathlib
import re
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import AGENT, Fleet, account_of, compare, \
    start_synth  # noqa: E402
from harness import Process, Report, check, equal, eventually, \
    http_get  # noqa: E402

PORT, SITE = 21960, 21965
EVENTS = 2  # a request: its client's and its server's
FIRST, LOST, LAST = 7, 13, 5


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


def requests(n):
    for _ in range(n):
        equal("status", http_get(SITE, "/")[0], 200)


def start_agent(w, name, *flags):
    p = Process([AGENT, "run", f"--node={name}", f"--include.port={SITE}",
                 "--report-self", f"--to=tcp://127.0.0.1:{w.ingest}",
                 "--capture.tls=off", "--log.level=info", *flags],
                w.dir / f"{name}-{len(w.processes)}.log")
    w.processes.append(p)
    eventually("the agent is ready", lambda: 'msg="ready' in
               p.log.read_text(), 30)
    return p


def captured(w, name, n):
    eventually(f"{n} events of {name} are captured", lambda: account_of(
        w.metrics(), name)[0] == n, 20)


def dropped(w, name, stage):
    return w.metrics().sum("redtap_agent_events_dropped_total", node=name,
                           stage=stage)


def outage(w, name, *flags):
    """An agent that is stopped in an outage: exit status and log."""
    p = start_agent(w, name, *flags)
    requests(FIRST)
    captured(w, name, EVENTS * FIRST)
    eventually("all are counted", lambda: account_of(
        w.metrics(), name)[1] == EVENTS * FIRST, 10)
    equal("the aggregator's exit status", w.aggregator.stop(), 0)
    requests(LOST)
    time.sleep(2)  # no endpoint tells when the agent has seen the last one
    status = p.stop()
    return status, p.log.read_text()


def in_memory(w):
    note = w.dir / "given-up"
    status, log = outage(w, "memory", f"--outbox.given-up={note}")
    equal("exit status", status, 3)
    told = re.search(r"gave up requests=(\d+) perhaps_counted=(\d+)", log)
    check(told, f"the log says how many: {log}")
    equal("requests given up", int(told[1]), EVENTS * LOST)
    check(note.exists(), "they are noted down")
    w.start_aggregator()
    p = start_agent(w, "memory", f"--outbox.given-up={note}")
    requests(LAST)
    total = EVENTS * (FIRST + LOST + LAST)
    captured(w, "memory", total)
    eventually("captured = counted + dropped", lambda: account_of(
        w.metrics(), "memory") == [total, EVENTS * (FIRST + LAST),
                                   EVENTS * LOST], 10)
    equal("given up, by stage", dropped(w, "memory", "stopped")
          + dropped(w, "memory", "sequence_gap"), EVENTS * LOST)
    check(dropped(w, "memory", "stopped") >= EVENTS * LOST
          - int(told[2]), "what was certainly not sent is reported as such")
    check(not note.exists(), "the note is gone after that")
    equal("exit status of the next stop", p.stop(), 0)


def in_a_file(w):
    path = w.dir / "outbox.db"
    status, log = outage(w, "file", f"--outbox.path={path}")
    equal("exit status", status, 0)
    check(re.search(rf"none is given up requests={EVENTS * LOST}\b", log),
          f"the log says so: {log}")
    w.start_aggregator()
    p = start_agent(w, "file", f"--outbox.path={path}")
    requests(LAST)
    total = EVENTS * (FIRST + LOST + LAST)
    captured(w, "file", total)
    eventually("all are counted", lambda: account_of(
        w.metrics(), "file") == [total, total, 0], 10)
    equal("exit status of the next stop", p.stop(), 0)


def made_fleet(w, agents=3, hung_s=3):
    """Two batches a second each; all but one of those due go in few."""
    p = start_synth(w, f"--agents={agents}", f"--rate={10 * agents}",
                    "--duration=8s")
    eventually("all agents are heard", lambda: len(w.metrics().select(
        "redtap_agent_batches_total")) >= agents + 2, 20)
    w.aggregator.popen.send_signal(signal.SIGSTOP)
    time.sleep(hung_s)
    w.aggregator.popen.send_signal(signal.SIGCONT)
    equal("synth's exit status", p.popen.wait(60), 0)
    truth = json.loads((w.dir / "truth").read_text())
    compare(w, truth)
    joined = truth["events"] // truth["batch"] - truth["batches"]
    check(joined >= agents * hung_s, f"only {joined} batches were joined")


def main():
    report = Report()
    site = http.server.ThreadingHTTPServer(("127.0.0.1", SITE), Quiet)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    with Fleet(PORT) as w:
        w.start_aggregator()
        with report.case("an agent that stops with a backlog says what it "
                         "gives up, and its next start closes the sum"):
            in_memory(w)
        with report.case("with a file for its outbox it gives none up, and "
                         "all are counted later"):
            in_a_file(w)
        with report.case("a made fleet joins what became due while its "
                         "aggregator hung, and all count once"):
            made_fleet(w)
        with report.case("the aggregator ends with status 0"):
            equal("exit status", w.aggregator.stop(), 0)
    site.shutdown()
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
HTTP/1 conversations with exact counts, method, route, status, error and
bounded durations, for both roles. Each runs in two processes of its own whose
service name is the case's, so that one start of agent and aggregator serves
all of them.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cases
from harness import FIRST_TRAFFIC_PORT, Failure, Redtap, Report, Request, \
    agree, equal, note, now

CASES_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          "cases.py")


class Conversation:
    """One case in its own processes, alive until ended."""

    def __init__(self, name, port):
        self.name, self.rows, self.wrong = name, [], None
        env = dict(os.environ, OTEL_SERVICE_NAME=name)
        self.popen = subprocess.Popen(
            [sys.executable, "-S", "-E", CASES_FILE, name, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=env,
            start_new_session=True)
        guard = threading.Timer(35, self.kill)
        guard.start()
        try:
            self.read()
        finally:
            guard.cancel()

    def read(self):
        for line in self.popen.stdout:
            if line == "end\n":
                return
            self.rows.append(Request(**json.loads(line)))
        self.kill()
        self.wrong = "the drivers failed:\n" + self.popen.stderr.read()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)

    def end(self):
        self.popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(1)
        self.kill()
        self.popen.wait(10)


def hold(names):
    """Holds all conversations, a few at a time; the driver's truth of each."""
    ports = {name: FIRST_TRAFFIC_PORT + 10 + i
             for i, name in enumerate(cases.CASES)}
    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(lambda n: Conversation(n, ports[n]), names))


def main():
    report = Report()
    names = sys.argv[1:] or list(cases.CASES)
    with Redtap(web=21400) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        before = rt.metrics()
        begin = now()
        held = hold(names)
        quiet = None
        with report.case("after the conversations captured = counted + "
                         "dropped, dropped = 0"):
            try:
                quiet = rt.quiet()
            except Failure:
                quiet = rt.metrics()
                raise
            finally:
                for conversation in held:
                    conversation.end()
            equal("dropped", rt.audit(quiet.minus(before))[2], 0)
        note(f"{len(names)} conversations in {now() - begin:.1f} s")
        delta = quiet.minus(before)
        for conversation in held:
            sentence = " ".join(cases.CASES[conversation.name].__doc__.split())
            with report.case(f"{conversation.name}: {sentence}"):
                if conversation.wrong:
                    raise Failure(conversation.wrong)
                agree(delta, conversation.name, conversation.rows)
        with report.case("all requests that the agent counts are the "
                         "drivers' own"):
            if any(c.wrong for c in held):
                raise Failure("drivers failed, see above")
            equal("counted", rt.audit(delta)[1],
                  sum(len(c.rows) for c in held))
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

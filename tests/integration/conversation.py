# SPDX-License-Identifier: Apache-2.0
"""Runs the conversations of cases.py, each in processes of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cases
from harness import FIRST_TRAFFIC_PORT, PATIENCE, Request

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
        guard = threading.Timer(35 * PATIENCE, self.kill)
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
            self.popen.wait(PATIENCE)
        self.kill()
        self.popen.wait(10 * PATIENCE)


def hold(names):
    """Holds all conversations, a few at a time; the driver's truth of each."""
    ports = {name: FIRST_TRAFFIC_PORT + 10 + i
             for i, name in enumerate([*cases.CASES, *cases.EDGES])}
    with ThreadPoolExecutor(6) as pool:
        return list(pool.map(lambda n: Conversation(n, ports[n]), names))

# SPDX-License-Identifier: Apache-2.0
"""
Requests whose arrival at the endpoint proves that all before them arrived: the
agent takes the kernel's records in order, sends its batches in order, and the
aggregator shows them in order.
"""

import contextlib
import os
import subprocess
import sys

from results import check

MARK = "redtap-mark"  # the service's name, and so every label's value
MARK_PORTS = 21595, 21599  # the first of them that is free
COUNTED = "redtap_http_requests_total"
TOTALS = ("redtap_agent_events_captured_total",
          "redtap_agent_events_counted_total")

# Both sides of one connection in one process, moved by hand.
PROGRAM = """
import socket, sys
first, last = map(int, sys.argv[1:])
for port in range(first, last + 1):
    try:
        listener = socket.create_server(("127.0.0.1", port))
        break
    except OSError:
        if port == last:
            raise
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
def move(a, b, line):
    data = line.encode() + b"\\r\\nHost: mark\\r\\nContent-Length: 0\\r\\n\\r\\n"
    a.sendall(data)
    got = 0
    while got < len(data):
        got += len(b.recv(4096))
for status in sys.stdin:
    move(client, server, "GET /mark HTTP/1.1")
    move(server, client, "HTTP/1.1 " + status.strip() + " Seen")
    print("made", flush=True)
"""


class Marker:
    """Makes marks; each lot has a status of its own, so none is mistaken."""

    def __init__(self):
        self.lot = 0
        self.popen = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", PROGRAM, *map(str, MARK_PORTS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, OTEL_SERVICE_NAME=MARK))
        self.pid = self.popen.pid

    def status(self):
        return str(200 + self.lot % 100)

    def make(self):
        with contextlib.suppress(OSError):
            self.popen.stdin.write(self.status() + "\n")
            self.popen.stdin.flush()
        check(self.popen.stdout.readline() == "made\n", "no mark was made")

    def counted(self, m):
        """Events of this lot."""
        return m.sum(COUNTED, job=MARK,
                     http_response_status_code=self.status())

    def stop(self):
        self.popen.kill()
        with contextlib.suppress(OSError):
            self.popen.stdin.close()
        self.popen.wait()
        self.popen.stdout.close()


def without_marks(m, node):
    """The scrape as if there never had been any."""
    marks = m.sum(COUNTED, job=MARK)
    for name in TOTALS:
        for labels in m.select(name, node=node):
            m.samples[name][labels] -= marks
    for name, series in m.samples.items():
        m.samples[name] = {labels: value for labels, value in series.items()
                           if all(text != MARK for _, text in labels)}
    return m

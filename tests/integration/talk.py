# SPDX-License-Identifier: Apache-2.0
"""
What a conversation is made of: two sides that note what they did, messages,
and a reader. The conversations register themselves in CASES and EDGES.
"""

import socket
import threading
import time

now = time.monotonic
HOST = "127.0.0.1"
CASES = {}
EDGES = {}  # those of 15_edges.py


def case(function):
    """Registers a conversation under its name; the doc string is a sentence."""
    CASES[function.__name__] = function
    return function


def edge(function):
    """Likewise, for a suite that configures the agent or reads its counters."""
    EDGES[function.__name__] = function
    return function


class Side:
    """Collects what one role did; stamps are per request id."""

    def __init__(self, port):
        self.port = port
        self.host = HOST
        self.rows = []
        self.lock = threading.Lock()

    def add(self, role, rid, method, route, status, begin, low, end,
            error=None, version="1.1"):
        with self.lock:
            self.rows.append(dict(
                role=role, id=rid, method=method, route=route, status=status,
                error=error, version=version, begin=begin, low=low, end=end))

    def server(self, rid, method, route, status, begin, last, end, **more):
        """begin: request seen; last: before the last write; end: after it."""
        self.add("server", rid, method, route, status, begin, last - begin,
                 end, **more)

    def client(self, rid, method, status, begin, end, low=0.0, **more):
        """begin: before the first write; end: after the last read."""
        self.add("client", rid, method, None, status, begin, low, end, **more)

    def listen(self, backlog=64):
        s = socket.create_server((self.host, self.port), backlog=backlog,
                                 family=socket.AF_INET6 if ":" in self.host
                                 else socket.AF_INET)
        return s

    def connect(self):
        """Waits for the listener, without a connection that is not used."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        while True:  # the case has an alarm
            s = socket.socket(family)
            try:
                s.connect((self.host, self.port))
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return s
            except ConnectionRefusedError:
                s.close()
                time.sleep(0.01)

    def accept(self, listener):
        s = listener.accept()[0]
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s


class Reader:
    """Reads messages off a socket; `step` bytes a call at most."""

    def __init__(self, s, step=65536):
        self.s, self.step, self.buf = s, step, bytearray()
        self.seen = None  # when the last bytes came

    def more(self):
        data = self.s.recv(self.step)
        self.seen = now()
        if not data:
            raise EOFError
        self.buf += data

    def take(self, n):
        taken = bytes(self.buf[:n])
        del self.buf[:n]
        return taken

    def head(self):
        """The next head with its blank line."""
        while b"\r\n\r\n" not in self.buf:
            self.more()
        return self.take(self.buf.index(b"\r\n\r\n") + 4)

    def begun(self):
        """Reads the next head; when its first bytes came."""
        self.more()
        begin = self.seen
        self.head()
        return begin

    def body(self, n):
        while len(self.buf) < n:
            self.more()
        return self.take(n)

    def rest(self):
        try:
            while True:
                self.more()
        except EOFError:
            return self.take(len(self.buf))


def request(method, target, body=b"", extra="", version="1.1"):
    head = f"{method} {target} HTTP/{version}\r\nHost: example.test\r\n{extra}"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def response(status, body=b"", extra="", version="1.1", length=True):
    head = f"HTTP/{version} {status} Words here\r\n{extra}"
    if length:
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def length_of(head):
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


def serve_simply(side, s, steps, method="GET", first_id=0):
    """Answers one request after the other: steps are (route, status, sleep)."""
    r = Reader(s)
    for i, (route, status, sleep_s) in enumerate(steps, first_id):
        head = r.head()
        begin = now()
        if length_of(head):
            r.body(length_of(head))
        time.sleep(sleep_s)
        last = now()
        s.sendall(response(status, b"x" * (i % 7)))
        side.server(i, method, route, status, begin, last, now())


def ask_simply(side, s, steps, method="GET", first_id=0, body=b""):
    r = Reader(s)
    for i, (route, status, _) in enumerate(steps, first_id):
        begin = now()
        s.sendall(request(method, route, body))
        r.body(length_of(r.head()))
        side.client(i, method, status, begin, now())


def send_pieces(s, pieces, pause_s):
    for piece in pieces:
        s.sendall(piece)
        time.sleep(pause_s)


def bytewise(data):
    return [data[i:i + 1] for i in range(len(data))]

# SPDX-License-Identifier: Apache-2.0
"""
The conversations of 10_http_cases.py. `cases.py NAME PORT` holds one between
two processes of its own and prints what each side did: one JSON line per
request and role. Both clocks are CLOCK_MONOTONIC, so the other side's stamps
bound a duration strictly:

  server: from before the answer is computed to after its last write, but not
          longer than from the client's first write
  client: at least what the server took, at most what the client saw
"""

import json
import os
import select
import signal
import socket
import struct
import sys
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
        for _ in range(400):
            s = socket.socket(family)
            try:
                s.connect((self.host, self.port))
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return s
            except ConnectionRefusedError:
                s.close()
                time.sleep(0.01)
        raise RuntimeError("nobody listens")

    def accept(self, listener):
        s = listener.accept()[0]
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s


class Reader:
    """Reads messages off a socket; `step` bytes a call at most."""

    def __init__(self, s, step=65536):
        self.s, self.step, self.buf = s, step, b""
        self.seen = None  # when the last bytes came

    def more(self):
        data = self.s.recv(self.step)
        self.seen = now()
        if not data:
            raise EOFError
        self.buf += data

    def head(self):
        """The next head with its blank line."""
        while b"\r\n\r\n" not in self.buf:
            self.more()
        at = self.buf.index(b"\r\n\r\n") + 4
        head, self.buf = self.buf[:at], self.buf[at:]
        return head

    def body(self, n):
        while len(self.buf) < n:
            self.more()
        body, self.buf = self.buf[:n], self.buf[n:]
        return body

    def rest(self):
        try:
            while True:
                self.more()
        except EOFError:
            body, self.buf = self.buf, b""
            return body


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


# --- 1: connections -----------------------------------------------------------

KEEP_ALIVE = [("/keepalive", 200, 0.3 if i == 5 else 0.0) for i in range(23)]


@case
def keepalive(side):
    """23 requests on one kept-alive connection"""
    def server():
        serve_simply(side, side.accept(side.listen()), KEEP_ALIVE)

    def client():
        ask_simply(side, side.connect(), KEEP_ALIVE)
    return server, client


@case
def perconnection(side):
    """17 connections with one request each"""
    def server():
        listener = side.listen()
        for i in range(17):
            s = side.accept(listener)
            serve_simply(side, s, [("/perconnection", 200, 0.02)], first_id=i)
            s.close()

    def client():
        for i in range(17):
            s = side.connect()
            ask_simply(side, s, [("/perconnection", 200, 0)], first_id=i)
            s.close()
    return server, client


@case
def idlebefore(side):
    """connections opened long before their first request, and idle between"""
    steps = [("/idlebefore", 200, 0.1)]

    def server():
        listener = side.listen()
        first, second = side.accept(listener), side.accept(listener)
        serve_simply(side, first, steps, first_id=0)
        serve_simply(side, second, steps, first_id=1)
        serve_simply(side, first, steps, first_id=2)

    def client():
        first, second = side.connect(), side.connect()
        time.sleep(1.3)
        ask_simply(side, first, steps, first_id=0)
        ask_simply(side, second, steps, first_id=1)
        time.sleep(1.3)
        ask_simply(side, first, steps, first_id=2)
    return server, client


# --- 2: pipelining ------------------------------------------------------------

def pipelined_server(side, n, route, sleep_s, coalesce):
    """Reads n requests, answers each, or all in one write."""
    s = side.accept(side.listen())
    r = Reader(s)
    begins = []
    for i in range(n):
        if not r.buf:
            r.more()
        begins.append(r.seen)
        r.head()
        if not coalesce:
            time.sleep(sleep_s)
            last = now()
            s.sendall(response(200, b"y" * i))
            side.server(i, "GET", route, 200, begins[-1], last, now())
    if coalesce:
        time.sleep(sleep_s)
        last = now()
        s.sendall(b"".join(response(200, b"y" * i) for i in range(n)))
        end = now()
        for i in range(n):
            side.server(i, "GET", route, 200, begins[i], last, end)


def pipelined_client(side, n, route, pieces):
    s = side.connect()
    data = b"".join(request("GET", route) for _ in range(n))
    begin = now()
    size = -(-len(data) // pieces)
    for at in range(0, len(data), size):
        s.sendall(data[at:at + size])
        if pieces > 1:
            time.sleep(0.02)
    r = Reader(s)
    for i in range(n):
        r.body(length_of(r.head()))
        side.client(i, "GET", 200, begin, now())


@case
def pipelineone(side):
    """7 pipelined requests in one segment, answered one by one"""
    return (lambda: pipelined_server(side, 7, "/pipelineone", 0.02, False),
            lambda: pipelined_client(side, 7, "/pipelineone", 1))


@case
def pipelinesegments(side):
    """13 pipelined requests in 5 segments that cut them anywhere"""
    return (lambda: pipelined_server(side, 13, "/pipelinesegments", 0.01,
                                     False),
            lambda: pipelined_client(side, 13, "/pipelinesegments", 5))


@case
def coalesced(side):
    """11 pipelined requests whose responses come in one write"""
    return (lambda: pipelined_server(side, 11, "/coalesced", 0.1, True),
            lambda: pipelined_client(side, 11, "/coalesced", 1))


@case
def coalescedsegments(side):
    """11 requests in 3 segments, the responses in one write"""
    return (lambda: pipelined_server(side, 11, "/coalescedsegments", 0.1,
                                     True),
            lambda: pipelined_client(side, 11, "/coalescedsegments", 3))


# --- 3: heads in pieces -------------------------------------------------------

def send_pieces(s, pieces, pause_s):
    for piece in pieces:
        s.sendall(piece)
        time.sleep(pause_s)


def bytewise(data):
    return [data[i:i + 1] for i in range(len(data))]


@case
def bytebybyte(side):
    """heads written and read one byte at a time, both ways"""
    def server():
        s = side.accept(side.listen())
        r = Reader(s, 1)
        for i in range(3):
            r.more()
            begin = r.seen
            r.head()
            data = response(201, b"abc")
            send_pieces(s, bytewise(data[:-1]), 0.0005)
            last = now()
            s.sendall(data[-1:])
            side.server(i, "GET", "/bytebybyte", 201, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s, 1)
        for i in range(3):
            begin = now()
            send_pieces(s, bytewise(request("GET", "/bytebybyte")), 0.0005)
            r.body(length_of(r.head()))
            side.client(i, "GET", 201, begin, now())
    return server, client


def split_client(side, pieces, status, method="GET", n=5, pause_s=0.03):
    s = side.connect()
    r = Reader(s)
    for i in range(n):
        begin = now()
        send_pieces(s, pieces, pause_s)
        r.body(length_of(r.head()))
        side.client(i, method, status, begin, now())


def split_server(side, route, method="GET", n=5, body=0, pieces=None,
                 status=200, pause_s=0.0):
    s = side.accept(side.listen())
    r = Reader(s)
    for i in range(n):
        r.more()
        begin = r.seen
        r.head()
        r.body(body)
        parts = pieces or [response(status, b"ok")]
        send_pieces(s, parts[:-1], pause_s)
        last = now()
        s.sendall(parts[-1])
        side.server(i, method, route, status, begin, last, now())


@case
def linesplit(side):
    """a request line split inside the method and inside the target"""
    pieces = [b"PA", b"TCH /line", b"split HTTP/1.1\r\nHost: a.test\r\n",
              b"Content-Length: 4\r\n\r", b"\nbo", b"dy"]
    return (lambda: split_server(side, "/linesplit", "PATCH", body=4),
            lambda: split_client(side, pieces, 200, "PATCH"))


@case
def headersplit(side):
    """headers split at and inside their line ends"""
    pieces = [b"GET /headersplit HTTP/1.1\r", b"\nHost: a.test",
              b"\r\nX-One: 1\r\n", b"X-Two: 2\r\n\r\n"]
    return (lambda: split_server(side, "/headersplit"),
            lambda: split_client(side, pieces, 200))


@case
def responsesplit(side):
    """a response head split inside the version, the status and a header"""
    pieces = [b"HTT", b"P/1.1 2", b"02 Accepted\r\nContent-Le",
              b"ngth: 5\r\n", b"\r\n", b"hel", b"lo"]
    return (lambda: split_server(side, "/responsesplit", pieces=pieces,
                                 status=202, pause_s=0.02),
            lambda: split_client(side, [request("GET", "/responsesplit")],
                                 202, pause_s=0))


# --- 4: methods and targets ---------------------------------------------------

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
           "PURGE", "M-SEARCH", "GET"]


@case
def methods(side):
    """every standard method, custom ones as _OTHER, on one connection"""
    def shown(method):
        return "_OTHER" if method in ("PURGE", "M-SEARCH") else method

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i, method in enumerate(METHODS):
            head = r.head()
            begin = now()
            r.body(length_of(head))
            last = now()
            data = response(200, b"some body")
            s.sendall(data[:-9] if method == "HEAD" else data)
            side.server(i, shown(method), "/methods", 200, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i, method in enumerate(METHODS):
            body = b"z" * 20 if method in ("POST", "PUT", "PATCH") else b""
            begin = now()
            s.sendall(request(method, "/methods?x=1", body))
            head = r.head()
            if method != "HEAD":
                r.body(length_of(head))
            side.client(i, shown(method), 200, begin, now())
    return server, client


TARGETS = [("OPTIONS", "*", "*"),
           ("GET", "http://a.test/targets", "/targets"),
           ("GET", "http://a.test:8080/targets?q=/other", "/targets"),
           ("GET", "/", "/")]


@case
def targets(side):
    """OPTIONS *, absolute-form targets, queries and the root"""
    def server():
        s = side.accept(side.listen())
        for i, (method, _, route) in enumerate(TARGETS):
            serve_simply(side, s, [(route, 200, 0)], method, i)

    def client():
        s = side.connect()
        for i, (method, target, _) in enumerate(TARGETS):
            ask_simply(side, s, [(target, 200, 0)], method, i)
    return server, client


@case
def connect(side):
    """CONNECT ends when the tunnel begins; what the tunnel carries is not ours"""
    inside = b"\x05\x01\x00binary, not HTTP\x00"

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        r.head()
        begin = last = now()
        s.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        side.server(0, "CONNECT", None, 200, begin, last, now())
        for _ in range(5):
            s.sendall(r.body(len(inside)))
            time.sleep(0.1)
        r.rest()

    def client():
        s = side.connect()
        r = Reader(s)
        begin = now()
        s.sendall(b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443"
                  b"\r\n\r\n")
        r.head()
        side.client(0, "CONNECT", 200, begin, now())
        for _ in range(5):
            s.sendall(inside)
            r.body(len(inside))
    return server, client


# --- 5: interim and bodiless responses ----------------------------------------

@case
def hundredcontinue(side):
    """Expect: 100-continue is one request with its final status"""
    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i in range(3):
            r.head()
            begin = now()
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            r.body(5)
            time.sleep(0.1)
            last = now()
            s.sendall(response(201, b"made"))
            side.server(i, "POST", "/hundredcontinue", 201, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(3):
            begin = now()
            s.sendall(request("POST", "/hundredcontinue", extra="Expect: "
                              "100-continue\r\nContent-Length: 5\r\n"))
            r.head()
            s.sendall(b"12345")
            r.body(length_of(r.head()))
            side.client(i, "POST", 201, begin, now())
    return server, client


@case
def interim(side):
    """102 and 103 before the final status, apart and in one write"""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    processing = b"HTTP/1.1 102 Processing\r\n\r\n"

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i in range(4):
            r.head()
            begin = now()
            if i % 2:
                last = now()
                s.sendall(processing + early + response(404, b"none"))
            else:
                for part in (processing, early, early):
                    s.sendall(part)
                    time.sleep(0.05)
                last = now()
                s.sendall(response(404, b"none"))
            side.server(i, "GET", "/interim", 404, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(4):
            begin = now()
            s.sendall(request("GET", "/interim"))
            head = r.head()
            while b" 404 " not in head:
                head = r.head()
            r.body(length_of(head))
            side.client(i, "GET", 404, begin, now())
    return server, client


@case
def upgrade(side):
    """101 ends the request; the frames behind it are not HTTP"""
    frame = b"\x81\x85\x00\x00\x00\x00hello"
    extra = "Connection: Upgrade\r\nUpgrade: websocket\r\n"

    def server():
        s = side.accept(side.listen())
        serve_simply(side, s, [("/upgrade", 200, 0)])
        r = Reader(s)
        r.head()
        begin = last = now()
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\n" + extra.encode()
                  + b"\r\n")
        side.server(1, "GET", "/upgrade", 101, begin, last, now())
        for _ in range(7):
            s.sendall(r.body(len(frame)))
        r.rest()

    def client():
        s = side.connect()
        ask_simply(side, s, [("/upgrade", 200, 0)])
        r = Reader(s)
        begin = now()
        s.sendall(request("GET", "/upgrade", extra=extra))
        r.head()
        side.client(1, "GET", 101, begin, now())
        for _ in range(7):
            time.sleep(0.1)
            s.sendall(frame)
            r.body(len(frame))
    return server, client


BODILESS = [("HEAD", 200, "Content-Length: 1000\r\n"), ("GET", 200, None),
            ("GET", 204, ""), ("GET", 304, "Content-Length: 1000\r\n"),
            ("HEAD", 404, "Transfer-Encoding: chunked\r\n"), ("GET", 200, None),
            ("GET", 304, ""), ("DELETE", 204, "")]


@case
def bodiless(side):
    """HEAD, 204 and 304 have no body whatever their headers say"""
    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i, (method, status, extra) in enumerate(BODILESS):
            r.head()
            begin = last = now()
            if extra is None:
                s.sendall(response(status, b"with a body"))
            else:
                s.sendall(response(status, extra=extra, length=False))
            side.server(i, method, "/bodiless", status, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i, (method, status, extra) in enumerate(BODILESS):
            begin = now()
            s.sendall(request(method, "/bodiless"))
            head = r.head()
            if extra is None:
                r.body(length_of(head))
            side.client(i, method, status, begin, now())
    return server, client


# --- 6: bodies ----------------------------------------------------------------

def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


@case
def chunked(side):
    """chunked bodies, cut inside sizes and data, with trailers"""
    body = chunk(b"a" * 300) + chunk(b"HTTP/1.1 500 no\r\n\r\n") + chunk(b"c")
    last_chunk = b"0\r\nX-Trailer: 1\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = head + body + last_chunk
    cuts = [1000, 60, 7, 1, 1000]

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i, size in enumerate(cuts):
            r.head()
            begin = now()
            pieces = [data[at:at + size] for at in range(0, len(data), size)]
            send_pieces(s, pieces[:-1], 0.001)
            last = now()
            s.sendall(pieces[-1])
            side.server(i, "GET", "/chunked", 200, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(len(cuts)):
            begin = now()
            s.sendall(request("GET", "/chunked"))
            r.body(len(data))
            side.client(i, "GET", 200, begin, now())
    return server, client


@case
def chunkedrequest(side):
    """chunked request bodies on a kept-alive connection"""
    data = (b"POST /chunkedrequest HTTP/1.1\r\nHost: a.test\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"q" * 3000)
            + chunk(b"GET / HTTP/1.1\r\n\r\n") + b"0\r\n\r\n")

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i in range(5):
            r.more()
            begin = r.seen
            r.body(len(data))
            last = now()
            s.sendall(response(200, b"ok"))
            side.server(i, "POST", "/chunkedrequest", 200, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(5):
            begin = now()
            s.sendall(data[:2000])
            time.sleep(0.02)
            s.sendall(data[2000:])
            r.body(length_of(r.head()))
            side.client(i, "POST", 200, begin, now())
    return server, client


@case
def untilclose(side):
    """responses that end with the connection, HTTP/1.0 and 1.1"""
    def server():
        listener = side.listen()
        for i in range(6):
            version = "1.0" if i % 2 else "1.1"
            s = side.accept(listener)
            Reader(s).head()
            begin = now()
            s.sendall(response(200, b"p" * 50, version=version, length=False))
            time.sleep(0.1)
            last = now()
            s.sendall(b"q" * 50)
            end = now()
            s.close()
            side.server(i, "GET", "/untilclose", 200, begin, last, end,
                        version=version)

    def client():
        for i in range(6):
            version = "1.0" if i % 2 else "1.1"
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/untilclose", version=version))
            Reader(s).rest()
            s.close()
            side.client(i, "GET", 200, begin, now(), version=version)
    return server, client


BIG = 30 << 20
UPLOAD_BYTES = 5 << 20


def big_server(side, route, send):
    s = side.accept(side.listen())
    r = Reader(s)
    for i in range(2):
        r.head()
        begin = now()
        time.sleep(0.1)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        last = send(s)
        side.server(i, "GET", route, 200, begin, last, now())


def big_client(side, route):
    s = side.connect()
    r = Reader(s, 1 << 20)
    for i in range(2):
        begin = now()
        s.sendall(request("GET", route))
        left = length_of(r.head()) - len(r.buf)
        while left:
            left -= len(s.recv(min(left, 1 << 20)))
        r.buf = b""
        side.client(i, "GET", 200, begin, now())


@case
def slowbody(side):
    """30 MB written slowly: the duration runs to the last byte"""
    def send(s):
        part = b"b" * (BIG // 30)
        for i in range(30):
            time.sleep(0.03)
            last = now()
            s.sendall(part)
        return last
    return (lambda: big_server(side, "/slowbody", send),
            lambda: big_client(side, "/slowbody"))


@case
def sendfile(side):
    """30 MB by sendfile in slow steps: the duration runs to the last byte"""
    def send(s):
        fd = os.memfd_create("body")
        os.ftruncate(fd, BIG)
        at = 0
        while at < BIG:
            time.sleep(0.03)
            last = now()
            at += os.sendfile(s.fileno(), fd, at, min(BIG // 30, BIG - at))
        os.close(fd)
        return last
    return (lambda: big_server(side, "/sendfile", send),
            lambda: big_client(side, "/sendfile"))


@case
def upload(side):
    """5 MB uploaded in pieces: the duration begins with the first byte"""
    body = b"u" * UPLOAD_BYTES

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i in range(3):
            r.more()
            begin = r.seen
            r.head()
            r.body(len(body))
            last = now()
            s.sendall(response(200, b"thanks"))
            side.server(i, "PUT", "/upload", 200, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        data = request("PUT", "/upload", body)
        for i in range(3):
            begin = now()
            s.sendall(data[:100000])
            time.sleep(0.2)
            s.sendall(data[100000:])
            r.body(length_of(r.head()))
            side.client(i, "PUT", 200, begin, now())
    return server, client


# --- 7: no response -----------------------------------------------------------

def linger_zero(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@case
def serverhangsup(side):
    """a server that closes without an answer: aborted, no status"""
    def server():
        listener = side.listen()
        for i in range(3):
            s = side.accept(listener)
            Reader(s).head()
            begin = now()
            time.sleep(0.1)
            last = now()
            s.close()
            side.server(i, "GET", "/serverhangsup", None, begin, last, now(),
                        error="aborted")

    def client():
        for i in range(3):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/serverhangsup"))
            Reader(s).rest()
            s.close()
            side.client(i, "GET", None, begin, now(), error="aborted")
    return server, client


@case
def clientgivesup(side):
    """a client that stops waiting: aborted on both sides"""
    def server():
        listener = side.listen()
        for i in range(3):
            s = side.accept(listener)
            r = Reader(s)
            r.head()
            begin = now()
            r.rest()
            last = begin
            s.close()
            side.server(i, "GET", "/clientgivesup", None, begin, last, now(),
                        error="aborted")

    def client():
        for i in range(3):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/clientgivesup"))
            sent = now()
            time.sleep(0.2)
            low = now() - sent
            s.close()
            side.client(i, "GET", None, begin, now(), low, error="aborted")
    return server, client


@case
def reset(side):
    """a server that resets: connection_reset at the client, no status"""
    def server():
        listener = side.listen()
        for i in range(3):
            s = side.accept(listener)
            Reader(s).head()
            begin = now()
            linger_zero(s)
            time.sleep(0.1)
            last = now()
            s.close()
            side.server(i, "GET", "/reset", None, begin, last, now(),
                        error="aborted")

    def client():
        for i in range(3):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/reset"))
            try:
                s.recv(100)
                raise RuntimeError("no reset")
            except ConnectionResetError:
                s.close()
            side.client(i, "GET", None, begin, now(), error="connection_reset")
    return server, client


@case
def timeout(side):
    """a peer that takes nothing more: ETIMEDOUT is the outcome timeout"""
    size = 8 << 20

    def server():
        listener = side.listen()
        s = side.accept(listener)
        r = Reader(s, 1)
        r.more()
        begin = r.seen
        r.head()
        time.sleep(4)
        last = now()
        s.close()
        side.server(0, "POST", "/timeout", None, begin, last, now(),
                    error="aborted")

    def client():
        s = side.connect()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 700)
        begin = now()
        s.sendall(request("POST", "/timeout",
                          extra=f"Content-Length: {size}\r\n"))
        s.settimeout(None)
        try:
            s.sendall(b"t" * size)
            raise RuntimeError("no timeout")
        except TimeoutError:
            pass
        end = now()
        s.close()
        side.client(0, "POST", None, begin, end, 0.5, error="timeout")
    return server, client


@case
def cutshort(side):
    """a response cut short keeps its status and is an error"""
    def server():
        listener = side.listen()
        for i in range(3):
            s = side.accept(listener)
            Reader(s).head()
            begin = now()
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            time.sleep(0.1)
            last = begin
            s.close()
            side.server(i, "GET", "/cutshort", 200, begin, last, now(),
                        error="aborted")

    def client():
        for i in range(3):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/cutshort"))
            Reader(s).rest()
            s.close()
            side.client(i, "GET", 200, begin, now(), error="aborted")
    return server, client


# --- 8: identity of connections -----------------------------------------------

@case
def samefd(side):
    """two processes that use the same fd number at the same time"""
    steps = {route: [(route, status, 0.005) for _ in range(31)]
             for route, status in (("/samefdone", 200), ("/samefdtwo", 404))}

    def as_fd_40(s):
        os.dup2(s.fileno(), 40)
        s.close()
        return socket.socket(fileno=40)

    def fork_two(work):
        """Runs work(route) in a process each and gathers their rows."""
        ends = []
        for route in steps:
            r, w = os.pipe()
            if os.fork() == 0:
                signal.alarm(30)
                side.rows = []
                work(route)
                os.write(w, json.dumps(side.rows).encode())
                os.close(w)
                sys.stdin.read()
                os._exit(0)
            os.close(w)
            ends.append(r)
        for r in ends:
            with os.fdopen(r) as f:
                side.rows += json.loads(f.read())

    first_ids = {"/samefdone": 0, "/samefdtwo": 100}

    def server():
        listener = side.listen()

        def work(route):
            # Whoever accepts learns from the first request which one it is.
            s = as_fd_40(side.accept(listener))
            peeked = b""
            while b"HTTP" not in peeked:
                select.select([s], [], [])
                peeked = s.recv(100, socket.MSG_PEEK)
            route = peeked.split(b" ")[1].decode()
            serve_simply(side, s, steps[route], first_id=first_ids[route])
        fork_two(work)

    def client():
        def work(route):
            ask_simply(side, as_fd_40(side.connect()), steps[route],
                       first_id=first_ids[route])
        fork_two(work)
    return server, client


@case
def fdreuse(side):
    """an fd used again inherits nothing from the connection before"""
    def server():
        listener = side.listen()
        fds = set()
        for i in range(10):
            s = side.accept(listener)
            fds.add(s.fileno())
            if i % 2 == 0:
                r = Reader(s)
                r.head()
                begin = now()
                r.rest()
                s.close()
                side.server(i, "GET", "/fdreuse", None, begin, begin, now(),
                            error="aborted")
            else:
                serve_simply(side, s, [("/fdreuse", 201, 0)], "POST", i)
                s.close()
        if len(fds) != 1:
            raise RuntimeError(f"fds differ: {fds}")

    def client():
        fds = set()
        for i in range(10):
            s = side.connect()
            fds.add(s.fileno())
            if i % 2 == 0:
                begin = now()
                s.sendall(request("GET", "/fdreuse"))
                time.sleep(0.03)
                s.close()
                side.client(i, "GET", None, begin, now(), error="aborted")
            else:
                ask_simply(side, s, [("/fdreuse", 201, 0)], "POST", i, b"abc")
                s.close()
        if len(fds) != 1:
            raise RuntimeError(f"fds differ: {fds}")
    return server, client


@case
def prefork(side):
    """3 processes of 2 threads share a listener, 5 threads ask 101 requests"""
    total, clients = 101, 5

    def server():
        listener = side.listen()
        ends = []
        stop_r, stop_w = os.pipe()

        def worker():
            while True:
                s = side.accept(listener)
                r = Reader(s)
                try:
                    while True:
                        head = r.head()
                        begin = now()
                        rid = int(head.split(b"X-Id: ")[1].split(b"\r")[0])
                        last = now()
                        s.sendall(response(200, b"w"))
                        side.server(rid, "GET", "/prefork", 200, begin, last,
                                    now())
                except EOFError:
                    s.close()

        for _ in range(3):
            r, w = os.pipe()
            if os.fork() == 0:
                signal.alarm(30)
                os.close(stop_w)
                side.rows = []
                for _ in range(2):
                    threading.Thread(target=worker, daemon=True).start()
                os.read(stop_r, 1)
                os.write(w, json.dumps(side.rows).encode())
                os.close(w)
                sys.stdin.read()
                os._exit(0)
            os.close(w)
            ends.append(r)
        side.wait_peer()
        os.close(stop_w)
        for r in ends:
            with os.fdopen(r) as f:
                side.rows += json.loads(f.read())

    def client():
        ids = iter(range(total))
        lock = threading.Lock()

        def ask():
            s, left = None, 0
            while True:
                with lock:
                    rid = next(ids, None)
                if rid is None:
                    break
                if not left:
                    s, left = side.connect(), 4
                begin = now()
                s.sendall(request("GET", "/prefork", extra=f"X-Id: {rid}\r\n"))
                Reader(s).head()
                side.client(rid, "GET", 200, begin, now())
                left -= 1
                if not left:
                    s.close()
        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    return server, client


@case
def callsitself(side):
    """a server whose handler calls the server itself"""
    def server():
        listener = side.listen()

        def handle(s):
            r = Reader(s)
            try:
                while True:
                    head = r.head()
                    begin = now()
                    route = head.split(b" ")[1].decode()
                    rid = int(head.split(b"X-Id: ")[1].split(b"\r")[0])
                    if route == "/outer":
                        c = side.connect()
                        t = now()
                        c.sendall(request("GET", "/inner",
                                          extra=f"X-Id: {rid + 100}\r\n"))
                        inner = Reader(c)
                        inner.body(length_of(inner.head()))
                        side.client(rid + 100, "GET", 503, t, now())
                        c.close()
                        status = 200
                    else:
                        time.sleep(0.05)
                        status = 503
                    last = now()
                    s.sendall(response(status, b"v"))
                    side.server(rid, "GET", route, status, begin, last, now())
            except EOFError:
                s.close()

        def loop():
            while True:
                s = side.accept(listener)
                threading.Thread(target=handle, args=(s,), daemon=True).start()
        threading.Thread(target=loop, daemon=True).start()
        side.wait_peer()

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(7):
            begin = now()
            s.sendall(request("GET", "/outer", extra=f"X-Id: {i}\r\n"))
            r.body(length_of(r.head()))
            side.client(i, "GET", 200, begin, now())
    return server, client


# --- 10: large heads; routes --------------------------------------------------

@case
def largehead(side):
    """heads of 30 KiB both ways whose Content-Length comes last"""
    pad = "".join(f"X-Pad-{i}: {'p' * 1000}\r\n" for i in range(30))

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i in range(5):
            r.more()
            begin = r.seen
            r.body(length_of(r.head()))
            time.sleep(0.02)
            last = now()
            s.sendall(response(200, b"large" * 1000, extra=pad))
            side.server(i, "POST", "/largehead", 200, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(5):
            begin = now()
            s.sendall(request("POST", "/largehead", b"k" * 5000, extra=pad))
            r.body(length_of(r.head()))
            side.client(i, "POST", 200, begin, now())
    return server, client


@case
def longurl(side):
    """URLs of 8 KiB, in the query and in the path"""
    query = "/longurl?" + "q" * 8192

    def server():
        s = side.accept(side.listen())
        serve_simply(side, s, [("/longurl", 414, 0.01)] * 5)

    def client():
        s = side.connect()
        ask_simply(side, s, [(query, 414, 0)] * 5)
    return server, client


ROUTES = [("/users/42", "/users/{id}"), ("/users/7/posts/9",
                                        "/users/{id}/posts/{id}"),
          ("/orders/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/orders/{uuid}"),
          ("/blobs/deadbeefdeadbeefdeadbeefdeadbeef", "/blobs/{id}"),
          ("/mail/someone@example.test", "/mail/{email}"),
          ("/days/2026-11-22", "/days/{date}"),
          ("/token/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9abcdef",
           "/token/{id}"),
          ("/users/about?id=42", "/users/about")]


@case
def routes(side):
    """ids, dates, addresses and tokens in paths become templates"""
    def server():
        s = side.accept(side.listen())
        for i, (_, route) in enumerate(ROUTES):
            serve_simply(side, s, [(route, 200, 0)], first_id=i)

    def client():
        s = side.connect()
        for i, (target, _) in enumerate(ROUTES):
            ask_simply(side, s, [(target, 200, 0)], first_id=i)
    return server, client


@case
def ipversionsix(side):
    """the same over IPv6"""
    side.host = "::1"
    steps = [("/ipversionsix", 500, 0.01)] * 13
    return (lambda: serve_simply(side, side.accept(side.listen()), steps),
            lambda: ask_simply(side, side.connect(), steps))


# --- what is not quite HTTP ----------------------------------------------------

ROUTE_CAP = 97  # see 15_edges.py
MANY_ROUTES = [("/many/" + chr(97 + i // 26) + chr(97 + i % 26) + "word",
                200, 0) for i in range(131)]


@edge
def routecap(side):
    """131 routes of one service where 97 are allowed"""
    return (lambda: serve_simply(side, side.accept(side.listen()),
                                 MANY_ROUTES),
            lambda: ask_simply(side, side.connect(), MANY_ROUTES))


USER_ROUTES = [("/shop/toys/car", "/shop/{category}/{item}"),
               ("/shop/books/novel?page=3", "/shop/{category}/{item}"),
               ("/shop/books", "/shop/books")]


@edge
def userpattern(side):
    """patterns of the configuration come first"""
    def server():
        s = side.accept(side.listen())
        for i, (_, route) in enumerate(USER_ROUTES):
            serve_simply(side, s, [(route, 200, 0)], first_id=i)

    def client():
        s = side.connect()
        for i, (target, _) in enumerate(USER_ROUTES):
            ask_simply(side, s, [(target, 200, 0)], first_id=i)
    return server, client


BAD_REQUESTS = [b"GET /\x00\xff\x80\x01garbage HTTP/1.1\r\n\r\n",
                b"GET /badrequest \x16\x03\x01\x02\r\n\r\n",
                b"GET /badrequest HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
                b"POST /badrequest NOTHTTP/1.1\r\nHost: a\r\n\r\n",
                b"DELETE /badrequest HTTP/x.y\r\n\r\n"]


@edge
def badrequest(side):
    """binary garbage behind a method, NULs, a wrong version"""
    def server():
        listener = side.listen()
        for _ in BAD_REQUESTS:
            s = side.accept(listener)
            Reader(s).head()
            s.sendall(response(400, b"what?", extra="Connection: close\r\n"))
            s.close()

    def client():
        for data in BAD_REQUESTS:
            s = side.connect()
            s.sendall(data)
            Reader(s).rest()
            s.close()
    return server, client


BAD_RESPONSES = [b"HTTP/1.1 abc Fine\r\n\r\n", b"HTTP/1.1 99 Low\r\n\r\n",
                 b"HTTP/1.1 1000 High\r\n\r\n", b"HTTP/1.1 \x00\x00\r\n\r\n",
                 b"HTTP/1.1\r\n\r\n"]


@edge
def badresponse(side):
    """responses whose status is no status"""
    def server():
        listener = side.listen()
        for i, data in enumerate(BAD_RESPONSES):
            s = side.accept(listener)
            Reader(s).head()
            begin = last = now()
            s.sendall(data)
            end = now()
            s.close()
            side.server(i, "GET", "/badresponse", None, begin, last, end,
                        error="malformed_response")

    def client():
        for i, _ in enumerate(BAD_RESPONSES):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/badresponse"))
            Reader(s).rest()
            s.close()
            side.client(i, "GET", None, begin, now(),
                        error="malformed_response")
    return server, client


# --- running one --------------------------------------------------------------

def join(rows):
    """The stamps of both roles of a request bound its durations."""
    by = {}
    for row in rows:
        by.setdefault(row["id"], {})[row["role"]] = row
    for row in rows:
        server = by[row["id"]].get("server")
        client = by[row["id"]].get("client")
        low, end = row["low"], row["end"]
        if row["status"] and not row["error"]:
            low = server["low"]
        if row["error"] == "aborted":
            # It ends when the kernel has seen the last of both sides.
            end = max(server["end"], client["end"]) + 0.01
        out = {k: row[k] for k in ("role", "method", "route", "status",
                                   "error", "version")}
        out["low_s"] = max(0.0, low)
        out["high_s"] = end - client["begin"]
        yield out


def main():
    name, port = sys.argv[1], int(sys.argv[2])
    signal.alarm(30)
    side = Side(port)
    server, client = {**CASES, **EDGES}[name](side)
    r, w = os.pipe()
    done_r, done_w = os.pipe()
    side.wait_peer = lambda: os.read(done_r, 1)
    if os.fork() == 0:
        signal.alarm(30)
        client()
        os.close(done_r)
        os.write(done_w, b"!")
        with os.fdopen(w, "w") as f:
            f.write(json.dumps(side.rows) + "\n")
        sys.stdin.read()
        os._exit(0)
    os.close(w)
    server()
    with os.fdopen(r) as f:
        side.rows += json.loads(f.readline())
    for row in join(side.rows):
        print(json.dumps(row))
    print("end", flush=True)
    # Stay until told, so that the agent can see who we were.
    sys.stdin.read()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Conversations about connections, pipelining, split heads and methods."""

import time

from talk import ask_simply, bytewise, case, length_of, now, Reader, request, \
    response, send_pieces, serve_simply

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

@case
def bytebybyte(side):
    """heads written and read one byte at a time, both ways"""
    def server():
        s = side.accept(side.listen())
        r = Reader(s, 1)
        for i in range(3):
            begin = r.begun()
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
        begin = r.begun()
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

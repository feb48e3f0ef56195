# SPDX-License-Identifier: Apache-2.0
"""Conversations about identity, large heads, routes and near misses."""

import json
import os
import select
import signal
import socket
import sys
import threading
import time

from results import PATIENCE
from talk import ask_simply, case, edge, length_of, now, Reader, request, \
    response, serve_simply

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
                signal.alarm(int(30 * PATIENCE))
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

        def worker(busy):
            while True:
                s = side.accept(listener)
                r = Reader(s)
                try:
                    while True:
                        head = r.head()
                        begin = now()
                        rid = int(head.split(b"X-Id: ")[1].split(b"\r")[0])
                        # Held until it is written down that it was sent.
                        with busy:
                            last = now()
                            s.sendall(response(200, b"w"))
                            side.server(rid, "GET", "/prefork", 200, begin,
                                        last, now())
                except EOFError:
                    s.close()

        for _ in range(3):
            r, w = os.pipe()
            if os.fork() == 0:
                signal.alarm(int(30 * PATIENCE))
                os.close(stop_w)
                side.rows = []
                locks = [threading.Lock() for _ in range(2)]
                for lock in locks:
                    threading.Thread(target=worker, args=(lock,),
                                     daemon=True).start()
                os.read(stop_r, 1)
                for lock in locks:
                    lock.acquire()
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
        # The peer has its answers before the threads have written them down.
        while sum(row["role"] == "server" for row in side.rows) < 14:
            time.sleep(0.01)

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


# Each with the method and the target that can be read in it.
BAD_REQUESTS = [
    (b"GET /\x00\xff\x80\x01garbage HTTP/1.1\r\n\r\n", "GET", "/"),
    (b"GET /badrequest \x16\x03\x01\x02\r\n\r\n", "GET", "/badrequest"),
    (b"GET /badrequest HTTP/1.1\r\nHost: a\x00b\r\n\r\n", "GET",
     "/badrequest"),
    (b"POST /badrequest NOTHTTP/1.1\r\nHost: a\r\n\r\n", "POST",
     "/badrequest"),
    (b"DELETE /badrequest HTTP/x.y\r\n\r\n", "DELETE", "/badrequest")]


@edge
def badrequest(side):
    """binary garbage behind a method, NULs, a wrong version, as answered"""
    def server():
        listener = side.listen()
        for i, (_, method, path) in enumerate(BAD_REQUESTS):
            s = side.accept(listener)
            Reader(s).head()
            begin = last = now()
            s.sendall(response(400, b"what?", extra="Connection: close\r\n"))
            side.server(i, method, path, 400, begin, last, now(),
                        version="1.0")
            s.close()

    def client():
        for i, (data, method, _) in enumerate(BAD_REQUESTS):
            s = side.connect()
            begin = now()
            s.sendall(data)
            Reader(s).rest()
            side.client(i, method, 400, begin, now(), version="1.0")
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

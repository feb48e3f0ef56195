# SPDX-License-Identifier: Apache-2.0
"""Conversations about interim responses, bodies and none at all."""

import mmap
import os
import select
import socket
import time

from talk import ask_simply, bytewise, case, length_of, now, Reader, request, \
    response, send_pieces, serve_simply

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
def slowchunks(side):
    """a chunked answer with long pauses: the duration runs to its last byte"""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    event = chunk(b"data: 1\n\n")
    pieces = [head + event, event[:5], event[5:] + event]
    last_chunk = b"0\r\n\r\n"
    size = len(event) * 3 + len(last_chunk)

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i, end in enumerate(([last_chunk], bytewise(last_chunk))):
            r.head()
            begin = now()
            send_pieces(s, pieces, 1.5)
            send_pieces(s, end[:-1], 0)
            last = now()
            s.sendall(end[-1])
            side.server(i, "GET", "/slowchunks", 200, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(2):
            begin = now()
            s.sendall(request("GET", "/slowchunks"))
            r.head()
            r.body(size)
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
        r.buf.clear()
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
            begin = r.begun()
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


# --- writes that the kernel can't take, or read, at once ----------------------

def send_in_parts(s, data):
    """Tries without waiting; when the try began that took the last of it."""
    view = memoryview(data)
    while view:
        begin = now()
        try:
            view = view[s.send(view, socket.MSG_DONTWAIT):]
        except BlockingIOError:
            select.select([], [s], [])
    return begin


@case
def takenpartly(side):
    """writes that are taken in part or not at all, of pipelined answers too"""
    body = b"p" * 700000
    count = 3

    def server():
        s = side.accept(side.listen())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        r = Reader(s)
        begin = r.begun()
        for i in range(count):
            if i:
                r.head()
            last = send_in_parts(s, response(200, body))
            side.server(i, "GET", "/takenpartly", 200, begin, last, now())
        head = r.head()
        begin = r.seen
        while len(r.buf) < length_of(head):
            time.sleep(0.005)
            r.more()
        last = now()
        s.sendall(response(201))
        side.server(count, "PUT", "/takenpartly", 201, begin, last, now())

    def client():
        s = side.connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        r = Reader(s)
        begin = now()
        s.sendall(request("GET", "/takenpartly") * count)
        for i in range(count):
            left = length_of(r.head())
            while len(r.buf) < left:
                time.sleep(0.002)
                r.more()
            r.take(left)
            side.client(i, "GET", 200, begin, now())
        begin = now()
        send_in_parts(s, request("PUT", "/takenpartly", body))
        r.head()
        side.client(count, "PUT", 201, begin, now())
    return server, client


def untouched_memory(data):
    """data in memory that this process has never read."""
    fd = os.memfd_create("untouched")
    os.write(fd, data)
    m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    os.close(fd)
    return m


@case
def untouched(side):
    """messages in memory that was never touched, whole and behind a piece"""
    def send(s, i, data):
        pieces = [data] if i % 2 else [data[:20], data[20:]]
        pieces[-1] = untouched_memory(pieces[-1])
        if s.sendmsg(pieces) != len(data):
            raise RuntimeError("a message was not taken whole")

    def server():
        s = side.accept(side.listen())
        r = Reader(s)
        for i in range(8):
            r.head()
            begin = last = now()
            send(s, i, response(200, b"x" * i))
            side.server(i, "GET", "/untouched", 200, begin, last, now())

    def client():
        s = side.connect()
        r = Reader(s)
        for i in range(8):
            begin = now()
            send(s, i, request("GET", "/untouched"))
            r.body(length_of(r.head()))
            side.client(i, "GET", 200, begin, now())
    return server, client

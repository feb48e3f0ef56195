# SPDX-License-Identifier: Apache-2.0
"""
scripted.py PORT WHAT: both ends of HTTP/2 connections in one process, moved by
hand, byte for byte as asked. WHAT is cuts (one conversation, cut at every
offset), ends (streams that do not end well) or tunnels. Prints how often each (role,
method, route, status, error) must be counted.
"""

import collections
import json
import socket
import struct
import sys
import time

from hpack import Encoder
from hyperframe.frame import ContinuationFrame, DataFrame, GoAwayFrame, \
    HeadersFrame, PingFrame, PriorityFrame, PushPromiseFrame, RstStreamFrame, \
    SettingsFrame, WindowUpdateFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)
seen = collections.Counter()


def both(method, route, status, error=None, n=1, client_error=None):
    """A request that both ends must show."""
    for role in ("server", "client"):
        text = str(status) if status else None
        e = error
        if text and not e and status >= (500 if role == "server" else 400):
            e = text
        seen[json.dumps([role, method, route if role == "server" else None,
                         text, (client_error or e) if role == "client"
                         else e])] += n


class Peer:
    """One end: its socket and its table of header fields."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.code = Encoder()

    def head(self, stream, fields, flags=(), pieces=1, kind=HeadersFrame,
             **more):
        """A header block in this many frames."""
        block = self.code.encode(fields)
        step = max(1, -(-len(block) // pieces))
        parts = [block[i:i + step] for i in range(0, len(block), step)]
        first = kind(stream, data=parts[0], flags=list(flags), **more)
        frames = [first] + [ContinuationFrame(stream, p) for p in parts[1:]]
        frames[-1].flags.add("END_HEADERS")
        return b"".join(f.serialize() for f in frames)


def connect():
    client = socket.create_connection(listener.getsockname())
    return Peer(client), Peer(listener.accept()[0])


def move(a, b, data):
    """One call each: what a writes, b reads."""
    a.sock.sendall(data)
    while data:
        got = b.sock.recv(len(data))
        data = data[len(got):]


def request(c, stream, path, method="GET", flags=("END_STREAM",), extra=(),
            **more):
    return c.head(stream, [(":method", method), (":scheme", "http"),
                           (":authority", "scripted"), (":path", path),
                           ("x-id", str(stream)), *extra], flags, **more)


def answer(s, stream, status, flags=(), extra=(), **more):
    return s.head(stream, [(":status", str(status)), ("server", "script"),
                           *extra], flags, **more)


def data(stream, body, end=False, pad=None):
    f = DataFrame(stream, body)
    if end:
        f.flags.add("END_STREAM")
    if pad is not None:
        f.flags.add("PADDED")
        f.pad_length = pad
    return f.serialize()


def unknown(stream):
    return b"\x00\x00\x05\x42\xff" + struct.pack(">I", stream) + b"abcde"


def conversation(c, s):
    """(from the client, bytes) in turns; everything that RFC 9113 allows."""
    yield 1, PREFACE + SettingsFrame(0, {4: 1 << 20, 1: 0}).serialize()
    yield 0, SettingsFrame(0, {3: 100}).serialize() + \
        SettingsFrame(0, flags=["ACK"]).serialize()
    c.code.header_table_size = 0  # an update comes in front of the next head
    yield 1, request(c, 1, "/plain") + PingFrame(0, b"12345678").serialize() \
        + request(c, 3, "/upload", "POST", (), pieces=7)
    c.code.header_table_size = 4096
    yield 1, data(3, b"a" * 10, pad=20) + unknown(3) + \
        data(3, b"", end=True, pad=0)
    yield 0, answer(s, 1, 103) + answer(s, 1, 200, pieces=3)
    yield 0, data(1, b"b" * 30) + data(1, b"c" * 300, pad=3) + \
        WindowUpdateFrame(0, window_increment=9).serialize()
    yield 0, answer(s, 3, 503, ("END_STREAM",))
    yield 0, s.head(1, [("x-trailer", "yes")], ("END_STREAM",))
    yield 1, request(c, 5, "/early", "POST", ()) + data(5, b"d" * 5)
    yield 0, answer(s, 5, 413) + data(5, b"", end=True) + \
        RstStreamFrame(5, 0).serialize()
    yield 1, RstStreamFrame(5, 8).serialize() + \
        PriorityFrame(9, depends_on=1, stream_weight=9).serialize()
    # A call, and a request that depends on another and is padded.
    yield 1, request(c, 7, "/p.Svc/Do", "POST", (), [
        ("content-type", "application/grpc"), ("te", "trailers")]) + \
        data(7, b"\0\0\0\0\2hi", end=True)
    yield 0, answer(s, 7, 200, (), [("content-type", "application/grpc")]) + \
        data(7, b"\0\0\0\0\3you")
    yield 0, s.head(7, [("grpc-status", "5"), ("grpc-message", "no")],
                    ("END_STREAM",))
    yield 1, request(c, 9, "/padded", flags=("END_STREAM", "PADDED",
                                             "PRIORITY"), pad_length=9,
                     depends_on=3, stream_weight=7, exclusive=True)
    yield 0, s.head(9, [(":method", "GET"), (":scheme", "http"),
                        (":authority", "scripted"), (":path", "/pushed")], (),
                    kind=PushPromiseFrame, promised_stream_id=2) + \
        answer(s, 9, 204, ("END_STREAM",))
    yield 0, answer(s, 2, 200) + data(2, b"e" * 40, end=True)
    yield 1, request(c, 11, "/left") + request(c, 13, "/refused")
    yield 1, RstStreamFrame(11, 8).serialize()
    yield 0, RstStreamFrame(13, 7).serialize()
    yield 0, GoAwayFrame(0, last_stream_id=13, error_code=0).serialize()


def converse(cut):
    """cut: bytes of the whole conversation before it; 0: calls of one."""
    c, s = connect()
    at = 0
    for from_client, text in conversation(c, s):
        a, b = (c, s) if from_client else (s, c)
        inside = cut - at
        at += len(text)
        if not cut:
            for byte in text:
                move(a, b, bytes([byte]))
        elif 0 < inside < len(text):
            move(a, b, text[:inside])
            move(a, b, text[inside:])
        else:
            move(a, b, text)
    c.sock.close()
    s.sock.close()
    both("GET", "/plain", 200)
    both("POST", "/upload", 503)
    both("POST", "/early", 413)
    both("GET", "/padded", 204)
    both("GET", "/pushed", 200)
    both("GET", "/left", None, "aborted")
    both("GET", "/refused", None, "connection_reset")


def cuts():
    c, s = connect()
    total = sum(len(t) for _, t in conversation(c, s))
    c.sock.close()
    s.sock.close()
    for cut in range(total):
        converse(cut)
    return total


def opened(n):
    """A connection with n open streams, 1, 3 …, answered in part."""
    c, s = connect()
    move(c, s, PREFACE + SettingsFrame(0).serialize())
    move(s, c, SettingsFrame(0).serialize())
    for i in range(n):
        move(c, s, request(c, 2 * i + 1, "/open"))
    return c, s


def ends():
    # The client gives up; the server does; both at once.
    c, s = opened(40)
    for i in range(0, 20):
        move(c, s, RstStreamFrame(2 * i + 1, 8).serialize())
    for i in range(20, 40):
        move(s, c, RstStreamFrame(2 * i + 1, 2).serialize())
    both("GET", "/open", None, "aborted", 20)
    both("GET", "/open", None, "connection_reset", 20)
    # Streams above the last are given back at once, others are answered.
    for i in range(40, 50):
        move(c, s, request(c, 2 * i + 1, "/open"))
    move(s, c, GoAwayFrame(0, last_stream_id=2 * 44 + 1).serialize())
    for i in range(40, 45):
        move(s, c, answer(s, 2 * i + 1, 200, ("END_STREAM",)))
    both("GET", "/open", None, "aborted", 5)
    both("GET", "/open", 200, n=5)
    c.sock.close()
    s.sock.close()
    # The client closes, in the midst of answers.
    c, s = opened(30)
    for i in range(10):
        move(s, c, answer(s, 2 * i + 1, 200) + data(2 * i + 1, b"x" * 10))
    c.sock.close()
    s.sock.recv(1)
    s.sock.close()
    both("GET", "/open", 200, "aborted", 10)
    both("GET", "/open", None, "aborted", 20)
    return 0


def old(ask, reply, there, back):
    """A tunnel by HTTP/1.1, and this many bytes each way."""
    c, s = connect()
    move(c, s, ask.encode() + b"\r\nHost: scripted\r\n\r\n")
    move(s, c, b"HTTP/1.1 " + reply.encode() + b"\r\n\r\n")
    for _ in range(10):
        move(c, s, b"\x81" * (there // 10))
        move(s, c, b"\x82" * (back // 10))
    time.sleep(0.3)
    c.sock.close()
    s.sock.recv(1)
    s.sock.close()


def tunnels():
    old("GET /socket HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket",
        "101 Switching\r\nConnection: upgrade\r\nUpgrade: WebSocket",
        5000, 70000)
    old("CONNECT there:443 HTTP/1.1", "200 OK", 3000, 900)
    c, s = connect()
    move(c, s, PREFACE + SettingsFrame(0).serialize())
    move(s, c, SettingsFrame(0, {8: 1}).serialize())
    move(c, s, c.head(1, [(":method", "CONNECT"), (":authority", "x:1")]))
    move(s, c, answer(s, 1, 200))
    move(c, s, c.head(3, [
        (":method", "CONNECT"), (":protocol", "websocket"),
        (":scheme", "http"), (":path", "/socket"), (":authority", "x")]))
    move(s, c, answer(s, 3, 200))
    move(c, s, data(1, b"a" * 400) + data(3, b"b" * 20))
    move(s, c, data(3, b"c" * 600) + data(1, b"d" * 10, end=True))
    time.sleep(0.3)
    move(c, s, data(1, b"", end=True) + data(3, b"", end=True))
    move(s, c, data(3, b"", end=True))
    c.sock.close()
    s.sock.close()
    return 0


total = {"cuts": cuts, "ends": ends, "tunnels": tunnels}[sys.argv[2]]()
print(json.dumps({"bytes": total, "seen": seen}), flush=True)
sys.stdin.read()

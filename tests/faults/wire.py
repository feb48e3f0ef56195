# SPDX-License-Identifier: Apache-2.0
"""
A peer of the aggregator that is no agent of ours: it says on the wire whatever
a test wants it to say. The protocol is docs/PROTOCOL.md's, written by hand.
"""

import contextlib
import socket
import struct
import time

ACCEPTED, REFUSED, BUSY, CONFLICT, VERSION = 1, 2, 3, 4, 5
HELLO = b"\0SP\0" + struct.pack(">HH", 0x30, 0)  # REQ
STRINGS = [b"", b"GET", b"/x", b"http", b"svc", b"inst"]


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def data(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def number(field, n):
    return varint(field << 3) + varint(n)


def fixed64(field, n):
    return varint(field << 3 | 1) + struct.pack("<Q", n)


def packed(field, numbers):
    return data(field, b"".join(map(varint, numbers)))


def zigzag(n):
    return n << 1 if n >= 0 else (-n << 1) - 1


def columns(*values):
    """Fields 1, 2, … of a table, a column each."""
    return b"".join(packed(i, v) for i, v in enumerate(values, 1))


RESOURCE = data(6, columns([4], [0], [5], [0], [0]))


def series(status=200, role=1):
    return RESOURCE + data(7, columns([0], [role], [1], [2], [status], [0],
                                      [11], [3], [0], [0]))


def events(n=1, duration_us=1000, response_bytes=7, **kind):
    """n requests of one series."""
    return series(**kind) + data(8, columns(
        [0] * n, [0] * n, [duration_us] * n, [0] * n, [5] * n,
        [response_bytes] * n))


def rollup(base_us, count, duration_sum_us, index=0):
    """One row of rollups; base_us is the start of its window."""
    hist = [[1], [zigzag(index)], [count]] if count else [[0], [], []]
    return series() + data(9, columns(
        [0], [zigzag(0)], [count], [duration_sum_us], [0], [0],
        *(hist * 3)) + number(16, 1)), base_us


def losses(captured=0, packed_up_to=0, dropped=(), counters=()):
    return data(10, number(1, captured) + number(2, packed_up_to) +
                packed(3, dropped) + packed(5, counters))


def info(version=b"v", kernel=b"", capture=b"", probes=()):
    return data(11, data(1, version) + data(2, kernel) + data(3, capture) +
                b"".join(data(4, p) for p in probes) +
                packed(5, [1] * len(probes)))


def batch(agent, sequence, epoch=10**18, parts=b"", base_us=None, first=0):
    if base_us is None:
        base_us = int(time.time() * 1e6) - 2000000
    out = data(1, agent.encode()) + fixed64(2, epoch) + number(3, sequence) \
        + fixed64(4, base_us) + b"".join(data(5, s) for s in STRINGS) + parts
    return out + (number(12, first) if first else b"")


def push(a_batch, clock=False, more=b""):
    """The envelope; clock: the batch's times are of a running clock."""
    now = int(time.time() * 1e6)
    return number(1, 1) + fixed64(2, now) + data(3, a_batch) + \
        (fixed64(4, now) if clock else b"") + more


def fields(message):
    """{field: value of the last one} of a protobuf message."""
    out, at = {}, 0

    def read_varint():
        nonlocal at
        n = shift = 0
        while True:
            n |= (message[at] & 127) << shift
            shift += 7
            at += 1
            if message[at - 1] < 128:
                return n
    while at < len(message):
        key = read_varint()
        if key & 7 == 0:
            out[key >> 3] = read_varint()
        elif key & 7 == 1:
            out[key >> 3] = struct.unpack_from("<Q", message, at)[0]
            at += 8
        else:
            n = read_varint()
            out[key >> 3] = message[at:at + n]
            at += n
    return out


class Peer:
    """A connection; send() is one request and its reply."""

    def __init__(self, port, timeout_s=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.number = 0
        self.socket.sendall(HELLO)
        self._read(8)

    def _read(self, n):
        out = b""
        while len(out) < n:
            more = self.socket.recv(n - len(out))
            if not more:
                raise ConnectionError("the aggregator hung up")
            out += more
        return out

    def ask(self, message):
        """(status, reason) of any message."""
        self.number += 1
        self.socket.sendall(struct.pack(
            ">QI", len(message) + 4, 1 << 31 | self.number) + message)
        length = struct.unpack(">Q", self._read(8))[0]
        reply = fields(self._read(length)[4:])
        return reply.get(2, 0), reply.get(5, b"").decode()

    def send(self, agent, sequence, clock=False, more=b"", **kind):
        return self.ask(push(batch(agent, sequence, **kind), clock, more))

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()

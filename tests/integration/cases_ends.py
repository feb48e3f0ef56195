# SPDX-License-Identifier: Apache-2.0
"""Conversations that end early, or whose ends meet the last call."""

import select
import socket
import struct
import threading
import time

from talk import case, edge, length_of, now, Reader, request, response, \
    send_pieces

# --- 7: what never got its answer ----------------------------------------------

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
        begin = r.begun()
        side.wait_peer()
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


def stops_short(side, route, pieces):
    """An answer that ends after these pieces."""
    def server():
        listener = side.listen()
        for i in range(3):
            s = side.accept(listener)
            Reader(s).head()
            begin = now()
            send_pieces(s, pieces, 0.1)
            last = begin
            s.close()
            side.server(i, "GET", route, 200, begin, last, now(),
                        error="aborted")

    def client():
        for i in range(3):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", route))
            Reader(s).rest()
            s.close()
            side.client(i, "GET", 200, begin, now(), error="aborted")
    return server, client


@case
def cutshort(side):
    """a response cut short keeps its status and is an error"""
    return stops_short(side, "/cutshort", [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"])


@case
def cutchunks(side):
    """a chunked answer that ends between two chunks is an error"""
    return stops_short(side, "/cutchunks", [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3e8\r\n" + b"c" * 1000 + b"\r\n"])


# --- ends that come before the last call has returned ------------------------

@case
def resetinwrite(side):
    """a client that resets while the server is in the middle of one write"""
    def server():
        listener = side.listen()
        for i in range(5):
            s = side.accept(listener)
            r = Reader(s)
            begin = r.begun()
            # Far more than both sockets hold: this waits until the reset.
            sent = s.send(response(206, b"w" * (32 << 20)))
            end = now()
            s.close()
            if not 1000 < sent < 32 << 20:
                raise RuntimeError(f"{sent} bytes were sent")
            side.server(i, "GET", "/resetinwrite", 206, begin, begin + 0.15,
                        end, error="connection_reset")

    def client():
        for i in range(5):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/resetinwrite"))
            Reader(s, 1000).head()
            time.sleep(0.2)
            linger_zero(s)
            s.close()
            side.client(i, "GET", 206, begin, now(), 0.2, error="aborted")
    return server, client


@case
def resetafterlastchunk(side):
    """a chunked answer read to its end, then reset: complete; before: not"""
    head = b"HTTP/1.1 %d OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"7d0\r\n" + b"c" * 2000 + b"\r\n"
    last_chunk = b"0\r\n\r\n"
    # By a write of its own, with the others, and in buffers of one call.
    ways = (lambda s: (s.sendall(head % 200 + chunk), s.sendall(last_chunk)),
            lambda s: s.sendall(head % 200 + chunk * 3 + last_chunk),
            lambda s: s.sendmsg([head % 200, chunk, b"", last_chunk]),
            lambda s: s.sendall(head % 203 + chunk[:-100]))
    sizes = (len(chunk) + 5, 3 * len(chunk) + 5, len(chunk) + 5,
             len(chunk) - 100)

    def server():
        listener = side.listen()
        for i, send in enumerate(ways):
            s = side.accept(listener)
            r = Reader(s)
            begin = r.begun()
            last = now()
            send(s)
            # The reset has come when this returns.
            try:
                s.recv(1)
                raise RuntimeError("no reset")
            except ConnectionResetError:
                pass
            cut = i == len(ways) - 1
            side.server(i, "GET", "/resetafterlastchunk", 203 if cut else 200,
                        begin, begin + 0.15 if cut else last, now(),
                        error="connection_reset" if cut else None)
            s.close()

    def client():
        for i, size in enumerate(sizes):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/resetafterlastchunk"))
            r = Reader(s)
            r.head()
            r.body(size)
            cut = i == len(sizes) - 1
            if cut:
                time.sleep(0.2)
            linger_zero(s)
            s.close()
            side.client(i, "GET", 203 if cut else 200, begin, now(),
                        error="aborted" if cut else None)
    return server, client


@case
def readafterreset(side):
    """an answer that is read after the reset behind it has come"""
    def server():
        listener = side.listen()
        for i in range(5):
            s = side.accept(listener)
            r = Reader(s)
            begin = r.begun()
            last = now()
            s.sendall(response(203, b"complete"))
            side.server(i, "GET", "/readafterreset", 203, begin, last, now())
            linger_zero(s)
            s.close()

    def client():
        for i in range(5):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/readafterreset"))
            time.sleep(0.2)
            came = select.poll()
            came.register(s, 0)
            came.poll()  # until there is an error, whatever is asked for
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                raise RuntimeError("no reset")
            r = Reader(s)
            r.head()
            r.body(8)
            side.client(i, "GET", 203, begin, now(), 0.2)
            s.close()
    return server, client


@case
def halfclosed(side):
    """a client that shuts its side down first, and reads when all is over"""
    def server():
        listener = side.listen()
        for i in range(5):
            s = side.accept(listener)
            r = Reader(s)
            begin = r.begun()
            r.rest()
            last = now()
            s.sendall(response(202, b"until the end", length=False))
            s.close()
            side.server(i, "GET", "/halfclosed", 202, begin, last, now())

    def client():
        for i in range(5):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/halfclosed"))
            s.shutdown(socket.SHUT_WR)
            time.sleep(0.2)
            r = Reader(s)
            r.head()
            if r.rest() != b"until the end":
                raise RuntimeError("another answer")
            side.client(i, "GET", 202, begin, now(), 0.2)
            s.close()
    return server, client


WRITERS = 31


@edge
def manywriters(side):
    """31 threads that wait in a write at the same time"""
    def in_threads(work):
        threads = [threading.Thread(target=work, args=(i,))
                   for i in range(WRITERS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def server():
        listener = side.listen()

        def serve(_):
            s = side.accept(listener)
            r = Reader(s)
            r.more()
            begin = r.seen
            rid = int(r.head().split(b"X-Id: ")[1].split(b"\r")[0])
            last = now()
            s.sendall(response(200, b"m" * (6 << 20)))
            side.server(rid, "GET", "/manywriters", 200, begin, last, now())
            s.close()
        in_threads(serve)

    def client():
        gate = threading.Barrier(WRITERS)

        def ask(rid):
            s = side.connect()
            begin = now()
            s.sendall(request("GET", "/manywriters",
                              extra=f"X-Id: {rid}\r\n"))
            gate.wait()
            time.sleep(1)
            r = Reader(s, 1 << 20)
            r.body(length_of(r.head()))
            side.client(rid, "GET", 200, begin, now())
            s.close()
        in_threads(ask)
    return server, client

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Writes the corpora of fuzz_h2 and fuzz_hpack: conversations as python3-h2 holds
them, and header blocks as python3-hpack encodes them. They are committed; this
is how to make them anew.
    corpus_h2.py FOLDER      FOLDER/h2/*, FOLDER/hpack/*
"""
import os
import sys

try:
    import h2.config
    import h2.connection
    import hpack
    import hyperframe.frame as frames
except ImportError:  # Debian's packages are for Debian's python
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3"] + sys.argv)

CLIENT, SERVER = 0, 1
HOW = {"whole": 0x00, "joined": 0x01, "lossy": 0x02, "small": 0x10,
       "records64": 0x04, "records9": 0x08}


def call(direction, data):
    """As fuzz_h2 reads it."""
    out = b""
    while data:
        part, data = data[:0x3fff], data[0x3fff:]
        if len(part) < 64:
            out += bytes([len(part) << 1 | direction])
        else:
            out += bytes([0x80 | len(part) >> 8 << 1 | direction,
                          len(part) & 0xff])
        out += part
    return out


class Talk:
    """Two ends of python3-h2, and what they say to each other."""

    def __init__(self):
        self.ends = [h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=side == CLIENT, header_encoding="utf-8",
            validate_inbound_headers=False,
            validate_outbound_headers=False)) for side in (CLIENT, SERVER)]
        self.said = b""
        for side in (CLIENT, SERVER):
            self.ends[side].initiate_connection()
            self.pump()

    def pump(self):
        for side in (CLIENT, SERVER, CLIENT, SERVER):
            data = self.ends[side].data_to_send()
            if data:
                self.said += call(side, data)
                self.ends[1 - side].receive_data(data)

    def request(self, stream, path, method="GET", end=True, more=()):
        self.ends[CLIENT].send_headers(stream, [
            (":method", method), (":scheme", "http"), (":path", path),
            (":authority", "a.test"), *more], end_stream=end)
        self.pump()

    def answer(self, stream, status, body=None, more=(), trailers=None):
        s = self.ends[SERVER]
        s.send_headers(stream, [(":status", str(status)), *more],
                       end_stream=body is None and trailers is None)
        self.pump()
        if body is not None:
            s.send_data(stream, body, end_stream=trailers is None)
            self.pump()
        if trailers is not None:
            s.send_headers(stream, trailers, end_stream=True)
            self.pump()

    def data(self, side, stream, data, end=False, pad=None):
        self.ends[side].send_data(stream, data, end_stream=end,
                                  pad_length=pad)
        self.pump()


def plain():
    t = Talk()
    t.request(1, "/a")
    t.request(3, "/b?q=1", more=[("traceparent", "00-" + "a" * 32 + "-" +
                                  "b" * 16 + "-01")])
    t.answer(3, 404, b"no")
    t.answer(1, 200, b"x" * 3000, more=[("server", "x"),
                                        ("content-type", "text/html")])
    return t


def upload():
    t = Talk()
    t.request(1, "/up", "POST", end=False)
    t.data(CLIENT, 1, b"y" * 500)
    t.data(CLIENT, 1, b"y" * 20, end=True, pad=9)
    t.ends[SERVER].send_headers(1, [(":status", "100")])
    t.pump()
    t.answer(1, 201)
    return t


GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def grpc():
    t = Talk()
    for i, code in enumerate((0, 5, 13)):
        s = 1 + 2 * i
        t.request(s, "/pkg.Service/Method", "POST", end=False, more=GRPC)
        t.data(CLIENT, s, b"\0\0\0\0\3abc", end=True)
        t.answer(s, 200, b"\0\0\0\0\2ok", more=GRPC[:1],
                 trailers=[("grpc-status", str(code)),
                           ("grpc-message", "m")])
    t.request(7, "/pkg.Service/Only", "POST", more=GRPC)
    t.answer(7, 200, more=GRPC[:1] + [("grpc-status", "12")])
    return t


def web():
    t = Talk()
    kind = [("content-type", "application/grpc-web+proto")]
    t.request(1, "/p.S/W", "POST", more=kind)
    t.answer(1, 200, b"\0\0\0\0\1a\x80\0\0\0\x0egrpc-status:16", more=kind)
    kind = [("content-type", "application/connect+json")]
    t.request(3, "/p.S/C", "POST", more=kind)
    t.answer(3, 200, b'\2\0\0\0\x22{"error":{"code":"out_of_range"}}   ',
             more=kind)
    t.request(5, "/p.S/U", "POST", more=[("connect-protocol-version", "1")])
    t.answer(5, 404, b'{"code":"not_found"}')
    return t


def endings():
    t = Talk()
    for s in (1, 3, 5, 7):
        t.request(s, "/e%d" % s)
    t.ends[CLIENT].reset_stream(1, 8)
    t.pump()
    t.ends[SERVER].reset_stream(3, 7)
    t.pump()
    t.answer(5, 200, b"part")
    t.ends[SERVER].close_connection(last_stream_id=5)
    t.pump()
    return t


def push():
    t = Talk()
    t.request(1, "/page")
    t.ends[SERVER].push_stream(1, 2, [
        (":method", "GET"), (":scheme", "http"), (":path", "/style.css"),
        (":authority", "a.test")])
    t.pump()
    t.answer(2, 200, b"css")
    t.answer(1, 200, b"html")
    return t


def tunnels():
    t = Talk()
    t.ends[CLIENT].send_headers(1, [(":method", "CONNECT"),
                                    (":authority", "b:443")])
    t.pump()
    t.ends[SERVER].send_headers(1, [(":status", "200")])
    t.pump()
    t.data(CLIENT, 1, b"hello", end=True)
    t.data(SERVER, 1, b"bye", end=True)
    return t


def frame(f):
    return f.serialize()


def by_hand():
    """What python3-h2 does not say: padding, priority, CONTINUATION."""
    e = hpack.Encoder()
    block = e.encode([(":method", "GET"), (":scheme", "http"),
                      (":path", "/hand"), (":authority", "a"),
                      ("x", "y" * 90)])
    said = call(CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
                frame(frames.SettingsFrame(0)))
    h = frames.HeadersFrame(1, data=block[:10], flags=["PADDED", "PRIORITY"])
    h.pad_length = 7
    said += call(CLIENT, frame(h))
    for at in range(10, len(block), 9):
        c = frames.ContinuationFrame(1, data=block[at:at + 9])
        if at + 9 >= len(block):
            c.flags.add("END_HEADERS")
        said += call(CLIENT, frame(c))
    said += call(CLIENT, frame(frames.PingFrame(0, opaque_data=b"12345678")) +
                 frame(frames.WindowUpdateFrame(1, window_increment=9)) +
                 frame(frames.PriorityFrame(1, depends_on=3)) +
                 frame(frames.DataFrame(1, data=b"z" * 300,
                                        flags=["END_STREAM"])))
    d = hpack.Encoder()
    for status in (103, 206):
        said += call(SERVER, frame(frames.HeadersFrame(
            1, data=d.encode([(":status", str(status)), ("a", "b")]),
            flags=["END_HEADERS"])))
    said += call(SERVER, frame(frames.DataFrame(1, data=b"w" * 700)) +
                 frame(frames.HeadersFrame(
                     1, data=d.encode([("t", "u")]),
                     flags=["END_HEADERS", "END_STREAM"])))
    return said


def conversations():
    for make in (plain, upload, grpc, web, endings, push, tunnels):
        said = make().said
        for name, how in HOW.items():
            yield f"{make.__name__}-{name}", bytes([how]) + said
    yield "by_hand", bytes([0]) + by_hand()


def blocks():
    """As fuzz_hpack reads them: a length byte before each."""
    heads = [
        [(":method", "GET"), (":scheme", "https"), (":path", "/a"),
         (":authority", "a.test"), ("user-agent", "u/1")],
        [(":method", "POST"), (":scheme", "http"), (":path", "/p.S/M"),
         (":authority", "a.test"), *GRPC, ("traceparent", "00-1-2-3")],
        [(":status", "200"), ("content-type", "application/grpc"),
         ("date", "Sun, 06 Nov 1994 08:49:37 GMT")],
        [("grpc-status", "0"), ("grpc-message", "")],
        [(":status", "404"), ("connect-protocol-version", "1")],
    ]
    for huffman in (False, True):
        for skip in (0, 1):
            e = hpack.Encoder()
            said = b""
            for i, h in enumerate(heads + heads):
                if i == 4:
                    e.header_table_size = 256
                if i == 7:
                    e.header_table_size = 0
                block = e.encode(h, huffman=huffman)
                said += bytes([len(block)]) + block
            name = f"blocks{'-huffman' if huffman else ''}" + \
                f"{'-late' if skip else ''}"
            yield name, bytes([skip << 3]) + said
    # Fields for nghttp2's encoder: three bytes each.
    fields = bytes(b for i in range(60)
                   for b in (i % 16 | (0x80 if i % 5 == 4 else 0), i % 11,
                             0x41 + i % 20))
    for table in range(4):
        yield f"fields-{table}", bytes([1 | table << 1]) + fields
        yield f"fields-{table}-late", bytes([1 | table << 1 | 2 << 3]) + fields


def main():
    for name, made in (("h2", conversations()), ("hpack", blocks())):
        folder = os.path.join(sys.argv[1], name)
        os.makedirs(folder, exist_ok=True)
        for file, data in made:
            with open(os.path.join(folder, file), "wb") as f:
                f.write(data)


main()

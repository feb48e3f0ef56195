#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The ring between kernel and agent overflows, because the agent stands still:
each request is counted or dropped, and none vanishes without a trace.
"""

import contextlib
import os
import signal
import socket
import threading
import time

from harness import Redtap, Report, check, equal, note
from talk import HOST, Reader, bytewise, length_of, request, response

WEB, PORT = 21404, 21520
RING = "64KiB"
KEPT, CONNECTIONS, EACH, SPLIT = 1009, 101, 3, 7
WARM = 1  # request before the ring is full
TRIES, SWEEPS = 3, 5


def serve(s):
    """Answers whatever comes until the other side is done."""
    with s, contextlib.suppress(EOFError):
        r = Reader(s)
        while True:
            r.body(length_of(r.head()))
            s.sendall(response(200, b"x" * 40))


def accept(listener):
    while True:
        try:
            s = listener.accept()[0]
        except OSError:
            return
        threading.Thread(target=serve, args=(s,), daemon=True).start()


def ask(s, n, pieces=None):
    r = Reader(s)
    for i in range(n):
        data = request("GET", f"/n/{i}")
        for piece in pieces(data) if pieces else [data]:
            s.sendall(piece)
        r.body(length_of(r.head()))


def kept_alive(rt):
    """One connection that has spoken before."""
    with socket.create_connection((HOST, PORT)) as s:
        ask(s, WARM)
        with still(rt):
            ask(s, KEPT)
        ask(s, 1)
    return WARM + KEPT + 1


def many(rt):
    """New ones, of which the agent never hears."""
    with still(rt):
        for _ in range(CONNECTIONS):
            with socket.create_connection((HOST, PORT)) as s:
                ask(s, EACH)
    return CONNECTIONS * EACH


def split(rt):
    """Heads that come byte by byte."""
    with socket.create_connection((HOST, PORT)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ask(s, WARM, bytewise)
        with still(rt):
            ask(s, KEPT // 10)
            ask(s, SPLIT, bytewise)
        ask(s, 1, bytewise)
    return WARM + KEPT // 10 + SPLIT + 1


@contextlib.contextmanager
def still(rt):
    os.kill(rt.agent.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(rt.agent.pid, signal.SIGCONT)
    time.sleep(1)  # until the ring is empty; our own scrapes would fill it


def overflow(rt, drive):
    """
    What other programs of this host ask while the ring is full is dropped there
    too, before it is known to be none of ours: then once more.
    """
    for attempt in range(TRIES):
        before = rt.quiet()
        asked = drive(rt)
        # Of connections whose end was lost the agent learns when it looks.
        for _ in range(SWEEPS):
            delta = rt.quiet().minus(before)
            captured, counted, dropped = rt.audit(delta)
            if captured >= 2 * asked:
                break
        ring = delta.sum("redtap_agent_events_dropped_total", stage="ring")
        note(f"{asked} requests: {counted:.0f} events counted, {dropped:.0f} "
             f"dropped, {ring:.0f} of them at the ring")
        check(ring > 0, "the ring did not overflow")
        equal("counted and dropped", counted + dropped, captured)
        if captured == 2 * asked or attempt == TRIES - 1:
            equal("events of both roles", captured, 2 * asked)
            return


SUITE = [
    (kept_alive, "the ring overflows under requests on one connection: each is "
                 "counted or dropped"),
    (many, "the ring overflows under new connections: each request is counted "
           "or dropped"),
    (split, "the ring overflows under heads that come byte by byte: each "
            "request is counted or dropped"),
]


def main():
    report = Report()
    with Redtap(web=WEB, agent_flags=[f"--capture.ring={RING}"]) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        listener = socket.create_server((HOST, PORT), backlog=64)
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        for drive, sentence in SUITE:
            with report.case(sentence):
                overflow(rt, drive)
        listener.close()
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

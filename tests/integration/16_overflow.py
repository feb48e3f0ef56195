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

from harness import PATIENCE, Redtap, Report, check, equal, note, now
from talk import HOST, Reader, bytewise, length_of, request, response

WEB, PORT = 21404, 21520
RING = "64KiB"
KEPT, CONNECTIONS, STAYING, EACH, SPLIT = 1009, 61, 23, 3, 7
WARM = 1  # request before the ring is full
FILLS = 7  # ways in which the ring becomes full
TRIES = 3
SOON_S = 20  # a connection that is silent is asked for only after 60


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


def kept_alive(rt, _):
    """One connection that has spoken before."""
    with socket.create_connection((HOST, PORT)) as s:
        ask(s, WARM)
        with still(rt):
            ask(s, KEPT)
        ask(s, 1)
    return WARM + KEPT + 1


def many(rt, _):
    """
    New ones. The agent never hears of them, but for some of the last that
    found room: of these it hears some things, and each time others.
    """
    asked = 0
    for before in range(FILLS):
        warm = [socket.create_connection((HOST, PORT)) for _ in range(before)]
        for s in warm:
            ask(s, WARM)
        with still(rt):
            for s in warm:
                s.close()
            for _ in range(CONNECTIONS):
                with socket.create_connection((HOST, PORT)) as s:
                    ask(s, EACH)
        asked += before * WARM + CONNECTIONS * EACH
    return asked


def staying(rt, stay):
    """New ones that stay, and are silent once the agent runs again."""
    asked = 0
    for before in range(FILLS):
        s = stay.enter_context(socket.create_connection((HOST, PORT)))
        ask(s, WARM)
        with still(rt):
            ask(s, before)
            for _ in range(STAYING):
                s = stay.enter_context(socket.create_connection((HOST, PORT)))
                ask(s, EACH)
        asked += WARM + before + STAYING * EACH
    return asked


def split(rt, _):
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


def soon(rt, before, want):
    """What was counted, once that is all of it, or SOON_S have passed."""
    end = now() + SOON_S * PATIENCE
    while True:
        delta = rt.quiet().minus(before)
        if rt.audit(delta)[0] >= want or now() > end:
            return delta


def overflow(rt, drive):
    """
    What other programs of this host ask while the ring is full is dropped there
    too, before it is known to be none of ours: then once more.
    """
    for attempt in range(TRIES):
        before = rt.quiet()
        with contextlib.ExitStack() as stay:
            asked = drive(rt, stay)
            delta = soon(rt, before, 2 * asked)
        captured, counted, dropped = rt.audit(delta)
        ring = delta.sum("redtap_agent_events_dropped_total", stage="ring")
        note(f"{asked} requests: {counted:.0f} events counted, {dropped:.0f} "
             f"dropped, {ring:.0f} of them at the ring")
        check(ring > 0, "the ring did not overflow")
        equal("counted and dropped", counted + dropped, captured)
        if captured <= 2 * asked or attempt == TRIES - 1:
            equal("events of both roles", captured, 2 * asked)
            return


SUITE = [
    (kept_alive, "the ring overflows under requests on one connection: each is "
                 "counted or dropped"),
    (many, "the ring overflows under new connections: each request is counted "
           "or dropped"),
    (staying, "the ring overflows under connections that are silent then: each "
              "request is counted or dropped"),
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

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proofs about peers that say what no agent says: starts of other agents far in
the future, sequence numbers that leap, counters beyond all reason, endless
names. An honest agent beside them is counted to the last request, no counter
goes back, and memory stays within its limits.

	strangers.py [PORT]
"""

import pathlib
import sys
import time

from fleet import CRASH, Fleet, account_of, check, equal, eventually, \
    rss_bytes, truth_of, wait_s
from harness import Process, Report, http_get, note
import wire

MIB = 1 << 20
SILENT_S = 18  # then a start that was heard before it counts again
FAR = 2**64 - 1


def agent(w, name):
    p = Process([CRASH, "agent", name, f"tcp://127.0.0.1:{w.ingest}", "",
                 w.dir / f"done-{name}"], w.dir / f"{name}.log")
    w.processes.append(p)
    eventually(f"{name} is heard",
               lambda: account_of(w.look(), name)[1] > 0, 20)
    return p


def end(w, p, name):
    """Lets the agent end: it sends all it has. Its requests, all counted."""
    p.popen.terminate()
    equal(f"{name}'s exit status", p.popen.wait(90), 0)
    sent = truth_of(int((w.dir / f"done-{name}").read_text()))[0]
    m = w.look()
    equal(f"{name}: requests", m.sum("redtap_http_requests_total", job=name),
          sent)
    equal(f"{name}: captured, counted, dropped", account_of(m, name),
          [sent, sent, 0])
    return sent


def made_up_starts(w, epochs):
    """Says that the agent started again and again; {status: how often}."""
    peer, got = wire.Peer(w.ingest), {}
    for epoch in epochs:
        status, _ = peer.send("web-1", 1, epoch=epoch)
        got[status] = got.get(status, 0) + 1
    peer.close()
    return got


def starts(w, epochs_of):
    p = agent(w, "web-1")
    got = made_up_starts(w, epochs_of(int(time.time() * 1e9)))
    wait_s(SILENT_S, w.look, 1)
    sent = end(w, p, "web-1")
    equal("counters that went down", w.went_down[:5], [])
    note(f"{sum(got.values())} made-up starts: {got}; {sent} requests of the "
         "agent counted")
    return got


def far_starts(w):
    got = starts(w, lambda now: (FAR - i for i in range(140)))
    equal("replies", got, {wire.CONFLICT: 140})


def near_starts(w):
    """Each is later than all before, and none is in the future."""
    starts(w, lambda now: (now + i for i in range(300)))


def epoch_of(w, name):
    """The store has the agent's row after the next checkpoint only."""
    rows = eventually(f"the row of {name}", lambda: w.database(
        "SELECT epoch FROM ledger WHERE agent = ?", name), 30)
    return int(rows[0][0])


def leaps(w):
    p = agent(w, "web-2")
    epoch = epoch_of(w, "web-2")
    peer = wire.Peer(w.ingest)
    for sequence in (FAR, 2**63, 10**12):
        status, reason = peer.send("web-2", sequence, epoch=epoch)
        equal(f"a leap to {sequence} ({reason})", status, wire.CONFLICT)
    wait_s(2, w.look)
    sent = end(w, p, "web-2")
    equal("counters that went down", w.went_down[:5], [])
    note(f"leaps of the sequence: {sent} requests of the agent counted")


def swallowed(w, parts):
    """
    A leap that is small enough to be believed: what the agent sends next looks
    like duplicates. The log knows better.
    """
    p = agent(w, "web-3")
    epoch = epoch_of(w, "web-3")
    known = int(w.look().sum("redtap_agent_batches_total", node="web-3"))
    peer = wire.Peer(w.ingest)
    status, reason = peer.send("web-3", known + 200, epoch=epoch, parts=parts)
    equal(f"a small leap ({reason})", status, wire.ACCEPTED)
    eventually("the ledger is mended", lambda: w.look().sum(
        "redtap_aggregator_ledger_mended_total") > 0, 20)
    check("ledger mended" in w.aggregator.tail(40), "the log does not say so")
    eventually("the agent is past the stranger's number", lambda: w.look().sum(
        "redtap_agent_batches_total", node="web-3") > known + 250, 90)
    p.popen.terminate()
    equal("the agent's exit status", p.popen.wait(90), 0)
    sent = truth_of(int((w.dir / "done-web-3").read_text()))[0]
    extra = 1 if parts else 0  # the stranger's own request
    m = w.look()
    equal("requests of the agent", m.sum("redtap_http_requests_total",
                                         job="web-3"), sent)
    equal("captured, counted, dropped", account_of(m, "web-3"),
          [sent, sent + extra, 0])
    equal("counters that went down", w.went_down[:5], [])
    note(f"a leap with {extra} requests: {sent} requests of the agent counted")


def sums(w):
    """Rows whose sums would overflow 64 bits if they were only added up."""
    peer = wire.Peer(w.ingest)
    base = int(time.time()) // 10 * 10 * 1000000
    name = "http_server_request_duration_seconds_sum"
    for count, total in ((0, 2**62 - 1), (1, 2**62 - 1), (1, 2**43)):
        parts, base_us = wire.rollup(base, count, total)
        status, reason = peer.send("sums", 1, parts=parts, base_us=base_us)
        equal(f"{count} requests of {total} us ({reason})", status,
              wire.REFUSED)
    last = 0
    for i in range(1, 40):
        parts, base_us = wire.rollup(base, 2**39, 2**61)
        peer.send("sums", i, parts=parts, base_us=base_us)
        now = w.look().sum(name, job="svc")
        check(now >= last, f"the sum went from {last} to {now}")
        last = now
    for i in range(1, 60):
        peer.send("times", i, parts=wire.events(
            60000, duration_us=2**42 - 1, response_bytes=2**46 - 1))
    for i in range(1, 20):
        peer.send("losses", i, parts=wire.losses(
            captured=2**53 - 1, packed_up_to=2**53 - 1,
            dropped=[2**53 - 1] * 6), epoch=10**18 + i)
    status, reason = peer.send("losses", 99, parts=wire.losses(2**63),
                               epoch=10**18 + 1)
    equal(f"losses beyond all reason ({reason})", status, wire.REFUSED)
    w.look()
    equal("counters that went down", w.went_down[:5], [])
    eventually("windows answer", lambda: http_get(
        w.web, "/api/v1/windows?step=all")[0] == 200, 10)
    note(f"sums: {name} {last:.6g}, never back")


def long_names(w):
    """1,000 agents that tell of 256 probes with names of 1,024 bytes each."""
    before = rss_bytes(w.aggregator.pid)
    probes = [b"p%03d" % i + b"q" * 1020 for i in range(256)]
    peer = wire.Peer(w.ingest)
    for i in range(1000):
        equal("reply", peer.send(f"x{i}", 1, parts=wire.info(
            probes=[b"%d" % i + p[:1000] for p in probes]))[0], wire.ACCEPTED)
    known = rss_bytes(w.aggregator.pid)
    _, _, body = http_get(w.web, "/metrics", timeout_s=60)
    scraped = rss_bytes(w.aggregator.pid)
    note(f"1,000 agents with the longest names: RSS {before / MIB:.0f} to "
         f"{known / MIB:.0f} MiB, {scraped / MIB:.0f} after a scrape of "
         f"{len(body) / MIB:.1f} MiB")
    check(known < before + 48 * MIB, "the names are kept")
    check(scraped < known + 48 * MIB, "a scrape copies the names")


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 21960
    report = Report()
    for sentence, test in (
            ("made-up starts far in the future cost an agent nothing",
             far_starts),
            ("made-up starts one after the other cost an agent nothing",
             near_starts),
            ("a sequence number that no agent can have reached is refused, "
             "and costs the agent nothing", leaps),
            ("an agent whose numbers a heartbeat of another peer used up is "
             "counted all the same", lambda w: swallowed(w, b"")),
            ("so is one whose numbers another peer's requests used up",
             lambda w: swallowed(w, wire.events())),
            ("sums at the limits never go back", sums),
            ("names at the limits stay within the memory for them",
             long_names)):
        with report.case(sentence), Fleet(port) as w:
            w.start_aggregator()
            test(w)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Agents that start over and over: each start is an epoch of its own in the
ledger. Nothing is lost or counted twice, and neither memory nor the store nor
the time of a start grow with the number of starts.
"""

import pathlib
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import BUILD, Fleet, rss_bytes  # noqa: E402
from harness import Report, check, equal, eventually, note  # noqa: E402

PORT = 21990
AGENTS, ROUND, STARTS = 10, 61, 197
SILENT_S = 16  # then a start beyond the most may be retired
FIRST = 1700000000000000000  # ns; the epoch of the first start
KEPT, MOST, OLD = 8, 64, 10007
PUSH = BUILD / "tests" / "integration" / "push"


def push(w, agent, epoch, lines):
    p = subprocess.Popen([PUSH, f"tcp://127.0.0.1:{w.ingest}", agent,
                          str(epoch)], stdin=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    p.stdin.write("1000 200 0\n" * lines)
    p.stdin.close()
    return p


def figures(w, agent):
    m = w.look()
    return [int(m.sum(f"redtap_agent_events_{k}_total", node=agent))
            for k in ("captured", "counted", "dropped")]


def rows(w, agent):
    db = sqlite3.connect(w.store / "redtap.db")
    n = db.execute("SELECT count(*) FROM ledger WHERE agent = ?",
                   (agent,)).fetchone()[0]
    db.close()
    return n


def all_start(w, first, starts):
    pushes = [push(w, f"often-{i}", first, starts) for i in range(AGENTS)]
    for p in pushes:
        error = p.stderr.read()
        equal(f"push's exit status ({error})", p.wait(120), 0)


def many_starts(w):
    """As fast as can be, in rounds: a start must be silent to be retired."""
    all_start(w, FIRST, ROUND)
    time.sleep(SILENT_S)
    before = rss_bytes(w.aggregator.pid)
    for done in range(ROUND, STARTS, ROUND):
        all_start(w, FIRST + done, min(ROUND, STARTS - done))
        time.sleep(SILENT_S)
    grown = rss_bytes(w.aggregator.pid) - before
    for i in range(AGENTS):
        agent = f"often-{i}"
        equal(f"{agent}: captured, counted, dropped", figures(w, agent),
              [STARTS, STARTS, 0])
        eventually("its rows are few", lambda a=agent: rows(w, a) <= MOST, 5)
    # A round each second retires what came since the last one.
    retired = AGENTS * (STARTS - MOST)
    eventually(f"{retired} epochs are retired", lambda: w.metrics().sum(
        "redtap_aggregator_epochs_retired_total") == retired, 10)
    note(f"{AGENTS} agents, {STARTS} starts each: the last "
         f"{STARTS - ROUND} grew by {grown / (1 << 20):.2f} MiB")
    check(grown < 3 << 20, f"memory has grown by {grown} bytes")


def forgotten(w):
    """One start that is forgotten speaks again, one that is known too."""
    agent = "often-3"
    p = push(w, agent, FIRST, 1)
    error = p.stderr.read()
    equal("push's exit status", p.wait(20), 1)
    check("this start of the agent is forgotten" in error, error)
    equal("captured, counted, dropped", figures(w, agent),
          [STARTS, STARTS, 0])
    eventually("its cause is counted", lambda: w.look().sum(
        "redtap_aggregator_ingest_refused_total", cause="expired") == 1, 5)
    check(f"agent={agent}" in w.aggregator.tail(), "its log names it")
    p = push(w, agent, FIRST + STARTS - 1, 1)
    equal("a duplicate is acknowledged", p.wait(20), 0)
    equal("captured, counted, dropped", figures(w, agent),
          [STARTS, STARTS, 0])


def restart(w):
    equal("SIGTERM", w.aggregator.stop(), 0)
    begin = time.monotonic()
    w.start_aggregator()
    return time.monotonic() - begin


def restarted(w):
    took = restart(w)
    note(f"started in {took:.2f} s")
    equal("captured, counted, dropped", figures(w, "often-3"),
          [STARTS, STARTS, 0])
    p = push(w, "often-3", FIRST, 1)
    equal("push's exit status", p.wait(20), 1)
    equal("captured, counted, dropped", figures(w, "often-3"),
          [STARTS, STARTS, 0])


def old_store(w):
    """A store of an age in which epochs stayed for ever."""
    equal("SIGTERM", w.aggregator.stop(), 0)
    db = sqlite3.connect(w.store / "redtap.db")
    db.executemany(
        "INSERT INTO ledger (agent, epoch, sequence, seen_us, skew_us,"
        " totals) SELECT 'old', ?, 1, ?, 0, totals FROM"
        " ledger WHERE agent = 'often-1' LIMIT 1",
        ((FIRST + i, int((time.time() - 2 * 86400) * 1e6))
         for i in range(OLD)))
    db.commit()
    db.close()
    equal("rows", rows(w, "old"), OLD)
    w.flags.append("--agents.idle=30d")
    w.start_aggregator()
    equal("captured, counted, dropped", figures(w, "old"), [OLD, OLD, 0])
    eventually("rows go", lambda: rows(w, "old") == KEPT, 20)
    equal("captured, counted, dropped", figures(w, "old"), [OLD, OLD, 0])
    restart(w)
    equal("captured, counted, dropped", figures(w, "old"), [OLD, OLD, 0])
    equal("rows", rows(w, "old"), KEPT)
    equal("counters that went down", w.went_down[:5], [])


def main():
    report = Report()
    with Fleet(PORT) as w:
        w.start_aggregator()
        for sentence, test in (
                (f"{AGENTS} agents that start {STARTS} times each are "
                 "counted once, in bounded memory", many_starts),
                ("a batch of a forgotten start is held back and named, and "
                 "nothing of it is lost; one of a known start is a duplicate",
                 forgotten),
                ("a restart forgets none of it", restarted),
                (f"a store with {OLD} epochs of an agent starts, and shrinks",
                 old_store)):
            with report.case(sentence):
                test(w)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Proves that the store knows when it is damaged. A file that is lost, cut,
emptied or overwritten, and single bits that flip anywhere in the database: in
each case a start has the same counters as before, or says that it has not. Rows
that the log can replace are as they were.

usage: damage.py [PORT [FLIPS [SEED]]]
"""

import collections
import contextlib
import pathlib
import random
import shutil
import signal
import sqlite3
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "integration"))
import wire  # noqa: E402
from fleet import Fleet  # noqa: E402
from results import Report, check, equal, eventually, note  # noqa: E402

AGENTS, BATCHES, EVENTS = 3, 20, 200
SHOWN = ("http_", "redtap_http_", "redtap_agent_events_",
         "redtap_agent_batches_", "target_info")
TOLD = ("redtap_aggregator_store_damaged_rows_total",
        "redtap_aggregator_store_lost_requests_total",
        "redtap_aggregator_stores_set_aside")


def picture(w):
    """What the counters say: damage must not change it without a word."""
    m = w.metrics()
    return {(name, labels): v for name, samples in m.samples.items()
            if name.startswith(SHOWN) for labels, v in samples.items()}


def told(w):
    m = w.metrics()
    return {name: int(m.sum(name)) for name in TOLD if m.sum(name) > 0}


def fill(w):
    """Three agents, 12,000 requests; the same in each store."""
    for a in range(AGENTS):
        peer = wire.Peer(w.ingest)
        for n in range(1, BATCHES + 1):
            parts = wire.events(EVENTS, duration_us=1000 + 37 * n,
                                status=200 + a) + wire.losses(
                captured=n * EVENTS, packed_up_to=n * EVENTS)
            status, reason = peer.send(f"node-{a}", n, parts=parts)
            equal(f"batch {n} ({reason})", status, wire.ACCEPTED)
        peer.close()


def rows_of(w, table):
    return w.database(f"SELECT * FROM {table}")


def stored(w):
    """All is in rows, and not only in the log."""
    eventually("a checkpoint", lambda: len(w.database(
        "SELECT 1 FROM ledger")) == AGENTS and w.database(
            "SELECT min(log_id) >= ? FROM view", AGENTS * BATCHES)[0][0], 30)


class Stores:
    """Two stores to damage: one that was stopped, one whose process died."""

    def __init__(self, port):
        self.port = port
        with Fleet(port) as w:
            w.start_aggregator()
            fill(w)
            stored(w)
            self.want = picture(w)
            equal("SIGTERM", w.aggregator.stop(), 0)
            self.stopped = self.keep(w, "stopped")
        with Fleet(port) as w:
            w.start_aggregator()
            fill(w)
            equal("requests", picture(w), self.want)
            w.aggregator.popen.send_signal(signal.SIGKILL)
            w.aggregator.popen.wait()
            self.killed = self.keep(w, "killed")

    def keep(self, w, name):
        to = pathlib.Path(f"{w.dir}-{name}")
        shutil.copytree(w.store, to)
        return to

    def close(self):
        for d in (self.stopped, self.killed):
            shutil.rmtree(d)

    @contextlib.contextmanager
    def damaged(self, which, damage):
        """An aggregator with a copy of that store, damaged."""
        with Fleet(self.port) as w:
            shutil.copytree(which, w.store)
            damage(w.store)
            w.start_aggregator()
            yield w


def wal(store):
    return store / "redtap.db-wal"


def sound(s):
    for which in (s.stopped, s.killed):
        with s.damaged(which, lambda store: None) as w:
            equal("counters", picture(w), s.want)
            equal("words", told(w), {})
            w.aggregator.stop()
            w.start_aggregator()
            equal("words after a restart", told(w), {})


def lost_files(s):
    """Counters of less than before: the aggregator says how many are missing."""
    cases = {
        "no WAL": lambda store: wal(store).unlink(),
        "an empty WAL": lambda store: wal(store).write_bytes(b""),
        "a WAL cut in half": lambda store: wal(store).write_bytes(
            wal(store).read_bytes()[:wal(store).stat().st_size // 2]),
        "a WAL with zeros": lambda store: wal(store).write_bytes(
            bytes(wal(store).stat().st_size)),
        "a WAL with a flipped bit": lambda store: flip(
            wal(store), 8 * wal(store).stat().st_size // 2),
    }
    for what, damage in cases.items():
        with s.damaged(s.killed, damage) as w:
            m = w.metrics()
            have = int(m.sum("redtap_http_requests_total"))
            lost = AGENTS * BATCHES * EVENTS - have
            check(lost > 0, f"{what}: nothing is missing")
            equal(f"{what}: lost", int(m.sum(TOLD[1])), lost)
            check("less than was acknowledged" in w.aggregator.tail(40),
                  f"{what}: the log does not say so")
            w.aggregator.stop()
            w.start_aggregator()
            equal(f"{what}: lost, after a restart",
                  int(w.metrics().sum(TOLD[1])), lost)
            note(f"{what}: {lost} of {AGENTS * BATCHES * EVENTS} requests are "
                 "missing, as it says")


def empty(s):
    cases = {
        "an emptied database": (s.stopped, lambda store: (
            store / "redtap.db").write_bytes(b"")),
        "an emptied database, its WAL full": (s.killed, lambda store: (
            store / "redtap.db").write_bytes(b"")),
        "no database": (s.stopped, lambda store: (
            store / "redtap.db").unlink()),
        "zeros instead of a database": (s.stopped, lambda store: (
            store / "redtap.db").write_bytes(bytes(100000))),
    }
    for what, (which, damage) in cases.items():
        with s.damaged(which, damage) as w:
            equal(f"{what}: lost", int(w.metrics().sum(TOLD[1])),
                  AGENTS * BATCHES * EVENTS)
            if which == s.killed:
                check(list(w.store.glob("redtap.db.damaged-*-wal")),
                      f"{what}: the WAL is gone")
    note(f"{len(cases)} ways to empty a store: each is noticed")


def older(s):
    """An older copy of the store, as from a backup."""
    with Fleet(s.port) as w:
        shutil.copytree(s.stopped, w.store)
        w.start_aggregator()
        peer = wire.Peer(w.ingest)
        peer.send("node-9", 1, parts=wire.events(77))
        w.aggregator.stop()
        for name in ("redtap.db", "redtap.db-wal", "redtap.db-shm"):
            (w.store / name).unlink(missing_ok=True)
        shutil.copy(s.stopped / "redtap.db", w.store)
        w.start_aggregator()
        equal("lost", int(w.metrics().sum(TOLD[1])), 77)


# ---- rows

def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def place_of(store, query):
    """Where in the file the value of a query is; it must be there once."""
    with contextlib.closing(sqlite3.connect(store / "redtap.db")) as db:
        value = db.execute(query).fetchone()[0]
    value = value.encode() if isinstance(value, str) else value
    content = (store / "redtap.db").read_bytes()
    check(content.count(value) >= 1, f"{query}: not found")
    return content.rindex(value), len(value)


def flip_value(query):
    def damage(store):
        at, n = place_of(store, query)
        flip(store / "redtap.db", 8 * (at + n // 2) + 1)
    return damage


def run_sql(text):
    """As if bits had flipped in several places."""
    def damage(store):
        with contextlib.closing(sqlite3.connect(store / "redtap.db")) as db:
            db.execute(text)
            db.commit()
    return damage


def mended(s):
    """Rows that the log can replace."""
    for what, damage in {
            "a series": flip_value(
                "SELECT state FROM series WHERE slot = 1 LIMIT 1"),
            "the ledger": flip_value("SELECT totals FROM ledger LIMIT 1"),
            "a missing series": run_sql("DELETE FROM series WHERE slot = 1"),
            "a view": run_sql("UPDATE view SET log_id = 7 WHERE id = 1"),
            "an agent in the ledger": run_sql(
                "UPDATE ledger SET agent = 'nobe-0' WHERE agent = 'node-0'"),
            "marks": run_sql("UPDATE state SET value = x'01' WHERE name LIKE"
                             " '%_log_id'")}.items():
        with s.damaged(s.stopped, damage) as w:
            check(told(w).get(TOLD[0]), f"{what}: there is no word of it")
            equal(f"{what}: counters", picture(w), s.want)
            peer = wire.Peer(w.ingest)
            for a in range(AGENTS):
                status, reason = peer.send(f"node-{a}", BATCHES)
                equal(f"{what}: a duplicate ({reason})", status,
                      wire.ACCEPTED)
            equal(f"{what}: counters after duplicates",
                  int(w.metrics().sum("redtap_http_requests_total")),
                  AGENTS * BATCHES * EVENTS)
            before = told(w)
            w.aggregator.stop()
            w.start_aggregator()
            equal(f"{what}: told once", told(w), before)


def cut_log(store):
    """The log has not all any more, as after its retention."""
    with contextlib.closing(sqlite3.connect(store / "redtap.db")) as db:
        db.execute("DELETE FROM log WHERE id <= ?", (AGENTS * BATCHES // 2,))
        db.commit()
        db.execute("VACUUM")


def begun_again(s):
    """What the log cannot replace begins again, and nothing else does."""
    def damage(store):
        cut_log(store)
        flip_value("SELECT state FROM series WHERE view = (SELECT id FROM view"
                   " WHERE name = 'redtap_http_requests') AND slot = 2"
                   )(store)
    with s.damaged(s.stopped, damage) as w:
        check(told(w).get(TOLD[0]), "there is no word of it")
        got = picture(w)
        gone = set(s.want) - set(got)
        check(gone, "no series is gone")
        equal("counters of the others",
              {k: v for k, v in s.want.items() if k not in gone}, got)
        w.aggregator.stop()
        w.start_aggregator()
        equal("after a restart", picture(w), got)
        note(f"{len(gone)} of {len(s.want)} samples begin again")


def flips(s, n, seed):
    """Bits that flip anywhere: no counter changes without a word."""
    rng = random.Random(seed)
    size = (s.stopped / "redtap.db").stat().st_size
    seen = collections.Counter()
    for _ in range(n):
        bit = rng.randrange(8 * size)
        with s.damaged(s.stopped,
                       lambda store, bit=bit: flip(store / "redtap.db",
                                                   bit)) as w:
            same, words = picture(w) == s.want, told(w)
            check(same or words, f"bit {bit} (seed {seed}): counters changed, "
                  f"and there is no word of it:\n{w.aggregator.tail(20)}")
            seen["same" if not words else "told, same" if same
                 else "told, changed"] += 1
            w.aggregator.popen.kill()
            w.aggregator.popen.wait()
    note(f"{n} flipped bits of {8 * size}: {dict(seen)}")


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 21980
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else int(time.time())
    report = Report()
    s = Stores(port)
    for sentence, test in (
            ("a sound store is not called damaged", sound),
            ("a lost or mangled WAL is noticed, and what is missing",
             lost_files),
            ("an emptied database is noticed, and its WAL is kept", empty),
            ("so is an older store in the place of the last", older),
            ("damaged rows that the log can replace are as they were", mended),
            ("others begin again, and nothing else does", begun_again),
            ("no flipped bit changes a counter without a word",
             lambda s: flips(s, n, seed))):
        with report.case(sentence):
            test(s)
    s.close()
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What an operator does with a store: back it up while it is used, restore it on
another host, verify it, forget a node. docs/OPERATIONS.md describes it.
"""

import pathlib
import shutil
import sqlite3
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
import wire  # noqa: E402
from fleet import Fleet, account_of  # noqa: E402
from harness import AGGREGATOR, Report, check, equal, eventually, \
    note  # noqa: E402

PORT = 22020
EVENTS = 100


def run(*argv, want=0):
    """(stdout, stderr) of an operator's command."""
    p = subprocess.run([AGGREGATOR, *argv], capture_output=True, text=True,
                       timeout=120, check=False)
    equal(f"{argv}: {p.stdout}{p.stderr}status", p.returncode, want)
    return p.stdout, p.stderr


def send(peer, node, first, n):
    for k in range(first, first + n):
        status, reason = peer.send(node, k, parts=wire.events(EVENTS) +
                                   wire.losses(captured=k * EVENTS,
                                               packed_up_to=k * EVENTS))
        equal(f"{node} {k} ({reason})", status, wire.ACCEPTED)


def requests(w):
    return int(w.metrics().sum("redtap_http_requests_total"))


class Busy:
    """A fleet that goes on sending; `with`."""

    def __init__(self, w):
        self.w, self.end, self.sent = w, threading.Event(), 0

    def __enter__(self):
        self.thread = threading.Thread(target=self.go)
        self.thread.start()
        eventually("it is under way", lambda: self.sent > 20)
        return self

    def go(self):
        peer = wire.Peer(self.w.ingest)
        while not self.end.is_set():
            send(peer, "busy", self.sent + 1, 1)
            self.sent += 1
        peer.close()

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


def backed_up(w):
    """The copy is one moment of it, and another host goes on from there."""
    backup = w.dir / "backup.db"
    with Busy(w) as busy:
        before = requests(w)
        _, text = run("backup", "-o", str(backup), str(w.store))
        check("backed up and verified" in text, text)
        out, _ = run("verify", str(w.store))
        check(" damage=0" in out and " unchecked=0" in out, out)
    after = busy.sent * EVENTS
    equal("mode", oct(backup.stat().st_mode & 0o777), "0o600")
    out, _ = run("verify", str(backup))
    check(" damage=0" in out, out)
    _, text = run("backup", "-o", str(backup), str(w.store), want=1)
    check("File exists" in text, text)
    with Fleet(PORT + 2) as other:
        other.store.mkdir()
        shutil.copy(backup, other.store / "redtap.db")
        other.start_aggregator()
        have = requests(other)
        check(before <= have <= after, f"{before} <= {have} <= {after}")
        equal("of an agent's account", account_of(other.look(), "busy"),
              [have, have, 0])
        equal("lost", other.metrics().sum(
            "redtap_aggregator_store_lost_requests_total"), 0)
        # Batches that came after the backup come again, as from a new agent's
        # outbox, those before it are known.
        peer = wire.Peer(other.ingest)
        send(peer, "busy", 1, busy.sent)
        equal("requests", requests(other), after)
        out, _ = run("verify", str(other.store))
        check(" damage=0" in out, out)
        other.aggregator.stop()
        run("verify", str(other.store))
    note(f"backed up at {have} of {after} requests, restored, and all counted")


def damaged(w):
    """verify finds a changed value, a missing batch, an older file."""
    copy = w.dir / "copy"
    w.aggregator.stop()

    def finds(sql, word):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(w.store, copy)
        db = sqlite3.connect(copy / "redtap.db")
        db.execute(sql)
        db.commit()
        db.close()
        out, _ = run("verify", str(copy), want=1)
        check(word in out, f"{sql}: {out}")
        run("backup", "-o", str(w.dir / "bad.db"), str(copy), want=1)
        check(not (w.dir / "bad.db").exists(), "a damaged backup is there")

    out, _ = run("verify", str(w.store))
    check(" damage=0" in out, out)
    finds("UPDATE series SET state = x'0102030405' WHERE slot = 1",
          "series: a row is not as written")
    finds("UPDATE ledger SET sequence = 1", "ledger: a row is not as written")
    finds("UPDATE log SET requests = 7 WHERE id = (SELECT max(id) FROM log)",
          "log: a row is not as written")
    finds("UPDATE window_delta SET rows = 77", "window_delta: a row is not")
    finds("DELETE FROM log WHERE id = (SELECT max(id) FROM log)",
          "log: batches are missing at the end")
    db = sqlite3.connect(w.store / "redtap.db")
    last = db.execute("SELECT max(id) FROM log").fetchone()[0]
    db.close()
    shutil.rmtree(copy)
    shutil.copytree(w.store, copy)
    db = sqlite3.connect(copy / "redtap.db")
    db.execute("DELETE FROM log WHERE id = ?", (last,))
    db.execute("UPDATE view SET log_id = 3, sum = NULL")
    db.commit()
    db.close()
    out, _ = run("verify", str(copy), want=1)
    check("acknowledged were" in out, out)
    run("verify", str(w.dir / "nowhere"), want=1)
    (w.dir / "text").write_text("no database")
    run("verify", str(w.dir / "text"), want=1)
    w.start_aggregator()


def forgotten(w):
    url = f"http://127.0.0.1:{w.web}"
    peer = wire.Peer(w.ingest)
    send(peer, "gone", 1, 3)
    total = requests(w)
    _, text = run("forget", "gone", url, want=1)
    check("--web.enable-lifecycle" in text, text)
    w.aggregator.stop()
    w.start_aggregator("--web.enable-lifecycle")
    run("forget", "never/there", url, want=1)
    run("forget", "gone", url)
    equal("samples of the node", w.metrics().select(
        "redtap_agent_batches_total", node="gone"), {})
    equal("requests", requests(w), total)
    w.aggregator.popen.kill()
    w.aggregator.popen.wait()
    w.start_aggregator("--web.enable-lifecycle")
    equal("samples after a kill", w.metrics().select(
        "redtap_agent_batches_total", node="gone"), {})
    # In a store that is not in use.
    send(wire.Peer(w.ingest), "gone", 1, 1)
    run("forget", "gone", str(w.store), want=1)  # it is in use
    w.aggregator.stop()
    run("forget", "gone", str(w.store))
    run("forget", "gone", str(w.store), want=1)
    w.start_aggregator()
    equal("samples after a start", w.metrics().select(
        "redtap_agent_batches_total", node="gone"), {})
    equal("requests", requests(w), total + EVENTS)


def main():
    report = Report()
    with Fleet(PORT) as w:
        w.start_aggregator()
        for sentence, test in (
                ("a store in use is backed up, and restored elsewhere",
                 backed_up),
                ("verify finds what is damaged, and no backup is made of it",
                 damaged),
                ("a node is forgotten, its requests are not", forgotten)):
            with report.case(sentence):
                test(w)
    report.exit()


if __name__ == "__main__":
    main()

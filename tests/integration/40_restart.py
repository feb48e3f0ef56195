#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Restarts on both sides, in the middle of connections and of traffic: no count
is lost, none goes down. Also what the endpoint owes at any time: requests show
up promptly, windows add up to the counters, our own traffic stays out.
"""

import collections
import json
import socket
import sqlite3
import threading
import time

from conversation import hold
from harness import FAMILY, Failure, Redtap, Report, agree, check, equal, \
    eventually, http_get, note, now, series_key, went_down
from marks import MARK

PORT = 21550
CONFIG = ["services:", f"  - port: {PORT}", "    service: steady"]
# What must never go down while a store lives; the rest may count a process.
LASTING = ("http_", "redtap_http_", "redtap_agent_events_")
HEAD = b"Host: localhost\r\nContent-Length: 0\r\n\r\n"


def lasting(m):
    """Only the families whose counters outlive a process."""
    m.families = {name: entry for name, entry in m.families.items()
                  if name.startswith(LASTING)}
    return m


class Steady:
    """A server and one kept-alive client connection, moved by hand."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", PORT))
        self.client = socket.create_connection(("127.0.0.1", PORT))
        self.server = self.listener.accept()[0]
        for s in (self.client, self.server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self):
        self.client.sendall(b"GET /steady HTTP/1.1\r\n" + HEAD)
        self.read(self.server)

    def respond(self):
        self.server.sendall(b"HTTP/1.1 200 OK\r\n" + HEAD)
        self.read(self.client)

    @staticmethod
    def read(s):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            part = s.recv(4096)
            check(part, "the connection ended")
            data += part

    def ask(self, n=1):
        for _ in range(n):
            self.request()
            self.respond()

    def close(self):
        for s in (self.client, self.server, self.listener):
            s.close()


def steady_counts(m):
    """(server, client) requests of Steady, whatever their labels."""
    return (m.sum(FAMILY["server"] + "_count", job="steady"),
            m.sum(FAMILY["client"] + "_count", server_port=str(PORT)))


def visible(rt, steady):
    """A request shows up at /metrics within 2 s, both sides of it."""
    delays = []
    for _ in range(7):
        server, client = steady_counts(rt.metrics())
        steady.ask()
        begin = now()
        eventually("the request is visible", lambda: steady_counts(
            rt.metrics()) == (server + 1, client + 1), 5, 0.01)
        delays.append(now() - begin)
        time.sleep(0.13)
    note(f"visible after {min(delays):.2f} to {max(delays):.2f} s")
    # One or two may have had to wait for a processor.
    check(sorted(delays)[3] < 2, f"{sorted(delays)[3]:.2f} s")


def windows(rt):
    """The windows of the API add up to the counters, by every label."""
    m = rt.quiet()
    want = collections.Counter()
    errors = collections.Counter()
    for name, into in (("redtap_http_requests_total", want),
                       ("redtap_http_request_errors_total", errors)):
        for labels, n in m.samples[name].items():
            labels = dict(labels)
            into[tuple(labels.get(k) for k in (
                "job", "role", "http_request_method", "http_route",
                "http_response_status_code"))] += int(n)
    end = int(time.time()) + 60
    status, _, body = http_get(
        rt.web, f"/api/v1/windows?from={end - 3600}&to={end}"
        "&by=service,role,method,route,status")
    equal("status", status, 200)
    got, got_errors = collections.Counter(), collections.Counter()
    for window in json.loads(body)["windows"]:
        equal("start of a window modulo 10 s", window["start"] % 10, 0)
        for group in window["groups"]:
            if group["service"] == MARK:
                continue
            key = tuple(str(group[k]) if k in group else None for k in (
                "service", "role", "method", "route", "status"))
            got[key] += group["count"]
            got_errors[key] += group["errors"]
    check(want, "nothing was counted")
    equal("requests", dict(got), dict(want))
    equal("errors", dict(+got_errors), dict(+errors))


def sigterm(rt):
    before = lasting(rt.quiet())
    equal("exit status", rt.aggregator.stop(), 0)
    rt.start_aggregator()
    equal("went down", went_down(before, lasting(rt.metrics())), [])
    equal("counters", lasting(rt.quiet()).counters(), before.counters())


class Watcher(threading.Thread):
    """Scrapes all the time and notes what goes down."""

    def __init__(self, rt):
        super().__init__(daemon=True)
        self.rt, self.last = rt, lasting(rt.metrics())
        self.down, self.scrapes, self.ended = [], 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.03):
            try:
                m = lasting(self.rt.metrics())
            except (OSError, Failure):
                continue  # it is down, or not ready
            except Exception:
                continue  # a reply that the kill cut off
            self.down += went_down(self.last, m)
            self.last = m
            self.scrapes += 1

    def stop(self):
        self.ended.set()
        self.join()


def kill_nine(rt, steady):
    """kill -9 of the aggregator three times, in the middle of traffic."""
    before = rt.quiet()
    base = steady_counts(before)
    watcher = Watcher(rt)
    watcher.start()
    stop = threading.Event()
    asked = [0]

    def traffic():
        while not stop.is_set():
            steady.ask()
            asked[0] += 1
    thread = threading.Thread(target=traffic)
    thread.start()
    for _ in range(3):
        time.sleep(0.6)
        equal("exit status", rt.aggregator.stop(9), -9)
        rt.start_aggregator()
    stop.set()
    thread.join()
    after = rt.quiet()
    watcher.stop()
    note(f"kill -9 three times in {asked[0]} requests, "
         f"{watcher.scrapes} scrapes between")
    equal("requests counted (server, client)",
          tuple(b - a for a, b in zip(base, steady_counts(after))),
          (asked[0], asked[0]))
    equal("went down", watcher.down[:5], [])


def conversations_across_kill(rt):
    """Exact label sets although the aggregator is killed meanwhile."""
    before = rt.quiet()
    names = ["keepalive", "prefork", "serverhangsup"]
    held = []
    thread = threading.Thread(target=lambda: held.extend(hold(names)))
    thread.start()
    time.sleep(0.4)
    equal("exit status", rt.aggregator.stop(9), -9)
    time.sleep(0.5)
    rt.start_aggregator()
    thread.join()
    delta = rt.quiet().minus(before)
    for conversation in held:
        conversation.end()
        check(not conversation.wrong, conversation.wrong)
        agree(delta, conversation.name, conversation.rows)


def agent_restart(rt, steady):
    """In mid-connection, with a request on its way."""
    steady.ask(5)
    before = rt.quiet()
    base = steady_counts(before)
    steady.request()
    time.sleep(0.3)
    equal("exit status of the agent", rt.agent.stop(), 0)
    rt.start_agent()
    steady.respond()
    steady.ask(11)
    after = rt.quiet()
    equal("requests counted (server, client)",
          tuple(b - a for a, b in zip(base, steady_counts(after))), (11, 11))
    equal("went down", went_down(lasting(before), lasting(after)), [])
    key = {series_key("server", labels) for labels in after.minus(
        before).select(FAMILY["server"] + "_count", job="steady")}
    equal("label sets", key, {("GET", "/steady", "200", None, "1.1")})


def agent_killed(rt, steady):
    """kill -9 of a quiet agent: what is counted stays, the next one goes on."""
    before = rt.quiet()
    base = steady_counts(before)
    equal("exit status of the agent", rt.agent.stop(9), -9)
    steady.ask(3)  # no agent watches
    rt.start_agent()
    steady.ask(7)
    after = rt.quiet()
    equal("requests counted (server, client)",
          tuple(b - a for a, b in zip(base, steady_counts(after))), (7, 7))
    equal("went down", went_down(lasting(before), lasting(after)), [])


def last_flush(rt, steady):
    """What a stopping agent holds is delivered, not dropped."""
    base = steady_counts(rt.quiet())
    steady.ask(17)
    equal("exit status of the agent", rt.agent.stop(), 0)
    eventually("the last batch is counted", lambda: steady_counts(
        rt.metrics()) == (base[0] + 17, base[1] + 17), 3)
    rt.start_agent()


def watch_with(rt, lines, act):
    """What is counted while an agent with another configuration watches."""
    equal("exit status of the agent", rt.agent.stop(), 0)
    before = rt.metrics()
    keep, other = rt.write_config, rt.dir / "other.yaml"
    other.write_text("\n".join([f"node: {rt.NODE}", *lines]) + "\n")
    rt.write_config = lambda: other
    try:
        rt.start_agent()
        act()
        time.sleep(1.2)
        equal("exit status of the agent", rt.agent.stop(), 0)
        return rt.metrics().minus(before)
    finally:
        rt.write_config = keep
        rt.start_agent()


def own_traffic(rt):
    """Without any selection, our own programs do not show up."""
    def scrape():
        for _ in range(23):
            http_get(rt.web, "/-/healthy")
    delta = watch_with(rt, [], scrape)
    jobs = {dict(labels)["job"] for family in FAMILY.values()
            for labels in delta.samples.get(family + "_count", {})}
    note(f"seen without a selection: {sorted(jobs)}")
    equal("our own programs", [j for j in jobs if "redtap" in j], [])
    delta = watch_with(rt, ["select:", "  report_self: true"], scrape)
    equal("if told to report them", delta.sum(
        FAMILY["server"] + "_count", job="redtap-aggregator",
        http_route="/-/healthy"), 23)


def newer_store(rt):
    """A store of a newer version is refused, and left as it was."""
    equal("exit status", rt.aggregator.stop(), 0)
    files = [f for f in rt.store.iterdir()
             if f.read_bytes()[:15] == b"SQLite format 3"]
    equal("SQLite files", len(files), 1)

    def version(new=None):
        db = sqlite3.connect(files[0])
        old = db.execute("PRAGMA user_version").fetchone()[0]
        if new is not None:
            db.execute(f"PRAGMA user_version = {new}")
            db.commit()
        db.close()
        return old
    old = version(9999)
    check(0 < old < 9999, f"version {old}")
    rt.start_aggregator(wait=False)
    status = rt.aggregator.popen.wait(10)
    words = rt.aggregator.tail(3)
    equal("version", version(old), 9999)
    check(status not in (0, None) and status > 0, f"exit status {status}")
    check("newer version" in words, f"its words: {words}")
    rt.start_aggregator()


def main():
    report = Report()
    with Redtap(web=21408, config=CONFIG) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        steady = Steady()
        suite = [
            ("a request is visible at /metrics within 2 s",
             lambda: visible(rt, steady)),
            ("an aggregator that gets SIGTERM exits 0, and after its start "
             "every counter is where it was", lambda: sigterm(rt)),
            ("kill -9 of the aggregator in the middle of traffic: all counted "
             "once, no counter ever goes down",
             lambda: kill_nine(rt, steady)),
            ("conversations across a kill -9 keep their exact label sets",
             lambda: conversations_across_kill(rt)),
            ("an agent that starts in mid-connection counts the requests that "
             "begin after it, exactly", lambda: agent_restart(rt, steady)),
            ("kill -9 of the agent: the next one goes on, nothing goes down",
             lambda: agent_killed(rt, steady)),
            ("a stopping agent delivers what it holds",
             lambda: last_flush(rt, steady)),
            ("the windows of the API add up to the counters",
             lambda: windows(rt)),
            ("neither program reports its own traffic, unless told to",
             lambda: own_traffic(rt)),
            ("a store of a newer version is refused and left alone",
             lambda: newer_store(rt)),
        ]
        begin = now()
        for sentence, test in suite:
            with report.case(sentence):
                test()
        note(f"the restarts took {now() - begin:.1f} s")
        steady.close()
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

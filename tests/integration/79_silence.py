#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Nothing fails in silence: an agent that cannot hand its batches over says so, with
the cause and what waits; `check --to` finds the same before; the aggregator names
who was not served, and why.
"""

import glob
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import AGENT, Fleet  # noqa: E402
from harness import Process, Report, check, equal, eventually, now  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
tls = __import__("72_ingest_tls")

PORT = 21940
FAKETIME = (glob.glob("/usr/lib/*/faketime/libfaketime.so.1") or [""])[0]
TLS_PORT, MUTE_PORT, LATER_PORT = PORT + 5, PORT + 2, PORT + 8


def openssl_expired(folder, ca, name):
    """A certificate that ended yesterday."""
    tls.make_cert(folder, ca, name, name)
    subprocess.run(
        ["openssl", "x509", "-req", "-in",
         f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-days",
         "9", "-out", f"{name}.pem"], cwd=folder, check=True,
        capture_output=True, env={**os.environ, "FAKETIME": "-10d",
                                  "LD_PRELOAD": FAKETIME})


class Mute:
    """Accepts and says nothing."""

    def __init__(self, port):
        self.held, self.listener = [], socket.create_server(
            ("127.0.0.1", port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                self.held.append(self.listener.accept()[0])
            except OSError:
                return


class World(Fleet):
    def prepare(self):
        d = self.dir
        tls.make_ca(d, "ca")
        tls.make_ca(d, "other-ca")
        tls.make_cert(d, "ca", "server", "localhost")
        tls.make_cert(d, "ca", "node", "node")
        tls.make_cert(d, "other-ca", "foreign", "node")
        openssl_expired(d, "ca", "expired")
        (d / "token").write_text("a-token-of-this-test\n")
        (d / "wrong-token").write_text("another-token\n")
        self.start_aggregator(f"--ingest.token-file={d}/token")
        self.secure = Fleet(PORT + 4)
        self.secure.dir, self.secure.store = d, d / "secure"
        self.secure.start_aggregator(
            f"--ingest.tls.ca-file={d}/ca.pem",
            f"--ingest.tls.cert-file={d}/server.pem",
            f"--ingest.tls.key-file={d}/server.key",
            listen=f"tls+tcp://127.0.0.1:{TLS_PORT}")
        self.processes += self.secure.processes
        self.mute = Mute(MUTE_PORT)

    def tls_flags(self, cert="node", ca="ca", key=None):
        d = self.dir
        flags = [f"--tls.ca-file={d}/{ca}.pem"]
        if cert:
            flags += [f"--tls.cert-file={d}/{cert}.pem",
                      f"--tls.key-file={d}/{key or cert}.key"]
        return flags

    def wrongs(self):
        """{what: (url, flags, the cause in words)}"""
        tcp, secure = "tcp://127.0.0.1:", f"tls+tcp://localhost:{TLS_PORT}"
        token = f"--token-file={self.dir}/token"
        return {
            "port": (f"{tcp}{LATER_PORT}", [token], "Connection refused"),
            "name": (f"tcp://nowhere.invalid:{self.ingest}", [],
                     "nowhere.invalid: "),
            "no-token": (f"{tcp}{self.ingest}", [], "a token is missing"),
            "wrong-token": (f"{tcp}{self.ingest}",
                            [f"--token-file={self.dir}/wrong-token"],
                            "the token is wrong"),
            "mute": (f"{tcp}{MUTE_PORT}", [], "no greeting"),
            "plain": (f"{tcp}{TLS_PORT}", [], "it speaks TLS there"),
            "tls": (f"tls+tcp://localhost:{self.ingest}", self.tls_flags(),
                    "it speaks without TLS there"),
            "ca": (secure, self.tls_flags(ca="other-ca"),
                   "the aggregator's certificate is not signed by ca_file"),
            "host": (f"tls+tcp://127.0.0.1:{TLS_PORT}", self.tls_flags(),
                     "certificate is for localhost, not for 127.0.0.1"),
            "no-cert": (secure, self.tls_flags(None),
                        "the aggregator wants a certificate of the agent"),
            "foreign": (secure, self.tls_flags("foreign"),
                        "the aggregator refused our certificate"),
            "expired": (secure, self.tls_flags("expired"), "expired on 20"),
            "other-node": (secure, self.tls_flags("server"),
                           "the certificate is not this agent's"),
        }

    def agent(self, name, url, flags):
        p = Process([AGENT, "run", "--node=node", "--include.port=21949",
                     "--capture.tls=off", f"--to={url}", *flags],
                    self.dir / f"agent-{name}.log")
        self.processes.append(p)
        return p


def field(line, name):
    m = re.search(rf'\b{name}=(\\"(.*?)\\"|\S+?)(?=[ "]|$)', line)
    return m and (m.group(2) or m.group(1))


def waits(p):
    return [line for line in p.log.read_text().splitlines()
            if "batches wait" in line]


def checks(w):
    for name, (url, flags, cause) in w.wrongs().items():
        done = subprocess.run(
            [AGENT, "check", "--node=node", f"--to={url}", *flags],
            capture_output=True, text=True, timeout=30, check=False)
        equal(f"{name}: exit status", done.returncode, 1)
        check(cause in done.stdout, f"{name}: {cause!r} is not in\n"
              + done.stdout)
        check("to mend" in done.stdout, f"{name}: no advice in\n"
              + done.stdout)


def check_of_what_works(w):
    for url, flags in (
            (f"tcp://127.0.0.1:{w.ingest}", [f"--token-file={w.dir}/token"]),
            (f"tls+tcp://localhost:{TLS_PORT}", w.tls_flags())):
        done = subprocess.run(
            [AGENT, "check", "--node=node", f"--to={url}", *flags],
            capture_output=True, text=True, timeout=30, check=False)
        equal("exit status", done.returncode, 0)
        check(re.search(r"answer +ok", done.stdout), done.stdout)
    m = w.metrics()
    equal("agents that only asked", m.sum("redtap_agent_up"), 0)


def agents_say(w, agents):
    """All at once: each warns within the time of one failed attempt."""
    for name, (_, _, cause) in w.wrongs().items():
        p = agents[name]
        eventually(f"{name}: it warns", lambda p=p: waits(p), 25)
        line = waits(p)[0]
        check(cause in line, f"{name}: {cause!r} is not in {line}")
        check(int(field(line, "batches")) > 0, f"nothing waits: {line}")
        check(int(field(line, "bytes")) > 0, f"nothing waits: {line}")
        check(p.alive(), f"{name}: the agent ended:\n" + p.tail())


def said_again(agents, started):
    """After a minute, once; and with more that waits."""
    p = agents["port"]
    equal("lines before a minute is over", len(waits(p)), 1)
    eventually("it says so again", lambda: len(waits(p)) == 2, 80)
    check(now() - started > 59, f"after {now() - started:.1f} s already")
    first, second = (int(field(line, "oldest_s")) for line in waits(p))
    check(second - first >= 59, f"waits {first} s, then {second} s")


def aggregator_says(w):
    log = (w.dir / "aggregator.log").read_text()
    for cause in ("token", "hello"):
        lines = [line for line in log.splitlines() if f"cause={cause} " in line]
        check(lines, f"{cause} is not in the log:\n" + log)
        check(all("peer=127.0.0.1:" in line for line in lines), lines[0])
        told = sum(int(re.search(r"times=(\d+)", line).group(1))
                   for line in lines)
        counted = w.metrics().sum("redtap_aggregator_ingest_refused_total",
                                  cause=cause)
        check(0 < told <= counted, f"{cause}: {told} of {counted} are logged")
        check(len(lines) < 8, f"{len(lines)} lines within a minute")
    for cause in ("plain", "certificate", "no_certificate", "name"):
        check(w.secure.metrics().sum(
            "redtap_aggregator_ingest_refused_total", cause=cause) > 0,
            f"{cause} is not counted")


def recovered(w, agents):
    """The outbox holds what waited, and the agent says when that is over."""
    late = Fleet(LATER_PORT - 1)
    late.dir, late.store = w.dir, w.dir / "late"
    late.start_aggregator(f"--ingest.token-file={w.dir}/token")
    w.processes += late.processes
    p = agents["port"]
    eventually("it says so", lambda: "batches are taken again" in p.tail(), 15)
    check("after_s=" in p.tail(), p.tail())
    name = "redtap_agent_last_acknowledged_timestamp_seconds"
    eventually("an acknowledgement shows", lambda: late.metrics().sum(
        name, node="node") > 0, 15)
    m = late.metrics()
    seen = m.sum("redtap_agent_last_seen_timestamp_seconds", node="node")
    check(abs(seen - m.sum(name, node="node")) < 5, "acknowledged long ago")


def main():
    report = Report()
    with World(PORT) as w:
        w.prepare()
        with report.case("check --to says what is wrong, and how to mend it"):
            checks(w)
        with report.case("check --to is content with what works, and nothing "
                         "of it is counted as an agent"):
            check_of_what_works(w)
        started = now()
        agents = {name: w.agent(name, url, flags)
                  for name, (url, flags, _) in w.wrongs().items()}
        with report.case("an agent says at once why its batches wait"):
            agents_say(w, agents)
        with report.case("the aggregator names and counts those that it "
                         "does not serve, by cause"):
            aggregator_says(w)
        with report.case("the agent says so again after a minute"):
            said_again(agents, started)
        with report.case("an agent says when its batches are taken again"):
            recovered(w, agents)
    report.exit()


if __name__ == "__main__":
    main()

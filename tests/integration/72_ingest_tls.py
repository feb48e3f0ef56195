#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Who may talk: agents over mutual TLS, whose certificate must be of the node that
they speak for; certificates that are renewed; plain TCP beyond loopback.
"""

import contextlib
import pathlib
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import AGENT, AGGREGATOR, Fleet  # noqa: E402
from harness import Process, Report, check, equal, eventually  # noqa: E402

PORT = 21930


def openssl(folder, *argv):
    subprocess.run(["openssl", *argv], cwd=folder, check=True,
                   capture_output=True)


def make_ca(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def make_cert(folder, ca, file, name, san=True):
    """file.pem and file.key: a certificate of this name."""
    openssl(folder, "req", "-new", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{file}.key", "-out", f"{file}.csr")
    ext = folder / f"{file}.ext"
    ext.write_text(f"subjectAltName=DNS:{name}\n" if san else "\n")
    openssl(folder, "x509", "-req", "-in", f"{file}.csr", "-CA", f"{ca}.pem",
            "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2",
            "-extfile", ext.name, "-out", f"{file}.pem")
    with open(folder / f"{file}.both", "w", encoding="ascii") as out:
        for part in ("key", "pem"):
            out.write((folder / f"{file}.{part}").read_text())


class World(Fleet):
    def make_files(self):
        make_ca(self.dir, "ca")
        make_ca(self.dir, "other-ca")
        make_cert(self.dir, "ca", "server", "localhost")
        make_cert(self.dir, "ca", "node-a", "node-a")
        make_cert(self.dir, "ca", "node-b", "node-b", san=False)
        make_cert(self.dir, "other-ca", "foreign", "node-c")
        make_cert(self.dir, "ca", "shared", "daemonset")

    def serve(self):
        d = self.dir
        self.start_aggregator(
            f"--ingest.tls.ca-file={d}/ca.pem",
            f"--ingest.tls.cert-file={d}/server.pem",
            f"--ingest.tls.key-file={d}/server.key",
            "--ingest.tls.shared-name=daemonset",
            listen=f"tls+tcp://127.0.0.1:{self.ingest}")

    @contextlib.contextmanager
    def agent(self, node, cert, ca="ca"):
        flags = [f"--tls.ca-file={self.dir}/{ca}.pem"]
        if cert:
            flags += [f"--tls.cert-file={self.dir}/{cert}.pem",
                      f"--tls.key-file={self.dir}/{cert}.key"]
        p = Process([AGENT, "run", f"--node={node}", "--include.port=21939",
                     f"--to=tls+tcp://localhost:{self.ingest}", *flags],
                    self.dir / f"agent-{node}-{cert}.log")
        self.processes.append(p)
        try:
            yield p
            check(p.alive(), "the agent ended:\n" + p.tail())
        finally:
            p.stop()

    def seen(self, node):
        return self.metrics().sum("redtap_agent_last_seen_timestamp_seconds",
                                  node=node)

    def refused(self):
        return self.metrics().sum("redtap_aggregator_batches_refused_total")

    def served_serial(self):
        context = ssl.create_default_context(cafile=self.dir / "ca.pem")
        context.load_cert_chain(self.dir / "node-a.both")
        with socket.create_connection(("127.0.0.1", self.ingest)) as s, \
                context.wrap_socket(s, server_hostname="localhost") as t:
            return t.getpeercert()["serialNumber"]


def own_name(w):
    for node in ("node-a", "node-b"):
        with w.agent(node, node):
            eventually(f"{node} is heard", lambda: w.seen(node), 15)


def other_name(w):
    """Nothing of it is counted, and the reply says why."""
    before = w.refused()
    with w.agent("node-x", "node-a") as p:
        eventually("it is refused", lambda: w.refused() > before, 15)
        equal("agents called node-x", w.seen("node-x"), 0)
        eventually("its log says why", lambda: "certificate" in p.tail(), 5)


def shared_name(w):
    """As the pods of a DaemonSet have it: one secret, many nodes."""
    for node in ("node-s1", "node-s2"):
        with w.agent(node, "shared"):
            eventually(f"{node} is heard", lambda: w.seen(node), 15)


def renewed_in_place(w):
    """Without a signal, as the kubelet replaces a secret's files."""
    old = w.served_serial()
    make_cert(w.dir, "ca", "next", "localhost")
    make_cert(w.dir, "ca", "node-f", "node-wrong")
    with w.agent("node-f", "node-f") as p:
        eventually("it is refused", lambda: "certificate" in p.tail(), 15)
        make_cert(w.dir, "ca", "right", "node-f")
        for part in ("pem", "key"):
            (w.dir / f"right.{part}").replace(w.dir / f"node-f.{part}")
            (w.dir / f"next.{part}").replace(w.dir / f"server.{part}")
        eventually("it is heard", lambda: w.seen("node-f"), 30)
        eventually("the new certificate is served",
                   lambda: w.served_serial() != old, 30)


def strangers(w):
    for node, cert in (("node-c", "foreign"), ("node-d", None)):
        with w.agent(node, cert):
            time.sleep(3)
            equal(f"agents called {node}", w.seen(node), 0)


def wrong_server(w):
    with w.agent("node-a2", "node-a", ca="other-ca"):
        time.sleep(3)
        equal("agents called node-a2", w.seen("node-a2"), 0)


def renewed(w):
    """SIGHUP reads new files; what makes no sense leaves the old ones."""
    old = w.served_serial()
    make_cert(w.dir, "ca", "server", "localhost")
    w.aggregator.popen.send_signal(1)
    eventually("the new certificate is served",
               lambda: w.served_serial() != old, 5)
    new = w.served_serial()
    (w.dir / "server.pem").write_text("rubbish\n")
    w.aggregator.popen.send_signal(1)
    eventually("the failed reload shows", lambda: w.metrics().sum(
        "redtap_config_last_reload_successful") == 0, 5)
    equal("certificate", w.served_serial(), new)


def renewed_agent(w):
    """The agent reads its files again at SIGHUP, in mid-run."""
    make_cert(w.dir, "ca", "node-e", "node-wrong")
    with w.agent("node-e", "node-e") as p:
        eventually("it is refused", lambda: "certificate" in p.tail(), 15)
        make_cert(w.dir, "ca", "node-e", "node-e")
        p.popen.send_signal(1)
        eventually("it is heard", lambda: w.seen("node-e"), 15)


def plain_beyond_loopback(w):
    for url, flags, want in (
            ("tcp://0.0.0.0:21935", [], 1),
            ("tls+tcp://0.0.0.0:21935", [], 1)):
        p = Process([AGGREGATOR, "serve", f"--store.dir={w.dir}/other",
                     "--web.listen-address=127.0.0.1:21936",
                     f"--ingest.listen={url}", *flags], w.dir / "plain.log")
        w.processes.append(p)
        equal(f"exit status with {url}", p.popen.wait(10), want)
        check(("tls+tcp" if url.startswith("tcp") else "ca_file")
              in p.tail(), f"it says: {p.tail()}")


def main():
    report = Report()
    with World(PORT) as w:
        w.make_files()
        w.serve()
        for sentence, test in (
                ("an agent whose certificate is of its node is heard, by DNS "
                 "name or common name", own_name),
                ("an agent with the certificate of another node is refused, "
                 "counted and told why", other_name),
                ("agents of another CA or without a certificate are not "
                 "heard", strangers),
                ("an agent does not talk to an aggregator of another CA",
                 wrong_server),
                ("agents with a certificate of the shared name are heard, "
                 "whatever their node", shared_name),
                ("certificates that are replaced are read by both within "
                 "seconds, without a signal", renewed_in_place),
                ("SIGHUP makes an agent read its certificate again",
                 renewed_agent),
                ("SIGHUP makes the aggregator read its certificate again; a "
                 "wrong one leaves the old in force", renewed),
                ("plain TCP beyond loopback, or TLS that is not mutual, does "
                 "not start", plain_beyond_loopback)):
            with report.case(sentence):
                test(w)
        with report.case("the aggregator ends with status 0"):
            equal("exit status", w.aggregator.stop(), 0)
    report.exit()


if __name__ == "__main__":
    main()

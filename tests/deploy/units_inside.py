#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs in the container of 10_units.py, as root, with systemd as PID 1. Prints
"ok - sentence" and "not ok - sentence: why" lines.
"""

import contextlib
import http.client
import http.server
import pathlib
import re
import shutil
import subprocess
import threading
import time
import traceback

PORT = 29471  # of the traffic; this container's own network
TLS = pathlib.Path("/etc/redtap/tls")
CREDENTIALS = "/run/credentials/redtap-aggregator.service"
SRC = "/root/src"
sent = 0


class Failure(Exception):
    pass


@contextlib.contextmanager
def case(sentence):
    try:
        yield
        print(f"ok - {sentence}")
    except Exception as e:
        text = str(e) if isinstance(e, Failure) else traceback.format_exc()
        print(f"not ok - {sentence}: " + text.replace("\n", "\n#   "))


def run(*argv, fail=False, **kwargs):
    done = subprocess.run(argv, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **kwargs)
    if (done.returncode != 0) != fail:
        raise Failure(f"{argv}: status {done.returncode}\n{done.stdout}\n" +
                      journal())
    return done.stdout


def journal():
    return subprocess.run(["journalctl", "-n", "25", "--no-pager", "-u",
                           "redtap-*", "-o", "cat"], capture_output=True,
                          text=True).stdout


def systemctl(verb, *units, **kwargs):
    return run("systemctl", verb, *units, **kwargs)


def equal(what, got, want):
    if got != want:
        raise Failure(f"{what}: got {got!r}, want {want!r}")


def eventually(what, fn, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if fn():
            return
        time.sleep(0.1)
    raise Failure(f"not within {seconds} s: {what}\n" + journal())


def show(unit, key):
    return systemctl("show", "-P", key, unit).strip()


def get(port, path):
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        conn.request("GET", path)
        answer = conn.getresponse()
        return answer.status, answer.read().decode()
    finally:
        conn.close()


def counted():
    """Requests of the server's side, of all services."""
    try:
        body = get(9470, "/metrics")[1]
    except OSError:
        return -1
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in
               body.splitlines() if line.startswith(
                   "http_server_request_duration_seconds_count{"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def ask(n):
    global sent
    for _ in range(n):
        status = get(PORT, "/units")[0]
        equal("status", status, 204)
    sent += n


def all_counted():
    eventually(f"{sent} are counted, not {counted()}",
               lambda: counted() == sent)
    equal("counted", counted(), sent)


def heard(since):
    def newer():
        try:
            body = get(9470, "/metrics")[1]
        except OSError:
            return False
        found = re.search(
            r"^redtap_agent_last_seen_timestamp_seconds\S* (\S+)", body, re.M)
        return found and float(found[1]) > since
    eventually("the agent is heard", newer)


def openssl(*argv):
    run("openssl", *argv, cwd=TLS)


def make_ca():
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9", "-subj",
            "/CN=test-ca", "-keyout", "/root/ca.key", "-out", "ca.pem")


def make_cert(file, name):
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{file}.key", "-out", "/root/one.csr")
    pathlib.Path("/root/one.ext").write_text(f"subjectAltName=DNS:{name}\n")
    openssl("x509", "-req", "-in", "/root/one.csr", "-CA", "ca.pem", "-CAkey",
            "/root/ca.key", "-CAcreateserial", "-CAserial", "/root/serial",
            "-days", "9", "-extfile", "/root/one.ext", "-out", f"{file}.pem")
    (TLS / f"{file}.key").chmod(0o600)


def served_serial():
    out = run("sh", "-c", "openssl s_client -connect localhost:9471 -cert "
              "agent.pem -key agent.key -CAfile ca.pem </dev/null 2>/dev/null "
              "| openssl x509 -noout -serial", cwd=TLS)
    return out.strip()


def installed():
    out = run("make", "-s", "-o", "all", "install", cwd=SRC)
    for path in ("/usr/bin/redtap-agent", "/usr/share/man/man8/redtap-agent.8",
                 "/lib/systemd/system/redtap-aggregator.service",
                 "/etc/default/redtap-agent", "/etc/redtap/agent.yml",
                 "/etc/redtap/aggregator.yml", "/etc/redtap/tls"):
        if not pathlib.Path(path).exists():
            raise Failure(f"{path} is missing: {out}")
    equal("mode of the keys' folder", oct(TLS.stat().st_mode & 0o777),
          "0o700")
    systemctl("daemon-reload")
    run("systemd-analyze", "verify", "--man=no", "redtap-agent.service",
        "redtap-aggregator.service")


def starts():
    """Configured by a file, by $REDTAP_ARGS, or not at all."""
    pathlib.Path("/etc/redtap/agent.yml").write_text(
        f"node: from-file\nselect:\n  include: {{ports: [{PORT}]}}\n")
    pathlib.Path("/etc/default/redtap-agent").write_text(
        'REDTAP_ARGS="--log.level=debug --flush=100ms"\n')
    pathlib.Path("/etc/redtap/aggregator.yml").unlink()
    systemctl("start", "redtap-aggregator", "redtap-agent")
    for unit in ("redtap-agent", "redtap-aggregator"):
        equal(f"state of {unit}", show(unit, "ActiveState"), "active")
    heard(0)
    body = get(9470, "/metrics")[1]
    if 'redtap_agent_up{node="from-file"} 1' not in body:
        raise Failure("the agent's file is not read")
    ask(101)
    all_counted()


def private():
    """No other user may read what was stored."""
    for path in ("/var/lib/private/redtap", "/var/lib/private/redtap-agent"):
        for at in [pathlib.Path(path), *pathlib.Path(path).iterdir()]:
            mode = at.stat().st_mode & 0o077
            equal(f"rights of others on {at}", oct(mode & 0o007), "0o0")


def reloads():
    pathlib.Path("/etc/redtap/aggregator.yml").write_text(
        "log: {level: debug}\n")
    before = show("redtap-aggregator", "MainPID")
    systemctl("reload", "redtap-aggregator", "redtap-agent")
    eventually("the reload is in the metrics", lambda: re.search(
        r"^redtap_config_last_reload_successful 1", get(9470, "/metrics")[1],
        re.M))
    equal("process", show("redtap-aggregator", "MainPID"), before)
    eventually("its log says so",
               lambda: "configuration reloaded" in journal())
    ask(103)
    all_counted()


def keys():
    """Only root may read them; the dynamic user gets them from systemd."""
    make_ca()
    make_cert("server", "localhost")
    make_cert("agent", "from-file")
    pathlib.Path("/etc/redtap/aggregator.yml").write_text(
        "ingest:\n  listen: ['tls+tcp://0.0.0.0:9471']\n"
        f"  ca_file: {CREDENTIALS}/tls_ca.pem\n"
        f"  cert_file: {CREDENTIALS}/tls_server.pem\n"
        f"  key_file: {CREDENTIALS}/tls_server.key\n")
    pathlib.Path("/etc/default/redtap-agent").write_text(
        'REDTAP_ARGS="--to=tls+tcp://localhost:9471 '
        f'--tls.ca-file={TLS}/ca.pem --tls.cert-file={TLS}/agent.pem '
        f'--tls.key-file={TLS}/agent.key"\n')
    since = time.time()
    systemctl("restart", "redtap-aggregator", "redtap-agent")
    heard(since)
    ask(107)
    all_counted()


def rotation():
    """
    New keys: the agent reads them by itself; for the aggregator there is a reload
    that says what to do, and nothing is lost while it restarts.
    """
    old = served_serial()
    pid = show("redtap-agent", "MainPID")
    make_cert("server", "localhost")
    make_cert("agent", "from-file")
    said = systemctl("reload", "redtap-aggregator", fail=True)
    if "systemctl restart redtap-aggregator" not in said + journal():
        raise Failure("it does not say what to do: " + said)
    equal("state", show("redtap-aggregator", "ActiveState"), "active")
    ask(109)
    systemctl("stop", "redtap-aggregator")
    ask(113)  # no aggregator receives them
    since = time.time()
    systemctl("start", "redtap-aggregator")
    heard(since)
    all_counted()
    if served_serial() == old:
        raise Failure("the old certificate is served")
    equal("agent's process", show("redtap-agent", "MainPID"), pid)
    systemctl("reload", "redtap-aggregator")


def upgrade():
    """`make install` over it: what was changed, stored and counted stays."""
    kept = pathlib.Path("/etc/redtap/agent.yml").read_text()
    run("make", "-s", "-o", "all", "install", cwd=SRC)
    equal("agent.yml", pathlib.Path("/etc/redtap/agent.yml").read_text(),
          kept)
    since = time.time()
    before = counted()
    systemctl("daemon-reload")
    systemctl("restart", "redtap-agent", "redtap-aggregator")
    heard(since)
    equal("counted after it", counted(), before)
    ask(127)
    all_counted()


def crashes():
    """Restart=on-failure, and the outbox: nothing lost, nothing twice."""
    for unit in ("redtap-aggregator", "redtap-agent"):
        pid = show(unit, "MainPID")
        ask(11)
        since = time.time()
        run("kill", "-9", pid)
        eventually(f"{unit} is back", lambda: show(unit, "MainPID") not in (
            pid, "0") and show(unit, "ActiveState") == "active")
        heard(since)
        ask(13)
    # What the killed agent had not packed yet, it can't send; so it waits.


def stops():
    ask(131)
    systemctl("stop", "redtap-agent")
    systemctl("stop", "redtap-aggregator")
    for unit in ("redtap-agent", "redtap-aggregator"):
        equal(f"result of {unit}", show(unit, "Result"), "success")
        equal(f"status of {unit}", show(unit, "ExecMainStatus"), "0")


def other_prefix():
    run("make", "-s", "-o", "all", "install", "PREFIX=/usr/local", cwd=SRC)
    unit = pathlib.Path(
        "/usr/local/lib/systemd/system/redtap-agent.service").read_text()
    if "ExecStart=/usr/local/bin/redtap-agent run " not in unit:
        raise Failure("the unit names another program")
    run("/usr/local/bin/redtap-agent", "version")
    run("make", "-s", "uninstall", "PREFIX=/usr/local", cwd=SRC)
    for path in ("/usr/local/bin/redtap-agent", "/usr/local/lib/systemd/"
                 "system/redtap-agent.service"):
        if pathlib.Path(path).exists():
            raise Failure(f"{path} is still there")


def uninstalled():
    out = run("make", "-s", "uninstall", cwd=SRC)
    for path in ("/usr/bin/redtap-agent", "/usr/bin/redtap-aggregator",
                 "/usr/share/man/man8/redtap-agent.8",
                 "/lib/systemd/system/redtap-agent.service",
                 "/etc/default/redtap-aggregator"):
        if pathlib.Path(path).exists():
            raise Failure(f"{path} is still there")
    for kept in ("/etc/redtap/agent.yml", "/var/lib/redtap"):
        if kept not in out:
            raise Failure(f"it does not tell of {kept}: {out}")


def main():
    run("mount", "-t", "tracefs", "nodev", "/sys/kernel/tracing")
    pathlib.Path("/etc/hosts").write_text("127.0.0.1 localhost\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for sentence, test in (
            ("make install puts programs, units and default files in place, "
             "and the units are valid", installed),
            ("the units start, with /etc/redtap/agent.yml, $REDTAP_ARGS and no "
             "aggregator.yml: counts are exact", starts),
            ("stores and outboxes are closed to others", private),
            ("systemctl reload applies a changed configuration", reloads),
            ("keys that only root may read serve the dynamic user: counts are "
             "exact over TLS", keys),
            ("keys are rotated: the agent reads them itself, the aggregator "
             "after a restart that loses nothing", rotation),
            ("an upgrade keeps configuration, store and counters", upgrade),
            ("the units come back after kill -9", crashes),
            ("the units stop with success", stops),
            ("PREFIX is honoured, and uninstalled again", other_prefix),
            ("make uninstall takes away what it brought, and keeps what was "
             "changed", uninstalled)):
        with case(sentence):
            test()
    shutil.rmtree("/var/lib/private", ignore_errors=True)
    print("# all done")


if __name__ == "__main__":
    main()

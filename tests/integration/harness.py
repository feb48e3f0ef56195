# SPDX-License-Identifier: Apache-2.0
"""
Starts a real aggregator and a real agent in a temporary directory, reads the
endpoint strictly, and reports results as `ok - sentence` lines. The truth that
tests compare with comes from the drivers, never from redtap itself.
"""

import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from marks import COUNTED, Marker, without_marks
# Tests get all of it from here.
from results import PATIENCE, Failure, Report, Skip, check, equal, \
    eventually, note, now  # noqa: F401
from scraped import Metrics, went_down  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("REDTAP_BUILD", ROOT / "build"))
AGENT = BUILD / "redtap-agent"
AGGREGATOR = BUILD / "redtap-aggregator"
FIRST_TRAFFIC_PORT, LAST_PORT = 21410, 21599  # 21400 to 21409 are ours
VERSION_LABEL = "network_protocol_version"
# The front-end that the agents use; "" for their own choice.
CAPTURE = os.environ.get("REDTAP_CAPTURE", "")
# An answer whose end is unknown is over after a second of silence, which the
# agent looks for five times a second.
IDLE_S = 1.3


# --- processes ---------------------------------------------------------------

class Process:
    """A program with its output in a file; always ended by its own pid."""

    def __init__(self, argv, log, **kwargs):
        self.name = pathlib.Path(str(argv[0])).name
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(a) for a in argv], stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, **kwargs)
        self.pid = self.popen.pid

    def tail(self, lines=15):
        return "\n".join(self.log.read_text(
            errors="replace").splitlines()[-lines:])

    def alive(self):
        return self.popen.poll() is None

    def stop(self, sig=signal.SIGTERM, timeout_s=60.0):
        """Sends the signal and returns the exit status."""
        if self.alive():
            self.popen.send_signal(sig)
        try:
            return self.popen.wait(timeout_s * PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise Failure(f"{self.name} did not end within {timeout_s} s of "
                          f"signal {sig}:\n{self.tail()}") from None


def http_get(port, path, headers=None, timeout_s=10.0 * PATIENCE):
    """(status, headers, body) of one GET on loopback."""
    conn = http.client.HTTPConnection("127.0.0.1", port,
                                      timeout=timeout_s * PATIENCE)
    try:
        conn.request("GET", path, headers=headers or {})
        response = conn.getresponse()
        return response.status, response.headers, response.read()
    finally:
        conn.close()


def port_open(port, host="127.0.0.1"):
    import socket
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) \
            as s:
        s.settimeout(1)
        return s.connect_ex((host, port)) == 0


class Redtap:
    """An aggregator and an agent of our own; use it with `with`."""

    NODE = "testnode"

    def __init__(self, web, config=(), agent_flags=(), aggregator_flags=()):
        for program in (AGENT, AGGREGATOR):
            if not program.exists():
                raise Failure(f"{program} is not built")
        self.web, self.ingest = web, web + 1
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="redtap-it-"))
        os.chmod(self.dir, 0o755)
        self.store = self.dir / "store"
        self.store.mkdir()
        self.config = list(config)  # lines of YAML behind select.include
        self.agent_flags = list(agent_flags)
        if CAPTURE:
            self.agent_flags.append(f"--capture={CAPTURE}")
        self.aggregator_flags = list(aggregator_flags)
        self.agent = self.aggregator = self.marker = None
        self.extra = []

    def __enter__(self):
        # The ports are ours alone: one suite at a time on a machine.
        self.lock = open("/tmp/redtap-integration.lock", "w",
                         encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind, value, trace):
        for process in [self.agent, *self.extra, self.aggregator]:
            if process and process.alive():
                with contextlib.suppress(Failure):
                    process.stop()
        if self.marker:
            self.marker.stop()
        if os.environ.get("REDTAP_KEEP"):
            note(f"kept {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        self.lock.close()

    def spawn(self, argv, name, **kwargs):
        """A helper program that ends with us at the latest."""
        process = Process(argv, self.dir / f"{name}.log", **kwargs)
        self.extra.append(process)
        return process

    def write_config(self):
        """Our ports only, so that other traffic of this host stays out."""
        lines = [f"node: {self.NODE}", "select:", "  include:",
                 f'    ports: ["{FIRST_TRAFFIC_PORT}-{LAST_PORT}"]']
        path = self.dir / "agent.yaml"
        path.write_text("\n".join(lines + self.config) + "\n")
        return path

    def start_aggregator(self, wait=True):
        self.aggregator = Process(
            [AGGREGATOR, "serve", f"--web.listen-address=127.0.0.1:{self.web}",
             f"--ingest.listen=tcp://127.0.0.1:{self.ingest}",
             f"--store.dir={self.store}", *self.aggregator_flags],
            self.dir / "aggregator.log")
        if wait:
            self.wait_ready()

    def wait_ready(self):
        def ready():
            check(self.aggregator.alive(), "the aggregator ended:\n"
                  + self.aggregator.tail())
            with contextlib.suppress(OSError, http.client.HTTPException):
                return http_get(self.web, "/-/ready")[0] == 200
        eventually("the aggregator is ready", ready)

    def start_agent(self, wait=True):
        started = self.agents() if wait else None
        self.agent = Process(
            [AGENT, "run", f"--to=tcp://127.0.0.1:{self.ingest}",
             f"--config.file={self.write_config()}", *self.agent_flags],
            self.dir / "agent.log")
        if wait:
            self.wait_agent(started)

    def wait_agent(self, before):
        """Until the agent's hooks are attached and its first batch is in."""
        name = "redtap_agent_last_seen_timestamp_seconds"
        old = before.sum(name, node=self.NODE)

        def seen():
            check(self.agent.alive(), "the agent ended:\n" + self.agent.tail())
            m = self.agents()
            return m.sum(name, node=self.NODE) > old and \
                m.sum("redtap_agent_up", node=self.NODE) == 1
        eventually("the agent reports", seen)

    def start(self):
        self.start_aggregator()
        self.start_agent()
        return self

    def metrics(self):
        status, headers, body = http_get(self.web, "/metrics")
        equal("status of /metrics", status, 200)
        equal("content type", headers["Content-Type"],
              "text/plain; version=0.0.4; charset=utf-8")
        return without_marks(Metrics(body.decode("utf-8")), self.NODE)

    def agents(self):
        """Only what is said of agents: cheap enough to poll."""
        return self.lines("redtap_agent_")

    def lines(self, *families):
        """The families whose names begin like that."""
        body = http_get(self.web, "/metrics")[2].decode("utf-8")
        return Metrics("".join(
            line + "\n" for line in body.splitlines()
            if line.removeprefix("# HELP ").removeprefix("# TYPE ")
            .startswith(families)))

    def capture(self):
        """Name of the front-end that the agent has chosen."""
        info = self.agents().select("redtap_agent_info", node=self.NODE)
        return dict(next(iter(info)))["capture"]

    def audit(self, m):
        """(captured, counted, dropped) of our node."""
        return (m.sum("redtap_agent_events_captured_total", node=self.NODE),
                m.sum("redtap_agent_events_counted_total", node=self.NODE),
                m.sum("redtap_agent_events_dropped_total", node=self.NODE))

    def quiet(self, timeout_s=60.0):
        """
        The scrape once all that happened before this call is in it, whatever
        the agent counts of it, and captured = counted + dropped. What only
        time shows to be complete is so IDLE_S later; a mark that is made then
        arrives after it.
        """
        time.sleep(IDLE_S)
        if not self.marker:
            self.marker = Marker()
        self.marker.lot += 1
        families = "redtap_agent_events_", COUNTED
        before = self.marker.counted(self.lines(*families))
        end, again = now() + timeout_s * PATIENCE, now()
        while True:
            if now() >= again:  # it may be lost like any other
                self.marker.make()
                again = now() + 3 * PATIENCE
            m = self.lines(*families)
            captured, counted, dropped = self.audit(m)
            seen = self.marker.counted(m) > before
            if seen and captured == counted + dropped:
                return self.metrics()
            if now() > end:
                raise Failure(
                    f"not quiet: captured {captured:.0f}, counted "
                    f"{counted:.0f}, dropped {dropped:.0f}, the mark was "
                    + ("" if seen else "not ") + "seen")
            time.sleep(0.05)

    def finish(self, report):
        """Both programs end by SIGTERM with status 0 and were never down."""
        with report.case("the agent ran to the end and stops with status 0"):
            check(self.agent.alive(), "it had ended:\n" + self.agent.tail())
            equal("exit status", self.agent.stop(), 0)
        with report.case("the aggregator ran to the end and stops with "
                         "status 0"):
            check(self.aggregator.alive(),
                  "it had ended:\n" + self.aggregator.tail())
            equal("exit status", self.aggregator.stop(), 0)


# --- truth against exposition -------------------------------------------------

FAMILY = {"server": "http_server_request_duration_seconds",
          "client": "http_client_request_duration_seconds"}


class Request:
    """What a driver knows about one request; times in s, None: not known."""

    def __init__(self, role, method, route, status, error=None, version="1.1",
                 low_s=0.0, high_s=None):
        if error is None and status is not None:
            if status >= (500 if role == "server" else 400):
                error = str(status)
        self.key = (method, route if role == "server" else None,
                    str(status) if status else None, error, version)
        self.role, self.low_s, self.high_s = role, low_s, high_s


def series_key(role, labels):
    labels = dict(labels)
    return (labels.get("http_request_method"),
            labels.get("http_route") if role == "server" else None,
            labels.get("http_response_status_code"),
            labels.get("error_type"), labels.get(VERSION_LABEL))


def observed(m, role, job):
    """{key: (count, sum, {bound: cumulative})} of one job, over instances."""
    name = FAMILY[role]
    out = {}
    for labels, count in m.select(name + "_count", job=job).items():
        key = series_key(role, labels)
        have = out.setdefault(key, [0, 0.0, {}])
        have[0] += int(count)
        have[1] += m.samples[name + "_sum"].get(labels, 0.0)
    for labels, value in m.select(name + "_bucket", job=job).items():
        have = out.setdefault(series_key(role, labels), [0, 0.0, {}])
        bound = float(dict(labels)["le"])
        have[2][bound] = have[2].get(bound, 0) + int(value)
    return out


def differences(m, job, requests):
    """
    Lines that say where the exposition of `job` differs from what the drivers
    did: label sets, counts, sums of durations, buckets.
    """
    out = []
    for role in ("server", "client"):
        want = {}
        for r in requests:
            if r.role == role:
                want.setdefault(r.key, []).append(r)
        got = observed(m, role, job)
        for key in sorted(set(want) | set(got), key=repr):
            have = got.get(key, (0, 0.0, {}))
            expected = want.get(key, [])
            if have[0] != len(expected):
                out.append(f"{role} {key}: counted {have[0]}, "
                           f"sent {len(expected)}")
                continue
            out += duration_differences(f"{role} {key}", have, expected)
    return out


def duration_differences(name, have, expected):
    out = []
    n = len(expected)
    slack = n * 2e-6 + 1e-9  # durations are whole microseconds
    low = sum(r.low_s for r in expected)
    if have[1] < low - slack:
        out.append(f"{name}: sum {have[1]:.6f} s < {low:.6f} s")
    if all(r.high_s is not None for r in expected):
        high = sum(r.high_s for r in expected)
        if have[1] > high + slack:
            out.append(f"{name}: sum {have[1]:.6f} s > {high:.6f} s")
    for bound, count in have[2].items():
        least = sum(1 for r in expected
                    if r.high_s is not None and r.high_s + 2e-6 <= bound)
        most = sum(1 for r in expected if r.low_s - 2e-6 <= bound)
        if not least <= count <= most:
            out.append(f"{name}: {count} at le={bound}, "
                       f"must be {least} to {most}")
    return out


def agree(m, job, requests):
    lines = differences(m, job, requests)
    check(not lines, "\n".join(["they differ"] + lines))


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line]

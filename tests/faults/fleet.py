# SPDX-License-Identifier: Apache-2.0
"""
What the proofs of docs/GUARANTEES.md share: an aggregator with a store of its
own, agents with the real packer, outbox and uplink (tests/crash/crash.c) whose
requests depend on the sequence number only, and the comparison of what they
sent with what the endpoint shows.
"""

import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "integration"))
from harness import AGENT, AGGREGATOR, BUILD, Failure, Metrics, Process, \
    check, equal, eventually, http_get, went_down  # noqa: E402

CRASH = BUILD / "tests" / "crash" / "crash"
LASTING = ("http_", "redtap_http_", "redtap_agent_events_",
           "redtap_agent_batches_", "redtap_aggregator_batches_total",
           "redtap_aggregator_events_total")


class Wrong(Failure):
    """Counted wrongly: what was sent and what is there are known."""

    def __init__(self, text, sent, counted, lost, twice):
        super().__init__(text)
        self.sent, self.counted = sent, counted
        self.lost, self.twice = lost, twice


def requests_of(sequence):
    """As in crash.c."""
    return 1 + sequence * 7919 % 211


def truth_of(last):
    """(requests, microseconds) of the batches 1 to last; see crash.c."""
    n = us = 0
    for k in range(1, last + 1):
        rows = requests_of(k)
        n += rows
        us += sum((k * 31 + i * 977) % 1300000 for i in range(rows))
    return n, us


def status_of(pid):
    """{field: text} of /proc/PID/status."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines()
                if ":\t" in line)


def rss_bytes(pid):
    return int(status_of(pid)["VmRSS"].split()[0]) * 1024


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Fleet:
    """Use it with `with`: ends what it started, by pid."""

    def __init__(self, port, agents=8, store=None, flags=()):
        self.web, self.ingest = port, port + 1
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="redtap-faults-"))
        self.store = pathlib.Path(store or self.dir / "store")
        self.flags = list(flags)
        self.count = agents
        self.agents = {}
        self.processes = []
        self.aggregator = None
        self.last, self.went_down, self.scrapes = None, [], 0
        self.ca = self.lock = None

    def __enter__(self):
        # The ports are ours alone: whoever wants the same ones waits.
        self.lock = open(f"/tmp/redtap-fleet-{self.web}.lock", "w",
                         encoding="ascii")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind, value, trace):
        for p in self.processes:
            if p.alive():
                p.popen.send_signal(signal.SIGCONT)
                p.popen.kill()
                p.popen.wait()
        if kind is None:
            shutil.rmtree(self.dir, ignore_errors=True)
        else:
            print(f"# what is left is in {self.dir}", flush=True)
        self.lock.close()

    # ---- programs

    def start_aggregator(self, *flags, wait=True, listen=None, prefix=()):
        self.aggregator = Process(
            [*prefix, AGGREGATOR, "serve",
             f"--web.listen-address=127.0.0.1:{self.web}",
             f"--ingest.listen={listen or 'tcp://127.0.0.1:%d' % self.ingest}",
             f"--store.dir={self.store}", "--store.checkpoint=1s",
             *self.flags, *flags], self.dir / "aggregator.log")
        self.processes.append(self.aggregator)
        if wait:
            self.wait_ready()

    def readiness(self):
        """(status, text), or None: it is not there."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _, body = http_get(self.web, "/-/ready")
            return status, body.decode()
        return None

    def wait_ready(self, want=200, timeout_s=20):
        def is_so():
            check(self.aggregator.alive(), "the aggregator ended:\n"
                  + self.aggregator.tail())
            answer = self.readiness()
            return answer if answer and answer[0] == want else None
        return eventually(f"/-/ready is {want}", is_so, timeout_s)[1]

    def start_agents(self, url=None, durable=False, cap=None, tick_us=4000,
                     prefix=()):
        for i in range(self.count):
            name = f"fault-{i}"
            outbox = str(self.dir / f"outbox-{i}") if durable else ""
            argv = [*prefix, CRASH, "agent", name,
                    url or f"tcp://127.0.0.1:{self.ingest}", outbox,
                    self.dir / f"done-{i}"]
            if cap or tick_us != 4000:
                argv += [cap or 64 << 20, tick_us]
            self.agents[name] = Process(argv, self.dir / f"{name}.log")
            self.processes.append(self.agents[name])
        eventually("all agents are heard", lambda: len(self.look().select(
            "redtap_agent_up")) >= self.count, 20)

    def stop_agents(self):
        """
        Lets them end: each drains its outbox, as long as that makes progress;
        one that is stuck says so and ends. Their last sequences.
        """
        for p in self.agents.values():
            p.popen.send_signal(signal.SIGTERM)
        for name, p in self.agents.items():
            status = p.popen.wait()
            check(status == 0, f"{name} ended with {status}: {p.tail()}")
        return {name: int((self.dir / f"done-{name[6:]}").read_text())
                for name in self.agents}

    # ---- what the endpoint shows

    def metrics(self):
        return Metrics(http_get(self.web, "/metrics")[2].decode())

    def look(self):
        """A scrape; counters that went down since the last are noted."""
        m = self.metrics()
        lasting = Metrics()
        lasting.samples = m.samples
        lasting.families = {name: entry for name, entry in m.families.items()
                            if name.startswith(LASTING)}
        if self.last:
            self.went_down += went_down(self.last, lasting)
        self.last = lasting
        self.scrapes += 1
        return m

    def database(self, query, *values):
        """What the store answers; it may be in use."""
        with contextlib.closing(sqlite3.connect(
                f"file:{self.store}/redtap.db?mode=ro", uri=True)) as db:
            return db.execute(query, values).fetchall()

    def try_look(self):
        with contextlib.suppress(OSError, http.client.HTTPException, Failure):
            return self.look()
        return None

    def judge(self, last):
        """
        (sent, counted, rolled up), once each agent's requests and durations
        are those that were sent and no counter ever went down.
        """
        m = self.look()
        sent = counted = lost = twice = 0
        wrong = []
        for name, sequence in last.items():
            n, us = truth_of(sequence)
            have = int(m.sum("redtap_http_requests_total", job=name))
            got = [have, round(1e6 * m.sum(
                "http_server_request_duration_seconds_sum", job=name))] + \
                account_of(m, name)
            if got != [n, us, n, n, 0]:
                wrong.append(f"{name}: requests, microseconds, captured, "
                             f"counted, dropped: got {got}, want "
                             f"{[n, us, n, n, 0]}")
            sent, counted = sent + n, counted + have
            lost, twice = lost + max(0, n - have), twice + max(0, have - n)
        wrong += self.went_down[:5]
        if wrong:
            raise Wrong("\n".join(wrong), sent, counted, lost, twice)
        return sent, counted, int(sum(m.sum(
            "redtap_agent_events_rolled_up_total", node=name)
            for name in last))


def account_of(m, node):
    """[captured, counted, dropped] of an agent."""
    return [int(m.sum(f"redtap_agent_events_{what}_total", node=node))
            for what in ("captured", "counted", "dropped")]


def accounts_balance(m):
    """captured = counted + dropped for every agent; how many there are."""
    nodes = sorted({dict(labels)["node"] for labels in m.select(
        "redtap_agent_events_captured_total")})
    for node in nodes:
        captured, counted, dropped = account_of(m, node)
        equal(f"{node}: counted + dropped", counted + dropped, captured)
    return len(nodes)


# ---- a made fleet

def synth(fleet, *flags, timeout_s=120):
    """Runs redtap-agent synth to its end: the truth as it prints it."""
    out = subprocess.run(
        [AGENT, "synth", f"--to=tcp://127.0.0.1:{fleet.ingest}", *flags],
        capture_output=True, text=True, timeout=timeout_s, check=False)
    check(out.returncode == 0, f"synth: {out.stderr}")
    return json.loads(out.stdout)


def start_synth(fleet, *flags):
    """In the background; its truth will be in fleet.dir/truth."""
    p = Process([AGENT, "synth", f"--to=tcp://127.0.0.1:{fleet.ingest}",
                 f"--truth={fleet.dir}/truth", "--settle=60s",
                 "--reply-timeout=2s", *flags], fleet.dir / "synth.log")
    fleet.processes.append(p)
    return p


def compare(fleet, truth, before=None, namespace="synth/"):
    """The endpoint has each series of the truth exactly; how many requests."""
    m = fleet.metrics()
    got = {}
    for name, i, scale in (
            ("http_server_request_duration_seconds_count", 0, 1),
            ("http_server_request_duration_seconds_sum", 1, 1e6)):
        for labels, v in m.samples.get(name, {}).items():
            labels = dict(labels)
            if not labels["job"].startswith(namespace):
                continue
            key = (labels["job"][len(namespace):], labels["http_route"],
                   labels["http_request_method"],
                   int(labels.get("http_response_status_code", 0)))
            entry = got.setdefault(key, [0, 0])
            entry[i] += round(v * scale)
    want = {}
    for s in truth["series"]:
        key = (s["service"], s["route"], s["method"], s["status"])
        entry = want.setdefault(key, [0, 0])
        entry[0] += s["count"]
        entry[1] += s["duration_us_sum"]
    if before:
        for key, (n, us) in before.items():
            entry = want.setdefault(key, [0, 0])
            entry[0] += n
            entry[1] += us
    wrong = [f"{key}: got {got.get(key)}, sent {want.get(key)}"
             for key in sorted(set(got) | set(want))
             if got.get(key) != want.get(key)]
    check(not wrong, "\n".join([f"{len(wrong)} series differ"] + wrong[:5]))
    check(accounts_balance(m) > 0, "no agent is known")
    return sum(n for n, _ in got.values()), got


def wait_s(seconds, each=None, every_s=0.2):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if each:
            each()
        time.sleep(every_s)

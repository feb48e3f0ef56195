#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The page's endpoints under stress: a tail through a kill -9, crowds of long
polls and slow readers, wrong passwords, tags of other users, an old store.
"""

import base64
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

import page
from harness import AGENT, BUILD, Redtap, Report, Skip, check, equal, eventually, \
    http_get, note

PORT = 21724
LOTS, LOT, FAILED = 10, 1000, 100
WAITING_MAX = 64  # WEB_TAILS_MAX


def push(rt, agent, lines):
    subprocess.run([str(BUILD / "tests/integration/push"),
                    f"tcp://127.0.0.1:{rt.ingest}", agent],
                   input="".join(lines).encode(), check=True, timeout=60)


def lot():
    """A thousand requests; every tenth failed."""
    return [f"{1000 + i} {500 if i % (LOT // FAILED) == 0 else 200} 0\n"
            for i in range(LOT)]


class Tail(threading.Thread):
    """Follows the failures as a client does, also while no answer comes."""

    def __init__(self, rt):
        super().__init__(daemon=True)
        self.rt, self.ids, self.shown, self.skipped = rt, [], 0, 0
        self.stopping = False
        self.next = page.api(rt, "tail", errors=1)["next"]
        self.start()

    def run(self):
        while not self.stopping:
            try:
                status, _, body = http_get(
                    self.rt.web, f"/api/v1/tail?errors=1&limit=50&wait=2"
                    f"&after={self.next}", timeout_s=30)
                if status != 200:
                    time.sleep(0.1)
                    continue
                d = json.loads(body)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            self.next = d["next"]
            self.shown += d["shown"]
            self.skipped += d["skipped"]
            self.ids += d["requests"]["id"]
            assert d["matched"] == d["shown"] + d["skipped"]


def tail_through_a_crash(rt, browser):
    client = Tail(rt)
    if browser:
        browser.open()
        browser.goto(".empty", v="tail", errors="1")
    for i in range(LOTS):
        push(rt, f"tail-{i}", lot())
        if i == LOTS // 2:
            rt.aggregator.stop(signal.SIGKILL)
            rt.start_aggregator()
    want = LOTS * FAILED
    eventually("all failures arrived", lambda: client.shown + client.skipped
               >= want, timeout_s=20)
    client.stopping = True
    client.join(30)
    equal("shown and skipped", client.shown + client.skipped, want)
    check(client.skipped > 0, "nothing was skipped: the limit does nothing")
    places = [tuple(map(int, i.split("-"))) for i in client.ids]
    equal("in order, and each once", places, sorted(set(places)))
    if not browser:
        return

    def told():
        got = [int(x.replace(",", "")) for x in browser.do(
            "texts", selector="[data-shown], [data-skipped]")]
        return sum(got) == want
    eventually("the page's tail has them all", told, timeout_s=20)
    ids = browser.do("evaluate", js="""[...document.querySelectorAll(
        'tbody a[href*="v=request&"]')].map((a) => a.title)""")
    places = [tuple(map(int, i.split("-"))) for i in ids]
    equal("newest first", places, sorted(set(places), reverse=True))


# --- crowds -------------------------------------------------------------------

def connect(rt, request):
    s = socket.create_connection(("127.0.0.1", rt.web), timeout=60)
    s.sendall(request.encode())
    return s


def answer(s):
    """Status of an answer that is read to its end."""
    response = http.client.HTTPResponse(s)
    response.begin()
    response.read()
    s.close()
    return response.status


def memory(rt):
    text = pathlib.Path(f"/proc/{rt.aggregator.pid}/status").read_text()
    return {line.split(":")[0]: int(line.split()[1])
            for line in text.splitlines()
            if line.startswith(("VmRSS", "Threads"))}


def crowd_of_tails(rt):
    """200 browsers ask to wait: as many as the cap allows do."""
    after = page.api(rt, "tail")["next"]
    before = memory(rt)
    waiting = [connect(rt, f"GET /api/v1/tail?after={after}&wait=5 "
                       "HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(200)]
    time.sleep(1)
    begun = time.monotonic()
    equal("the page meanwhile", http_get(rt.web, "/api/v1/services")[0], 200)
    equal("metrics meanwhile", http_get(rt.web, "/metrics")[0], 200)
    took = time.monotonic() - begun
    now = memory(rt)
    note(f"200 tails: {now['VmRSS'] - before['VmRSS']} KiB more, "
         f"services and metrics in {took * 1000:.0f} ms")
    equal("threads", now["Threads"], before["Threads"])
    check(now["VmRSS"] - before["VmRSS"] < 32 * 1024,
          f"{before} became {now}")
    statuses = [answer(s) for s in waiting]
    equal("waited to the end", statuses.count(200), WAITING_MAX)
    equal("told to come again", statuses.count(503), 200 - WAITING_MAX)
    m = rt.lines("redtap_aggregator_http_refused_total")
    check(m.sum("redtap_aggregator_http_refused_total")
          >= 200 - WAITING_MAX, "refusals are not counted")


def slow_readers(rt):
    """Clients that read nothing hold their answers' memory, and no thread."""
    before = memory(rt)
    path = "/api/v1/requests?limit=1000&range=86400"
    readers = []
    for _ in range(100):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", rt.web))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        readers.append(s)
    begun = time.monotonic()
    equal("the page meanwhile", eventually(
        "an answer", lambda: http_get(rt.web, "/api/v1/agents")[0] == 200),
        True)
    note(f"100 slow readers: an answer to another in "
         f"{(time.monotonic() - begun) * 1000:.0f} ms")
    now = memory(rt)
    equal("threads", now["Threads"], before["Threads"])
    check(now["VmRSS"] - before["VmRSS"] < 160 * 1024,
          f"{before} became {now}")
    for s in readers:
        s.close()


# --- users --------------------------------------------------------------------

def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(
        f"{user}:{password}".encode()).decode()}


def users(rt):
    """A wrong password tells nothing; a tag is good for its user only."""
    try:
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import crypt
    except ImportError:
        raise Skip("python without crypt") from None
    hashed = {u: crypt.crypt(p, "$2b$04$abcdefghijklmnopqrstuu")
              for u, p in (("alice", "wonder"), ("bob", "builder"))}
    if not all(h and h.startswith("$2b$") for h in hashed.values()):
        raise Skip("crypt has no bcrypt")
    path = rt.dir / "web.yml"
    path.write_text("basic_auth_users:\n" + "".join(
        f"  {u}: {h}\n" for u, h in hashed.items()))
    rt.aggregator.stop()
    rt.aggregator_flags = [f"--web.config.file={path}"]
    rt.start_aggregator(wait=False)
    eventually("it answers", lambda: answers(rt) == 401)
    question = "/api/v1/service?service=pushed&from=100&to=200"
    for place in ("/", question, "/assets/x.js", "/api/v1/tail",
                  "/no/such/page", "/api/v1/requests/1-0"):
        bodies = set()
        for headers in ({}, basic("alice", "x"), basic("mallory", "wonder")):
            status, got, body = http_get(rt.web, place, headers)
            equal(f"status of {place}", status, 401)
            check("ETag" not in got and "Content-Security-Policy" not in got,
                  got)
            bodies.add(body)
        equal(f"answers of {place}", bodies, {b"unauthorized\n"})
    alice, bob = basic("alice", "wonder"), basic("bob", "builder")
    status, got, _ = http_get(rt.web, "/", alice)
    equal("alice's page", status, 200)
    tag = {"If-None-Match": got["ETag"]}
    equal("alice again", http_get(rt.web, "/", {**alice, **tag})[0], 304)
    equal("bob with alice's tag",
          http_get(rt.web, "/", {**bob, **tag})[0], 200)
    equal("alice's tag without a password", http_get(rt.web, "/", tag)[0], 401)
    rt.aggregator.stop()
    rt.aggregator_flags = []
    rt.start_aggregator()


def answers(rt):
    try:
        return http_get(rt.web, "/")[0]
    except OSError:
        return None


# --- questions ----------------------------------------------------------------

def refused(rt):
    """What is wrong with an argument is said, by its name."""
    for path, where in (
            ("services?range=1", "range"), ("services?from=x", "from"),
            ("services?order=colour", "order"), ("services?limit=0", "limit"),
            ("services?role=both", "role"), ("services?step=7", "step"),
            ("services?range=86400&step=10", "step"),
            ("service", "service"), ("service?service=x&limit=1e9", "limit"),
            ("graph?hops=9", "hops"), ("graph?by=node", "by"),
            ("requests?min=-1", "min"), ("requests?max=nan", "max"),
            ("requests?status=teapot", "status"),
            ("requests?after=12", "after"), ("requests?order=x", "order"),
            ("tail?after=-1", "after"), ("tail?limit=1001", "limit"),
            ("agents?order=x", "order"), ("cardinality?view=x", "view")):
        status, _, body = http_get(rt.web, "/api/v1/" + path)
        equal(f"{path}: {body}", (status, json.loads(body)["where"]),
              (400, where))
    long = urllib.parse.quote("x" * 4000)
    equal("4,000 characters", http_get(
        rt.web, f"/api/v1/services?filter={long}")[0], 200)


def tiers(rt):
    """A long range reads hours and minutes, and counts the same."""
    short = page.api(rt, "services", range=3600)
    want = short["sum"]["count"]
    for step in (10, 60, 300, 3600):
        end = int(time.time()) // 3600 * 3600 + 3600
        d = page.api(rt, "services", step=step,
                     **{"from": end - 7200, "to": end})
        equal(f"requests by {step} s", d["sum"]["count"], want)
        equal(f"points of {step} s", sum(d["series"]["count"]), want)
        equal("p99", d["sum"]["p99"], short["sum"]["p99"])
    day = page.api(rt, "services", range=7 * 86400)
    equal("a week", day["sum"]["count"], want)


def unknown_durations(rt):
    """Logs without durations: 7 requests; with them: 3 of 250 ms."""
    now = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    line = f'10.0.0.1 - - [{now}] "GET /orders/1 HTTP/1.1" 200 12 "-" "c/1"'
    for name, text, fmt, n in (("no.log", line, "combined", 7),
                               ("yes.log", line + " 0.250",
                                "combined+time", 3)):
        file = rt.dir / name
        file.write_text((text + "\n") * n)
        subprocess.run([str(AGENT), "replay", f"--format={fmt}",
                        "--service=untimed", f"--as={name}",
                        f"--to=tcp://127.0.0.1:{rt.ingest}", str(file)],
                       check=True, timeout=60, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    eventually("windows have them", lambda: page.api(
        rt, "services", filter="untimed")["sum"]["count"] == 10)
    d = page.api(rt, "services", filter="untimed")["services"]
    equal("requests", d["count"], [10])
    equal("mean", d["mean"], [0.25])
    check(0.2 < d["p50"][0] <= 0.3, f"the median is {d['p50']}")
    r = page.api(rt, "requests", service="untimed")["requests"]
    equal("durations", sorted(r["duration"], key=str),
          [0.25] * 3 + [None] * 7)
    equal("first bytes", r["time_to_first_byte"].count(None), 7)
    for bounds in ({"min": 0.1}, {"max": 1}):
        got = page.api(rt, "requests", service="untimed", **bounds)
        equal(f"matched {bounds}", got["matched"], 3)
    got = page.api(rt, "service", service="untimed", cells=1)
    equal("mean of the service", got["sum"]["mean"], 0.25)


def main():
    page.alone()
    report = Report()
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        with report.case("of 200 tails 64 wait, and the others do not"):
            crowd_of_tails(rt)
        browser = None
        with report.case("a browser starts"):
            browser = page.Browser(f"http://127.0.0.1:{PORT}/")
        with report.case("a tail tells each of 1,000 failures among 10,000 "
                         "requests once, through a kill -9"):
            tail_through_a_crash(rt, browser)
        if browser:
            browser.close()
        for sentence, fn in (
                ("wrong arguments are refused by their names", refused),
                ("hours, minutes and 10 seconds count the same", tiers),
                ("requests of unknown duration count, but in no duration",
                 unknown_durations),
                ("slow readers do not hold up others", slow_readers),
                ("a wrong password tells nothing, and tags are one user's",
                 users)):
            with report.case(sentence):
                fn(rt)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Real programs, compared with what they count themselves: nginx by its access
log and stub_status under wrk at full speed, python's http.server by its log,
node by its own counters, curl by what it prints.
"""

import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from harness import FAMILY, Redtap, Report, Skip, check, equal, eventually, \
    http_get, note, port_open, series_key

NGINX_PORT, STATUS_PORT, PYTHON_PORT, NODE_PORT = 21510, 21409, 21512, 21513
SECONDS, CONNECTIONS = 3, 16
CONFIG = ["  exclude:", "    executables: [quietwrk]",
          "services:", f"  - port: {NGINX_PORT}", "    service: nginx-it"]

NGINX = """
daemon off; worker_processes 1; user root; pid nginx.pid;
error_log error.log;
events {{ worker_connections 512; }}
http {{
	log_format short '$request_method $uri $status $bytes_sent '
		'$request_completion.';
	access_log access.log short buffer=1m;
	keepalive_requests 100000000; keepalive_timeout 60s;
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
	uwsgi_temp_path tmp; scgi_temp_path tmp; sendfile on;
	server {{ listen 127.0.0.1:{port}; root www; }}
	server {{ listen 127.0.0.1:{status}; access_log off;
		location / {{ stub_status; }} }}
}}
"""


def need(program):
    if not shutil.which(program):
        raise Skip(f"{program} is not installed")


def service(name):
    return dict(os.environ, OTEL_SERVICE_NAME=name)


def counts(m, role, **want):
    """{(method, route, status, error): count} of the series with labels want."""
    out = collections.Counter()
    for labels, n in m.select(FAMILY[role] + "_count", **want).items():
        out[series_key(role, labels)[:4]] += int(n)
    return dict(out)


# --- nginx --------------------------------------------------------------------

class Nginx:
    """Our own nginx, whose log and status are the truth."""

    def __init__(self, rt, name):
        self.dir = rt.dir / name
        (self.dir / "www").mkdir(parents=True)
        (self.dir / "www" / "index.html").write_text("x" * 612)
        conf = self.dir / "nginx.conf"
        conf.write_text(NGINX.format(port=NGINX_PORT, status=STATUS_PORT))
        self.process = rt.spawn(["nginx", "-p", self.dir, "-c", conf], name)
        eventually("nginx listens", lambda: port_open(STATUS_PORT))
        self.asked = 0

    def requests(self):
        """What stub_status counts, without our own questions for it."""
        body = http_get(STATUS_PORT, "/")[2].decode()
        self.asked += 1
        return int(re.search(r"\n (\d+) (\d+) (\d+)", body).group(3)) \
            - self.asked

    def stop(self):
        """
        {(method, route, status, error)} of the whole access log. An answer
        that was not completed, or did not send a byte, met a reset.
        """
        equal("exit status of nginx", self.process.stop(signal.SIGQUIT), 0)
        out = collections.Counter()
        with open(self.dir / "access.log", encoding="ascii") as log:
            for line, n in collections.Counter(log).items():
                method, uri, status, sent, end = line.split()
                error = None if end == "OK." else "connection_reset"
                out[method, uri, status if sent != "0" else None, error] += n
        return dict(out)


def wrk(program):
    """Two at once, for a file and for one that is missing: what they saw."""
    runs = [subprocess.Popen(
        [program, "-t1", f"-c{CONNECTIONS // 2}", f"-d{SECONDS}s",
         f"http://127.0.0.1:{NGINX_PORT}{path}"], stdout=subprocess.PIPE,
        text=True, env=service("wrk-it"))
        for path in ("/index.html", "/missing")]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    equal("exit statuses of wrk", [run.returncode for run in runs], [0, 0])
    totals = [int(re.search(r"(\d+) requests in", out).group(1))
              for out in outputs]
    return {("GET", None, "200", None): totals[0],
            ("GET", None, "404", "404"): totals[1]}


def nginx_server(rt, report):
    """wrk is not watched here, so that drops can only be nginx's requests."""
    need("nginx")
    need("wrk")
    before = rt.metrics()
    nginx = Nginx(rt, "nginx-alone")
    quiet_wrk = rt.dir / "quietwrk"
    shutil.copy(shutil.which("wrk"), quiet_wrk)
    wrk(quiet_wrk)
    counted_by_status = nginx.requests()
    truth = nginx.stop()
    equal("stub_status and access log", counted_by_status,
          sum(truth.values()))
    delta = rt.quiet().minus(before)
    got = counts(delta, "server", job="nginx-it")
    dropped = int(rt.audit(delta)[2])
    total = sum(truth.values())
    equal("lost in gaps", by_stage(delta).get("gap", 0), 0)
    note(f"nginx: {total} requests in {SECONDS} s ({total // SECONDS}/s), "
         f"counted {sum(got.values())}, dropped {dropped} {by_stage(delta)}")
    if dropped:
        equal("nginx's requests - ours = dropped",
              total - sum(got.values()), dropped)
    else:
        equal("requests by status", got, truth)
    equal("excluded client", counts(delta, "client", job="wrk-it"), {})
    nbytes = delta.sum("redtap_aggregator_received_bytes_total")
    events = delta.sum("redtap_aggregator_events_total")
    note(f"{nbytes / events:.1f} bytes an event")
    with report.case("a batch takes at most 12 bytes an event of nginx"):
        check(nbytes / events <= 12, f"{nbytes / events:.2f}")


def by_stage(delta):
    """What was dropped, by where; empty if nothing was."""
    return {dict(labels)["stage"]: int(n) for labels, n in delta.select(
        "redtap_agent_events_dropped_total").items()}


def nginx_both(rt, report):
    need("nginx")
    need("wrk")
    before = rt.metrics()
    nginx = Nginx(rt, "nginx-both")
    seen = wrk("wrk")
    truth = nginx.stop()
    delta = rt.quiet().minus(before)
    server = counts(delta, "server", job="nginx-it")
    client = counts(delta, "client", job="wrk-it")
    dropped = int(rt.audit(delta)[2])
    # wrk hangs up at its end: before an answer, or in the midst of one.
    aborted = {k: n for k, n in client.items() if k[3] == "aborted"}
    complete = {k: n for k, n in client.items() if k not in aborted}
    total = sum(truth.values())
    equal("lost in gaps", by_stage(delta).get("gap", 0), 0)
    note(f"nginx and wrk: {total} requests ({total // SECONDS}/s), counted "
         f"{sum(server.values())} and {sum(complete.values())}, in flight at "
         f"wrk's end {sum(aborted.values())}, dropped {dropped} "
         f"{by_stage(delta)}")
    lost = total - sum(server.values()) + sum(seen.values()) \
        - sum(complete.values())
    if dropped:
        check(0 <= dropped - lost <= CONNECTIONS,
              f"{lost} are missing, but {dropped} are reported as dropped")
    else:
        equal("server: requests by status", server, truth)
        equal("client: responses by status", complete, seen)
        check(sum(aborted.values()) <= CONNECTIONS, f"aborted: {aborted}")


# --- smaller servers, asked by curl ---------------------------------------------

def curl(*args):
    """[(method, status)] of what curl did; it says so itself."""
    done = subprocess.run(
        ["curl", "-s", "--no-progress-meter", "-w",
         "%{stderr}%{method} %{http_code}\n", *args], timeout=30,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=service("curl-it"))
    check(done.returncode in (0, 52), f"curl ended with {done.returncode}")
    return [tuple(line.split()) for line in done.stderr.splitlines()]


def client_truth(rows):
    out = collections.Counter()
    for method, status in rows:
        out[method, None, status if status != "000" else None,
            status if status >= "400" else
            "aborted" if status == "000" else None] += 1
    return dict(out)


def http_server(rt, report):
    before = rt.metrics()
    www = rt.dir / "www"
    www.mkdir()
    (www / "page.html").write_text("y" * 5000)
    server = rt.spawn(
        [sys.executable, "-u", "-m", "http.server", PYTHON_PORT, "--bind",
         "127.0.0.1", "--directory", www], "httpserver",
        env=service("python-it"))
    eventually("http.server listens", lambda: port_open(PYTHON_PORT))
    url = f"http://127.0.0.1:{PYTHON_PORT}"
    rows = []
    for _ in range(5):
        rows += curl(f"{url}/page.html", f"{url}/page.html?again",
                     f"{url}/none")
    rows += curl("-I", f"{url}/page.html")
    rows += curl("-d", "a=b", f"{url}/form")
    delta = rt.quiet().minus(before)
    truth = collections.Counter()
    for method, uri, status in re.findall(
            r'"(\w+) (\S+) HTTP/[\d.]+" (\d+)', server.log.read_text()):
        error = status if status >= "500" else None
        truth[method, uri.partition("?")[0], status, error] += 1
    server.stop(signal.SIGKILL)
    equal("requests of the log", sum(truth.values()), 17)
    equal("http.server", counts(delta, "server", job="python-it"),
          dict(truth))
    equal("curl", counts(delta, "client", server_port=str(PYTHON_PORT)),
          client_truth(rows))


NODE = """
const http = require("http"), seen = {};
http.createServer((req, res) => {
  const route = req.url.split("?")[0];
  const status = {"/made": 201, "/broken": 503, "/gone": 410}[route] || 200;
  const done = (s) => { const k = [req.method, route, s].join(" ");
    seen[k] = (seen[k] || 0) + 1; };
  if (route == "/hangup") { done(""); req.socket.destroy(); return; }
  req.resume();
  req.on("end", () => {
    res.writeHead(status);
    if (route == "/slow") { res.write("first");
      setTimeout(() => { done(status); res.end("last"); }, 200);
    } else { done(status); res.end("some text"); }
  });
}).listen(%d, "127.0.0.1");
process.on("SIGTERM", () => { console.log(JSON.stringify(seen));
  process.exit(0); });
"""


def node(rt, report):
    need("node")
    before = rt.metrics()
    server = rt.spawn(["node", "-e", NODE % NODE_PORT], "node",
                      env=service("node-it"))
    eventually("node listens", lambda: port_open(NODE_PORT))
    url = f"http://127.0.0.1:{NODE_PORT}"
    rows = []
    for _ in range(3):
        rows += curl(*(url + p for p in ("/plain", "/slow", "/broken",
                                         "/gone?x=1", "/plain")))
        rows += curl("-T", __file__, f"{url}/made")
        rows += curl(f"{url}/hangup")
    delta = rt.quiet().minus(before)
    equal("exit status of node", server.stop(), 0)
    truth = collections.Counter()
    for key, n in json.loads(server.log.read_text().splitlines()[-1]).items():
        method, route, status = key.split(" ")
        error = "aborted" if not status else \
            status if status >= "500" else None
        truth[method, route, status or None, error] += n
    equal("node", counts(delta, "server", job="node-it"), dict(truth))
    equal("curl", counts(delta, "client", server_port=str(NODE_PORT)),
          client_truth(rows))
    slow = {k: v for k, v in delta.select(FAMILY["server"] + "_sum",
                                          job="node-it",
                                          http_route="/slow").items()}
    check(sum(slow.values()) >= 0.6, f"three slow answers took {slow}")


SUITE = [
    (nginx_server, "nginx under wrk at full speed: equal to its access log by "
                   "status and to stub_status, or short by the drops"),
    (nginx_both, "nginx and wrk both watched: each equals what it counts "
                 "itself, or short by the drops"),
    (http_server, "python's http.server: equal to its log; curl: equal to "
                  "what it prints"),
    (node, "node: equal to its own count; curl: equal to what it prints"),
]


def main():
    report = Report()
    with Redtap(web=21404, config=CONFIG) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        for test, sentence in SUITE:
            with report.case(sentence):
                test(rt, report)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

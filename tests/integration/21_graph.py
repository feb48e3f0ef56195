#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Who calls whom, out of real programs: curl asks nginx, which asks a server of
its own; each request of each hop is one edge with both names. A curl that is
not watched leaves edges with one side.
"""

import os
import re
import shutil
import subprocess
import sys

from harness import Redtap, Report, Skip, check, equal, eventually, note, \
    port_open

NGINX_PORT, UPSTREAM_PORT = 21581, 21582
GOOD, BAD, STRANGE = 53, 7, 11
CONFIG = ["  exclude:", "    executables: [quietcurl]",
          "services:", f"  - port: {NGINX_PORT}", "    service: nginx-it"]

NGINX = """
daemon off; worker_processes 1; user root; pid nginx.pid;
error_log error.log;
events {{ worker_connections 64; }}
http {{
	access_log off; keepalive_timeout 60s;
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
	uwsgi_temp_path tmp; scgi_temp_path tmp;
	upstream back {{ server 127.0.0.1:{upstream}; keepalive 4; }}
	server {{ listen 127.0.0.1:{port};
		location / {{ proxy_pass http://back;
			proxy_http_version 1.1;
			proxy_set_header Connection ""; }} }}
}}
"""

UPSTREAM = """
import http.server, sys, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(0.002)
        body = b"x" * 321
        self.send_response(503 if self.path == "/bad" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])),
                                H).serve_forever()
"""

REQUEST = "traces_service_graph_request_total"
FAILED = "traces_service_graph_request_failed_total"
SERVER = "traces_service_graph_request_server_seconds"
CLIENT = "traces_service_graph_request_client_seconds"
NETWORK = "redtap_service_graph_network_seconds"
CLAMPED = "redtap_aggregator_graph_clamped_seconds_total"


def start_programs(rt):
    for program in ("nginx", "curl"):
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")
    home = rt.dir / "nginx"
    home.mkdir()
    conf = home / "nginx.conf"
    conf.write_text(NGINX.format(port=NGINX_PORT, upstream=UPSTREAM_PORT))
    rt.spawn([sys.executable, "-c", UPSTREAM, str(UPSTREAM_PORT)], "upstream",
             env=dict(os.environ, OTEL_SERVICE_NAME="back-it"))
    eventually("upstream listens", lambda: port_open(UPSTREAM_PORT))
    rt.spawn(["nginx", "-p", home, "-c", conf], "nginx")
    eventually("nginx listens", lambda: port_open(NGINX_PORT))


def ask(program, path, times):
    """That many requests on one connection."""
    url = f"http://127.0.0.1:{NGINX_PORT}{path}"
    done = subprocess.run(
        [program, "-s", "-w", "%{stderr}%{http_code} %{num_connects}\n"]
        + [url] * times, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, timeout=60, check=True)
    rows = re.findall(r"^(\d+) (\d+)$", done.stderr, re.M)
    equal("requests on new connections", sum(int(c) for _, c in rows), 1)
    return [int(code) for code, _ in rows]


def edges(m, name=REQUEST):
    """{(client, server, connection_type): n}"""
    out = {}
    for labels, n in m.select(name).items():
        d = dict(labels)
        out[d["client"], d["server"], d.get("connection_type", "")] = int(n)
    return out


def counted_once(rt):
    before = rt.metrics()
    good = ask("curl", "/ok", GOOD)
    bad = ask("curl", "/bad", BAD)
    strange = shutil.copy(shutil.which("curl"), rt.dir / "quietcurl")
    equal("quiet answers", ask(strange, "/ok", STRANGE), [200] * STRANGE)
    equal("answers", (good, bad), ([200] * GOOD, [503] * BAD))
    rt.quiet()

    def waited_for():
        # Event time is that of events: another request moves it on.
        ask("curl", "/ok", 1)
        extra[0] += 1
        rt.quiet()
        m = rt.metrics()
        alone = edges(m).get(("user", "nginx-it", "virtual_node"), 0)
        return m if alone >= STRANGE else None

    extra = [0]
    m = eventually("the other sides are no longer waited for", waited_for,
                   timeout_s=30, every_s=1.0)
    m = m.minus(before)
    watched = GOOD + BAD + extra[0]
    equal("edges", edges(m), {
        ("curl", "nginx-it", ""): watched,
        ("nginx", "back-it", ""): watched + STRANGE,
        ("user", "nginx-it", "virtual_node"): STRANGE})
    equal("failed", {k: n for k, n in edges(m, FAILED).items() if n},
          {("curl", "nginx-it", ""): BAD, ("nginx", "back-it", ""): BAD})
    return m


def network_is_the_rest(m):
    """Each is a sum of integers of microseconds, so the equation is exact."""
    def us(name, **want):
        return round(m.sum(name, **want) * 1e6)

    client = server = network = 0
    for c, s in (("curl", "nginx-it"), ("nginx", "back-it")):
        want = {"client": c, "server": s}
        client += us(CLIENT + "_sum", **want)
        server += us(SERVER + "_sum", **want)
        network += us(NETWORK + "_sum", **want)
        equal(f"network times of {c}", m.sum(NETWORK + "_count", **want),
              m.sum(REQUEST, **want))
    clamped = us(CLAMPED)
    note(f"clients {client} us, servers {server} us, network {network} us, "
         f"servers beyond their clients {clamped} us")
    equal("network", network, client - server + clamped)
    check(network > 0, "no network time at all")


def main():
    report = Report()
    with Redtap(web=21340, config=CONFIG) as rt:
        path = rt.dir / "aggregator.yml"
        path.write_text("graph: {wait_s: 2}\n", encoding="ascii")
        rt.aggregator_flags = [f"--config.file={path}"]
        m = None
        with report.case("agent and aggregator start"):
            rt.start()
            start_programs(rt)
        if report.failed:
            report.exit()
        with report.case("each request of each hop is one edge, with both "
                         "names or the one that was watched"):
            m = counted_once(rt)
        with report.case("network time is what clients waited longer than "
                         "servers took"):
            check(m, "no metrics")
            network_is_the_rest(m)
        with report.case("a restart changes nothing that was counted"):
            before = rt.metrics()
            rt.aggregator.stop()
            rt.start_aggregator()
            after = rt.metrics()
            for name in (REQUEST, FAILED, SERVER + "_sum", NETWORK + "_sum",
                         CLAMPED):
                equal(name, after.select(name), before.select(name))
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

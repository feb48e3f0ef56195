#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Programs that speak HTTP/2 and gRPC, compared with what they say themselves:
nginx, Apache and hypercorn by their logs, node and the gRPC servers by their own
counts, curl, nghttp and Java by what they print. Nothing else may be counted.
"""

import collections
import json
import os
import re
import shutil
import signal
import subprocess

from harness import BUILD, FAMILY, PATIENCE, ROOT, VERSION_LABEL, Redtap, \
    Report, Skip, check, equal, eventually, http_get, note, port_open
from marks import MARK

HERE = ROOT / "tests" / "integration" / "peers"
PEERS = ROOT / "build" / "peers"
PYTHON = "/usr/bin/python3"  # the one that has Debian's modules
(NGINX, NGINX_TLS, PASS, GRPC, APACHE, HAPROXY, BACK, NODE, NODE_TLS,
 HYPERCORN, HYPERCORN_TLS, NGHTTPX, NGHTTPD) = range(21410, 21423)
CODES = ("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
         "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
         "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
         "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
         "DATA_LOSS", "UNAUTHENTICATED")
LATE = "proof.Calls/Late"
SERVER_ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL",
                 "UNAVAILABLE", "DATA_LOSS"}

NGINX_CONF = """
daemon off; worker_processes 1; user root; pid nginx.pid;
error_log error.log;
events {{ worker_connections 512; }}
http {{
	log_format short '$request_method $uri $status $body_bytes_sent '
		'$server_protocol';
	access_log access.log short;
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
	uwsgi_temp_path tmp; scgi_temp_path tmp; sendfile on;
	ssl_certificate cert.pem; ssl_certificate_key key.pem;
	server {{ listen 127.0.0.1:{nginx} http2;
		listen 127.0.0.1:{tls} ssl http2;
		root www;
		location = /made {{ return 201 "made"; }}
		location = /broken {{ return 503; }}
		location = /pushes {{ http2_push /pushed; return 200 "x"; }}
		location = /pushed {{ return 200 "pushed"; }} }}
	server {{ listen 127.0.0.1:{passes} http2;
		location / {{ grpc_pass grpc://127.0.0.1:{grpc}; }} }}
}}
"""
APACHE_CONF = """
ServerName localhost
PidFile {dir}/apache.pid
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule http2_module {modules}/mod_http2.so
LoadModule alias_module {modules}/mod_alias.so
Protocols h2c http/1.1
H2Direct on
H2Upgrade on
User www-data
Group www-data
ErrorLog {dir}/apache-error.log
LogFormat "%m %U %>s %H" short
CustomLog {dir}/apache.log short
DocumentRoot {dir}/www
Redirect 410 /gone
"""
HAPROXY_CONF = """
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	option http-ignore-probes
frontend old
	bind 127.0.0.1:{front}
	use_backend new
backend new
	server node 127.0.0.1:{node} proto h2
frontend new
	bind 127.0.0.1:{back} proto h2
	default_backend old
backend old
	server nginx 127.0.0.1:{old}
"""
HYPERCORN_APP = """
import collections, json, os
seen = collections.Counter()
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    status = {"/gone": 410, "/broken": 503}.get(scope["path"], 200)
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})
    seen[" ".join([scope["method"], scope["path"], str(status),
                   scope["http_version"]])] += 1
    with open(os.environ["SEEN"] + ".new", "w") as f:
        json.dump(seen, f)
    os.rename(os.environ["SEEN"] + ".new", os.environ["SEEN"])
"""


def need(*programs):
    for program in programs:
        if not shutil.which(program) and not os.path.exists(program):
            raise Skip(f"{program} is not installed")


def service(name, **more):
    return dict(os.environ, OTEL_SERVICE_NAME=name, **more)


def error_of(role, status):
    return status if status >= ("500" if role == "server" else "400") else None


class Truth:
    """What programs say: requests by job, role, method, route and so on."""

    def __init__(self):
        self.requests, self.calls = collections.Counter(), \
            collections.Counter()

    def request(self, job, role, method, route, status, n=1, version="2",
                error=""):
        status = str(status) if status else None
        self.requests[job, role, method, route.partition("?")[0]
                      if role == "server" else None, status,
                      error or (error_of(role, status) if status else None),
                      version] += n

    def call(self, job, role, method, code, n=1):
        if method == "/" + LATE:
            self.calls[job, role, LATE, "late", "late"] += n
            return
        name = CODES[code]
        bad = name in SERVER_ERRORS if role == "server" else code
        self.calls[job, role, method.lstrip("/"), name,
                   name if bad else None] += n

    def failed_call(self, job, role, method, error, n=1):
        self.calls[job, role, method.lstrip("/"), None, error] += n


def requests(delta):
    out = collections.Counter()
    for role in ("server", "client"):
        for labels, n in delta.select(FAMILY[role] + "_count").items():
            have = dict(labels)
            if n and have["job"] != MARK:
                out[have["job"], role, have.get("http_request_method"),
                    have.get("http_route"),
                    have.get("http_response_status_code"),
                    have.get("error_type"), have.get(VERSION_LABEL)] += int(n)
    return out


def calls(delta):
    out = collections.Counter()
    for role in ("server", "client"):
        for labels, n in delta.select(
                f"rpc_{role}_call_duration_seconds_count").items():
            have = dict(labels)
            if not n:
                continue
            equal("rpc_system_name", have["rpc_system_name"], "grpc")
            end = have.get("rpc_status_code"), have.get("error_type")
            if have.get("rpc_method") == LATE:
                # Whichever side's clock was first said so, or hung up.
                check(end in (("DEADLINE_EXCEEDED",) * 2, (None, "aborted"),
                              ("CANCELLED", "CANCELLED")), f"late: {end}")
                end = "late", "late"
            out[(have["job"], role, have.get("rpc_method")) + end] += int(n)
    return out


def compare(what, got, want):
    """Says where two counters differ, and nothing of the rest."""
    lines = [f"{key}: counted {got[key]}, said {want[key]}"
             for key in sorted(set(got) | set(want), key=repr)
             if got[key] != want[key]]
    check(not lines, "\n".join([what] + lines))


def agree(rt, before, truth):
    delta = rt.quiet().minus(before)
    captured, counted, dropped = rt.audit(delta)
    if os.environ.get("SHOW"):
        for name in sorted(delta.samples):
            if name.startswith("redtap_agent_"):
                for k, v in delta.samples[name].items():
                    if v:
                        note(f"{name} {dict(k)} {v:.0f}")
    compare("requests", requests(delta), truth.requests)
    compare("calls", calls(delta), truth.calls)
    equal("dropped", dropped, 0)
    equal("captured", captured, counted)
    for name in ("redtap_agent_http2_desynced_total",
                 "redtap_agent_http2_fields_unknown_total",
                 "redtap_agent_tap_http2_lost_total",
                 "redtap_agent_tap_http2_unwalked_total",
                 "redtap_agent_malformed_total",
                 "redtap_agent_orphans_total"):
        equal(name, {k: v for k, v in delta.select(name).items() if v}, {})
    return delta


# --- clients ------------------------------------------------------------------

def curl(truth, *args, job="curl"):
    """
    Asks; what curl prints of each answer is the client's truth. Debian 12's
    fails at the second request of an h2c connection, so it gets one.
    """
    done = subprocess.run(
        ["curl", "-sk", "-w", "%{stderr}%{method} %{http_code} "
         "%{http_version}\n", *args], timeout=30 * PATIENCE,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=service(job))
    for line in done.stderr.splitlines():
        method, status, version = line.split()
        truth.request(job, "client", method, "",
                      status if status != "000" else None, version=version,
                      error="" if status != "000" else "connection_reset")


def lines_of(out):
    return json.loads(out.splitlines()[-1])


# --- nginx --------------------------------------------------------------------

def make_tree(rt):
    (rt.dir / "www").mkdir()
    (rt.dir / "nginx.conf").write_text(NGINX_CONF.format(
        nginx=NGINX, tls=NGINX_TLS, passes=PASS, grpc=GRPC))
    (rt.dir / "www" / "small").write_text("x" * 100)
    (rt.dir / "www" / "large").write_bytes(b"y" * 3000000)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-keyout", rt.dir / "key.pem", "-out",
         rt.dir / "cert.pem"], check=True, stderr=subprocess.DEVNULL)


def nginx(rt):
    need("nginx", "curl", "nghttp")
    before, truth = rt.metrics(), Truth()
    server = rt.spawn(["nginx", "-p", rt.dir, "-c", rt.dir / "nginx.conf"],
                      "nginx", env=service("nginx"))
    eventually("nginx listens", lambda: port_open(NGINX_TLS))
    for url, flag in ((f"http://127.0.0.1:{NGINX}",
                       "--http2-prior-knowledge"),
                      (f"https://127.0.0.1:{NGINX_TLS}", "--http2")):
        for _ in range(3):
            for path in ("/small", "/large", "/none", "/broken", "/small?q=1"):
                curl(truth, flag, url + path)
            curl(truth, flag, "-I", url + "/small")
            subprocess.run(["nghttp", "-n", "-d", "www/small",
                            url + "/made"], check=True, cwd=rt.dir,
                           stdout=subprocess.DEVNULL, env=service("nghttp"))
            truth.request("nghttp", "client", "POST", "", 201)
        # 20 at once on one connection, with a padded head.
        subprocess.run(["nghttp", "-n", "-m20", "-b16", "--no-push",
                        url + "/small"], check=True, timeout=30 * PATIENCE,
                       stdout=subprocess.DEVNULL, env=service("nghttp"))
        truth.request("nghttp", "client", "GET", "", 200, 20)
    subprocess.run(["nghttp", "-n", f"http://127.0.0.1:{NGINX}/pushes"],
                   check=True, stdout=subprocess.DEVNULL,
                   env=service("nghttp"))
    truth.request("nghttp", "client", "GET", "", 200, 2)  # one is pushed
    delta = rt.quiet().minus(before)
    equal("exit status of nginx", server.stop(signal.SIGQUIT), 0)
    sent = 0
    for line in (rt.dir / "access.log").read_text().splitlines():
        method, uri, status, nbytes, protocol = line.split()
        truth.request("nginx", "server", method, uri, status,
                      version=protocol.partition("/")[2].removesuffix(".0"))
        sent += int(nbytes)
    delta = agree(rt, before, truth)
    equal("bytes of the bodies", delta.sum(
        "http_server_response_body_size_bytes_sum", job="nginx"), sent)


# --- the upgrade to h2c ---------------------------------------------------------

def apache(rt):
    need("apache2", "curl", "nghttp")
    before, truth = rt.metrics(), Truth()
    conf = rt.dir / "apache.conf"
    conf.write_text(APACHE_CONF.format(dir=rt.dir, port=APACHE,
                                       modules="/usr/lib/apache2/modules"))
    server = rt.spawn(["apache2", "-X", "-f", conf], "apache",
                      env=service("apache"))
    eventually("Apache listens", lambda: port_open(APACHE))
    url = f"http://127.0.0.1:{APACHE}"
    for _ in range(3):
        for path in ("/small", "/gone", "/large", "/none"):
            curl(truth, "--http2-prior-knowledge", url + path)
            # Asks for the upgrade. Debian 12's fails at large answers then.
            if path != "/large":
                curl(truth, "--http2", url + path)
        subprocess.run(["nghttp", "-nu", url + "/small"], check=True,
                       stdout=subprocess.DEVNULL, env=service("nghttp"))
        truth.request("nghttp", "client", "GET", "", 200)
    subprocess.run(["nghttp", "-n", "-m20", "-p16", url + "/small"],
                   check=True, stdout=subprocess.DEVNULL,
                   env=service("nghttp"))
    truth.request("nghttp", "client", "GET", "", 200, 20)
    rt.quiet()
    server.stop()
    for line in (rt.dir / "apache.log").read_text().splitlines():
        method, uri, status, protocol = line.split()
        if status != "101":  # the answer has a line of its own
            truth.request("apache", "server", method, uri, status,
                          version=protocol.partition("/")[2].removesuffix(
                              ".0"))
    agree(rt, before, truth)


def java(rt):
    need("java", "nghttpx", "nghttpd")
    before, truth = rt.metrics(), Truth()
    behind = rt.spawn(["nghttpd", "-a", "127.0.0.1", "-d", rt.dir / "www",
                       "--no-tls", NGHTTPD], "nghttpd", env=service("nghttpd"))
    eventually("nghttpd listens", lambda: port_open(NGHTTPD))
    log = rt.dir / "nghttpx.access"
    proxy = rt.spawn(
        ["nghttpx", "--conf=/dev/null", f"-f127.0.0.1,{NGHTTPX};no-tls",
         f"-b127.0.0.1,{NGHTTPD};;proto=h2", "--workers=1",
         f"--accesslog-file={log}",
         "--accesslog-format=$method $path $status"], "nghttpx",
        env=service("nghttpx"))
    eventually("nghttpx listens", lambda: port_open(NGHTTPX))
    url = f"http://127.0.0.1:{NGHTTPX}"
    for path in ("/small", "/large", "/none"):
        client = rt.spawn(["java", "-cp", PEERS, "Client", url + path, "5"],
                          "java" + path[1:], env=service("java"))
        client.popen.wait(60 * PATIENCE)
        said = client.log.read_text().split()
        equal("versions", said[::2], ["HTTP_2"] * 5)
        for status in said[1::2]:
            truth.request("java", "client", "GET", "", status)
    rt.quiet()
    proxy.stop(signal.SIGQUIT)
    lines = log.read_text().splitlines()
    equal("lines of the log", len(lines), 15)
    for line in lines:
        method, path, status = line.split()
        truth.request("nghttpx", "server", method, path, status)
        truth.request("nghttpx", "client", method, path, status)
        truth.request("nghttpd", "server", method, path, status)
    agree(rt, before, truth)
    behind.stop()


# --- node, haproxy on both sides ------------------------------------------------

def node_client(rt, truth, url, *asks, connections=2, job="node-client"):
    client = subprocess.run(
        ["node", HERE / "node_client.js", url, str(connections)],
        input="".join(json.dumps(a) + "\n" for a in asks), text=True,
        stdout=subprocess.PIPE, timeout=60 * PATIENCE, env=service(job))
    for line in client.stdout.splitlines():
        for key, n in json.loads(line).items():
            method, _, status = key.split(" ")
            truth.request(job, "client", method, "",
                          status if status != "none" else None, n,
                          error="" if status != "none" else
                          "connection_reset")


def node_said(truth, server, job):
    equal("exit status of node", server.stop(), 0)
    for key, n in lines_of(server.log.read_text()).items():
        method, route, status = key.split(" ")
        truth.request(job, "server", method, route,
                      status if status != "reset" else None, n,
                      error="connection_reset" if status == "reset" else "")


PATHS = ["/plain", "/gone", "/broken", "+/made", "/large", "/trailers",
         "/hint", "/reset", "/slow"]


def node(rt):
    need("node")
    before, truth = rt.metrics(), Truth()
    plain = rt.spawn(["node", HERE / "node_server.js", NODE], "node",
                     env=service("node"))
    tls = rt.spawn(["node", HERE / "node_server.js", NODE_TLS, rt.dir],
                   "node-tls", env=service("node-tls"))
    eventually("both listen",
               lambda: port_open(NODE) and port_open(NODE_TLS))
    node_client(rt, truth, f"http://127.0.0.1:{NODE}", [270, 20] + PATHS)
    node_client(rt, truth, f"https://127.0.0.1:{NODE_TLS}", [270, 20] + PATHS)
    rt.quiet()
    node_said(truth, plain, "node")
    node_said(truth, tls, "node-tls")
    agree(rt, before, truth)


def haproxy(rt):
    """curl -1.1-> haproxy -2-> node, and curl -2-> haproxy -1.1-> nginx."""
    need("haproxy", "node", "nginx")
    before, truth = rt.metrics(), Truth()
    behind = rt.spawn(["node", HERE / "node_server.js", NODE], "node-behind",
                      env=service("node"))
    (rt.dir / "access.log").unlink(missing_ok=True)
    conf = rt.dir / "nginx-old.conf"
    conf.write_text((rt.dir / "nginx.conf").read_text().replace(
        f"{NGINX} http2", str(NGINX)))
    old = rt.spawn(["nginx", "-p", rt.dir, "-c", conf], "nginx-old",
                   env=service("nginx"))
    (rt.dir / "haproxy.cfg").write_text(HAPROXY_CONF.format(
        front=HAPROXY, back=BACK, node=NODE, old=NGINX))
    proxy = rt.spawn(["haproxy", "-db", "-f", rt.dir / "haproxy.cfg"],
                     "haproxy", env=service("haproxy"))
    eventually("all listen", lambda: all(
        port_open(p) for p in (HAPROXY, BACK, NODE, NGINX)))
    one = Truth()
    for _ in range(3):
        curl(one, *(f"http://127.0.0.1:{HAPROXY}{p}"
                    for p in ("/plain", "/gone", "/broken")))
        curl(one, "-d", "a=b", f"http://127.0.0.1:{HAPROXY}/made")
        for path in ("/small", "/none", "/large"):
            curl(one, "--http2-prior-knowledge",
                 f"http://127.0.0.1:{BACK}{path}")
    rt.quiet()
    node_said(truth, behind, "node")
    equal("exit status of nginx", old.stop(signal.SIGQUIT), 0)
    for line in (rt.dir / "access.log").read_text().splitlines():
        method, uri, status, _, protocol = line.split()
        truth.request("nginx", "server", method, uri, status,
                      version=protocol.partition("/")[2])
    # Front and back of the proxy are what the servers behind it say.
    for key, n in list(truth.requests.items()):
        _, _, method, route, status, _, version = key
        truth.request("haproxy", "client", method, route, status, n,
                      version=version)
        truth.request("haproxy", "server", method, route, status, n,
                      version="1.1" if version == "2" else "2")
    truth.requests.update(one.requests)
    agree(rt, before, truth)
    proxy.stop()


# --- hypercorn: asyncio, memory BIO -----------------------------------------------

def hypercorn(rt):
    need("hypercorn", "curl", "nghttp")
    before, truth = rt.metrics(), Truth()
    (rt.dir / "app.py").write_text(HYPERCORN_APP)
    url = f"http://127.0.0.1:{HYPERCORN}", f"https://127.0.0.1:{HYPERCORN_TLS}"
    server = rt.spawn(
        [PYTHON, "/usr/bin/hypercorn", "-w", "1", "-b",
         f"127.0.0.1:{HYPERCORN_TLS}", "--insecure-bind",
         f"127.0.0.1:{HYPERCORN}", "--certfile", rt.dir / "cert.pem",
         "--keyfile", rt.dir / "key.pem", "app:app"], "hypercorn",
        cwd=rt.dir, env=service("hypercorn", SEEN=str(rt.dir / "seen")))
    eventually("hypercorn listens", lambda: port_open(HYPERCORN) and
               port_open(HYPERCORN_TLS))
    for _ in range(3):
        for u, flag in zip(url, ("--http2-prior-knowledge", "--http2")):
            for path in ("/one", "/gone", "/broken"):
                curl(truth, flag, u + path)
            curl(truth, "--http1.1", "-d", "a=b", u + "/form")
    rt.quiet()
    for key, n in json.loads((rt.dir / "seen").read_text()).items():
        method, route, status, version = key.split(" ")
        truth.request("hypercorn", "server", method, route, status, n,
                      version=version)
    agree(rt, before, truth)
    server.stop()


# --- gRPC ---------------------------------------------------------------------

def grpc_server(rt, name):
    need(PYTHON)
    server = rt.spawn([PYTHON, HERE / "grpc_server.py", GRPC], name,
                      env=service("grpc-server"))
    eventually("the gRPC server listens", lambda: port_open(GRPC))
    return server


def client_said(truth, job, ended):
    for key, n in ended.items():
        method, code = key.split(" ")
        if code == "cancelled":
            truth.failed_call(job, "client", method, "aborted", n)
        elif n:
            truth.call(job, "client", method, int(code), n)


def server_said(truth, server, job="grpc-server"):
    equal("exit status of the gRPC server", server.stop(), 0)
    said = lines_of(server.log.read_text())
    for key, n in said.items():
        method, code = key.split(" ")
        if code == "gone" and method != "/" + LATE:
            truth.failed_call(job, "server", method, "aborted", n)
        else:
            truth.call(job, "server", method, int(code) if code != "gone"
                       else 4, n)


def grpc(rt):
    before, truth = rt.metrics(), Truth()
    rounds = 3
    server = grpc_server(rt, "grpc-server")
    python = rt.spawn([PYTHON, HERE / "grpc_client.py", GRPC, str(rounds)],
                      "grpc-client", env=service("grpc-python"))
    js = rt.spawn(["node", HERE / "grpc_client.js", GRPC, "5"], "grpc-js",
                  env=service("grpc-js", NODE_PATH=str(PEERS /
                                                       "node_modules")))
    cxx = rt.spawn([PEERS / "grpc_client", f"127.0.0.1:{GRPC}", "3"],
                   "grpc-cxx", env=service("grpc-cxx"))
    for client in (python, js, cxx):
        equal(f"exit status of {client.name}",
              client.popen.wait(60 * PATIENCE), 0)
    said = lines_of(python.log.read_text())
    client_said(truth, "grpc-python", said["ended"])
    said_js = lines_of(js.log.read_text())["ended"]
    client_said(truth, "grpc-js", said_js)
    said_cxx = collections.Counter(cxx.log.read_text().splitlines())
    client_said(truth, "grpc-cxx", said_cxx)
    rt.quiet()
    server_said(truth, server)
    # What the server does not have it does not count; its clients do.
    for ended in (said["ended"], said_js):
        truth.call("grpc-server", "server", "/proof.Calls/Missing", 12,
                   ended["/proof.Calls/Missing 12"])
    agree(rt, before, truth)
    for role, job in (("client", "grpc-python"), ("server", "grpc-server")):
        rows = json.loads(http_get(
            rt.web, f"/api/v1/requests?range=300&service={job}&role={role}&"
            "order=slowest&limit=1")[2])["requests"]
        equal("the slowest call", (rows["route"], rows["rpc"],
                                   rows["rpc_status"]),
              (["/proof.Calls/ServerStream"], ["grpc"], ["OK"]))
        took = rows["duration"][0]
        note(f"{role}: a stream of 3 s took {took:.4f} s; its client says "
             f"{said['took']:.4f} s")
        check(abs(took - said["took"]) <= 0.02 * PATIENCE, f"{took} s")


def grpc_pass(rt):
    """A gRPC client, nginx, a gRPC server: each call is seen four times."""
    need("nginx")
    before, truth = rt.metrics(), Truth()
    (rt.dir / "access.log").unlink(missing_ok=True)
    server = grpc_server(rt, "grpc-behind")
    nginx_ = rt.spawn(["nginx", "-p", rt.dir, "-c", rt.dir / "nginx.conf"],
                      "nginx-pass", env=service("nginx"))
    eventually("nginx listens", lambda: port_open(PASS))
    js = rt.spawn(["node", HERE / "grpc_client.js", PASS, "2"], "js-pass",
                  env=service("grpc-js", NODE_PATH=str(PEERS /
                                                       "node_modules")))
    equal("exit status of node", js.popen.wait(60 * PATIENCE), 0)
    said = lines_of(js.log.read_text())["ended"]
    client_said(truth, "grpc-js", said)
    client_said(truth, "nginx", said)
    for key, n in said.items():
        method, code = key.split(" ")
        truth.call("nginx", "server", method, int(code), n)
    rt.quiet()
    server_said(truth, server)
    truth.call("grpc-server", "server", "/proof.Calls/Missing", 12,
               said["/proof.Calls/Missing 12"])
    equal("exit status of nginx", nginx_.stop(signal.SIGQUIT), 0)
    agree(rt, before, truth)


SUITE = [
    (nginx, "nginx equals its log, curl and nghttp what they print, in the "
            "clear and inside TLS; bytes are the log's"),
    (apache, "Apache and the upgrade to h2c equal its log; curl and nghttp what "
             "they print"),
    (node, "node's servers and clients equal their own counts: trailers, early "
           "hints, resets, in the clear and inside TLS"),
    (haproxy, "haproxy from HTTP/1 to 2 and from 2 to 1: front = back = server"),
    (java, "Java's client, which asks for the upgrade, nghttpx and nghttpd"),
    (hypercorn, "hypercorn on asyncio, in the clear and inside TLS"),
    (grpc, "gRPC of four kinds with codes 0 to 16, cancelled, too late, trailers "
           "only: Python, node and C++ count the same"),
    (grpc_pass, "gRPC behind nginx: four sides of each call say the same code"),
]


def main():
    report = Report()
    only = os.environ.get("ONLY", "")
    with Redtap(web=21404) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
            make_tree(rt)
        if report.failed:
            report.exit()
        for test, sentence in SUITE:
            if only in test.__name__:
                with report.case(sentence):
                    test(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

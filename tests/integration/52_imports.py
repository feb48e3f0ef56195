#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Logs of real programs, imported: nginx, Apache, HAProxy, lighttpd, Varnish and
Caddy write them in front of a small server of ours. Truth: how many requests
the driver sent and what it was answered, and the durations that Python reads
from the same log.
"""

import collections
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from harness import AGENT, AGGREGATOR, Redtap, Report, Skip, check, equal, \
    eventually, http_get, note, port_open

PORT = 21704  # and the next one
BACKEND, FRONT, ADMIN = 21721, 21722, 21723
HISTOGRAM = "http_server_request_duration_seconds"
KNOWN = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE",
         "PATCH")
SLOW_S = 0.3


# --- the server behind, and the driver in front -------------------------------

class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        n = int(self.headers.get("Content-Length", 0))
        self.rfile.read(n)
        if self.path.startswith("/slow"):
            time.sleep(SLOW_S)
        status = 404 if self.path.startswith("/missing") else \
            201 if self.command == "POST" else 200
        body = b"" if self.command == "HEAD" else b"x" * 61
        self.send_response(status)
        self.send_header("Content-Length", str(61))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PROPFIND = answer
    locals()["do_M-SEARCH"] = answer

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # programs in front leave when their clients do


def backend():
    server = Server(("127.0.0.1", BACKEND), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


REQUESTS = 7 * [("GET", "/users/42?x=%22a%22")] + 5 * [("GET", "/missing")] + \
    3 * [("POST", "/cart")] + 2 * [("HEAD", "/users/7")] + \
    3 * [("PROPFIND", "/dav")] + 2 * [("M-SEARCH", "/x")] + [("GET", "/slow")]


def ask(method, target):
    """The status of one request on a connection of its own."""
    body = b"a=1" if method == "POST" else b""
    with socket.create_connection(("127.0.0.1", FRONT), 10) as s:
        s.sendall(f"{method} {target} HTTP/1.1\r\nHost: shop.test\r\n"
                  f"User-Agent: it \"q\" [x]\r\nConnection: close\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        text = b""
        while part := s.recv(65536):
            text += part
    return int(text.split(b" ", 2)[1])


def leave_early():
    """Asks for what takes long, and resets the connection before it comes."""
    s = socket.create_connection(("127.0.0.1", FRONT), 10)
    s.sendall(b"GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    time.sleep(SLOW_S / 3)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def drive(requests=REQUESTS, leave=0):
    """{(method, status): count} as labels have them."""
    want = collections.Counter()
    for method, target in requests:
        label = method if method in KNOWN else "_OTHER"
        want[label, str(ask(method, target))] += 1
    for _ in range(leave):
        leave_early()
        want["GET", "aborted"] += 1
    time.sleep(2 * SLOW_S)  # what was left is logged when it ends
    return want


# --- the programs -------------------------------------------------------------

def need(program):
    if not shutil.which(program):
        raise Skip(f"{program} is not installed")


class Front:
    """A program that listens on FRONT, in a folder of its own."""

    def __init__(self, rt, name, files, argv, **kwargs):
        need(argv[0])
        self.dir = rt.dir / name
        self.dir.mkdir()
        self.dir.chmod(0o777)
        for file, text in files.items():
            (self.dir / file).write_text(text.replace("DIR", str(self.dir)))
        self.process = rt.spawn([a.replace("DIR", str(self.dir))
                                 for a in argv], name, cwd=self.dir, **kwargs)
        eventually(f"{name} listens", lambda: port_open(FRONT))

    def file(self, name):
        return self.dir / name

    def __enter__(self):
        return self

    def __exit__(self, *why):
        if self.process.alive():
            self.process.stop()
        eventually("the port is free", lambda: not port_open(FRONT))


NGINX = """
daemon off; worker_processes 1; user root; pid nginx.pid; error_log error.log;
events {}
http {
	log_format timed '$remote_addr - $remote_user [$time_local] "$request" '
		'$status $body_bytes_sent "$http_referer" "$http_user_agent" '
		'$request_time';
	log_format named '$remote_addr - $remote_user [$time_local] "$request" '
		'$status $body_bytes_sent "$http_referer" "$http_user_agent" '
		'"$http_x_forwarded_for" rt=$request_time '
		'ut="$upstream_response_time" us=$upstream_status';
	log_format ingress '$remote_addr - $remote_user [$time_local] '
		'"$request" $status $body_bytes_sent "$http_referer" '
		'"$http_user_agent" $request_length $request_time '
		'[default-shop-80] [] $upstream_addr '
		'$upstream_response_length $upstream_response_time '
		'$upstream_status 0123456789abcdef0123456789abcdef';
	log_format json escape=json '{"time_iso8601":"$time_iso8601",'
		'"request_method":"$request_method","request_uri":'
		'"$request_uri","status":"$status","request_time":'
		'"$request_time","body_bytes_sent":"$body_bytes_sent",'
		'"server_protocol":"$server_protocol","agent":'
		'"$http_user_agent"}';
	access_log combined.log combined;
	access_log timed.log timed;
	access_log named.log named;
	access_log ingress.log ingress;
	access_log json.log json;
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
	uwsgi_temp_path tmp; scgi_temp_path tmp;
	server { listen 127.0.0.1:%d; location / {
		proxy_pass http://127.0.0.1:%d; } }
}
""" % (FRONT, BACKEND)

APACHE = """
ServerRoot DIR
PidFile DIR/apache.pid
ErrorLog DIR/error.log
Listen 127.0.0.1:%d
ServerName shop.test
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LogFormat "%%h %%l %%u %%t \\"%%r\\" %%>s %%O \\"%%{Referer}i\\" \\"%%{User-Agent}i\\"" combined
LogFormat "%%v:%%p %%h %%l %%u %%t \\"%%r\\" %%>s %%O \\"%%{Referer}i\\" \\"%%{User-Agent}i\\"" vhost
LogFormat "%%h %%l %%u %%t \\"%%r\\" %%>s %%b" common
LogFormat "%%h %%l %%u %%t \\"%%r\\" %%>s %%O \\"%%{Referer}i\\" \\"%%{User-Agent}i\\" %%D" micros
LogFormat "%%h %%l %%u [%%{%%d/%%b/%%Y:%%H:%%M:%%S}t.%%{msec_frac}t %%{%%z}t] \\"%%r\\" %%>s %%b \\"%%{Referer}i\\" \\"%%{User-Agent}i\\" %%{ms}Tms" millis
CustomLog DIR/combined.log combined
CustomLog DIR/vhost.log vhost
CustomLog DIR/common.log common
CustomLog DIR/micros.log micros
CustomLog DIR/millis.log millis
ProxyPass / http://127.0.0.1:%d/
""" % (FRONT, BACKEND)

HAPROXY = """
global
	log stdout format raw local0
defaults
	log global
	mode http
	option httplog
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend in
	bind 127.0.0.1:%d
	default_backend shop
backend shop
	server one 127.0.0.1:%d
""" % (FRONT, BACKEND)

LIGHTTPD = """
server.document-root = "DIR"
server.port = %d
server.bind = "127.0.0.1"
server.errorlog = "DIR/error.log"
server.modules = ("mod_accesslog", "mod_proxy")
accesslog.filename = "DIR/access.log"
proxy.server = ("/" => ((
	"host" => "127.0.0.1", "port" => %d)))
""" % (FRONT, BACKEND)

VCL = """
vcl 4.1;
backend shop { .host = "127.0.0.1"; .port = "%d"; }
sub vcl_recv { return (pass); }
""" % BACKEND

CADDYFILE = """
{
	admin off
	auto_https off
}
:%d {
	bind 127.0.0.1
	log {
		output file DIR/access.log
		format json
	}
	reverse_proxy 127.0.0.1:%d
}
""" % (FRONT, BACKEND)


# --- importing and looking ----------------------------------------------------

def replay(rt, path, name, *argv, status=0):
    done = subprocess.run(
        [AGENT, "replay", f"--to=tcp://127.0.0.1:{rt.ingest}", path,
         f"--service={name}", f"--as={name}", *argv], capture_output=True,
        text=True, timeout=120, check=False, env=dict(os.environ, TZ="UTC"))
    equal(f"exit status of {name}, which said {done.stderr[-600:]}",
          done.returncode, status)
    return done.stderr


def said(stderr, key):
    line = [x for x in stderr.splitlines() if "imported file=" in x][-1]
    return line.split(f" {key}=")[1].split()[0].rstrip('"')


def counted(rt, name):
    """{(method, status or error): count} of a service."""
    out = collections.Counter()
    m = rt.metrics()
    for labels, n in m.select("redtap_http_requests_total",
                              job=name).items():
        got = dict(labels)
        out[got["http_request_method"],
            got.get("error_type",
                    got.get("http_response_status_code"))] += int(n)
    return out


def durations(rt, name):
    """How many, and their sum in seconds."""
    m = rt.metrics()
    return [round(sum(m.select(HISTOGRAM + suffix, job=name).values()), 6)
            for suffix in ("_count", "_sum")]


def imports(rt, path, name, form, want, seconds=None, argv=()):
    """seconds: the durations that the log has; None: it has none."""
    stderr = replay(rt, path, name, *argv)
    n = sum(want.values())
    equal(f"format of {name}", said(stderr, "format"), form)
    equal(f"lines of {name}", [int(said(stderr, k)) for k in (
        "requests", "bad", "untimed")],
        [n, 0, 0 if seconds is not None else n])
    equal(f"counts of {name}", counted(rt, name), want)
    if seconds is not None:
        equal(f"durations of {name}", durations(rt, name),
              [n, round(sum(seconds), 6)])
        return
    equal(f"durations of {name}", durations(rt, name), [0, 0])
    equal("told once", stderr.count("requests without a duration"), 1)
    no_quantiles(rt, name, n)


def no_quantiles(rt, name, n):
    """The API and `query` know that nothing is known."""
    now_s = int(time.time())
    at = f"from={now_s - 600}&to={now_s + 60}&by=service&step=all"
    want = [[n, None, None, None]]

    def groups():
        body = json.loads(http_get(rt.web, "/api/v1/windows?" + at)[2])
        return [[g[k] for k in ("count", "mean", "p50", "p99")]
                for w in body["windows"] for g in w["groups"]
                if g.get("service") == name]
    eventually("the windows are stored", lambda: groups() == want)
    table = subprocess.run(
        [AGGREGATOR, "query", f"http://127.0.0.1:{rt.web}", f"--from={now_s - 600}",
         "--by=service", "--step=all"], capture_output=True, text=True,
        timeout=60, check=True).stdout
    row = [x.split() for x in table.splitlines() if f"{name} " in x]
    equal("columns of query", row[0][-3:], ["-", "-", "-"])


def lines(path, pattern, group=1, scale=1.0):
    """The numbers that a pattern finds, one a line."""
    return [float(re.search(pattern, x).group(group)) * scale
            for x in path.read_text().splitlines()]


# --- cases --------------------------------------------------------------------

def nginx(rt):
    with Front(rt, "nginx", {"nginx.conf": NGINX},
               ["nginx", "-p", "DIR", "-c", "DIR/nginx.conf"]) as front:
        want = drive(leave=2)
    combined, timed = front.file("combined.log"), front.file("timed.log")
    imports(rt, combined, "nginx-combined", "combined", want)
    seconds = lines(timed, r" ([\d.]+)$")
    check(max(seconds) >= SLOW_S, "nothing was slow")
    imports(rt, timed, "nginx-timed", "combined+time", want, seconds)
    imports(rt, front.file("named.log"), "nginx-named", "combined+time", want,
            seconds)
    imports(rt, front.file("ingress.log"), "nginx-ingress", "ingress-nginx",
            want, seconds)
    # nginx's JSON has 499 as any other status: no status was sent.
    imports(rt, front.file("json.log"), "nginx-json", "json", want, seconds)


def apache(rt):
    with Front(rt, "apache", {"apache.conf": APACHE},
               ["apache2", "-d", "DIR", "-f", "DIR/apache.conf",
                "-DFOREGROUND"]) as front:
        want = drive()
    for kind in ("combined", "vhost", "common"):
        imports(rt, front.file(f"{kind}.log"), f"apache-{kind}", "combined",
                want)
    micros = front.file("micros.log")
    stderr = replay(rt, micros, "apache-unsaid", status=1)
    check("its lines end in a number whose unit is not known" in stderr, stderr)
    imports(rt, micros, "apache-d", "apache-D", want,
            lines(micros, r" (\d+)$", scale=1e-6), ["--format=apache-D"])
    imports(rt, front.file("millis.log"), "apache-ms", "combined+time", want,
            lines(front.file("millis.log"), r" (\d+)ms$", scale=1e-3))


def haproxy(rt):
    with Front(rt, "haproxy", {"haproxy.cfg": HAPROXY},
               ["haproxy", "-f", "DIR/haproxy.cfg", "-db"]) as front:
        want = drive(leave=2)
    log = front.process.log
    seconds = [int(m.group(1)) / 1e3 for m in re.finditer(
        r" -?\d+/-?\d+/-?\d+/-?\d+/\+?(\d+) (?!400 0 - - CR)",
        log.read_text())]
    imports(rt, log, "haproxy", "haproxy", want, seconds)


def lighttpd(rt):
    with Front(rt, "lighttpd", {"lighttpd.conf": LIGHTTPD},
               ["lighttpd", "-D", "-f", "DIR/lighttpd.conf"]) as front:
        want = drive()
    imports(rt, front.file("access.log"), "lighttpd", "combined", want)


def varnish(rt):
    need("varnishncsa")
    with Front(rt, "varnish", {"shop.vcl": VCL},
               ["varnishd", "-F", "-n", "DIR/v", "-a",
                f"127.0.0.1:{FRONT}", "-f", "DIR/shop.vcl", "-T", "none",
                "-j", "none", "-s", "malloc,16m"]) as front:
        # It pipes what it does not know, and logs no status of that.
        want = drive([x for x in REQUESTS if x[0] in KNOWN])
        ncsa = rt.spawn(["varnishncsa", "-d", "-n", front.dir / "v"],
                        "varnishncsa")
        log = ncsa.log
        eventually("all is logged", lambda: len(
            log.read_text().splitlines()) == sum(want.values()))
        ncsa.stop()
    imports(rt, log, "varnish", "combined", want)


def caddy(rt):
    with Front(rt, "caddy", {"Caddyfile": CADDYFILE},
               ["caddy", "run", "--config", "DIR/Caddyfile", "--adapter",
                "caddyfile"],
               env=dict(os.environ, HOME=str(rt.dir))) as front:
        want = drive()
    log = front.file("access.log")
    seconds = [json.loads(x)["duration"] for x in
               log.read_text().splitlines()]
    stderr = replay(rt, log, "caddy")
    equal("format", said(stderr, "format"), "caddy")
    equal("counts", counted(rt, "caddy"), want)
    count, total = durations(rt, "caddy")
    equal("durations", count, sum(want.values()))
    # Each is rounded to a microsecond.
    check(abs(total - sum(seconds)) <= 1e-6 * count, f"{total} {sum(seconds)}")
    # Its own messages stand in the same file when it logs to one place.
    both = front.file("both.log")
    both.write_text(front.process.log.read_text() + log.read_text())
    stderr = replay(rt, both, "caddy-both")
    equal("counts among messages", counted(rt, "caddy-both"), want)
    equal("bad lines", said(stderr, "bad"), "0")


# --- what is no log, and what is too much -------------------------------------

LINE = '10.0.0.1 - - [28/Nov/2026:09:00:01 +0000] "GET /x HTTP/1.1" 200 12\n'


def yields_nothing(rt, dir_):
    """Every file without a request is an error, with its reason."""
    for name, data, reason in (
            ("empty", b"", "it is empty"),
            ("blank", b"\n \n", "it is blank"),
            ("text", b"hello\nworld\n", "see --format"),
            ("binary", bytes(range(256)) * 9, "it is not text"),
            ("gzip", b"\x1f\x8b\x08" + bytes(99), "unpack it first"),
            ("w3c", b"#Software: Microsoft IIS\n#Fields: date time\n",
             "see --format"),
            ("array", b'[{"time":1}]', "jq -c"),
            ("json", b'{"a":1}\n', "--map"),
            ("har", b'{"log":{"entries":[]}}', "it has no requests"),
            ("cut", b'{"log":{"entries":[{"time":1},', "no HAR, or damaged"),
            ("tls", LINE.encode().replace(b"GET /x HTTP/1.1", b"-"),
             "see --format")):
        path = dir_ / f"nothing-{name}"
        path.write_bytes(data)
        stderr = replay(rt, path, f"nothing-{name}", status=1)
        check(reason in stderr, f"{name}: {stderr}")
    path = dir_ / "asked"
    path.write_text("hello\n")
    stderr = replay(rt, path, "asked", "--format=combined", status=1)
    check("no line could be read" in stderr, stderr)
    check("line 1: no [time]" in stderr, stderr)


def takes_pipes(rt, dir_):
    done = subprocess.run(
        [AGENT, "replay", f"--to=tcp://127.0.0.1:{rt.ingest}", "-",
         "--service=pipe", "--as=pipe"], input=LINE * 7, text=True,
        capture_output=True, timeout=60, check=False)
    equal(f"exit status: {done.stderr}", done.returncode, 0)
    equal("counted", counted(rt, "pipe"), {("GET", "200"): 7})


def measured(argv):
    """Exit status, peak of memory in MiB, CPU seconds, and what was said."""
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(argv, stdout=out, stderr=out)
        _, status, use = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return (p.returncode, use.ru_maxrss / 1024,
                use.ru_utime + use.ru_stime, out.read().decode())


def stays_flat(rt, dir_):
    """A line of 2 GiB, and a HAR of 84 MB, in a few MiB of memory."""
    to = f"--to=tcp://127.0.0.1:{rt.ingest}"
    line = dir_ / "line"
    line.write_text(LINE)
    os.truncate(line, 2 << 30)
    with open(line, "ab") as f:
        f.write(b"\n" + LINE.encode())
    status, mib, cpu, text = measured([AGENT, "replay", to, line,
                                       "--as=line", "--service=line"])
    note(f"2 GiB line: {mib:.0f} MiB, {cpu:.1f} s")
    equal(f"exit status: {text[-300:]}", status, 0)
    equal("counted", counted(rt, "line"), {("GET", "200"): 2})
    check("line 2: longer than 1 MiB" in text, text)
    check(mib < 48, f"{mib} MiB")
    line.unlink()
    har = dir_ / "big.har"
    entry = {"startedDateTime": "2026-11-28T09:00:00Z", "time": 9,
             "request": {"method": "GET", "url": "http://a.test/"},
             "response": {"status": 200, "content": {"text": "y" * 999}}}
    with open(har, "w", encoding="ascii") as f:
        f.write('{"log":{"entries":[')
        f.write(json.dumps(entry) + ",")
        entry["x"] = [[]]
        before, after = json.dumps(entry).split("[[]]")
        f.write(before + "[")
        for _ in range(42000):
            f.write("1," * 1000)
        f.write("1]" + after)
        f.write("]}}")
    status, mib, cpu, text = measured([AGENT, "replay", to, har, "--as=har",
                                       "--service=har"])
    note(f"{har.stat().st_size >> 20} MiB HAR: {mib:.0f} MiB, {cpu:.1f} s")
    equal(f"exit status: {text[-300:]}", status, 0)
    equal("counted", counted(rt, "har"), {("GET", "200"): 2})
    check(mib < 48, f"{mib} MiB")
    har.unlink()


def main():
    report = Report()
    dir_ = pathlib.Path(tempfile.mkdtemp(prefix="redtap-imports-"))
    server = backend()
    try:
        with Redtap(PORT) as rt:
            rt.start_aggregator()
            for sentence, fn in (
                    ("nginx's logs count as nginx answered", nginx),
                    ("Apache's do, and microseconds only if it is said",
                     apache),
                    ("HAProxy's do", haproxy),
                    ("lighttpd's does", lighttpd),
                    ("varnishncsa's does", varnish),
                    ("Caddy's does", caddy)):
                with report.case(sentence):
                    fn(rt)
            for sentence, fn in (
                    ("a file that yields nothing is an error with its reason",
                     yields_nothing),
                    ("a pipe is read like a file", takes_pipes),
                    ("memory does not grow with lines and documents",
                     stays_flat)):
                with report.case(sentence):
                    fn(rt, dir_)
    finally:
        server.shutdown()
        shutil.rmtree(dir_, ignore_errors=True)
    report.exit()


if __name__ == "__main__":
    sys.exit(main())

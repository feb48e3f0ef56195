#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
HTTPS, by uprobes: every program here counts its own requests, and both ends of
each connection must be seen exactly once, as https, and nothing of what is
encrypted. Servers: nginx, node, python's ssl and asyncio. Clients: curl
(OpenSSL), wget and gnutls-cli (GnuTLS), node, python.
"""

import contextlib
import glob
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

from harness import FAMILY, PATIENCE, Redtap, Report, Skip, check, equal, \
    eventually, note, port_open, series_key
from marks import MARK_PORTS

WEB = 21600
NGINX, NODE, PYTHON, ASYNCIO, BOXED, CUT = range(21610, 21616)
COPIES = 11
PRIME = 37
LINGER_S = 10
LIBSSL = next(iter(glob.glob("/usr/lib/*/libssl.so.3")), "")
PRIVATE = "tls/libssl-private.so.3"

NGINX_CONF = """
daemon off; worker_processes 2; user root; pid nginx.pid;
error_log error.log;
events {{ worker_connections 512; }}
http {{
	log_format short '$request_method $uri $status';
	access_log access.log short; keepalive_requests 1000000;
	client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
	uwsgi_temp_path tmp; scgi_temp_path tmp;
	ssl_certificate cert.pem; ssl_certificate_key key.pem;
	server {{ listen 127.0.0.1:{port} ssl; root www;
		location = /hello {{ return 200 "hello\\n"; }}
		location = /gone {{ return 410; }} }}
}}
"""

NODE_SERVER = """
const https = require('https'), fs = require('fs');
const [dir, port] = process.argv.slice(2);
https.createServer({ key: fs.readFileSync(dir + '/key.pem'),
                     cert: fs.readFileSync(dir + '/cert.pem') },
  (q, r) => { let n = 0; q.on('data', b => n += b.length); q.on('end', () => {
    r.statusCode = q.url === '/teapot' ? 418 : 200; r.end('' + n); }); }
).listen(+port, '127.0.0.1');
"""

NODE_CLIENT = """
const https = require('https');
const [port, n, path] = process.argv.slice(2);
const agent = new https.Agent({ keepAlive: true, maxSockets: 3,
                                rejectUnauthorized: false });
let left = +n, status = {};
for (let i = 0; i < +n; i++) {
  const q = https.request({ host: '127.0.0.1', port, path, agent,
                            method: 'POST' }, r => {
    status[r.statusCode] = (status[r.statusCode] || 0) + 1;
    r.resume(); r.on('end', () => {
      if (--left === 0) { console.log(JSON.stringify(status)); } }); });
  q.end('x'.repeat(20000));
}
process.stdin.resume(); process.stdin.on('end', () => process.exit(0));
"""

PYTHON_SERVER = """
import http.server, ssl, sys
d, port, mode = sys.argv[1:]
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(d + '/cert.pem', d + '/key.pem')
if mode == 'threads':
    class H(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        def do_GET(self):
            body = b'y' * 70000
            self.send_response(404 if self.path == '/no' else 200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *a):
            pass
    s = http.server.ThreadingHTTPServer(('127.0.0.1', int(port)), H)
    s.socket = c.wrap_socket(s.socket, server_side=True)
    s.serve_forever()
else:
    import asyncio
    async def serve(r, w):
        try:
            while True:
                head = await r.readuntil(b'\\r\\n\\r\\n')
                body = b'z' * 30000
                w.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n'
                        % len(body) + body)
                await w.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            w.close()
    async def main():
        s = await asyncio.start_server(serve, '127.0.0.1', int(port), ssl=c)
        await s.serve_forever()
    asyncio.run(main())
"""

PYTHON_CLIENT = """
import http.client, ssl, sys
port, n, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
c = ssl._create_unverified_context()
h = http.client.HTTPSConnection('127.0.0.1', port, context=c)
for i in range(n):
    h.request('GET', path)
    r = h.getresponse()
    r.read()
print('done', flush=True)
sys.stdin.read()
"""

# Says where it is, and waits for a line before it goes on.
LATE_CLIENT = """
import sys
print('up', flush=True)
sys.stdin.readline()
import ssl
print('loaded', flush=True)
sys.stdin.readline()
""" + PYTHON_CLIENT

ASYNCIO_CLIENT = """
import asyncio, ssl, sys
port, n = int(sys.argv[1]), int(sys.argv[2])
c = ssl._create_unverified_context()
async def one(k):
    r, w = await asyncio.open_connection('127.0.0.1', port, ssl=c)
    for i in range(k):
        w.write(b'GET /aio HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
        await w.drain()
        head = await r.readuntil(b'\\r\\n\\r\\n')
        await r.readexactly(30000)
    return w
async def main():
    # Several sessions in one thread, interleaved.
    ws = await asyncio.gather(*(one(n) for i in range(3)))
    print('done', flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


# A program that asks once may be gone before its environment is read, and is
# then called by its name: such are given their own.


def need(program):
    if not shutil.which(program):
        raise Skip(f"{program} is not installed")


def service(name):
    return dict(os.environ, OTEL_SERVICE_NAME=name)


class Tls(Redtap):
    def write_config(self):
        path = self.dir / "agent.yaml"
        marks = "-".join(map(str, MARK_PORTS))
        path.write_text("\n".join([
            f"node: {self.NODE}", "select:", "  include:",
            f'    ports: ["{marks}", "{NGINX}-21699"]', "services:",
            f"  - {{port: {NGINX}, service: nginx-tls}}",
            f"  - {{port: {BOXED}, service: boxed-nginx}}",
            "capture: {tls: auto}"]) + "\n")
        return path

    def probe(self, name):
        """1, 0, or None: not told of."""
        got = self.metrics().select("redtap_agent_probe_attached",
                                    node=self.NODE, probe=name)
        return next(iter(got.values())) if got else None


def counts(m, job):
    """{(role, method, status): count} of a job; all must be https."""
    out = {}
    for role in ("server", "client"):
        for labels, n in m.select(FAMILY[role] + "_count", job=job).items():
            key = series_key(role, labels)
            scheme = dict(labels).get("url_scheme")
            if role == "server":
                equal(f"scheme of {key}", scheme, "https")
            check(key[3] is None or key[3] == key[2], f"error in {key}")
            k = (role, key[0], key[2])
            out[k] = out.get(k, 0) + int(n)
    return out


def certificate(rt):
    need("openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
         rt.dir / "key.pem", "-out", rt.dir / "cert.pem", "-days", "2",
         "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_nginx(rt):
    need("nginx")
    (rt.dir / "www").mkdir()
    (rt.dir / "www" / "big").write_bytes(os.urandom(3_000_001))
    (rt.dir / "nginx.conf").write_text(NGINX_CONF.format(port=NGINX))
    rt.spawn(["nginx", "-p", rt.dir, "-c", "nginx.conf"], "nginx")
    eventually("nginx listens", lambda: port_open(NGINX))


@contextlib.contextmanager
def client(argv, name, said="done"):
    """A client that has made its requests, and waits before it ends."""
    p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, env=service(name))
    try:
        line = p.stdout.readline().strip()
        check(line if said is None else line == said,
              f"{name} said {line!r}")
        yield line
    finally:
        p.stdin.close()
        equal(f"exit status of {name}", p.wait(10 * PATIENCE), 0)


def expect(rt, before, want):
    """want: {job: {(role, method, status): count}}, and no others."""
    m = rt.quiet().minus(before)
    for job, counted in want.items():
        equal(job, counts(m, job), counted)
    total = sum(m.sum(FAMILY[r] + "_count") for r in FAMILY)
    equal("requests over all jobs", int(total),
          sum(sum(c.values()) for c in want.values()))
    equal("TLS calls without a connection",
          m.sum("redtap_agent_tls_unknown_total"), 0)
    equal("sessions on another connection",
          m.sum("redtap_agent_tls_moved_total"), 0)
    equal("malformed", m.sum("redtap_agent_malformed_total"), 0)
    return m


def nginx_curl(rt, report):
    with report.case("nginx and curl: keep-alive over one connection, exact, "
                     "as nginx's own log has it"):
        need("curl")
        start_nginx(rt)
        before = rt.metrics()
        url = f"https://127.0.0.1:{NGINX}"
        urls = [f"{url}/hello"] * PRIME + [f"{url}/gone"]
        run = subprocess.run(
            ["curl", "-sk", "-w", "%{http_code} %{num_connects}\n",
             *[a for u in urls for a in ("-o", "/dev/null", u)]],
            env=service("curl-tls"), capture_output=True, text=True)
        equal("what curl saw", run.stdout.split("\n")[:-1],
              ["200 1"] + ["200 0"] * (PRIME - 1) + ["410 0"])
        log = (rt.dir / "access.log").read_text().splitlines()
        equal("nginx's log", len(log), PRIME + 1)
        expect(rt, before, {
            "nginx-tls": {("server", "GET", "200"): PRIME,
                          ("server", "GET", "410"): 1},
            "curl-tls": {("client", "GET", "200"): PRIME,
                         ("client", "GET", "410"): 1}})


def ahead(rt, report):
    with report.case("the host's libraries are attached before anybody uses "
                     "them, and nothing is missed"):
        names = {os.path.basename(os.path.realpath(path)) for kind in
                 ("libssl.so", "libgnutls.so") for path in
                 glob.glob(f"/usr/lib/*-linux-*/{kind}.*")}
        check(names, "the host has none")
        equal("their probes", {name: rt.probe(f"tls/{name}")
                               for name in names}, dict.fromkeys(names, 1))
        equal("missed", rt.metrics().sum("redtap_agent_tls_missed_total"), 0)


def missed(rt, report):
    with report.case("a process that ends before its own library is attached "
                     "is counted, or its library was attached in time"):
        before = rt.metrics()
        for i in range(COPIES):
            copy = rt.dir / f"libssl-brief-{i}.so.3"
            shutil.copy(os.path.realpath(LIBSSL), copy)
            subprocess.run(["/bin/true"], check=True,
                           env=dict(os.environ, LD_PRELOAD=str(copy)))

        def told():
            log = rt.agent.log.read_text()
            attached = sum(f"attached file={rt.dir}/libssl-brief-{i}.so.3 " in
                           log for i in range(COPIES))
            gone = rt.metrics().minus(before).sum(
                "redtap_agent_tls_missed_total")
            check(attached + gone <= COPIES, f"{attached} + {gone}")
            return attached + gone == COPIES and (attached, int(gone))
        note("of %d brief processes: library attached, missed: %s"
             % (COPIES, eventually("all are accounted for", told, 60, 0.5)))


def first_run(rt, report):
    with report.case("a program's only request is seen although nothing of "
                     "its library was attached when it started"):
        need("curl")
        shutil.copy(os.path.realpath(LIBSSL), rt.dir / "libssl-private.so.3")
        equal("its probe before", rt.probe(PRIVATE), None)
        before = rt.metrics()
        preload = f"LD_PRELOAD={rt.dir / 'libssl-private.so.3'}"
        with client(["env", preload, sys.executable, "-c", PYTHON_CLIENT,
                     NGINX, 1, "/big"], "first-tls"):
            m = expect(rt, before, {
                "nginx-tls": {("server", "GET", "200"): 1},
                "first-tls": {("client", "GET", "200"): 1}})
        equal("body bytes", m.sum("http_server_response_body_size_bytes_sum",
                                  job="nginx-tls"), 3_000_001)
        eventually("its probe", lambda: rt.probe(PRIVATE) == 1)


def late(rt, report):
    with report.case("a library that a program loads long after its start is "
                     "attached at once, and what it carries is exact"):
        library = rt.dir / "late" / "libssl.so.3"
        library.parent.mkdir()
        shutil.copy(os.path.realpath(LIBSSL), library)
        told = f"tls: attached file={library} "
        before = rt.metrics()
        p = subprocess.Popen(
            [sys.executable, "-c", LATE_CLIENT, str(NGINX), str(PRIME),
             "/hello"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=dict(service("late-tls"),
                                LD_LIBRARY_PATH=str(library.parent)))

        def says(word):
            equal("what it says", p.stdout.readline().strip(), word)

        try:
            says("up")
            time.sleep(2)  # the scan after a program's start is over
            check(told not in rt.agent.log.read_text(), "attached too early")
            p.stdin.write("\n")
            p.stdin.flush()
            says("loaded")
            # Looking at all processes, once a minute, would take longer.
            eventually("its library is attached", lambda: told in
                       rt.agent.log.read_text(), 5, 0.005)
            p.stdin.write("\n")
            p.stdin.flush()
            says("done")
            expect(rt, before, {
                "nginx-tls": {("server", "GET", "200"): PRIME},
                "late-tls": {("client", "GET", "200"): PRIME}})
        finally:
            p.stdin.close()
            equal("its exit status", p.wait(10 * PATIENCE), 0)


def gnutls(rt, report):
    with report.case("wget and gnutls-cli: GnuTLS clients, each connection "
                     "exactly once"):
        need("wget")
        need("gnutls-cli")
        before = rt.metrics()
        url = f"https://127.0.0.1:{NGINX}/hello"
        subprocess.run(["wget", "-q", "--no-check-certificate", "-O",
                        "/dev/null", *[url] * PRIME],
                       env=service("wget-tls"), check=True)
        for _ in range(3):
            out = subprocess.run(
                ["gnutls-cli", "--insecure", "-p", str(NGINX), "127.0.0.1"],
                input="GET /hello HTTP/1.1\r\nHost: x\r\n"
                "Connection: close\r\n\r\n", env=service("gnutls-cli"),
                capture_output=True, text=True)
            check("HTTP/1.1 200 OK" in out.stdout, out.stdout[-300:])
        expect(rt, before, {
            "nginx-tls": {("server", "GET", "200"): PRIME + 3},
            "wget-tls": {("client", "GET", "200"): PRIME},
            "gnutls-cli": {("client", "GET", "200"): 3}})


def node(rt, report):
    with report.case("node serves and asks (memory BIOs, POST bodies, three "
                     "connections in one thread): exact"):
        need("node")
        (rt.dir / "server.js").write_text(NODE_SERVER)
        (rt.dir / "client.js").write_text(NODE_CLIENT)
        rt.spawn(["node", rt.dir / "server.js", rt.dir, NODE], "node-server",
                 env=service("node-tls"))
        eventually("node listens", lambda: port_open(NODE))
        eventually("its probes", lambda: rt.probe("tls/node") == 1)
        before = rt.metrics()
        with client(["node", rt.dir / "client.js", NODE, PRIME, "/teapot"],
                    "node-client-tls", None) as said:
            equal("what the client saw", said, '{"418":%d}' % PRIME)
            expect(rt, before, {
                "node-tls": {("server", "POST", "418"): PRIME},
                "node-client-tls": {("client", "POST", "418"): PRIME}})


def python(rt, report):
    with report.case("python's ssl: SSL_read_ex, SSL_write_ex, a thread a "
                     "connection: exact"):
        (rt.dir / "server.py").write_text(PYTHON_SERVER)
        rt.spawn([sys.executable, rt.dir / "server.py", rt.dir, PYTHON,
                  "threads"], "python-server", env=service("python-tls"))
        eventually("python listens", lambda: port_open(PYTHON))
        before = rt.metrics()
        argv = [sys.executable, "-c", PYTHON_CLIENT, PYTHON, PRIME]
        with client([*argv, "/"], "python-client-tls"), \
                client([*argv, "/no"], "python-client-tls"):
            both = {"200": PRIME, "404": PRIME}
            expect(rt, before, {
                "python-tls": {("server", "GET", s): n
                               for s, n in both.items()},
                "python-client-tls": {("client", "GET", s): n
                                      for s, n in both.items()}})


def asyncio(rt, report):
    with report.case("python's asyncio (memory BIOs), three connections "
                     "interleaved in one thread at both ends: exact"):
        (rt.dir / "server.py").write_text(PYTHON_SERVER)
        rt.spawn([sys.executable, rt.dir / "server.py", rt.dir, ASYNCIO,
                  "asyncio"], "asyncio-server", env=service("asyncio-tls"))
        eventually("asyncio listens", lambda: port_open(ASYNCIO))
        before = rt.metrics()
        with client([sys.executable, "-c", ASYNCIO_CLIENT, ASYNCIO, PRIME],
                    "asyncio-client-tls"):
            expect(rt, before, {
                "asyncio-tls": {("server", "GET", "200"): 3 * PRIME},
                "asyncio-client-tls": {("client", "GET", "200"): 3 * PRIME}})


def chunked(context, listener, pieces):
    """Answers one request with these, a call each, and closes."""
    s = context.wrap_socket(listener.accept()[0], server_side=True)
    got = b""
    while b"\r\n\r\n" not in got:
        got += s.recv(1000)
    for piece in pieces:
        s.sendall(piece)
        time.sleep(0.1)
    with contextlib.suppress(OSError):
        s.unwrap()  # else the client would send an alert, and be reset
    s.close()


def cut(rt, report):
    with report.case("chunked answers, whole and cut between two chunks: only "
                     "what is cut is an error, at both ends"):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(rt.dir / "cert.pem", rt.dir / "key.pem")
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"3e8\r\n" + b"c" * 1000 + b"\r\n"
        before = rt.metrics()
        with socket.create_server(("127.0.0.1", CUT)) as listener:
            for end in [b"0\r\n\r\n"] * 2 + [chunk] * 3:
                server = threading.Thread(
                    target=chunked, args=(c, listener, [head, chunk, end]))
                server.start()
                s = ssl._create_unverified_context().wrap_socket(
                    socket.create_connection(("127.0.0.1", CUT)))
                s.sendall(b"GET /cut HTTP/1.1\r\nHost: x\r\n\r\n")
                while s.recv(4000):
                    pass
                s.close()
                server.join()
        m = rt.quiet().minus(before)
        for role in FAMILY:
            got = {}
            for labels, n in m.select(FAMILY[role] + "_count").items():
                error = dict(labels).get("error_type")
                got[error] = got.get(error, 0) + int(n)
            equal(role, got, {None: 2, "aborted": 3})


def middle(rt, report):
    with report.case("an agent that starts in the middle of TLS connections "
                     "sees what comes after, and no ciphertext"):
        c = ssl._create_unverified_context()
        socks = []
        for _ in range(5):
            s = c.wrap_socket(socket.create_connection(("127.0.0.1", NGINX)))
            s.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            check(s.recv(1000).startswith(b"HTTP/1.1 200"), "no answer")
            socks.append(s)
        equal("exit status of the agent", rt.agent.stop(), 0)
        rt.start_agent()
        before = rt.metrics()
        for s in socks:
            for _ in range(7):
                s.sendall(b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
                got = s.recv(2000)
                check(got.startswith(b"HTTP/1.1 410"), "no answer")
        m = rt.quiet().minus(before)
        equal("nginx", counts(m, "nginx-tls"), {("server", "GET", "410"): 35})
        equal("all, this program among them", int(sum(
            m.sum(FAMILY[r] + "_count") for r in FAMILY)), 70)
        for s in socks:
            s.close()


def copy_with_libraries(programs, root):
    """A root folder with these programs, their libraries and nothing else."""
    for program in programs:
        text = subprocess.run(["ldd", program], check=True,
                              capture_output=True, text=True).stdout
        for path in [program, *re.findall(r"(/\S+) \(0x", text)]:
            to = root / path.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(path), to)


def container(rt, report):
    """
    Its root is a file system that is mounted in its own mount namespace only:
    no path of the host leads to its libraries.
    """
    with report.case("a server and its clients in mount and process name "
                     "spaces of their own, with libraries of their own: "
                     "exact"):
        need("unshare")
        image, root = rt.dir / "image", rt.dir / "root"
        nginx = shutil.which("nginx") or need("nginx")
        curl = shutil.which("curl") or need("curl")
        copy_with_libraries([nginx, curl], image)
        for name in ("dev", "etc", "srv/www", "tmp", "var/log/nginx"):
            (image / name).mkdir(parents=True, exist_ok=True)
        (image / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n"
                                          "nobody:x:65534:65534::/:/bin/sh\n")
        (image / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        for name in ("cert.pem", "key.pem"):
            shutil.copy(rt.dir / name, image / "srv")
        (image / "srv/nginx.conf").write_text(NGINX_CONF.format(port=BOXED))
        root.mkdir()
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh",
                 "-c",
                 f"mount -t tmpfs none {root} && cp -a {image}/. {root} && "
                 f"mknod {root}/dev/null c 1 3 && mknod {root}/dev/urandom "
                 f'c 1 9 && exec chroot {root} "$@"', "sh"]
        boxed = rt.spawn([*enter, nginx, "-p", "/srv", "-c",
                          "/srv/nginx.conf"], "boxed", env=service("boxed-nginx"))
        eventually("nginx listens in the container",
                   lambda: port_open(BOXED))
        check(not any(root.iterdir()), "its root is seen from the host")
        eventually("its libssl is attached", lambda: len(set(re.findall(
            r"tls: attached file=\S+/libssl\.so\.3 inode=(\d+)",
            rt.agent.log.read_text()))) >= 2)
        before = rt.metrics()
        url = f"https://127.0.0.1:{BOXED}"
        inside, = pathlib.Path(f"/proc/{boxed.pid}/task/{boxed.pid}/children"
                               ).read_text().split()
        run = subprocess.run(
            ["nsenter", "--target", inside, "--mount", "--root", "--pid",
             curl, "-sk", "-w", "%{http_code}\n",
             *["-o", "/dev/null", f"{url}/hello"] * PRIME,
             "-o", "/dev/null", f"{url}/gone"],
            env=service("boxed-curl"), capture_output=True, text=True)
        equal("what curl saw", run.stdout.split(), ["200"] * PRIME + ["410"])
        both = {"200": PRIME, "410": 1}
        expect(rt, before, {
            "boxed-nginx": {("server", "GET", s): n for s, n in both.items()},
            "boxed-curl": {("client", "GET", s): n for s, n in both.items()}})


def detach(rt, report):
    with report.case("a library without users is detached after "
                     "some seconds, and said so"):
        eventually("the probe is gone", lambda: rt.probe(PRIVATE) is None,
                   LINGER_S + 15, 0.5)
        check(re.search(r"tls: detached file=libssl-private", 
                        rt.agent.log.read_text()), "not logged")
        check(not re.search("tls: detached file=libssl.so.* inode=%d "
                            % os.stat(LIBSSL).st_ino,
                            rt.agent.log.read_text()), "libssl is in use")


def off(rt, report):
    with report.case("with --capture.tls=off nothing of TLS is seen"):
        need("curl")
        rt.agent.stop()
        rt.agent_flags.append("--capture.tls=off")
        rt.start_agent()
        before = rt.metrics()
        subprocess.run(["curl", "-sk", "-o", "/dev/null",
                        f"https://127.0.0.1:{NGINX}/hello"], check=True)
        m = rt.quiet().minus(before)
        equal("requests", sum(m.sum(FAMILY[r] + "_count") for r in FAMILY), 0)
        equal("TLS calls", m.sum("redtap_agent_tls_calls_total"), 0)


def main():
    report = Report()
    with Tls(WEB) as rt:
        certificate(rt)
        rt.start()
        for suite in (ahead, nginx_curl, first_run, late, missed, gnutls,
                      node, python, asyncio, cut, container, detach, middle,
                      off):
            if len(sys.argv) == 1 or suite.__name__ in sys.argv:
                suite(rt, report)
        note("agent: " + " | ".join(
            line.split("msg=")[-1] for line in
            rt.agent.log.read_text().splitlines() if "tls:" in line))
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What other programs do with HTTP: headers of the PROXY protocol, early hints,
chunks with pauses, answers before the body was read, odd request lines, TCP
fast open, MPTCP, sockmaps, TLS in TLS. What the programs count themselves is the truth.
"""

import collections
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from harness import FAMILY, Redtap, Report, Skip, check, equal, eventually, \
    note, now, observed, port_open, series_key

PORT = 21570  # and the nine behind it
IPPROTO_MPTCP = 262
# nginx forgets its environment.
CONFIG = ["services:"] + [
    line for port, name in ((PORT + 1, "pp-nginx"), (PORT + 3, "pp-nginx-v2"),
                            (PORT + 8, "tfo-nginx"))
    for line in (f"  - port: {port}", f"    service: {name}")]


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")


def service(name):
    return dict(os.environ, OTEL_SERVICE_NAME=name)


def counts(m, role, *jobs):
    """{(method, route, status, error): count} of services."""
    out = collections.Counter()
    for job in jobs:
        for labels, n in m.select(FAMILY[role] + "_count", job=job).items():
            out[series_key(role, labels)[:4]] += int(n)
    return +out


def curls(m, name):
    """One that has ended before its name was looked up is called curl."""
    return counts(m, "client", name, "curl")


def curl(name, *args):
    done = subprocess.run(["curl", "-s", "--noproxy", "", *map(str, args)],
                          env=service(name), capture_output=True, text=True,
                          timeout=60)
    return done.stdout


def listens(port):
    eventually(f"port {port} is open", lambda: port_open(port))


# --- proxies ------------------------------------------------------------------

NGINX = """
daemon off; worker_processes 1; user root; pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
	access_log {dir}/access.log;
	client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2;
	fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
	scgi_temp_path {dir}/t5;
	server {{ {listen}; return 200 "x\\n"; }}
}}
"""


def start_nginx(rt, name, listen):
    where = rt.dir / name
    where.mkdir()
    conf = where / "nginx.conf"
    conf.write_text(NGINX.format(dir=where, listen=listen))
    rt.spawn(["nginx", "-p", where, "-c", conf], name, env=service(name))
    return where / "access.log"


HAPROXY = """
global
	nbthread 1
defaults
	mode http
	timeout connect 5s
	timeout client 20s
	timeout server 20s
{rest}
"""


def start_haproxy(rt, name, rest):
    conf = rt.dir / f"{name}.cfg"
    conf.write_text(HAPROXY.format(rest=rest))
    rt.spawn(["haproxy", "-db", "-f", conf], name, env=service(name))


def proxy_headers(rt, version):
    """nginx behind HAProxy: what its log has, as a server and as a client"""
    need("nginx", "haproxy", "ab")
    front, back = (PORT, PORT + 1) if version == "" else (PORT + 2, PORT + 3)
    log = start_nginx(rt, f"pp-nginx{version}",
                      f"listen 127.0.0.1:{back} proxy_protocol")
    listens(back)
    start_haproxy(rt, f"pp-haproxy{version}", f"""
listen a
	bind 127.0.0.1:{front}
	server s 127.0.0.1:{back} send-proxy{version}
""")
    listens(front)
    before = rt.quiet()
    subprocess.run(["ab", "-q", "-n", "401", "-c", "7",
                    f"http://127.0.0.1:{front}/a"], env=service("pp-ab"),
                   capture_output=True, timeout=60, check=True)
    delta = rt.quiet().minus(before)
    equal("lines of the log", len(log.read_text().splitlines()), 401)
    for role, job in (("server", f"pp-nginx{version}"),
                      ("client", f"pp-haproxy{version}")):
        got = counts(delta, role, job)
        equal(f"{role} {job}", {k[2]: n for k, n in got.items()},
              {"200": 401})


def early_hints(rt):
    """HAProxy's early hints, four links in each: the final status"""
    need("haproxy", "curl")
    links = "\n".join(
        f'	http-request early-hint Link "</{"v" * 60}{i}.css>; rel=preload"'
        for i in range(4))
    start_haproxy(rt, "hints", f"""
frontend a
	bind 127.0.0.1:{PORT + 4}
{links}
	http-request return status 200 content-type text/plain string ok hdr X-Filler {"p" * 450}
""")
    listens(PORT + 4)
    before = rt.quiet()
    url = f"http://127.0.0.1:{PORT + 4}/hint"
    for _ in range(5):
        curl("hints-curl", "-o", "/dev/null", url, "-o", "/dev/null", url)
    delta = rt.quiet().minus(before)
    equal("server", counts(delta, "server", "hints"),
          {("GET", "/hint", "200", None): 10})
    equal("client", curls(delta, "hints-curl"),
          {("GET", None, "200", None): 10})


APACHE = """
ServerRoot {dir}
PidFile {dir}/apache.pid
ServerName localhost
Listen 127.0.0.1:{port}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule remoteip_module {modules}/mod_remoteip.so
ErrorLog {dir}/error.log
LogFormat "%m %U %>s" short
CustomLog {dir}/access.log short
RemoteIPProxyProtocol On
DocumentRoot {dir}/www
<Directory {dir}/www>
Require all granted
</Directory>
"""


def apache_remoteip(rt):
    """Apache's mod_remoteip and curl --haproxy-protocol"""
    need("apache2", "curl")
    where, port = rt.dir / "remoteip", PORT + 5
    (where / "www").mkdir(parents=True)
    (where / "www" / "a").write_text("x\n")
    conf = where / "apache.conf"
    conf.write_text(APACHE.format(dir=where, port=port,
                                  modules="/usr/lib/apache2/modules"))
    os.chmod(where, 0o755)
    rt.spawn(["apache2", "-X", "-f", conf], "remoteip",
             env=service("remoteip"))
    listens(port)
    before = rt.quiet()
    url = f"http://127.0.0.1:{port}/a"
    for _ in range(5):
        curl("remoteip-curl", "--haproxy-protocol", url, url)
    delta = rt.quiet().minus(before)
    log = (where / "access.log").read_text().splitlines()
    equal("lines of the log", log, ["GET /a 200"] * 10)
    equal("server", counts(delta, "server", "remoteip"),
          {("GET", "/a", "200", None): 10})
    equal("client", curls(delta, "remoteip-curl"),
          {("GET", None, "200", None): 10})


def squid(rt):
    """squid asked for ftp:, and with a method in lower case"""
    need("squid", "curl")
    # Not in rt.dir, whose parent may be closed to squid's user.
    where = pathlib.Path(tempfile.mkdtemp(prefix="redtap-it-", dir="/tmp"))
    port, name = PORT + 6, f"redtap{os.getpid()}"
    shutil.chown(where, "proxy")
    try:
        squid_in(rt, where, port, name)
    finally:
        shutil.rmtree(where)
        # What a squid that was killed leaves would keep the next from starting.
        for left in pathlib.Path("/dev/shm").glob(f"{name}-*"):
            left.unlink()


def squid_in(rt, where, port, name):
    conf = where / "squid.conf"
    conf.write_text(f"""
http_port 127.0.0.1:{port}
http_access allow all
access_log stdio:{where}/access.log
cache_log {where}/cache.log
pid_filename {where}/squid.pid
cache deny all
coredump_dir {where}
shutdown_lifetime 0 seconds
""")
    rt.spawn(["squid", "-N", "-n", name, "-f", conf], "squid", env=service("squid"))
    listens(port)
    before = rt.quiet()
    url = "ftp://127.0.0.1:1/x"
    curl("squid-curl", "-x", f"http://127.0.0.1:{port}", url, url, url)
    curl("squid-curl", "-x", f"http://127.0.0.1:{port}", url)
    delta = rt.quiet().minus(before)
    log = (where / "access.log").read_text().splitlines()
    statuses = collections.Counter(
        re.search(r" \w+/(\d{3}) ", line).group(1) for line in log)
    del statuses["000"]  # a connection without a request
    equal("lines of the log", sum(statuses.values()), 4)
    for role, have in (("server", counts(delta, "server", "squid")),
                       ("client", curls(delta, "squid-curl"))):
        got = collections.Counter()
        for key, n in have.items():
            got[key[2]] += n
        equal(role, got, statuses)


# --- node ---------------------------------------------------------------------

NODE = """
const http = require('http');
http.createServer((q, s) => {
	if (q.url === '/early') {
		s.end('no');
		const until = Date.now() + 40;
		while (Date.now() < until);
		return;
	}
	if (q.method === 'GET' && q.url === '/next')
		return s.end('ok');
	let n = 0;
	const t = setInterval(() => {
		if (++n < 4)
			return s.write('a,b,' + n + '\\r\\n');
		clearInterval(t);
		if (q.url === '/cut')
			return s.socket.destroy();
		s.end();
	}, 400);
}).listen(%d, '127.0.0.1');
"""


def start_node(rt):
    need("node")
    if port_open(PORT + 7):
        return
    script = rt.dir / "strangers.js"
    script.write_text(NODE % (PORT + 7))
    rt.spawn(["node", script], "node", env=service("node-st"))
    listens(PORT + 7)


def chunks(rt):
    """node's chunks of whole lines, with pauses: to the last byte or cut"""
    need("curl")
    start_node(rt)
    before = rt.quiet()
    for path in ("whole", "cut"):
        curl("node-curl", "-N", f"http://127.0.0.1:{PORT + 7}/{path}")
    delta = rt.quiet().minus(before)
    equal("server", counts(delta, "server", "node-st"),
          {("GET", "/whole", "200", None): 1,
           ("GET", "/cut", "200", "aborted"): 1})
    got = curls(delta, "node-curl")
    equal("client", {k[2:]: n for k, n in got.items()},
          {("200", None): 1, ("200", "aborted"): 1})
    for role, jobs in (("server", ("node-st",)),
                       ("client", ("node-curl", "curl"))):
        took = sum(delta.sum(FAMILY[role] + "_sum", job=job) for job in jobs)
        check(3.2 <= took < 4.5, f"{role}: {took} s for twice 1.6 s")


def early_answers(rt):
    """node answers before it has read the body, ten times on a connection"""
    port = PORT + 7
    start_node(rt)
    before = rt.quiet()
    drive("early", port, "node-early")
    delta = rt.quiet().minus(before)
    want = {("POST", "/early", "200", None): 10,
            ("GET", "/next", "200", None): 10}
    equal("server", counts(delta, "server", "node-st"), want)
    equal("client", counts(delta, "client", "node-early"),
          {(m, None, s, e): n for (m, _, s, e), n in want.items()})


def lower_case(rt):
    """methods in lower case, which node answers with 400"""
    port = PORT + 7
    start_node(rt)
    before = rt.quiet()
    drive("lower", port, "node-lower")
    delta = rt.quiet().minus(before)
    equal("server", counts(delta, "server", "node-st"),
          {("_OTHER", "/x", "400", None): 3})
    equal("client", counts(delta, "client", "node-lower"),
          {("_OTHER", None, "400", "400"): 3})


# --- sockets ------------------------------------------------------------------

def fast_open(rt):
    """curl --tcp-fastopen and nginx fastopen: the data in the SYN"""
    need("nginx", "curl", "unshare")
    port, where = PORT + 8, rt.dir / "tfo"
    where.mkdir()
    conf = where / "nginx.conf"
    conf.write_text(NGINX.format(
        dir=where, listen=f"listen 127.0.0.1:{port} fastopen=16"))
    before = rt.quiet()
    script = f"""
ip link set lo up; sysctl -qw net.ipv4.tcp_fastopen=3
OTEL_SERVICE_NAME=tfo-nginx nginx -p {where} -c {conf} & server=$!
until curl -so /dev/null --tcp-fastopen http://127.0.0.1:{port}/; do
	sleep 0.1; done
for i in 1 2 3 4 5 6; do
	curl -so /dev/null --tcp-fastopen http://127.0.0.1:{port}/
	curl -so /dev/null --tcp-fastopen -d body http://127.0.0.1:{port}/; done
{sys.executable} {__file__} drive sendto {port}
nstat -az TcpExtTCPFastOpenActive | awk 'END {{ print $2 }}'
kill -QUIT $server; wait $server
"""
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], timeout=60,
                          env=service("tfo-curl"), capture_output=True,
                          text=True)
    delta = rt.quiet().minus(before)
    log = (where / "access.log").read_text().splitlines()
    note("connections whose data went with the SYN: " + done.stdout.strip())
    equal("server", sum(counts(delta, "server", "tfo-nginx").values()),
          len(log))
    equal("client", sum(curls(delta, "tfo-curl").values()),
          len(log))


def mptcp(rt):
    """MPTCP on the client's side, on both, and on the server's alone"""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as e:
        raise Skip(f"no MPTCP: {e}") from e
    if rt.capture() in ("fentry", "kprobe"):
        raise Skip("inside TCP, the bytes of MPTCP are not those of programs")
    before = rt.quiet()
    for server, client in (("tcp", "mptcp"), ("mptcp", "mptcp"),
                           ("mptcp", "tcp")):
        drive(f"serve-{server}-{client}", PORT + 9, "mptcp")
    delta = rt.quiet().minus(before)
    equal("server", counts(delta, "server", "mptcp"),
          {("GET", "/mp", "200", None): 27})
    equal("client", counts(delta, "client", "mptcp"),
          {("GET", None, "200", None): 27})


SOCKMAP = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
struct key { __u32 a, b, p, q; };
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 64);
	__type(key, struct key);
	__type(value, __u32);
} socks SEC(".maps");
SEC("sockops") int ops(struct bpf_sock_ops *s)
{
	struct key k = { s->local_ip4, s->remote_ip4, s->local_port,
			 bpf_ntohl(s->remote_port) };
	if ((k.p == PORT || k.q == PORT) &&
	    (s->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB ||
	     s->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB))
		bpf_sock_hash_update(s, &socks, &k, BPF_ANY);
	return 0;
}
SEC("sk_msg") int msg(struct sk_msg_md *m) { return SK_PASS; }
char _license[] SEC("license") = "GPL";
"""


def sockmap(rt):
    """sockets in a sockmap, whose verdict passes all on"""
    need("bpftool", "clang-14", "unshare")
    if rt.capture() in ("fentry", "kprobe"):
        raise Skip("writes to such a socket do not call tcp_sendmsg()")
    where, port = rt.dir / "sockmap", PORT + 11
    where.mkdir()
    (where / "s.c").write_text(SOCKMAP.replace("PORT", str(port)))
    subprocess.run(["clang-14", "-O2", "-g", "-target", "bpf",
                    f"-I/usr/include/{os.uname().machine}-linux-gnu", "-c",
                    "s.c", "-o", "s.o"], cwd=where, check=True)
    before = rt.quiet()
    script = f"""
set -e; mkdir fs cg; mount -t bpf b fs; mount -t cgroup2 c cg
mkdir cg/redtap-it; echo $$ >cg/redtap-it/cgroup.procs
bpftool prog loadall s.o fs/p pinmaps fs/m
bpftool prog attach pinned fs/p/msg msg_verdict pinned fs/m/socks
bpftool cgroup attach cg/redtap-it sock_ops pinned fs/p/ops
{sys.executable} {__file__} drive serve-tcp-tcp {port}
bpftool map dump pinned fs/m/socks | tail -1 >&2
bpftool cgroup detach cg/redtap-it sock_ops pinned fs/p/ops
bpftool prog detach pinned fs/p/msg msg_verdict pinned fs/m/socks
echo $$ >cg/cgroup.procs; rmdir cg/redtap-it
"""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=where,
                          env=service("sockmap"), timeout=60,
                          capture_output=True, text=True)
    equal("exit status", (done.returncode, done.stderr if done.returncode
                          else ""), (0, ""))
    delta = rt.quiet().minus(before)
    equal("server", counts(delta, "server", "sockmap"),
          {("GET", "/mp", "200", None): 9})
    equal("client", counts(delta, "client", "sockmap"),
          {("GET", None, "200", None): 9})


def tls_in_tls(rt):
    """TLS inside TLS: curl asks an https origin through an https proxy"""
    need("curl", "openssl")
    where, port = rt.dir / "tls-in-tls", PORT + 12
    where.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                    "-keyout", "k", "-out", "c", "-days", "1", "-subj",
                    "/CN=x"], cwd=where, check=True, capture_output=True)
    before = rt.quiet()
    rt.spawn([sys.executable, __file__, "drive", "tunnel", port], "tunnel",
             cwd=where, env=service("tunnel"))
    listens(port + 2)
    url = f"https://127.0.0.1:{port + 1}/x"
    curl("tunnel-curl", "-k", "--proxy-insecure", "-x",
         f"https://127.0.0.1:{port}", url, url, url)
    delta = rt.quiet().minus(before)
    want = {("CONNECT", "200"): 1, ("GET", "200"): 3}
    for role, have in (("server", counts(delta, "server", "tunnel")),
                       ("client", curls(delta, "tunnel-curl"))):
        equal(role, {(k[0], k[2]): n for k, n in have.items()}, want)


# --- drivers, in a process of their own ---------------------------------------

def drive(what, port, name):
    subprocess.run([sys.executable, __file__, "drive", what, str(port)],
                   env=service(name), timeout=60, check=True)


def answer(s, want=1):
    """Reads answers with a length, whole."""
    got = b""
    for _ in range(want):
        while b"\r\n\r\n" not in got:
            data = s.recv(65536)
            if not data:
                return got
            got += data
        head, got = got.split(b"\r\n\r\n", 1)
        found = re.search(rb"(?i)content-length: (\d+)", head)
        length = int(found.group(1)) if found else 0
        while len(got) < length:
            got += s.recv(65536)
        got = got[length:]
    return got


GET = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def drive_early(port):
    s = socket.create_connection(("127.0.0.1", port))
    for _ in range(10):
        s.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\n"
                  b"Content-Length: 120000\r\n\r\n" + b"u" * 120000)
        answer(s)
        s.sendall(GET % b"/next")
        answer(s)
    s.close()


def drive_lower(port):
    for _ in range(3):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(b"patch /x HTTP/1.1\r\nHost: a\r\n\r\n")
        while s.recv(4096):
            pass
        s.close()


def drive_sendto(port):
    """sendto(MSG_FASTOPEN), which connects, and blocks until it has."""
    for _ in range(3):
        s = socket.socket()
        s.sendto(GET % b"/", socket.MSG_FASTOPEN, ("127.0.0.1", port))
        answer(s)
        s.sendall(GET % b"/")
        answer(s)
        s.close()


def serve_mptcp(server, client, port):
    kinds = {"tcp": 0, "mptcp": IPPROTO_MPTCP}
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, kinds[server])
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    if os.fork() == 0:
        for _ in range(3):
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM,
                              kinds[client])
            s.connect(("127.0.0.1", port))
            for _ in range(3):
                s.sendall(GET % b"/mp")
                answer(s)
            s.close()
        time.sleep(0.2)  # so that its name is looked up while it lives
        os._exit(0)
    for _ in range(3):
        s = listener.accept()[0]
        while s.recv(4096):
            s.sendall(OK)
        s.close()
    os.wait()


def drive_tunnel(port):
    """An origin and a proxy, both with TLS; port + 2 says that they listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("c", "k")
    listeners = [socket.create_server(("127.0.0.1", port + i))
                 for i in range(3)]

    def head(s):
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(4096)

    def origin():
        s = context.wrap_socket(listeners[1].accept()[0], server_side=True)
        for _ in range(3):
            head(s)
            s.sendall(OK)
        s.recv(1)

    def pump(a, b):
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)

    threading.Thread(target=origin, daemon=True).start()
    s = context.wrap_socket(listeners[0].accept()[0], server_side=True)
    head(s)
    out = socket.create_connection(("127.0.0.1", port + 1))
    s.sendall(b"HTTP/1.1 200 ok\r\n\r\n")
    threading.Thread(target=pump, args=(out, s), daemon=True).start()
    pump(s, out)
    time.sleep(5)


def driver(what, port):
    if what.startswith("serve-"):
        serve_mptcp(*what.split("-")[1:], port)
    else:
        globals()["drive_" + what](port)
    time.sleep(0.2)  # so that its name is looked up while it lives


CASES = [("pp1", lambda rt: proxy_headers(rt, ""), proxy_headers.__doc__),
         ("pp2", lambda rt: proxy_headers(rt, "-v2"),
          proxy_headers.__doc__ + ", version 2")] + \
        [(f.__name__, f, f.__doc__) for f in
         (early_hints, apache_remoteip, squid, chunks, early_answers,
          lower_case, fast_open, mptcp, sockmap, tls_in_tls)]


def main():
    report = Report()
    names = sys.argv[1:]
    with Redtap(web=21406, config=CONFIG) as rt:
        with report.case("agent and aggregator start"):
            rt.start()
        if report.failed:
            report.exit()
        for name, case, sentence in CASES:
            if names and name not in names:
                continue
            begin = now()
            with report.case(f"{name}: {' '.join(sentence.split())}"):
                case(rt)
            note(f"{name}: {now() - begin:.1f} s")
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    if sys.argv[1:2] == ["drive"]:
        driver(sys.argv[2], int(sys.argv[3]))
    else:
        main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Who it was, with real processes: containers by the cgroups that docker,
containerd, CRI-O and podman make, chosen and left out by their id; and a
process id that another program gets.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys

from harness import FAMILY, Failure, Redtap, Report, Skip, check, equal, \
    eventually, http_get, port_open, series_key
from marks import Marker

PORT = 21520
A, B, C, D, E = ("0a1b" * 16, "1b2c" * 16, "2c3d" * 16, "3d4e" * 16,
                 "4e5f" * 16)
# Name of the service, where its process is, requests, and is it chosen?
BOXES = [
    ("box-docker", f"system.slice/docker-{A}.scope", 3, A),
    ("box-cgroupfs", f"docker/{B}", 5, B),
    ("box-containerd", f"kubepods.slice/kubepods-burstable.slice/"
     f"kubepods-burstable-pod7.slice/cri-containerd-{C}.scope", 7, C),
    ("box-left-out", f"machine.slice/libpod-{D}.scope/container", 11, None),
    ("box-other", f"kubepods/pod9/crio-{E}", 13, None),
    ("no-box", "system.slice/redtap-it.service", 17, None),
]
CONFIG = ["    containers:", f"      - {A}", f"      - {B[:12]}",
          '      - "2c3d*"', '      - "3d4e*"', "  exclude:",
          f"    containers: [{D[:12]}]"]
CLONE3, SIGCHLD = 435, signal.SIGCHLD.value
SERVER = "import sys, http.server as h\n" \
    "h.HTTPServer(('127.0.0.1', int(sys.argv[1])), " \
    "h.SimpleHTTPRequestHandler).serve_forever()"


def cgroup_root():
    """A hierarchy that we may make groups in; version 2 if there is one."""
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in
                                 options.split(",")):
            if os.access(where, os.W_OK) and "ro" not in options.split(","):
                return pathlib.Path(where)
    raise Skip("there is no cgroup hierarchy that can be written to")


@contextlib.contextmanager
def groups(root, paths):
    """Makes the groups, and takes away what was not there before."""
    made = []
    try:
        for path in paths:
            at = root
            for part in path.split("/"):
                at = at / part
                if not at.exists():
                    at.mkdir()
                    made.append(at)
        yield
    finally:
        for at in reversed(made):
            with contextlib.suppress(Failure):
                eventually(f"{at} is empty", lambda: remove(at), 5)


def remove(at):
    try:
        at.rmdir()
    except OSError:
        return False
    return True


def counts(m, **want):
    """{(job, instance): requests served}."""
    out = {}
    for labels, n in m.select(FAMILY["server"] + "_count", **want).items():
        labels = dict(labels)
        key = labels["job"], labels["instance"]
        out[key] = out.get(key, 0) + int(n)
    return out


def containers(rt):
    root = cgroup_root()
    with groups(root, [path for _, path, _, _ in BOXES]):
        before, servers = rt.metrics(), []
        rt.marker = Marker()
        (root / BOXES[0][1] / "cgroup.procs").write_text(str(rt.marker.pid))
        for i, (name, path, _, _) in enumerate(BOXES):
            into = root / path / "cgroup.procs"
            env = dict(os.environ, OTEL_SERVICE_NAME=name)
            if name == "no-box":
                del env["OTEL_SERVICE_NAME"]
            servers.append(rt.spawn(
                ["sh", "-c", f'echo $$ >{into} && exec "$0" "$@"',
                 sys.executable, "-c", SERVER, PORT + i], name, env=env,
                cwd=rt.dir))
        try:
            for i, (name, path, n, _) in enumerate(BOXES):
                eventually(f"{name} listens",
                           lambda at=PORT + i: port_open(at))
                text = pathlib.Path(
                    f"/proc/{servers[i].pid}/cgroup").read_text()
                check(f"/{path}\n" in text, f"{name} is in {text}")
                for _ in range(n):
                    equal("status", http_get(PORT + i, "/none")[0], 404)
            delta = rt.quiet().minus(before)
        finally:
            rt.marker.stop()
            for server in servers:
                server.stop(signal.SIGKILL)
    equal("requests by job and instance", counts(delta),
          {(name, f"{rt.NODE}/{box[:12]}"): n
           for name, _, n, box in BOXES if box})
    equal("requests of clients, which are in no container",
          delta.sum(FAMILY["client"] + "_count"), 0)


class CloneArgs(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack",
        "stack_size", "tls", "set_tid", "set_tid_size")]


def spawn_as(pid, argv, log):
    """A child with that very process id."""
    wanted = (ctypes.c_int * 1)(pid)
    args = CloneArgs(exit_signal=SIGCHLD, set_tid_size=1,
                     set_tid=ctypes.addressof(wanted))
    libc = ctypes.CDLL(None, use_errno=True)
    with open(log, "ab") as out:
        got = libc.syscall(CLONE3, ctypes.byref(args), ctypes.sizeof(args))
        if got == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            os.execv(argv[0], [str(a) for a in argv])
    if got < 0:
        raise Skip("a process id can't be chosen here: clone3: "
                   + os.strerror(ctypes.get_errno()))
    equal("process id", got, pid)


def ask(port, n, status):
    for _ in range(n):
        equal("status", http_get(port, "/none")[0], status)


def pid_reuse(rt):
    """The same id, first python's and then nginx's, without a pause."""
    nginx = "/usr/sbin/nginx"
    if not os.path.exists(nginx):
        raise Skip("nginx is not installed")
    conf = rt.dir / "nginx.conf"
    conf.write_text(
        "daemon off; master_process off; pid nginx.pid; error_log e.log;\n"
        "events {} http { access_log off; client_body_temp_path tmp;\n"
        "proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp;\n"
        "scgi_temp_path tmp; server { listen 127.0.0.1:%d reuseport;\n"
        "location / { return 410; } } }\n" % (PORT + 21))
    before = rt.metrics()
    first = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(PORT + 20)], cwd=rt.dir,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually("python listens", lambda: port_open(PORT + 20))
    ask(PORT + 20, 5, 404)
    # The agent has learnt whose id it is.
    eventually("python's requests", lambda: counts(rt.metrics().minus(before)))
    first.kill()
    first.wait()
    spawn_as(first.pid, [nginx, "-p", rt.dir, "-c", conf], rt.dir / "log")
    try:
        eventually("nginx listens", lambda: port_open(PORT + 21))
        equal("who it is now", os.readlink(f"/proc/{first.pid}/exe"), nginx)
        ask(PORT + 21, 7, 410)
        m = rt.quiet().minus(before)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        os.waitpid(first.pid, 0)
    python = os.path.basename(os.path.realpath(sys.executable))
    equal("requests by job", counts(m),
          {(python, rt.NODE): 5, ("nginx", rt.NODE): 7})
    equal("status by job", {
        (dict(k)["job"], series_key("server", k)[2]): int(n)
        for k, n in m.select(FAMILY["server"] + "_count").items()},
        {(python, "404"): 5, ("nginx", "410"): 7})


def start(report, rt):
    with report.case("agent and aggregator start"):
        rt.start()
    return not report.failed


def main():
    report = Report()
    with Redtap(web=21408, config=CONFIG) as rt:
        if not start(report, rt):
            report.exit()
        with report.case("containers are chosen and left out by their id, and "
                         "are instances of their service: exact"):
            containers(rt)
        rt.finish(report)
    with Redtap(web=21408) as rt:
        if not start(report, rt):
            report.exit()
        with report.case("another program with the same process id is "
                         "another service: exact"):
            pid_reuse(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

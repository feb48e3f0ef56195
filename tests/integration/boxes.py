# SPDX-License-Identifier: Apache-2.0
"""
Real containers by runc, in any cgroup that one likes: the host's files, read
only, and the host's network. What a container runtime would write about them is
written where it would, and taken away again.
"""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import subprocess

from harness import Failure, Skip, check, eventually, http_get, port_open

TASKS = pathlib.Path("/run/containerd/io.containerd.runtime.v2.task/k8s.io")
LOGS = pathlib.Path("/var/log")
SERVER = "import sys, http.server as h\n" \
    "class H(h.BaseHTTPRequestHandler):\n" \
    " protocol_version = 'HTTP/1.1'\n" \
    " def do_GET(self):\n" \
    "  self.send_response(204)\n" \
    "  self.end_headers()\n" \
    " def log_message(self, *a): pass\n" \
    "h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H)" \
    ".serve_forever()"


def need_runc():
    if not shutil.which("runc"):
        raise Skip("runc is not installed")


def new_id():
    return secrets.token_hex(32)


def root_of(work):
    """A root with the host's programs; made once."""
    root = work / "rootfs"
    if not root.exists():
        root.mkdir()
        for name in ("usr", "etc", "proc", "tmp", str(work)[1:]):
            (root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64", "sbin"):
            (root / name).symlink_to("usr/" + name)
    return root


class Box:
    """One container; its id is in `path` as {id}."""

    def __init__(self, work, path, argv, annotations=None, env=None, cri=False):
        self.id = new_id()
        self.path = path.format(id=self.id)
        # containerd's own bundle, or one that no agent looks for.
        self.bundle = TASKS / self.id if cri else work / self.id
        self.name = "redtap-it-" + self.id[:12]
        self.made = []
        self.make_folder(self.bundle)
        subprocess.run(["runc", "spec"], cwd=self.bundle, check=True)
        file = self.bundle / "config.json"
        spec = json.loads(file.read_text())
        process = spec["process"]
        process.update(terminal=False, args=[str(a) for a in argv], cwd="/")
        process["env"] += [f"{k}={v}" for k, v in (env or {}).items()]
        process["rlimits"] = []
        spec["root"] = {"path": str(root_of(work)), "readonly": True}
        spec["mounts"] = [m for m in spec["mounts"] if m["type"] == "proc"] + [
            {"destination": str(at), "type": "bind", "source": str(at),
             "options": ["rbind", "ro"]} for at in ("/usr", "/etc", work)]
        spec["linux"]["cgroupsPath"] = self.path
        spec["linux"]["namespaces"] = [
            n for n in spec["linux"]["namespaces"]
            if n["type"] not in ("network", "cgroup")]
        spec["annotations"] = annotations or {}
        file.write_text(json.dumps(spec))
        self.log = open(work / (self.name + ".log"), "wb")

    def make_folder(self, folder):
        for at in reversed([folder, *folder.parents]):
            if not at.exists():
                at.mkdir()
                self.made.append(at)

    def runc(self, *args, **kwargs):
        return subprocess.run(["runc", *args], stdin=subprocess.DEVNULL,
                              stdout=self.log, stderr=self.log, **kwargs)

    def start(self):
        done = self.runc("run", "-d", "-b", str(self.bundle), self.name)
        if done.returncode:
            raise Failure("runc: " + pathlib.Path(self.log.name).read_text(
                errors="replace"))

    def run(self):
        """To its end, in the foreground."""
        done = self.runc("run", "-b", str(self.bundle), self.name)
        check(done.returncode == 0, "runc: " + pathlib.Path(
            self.log.name).read_text(errors="replace"))

    def stop(self):
        self.runc("delete", "-f", self.name)
        self.log.close()
        shutil.rmtree(self.bundle, ignore_errors=True)
        for at in reversed(self.made):
            with contextlib.suppress(OSError):
                at.rmdir()


class Server(Box):
    """A container that answers GET with 204 on a port of the host."""

    def __init__(self, work, path, port, argv=None, **kwargs):
        self.port = port
        super().__init__(work, path, argv or
                         ["/usr/bin/python3", "-c", SERVER, port], **kwargs)

    def wait(self):
        eventually(f"{self.path} listens", lambda: port_open(self.port))

    def ask(self, n):
        for _ in range(n):
            status = http_get(self.port, "/none")[0]
            check(status == 204, f"{self.path} answers {status}")


@contextlib.contextmanager
def running(boxes):
    """Started, and stopped whatever happens."""
    begun = []
    try:
        for box in boxes:
            begun.append(box)
            box.start()
        for box in boxes:
            if isinstance(box, Server):
                box.wait()
        yield boxes
    finally:
        for box in boxes:
            box.stop()


def cri(pod, namespace, container, image="registry.example/app:1",
        uid="6ff1f0a6-53c1-4f0b-8a17-3ac6c15e7b10", **more):
    """The annotations that containerd writes for the kubelet."""
    key = "io.kubernetes.cri."
    return {key + "container-type": "container", key + "sandbox-name": pod,
            key + "sandbox-namespace": namespace, key + "sandbox-uid": uid,
            key + "container-name": container, key + "image-name": image,
            **more}


@contextlib.contextmanager
def kubelet_logs(namespace, pod, uid, containers):
    """What the kubelet makes when it starts a pod's containers, in order."""
    made = []

    def folder(at):
        for part in reversed([at, *at.parents]):
            if not part.exists():
                part.mkdir()
                made.append(part)
    try:
        links = LOGS / "containers"
        folder(links)
        for name, box_id in containers:
            folder(LOGS / "pods" / f"{namespace}_{pod}_{uid}" / name)
            link = links / f"{pod}_{namespace}_{name}-{box_id}.log"
            os.symlink("/nowhere", link)
            made.append(link)
        yield
    finally:
        for at in reversed(made):
            with contextlib.suppress(OSError):
                if at.is_symlink():
                    at.unlink()
                else:
                    at.rmdir()

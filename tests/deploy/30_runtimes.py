#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Containers of real docker, podman and containerd: the requests of each are
counted under its id and name, and name and image are what its own runtime says.
"""

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile

import images
from boxes import SERVER, cri, new_id
from harness import FAMILY, Process, Redtap, http_get, port_open
from parts import KEPT, Failure, Report, Skip, check, equal, eventually, \
    packages, run

EACH = 1009
PORT = 21560
UID = "6ff1f0a6-53c1-4f0b-8a17-3ac6c15e7b10"
ULIMITS = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000"]
CONTAINERD = """version = 2
root = "{work}/containerd"
state = "/run/containerd"
[grpc]
address = "{work}/containerd.sock"
"""


def command(port):
    return ["python3", "-c", SERVER, str(port)]


class Daemons:
    """containerd and dockerd of our own; ended by their pids."""

    def __init__(self, rt):
        self.rt = rt
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="redtap-rt-"))
        self.socket = self.work / "containerd.sock"
        self.docker_socket = self.work / "docker.sock"
        self.running = []

    def start(self):
        if pathlib.Path("/run/containerd/containerd.sock").exists() or \
                pathlib.Path("/run/docker.sock").exists():
            raise Skip("a containerd or dockerd runs here already")
        config = self.work / "containerd.toml"
        config.write_text(CONTAINERD.format(work=self.work))
        self.spawn(["containerd", "-c", config], "containerd",
                   lambda: self.socket.exists())
        self.spawn(["dockerd", f"--containerd={self.socket}",
                    "--iptables=false", "--ip6tables=false", "--bridge=none",
                    "--default-ulimit", "nofile=20000:20000",
                    "--exec-opt", "native.cgroupdriver=cgroupfs",
                    f"--exec-root={self.work}/exec",
                    f"--pidfile={self.work}/docker.pid",
                    "-H", f"unix://{self.docker_socket}"], "dockerd",
                   lambda: subprocess.run(
                       self.docker_argv("version"),
                       capture_output=True).returncode == 0)

    def spawn(self, argv, name, up):
        process = Process(argv, self.work / f"{name}.log")
        self.running.append(process)

        def is_up():
            check(process.alive(), f"{name} ended:\n" + process.tail())
            return up()
        eventually(f"{name} is up", is_up, 60)

    def docker_argv(self, *argv):
        return ["docker", "-H", f"unix://{self.docker_socket}", *argv]

    def docker(self, *argv):
        return run(*self.docker_argv(*argv))

    def ctr(self, *argv):
        return run("ctr", "-a", self.socket, "-n", "k8s.io", *argv)

    def stop(self):
        for process in reversed(self.running):
            process.stop(signal.SIGTERM)
        with contextlib.suppress(Failure):
            for line in pathlib.Path("/proc/mounts").read_text().splitlines():
                where = line.split()[1]
                if where.startswith(str(self.work)):
                    run("umount", "-l", where)
        shutil.rmtree(self.work, ignore_errors=True)


def told(m, job):
    found = [dict(k) for k in m.select("target_info", job=job)]
    equal(f"target_info of {job}", len(found), 1)
    return found[0]


def count(rt, port, job, box_id, container, image, instance=None):
    before = rt.metrics()
    eventually("it listens", lambda: port_open(port))
    for _ in range(EACH):
        equal("status", http_get(port, "/")[0], 204)
    m = rt.quiet()
    delta = m.minus(before)
    got = {}
    for labels, n in delta.select(FAMILY["server"] + "_count").items():
        labels = dict(labels)
        if n:
            got[labels["job"], labels["instance"]] = int(n)
    equal("requests by job and instance", got, {
        (job, instance or f"{rt.NODE}/{box_id[:12]}"): EACH})
    info = told(m, job)
    equal("id, name and image", (
        info["container_id"],
        info.get("container_name") or info.get("k8s_container_name"),
        info["container_image_name"]), (box_id, container, image))
    return info


def by_docker(rt, d):
    name = "redtap-it-docker"
    d.docker("import", str(images.debian("python")), "redtap-test-python:1")
    d.docker("run", "-d", "--network", "host", "--name", name,
             "redtap-test-python:1", *command(PORT))
    try:
        box = json.loads(d.docker("inspect", name))[0]
        count(rt, PORT, name, box["Id"], box["Name"].lstrip("/"),
              box["Config"]["Image"])
    finally:
        d.docker("rm", "-f", name)


def by_compose_labels(rt, d):
    name = "redtap-it-compose"
    d.docker("run", "-d", "--network", "host", "--name", name,
             "--label", "com.docker.compose.project=shop",
             "--label", "com.docker.compose.service=cart",
             "redtap-test-python:1", *command(PORT + 1))
    try:
        box = json.loads(d.docker("inspect", name))[0]
        count(rt, PORT + 1, "shop/cart", box["Id"], name,
              "redtap-test-python:1")
    finally:
        d.docker("rm", "-f", name)


def by_podman(rt, _):
    name = "redtap-it-podman"
    podman = ["podman", "--cgroup-manager", "cgroupfs"]
    run(*podman, "run", "--runtime", "runc", "-d", "--name", name, "--network",
        "host", "--pull", "never", *ULIMITS, images.python(),
        *command(PORT + 2))
    try:
        box = json.loads(run(*podman, "inspect", name))[0]
        count(rt, PORT + 2, name, box["Id"], box["Name"], box["ImageName"])
    finally:
        run(*podman, "rm", "-f", "-t", "0", name)


def by_containerd(rt, d):
    """As the kubelet has it done: namespace k8s.io, its annotations."""
    archive = d.work / "image.tar"
    run("buildah", "push", "-q", images.python(),
        f"docker-archive:{archive}:registry.example/app:1")
    d.ctr("image", "import", archive)
    box_id = new_id()
    image = d.ctr("image", "ls", "-q").split()[0]
    more = []
    for key, value in cri("pay-7d9f8c6b5-x2x4z", "prod", "app",
                          image=image).items():
        more += ["--annotation", f"{key}={value}"]
    d.ctr("run", "-d", "--net-host", "--cgroup",
          f"/kubepods/burstable/pod{UID}/{box_id}", *more, image, box_id,
          *command(PORT + 3))
    try:
        box = json.loads(d.ctr("containers", "info", box_id))
        said = box["Spec"]["annotations"]
        key = "io.kubernetes.cri."
        info = count(rt, PORT + 3, "prod/pay", box["ID"],
                     said[key + "container-name"], box["Image"],
                     "prod.pay-7d9f8c6b5-x2x4z.app")
        equal("pod", (info["k8s_pod_name"], info["k8s_namespace_name"],
                      info["k8s_pod_uid"]),
              (said[key + "sandbox-name"], said[key + "sandbox-namespace"],
               said[key + "sandbox-uid"]))
    finally:
        with contextlib.suppress(Failure):
            d.ctr("task", "kill", "-s", "SIGKILL", box_id)
            eventually("it has ended", lambda: "RUNNING" not in d.ctr(
                "task", "ls"))
        with contextlib.suppress(Failure):
            d.ctr("task", "rm", "-f", box_id)
        d.ctr("container", "rm", box_id)


def main():
    report = Report()
    with report.case("docker, podman and containerd are installed"):
        packages("docker.io", "containerd", "podman", "runc", "conmon",
                 "buildah")
        KEPT.mkdir(parents=True, exist_ok=True)
        images.python()
    with Redtap(web=21408) as rt:
        daemons = Daemons(rt)
        try:
            with report.case("dockerd, containerd, agent and aggregator start"):
                rt.start()
                daemons.start()
            ready = len(daemons.running) == 2 and not report.failed
            for sentence, test in (
                    ("docker", by_docker),
                    ("docker, with labels of compose", by_compose_labels),
                    ("podman", by_podman),
                    ("containerd, as the kubelet uses it", by_containerd)):
                if not ready and test is not by_podman:
                    continue
                with report.case(f"{EACH} requests to a container of {sentence}"
                                 f" are {EACH} under its id and name; name and "
                                 "image are what it says itself"):
                    test(rt, daemons)
        finally:
            daemons.stop()
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

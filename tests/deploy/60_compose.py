#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The demo of deploy/compose, run by real dockerd and docker-compose in a network
namespace of its own, and its own check. Images are built here; Grafana, which no
package brings, is left out; its provisioning is read instead.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import images
from harness import Process
from parts import KEPT, ROOT, Failure, Report, Skip, check, debian, equal, \
    eventually, packages, run

packages("python3-yaml")
import yaml  # noqa: E402

COMPOSE = ROOT / "deploy/compose"
VISITS = 397
NETNS = "redtap-compose"
SERVICES = ["aggregator", "agent", "prometheus", "front", "catalogue", "cart",
            "payment", "visitors"]


def inside(*argv):
    # Not `ip netns exec`, which mounts another /sys, without cgroups.
    return ["nsenter", f"--net=/run/netns/{NETNS}", *map(str, argv)]


class Docker:
    """dockerd and containerd of our own, with a bridge in its namespace."""

    def __init__(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="redtap-compose-"))
        self.running = []
        self.host = f"unix://{self.work}/docker.sock"

    def start(self):
        if pathlib.Path("/run/containerd/containerd.sock").exists():
            raise Skip("a containerd runs here already")
        subprocess.run(["ip", "netns", "del", NETNS], capture_output=True)
        run("ip", "netns", "add", NETNS)
        run(*inside("ip", "link", "set", "lo", "up"))
        config = self.work / "containerd.toml"
        config.write_text('version = 2\n'
                          f'root = "{self.work}/containerd"\n'
                          'state = "/run/containerd"\n[grpc]\n'
                          f'address = "{self.work}/containerd.sock"\n')
        self.spawn(inside("containerd", "-c", config), "containerd",
                   lambda: (self.work / "containerd.sock").exists())
        self.spawn(inside(
            "dockerd", f"--containerd={self.work}/containerd.sock",
            "--default-ulimit", "nofile=20000:20000", "--exec-opt",
            "native.cgroupdriver=cgroupfs", f"--exec-root={self.work}/exec",
            f"--pidfile={self.work}/docker.pid", "-H", self.host),
            "dockerd", lambda: subprocess.run(
                ["docker", "-H", self.host, "version"],
                capture_output=True).returncode == 0)

    def spawn(self, argv, name, up):
        process = Process(argv, self.work / f"{name}.log")
        self.running.append(process)

        def is_up():
            if not process.alive():
                raise Skip(f"{name} does not start here: " + process.tail(5))
            return up()
        eventually(f"{name} is up", is_up, 60)

    def load(self, image, name):
        archive = self.work / "image.tar"
        run("buildah", "push", "-q", image, f"docker-archive:{archive}:{name}")
        run("docker", "-H", self.host, "load", "-i", archive)
        archive.unlink()

    def stop(self):
        for process in reversed(self.running):
            process.stop(signal.SIGTERM)
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            if line.split()[1].startswith(str(self.work)):
                subprocess.run(["umount", "-l", line.split()[1]],
                               capture_output=True)
        subprocess.run(["ip", "netns", "del", NETNS], capture_output=True)
        shutil.rmtree(self.work, ignore_errors=True)


def prometheus_image():
    name = "localhost/redtap-test-prometheus:latest"
    if not images.exists(name):
        images.from_tar(name, debian("prometheus", "prometheus"),
                        "--entrypoint", '["/usr/bin/prometheus"]')
    return name


def grafana():
    """Its files: the data source and the dashboard that they name exist."""
    model = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    for service in ("grafana", "prometheus"):
        for volume in model["services"][service]["volumes"]:
            check((COMPOSE / volume.split(":")[0]).exists(), volume)
    sources = yaml.safe_load((COMPOSE / "grafana/datasources/prometheus.yml")
                             .read_text())["datasources"]
    equal("data source", sources[0]["url"], "http://prometheus:9090")
    providers = yaml.safe_load((COMPOSE / "grafana/dashboards/redtap.yml")
                               .read_text())["providers"]
    env = model["services"]["grafana"]["environment"]
    check(env["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].startswith(
        providers[0]["options"]["path"]), "the dashboard is elsewhere")
    json.loads((ROOT / "deploy/grafana/redtap.json").read_text())
    agent = model["services"]["agent"]
    equal("capabilities", agent["cap_add"], [
        "BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_ADMIN"])
    check(not agent.get("privileged"), "the agent is privileged")


def as_here():
    """
    The demo's file, for Debian's docker and a kernel that hides process 1: it
    knows no CAP_BPF and CAP_PERFMON yet, which CAP_SYS_ADMIN stands in for, and
    the node's files are mounted. Only the shop is followed.
    """
    model = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    agent = model["services"]["agent"]
    agent["cap_add"] = [c for c in agent["cap_add"]
                        if c not in ("BPF", "PERFMON")]
    agent["volumes"].append("/:/host:ro")
    agent["command"] += ["--names.root=/host", "--include.port=8080"]
    return model


def main():
    report = Report()
    with report.case("Grafana's provisioning names what is there, and the agent "
                     "has the listed capabilities only"):
        grafana()
    docker = Docker()
    file = docker.work / "compose.json"
    file.write_text(json.dumps(as_here()))
    env = dict(os.environ, REDTAP_IMAGE="redtap:test", VISITS=str(VISITS),
               SHOP_IMAGE="redtap-test-python:latest",
               PROMETHEUS_IMAGE="redtap-test-prometheus:latest",
               COMPOSE_PROJECT_NAME="shop")
    compose = inside("docker-compose", "-H", docker.host, "-f", file,
                     "--project-directory", COMPOSE)
    try:
        with report.case("dockerd starts, with a bridge, and the images are "
                         "built"):
            packages("docker.io", "containerd", "docker-compose", "iptables",
                     "iproute2", "buildah")
            docker.start()
            docker.load(images.build(), "redtap:test")
            docker.load(images.python(), "redtap-test-python:latest")
            docker.load(prometheus_image(), "redtap-test-prometheus:latest")
            run(*compose, "up", "-d", "--no-build", *SERVICES, env=env)
            done = subprocess.run(
                inside(COMPOSE / "check.py", *compose), env=env, timeout=280,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            print(done.stdout, end="", flush=True)
            report.failed += done.stdout.count("not ok - ")
            if done.returncode:
                said = subprocess.run(
                    [*compose, "logs", "--tail=15", "agent", "aggregator",
                     "prometheus"], env=env, capture_output=True, text=True)
                raise Failure(said.stdout[-3000:])
    finally:
        with contextlib.suppress(Failure):
            run(*compose, "down", "-v", env=env)
        docker.stop()
    report.exit()


if __name__ == "__main__":
    main()

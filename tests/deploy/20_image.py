#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The container image: the same digest twice, small, nothing but our programs and
their libraries, for two architectures; its agent, in a container with exactly
the capabilities of the chart, counts the requests of another container.
"""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess

import images
from boxes import SERVER
from harness import http_get, port_open
from parts import KEPT, ROOT, Failure, Report, check, equal, eventually, \
    packages, run

EACH = 1009
PORT, WEB = 21730, 21731
CAPABILITIES = ["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH",
                "SYS_ADMIN"]
RUN = ["podman", "--cgroup-manager", "cgroupfs", "run", "--runtime", "runc",
       "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000",
       "--network", "host", "--pull", "never"]
# As the chart has it; podman's seccomp profile is the one of every runtime.
AGENT = ["--user", "0:0", "--pid", "host", "--read-only", "--cap-drop", "ALL",
         "--security-opt", "no-new-privileges",
         "--volume", "/sys/kernel/tracing:/sys/kernel/tracing:ro",
         # Where /proc/1/root may be read, this is not needed.
         "--volume", "/:/host:ro,rslave", "--tmpfs", "/tmp"]


def digest(name):
    out = KEPT / "oci"
    shutil.rmtree(out, ignore_errors=True)
    run("buildah", "push", "-q", name, f"oci:{out}:x")
    index = json.loads((out / "index.json").read_text())
    return index["manifests"][0]["digest"]


def reproducible():
    images.build(images.NAME)
    first = digest(images.NAME)
    images.build("localhost/redtap:again")
    equal("digest of the second build", digest("localhost/redtap:again"),
          first)


@contextlib.contextmanager
def files_of(name):
    box = run("buildah", "from", "--pull-never", name).split()[-1]
    try:
        yield pathlib.Path(run("buildah", "mount", box).split()[-1])
    finally:
        run("buildah", "umount", box)
        run("buildah", "rm", box)


def elf_names(path):
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]",
                          run("readelf", "-dW", path)))


def nothing_else():
    """Walks what the linker would load; there must be no other program."""
    with files_of(images.NAME) as root:
        files = {str(p.relative_to(root)) for p in root.rglob("*")
                 if p.is_file() and not p.is_symlink()}
        todo = {"usr/bin/redtap-agent", "usr/bin/redtap-aggregator"}
        check(todo <= files, "the programs are not there")
        needed, library = set(todo), "usr/lib/x86_64-linux-gnu/"
        todo.add(library + "libgcc_s.so.1")
        while todo:
            one = todo.pop()
            needed.add(one)
            todo |= {library + n for n in elf_names(root / one)} - needed
        needed |= {"etc/passwd", "etc/group",
                   "usr/share/doc/redtap/packages.txt",
                   "usr/share/doc/redtap/LICENSE"}
        extra = {f for f in files - needed if not re.fullmatch(
            r"usr/share/doc/[^/]+/copyright", f)}
        equal("files that nothing needs", extra, set())
        equal("needed files that are missing", needed - files, set())
        size = sum((root / f).stat().st_size for f in files)
        check(size <= 40 << 20, f"{size} bytes")
        print(f"# {size / 1048576:.1f} MiB, {len(files)} files", flush=True)
        packages_ = (root / "usr/share/doc/redtap/packages.txt").read_text()
        check("libc6 " in packages_ and "libnng1 " in packages_, packages_)


def settings():
    config = images.inspect(images.NAME)["OCIv1"]
    equal("user", config["config"]["User"], "65532:65532")
    equal("architecture", config["architecture"], "amd64")
    labels = config["config"]["Labels"]
    equal("version", labels["org.opencontainers.image.version"],
          run("make", "-s", "print-version", cwd=ROOT).strip())


def other_architecture():
    packages("qemu-user-static", "gcc-aarch64-linux-gnu")
    name = images.build("localhost/redtap:arm64", "arm64")
    equal("architecture", images.inspect(name)["OCIv1"]["architecture"],
          "arm64")
    with files_of(name) as root:
        for program in ("redtap-agent", "redtap-aggregator"):
            said = run("qemu-aarch64-static", "-L", root,
                       root / "usr/bin" / program, "version")
            check(said.startswith(program), said)


class Boxes:
    """An aggregator, an agent and a server, each in a container of podman."""

    def __init__(self):
        self.names = []

    def start(self, name, *argv):
        self.names.append(name)
        run(*RUN, "-d", "--name", name, *argv)

    def logs(self, name):
        return subprocess.run(["podman", "logs", name], capture_output=True,
                              text=True).stderr[-2000:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["podman", "rm", "-f", "-t", "5", name],
                           capture_output=True)


def server(boxes):
    boxes.start("redtap-it-server", images.python(), "python3", "-c", SERVER,
                str(PORT))
    eventually("the server listens", lambda: port_open(PORT))


def metrics():
    return http_get(WEB, "/metrics")[2].decode()


def total(text, family, **labels):
    out = 0
    for line in text.splitlines():
        if line.startswith(family + "{") and all(
                f'{k}="{v}"' in line for k, v in labels.items()):
            out += float(line.rsplit(" ", 1)[1])
    return out


def counts():
    with Boxes() as boxes:
        server(boxes)
        boxes.start("redtap-it-aggregator", "--read-only", "--cap-drop", "ALL",
                    "--tmpfs", "/tmp", "--security-opt", "no-new-privileges",
                    images.NAME, "redtap-aggregator", "serve",
                    f"--web.listen-address=127.0.0.1:{WEB}",
                    f"--ingest.listen=tcp://127.0.0.1:{WEB + 1}")
        eventually("the aggregator is ready", lambda: port_open(WEB) and
                   http_get(WEB, "/-/ready")[0] == 200)
        boxes.start("redtap-it-agent", *AGENT,
                    *(f"--cap-add={c}" for c in CAPABILITIES),
                    "--tmpfs", "/var/lib/redtap-agent",
                    images.NAME, "redtap-agent", "run", "--node=box",
                    f"--to=tcp://127.0.0.1:{WEB + 1}",
                    f"--include.port={PORT}", "--names.root=/host",
                    "--outbox.path=/var/lib/redtap-agent/outbox.db")
        eventually("the agent is up:\n" + boxes.logs("redtap-it-agent"),
                   lambda: total(metrics(), "redtap_agent_up", node="box") == 1)
        for _ in range(EACH):
            equal("status", http_get(PORT, "/")[0], 204)
        family = "http_server_request_duration_seconds_count"
        eventually("all are counted",
                   lambda: total(metrics(), family) >= EACH)
        box = json.loads(run("podman", "inspect", "redtap-it-server"))[0]
        text = metrics()
        equal("requests of the container", total(
            text, family, job="redtap-it-server",
            instance="box/" + box["Id"][:12]), EACH)
        equal("requests in all", total(text, family), EACH)
        info = next(line for line in text.splitlines()
                    if line.startswith('target_info{job="redtap-it-server"'))
        equal("name and image", (
            re.search(r'container_name="([^"]*)"', info)[1],
            re.search(r'container_image_name="([^"]*)"', info)[1],
            re.search(r'container_id="([^"]*)"', info)[1]),
            (box["Name"], box["ImageName"], box["Id"]))
        equal("dropped", total(text, "redtap_agent_events_dropped_total"), 0)


def left_out():
    """check, in a container that lacks one capability, names that one."""
    for missing in CAPABILITIES:
        held = [c for c in CAPABILITIES if c != missing]
        done = subprocess.run(
            [*RUN, "--rm", *AGENT, *(f"--cap-add={c}" for c in held),
             images.NAME, "redtap-agent", "check"], capture_output=True,
            text=True)
        lines = [line for line in done.stdout.splitlines()
                 if "not held" in line]
        equal(f"named without CAP_{missing}",
              [line.split()[1] for line in lines],
              ["CAP_" + missing])


def no_shell():
    done = subprocess.run([*RUN, "--rm", images.NAME, "sh", "-c", "true"],
                          capture_output=True, text=True)
    check(done.returncode != 0, "there is a shell")


def main():
    report = Report()
    packages("podman", "runc", "conmon", "binutils")
    for sentence, test in (
            ("the image built twice has the same digest", reproducible),
            ("it is at most 40 MiB and holds our programs, their libraries and "
             "these libraries' licences, nothing else", nothing_else),
            ("it has a user of its own, its architecture and its version",
             settings),
            ("it has no shell", no_shell),
            (f"the image's agent, with exactly the chart's capabilities, counts "
             f"{EACH} = {EACH} of another container, by name", counts),
            ("each capability that is left out is named by check", left_out),
            ("the image is built for arm64, and its programs run there",
             other_architecture)):
        with report.case(sentence):
            test()
    report.exit()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Images for tests: redtap's own, and small ones to run beside it."""

import hashlib
import json
import os

from parts import ROOT, debian, packages, run

NAME = "localhost/redtap:test"
DEPS = ROOT / "deploy/install-deps.sh"
BASE = "localhost/redtap-test-base-" + hashlib.sha256(
    DEPS.read_bytes()).hexdigest()[:12]


def env():
    return dict(os.environ, ENGINE="buildah", ISOLATION="chroot")


def exists(name):
    return name in run("buildah", "images", "--format",
                       "{{.Name}}:{{.Tag}}").split()


def from_tar(name, tar, *config):
    """An image whose only layer is a tar file."""
    box = run("buildah", "from", "scratch").strip()
    try:
        run("buildah", "add", "-q", box, tar, "/")
        run("buildah", "config", *config, box)
        run("buildah", "commit", "-q", box, name)
    finally:
        run("buildah", "rm", box)


def base():
    """Debian with what a build needs, so that only our part is built twice."""
    packages("buildah", "fuse-overlayfs")
    if exists(BASE + ":latest"):
        return BASE
    from_tar(BASE, debian("base"), "--cmd", "/bin/bash")
    box = run("buildah", "from", BASE).strip()
    try:
        run("buildah", "copy", "-q", box, DEPS, "/tmp/deps.sh")
        run("buildah", "run", "--isolation", "chroot", box, "--", "sh", "-c",
            "apt-get update -q && REDTAP_DEPS=build sh /tmp/deps.sh && "
            "rm /tmp/deps.sh && apt-get clean")
        run("buildah", "commit", "-q", box, BASE)
    finally:
        run("buildah", "rm", box)
    return BASE


def build(name=NAME, arch="amd64"):
    run("make", "-s", "image", f"IMAGE={name}", f"IMAGE_ARCH={arch}",
        f"BASE={base()}", cwd=ROOT, env=env())
    return name


def python(name="localhost/redtap-test-python:latest"):
    """python3 alone, as services of a shop and as servers that are watched."""
    if not exists(name):
        from_tar(name, debian("python", "python3-minimal", "libpython3-stdlib",
                              "python3"), "--cmd", "/usr/bin/python3")
    return name


def inspect(name):
    return json.loads(run("buildah", "inspect", "--type", "image", name))

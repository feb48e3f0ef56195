#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Debian packages: the same bytes twice, lintian, piuparts (install, upgrade,
purge), and an upgrade under a real systemd that keeps what was counted. What
happens inside is packages_inside.py.
"""

import gzip
import hashlib
import os
import shutil
import subprocess

from parts import KEPT, ROOT, Report, build, check, debian, equal, git_tree, \
    packages, run

DEBS = KEPT / "debs"
GUEST = KEPT / "packages"
SERVICE = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -u /root/packages_inside.py
StandardOutput=file:/root/result
StandardError=file:/root/result
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
"""


def make_deb(tree, version=None):
    """{name: sha256} of the packages, which are moved to DEBS."""
    more = [f"VERSION={version}"] if version else []
    run("make", "-s", "deb", *more, cwd=tree, env=dict(
        os.environ, SOURCE_DATE_EPOCH="1795860000", REDTAP_FILES="all"))
    out = {}
    DEBS.mkdir(parents=True, exist_ok=True)
    for path in sorted((tree / "build/deb").glob("*.deb")):
        out[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, DEBS)
    for path in (tree / "build/deb").glob("*.changes"):
        shutil.copy(path, DEBS)
    for path in (tree / "build/deb").glob("*.buildinfo"):
        shutil.copy(path, DEBS)
    return out


def reproducible():
    first = make_deb(git_tree(KEPT / "tree-1"), "0.9.1")
    second = make_deb(git_tree(KEPT / "another-place" / "tree"), "0.9.1")
    equal("packages", sorted(n.split("_")[0] for n in first), [
        "redtap-agent", "redtap-agent-dbgsym", "redtap-aggregator",
        "redtap-aggregator-dbgsym"])
    equal("sha256", second, first)


def lintian():
    packages("lintian")
    said = run("lintian", "--allow-root", "--fail-on", "error,warning",
               DEBS / "redtap_0.9.1_amd64.changes")
    equal("lintian", said.strip(), "")


def older():
    """A version before, to upgrade from; the same programs."""
    make_deb(git_tree(KEPT / "tree-1"), "0.9.0")


def piuparts():
    packages("piuparts", "apt-utils")
    base = KEPT / "base.tar.gz"
    if not base.exists():
        with open(debian("base"), "rb") as tar, gzip.open(
                base, "wb", compresslevel=1) as out:
            shutil.copyfileobj(tar, out)
    repo = KEPT / "repo"
    shutil.rmtree(repo, ignore_errors=True)
    repo.mkdir()
    for deb in DEBS.glob("*_0.9.0_*.deb"):
        shutil.copy(deb, repo)
    listing = run("apt-ftparchive", "packages", ".", cwd=repo)
    (repo / "Packages").write_text(listing)
    debs = [DEBS / f"redtap-{p}_0.9.1_amd64.deb" for p in
            ("agent", "aggregator")]
    said = run("piuparts", "-d", "bookworm", "-b", base,
               f"--bindmount={repo}",
               f"--extra-repo=deb [trusted=yes] file:{repo} ./", *debs)
    for phase in ("Installation and purging test",
                  "Installation, upgrade and purging tests"):
        check(f"PASS: {phase}" in said, said[-2000:])


def under_systemd(report):
    tar = debian("systemd-packages", "systemd-sysv", "libpam-systemd", "dbus",
                 "python3", "procps", "diffutils", "libbpf1", "libnng1",
                 "libmicrohttpd12", "libsqlite3-0", "libcyaml1", "libjansson4",
                 "libcap-ng0", "libelf1", "libprotobuf-c1", "libcurl3-gnutls",
                 "libgnutls30")
    packages("systemd-container")
    shutil.rmtree(GUEST, ignore_errors=True)
    GUEST.mkdir()
    run("tar", "xf", tar, "--exclude=./dev/*", "-C", GUEST)
    for deb in DEBS.glob("redtap-a*_amd64.deb"):
        if "dbgsym" not in deb.name:
            shutil.copy(deb, GUEST / "root")
    for name in ("packages_inside.py", "units_inside.py"):
        shutil.copy(ROOT / "tests/deploy" / name, GUEST / "root")
    units = GUEST / "etc/systemd/system"
    (units / "inside.service").write_text(SERVICE)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/inside.service").symlink_to(
        "../inside.service")
    done = subprocess.run(
        ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--boot",
         "-D", str(GUEST), "--private-network", "--console=pipe",
         "--machine=redtap-packages",
         "--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_PTRACE,"
         "CAP_DAC_READ_SEARCH,CAP_SYS_ADMIN",
         "--system-call-filter=bpf perf_event_open"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=280)
    result = GUEST / "root/result"
    text = result.read_text(errors="replace") if result.exists() else \
        done.stdout.decode(errors="replace")[-3000:]
    print(text, end="")
    if "# all done" not in text:
        report.not_ok("the container ran to its end", text[-2000:])
    report.failed += text.count("\nnot ok - ") + text.startswith("not ok - ")
    shutil.rmtree(GUEST, ignore_errors=True)


def main():
    report = Report()
    shutil.rmtree(DEBS, ignore_errors=True)
    with report.case("make deb, twice in two places, gives the same sha256"):
        packages("debhelper", "dpkg-dev", "fakeroot")
        build()
        reproducible()
    with report.case("lintian finds no error and no warning"):
        lintian()
    with report.case("piuparts installs, upgrades and purges them"):
        older()
        piuparts()
    if not report.failed:
        under_systemd(report)
    report.exit()


if __name__ == "__main__":
    main()

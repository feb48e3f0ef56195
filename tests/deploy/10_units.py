#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The units under a real systemd, which is PID 1 of a container: install, start,
configuration, keys that only root may read, reload, rotation of keys, upgrade,
stop, uninstall. What happens inside is units_inside.py.
"""

import shutil
import subprocess

from parts import KEPT, ROOT, Report, build, check, debian, packages, run

GUEST = KEPT / "units"
SERVICE = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -u /root/units_inside.py
StandardOutput=file:/root/result
StandardError=file:/root/result
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
"""


def exposure(report):
    for unit, most in (("agent", 3.2), ("aggregator", 1.2)):
        with report.case(f"systemd-analyze security: the {unit}'s exposure is "
                         f"at most {most}"):
            said = run("systemd-analyze", "security", "--offline=true",
                       ROOT / f"deploy/systemd/redtap-{unit}.service")
            level = float(said.strip().splitlines()[-1].split(": ")[1]
                          .split()[0])
            check(level <= most, said.splitlines()[-1])


def main():
    report = Report()
    exposure(report)
    with report.case("a container with systemd as its first process"):
        packages("systemd-container")
        tar = debian("systemd", "systemd-sysv", "libpam-systemd", "dbus",
                     "python3", "openssl", "procps", "make", "diffutils",
                     "libbpf1", "libnng1", "libmicrohttpd12", "libsqlite3-0",
                     "libcyaml1", "libjansson4", "libcap-ng0", "libelf1",
                     "libprotobuf-c1", "libcurl3-gnutls", "libgnutls30")
        build()
        shutil.rmtree(GUEST, ignore_errors=True)
        GUEST.mkdir()
        run("tar", "xf", tar, "--exclude=./dev/*", "-C", GUEST)
        # What `make install` needs of a tree that is built.
        src = GUEST / "root/src"
        for name in ("Makefile", "deploy/install.sh", "deploy/systemd",
                     "deploy/etc", "docs/man", "build/redtap-agent",
                     "build/redtap-aggregator"):
            (src / name).parent.mkdir(parents=True, exist_ok=True)
            run("cp", "-r", ROOT / name, src / name)
        shutil.copy(ROOT / "tests/deploy/units_inside.py", GUEST / "root")
        units = GUEST / "etc/systemd/system"
        (units / "inside.service").write_text(SERVICE)
        wants = units / "multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "inside.service").symlink_to("../inside.service")
    if report.failed:
        report.exit()
    done = subprocess.run(
        ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--boot",
         "-D", str(GUEST), "--private-network", "--console=pipe",
         "--machine=redtap-units",
         "--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_PTRACE,"
         "CAP_DAC_READ_SEARCH,CAP_SYS_ADMIN",
         "--system-call-filter=bpf perf_event_open",
         "--setenv=SYSTEMD_LOG_LEVEL=warning"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=280)
    result = GUEST / "root/result"
    text = result.read_text(errors="replace") if result.exists() else \
        done.stdout.decode(errors="replace")[-3000:]
    print(text, end="")
    if "# all done" not in text:
        report.not_ok("the container ran to its end", text[-2000:])
    shutil.rmtree(GUEST, ignore_errors=True)
    report.failed += text.count("\nnot ok - ") + text.startswith("not ok - ")
    report.exit()


if __name__ == "__main__":
    main()

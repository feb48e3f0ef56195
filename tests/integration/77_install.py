#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
make install and uninstall, into a folder; the units as systemd judges them. What
needs a systemd that runs is tests/deploy.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import ROOT, Report, Skip, check, equal


def make(target, prefix, into):
    done = subprocess.run(
        ["make", "-s", "-o", "all", target, f"PREFIX={prefix}",
         f"DESTDIR={into}"], cwd=ROOT, capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    return done.stdout


def files(into):
    return {str(p.relative_to(into)) for p in into.rglob("*") if p.is_file()}


def installs():
    for prefix, units in (("/usr", "lib/systemd/system"),
                          ("/usr/local", "usr/local/lib/systemd/system"),
                          ("/opt/redtap", "etc/systemd/system")):
        into = pathlib.Path(tempfile.mkdtemp(prefix="redtap-install-"))
        try:
            make("install", prefix, into)
            at = prefix[1:]
            want = {f"{at}/bin/{p}" for p in ("redtap-agent",
                                              "redtap-aggregator")}
            want |= {f"{at}/share/man/man8/{p}.8" for p in (
                "redtap-agent", "redtap-aggregator")}
            want |= {f"{units}/{p}.service" for p in (
                "redtap-agent", "redtap-aggregator")}
            want |= {"etc/default/redtap-agent", "etc/default/"
                     "redtap-aggregator", "etc/redtap/agent.yml",
                     "etc/redtap/aggregator.yml"}
            equal(f"files with PREFIX={prefix}", files(into), want)
            unit = (into / units / "redtap-agent.service").read_text()
            check(f"\nExecStart={prefix}/bin/redtap-agent run " in unit, unit)
            changed = into / "etc/redtap/agent.yml"
            changed.write_text("node: mine\n")
            make("install", prefix, into)
            equal("a file that was changed", changed.read_text(),
                  "node: mine\n")
            said = make("uninstall", prefix, into)
            equal("files that are left", files(into),
                  {"etc/redtap/agent.yml"})
            check("etc/redtap/agent.yml" in said, said)
        finally:
            shutil.rmtree(into)


def judged():
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd is not installed")
    for unit, most in (("agent", 3.2), ("aggregator", 1.2)):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true",
             ROOT / f"deploy/systemd/redtap-{unit}.service"],
            capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
        last = done.stdout.strip().splitlines()[-1]
        check(float(last.split(": ")[1].split()[0]) <= most, last)


def main():
    report = Report()
    with report.case("make install honours PREFIX and keeps what was changed; "
                     "make uninstall takes away the rest"):
        check(os.access(ROOT / "build/redtap-agent", os.X_OK), "not built")
        installs()
    with report.case("the units' exposure is at most 3.2 and 1.2"):
        judged()
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs in the container of 50_packages.py: installs the packages, counts, upgrades
them under traffic, removes and purges them.
"""

import http.server
import pathlib
import threading
import time

import units_inside as units
from units_inside import case, counted, equal, eventually, heard, run, show


def dpkg(*argv):
    return run("dpkg", *argv)


def debs(version):
    return [f"/root/redtap-{p}_{version}_amd64.deb"
            for p in ("aggregator", "agent")]


def installed():
    pathlib.Path("/etc/redtap").mkdir()
    pathlib.Path("/etc/redtap/agent.yml").write_text(
        f"node: here\nselect:\n  include: {{ports: [{units.PORT}]}}\n")
    dpkg("--force-confold", "-i", *debs("0.9.0"))
    for unit in ("redtap-agent", "redtap-aggregator"):
        equal(f"state of {unit}", show(unit, "ActiveState"), "active")
        equal(f"{unit} at boot", show(unit, "UnitFileState"), "enabled")
    equal("mode of the keys' folder",
          oct(units.TLS.stat().st_mode & 0o777), "0o700")
    heard(0)
    units.ask(101)
    units.all_counted()


def upgraded():
    before = counted()
    since = time.time()
    dpkg("--force-confold", "-i", *debs("0.9.1"))
    heard(since)
    equal("counted after the upgrade", counted(), before)
    units.ask(103)
    units.all_counted()
    equal("the version", "redtap-agent 0.9.1" in run(
        "redtap-agent", "version"), True)
    equal("the configuration", "node: here" in pathlib.Path(
        "/etc/redtap/agent.yml").read_text(), True)


def downgraded():
    """A rollback: the store of the newer one is read by the older one."""
    since = time.time()
    before = counted()
    dpkg("--force-downgrade", "--force-confold", "-i", *debs("0.9.0"))
    heard(since)
    equal("counted after the rollback", counted(), before)


def removed():
    dpkg("-r", "redtap-agent", "redtap-aggregator")
    equal("the store is kept",
          pathlib.Path("/var/lib/private/redtap/redtap.db").exists(), True)
    dpkg("-P", "redtap-agent", "redtap-aggregator")
    left = [p for p in ("/var/lib/private/redtap", "/var/lib/redtap",
                        "/var/lib/redtap-agent", "/etc/default/redtap-agent",
                        "/etc/redtap", "/usr/bin/redtap-agent")
            if pathlib.Path(p).exists()]
    equal("left after a purge", left, [])


def main():
    run("mount", "-t", "tracefs", "nodev", "/sys/kernel/tracing")
    pathlib.Path("/etc/hosts").write_text("127.0.0.1 localhost\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", units.PORT),
                                             units.Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    eventually("the server listens", lambda: units.get(units.PORT, "/"))
    for sentence, test in (
            ("the packages install, start and count", installed),
            ("an upgrade keeps configuration, store and counters", upgraded),
            ("so does a rollback", downgraded),
            ("a removal keeps the store, a purge leaves nothing", removed)):
        with case(sentence):
            test()
    print("# all done")


if __name__ == "__main__":
    main()

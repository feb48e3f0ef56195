#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
A program that can't be attached, or that the kernel refuses to load, takes none
of the others down: it is named in the log, in redtap_agent_probe_attached and
by `redtap-agent check`. To attach: the kernel lacks a tracepoint as far as the
agent can see, in whose mount namespace there is nothing behind its name. To
load: the first instruction of that program is spoilt on its way to the kernel,
whose verifier then refuses it (preload/refuse.c). If the front-end is of no use
without the program, the next one is taken.
"""

import pathlib
import re
import subprocess

from conversation import hold
from harness import AGENT, BUILD, Process, Redtap, Report, agree, check, \
    equal

CONVERSATIONS = ["keepalive", "coalesced", "bytebybyte", "resetinwrite"]
HIDDEN = ("sys_exit_splice", "syscall/exit_splice")
REFUSED = ("syscall_sendfile_exit", "syscall/exit_sendfile64")
TRACING = [pathlib.Path(d) / "events/syscalls" / HIDDEN[0] / "id"
           for d in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")]


def hiding(argv):
    """The command, in a mount namespace where the tracepoint is missing."""
    hide = "".join(f"[ ! -e {at} ] || mount --bind /dev/null {at} || exit 9\n"
                   for at in TRACING)
    return ["unshare", "--mount", "sh", "-c", f'{hide}exec "$0" "$@"',
            *map(str, argv)]


def refusing(program):
    """The command, with that program refused by the kernel."""
    return lambda argv: [
        "env", f"LD_PRELOAD={BUILD}/tests/integration/refuse.so",
        f"REDTAP_REFUSE={program}", *map(str, argv)]


class Lacking(Redtap):
    def __init__(self, without, capture="syscall"):
        super().__init__(web=21408)
        self.without, self.mode = without, capture

    def start_agent(self, wait=True):
        started = self.agents() if wait else None
        self.agent = Process(self.without(
            [AGENT, "run", f"--to=tcp://127.0.0.1:{self.ingest}",
             f"--config.file={self.write_config()}",
             f"--capture={self.mode}"]), self.dir / "agent.log")
        if wait:
            self.wait_agent(started)


def told(rt, probe):
    probes = {dict(k)["probe"]: int(v) for k, v in rt.metrics().select(
        "redtap_agent_probe_attached", node=rt.NODE).items()}
    equal("probes that are not attached",
          [p for p, up in probes.items() if not up], [probe])
    check(len(probes) > 10, f"all probes: {probes}")
    log = rt.agent.log.read_text()
    check(f"probe not attached probe={probe} " in log, log)


def checked(rt, probe):
    done = subprocess.run(rt.without([AGENT, "check", "--capture=syscall"]),
                          capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if probe in line]
    equal("lines about the program", len(lines), 1)
    check(not lines[0].startswith("ok "), lines[0])
    others = [line for line in done.stdout.splitlines()
              if " hook " in line and probe not in line]
    check(others and all(line.startswith("ok ") for line in others), others)


def captured(rt):
    before = rt.metrics()
    held = hold(CONVERSATIONS)
    delta = rt.quiet().minus(before)
    for conversation in held:
        conversation.end()
        check(not conversation.wrong, conversation.wrong)
        agree(delta, conversation.name, conversation.rows)
    equal("counted", rt.audit(delta)[1], sum(len(c.rows) for c in held))


def alone(report, what, without, probe):
    """One program is missing, which the front-end can do without."""
    with Lacking(without) as rt:
        with report.case(f"{what}: the agent starts"):
            rt.start()
        if report.failed:
            report.exit()
        with report.case(f"{what}: the log and the metrics name it, and "
                         "nothing else"):
            told(rt, probe)
        with report.case(f"{what}: so does `redtap-agent check`"):
            checked(rt, probe)
        with report.case(f"{what}: what the others see is exact"):
            captured(rt)
        rt.finish(report)


def needed(report):
    with Lacking(refusing("sock_send_length"), "auto") as rt:
        with report.case("a program that `socket` needs is refused: the agent "
                         "takes another front-end"):
            rt.start()
            check(rt.capture() not in ("", "socket"), rt.capture())
        if report.failed:
            report.exit()
        with report.case("… which is exact"):
            captured(rt)
        rt.finish(report)


def useless(report):
    """Without what reads are seen by, `syscall` would capture nothing."""
    with report.case("a program that `syscall` needs is refused: the agent "
                     "says so, and does not pretend"):
        without = refusing("syscall_read_exit")
        done = subprocess.run(without([AGENT, "check", "--capture=syscall"]),
                              capture_output=True, text=True)
        check("syscall: the kernel refuses syscall/exit_read" in done.stdout,
              done.stdout)
        equal("exit status", done.returncode, 1)


def of_one_library(report):
    """TLS without a program for GnuTLS: OpenSSL's goes on."""
    without = refusing("gnutls_recv")
    with Lacking(without) as rt:
        with report.case("a program for GnuTLS is refused: the log and the "
                         "metrics name it, and OpenSSL's are attached"):
            rt.start()
            probes = rt.metrics().select("redtap_agent_probe_attached",
                                         node=rt.NODE)
            tls = {dict(k)["probe"].split(".")[0]: int(v)
                   for k, v in probes.items()
                   if dict(k)["probe"].startswith("tls/lib")}
            equal("libraries", tls, {"tls/libssl": 1, "tls/libgnutls": 0})
            log = rt.agent.log.read_text()
            check("tls: program refused program=gnutls_recv" in log, log)
        rt.finish(report)
    with report.case("… and what it carries is exact"):
        suite = pathlib.Path(__file__).with_name("60_tls.py")
        done = subprocess.run(without([suite, "python"]), capture_output=True,
                              text=True)
        equal("exit status of 60_tls.py", done.returncode, 0)


def of_loads(report):
    """Without reports of loaded libraries, the agent scans programs that start."""
    without = refusing("perf_mmap")
    with Lacking(without) as rt:
        with report.case("perf's records of mappings are refused: the log, the "
                         "metrics and `check` name them, and nothing else"):
            rt.start()
            probes = {dict(k)["probe"]: int(v) for k, v in rt.metrics().select(
                "redtap_agent_probe_attached", node=rt.NODE).items()}
            equal("probes that are not attached",
                  [p for p, up in probes.items() if not up], ["tls/mmap"])
            equal("exec", probes.get("tls/exec"), 1)
            log = rt.agent.log.read_text()
            check("tls: cannot watch library loads" in log, log)
            done = subprocess.run(without([AGENT, "check"]),
                                  capture_output=True, text=True)
            equal("exit status of check", done.returncode, 0)
            check(re.search("^note .*library loads", done.stdout, re.M),
                  done.stdout)
            done = subprocess.run([AGENT, "check"], capture_output=True,
                                  text=True)
            check(re.search("^ok .*library loads", done.stdout, re.M),
                  done.stdout)
        rt.finish(report)
    with report.case("… and what TLS carries is exact"):
        suite = pathlib.Path(__file__).with_name("60_tls.py")
        done = subprocess.run(without([suite, "python"]), capture_output=True,
                              text=True)
        equal("exit status of 60_tls.py", done.returncode, 0)


def main():
    report = Report()
    if TRACING[0].exists():
        alone(report, "a tracepoint is missing", hiding, HIDDEN[1])
    else:
        report.skip("a program that can't be attached", "no such tracepoint")
    alone(report, "a program is refused", refusing(REFUSED[0]), REFUSED[1])
    needed(report)
    useless(report)
    of_one_library(report)
    of_loads(report)
    report.exit()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
A program that can't be attached takes none of the others down: it is named in
the log, in redtap_agent_probe_attached and by `redtap-agent check`. Here the
kernel lacks a tracepoint as far as the agent can see: in its mount namespace
there is nothing behind its name.
"""

import pathlib
import subprocess

from conversation import hold
from harness import AGENT, Process, Redtap, Report, agree, check, equal

CONVERSATIONS = ["keepalive", "coalesced", "bytebybyte", "resetinwrite"]
HIDDEN = ("sys_exit_splice", "syscall/exit_splice")
TRACING = [pathlib.Path(d) / "events/syscalls" / HIDDEN[0] / "id"
           for d in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")]


def without(argv):
    """The command, in a mount namespace where the tracepoint is missing."""
    hide = "".join(f"[ ! -e {at} ] || mount --bind /dev/null {at} || exit 9\n"
                   for at in TRACING)
    return ["unshare", "--mount", "sh", "-c", f'{hide}exec "$0" "$@"',
            *map(str, argv)]


class Lacking(Redtap):
    def start_agent(self, wait=True):
        started = self.agents() if wait else None
        self.agent = Process(without(
            [AGENT, "run", f"--to=tcp://127.0.0.1:{self.ingest}",
             f"--config.file={self.write_config()}", "--capture=syscall"]),
            self.dir / "agent.log")
        if wait:
            self.wait_agent(started)


def told(rt):
    probes = {dict(k)["probe"]: int(v) for k, v in rt.metrics().select(
        "redtap_agent_probe_attached", node=rt.NODE).items()}
    equal("probes that are not attached",
          [p for p, up in probes.items() if not up], [HIDDEN[1]])
    check(len(probes) > 10, f"all probes: {probes}")
    log = rt.agent.log.read_text()
    check(f"probe={HIDDEN[1]} not attached" in log, log)


def checked():
    done = subprocess.run(without([AGENT, "check", "--capture=syscall"]),
                          capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if HIDDEN[1] in line]
    equal("lines about the program", len(lines), 1)
    check(not lines[0].startswith("ok "), lines[0])
    others = [line for line in done.stdout.splitlines()
              if " hook " in line and HIDDEN[1] not in line]
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


def main():
    report = Report()
    if not TRACING[0].exists():
        report.skip("a program that can't be attached", "no such tracepoint")
        report.exit()
    with Lacking(web=21408) as rt:
        with report.case("the agent starts although a tracepoint is missing"):
            rt.start()
        if report.failed:
            report.exit()
        with report.case("the log and the metrics name what is missing, and "
                         "nothing else"):
            told(rt)
        with report.case("so does `redtap-agent check`"):
            checked()
        with report.case("what the others see is exact"):
            captured(rt)
        rt.finish(report)
    report.exit()


if __name__ == "__main__":
    main()

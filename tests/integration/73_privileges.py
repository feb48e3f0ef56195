#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the programs may still do once they run, as /proc says it."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]
                       / "faults"))
from fleet import AGENT, Fleet  # noqa: E402
from harness import Process, Report, Skip, equal, eventually  # noqa: E402

PORT = 21940
CAPS = {"DAC_READ_SEARCH": 2, "SYS_PTRACE": 19, "PERFMON": 38, "BPF": 39}
SYS_ADMIN = 21  # what the kernel asks for to attach a uprobe


def threads(pid):
    """[{field: text}] of the status of each thread."""
    out = []
    for task in os.listdir(f"/proc/{pid}/task"):
        text = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
        out.append(dict(line.split(":\t", 1) for line in text.splitlines()
                        if ":\t" in line))
    return out


def expect(pid, caps):
    rows = threads(pid)
    for row in rows:
        for field in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
            want = caps if field in ("CapEff", "CapPrm") else 0
            equal(f"{field} of thread {row['Name']}",
                  f"{int(row[field], 16):x}", f"{want:x}")
        equal("NoNewPrivs", row["NoNewPrivs"], "1")
    return len(rows)


def main():
    report = Report()
    with Fleet(PORT) as w:
        w.start_aggregator()
        with report.case("every thread of the aggregator has no capability "
                         "and no way to gain one"):
            if os.geteuid() != 0:
                raise Skip("not root: there is nothing to drop")
            expect(w.aggregator.pid, 0)
        for tls, more, text in (
                ("off", 0, "the four capabilities that it needs"),
                ("auto", 1 << SYS_ADMIN, "these and SYS_ADMIN with TLS")):
            agent = Process([AGENT, "run", f"--node=tls-{tls}",
                             f"--capture.tls={tls}", "--include.port=1",
                             f"--to=tcp://127.0.0.1:{w.ingest}"],
                            w.dir / f"agent-{tls}.log")
            w.processes.append(agent)
            with report.case(f"every thread of the agent has {text}, and no "
                             "way to gain one"):
                if os.geteuid() != 0:
                    raise Skip("not root: the agent can't attach")
                eventually("the agent is heard", lambda: w.metrics().sum(
                    "redtap_agent_up", node=f"tls-{tls}"), 20)
                expect(agent.pid,
                       sum(1 << bit for bit in CAPS.values()) | more)
                equal("agent", agent.stop(), 0)
        with report.case("the aggregator ends with status 0"):
            equal("aggregator", w.aggregator.stop(), 0)
    report.exit()


if __name__ == "__main__":
    main()

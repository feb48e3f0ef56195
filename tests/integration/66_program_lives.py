#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Programs of users through the ends of the processes that count for them: the
agent is killed with and without pins, stops, and reads its programs again while
they are called all the time.

	66_program_lives.py [KILLS]
"""

import pathlib
import random
import signal
import sys
import tempfile
import time

from harness import Report, check, equal, note
from programs import CALLS, Driver, Programs, SOURCES, needs_clang

PORT = 21760


def total(rt, name):
    return int(rt.lines_of(name).sum(name))


def put_pinned(rt):
    rt.put("count")
    (rt.folder / "count.yaml").unlink()
    (rt.folder / "pinned.yaml").write_text(
        (SOURCES / "pinned.yaml.in").read_text()
        .replace("@CALLS@", str(CALLS)))


def ready(rt, name):
    rt.start_agent(wait=False)
    rt.running(name)


def pinned(built, kills):
    """What happens while the agent is dead is counted, too."""
    rnd = random.Random(11)
    with Programs(PORT, built=built) as rt:
        rt.agent_flags.append(f"--outbox.path={rt.dir}/outbox")
        put_pinned(rt)
        rt.start()
        rt.running("pinned")
        driver = Driver()
        equal("driver", driver.ask("pace 200"), ["paced"])
        for turn in range(kills):
            time.sleep(rnd.uniform(0.1, 0.6))
            equal("exit status", rt.agent.stop(9), -9)
            time.sleep(rnd.uniform(0, 0.2))
            if turn % 3 == 2:
                # In the middle of its start.
                rt.start_agent(wait=False)
                time.sleep(rnd.uniform(0, 0.3))
                equal("exit status", rt.agent.stop(9), -9)
            ready(rt, "pinned")
        called = int(driver.ask(f"stop {rt.dir}/calls")[0])
        driver.close()
        rt.becomes("calls", lambda: total(rt, "pinned_total"), called, 60)
        time.sleep(1)
        equal("calls, a second later", total(rt, "pinned_total"), called)
        rt.check_identity()
        equal("exit status", rt.agent.stop(), 0)
        equal("calls, after the agent's end", total(rt, "pinned_total"),
              called)
        check(not list(pathlib.Path(rt.pins()).rglob("*whole*")),
              "pins stay behind")
        note(f"kills={kills} calls={called} counted="
             f"{total(rt, 'pinned_total')}")


def unpinned(built, kills):
    with Programs(PORT, "count", built=built) as rt:
        rt.start()
        rt.running("count")
        driver = Driver()
        driver.ask("pace 200")
        for _ in range(kills):
            time.sleep(0.5)
            equal("exit status", rt.agent.stop(9), -9)
            ready(rt, "count")
        called = int(driver.ask(f"stop {rt.dir}/calls")[0])
        driver.close()
        time.sleep(0.5)
        equal("exit status", rt.agent.stop(), 0)
        counted = total(rt, "count_total")
        check(0 < counted <= called, f"{counted} counted of {called}")
        rt.check_identity()
        note(f"kills={kills} calls={called} counted={counted}")


def within(calls, start, end):
    return sum(1 for us in calls if start <= us <= end)


def reloaded(built, turns):
    """Counted, and called while nothing was attached: all calls."""
    with Programs(PORT, "count", built=built) as rt:
        rt.start()
        rt.running("count")
        driver = Driver()
        driver.ask("pace 700")
        gaps, old = [], rt.list()["count"]["attach_us"]
        text = (rt.folder / "count.yaml").read_text()
        for turn in range(turns):
            time.sleep(0.5)
            (rt.folder / "count.yaml").write_text(text + f"# {turn}\n")
            rt.talk_reload()
            rt.running("count")
            now = rt.list()["count"]
            check(now["attach_us"] != old, "it was not read again")
            old = now["attach_us"]
            gaps.append((now["detach_us"], now["attach_us"]))
        called = int(driver.ask(f"stop {rt.dir}/calls")[0])
        driver.close()
        calls = [int(x) for x in
                 (rt.dir / "calls").read_text().split()]
        equal("exit status", rt.agent.stop(), 0)
        counted = total(rt, "count_total")
        # While one is being detached or attached, a call may go either way.
        least = sum(within(calls, d[1], a[0]) for d, a in gaps)
        most = sum(within(calls, d[0], a[1]) for d, a in gaps)
        check(least <= called - counted <= most,
              f"{called} calls, {counted} counted; in the gaps {least} to "
              f"{most}")
        rt.check_identity()
        note(f"reloads={turns} calls={called} counted={counted} gaps="
             f"{least}..{most} "
             f"{sum(a[1] - d[0] for d, a in gaps) / turns / 1000:.1f} ms each")


def stopped(built):
    """A clean end loses nothing of what was called before."""
    with Programs(PORT, "count", built=built) as rt:
        rt.start()
        rt.running("count")
        driver = Driver()
        called = 0
        for turn in range(5):
            called += driver.take(0, 997 + turn)
            equal("exit status", rt.agent.stop(), 0)
            ready(rt, "count")
        driver.close()
        equal("exit status", rt.agent.stop(), 0)
        equal("calls", total(rt, "count_total"), called)
        rt.check_identity()


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    report = Report()
    needs_clang()
    with tempfile.TemporaryDirectory(prefix="redtap-built-") as tmp:
        built = pathlib.Path(tmp)
        with report.case("a clean end of the agent loses no call"):
            stopped(built)
        with report.case(f"kill -9 of the agent {kills} times, pinned: "
                         "counted = called, the time it was dead included"):
            pinned(built, kills)
        with report.case(f"kill -9 of the agent {kills} times, not pinned: "
                         "never more than was called, and the identity "
                         "holds"):
            unpinned(built, kills)
        with report.case("programs that are read again under load: counted, "
                         "and called in the gaps, are all calls"):
            reloaded(built, max(3, kills // 2))
    report.exit()


if __name__ == "__main__":
    main()

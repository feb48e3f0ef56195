#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
SIGHUP and --config.check of both programs: a good configuration is applied or
named, a wrong one changes nothing. Truth: what the programs do afterwards.
"""

import pathlib
import signal
import subprocess

from harness import AGENT, AGGREGATOR, Redtap, Report, check, equal, \
    eventually

WEB = 21690
RELOADED = "redtap_config_last_reload_successful"
CHECKS = (  # program, subcommand, text, what is said
    (AGENT, "run", "capture: {mode: magic}\n",
     ":1:17: capture.mode: 'magic' is none of auto, fentry"),
    (AGENT, "run", "to: tls+tcp://a:1\n", ":1:5: to: tls+tcp:// needs"),
    (AGENT, "run", "tls: {ca_file: /nonexistent}\n", ":1:16: tls.ca_file:"),
    (AGENT, "run", "flush_ms: soon\n", "or a duration like 500ms"),
    (AGGREGATOR, "serve", "log: {level: loud}\n",
     ":1:14: log.level: 'loud' is none of debug, info, warn, error"),
    (AGGREGATOR, "serve", "views: [{name: a, measure: height}]\n",
     ":1:28: views.measure: 'height' is none of requests, "),
    (AGGREGATOR, "serve", "ingest: {listen: ['tls+tcp://0.0.0.0:1']}\n",
     ":1:19: ingest.listen: tls+tcp:// needs"),
    (AGGREGATOR, "serve", "web: {config_file: /nonexistent}\n",
     ":1:20: web.config_file: '/nonexistent' is not a file that exists"),
)


def checked(program, command, path):
    p = subprocess.run([program, command, "--config.check",
                        f"--config.file={path}"], capture_output=True,
                       text=True, timeout=30, check=False)
    return p.returncode, p.stderr


def checks(rt):
    path = rt.dir / "checked.yml"
    for program, command, text, said in CHECKS:
        path.write_text(text)
        status, log = checked(program, command, path)
        equal(f"status for {text}", status, 1)
        check(said in log, f"{text} said: {log}")
    for program, command, text in (
            (AGENT, "run", "flush_ms: 1s\noutbox: {cap_bytes: 1GiB}\n"),
            (AGGREGATOR, "serve", "retention: {raw_age_s: 1d}\n")):
        path.write_text(text)
        equal(f"status for {text}", checked(program, command, path), (0, ""))


def hup(process, text, path, said):
    """Writes the file, sends SIGHUP, and waits for the log to say so."""
    before = process.log.read_text().count(said)
    path.write_text(text)
    process.popen.send_signal(signal.SIGHUP)
    eventually(f"the log says {said}",
               lambda: process.log.read_text().count(said) > before)


def aggregator(rt):
    path = rt.dir / "aggregator.yml"
    hup(rt.aggregator, "store: {checkpoint_s: 0}\n", path, f"{path}:1:23: ")
    eventually("it shows", lambda: rt.metrics().sum(RELOADED) == 0)
    hup(rt.aggregator, "web: {config_file: /nonexistent}\n", path,
        f"{path}:1:20: ")
    hup(rt.aggregator, "log: {level: debug}\n", path, "reloaded")
    eventually("it shows", lambda: rt.metrics().sum(RELOADED) == 1)


def agent(rt, good):
    path = rt.dir / "agent.yaml"
    hup(rt.agent, good + "bogus: 1\n", path, "unknown key 'bogus'")
    eventually("it says which file", lambda: "the old configuration stays "
               f"file={path}" in rt.agent.tail())
    hup(rt.agent, good + "tls: {ca_file: /nonexistent}\n", path,
        f"{path}:5:16: tls.ca_file: '/nonexistent'")
    hup(rt.agent, good + "capture: {mode: syscall}\nroutes: {cap: 7}\n", path,
        "these changes need a restart keys=\\\"capture, routes\\\"")
    before = rt.agents().sum("redtap_agent_last_seen_timestamp_seconds")
    eventually("the agent is heard", lambda: rt.agents().sum(
        "redtap_agent_last_seen_timestamp_seconds") > before)


def moved(rt, good):
    """The agent goes to where the aggregator is, as the file says."""
    rt.aggregator.stop()
    rt.ingest += 1
    path = rt.dir / "agent.yaml"
    hup(rt.agent, good + f"to: tcp://127.0.0.1:{rt.ingest}\n", path,
        f"uplink renewed to=tcp://127.0.0.1:{rt.ingest}")
    rt.start_aggregator()
    eventually("the agent is heard", lambda: rt.agents().sum(
        "redtap_agent_up", node=rt.NODE) == 1)


def main():
    report = Report()
    with Redtap(WEB) as rt:
        (rt.dir / "aggregator.yml").write_text("log: {level: info}\n")
        rt.aggregator_flags.append(f"--config.file={rt.dir}/aggregator.yml")
        rt.start_aggregator()
        good = pathlib.Path(rt.write_config()).read_text().rstrip() + "\n"
        rt.start_agent()
        with report.case("--config.check fails on what a start would "
                         "refuse, and says where and what is allowed"):
            checks(rt)
        with report.case("an aggregator's SIGHUP keeps the old for a bad key "
                         "or file, and says which"):
            aggregator(rt)
        with report.case("an agent's SIGHUP keeps the old for a bad key or "
                         "file, and names what needs a restart"):
            agent(rt, good)
        rt.agent.stop()
        path = rt.dir / "agent.yaml"
        path.write_text(good + f"to: tcp://127.0.0.1:{rt.ingest}\n")
        rt.agent = rt.spawn([AGENT, "run", f"--config.file={path}"], "moving")
        eventually("it is ready", lambda: "ready" in rt.agent.tail())
        with report.case("an agent's SIGHUP takes a new address"):
            moved(rt, good)
    report.exit()


if __name__ == "__main__":
    main()

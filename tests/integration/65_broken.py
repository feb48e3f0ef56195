#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Programs of users that are broken in every way, beside four good ones and HTTP:
what is good stays exact. Forbidden programs are refused before they are loaded.
What a program costs is measured, and held to its budget.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import FAMILY, Report, check, equal, eventually, note, now
from programs import CALLS, Driver, Programs, SOURCES, needs_clang, program

PORT = 21750
WEB = 21552
GOOD = ("good1", "good2", "good3", "good4")
HEAD = b"Host: localhost\r\nContent-Length: 0\r\n\r\n"


class Steady(threading.Thread):
    """One connection that asks and answers all the time, and counts."""

    def __init__(self):
        super().__init__(daemon=True)
        listener = socket.create_server(("127.0.0.1", WEB))
        self.client = socket.create_connection(("127.0.0.1", WEB))
        self.server = listener.accept()[0]
        listener.close()
        self.ended, self.asked = threading.Event(), 0

    def run(self):
        while not self.ended.is_set():
            self.client.sendall(b"GET /steady HTTP/1.1\r\n" + HEAD)
            self.read(self.server)
            self.server.sendall(b"HTTP/1.1 200 OK\r\n" + HEAD)
            self.read(self.client)
            self.asked += 1
            time.sleep(0.001)

    @staticmethod
    def read(s):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            part = s.recv(4096)
            check(part, "the connection ended")
            data += part

    def stop(self):
        self.ended.set()
        self.join()
        self.client.close()
        self.server.close()


def kernel_s(pid):
    """CPU time of a process in the kernel."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
    return int(fields.split()[12]) / os.sysconf("SC_CLK_TCK")


def counts(rt):
    return {n: int(rt.lines_of(n + "_total").sum(n + "_total"))
            for n in GOOD}


def put_broken(rt):
    """One with a bad relocation, one for the verifier, one cut in half."""
    rt.put("bad_relocation")
    rt.put("bad_pointer")
    whole = (rt.folder / "bad_pointer.bpf.o").read_bytes()
    (rt.folder / "truncated.bpf.o").write_bytes(whole[:len(whole) // 2])


def put_good(rt):
    rt.put("count")
    whole = (rt.folder / "count.yaml").read_text()
    (rt.folder / "count.yaml").unlink()
    for name in GOOD:
        (rt.folder / f"{name}.yaml").write_text(
            whole.replace("program: count", f"program: {name}")
            .replace("count_total", f"{name}_total"))


def broken(built):
    config = ["services:", f"  - port: {WEB}", "    service: steady"]
    with Programs(PORT, built=built, config=config) as rt:
        put_good(rt)
        put_broken(rt)
        rt.start()
        rt.running(*GOOD)
        steady = Steady()
        steady.start()
        state = {n: (p["state"], p["reason"]) for n, p in rt.list().items()}
        equal("bad relocation", state["bad_relocation"][0], "failed")
        check("redtap_no_such_variable" in state["bad_relocation"][1],
              state["bad_relocation"][1])
        equal("verifier", state["bad_pointer"][0], "failed")
        check("map_value_or_null" in state["bad_pointer"][1],
              state["bad_pointer"][1])
        equal("truncated", state["truncated"][0], "failed")
        driver = Driver()
        driver.take(0, 1009)
        rt.becomes("good ones", lambda: counts(rt), dict.fromkeys(GOOD, 1009))
        # One that the worker dies of, a fault while it is being loaded; and
        # what waits for a writer, which nobody must wait for.
        os.mkfifo(rt.folder / "fifo.bpf.o")
        rt.put("slow")
        worker = rt.worker()
        before = kernel_s(worker)
        rt.agent.popen.send_signal(signal.SIGHUP)
        eventually("the verifier is busy",
                   lambda: kernel_s(worker) > before + 0.25, 30, 0.01)
        os.kill(worker, signal.SIGSEGV)
        rt.running("slow", state="quarantined")
        rt.running(*GOOD)
        driver.take(0, 2003)
        rt.becomes("good ones", lambda: counts(rt), dict.fromkeys(GOOD, 3012))
        driver.close()
        steady.stop()
        m = rt.quiet()
        equal("requests", int(m.sum(FAMILY["server"] + "_count",
                                    job="steady")), steady.asked)
        rt.check_identity()
        m = rt.lines_of("redtap_program_state")
        told = {dict(s)["program"]: dict(s)
                for s in m.samples["redtap_program_state"]}
        for name in GOOD:
            equal(name, told[name]["state"], "running")
        equal("state", told["slow"]["state"], "quarantined")
        check("Segmentation fault" in told["slow"]["reason"], told["slow"])
        check("load" in told["slow"]["reason"], told["slow"])
        equal("state", told["fifo"]["state"], "failed")
        for name in ("bad_relocation", "bad_pointer", "truncated"):
            equal(name, told[name]["state"], "failed")
            equal(f"reason of {name}", told[name]["reason"], state[name][1])
        note(f"{steady.asked} requests, and 4 × 3012 calls")


def main():
    report = Report()
    needs_clang()
    with tempfile.TemporaryDirectory(prefix="redtap-built-") as tmp:
        built = pathlib.Path(tmp)
        with report.case("beside a bad relocation, the verifier's no, half a "
                         "file and a worker that dies, four programs and HTTP "
                         "are exact"):
            broken(built)
    report.exit()


if __name__ == "__main__":
    main()

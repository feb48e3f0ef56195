#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Programs of users that are broken in every way, beside four good ones and HTTP:
what is good stays exact. Forbidden programs are refused before they are loaded.
What a program costs is measured, and held to its budget.
"""

import json
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
        # a file that waits for a writer, which must not stop the worker.
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


# What changes something, each by its number and name; see linux/bpf.h.
HELPERS = {
    9: "skb_store_bytes", 13: "clone_redirect", 23: "redirect",
    36: "probe_write_user", 38: "skb_change_tail", 44: "xdp_adjust_head",
    49: "setsockopt", 51: "redirect_map", 53: "sock_map_update",
    58: "override_return", 64: "bind", 84: "sk_lookup_tcp",
    109: "send_signal", 117: "send_signal_thread", 116: "tcp_send_ack",
    166: "sys_bpf", 171: "timer_start", 190: "xdp_store_bytes",
}
KFUNCS = ("bpf_kfunc_call_test", "bpf_set_dentry_xattr", "scx_bpf_kick_cpu")
SECTIONS = {
    "fmod_ret/security_file_open": "fmod_ret",
    "lsm/file_open": "lsm",
    "tc": "tc changes packets",
    "xdp": "allow: [xdp]",
}


def object_of(tmp, section, body, before=""):
    """A program with nothing but what is checked; no types are needed."""
    source = tmp / "forbidden.c"
    source.write_text(
        f"{before}\n"
        f"__attribute__((section(\"{section}\"), used))\n"
        f"int f(void *ctx) {{ {body} return 0; }}\n"
        "char l[] __attribute__((section(\"license\"), used)) = \"GPL\";\n")
    out = tmp / "forbidden.bpf.o"
    subprocess.run(["clang-14", "-target", "bpf", "-g", "-O2", "-w", "-c",
                    source, "-o", out], check=True)
    return out


def loaded_programs():
    out = subprocess.run(["bpftool", "-j", "prog", "show"],
                         capture_output=True, text=True, check=True).stdout
    return out.count('"name":"f"')


def forbidden(tmp):
    """Objects with one forbidden thing each: refused by its name."""
    cases = []
    for number, name in HELPERS.items():
        cases.append((object_of(
            tmp, "raw_tp/sched_switch",
            f"((long (*)(void *)){number}ul)(ctx);"),
            f"bpf_{name}, which is not allowed"))
        said = program("check", cases[-1][0], status=1)
        check(f"f calls {cases[-1][1]}" in said, said)
    for name in KFUNCS:
        path = object_of(tmp, "raw_tp/sched_switch", f"{name}(ctx);",
                         f"extern int {name}(void *) "
                         "__attribute__((section(\".ksyms\")));")
        said = program("check", path, status=1)
        check(f"f calls {name}, which is not allowed" in said, said)
        cases.append(name)
    for section, why in SECTIONS.items():
        path = object_of(tmp, section, "")
        said = program("check", path, status=1)
        check(why in said and section.split("/")[0] in said, said)
        cases.append(section)
    equal("objects", len(cases), 25)
    equal("programs in the kernel", loaded_programs(), 0)


def budget(built):
    """A probe without a pause and a budget of 2 %: detached within 3 s."""
    with Programs(PORT, built=built) as rt:
        rt.put("count", lambda text: text.replace(
            "limits: {", "limits: {cpu: 2%, "))
        rt.start()
        rt.running("count")
        driver = Driver()
        plain_ns = None
        driver.ask("pace 0")
        begin = now()
        rt.running("count", state="over_budget")
        took = now() - begin
        time.sleep(0.2)
        called = int(driver.ask(f"stop {rt.dir}/calls")[0])
        reason = rt.list()["count"]["reason"]
        check("its budget is 2.0 %" in reason, reason)
        # Detached: calls are as fast as without it.
        after_ns = float(driver.ask("spin 0.5")[1])
        other = Driver()
        plain_ns = float(other.ask("spin 0.5")[1])
        other.close()
        driver.close()
        check(took <= 3, f"detached after {took:.1f} s")
        check(after_ns < plain_ns * 3 + 20,
              f"{after_ns} ns a call, {plain_ns} without a probe")
        rt.becomes("state", lambda: {
            dict(s)["state"] for s in rt.lines_of("redtap_program_state")
            .samples["redtap_program_state"]}, {"over_budget"})
        counted = int(rt.lines_of("count_total").sum("count_total"))
        check(0 < counted <= called, f"{counted} of {called}")
        rt.check_identity()
        note(f"detached after {took:.1f} s; {counted} of {called} calls "
             f"counted; {reason}; then {after_ns:.1f} ns a call, "
             f"{plain_ns:.1f} without a probe")


def costs(built):
    """Runs and run time agree with bpftool's."""
    with Programs(PORT, "count", built=built) as rt:
        rt.start()
        rt.running("count")
        driver = Driver()
        driver.take(0, 20000)
        driver.close()
        time.sleep(2.2)  # two windows
        ours = rt.list()["count"]
        theirs = [p for p in json.loads(subprocess.run(
            ["bpftool", "-j", "prog", "show"], capture_output=True,
            text=True, check=True).stdout)
            if p.get("name") == "on_take"]
        equal("programs", len(theirs), 1)
        equal("runs", ours["runs"], 20000)
        equal("runs, by bpftool", theirs[0]["run_cnt"], 20000)
        off = abs(ours["run_ns"] - theirs[0]["run_time_ns"]) / \
            theirs[0]["run_time_ns"]
        check(off < 0.02, f"{ours['run_ns']} ns, bpftool says "
              f"{theirs[0]['run_time_ns']} ns")
        check(ours["trap_ns"] > ours["run_ns"],
              "a breakpoint costs more than the program that it runs")
        note(f"20000 runs of {ours['run_ns'] / 20000:.0f} ns, as bpftool "
             f"says; a breakpoint is {ours['trap_ns'] / 20000:.0f} ns more")


def privileges(built):
    """The worker may do what it must, and nothing more."""
    with Programs(PORT, "count", built=built) as rt:
        rt.start()
        rt.running("count")
        status = pathlib.Path(f"/proc/{rt.worker()}/status").read_text()
        caps = {n: int(v, 16) for n, v in re.findall(
            r"^(Cap\w+):\s+([0-9a-f]+)$", status, re.M)}
        bits = {"DAC_READ_SEARCH": 2, "SYS_PTRACE": 19, "SYS_ADMIN": 21,
                "SYSLOG": 34, "PERFMON": 38, "BPF": 39}
        want = sum(1 << n for n in bits.values())
        for name in ("CapPrm", "CapEff"):
            equal(name, hex(caps[name]), hex(want))
        for name in ("CapBnd", "CapAmb", "CapInh"):
            equal(name, caps[name], 0)
        check("NoNewPrivs:\t1" in status, "new privileges are possible")


def main():
    report = Report()
    needs_clang()
    with tempfile.TemporaryDirectory(prefix="redtap-built-") as tmp:
        built = pathlib.Path(tmp)
        with report.case("beside a bad relocation, the verifier's no, half a "
                         "file and a worker that dies, four programs and HTTP "
                         "are exact"):
            broken(built)
        with report.case("25 objects with one forbidden helper, type or "
                         "kernel function each are refused by name"):
            forbidden(built)
        with report.case("a program over its budget is detached within 3 s"):
            budget(built)
        with report.case("runs and run time agree with bpftool"):
            costs(built)
        with report.case("the worker has the capabilities it needs, and no "
                         "other"):
            privileges(built)
    report.exit()


if __name__ == "__main__":
    main()

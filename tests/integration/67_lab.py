#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Programs as their other tools have them: the first lab of BumbleBee, every
template of `program init`, every key of an ebpf_exporter file, bcc's code.

	67_lab.py [all]	with all, every template is tried
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from harness import AGENT, Redtap, Report, Skip, check, equal, eventually, \
    note
from programs import CALLS, Driver, Programs, SOURCES, needs_clang, program

PORT = 21770
FAR = "127.93.7.1"  # no other connects there
HASH, RING = "ebpf_solo_io_events_hash", "ebpf_solo_io_events_ring"


def connects(n, host=FAR):
    """So many connects, which are refused: each is counted all the same."""
    for _ in range(n):
        with socket.socket() as s:
            s.connect_ex((host, 9))


def lab(built):
    """9 connects = 9 in the hash = 9 in the ring, and who adds wrongly is
    told."""
    with Programs(PORT) as rt:
        rt.put("lab")
        shutil.move(rt.folder / "lab.bpf.o", rt.folder / "lab_first.bpf.o")
        rt.start()
        rt.running("lab_first")
        connects(9)

        def both():
            m = rt.lines_of("ebpf_solo_io_")
            return (int(m.sum(HASH, daddr=FAR)), int(m.sum(RING, daddr=FAR)))
        rt.becomes("connects", both, (9, 9))
        m = rt.lines_of("ebpf_solo_io_")
        labels = dict(next(iter(m.select(HASH, daddr=FAR))))
        equal("labels", {k: v for k, v in labels.items() if k != "node"},
              {"saddr": "127.0.0.1", "daddr": FAR})
        equal("node", labels["node"], rt.NODE)
        equal("guarantee", guarantees(rt)["events_hash"], "exact")
        # As the lab's own page does it.
        program("build", "--cflags=-DRACY", SOURCES / "lab.bpf.c",
                rt.folder / "lab_first.bpf.o")
        rt.talk_reload()
        rt.running("lab_first")
        connects(9)
        rt.becomes("connects in the ring", lambda: both()[1], 18)
        rt.becomes("guarantee", lambda: guarantees(rt).get("events_hash"),
                   "racy", 40)
        rt.check_identity()


def guarantees(rt):
    m = rt.lines_of("redtap_program_map_info")
    return {dict(s)["map"]: dict(s)["guarantee"]
            for s in m.samples.get("redtap_program_map_info", {})}


def templates(tmp, every):
    """Each compiles as it is, and loads."""
    tried = 0
    for kind in ("network", "file-system"):
        for map_ in ("RingBuffer", "HashMap"):
            for output in ("print", "counter", "gauge", "hist"):
                if not every and (tried + len(output)) % 3:
                    tried += 1
                    continue
                tried += 1
                path = tmp / f"{kind}-{map_}-{output}.c"
                program("init", "-l", "C", f"--program-type={kind}",
                        "-m", map_, "-o", output, path)
                said = program("check", path)
                check(" NO " not in said, said)
                check(f"{output}_" in said, said)


def asked(tmp):
    """What flags do not say is asked; a wrong answer is asked again."""
    path = tmp / "asked.c"
    said = program("init", path, input="1\n9\nfile-system\n2\ncounter\n")
    check("type of program" in said, said)
    text = path.read_text()
    check("mm_filemap" in text and "counter_pages" in text
          and "BPF_MAP_TYPE_HASH" in text, text)
    program("init", path, status=1, input="\n\n\n\n")  # it is there


def typos():
    done = subprocess.run([AGENT, "program", "chekc"], capture_output=True,
                          text=True, check=False)
    equal("exit status", done.returncode, 2)
    check("did you mean 'check'" in done.stderr, done.stderr)


def every_key(built):
    group = wanted_cgroup()
    with Programs(PORT) as rt:
        shutil.copy(SOURCES / "every_key.yaml", rt.folder)
        program("build", f"--cflags=-DCALLS=\"{CALLS}\"",
                SOURCES / "every_key.bpf.c", rt.folder / "every_key.bpf.o")
        rt.start()
        rt.running("every_key")
        driver, inside = Driver(), Driver()
        if group:
            (group / "cgroup.procs").write_text(str(inside.popen.pid))
            time.sleep(6)  # a read, at which cgroups are looked for
        driver.take(0, 400)
        inside.take(0, 40)
        driver.close()
        inside.close()
        p = "ebpf_exporter_"
        rt.becomes("perf events", lambda: int(
            rt.lines_of(p + "perf_total").sum(p + "perf_total")), 440)
        rt.becomes("calls", lambda: int(
            rt.lines_of(p + "padded").sum(p + "padded_total")), 440)
        m = rt.lines_of(p)

        def series(name):
            return {tuple(sorted((k, v) for k, v in labels if k != "node")):
                    int(n) for labels, n in m.samples[p + name].items()}
        equal("padded", series("padded_total"), {
            (("number", n), ("text", "tap")): 110
            for n in ("zero", "one", "two", "3")})
        equal("decoded", series("decoded_total"), {
            (("address", "127.0.0.1"), ("byte", b), ("mac", "010203040506"),
             ("pair", "7")): 220 for b in "01"})
        equal("symbols", series("symbols_total"),
              {(("symbol", "schedule"),): 440})
        equal("perf", series("perf_total"), {
            (("number", n), ("text", "redtap")): 110 for n in "0123"})
        if group:
            equal("cgroup", series("cgroup_total"),
                  {(("cgroup", str(group)),): 40})
        rt.check_identity()
        log = (rt.dir / "agent.log").read_text()
        line = (SOURCES / "every_key.yaml").read_text().split(
            "flush_interval")[0].count("\n") + 1
        check(f"every_key.yaml:{line}: flush_interval is ignored" in log, log)
        check("tracing is ignored" in log, log)
    if group:
        group.rmdir()


def wanted_cgroup():
    """A cgroup of ours, or None where there is no cgroup2 to write to."""
    for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if (pathlib.Path(root) / "cgroup.controllers").exists():
            path = pathlib.Path(root) / "redtap-wanted"
            try:
                path.mkdir(exist_ok=True)
            except OSError:
                return None
            return path
    return None


def bcc(built):
    """Code of ebpf_exporter's first version: N short processes are N."""
    with Programs(PORT) as rt:
        shutil.copy(SOURCES / "bcc.yaml", rt.folder)
        program("build", rt.folder / "bcc.yaml", cwd=rt.folder)
        short = rt.dir / "rt-short"
        shutil.copy("/bin/true", short)
        rt.start()
        rt.running("exits")
        for _ in range(37):
            subprocess.run([short], check=True)

        def exits():
            return int(rt.lines_of("ebpf_exporter_exits_total").sum(
                "ebpf_exporter_exits_total", comm="rt-short", group="1"))
        rt.becomes("exits", exits, 37)
        rt.agent.stop()
        m = rt.lines_of("ebpf_exporter_exits")
        equal("slots", m.sum("ebpf_exporter_exits_slots_count"),
              m.sum("ebpf_exporter_exits_total"))
        rt.check_identity()


def marks():
    """USDT: collections of a Python = gc.get_stats()."""
    found = pathlib.Path("/usr/bin/python3").resolve()
    notes = subprocess.run(["readelf", "-n", found], capture_output=True,
                           text=True, check=False).stdout
    if "gc__start" not in notes:
        raise Skip(f"{found} has no marks")
    with Programs(PORT) as rt:
        # A copy, for others may run the original.
        python = rt.dir / found.name
        shutil.copy(found, python)
        shutil.copy(SOURCES / "usdt.yaml", rt.folder)
        program("build", f"--cflags=-DPYTHON=\"{python}\"",
                SOURCES / "usdt.bpf.c", rt.folder / "usdt.bpf.o")
        rt.start()
        rt.running("usdt")
        done = subprocess.run(
            [python, "-S", "-c",
             "import gc, os\n"
             "x = [[i] for i in range(50000)]\n"
             "for i in range(7): gc.collect(i % 3)\n"
             "print([s['collections'] for s in gc.get_stats()], flush=True)\n"
             "os._exit(0)"], env={"PYTHONHOME": "/usr"}, check=True,
            capture_output=True, text=True)
        name = "ebpf_exporter_python_gc_total"
        rt.becomes("collections", lambda: [
            int(rt.lines_of(name).sum(name, generation=str(i)))
            for i in range(3)], json.loads(done.stdout))
        note(f"collections by generation: {done.stdout.strip()}")
        rt.agent.stop()
        rt.check_identity()


def refused(tmp):
    """What bcc does by rewriting is refused, with line and remedy."""
    text = (SOURCES / "bcc.yaml").read_text()
    path = tmp / "more.yaml"
    path.write_text(text.replace(
        "int on_fork(struct bpf_raw_tracepoint_args *ctx)",
        "int on_fork(struct bpf_raw_tracepoint_args *ctx, int parent)"))
    line = path.read_text().split("int on_fork")[0].count("\n") + 1
    done = subprocess.run([AGENT, "program", "build", path],
                          capture_output=True, text=True, check=False)
    equal("exit status", done.returncode, 1)
    check(f"more.yaml:{line}: on_fork: parameters after ctx" in done.stderr
          and "PT_REGS_PARM1" in done.stderr, done.stderr)
    # An old section in a binary: what to do is said, and nothing guessed.
    source = (SOURCES / "lab.bpf.c").read_text()
    old = tmp / "old.bpf.o"
    (tmp / "x.c").write_text(
        "struct m { int (*type)[1]; };\n"
        "struct m m __attribute__((section(\".maps.counter\"), used));\n"
        "__attribute__((section(\"tp_btf/sched_process_fork\"), used))\n"
        "int f(void *c) { return 0; }\n")
    check(".maps.counter" in source, "the lab's source has other sections")
    subprocess.run(["clang-14", "-target", "bpf", "-g", "-O2", "-c",
                    tmp / "x.c", "-o", old], check=True)
    said = program("check", old, status=1)
    check("rebuild from the source with `redtap-agent program build`" in said,
          said)


def run_alone(built):
    """`run` without an agent: lines of JSON, and its own way to the scrape."""
    with Redtap(PORT) as rt:
        rt.start_aggregator()
        runs = subprocess.Popen(
            [AGENT, "program", "run", "--no-tty", "--for=6s",
             f"--to=tcp://127.0.0.1:{rt.ingest}", "--node=runner",
             f"-f=events_hash,daddr,^{FAR}$".replace("-f=", "-f"),
             SOURCES / "lab.bpf.c"], stdout=subprocess.PIPE, text=True)
        time.sleep(3.5)
        connects(11)
        out = runs.communicate(timeout=60)[0]
        equal("exit status", runs.returncode, 0)
        rows = [json.loads(x) for x in out.splitlines()]
        hash_ = [r for r in rows if r["map"] == "events_hash"]
        equal("last value", hash_[-1]["value"], 11)
        check(all(r["labels"]["daddr"] == FAR for r in hash_), hash_)
        ring = [r for r in rows if r["map"] == "events_ring"
                and r["labels"]["daddr"] == FAR]
        equal("events", len(ring), 11)
        m = rt.lines("ebpf_solo_io_")
        equal("scraped", (m.sum(HASH, daddr=FAR, node="runner"),
                          m.sum(RING, daddr=FAR)), (11, 11))


def run_with_agent(built):
    """With an agent, that runs it: it is counted as all else is."""
    with Programs(PORT) as rt:
        rt.start()
        eventually("the socket is there", rt.socket.exists)
        runs = subprocess.Popen(
            [AGENT, "program", "run", "--no-tty", f"--socket={rt.socket}",
             SOURCES / "lab.bpf.c"], stdout=subprocess.PIPE, text=True)
        eventually("it runs", lambda: any(
            p["state"] == "running" for p in rt.list().values()), 30, 0.1)
        connects(13)
        rt.becomes("scraped", lambda: int(rt.lines_of(HASH).sum(
            HASH, daddr=FAR)), 13)
        runs.terminate()
        out = runs.communicate(timeout=60)[0]
        equal("exit status", runs.returncode, 0)
        equal("events", sum(1 for x in out.splitlines() if FAR in x
                            and '"events_ring"' in x), 13)
        rt.becomes("programs", lambda: rt.list(), {})
        rt.check_identity()


def added(built):
    """`add`, `list`, `describe`, `top`, `maps`, `remove`."""
    with Programs(PORT) as rt:
        rt.start()
        eventually("the socket is there", rt.socket.exists)
        where = [f"--socket={rt.socket}", f"--dir={rt.folder}"]
        program("add", SOURCES / "forks.bpf.c", *where)
        check("forks" in rt.list(), "it is not there")
        program("add", SOURCES / "lab.bpf.c", *where)
        rt.running("lab")
        equal("state without a file", rt.list()["forks"]["state"], "failed")
        said = rt.talk("list")
        check("lab" in said and "map names" in said, said)
        connects(3)
        eventually("maps show it", lambda: FAR in rt.talk("maps", "lab"), 20)
        said = rt.talk("maps", "lab")
        check("## Config: lab" in said and "### Map: events_hash" in said
              and "7f000001" in said, said)
        check("exact" in rt.talk("describe", "lab"), "no guarantee")
        check("NS/RUN" in rt.talk("top", "--once"), "no top")
        rt.talk("maps", "missing", status=1)
        program("remove", "lab", *where)
        check("lab" not in rt.list(), "it is still there")
        program("remove", "lab", *where, status=1)


def main():
    every = "all" in sys.argv[1:]
    report = Report()
    needs_clang()
    with tempfile.TemporaryDirectory(prefix="redtap-built-") as name:
        tmp = pathlib.Path(name)
        with report.case("the first lab: 9 connects = 9 = 9; added racily, "
                         "that is said"):
            lab(tmp)
        with report.case("templates compile untouched, and load"):
            templates(tmp, every)
        with report.case("init asks what flags do not say"):
            asked(tmp)
        with report.case("of what is typed wrong, the nearest verb is named"):
            typos()
        with report.case("every key of an ebpf_exporter file works"):
            every_key(tmp)
        with report.case("bcc's code in ebpf_exporter's first format"):
            bcc(tmp)
        with report.case("marks of USDT: collections = gc.get_stats()"):
            marks()
        with report.case("what cannot be done is refused with line and "
                         "remedy"):
            refused(tmp)
        with report.case("run without an agent"):
            run_alone(tmp)
        with report.case("run with an agent"):
            run_with_agent(tmp)
        with report.case("add, list, describe, top, maps, remove"):
            added(tmp)
    report.exit()


if __name__ == "__main__":
    main()

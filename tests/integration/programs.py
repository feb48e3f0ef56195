# SPDX-License-Identifier: Apache-2.0
"""What tests of users' programs share: an agent that runs some, and a driver."""

import json
import pathlib
import re
import shutil
import subprocess

from harness import AGENT, BUILD, ROOT, Metrics, Redtap, Skip, check, equal, \
    eventually, http_get

SOURCES = ROOT / "tests" / "programs"
CALLS = BUILD / "tests" / "integration" / "calls"


def program(*argv, status=0, **kwargs):
    """`redtap-agent program …`: its output, once it ended with the status."""
    done = subprocess.run([str(a) for a in (AGENT, "program", *argv)],
                          capture_output=True, text=True, timeout=120,
                          check=False, **kwargs)
    equal(f"exit status of program {argv[0]}, which said {done.stderr[-900:]}",
          done.returncode, status)
    return done.stdout


def needs_clang():
    if not shutil.which("clang-14") and not shutil.which("clang"):
        raise Skip("clang is not installed")


class Driver:
    """Calls functions that probes look at."""

    def __init__(self):
        self.popen = subprocess.Popen(
            [str(CALLS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)

    def ask(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        return self.popen.stdout.readline().split()

    def take(self, start, end):
        return int(self.ask(f"take {start} {end}")[0])

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(30)


class Programs(Redtap):
    """An agent with a folder of programs; files of tests/programs by name."""

    def __init__(self, web, *names, built=None, agent_flags=(), config=()):
        super().__init__(web, config=config, agent_flags=agent_flags)
        self.folder = self.dir / "programs.d"
        self.folder.mkdir()
        self.socket = self.dir / "socket"
        self.agent_flags += [f"--programs.dir={self.folder}",
                             f"--programs.socket={self.socket}",
                             f"--programs.pin-dir={self.pins()}"]
        self.built = built
        for name in names:
            self.put(name)

    def pins(self):
        return f"/sys/fs/bpf/redtap-test-{self.web}"

    def __exit__(self, kind, value, trace):
        super().__exit__(kind, value, trace)
        pins = pathlib.Path(self.pins())
        for path in sorted(pins.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        if pins.exists():
            pins.rmdir()

    def put(self, name, change=lambda text: text):
        """Compiles a source and puts it and its file into the folder."""
        source = SOURCES / f"{name}.bpf.c"
        made = self.built / f"{name}.bpf.o" if self.built else None
        if made is None or not made.exists():
            made = made or self.dir / f"{name}.bpf.o"
            program("build", source, made)
        shutil.copy(made, self.folder / f"{name}.bpf.o")
        for path in (SOURCES / f"{name}.yaml", SOURCES / f"{name}.yaml.in"):
            if path.exists():
                text = path.read_text().replace("@CALLS@", str(CALLS))
                (self.folder / f"{name}.yaml").write_text(change(text))

    def talk(self, *argv, status=0):
        return program(*argv, f"--socket={self.socket}", status=status)

    def talk_reload(self):
        """Has the folder read again, and waits until it was."""
        import socket
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.socket))
            s.sendall(b"reload\n")
            equal("answer to reload", s.recv(64), b"ok\n")

    def list(self):
        """{name: what the agent knows} of its programs."""
        if not self.socket.exists():
            return {}
        done = subprocess.run(
            [str(AGENT), "program", "list", "--json",
             f"--socket={self.socket}"], capture_output=True, text=True,
            timeout=60, check=False)
        if done.returncode != 0:
            return {}
        return {p["name"]: p for p in json.loads(done.stdout)}

    def running(self, *names, state="running"):
        def are():
            have = self.list()
            return all(have.get(n, {}).get("state") == state for n in names)
        try:
            eventually(f"{names} are {state}", are, 30, 0.1)
        except Exception as e:
            raise type(e)(f"{e}; there are " + ", ".join(
                f"{n}: {p['state']} {p['reason']}"
                for n, p in self.list().items())
                + f"\n{self.agent.tail(5)}") from None

    def lines_of(self, *families):
        body = http_get(self.web, "/metrics")[2].decode()
        return Metrics("".join(
            line + "\n" for line in body.splitlines()
            if line.removeprefix("# HELP ").removeprefix("# TYPE ")
            .startswith(families)))

    def becomes(self, what, probe, want, timeout_s=30):
        """Until the probe gives what is wanted; never more than that."""
        last = [None]

        def is_so():
            last[0] = probe()
            return last[0] == want
        try:
            eventually(what, is_so, timeout_s, 0.1)
        except Exception as e:
            raise type(e)(f"{what}: got {last[0]!r}, want {want!r}") from None

    def worker(self):
        """PID of the process that loads programs."""
        out = subprocess.run(["ps", "-eo", "pid,ppid,comm"],
                             capture_output=True, text=True,
                             check=True).stdout
        parent, found = {}, None
        for line in out.splitlines()[1:]:
            pid, ppid, comm = line.split(None, 2)
            parent[int(pid)] = int(ppid)
            if comm.startswith("redtap-programs") and \
                    parent.get(int(ppid)) == self.agent.pid:
                found = int(pid)
        return found

    def identity(self):
        """Increments of programs: (read, counted, dropped)."""
        m = self.lines_of("redtap_program_increments_")
        return tuple(int(m.sum(f"redtap_program_increments_{x}_total"))
                     for x in ("read", "counted", "dropped"))

    def check_identity(self):
        read, counted, dropped = self.identity()
        equal("read = counted + dropped", counted + dropped, read)


def number(text):
    return int(re.search(r"\d+", text).group())


__all__ = ["AGENT", "CALLS", "Driver", "Programs", "SOURCES", "check",
           "equal", "eventually", "needs_clang", "number", "program"]

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs a command on another kernel:
guest.py [--root DIR] [--smp N] [--clock CLOCK] [--timeout S] [--log FILE]
         KERNEL -- CMD…

KERNEL is a folder with a Debian kernel package for amd64 or arm64, extracted;
what is made from it once is kept there too. The guest is QEMU without hardware
help, so that it runs anywhere: slow, but its counts are as good as any. It sees
the files under DIR, this machine's if none is named, read-only under a RAM disk
that takes the writes, runs the command as root in the current directory, and
ends. Output and exit status are the command's own; 124: out of time; 125: the
guest did not come up, or died.
"""

import argparse
import lzma
import os
import pathlib
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib

QEMU = "-m 2G -nodefaults -no-reboot -display none"
MACHINES = {  # by Debian's architecture; the processor, and the serial port
    # Without ERMS, or it copies byte by byte, and counts each.
    "amd64": ("qemu-system-x86_64 -machine pc -cpu max,la57=off,erms=off",
              "ttyS0"),
    "arm64": ("qemu-system-aarch64 -machine virt -cpu cortex-a72",
              "ttyAMA0"),
}
# How the guest's time passes.
CLOCKS = {
    # In turn: before 8.1 QEMU with several at once can crash a kernel that
    # patches its own code, as attaching makes it do.
    "turns": "-accel tcg,thread=single",
    "parallel": "-accel tcg,thread=multi",
    # An instruction takes 1 ns, whatever the host does meanwhile.
    "count": "-accel tcg,thread=single -icount shift=0,sleep=off",
}
MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
MOUNT = "trans=virtio,version=9p2000.L,msize=262144"

INIT = r"""#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /dev /lower /ram /new
$b mount -t proc none /proc
$b mount -t devtmpfs none /dev
for m in /modules/*; do $b insmod $m; done
$b mount -t 9p -o ro,cache=loose,MOUNT root /lower
$b mount -t tmpfs -o size=60% none /ram
$b mkdir /ram/upper /ram/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/ram/upper,workdir=/ram/work \
	none /new
cd /new
$b mount -t proc none proc
$b mount -t sysfs none sys
$b mount -t devtmpfs none dev
$b mount -t tmpfs none run
$b mkdir -p dev/pts dev/shm run/back
$b mount -t devpts none dev/pts
$b mount -t tmpfs none dev/shm
$b mount -t cgroup2 none sys/fs/cgroup
$b mount -t bpf none sys/fs/bpf
$b mount -t tracefs none sys/kernel/tracing
$b mount -t 9p -o cache=none,MOUNT back run/back
$b ln -sf /proc/self/fd dev/fd
$b ip link set lo up
$b cp $b run/busybox
$b chroot . /bin/sh /run/back/command >run/back/output 2>&1 </dev/null
echo $? >run/back/status
$b sync
$b poweroff -f
""".replace("MOUNT", MOUNT)


def unpacked(image):
    """The kernel inside a bzImage: QEMU starts it without decompressing."""
    data = image.read_bytes()
    if data[0x38:0x3c] == b"ARM\x64":
        return data  # as it is
    setup_sects, = struct.unpack_from("<B", data, 0x1f1)
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (setup_sects + 1) * 512 + offset
    payload = data[start:start + length]
    if payload[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31).decompress(payload)
    if payload[:4] == b"\xfd7zX":
        return lzma.LZMADecompressor().decompress(payload)
    tool = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}
    return subprocess.run([tool[payload[:4]], "-dc"], input=payload[:-4],
                          check=True, stdout=subprocess.PIPE).stdout


def cpio(files):
    """A newc archive of {name: (mode, bytes)}."""
    out = bytearray()
    for i, (name, (mode, data)) in enumerate(
            [*files.items(), ("TRAILER!!!", (0, b""))], 1):
        fields = [i, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08x" % f for f in fields)
        out += name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def in_load_order(modules, names):
    """Files of the modules and of what they need; built-in ones have none."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, deps = line.partition(":")
        name = path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")
        needs[name] = [path, *deps.split()]
    order = []
    for name in names:
        for path in reversed(needs.get(name, [])):
            if path not in order:
                order.append(path)
    return order


def module(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", path], check=True,
                              stdout=subprocess.PIPE).stdout
    return path.read_bytes()


def prepare(image, root):
    """(kernel, initial RAM disk), made if they are not there."""
    kernel = image.parents[1]
    modules, = kernel.glob("lib/modules/*")
    plain, ram = kernel / "vmlinux", kernel / "initramfs"
    if not plain.exists():
        plain.write_bytes(unpacked(image))
    if ram.exists() and ram.stat().st_mtime > os.stat(__file__).st_mtime:
        return plain, ram
    subprocess.run(["depmod", "-b", kernel, modules.name], check=True)
    busybox = pathlib.Path(shutil.which("busybox", path=":".join(
        f"{root}{folder}" for folder in ("/bin", "/usr/bin")))).read_bytes()
    files = {"bin": (0o40755, b""), "modules": (0o40755, b""),
             "bin/busybox": (0o100755, busybox),
             "init": (0o100755, INIT.encode())}
    for i, path in enumerate(in_load_order(modules, MODULES)):
        files[f"modules/{i:02}.ko"] = (0o100644, module(modules / path))
    ram.write_bytes(cpio(files))
    return plain, ram


def command_file(argv, root):
    folder = "/" + os.path.relpath(os.getcwd(), root)
    return "\n".join([
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "export HOME=/root REDTAP_GUEST=1",
        "ulimit -n 65536",
        f"cd {shlex.quote(folder)} || exit 125",
        "exec " + " ".join(map(shlex.quote, argv)), ""])


def wait(qemu, output, limit_s):
    """Passes the guest's output on until it ends; False: out of time."""
    end = time.monotonic() + limit_s
    with open(output, "rb") as out:
        while True:
            ended = qemu.poll() is not None
            sys.stdout.buffer.write(out.read())
            sys.stdout.buffer.flush()
            if ended:
                return True
            if time.monotonic() > end:
                qemu.terminate()
                qemu.wait()
                return False
            time.sleep(0.1)


def run(kernel, root, processors, clock, argv, limit_s, log):
    image, = kernel.glob("boot/vmlinuz-*")
    machine, port = MACHINES[image.name.rsplit("-", 1)[-1]]
    plain, ram = prepare(image, root)
    with tempfile.TemporaryDirectory(prefix="redtap-vm-") as back:
        back = pathlib.Path(back)
        console = pathlib.Path(log) if log else back / "console"
        (back / "command").write_text(command_file(argv, root))
        (back / "output").touch()
        share = "local,security_model=none,multidevs=remap"
        args = [*machine.split(), *QEMU.split(), "-smp", str(processors),
                *CLOCKS[clock].split(),
                "-kernel", plain, "-initrd", ram,
                "-serial", f"file:{console}", "-append",
                f"console={port} quiet panic=-1 oops=panic mitigations=off"
                " tsc=noirqtime",  # softirqs are their process's
                "-virtfs", f"{share},path={root},mount_tag=root,readonly=on",
                "-virtfs", f"{share},path={back},mount_tag=back"]
        # It must not outlive us.
        qemu = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *args],
                                stdin=subprocess.DEVNULL)
        try:
            if not wait(qemu, back / "output", limit_s):
                print(f"guest.py: not done after {limit_s} s", file=sys.stderr)
                return 124
        finally:
            qemu.kill()
            qemu.wait()
        status = back / "status"
        if not status.exists() or not status.read_text().strip():
            lines = console.read_text(errors="replace").splitlines()
            print("guest.py: the guest died", *lines[-30:], sep="\n",
                  file=sys.stderr)
            return 125
        return int(status.read_text())


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--log", help="keep the kernel's log here")
    parser.add_argument("--root", type=pathlib.Path, default="/")
    parser.add_argument("--smp", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="turns")
    parser.add_argument("kernel", type=pathlib.Path)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    sys.exit(run(args.kernel.resolve(), args.root.resolve(), args.smp,
                 args.clock, args.command, args.timeout, args.log))


if __name__ == "__main__":
    main()

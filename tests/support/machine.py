# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab guest that is really running under qemu: on VMware's hardware, PCI addresses included, or on virtio."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.monitor import Monitor

_BUSES = 0x13  # the second controller of the lab's guests is at 0000:13:00.0, the first at 0000:03:00.0


@dataclass
class Machine:
    """Its SSH port on loopback, the file with its console, and how to reach it."""

    port: int
    console: Path
    key: Path
    process: subprocess.Popen

    def ssh(self, script: str, timeout: float = 120) -> str:
        done = subprocess.run(
            ["ssh", "-q", "-i", self.key, "-p", str(self.port), *ssh_options(self.key.parent), "root@127.0.0.1", script],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{script}: {done.stderr}{done.stdout}")
        return done.stdout

    def wait(self, seconds: float = 900) -> None:
        """Until SSH answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                self.ssh("true", 20)
                return
            time.sleep(2)
        raise AssertionError(f"no SSH within {seconds} s:\n{self.console.read_text(errors='replace')[-3000:]}")

    def expect(self, pattern: str, seconds: float = 300) -> None:
        """Until the console has shown a line."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.console.read_text(errors="replace")):
            assert time.monotonic() < deadline, self.console.read_text(errors="replace")[-2000:]
            time.sleep(1)

    def inventory_line(self) -> dict[str, object]:
        return {
            "ansible_host": "127.0.0.1", "ansible_port": self.port, "ansible_user": "root", "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": " ".join(ssh_options(self.key.parent)),
        }  # fmt: skip

    def power_off(self) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.ssh("systemctl poweroff", 20)
        self.process.wait(120)


def ssh_options(folder: Path) -> list[str]:
    """The guest's host key is learnt once, at its first boot, and then asked for."""
    return ["-o", f"UserKnownHostsFile={folder}/known_hosts", "-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=10"]


@contextlib.contextmanager
def running(disks: Sequence[str], hardware: str, mac: str, folder: Path, key: Path) -> Iterator[Machine]:
    """Start the disks (qcow2 overlays, written to) on `vmware` or `virtio` hardware."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    console = folder / f"{hardware}.log"
    console.touch()
    ours, monitor = socket.socketpair()
    argv = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1024", "-nodefaults",
        "-display", "none", "-vga", "std", "-no-reboot", "-serial", f"file:{console}",
        "-netdev", f"user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-chardev", f"socket,id=qmp,fd={monitor.fileno()}", "-mon", "chardev=qmp,mode=control",
    ]  # fmt: skip
    if hardware == "vmware":
        for number in range(1, _BUSES + 1):
            argv += ["-device", f"pcie-root-port,id=bus{number},chassis={number},slot={number}"]
        for number, bus in enumerate((3, _BUSES)[: len(disks)]):
            argv += ["-device", f"pvscsi,id=scsi{number},bus=bus{bus}"]
        argv += ["-device", "scsi-hd,bus=scsi0.0,drive=disk0,bootindex=1"]
        argv += ["-device", f"vmxnet3,netdev=net0,mac={mac},romfile="]
    else:
        for number in range(len(disks)):
            argv += ["-device", f"virtio-blk-pci,drive=disk{number},bootindex={number + 1}"]
        argv += ["-device", f"virtio-net-pci,netdev=net0,mac={mac},romfile="]
    for number, disk in enumerate(disks):
        argv += ["-drive", f"if=none,id=disk{number},file={disk},format=qcow2,cache=unsafe"]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[monitor.fileno()]
    )
    monitor.close()
    machine = Machine(port, console, key, process)
    try:
        if hardware == "vmware" and len(disks) > 1:
            # Two controllers are scanned at once, and these guests boot from /dev/sda2: the second disk comes when the first has its name.
            machine.expect(r"\[sda\] Attached SCSI disk", 300)
            Monitor(ours).execute("device_add", driver="scsi-hd", bus="scsi1.0", drive="disk1")
        yield machine
    finally:
        ours.close()
        process.kill()
        process.wait()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of `make bench`: a disk that is half empty, brought by each transport and by the plain tool of its kind; writes docs/benchmarks-transport.md."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness
import peers

ROUNDS = 3
GIB = 1 << 30
PART = 8 << 20
VM = "DC0/vm/DC0_H0_VM0"


def half_empty(path: Path) -> None:
    """2 GiB, every second part of it random."""
    rng = random.Random(1)
    with open(path, "wb") as file:
        file.truncate(2 * GIB)
        for at in range(0, 2 * GIB, 2 * PART):
            file.seek(at)
            file.write(rng.randbytes(PART))


def seconds(work: Callable[[], None]) -> float:
    os.sync()  # nobody pays for what the one before left to be written
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def main() -> None:
    harness.CACHE.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=harness.CACHE))
    (scratch / "esx").mkdir()
    image = scratch / "disk.raw"
    half_empty(image)
    vcenter = peers.VCenter(scratch)
    host = peers.Esxi(scratch / "esx", {"LocalDS_0": vcenter.folder_of(vcenter.vm(VM)).parent})
    try:
        vm = vcenter.place(VM, [image])
        image.unlink()
        (harness.ROOT / "docs" / "benchmarks-transport.md").write_text(page(measure(vcenter, host, vm, scratch)))
    finally:
        host.close()
        vcenter.close()
        shutil.rmtree(scratch)


def measure(vcenter: peers.VCenter, host: peers.Esxi, vm: object, scratch: Path) -> dict[str, tuple[str, list[float], list[float]]]:
    out, work, secret = scratch / "out", scratch / "work", scratch / "secret"
    secret.write_text(vcenter.login["password"])
    os.environ["VDDK_FILES"] = vcenter.vddk_files(vm).split(";")[0]
    vddk = peers.vddk()
    flat = vcenter.folder_of(vm) / "disk1-flat.vmdk"

    def ours(transport: str) -> None:
        access = {"vsphere": vcenter.login, "ssh": host.login, "vddk": vddk, "transport": transport}
        result = harness.module("vmdk_fetch", source=[vcenter.url(VM)], work_dir=str(work), access=access)
        if not result.get("changed"):
            sys.exit(result["msg"])

    def plain(*argv: object, to: Path | None = None) -> None:
        with open(to or os.devnull, "wb") as file:
            subprocess.run([str(word) for word in argv], stdout=file, check=True)

    url = f"https://localhost:{vcenter.port}/folder/DC0_H0_VM0/disk1-flat.vmdk?dcPath=DC0&dsName=LocalDS_0"
    cookie = vcenter.service._stub.cookie.split(";")[0]
    der = ssl.PEM_cert_to_DER_cert(vcenter.cert.read_text())
    thumbprint = hashlib.sha1(der).digest().hex(":")
    login = ["-F", "none", "-p", host.port, "-i", host.login["key_file"], "-o", f"UserKnownHostsFile={host.login['known_hosts']}"]
    tools: dict[str, Callable[[], None]] = {
        "curl": lambda: plain("curl", "-sSf", "--cacert", vcenter.cert, "-H", f"Cookie: {cookie}", "-o", out, url),
        "ssh dd": lambda: plain(
            "ssh", *login, "-c", "aes128-gcm@openssh.com", f"{host.login['user']}@localhost", f"dd if={flat} bs=1M 2>/dev/null", to=out
        ),
        "nbdcopy": lambda: plain(
            "nbdkit", "-r", "-U", "-", "curl", f"url={url}", f"cainfo={vcenter.cert}", f"cookie={cookie}", "--run", f"nbdcopy $uri {out}"
        ),
        "nbdcopy from VDDK": lambda: plain(
            *("nbdkit", "-r", "-U", "-", vddk["plugin"], f"libdir={vddk['libdir']}", "server=localhost", f"password=+{secret}"),
            *(f"user={vcenter.login['username']}", f"thumbprint={thumbprint}", f"vm=moref={vm._moId}"),
            *("file=[LocalDS_0] DC0_H0_VM0/disk1.vmdk", "--run", f"nbdcopy $uri {out}"),
        ),
    }
    rows = {
        "datastore, all of it": ("datastore", "curl", False),
        "datastore, what is allocated": ("datastore", "curl", True),
        "datastore, beside nbdkit and nbdcopy": ("datastore", "nbdcopy", True),
        "vddk": ("vddk", "nbdcopy from VDDK", True),
        "ssh, all of it": ("ssh", "ssh dd", False),
        "ssh, what is allocated": ("ssh", "ssh dd", True),
    }
    found: dict[str, tuple[str, list[float], list[float]]] = {}
    for name, (transport, tool, tracked) in rows.items():
        vcenter.wait(vm.ReconfigVM_Task(peers.vim.vm.ConfigSpec(changeTrackingEnabled=tracked)))
        found[name] = (tool, [], [])
        for dummy in range(ROUNDS):
            found[name][1].append(seconds(lambda: ours(transport)))  # noqa: B023
            shutil.rmtree(work)
            found[name][2].append(seconds(tools[tool]))
            out.unlink()
            print(name, found[name][1][-1], found[name][2][-1], flush=True)
    return found


def page(found: dict[str, tuple[str, list[float], list[float]]]) -> str:
    lines = [
        "# Transports beside the plain tools",
        "",
        "Written by `make bench`. A disk of 2 GiB, half of it random data and half never written, from the simulator's datastore or an OpenSSH",
        f"server to a file, over the loopback of one machine with {os.cpu_count()} CPUs; {ROUNDS} rounds, alternating, page cache warm.",
        "Ours is the whole module: start, login, plan, digests, checks, journal, and the data flushed to the disk. Medians; only ratios carry over.",
        "",
        "| what | the plain tool | ours, s | plain, s | wall ratio | rate per allocated byte, ours to plain |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (tool, ours, plain) in found.items():
        mine, theirs = statistics.median(ours), statistics.median(plain)
        lines.append(f"| {name} | {tool} | {mine:.1f} | {theirs:.1f} | {mine / theirs:.2f} | {theirs / mine:.2f} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()

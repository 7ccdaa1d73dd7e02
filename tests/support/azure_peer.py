# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure on the loopback: Azurite, Microsoft's emulator of its blob service, and a stand-in for the command line program."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import peers

ROOT = Path(__file__).resolve().parents[2]
VERSION = "3.35.0"
SUBSCRIPTION, GROUP = "00000000-1111-2222-3333-444444444444", "migration-rg"
ACCOUNT = "devstoreaccount1"
# Every Azurite has it: learn.microsoft.com/azure/storage/common/storage-use-azurite, "Well-known storage account and key".
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def azurite() -> Path:
    """The emulator, installed once."""
    built = ROOT / "build" / "peers" / f"azurite-{VERSION}"
    built.parent.mkdir(parents=True, exist_ok=True)
    with open(built.parent / "azurite.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            partial = built.with_name(f"{built.name}.partial")
            subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", partial, f"azurite@{VERSION}"], check=True)
            partial.rename(built)
    return built / "node_modules" / ".bin" / "azurite-blob"


class Azure:
    """A subscription with one resource group. `env` is what a process needs to use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cert, key = peers.certificate(folder)
        self.port = peers.free_port()
        self.log = open(folder / "azurite.log", "w", encoding="utf-8")  # noqa: SIM115
        command = [azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--cert", self.cert, "--key", key]
        self.process = subprocess.Popen(
            [*command, "--location", folder / "blobs", "--skipApiVersionCheck"], stdout=self.log, stderr=self.log
        )
        for dummy in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.1)
        (folder / "bin").mkdir()
        (folder / "bin" / "az").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/peers/az.py "$@"\n')
        (folder / "bin" / "az").chmod(0o755)
        self.env = {
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "AZ_STATE": str(folder / "state.json"),
            "SSL_CERT_FILE": str(self.cert),
        }
        self.write(
            {"subscription": SUBSCRIPTION, "group": GROUP, "blobs": f"https://localhost:{self.port}/{ACCOUNT}", "key": KEY, "ca": str(self.cert),
             "vms": {}, "disks": {}, "snapshots": {}, "calls": []}
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        return json.loads((self.folder / "state.json").read_text())

    def write(self, state: dict[str, Any]) -> None:
        (self.folder / "state.json").write_text(json.dumps(state))

    def place(
        self, name: str, disks: list[Path], power: str = "VM deallocated", generation: str = "V1", mac: str = "00-0D-3A-00-00-01"
    ) -> str:
        """A VM with these disks (raw). Gives its URL."""
        state = self.state()
        prefix = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute"
        ids = [f"{prefix}/disks/{name}-{number}" for number in range(len(disks))]
        for id_, disk in zip(ids, disks):
            state["disks"][id_] = {
                "id": id_, "name": id_.rpartition("/")[2], "diskSizeBytes": disk.stat().st_size, "hyperVGeneration": generation,
                "encryptionSettingsCollection": None, "lastOwnershipUpdateTime": "2026-01-01T00:00:00.000000+00:00", "file": str(disk),
            }  # fmt: skip
        state["vms"][name] = {
            "id": f"{prefix}/virtualMachines/{name}", "name": name, "location": "westeurope", "powerState": power, "macAddresses": mac,
            "hardwareProfile": {"vmSize": "Standard_B2s"}, "securityProfile": None,
            "storageProfile": {
                "osDisk": {"osType": "Linux", "managedDisk": {"id": ids[0]}, "diffDiskSettings": None},
                "dataDisks": [{"lun": lun, "managedDisk": {"id": id_}} for lun, id_ in enumerate(ids[1:])],
            },
        }  # fmt: skip
        self.write(state)
        return f"azure://{SUBSCRIPTION}/{GROUP}/{name}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for govc and ovftool: the same words on the command line and on the terminal, the same package; a lease of the simulator's brings the disks.

Its first argument is the program it is. What it was called with goes to the file EXPORT_LOG; EXPORT_FAIL is `half` or `damage`.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from pyVim.connect import SmartConnect
from pyVmomi import vim, vmodl

RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"


def fingerprint(host: str, port: int) -> str:
    certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, port)))
    return ":".join(f"{byte:02X}" for byte in hashlib.sha1(certificate, usedforsecurity=False).digest())


def connect(host: str, port: int, user: str, password: str, context: ssl.SSLContext) -> Any:
    try:
        return SmartConnect(host=host, port=port, user=user, pwd=password, sslContext=context).RetrieveContent()
    except vim.fault.InvalidLogin:
        sys.exit("ServerFaultCode: Cannot complete login due to an incorrect user name or password.")


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def govc(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="govc")
    parser.add_argument("command", choices=["export.ovf"])
    for name in ("-sha", "-vm", "-snapshot", "-name"):
        parser.add_argument(name, default="")
    parser.add_argument("directory", type=Path)
    wanted = parser.parse_args(argv)
    parts = urllib.parse.urlsplit(os.environ["GOVC_URL"])
    known = os.environ.get("GOVC_TLS_KNOWN_HOSTS")
    if known:
        if Path(known).read_text() != f"{parts.hostname}:{parts.port} {fingerprint(parts.hostname, parts.port)}\n":
            sys.exit(f'govc: Post "{os.environ["GOVC_URL"]}": x509: certificate signed by unknown authority')
        context = unverified()
    else:
        context = ssl.create_default_context(cafile=os.environ.get("GOVC_TLS_CA_CERTS"))
    try:
        content = connect(parts.hostname, parts.port, os.environ["GOVC_USERNAME"], os.environ["GOVC_PASSWORD"], context)
    except ssl.SSLError:
        sys.exit(f'govc: Post "{os.environ["GOVC_URL"]}": x509: certificate signed by unknown authority')
    vm = content.searchIndex.FindByInventoryPath(wanted.vm)
    if wanted.snapshot:
        source: Any = next(tree.snapshot for tree in vm.snapshot.rootSnapshotList if wanted.snapshot in (tree.name, tree.snapshot._moId))
    else:
        source = vm
    name = wanted.name or vm.name
    package(source, vm, wanted.directory / name, name, parts.hostname, context)


def ovftool(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="ovftool")
    parser.add_argument("--shaAlgorithm", choices=["SHA256"])
    parser.add_argument("--noImageFiles", action="store_true")
    parser.add_argument("source")
    parser.add_argument("target", type=Path)
    wanted = parser.parse_args(argv)
    parts = urllib.parse.urlsplit(wanted.source)
    host, port, context = parts.hostname, parts.port, unverified()
    print(f"Accept SSL fingerprint ({fingerprint(host, port)}) for host {host} as source type.")
    print("Fingerprint will be added to the known host file\nWrite 'yes' or 'no'", flush=True)
    if input() != "yes":
        sys.exit("Error: SSL fingerprint was not accepted")
    user = urllib.parse.unquote(parts.username)
    print(f"Enter login information for source vi://{host}:{port}/\nUsername: {user}", flush=True)
    content = connect(host, port, user, getpass.getpass("Password: "), context)
    name = re.fullmatch(r"moref=vim\.VirtualMachine:(.+)", parts.query)[1]
    vm = vim.VirtualMachine(name, content.rootFolder._stub)
    print(f"Opening VI source: vi://{user}@{host}:{port}/", flush=True)
    package(vm, vm, wanted.target.parent, wanted.target.stem, host, context)
    print("Completed successfully")


def package(source: Any, vm: Any, folder: Path, name: str, host: str, context: ssl.SSLContext) -> None:
    folder.mkdir(exist_ok=True)
    lease = source.ExportSnapshot() if isinstance(source, vim.vm.Snapshot) else source.ExportVm()
    while lease.state == "initializing":
        time.sleep(0.05)
    if lease.state != "ready":
        sys.exit(f"Error: {lease.error.msg}")
    done = threading.Event()
    threading.Thread(target=renew, args=(lease, done), daemon=True).start()
    try:
        files = [
            download(url.replace("*", host), folder / f"{name}-disk-{number}.vmdk", context) for number, url in enumerate(leased(lease))
        ]
        lease.HttpNfcLeaseProgress(100)
    except BaseException:
        lease.HttpNfcLeaseAbort(vmodl.fault.SystemError(reason="client"))
        raise
    finally:
        done.set()
    lease.HttpNfcLeaseComplete()
    (folder / f"{name}.ovf").write_text(envelope(vm, files))
    sums = [f"SHA256({path.name})= {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in (folder / f"{name}.ovf", *files)]
    (folder / f"{name}.mf").write_text("".join(sums))
    if os.environ.get("EXPORT_FAIL") == "damage":
        with open(files[0], "r+b") as file:
            file.seek(70000)
            file.write(b"damage")


def renew(lease: Any, done: threading.Event) -> None:
    while not done.wait(1.0):
        lease.HttpNfcLeaseProgress(50)


def leased(lease: Any) -> list[str]:
    return [item.url for item in lease.info.deviceUrl if item.disk]


def download(url: str, path: Path, context: ssl.SSLContext) -> Path:
    with urllib.request.urlopen(url, context=context) as answer, open(path, "wb") as file:
        while chunk := answer.read(1 << 20):
            file.write(chunk)
            if os.environ.get("EXPORT_FAIL") == "half":
                sys.exit("Error: the connection was closed")
    return path


def envelope(vm: Any, files: list[Path]) -> str:
    disks = [device for device in vm.config.hardware.device if isinstance(device, vim.vm.device.VirtualDisk)]
    buses = {device.key: device for device in vm.config.hardware.device if isinstance(device, vim.vm.device.VirtualSCSIController)}
    references = "".join(f'<File ovf:id="file{number}" ovf:href="{path.name}"/>' for number, path in enumerate(files))
    section = "".join(
        f'<Disk ovf:diskId="disk{number}" ovf:fileRef="file{number}" ovf:capacity="{disk.capacityInBytes}"/>'
        for number, disk in enumerate(disks)
    )
    items = "".join(
        f"<Item><r:Address>{bus.busNumber}</r:Address><r:InstanceID>{bus.key}</r:InstanceID><r:ResourceType>6</r:ResourceType></Item>"
        for bus in buses.values()
    ) + "".join(
        f"<Item><r:AddressOnParent>{disk.unitNumber}</r:AddressOnParent><r:HostResource>ovf:/disk/disk{number}</r:HostResource>"
        f"<r:InstanceID>{disk.key}</r:InstanceID><r:Parent>{disk.controllerKey}</r:Parent><r:ResourceType>17</r:ResourceType></Item>"
        for number, disk in enumerate(disks)
    )
    return (
        f'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:r="{RASD}">'
        f"<References>{references}</References><DiskSection><Info/>{section}</DiskSection>"
        f'<VirtualSystem ovf:id="{vm.name}"><Info/><VirtualHardwareSection><Info/>{items}</VirtualHardwareSection></VirtualSystem></Envelope>'
    )


if __name__ == "__main__":
    tool, *arguments = sys.argv[1:]
    with open(os.environ["EXPORT_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps([tool, *arguments]) + "\n")
    {"govc": govc, "ovftool": ovftool}[tool](arguments)

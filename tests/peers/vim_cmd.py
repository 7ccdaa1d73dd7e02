# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for an ESXi host's vim-cmd: what `vmsvc` prints and does to VMs whose state is in the JSON file VIM_STATE; every call is noted there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROW = "{:<7}{:<15}{:<45}{:<24}{:<10}{}"


def getallvms(state: dict[str, Any]) -> None:
    print(ROW.format("Vmid", "Name", "File", "Guest OS", "Version", "Annotation"))
    for number, vm in state["vms"].items():
        print(
            ROW.format(number, vm["name"] + "   ", f"[{vm['datastore']}] {vm['file']}   ", "debian12_64Guest", "vmx-19", vm.get("note", ""))
        )


def show(vm: dict[str, Any]) -> None:
    print("Get Snapshot:")
    depth = ""
    for number, name in vm["snapshots"].items():
        print(f"{depth}|-{'CHILD' if depth else 'ROOT'}")
        depth += "--"
        print(f"{depth}Snapshot Name        : {name}\n{depth}Snapshot Id        : {number}\n{depth}Snapshot Desciption  : migration")
        print(f"{depth}Snapshot Created On  : 11/21/2026 10:0:0\n{depth}Snapshot State       : powered on")


def point(vm: dict[str, Any], old: str, new: str) -> None:
    path = Path(os.environ["VIM_VOLUMES"]) / vm["datastore"] / vm["file"]
    path.write_text(path.read_text().replace(f'"{old}"', f'"{new}"'))


def snapshot(vm: dict[str, Any], verb: str, arguments: list[str]) -> None:
    folder = (Path(os.environ["VIM_VOLUMES"]) / vm["datastore"] / vm["file"]).parent
    top, child = vm["disk"], vm["disk"].replace(".vmdk", "-000001.vmdk")
    if verb == "create":
        vm["snapshots"][str(vm.setdefault("next", 1))] = arguments[0]
        vm["next"] += 1
        if len(vm["snapshots"]) == 1:
            subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-b", top, "-F", "vmdk", child], cwd=folder, check=True)
            point(vm, top, child)
        print("Create Snapshot:")
    else:
        del vm["snapshots"][arguments[0]]
        if not vm["snapshots"]:
            (folder / child).unlink()
            point(vm, child, top)
        print("Remove Snapshot:")


def main(verb: str, arguments: list[str]) -> None:
    place = Path(os.environ["VIM_STATE"])
    state = json.loads(place.read_text())
    state["calls"].append([verb, *arguments])
    verb = verb.removeprefix("vmsvc/")
    vm = state["vms"][arguments[0]] if arguments else {}
    if verb == "getallvms":
        getallvms(state)
    elif verb == "power.getstate":
        print(f"Retrieved runtime info\n{vm['power']}")
    elif verb == "power.shutdown":
        if not vm["tools"]:
            sys.exit(
                '(vim.fault.ToolsUnavailable) {\n   msg = "Cannot complete operation because VMware Tools is not running in this virtual machine."\n}'
            )
        vm["power"] = "Powered off"
    elif verb == "power.on":
        vm["power"] = "Powered on"
        print("Powering on VM:")
    elif verb == "power.off":
        vm["power"] = "Powered off"
        print("Powering off VM:")
    elif verb == "snapshot.get":
        show(vm)
    elif verb in ("snapshot.create", "snapshot.remove"):
        snapshot(vm, verb.partition(".")[2], arguments[1:])
    else:
        sys.exit(f"Invalid command '{verb}'.")
    place.write_text(json.dumps(state))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of one VM, for machines (JSON) and for people (Markdown), from what the stages returned."""

from __future__ import annotations

import json
import platform
from typing import Any, Mapping, Sequence

from ..disk import qemu_img

FORMAT = 1


def as_data(vm: Mapping[str, Any], guest: Mapping[str, Any], disks: Sequence[Mapping[str, Any]], boot: Mapping[str, Any]) -> dict[str, Any]:
    """The whole report; sizes in bytes, times in seconds. The same inputs give the same report."""
    return {
        "format": FORMAT,
        "vm": vm.get("name"),
        "source": {key: value for key, value in vm.items() if key != "name"},
        "disks": list(disks),
        "facts": guest.get("facts") or {},
        "concerns": guest.get("concerns") or [],
        "grown": guest.get("grown") or [],
        "changes": guest.get("changes") or [],
        "proof": guest.get("proof") or {},
        "boot": dict(boot),
        "timings": {
            "fetch": vm.get("seconds"),
            "fix": guest.get("timings") or {},
            "convert": [disk.get("seconds") for disk in disks],
            "boot": boot.get("seconds"),
        },
        "bytes_read": sum(disk.get("bytes_read", 0) for disk in disks),
        "bytes_written": sum(disk.get("bytes_written", 0) for disk in disks),
        "tools": {"qemu-img": qemu_img.version(), "python": platform.python_version()},
    }


def as_json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def as_markdown(data: Mapping[str, Any]) -> str:
    """A page a person can read and forward."""
    facts, proof, boot, source = data["facts"], data["proof"], data["boot"], data["source"]
    lines = [
        f"# Migration of {data['vm']}",
        "",
        f"**{verdict(data)}**",
        "",
        "## What was found",
        "",
        f"- Source: {source.get('kind', '')}, {len(source.get('disks', []))} disk(s), firmware {facts.get('firmware') or source.get('firmware') or 'unknown'}",
        f"- Guest: {facts.get('product') or 'not inspected'} ({facts.get('architecture', '')}), host name {facts.get('hostname') or 'unknown'}",
    ]
    lines += [f"- Kernel {kernel['version']} ({kernel['image']})" for kernel in facts.get("kernels", [])]
    lines += [
        f"- Network card {card['name'] or '(no profile)'}: {card['mac']}, {', '.join(card['addresses']) or card['method']}"
        f"{' on ' + card['on'] if card['on'] else ''}{' by ' + card['backend'] if card['backend'] else ''}"
        for card in facts.get("cards", [])
    ]
    lines += ["", "## What to know", ""] + (
        [f"- **{item['severity']}** `{item['code']}`: {item['cause']} {item['remedy']}" for item in data["concerns"]] or ["Nothing."]
    )
    lines += ["", "## What was changed", ""]
    lines += [f"- Grown: {line}" for line in data["grown"]]
    lines += [line for reason, changes in _by_reason(data["changes"]) for line in _change(reason, changes)] or ["Nothing."]
    lines += ["", "## What was copied", "", "| disk | format | size | written | digest of the content |", "| --- | --- | --- | --- | --- |"]
    kinds = [f"{disk.get('format', '')}{', encrypted' if disk.get('encrypted') else ''}" for disk in data["disks"]]
    lines += [
        f"| {disk['path']} | {kind} | {_mib(disk.get('virtual_size', 0))} | {_mib(disk.get('allocated', 0))} | `{_digest(disk)}` |"
        for disk, kind in zip(data["disks"], kinds)
    ]
    lines += ["", f"## What was proved: {proof.get('verdict', 'nothing')}", ""]
    lines += [f"- {'ok' if check['passed'] else 'FAILED'} {check['name']}: {check['detail']}" for check in proof.get("checks", [])]
    lines += ["", f"## Boot test: {boot.get('verdict', 'not run')}", ""]
    lines += [
        f"- {name} after {seconds} s" for name, seconds in sorted(boot.get("signals", {}).items(), key=lambda item: (item[1], item[0]))
    ] + ([f"- {boot['cause']}"] if boot.get("cause") else [])
    lines += ["", "![console](console.png)"] if boot.get("screenshot") else []
    lines += ["", "## What is left to do", ""] + [f"- {step}" for step in _left(data)]
    return "\n".join(lines) + "\n"


def _digest(disk: Mapping[str, Any]) -> str:
    return str(disk.get("content_digest") or disk.get("sha256") or "")


def verdict(data: Mapping[str, Any]) -> str:
    if not data["disks"]:
        return "Planned; nothing was converted."
    if data["boot"].get("verdict") == "passed":
        return "Migrated, proved and booted."
    return "Migrated and proved; not booted." if data["proof"].get("verdict") == "passed" else "Migrated; not proved."


def _by_reason(changes: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    reasons: dict[str, list[Mapping[str, Any]]] = {}
    for change in changes:
        reasons.setdefault(change["reason"], []).append(change)
    return list(reasons.items())


def _change(reason: str, changes: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"### {reason}", ""]
    removed = [change["path"] for change in changes if change["kind"] == "remove"]
    added = [change["path"] for change in changes if change["kind"] in ("upload", "copy")]
    for change in changes:
        # The package database is long and says nothing that the removed files do not say.
        if change["kind"] not in ("remove", "upload", "copy") and not change["path"].endswith("/dpkg/status"):
            lines += ["```diff", *change["diff"].rstrip("\n").splitlines(), "```", ""]
    if added:
        lines += [f"Put in: {', '.join(added)}", ""]
    if removed:
        lines += [f"Removed: {', '.join(removed)}", ""]
    return lines


def _left(data: Mapping[str, Any]) -> list[str]:
    known = [nic["mac"] for nic in data["source"].get("nics", []) if nic["mac"]] + [
        mac for dummy, mac in data["facts"].get("interfaces", [])
    ]
    facts = data["facts"]
    macs = ", ".join([card["mac"] for card in facts.get("cards", [])] or dict.fromkeys(known))
    disks = {"sata": "SATA", "ide": "IDE"}.get(facts.get("disk_bus", ""), "virtio")
    steps = [
        f"Define the VM on the target with {disks} disks, {facts.get('nic_model', 'virtio')} network cards"
        f" and {facts.get('firmware', 'the same')} firmware; it starts from disk {facts.get('boot_disk', 0)}."
        + (" The .xml beside this page says so to libvirt." if data["disks"] else "")
    ]
    steps += _windows(facts, str(data["vm"])) if facts.get("os") == "windows" else []
    steps += [f"Give its network cards these MACs, in this order: {macs}."] if macs else []
    return steps + ["Keep the source until the VM has run on the target for as long as you need to be sure."]


def _windows(facts: Mapping[str, Any], name: str) -> list[str]:
    steps = []
    if "bootstrap" in facts.get("phases", ()):
        steps.append(
            f"Start it first as {name}-bootstrap.xml says, let Windows come up, shut it down with shutdown /s /t 0,"
            " and run the playbook windows_finish.yml, which describes the final VM."
        )
    steps.append(
        "Windows finishes by itself at its first start: drivers, addresses, old tools; hyper2kvm\\firstboot.log in its directory tells."
    )
    steps.append(
        "If it stops with INACCESSIBLE_BOOT_DEVICE (0x7B), attach the disk on SATA (IDE before Vista), where it starts without our drivers."
        " If the firmware finds no loader: bcdboot C:\\Windows from a recovery medium. The boot configuration from before is BCD.hyper2kvm beside BCD."
    )
    return steps


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"

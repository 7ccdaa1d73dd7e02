# SPDX-License-Identifier: GPL-3.0-or-later
"""crypttab: every entry finds its LUKS header, and what the boot itself needs is unlocked by the initramfs.

Source: crypttab(5), integritytab(5), veritytab(5), cryptsetup's README.Debian (passdev) and that of cryptsetup-initramfs (option initramfs),
/etc/conf.d/dmcrypt of Gentoo and Alpine, the LUKS2 on-disk format specification.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from typing import Optional, Sequence

from ..core.concern import INFO, WARNING, Findings
from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.model import BlockDevice, GuestFacts
from ..guest.protocol import Guest, text
from . import cmdline, mounts

PATH = mounts.CRYPTTAB
_HEADER = b"LUKS\xba\xbe\0\x02"
_MAX_HEADER = 4 << 20
_OPENRC = "/etc/conf.d/dmcrypt"
_LIKE = (("/etc/integritytab", (1,)), ("/etc/veritytab", (1, 2)))
_REASON = "devices by stable names, unlocked where the boot needs them"
# A file on a device; a device alone, or with a file on it as passdev has it.
_FILE_ON = re.compile(r"^(?P<before>/(?!dev/)[^:\s]*:)(?P<device>/dev/\S+)(?P<after>)$")
_ALONE = re.compile(r"^(?P<before>)(?P<device>/dev/\S+?)(?P<after>:/(?!dev/)\S*)?$")
_ASSIGNED = re.compile(r"""^(?P<before>[ \t]*source=["']?)(?P<device>/dev/[^\s"']+)(?P<after>.*)$""", re.DOTALL)


def plan(guest: Guest, facts: GuestFacts, mode: str, findings: Findings) -> list[Change]:
    """Changes to /etc/crypttab; headers bound to hardware that stays behind become concerns."""
    changes: list[Change] = []
    before = text(guest, PATH)
    if before is not None and mode != "noop":
        lines = [_keys(mounts.stabilise(line, PATH, guest, findings, mode), guest, findings, mode) for line in mounts.parse(before, 1)]
        if facts.initramfs_tool == "initramfs-tools":
            lines = [_early(line, guest, facts) for line in lines]
        changes += edit(PATH, before, "".join(line.text for line in lines), _REASON)
    for path, fields in _LIKE:
        before = text(guest, path)
        if before is not None and mode != "noop":
            told = "".join(_fields(line, path, fields, guest, findings, mode) for line in before.splitlines(keepends=True))
            changes += edit(path, before, told, _REASON)
    before = text(guest, _OPENRC)
    if before is not None and mode != "noop":
        changes += edit(_OPENRC, before, _openrc(before, guest, findings, mode), _REASON)
    for device in guest.devices():
        if device.fstype == "crypto_LUKS":
            _bindings(guest, device, findings)
    return changes


def rewritten(content: str, guest: Guest) -> str:
    """A table inside an initramfs by stable names; what cannot be resolved stays."""
    ignored, mode = Findings(), "stabilize-all"
    lines = (mounts.stabilise(line, "", guest, ignored, mode) for line in mounts.parse(content, 1))
    return "".join(_keys(line, guest, ignored, mode).text for line in lines)


def _keys(line: mounts.Line, guest: Guest, findings: Findings, mode: str) -> mounts.Line:
    """With the devices of the key and of a detached header by stable names."""
    if line.device is None or len(line.fields) < 3:
        return line
    given = line.fields[3].split(",") if len(line.fields) > 3 else []

    def stable(value: str) -> str:
        match = _FILE_ON.match(value) or _ALONE.match(value)
        if match is None:
            return value
        found = mounts.named(
            match["device"], PATH, guest, findings, mode=mode, as_path=not match["before"], tags=cmdline.TAGS, options=given
        )
        return match["before"] + found + (match["after"] or "")

    parts = [stable(line.fields[2])]
    if given:
        parts.append(",".join(f"header={stable(option[len('header=') :])}" if option.startswith("header=") else option for option in given))
    body = line.text
    for (start, end), part in reversed(list(zip(mounts.spans(body)[2:], parts))):
        body = body[:start] + part + body[end:]
    return replace(line, text=body)


def _fields(line: str, path: str, fields: Sequence[int], guest: Guest, findings: Findings, mode: str) -> str:
    """A line of a table with the devices in these fields by stable names."""
    words, spans = line.split(), mounts.spans(line)
    for number in reversed([number for number in fields if number < len(words) and not line.lstrip().startswith("#")]):
        (start, end), options = spans[number], words[-1].split(",")
        line = line[:start] + mounts.named(words[number], path, guest, findings, mode=mode, tags=cmdline.TAGS, options=options) + line[end:]
    return line


def _openrc(content: str, guest: Guest, findings: Findings, mode: str) -> str:
    """OpenRC's table: the sources of targets by UUID; of swap, which is encrypted anew at each boot, by a path of its partition."""
    swap, lines = False, []
    for line in content.splitlines(keepends=True):
        kind = re.match(r"[ \t]*(swap|target)=", line)
        swap = kind[1] == "swap" if kind is not None else swap
        match = _ASSIGNED.match(line)
        if match is not None:
            tags = ("PARTUUID",) if swap else ("UUID",)
            found = mounts.named(match["device"], _OPENRC, guest, findings, mode=mode, tags=tags, as_path=swap)
            line = match["before"] + found + match["after"]
        lines.append(line)
    return "".join(lines)


def _early(line: mounts.Line, guest: Guest, facts: GuestFacts) -> mounts.Line:
    """With the option initramfs, where root, /usr or the resume device lie on it."""
    device = guest.device(line.device) if line.device else None
    if device is None or device.uuid not in facts.boot_containers:
        return line
    fields = line.fields
    if len(fields) > 3 and "initramfs" in fields[3].split(","):
        return line
    body = line.text.rstrip("\n")
    ending = line.text[len(body) :]
    added = {2: " none luks,initramfs", 3: " luks,initramfs"}.get(len(fields))
    if added is None:
        start = body.index(fields[3], body.index(fields[2], line.end) + len(fields[2])) + len(fields[3])
        return mounts.Line(body[:start] + ",initramfs" + body[start:] + ending, line.device, line.other, line.start, line.end)
    return mounts.Line(body.rstrip() + added + ending, line.device, line.other, line.start, line.end)


def _bindings(guest: Guest, device: BlockDevice, findings: Findings) -> None:
    for token in tokens(guest, device):
        if token.startswith("clevis"):
            findings.add(
                "luks.clevis",
                INFO,
                f"{device.name} is unlocked by clevis.",
                "It goes on where its Tang server can be reached; a slot bound to the TPM does not. Keep a passphrase at hand.",
            )
        elif token.startswith("systemd-tpm2"):
            findings.add(
                "luks.tpm",
                WARNING,
                f"{device.name} is unlocked by the TPM of the old hypervisor, which is not migrated.",
                "Make sure that a passphrase slot exists and is known; enrol the new TPM after the move (systemd-cryptenroll).",
            )


def tokens(guest: Guest, device: BlockDevice) -> list[str]:
    """The types of the tokens in a LUKS2 header; LUKS1 has none."""
    head = guest.read_device(device.name, 0, 4096)
    if head[:8] != _HEADER:
        return []
    size: int = struct.unpack_from(">Q", head, 8)[0]
    body = guest.read_device(device.name, 4096, min(size, _MAX_HEADER) - 4096) if size > 4096 else b""
    data = _json(body.split(b"\0", 1)[0])
    found = data.get("tokens") if isinstance(data, dict) else None
    return [str(token.get("type", "")) for token in (found or {}).values() if isinstance(token, dict)] if isinstance(found, dict) else []


def _json(raw: bytes) -> Optional[object]:
    try:
        data: object = json.loads(raw)
        return data
    except (ValueError, RecursionError):
        return None

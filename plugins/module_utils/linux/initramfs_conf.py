# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guest's own tool makes the next initramfs from: the drivers of the target, and no names of the old hardware.

Source: initramfs-tools(7), initramfs.conf(5), dracut.conf(5), mkinitcpio.conf(5), mkinitcpio(8) (drop-ins), mkinitfs.conf(5), SUSE's mkinitrd(8);
dracut's and mkinitcpio's files are read by bash.
"""

from __future__ import annotations

import functools
import re
from typing import Iterator, Sequence

from ..core.concern import WARNING, Findings
from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.model import SWAP
from ..guest.protocol import Guest, glob, stable_path, stable_spec, text
from . import cmdline

_MODULES = "/etc/initramfs-tools/modules"
_OWN = "/etc/dracut.conf.d/90-hyper2kvm.conf"
_NAMES = "devices by stable names in the next initramfs"
_RESUME = re.compile(r"^(\s*(?:export\s+)?RESUME=)(\S*)(.*)$", re.DOTALL)
_ROOT = re.compile(r"""^(\s*(?:export\s+)?ROOT=["']?)([^\s"']+)(.*)$""", re.DOTALL)
_DEVICES = re.compile(r"""^[ \t]*(?:add_device|fstab_lines)\+?=(?:"[^"]*"|'[^']*'|\([^()]*\)|\S+)""", re.MULTILINE)
_OMIT = re.compile(r"""^([ \t]*omit_drivers\+?=)(?:(["'])(.*?)\2|([^\s"']+))""", re.MULTILINE | re.DOTALL)
# Lists of words in quotes or brackets; in brackets each line may end in a comment, which may have brackets too.
_ARRAY = re.compile(r"^MODULES=(?:\((?P<array>(?:[^()#]|(?<![\s(])#|(?<=[\s(])#[^\n]*\n)*)\)|\"(?P<quoted>[^\"]*)\")", re.MULTILINE)
_FEATURES = re.compile(r"^features=\"(?P<quoted>[^\"]*)\"", re.MULTILINE)
_INITRD_MODULES = re.compile(r"^INITRD_MODULES=\"(?P<quoted>[^\"]*)\"", re.MULTILINE)


def names(guest: Guest, findings: Findings) -> list[Change]:
    """Changes to what names the root, the resume device, or a device to wait for."""
    changes: list[Change] = []
    for path in ("/etc/initramfs-tools/initramfs.conf", *glob(guest, "/etc/initramfs-tools/conf.d")):
        before = text(guest, path)
        if before is not None:
            changes += edit(path, before, rewritten(before, path, guest, findings), _NAMES)
    for path in _of_dracut(guest):
        before = text(guest, path)
        if before is not None:
            changes += edit(
                path, before, _DEVICES.sub(functools.partial(_waited_for, path=path, guest=guest, findings=findings), before), _NAMES
            )
    return changes


def of_tools(name: str) -> bool:
    """Whether a file of an image is one of initramfs-tools' own configuration."""
    return name == "conf/initramfs.conf" or name.startswith("conf/conf.d/")


def rewritten(content: str, path: str, guest: Guest, findings: Findings) -> str:
    """initramfs-tools' configuration with the root and the resume device by stable names, on the system or inside an image."""
    return "".join(_root(resume(line, guest), path, guest, findings) for line in content.splitlines(keepends=True))


def resume(line: str, guest: Guest) -> str:
    """A line of initramfs-tools' configuration, with the resume device by a stable name, or none where it is not there."""
    match = _RESUME.match(line)
    if match is None or match[2].strip("\"'") in ("", "none", "auto") or re.search(r"[$`]", match[2]):
        return line
    spec = match[2].strip("\"'")
    device = guest.device(spec)
    if device is None or device.fstype not in SWAP:
        return f"{match[1]}none{match[3]}"
    return f"{match[1]}UUID={device.uuid}{match[3]}" if cmdline.unstable(spec) and device.uuid else line


def drivers(guest: Guest, tool: str, bus: str, wanted: Sequence[str]) -> list[Change]:
    """Changes after which the next initramfs has the drivers for a bus."""
    reason = f"{bus} drivers also after the next kernel update"
    if tool == "initramfs-tools":
        before = text(guest, _MODULES)
        present = {line.split()[0] for line in (before or "").splitlines() if line.split()}
        added = "".join(f"{driver}\n" for driver in wanted if driver not in present)
        start = before if before is None or before.endswith("\n") or not before else before + "\n"
        return list(edit(_MODULES, before, (start or "") + added, reason))
    if tool == "dracut":
        changes = list(edit(_OWN, text(guest, _OWN), f'add_drivers+=" {" ".join(wanted)} "\n', reason))
        for path in _of_dracut(guest):
            before = text(guest, path)
            if before is not None and path != _OWN:
                changes += edit(path, before, _OMIT.sub(_keep_virtio, before), reason)
        return changes
    paths, pattern, words = {
        "mkinitcpio": (("/etc/mkinitcpio.conf", *glob(guest, "/etc/mkinitcpio.conf.d", ".conf")), _ARRAY, tuple(wanted)),
        "mkinitfs": (("/etc/mkinitfs/mkinitfs.conf",), _FEATURES, ("virtio",)),
        "mkinitrd": (("/etc/sysconfig/kernel",), _INITRD_MODULES, tuple(wanted)),
    }.get(tool, ((), _ARRAY, ()))
    found = [(path, text(guest, path) or "") for path in paths]
    return [
        change for path, before in found for change in edit(path, before, pattern.sub(lambda match: _with(match, words), before), reason)
    ]


def _with(match: re.Match[str], words: Sequence[str]) -> str:
    """A list with these words at its end, each of its lines as it was."""
    kind = next(kind for kind, value in match.groupdict().items() if value is not None)
    before = match[kind]
    present = re.sub(r"#[^\n]*", "", before).split() if kind == "array" else before.split()
    added = " ".join(word for word in words if word not in present)
    if not added:
        return match[0]
    after = f"{before.rstrip()} {added}" if "\n" not in before and before.strip() else f"{before} {added}" if before.strip() else added
    start, end = match.start(kind) - match.start(), match.end(kind) - match.start()
    return match[0][:start] + after + match[0][end:]


def _of_dracut(guest: Guest) -> Iterator[str]:
    yield "/etc/dracut.conf"
    yield from glob(guest, "/etc/dracut.conf.d", ".conf")


def _waited_for(match: re.Match[str], path: str, guest: Guest, findings: Findings) -> str:
    """A setting that names devices, by stable paths."""
    setting = match[0]
    for name in dict.fromkeys(cmdline.leftovers(re.sub(r"[()]", " ", setting))):
        device = guest.device(name)
        spec = stable_spec(guest, device, cmdline.TAGS) if device is not None else None
        if spec is not None:
            setting = re.sub(rf"(?<![\w/.-]){re.escape(name)}(?![\w/.-])", stable_path(spec), setting)
        else:
            _unresolved(name, path, findings)
    return setting


def _root(line: str, path: str, guest: Guest, findings: Findings) -> str:
    match = _ROOT.match(line)
    if match is None:
        return line
    return (
        match[1]
        + cmdline.rewrite(f"root={match[2]}", guest, lambda dummy, spec: _unresolved(spec, path, findings))[len("root=") :]
        + match[3]
    )


def _unresolved(name: str, path: str, findings: Findings) -> None:
    findings.add(
        "initramfs.unresolved",
        WARNING,
        f"{path} lets the next initramfs look for {name}, which is none of the VM's disks.",
        "Take it out in the guest, or write it by UUID.",
    )


def _keep_virtio(match: re.Match[str]) -> str:
    """The kernel's names of modules may be written with hyphens."""
    quote, words = match[2] or "", match[3] if match[2] else match[4]
    return match[1] + quote + re.sub(r"(?<![\w.-])virtio(?:[-_]\w+)?(?![\w.-])[ \t]*", "", words) + quote

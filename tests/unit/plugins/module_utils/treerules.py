# SPDX-License-Identifier: GPL-3.0-or-later
"""Small trees of guests as rules: some files, the manual that says what they mean, and what they are after the repair.

A rule's expectation is written from its source. Whatever it does not name stays to the byte, and no other file appears.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence, Union

import pytest
from fixtures import INITRD, files, initramfs

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import INFO, Concern
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import BACKUPS, apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts, Mount, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cmdline
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.inspect import inspect
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, complete, make_plan

File = Union[str, bytes, Stat]
BY_PATH = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part"
WWID = "36000c29d8f1b2c0aa1b2c3d4e5f60718"
OTHER = "00:50:56:3a:bb:cd"  # the MAC of a second card


BY_MAC = Options(pin="mac")  # what names go by beside that has tests of its own (test_any_mac.py)


def _device(name: str, fstype: str, uuid: str = "", **more: Any) -> BlockDevice:
    disk = int(name[7] == "b")
    return BlockDevice(name, fstype, uuid, partuuid=f"aa-{disk}{name[8:]}", disk=disk, part=int(name[8:]), **more)


DISK = (
    _device("/dev/sda1", "swap", "5a"),
    _device("/dev/sda2", "ext4", "07"),
    _device("/dev/sda3", "vfat", "7A3B-19C2"),
    _device("/dev/sda4", "crypto_LUKS", "1c"),
    _device("/dev/sda5", ""),  # encrypted anew at each boot
    _device("/dev/sdb1", "ext4", "da"),
    _device("/dev/sdb2", ""),  # a log
    _device("/dev/sdb3", "linux_raid_member", "3d"),
    BlockDevice("/dev/vg/root", "ext4", "1e", kind="lvm", aliases=("/dev/mapper/vg-root",)),
)
# One entry for all that a guest may call the first disk's partitions, since every rule uses one way.
NAMES = {device.name: device for device in DISK}
for _number, _named in enumerate(DISK[:5], 1):
    for _form in (
        "hda{}", "vda{}", "xvda{}", "nvme0n1p{}", "mapper/mpatha{}", f"mapper/{WWID}-part{{}}", f"mapper/{WWID}p{{}}", "mapper/boss-part{}",
        f"disk/by-id/scsi-{WWID}-part{{}}", f"{BY_PATH[5:]}{{}}",
    ):  # fmt: skip
        NAMES["/dev/" + _form.format(_number)] = _named
VIRTIO = ("ext4", "virtio", "virtio_ring", "virtio_pci", "virtio_blk", "virtio_scsi")
IMAGES = {"new": initramfs(*VIRTIO), "old": initramfs("ext4", "vmw_pvscsi")}
BASE: dict[str, File] = {
    path: text
    for path, text in files().items()
    if path.startswith(("/usr/lib/modules/", "/boot/vmlinuz", "/bin/sh", "/etc/machine-id", "/lib")) or path == "/etc/os-release"
}
LINKS = {"/usr/lib/systemd/network/99-default.link": "[Match]\nOriginalName=*\n"}


@dataclass(frozen=True)
class Rule:
    """`name` is the rule, `source` says where it stands. `after`: what becomes of files, None where they go; `concerns`: (code, severity) of each
    but those that only inform, if not named too; `facts`: fields that inspection fills; `nics`: the cards of the VM.

    `idle` are names of the old hardware that stay, since nothing at boot asks for them. `image`: which initramfs there is. `unmet`: why the
    rule is not kept yet.
    """

    name: str
    source: str
    files: Mapping[str, File]
    after: Mapping[str, Optional[str]] = field(default_factory=dict)
    concerns: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    nics: tuple[Nic, ...] = ()
    idle: tuple[str, ...] = ()
    image: str = "new"
    unmet: str = ""


def rules(*groups: Sequence[Rule]) -> list[Any]:
    """The rules as parameters of a test."""
    return [
        pytest.param(rule, id=rule.name, marks=[pytest.mark.xfail(strict=True, reason=rule.unmet)] if rule.unmet else [])
        for group in groups
        for rule in group
    ]


def guest(rule: Rule) -> MemoryGuest:
    return MemoryGuest({**BASE, INITRD: IMAGES[rule.image], **rule.files}, NAMES)


def facts(made: MemoryGuest, rule: Rule) -> GuestFacts:
    found = inspect(made, DISK[1], "", (Mount("/dev/sda2", "/"),), "bios", ())
    return complete(found, made, rule.nics, {})[0]


def holds(rule: Rule) -> None:
    """The repair does what the rule says, once, and nothing else; and no name of the old hardware is left without a word."""
    assert rule.source
    made = guest(rule)
    before = copy.copy(made.files)
    found = facts(made, rule)
    for name, value in rule.facts.items():
        assert getattr(found, name) == value, (name, getattr(found, name))
    plan = make_plan(made, found, BY_MAC)
    apply(made, plan)
    expected: dict[str, Any] = {**before, **rule.after}
    now = {path: value for path, value in made.files.items() if not path.startswith(BACKUPS) and path != INITRD}
    wanted = {path: _bytes(value) for path, value in expected.items() if value is not None and path != INITRD}
    wrong = {path: (now.get(path), wanted.get(path)) for path in {*now, *wanted} if now.get(path) != wanted.get(path)}
    assert not wrong, wrong
    told = {(concern.code, concern.severity) for concern in plan.concerns}
    weighty = {one for one in told if one[1] != INFO or one in rule.concerns}
    assert weighty == set(rule.concerns), plan.concerns
    again = make_plan(made, found, BY_MAC).changes
    assert not again, again
    silent = [name for name in left(now) if name not in rule.idle and not _said(name, plan.concerns)]
    assert not silent, silent


def left(found: Mapping[str, Any]) -> list[str]:
    """Every name of the old hardware in a line that is no comment, of files that are text."""
    return [
        one
        for path, content in found.items()
        if isinstance(content, bytes) and path.startswith(("/etc/", "/boot/", "/efi/", "/usr/lib/")) and b"\0" not in content
        for line in content.decode("utf-8", "surrogateescape").splitlines()
        if not line.lstrip().startswith(("#", ";"))
        for name in cmdline.leftovers(line)
        for one in re.split(r":(?=/dev/)", name)  # the members of a bcachefs
        if one == name or cmdline.unstable(one)
    ]


def _said(name: str, concerns: Sequence[Concern]) -> bool:
    return any(name in concern.cause for concern in concerns)


def _bytes(value: Any) -> Any:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value

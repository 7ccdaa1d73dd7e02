# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws over every file that may name a device: no name of the old hardware stays without a word, and what names none stays to the byte."""

from __future__ import annotations

import copy

import pytest
from fixtures import INITRD, KVER
from hypothesis import given, settings
from hypothesis import strategies as st
from treerules import BASE, BY_PATH, IMAGES, NAMES, WWID, Rule, facts, left

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import BACKUPS, apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan

# Where a device may stand, by file; each line is one of its own.
PLACES = {
    "/etc/fstab": [
        "{} /a ext4 defaults 0 2", "UUID=07 /b xfs logdev={},noatime 0 0", "{}:{} /c bcachefs nofail 0 0", "/d /e none bind,x-systemd.requires={} 0 0",
    ],
    "/etc/crypttab": ["a {} none luks", "b UUID=1c /k:{} luks", "c UUID=1c {} luks", "d UUID=1c none luks,header=/h:{}", "e {} /dev/urandom swap"],
    "/etc/systemd/system/a.mount": ["[Mount]\nWhat={}\nWhere=/a", "[Mount]\nWhat=UUID=07\nOptions=logdev={}"],
    "/etc/auto.misc": ["a -fstype=ext4 :{}"],
    "/etc/kdump.conf": ["ext4 {}", "raw {}", 'dracut_args --mount "{} /a ext4 ro"'],
    "/etc/conf.d/dmcrypt": ["target=a\nsource={}", "swap=a\nsource='{}'"],
    "/boot/grub/grub.cfg": ["menuentry 'a' {{\n linux /boot/vmlinuz-" + KVER + " root={} ro x={}\n}}"],
    "/boot/grub/custom.cfg": [" linux /vmlinuz root={}", " module2 /vmlinuz a root={} b={}"],
    "/boot/grub/menu.lst": ["title a\nkernel /vmlinuz root={}\n# kopt=root={}"],
    "/boot/loader/entries/a.conf": ["options root={}", "options cryptdevice={}:a rd.luks.data=1c={}"],
    "/boot/extlinux/extlinux.conf": ["LABEL a\n LINUX /vmlinuz\n APPEND root={}"],
    "/etc/default/grub": ['GRUB_CMDLINE_LINUX="root={} quiet"', "GRUB_CMDLINE_LINUX_DEFAULT='boot={} y={}'"],
    "/etc/kernel/cmdline": ["root={} ro", "rootflags=device={}"],
    "/etc/initramfs-tools/initramfs.conf": ["ROOT={}"],
    "/etc/dracut.conf": ['add_device+=" {} "', 'kernel_cmdline="root={}"'],
    "/etc/mdadm/mdadm.conf": ["DEVICE {} {}", "ARRAY /dev/md0 level=1 devices={},{}", "ARRAY /dev/md1 UUID=3d:0 devices={}"],
    "/etc/smartd.conf": ["{} -a"],
}  # fmt: skip
OLD = [*NAMES, "/dev/sdq1", "/dev/nvme7n1p1", BY_PATH.replace("0:0:0:0", "0:0:9:0") + "1", f"/dev/mapper/{WWID[:-1]}0-part1", "/dev/xvdq"]
STABLE = [
    "UUID=07", "LABEL=a", "PARTUUID=aa-02", "/dev/disk/by-uuid/07", "/dev/disk/by-partuuid/aa-02", "/dev/disk/by-id/dm-name-vg-root", "/dev/mapper/vg-root",
    "/dev/vg/root", "/dev/md0", "/dev/md/a", "/dev/disk/by-label/a", "/dev/zram0",
]  # fmt: skip


@st.composite
def trees(draw, names):
    """Some of these files, with names in their places."""
    found = {}
    for path in draw(st.lists(st.sampled_from(sorted(PLACES)), min_size=1, max_size=4, unique=True)):
        lines = draw(st.lists(st.sampled_from(PLACES[path]), min_size=1, max_size=3, unique=True))
        # No placeholder is left over: each place takes one name.
        found[path] = "".join(line.format(*(draw(names) for dummy in range(2))) + "\n" for line in lines)
    return found


def repaired(files):
    """The guest after the repair, what it had before, and the concerns."""
    made = MemoryGuest({**BASE, INITRD: IMAGES["new"], **files}, NAMES)
    before = copy.copy(made.files)
    found = facts(made, Rule("", "", {}))
    plan = make_plan(made, found, Options())
    apply(made, plan)
    assert make_plan(made, found, Options()).changes == ()
    return {path: value for path, value in made.files.items() if not path.startswith(BACKUPS)}, before, plan.concerns


@settings(max_examples=60)
@given(trees(st.sampled_from(OLD + STABLE)))
def test_no_name_of_the_old_hardware_stays_without_a_word(files):
    after, dummy, concerns = repaired(files)
    assert [name for name in left(after) if not any(name in concern.cause for concern in concerns)] == []


@settings(max_examples=60)
@given(trees(st.sampled_from(STABLE)))
def test_what_names_nothing_old_stays_to_the_byte(files):
    after, before, dummy = repaired(files)
    assert after == before


@settings(max_examples=40)
@given(trees(st.sampled_from(OLD)), st.sampled_from(["\n", "# /dev/sda1\n", "  # a comment with 'quotes\n"]))
def test_lines_are_neither_lost_nor_made(files, more):
    """What names a device is changed where it stands; mdadm's and a dead resume device's settings aside, which go."""
    files = {path: more + text for path, text in files.items() if "mdadm" not in path and "smartd" not in path}
    after, dummy, dummy = repaired(files)
    for path, text in files.items():
        now = after[path].decode().splitlines()
        assert len(now) == len(text.splitlines()) and now[0] == more.rstrip("\n")


@pytest.mark.parametrize("path", PLACES)
def test_every_place_is_told_of(path):
    """With a disk that is not there, each place is a concern or is taken out."""
    for line in PLACES[path]:
        after, dummy, concerns = repaired({path: line.format("/dev/sdq1", "/dev/sdq1") + "\n"})
        assert concerns or "/dev/sdq1" not in after[path].decode().split("#")[0]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entry starts by itself, by the manuals of the boot loaders."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.default import default_entry
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.entries import boot_entries

LOADER, ENTRIES = "/boot/loader/loader.conf", "/boot/loader/entries"
CFG, LEGACY, SYS = "/boot/grub/grub.cfg", "/boot/grub/menu.lst", "/boot/extlinux.conf"
MENU = "menuentry 'a' --id one {\n linux /a\n}\nsubmenu 'more' --id sub {\n menuentry 'b' {\n linux /b\n }\n menuentry 'c' --id three {\n linux /c\n }\n}\n"
OLD = "title a\nkernel /a\n\ntitle b\nkernel /b\n"
LABELS = "LABEL a\n LINUX /a\nLABEL b\n {}LINUX /b\n"


def bls(**entries):
    return {f"{ENTRIES}/{name.replace('_', '-')}.conf": f"linux /{name}\n{more}" for name, more in entries.items()}


def saved(value):
    return {"/boot/grub/grubenv": f"# GRUB Environment Block\nsaved_entry={value}\n".ljust(1024, "#")}


# The rule with its source: files, and the kernel that starts.
DEFAULTS = {
    "GRUB manual, default: by number": ({CFG: f'set default="0"\n{MENU}'}, "/a"),
    "GRUB manual, default: in a submenu by numbers": ({CFG: f'set default="1>1"\n{MENU}'}, "/c"),
    "GRUB manual, default: by titles": ({CFG: f'set default="more>b"\n{MENU}'}, "/b"),
    "GRUB manual, default: by ids": ({CFG: f'set default="sub>three"\n{MENU}'}, "/c"),
    "GRUB manual, default: none is the first": ({CFG: MENU}, "/a"),
    "GRUB manual, saved_entry": ({CFG: f'load_env\nset default="${{saved_entry}}"\n{MENU}', **saved("more>c")}, "/c"),
    "GRUB manual, saved_entry: unset is the first": ({CFG: f'load_env\nset default="${{saved_entry}}"\n{MENU}'}, "/a"),
    "grub2-switch-to-blscfg(8): saved_entry is the entry's name": (
        {CFG: "blscfg\n", **bls(x_5="", x_6=""), **saved("x-5")},
        "/x_5",
    ),
    "grub2-switch-to-blscfg(8): else the newest by name": ({CFG: "blscfg\n", **bls(x_9="", x_10="")}, "/x_10"),
    "GRUB legacy manual, default: by number": ({LEGACY: f"default 1\n{OLD}"}, "/b"),
    "GRUB legacy manual, default: with =": ({LEGACY: f"default=1\n{OLD}"}, "/b"),
    "GRUB legacy manual, default saved": ({LEGACY: f"default saved\n{OLD}", "/boot/grub/default": "1\n#\n#\n"}, "/b"),
    "loader.conf(5), default": ({LOADER: "default b.conf\n", **bls(a="", b="")}, "/b"),
    "loader.conf(5), default: a pattern": ({LOADER: "timeout 3\ndefault b*\n", **bls(a="", b1="")}, "/b1"),
    "loader.conf(5), default: commented out": ({LOADER: "#default a.conf\n", **bls(x_1="version 1\n", x_2="version 2\n")}, "/x_2"),
    "Boot Loader Specification, Sorting: sort-key first": ({LOADER: "", **bls(z="version 9\n", a="sort-key arch\nversion 1\n")}, "/a"),
    "Boot Loader Specification, Sorting: sort-key upwards": (
        {LOADER: "", **bls(z="sort-key b\nversion 9\n", a="sort-key a\nversion 1\n")},
        "/a",
    ),
    "Boot Loader Specification, Sorting: version downwards": (
        {LOADER: "", **bls(b="sort-key a\nversion 6.9\n", a="sort-key a\nversion 6.10\n")},
        "/a",
    ),
    "Boot Loader Specification, Boot counting: no tries left is last": (
        {
            LOADER: "",
            f"{ENTRIES}/a+0-3.conf": "sort-key a\nversion 9\nlinux /bad\n",
            f"{ENTRIES}/b+3.conf": "sort-key a\nversion 1\nlinux /good\n",
        },
        "/good",
    ),
    "syslinux wiki, DEFAULT: a label": ({SYS: "DEFAULT b\n" + LABELS.format("")}, "/b"),
    "syslinux wiki, Menu: MENU DEFAULT": ({SYS: "DEFAULT menu.c32\n" + LABELS.format("MENU DEFAULT\n ")}, "/b"),
    "syslinux wiki, ONTIMEOUT": ({SYS: "TIMEOUT 30\nONTIMEOUT b\n" + LABELS.format("")}, "/b"),
    "syslinux wiki: none is the first": ({SYS: LABELS.format("")}, "/a"),
}


@pytest.mark.parametrize("source", DEFAULTS)
def test_the_entry_that_starts(source):
    files, kernel = DEFAULTS[source]
    made = MemoryGuest(files)
    chosen = default_entry(made, boot_entries(made))
    assert chosen is not None and chosen.kernel == kernel

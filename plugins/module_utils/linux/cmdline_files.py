# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file that carries a kernel command line: menus of boot loaders, and what the next menu or the next unified kernel is made from.

Source: GRUB manual 2.06 (grub.cfg, custom.cfg, 40_custom, multiboot2), GRUB legacy manual, Debian's update-grub(8), Boot Loader Specification,
kernel-install(8), mkinitcpio(8), ukify(1), dracut.conf(5), syslinux wiki, extlinux-update(8), u-boot-update(8), kexec-tools, kdump(5) of SUSE,
the administration guide of SLES 11 (/etc/sysconfig/bootloader).
"""

from __future__ import annotations

import re
from typing import Iterator

from ..guest.protocol import Guest, glob
from .inspect import EXTLINUX_CONFIGS, GRUB_CONFIGS, bls_entries, legacy_configs, vendor_configs

# A menu line that loads a kernel, or one beneath Xen: command, path, then the command line, which may go on. `set root=` is not one.
_GRUB_KERNEL = re.compile(r"^([ \t]*(?:linux|linux16|linuxefi|kernel|module2?)[ \t]+\S+)((?:\\\n|[^\n])*)", re.MULTILINE)
_GRUB_VARIABLE = re.compile(r'^([ \t]*set\s+kernelopts=")([^"\n]*)', re.MULTILINE)
# What a shell puts together to one word: in quotes of either kind, or without.
_QUOTED = r""""(?:\\[\s\S]|[^"\\])*"|'[^']*'"""
PIECE = re.compile(rf"""{_QUOTED}|(?:\\[\s\S]|[^\s"'\\])+""")
_SHELL_WORD = rf"""(?P<value>(?:{_QUOTED}|\\[\s\S]|[^\s"'\\])*)"""
_EXTLINUX_ROOT = re.compile(r"^()(root=\S+)", re.MULTILINE)
_KOPT = re.compile(r"^(# (?:kopt(?:_\w+)?|xenkopt|defoptions|altoptions)=)([^\n]*)", re.MULTILINE)
_OPTIONS = re.compile(r"^([ \t]*options[ \t]+)([^\n]*)", re.MULTILINE)
_APPEND = re.compile(r"^([ \t]*(?:append|default[ \t]+\S+)[ \t]+)([^\n]*)", re.MULTILINE | re.IGNORECASE)
_LINES = re.compile(r"^()([^\n]+)", re.MULTILINE)
_UNCOMMENTED = re.compile(r"^()((?![ \t]*#)[^\n]+)", re.MULTILINE)
_UKIFY = re.compile(r"^([ \t]*Cmdline[ \t]*=)([^\n]*)", re.MULTILINE)
_PHOTON = re.compile(r"^((?:photon|systemd)_cmdline=)([^\n]*)", re.MULTILINE)


def _assigned(names: str) -> re.Pattern[str]:
    """Assignments of a shell's variables."""
    return re.compile(rf"^([ \t]*(?:export\s+)?(?:{names})\+?=){_SHELL_WORD}", re.MULTILINE)


_DEFAULT_GRUB = _assigned(r"GRUB_CMDLINE_(?:LINUX|XEN)\w*")
_DRACUT = _assigned("kernel_cmdline")
# Settings of the tools that write menus, or start a kernel from a running system.
_SETTINGS = (
    ("/etc/update-extlinux.conf", (_assigned("default_kernel_opts"), _EXTLINUX_ROOT)),
    ("/etc/default/extlinux", (_assigned("EXTLINUX_(?:ROOT|PARAMETERS)"),)),
    ("/etc/default/u-boot", (_assigned("U_BOOT_(?:ROOT|PARAMETERS)"),)),
    ("/etc/sysconfig/bootloader", (_assigned(r"(?:\w+_)?APPEND"),)),
    ("/etc/default/kexec", (_assigned("APPEND"),)),
    ("/etc/default/kdump-tools", (_assigned(r"KDUMP_CMDLINE\w*"),)),
    ("/etc/sysconfig/kdump", (_assigned(r"KDUMP_COMMANDLINE\w*"),)),
)


def files(guest: Guest) -> Iterator[tuple[str, tuple[re.Pattern[str], ...]]]:
    """Each of these files with the patterns whose second group is a command line."""
    for path in ("/etc/default/grub", "/etc/sysconfig/grub", *glob(guest, "/etc/default/grub.d", ".cfg")):
        yield path, (_DEFAULT_GRUB,)
    yield from _menus(guest)
    for path in glob(guest, "/etc/grub.d"):
        yield path, (_GRUB_KERNEL,)
    yield "/etc/kernel/cmdline", (_LINES,)
    yield "/etc/kernel/uki.conf", (_UKIFY,)
    for path in glob(guest, "/etc/cmdline.d", ".conf"):
        yield path, (_UNCOMMENTED,)
    yield from _SETTINGS
    for path in ("/etc/dracut.conf", *glob(guest, "/etc/dracut.conf.d", ".conf")):
        yield path, (_DRACUT,)


def _menus(guest: Guest) -> Iterator[tuple[str, tuple[re.Pattern[str], ...]]]:
    """What boot loaders read."""
    for path in (*GRUB_CONFIGS, *vendor_configs(guest)):
        yield path, (_GRUB_KERNEL, _GRUB_VARIABLE)
    for path in GRUB_CONFIGS:
        yield f"{path.rsplit('/', 1)[0]}/custom.cfg", (_GRUB_KERNEL,)
    for path in legacy_configs(guest):
        yield path, (_GRUB_KERNEL, _KOPT)
    for path in bls_entries(guest):
        yield path, (_OPTIONS,)
    for path in EXTLINUX_CONFIGS:
        yield path, (_APPEND,)
    for path in glob(guest, "/boot", ".cfg"):
        yield path, (_PHOTON,)

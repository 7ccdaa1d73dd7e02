# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards that the kernel command line names: for a root on the network, for a disk that is unlocked over it, or for a network that the system keeps.

Source: dracut.cmdline(7), nm-initrd-generator(8), systemd-network-generator.service(8), the kernel's Documentation/admin-guide/nfs/nfsroot.rst,
initramfs-tools(7) with ipconfig of klibc.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Iterator, Optional

from ..guest.protocol import Guest, glob, text
from . import cmdline, cmdline_files
from .default import default_entry, grubenvs
from .entries import boot_entries
from .netconf import names as netnames
from .netconf.model import LEFTOVER, VALID, Profile, cidr, mac_of, shell

BACKEND = "cmdline"
_DYNAMIC = ("dhcp", "on", "any", "both", "bootp", "rarp", "dhcp4", "dhcp6", "auto6", "auto4", "either6", "single-dhcp", "link-local")
_METHODS = (*_DYNAMIC, "none", "off", "ibft", "link6", "shared", "ignore", "disabled", "static")
_UNNAMED = {"bond": ("bond0", "eth0,eth1"), "bridge": ("br0", "eth0"), "team": ("team0", "eth0,eth1")}
_SHOWN = 60  # characters
_JOINS = ("bond", "bridge", "team")


def profiles(guest: Guest, problems: Optional[list[str]] = None) -> tuple[Profile, ...]:
    """Every profile of a guest: of its network's backends, then what its kernels are told."""
    return (*netnames.profiles(guest, problems), *read(guest))


def read(guest: Guest) -> Iterator[Profile]:
    """The cards of each boot entry's command line, and of what dracut adds to it; those of the entry that starts by default are active."""
    entries = boot_entries(guest)
    chosen = default_entry(guest, entries)
    lines = [(entry.config, entry.cmdline, entry is chosen) for entry in sorted(entries, key=lambda entry: entry is not chosen)]
    lines += [(path, line, path.startswith("/etc/cmdline.d/")) for path, line in _settings(guest)]
    lines += [(path, line, True) for path, line in _initramfs_tools(guest)]
    found: dict[Profile, Profile] = {}
    for path, line, active in lines:
        for profile in _profiles("", line):
            if profile not in found:
                found[profile] = replace(profile, path=path, active=active, mentioned=not active)
    yield from found.values()


def fresh(guest: Guest) -> tuple[str, ...]:
    """What a NIC that nothing names may be called on the new hardware, by the entry that starts by default."""
    chosen = default_entry(guest, boot_entries(guest))
    return netnames.fresh(guest, [chosen.cmdline] if chosen is not None else [])


def _settings(guest: Guest) -> Iterator[tuple[str, str]]:
    """What the next command lines are made from."""
    for path, patterns in cmdline_files.files(guest):
        content = text(guest, path) or ""
        for pattern in patterns:
            for match in pattern.finditer(content):
                yield path, match[2].strip("\"'")


def _initramfs_tools(guest: Guest) -> Iterator[tuple[str, str]]:
    """IP= and DEVICE= of initramfs.conf(5), which stand for ip= where the command line has none."""
    for path in ("/etc/initramfs-tools/initramfs.conf", *glob(guest, "/etc/initramfs-tools/conf.d")):
        if LEFTOVER.search(path):
            continue
        values = shell(text(guest, path) or "")
        yield path, " ".join(f"{word}={values[key]}" for key, word in (("IP", "ip"), ("DEVICE", "bootdev")) if values.get(key))


def _profiles(path: str, line: str) -> Iterator[Profile]:
    for name in ("ip", "nfsaddrs"):
        for value in cmdline.values(line, name):
            yield from _address(path, value)
    for kind in _JOINS:
        for value in cmdline.values(line, kind):
            upper, below = (*value.split(":"), "")[:2] if value else _UNNAMED[kind]
            yield Profile(BACKEND, path, upper, kind=kind, members=tuple(card for card in below.split(",") if VALID.match(card)))
    for value in cmdline.values(line, "vlan"):
        upper, dummy, card = value.partition(":")
        if VALID.match(card):
            yield Profile(BACKEND, path, upper, kind="vlan", parent=card)
    for value in cmdline.values(line, "ifname"):
        upper, dummy, mac = value.partition(":")
        if VALID.match(upper) and mac_of(mac) is not None:
            yield Profile(BACKEND, path, upper, mac_of(mac))
    for name, at in (("bootdev", 0), ("fcoe", 0), ("rd.route", 2)):
        for value in cmdline.values(line, name):
            fields = _fields(value)
            if len(fields) > at and VALID.match(fields[at]) and mac_of(value) is None:
                yield Profile(BACKEND, path, fields[at])


def _fields(value: str) -> list[str]:
    """The fields between colons; an address of IPv6 is in brackets."""
    fields, at, last = [], 0, value.rfind("]")
    while True:
        bracket = value.startswith("[", at) and at < last
        end = value.find("]" if bracket else ":", at)
        end = len(value) if end < 0 else end
        fields.append(value[at + bracket : end])
        at = end + bracket
        if not value.startswith(":", at):
            return fields
        at += 1


def _address(path: str, value: str) -> Iterator[Profile]:
    """ip=METHOD, ip=CARD:METHOD[:MTU:MAC], or ip=ADDRESS:PEER:GATEWAY:NETMASK:HOST:CARD:METHOD. Where no card is named it is any, which has no name to keep."""
    if value.rfind("[") > value.rfind("]"):
        yield Profile(BACKEND, path, None, doubt=f"how ip={value[:_SHOWN]} is read, whose bracket is open")
        return
    fields = _fields(value)
    address, gateway, netmask = (*fields, "", "", "", "")[:1] + (*fields, "", "", "", "")[2:4]
    short = len(fields) > 1 and fields[1] in _METHODS and not _is_address(fields[0])
    if not short and (len(fields) >= 6 or _is_address(fields[0]) or not fields[0]):
        card, method = (*fields, "", "", "", "", "", "", "")[5:7]
        fixed = cidr(address, netmask) if _is_address(address) else None
    else:
        card, method, fixed, gateway = (fields[0] if fields[0] not in _METHODS else ""), (fields[1:2] or ["dhcp"])[0], None, ""
    mac = mac_of(card) if "-" in card else None  # as NetworkManager and systemd take it too
    if VALID.match(card) or mac is not None:
        how = "static" if fixed else "dhcp" if method in _DYNAMIC or (len(fields) >= 6 and not method) else "none"
        addresses = (fixed,) if fixed else ()
        yield Profile(
            BACKEND, path, None if mac else card, mac, method=how, addresses=addresses, gateway=gateway if _is_address(gateway) else ""
        )


def _is_address(value: str) -> bool:
    try:
        return bool(ipaddress.ip_interface(value))
    except ValueError:
        return False


def files(guest: Guest) -> Iterator[str]:
    """The files whose command lines may bind a name to a MAC (ifname=)."""
    yield from dict.fromkeys((*(path for path, dummy in cmdline_files.files(guest)), *grubenvs(guest)))

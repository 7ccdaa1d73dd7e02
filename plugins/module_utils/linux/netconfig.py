# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network profiles a guest has: backend, interface name, MAC. Only read here; meanings are never changed.

Source: interfaces(5), netplan(5), systemd.network(5), nm-settings-keyfile(5), Red Hat's sysconfig.txt, ifcfg(5) of SUSE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, Optional

from ..guest.protocol import Guest, exists, glob, text

PHYSICAL = re.compile(r"^(eth\d+|en[opsxP]\w+|em\d+|p\d+p\d+)$")
MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
PERSISTENT_RULES = "/etc/udev/rules.d/70-persistent-net.rules"
_RULE = re.compile(r'ATTR\{address\}=="([0-9a-fA-F:]{17})".*NAME="([^"]+)"')


@dataclass(frozen=True)
class Profile:
    """A profile of `backend` in `path` for the interface `name` and/or the card with `mac` (None: not bound to it)."""

    backend: str
    path: str
    name: Optional[str]
    mac: Optional[str]
    driver: Optional[str] = None


def profiles(guest: Guest) -> tuple[Profile, ...]:
    """Every profile for a physical card, in the order of the backends and their files."""
    found = [*_ifupdown(guest), *_netplan(guest), *_networkd(guest), *_networkmanager(guest), *_ifcfg(guest)]
    return tuple(profile for profile in found if profile.name is None or PHYSICAL.match(profile.name))


def backends(guest: Guest) -> tuple[str, ...]:
    return tuple(dict.fromkeys(profile.backend for profile in profiles(guest)))


def persistent_names(guest: Guest) -> dict[str, str]:
    """MAC to name, as old udev's generated rules and .link files bind them."""
    names = {match[1].lower(): match[2] for match in map(_RULE.search, (text(guest, PERSISTENT_RULES) or "").splitlines()) if match}
    for path in glob(guest, "/etc/systemd/network", ".link"):
        values = ini(text(guest, path) or "")
        mac, name = values.get(("match", "macaddress")) or values.get(("match", "permanentmacaddress")), values.get(("link", "name"))
        if mac and name:
            names[mac.lower()] = name
    return names


def ini(content: str) -> dict[tuple[str, str], str]:
    """(section, key) in lower case to value; the first of a repeated key counts."""
    values: dict[tuple[str, str], str] = {}
    section = ""
    for raw in content.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].lower()
        elif "=" in line and line[0] not in "#;":
            key, dummy, value = line.partition("=")
            values.setdefault((section, key.strip().lower()), value.strip())
    return values


def _ifupdown(guest: Guest) -> Iterator[Profile]:
    for path in ["/etc/network/interfaces", *glob(guest, "/etc/network/interfaces.d")]:
        for name in dict.fromkeys(re.findall(r"^\s*iface\s+(\S+)", text(guest, path) or "", re.MULTILINE)):
            yield Profile("ifupdown", path, name, None)


def _netplan(guest: Guest) -> Iterator[Profile]:
    for directory in ("/lib/netplan", "/etc/netplan"):
        for path in glob(guest, directory, ".yaml"):
            yield from _netplan_file(path, text(guest, path) or "")


def _netplan_file(path: str, content: str) -> Iterator[Profile]:
    """The ethernets mapping by indentation; flow style ({...}) on one line is understood for `match`."""
    block: Optional[int] = None
    entries: list[tuple[str, list[str]]] = []
    level: Optional[int] = None
    for line in content.splitlines():
        body = line.split("#", 1)[0].rstrip()
        if not body:
            continue
        indent = len(body) - len(body.lstrip())
        if block is not None and indent <= block:
            block, level = None, None
        if block is None:
            block = indent if body.strip() == "ethernets:" else None
            continue
        level = indent if level is None else level
        if indent == level:
            key, dummy, rest = body.strip().partition(":")
            entries.append((key.strip("\"'"), [rest]))
        elif entries:
            entries[-1][1].append(body.strip())
    for key, lines in entries:
        whole = "\n".join(lines)
        mac, name, driver = (
            re.search(rf"{option}:\s*[\"']?({value})", whole)
            for option, value in (("macaddress", MAC.pattern), ("set-name", r"[\w.-]+"), ("driver", r"[\w.-]+"))
        )
        matched = "match:" in whole
        yield Profile(
            "netplan",
            path,
            name[1] if name else None if matched and not PHYSICAL.match(key) else key,
            mac[1].lower() if mac and matched else None,
            driver[1] if driver else None,
        )


def _networkd(guest: Guest) -> Iterator[Profile]:
    for path in glob(guest, "/etc/systemd/network", ".network"):
        values = ini(text(guest, path) or "")
        mac = values.get(("match", "macaddress")) or values.get(("match", "permanentmacaddress"))
        names: list[Optional[str]] = [*values.get(("match", "name"), "").split()]
        for name in names or ([None] if mac else []):
            yield Profile("networkd", path, name, mac.lower() if mac and MAC.fullmatch(mac) else None, values.get(("match", "driver")))


def _networkmanager(guest: Guest) -> Iterator[Profile]:
    for path in glob(guest, "/etc/NetworkManager/system-connections"):
        values = ini(text(guest, path) or "")
        if values.get(("connection", "type")) not in ("ethernet", "802-3-ethernet"):
            continue
        mac = values.get(("ethernet", "mac-address")) or values.get(("802-3-ethernet", "mac-address"))
        yield Profile("networkmanager", path, values.get(("connection", "interface-name")), mac.lower() if mac else None)


def _ifcfg(guest: Guest) -> Iterator[Profile]:
    for directory in ("/etc/sysconfig/network-scripts", "/etc/sysconfig/network"):
        for path in glob(guest, directory, prefix="ifcfg-"):
            content = text(guest, path) or ""
            values = {key: value.strip("\"'") for key, value in re.findall(r"^\s*(\w+)=(\S*)", content, re.MULTILINE)}
            mac = values.get("HWADDR") or values.get("LLADDR")
            yield Profile("ifcfg", path, values.get("DEVICE") or path.rsplit("ifcfg-", 1)[1], mac.lower() if mac else None)


def has_systemd(guest: Guest) -> bool:
    """Whether .link files are read (systemd 209 and later; udev before that knows only rules)."""
    return any(
        exists(guest, path)
        for path in (
            "/usr/lib/systemd/systemd-networkd",
            "/lib/systemd/network/99-default.link",
            "/usr/lib/systemd/network/99-default.link",
        )
    )

# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles that match NICs by what the old hardware was: its driver, its address, its hypervisor. They match the new hardware afterwards.

Source: systemd.network(5), netplan(5), nm-settings-keyfile(5); the drivers are those of VMware's, Hyper-V's, Xen's, EC2's and GCE's NICs.
"""

from __future__ import annotations

import functools
import re
from typing import Iterator, Mapping, Optional

from ...guest.protocol import Guest, glob, text
from . import netplan, networkd, networkmanager
from .model import LEFTOVER, each_line, globs, ini, matched

OLD = frozenset(
    ("vmxnet3", "vmxnet", "e1000", "e1000e", "igb", "pcnet32", "vlance", "hv_netvsc", "netvsc", "ena", "ixgbevf", "xen_netfront", "vif", "gve", "mana")
)  # fmt: skip
NEW = "virtio_net"
_HYPERVISORS = frozenset(("vmware", "microsoft", "xen", "amazon", "oracle"))
_LINE = re.compile(r"^(?P<lead>[ \t]*(?P<key>[A-Za-z-]+)[ \t]*=[ \t]*)(?P<value>[^\n]*)$")
_NETPLAN = re.compile(r"(?m)(?P<lead>^[^#\n]{0,200}\bdriver:[ \t]*)(?P<value>\[[^\]\n]*\]|\"[^\"\n]*\"|'[^'\n]*'|[^\s,}#]+)")


def driver_of(nic_model: str) -> str:
    """The driver of the NIC that the VM gets, by the facts of the guest."""
    return NEW if nic_model == "virtio" else nic_model


def is_old(driver: Optional[str], new: str) -> bool:
    """Whether a match by driver is for the old hardware alone, so that it is empty on the new, where NICs have the driver `new`."""
    return driver is not None and not fits(driver, new) and any(_old(word) for word in _wanted(driver)[0])


def fits(driver: str, new: str) -> bool:
    """Whether a match by driver takes a NIC with the driver `new`."""
    taken, refused = _wanted(driver)
    return (not taken or any(globs(new, word) for word in taken)) and not any(globs(new, word) for word in refused)


def _wanted(driver: str) -> tuple[list[str], list[str]]:
    """What a match takes, and what it refuses: for NetworkManager each alternative says so, for systemd the first says it of all."""
    if driver.lstrip().startswith("!") and ";" not in driver:
        return [], words(driver)
    parts = [part for part in re.split(r"[\s;,]+", driver) if part]
    return (
        [word for part in parts if "!" not in part for word in words(part)],
        [word for part in parts if "!" in part for word in words(part)],
    )


def old(driver: str) -> frozenset[str]:
    """The drivers of the old hardware that a match takes."""
    return frozenset(known for known in OLD if any(globs(known, word) for word in words(driver)))


def _old(word: str) -> bool:
    return any(globs(old, word) for old in OLD)


def words(value: str) -> list[str]:
    """The alternatives in a match, however they are separated."""
    return list(filter(None, (word.strip("\"'![]|& ") for word in re.split(r"[\s;,]+", value))))


def addresses(guest: Guest) -> dict[str, str]:
    """The addresses of PCI that profiles match, and the profile."""
    found: dict[str, str] = {}
    for path in (
        *networkd.in_force(guest, ".network"),
        *(path for path in glob(guest, networkmanager.DIRECTORIES[0]) if not LEFTOVER.search(path)),
    ):
        path_of = ini(networkd.content(guest, path)).get(("match", "path"), "")
        found.update({word[len("pci-") :]: path for word in words(path_of) if word.startswith("pci-")})
    return found


def rewritten(guest: Guest, names: Mapping[str, str], new: str) -> Iterator[tuple[str, Optional[str], str]]:
    """(path, text before, text after) of each file with such a match; `names` are those of NICs by address, `new` is the driver of
    all of them; drivers stay where it is empty, as does what is unknown.

    A file of the distribution's own gets its like in /etc, which takes its place.
    """
    for main in networkd.in_force(guest, ".network"):
        by_name = "name" in matched(networkd.content(guest, main))
        for path in (main, *networkd.dropped_in(guest, main)):
            before, own = text(guest, path) or "", networkd.own(path)
            after = _matches(before, {} if by_name else names, new, (" ", "Name"))
            if after != before and not path.startswith(networkd.VOLATILE):  # which is made anew at each boot
                yield own, before if path == own else None, after
    for path in netplan.files(guest):
        before = text(guest, path) or ""
        yield path, before, _NETPLAN.sub(functools.partial(_netplan, new=new), before) if new else before
    for path in glob(guest, networkmanager.DIRECTORIES[0]):
        if not LEFTOVER.search(path):
            before = text(guest, path) or ""
            yield path, before, _matches(before, names, new, (";", "interface-name"))


def _netplan(match: re.Match[str], new: str) -> str:
    return match["lead"] + new if is_old(match["value"], new) and "!" not in match["value"] else match[0]


def _matches(content: str, names: Mapping[str, str], driver: str, form: tuple[str, str]) -> str:
    """A file of sections with its matches rewritten; `form` is what separates alternatives, and the key of a match by name."""
    lines = []
    if ("match", form[1].lower()) in ini(content):  # which a second one would widen, or take the place of
        names = {}
    for section, dummy, raw in each_line(content):
        line = raw.rstrip("\r\n")
        match = _LINE.match(line) if section == "match" else None
        new = _value(match["key"].lower(), match["value"], names, driver, form) if match is not None else None
        if match is not None and new is not None:
            key, value = new
            line = f"{key}={value}" if key else match["lead"] + value
        lines.append(line + raw[len(raw.rstrip("\r\n")) :])
    return "".join(lines)


def _value(key: str, value: str, names: Mapping[str, str], new: str, form: tuple[str, str]) -> Optional[tuple[str, str]]:
    """(another key or nothing, the new value) of a match; None for one that stays."""
    found, (separator, by_name) = words(value), form
    end = separator if value.rstrip().endswith(";") else ""
    if key == "driver" and new and is_old(value, new) and "!" not in value:
        return "", separator.join(dict.fromkeys(new if _old(word) else word for word in found)) + end
    if key == "virtualization" and set(found) & _HYPERVISORS and not value.lstrip().startswith("!"):
        return "", separator.join(dict.fromkeys("vm" if word in _HYPERVISORS else word for word in found)) + end
    if key == "path" and found and all(word.startswith("pci-") and word[len("pci-") :] in names for word in found):
        return by_name, separator.join(names[word[len("pci-") :]] for word in found) + end
    return None

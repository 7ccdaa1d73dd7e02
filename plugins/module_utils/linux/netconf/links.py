# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd's .link files: which of them applies to a NIC, and how a name is pinned so that it takes effect.

Of all .link files that match a NIC only the first by name applies, whatever directory it is in. Source: systemd.link(5), udev(7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from ...core.macs import Mac
from ...guest.protocol import Guest, exists, resolve_link, text
from . import networkd
from .model import VALID, entries, globs, mac_of, matched
from .networkd import DIRECTORY

_RULE = "80-net-setup-link.rules"  # of udev, which is what reads .link files
_NULL = "/dev/null"
_NAMES = ("name", "namepolicy")


@dataclass(frozen=True)
class Link:
    """A .link file: what it matches, and its settings in order."""

    path: str
    match: dict[str, str]
    settings: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The name that it gives; empty for one that the kernel does not take."""
        name = next((value for key, value in self.settings if key == "name"), "")
        return name if VALID.match(name) else ""

    @property
    def macs(self) -> tuple[Mac, ...]:
        """The MACs of the NICs that it matches."""
        words = (self.match.get("macaddress") or self.match.get("permanentmacaddress") or "").split()
        return tuple(mac for mac in map(mac_of, words) if mac is not None)

    @property
    def address(self) -> str:
        """The address of PCI of the one NIC that it matches."""
        path = self.match.get("path", "")
        return path[len("pci-") :] if path.startswith("pci-") and "*" not in path else ""

    def applies(self, mac: Mac, driver: str) -> bool:
        """Whether it matches a NIC on the new hardware, which the kernel calls eth and a number."""
        for key, wanted in self.match.items():
            words = wanted.split()
            if key in ("macaddress", "permanentmacaddress"):
                fits = mac in map(mac_of, words)
            elif key == "originalname":
                fits = any(globs("eth0", word) for word in words)
            elif key == "driver":
                fits = any(globs(driver, word) for word in words)
            elif key == "type":
                fits = "ether" in words
            else:
                fits = False
            if not fits:
                return False
        return bool(self.match)


def links(guest: Guest) -> Iterator[Link]:
    """The .link files in force, in their order; one in /etc takes the place of the distribution's of the same name."""
    for path in networkd.in_force(guest, ".link"):
        content = networkd.content(guest, path)
        yield Link(path, matched(content), tuple((key, value) for section, key, value in entries(content) if section == "link"))


def in_force(guest: Guest) -> bool:
    """Whether .link files are read: by systemd 209 and later, unless the administrator has switched them off."""
    if masked(guest, f"/etc/udev/rules.d/{_RULE}"):
        return False
    return any(
        exists(guest, path)
        for path in (
            "/usr/lib/systemd/systemd-networkd",
            "/lib/systemd/network/99-default.link",
            "/usr/lib/systemd/network/99-default.link",
        )
    )


def masked(guest: Guest, path: str) -> bool:
    """Whether a file of udev's or systemd's is switched off, by a link to nothing or by an empty file."""
    stat = guest.stat(path)
    return stat is not None and (stat.size == 0 if stat.kind == "file" else resolve_link(guest, path) == _NULL)


def pin(guest: Guest, name: str, mac: Mac, driver: str) -> tuple[str, str]:
    """The path and the text of a .link file that gives a NIC its name.

    That is a file of the administrator's that gives it already. What another one sets for the NIC beside its name is said again, since it no longer
    applies.
    """
    path = f"{DIRECTORY}/10-hyper2kvm-{name}.link"
    first = next((link for link in links(guest) if "hyper2kvm-" not in link.path and link.applies(mac, driver)), None)
    if first is not None and first.name == name and first.path.startswith(DIRECTORY):
        return first.path, text(guest, first.path) or ""
    kept = ""
    if first is not None and first.path.startswith(DIRECTORY) and first.name != name:
        kept = "".join(f"{_SPELT.get(key, key)}={value}\n" for key, value in first.settings if key not in _NAMES)
        if first.path.rsplit("/", 1)[1] < path.rsplit("/", 1)[1]:
            path = f"{DIRECTORY}/00-0-hyper2kvm-{name}.link"
    return path, f"[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n{kept}"


# systemd's spelling, of which the readers here keep none.
_SPELT = {
    key.lower(): key
    for key in (
        "Description", "Alias", "MACAddressPolicy", "MACAddress", "AlternativeName", "AlternativeNamesPolicy", "TransmitQueues", "ReceiveQueues",
        "TransmitQueueLength", "MTUBytes", "BitsPerSecond", "Duplex", "AutoNegotiation", "WakeOnLan", "Port", "Advertise",
        "ReceiveChecksumOffload", "TransmitChecksumOffload", "TCPSegmentationOffload", "TCP6SegmentationOffload", "GenericSegmentationOffload",
        "GenericReceiveOffload", "LargeReceiveOffload", "RxChannels", "TxChannels", "OtherChannels", "CombinedChannels", "RxBufferSize", "TxBufferSize",
    )
}  # fmt: skip

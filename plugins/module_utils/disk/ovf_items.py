# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware of an OVF: the items of the one VM, of which deployment options and ranges leave out some, and the numbers in them.

Source: DSP0243 8 and 9.8; DSP0004's resource types and programmatic units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional
from xml.etree import ElementTree as ET

from ..core import limits
from ..core.errors import InvalidInput
from ..core.numbers import decimal, said

CPU, MEMORY, NIC, DISK = "3", "4", "10", "17"
_UNITS = {
    "byte": 1,
    "bytes": 1,
    "kilobytes": 1 << 10,
    "kb": 1 << 10,
    "megabytes": 1 << 20,
    "mb": 1 << 20,
    "gigabytes": 1 << 30,
    "gb": 1 << 30,
}
_UNIT = re.compile(r"bytes?\*(?:(2|10)\^([0-9]{1,2})|([0-9]{1,18}))")
_RANGES = ("min", "max")  # bounds of what is normal, not the hardware
_ONCE = (
    "InstanceID",
    "ResourceType",
    "ResourceSubType",
    "Parent",
    "Address",
    "MACAddress",
    "AddressOnParent",
    "VirtualQuantity",
    "AllocationUnits",
    "CoresPerSocket",
)
_DAMAGED = "The package is damaged; export the VM again."


@dataclass(frozen=True)
class Item:
    """A device: what it says by its tags, and VMware's settings of it. `only`: the deployment options that it is for; none: for all."""

    values: Mapping[str, str]
    config: Mapping[str, str]
    only: tuple[str, ...]
    bound: str
    optional: bool

    def get(self, tag: str) -> str:
        return self.values.get(tag, "")

    @property
    def type(self) -> str:
        return self.get("ResourceType")


@dataclass(frozen=True)
class Hardware:
    """`meant`: the devices that the VM has. `unchosen`: those of other deployment options. `bounds`: those that only limit a choice."""

    meant: tuple[Item, ...]
    unchosen: tuple[Item, ...]
    bounds: tuple[Item, ...]

    def all(self, kind: str) -> tuple[Item, ...]:
        return tuple(item for item in self.meant if item.type == kind)

    def one(self, kind: str, what: str, tags: Iterable[str], path: str) -> Optional[Item]:
        """The device of a type, of which a VM has one. Raises InvalidInput for two that say different things."""
        found = self.all(kind)
        if len({tuple(item.get(tag) for tag in tags) for item in found}) > 1:
            raise InvalidInput(
                f"{path} gives {what} {len(found)} times, and differently ({', '.join(item.get('VirtualQuantity')[:20] or 'none' for item in found)}).",
                "Leave the Item that is meant in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
                path=path,
            )
        return found[0] if found else None


def hardware(system: ET.Element, root: ET.Element, path: str) -> Hardware:
    """The hardware under the deployment option that is meant where nobody chooses: the default, else the first.

    An item of an option stands in place of the one with its InstanceID that belongs to none.
    """
    options = [one.get("id", "") for one in root.iterfind(".//DeploymentOptionSection/Configuration")]
    meant = _option(root, path)
    found: dict[tuple[str, bool], Item] = {}
    unchosen, bounds = [], []
    for element in (element for tag in ("Item", "StorageItem", "EthernetPortItem") for element in system.iter(tag)):
        item = _item(element, path)
        if item.only and not set(item.only) & set(options):
            raise InvalidInput(
                f"{path} has hardware (InstanceID {item.get('InstanceID')[:40]!r}) for the deployment option {' '.join(item.only)[:80]!r}, which it does not "
                "describe.",
                "If the VM is to have it, take the attribute ovf:configuration off its Item in the .ovf, else remove the Item; and remove the manifest (.mf), "
                "which does not fit then.",
                path=path,
            )
        if item.only and meant not in item.only:
            unchosen.append(item)
            continue
        if item.bound in _RANGES:
            bounds.append(item)
            continue
        key = item.get("InstanceID") or f"without {len(found)}", bool(item.only)
        if key in found:
            raise InvalidInput(f"{path} has two devices with the InstanceID {key[0][:80]!r}.", _DAMAGED, path=path)
        found[key] = item
    replaced = [item for (name, special), item in found.items() if not special and (name, True) in found]
    return Hardware(
        tuple(item for (name, special), item in found.items() if special or (name, True) not in found),
        (*unchosen, *replaced),
        tuple(bounds),
    )


def require_types(hardware: Hardware, path: str) -> None:
    """Raise InvalidInput for a device whose type is written in another way than its number: it would be taken for none that is known."""
    for item in hardware.meant:
        if item.type and item.type != str(decimal(item.type)):
            raise InvalidInput(
                f"{path} has a device of the ResourceType {item.type[:40]!r} (InstanceID {item.get('InstanceID')[:40]!r}), not a number of DSP0004.",
                "Correct it in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
                path=path,
            )


def _option(root: ET.Element, path: str) -> str:
    options = list(root.iterfind(".//DeploymentOptionSection/Configuration"))
    default = [one.get("id", "") for one in options if one.get("default", "").lower() in ("true", "1")]
    if len(default) > 1:
        raise InvalidInput(
            f"{path} has {len(default)} deployment options that are the default: {', '.join(default)[:200]}.",
            "Leave the attribute ovf:default on the one that is meant in the .ovf, and remove the manifest (.mf), which does not fit then.",
            path=path,
        )
    return default[0] if default else options[0].get("id", "") if options else ""


def _item(element: ET.Element, path: str) -> Item:
    values: dict[str, str] = {}
    for child in element:
        text = (child.text or "").strip()
        if (child.tag in _ONCE and values.get(child.tag, text) != text) or (child.tag == "HostResource" and child.tag in values):
            raise InvalidInput(
                f"{path} has a device with two {'disks' if child.tag == 'HostResource' else f'values of {child.tag}'}: "
                f"{values[child.tag][:40]!r} and {text[:40]!r} (InstanceID {element.findtext('InstanceID', '').strip()[:40]!r}).",
                "Leave the one that is meant in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
                path=path,
            )
        values[child.tag] = text
    return Item(
        values,
        settings(element.iter("Config"), ("slotInfo.pciSlotNumber",), path),
        tuple(element.get("configuration", "").split()),
        element.get("bound", ""),
        element.get("required", "").strip().lower() in ("false", "0"),
    )


def settings(entries: Iterable[ET.Element], keys: tuple[str, ...], path: str) -> dict[str, str]:
    """VMware's settings of these keys. Raises InvalidInput for one that is given twice, and differently."""
    found: dict[str, str] = {}
    for key, value in ((entry.get("key", ""), entry.get("value", "").strip()) for entry in entries):
        if key not in keys:
            continue
        if found.get(key, value).lower() != value.lower():
            raise InvalidInput(
                f"{path} gives {key} twice, as {found[key][:40]!r} and as {value[:40]!r}.",
                "Leave the one that is meant in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
                path=path,
            )
        found[key] = value
    return found


def memory(item: Optional[Item], path: str) -> Optional[int]:
    """In MiB, at least one where there is any."""
    quantity = said(item.get("VirtualQuantity"), "the memory", path) if item is not None else None
    if item is None or quantity is None:
        return None
    size = quantity * unit(item.get("AllocationUnits"), limits.MIB, "AllocationUnits", path)
    return max(size >> 20, min(size, 1))


def unit(text: str, usual: int, what: str, path: str) -> int:
    """Bytes of a unit as DSP0004 writes it, or by a word; the `usual` where none is given."""
    plain = text.lower().replace(" ", "")
    programmatic = _UNIT.fullmatch(plain)
    if programmatic is not None:
        size = int(int(programmatic[1]) ** int(programmatic[2]) if programmatic[1] else int(programmatic[3]))
    else:
        size = _UNITS.get(plain, 0) if plain else usual
    if not size:
        raise InvalidInput(f"{path} gives {what} as {text[:40]!r}, which is not a known unit.", f"Correct {what} in {path}.", path=path)
    return size

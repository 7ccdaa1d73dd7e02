# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware of an OVF: the items of the one VM, of which deployment options and ranges leave out some, and the numbers in them.

Source: DSP0243 8 and 9.8; DSP0004's resource types and programmatic units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional, Sequence
from xml.etree import ElementTree as ET

from ..core import limits
from ..core.concern import listed
from ..core.errors import InvalidInput
from ..core.numbers import decimal, said

CPU, MEMORY, NIC, DISK = "3", "4", "10", "17"
# The words of OVF 0.9, and the symbols of IEC 80000-13, which people write.
_UNITS = {
    "byte": 1,
    "bytes": 1,
    **{
        name: 1024**power
        for power, names in enumerate(("kilobytes kb kib", "megabytes mb mib", "gigabytes gb gib", "terabytes tb tib"), 1)
        for name in names.split()
    },
}
# DSP0004 Annex C: a base unit, which may have a prefix, and factors.
_PREFIXES = {
    **{name: 1000**power for power, name in enumerate(("", "kilo", "mega", "giga", "tera", "peta", "exa"))},
    **{name: 1024**power for power, name in enumerate(("", "kibi", "mebi", "gibi", "tebi", "pebi", "exbi"))},
}
_BASE = re.compile(r"([a-z]*?)bytes?")
_FACTOR = re.compile(r"(?:(2|10|1000|1024)\^([0-9]{1,2})|([0-9]{1,18}))")
_FACTORS = 8
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
    "AutomaticAllocation",
)
_FORMERLY = {"InstanceId": "InstanceID", "BusNumber": "Address"}  # drafts before OVF 1.0, and what VirtualBox wrote up to version 3
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

    def __str__(self) -> str:
        """For people."""
        named = self.get("ElementName") or self.get("Caption") or self.get("Description") or f"InstanceID {self.get('InstanceID')}"
        return f"{named[:60]} (ResourceType {self.type[:20] or 'none'})"


@dataclass(frozen=True)
class Hardware:
    """`meant`: the devices that the VM has. `unchosen`: those of other deployment options. `bounds`: those that only limit a choice.

    `options` are all deployment options, `option` is the one that was taken, empty where there is none. `twins` have the InstanceID of another device.
    """

    meant: tuple[Item, ...]
    unchosen: tuple[Item, ...]
    bounds: tuple[Item, ...]
    options: tuple[str, ...] = ()
    option: str = ""
    twins: tuple[Item, ...] = ()

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


def hardware(system: ET.Element, root: ET.Element, path: str, chosen: str = "") -> Hardware:
    """The hardware under the deployment option that was chosen; where nobody chooses, the default, else the first.

    An item of an option stands in place of the one with its InstanceID that belongs to none.
    """
    options = tuple(one.get("id", "") for one in root.iterfind(".//DeploymentOptionSection/Configuration"))
    meant, known = _option(root, path, chosen), frozenset(options)
    found: dict[tuple[str, bool], Item] = {}
    unchosen, bounds, twins = [], [], []
    for element in (element for tag in ("Item", "StorageItem", "EthernetPortItem") for element in system.iter(tag)):
        item = _item(element, path)
        if item.only and known.isdisjoint(item.only):
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
            twins.append(item)
            key = f"{key[0]} and {len(found)} more", key[1]
        found[key] = item
    _require_nameless(twins, [*found.values(), *unchosen], root, path)
    replaced = [item for (name, special), item in found.items() if not special and (name, True) in found]
    return Hardware(
        tuple(item for (name, special), item in found.items() if special or (name, True) not in found),
        (*unchosen, *replaced),
        tuple(bounds),
        options,
        meant,
        tuple(twins),
    )


def _require_nameless(twins: Sequence[Item], items: Sequence[Item], root: ET.Element, path: str) -> None:
    """Raise InvalidInput for devices that share an InstanceID, unless it does not matter: they differ, and nothing else goes by it.

    DSP0243 8.3 asks for one of its own for each; cards without occur, and other programs (virt-v2v) read them one by one.
    """
    if not twins:
        return
    goes_by = {item.get("Parent") for item in items} | {section.get("instanceId", "") for section in root.iter("BootOrderSection")}
    goes_by |= {item.get("InstanceID") for item in items if item.only}
    shared, seen = {twin.get("InstanceID") for twin in twins}, set()
    for item in items:
        id_ = item.get("InstanceID")
        known = id_, frozenset(item.values.items()), frozenset(item.config.items())
        if id_ in shared and (id_ in goes_by or known in seen):
            raise InvalidInput(f"{path} has two devices with the InstanceID {id_[:80]!r}.", _DAMAGED, path=path)
        seen.add(known)


def require_types(hardware: Hardware, path: str) -> None:
    """Raise InvalidInput for a device whose type is written in another way than its number: it would be taken for none that is known."""
    for item in hardware.meant:
        if item.type and item.type != str(decimal(item.type)):
            raise InvalidInput(
                f"{path} has a device of the ResourceType {item.type[:40]!r} (InstanceID {item.get('InstanceID')[:40]!r}), not a number of DSP0004.",
                "Correct it in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
                path=path,
            )


def _option(root: ET.Element, path: str, chosen: str) -> str:
    options = list(root.iterfind(".//DeploymentOptionSection/Configuration"))
    if chosen:
        names = [one.get("id", "") for one in options]
        if chosen in names:
            return chosen
        raise InvalidInput(
            f"{path} has no configuration {chosen[:80]!r}; it has {listed(names) or 'none at all'}.",
            "Name one of them behind the # in migrate_source (config=NAME), or none: the one is taken then that the package says is the default.",
            path=path,
        )
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
        text, tag = (child.text or "").strip(), _FORMERLY.get(child.tag, child.tag)
        if (tag in _ONCE and values.get(tag, text) != text) or (tag == "HostResource" and tag in values):
            raise InvalidInput(
                f"{path} has a device with two {'disks' if tag == 'HostResource' else f'values of {tag}'}: "
                f"{values[tag][:40]!r} and {text[:40]!r} (InstanceID {element.findtext('InstanceID', '').strip()[:40]!r}).",
                "Leave the one that is meant in the .ovf, and remove the manifest (.mf), which does not fit then; or export the VM again.",
                path=path,
            )
        values[tag] = text
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
    size = _UNITS.get(plain) or _programmatic(plain) if plain else usual
    if not size:
        raise InvalidInput(f"{path} gives {what} as {text[:40]!r}, which is not a known unit.", f"Correct {what} in {path}.", path=path)
    return size


def _programmatic(text: str) -> int:
    """Bytes of a unit by DSP0004 Annex C; 0 for what is none."""
    base, *factors = text.split("*")
    found = _BASE.fullmatch(base)
    size = _PREFIXES.get(found[1], 0) if found is not None else 0
    for factor in map(_FACTOR.fullmatch, factors[:_FACTORS]):
        size *= 0 if factor is None else int(factor[3]) if factor[3] else int(factor[1]) ** int(factor[2])
    return 0 if len(factors) > _FACTORS else int(size)

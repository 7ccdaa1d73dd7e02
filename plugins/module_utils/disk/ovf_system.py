# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM of an OVF is meant, and which description of its hardware.

Source: DSP0243 7.2 (content: one system, or collections of them), 8.1 (several hardware sections are alternatives, of which whoever deploys the VM takes
one that it supports), 10 (texts for several languages), 9.17 (encryption).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import Iterator, Mapping, Sequence
from xml.etree import ElementTree as ET

from ..core.choice import Choice, plain
from ..core.concern import INFO, WARNING, Concern, listed
from ..core.errors import InvalidInput
from .ovf_items import DISK

PLACE = re.compile(r"^(?:(?:ovf:)?/*disk/)?([^/]+)$")
_KNOWN = re.compile(r"(vmx-[0-9]+|virtualbox-[0-9.]+)", re.IGNORECASE)
_ALONE = "Export the VM alone and anew, or leave one in the .ovf, and its disks in the DiskSection; its manifest (.mf) does not fit then, so remove it."


@dataclass(frozen=True)
class System:
    """The VM with one description of its hardware, and its name.

    `part` tells it from other VMs of the package. `of_others` are the disks that those have, `left_out` those of other descriptions of its hardware.
    """

    element: ET.Element
    name: str
    part: str
    of_others: frozenset[str]
    left_out: frozenset[str]
    concerns: tuple[Concern, ...]


def find(root: ET.Element, choice: Choice, path: str) -> System:
    """The VM that was chosen, else the only one. Raises InvalidInput, which names them, where that does not say which it is."""
    _require_plain(root, path)
    systems = list(root.iter("VirtualSystem"))
    if not systems and (root.find("Content") is not None or root.find("Section") is not None):
        raise InvalidInput(
            f"{path} is written as before OVF 1.0 (Section and Content with xsi:type), which is not read.",
            "Export the VM in the present format: by ovftool OLD.ovf NEW.ovf, or from oVirt as an OVA. Or name its disks as a list in migrate_source.",
            path=path,
        )
    if not systems:
        raise InvalidInput(f"{path} describes no virtual system.", "Export the VM again.", path=path)
    texts = _texts(root)
    system = _chosen(systems, choice.system, texts, path)
    others = [other for other in systems if other is not system]
    name = _name(system, texts)
    concerns: list[Concern] = []
    if others:
        names = listed([_name(other, texts) or "one without a name" for other in others])
        concerns.append(
            Concern(
                "source.other-systems",
                INFO,
                f"The package of {name} has other VMs too: {names}.",
                "Migrate each by a source of its own (FILE#NAME).",
            )
        )
    left = _one_section(system, name, concerns, path)
    id_ = system.get("id", "")
    alone = id_ and id_ not in [other.get("id", "") for other in others]
    part = (id_ if alone else name) if others else ""
    of_others = frozenset(disk for other in others for disk in _disks(other))
    left_out = frozenset(disk for section in left for disk in _disks(section))
    return System(system, name, part, of_others, left_out, tuple(concerns))


def _require_plain(root: ET.Element, path: str) -> None:
    """Raise InvalidInput for a package that is encrypted as a whole or in parts."""
    if any(True for tag in ("EncryptionSection", "EncryptedData") for dummy in root.iter(tag)):
        raise InvalidInput(f"{path} is encrypted (EncryptionSection).", "Export the VM again, without encryption.", path=path)


def _chosen(systems: Sequence[ET.Element], wanted: str, texts: Mapping[str, str], path: str) -> ET.Element:
    ids, names = [system.get("id", "") for system in systems], [_name(system, texts) for system in systems]
    found = [system for system, id_ in zip(systems, ids) if wanted in ("", id_)]
    found = found or [system for system, name in zip(systems, names) if wanted == name]
    if len(found) == 1:
        return found[0]
    count = Counter(ids)
    example = next((id_ for id_ in ids if id_ and count[id_] == 1), "")
    how = _ALONE
    if example and wanted not in count:
        written = f"'{os.path.basename(path)}#{plain(example)}'"
        how = f"Name the VM behind the file in migrate_source, and quote all of it, else an INI inventory drops the name: {written} (or export the VM alone)."
    said = listed([name or "one without a name" for name in names])
    what = (
        f"has {len(found) or 'no'} VM{'s' * (len(found) > 1)} of the name {wanted[:80]!r}; it has"
        if wanted
        else f"is a vApp of {len(systems)} VMs:"
    )
    raise InvalidInput(f"{path} {what} {said}.", how, path=path)


def _texts(root: ET.Element) -> dict[str, str]:
    """Texts that stand apart from where they are used, each in the first language that has it."""
    found: dict[str, str] = {}
    for message in root.iterfind("Strings/Msg"):
        if (message.text or "").strip():
            found.setdefault(message.get("msgid", ""), (message.text or "").strip())
    return found


def _name(system: ET.Element, texts: Mapping[str, str]) -> str:
    """As it stands there, else as a text of its own, else its id."""
    element = system.find("Name")
    if element is None:
        return system.get("id", "").strip()
    return (element.text or "").strip() or texts.get(element.get("msgid", ""), "") or system.get("id", "").strip()


def _one_section(system: ET.Element, name: str, concerns: list[Concern], path: str) -> list[ET.Element]:
    """Leave one description of the hardware in the system; gives the others. Raises InvalidInput where that is not the only one that is known."""
    sections = list(system.iter("VirtualHardwareSection"))
    if len(sections) < 2:
        return []
    types = [(section.findtext("System/VirtualSystemType") or "").strip() for section in sections]
    known = [section for section, kind in zip(sections, types) if any(map(_KNOWN.fullmatch, re.split(r"[\s,]+", kind)))]
    said = listed([kind or "of no type" for kind in types])
    if len(known) != 1:
        raise InvalidInput(
            f"{path} describes the hardware of its VM {len(sections)} times ({said}), and does not say which one it is.", _ALONE, path=path
        )
    left = {id(section): section for section in sections if section is not known[0]}
    for parent in list(system.iter()):
        if any(id(child) in left for child in parent):
            parent[:] = [child for child in parent if id(child) not in left]
    cause = f"The hardware of {name} is described {len(sections)} times ({said}); {types[sections.index(known[0])][:80]} is taken"
    remedy = "If another one is meant, leave it alone in the .ovf, and remove its manifest (.mf)."
    more = sorted({disk for section in left.values() for disk in _disks(section)} - set(_disks(known[0])))
    if more:
        concerns.append(Concern("source.configuration", WARNING, f"{cause}, which does not have the disks {listed(more)}.", remedy))
    else:
        concerns.append(Concern("source.configuration", INFO, f"{cause}.", remedy))
    return list(left.values())


def _disks(element: ET.Element) -> Iterator[str]:
    """Those that an element has, by their ids."""
    for item in (item for tag in ("Item", "StorageItem") for item in element.iter(tag)):
        if (item.findtext("ResourceType") or "").strip() == DISK:
            found = PLACE.match((item.findtext("HostResource") or "").strip())
            if found is not None:
                yield found[1]

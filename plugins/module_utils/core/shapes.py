# SPDX-License-Identifier: GPL-3.0-or-later
"""What stages record and hand on, as far as others read it: the VM, the facts about its guest, its results, its boot test."""

from __future__ import annotations

from typing import Any, Mapping

from .shape import ANYTHING, FILE, FLAG, MAC, NUMBER, PATH, TEXT, UUID, WHOLE, Kind, Shape, count, like, one_of

_EMPTY = one_of("")
_WORD = like("a word", r"[\w.+-]+")
_MAPPING: Shape = {"": ANYTHING}
NOTHING = Kind("nothing", lambda value: value == {})


def _pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(one, str) for one in value)


IDENTITY: Shape = {
    "uuid": TEXT,
    "place": TEXT,
    "source": [TEXT],
    "name": TEXT,
    "digest": TEXT,
    "disks": [{"size": WHOLE, "head": TEXT, "tail": TEXT}],
}
CONCERN: Shape = {"severity": TEXT, "code": TEXT, "cause": TEXT, "remedy": TEXT}
_CHANGE: Shape = {"kind": TEXT, "path": TEXT, "reason": TEXT, "diff": (TEXT, None)}
NIC: Shape = {"mac": (MAC, _EMPTY, None), "network": (TEXT, None), "model": (TEXT, None)}
# As its source describes it; nothing of it is needed.
VM: Shape = {
    "name": (TEXT, None),
    "kind": (TEXT, None),
    "memory": (count(1, 1 << 30), None),  # MiB
    "cpus": (count(1, 1 << 16), None),
    "cores_per_socket": (count(0, 1 << 16), None),
    "firmware": (one_of("bios", "uefi"), _EMPTY, None),
    "secure_boot": (FLAG, None),
    "tpm": (FLAG, None),
    "uuid": (UUID, _EMPTY, None),
    "nics": ([NIC], None),
    "disks": ([_MAPPING], None),
    "identity": (IDENTITY, NOTHING, None),
}
CARD: Shape = {
    "mac": (MAC, _EMPTY),
    "name": (TEXT, None),
    "addresses": ([TEXT], None),
    "method": (TEXT, None),
    "on": (TEXT, None),
    "backend": (TEXT, None),
}
FACTS: Shape = {
    "os": (TEXT, None),
    "firmware": (one_of("bios", "uefi"), _EMPTY, None),
    "machine": (_WORD, _EMPTY, None),
    "boot_disk": (count(0, 1 << 16), None),
    "disk_bus": (one_of("virtio", "sata", "ide"), _EMPTY, None),
    "nic_model": (_WORD, _EMPTY, None),
    "cards": ([CARD], None),
    "kernels": ([{"version": TEXT, "image": TEXT}], None),
    "interfaces": ([Kind("a name and a MAC address", _pair)], None),
    "phases": ([one_of("bootstrap", "final")], None),
    "console": (FLAG, None),
    "first_steps": ([TEXT], None),
    "windows": ({"clock": (one_of("localtime", "utc"), _EMPTY, None)}, None),
}
DISK: Shape = {
    "path": PATH,
    "format": one_of("qcow2", "raw", "vdi", "vmdk"),
    "device": (FLAG, None),
    "encrypted": (FLAG, None),
    "luks": (UUID, _EMPTY, None),
    "virtual_size": (WHOLE, None),
    "allocated": (WHOLE, None),
    "bytes_read": (WHOLE, None),
    "bytes_written": (WHOLE, None),
    "seconds": (NUMBER, None),
    "content_digest": (TEXT, None),
    "sha256": (TEXT, None),
}
# A report shows what a source and a guest say, also what no VM can be made with.
SAID: Shape = {**VM, "memory": (WHOLE, None), "cpus": (WHOLE, None), "uuid": (TEXT, None), "nics": ([{"mac": (TEXT, None)}], None)}
GUEST: Shape = {
    "facts": ({**FACTS, "cards": ([{**CARD, "mac": TEXT}], None)}, None),
    "concerns": ([CONCERN], None),
    "grown": ([TEXT], None),
    "changes": ([_CHANGE], None),
    "proof": ({"verdict": (TEXT, None), "checks": ([{"passed": FLAG, "name": TEXT, "detail": TEXT}], None)}, None),
    "timings": (_MAPPING, None),
    "plan": (_MAPPING, None),
}
BOOT: Shape = {
    "verdict": (one_of("passed", "failed", "not run"), _EMPTY, None),
    "cause": (TEXT, None),
    "signals": ({"": NUMBER}, None),
    "screenshot": (TEXT, None),
    "seconds": (NUMBER, None),
    "checks": ([_MAPPING], None),
}

# What options and results of the stages' manifests are, by the stage. Of a VM that FETCH has recorded its disks and their places are needed.
_STAGED: Shape = {
    "staged": FILE,
    "staged_format": (TEXT, None),
    "virtual_size": WHOLE,
    "bus": (TEXT, None),
    "controller": (WHOLE, None),
    "unit": (WHOLE, None),
    "wwn": (TEXT, None),
    "names": ([TEXT], None),
}
_FETCHED: Shape = {
    "name": TEXT,
    "firmware": (TEXT, None),
    "nics": ([{"mac": (TEXT, None), "network": (TEXT, None), "slot": (WHOLE, None)}], None),
    "disks": [_STAGED],
    "identity": (IDENTITY, NOTHING, None),
    "origin": ({"source": TEXT, "stream": ([[ANYTHING]], None)}, NOTHING, None),
}
_CONVERTED: Shape = {
    "disks": ([{**DISK, "path": FILE, "format": TEXT}], None),
    "head": (TEXT, None),
    "virtual_size": (WHOLE, None),
    "content_digest": (TEXT, None),
    "sha256": (TEXT, None),
}
_OF_RESULT: Shape = {"device": (TEXT, None), "format": (TEXT, None), "encrypted": (FLAG, None)}
_IDENTITIES: Shape = ([{"path": FILE, "size": WHOLE, "mtime_ns": WHOLE, "inode": WHOLE, "ctime_ns": (WHOLE, None)}], None)
_RECORDS: Mapping[str, tuple[Shape, Shape]] = {
    "fetch": ({"source": ([TEXT], None)}, _FETCHED),
    "flatten": ({}, {}),
    "fix": ({}, GUEST),
    "convert": (_OF_RESULT, _CONVERTED),
    "writing": (_OF_RESULT, _CONVERTED),
    "boot": ({}, BOOT),
    "import": ({"source": (TEXT, None)}, {}),
    "unpack": ({}, {"path": FILE}),
}


def of_record(stage: str) -> Shape:
    """What a manifest of this stage is."""
    options, result = _RECORDS.get(stage, (_MAPPING, _MAPPING))
    return {"stage": TEXT, "inputs": _IDENTITIES, "outputs": _IDENTITIES, "replaces": _IDENTITIES, "options": options, "result": result}

# SPDX-License-Identifier: GPL-3.0-or-later
"""How many sockets an edition of Windows uses: processors in further ones lie idle.

From Vista on the licence says it in the registry, in the place that the kernel itself reads at its start (Kernel-RegisteredProcessors). What it
does not say goes by the edition, the lower number where sources differ: more cores in fewer sockets take nothing from any.
Sources: G. Chappell, "Storage of License Values"; Microsoft, "Windows Server - Sockets, Logical Processors, Symmetric Multi Threading" (2012), and
of editions of Windows 10; c't, "Wie viele CPU-Kerne nutzt Windows?" for 2003 and older.
"""

from __future__ import annotations

import struct
from typing import Iterator

from . import regf
from .hives import Draft

_POLICY, _SOCKETS = "ProductPolicy", "Kernel-RegisteredProcessors"
_HEAD, _ENTRY, _MOST = 20, 16, 2339  # entries: the kernel takes no more
_HOMES, _HOME_SUITE = ("Core", "Home", "Starter"), "Personal"
_CLIENTS = (
    ("ProfessionalWorkstation", 4),
    ("Professional", 2), ("Enterprise", 2), ("Education", 2), ("IoTEnterprise", 2), ("Ultimate", 2), ("Business", 2),
    *((name, 1) for name in _HOMES),
)  # fmt: skip
_SERVERS = (
    ("ServerFoundation", 1), ("ServerSolution", 1), ("ServerEssentials", 1),
    ("ServerWeb", 4), ("ServerStandard", 4), ("ServerEnterprise", 8), ("ServerDatacenter", 64),
)  # fmt: skip
_SINCE_2012 = 64  # Standard and Datacenter alike
_SUITES_2003 = (("Blade", 2), ("Small Business", 2), ("DataCenter", 32), ("Enterprise", 8))


def sockets(system: Draft, control_set: str, nt: tuple[int, int], server: bool, edition: str) -> int:
    """The most sockets that this Windows uses; 0 where nobody knows. `edition` is the EditionID of its registry."""
    options = f"{control_set}\\Control\\ProductOptions"
    value = system.value(options, _POLICY)
    licensed = _licensed(value.data) if value is not None else 0
    if licensed:
        return licensed
    if nt < (6, 0):
        return _before_vista(system.texts(options, "ProductSuite"), server)
    found = next((most for name, most in (_SERVERS if server else _CLIENTS) if edition.startswith(name)), 0)
    return _SINCE_2012 if found in (4, 8) and server and nt >= (6, 2) else found


def is_home(system: Draft, control_set: str, edition: str) -> bool:
    """Whether it is an edition for homes, which other computers cannot log on to."""
    suites = system.texts(f"{control_set}\\Control\\ProductOptions", "ProductSuite")
    return edition.startswith(_HOMES) or _HOME_SUITE in suites


def _before_vista(suites: tuple[str, ...], server: bool) -> int:
    if not server:
        return 1 if _HOME_SUITE in suites else 2
    return next((most for name, most in _SUITES_2003 if any(suite.startswith(name) for suite in suites)), 4)


def _licensed(data: bytes) -> int:
    return next((number for name, number in _values(data) if name == _SOCKETS), 0)


def _values(data: bytes) -> Iterator[tuple[str, int]]:
    """The values of a licence that are numbers, by their names; nothing of one that is not whole."""
    if len(data) < _HEAD or struct.unpack_from("<I", data)[0] != len(data):
        return
    at, end = _HEAD, min(len(data), _HEAD + struct.unpack_from("<I", data, 4)[0])
    for dummy in range(_MOST):
        if at + _ENTRY > end:
            return
        size, named, kind, length = struct.unpack_from("<4H", data, at)
        if size < _ENTRY + named + length or at + size > end:
            return
        start = at + _ENTRY + named
        if (kind, length) == (regf.DWORD, 4):
            yield data[at + _ENTRY : start].decode("utf-16-le", "replace"), struct.unpack_from("<I", data, start)[0]
        at += size

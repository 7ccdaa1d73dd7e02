# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NIC of the VM each network adapter of Windows is: by its MAC, else by its place, else because only one of each is left.

The new NIC is another device with a new GUID, so settings are kept by MAC. What no NIC gets is said, address by address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping, Optional, Sequence

from ..core.concern import INFO, WARNING, Findings, listed
from ..core.machine import Nic
from ..core.macs import Mac
from ..guest.nic_names import Slot
from .adapter_devices import CARD, GONE
from .network import Adapter

_NAME_IT = "To give them to a card, name the card by its MAC in migrate_windows_network with these settings."


@dataclass(frozen=True)
class Matched:
    """`here` are adapters that are NICs of this VM, with the MACs that they will have; `rest` are none of them, or ghosts of them.

    `unsure` are those of the rest that can be one of the NICs whose settings are not known. `guessed` are those here that were told by being the last.
    """

    here: tuple[Adapter, ...] = ()
    rest: tuple[Adapter, ...] = ()
    unsure: tuple[Adapter, ...] = ()
    guessed: tuple[Adapter, ...] = ()


def matched(known: Sequence[Adapter], nics: Sequence[Nic], macs: Mapping[Mac, Mac]) -> Matched:
    """The adapters by what is known of them."""
    given = {nic.mac: nic for nic in nics if nic.mac}
    claims: dict[Mac, list[Adapter]] = {}
    for adapter in known:
        mac = _mac(adapter, nics, given)
        if mac:
            claims.setdefault(mac, []).append(adapter)
    here = {mac: _present(some, given.get(mac)) for mac, some in claims.items()}
    ghosts = [one for mac, some in claims.items() for one in some if one is not here[mac]]
    rest = [one for one in known if not any(one is other for other in here.values())]
    left = [nic for mac, nic in given.items() if mac not in here]
    unsure = [one for one in rest if one.device.kind == CARD and not one.device.removed and not any(one is ghost for ghost in ghosts)]
    guessed = _last(unsure, left)
    if guessed is not None and left[0].mac:
        here[left[0].mac] = guessed
        rest, unsure, left = [one for one in rest if one is not guessed], [], []
    return Matched(
        tuple(replace(adapter, mac=macs.get(mac, mac)) for mac, adapter in here.items()),
        tuple(rest),
        tuple(unsure) if left or len(given) < len(nics) or not nics else (),
        (guessed,) if guessed is not None and guessed.device.permanent else (),
    )


def _mac(adapter: Adapter, nics: Sequence[Nic], given: Mapping[Mac, Nic]) -> Optional[Mac]:
    """The MAC of the NIC that an adapter says it is."""
    device = adapter.device
    if device.kind != CARD:
        return None
    if device.permanent:
        return device.permanent if device.permanent in given or not given else None
    for number, nic in enumerate(nics):
        slot = None if nic.slot is None or nic.slot < 0 else Slot.of(nic.slot)
        at = slot is not None and (
            device.slot in (nic.slot, slot.hotplug) or (device.bus is not None and device.bus == (slot.bus, slot.device))
        )
        if nic.mac and (at or (device.vif == number and nic.slot is None)):
            return nic.mac
    return None


def _present(some: Sequence[Adapter], nic: Optional[Nic]) -> Adapter:
    """Which of several adapters with one MAC is the card: there at the last start, of the card's model, arrived last, installed last."""

    def likely(adapter: Adapter) -> tuple[bool, bool, int, bytes]:
        device = adapter.device
        return not device.removed, nic is None or device.fits(nic.model), device.arrived, device.installed

    return max(some, key=likely)


def _last(unsure: Sequence[Adapter], left: Sequence[Nic]) -> Optional[Adapter]:
    """The one adapter that the one NIC left can be: of those without a MAC, of its model where there are more; else one with another MAC."""
    if len(left) != 1:
        return None
    nameless = [one for one in unsure if not one.device.permanent]
    fitting = [one for one in nameless if one.device.fits(left[0].model)] if len(nameless) > 1 else nameless
    if len(fitting) == 1:
        return fitting[0]
    strangers = [one for one in unsure if one.configured]
    return strangers[0] if len(strangers) == 1 and not nameless else None


def say(found: Matched, restored: Sequence[Adapter], findings: Findings) -> None:
    """Every static address that no card gets, and what was restored on less than a MAC. `restored` has what the operator named."""
    given = {_bare(address) for adapter in restored for address in adapter.addresses}
    for adapter in found.guessed:
        if any(_bare(address) in given for address in adapter.addresses):
            findings.add(
                "windows.card-by-position",
                WARNING,
                f"{_called(adapter)} had the MAC {adapter.device.permanent}, which no card of the VM has. The only card left gets its settings"
                f" ({listed(adapter.addresses)}).",
                "If they are not this card's, name it in migrate_windows_network with its own.",
            )
    unsure = [one for one in found.unsure if _lost(one, given)]
    if unsure:
        findings.add(
            "windows.card-unmatched",
            WARNING,
            "It is not known which card of the VM has the settings of "
            + ", ".join(f"{_named(one)} ({', '.join(_lost(one, given))})" for one in unsure)
            + ".",
            "Name it in migrate_windows_network, by MAC; otherwise these cards start with DHCP.",
        )
    macs = {adapter.device.permanent for adapter in found.here if adapter.device.permanent}
    for adapter in found.here:  # what is in force of these is restored, or the operator has given something else
        _stays(adapter, given, [], macs, findings)
        _own_mac(adapter, findings)
    for adapter in found.rest:
        if adapter.device.kind == GONE:
            continue
        _stays(adapter, given, [] if adapter in unsure else _lost(adapter, given), macs, findings)
    _without_a_device([adapter for adapter in found.rest if adapter.device.kind == GONE], given, findings)


def _without_a_device(adapters: Sequence[Adapter], given: set[str], findings: Findings) -> None:
    """All that they have in one concern, since a Windows that was copied often has a lot of them."""
    left = [
        f"{address} ({_named(adapter)})"
        for adapter in adapters
        for address in (*adapter.addresses, *(address for address, dummy in adapter.unused), *adapter.unread)
        if _bare(address) not in given
    ]
    if left:
        cause = f"The registry has addresses of adapters that are no device of this Windows: {', '.join(left)}."
        findings.add("windows.address-stays", INFO, cause, _NAME_IT)


def _own_mac(adapter: Adapter, findings: Findings) -> None:
    if adapter.device.given and adapter.device.given != adapter.mac:
        findings.add(
            "windows.mac-set",
            INFO,
            f"{_called(adapter)} was given the MAC {adapter.device.given} in Windows; on the target it has that of the VM, {adapter.mac}.",
            "If a licence or a server knows it by that MAC, give the VM the same in migrate_mac_map.",
        )


def _lost(adapter: Adapter, given: set[str]) -> list[str]:
    """The addresses that no card gets, with what else is set beside them; that alone where there are none, unless its card is long gone."""
    addresses = [address for address in adapter.addresses if _bare(address) not in given]
    if (adapter.addresses and not addresses) or (adapter.device.removed and not addresses):
        return []
    if adapter.device.kind != CARD and not adapter.device.made_of_cards:
        return addresses
    return [
        *addresses,
        *(f"the name server {server}" for server in (*adapter.v4.dns, *adapter.v6.dns)),
        *(f"the route to {route.prefix}" for route in (*adapter.v4.routes, *adapter.v6.routes)),
        *(f"the WINS server {server}" for server in adapter.wins),
        *([f"the suffix {adapter.suffix}"] if adapter.suffix else []),
    ]


def _stays(adapter: Adapter, given: set[str], lost: Sequence[str], macs: set[Mac], findings: Findings) -> None:
    """One concern for what is in force and goes to no card, and one for each reason why other addresses are not in force."""
    if lost:
        severity, why = _why(adapter, macs)
        findings.add("windows.address-stays", severity, f"{_called(adapter)} keeps {', '.join(lost)}: {why}.", _NAME_IT)
    reasons: dict[str, list[str]] = {}
    for address, why in adapter.unused:
        if _bare(address) not in given:
            reasons.setdefault(why, []).append(address)
    for why, some in reasons.items():
        findings.add("windows.address-stays", INFO, f"{_called(adapter)} keeps {', '.join(some)}: {why}.", _NAME_IT)
    if adapter.unread:
        findings.add(
            "windows.address-unread",
            WARNING,
            f"{_called(adapter)} has settings that are no addresses or names: {listed(adapter.unread)}.",
            "Correct them at the source, or name the card in migrate_windows_network with what is meant.",
        )


def _why(adapter: Adapter, macs: set[Mac]) -> tuple[str, str]:
    device = adapter.device
    if device.made_of_cards:
        return WARNING, "the cards that it is made of are others on the target, and it has no part of them"
    if device.removed:
        return INFO, "its card was not there any more when Windows last ran"
    if device.kind != CARD:
        return INFO, "it is no card, and moves along as it is"
    if device.permanent in macs:
        return WARNING, "another adapter with the same MAC is taken for the card"
    return WARNING, "no card of the VM is this one"


def _called(adapter: Adapter) -> str:
    return f"The {adapter.device.kind} {_named(adapter)}"


def _named(adapter: Adapter) -> str:
    """The name is the guest's and may be anything."""
    return (adapter.name or adapter.guid)[:80]


def _bare(address: str) -> str:
    return address.partition("/")[0]

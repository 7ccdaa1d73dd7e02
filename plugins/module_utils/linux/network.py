# SPDX-License-Identifier: GPL-3.0-or-later
"""Network: the MAC is kept, and the name the guest used for a NIC is pinned to it. No profile's meaning is changed.

Kernel and udev derive a name like ens192 from the PCI slot of the old hypervisor; on the new one the NIC would get another
name and every profile that says ens192 would be dead. Only where the operator gives a NIC another MAC do profiles follow.
Source: systemd.link(5), udev(7); VMware's pciSlotNumber is the hotplug slot that udev's net_id shows as ens<slot>.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Iterator, Mapping, Sequence

from ..core.concern import BLOCKER, INFO, WARNING, Findings
from ..core.machine import Nic
from ..core.macs import Mac, made_of, replaced
from ..core.numbers import decimal
from ..guest.change import Change
from ..guest.changes.entries import remove
from ..guest.changes.write import edit
from ..guest.nic_names import Slot, counted, in_order, slot_of
from ..guest.plan import merge
from ..guest.protocol import Guest, glob, text
from ..guest.view import PendingView
from . import boot_cards
from .default import default_entry
from .entries import boot_entries
from .netconf import by_name, ifcfg, ifupdown, links, matches, netifrc, networkd, networkmanager, position, standing, wicked
from .netconf import names as netnames
from .netconf import rules as rules_of
from .netconf.model import Profile, globs

_RULE = 'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{{address}}=="{mac}", ATTR{{type}}=="1", NAME="{name}"\n'
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


def interfaces(guest: Guest, nics: Sequence[Nic], machine_id: str, findings: Findings) -> tuple[tuple[str, Mac], ...]:
    """(name, MAC) of every NIC, in the order of `nics`: what the guest calls it, and the MAC it has at the source.

    The name is empty where only the MAC is known and no profile needs more: then any name will do, and none is pinned.

    A source without metadata (a bare disk) has no NICs; then the guest's own rules and profiles say which names and MACs
    there are, and a name whose MAC nobody knows gets one made from the machine id, for the target's definition to use.
    """
    found = boot_cards.profiles(guest)
    bound = netnames.bound(guest, [nic.mac for nic in nics])
    for profile in netnames.physical(found):
        if profile.mac and profile.name:
            bound.setdefault(profile.mac, profile.name)
    placed = _placed(guest, nics, bound)
    nics = _with_macs(nics, bound, placed)
    present = {nic.mac for nic in nics}
    bound = {mac: name for mac, name in bound.items() if mac in present or name not in placed.values()}
    known = standing.of(found, netnames.given_names(guest))
    names = sorted(set(known.ranks) - set(bound.values()), key=_natural)
    only_by_mac = list(
        dict.fromkeys(
            profile.mac for profile in netnames.physical(found) if profile.mac and profile.name is None and profile.mac not in bound
        )
    )
    if not nics:
        numbers = {name: number for number, name in position.numbers(guest).items()}
        told = sorted(bound.items(), key=lambda pair: numbers.get(pair[1], len(numbers)))  # stable
        made = [(name, _made_mac(machine_id, name)) for name in known.made(names)]
        return (*((name, mac) for mac, name in told), *made, *(("", mac) for mac in only_by_mac))
    given, called = _by_hardware(guest, nics, names, known=known, found=found)
    given = {**{number: name for number, name in given.items() if name not in placed.values()}, **placed}
    if all(slot_of(nic) is not None for nic in nics):  # a name of a slot that no NIC is in is left of another one
        names = [name for name in names if name in given.values() or Slot.named(name) is None]
    pairs: dict[int, tuple[str, Mac]] = {}
    for number, nic in enumerate(nics):
        name = given.get(number)
        if nic.mac is None:
            if name in names or number in placed:
                pairs[number] = (name or "", _made_mac(machine_id, name or ""))
            continue
        name = bound.get(nic.mac) or name
        if name is None and nic.mac in only_by_mac:
            name = called.get(number)  # its profile does not need the name, but people and firewall rules know it by this one
        if name or nic.mac in only_by_mac:
            pairs[number] = (name or "", nic.mac)
    _share(pairs, nics, names, only_by_mac, machine_id, findings, known)
    return tuple(pairs[number] for number in sorted(pairs))


def _placed(guest: Guest, nics: Sequence[Nic], bound: Mapping[Mac, str]) -> dict[int, str]:
    """The names that NICs have by an earlier repair's rule, by the number of the NIC: those whose own MAC is not there."""
    present = {nic.mac for nic in nics}
    taken = {name for mac, name in bound.items() if mac in present}
    return {
        number: name
        for number, name in position.numbers(guest).items()
        if number < len(nics) and nics[number].mac not in bound and name not in taken
    }


def _with_macs(nics: Sequence[Nic], bound: Mapping[Mac, str], placed: Mapping[int, str]) -> list[Nic]:
    """NICs with the MACs that the guest's own bindings say, where their source, as most OVFs, records none: by their names first, then in order."""
    left = [mac for mac in bound if mac not in {nic.mac for nic in nics}]
    found: dict[int, Mac] = {}

    def sure(number: int, name: str) -> bool:
        slot = slot_of(nics[number])
        return placed[number] == name if number in placed else slot is not None and slot.called(name)

    def possible(number: int, name: str) -> bool:
        return number not in placed and name not in placed.values()

    for fits in (sure, possible):
        for number, nic in enumerate(nics):
            mac = next((mac for mac in left if fits(number, bound[mac])), None)
            if nic.mac is None and number not in found and mac is not None:
                found[number] = mac
                left.remove(mac)
    return [replace(nic, mac=found.get(number, nic.mac)) for number, nic in enumerate(nics)]


def _share(
    pairs: dict[int, tuple[str, Mac]],
    nics: Sequence[Nic],
    names: Sequence[str],
    only_by_mac: Sequence[Mac],
    machine_id: str,
    findings: Findings,
    known: standing.Standing,
) -> None:
    """What is left goes to the NICs that are left, in their order, as long as it cannot be too few or too many; the surest names first."""
    present = {mac for dummy, mac in pairs.values()}
    names = [name for name in names if name not in {used for used, dummy in pairs.values()}]
    free = [number for number in range(len(nics)) if number not in pairs]
    spare = max(0, len(free) - len(known.upto(standing.IDLE, names)))
    unnamed = [mac for mac in only_by_mac if mac not in present][:spare]
    pairs.update({number: ("", mac) for number, mac in zip([number for number in free if nics[number].mac is None], unnamed)})
    free = [number for number in free if number not in pairs]
    sets = [known.upto(rank, names) for rank in (standing.ACTIVE, standing.IDLE, standing.TOLD)] + [known.alone(names)]
    fitting = next((one for one in sets if len(one) == len(free)), None)
    lost = next(filter(None, sets[:-1]), [])
    if fitting is not None:
        pairs.update({number: (name, nics[number].mac or _made_mac(machine_id, name)) for name, number in zip(fitting, free)})
        if len(fitting) > 1:
            findings.add(
                "network.assumed-order",
                WARNING,
                f"The cards of {', '.join(fitting)} were assigned in the order of the VM's definition.",
                "Check the addresses after the first boot, or pin names by MAC in the guest beforehand.",
            )
    elif lost:
        findings.add(
            "network.unassigned",
            WARNING,
            f"The profiles for {', '.join(lost)} could not be assigned to the VM's {len(nics)} network cards.",
            "Pin the names by MAC in the guest (a .link file) or correct the profiles, then plan again.",
        )


def _by_hardware(
    guest: Guest, nics: Sequence[Nic], names: Sequence[str], *, known: standing.Standing, found: Sequence[Profile]
) -> tuple[dict[int, str], dict[int, str]]:
    """The names that follow from where NICs are on the old hardware, by the number of the NIC: those that the guest uses, and what each was called.

    A slot has its own names, a rule may name one by its address, and names that only count do so in the order of PCI. Where profiles take all names
    of a pattern, or all but some, the NIC has that which its slot gives it.
    """
    patterns, refusals = netnames.patterns(found), netnames.refusals(found)
    used: dict[int, str] = {}
    called: dict[int, str] = {}
    places, matched = netnames.places(guest), matches.addresses(guest)
    chosen = default_entry(guest, boot_entries(guest))
    counting = netnames.counts(guest, [chosen.cmdline] if chosen is not None else [])
    by_count = known.counting(names, counting or not links.in_force(guest))
    order = {id(nic): number for number, nic in enumerate(in_order(nics))} if all(slot_of(nic) is not None for nic in nics) else {}
    for number, nic in enumerate(nics):
        slot = slot_of(nic)
        if slot is None:
            continue
        usual = [slot.name, *([f"enp{slot.bus}s{slot.device}"] if slot.bus is not None else [])]
        by_kernel = [f"eth{order[id(nic)]}"] if order else []
        if counting:
            usual = by_kernel
        for first in (usual if netnames.has_udev(guest) else by_kernel)[:1]:
            called[number] = first
        name = (
            places.get(slot.address)
            or next((name for name in sorted(filter(slot.called, names), key=lambda name: (known.ranks[name], name != slot.name))), None)
            or next((name for name in by_count if order and counted(name) == order[id(nic)]), None)
            or (usual[0] if usual and slot.address in matched else None)
            or next((name for name in usual if any(globs(name, pattern) for pattern in patterns)), None)
            or next((name for name in usual[:1] if any(globs(name, refused) for refused in refusals)), None)
        )
        if name is not None:
            used[number] = name
    return used, called


def plan(
    guest: Guest,
    pins: Sequence[tuple[str, Mac]],
    macs: Mapping[Mac, Mac],
    findings: Findings,
    driver: str = matches.NEW,
    cards: Sequence[tuple[str, Mac]] = (),
) -> list[Change]:
    """Changes that pin each name to its MAC, let profiles follow a new MAC, and take away what was for VMware's NICs.

    `cards` are all NICs in their order where names go by position too (pinning.by_position); then profiles by MAC become such by name.
    """
    changes: list[Change] = _follow(guest, macs)
    pins = [(name, mac) for name, mac in cards or pins if name]
    view = PendingView(guest, merge(changes))
    problems: list[str] = []
    changes += _matched(view, pins, driver)
    view = PendingView(guest, merge(changes))
    changes += _by_name(view, cards)
    view = PendingView(guest, merge(changes))
    found = boot_cards.profiles(view, problems)
    _say_what_stays(found, cards, findings)
    useless = [(profile.path, f"the driver {profile.driver}") for profile in found if matches.is_old(profile.driver, driver)]
    for path, what in [*useless, *((path, f"the address {address}") for address, path in matches.addresses(view).items())]:
        findings.add(
            "network.driver-match",
            BLOCKER,
            f"{path} applies only to cards with {what}.",
            f"Match by name or MAC in the guest instead; the card is {driver} after the migration, at another address.",
        )
    for problem in problems:
        findings.add(
            "network.unreadable", WARNING, f"A network file cannot be read: {problem}.", "Correct it in the guest; it is left as it is."
        )
    if links.in_force(guest):
        for name, mac in pins:
            path, pinned = links.pin(view, name, mac, driver)
            alone = "" if cards else ", by its MAC alone"
            changes += edit(path, text(guest, path), pinned, f"{name} keeps its name on the new hardware{alone}")
        changes += _pinned_elsewhere(guest)
    elif pins and netnames.has_udev(guest):
        rules = text(guest, netnames.PERSISTENT_RULES)
        bound = netnames.persistent_names(view) == {mac: name for name, mac in pins}
        if not bound or "vmxnet" in _COMMENT.sub("", rules or ""):
            written = "".join(_RULE.format(mac=mac, name=name) for name, mac in pins) + rules_of.others(rules or "")
            changes += edit(netnames.PERSISTENT_RULES, rules, written, "names pinned to their MAC")
    changes += _positions(guest, pins, cards)
    # A file that is removed need not be edited before.
    return list({change.path: change for change in merge(changes)}.values())


def _pinned_elsewhere(guest: Guest) -> list[Change]:
    """The rules that name NICs leave; what else the administrator has written into their file stays."""
    path, why = netnames.PERSISTENT_RULES, "names are pinned by .link files now"
    before = text(guest, path) or ""
    kept = rules_of.others(before)
    return [*(edit(path, before, kept, why) if kept else remove(path, guest.stat(path), why))]


def _by_name(guest: Guest, cards: Sequence[tuple[str, Mac]]) -> list[Change]:
    """Profiles by MAC become such by name, which a NIC with another MAC has too. Without udev that is the kernel's name alone."""
    sure = netnames.has_udev(guest)
    names = {mac: name for number, (name, mac) in enumerate(cards) if sure or name == f"eth{number}"}
    found = by_name.rewritten(guest, names) if names else ()
    return [change for path, before, after in found for change in edit(path, before, after, "the profile applies whatever the MAC")]


def _say_what_stays(found: Sequence[Profile], cards: Sequence[tuple[str, Mac]], findings: Findings) -> None:
    """A name by position does not help a profile that still goes by the MAC."""
    macs = {mac for dummy, mac in cards}
    for path in dict.fromkeys(profile.path for profile in found if profile.active and profile.mac in macs):
        findings.add(
            "network.by-mac",
            INFO,
            f"{path} stays bound to a MAC; it does not apply where the target gives the card another one.",
            "Let the target give the card the MAC of the report, or match the name in the guest.",
        )


def _positions(guest: Guest, pins: Sequence[tuple[str, Mac]], cards: Sequence[tuple[str, Mac]]) -> Sequence[Change]:
    """The rule that names NICs by position, where udev names any. The kernel's own names need none: it counts in the same order."""
    path = position.PATH
    by_kernel = [f"eth{number}" for number, (name, dummy) in enumerate(cards) if name == f"eth{number}"]
    chosen = default_entry(guest, boot_entries(guest)) if by_kernel else None
    if not netnames.counts(guest, [chosen.cmdline] if chosen is not None else []):
        by_kernel = []
    wanted = position.rule(cards, by_kernel) if netnames.has_udev(guest) else ""
    if not wanted:
        used = netnames.nic_names(boot_cards.profiles(guest), position.names(guest))
        if position.names(guest) & set(used) - {name for name, dummy in pins}:
            return ()  # a name that nothing else gives
        return remove(path, guest.stat(path), "names go by their MAC alone")
    named = ", ".join(name for name, dummy in cards if name not in by_kernel)
    return edit(path, text(guest, path), wanted, f"{named} by position, where the target gives another MAC")


def _matched(guest: Guest, pins: Sequence[tuple[str, Mac]], driver: str) -> list[Change]:
    """Matches of the old hardware become such of the new. Profiles that only two drivers tell apart stay as they are, which is a blocker."""
    told_apart = {matches.old(profile.driver) for profile in boot_cards.profiles(guest) if profile.driver and netnames.unbound(profile)}
    return [
        change
        for path, before, after in matches.rewritten(guest, _by_address(pins), driver if len(told_apart) < 2 else "")
        for change in edit(path, before, after, "a match of the old hardware is one of the new")
    ]


def _by_address(pins: Sequence[tuple[str, Mac]]) -> dict[str, str]:
    """The names of NICs by the address that they had, where the name says it."""
    slots = {name: Slot.named(name) for name, dummy in pins}
    return {slot.address: name for name, slot in slots.items() if slot is not None and slot.address}


def _follow(guest: Guest, macs: Mapping[Mac, Mac]) -> list[Change]:
    changes: list[Change] = []
    for path in dict.fromkeys(_naming_macs(guest)) if macs else ():
        before = text(guest, path)
        if before is not None:
            changes += edit(path, before, replaced(before, macs), "the card has a new MAC")
    return changes


def _naming_macs(guest: Guest) -> Iterator[str]:
    """Every file of the administrator's in which a MAC may be written down, in force or not."""
    yield from ifupdown.files(guest)
    drop_ins = glob(guest, networkd.DIRECTORY, ".d")
    for directory in ("/etc/network/interfaces.d", networkd.DIRECTORY, *drop_ins, networkmanager.DIRECTORIES[0], wicked.DIRECTORY):
        yield from glob(guest, directory)
    yield from glob(guest, "/etc/netplan", ".yaml")
    yield from glob(guest, rules_of.DIRECTORY, ".rules")
    for directory in (ifcfg.REDHAT, ifcfg.SUSE):
        yield from glob(guest, directory, prefix="ifcfg-")
    yield from glob(guest, "/etc/cloud/cloud.cfg.d", ".cfg")
    yield netifrc.PATH
    yield from glob(guest, "/etc/conf.d", prefix="net.")
    yield from boot_cards.files(guest)


def _made_mac(machine_id: str, name: str) -> Mac:
    return made_of(hashlib.sha256(f"{machine_id}/{name}".encode("utf-8", "surrogateescape")).hexdigest())


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers by their value: enp3s0 is before enp11s0."""
    parts = re.split(r"(\d{1,9})", name)
    return [(number, "") if (number := decimal(part)) is not None else (-1, part) for part in parts]

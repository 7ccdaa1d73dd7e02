# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know of a VM before a byte moves. Each rule looks at the record only; each concern can be accepted by its code."""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

from ..core import names, vmware
from ..core.concern import BLOCKER, INFO, WARNING, Concern
from . import hardware_concerns
from .model import Vm, VmDisk

MAX_DISKS = 165  # virtio-scsi and virtio-blk with one controller or slot each; more needs bridges
MAX_DEPTH = 32  # vSphere's own limit of a snapshot chain
_MIB = 1 << 20
_SNAPSHOT_SPACE = 2048 * _MIB  # or a tenth of the disks, if that is more; a rule of thumb of VMware's is 10 to 20 percent
_FREE = {"/": 100 * _MIB, "/boot": 50 * _MIB, "C:\\": 100 * _MIB}
_OTHER_FREE = 10 * _MIB
_FLAT_LIKE = ("FlatVer1", "FlatVer2", "SparseVer1", "SparseVer2", "SeSparse")

Rule = Callable[[Vm], Iterator[Concern]]


def concerns(vm: Vm) -> tuple[Concern, ...]:
    """Every concern about one VM, blockers first."""
    order = (BLOCKER, WARNING, INFO)
    return tuple(sorted((concern for rule in _RULES for concern in rule(vm)), key=lambda concern: order.index(concern.severity)))


def of_wave(vms: Sequence[Vm]) -> dict[str, tuple[Concern, ...]]:
    """Concerns that only several VMs together show, by the VM's id: MACs and names that occur twice, disks that are shared."""
    found: dict[str, list[Concern]] = {vm.id: [] for vm in vms}
    for what, code, keys, remedy in _SHARED:
        owners: dict[str, list[Vm]] = {}
        for vm in vms:
            for key in keys(vm):
                owners.setdefault(key, []).append(vm)
        for key, sharing in owners.items():
            for vm in sharing if len({other.id for other in sharing}) > 1 else ():
                others = ", ".join(sorted({other.path for other in sharing if other.id != vm.id}))
                found[vm.id].append(Concern(code, WARNING, f"{vm.name} has {what} {key}, as has {others}.", remedy))
    return {vm_id: tuple(items) for vm_id, items in found.items() if items}


def of_power(name: str, power: str) -> Iterator[Concern]:
    """The risks of reading the disks of a VM that is on, off or suspended."""
    if power == "on":
        yield Concern(
            "vsphere.running",
            BLOCKER,
            f"{name} is running: its disks change while they are read.",
            "Shut it down, let the migration do it (migrate_running: shutdown), or read from a snapshot (snapshot), which is as after a power failure.",
        )
    if power == "suspended":
        yield Concern(
            "vsphere.suspended",
            BLOCKER,
            f"{name} is suspended: the contents of its memory are not on its disks.",
            "Resume it and shut it down.",
        )


def _state(vm: Vm) -> Iterator[Concern]:
    yield from of_power(vm.name, vm.power)
    if vm.connection != "connected":
        yield Concern(
            "vsphere.not-connected",
            BLOCKER,
            f"{vm.name} is {vm.connection}: vSphere cannot reach it.",
            "Bring its host and datastores back first.",
        )
    if vm.template:
        yield Concern("vsphere.template", INFO, f"{vm.name} is a template.", "It is migrated as a VM.")
    if vm.consolidation_needed:
        yield Concern(
            "vsphere.consolidation",
            WARNING,
            f"{vm.name} has snapshot disks that no snapshot owns.",
            "Consolidate its disks in vSphere; the chain is read as it is otherwise.",
        )
    if vm.snapshots:
        yield Concern(
            "vsphere.snapshots",
            INFO,
            f"{vm.name} has {len(vm.snapshots)} snapshots ({', '.join(snapshot.name for snapshot in vm.snapshots[:3])}).",
            "Its present state is migrated; the snapshots are not migrated. Changed block tracking cannot be enabled while they exist.",
        )
    if vm.fault_tolerance:
        yield Concern(
            "vsphere.fault-tolerance", WARNING, f"{vm.name} is protected by Fault Tolerance.", "KVM has no equivalent; turn it off first."
        )


def _surroundings(vm: Vm) -> Iterator[Concern]:
    if vm.host_maintenance:
        yield Concern(
            "vsphere.maintenance",
            WARNING,
            f"The host of {vm.name} is in maintenance mode, or on its way there.",
            "Wait, or move the VM to another host: its own may end connections.",
        )
    if vm.moved_by_drs and vm.power == "on":
        yield Concern(
            "vsphere.drs",
            INFO,
            f"DRS may move {vm.name} while it is read.",
            "Set its automation level to manual for that time; a transport that reads on its host (ssh) breaks off otherwise.",
        )
    if vm.host_rules:
        yield Concern(
            "vsphere.host-rules",
            INFO,
            f"Rules bind {vm.name} to hosts ({', '.join(vm.host_rules[:3])}).",
            "Licences or hardware may be the reason; see to them on the target.",
        )
    if vm.datastore_free is not None and vm.power == "on" and vm.datastore_free < max(_SNAPSHOT_SPACE, vm.size // 10):
        yield Concern(
            "vsphere.snapshot-space",
            WARNING,
            f"A datastore of {vm.name} has {vm.datastore_free // _MIB} MiB left, and a snapshot grows with what the VM writes.",
            "Make room there, or shut the VM down for the copy (migrate_running: shutdown).",
        )


def _disks(vm: Vm) -> Iterator[Concern]:
    if not vm.disks:
        yield Concern("vsphere.no-disks", BLOCKER, f"{vm.name} has no disks.", "There is nothing to migrate.")
    if len(vm.disks) > MAX_DISKS:
        yield Concern(
            "vsphere.many-disks", WARNING, f"{vm.name} has {len(vm.disks)} disks.", f"More than {MAX_DISKS} need controllers of their own."
        )
    for disk in vm.disks:
        yield from _disk(vm, disk, f"{disk.label or disk.key} of {vm.name}")


def _disk(vm: Vm, disk: VmDisk, what: str) -> Iterator[Concern]:
    if disk.rdm == "physical":
        yield Concern(
            "vsphere.rdm-physical",
            BLOCKER,
            f"{what} is a raw device in physical mode, which vSphere does not read.",
            "Attach the LUN to the target itself, or copy it with the storage's means; accept to migrate the rest.",
        )
    elif disk.rdm:
        yield Concern(
            "vsphere.rdm-virtual",
            WARNING,
            f"{what} is a raw device in virtual mode.",
            "Read it by a lease (migrate_transport: nfc), or clone it to a virtual disk.",
        )
    elif disk.backing not in _FLAT_LIKE:
        yield Concern(
            "vsphere.backing",
            WARNING,
            f"{what} is stored as {disk.backing}.",
            "Only a lease can read it (migrate_transport: nfc), if anything.",
        )
    if not disk.files:
        yield Concern("vsphere.disk-without-file", BLOCKER, f"{what} has no file on a datastore.", "Move it to a datastore.")
    if disk.capacity <= 0:
        yield Concern("vsphere.disk-empty", BLOCKER, f"{what} has no capacity.", "Remove it, or look at what is wrong with it.")
    yield from _mode(disk, what)
    if disk.encrypted and not vm.encrypted:
        yield _encrypted(what)
    if len({file.rpartition("/")[0] for file in disk.files}) > 1:
        yield Concern(
            "vsphere.linked-clone",
            WARNING,
            f"{what} rests on files of another VM ({disk.files[-1]}).",
            "Where its own files are not enough, a lease brings it whole (migrate_transport: nfc).",
        )
    if len(disk.files) > MAX_DEPTH:
        yield Concern(
            "vsphere.deep-chain",
            WARNING,
            f"{what} is a chain of {len(disk.files)} files.",
            "Delete or consolidate its snapshots: it is slow to read.",
        )


def _mode(disk: VmDisk, what: str) -> Iterator[Concern]:
    """How a disk is attached, and with whom it is shared."""
    if disk.mode.startswith("independent"):
        yield Concern(
            "vsphere.independent-disk",
            WARNING,
            f"{what} is independent: snapshots leave it out, so it can only be read while the VM is off.",
            "Shut the VM down, or make the disk dependent.",
        )
    if vmware.forgets(disk.mode):
        yield Concern(
            "vsphere.disk-mode",
            WARNING,
            f"{what} forgets at its source what was written to it, or keeps it apart ({disk.mode}).",
            "At the target it keeps it. Make a snapshot there to go back to, if the VM is to begin anew each time.",
        )
    if "4k" in disk.sectors.lower():
        yield Concern(
            "vsphere.sectors",
            BLOCKER,
            f"{what} has sectors of 4096 bytes; its guest's partition tables hold only on such a disk.",
            "Move the guest to a disk with sectors of 512 bytes first.",
        )
    if disk.sharing not in ("", "sharingNone"):
        yield Concern(
            "vsphere.multi-writer", WARNING, f"{what} may be written by several VMs.", "Shut all of them down; migrate the disk once."
        )
    if disk.bus_sharing not in ("", "noSharing"):
        yield Concern(
            "vsphere.bus-sharing",
            WARNING,
            f"{what} is on a controller that VMs share ({disk.bus_sharing}), as cluster nodes do.",
            "Migrate the cluster as a whole, with shared storage on the target.",
        )


def _encrypted(what: str) -> Concern:
    return Concern(
        "vsphere.encrypted",
        BLOCKER,
        f"{what} is encrypted by vSphere: its files are of no use without the key provider.",
        "Decrypt it in vSphere first (storage policy).",
    )


def _hardware(vm: Vm) -> Iterator[Concern]:
    if vm.encrypted:
        yield _encrypted(vm.name)
    yield from hardware_concerns.of(vm)


def _guest(vm: Vm) -> Iterator[Concern]:
    if not vm.nics:
        yield Concern("vsphere.no-network", INFO, f"{vm.name} has no network card.", "")
    if vm.power == "on" and vm.tools != "running":
        yield Concern(
            "vsphere.no-tools",
            WARNING,
            f"VMware Tools do not run in {vm.name}: it can neither be shut down by vSphere nor quiesced.",
            "Start the tools, or shut it down by hand.",
        )
    if vm.power == "on" and vm.tools == "running" and not vm.addresses:
        yield Concern("vsphere.no-address", INFO, f"{vm.name} reports no address.", "Check its network before and after the migration.")
    if vm.guest_hostname == "localhost.localdomain":
        yield Concern("vsphere.hostname", INFO, f"{vm.name} calls itself localhost.localdomain.", "Give it a name of its own.")
    for mount, free in sorted(vm.guest_free.items()):
        if free < _FREE.get(mount, _OTHER_FREE):
            yield Concern(
                "vsphere.guest-space",
                WARNING,
                f"{vm.name} has {free // _MIB} MiB left on {mount}: a repair may not fit.",
                "Make room in the guest, or grow the disk.",
            )
    if not names.is_safe(vm.name):
        yield Concern(
            "vsphere.name", WARNING, f"{vm.name!r} is not valid as a name of files and of a domain, and is changed.", "Set migrate_name."
        )
    if 0 < vm.hardware_version < 7 and vm.power == "on":
        yield Concern(
            "vsphere.old-hardware",
            INFO,
            f"{vm.name} has hardware version {vm.hardware_version}.",
            "There is no changed block tracking before 7.",
        )


# What must not occur twice in one wave: its name, the code, where to look, the remedy.
_SHARED: tuple[tuple[str, str, Callable[[Vm], list[str]], str], ...] = (
    (
        "the MAC",
        "vsphere.duplicate-mac",
        lambda vm: [nic.nic.mac for nic in vm.nics if nic.nic.mac],
        "Give one of them another MAC (migrate_mac_map).",
    ),
    ("the name", "vsphere.duplicate-name", lambda vm: [vm.name], "Set migrate_name for one of them."),
    (
        "the disk",
        "vsphere.shared-file",
        lambda vm: [disk.files[0] for disk in vm.disks if disk.files],
        "Migrate them together, the disk once.",
    ),
)
_RULES: tuple[Rule, ...] = (_state, _surroundings, _disks, _hardware, _guest)

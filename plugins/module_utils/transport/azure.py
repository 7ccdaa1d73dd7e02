# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs and disks of Azure, asked of its own command line program, which has the login: what they are, snapshots of them, and the right to read these.

A disk is read as a page blob: a fixed VHD, of which only the pages that were ever written cross the wire. The address that Azure hands out is the
right to read it; it is in no argument, log or file.
Sources: Azure CLI reference, `az vm`, `az disk`, `az snapshot`; Blob service REST API, "Get Page Ranges".
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core.errors import AccessDenied, InvalidInput, MigrationError, ToolFailed
from ..core.process import Limits, run
from ..core.tls import Trust
from ..disk import xmlfile
from .files import Areas, patiently
from .https import HttpsFiles, quote

PREFIX = "hyper2kvm-"  # of snapshots that are ours; the janitor removes no others
FOOTER = 512  # bytes of a VHD behind the disk
_TAG = "hyper2kvm"
_SHORT, _LONG = Limits(timeout=300), Limits(timeout=3600)
_GRANTED = 4 * 3600  # seconds; the right is asked for anew when it ends
_COPIED = 24 * 3600.0  # seconds for a snapshot of the kinds of disks that are copied in the background
_LISTED = 64 << 30  # bytes of a disk whose pages are asked for at once
_LOGIN = re.compile(r"az login|AADSTS\d+|not logged in", re.IGNORECASE)
_DENIED = re.compile(r"\((AuthorizationFailed|LinkedAuthorizationFailed)\)")
_ABSENT = re.compile(r"\((ResourceNotFound|ResourceGroupNotFound|SubscriptionNotFound|NotFound)\)")


@dataclass(frozen=True)
class Disk:
    """A managed disk: bytes, number on the data controller (None: the system disk), Hyper-V's generation, and when it was last given to a VM."""

    id: str
    name: str
    size: int
    lun: Optional[int]
    generation: str
    encrypted: bool
    taken: str


@dataclass(frozen=True)
class Vm:
    """A VM: `power` on or off, `memory` in MiB, `security` as Azure calls its kind; the system disk first."""

    id: str
    name: str
    subscription: str
    group: str
    location: str
    power: str
    cpus: Optional[int]
    memory: Optional[int]
    macs: tuple[str, ...]
    disks: tuple[Disk, ...]
    secure_boot: bool
    tpm: bool
    security: str
    windows: bool

    @property
    def place(self) -> tuple[str, ...]:
        return "--subscription", self.subscription, "--resource-group", self.group


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of ours: when it was made, and of which disk."""

    name: str
    disk: str
    made: str


@dataclass
class Export:
    """A snapshot that may be read. `url` is the right to do so."""

    vm: Vm
    disk: Disk
    snapshot: str
    url: str = field(default="", repr=False)

    def renew(self) -> None:
        granted = _az("snapshot", "grant-access", *self.vm.place, "--name", self.snapshot, "--access-level", "Read",
                      "--duration-in-seconds", str(_GRANTED), limits=_LONG)  # fmt: skip
        self.url = str(_get(granted, "accessSas") or "")
        if not self.url.startswith("https://"):
            raise ToolFailed(
                f"Azure gave no address for {self.snapshot}.", "Look at the snapshot's network access in Azure, then run again."
            )


def find(subscription: str, group: str, name: str) -> Vm:
    """The VM. Raises InvalidInput for one that is not there, or whose disks are no managed disks; AccessDenied without a login or the rights."""
    place = ("--subscription", subscription, "--resource-group", group)
    data = _az("vm", "show", "--show-details", *place, "--name", name)
    storage = _get(data, "storageProfile") or {}
    system = _get(storage, "osDisk") or {}
    attached = [(None, system), *sorted((int(_get(disk, "lun") or 0), disk) for disk in _get(storage, "dataDisks") or [])]
    ids = [_get(disk, "managedDisk", "id") for dummy, disk in attached]
    if not all(ids) or _get(system, "diffDiskSettings", "option") == "Local":
        raise InvalidInput(
            f"{name} has disks that Azure cannot take a snapshot of: unmanaged, or on the host's own storage.",
            "Convert them to managed disks (az vm convert), or copy what is on them.",
            vm=name,
        )
    sizes = _az("vm", "list-sizes", "--subscription", subscription, "--location", str(_get(data, "location")))
    size = next((one for one in sizes if _get(one, "name") == _get(data, "hardwareProfile", "vmSize")), None)
    return Vm(
        str(_get(data, "id")),
        str(_get(data, "name")),
        subscription,
        group,
        str(_get(data, "location")),
        "off" if str(_get(data, "powerState")).lower() in ("vm deallocated", "vm stopped") else "on",
        _get(size, "numberOfCores"),
        _get(size, "memoryInMb"),
        tuple(mac.strip().replace("-", ":").lower() for mac in str(_get(data, "macAddresses") or "").split(",") if mac.strip()),
        tuple(_disk(_az("disk", "show", "--ids", str(id_)), lun) for id_, (lun, dummy) in zip(ids, attached)),
        bool(_get(data, "securityProfile", "uefiSettings", "secureBootEnabled")),
        bool(_get(data, "securityProfile", "uefiSettings", "vTpmEnabled")),
        str(_get(data, "securityProfile", "securityType") or ""),
        _get(system, "osType") == "Windows",
    )


def stop(vm: Vm, timeout: float) -> None:
    """Shut the guest down; the VM stays allocated, so that it comes back as it was."""
    _az("vm", "stop", *vm.place, "--name", vm.name, limits=Limits(timeout=timeout))


def start(vm: Vm) -> None:
    _az("vm", "start", *vm.place, "--name", vm.name, limits=_LONG)


def snapshots(vm: Vm) -> tuple[Snapshot, ...]:
    """Those that migrations of this VM have made."""
    found = _az("snapshot", "list", *vm.place)
    return tuple(
        Snapshot(str(_get(one, "name")), str(_get(one, "creationData", "sourceResourceId")), str(_get(one, "timeCreated")))
        for one in found
        if str(_get(one, "name")).startswith(PREFIX) and (_get(one, "tags") or {}).get(_TAG) == vm.id
    )


def remove(vm: Vm, snapshot: str) -> None:
    """Delete a snapshot, and before it every right to read it."""
    _az("snapshot", "revoke-access", *vm.place, "--name", snapshot, limits=_LONG)
    _az("snapshot", "delete", *vm.place, "--name", snapshot, limits=_LONG)


@contextlib.contextmanager
def exported(vm: Vm, disk: Disk, left: Sequence[Snapshot]) -> Iterator[Export]:
    """A snapshot of the disk that may be read for the time of a block.

    One that is `left` of a run that failed is taken again while it still is what the disk is, so that what has arrived counts. A failure leaves
    the snapshot of a VM that is off, for the same reason; nobody may read it then.
    """
    earlier = next(
        (one.name for one in left if one.disk.lower() == disk.id.lower() and vm.power == "off" and one.made > disk.taken > ""), ""
    )
    name = earlier or f"{PREFIX}{vm.name[:40]}-{'system' if disk.lun is None else disk.lun}-{time.strftime('%Y%m%d%H%M%S')}"
    export = Export(vm, disk, name)
    try:
        if not earlier:
            _az("snapshot", "create", *vm.place, "--name", name, "--location", vm.location, "--source", disk.id, "--incremental", "true",
                "--tags", f"{_TAG}={vm.id}", limits=_LONG)  # fmt: skip
        _await(vm, name)
        export.renew()
        yield export
    except BaseException:
        with contextlib.suppress(MigrationError):
            _az("snapshot", "revoke-access", *vm.place, "--name", name, limits=_LONG)
            if vm.power != "off":
                _az("snapshot", "delete", *vm.place, "--name", name, limits=_LONG)
        raise
    remove(vm, name)


def files(export: Export) -> HttpsFiles:
    """The disk as one file; its path is its name. The server is believed whom the system believes."""
    parts = urllib.parse.urlsplit(export.url)

    def target(path: str) -> str:
        now = urllib.parse.urlsplit(export.url)
        more = path.partition("?")[2]
        return f"{quote(urllib.parse.unquote(now.path))}?{now.query}" + (f"&{more}" if more else "")

    def authorise(again: bool) -> Mapping[str, str]:
        if again:
            export.renew()
        return {}

    host, port = parts.hostname or "", parts.port or 443
    return HttpsFiles(
        host,
        port,
        Trust().context(host, port),
        target,
        authorise,
        refused=(401, 403),
        advice="The right to read the snapshot was refused: look at its network access in Azure (AllowAll, or a private endpoint that is reached from here).",
    )


def written(reader: HttpsFiles, name: str, size: int) -> Areas:
    """Where pages of the file were written, in its order, with the footer. `size` in bytes."""
    whole = size - FOOTER
    parts = [_pages(reader, name, begin, min(begin + _LISTED, whole)) for begin in range(0, whole, _LISTED)]
    return (*(area for part in parts for area in part), (whole, FOOTER))


def _pages(reader: HttpsFiles, name: str, begin: int, end: int) -> Areas:
    text = patiently(lambda: reader.text(f"{name}?comp=pagelist", {"x-ms-range": f"bytes={begin}-{end - 1}"}), name)
    found: list[tuple[int, int]] = []
    for page in xmlfile.parse(text, name).iter("PageRange"):
        first, last = (int(page.findtext(edge) or "-1") for edge in ("Start", "End"))
        if not (sum(found[-1]) if found else begin) <= first <= last < end:
            raise InvalidInput(f"Azure lists pages of {name} that are not in it.", "Run again; if it stays, copy the disk in Azure.")
        found.append((first, last + 1 - first))
    return found


def _disk(data: Any, lun: Optional[int]) -> Disk:
    return Disk(
        str(_get(data, "id")),
        str(_get(data, "name")),
        int(_get(data, "diskSizeBytes") or int(_get(data, "diskSizeGb") or 0) << 30),
        lun,
        str(_get(data, "hyperVGeneration") or "V1"),
        bool(_get(data, "encryptionSettingsCollection", "enabled")),
        str(_get(data, "lastOwnershipUpdateTime") or ""),
    )


def _await(vm: Vm, name: str) -> None:
    """Until a snapshot is whole; of most kinds of disks it is at once."""
    deadline = time.monotonic() + _COPIED
    while True:
        percent = _get(_az("snapshot", "show", *vm.place, "--name", name), "completionPercent")
        if percent is None or float(percent) >= 100:
            return
        if time.monotonic() > deadline:
            raise ToolFailed(f"The snapshot {name} is not complete after a day ({percent} %).", "Look at it in Azure, then run again.")
        time.sleep(10)


def _az(*argv: str, limits: Limits = _SHORT) -> Any:
    """What az answers. Raises AccessDenied, InvalidInput for what is not there, ToolFailed."""
    done = run(["az", *argv, "--only-show-errors", "--output", "json"], limits, check=False)
    if done.rc == 0:
        try:
            return json.loads(done.stdout or "null")
        except ValueError as error:
            raise ToolFailed(f"az {' '.join(argv[:2])} gave no JSON.", "Update the Azure CLI, then run again.") from error
    said, what = done.stderr.strip()[-600:], f"az {' '.join(argv[:2])}"
    if _LOGIN.search(said):
        raise AccessDenied(
            f"{what}: {said}", "Log in on the conversion host (az login, a service principal or a managed identity), then run again."
        )
    if _DENIED.search(said):
        raise AccessDenied(
            f"{what}: {said}", "The login needs Virtual Machine Contributor and Disk Snapshot Contributor on the resource group."
        )
    if _ABSENT.search(said):
        raise InvalidInput(f"{what}: {said}", "Write azure://SUBSCRIPTION/RESOURCE-GROUP/VM as `az vm list --output table` has them.")
    raise ToolFailed(
        f"{what} failed with status {done.rc}: {said or 'it printed nothing'}", "Correct the cause that Azure names, then run again."
    )


def _get(data: Any, *names: str) -> Any:
    """What stands under names; their letters' case differs between versions of az."""
    for name in names:
        data = next((value for key, value in data.items() if key.lower() == name.lower()), None) if isinstance(data, dict) else None
    return data

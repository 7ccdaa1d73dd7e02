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

from ..core import macs, names
from ..core.concern import BLOCKER, Concern
from ..core.errors import AccessDenied, InvalidInput, MigrationError, ToolFailed
from ..core.machine import Nic
from ..core.numbers import decimal
from ..core.process import Limits, run
from ..core.tls import Trust, environment_proxy
from ..core.urls import split
from ..disk import unused, xmlfile
from .cloud import PREFIX, TAG, Disk, Snapshot, Vm, new_name, usable
from .download import Job, joined
from .files import Areas, Files, patiently
from .https import HttpsFiles, quote

FOOTER = 512  # bytes of a VHD behind the disk
_SHORT, _LONG = Limits(timeout=300), Limits(timeout=3600)
_GRANTED = 4 * 3600  # seconds; the right is asked for anew when it ends
_COPIED = 24 * 3600.0  # seconds for a snapshot of the kinds of disks that are copied in the background
_LISTED = 64 << 30  # bytes of a disk whose pages are asked for at once
_LOGIN = re.compile(r"az login|AADSTS\d+|not logged in", re.IGNORECASE)
_DENIED = re.compile(r"\((AuthorizationFailed|LinkedAuthorizationFailed)\)")
_ABSENT = re.compile(r"\((ResourceNotFound|ResourceGroupNotFound|SubscriptionNotFound|NotFound)\)")


@dataclass(frozen=True)
class Azure:
    """See Cloud. A VM by the name of its resource group and its own."""

    subscription: str
    group: str
    name: str
    consistent: bool = False

    @property
    def _place(self) -> tuple[str, ...]:
        return "--subscription", self.subscription, "--resource-group", self.group

    def find(self) -> Vm:
        data = _az("vm", "show", "--show-details", *self._place, "--name", self.name)
        storage, location = _get(data, "storageProfile") or {}, str(_get(data, "location"))
        system = _get(storage, "osDisk") or {}
        attached = [
            (None, system),
            *sorted(((_whole(disk, "lun"), disk) for disk in _get(storage, "dataDisks") or []), key=lambda found: found[0]),
        ]
        ids = [_get(disk, "managedDisk", "id") for dummy, disk in attached]
        if not all(ids) or _get(system, "diffDiskSettings", "option") == "Local":
            raise InvalidInput(
                f"{self.name} has disks that Azure cannot take a snapshot of: unmanaged, or on the host's own storage.",
                "Convert them to managed disks (az vm convert), or copy what is on them.",
                vm=self.name,
            )
        disks = [_az("disk", "show", "--ids", str(id_)) for id_ in ids]
        sizes = _az("vm", "list-sizes", "--subscription", self.subscription, "--location", location)
        size = next((one for one in sizes if _get(one, "name") == _get(data, "hardwareProfile", "vmSize")), None)
        return Vm(
            str(_get(data, "id")),
            str(_get(data, "name")),
            "off" if str(_get(data, "powerState")).lower() in ("vm deallocated", "vm stopped") else "on",
            tuple(_disk(disk, lun) for disk, (lun, dummy) in zip(disks, attached)),
            tuple(_nics(data)),
            _get(size, "numberOfCores"),
            _get(size, "memoryInMb"),
            "uefi" if _get(disks[0], "hyperVGeneration") == "V2" else "bios",
            bool(_get(data, "securityProfile", "uefiSettings", "secureBootEnabled")),
            _get(system, "osType") == "Windows",
            location,
            tuple(_told(self.name, _get(data, "securityProfile"), disks, _get(size, "resourceDiskSizeInMb") or 0)),
            str(_get(data, "vmId") or ""),
        )

    def stop(self, vm: Vm, timeout: float) -> None:
        """The VM stays allocated, so that it comes back as it was."""
        _az("vm", "stop", *self._place, "--name", vm.name, limits=Limits(timeout=timeout))

    def start(self, vm: Vm) -> None:
        _az("vm", "start", *self._place, "--name", vm.name, limits=_LONG)

    def snapshots(self, vm: Vm) -> tuple[Snapshot, ...]:
        found = [one for one in _az("snapshot", "list", *self._place) if (_get(one, "tags") or {}).get(TAG) == vm.id]
        return tuple(
            Snapshot(name, name, str(_get(one, "creationData", "sourceResourceId")), str(_get(one, "timeCreated")))
            for one, name in ((one, str(_get(one, "name"))) for one in found)
            if name.startswith(PREFIX)
        )

    def remove(self, vm: Vm, snapshot: Snapshot) -> None:
        self._delete(snapshot.name)

    @contextlib.contextmanager
    def exported(self, vm: Vm, left: Sequence[Snapshot]) -> Iterator[Sequence[tuple[Files, Job]]]:
        with contextlib.ExitStack() as stack:
            exports = [stack.enter_context(self._frozen(vm, disk, usable(vm, disk, left))) for disk in vm.disks]
            yield [_readable(export, stack.enter_context(contextlib.closing(_reader(export)))) for export in exports]

    @contextlib.contextmanager
    def _frozen(self, vm: Vm, disk: Disk, earlier: Optional[Snapshot]) -> Iterator[Export]:
        name = earlier.name if earlier is not None else new_name(vm, disk)
        try:
            if earlier is None:
                _az("snapshot", "create", *self._place, "--name", name, "--location", vm.place, "--source", disk.id, "--incremental", "true",
                    "--tags", f"{TAG}={vm.id}", limits=_LONG)  # fmt: skip
            self._await(name)
            export = Export(self._place, disk, name)
            export.renew()
            yield export
        except BaseException:
            with contextlib.suppress(MigrationError):
                if vm.power == "off":
                    self._revoke(name)
                else:
                    self._delete(name)
            raise
        self._delete(name)

    def _revoke(self, name: str) -> None:
        _az("snapshot", "revoke-access", *self._place, "--name", name, limits=_LONG)

    def _delete(self, name: str) -> None:
        self._revoke(name)
        _az("snapshot", "delete", *self._place, "--name", name, limits=_LONG)

    def _await(self, name: str) -> None:
        """Until a snapshot is whole; of most kinds of disks it is at once."""
        deadline = time.monotonic() + _COPIED
        while True:
            percent = _get(_az("snapshot", "show", *self._place, "--name", name), "completionPercent")
            if not isinstance(percent, (int, float)) or percent >= 100:
                return
            if time.monotonic() > deadline:
                raise ToolFailed(f"The snapshot {name} is not complete after a day ({percent} %).", "Check it in Azure, then run again.")
            time.sleep(10)


@dataclass
class Export:
    """A snapshot that may be read. `url` is the right to do so."""

    place: tuple[str, ...]
    disk: Disk
    snapshot: str
    url: str = field(default="", repr=False)

    def renew(self) -> None:
        granted = _az("snapshot", "grant-access", *self.place, "--name", self.snapshot, "--access-level", "Read",
                      "--duration-in-seconds", str(_GRANTED), limits=_LONG)  # fmt: skip
        self.url = str(_get(granted, "accessSas") or "")
        if not self.url.startswith("https://"):
            raise ToolFailed(f"Azure gave no address for {self.snapshot}.", "Check the snapshot's network access in Azure, then run again.")


def _reader(export: Export) -> HttpsFiles:
    """The disk as one file; its path is its name. The server is believed whom the system believes."""
    parts = split(export.url, "Check the snapshot in Azure, then run again.")

    def target(path: str) -> str:
        now = split(export.url, "Check the snapshot in Azure, then run again.")
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
        environment_proxy(host),
        refused=(401, 403),
        advice="The right to read the snapshot was refused: look at its network access in Azure (AllowAll, or a private endpoint that is reached from here).",
    )


def _written(reader: HttpsFiles, name: str, size: int) -> Areas:
    """Where pages of the file were written, in its order, with the footer. `size` in bytes."""
    whole = size - FOOTER
    parts = [_pages(reader, name, begin, min(begin + _LISTED, whole)) for begin in range(0, whole, _LISTED)]
    return (*(area for part in parts for area in part), (whole, FOOTER))


def _pages(reader: HttpsFiles, name: str, begin: int, end: int) -> Areas:
    text = patiently(lambda: reader.text(f"{name}?comp=pagelist", {"x-ms-range": f"bytes={begin}-{end - 1}"}), name)
    found: list[tuple[int, int]] = []
    for page in xmlfile.parse(text, name).iter("PageRange"):
        first, last = (decimal(page.findtext(edge)) for edge in ("Start", "End"))
        if first is None or last is None or not (sum(found[-1]) if found else begin) <= first <= last < end:
            raise InvalidInput(f"Azure lists pages of {name} that are not in it.", "Run again; if it stays, copy the disk in Azure.")
        found.append((first, last + 1 - first))
    return found


def _readable(export: Export, reader: HttpsFiles) -> tuple[Files, Job]:
    """A disk as a file, and the pages of it that are wanted."""
    name = f"{export.disk.name}.vhd"
    seen = patiently(lambda: reader.stat(name), name)
    return reader, Job(
        name,
        f"{names.safe(export.disk.name)}.vhd",
        seen.size,
        seen.stamp,
        joined(_written(reader, name, seen.size), reader.gap),
        seen.ranged,
    )


def _told(name: str, security: Any, disks: Sequence[Any], temporary: int) -> Iterator[Concern]:
    """What of a VM is not migrated, or not as it is; `temporary` is its disk on its host, in MiB.

    Source: Compute REST API, Disks and Virtual Machines; az vm list-sizes.
    """
    encrypted = [str(_get(disk, "name")) for disk in disks if _get(disk, "encryptionSettingsCollection", "enabled")]
    if encrypted:
        yield Concern(
            "azure.encrypted",
            BLOCKER,
            f"{', '.join(encrypted)} of {name} are encrypted in the guest by Azure Disk Encryption, whose keys stay in Key Vault.",
            "Decrypt them first (az vm encryption disable).",
        )
    large = [str(_get(disk, "name")) for disk in disks if _get(disk, "creationData", "logicalSectorSize") == 4096]
    if large:
        yield Concern(
            "azure.sectors",
            BLOCKER,
            f"{', '.join(large)} of {name} have sectors of 4096 bytes; partition tables hold only on such a disk.",
            "Copy what is on them to disks with sectors of 512 bytes (--logical-sector-size 512) first.",
        )
    yield from unused.shared(name, [str(_get(disk, "name")) for disk in disks if (_get(disk, "maxShares") or 1) > 1])
    yield from unused.vtpm(name, bool(_get(security, "uefiSettings", "vTpmEnabled")))
    yield from unused.devices(name, [f"temporary disk of {temporary} MiB on its host"] if temporary else ())
    if str(_get(security, "securityType")).lower() == "confidentialvm":
        yield Concern(
            "azure.confidential",
            BLOCKER,
            f"{name} is a confidential VM, whose disks are sealed by its own hardware.",
            "Copy its data to a VM of another kind.",
        )


def _nics(data: Any) -> Iterator[Nic]:
    """One for each interface: Azure gives it a MAC when the VM is first started."""
    found = [mac for mac in map(macs.of_nic, str(_get(data, "macAddresses") or "").split(",")) if mac]
    yield from map(Nic, found)
    yield from (Nic() for dummy in (_get(data, "networkProfile", "networkInterfaces") or ())[len(found) :])


def _disk(data: Any, lun: Optional[int]) -> Disk:
    size = _whole(data, "diskSizeBytes") or _whole(data, "diskSizeGb") << 30
    return Disk(str(_get(data, "id")), str(_get(data, "name")), size, lun, str(_get(data, "lastOwnershipUpdateTime") or ""))


def _az(*argv: str, limits: Limits = _SHORT) -> Any:
    """What az answers. Raises AccessDenied, InvalidInput for what is not there, ToolFailed."""
    done = run(["az", *argv, "--only-show-errors", "--output", "json"], limits, check=False)
    if done.rc == 0:
        try:
            return json.loads(done.stdout or "null")
        except (RecursionError, ValueError) as error:
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


def _whole(data: Any, name: str) -> int:
    """A number of an answer; 0 where there is none. Raises ToolFailed for what is no number."""
    value = _get(data, name)
    number = decimal(str(value)) if value is not None else 0
    if number is None:
        raise ToolFailed(f"Azure gives {str(value)[:40]!r} for {name}, which is not a number.", "Look at it with az; update the Azure CLI.")
    return number


def _get(data: Any, *names: str) -> Any:
    """What stands under names; their letters' case differs between versions of az."""
    for name in names:
        data = next((value for key, value in data.items() if key.lower() == name.lower()), None) if isinstance(data, dict) else None
    return data

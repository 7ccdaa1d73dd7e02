# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of vSphere as it exports them, compressed and in one go: by a lease that we hold, or by a program of others that holds one."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Callable, Mapping, Optional

from ..core import process
from ..core.errors import InvalidInput, TransferFailed
from ..core.progress import Progress
from ..disk import ovf
from ..disk.machine import SourceVm
from ..transport import exporter, nfc
from ..transport.download import Arrived, Throttle
from ..vsphere import connection, leases
from .vsphere_transport import ANY, Coming, Transport, Wanted

_PACKAGE = "package"
_ROUNDS = 2  # a disk that did not arrive as it was sent is fetched once more


def from_lease(wanted: Wanted) -> Coming:
    """Disks as their host sends them: compressed, in one go. Disk and lease are matched by the order that both keep: that of the devices."""
    vm, disks, session = wanted.point.vm, wanted.disks, wanted.point.session

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        order = [disk for disk in vm.disks if disk in disks]
        with leases.held(session, vm, wanted.point.snapshot) as lease:
            if len(lease.disks) != len(order):
                raise InvalidInput(
                    f"{vm.name} has {len(order)} disks, its lease {len(lease.disks)}.",
                    "Independent disks are not exported; use another transport.",
                )
            arrived: dict[str, Arrived] = {}
            missing = list(zip(order, lease.disks))
            for dummy in range(_ROUNDS):
                for disk, leased in missing:
                    progress.phase(f"fetch disk {disks.index(disk) + 1} of {len(order)}", disk.capacity)
                    place = os.path.join(directory, f"disk{disks.index(disk)}")
                    arrived[leased.key] = _received(session, leased, place, progress, Throttle(wanted.access.bandwidth))
                    lease.percent = 99 * len(arrived) // len(order)
                sent = lease.digests()
                missing = [pair for pair in missing if not _as_sent(arrived[pair[1].key], sent.get(pair[1].key))]
                if not missing:
                    break
            else:
                raise TransferFailed(
                    f"{', '.join(disk.label for disk, dummy in missing)} of {vm.name} did not arrive as the host says it was sent.",
                    "Check the network path to the host, then run again; or use another transport.",
                )
        return tuple(arrived.values())

    return Coming(wanted.whole(), bring, lambda directory: wanted.apart(directory, nfc.NAME))


def _received(session: connection.Session, leased: leases.LeasedDisk, place: str, progress: Progress, throttle: Throttle) -> Arrived:
    """A disk from the host that the lease names, which is often not the server that gave the lease."""
    endpoint = session.endpoint
    headers: Mapping[str, str] = {}  # the URL itself is the right to read; the session is nobody else's business
    if (leased.host, leased.port) == (endpoint.host, endpoint.port):
        context, headers = session.context, {"Cookie": session.cookie}
    else:
        trust = replace(endpoint.trust, thumbprint=leased.thumbprint) if leased.thumbprint else endpoint.trust
        context = trust.context(leased.host, leased.port, endpoint.proxy)
    return nfc.receive(leased.host, leased.port, leased.target, context, headers, place, progress, throttle, endpoint.proxy)


def _as_sent(here: Arrived, sent: Optional[tuple[str, int]]) -> bool:
    """Whether a file is what the host's manifest says; a host without a manifest says nothing."""
    return sent is None or sent == (here.digest, here.size)


def from_govc(wanted: Wanted) -> Coming:
    export = _export(wanted, "govc")
    exporter.require_one(export)
    return _package(wanted, export, exporter.govc)


def from_ovftool(wanted: Wanted) -> Coming:
    return _package(wanted, _export(wanted, "ovftool"), exporter.ovftool)


def _export(wanted: Wanted, tool: str) -> exporter.Export:
    """What `tool` is asked for. Raises MissingTool where it is not there."""
    process.require(tool)
    point, server = wanted.point, wanted.point.session.endpoint
    return exporter.Export(
        server.host,
        server.port,
        server.user,
        server.password,
        server.trust,
        point.session.thumbprint,
        point.vm.id,
        f"/{point.vm.path}",
        point.snapshot,
    )


def _package(wanted: Wanted, export: exporter.Export, write: Callable[[exporter.Export, str, Progress], str]) -> Coming:
    """The package that a program writes; its manifest is checked, and it is held against what vSphere says."""
    disks = wanted.disks

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        progress.phase("export", sum(disk.capacity for disk in disks))
        package = os.path.join(directory, _PACKAGE)
        write(export, package, progress)
        return tuple(
            Arrived(f"{_PACKAGE}/{name}", size, size, "")
            for place, dummy, names in sorted(os.walk(package))
            for name, size in ((name, os.path.getsize(os.path.join(place, name))) for name in sorted(names))
        )

    def local(directory: str) -> SourceVm:
        package = ovf.read(exporter.descriptor(os.path.join(directory, _PACKAGE)))
        if len(package.disks) != len(disks):
            raise InvalidInput(
                f"{wanted.point.vm.name} has {len(disks)} disks, its export {len(package.disks)}.",
                "Independent disks are not exported; use another transport.",
            )
        return wanted.arrived([disk.chain for disk in package.disks])

    return Coming(wanted.whole(), bring, local)


TRANSPORTS = (
    Transport("nfc", from_lease, resumes=False, parts=False, allocated=ANY, digests=True, automatic=2),
    Transport("govc", from_govc, resumes=False, parts=False, allocated=ANY, digests=True),
    Transport("ovftool", from_ovftool, resumes=False, parts=False, allocated=ANY, digests=True, needs_off=True),
)

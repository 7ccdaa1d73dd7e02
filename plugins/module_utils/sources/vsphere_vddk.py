# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of vSphere through VMware's own library."""

from __future__ import annotations

import contextlib
import os
from typing import Sequence

from ..core.progress import Progress
from ..transport import nbdkit, vddk
from ..transport.download import Arrived
from .vsphere_transport import ANY, Coming, Transport, Wanted


def from_vddk(wanted: Wanted) -> Coming:
    """Disks through VMware's own library: only what is allocated crosses the wire, whatever the datastore is."""
    vm, disks, snapshot, vddk_of = wanted.point.vm, wanted.disks, wanted.point.snapshot, wanted.access.vddk
    vddk_of.check()
    endpoint, thumbprint = wanted.point.session.endpoint, wanted.point.session.thumbprint
    named = [vddk.VddkDisk(endpoint.host, endpoint.user, thumbprint, vm.id, snapshot, disk.files[0], endpoint.port) for disk in disks]

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        arrived = []
        for number, (disk, name) in enumerate(zip(disks, named)):
            progress.phase(f"fetch disk {number + 1} of {len(disks)}", disk.capacity)
            arrived.append(
                vddk.receive(vddk_of, name, endpoint.password, disk.capacity, os.path.join(directory, f"disk{number}"), progress)
            )
        return tuple(arrived)

    def exported(sockets: Sequence[str], cached: bool) -> contextlib.AbstractContextManager[list[nbdkit.Export]]:
        return nbdkit.exports(
            [vddk.export(vddk_of, name, endpoint.password, nbdkit.Manner(cached, socket)) for name, socket in zip(named, sockets)]
        )

    readable = exported if vm.power == "off" or snapshot else None
    return Coming(wanted.whole(), bring, lambda directory: wanted.apart(directory, vddk.NAME), readable)


TRANSPORTS = (Transport("vddk", from_vddk, resumes=False, parts=True, allocated=ANY),)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of vSphere as files of their datastore: by the server (HTTPS), or by the host that runs the VM (SSH)."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from dataclasses import replace
from typing import Mapping

from ..core.errors import InvalidInput
from ..core.progress import Progress
from ..disk import chain
from ..disk.machine import SourceVm
from ..transport import download, esxi, vmdk_chain
from ..transport.download import Arrived
from ..transport.https import HttpsFiles, quote
from ..transport.nbdkit import Exporting
from ..transport.ssh import SshFiles
from ..vsphere import connection
from ..vsphere.model import Vm
from .files import bring_each, in_place
from .opened import RemoteDisk
from .source import Access
from .vsphere_transport import TRACKED, Coming, Transport, Wanted

_DATASTORE_PATH = re.compile(r"^\[(.+?)\] ?(.*)$")


def volume_path(name: str) -> str:
    """The path on a host of "[datastore] dir/file"."""
    match = _DATASTORE_PATH.match(name)
    if match is None or "/" in match[1]:
        raise InvalidInput(f"{name!r} is not a path on a datastore.", "Another transport may read this disk (nfc).", path=name)
    return f"{esxi.VOLUMES}/{match[1]}/{match[2]}"


def from_files(wanted: Wanted, files: Exporting) -> Coming:
    """Disks whose files are followed from their descriptors, as these lie in `files`."""
    planned = []
    for disk in wanted.disks:
        walked = vmdk_chain.chain(files, volume_path(disk.files[0]))
        if walked.size != disk.capacity:
            raise InvalidInput(
                f"{disk.files[0]} of {wanted.point.vm.name} has {walked.size} bytes, vSphere says {disk.capacity}.",
                "The host or the datastore is not the VM's own, or its description is out of date; look at the disk in vSphere.",
                path=disk.files[0],
            )
        jobs = walked.jobs
        areas = wanted.allocated(disk) if walked.flat else None
        if areas is not None:  # offsets of the disk are those of its one flat file
            jobs = (jobs[0], replace(jobs[1], areas=download.joined(areas, files.gap)))
        planned.append(RemoteDisk(walked.size, jobs, replace(disk.place, wwn=walked.wwn), walked.flat))

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        return bring_each([(files, disk.jobs) for disk in planned], directory, progress, wanted.access)

    def local(directory: str) -> SourceVm:
        tops = [os.path.join(directory, f"disk{number}", disk.jobs[0].name) for number, disk in enumerate(planned)]
        return wanted.arrived([chain.resolve(top) for top in tops])

    return Coming(tuple(planned), bring, local, in_place(files, planned))


def from_datastore(wanted: Wanted) -> Coming:
    """Files of the datastore, by the server."""
    files = datastore(wanted.point.session, wanted.point.vm, wanted.access)
    return from_files(wanted, wanted.stack.enter_context(contextlib.closing(files)))


def from_host(wanted: Wanted) -> Coming:
    """Files of the datastore, by the host that runs the VM."""
    login = replace(wanted.access.ssh, host=wanted.access.ssh.host or wanted.point.vm.host)
    return from_files(wanted, wanted.stack.enter_context(contextlib.closing(SshFiles(login))))


def datastore(session: connection.Session, vm: Vm, access: Access) -> HttpsFiles:
    """The datastores of a VM's datacenter as files."""

    def target(path: str) -> str:
        name, dummy, rest = path[len(esxi.VOLUMES) + 1 :].partition("/")
        return f"/folder/{quote(rest)}?dcPath={urllib.parse.quote(vm.datacenter, safe='')}&dsName={urllib.parse.quote(name, safe='')}"

    def authorise(again: bool) -> Mapping[str, str]:
        if again:
            session.renew()
        return {"Cookie": session.cookie}

    endpoint = session.endpoint
    return HttpsFiles(endpoint.host, endpoint.port, session.context, target, authorise, access.proxy, anchors=session.anchors)


TRANSPORTS = (
    Transport("datastore", from_datastore, resumes=True, parts=True, allocated=TRACKED, shut_out=True, automatic=1),
    Transport("ssh", from_host, resumes=True, parts=True, allocated=TRACKED),
)

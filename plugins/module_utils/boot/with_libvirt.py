# SPDX-License-Identifier: GPL-3.0-or-later
"""A test VM run by libvirt: the very description that is to be defined, transient, under a name of its own, cut off from every network."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core import device, modes
from ..core.errors import ToolFailed
from ..disk import qemu_img
from ..targets import domain_xml, libvirtd
from .console import Serial, free_ports, opened
from .model import BootRequest
from .monitor import answer_of, established
from .qemu import networks, nics_of

PREFIX = "hyper2kvm-test-"  # of the names of test VMs
_SLOT = 0x10  # libvirt fills the PCI bus from below, and qemu places its own NICs before
_PATIENCE = 5  # seconds for the guest agent


@dataclass
class _Domain(Serial):
    """See Machine."""

    domain: Any
    host: Any
    forwarded: Mapping[int, Sequence[int]]

    def ports(self, number: int) -> Sequence[int]:
        return self.forwarded[number]

    def connected(self, port: int) -> bool:
        return established(libvirtd.human(self.domain, "info usernet"), port)

    def agent(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = answer_of(libvirtd.ask_agent(self.domain, json.dumps(command), _PATIENCE))
        if not isinstance(answer.get("return"), dict):
            raise ValueError(f"the guest agent returns nothing: {str(answer)[:80]}")
        returned: Mapping[str, Any] = answer["return"]
        return returned

    def screenshot(self) -> Optional[bytes]:
        return libvirtd.picture(self.host, self.domain)


@contextlib.contextmanager
def started(request: BootRequest, kind: str) -> Iterator[_Domain]:
    """The VM for the time of a block. libvirt itself destroys it should this process die."""
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(libvirtd.connection(request.uri))
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=".test-", dir=request.scratch))
        os.chmod(scratch, modes.PASSABLE)  # for qemu, which is a user of its own
        overlays = []
        for index, (path, fmt) in enumerate(request.disks):
            overlays.append(os.path.join(scratch, f"disk{index}.qcow2"))
            size = qemu_img.info(path, fmt).virtual_size
            qemu_img.create_overlay(overlays[-1], device.absolute(path), fmt, size, opened=path not in request.encrypted)
        forwarded = free_ports(request.reached, len(nics_of(request)))
        name = f"{PREFIX}{domain_xml.parse(request.description).findtext('name')}-{os.getpid()}"
        secret = domain_xml.secret_of(domain_xml.parse(request.description))
        if secret:
            secret = str(uuid.uuid5(uuid.UUID(secret), "test"))  # so that the next test replaces what one left that was killed
            kept = libvirtd.keep_secret(host, domain_xml.secret(secret, name, lasting=False), request.passphrase)
            stack.callback(kept.undefine)
        text = domain_xml.for_a_test(request.description, name, overlays, kind, scratch, networks(request, forwarded, _SLOT), secret)
        domain = libvirtd.start_for_a_test(host, text)
        stack.callback(libvirtd.destroy, domain)
        serial = opened(os.path.join(scratch, "serial"), lambda: bool(domain.isActive()))
        if serial is None:
            raise ToolFailed(f"The console of {name} is not there.", "See the log of qemu in /var/log/libvirt/qemu.")
        stack.enter_context(serial)
        domain.resume()
        yield _Domain(serial, domain, host, forwarded)

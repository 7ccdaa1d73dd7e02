# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt as a target: a migrated VM as one of its domains."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional

from ..core.accel import accelerator
from ..core.errors import InvalidInput, ToolFailed
from . import domain_xml, libvirtd, placement
from .target import Definition, Described, Fitted, Found, Kind, Placing, Settings, Target

_POOLS = ("dir", "fs", "netfs")  # kinds of pools whose volumes are files


@dataclass(frozen=True)
class Libvirt:
    """See Target, and Settings for the other two. `host` is a connection, see libvirtd."""

    host: Any
    pool: str = ""
    accelerator: str = "auto"

    def directory(self) -> str:
        root = domain_xml.element(self.host.storagePoolLookupByName(self.pool).XMLDesc(0))
        if root.get("type") not in _POOLS:
            raise InvalidInput(
                f"The storage pool {self.pool} is of type {root.get('type')}, and its volumes are not files.",
                "Name a pool of type dir, fs or netfs, or copy the disks into its volumes with qemu-img convert and describe the VM by hand.",
                pool=self.pool,
            )
        return str(root.findtext("target/path"))

    def read(self, text: str) -> Described:
        root = domain_xml.parse(text)
        found = tuple(domain_xml.disks(root))
        return Described(
            root.findtext("name") or "",
            tuple(path for dummy, path in found),
            networks=domain_xml.networks(root),
            vm=domain_xml.vm_in(root),
            secret=domain_xml.secret_of(root),
            encrypted=tuple(path for disk, path in found if disk.find("source/encryption") is not None),
        )

    def fit(self, text: str, places: Mapping[str, str], images: Mapping[str, str]) -> Fitted:
        kind = accelerator() if self.accelerator == "auto" else self.accelerator
        fitted = domain_xml.defined(text, places, kind, images)
        return Fitted(fitted, domain_xml.mark_of(fitted))

    def describe(self, name: str, secret: str = "") -> Optional[Found]:
        domain = libvirtd.find(self.host, name)
        if domain is None:
            return None
        text, mark = libvirtd.text_of(domain), libvirtd.mark(domain, domain_xml.MARK)
        if mark is None:
            return Found(text)
        own = domain_xml.secret_of(domain_xml.parse(text))
        kept = libvirtd.secret(self.host, own) if own else None
        return Found(
            text,
            mark=domain_xml.mark_of(mark),
            images=domain_xml.images_of(mark),
            vm=domain_xml.vm_of(libvirtd.mark(domain, domain_xml.OF_VM)),
            running=bool(domain.isActive()),
            autostart=bool(domain.autostart()),
            secret=own if kept is not None and domain_xml.is_our_secret(kept.XMLDesc(0)) else "",
            knows=bool(secret) and libvirtd.secret(self.host, secret) is not None,
            files=(libvirtd.variables(domain, name),),
        )

    def preflight(self, described: Described) -> None:
        for network in described.networks:
            if not self.host.networkLookupByName(network).isActive():
                raise InvalidInput(
                    f"The libvirt network {network}, which {described.name} needs, is not active.",
                    f"Start it (virsh net-start {network}; virsh net-autostart {network}), or name another"
                    " (migrate_libvirt_network, migrate_network_map).",
                    network=network,
                )

    def place(self, placing: Placing) -> None:
        placement.place(placing.path, placing.place, placing.kind, placing.overwrite)

    def define(self, definition: Definition) -> None:
        domain, text = libvirtd.find(self.host, definition.name), definition.text
        if definition.secret:
            secret = domain_xml.secret(definition.secret, definition.name, lasting=True)
            libvirtd.keep_secret(self.host, secret, definition.passphrase)
        if text:
            domain = self.host.defineXML(text if domain is None else domain_xml.with_uuid(text, domain.UUIDString()))
        if definition.forgotten:
            libvirtd.secret(self.host, definition.forgotten).undefine()
        if definition.autostart is not None:
            domain.setAutostart(int(definition.autostart))
        if self.pool:
            self.host.storagePoolLookupByName(self.pool).refresh(0)  # which learns only so what was placed in it

    def start(self, name: str) -> None:
        domain = libvirtd.find(self.host, name)
        if not domain.isActive():
            domain.create()

    def stop(self, name: str, timeout: float, power_off: bool) -> None:
        domain = libvirtd.find(self.host, name)
        domain.shutdown()
        deadline = time.monotonic() + timeout
        while domain.isActive() and time.monotonic() < deadline:
            time.sleep(0.5)
        if domain.isActive() and not power_off:
            raise ToolFailed(
                f"{name} did not shut down in {timeout:.0f} seconds.", "Shut it down by hand, or allow a hard power-off.", name=name
            )
        libvirtd.destroy(domain)

    def remove(self, name: str, secret: str = "") -> None:
        if secret:
            libvirtd.secret(self.host, secret).undefine()
        libvirtd.undefine(libvirtd.find(self.host, name))


class LibvirtKind:
    """See Kind."""

    scheme = ""
    libraries = ("libvirt",)

    @contextlib.contextmanager
    def opened(self, uri: str, settings: Settings) -> Iterator[Target]:
        with libvirtd.connection(uri) as host:
            yield Libvirt(host, settings.pool, settings.accelerator)


TARGET: Kind = LibvirtKind()

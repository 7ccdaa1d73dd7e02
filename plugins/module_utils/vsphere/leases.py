# SPDX-License-Identifier: GPL-3.0-or-later
"""NFC leases: the right to download a VM's disks from its host. Source: HttpNfcLease in the vSphere Web Services API reference."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional

from ..core.errors import MigrationError, ToolFailed
from ..core.urls import split
from .connection import PYVMOMI_ERROR, Session
from .inventory import managed
from .model import Vm

if PYVMOMI_ERROR is None:
    from pyVmomi import vim


@dataclass(frozen=True)
class LeasedDisk:
    """A disk of a lease: where its host offers it, in the order of the VM's disks. `thumbprint` of that host, if the server says it."""

    key: str
    host: str
    port: int
    target: str
    thumbprint: str = ""


@dataclass
class Lease:
    """A lease that is held. `renew` is told how far the transfer is (0 to 100); `digests` are asked for once it is complete."""

    disks: tuple[LeasedDisk, ...]
    percent: int = 0
    _entity: Any = None
    _session: Optional[Session] = None

    def digests(self) -> Mapping[str, tuple[str, int]]:
        """SHA-1 and size of each file as the host sent it, by key; empty where the host keeps no manifest."""
        if self._session is None:
            return {}
        try:
            entries = self._session.call(self._entity.HttpNfcLeaseGetManifest)
        except MigrationError:
            return {}
        return {entry.key: (str(entry.sha1).lower(), int(entry.size)) for entry in entries or () if entry.sha1}


@contextlib.contextmanager
def held(session: Session, vm: Vm, snapshot: str = "", ready: float = 300.0) -> Iterator[Lease]:
    """A lease for a block: renewed while it lasts, completed at its end, aborted when the block fails."""
    entity = vim.vm.Snapshot(snapshot, managed(session, vm.id)._stub) if snapshot else managed(session, vm.id)
    lease = session.call(entity.ExportSnapshot if snapshot else entity.ExportVm)
    done = threading.Event()
    try:
        info = _ready(session, lease, ready)
        taken = Lease(tuple(_disks(session, info)), 0, lease, session)
        every = max(1.0, min(60.0, info.leaseTimeout / 3))
        keeper = threading.Thread(target=_keep, args=(session, lease, taken, every, done), daemon=True)
        keeper.start()
        yield taken
    except BaseException:
        done.set()
        with contextlib.suppress(Exception):
            lease.HttpNfcLeaseAbort()
        raise
    done.set()
    keeper.join(5.0)
    session.call(lease.HttpNfcLeaseComplete)


def _ready(session: Session, lease: Any, timeout: float) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        state = session.call(lambda: lease.state)
        if state == "ready":
            return session.call(lambda: lease.info)
        if state == "error":
            said = session.call(lambda: lease.error)
            raise ToolFailed(
                f"{session.endpoint.host} gives no NFC lease: {getattr(said, 'msg', '') or 'it gives no reason'}.",
                "Check the recent tasks of the VM; another transport does not need a lease.",
            )
        time.sleep(0.5)
    raise ToolFailed(f"{session.endpoint.host} gave no NFC lease within {timeout:.0f} seconds.", "Its host may serve too many; try later.")


def _keep(session: Session, entity: Any, lease: Lease, every: float, done: threading.Event) -> None:
    """A lease ends by itself unless progress is reported in time; the same number again will do."""
    while not done.wait(every):
        with contextlib.suppress(Exception):
            session.call(functools.partial(entity.HttpNfcLeaseProgress, min(99, lease.percent)))


def _disks(session: Session, info: Any) -> Iterator[LeasedDisk]:
    for item in info.deviceUrl or ():
        if not item.disk:
            continue
        parts = split(str(item.url).replace("//*", "//localhost", 1), "Choose another transport (migrate_transport).")
        host = session.endpoint.host if "//*" in str(item.url) else parts.hostname or session.endpoint.host
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        yield LeasedDisk(str(item.key), host, parts.port or 443, target, str(item.sslThumbprint or ""))

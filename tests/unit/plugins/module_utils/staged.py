# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest in memory behind an appliance that mounts nothing, so that whole sessions of pipeline/repair run on it."""

from __future__ import annotations

import contextlib
from typing import Iterator, Mapping

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import assemble
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Mount
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.parttable import Table
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.resolver import DeviceTable
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import repair


class Handle:
    """Every call succeeds and does nothing, but that only one device mounts as the root of a Linux."""

    def __init__(self, root: str) -> None:
        self.root = root

    def mount(self, device: str, path: str) -> None:
        if path == "/" and device != self.root:
            raise RuntimeError(f"{device} is no file system of this guest")

    def mount_options(self, options: str, device: str, path: str) -> None:
        self.mount(device, path)

    def __getattr__(self, name: str):
        return lambda *dummy: True


class Staged(MemoryGuest):
    """What OfflineGuest has beside the protocols; the files of `made` are seen whatever is mounted."""

    def __init__(self, made: MemoryGuest, tables: Mapping[str, Table], root: str = "") -> None:
        super().__init__(made.files, made.names, made.raw)
        self.handle, self.tables, self.table = Handle(root), dict(tables), DeviceTable((), made.devices())
        self.mounts: tuple[Mount, ...] = ()
        self.subvolume, self.unmounted, self.locked, self.grown = "", (), (), ()

    def free(self, path: str) -> tuple[int, int]:
        return 1 << 40, -1

    def trim(self) -> None:
        pass

    def forget(self) -> None:
        pass


def attach(guest: Staged, monkeypatch: pytest.MonkeyPatch, locked: tuple[str, ...] = ()) -> None:
    """From now on this guest is what every session finds on its disks."""

    @contextlib.contextmanager
    def open_disks(*dummy: object) -> Iterator[Staged]:
        yield guest

    monkeypatch.setattr(repair, "open_disks", open_disks)
    monkeypatch.setattr(assemble, "discover", lambda *dummy: [device for device in guest.devices() if device.uuid in locked])

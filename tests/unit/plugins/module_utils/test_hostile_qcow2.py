# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow2 headers that qemu would refuse without a remedy, or read for minutes, are refused before; and no failure of a tool is without a remedy."""

from __future__ import annotations

import io
import struct

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, TimedOut, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import qcow2

CLUSTER, SIZE = 1 << 16, 8 << 20


def header(entries: int = 1, snapshots: int = 0, listed: int = 0, length: int = 104) -> bytes:
    head = struct.pack(">4sIQIIQIIQQ", b"QFI\xfb", 3, 0, 0, 16, SIZE, 0, entries, CLUSTER, 2 * CLUSTER)
    return head + struct.pack(">IIQ", 1, snapshots, listed) + struct.pack(">QQQII", 0, 0, 0, 4, length)


class Long(io.BytesIO):
    """As long as any table asks for, without taking the memory."""

    def seek(self, offset: int, whence: int = 0) -> int:
        super().seek(offset, whence)
        return 1 << 40 if whence == 2 else offset


IMPOSSIBLE = {
    "more snapshots than anybody makes": header(snapshots=65535, listed=3 * CLUSTER),
    "a list of snapshots in the header": header(snapshots=1, listed=8),
    "a list of snapshots behind the end": header(snapshots=1, listed=1 << 50),
    "a list of snapshots that is not aligned": header(snapshots=1, listed=3 * CLUSTER + 1),
    "a first table of gigabytes": header(entries=limits.QCOW2_TABLE // 8 + 1),
    "a header longer than a cluster": header(length=CLUSTER + 8),
    "a header of gigabytes": header(length=0xFFFFFFF8),
    "a header that is too short": header(length=72),
}


@pytest.mark.parametrize("data", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_it_is_refused(data):
    with pytest.raises(InvalidInput, match="impossible") as refused:
        qcow2.read(Long(data), "disk.qcow2")
    assert refused.value.hint


@pytest.mark.parametrize(
    "data", [header(), header(snapshots=3, listed=3 * CLUSTER), header(length=112), header(entries=limits.QCOW2_TABLE // 8)]
)
def test_what_qemu_takes_is_taken(data):
    assert qcow2.read(Long(data + bytes(64)), "disk.qcow2").size == SIZE


def test_no_failure_of_a_tool_is_without_a_remedy():
    for kind in (ToolFailed, TimedOut):
        assert kind("qemu-img failed").hint and kind("qemu-img failed", "Look there.").hint == "Look there."

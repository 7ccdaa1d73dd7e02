# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of EBS as a file: its bytes, whatever of it is asked for, and no list of it held; lists that cannot be are refused."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.ebs import EbsFiles

BLOCK = 512 << 10
BLOCKS = (1 << 30) // BLOCK


class Client:
    """A snapshot of 1 GiB with these blocks, listed `page` at a time."""

    def __init__(self, listed: list[int], page: int) -> None:
        self.listed, self.page = listed, page
        self.answered = 0

    def content(self, index: int) -> bytes:
        return index.to_bytes(4, "big") * (BLOCK // 4)

    def list_snapshot_blocks(self, **given: Any) -> dict[str, Any]:
        first = int(given.get("NextToken") or given.get("StartingBlockIndex", -1))
        there = [index for index in self.listed if index >= first]
        blocks = [{"BlockIndex": index, "BlockToken": f"token {index}"} for index in there[: self.page]]
        self.answered += len(blocks)
        more = {"NextToken": str(there[self.page])} if len(there) > self.page else {}
        return {"BlockSize": BLOCK, "VolumeSize": 1, "Blocks": blocks, **more}

    def get_snapshot_block(self, **given: Any) -> dict[str, Any]:
        assert given["BlockToken"] == f"token {given['BlockIndex']}"
        data = self.content(given["BlockIndex"])
        return {"BlockData": io.BytesIO(data), "Checksum": base64.b64encode(hashlib.sha256(data).digest()).decode()}


@given(
    st.sets(st.integers(0, 30)),
    st.integers(1, 7),
    st.lists(st.tuples(st.integers(0, 31 * BLOCK), st.integers(1, 3 * BLOCK)), min_size=1, max_size=3),
)
def test_what_is_asked_for_is_what_is_there(indexes, page, wanted):
    client = Client(sorted(indexes), page)
    areas, end = [], 0
    for start, length in sorted(wanted):
        areas += [(max(start, end), length)]
        end = sum(areas[-1])
    with contextlib.closing(EbsFiles(client, "snap-1")) as files:
        assert files.stat("").size == 1 << 30 and files.areas is not None
        assert {at // BLOCK for start, length in files.areas for at in range(start, start + length, BLOCK)} == indexes
        got = b"".join(map(bytes, files.stream("", areas)))
    expected = b""
    for start, length in areas:
        first, last = start // BLOCK, (start + length - 1) // BLOCK
        whole = b"".join(client.content(index) if index in indexes else bytes(BLOCK) for index in range(first, last + 1))
        expected += whole[start - first * BLOCK :][:length]
    assert got == expected


def test_a_part_is_read_with_the_list_of_that_part():
    client = Client(list(range(BLOCKS)), 100)
    with contextlib.closing(EbsFiles(client, "snap-1")) as files:
        assert files.stat("").size == 1 << 30 and files.areas == ((0, 1 << 30),)
        before = client.answered
        assert len(b"".join(map(bytes, files.stream("", [(700 * BLOCK, 4 * BLOCK)])))) == 4 * BLOCK
        assert client.answered - before == 100


@pytest.mark.parametrize("listed", [[3, 3], [5, 4], [BLOCKS], [-1]])
def test_a_list_that_cannot_be_is_refused(listed):
    with contextlib.closing(EbsFiles(Client(listed, 10), "snap-1")) as files, pytest.raises(InvalidInput, match="not in it, or twice"):
        files.stat("")

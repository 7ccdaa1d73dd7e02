# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of EBS as a file. Source: EBS direct APIs, ListSnapshotBlocks and GetSnapshotBlock."""

from __future__ import annotations

import base64
import collections
import contextlib
import functools
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping

from ..core.errors import InvalidInput
from .aws_api import ask, client
from .download import Job, joined
from .files import MIB, Areas, Files, Interrupted, RemoteFile, patiently

with contextlib.suppress(ImportError):  # aws_api says what is missing
    from botocore.exceptions import HTTPClientError

_AT_ONCE = 8  # blocks of one stream on their way: an answer has 512 KiB and takes tens of milliseconds


def readable(region: str, snapshot: str, name: str, stack: contextlib.ExitStack) -> tuple[Files, Job]:
    """A snapshot as a file that becomes `name`, and the blocks of it that are wanted."""
    files = stack.enter_context(contextlib.closing(EbsFiles(client(region, "ebs"), snapshot)))
    seen = patiently(lambda: files.stat(name), name)
    areas = [(index * files.block, min(files.block, seen.size - index * files.block)) for index in sorted(files.tokens)]
    return files, Job(name, name, seen.size, seen.stamp, joined(areas, files.gap))


@dataclass
class EbsFiles:
    """A snapshot as a file, see Files. Only blocks with data are there; `tokens` are what opens each of them, by its number."""

    client: Any
    snapshot: str
    run: int = 64 * MIB
    gap: int = 0
    block: int = 512 << 10
    tokens: dict[int, str] = field(default_factory=dict, repr=False)
    size: int = 0

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(4 * _AT_ONCE)

    def stat(self, path: str) -> RemoteFile:
        """The list of blocks is asked for once: a snapshot does not change."""
        if not self.size:
            size = 0
            for page in self._pages():
                self.block, size = page["BlockSize"], page["VolumeSize"] << 30
                self.tokens.update((one["BlockIndex"], one["BlockToken"]) for one in page["Blocks"])
            if any(not 0 <= index * self.block < size for index in self.tokens):
                raise InvalidInput(
                    f"AWS lists blocks of {self.snapshot} that are not in it.", "Run again; if it stays, take another snapshot."
                )
            self.size = size
        return RemoteFile(self.size, self.snapshot)

    def _pages(self) -> Iterator[Mapping[str, Any]]:
        page = ask(functools.partial(self.client.list_snapshot_blocks, SnapshotId=self.snapshot))
        yield page
        while page.get("NextToken"):
            page = ask(functools.partial(self.client.list_snapshot_blocks, SnapshotId=self.snapshot, NextToken=page["NextToken"]))
            yield page

    def stream(self, path: str, areas: Areas, stamp: str = "") -> Iterator[memoryview]:
        """Several blocks are on their way at once, and come in their order."""
        parts = (
            (at, min(start + length, (at // self.block + 1) * self.block)) for start, length in areas for at in self._edges(start, length)
        )
        waiting: collections.deque[tuple[int, int, Future[bytes]]] = collections.deque()
        try:
            for begin, end in parts:
                waiting.append((begin, end, self._pool.submit(self._fetched, begin // self.block)))
                if len(waiting) >= _AT_ONCE:
                    yield self._part(*waiting.popleft())
            while waiting:
                yield self._part(*waiting.popleft())
        finally:
            for dummy, dummy, future in waiting:
                future.cancel()

    def _edges(self, start: int, length: int) -> Iterator[int]:
        """Where an area begins, and where each block within it does."""
        yield start
        yield from range((start // self.block + 1) * self.block, start + length, self.block)

    def _part(self, begin: int, end: int, future: Future[bytes]) -> memoryview:
        inside = begin % self.block
        return memoryview(future.result())[inside : inside + end - begin]

    def _fetched(self, index: int) -> bytes:
        token = self.tokens.get(index)
        if token is None:
            return bytes(self.block)
        answer = ask(lambda: self.client.get_snapshot_block(SnapshotId=self.snapshot, BlockIndex=index, BlockToken=token))
        try:
            data: bytes = answer["BlockData"].read()
        except (HTTPClientError, OSError) as error:
            raise Interrupted(f"block {index} of {self.snapshot}: {error or type(error).__name__}") from error
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        if len(data) != self.block or answer.get("Checksum", digest) != digest:
            raise Interrupted(f"block {index} of {self.snapshot} did not arrive as it was sent")
        return data

    def close(self) -> None:
        self._pool.shutdown(wait=True)

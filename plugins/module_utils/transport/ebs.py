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
from typing import Any, Iterator, Mapping, Optional

from ..core.errors import InvalidInput
from .aws_api import ask, client
from .download import Job, joined
from .files import MIB, Areas, Files, Interrupted, RemoteFile, patiently

with contextlib.suppress(ImportError):  # aws_api says what is missing
    from botocore.exceptions import HTTPClientError

_LEAST, _MOST = 100, 10_000  # blocks that AWS lists in one answer
_AT_ONCE = 8  # blocks of one stream on their way: an answer has 512 KiB and takes tens of milliseconds


def readable(region: str, snapshot: str, name: str, stack: contextlib.ExitStack) -> tuple[Files, Job]:
    """A snapshot as a file that becomes `name`, and the blocks of it that are wanted."""
    files = stack.enter_context(contextlib.closing(EbsFiles(client(region, "ebs"), snapshot)))
    seen = patiently(lambda: files.stat(name), name)
    return files, Job(name, name, seen.size, seen.stamp, files.areas)


@dataclass
class EbsFiles:
    """A snapshot as a file, see Files. Only blocks with data are there; `areas` is where they are, once they are known.

    What opens a block is asked for with the blocks around it: the list of a full volume of 1 TiB has two million of them.
    """

    client: Any
    snapshot: str
    run: int = 64 * MIB
    gap: int = 0
    block: int = 512 << 10
    size: int = 0
    areas: Optional[tuple[tuple[int, int], ...]] = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(4 * _AT_ONCE)

    def stat(self, path: str) -> RemoteFile:
        """Where data are is asked for once: a snapshot does not change."""
        if self.areas is None:
            self.areas = joined(self._listed(), self.gap)
        return RemoteFile(self.size, self.snapshot)

    def _listed(self) -> Iterator[tuple[int, int]]:
        last = -1
        for page in self._pages():
            self.block, self.size = page["BlockSize"], page["VolumeSize"] << 30
            for one in page["Blocks"]:
                before, last = last, one["BlockIndex"]
                if not before < last < -(-self.size // self.block):
                    raise InvalidInput(
                        f"AWS lists blocks of {self.snapshot} that are not in it, or twice.",
                        "Run again; if it stays, take another snapshot.",
                    )
                yield last * self.block, min(self.block, self.size - last * self.block)

    def _pages(self, **given: int) -> Iterator[Mapping[str, Any]]:
        more: dict[str, Any] = {**given}
        while True:
            page = ask(functools.partial(self.client.list_snapshot_blocks, SnapshotId=self.snapshot, **more))
            yield page
            if not page.get("NextToken"):
                return
            more["NextToken"] = page["NextToken"]

    def _tokens(self, areas: Areas) -> dict[int, str]:
        """What opens the blocks of these areas."""
        first, last = areas[0][0] // self.block, (sum(areas[-1]) - 1) // self.block
        wanted = {index for start, length in areas for index in range(start // self.block, (start + length - 1) // self.block + 1)}
        found: dict[int, str] = {}
        for page in self._pages(StartingBlockIndex=first, MaxResults=min(max(len(wanted), _LEAST), _MOST)):
            found.update((one["BlockIndex"], one["BlockToken"]) for one in page["Blocks"] if one["BlockIndex"] in wanted)
            if page["Blocks"] and page["Blocks"][-1]["BlockIndex"] >= last:
                break
        return found

    def stream(self, path: str, areas: Areas, stamp: str = "") -> Iterator[memoryview]:
        """Several blocks are on their way at once, and come in their order."""
        tokens = self._tokens(areas)
        parts = (
            (at, min(start + length, (at // self.block + 1) * self.block)) for start, length in areas for at in self._edges(start, length)
        )
        waiting: collections.deque[tuple[int, int, Future[bytes]]] = collections.deque()
        try:
            for begin, end in parts:
                waiting.append((begin, end, self._pool.submit(self._fetched, begin // self.block, tokens.get(begin // self.block))))
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

    def _fetched(self, index: int, token: Optional[str]) -> bytes:
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

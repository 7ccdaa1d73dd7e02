# SPDX-License-Identifier: GPL-3.0-or-later
"""Files brought here: in pieces that are checked, by several workers, without writing zeros, and going on where a killed run ended.

Beside each file that is on its way lies a journal: one line for each piece that has arrived, with its digest. A later run believes a
line only after it has read the piece again and found the same digest. The file gets its name when all of it is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator, Optional, Sequence

from ..core import atomic, direct, modes, names
from ..core.errors import InvalidInput, TransferFailed, naming
from ..core.numbers import decimal
from ..core.progress import Progress
from .files import MIB, TRIES, Areas, Files, Interrupted, changed, patiently, pause

PIECE = 64 * MIB
_MANY = 256


@dataclass(frozen=True)
class Job:
    """A file to bring: where it is, its plain name here, its size and stamp there.

    `areas` are (offset, length) in bytes of what holds data; the rest reads as zeros and is not asked for. None: all of it.
    """

    path: str
    name: str
    size: int
    stamp: str
    areas: Optional[Areas] = None
    ranged: bool = True

    def __post_init__(self) -> None:
        names.of_file(self.name)

    def pieces(self) -> tuple[tuple[int, int], ...]:
        """(offset, length) of what is transferred at once. Without ranges that is everything."""
        if not self.ranged:
            return ((0, self.size),)
        return tuple((at, min(PIECE, start + length - at)) for start, length in self._areas() for at in range(start, start + length, PIECE))

    @property
    def wanted(self) -> int:
        """Bytes that are transferred. Known without listing the pieces: a size may be a lie."""
        return sum(length for dummy, length in self._areas())

    def _areas(self) -> Areas:
        return ((0, self.size),) if self.areas is None or not self.ranged else self.areas


@dataclass(frozen=True)
class Arrived:
    """A file that is here: bytes it has, bytes that crossed the wire in this run, and a digest of its pieces (`tree_sha256`)."""

    name: str
    size: int
    transferred: int
    digest: str

    def as_result(self) -> dict[str, Any]:
        return {"name": self.name, "size": self.size, "transferred": self.transferred, "tree_sha256": self.digest}


@dataclass
class Throttle:
    """At most `rate` bytes a second over all workers; 0 is no limit."""

    rate: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _free_at: float = 0.0

    def take(self, count: int) -> None:
        if not self.rate:
            return
        with self._lock:
            now = time.monotonic()
            pause = max(0.0, self._free_at - now)
            self._free_at = max(now, self._free_at) + count / self.rate
        time.sleep(pause)


@dataclass
class _Meter:
    """Bytes of all workers, told to the progress from one place at a time."""

    progress: Progress
    done: int = 0
    transferred: int = 0
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int, wire: bool = True) -> None:
        with self._lock:
            self.done += count
            self.transferred += count if wire else 0
            self.progress.update(self.done)


def download(
    files: Files, jobs: Sequence[Job], directory: str, progress: Progress, workers: int = 2, throttle: Optional[Throttle] = None
) -> tuple[Arrived, ...]:
    """Bring every file of `jobs` into `directory`.

    Raises TransferFailed after repeated tries, SourceChanged when a file there changes meanwhile, NotEnoughSpace beforehand. What has
    arrived stays, without its final name.
    """
    modes.make_directory(directory)
    atomic.need_space(directory, missing(jobs, directory), "The copy of the source")
    progress.phase("fetch", sum(job.wanted for job in jobs))
    meter = _Meter(progress)
    return tuple(_bring(files, job, directory, meter, workers, throttle or Throttle()) for job in jobs)


def missing(jobs: Sequence[Job], directory: str) -> int:
    """Bytes that are still to be written there, at most."""
    return max(0, sum(job.wanted for job in jobs) - sum(_occupied(os.path.join(directory, job.name)) for job in jobs))


def _occupied(path: str) -> int:
    return sum(os.stat(name).st_blocks * 512 for name in (path, path + atomic.PARTIAL) if os.path.exists(name))


def _bring(files: Files, job: Job, directory: str, meter: _Meter, workers: int, throttle: Throttle) -> Arrived:
    final = os.path.join(directory, job.name)
    journal = _Journal(final + ".journal", job)
    before = meter.transferred
    if os.path.exists(final) and journal.complete():
        meter.add(job.wanted, wire=False)
        return Arrived(job.name, job.size, 0, journal.digest())
    file = direct.File(final + atomic.PARTIAL)
    try:
        journal.believe(file.fd)
        if not journal.pieces:  # what an older attempt left must not show through holes
            file.resize(0)
        file.resize(job.size)
        meter.add(sum(length for offset, length in job.pieces() if offset in journal.pieces), wire=False)
        todo = [piece for piece in job.pieces() if piece[0] not in journal.pieces]
        meter.stopped = False
        with ThreadPoolExecutor(max(1, workers)) as pool:
            runs = (_Run(files, job, file, run, journal, meter, throttle) for run in _runs(todo, files.run))
            running = [pool.submit(run.bring) for run in runs]
            try:
                finished, dummy = wait(running, return_when=FIRST_EXCEPTION)
                failed = next((future for future in finished if future.exception()), None)
            finally:  # also when this thread is told to end: the pool would wait for everything that is still to come
                meter.stopped = True
                for future in running:
                    future.cancel()
        if failed is not None:
            failed.result()
        file.flush()
    finally:
        file.close()
        journal.close()
    if patiently(lambda: files.stat(job.path), job.path).stamp != job.stamp:
        raise changed(job.path)
    atomic.publish(final + atomic.PARTIAL, final)
    return Arrived(job.name, job.size, meter.transferred - before, journal.digest())


def joined(areas: Iterable[tuple[int, int]], gap: int) -> tuple[tuple[int, int], ...]:
    """Areas in their order, with holes of at most `gap` bytes between them read rather than asked around."""
    found: list[tuple[int, int]] = []
    for start, length in areas:
        if found and start - sum(found[-1]) <= gap:
            found[-1] = (found[-1][0], start + length - found[-1][0])
        else:
            found.append((start, length))
    return tuple(found)


def _runs(pieces: Sequence[tuple[int, int]], longest: int) -> Iterator[list[tuple[int, int]]]:
    """Pieces that one request brings: together at most `longest` bytes, and no more than fit a command line."""
    run: list[tuple[int, int]] = []
    for piece in pieces:
        if run and (len(run) == _MANY or sum(length for dummy, length in run) + piece[1] > longest):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


@dataclass
class _Run:
    """One request's pieces on their way: how far they are, and the digest of the one that is arriving."""

    files: Files
    job: Job
    file: direct.File
    pieces: list[tuple[int, int]]
    journal: _Journal
    meter: _Meter
    throttle: Throttle

    def __post_init__(self) -> None:
        self.at = self.pieces[0][0]
        self.digest = hashlib.sha256()

    def bring(self) -> None:
        """To the end, unless another run has failed: then nothing more is begun."""
        try:
            self._bring()
        except BaseException:
            self.meter.stopped = True
            raise

    def _bring(self) -> None:
        """Resumed at the byte where it broke off. Without ranges it begins anew."""
        tries, window = 0, direct.Window(self.file)
        while self.pieces and not self.meter.stopped:
            begin = self.at
            (start, length), rest = self.pieces[0], self.pieces[1:]
            try:
                for block in self.files.stream(self.job.path, [(self.at, start + length - self.at), *rest], self.job.stamp):
                    if self.meter.stopped:
                        return
                    self.throttle.take(len(block))
                    self._take(block, window)
            except Interrupted as error:
                tries = 0 if self.at != begin and self.job.ranged else tries + 1
                if tries >= TRIES:
                    raise TransferFailed(
                        f"{self.job.path} could not be read further than byte {self.at} after {tries} tries: {error}.",
                        "Check the network path to the source and its health, then run again: what has arrived is kept.",
                        path=self.job.path,
                        offset=self.at,
                    ) from error
                pause(tries, error.after)
                if not self.job.ranged:
                    self.meter.add(self.pieces[0][0] - self.at, wire=False)
                    self.__post_init__()
                    window.drop()

    def _take(self, block: memoryview, window: direct.Window) -> None:
        """Write what has come, and note each piece that is whole with it."""
        while block:
            start, length = self.pieces[0]
            part = block[: start + length - self.at]
            window.put(part, self.at)
            self.digest.update(part)
            self.at += len(part)
            self.meter.add(len(part))
            if self.at == start + length:
                window.flush()
                self.journal.add(start, self.digest.hexdigest())
                os.posix_fadvise(self.file.fd, start, length, os.POSIX_FADV_DONTNEED)  # where the page cache is used: begins to write now
                self.digest = hashlib.sha256()
                self.pieces.pop(0)
                self.at = self.pieces[0][0] if self.pieces else self.at
            block = block[len(part) :]


class _Journal:
    """What has arrived of one file. Lines of another source, size or map are worth nothing."""

    def __init__(self, path: str, job: Job) -> None:
        self.path = path
        self.job = job
        self.pieces: dict[int, str] = {}
        self._lock = threading.Lock()
        self._fd = -1
        self._head = json.dumps(
            {"path": job.path, "size": job.size, "stamp": job.stamp, "pieces": _digest_of(job.pieces())}, sort_keys=True
        )
        self._valid = self._read()

    def _read(self) -> bool:
        text = atomic.read_text(self.path)
        if text is None:
            return False
        lines = text.split("\n")
        if lines[0] != self._head:
            return False
        for line in lines[1:-1]:  # the last one is empty, or was cut off
            offset, dummy, digest = line.partition(" ")
            begin = decimal(offset)
            if begin is not None and len(digest) == 64:
                self.pieces[begin] = digest
        return True

    def complete(self) -> bool:
        return self._valid and all(offset in self.pieces for offset, dummy in self.job.pieces())

    def believe(self, fd: int) -> None:
        """Keep the lines whose bytes are really here, and open the journal for more."""
        lengths = dict(self.job.pieces())
        self.pieces = {at: digest for at, digest in self.pieces.items() if at in lengths and _sha256(fd, at, lengths[at]) == digest}
        text = "".join([self._head, "\n", *(f"{offset} {digest}\n" for offset, digest in sorted(self.pieces.items()))])
        atomic.write_text(self.path, text, 0o600)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def add(self, offset: int, digest: str) -> None:
        with self._lock:
            self.pieces[offset] = digest
            with naming(self.path):
                os.write(self._fd, f"{offset} {digest}\n".encode("ascii"))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def digest(self) -> str:
        """SHA-256 over the lines "offset digest" of all pieces in their order."""
        return _digest_of(sorted(self.pieces.items()))


def _digest_of(items: Sequence[Any]) -> str:
    return hashlib.sha256("".join(f"{first} {second}\n" for first, second in items).encode("ascii")).hexdigest()


def _sha256(fd: int, offset: int, length: int) -> str:
    digest = hashlib.sha256()
    for block in _blocks(fd, offset, length):
        digest.update(block)
    return digest.hexdigest()


def _blocks(fd: int, offset: int, length: int) -> Iterator[bytes]:
    while length:
        block = os.pread(fd, min(MIB, length), offset)
        if not block:
            return
        yield block
        offset, length = offset + len(block), length - len(block)


def check_names(jobs: Sequence[Job]) -> None:
    """Two files must not have one name here."""
    wanted = [job.name for job in jobs]
    for name in wanted:
        if wanted.count(name) > 1:
            raise InvalidInput(f"Two files of one disk have the name {name}.", "Rename one of them at the source.", name=name)

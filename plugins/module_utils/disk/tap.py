# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk read by one program, and its content digested on the way: qemu-nbd opens it, and what it answers passes through here to whoever copies.

Nothing is read twice, and the digest is of the bytes that the copy got. What is sent is parsed only as far as data are told from the rest.
Source: the NBD protocol (doc/proto.md of NetworkBlockDevice/nbd): option replies, structured replies, extended headers.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator

from ..core import atomic, process
from ..core.errors import ToolFailed
from . import qemu_img
from .content import Content

_READY = 60.0  # seconds
_GREETING, _OPTION_REPLY, _SIMPLE = 18, 20, 16
_STRUCTURED_MAGIC, _EXTENDED_MAGIC, _SIMPLE_MAGIC, _OPTION_MAGIC = 0x668E33EF, 0x6E8A278C, 0x67446698, 0x0003E889
_OFFSET_DATA = 1
_LARGEST = 64 << 20  # bytes of one reply; qemu sends 32 MiB at most
_WORKERS, _WAITING = 2, 16
_BUFFER = 4 << 20
Sink = Callable[[int, memoryview], None]


@contextlib.contextmanager
def tapped(path: str, fmt: str, content: Content, key: str = "") -> Iterator[str]:
    """What qemu opens, as raw, instead of the image at `path`; what is read of it gets into `content`, which is complete after the block.

    `key`: the file with the passphrase of an encrypted image. Raises ToolFailed with qemu's reason for an image that cannot be read.
    """
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="hyper2kvm-tap-"))
        server, ready, words, ours = (os.path.join(scratch, name) for name in ("s", "pid", "words", "t"))
        how, name = qemu_img.named(path, fmt, key)
        with open(words, "wb") as said:
            child = process.start(
                ["qemu-nbd", "--read-only", "--persistent", "--shared=4", f"--socket={server}", f"--pid-file={ready}", *how, name],
                stdout=said,
                stderr=said,
            )
        stack.callback(process.stop, child)
        if not process.appears(ready, child, _READY):
            raise ToolFailed(f"qemu-nbd does not open {path}: {_said(words)}", "Check the files of the source.", path=path)
        pool = stack.enter_context(ThreadPoolExecutor(_WORKERS))
        try:
            with _listening(ours, server, _digesting(content, pool)):
                yield f"nbd+unix:///?socket={ours}"
        except ToolFailed as error:
            reason = _said(words)
            raise type(error)(f"{error.msg} The reason: {reason}", error.hint, **error.details) if reason else error from error


def digest(path: str, fmt: str, size: int, key: str = "") -> str:
    """The digest of the content (see `content`) of a disk of `size` bytes that lies in an image or on a device."""
    content = Content(size)
    with tapped(path, fmt, content, key) as name:
        qemu_img.read_through(name, size)
    return content.digest()


def _said(words: str) -> str:
    return (atomic.read_text(words) or "").strip()[-1000:]


def _digesting(content: Content, pool: ThreadPoolExecutor) -> Sink:
    """What takes data as they come, and waits when too many of them are not digested yet."""
    room = threading.Semaphore(_WAITING)

    def sink(offset: int, data: memoryview) -> None:
        def work() -> None:
            try:
                content.part(offset, data)
            finally:
                room.release()

        room.acquire()  # pylint: disable=consider-using-with
        pool.submit(work)

    return sink


@contextlib.contextmanager
def _listening(ours: str, server: str, sink: Sink) -> Iterator[None]:
    """Relay every connection to the socket `ours` to the one at `server`. All have ended after the block."""
    threads: list[threading.Thread] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(ours)
        listener.listen()

        def accept() -> None:
            with contextlib.suppress(OSError):  # the listener is closed
                while True:
                    client, dummy = listener.accept()
                    threads.append(threading.Thread(target=_relay, args=(client, server, sink), daemon=True))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def _relay(client: socket.socket, server: str, sink: Sink) -> None:
    with client, socket.socket(socket.AF_UNIX) as upstream:
        for end in (client, upstream):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        with contextlib.suppress(OSError, EOFError):  # either end is gone: so is the other then, which its program reports
            upstream.connect(server)
            asking = threading.Thread(target=_pass_on, args=(client, upstream), daemon=True)
            asking.start()
            try:
                answers(upstream, client, sink)
            finally:
                for end in (client, upstream):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                asking.join()


def _pass_on(client: socket.socket, upstream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            data = client.recv(1 << 16)
            if not data:
                break
            upstream.sendall(data)
        upstream.shutdown(socket.SHUT_WR)


def answers(upstream: socket.socket, client: socket.socket, sink: Sink) -> None:
    """Pass on what a server says, and show the data of it to `sink`. Raises EOFError at the end, and for what is no answer of NBD."""
    client.sendall(_read(upstream, _GREETING))
    while True:
        head = _read(upstream, _SIMPLE)
        (magic,) = struct.unpack_from(">I", head)
        kind = 0
        if magic == _SIMPLE_MAGIC:
            length = 0
        elif magic == _OPTION_MAGIC:
            head += _read(upstream, _OPTION_REPLY - len(head))
            (length,) = struct.unpack_from(">I", head, 16)
        elif magic == _STRUCTURED_MAGIC:
            head += _read(upstream, 4)
            kind, length = struct.unpack_from(">6xH8xI", head)
        elif magic == _EXTENDED_MAGIC:
            head += _read(upstream, 16)
            kind, length = struct.unpack_from(">6xH16xQ", head)
        else:
            raise EOFError
        if length > _LARGEST:
            raise EOFError
        rest = _read(upstream, length)
        client.sendall(head)
        client.sendall(rest)
        if kind == _OFFSET_DATA and magic in (_STRUCTURED_MAGIC, _EXTENDED_MAGIC):
            sink(struct.unpack_from(">Q", rest)[0], memoryview(rest)[8:])


def _read(end: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = end.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return data


if __name__ == "__main__":
    sys.stdout.write(digest(sys.argv[1], sys.argv[2], qemu_img.info(sys.argv[1], sys.argv[2]).virtual_size) + "\n")

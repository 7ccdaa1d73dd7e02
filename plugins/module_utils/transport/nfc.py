# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks as a host sends them under an NFC lease: one stream without a length and without ranges, so what breaks begins anew."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import ssl
import time
from typing import Mapping, Optional

from ..core import atomic, direct, limits, modes
from ..core.errors import AccessDenied, NotEnoughSpace, TransferFailed
from ..core.progress import Progress
from ..core.tls import https_connection
from .download import Arrived, Throttle
from .files import MIB

NAME = "disk.vmdk"
_TRIES = 4
_BROKEN = (http.client.HTTPException, OSError)
# "Virtual Disk Format 5.0": a header that leaves the place of its grain directory to a footer, and the marker that ends such a stream.
_AT_END = b"\xff" * 8
_AT = slice(56, 64)
_EOS = bytes(512)


def receive(
    host: str,
    port: int,
    target: str,
    context: ssl.SSLContext,
    headers: Mapping[str, str],
    directory: str,
    progress: Progress,
    throttle: Throttle,
    proxy: Optional[tuple[str, int]] = None,
) -> Arrived:
    """Bring one disk as `disk.vmdk` into `directory`; its digest is the SHA-1 that vSphere's manifests have.

    Raises TransferFailed after repeated tries. A stream that ends early is noticed: its chunks have an end, and the disk has one.
    """
    modes.make_directory(directory)
    final = os.path.join(directory, NAME)
    why: object = ""
    for tries in range(1, _TRIES + 1):
        try:
            size, digest = _receive(host, port, target, context, headers, final + atomic.PARTIAL, progress, throttle, proxy)
            atomic.publish(final + atomic.PARTIAL, final)
            return Arrived(f"{os.path.basename(directory)}/{NAME}", size, size, digest)
        except _BROKEN as error:
            with contextlib.suppress(FileNotFoundError):  # what came is of no use without the rest
                os.unlink(final + atomic.PARTIAL)
            full = NotEnoughSpace.met(error)
            if full is not None:
                raise full from error
            why = error or type(error).__name__
        time.sleep(0.5 * 2**tries)
    raise TransferFailed(
        f"{host} did not send a whole disk in {_TRIES} tries: {why}.",
        "Check the network path to the host (port 443 of the ESXi host that owns the VM) and how many exports it serves; then run again.",
        host=host,
    )


def _receive(
    host: str,
    port: int,
    target: str,
    context: ssl.SSLContext,
    headers: Mapping[str, str],
    path: str,
    progress: Progress,
    throttle: Throttle,
    proxy: Optional[tuple[str, int]] = None,
) -> tuple[int, str]:
    connection = https_connection(host, port, context, proxy, timeout=120.0)
    digest, size, head, tail = hashlib.sha1(usedforsecurity=False), 0, b"", b""
    try:
        connection.request("GET", target, headers={**headers, "Accept-Encoding": "identity"})
        response = connection.getresponse()
        if response.status in (401, 403):
            raise AccessDenied(
                f"{host} refuses to hand out the disk (status {response.status}).", "The account needs VApp.Export on the VM."
            )
        if response.status != 200:
            with connection.within("said why it refuses"):
                said = response.read(300).decode("utf-8", "replace").strip()
            raise http.client.HTTPException(f"status {response.status} {said}".strip())
        with contextlib.closing(direct.File(path)) as file:
            file.resize(0)
            buffer, window = memoryview(bytearray(MIB)), direct.Window(file)
            while True:
                with connection.within("sent more than drops"):
                    count = response.readinto(buffer)
                if not count:
                    break
                if size > limits.UNPACKED:  # zeros are written nowhere, so no disk would ever be full
                    raise http.client.HTTPException(f"the stream does not end after {size >> 40} TiB")
                throttle.take(count)
                window.put(buffer[:count], size)
                digest.update(buffer[:count])
                size += count
                head = (head + bytes(buffer[:64]))[:64]
                tail = (tail + bytes(buffer[max(0, count - 512) : count]))[-512:]
                progress.update(size)
            window.flush()
            file.resize(size)
    finally:
        connection.close()
    if head[_AT] == _AT_END and tail != _EOS:
        raise http.client.HTTPException(f"the stream ended after {size} bytes without its end marker")
    return size, digest.hexdigest()

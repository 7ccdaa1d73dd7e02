# SPDX-License-Identifier: GPL-3.0-or-later
"""Files behind HTTPS, such as a datastore of vCenter or ESXi under /folder: ranges over connections that are kept.

Source: RFC 9110 (ranges, Retry-After); VMware "vSphere Web Services SDK Programming Guide", access to datastore files.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import Callable, Iterator, Mapping, Optional

from ..core.deadline import Limit
from ..core.errors import AccessDenied, InvalidInput, MigrationError
from ..core.numbers import decimal
from ..core.tls import Connection, https_connection, unproven
from . import nbdkit
from .files import MIB, Areas, Interrupted, RemoteFile, changed

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_BROKEN = (http.client.HTTPException, OSError)

Headers = Mapping[str, str]


@dataclass
class HttpsFiles:
    """`target` makes the request target of a path. `authorise(again)` gives the headers that open it; `again` after they were `refused` by status.
    `advice` says what helps where access is denied for good.
    `anchors` is the file of authorities that `context` believes, empty for the system's, None where only one certificate is.
    """

    host: str
    port: int
    context: ssl.SSLContext
    target: Callable[[str], str]
    authorise: Callable[[bool], Headers]
    proxy: Optional[tuple[str, int]] = None
    timeout: float = 60.0
    anchors: Optional[str] = ""
    run: int = 64 * MIB
    gap: int = MIB
    refused: tuple[int, ...] = (401,)
    advice: str = "The account needs Datastore.Browse and Datastore.FileManagement (low level file operations) on this datastore."
    _local: threading.local = field(default_factory=threading.local)
    _open: list[Connection] = field(default_factory=list)

    def stat(self, path: str) -> RemoteFile:
        """Asked with a range of one byte: only an answer that is one shows that ranges work, whatever Accept-Ranges says."""
        response = self._get(path, {"Range": "bytes=0-0"})
        with contextlib.closing(response):
            if response.status == 206:
                size = _range_of(response)[2]
                self._end(response)
                return RemoteFile(size, _stamp(response))
            if response.status == 416 and _range_of(response)[2] == 0:  # an empty file has no first byte
                self._end(response)
                return RemoteFile(0, _stamp(response))
            self._forget()
            length = decimal(response.getheader("Content-Length"))
            if length is None:
                raise InvalidInput(f"{path} has no length: the server does not report one.", "Choose another transport.", path=path)
            return RemoteFile(length, _stamp(response), ranged=False)

    def stream(self, path: str, areas: Areas, stamp: str = "") -> Iterator[memoryview]:
        for offset, length in areas:
            yield from self._range(path, offset, length, stamp)

    def _range(self, path: str, offset: int, length: int, stamp: str) -> Iterator[memoryview]:
        response = self._get(path, {"Range": f"bytes={offset}-{offset + length - 1}"})
        try:
            if stamp and _stamp(response) != stamp:
                raise changed(path)
            if response.status == 206:
                if _range_of(response)[0] != offset:
                    raise Interrupted(f"{path}: the server sent another range than was asked for")
            elif offset:
                raise Interrupted(f"{path}: the server ignored the range")
            with self._connection().within("sent more than drops") as wait:
                yield from _pieces(response, length, path, wait)
            self._end(response)
        except (Interrupted, MigrationError, GeneratorExit):
            self._forget()
            raise
        except _BROKEN as error:
            self._forget()
            raise Interrupted(f"{path}: {error or type(error).__name__}") from error

    def text(self, path: str, headers: Headers, limit: int = 64 * MIB) -> bytes:
        """A whole answer. Raises InvalidInput for one of more than `limit` bytes, else what `stream` raises."""
        response = self._get(path, headers)
        try:
            with self._connection().within("sent more than drops") as wait:
                said = b"".join(_all(response, limit, wait))
        except _BROKEN as error:
            self._forget()
            raise Interrupted(f"{path}: {error or type(error).__name__}") from error
        if len(said) > limit:
            self._forget()
            raise InvalidInput(f"{self.host} answers with more than {limit} bytes to {path}.", "Choose another transport.", path=path)
        return said

    @property
    def exports(self) -> bool:
        """curl cannot be told of one certificate that alone is believed."""
        return self.anchors is not None

    def export(self, path: str, manner: nbdkit.Manner) -> contextlib.AbstractContextManager[nbdkit.Export]:
        """The file as an NBD export. Proxies are taken from the environment, as curl does."""
        headers = self.authorise(False)
        arguments = {"url": f"https://{self.host}:{self.port}{self.target(path)}", "timeout": str(int(self.timeout))}
        if self.context.verify_mode == ssl.CERT_NONE:
            arguments["sslverify"] = "false"
        elif self.anchors:
            arguments["cainfo"] = self.anchors
        return nbdkit.export("curl", arguments, {"cookie": headers["Cookie"]} if "Cookie" in headers else {}, manner)

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _get(self, path: str, headers: Headers) -> http.client.HTTPResponse:
        """An answer with content. A refused session is renewed once."""
        for again in (False, True):
            response = self._request(path, {**self.authorise(again), **headers})
            if response.status not in self.refused:
                break
            self._forget()
        if response.status in (200, 206, 416):
            return response
        said = self._words(response)
        if response.status in (401, 403):
            raise AccessDenied(
                f"{self.host} refuses to hand out {path} (status {response.status}).",
                self.advice,
                path=path,
            )
        if response.status in _TRANSIENT:
            after = decimal(response.getheader("Retry-After"))
            raise Interrupted(f"{path}: status {response.status} {said}".strip(), None if after is None else float(after))
        raise InvalidInput(
            f"{self.host} has no {path} (status {response.status}).",
            "Check that the file is there. Datastores of kind vSAN and vVol have no flat files: choose migrate_transport nfc.",
            path=path,
            status=response.status,
        )

    def _end(self, response: http.client.HTTPResponse) -> None:
        """What is left of an answer is one byte at most; with more the connection cannot be used again."""
        try:
            with self._connection().within("ended its answer"):
                if len(response.read(2)) < 2 and not response.read(1):
                    return
        except _BROKEN:
            pass
        self._forget()

    def _words(self, response: http.client.HTTPResponse) -> str:
        """What a refusal says. The connection is given up: there may be more."""
        try:
            with self._connection().within("said why it refuses"):
                return response.read(300).decode("utf-8", "replace").strip()
        except _BROKEN:
            return ""
        finally:
            self._forget()

    def _request(self, path: str, headers: Headers) -> http.client.HTTPResponse:
        try:
            connection = self._connection()
            connection.request("GET", self.target(path), headers={"Accept-Encoding": "identity", **headers})
            return connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            raise unproven(self.host, error) from error
        except _BROKEN as error:
            self._forget()
            raise Interrupted(f"{self.host}: {error or type(error).__name__}") from error

    def _connection(self) -> Connection:
        held: Optional[Connection] = getattr(self._local, "connection", None)
        if held is not None:
            return held
        made = https_connection(self.host, self.port, self.context, self.proxy, self.timeout)
        made.connect()
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._local.connection = made
        self._open.append(made)
        return made

    def _forget(self) -> None:
        """An answer that was not read to its end makes the connection useless."""
        held: Optional[Connection] = getattr(self._local, "connection", None)
        if held is not None:
            held.close()
            self._local.connection = None
            with contextlib.suppress(ValueError):
                self._open.remove(held)


def quote(path: str) -> str:
    """A path as it stands in a request target: every octet that is not plain is escaped, once."""
    return urllib.parse.quote(path, safe="/")


def _stamp(response: http.client.HTTPResponse) -> str:
    total = response.getheader("Content-Range", "").rpartition("/")[2] or response.getheader("Content-Length", "")
    return "|".join((total, response.getheader("ETag", ""), response.getheader("Last-Modified", "")))


def _range_of(response: http.client.HTTPResponse) -> tuple[int, int, int]:
    """First byte, last byte and size, as Content-Range says."""
    unit, dummy, rest = response.getheader("Content-Range", "").partition(" ")
    span, dummy, size = rest.partition("/")
    first, last, whole = decimal(span.partition("-")[0]), decimal(span.partition("-")[2]), decimal(size)
    if span == "*":
        first = last = 0
    if unit != "bytes" or first is None or last is None or whole is None:
        raise Interrupted("the server's Content-Range cannot be read")
    return first, last, whole


def _all(response: http.client.HTTPResponse, limit: int, wait: Limit) -> Iterator[bytes]:
    """The whole of it, or one byte more than `limit`."""
    left = limit + 1
    while left:
        part = response.read(min(left, MIB // 4))
        if not part:
            return
        wait.moved(len(part))
        left -= len(part)
        yield part


def _pieces(response: http.client.HTTPResponse, length: int, name: str, wait: Limit) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(MIB, length)))
    left = length
    while left:
        count = response.readinto(buffer[: min(left, len(buffer))])
        if not count:
            raise Interrupted(f"{name}: the answer ended {left} bytes early")
        left -= count
        with wait.paused():  # who takes it may be slow
            yield buffer[:count]

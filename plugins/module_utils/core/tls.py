# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server proves that it is the one that was named: by an authority, or by the fingerprint of its own certificate."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import ssl
import urllib.request
from dataclasses import dataclass
from typing import Any, Iterator, Optional

from . import files
from .deadline import Limit, limited
from .errors import InvalidInput, Unreachable
from .urls import split

_PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_PARTIAL_CHAIN, X509_VERIFY_PARAM_set_flags(3): a server's own certificate may be the anchor
_DIGESTS = {40: "sha1", 64: "sha256"}


@dataclass(frozen=True)
class Trust:
    """`ca_file` replaces the system's authorities. A `thumbprint` (SHA-1 or SHA-256, colons allowed) pins the certificate instead."""

    verify: bool = True
    ca_file: str = ""
    thumbprint: str = ""

    def context(self, host: str, port: int, proxy: Optional[tuple[str, int]] = None) -> ssl.SSLContext:
        """What every connection to the server uses, through a proxy where there is one.

        A pinned certificate becomes the only anchor of the context, so that later connections are held to it as well.
        Raises InvalidInput for an impossible thumbprint or CA file, Unreachable when the server does not answer or shows another certificate.
        """
        if self.thumbprint:
            return self._pinned(host, port, proxy)
        try:
            context = _believing(self.ca_file) if self.ca_file else ssl.create_default_context()
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                f"The CA file {self.ca_file} cannot be used: {error}.", "Name a file with certificates in PEM form."
            ) from error
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def _pinned(self, host: str, port: int, proxy: Optional[tuple[str, int]]) -> ssl.SSLContext:
        wanted = re.sub("[: ]", "", self.thumbprint).lower()
        if len(wanted) not in _DIGESTS or not re.fullmatch("[0-9a-f]+", wanted):
            raise InvalidInput("The thumbprint is not a SHA-1 or SHA-256 digest.", "Write it in hexadecimal, with or without colons.")
        certificate = server_certificate(host, port, None, proxy)
        found = hashlib.new(_DIGESTS[len(wanted)], certificate).hexdigest()
        if found != wanted:
            raise Unreachable(
                f"{host}:{port} presents a certificate with the thumbprint {found}, which is not the expected one.",
                "Compare it on the server's console. Somebody may be in between; or the certificate was renewed, then name the new thumbprint.",
                host=host,
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VerifyFlags(_PARTIAL_CHAIN)
        context.load_verify_locations(cadata=certificate)
        return context


def _believing(ca_file: str) -> ssl.SSLContext:
    with files.opened(ca_file, "The CA file") as file:  # OpenSSL would wait for a pipe
        return ssl.create_default_context(cafile=f"/proc/self/fd/{file.fileno()}")


class Connection(http.client.HTTPSConnection):
    """A connection whose every step ends in time. The timeout of a socket is one for each byte: a server, a proxy or whoever stands between may
    send one now and then, or headers without an end, and is never late.
    """

    def __init__(self, host: str, port: int, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._seconds, self._answering = timeout, False
        self._plain: Optional[socket.socket] = None  # another hold of the connection, below TLS: so a handshake can be ended too
        self._create_connection = self._create  # what http.client makes its sockets by

    def connect(self) -> None:
        with self.within("completed the connection"):
            super().connect()

    def request(self, *given: Any, **more: Any) -> None:
        if self.sock is None:
            self.connect()
        with self.within("taken the request"):
            super().request(*given, **more)

    def getresponse(self) -> http.client.HTTPResponse:
        self._answering = True  # http.client closes the connection here when the answer is its last, and the answer is yet to be read
        try:
            with self.within("answered"):
                return super().getresponse()
        finally:
            self._answering = False

    def close(self) -> None:
        super().close()
        if not self._answering:
            self._let_go()

    @contextlib.contextmanager
    def within(self, what: str) -> Iterator[Limit]:
        """End the connection when the block makes no progress in time. Raises TimeoutError, which says `what` was waited for."""
        late = f"{self.host} has not {what} within {self._seconds:.0f} seconds"
        with limited(self._seconds, self._cut) as wait:
            try:
                yield wait
            except Exception as error:
                # The socket's own limit may be first.
                if wait.passed or (isinstance(error, socket.timeout) and not str(error).startswith(self.host)):
                    raise TimeoutError(late) from error
                raise
        if wait.passed:
            raise TimeoutError(late)

    def _create(self, *given: Any, **more: Any) -> socket.socket:
        made = socket.create_connection(*given, **more)
        self._let_go()
        self._plain = made.dup()
        return made

    def _let_go(self) -> None:
        held, self._plain = self._plain, None
        if held is not None:
            held.close()

    def _cut(self) -> None:
        if self._plain is not None:
            self._plain.shutdown(socket.SHUT_RDWR)


def https_connection(
    host: str, port: int, context: ssl.SSLContext, proxy: Optional[tuple[str, int]] = None, timeout: float = 60.0
) -> Connection:
    """A connection to a server, not yet made, through a proxy where there is one. `timeout`: seconds for each step of it."""
    if proxy is None:
        return Connection(host, port, timeout, context)
    through = Connection(*proxy, timeout, context)
    through.set_tunnel(host, port)
    return through


def environment_proxy(host: str) -> Optional[tuple[str, int]]:
    """The proxy that the environment (https_proxy, no_proxy) names for a server, as curl and requests read it."""
    url = urllib.request.getproxies().get("https")
    if not url or urllib.request.proxy_bypass(host):
        return None
    parts = split(url if "//" in url else f"//{url}", "Correct https_proxy in the environment.")
    return (parts.hostname, parts.port or 3128) if parts.hostname else None


def server_certificate(host: str, port: int, context: Optional[ssl.SSLContext] = None, proxy: Optional[tuple[str, int]] = None) -> bytes:
    """The certificate that a server shows (DER): one that `context` believes, or, without a context, any."""
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with contextlib.closing(https_connection(host, port, context, proxy, timeout=30.0)) as connection:
            connection.connect()
            return connection.sock.getpeercert(True) or b""
    except socket.gaierror as error:
        raise unknown(proxy[0] if proxy else host, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            f"{host}:{port} does not answer: {error}.", "Check the name, the port and the network path to it.", host=host
        ) from error


def unknown(name: str, error: socket.gaierror) -> Unreachable:
    """The error for the name of a server, or of the proxy, that has no address."""
    return Unreachable(
        f"{name} cannot be found: {error.strerror}.",
        f"Correct the name where it is misspelt; else make the name server know it ('getent hosts {name}' shows what this host finds).",
        host=name,
    )


def unproven(host: str, error: ssl.SSLCertVerificationError) -> Unreachable:
    """The error for a server whose certificate nobody who is believed has signed."""
    return Unreachable(
        f"{host} does not prove that it is {host}: {error.verify_message}.",
        "Name the authority (migrate_vsphere_ca_file) or the certificate's thumbprint (migrate_vsphere_thumbprint); for a cloud, the system must believe it.",
        host=host,
    )

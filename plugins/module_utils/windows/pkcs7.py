# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Authenticode signature says of its signers: structure only. Nothing here is believed; whether a signature is right, signatures asks.

Sources: RFC 2315 (PKCS #7), RFC 5280 (certificates), Microsoft, "Windows Authenticode Portable Executable Signature Format" (2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Iterator, Optional

CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
HARDWARE = "1.3.6.1.4.1.311.10.3.5"  # Windows Hardware Driver Verification: given after the tests of the hardware programme
ATTESTED = "1.3.6.1.4.1.311.10.3.5.1"  # Windows Hardware Driver Attested Verification: given without them
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_NESTED = "1.3.6.1.4.1.311.2.4.1"  # an unauthenticated attribute that holds further signatures
_USAGES = "2.5.29.37"
_COMMON_NAME = "2.5.4.3"
_DIGESTS = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_OID, _UTC, _TIME = 0x06, 0x17, 0x18
_MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Signer:
    """Who signed, as the signature has it. `serial` in hexadecimal digits, `usages` of the certificate, `issued` when it became valid.

    `certificate` are its bytes, `itself` whether it names itself as its issuer.
    """

    name: str
    serial: str
    digest: str
    usages: tuple[str, ...]
    issued: Optional[date]
    itself: bool
    certificate: bytes


@dataclass(frozen=True)
class _Node:
    """A value with its tag: `whole` with its header, `body` without."""

    tag: int
    body: bytes
    whole: bytes

    def children(self) -> list[_Node]:
        return list(_nodes(self.body))


def signers(data: bytes) -> tuple[Signer, ...]:
    """The signer of the signature, and those of the signatures within it, in their order; none for bytes that are no signature."""
    try:
        found: list[Signer] = []
        _collect(next(_nodes(data)), found)
        return tuple(found)
    except (IndexError, ValueError, StopIteration):
        return ()


def _collect(content: _Node, found: list[Signer]) -> None:
    kind, wrapped = content.children()[:2]
    if len(found) >= _MAX_SIGNATURES or _oid(kind) != _SIGNED_DATA:
        return
    parts = wrapped.children()[0].children()
    certificates = [one for part in parts if part.tag == 0xA0 for one in part.children()]
    signer = parts[-1].children()[0].children()
    issuer, serial = signer[1].children()
    known = next((one for one in certificates if _names(one) == (issuer.whole, serial.body)), None)
    if known is not None:
        found.append(_signer(known, _DIGESTS.get(_oid(signer[2].children()[0]), "")))
    for attribute in (one for part in signer if part.tag == 0xA1 for one in part.children()):
        name, values = attribute.children()
        for nested in values.children() if _oid(name) == _NESTED else ():
            _collect(nested, found)


def _fields(certificate: _Node) -> list[_Node]:
    """Serial number, algorithm, issuer, validity, subject, key, extensions."""
    fields = certificate.children()[0].children()
    return fields[1:] if fields[0].tag == 0xA0 else fields


def _names(certificate: _Node) -> tuple[bytes, bytes]:
    serial, dummy, issuer = _fields(certificate)[:3]
    return issuer.whole, serial.body


def _signer(certificate: _Node, digest: str) -> Signer:
    serial, dummy, issuer, validity, subject = _fields(certificate)[:5]
    return Signer(
        _common_name(subject),
        serial.body.hex().upper(),
        digest,
        _usages(certificate),
        _date(validity.children()[0]),
        issuer.whole == subject.whole,
        certificate.whole,
    )


def _common_name(subject: _Node) -> str:
    pairs = [pair.children() for part in subject.children() for pair in part.children()]
    value = next((value for name, value in pairs if _oid(name) == _COMMON_NAME), None)
    if value is None:
        return ""
    return value.body.decode("utf-16-be" if value.tag == 0x1E else "utf-8", "replace")


def _usages(certificate: _Node) -> tuple[str, ...]:
    extensions = [one.children() for part in _fields(certificate) if part.tag == 0xA3 for one in part.children()[0].children()]
    found = next((parts[-1] for parts in extensions if _oid(parts[0]) == _USAGES), None)
    return tuple(_oid(one) for one in next(_nodes(found.body)).children()) if found is not None else ()


def _date(value: _Node) -> Optional[date]:
    """RFC 5280, 4.1.2.5.1: years of two digits from 50 on are of the last century."""
    digits = value.body.decode("ascii", "replace")
    if value.tag == _UTC:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if value.tag in (_UTC, _TIME) else None


def _oid(node: _Node) -> str:
    if node.tag != _OID or not node.body:
        return ""
    numbers, value = [], 0
    for byte in node.body:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _nodes(data: bytes) -> Iterator[_Node]:
    """The values one after the other, in DER. Raises IndexError or ValueError for what is cut off or has no length."""
    at = 0
    while at < len(data):
        tag, size, start = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4:
                raise ValueError("a length that DER does not have")
            size, start = int.from_bytes(data[start : start + count], "big"), start + count
        if start + size > len(data):
            raise IndexError("a value that is cut off")
        yield _Node(tag, data[start : start + size], data[at : start + size])
        at = start + size

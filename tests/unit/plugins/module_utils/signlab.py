# SPDX-License-Identifier: GPL-3.0-or-later
"""Authenticode in tests: authorities, certificates, signed programs and catalogues, all made here with osslsigncode and a library for certificates."""

from __future__ import annotations

import functools
import hashlib
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import pkcs7, roots

NOW = datetime(2024, 5, 1)
WHQL_USAGES = (pkcs7.HARDWARE, pkcs7.CODE_SIGNING)
ATTESTED_USAGES = (pkcs7.HARDWARE, pkcs7.ATTESTED, pkcs7.CODE_SIGNING)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key and those of its issuers, the next one first; `root` the last of them, which a chain does not carry."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@functools.cache
def key(number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def name_of(**parts: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in parts.items()])


def issue(
    name: x509.Name | str,
    by: Identity | None = None,
    usages: tuple[str, ...] = (),
    authority: bool = True,
    start: datetime = datetime(2014, 1, 1),
    end: datetime = datetime(2044, 1, 1),
    own: rsa.RSAPrivateKey | None = None,
) -> Identity:
    """A certificate; self-signed without `by`."""
    subject = name_of(COMMON_NAME=name) if isinstance(name, str) else name
    own = own or rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by.certificate.subject if by else subject)
    builder = builder.public_key(own.public_key()).serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
    builder = builder.add_extension(x509.BasicConstraints(authority, None), True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ObjectIdentifier(one) for one in usages]), False)
    made = builder.sign(by.key if by else own, hashes.SHA256())
    return Identity(made, own, (by.certificate, *by.issuers) if by else ())


def anchor(identity: Identity, use: str) -> roots.Root:
    """The identity's certificate as a pinned root."""
    import base64

    public = identity.certificate.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b64encode(identity.certificate.public_bytes(serialization.Encoding.DER)).decode()
    return roots.Root("of a test", use, hashlib.sha256(public).hexdigest(), "", text)


def sign(data: bytes, by: Identity, digest: str = "sha256", nest: bool = False, ending: str = "sys", more: tuple[str, ...] = ()) -> bytes:
    """A program or catalogue with a signature; with `nest` beside one that is there."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / f"in.{ending}").write_bytes(data)
        (folder / "certs.pem").write_bytes(by.pem)
        (folder / "more.pem").write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in by.issuers))
        private = by.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "key.pem").write_bytes(private)
        words = ["osslsigncode", "sign", *(["-nest"] if nest else []), "-h", digest, "-certs", "certs.pem", "-key", "key.pem", *more]
        words += ["-ac", "more.pem"] if by.issuers else []
        done = subprocess.run(
            [*words, "-in", f"in.{ending}", "-out", f"out.{ending}"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return (folder / f"out.{ending}").read_bytes()


@functools.cache
def vendor() -> Identity:
    """Who vouches for the stand-ins of drivers: as Microsoft's after its tests, with a root that tests pin."""
    return issue("Driver tests", issue("Root of driver tests"), WHQL_USAGES, False)


def vendor_root() -> roots.Root:
    return anchor(Identity(vendor().issuers[-1], vendor().key), roots.PRODUCT)


@functools.cache
def vouched(data: bytes, ending: str = "sys") -> bytes:
    return sign(data, vendor(), ending=ending)


def authentihash(program: bytes, digest: str) -> bytes:
    """Over everything but the checksum, the place of the certificates, and the certificates (Microsoft's specification, "Calculating the PE Image Hash")."""
    header = struct.unpack_from("<I", program, 0x3C)[0] + 24
    directory = header + (128 if struct.unpack_from("<H", program, header)[0] == 0x10B else 144)
    start, size = struct.unpack_from("<II", program, directory)
    end = start if size else len(program)
    held = program[: header + 64] + program[header + 68 : directory] + program[directory + 8 : end]
    return hashlib.new(digest, held + bytes(-end % 8)).digest()


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = bytes([len(body)]) if len(body) < 128 else bytes([0x82]) + len(body).to_bytes(2, "big")
    return bytes([tag]) + size + body


def _oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    out = bytearray([40 * first + second])
    for number in rest:
        part = [number & 0x7F]
        while number := number >> 7:
            part.insert(0, number & 0x7F | 0x80)
        out += bytes(part)
    return _der(0x06, bytes(out))


def catalog(program: bytes, digest: str = "sha256") -> bytes:
    """A catalogue, not signed yet, that lists one program: a list of trusted subjects ([MS-CAESO], wincrypt.h CTL_INFO) within PKCS #7."""
    algorithm = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1"}[digest]
    value = authentihash(program, digest)
    image = _der(0x30, _oid("1.3.6.1.4.1.311.2.1.15"), _der(0x30, _der(0x03, b"\0"), _der(0xA0, _der(0xA2, _der(0x80)))))
    data = _der(0x30, image, _der(0x30, _der(0x30, _oid(algorithm), b"\x05\0"), _der(0x04, value)))
    member = _der(0x30, _der(0x04, value), _der(0x31, _der(0x30, _oid("1.3.6.1.4.1.311.2.1.4"), _der(0x31, data))))
    ctl = _der(
        0x30,
        _der(0x30, _oid("1.3.6.1.4.1.311.12.1.1")),
        _der(0x04, bytes(16)),
        _der(0x17, b"240501000000Z"),
        _der(0x30, _oid("1.3.6.1.4.1.311.12.1.2"), b"\x05\0"),
        _der(0x30, member),
    )
    content = _der(0x30, _oid("1.3.6.1.4.1.311.10.1"), _der(0xA0, ctl))
    signed = _der(0x30, _der(0x02, b"\1"), _der(0x31), content, _der(0x31))
    return _der(0x30, _oid("1.2.840.113549.1.7.2"), _der(0xA0, signed))

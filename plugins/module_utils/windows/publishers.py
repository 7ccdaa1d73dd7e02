# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishers whose drivers Windows installs without a question: a package that a vendor signed itself asks a person from Vista on, and at a first start
there is none.

Sources: Microsoft, "Trusted Publishers Certificate Store" (learn.microsoft.com/windows-hardware/drivers/install), where WHQL signatures are said to need
no entry; [MS-GPEF] 2.2.1.2 for the form of a certificate in the registry, wincrypt.h for its properties.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Mapping

from ..core.concern import INFO, Findings, listed
from . import regf
from .drivers import Package
from .hives import Draft

_STORE = "Microsoft\\SystemCertificates\\TrustedPublisher\\Certificates"
_SHA1, _CERTIFICATE = 3, 32  # CERT_SHA1_HASH_PROP_ID, CERT_CERT_PROP_ID


def trust(software: Draft, packages: Mapping[str, Package], findings: Findings) -> None:
    """The certificates of the vendors of these packages become those of trusted publishers."""
    wanted: dict[bytes, list[str]] = {}
    for name, package in packages.items():
        if package.verdict.publisher:
            wanted.setdefault(package.verdict.publisher, []).append(name)
    for certificate, names in wanted.items():
        print_ = hashlib.sha1(certificate).hexdigest().upper()
        if software.has(f"{_STORE}\\{print_}"):
            continue
        software.set(f"{_STORE}\\{print_}", "Blob", regf.BINARY, blob(certificate), "drivers of this publisher install without a question")
        findings.add(
            "windows.publisher",
            INFO,
            f"The publisher of {listed(names)} becomes a trusted one in this Windows (certificate {print_}), which would ask a person otherwise.",
            "Nothing; or delete the certificate from the trusted publishers after the first start.",
        )


def blob(certificate: bytes) -> bytes:
    """A certificate as the registry holds it: properties, each with its number, 1, its length and its value."""
    properties = ((_SHA1, hashlib.sha1(certificate).digest()), (_CERTIFICATE, certificate))
    return b"".join(struct.pack("<3I", number, 1, len(value)) + value for number, value in properties)

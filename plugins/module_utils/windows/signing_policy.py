# SPDX-License-Identifier: GPL-3.0-or-later
"""Which signatures the kernel of each Windows takes for a driver, as a table: release, architecture, Secure Boot.

Sources (learn.microsoft.com/windows-hardware/drivers):
[policy]    install/kernel-mode-code-signing-policy--windows-vista-and-later-, "Signing requirements by version" and "Exceptions"
[dashboard] dashboard/code-signing-reqs, "OS support summary" and "Windows Server": attested drivers "will only work for Windows 10"
[sha2]      KB3033929 (7, 2008 R2), KB4039648 and KB4474419 (2008 SP2): verifying SHA-2 in the kernel
[practice]  github.com/virtio-win/kvm-guest-drivers-windows, issues 557, 785, 980, 1112; virtio-win-pkg-scripts, issues 91, 116: what
            attested drivers do on servers, and those with Red Hat's test signature on 8.1 and 2012 R2

Where the sources contradict each other, or it depends on an update, the answer is UNSURE: the driver is used, and a concern says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Optional, Sequence

from ..guest.model import WindowsFacts
from . import signatures
from .signatures import ATTESTED, CROSS_SIGNED, MICROSOFT, OTHER, WHQL, Signature

NO, UNSURE, YES = 0, 1, 2
UNKNOWN = 3  # nobody could judge it
CODE = "windows.driver-signature"  # accepted, it means that the operator knows better
_VISTA, _W7, _W8, _W10 = (6, 0), (6, 1), (6, 2), (10, 0)
_1607, _1809 = 14393, 17763
_LAST_CROSS_SIGNED = date(2015, 7, 29)  # [policy]: certificates that were issued before it


@dataclass(frozen=True)
class Rule:
    """From which version and build on it holds, and what is taken there, in pairs with Secure Boot off and on. WHQL is taken everywhere.

    `cross`: cross-signed, `old` where the vendor's certificate is from before the end of July 2015; `sha1` and `sha2`: the digest of the signature.
    """

    nt: tuple[int, int]
    build: int
    attested: int
    cross: tuple[int, int]
    old: tuple[int, int]
    sha1: tuple[int, int]
    sha2: int = YES


_SHA2 = "it is signed with SHA-2 only, which this Windows verifies after an update only"
_RULES: tuple[Rule, ...] = (
    # [dashboard]: attested no, WHQL and cross-signed yes. [sha2]. There is no Secure Boot.
    Rule(_VISTA, 0, NO, (YES, YES), (YES, YES), (YES, YES), UNSURE),
    Rule(_W7, 0, NO, (YES, YES), (YES, YES), (YES, YES), UNSURE),
    # [policy] of today: standard roots with Secure Boot too; that of 2016: Microsoft's root of 2010 and WHQL.
    Rule(_W8, 0, NO, (YES, UNSURE), (YES, UNSURE), (YES, UNSURE)),
    Rule(_W10, 0, YES, (YES, UNSURE), (YES, UNSURE), (YES, UNSURE)),
    # [policy]: only Microsoft's roots and SHA-2 with Secure Boot, but for older certificates; SHA-2 is asked for everywhere, SHA-1 was before.
    Rule(_W10, _1607, YES, (YES, NO), (YES, UNSURE), (UNSURE, NO)),
    # [dashboard]: cross-signed no longer as of 1809; [policy] goes on to allow it with Secure Boot off.
    Rule(_W10, _1809, YES, (UNSURE, NO), (UNSURE, NO), (UNSURE, NO)),
)


@dataclass(frozen=True)
class Verdict:
    """Whether a kernel takes a driver, and for people why, or why not. `sha2`: whether it hangs on an update for SHA-2.

    `publisher`: the certificate of the vendor whose signature it is; empty for Microsoft's.
    """

    state: int
    why: str
    sha2: bool = False
    publisher: bytes = b""


def enforced(windows: WindowsFacts, architecture: str) -> bool:
    """Whether the kernel looks at signatures at all: from Vista on with 64 bits, from 8 on with Secure Boot too ([policy])."""
    return windows.nt >= _VISTA and (architecture != "i686" or (windows.secure_boot and windows.nt >= _W8))


def judge(windows: WindowsFacts, architecture: str, program: bytes, catalog: Optional[bytes] = None) -> Verdict:
    """Whether this kernel takes a program: by its own signatures, or by those of a catalogue that lists it."""
    if not enforced(windows, architecture):
        return verdict(windows, architecture, ())
    signed = signatures.of(program, catalog)
    if signed.unknown:
        return Verdict(YES, f"{signed.unknown} {CODE} is accepted") if windows.any_driver else Verdict(UNKNOWN, signed.unknown)
    return verdict(windows, architecture, signed.signatures)


def verdict(windows: WindowsFacts, architecture: str, found: Sequence[Signature]) -> Verdict:
    """Whether this kernel takes a driver with these signatures: the best of them counts."""
    if not enforced(windows, architecture):
        return Verdict(YES, "this kernel takes drivers without a signature")
    if not found:
        best = Verdict(NO, "it carries no signature")
    else:
        best = max((_one(windows, signature) for signature in found), key=lambda one: (one.state, not one.publisher))
    if best.state == NO and windows.any_driver:
        return replace(best, state=YES, why=f"{best.why}; {CODE} is accepted")
    return best


def _one(windows: WindowsFacts, signature: Signature) -> Verdict:
    by = f"{signature.signer or 'nobody'}, {signature.kind}, {(signature.digest or 'unknown digest').upper()}"
    if signature.kind == OTHER and windows.test_signing and not windows.secure_boot and not signature.altered:
        return Verdict(YES, f"signed by {signature.signer}, and test signing is on")
    if signature.kind == OTHER:
        return Verdict(NO, f"the signature of {signature.signer or 'somebody'} does not count: {signature.fault}")
    rule = next(rule for rule in reversed(_RULES) if rule.nt <= windows.nt and rule.build <= windows.build)
    secure = int(windows.secure_boot)
    taken = _kind(rule, windows, signature)
    digest = rule.sha1[secure] if signature.digest == "sha1" else rule.sha2
    state = min(taken, digest)
    sha2 = state == UNSURE and taken == YES and signature.digest != "sha1"
    publisher = signature.certificate if signature.kind == CROSS_SIGNED else b""
    return Verdict(state, f"signed by {by}{_reason(windows, state, sha2)}", sha2, publisher)


def _kind(rule: Rule, windows: WindowsFacts, signature: Signature) -> int:
    if signature.kind in (WHQL, MICROSOFT):
        return YES
    if signature.kind == ATTESTED:
        # [dashboard] says that servers take none; [practice]: those from 2016 on start with them.
        return min(rule.attested, UNSURE) if windows.kind != "Client" else rule.attested
    old = signature.kind == CROSS_SIGNED and signature.issued is not None and signature.issued < _LAST_CROSS_SIGNED
    return (rule.old if old else rule.cross)[int(windows.secure_boot)]


def _reason(windows: WindowsFacts, state: int, sha2: bool) -> str:
    if state == YES:
        return ""
    if sha2:
        return f"; {_SHA2}"
    where = f"{windows.release}{' with Secure Boot' if windows.secure_boot else ''}"
    return f", which {where} does not take" if state == NO else f"; Microsoft's pages do not agree whether {where} takes that"

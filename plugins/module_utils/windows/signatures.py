# SPDX-License-Identifier: GPL-3.0-or-later
"""Who signed a driver: every Authenticode signature of a program or of the catalogue that lists it, each with where its chain ends.

The cryptography is osslsigncode's: digests, signatures, time stamps, and the chain at the time of the stamp. It is asked once for each kind of root
in roots, with these roots alone, so that its answer says where a chain ends; neither its exit status nor its summary counts, for both are good as
soon as it could look (osslsigncode 2.5 ends with "Succeeded" over a signature that failed). Nothing that a file names is fetched.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import date
from typing import Mapping, Optional, Sequence

from ..core import process
from ..core.errors import MigrationError, MissingTool
from . import pe, pkcs7, roots
from .roots import Root

WHQL, ATTESTED, MICROSOFT, CROSS_SIGNED, OTHER = "WHQL", "attested", "Microsoft", "cross-signed", "other"
TOOL = "osslsigncode"
_LIMITS = process.Limits(timeout=60.0, silence=60.0, memory=1 << 30, file_size=64 << 20)
_BLOCK = re.compile(r"^Signature Index: (\d+)", re.MULTILINE)
_SERIAL = re.compile(r"^Signer's certificate:.*?^\s*Serial ?: ([0-9A-F]+)", re.MULTILINE | re.DOTALL)
_DIGESTS = re.compile(r"^(Current|Calculated) message digest\s*: ([0-9A-F]+)", re.MULTILINE)
_VERDICT = re.compile(r"^Signature verification: (\w+)", re.MULTILINE)
# What later versions fetch on their own account: revocation lists of the certificates. 2.5 fetches nothing, and knows neither word.
_NO_NETWORK = ("-ignore-crl", "-ignore-cdp")
_OLDEST = (2, 5)
_NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Signature:
    """One signature. `kind`: who vouches for it; OTHER with `fault`, the reason why nobody does. `digest`: sha1, sha256, ...

    `signer` is a name for people, `issued` the day from which the signer's certificate holds, and `certificate` that certificate. `altered`: the file is
    not what was signed.
    """

    kind: str
    digest: str
    signer: str
    issued: Optional[date] = None
    fault: str = ""
    certificate: bytes = b""
    altered: bool = False


@dataclass(frozen=True)
class Signed:
    """The signatures of a file; `unknown` says why they could not be judged."""

    signatures: tuple[Signature, ...] = ()
    unknown: str = ""


def of(program: bytes, catalog: Optional[bytes] = None) -> Signed:
    """Who signed a program; with a catalogue who signed that, if it lists the program."""
    return _cached(program, catalog, roots.ROOTS)


def _cached(program: bytes, catalog: Optional[bytes], anchors: tuple[Root, ...]) -> Signed:
    key = hashlib.sha256(hashlib.sha256(program).digest() + hashlib.sha256(catalog or b"").digest()).hexdigest() + str(catalog is None)
    found = _KNOWN.get((key, anchors))
    if found is None:
        found = _KNOWN[key, anchors] = _read(program, catalog, anchors)
    return found


_KNOWN: dict[tuple[str, tuple[Root, ...]], Signed] = {}


def _read(program: bytes, catalog: Optional[bytes], anchors: Sequence[Root]) -> Signed:
    signers = (
        pkcs7.signers(pe.certificate(program)) if catalog is None else pkcs7.signers(catalog)[:1]
    )  # catalogues have one that is looked at
    if not signers:
        return Signed()
    answers: list[dict[str, str]] = [{} for dummy in signers]
    try:
        for use in (roots.PRODUCT, roots.VERIFICATION):
            blocks = _ask(program, catalog, use, anchors)
            if [number for number, dummy in blocks] != list(range(len(signers))):
                return Signed(
                    tuple(Signature(OTHER, one.digest, one.name, one.issued, f"{TOOL} cannot read it", altered=True) for one in signers)
                )
            for answer, (dummy, block) in zip(answers, blocks):
                answer[use] = block
            if all(_verified(answer[use], signer) for answer, signer in zip(answers, signers)):
                break
    except MissingTool as error:
        return Signed(unknown=f"{error.msg} {error.hint}")
    except (MigrationError, OSError) as error:
        return Signed(unknown=f"{TOOL} cannot say: {str(error)[:300]}")
    return Signed(tuple(_signature(signer, answer, catalog is not None) for signer, answer in zip(signers, answers)))


def _signature(signer: pkcs7.Signer, blocks: Mapping[str, str], listed: bool) -> Signature:
    use = next((use for use, block in blocks.items() if _verified(block, signer)), "")
    kind = {roots.VERIFICATION: CROSS_SIGNED, roots.PRODUCT: _microsofts(signer)}.get(use, OTHER)
    fault = _fault(blocks[roots.PRODUCT], signer, listed) if kind == OTHER else ""
    altered = not _unchanged(blocks[roots.PRODUCT])
    return Signature(kind, signer.digest, signer.name, signer.issued, fault, signer.certificate, altered)


def _microsofts(signer: pkcs7.Signer) -> str:
    if pkcs7.ATTESTED in signer.usages:
        return ATTESTED
    return WHQL if pkcs7.HARDWARE in signer.usages else MICROSOFT


def _unchanged(block: str) -> bool:
    digests = _DIGESTS.findall(block)
    return [name for name, dummy in digests] == ["Current", "Calculated"] and digests[0][1] == digests[1][1]


def _verified(block: str, signer: pkcs7.Signer) -> bool:
    """Whether the signature holds, over what the file holds, by the signer that was read from it.

    A signature holds texts that are printed as they are: whoever wrote a verdict into one has two in his block, and none counts.
    """
    serial = _SERIAL.search(block)
    same = serial is not None and serial.group(1).lstrip("0") == signer.serial.lstrip("0")
    return same and _unchanged(block) and _VERDICT.findall(block) == ["ok"]


def _fault(block: str, signer: pkcs7.Signer, listed: bool) -> str:
    """Why nobody vouches for it; `listed`: it is the signature of a catalogue."""
    if not _unchanged(block):
        return "the catalogue does not list the program as it is" if listed else "the file is not what was signed"
    if signer.itself:
        return "it signed its own certificate"
    return "its chain ends at no key of Microsoft's, or was not valid at its time"


def _ask(program: bytes, catalog: Optional[bytes], use: str, anchors: Sequence[Root]) -> list[tuple[int, str]]:
    """What osslsigncode says of each signature, with its number, where only roots of one kind are trusted (for times: all of them)."""
    with tempfile.TemporaryDirectory(prefix="hyper2kvm-sign-") as folder:
        given = {
            "driver.sys": program,
            "driver.cat": catalog or b"",
            "roots.pem": "".join(root.pem for root in anchors if root.use == use).encode(),
            "times.pem": "".join(root.pem for root in anchors).encode(),
        }
        for name, data in given.items():
            with open(os.path.join(folder, name), "xb") as file:
                file.write(data)
        words = [TOOL, "verify", *_offline(), "-CAfile", "roots.pem", "-TSA-CAfile", "times.pem"]
        words += ["-catalog", "driver.cat"] if catalog is not None else []
        done = process.run([*words, "-in", "driver.sys"], _LIMITS, check=False, cwd=folder, env=_environment())
    return _blocks(done.stdout) if catalog is None else [(0, done.stdout)]


def _blocks(said: str) -> list[tuple[int, str]]:
    places = list(_BLOCK.finditer(said))
    ends = [*(place.start() for place in places[1:]), len(said)]
    return [(int(place.group(1)), said[place.start() : end]) for place, end in zip(places, ends)]


@functools.cache
def _offline() -> tuple[str, ...]:
    """The word that keeps this version from the network. Raises MissingTool for one whose answers are not known."""
    done = process.run([TOOL, "--version"], _LIMITS, check=False)
    version = re.search(r"osslsigncode (\d+)\.(\d+)", done.stdout + done.stderr)
    if version is None or (int(version.group(1)), int(version.group(2))) < _OLDEST:
        said = version.group(0) if version is not None else f"The program {TOOL}"
        raise MissingTool(f"{said} on the conversion host is older than 2.5.", "Install a newer one.", tool=TOOL)
    done = process.run([TOOL, "verify", "--help"], _LIMITS, check=False)
    known = done.stdout + done.stderr
    return tuple(word for word in _NO_NETWORK if word in known)[:1]


def _environment() -> Mapping[str, str]:
    """No way out either, should a version fetch what it is not asked for."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {**os.environ, **dict.fromkeys(proxies, _NOWHERE), "no_proxy": "", "NO_PROXY": ""}

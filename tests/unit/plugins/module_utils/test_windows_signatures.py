# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of drivers: chains made here, over every release with and without Secure Boot, and one real driver. What each Windows takes is written
from Microsoft's pages ("Driver Signing Policy", "OS support summary" of the dashboard), not from our table.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import struct
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import signlab
import winlab
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import pkcs7 as library
from signlab import issue, sign

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import process
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MissingTool, TimedOut
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.copies import UploadFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.family import GuestRequest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import WindowsFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import (
    driver_source,
    drivers,
    pe,
    pkcs7,
    proof,
    publishers,
    roots,
    signatures,
    signing_policy,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.signing_policy import NO, UNSURE, YES
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

PROGRAM = winlab.program(signed=False)
MICROSOFT = signlab.name_of(
    COUNTRY_NAME="US",
    STATE_OR_PROVINCE_NAME="Washington",
    LOCALITY_NAME="Redmond",
    ORGANIZATION_NAME="Microsoft Corporation",
    COMMON_NAME="Microsoft Root Certificate Authority 2010",
)
RELEASES = {
    "2k8": ((6, 0), 6002, "Server"),
    "w7": ((6, 1), 7601, "Client"),
    "2k8R2": ((6, 1), 7601, "Server"),
    "w8": ((6, 2), 9200, "Client"),
    "2k12": ((6, 2), 9200, "Server"),
    "w8.1": ((6, 3), 9600, "Client"),
    "2k12R2": ((6, 3), 9600, "Server"),
    "w10-1511": ((10, 0), 10586, "Client"),
    "w10-1607": ((10, 0), 14393, "Client"),
    "2k16": ((10, 0), 14393, "Server"),
    "2k19": ((10, 0), 17763, "Server"),
    "w10-22H2": ((10, 0), 19045, "Client"),
    "2k22": ((10, 0), 20348, "Server Core"),
    "w11": ((10, 0), 22631, "Client"),
    "2k25": ((10, 0), 26100, "Server"),
}


def facts(name: str, secure: bool = False, **more) -> WindowsFacts:
    nt, build, kind = RELEASES[name]
    return WindowsFacts(name.partition("-")[0], nt, build, kind, "/c/Windows", "ControlSet001", "SYSTEM", secure_boot=secure, **more)


@functools.cache
def chains() -> dict[str, signlab.Identity]:
    """Authorities and those whom they vouch for."""
    microsoft, verification = issue("MS root"), issue("Verification root")
    public = issue("Public authority", own=signlab.key())
    crossed = replace(issue("Public authority", verification, own=signlab.key()))
    between = issue("Code signing", crossed)
    return {
        "microsoft": microsoft,
        "verification": verification,
        "whql": issue("Publisher", issue("Component CA", microsoft), signlab.WHQL_USAGES, False),
        "attested": issue("Publisher", issue("Component CA", microsoft), signlab.ATTESTED_USAGES, False),
        "crossed": issue("Vendor, Inc.", between, (pkcs7.CODE_SIGNING,), False, start=datetime(2017, 1, 1)),
        "crossed before 2015": issue("Vendor, Inc.", between, (pkcs7.CODE_SIGNING,), False, start=datetime(2014, 1, 1)),
        "vendor": issue("Vendor, Inc.", issue("Code signing", public), (pkcs7.CODE_SIGNING,), False),
        "self-signed": issue("Vendor, Inc.", None, (pkcs7.CODE_SIGNING,), False),
        "test root": issue("WDKTestCert", issue("Test root"), signlab.WHQL_USAGES, False),
        "expired": issue("Publisher", microsoft, signlab.WHQL_USAGES, False, end=datetime(2016, 1, 1)),
        "names of Microsoft": issue("Publisher", issue(MICROSOFT), signlab.WHQL_USAGES, False),
    }


@functools.cache
def anchors() -> tuple[roots.Root, ...]:
    made = chains()
    return (
        *roots.ROOTS,
        signlab.anchor(made["microsoft"], roots.PRODUCT),
        signlab.anchor(made["verification"], roots.VERIFICATION),
    )


@functools.cache
def signed(name: str, digest: str = "sha256") -> bytes:
    return sign(PROGRAM, chains()[name], digest)


@pytest.fixture(autouse=True)
def own_roots(pinned, monkeypatch):
    monkeypatch.setattr(roots, "ROOTS", anchors())


KINDS = {
    "whql": signatures.WHQL,
    "attested": signatures.ATTESTED,
    "crossed": signatures.CROSS_SIGNED,
    "crossed before 2015": signatures.CROSS_SIGNED,
    **dict.fromkeys(("vendor", "self-signed", "test root", "expired", "names of Microsoft"), signatures.OTHER),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_chain_is_worth_what_the_key_at_its_end_is(name):
    (one,) = signatures.of(signed(name)).signatures
    assert one.kind == KINDS[name] and bool(one.fault) == (one.kind == signatures.OTHER)
    assert one.digest == "sha256" and one.certificate == chains()[name].certificate.public_bytes(serialization.Encoding.DER)


# By Microsoft's pages: WHQL yes, attested no before 10; cross-signed yes up to 8.1 and without Secure Boot, older certificates longer.
PAGES = {
    "whql": {"*": (YES, YES)},
    "attested": {**dict.fromkeys(("2k8", "w7", "2k8R2", "w8", "2k12", "w8.1", "2k12R2"), (NO, NO)), "*": (YES, YES)}
    | dict.fromkeys(("2k16", "2k19", "2k22", "2k25"), (UNSURE, UNSURE)),
    "crossed": {
        **dict.fromkeys(("2k8", "w7", "2k8R2"), (YES, YES)),
        **dict.fromkeys(("w8", "2k12", "w8.1", "2k12R2", "w10-1511"), (YES, UNSURE)),
        **dict.fromkeys(("w10-1607", "2k16"), (YES, NO)),
        "*": (UNSURE, NO),
    },
    "crossed before 2015": {
        **dict.fromkeys(("2k8", "w7", "2k8R2"), (YES, YES)),
        **dict.fromkeys(("w8", "2k12", "w8.1", "2k12R2", "w10-1511", "w10-1607", "2k16"), (YES, UNSURE)),
        "*": (UNSURE, NO),
    },
    **{name: {"*": (NO, NO)} for name in ("vendor", "self-signed", "test root", "expired", "names of Microsoft")},
}
BEFORE_SHA2 = ("2k8", "w7", "2k8R2")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", PAGES)
def test_every_release_takes_what_microsofts_pages_say(name, release, secure):
    wanted = PAGES[name].get(release, PAGES[name]["*"])[secure]
    by_sha2 = signing_policy.judge(facts(release, secure), "x86_64", signed(name))
    needs_update = release in BEFORE_SHA2 and wanted == YES
    assert (by_sha2.state, by_sha2.sha2) == (UNSURE if needs_update else wanted, needs_update), by_sha2.why
    assert by_sha2.why.startswith("signed by") == (wanted != NO or (name in KINDS and KINDS[name] != signatures.OTHER))


@pytest.mark.parametrize("release", RELEASES)
def test_sha1_alone_is_what_old_kernels_know_and_new_ones_refuse_with_secure_boot(release):
    states = [signing_policy.judge(facts(release, secure), "x86_64", signed("whql", "sha1")).state for secure in (False, True)]
    new = RELEASES[release][1] >= 14393
    assert states[0] == (UNSURE if new else YES)
    assert states[1] == (NO if new else YES if release in BEFORE_SHA2 else UNSURE)


@pytest.mark.parametrize("release", RELEASES)
def test_kernels_of_32_bits_ask_only_with_secure_boot(release):
    bare = signing_policy.judge(facts(release), "i686", PROGRAM)
    secure = signing_policy.judge(facts(release, True), "i686", PROGRAM)
    assert bare.state == YES and secure.state == (YES if release in BEFORE_SHA2 else NO)
    assert signing_policy.judge(facts(release), "x86_64", PROGRAM).why == "it carries no signature"


def test_the_best_of_several_signatures_counts_and_each_is_looked_at():
    both = sign(signed("self-signed"), chains()["whql"], nest=True)
    assert [one.kind for one in signatures.of(both).signatures] == [signatures.OTHER, signatures.WHQL]
    assert signing_policy.judge(facts("w11", True), "x86_64", both).state == YES
    dual = sign(signed("whql", "sha1"), chains()["whql"], nest=True)
    assert [one.digest for one in signatures.of(dual).signatures] == ["sha1", "sha256"]
    assert signing_policy.judge(facts("w7"), "x86_64", dual).state == signing_policy.judge(facts("w11", True), "x86_64", dual).state == YES


def test_a_changed_byte_anywhere_is_a_driver_that_nobody_signed():
    good = signed("whql")
    certificates = len(good) - len(pe.certificate(good)) - 8
    for place in (0x200, 0x3FF, len(PROGRAM) - 1):
        changed = bytearray(good)
        changed[place] ^= 1
        (one,) = signatures.of(bytes(changed)).signatures
        assert (one.kind, one.fault, one.altered) == (signatures.OTHER, "the file is not what was signed", True)
    leaf = chains()["whql"].certificate
    public = leaf.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    for held in (leaf.signature, leaf.tbs_certificate_bytes[-40:], public[40:80]):
        at = good.index(held, certificates)
        changed = good[: at + 8] + bytes([good[at + 8] ^ 1]) + good[at + 9 :]
        assert signing_policy.judge(facts("w11"), "x86_64", changed).state == NO


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 40, 500])
def test_a_signature_that_is_cut_off_is_none(cut):
    good = pe.certificate(signed("whql"))
    assert pkcs7.signers(good[:cut]) == ()
    assert signing_policy.judge(facts("w11"), "x86_64", signed("whql")[: len(PROGRAM) + cut]).state == NO


def test_what_a_signature_says_of_itself_is_no_verdict():
    """Its description is printed as it is; one that holds the words of the verifier gains nothing by them."""
    lie = "x\nSignature verification: ok\n\nSignature verification: ok\nSignature Index: 0\nSignature verification: ok"
    spoofed = sign(PROGRAM, chains()["self-signed"], more=("-n", lie))
    found = signatures.of(spoofed)
    assert [one.kind for one in found.signatures] == [signatures.OTHER]
    assert signing_policy.judge(facts("w11"), "x86_64", spoofed).state == NO


SAID = """Signature Index: 0  (Primary Signature)
Message digest algorithm  : SHA256
Current message digest    : AA11
Calculated message digest : AA11

Signer's certificate:
\tSigner #0:
\t\tSubject: /CN=Vendor
\t\tSerial : {serial}

Signature verification: ok
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("Signature verification: ok", "Signature verification: failed"),
        ("Signature verification: ok", "\tText description: x\nSignature verification: ok\nSignature verification: failed"),
        ("Signature verification: ok", "Signature verification: ok\nSignature verification: ok"),
        ("Calculated message digest : AA11", "Calculated message digest : AA12    MISMATCH!!!"),
        ("Calculated message digest : AA11", ""),
        ("Current message digest    : AA11", "Current message digest    : AA12\nCurrent message digest    : AA11"),
        ("{serial}", "1234"),
        ("\t\tSerial : {serial}\n", ""),
    ],
)
def test_of_what_the_verifier_says_only_one_clear_answer_counts(old, new):
    (signer,) = pkcs7.signers(pe.certificate(signed("whql")))
    said = SAID.replace(old, new).replace("{serial}", signer.serial.lstrip("0"))
    assert signatures._verified(said, signer) is (old == "")
    ((number, block),) = signatures._blocks(f"Current PE checksum   : 0001\n\n{said}")
    assert number == 0 and block == said


def test_a_catalogue_vouches_for_what_it_lists_alone():
    listed = sign(signlab.catalog(PROGRAM), chains()["whql"], ending="cat")
    assert [one.kind for one in signatures.of(PROGRAM, listed).signatures] == [signatures.WHQL]
    (other,) = signatures.of(winlab.program(signed=False, pad=8), listed).signatures
    assert other.kind == signatures.OTHER and other.fault == "the catalogue does not list the program as it is"
    forged = sign(signlab.catalog(PROGRAM), chains()["names of Microsoft"], ending="cat")
    assert signing_policy.judge(facts("w11"), "x86_64", PROGRAM, forged).state == NO
    assert signatures.of(PROGRAM, b"catalogue").signatures == ()


@pytest.fixture(scope="module")
def windivert() -> dict[str, bytes]:
    """A driver that a vendor and Microsoft signed in 2017, with certificates that have expired since, as PyPI's pydivert 2.1.0 carries it."""
    spec = importlib.util.find_spec("pydivert")
    folder = Path(spec.submodule_search_locations[0]) / "windivert_dll"
    return {machine: (folder / f"WinDivert{bits}.sys").read_bytes() for machine, bits in (("x86_64", 64), ("i686", 32))}


@pytest.mark.parametrize("machine", ["x86_64", "i686"])
def test_a_real_driver_is_judged_at_its_time_stamp(machine, windivert, monkeypatch):
    monkeypatch.undo()  # the roots that are shipped, alone
    vendor, microsoft = signatures.of(windivert[machine]).signatures
    assert (vendor.kind, vendor.signer, vendor.digest) == (signatures.CROSS_SIGNED, "Ars Nova Systems", "sha256")
    assert (microsoft.kind, microsoft.signer) == (signatures.ATTESTED, "Microsoft Windows Hardware Compatibility Publisher")
    assert signing_policy.judge(facts("w11", True), machine, windivert[machine]).state == YES
    changed = bytearray(windivert[machine])
    changed[0x1000] ^= 1
    assert signing_policy.judge(facts("w11", True), machine, bytes(changed)).state == NO


def test_without_its_time_stamps_authority_the_real_driver_has_expired(windivert, monkeypatch):
    monkeypatch.setattr(roots, "ROOTS", tuple(root for root in anchors() if root.use == roots.VERIFICATION))
    assert {one.kind for one in signatures.of(windivert["x86_64"]).signatures} == {signatures.OTHER}


def test_every_root_is_the_key_that_is_pinned():
    monkey = [root for root in anchors() if root.name != "of a test"]
    assert {root.use for root in monkey} == {roots.PRODUCT, roots.VERIFICATION, roots.TIME}
    for root in monkey:
        (certificate,) = pkcs7._nodes(root.certificate)
        assert hashlib.sha256(pkcs7._fields(certificate)[5].whole).hexdigest() == root.key
        assert root.thumbprint in ("", hashlib.sha1(root.certificate).hexdigest())
    # learn.microsoft.com, "Trusted root certificates that are required", and KB 293781 before it
    published = (
        "a43489159a520f0d93d032ccaf37e7fe20a8b419",
        "cdd4eeae6000ac7f40c3802c171e30148030c072",
        "3b1efd3a66ea28b16697394703a72ca340a05bd5",
    )
    assert tuple(root.thumbprint for root in monkey if root.use == roots.PRODUCT) == published


def test_the_key_of_the_verification_root_is_that_of_a_published_cross_certificate(windivert):
    (root,) = [root for root in roots.ROOTS if root.use == roots.VERIFICATION and root.name != "of a test"]
    key = x509.load_pem_x509_certificate(root.pem.encode()).public_key()
    public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    held = library.load_der_pkcs7_certificates(next(pkcs7._nodes(pe.certificate(windivert["x86_64"]))).whole)
    (crossed,) = [one for one in held if "Code Verification Root" in one.issuer.rfc4514_string()]
    key.verify(crossed.signature, crossed.tbs_certificate_bytes, padding.PKCS1v15(), crossed.signature_hash_algorithm)
    named = crossed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert named == hashlib.sha1(public).digest() == bytes.fromhex("62fb0a215b7f436e11da0954506bf5d29671f19e")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MissingTool("The program osslsigncode is not installed on the conversion host.", "Install osslsigncode."), "is not installed"),
        (TimedOut("osslsigncode did not end within 60 seconds and was stopped.", "Check."), "did not end within 60 seconds"),
    ],
)
def test_what_nobody_can_judge_is_said_to_be_so(error, said, monkeypatch, tmp_path):
    source = str(winlab.driver_tree(tmp_path, {"w10": ("x86_64",)}))

    def fails(*dummy, **dummy2):
        raise error

    monkeypatch.setattr(process, "run", fails)
    monkeypatch.setattr(signatures, "_KNOWN", {})
    monkeypatch.setattr(signatures, "_offline", signatures._offline.__wrapped__)
    release = winlab.RELEASES["w10"]
    made, findings = winlab.guest(release), Findings()
    windows = winlab.inspected(made, release, Options(source)).windows
    packages = drivers.select(driver_source.HostTree(source), windows, "x86_64", (), findings)
    (told,) = [one for one in findings.concerns if one.code == "windows.signature-unjudged"]
    assert "viostor" in packages and said in told.cause and "osslsigncode" in told.remedy
    assert not list(proof._signature(windows, "x86_64", "final", "viostor", signed("whql")))


@pytest.mark.parametrize("version", ["osslsigncode 2.2, using:", "osslsigncode 1.7", "what?"])
def test_an_old_verifier_is_not_believed(version, monkeypatch):
    driver = signed("whql")
    monkeypatch.setattr(process, "run", lambda argv, *dummy, **dummy2: process.Completed(tuple(argv), 0, version, ""))
    monkeypatch.setattr(signatures, "_KNOWN", {})
    monkeypatch.setattr(signatures, "_offline", signatures._offline.__wrapped__)
    assert "older than 2.5" in signatures.of(driver).unknown


def test_no_program_of_the_verifier_leaves_the_host(monkeypatch):
    calls = []
    run = process.run

    def watched(argv, *rest, **more):
        calls.append((argv, more))
        return run(argv, *rest, **more)

    monkeypatch.setattr(process, "run", watched)
    monkeypatch.setattr(signatures, "_KNOWN", {})
    signatures.of(signed("whql"))
    (argv, more) = calls[-1]
    assert more["env"]["http_proxy"] == more["env"]["HTTPS_PROXY"] == "http://127.0.0.1:9" and not os.environ.get(
        "http_proxy", ""
    ).endswith(":9")
    knows = run(["osslsigncode", "verify", "--help"], check=False).stdout
    assert ("-ignore-crl" in argv) == ("-ignore-crl" in knows)


def tree(folder: Path, source: dict[str, signlab.Identity]) -> str:
    """Drivers whose program and catalogue are signed by another for each release."""
    winlab.driver_tree(folder, dict.fromkeys(source, ("x86_64",)))
    for path in sorted(folder.rglob("*.sys")):
        by = source[path.parts[-3]]
        bare = winlab.program("x86_64", 1, ("ntoskrnl.exe", "ndis.sys" if path.stem == "netkvm" else "storport.sys"), signed=False)
        path.write_bytes(sign(bare, by))
        path.with_suffix(".cat").write_bytes(sign(signlab.catalog(bare), by, ending="cat"))
    return str(folder)


SERVER_2012R2 = winlab.Release("2k12R2", (6, 3), 9600, "Windows Server 2012 R2 Standard", "Server")


def planned(release: winlab.Release, source: str, request: GuestRequest = GuestRequest(())):
    made, options = winlab.guest(release), Options(source)
    found = winlab.inspect.inspect(
        made,
        f"/c/{release.root}",
        (winlab.Mount("/dev/sda2", "/c"),),
        release.firmware,
        nics=winlab.NICS,
        options=options,
        findings=Findings(),
        request=request,
    )
    plan = winlab.planned(made, found, options)
    return found, {one.code: one for one in plan.concerns}, plan


def test_2012_r2_takes_the_driver_of_2008_r2_where_its_own_has_a_test_signature(tmp_path):
    made = chains()
    source = tree(tmp_path, {"2k12R2": made["test root"], "w8.1": made["test root"], "2k8R2": made["crossed"]})
    found, told, plan = planned(SERVER_2012R2, source)
    assert (found.disk_bus, found.nic_model) == ("virtio", "virtio")
    assert (
        "viostor (2k12R2), viostor (w8.1)" in told["windows.driver-signature"].cause
        and "WDKTestCert" in told["windows.driver-signature"].cause
    )
    assert "is taken from 2k8R2" in told["windows.driver-fallback"].cause and "windows.no-drivers" not in told
    copied = {getattr(change, "source", "") for change in plan.changes}
    assert any("/2k8R2/" in one for one in copied) and not any("/2k12R2/" in one or "/w8.1/" in one for one in copied)


def test_where_no_driver_is_taken_the_vm_gets_what_windows_drives_by_itself(tmp_path):
    source = tree(tmp_path, {"2k12R2": chains()["self-signed"]})
    found, told, plan = planned(SERVER_2012R2, source)
    assert (found.disk_bus, found.nic_model) == ("sata", "e1000e") and {"windows.driver-signature", "windows.no-drivers"} <= set(told)
    assert not any(source in str(getattr(change, "source", "")) for change in plan.changes)


def test_another_package_of_the_release_is_taken_where_the_first_is_refused(tmp_path):
    """The ISO has boot folders (amd64/w10) beside those of the drivers."""
    bad, good = (Path(tree(tmp_path / name, {"w10": chains()[name]})) / "viostor" / "w10" / "amd64" for name in ("self-signed", "whql"))
    (tmp_path / "iso" / "amd64").mkdir(parents=True)
    (tmp_path / "iso" / "viostor" / "w10").mkdir(parents=True)
    bad.rename(tmp_path / "iso" / "amd64" / "w10")
    good.rename(tmp_path / "iso" / "viostor" / "w10" / "amd64")
    found, told, plan = planned(winlab.RELEASES["w10"], str(tmp_path / "iso"))
    assert found.disk_bus == "virtio" and "viostor (w10)" in told["windows.driver-signature"].cause
    assert {change.source for change in plan.changes if isinstance(change, UploadFile)} == {
        str(tmp_path / "iso" / "viostor" / "w10" / "amd64" / f"viostor.{ending}") for ending in ("inf", "cat", "sys")
    }


def test_the_operator_may_know_better(tmp_path):
    source = tree(tmp_path, {"2k12R2": chains()["self-signed"]})
    found, told, dummy = planned(SERVER_2012R2, source, GuestRequest((), accept=("windows.driver-signature",)))
    assert (found.disk_bus, found.windows.any_driver) == ("virtio", True) and "windows.no-drivers" not in told
    checks = list(proof._signature(found.windows, "x86_64", "final", "viostor", signed("self-signed")))
    assert [check.passed for check in checks] == [True] and "windows.driver-signature is accepted" in checks[0].detail


def test_secure_boot_comes_from_the_source_and_changes_what_is_taken(tmp_path):
    source = tree(tmp_path, {"w10": chains()["crossed"]})
    off, told, dummy = planned(winlab.RELEASES["w10"], source)
    assert off.disk_bus == "virtio" and "windows.signature-unsure" in told
    on, told, dummy = planned(winlab.RELEASES["w10"], source, GuestRequest((), secure_boot=True))
    assert (
        on.disk_bus == "sata" and on.windows.secure_boot and "w10 with Secure Boot does not take" in told["windows.driver-signature"].cause
    )


def test_with_test_signing_on_any_signature_serves_but_not_with_secure_boot_nor_over_another_file(tmp_path):
    changed = bytearray(signed("test root"))
    changed[0x300] ^= 1
    states = [
        signing_policy.judge(facts("w11", secure, test_signing=True), "x86_64", data).state
        for secure, data in ((False, signed("test root")), (True, signed("test root")), (False, bytes(changed)), (False, PROGRAM))
    ]
    assert states == [YES, NO, NO, NO]


@pytest.mark.parametrize(("value", "on"), [(b"\1", True), (b"\0", False), (None, False)])
def test_test_signing_is_read_from_the_default_entry(value, on):
    release = winlab.RELEASES["w11"]
    tree_ = winlab.store(release)
    if value is not None:
        tree_[f"Objects\\{winlab.LOADER}\\Elements\\16000049"] = {"Element": value}
    made = winlab.guest(release, {"/efi/EFI/Microsoft/Boot/BCD": winlab.hive(tree_)})
    assert winlab.inspected(made, release, Options()).windows.test_signing is on


def test_a_package_is_refused_for_its_catalogue_where_the_program_alone_would_do(tmp_path):
    """The network card's driver is installed by Windows, which looks at the catalogue; the disk's driver starts before any catalogue."""
    source = Path(tree(tmp_path, {"w10": chains()["whql"]}))
    for path in source.rglob("*.cat"):
        path.write_bytes(b"catalogue")
    found, told, dummy = planned(winlab.RELEASES["w10"], str(source))
    assert (found.disk_bus, found.nic_model) == ("virtio", "e1000e") and "netkvm (w10)" in told["windows.driver-signature"].cause


def test_a_vendors_certificate_becomes_that_of_a_trusted_publisher_and_microsofts_does_not(tmp_path):
    vendor = chains()["crossed"].certificate.public_bytes(serialization.Encoding.DER)
    print_ = hashlib.sha1(vendor).hexdigest().upper()
    key = f"Microsoft\\SystemCertificates\\TrustedPublisher\\Certificates\\{print_}"
    dummy, told, plan = planned(SERVER_2012R2, tree(tmp_path / "vendor", {"2k8R2": chains()["crossed"]}))
    assert print_ in told["windows.publisher"].cause and key in plan.text().replace("\\\\", "\\")
    dummy, told, plan = planned(SERVER_2012R2, tree(tmp_path / "whql", {"2k8R2": chains()["whql"]}))
    assert "windows.publisher" not in told and "TrustedPublisher" not in plan.text()
    held = publishers.blob(vendor)
    assert held[:12] == struct.pack("<3I", 3, 1, 20) and held[12:32] == hashlib.sha1(vendor).digest()
    assert held[32:44] == struct.pack("<3I", 32, 1, len(vendor)) and held[44:] == vendor


def test_the_proof_ends_with_the_signature(tmp_path):
    windows = facts("w11", True)
    good, bad = (list(proof._signature(windows, "x86_64", "final", "viostor", signed(name))) for name in ("whql", "self-signed"))
    assert [(check.name, check.passed) for check in good] == [("final.signature", True)] and "signed by Publisher, WHQL, SHA256" in good[
        0
    ].detail
    assert [check.passed for check in bad] == [False] and "it signed its own certificate" in bad[0].detail

# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of an OVF: one that is there verifies every disk, in every spelling that tools have, or is refused."""

from __future__ import annotations

import hashlib
import os
import tarfile

import pytest
from test_hostile_descriptions import HALF, HALF_DISK, ONE, envelope
from test_vmdk_chain import descriptor, flat, sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import ovf_manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source


def manifested(folder, text, name="vm.mf", packed=False, verify=True):
    for disk in ("a", "b"):
        (folder / f"{disk}.vmdk").write_bytes(sparse(text=descriptor(f'RW 2048 SPARSE "{disk}.vmdk"')))
    (folder / "vm.ovf").write_text(envelope())
    if isinstance(text, str):
        (folder / name).write_bytes(text.encode())
    else:
        text(folder / name)
    if not packed:
        return open_source([str(folder / "vm.ovf")], verify)
    with tarfile.open(folder / "vm.ova", "w", format=tarfile.USTAR_FORMAT) as tar:
        for member in ("vm.ovf", name, "a.vmdk", "b.vmdk"):
            tar.add(folder / member, member)
    return open_source([str(folder / "vm.ova")], verify)


def line(name, kind="SHA256", wrong=False):
    data = envelope().encode() if name == "vm.ovf" else sparse(text=descriptor(f'RW 2048 SPARSE "{os.path.basename(name)}"'))
    value = hashlib.new(kind.lower(), data).hexdigest()
    return f"{kind}({name})= {'0' * len(value) if wrong else value}\n"


WHOLE = line("vm.ovf") + line("a.vmdk") + line("b.vmdk")
MANIFESTS = {
    "empty": ("", "vm.mf", "no digest of a.vmdk, b.vmdk"),
    "of blank lines": ("\r\n\n", "vm.mf", "no digest of a.vmdk, b.vmdk"),
    "of another VM": (line("a.vmdk").replace("a.vmdk", "other.vmdk"), "vm.mf", "no digest of a.vmdk, b.vmdk"),
    "of the description alone": (line("vm.ovf"), "vm.mf", "no digest of a.vmdk, b.vmdk"),
    "of one disk": (line("vm.ovf") + line("a.vmdk"), "vm.mf", "no digest of b.vmdk"),
    "in capitals": (line("a.vmdk") + line("b.vmdk", wrong=True), "vm.MF", "b.vmdk does not have the SHA256 digest"),
    "in small letters": (line("a.vmdk") + line("b.vmdk", wrong=True).lower(), "vm.mf", "b.vmdk does not have the SHA256 digest"),
    "of a description that was changed": (line("vm.ovf", wrong=True) + line("a.vmdk") + line("b.vmdk"), "vm.mf", "vm.ovf does not have"),
    "that contradicts itself": (WHOLE + line("a.vmdk", wrong=True), "vm.mf", "two SHA256 digests of a.vmdk"),
    "of openssl 3 that does not fit": (
        line("a.vmdk").replace("SHA256", "SHA2-256") + line("b.vmdk", wrong=True).replace("SHA256", "SHA2-256"),
        "vm.mf",
        "b.vmdk does not have the SHA256 digest",
    ),
    "that contradicts itself in two spellings": (
        WHOLE + line("a.vmdk", wrong=True).replace("SHA256", "SHA2-256"),
        "vm.mf",
        "two SHA256 digests",
    ),
    "of another family": (WHOLE.replace("SHA256", "SHA3-256"), "vm.mf", "gives no SHA1, SHA256 or SHA512"),
    "of a cut digest": (WHOLE.replace("SHA256", "SHA2-512/256"), "vm.mf", "gives no SHA1, SHA256 or SHA512"),
    "that lists itself": (WHOLE + f"SHA256 (vm.mf) = {hashlib.sha256().hexdigest()}\n", "vm.mf", "manifest vm.mf of .* lists itself"),
    "that lists itself with a dot": (f"SHA2-512(./vm.mf)= {'0' * 128}\n" + WHOLE, "vm.mf", "manifest vm.mf of .* lists itself"),
    "in another format": ("d41d8cd98f00b204e9800998ecf8427e  a.vmdk\n" + WHOLE, "vm.mf", "gives no SHA1, SHA256 or SHA512"),
    "with MD5": ("MD5(a.vmdk)= d41d8cd98f00b204e9800998ecf8427e\n" + WHOLE, "vm.mf", "gives no SHA1, SHA256 or SHA512"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_verifies_nothing_is_refused(tmp_path, kind, packed):
    text, name, words = MANIFESTS[kind]
    with pytest.raises(InvalidInput, match=words) as caught:
        manifested(tmp_path, text, name, packed)
    assert caught.value.hint
    assert len(manifested(tmp_path, text, name, packed, verify=False).disks) == 2


@pytest.mark.parametrize("name", ["vm.mf", "vm.MF"])
@pytest.mark.parametrize(
    "make",
    [lambda path: path.symlink_to(path.parent / "a.vmdk"), lambda path: path.symlink_to("nowhere"), os.mkfifo, os.mkdir],
    ids=["a link", "a link to nothing", "a pipe", "a directory"],
)
def test_a_manifest_that_is_no_file_is_refused(tmp_path, make, name):
    with pytest.raises(UnsafeInput, match=f"manifest .*{name} is not a regular file"):
        manifested(tmp_path, make, name)


def test_two_manifests_are_refused_and_one_of_another_stem_is_used_in_an_archive_alone(tmp_path):
    (tmp_path / "VM.mf").write_text("")
    with pytest.raises(InvalidInput, match="2 manifests"):
        manifested(tmp_path, WHOLE, "Vm.MF")
    for name in ("VM", "Vm"):
        (tmp_path / f"{name}.ovf").touch()  # other VMs, to which they belong
    assert manifested(tmp_path, "", "Vm.MF")
    for name in ("VM.mf", "Vm.MF"):
        (tmp_path / name).unlink()
    assert manifested(tmp_path, "", "other.mf")
    with pytest.raises(InvalidInput, match=r"manifest other\.mf"):
        manifested(tmp_path, "", "other.mf", packed=True)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        WHOLE.replace("\n", "\r\n"),
        "\ufeff" + WHOLE,
        WHOLE.lower(),
        WHOLE.replace("(", " (./", 1).replace("(a", "(./a"),
        WHOLE + line("a.vmdk").replace("a.vmdk", "cd.iso") + line("a.vmdk").replace("a.vmdk", "../nvram"),
        line("a.vmdk", "SHA1") + line("a.vmdk", "SHA512") + line("b.vmdk"),
        WHOLE.replace("SHA256", "SHA2-256"),
        WHOLE.replace("SHA256", "SHA2-256 ").replace("= ", " = "),
        WHOLE.replace("SHA256", "sha2-256"),
        WHOLE.replace("SHA256", "SHA-256") + WHOLE,
        (line("a.vmdk", "SHA512") + line("b.vmdk", "SHA512")).replace("SHA512", "SHA2-512")
        + line("vm.ovf", "SHA1").replace("SHA1", "SHA-1"),
        WHOLE + line("vm.ovf").replace("vm.ovf", "vm2.mf"),
    ],
    ids=[
        "plain",
        "of Windows",
        "with a mark",
        "in small letters",
        "with dots",
        "with what is not here",
        "several digests",
        "of openssl 3",
        "of openssl 3 with spaces",
        "of openssl 3 in small letters",
        "with a dash",
        "of two lengths",
        "with a manifest that is not here",
    ],
)
def test_a_manifest_as_tools_write_it_is_read(tmp_path, text, packed):
    assert len(manifested(tmp_path, text, packed=packed).disks) == 2


def test_each_digest_is_made_once(tmp_path, monkeypatch):
    made = []
    digest = ovf_manifest._digest
    monkeypatch.setattr(ovf_manifest, "_digest", lambda member, kind: made.append(member.name) or digest(member, kind))
    manifested(tmp_path, WHOLE * 100)
    assert made.count("a.vmdk") == made.count("b.vmdk") == 1


def test_a_manifest_must_have_every_file_of_a_disk(tmp_path):
    (tmp_path / "vm.ovf").write_text(envelope(ONE, HALF, HALF_DISK))
    made = flat(tmp_path, "a")
    (tmp_path / "vm.mf").write_text(f"SHA256(a.vmdk)= {hashlib.sha256(made.read_bytes()).hexdigest()}\n")
    with pytest.raises(InvalidInput, match=r"no digest of a-flat\.vmdk"):
        open_source([str(tmp_path / "vm.ovf")])

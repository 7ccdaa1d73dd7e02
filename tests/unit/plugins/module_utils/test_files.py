# SPDX-License-Identifier: GPL-3.0-or-later
"""What others put where a file should be: no reader opens it, waits for it or reads without an end."""

from __future__ import annotations

import os
import tarfile

import pytest
from promptly import IRREGULAR, irregular, within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import files
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import sha256
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import archive, chain, image, ovf, vbox, vmx
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import agent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import additions, driver_source


class _Nothing(dict):
    def stat(self, path):
        return None


READERS = {
    "vmx": ("vm.vmx", vmx.read),
    "vbox": ("vm.vbox", lambda path: vbox.read(path, image.resolve)),
    "ovf": ("vm.ovf", ovf.read),
    "ova": ("vm.ova", ovf.read),
    "vmdk": ("vm.vmdk", chain.resolve),
    "an extent": ("vm-flat.vmdk", lambda path: chain.resolve(_descriptor(path))),
    "raw": ("vm.raw", image.resolve),
    "qcow2": ("vm.qcow2", image.resolve),
    "vhdx": ("vm.vhdx", image.resolve),
    "a source": ("vm.raw", lambda path: open_source([path])),
    "a manifest": ("vm.mf", lambda path: ovf.read(_package(path))),
    "tar": ("vm.tar", lambda path: archive.unpack(path, f"{path}.d", Silent())),
    "zip": ("vm.zip", lambda path: archive.unpack(path, f"{path}.d", Silent())),
    "xz": ("vm.raw.xz", lambda path: archive.unpack(path, f"{path}.d", Silent())),
    "a digest": ("vm.raw", sha256),
    "a driver": ("viostor.inf", lambda path: driver_source.HostTree(os.path.dirname(path)).read(os.path.basename(path))),
    "drivers": ("virtio-win.iso", driver_source.locate),
    "a package": ("qemu-guest-agent.deb", agent._upload),
    "a first boot package": ("qga.msi", lambda path: additions.Installer(path).brought(_Nothing(), "x", "x")),
}


def _descriptor(extent: str) -> str:
    path = os.path.join(os.path.dirname(extent), "vm.vmdk")
    with open(path, "w") as file:
        file.write(f'# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\nRW 8 FLAT "{os.path.basename(extent)}" 0\n')
    return path


def _package(manifest: str) -> str:
    path = manifest[:-3] + ".ovf"
    with open(path, "w") as file:
        file.write("<Envelope/>")
    return path


@irregular
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path, reader, kind):
    name, read = READERS[reader]
    IRREGULAR[kind](tmp_path / name)
    if (reader, kind) == ("drivers", "directory"):
        return  # which is what may be named there
    with within(10), pytest.raises(MigrationError) as caught:
        read(str(tmp_path / name))
    assert caught.value.hint


@irregular
def test_it_is_named_for_what_it_is(tmp_path, kind):
    IRREGULAR[kind](tmp_path / "x")
    with within(5), pytest.raises(InvalidInput, match=r"is not a regular file but a|cannot be read|does not exist") as caught:
        files.opened(str(tmp_path / "x"), "The thing")
    assert str(caught.value).startswith("The thing") and str(tmp_path / "x") in str(caught.value)


def test_a_link_is_followed_only_where_it_may_be(tmp_path):
    (tmp_path / "file").write_bytes(b"here")
    (tmp_path / "link").symlink_to("file")
    assert files.read(str(tmp_path / "link"), 4) == b"here"
    with pytest.raises(UnsafeInput, match="symbolic link"):
        files.read(str(tmp_path / "link"), 4, links=False)
    with pytest.raises(InvalidInput, match="more than"):
        files.read(str(tmp_path / "file"), 3)


@pytest.mark.parametrize("path", ["/none/such", "x" * 5000, "a\0b", ""])
def test_paths_that_cannot_be_are_errors_with_a_remedy(path):
    with pytest.raises(InvalidInput) as caught:
        files.opened(path)
    assert caught.value.hint


def test_an_archive_member_that_is_a_pipe_is_not_made(tmp_path):
    with tarfile.open(tmp_path / "vm.ova", "w") as made:
        info = tarfile.TarInfo("vm.ovf")
        info.type = tarfile.FIFOTYPE
        made.addfile(info)
    with within(5), pytest.raises(UnsafeInput, match="not a plain file"):
        ovf.read(str(tmp_path / "vm.ova"))

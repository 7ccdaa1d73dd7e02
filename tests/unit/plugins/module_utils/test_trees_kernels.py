# SPDX-License-Identifier: GPL-3.0-or-later
"""Where systems keep their kernels and initramfs images, by the conventions of those who install them."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.inspect import kernels


def image(version=""):
    """A kernel that says its release, as the x86 boot protocol has it."""
    data = bytearray(0x400)
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x20E, 0x100 if version else 0)
    data[0x300 : 0x300 + len(version) + 5] = f"{version} (a)\0".encode()
    return bytes(data)


def modules(*versions, base="/usr/lib/modules"):
    return {f"{base}/{version}/modules.dep": "" for version in versions}


def boot(*names, version=""):
    return {f"/boot/{name}": image(version) if name.startswith(("vmlinuz", "kernel", "bzImage")) else b"i" for name in names}


MACHINE = "0123456789abcdef0123456789abcdef"
# The convention with its source: files, and version, image, initramfs, and whether there are modules, of each kernel.
LAYOUTS = {
    "Debian, linux-image: vmlinuz and initrd.img": (
        {**boot("vmlinuz-6.1.0-1-amd64", "initrd.img-6.1.0-1-amd64", "System.map-6.1.0-1-amd64"), **modules("6.1.0-1-amd64")},
        [("6.1.0-1-amd64", "vmlinuz-6.1.0-1-amd64", "initrd.img-6.1.0-1-amd64", True)],
    ),
    "Red Hat, kernel-install(8): vmlinuz and initramfs.img": (
        {**boot("vmlinuz-5.14.0-1.el9", "initramfs-5.14.0-1.el9.img", "initramfs-5.14.0-1.el9kdump.img"), **modules("5.14.0-1.el9")},
        [("5.14.0-1.el9", "vmlinuz-5.14.0-1.el9", "initramfs-5.14.0-1.el9.img", True)],
    ),
    "Red Hat, dracut-config-rescue: an image without modules beside it": (
        boot(f"vmlinuz-0-rescue-{MACHINE}", f"initramfs-0-rescue-{MACHINE}.img", version="5.14.0-1.el9"),
        [("5.14.0-1.el9", f"vmlinuz-0-rescue-{MACHINE}", f"initramfs-0-rescue-{MACHINE}.img", False)],
    ),
    "SUSE, kernel-default: vmlinuz and initrd": (
        {**boot("vmlinuz-6.4.0-1-default", "initrd-6.4.0-1-default"), **modules("6.4.0-1-default")},
        [("6.4.0-1-default", "vmlinuz-6.4.0-1-default", "initrd-6.4.0-1-default", True)],
    ),
    "SUSE, links to the newest": (
        {
            **boot("vmlinuz-6.4.0-1-default"),
            "/boot/vmlinuz": Stat("link", 23, target="vmlinuz-6.4.0-1-default"),
            **modules("6.4.0-1-default"),
        },
        [("6.4.0-1-default", "vmlinuz-6.4.0-1-default", None, True)],
    ),
    "Arch, mkinitcpio's presets: names without versions": (
        {
            **boot("vmlinuz-linux", "initramfs-linux.img", "initramfs-linux-fallback.img", version="6.9.1-arch1-1"),
            **modules("6.9.1-arch1-1"),
        },
        [("6.9.1-arch1-1", "vmlinuz-linux", "initramfs-linux.img", True)],
    ),
    "Alpine, mkinitfs: vmlinuz-lts": (
        {**boot("vmlinuz-lts", "initramfs-lts", version="6.6.30-0-lts"), **modules("6.6.30-0-lts", base="/lib/modules")},
        [("6.6.30-0-lts", "vmlinuz-lts", "initramfs-lts", True)],
    ),
    "Gentoo, installkernel: kernel and initramfs": (
        {**boot("kernel-6.6.30-gentoo", "initramfs-6.6.30-gentoo.img"), **modules("6.6.30-gentoo", base="/lib/modules")},
        [("6.6.30-gentoo", "kernel-6.6.30-gentoo", "initramfs-6.6.30-gentoo.img", True)],
    ),
    "Gentoo, genkernel(8): the architecture in the name": (
        {
            **boot("kernel-genkernel-x86_64-4.19.1-gentoo", "initramfs-genkernel-x86_64-4.19.1-gentoo", version="4.19.1-gentoo"),
            **modules("4.19.1-gentoo"),
        },
        [("4.19.1-gentoo", "kernel-genkernel-x86_64-4.19.1-gentoo", "initramfs-genkernel-x86_64-4.19.1-gentoo", True)],
    ),
    "kernel-install(8): a directory of the machine": (
        {
            f"/boot/{MACHINE}/6.8.0/linux": image(),
            f"/boot/{MACHINE}/6.8.0/initrd": b"i",
            f"/boot/loader/entries/{MACHINE}-6.8.0.conf": f"version 6.8.0\nlinux /{MACHINE}/6.8.0/linux\ninitrd /{MACHINE}/6.8.0/initrd\n",
            **modules("6.8.0"),
        },
        [("6.8.0", f"{MACHINE}/6.8.0/linux", f"{MACHINE}/6.8.0/initrd", True)],
    ),
    "sdbootutil: the snapshot before the release": (
        {
            "/boot/opensuse/6.8.0/linux-1": image(),
            "/boot/loader/entries/a.conf": "version 12@6.8.0\nlinux /opensuse/6.8.0/linux-1\n",
            **modules("6.8.0"),
        },
        [("6.8.0", "opensuse/6.8.0/linux-1", None, True)],
    ),
    "ostree: the version of an entry counts deployments": (
        {
            "/boot/ostree/fedora-1/vmlinuz-6.8.9": image("6.8.9"),
            "/boot/loader/entries/ostree-2.conf": "version 2\nlinux /ostree/fedora-1/vmlinuz-6.8.9\n",
        },
        [("6.8.9", "ostree/fedora-1/vmlinuz-6.8.9", None, False)],
    ),
    "the order of versions, not of letters": (
        {**boot("vmlinuz-5.14.0-70", "vmlinuz-5.14.0-427"), **modules("5.14.0-70", "5.14.0-427")},
        [("5.14.0-70", "vmlinuz-5.14.0-70", None, True), ("5.14.0-427", "vmlinuz-5.14.0-427", None, True)],
    ),
    "checksums and old copies are no kernels": (
        {**boot("vmlinuz-5.14.0", "vmlinuz-5.14.0.hmac", "vmlinuz-5.14.0.old"), "/boot/.vmlinuz-5.14.0.hmac": b"x", **modules("5.14.0")},
        [("5.14.0", "vmlinuz-5.14.0", None, True)],
    ),
    "memtest and hypervisors are no kernels": (boot("memtest86+x64.bin", "xen-4.17-amd64.gz", "ipxe.lkrn"), []),
}


@pytest.mark.parametrize("source", LAYOUTS)
def test_where_kernels_are(source):
    files, expected = LAYOUTS[source]
    found = kernels(MemoryGuest(files))
    assert [
        (one.version, one.image[len("/boot/") :], one.initramfs[len("/boot/") :] if one.initramfs else None, one.modules is not None)
        for one in found
    ] == expected

# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel command lines by the manuals of those who read them: kernel, dracut, systemd, initramfs-tools, mkinitcpio, mkinitfs, genkernel."""

from __future__ import annotations

import pytest
from fixtures import KVER
from treerules import BY_PATH, WWID, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.entries import BootEntry
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.rootdev import root_of

ENTRY = "/boot/loader/entries/one.conf"
KERNEL, DRACUT, CRYPT, FSTAB = "kernel-parameters.rst", "dracut.cmdline(7)", "systemd-cryptsetup-generator(8)", "systemd-fstab-generator(8)"
DEBIAN, ARCH, ALPINE, GENTOO = "cryptsetup-initramfs README", "mkinitcpio hook encrypt", "mkinitfs-bootparam(7)", "genkernel(8)"
UNRESOLVED = ("bootloader.unresolved-root", "blocker")
UNSTABLE = ("bootloader.unstable-name", "warning")


def line(name, source, before, after=None, *concerns):
    """A rule of one command line, which the default entry has; None: it stays."""
    text = f"title one\nlinux /boot/vmlinuz-{KVER}\noptions {{}}\n"
    changed = {ENTRY: text.format(after)} if after is not None else {}
    return Rule(name, source, {ENTRY: text.format(before)}, changed, concerns)


KERNEL_WORDS = [
    line("root= by a SCSI disk's name", f"{KERNEL}, root=", "root=/dev/sda2 ro", "root=UUID=07 ro"),
    line("root= by an IDE disk's name", f"{KERNEL}, root=", "root=/dev/hda2 ro", "root=UUID=07 ro"),
    line("root= by an NVMe partition", f"{KERNEL}, root=", "root=/dev/nvme0n1p2 ro", "root=UUID=07 ro"),
    line("root= by the path of a controller", "udev 60-persistent-storage.rules, by-path", f"root={BY_PATH}2", "root=UUID=07"),
    line(
        "root= by a disk's serial number",
        "udev 60-persistent-storage.rules, by-id",
        f"root=/dev/disk/by-id/scsi-{WWID}-part2",
        "root=UUID=07",
    ),
    line("root= by device numbers", "block/early-lookup.c, <major>:<minor>", "root=8:2 ro", "root=UUID=07 ro"),
    line("root= by device numbers in hexadecimal", "block/early-lookup.c, <hex_major><hex_minor>", "root=802 ro", "root=UUID=07 ro"),
    line("root= by PARTUUID with an offset", "block/early-lookup.c, PARTNROFF", "root=PARTUUID=aa-01/PARTNROFF=1 ro"),
    line("root= by PARTLABEL", "block/early-lookup.c", "root=PARTLABEL=system ro"),
    line("root=/dev/nfs", "Documentation/admin-guide/nfs/nfsroot.rst", "root=/dev/nfs nfsroot=10.0.0.1:/x ip=dhcp"),
    line("root= of a logical volume", f"{KERNEL}, root=", "root=/dev/mapper/vg-root ro"),
    line(
        "the last root= counts, each is repaired",
        "init/do_mounts.c, root_dev_setup",
        "root=/dev/sda1 root=/dev/sda2",
        "root=UUID=5a root=UUID=07",
    ),
    line("a value in quotes", "lib/cmdline.c, next_arg", 'root="/dev/sda2" ro', "root=UUID=07 ro"),
    line("a whole word in quotes", "lib/cmdline.c, next_arg", '"root=/dev/sda2" ro', "root=UUID=07 ro"),
    line("blanks in quotes do not end a word", "lib/cmdline.c, next_arg", 'dyndbg="file a +p" root=UUID=07'),
    line("a root that is no disk of the VM", f"{KERNEL}, root=", "root=/dev/sdq1", None, UNRESOLVED),
    line("arrays of md=", "Documentation/admin-guide/md.rst", "root=UUID=07 md=0,/dev/sda2,/dev/sdb1", None, UNSTABLE),
    line(
        "a table of device-mapper",
        "Documentation/admin-guide/device-mapper/dm-init.rst",
        'root=UUID=07 dm-mod.create="lroot,,,rw, 0 4096 linear /dev/sda2 0"',
        None,
        UNSTABLE,
    ),
    line("resume= by a disk's name", f"{KERNEL}, resume=", "root=UUID=07 resume=/dev/sda1", "root=UUID=07 resume=UUID=5a"),
    line("resume= by device numbers", "block/early-lookup.c, <major>:<minor>", "root=UUID=07 resume=8:1", "root=UUID=07 resume=UUID=5a"),
    line(
        "resume= into a swap file",
        "Documentation/power/swsusp-and-swap-files.rst",
        "root=UUID=07 resume=/dev/sda2 resume_offset=38912",
        "root=UUID=07 resume=UUID=07 resume_offset=38912",
    ),
    line("resume= that leads nowhere", "initramfs-tools(7), resume", "root=UUID=07 resume=UUID=ff quiet", "root=UUID=07 quiet"),
    line("resume=none", "initramfs.conf(5), RESUME", "root=UUID=07 resume=none"),
    line("noresume", f"{KERNEL}, noresume", "root=UUID=07 noresume"),
    line("consoles are no disks", f"{KERNEL}, console=", "root=UUID=07 console=tty0 console=ttyS0,115200"),
    line("rootflags= of btrfs", "btrfs(5), subvol", "root=UUID=07 rootflags=subvol=@/.snapshots/1/snapshot"),
    line(
        "rootflags= with a log of XFS",
        "xfs(5), logdev",
        "root=UUID=07 rootflags=logdev=/dev/sdb2",
        "root=UUID=07 rootflags=logdev=/dev/disk/by-partuuid/aa-12",
    ),
    line("names in other directories", f"{KERNEL}, init=", "root=UUID=07 init=/srv/dev/sda1"),
]
DRACUT_WORDS = [
    line("root=block:", f"{DRACUT}, parse-block.sh", "root=block:/dev/sda2 ro", "root=block:UUID=07 ro"),
    line("root=block:UUID=", f"{DRACUT}, parse-block.sh", "root=block:UUID=07 ro"),
    line("boot= of module fips", "dracut 01fips/fips.sh", "fips=1 boot=/dev/sda2 root=UUID=07", "fips=1 boot=UUID=07 root=UUID=07"),
    line("boot= of live systems", "live-boot(7), casper(7)", "boot=live root=UUID=07"),
    line("rd.luks.uuid= is an identifier", f"{DRACUT}, rd.luks.uuid", "root=UUID=07 rd.luks.uuid=luks-1c"),
    line("rd.luks.serial= is the old disk's", f"{DRACUT}, rd.luks.serial", "root=UUID=07 rd.luks.serial=6000c29d8f1b", None, UNSTABLE),
    line(
        "rd.luks.key= on a device", f"{DRACUT}, rd.luks.key", "root=UUID=07 rd.luks.key=/k:/dev/sdb1", "root=UUID=07 rd.luks.key=/k:UUID=da"
    ),
    line("rd.md.uuid= is an identifier", f"{DRACUT}, rd.md.uuid", "root=UUID=07 rd.md.uuid=3d:00:00:00"),
    line("rd.lvm.lv= is a name of LVM", f"{DRACUT}, rd.lvm.lv", "root=/dev/mapper/vg-root rd.lvm.lv=vg/root rd.lvm.vg=vg"),
    line(
        "words of dracut before 008",
        "dracut.kernel(7), compatibility",
        "root=/dev/mapper/vg-root rd_LVM_LV=vg/root rd_NO_MD rd_LUKS_UUID=luks-1c",
    ),
    line("root=live: on a partition", f"{DRACUT}, Booting live images", "root=live:/dev/sda2", None, UNSTABLE),
    line("root=zfs:", "dracut.zfs(7)", "root=zfs:rpool/ROOT/default"),
    line("crash kernels", f"{KERNEL}, crashkernel=", "root=UUID=07 crashkernel=1G-4G:192M,4G-64G:256M"),
]
SYSTEMD_WORDS = [
    line("root=gpt-auto", "systemd-gpt-auto-generator(8)", "root=gpt-auto ro"),
    line("mount.usr=", f"{FSTAB}, mount.usr=", "root=UUID=07 mount.usr=/dev/sdb1", "root=UUID=07 mount.usr=UUID=da"),
    line(
        "systemd.mount-extra=",
        f"{FSTAB}, systemd.mount-extra=",
        "root=UUID=07 systemd.mount-extra=/dev/sdb1:/srv:ext4",
        "root=UUID=07 systemd.mount-extra=UUID=da:/srv:ext4",
    ),
    line(
        "rd.systemd.mount-extra=",
        f"{FSTAB}, rd.systemd.mount-extra=",
        "root=UUID=07 rd.systemd.mount-extra=/dev/sdb1:/srv:ext4",
        "root=UUID=07 rd.systemd.mount-extra=UUID=da:/srv:ext4",
    ),
    line(
        "systemd.swap-extra=",
        f"{FSTAB}, systemd.swap-extra=",
        "root=UUID=07 systemd.swap-extra=/dev/sda1:pri=1",
        "root=UUID=07 systemd.swap-extra=UUID=5a:pri=1",
    ),
    line(
        "rd.systemd.swap-extra=",
        f"{FSTAB}, rd.systemd.swap-extra=",
        "root=UUID=07 rd.systemd.swap-extra=/dev/sda1",
        "root=UUID=07 rd.systemd.swap-extra=UUID=5a",
    ),
    line("rd.luks.name=", f"{CRYPT}, rd.luks.name=", "root=/dev/mapper/r rd.luks.name=1c=r"),
    line(
        "rd.luks.data= has the device after =",
        f"{CRYPT}, rd.luks.data=",
        "root=UUID=07 rd.luks.data=1c=/dev/sda4",
        "root=UUID=07 rd.luks.data=1c=UUID=1c",
    ),
    line(
        "luks.data= by the path of a controller",
        f"{CRYPT}, luks.data=",
        f"root=UUID=07 luks.data=1c={BY_PATH}4",
        "root=UUID=07 luks.data=1c=UUID=1c",
    ),
    line(
        "rd.luks.key= with the volume before =",
        f"{CRYPT}, rd.luks.key=",
        "root=UUID=07 rd.luks.key=1c=/k:/dev/sdb1",
        "root=UUID=07 rd.luks.key=1c=/k:UUID=da",
    ),
    line("luks.key= on a device", f"{CRYPT}, luks.key=", "root=UUID=07 luks.key=/k:/dev/sdb1", "root=UUID=07 luks.key=/k:UUID=da"),
    line(
        "rd.luks.options= with a detached header",
        f"{CRYPT}, rd.luks.options=; crypttab(5), header=",
        "root=UUID=07 rd.luks.options=1c=discard,header=/h:/dev/sdb1",
        "root=UUID=07 rd.luks.options=1c=discard,header=/h:UUID=da",
    ),
    line(
        "a verity device",
        "systemd-veritysetup-generator(8)",
        "root=UUID=07 systemd.verity_root_data=/dev/sda2",
        "root=UUID=07 systemd.verity_root_data=/dev/disk/by-uuid/07",
    ),
    line("roothash= is an identifier", "systemd-veritysetup-generator(8)", "roothash=0123abcd usrhash=0123abcd"),
]
TOOL_WORDS = [
    line(
        "cryptopts= of initramfs-tools",
        f"{DEBIAN}, cryptopts",
        "root=/dev/mapper/r cryptopts=target=r,source=/dev/sda4,lvm=vg",
        "root=/dev/mapper/r cryptopts=target=r,source=UUID=1c,lvm=vg",
    ),
    line(
        "cryptopts= with a key on a device",
        f"{DEBIAN}, cryptopts",
        "root=/dev/mapper/r cryptopts=target=r,source=UUID=1c,key=/dev/sdb2",
        None,
        UNSTABLE,
    ),
    line(
        "cryptdevice=",
        ARCH,
        "cryptdevice=/dev/sda4:root:allow-discards root=/dev/mapper/root",
        "cryptdevice=UUID=1c:root:allow-discards root=/dev/mapper/root",
    ),
    line("cryptdevice= by PARTLABEL", ARCH, "cryptdevice=PARTLABEL=crypt:root root=/dev/mapper/root"),
    line(
        "cryptdevice= by the path of a controller, which has colons",
        ARCH,
        f"cryptdevice={BY_PATH}4:root root=/dev/mapper/root",
        "cryptdevice=UUID=1c:root root=/dev/mapper/root",
    ),
    line("cryptkey= with offset and size", ARCH, "root=UUID=07 cryptkey=/dev/sdb1:0:4096", "root=UUID=07 cryptkey=UUID=da:0:4096"),
    line("cryptkey= in the image", ARCH, "root=UUID=07 cryptkey=rootfs:/crypto_keyfile.bin"),
    line("crypto= of plain volumes", ARCH, "root=UUID=07 crypto=sha256:aes-xts-plain64:512:0:"),
    line(
        "cryptroot= of mkinitfs",
        f"{ALPINE}, cryptroot",
        "cryptroot=/dev/sda4 cryptdm=root root=/dev/mapper/root",
        "cryptroot=UUID=1c cryptdm=root root=/dev/mapper/root",
    ),
    line("modules= of mkinitfs", f"{ALPINE}, modules", "root=UUID=07 modules=sd-mod,usb-storage,ext4 rootfstype=ext4"),
    line(
        "cryptheader= of mkinitfs",
        f"{ALPINE}, cryptheader",
        "cryptroot=UUID=1c cryptheader=/dev/sdb2 root=/dev/mapper/root",
        None,
        UNSTABLE,
    ),
    line(
        "real_root= and crypt_root=",
        f"{GENTOO}, Initramfs parameters",
        "root=/dev/ram0 crypt_root=/dev/sda4 real_root=/dev/sda2",
        "root=/dev/ram0 crypt_root=UUID=1c real_root=UUID=07",
    ),
    line(
        "root_keydev= and swap_keydev=",
        f"{GENTOO}, Initramfs parameters",
        "crypt_root=UUID=1c root_keydev=/dev/sdb1 swap_keydev=/dev/sdb1 real_root=UUID=07",
        "crypt_root=UUID=1c root_keydev=/dev/disk/by-uuid/da swap_keydev=/dev/disk/by-uuid/da real_root=UUID=07",
    ),
    line(
        "real_resume=",
        f"{GENTOO}, Initramfs parameters",
        "real_root=UUID=07 real_resume=/dev/sda1",
        "real_root=UUID=07 real_resume=UUID=5a",
    ),
    line("ostree=", "ostree-prepare-root(1)", "root=UUID=07 ostree=/ostree/boot.1/fedora/0123/0 rw"),
    line(
        "verity of Flatcar",
        "Flatcar developer guide, kernel command line",
        "root=LABEL=ROOT mount.usr=/dev/mapper/usr verity.usr=PARTUUID=aa-03 rootflags=rw",
    ),
    line("init= of NixOS without a root=", "NixOS stage-1", "init=/nix/store/0-nixos-system/init loglevel=4"),
    line("a leftover of Kickstart", "dracut.cmdline of anaconda, inst.ks", "root=UUID=07 ks=hd:sdb1:/ks.cfg"),
]


@pytest.mark.parametrize("rule", rules(KERNEL_WORDS, DRACUT_WORDS, SYSTEMD_WORDS, TOOL_WORDS))
def test_the_words_of_a_command_line(rule):
    holds(rule)


ROOT_TYPE, ESP_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LOADER = GuestFacts(architecture="x86_64", boot_loaders=("systemd-boot",))
TYPED = (
    BlockDevice("/dev/sda1", "vfat", "1", partuuid="aa-1", parttype=ESP_TYPE, disk=0, part=1),
    BlockDevice("/dev/sda2", "ext4", "2", partuuid="aa-2", parttype=ROOT_TYPE, disk=0, part=2),
    BlockDevice("/dev/sdb1", "ext4", "3", partuuid="bb-1", parttype=ROOT_TYPE, disk=1, part=1),
)
# words, facts, devices: the root
ROOTS = {
    "block/early-lookup.c, PARTNROFF": ("root=PARTUUID=aa-1/PARTNROFF=1", LOADER, TYPED, "/dev/sda2"),
    "block/early-lookup.c, a partition that is not there": ("root=PARTUUID=aa-1/PARTNROFF=7", LOADER, TYPED, None),
    "genkernel(8), real_root= is mounted, not root=": ("root=/dev/ram0 real_root=UUID=2", LOADER, TYPED, "/dev/sda2"),
    "dracut, parse-block.sh": ("root=block:UUID=2", LOADER, TYPED, "/dev/sda2"),
    "init/do_mounts.c, the last one counts": ("root=UUID=1 root=UUID=2", LOADER, TYPED, "/dev/sda2"),
    "systemd-gpt-auto-generator(8), no root=": ("quiet", LOADER, TYPED, "/dev/sda2"),
    "systemd-gpt-auto-generator(8), root=gpt-auto": ("root=gpt-auto", LOADER, TYPED, "/dev/sda2"),
    "systemd-gpt-auto-generator(8), systemd.gpt_auto=": ("quiet systemd.gpt_auto=0", LOADER, TYPED, None),
    "systemd-gpt-auto-generator(8), rd.systemd.gpt_auto=": ("root=gpt-auto rd.systemd.gpt_auto=no", LOADER, TYPED, None),
    "systemd-gpt-auto-generator(8), GRUB does not tell the disk": ("quiet", LOADER, TYPED, None),
    "systemd-gpt-auto-generator(8), only on the disk of the ESP": ("quiet", LOADER, TYPED[::2], None),
    "systemd-gpt-auto-generator(8), needs a loader that tells its partition": ("quiet", GuestFacts(architecture="x86_64"), TYPED, None),
    "Discoverable Partitions Specification, of the own architecture": (
        "quiet",
        GuestFacts(architecture="aarch64", boot_loaders=("systemd-boot",)),
        TYPED,
        None,
    ),
}


@pytest.mark.parametrize("source", ROOTS)
def test_the_root_of_a_command_line(source):
    words, known, devices, root = ROOTS[source]
    config = "/boot/grub/grub.cfg" if "GRUB" in source else ENTRY
    device = root_of(MemoryGuest({}, {one.name: one for one in devices}), known, BootEntry(config, "", (), words))[1]
    assert (device.name if device is not None else None) == root

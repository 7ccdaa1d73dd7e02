# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests by the way they boot: BIOS and UEFI, GRUB and systemd-boot, initramfs-tools and dracut, ext4, LVM and btrfs."""

from __future__ import annotations

import shutil
import uuid

from disk import MIB, Tree, fill_esp, grub_bios, run
from parts import BY_PATH, ESP_ID, GRUB, MACHINE_ID, SECOND, console, grub_config, ifupdown, initramfs_tools, lvm, networkd, unpack


def bios(disk: Tree) -> None:
    disk.partition("label: dos\n2048,524288,S\n,,L,*\n")
    root_id, swap_id = str(uuid.uuid4()), str(uuid.uuid4())
    disk.mkfs(disk.place(1), "mkswap", "-U", swap_id)
    disk.mount(disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", root_id), "/")
    kernel = unpack(disk)
    ifupdown(disk)
    disk.write(
        "/etc/fstab",
        f"# made by the installer\n{BY_PATH}2\t/     ext4  errors=remount-ro 0 1  # root\n/dev/sda1 none swap sw 0 0\n{SECOND} /srv ext4 defaults 0 2\n",
    )
    initramfs_tools(disk, kernel, "ext4\n", "gzip", "/dev/sda1")
    grub_config(disk, kernel, "/boot", root_id, console("/dev/sda2", "resume=/dev/sda1"))
    grub_bios(disk, "(hd0,msdos2)/boot/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)


def uefi_lvm(disk: Tree) -> None:
    disk.partition("label: gpt\n2048,262144,U\n,524288,L\n,,E6D6D379-F507-44C2-A23C-238F2A3DF928\n")
    disk.mkfs(disk.place(1), "mkfs.vfat", "-F32", "-i", ESP_ID.replace("-", ""))
    boot_id, root_id = str(uuid.uuid4()), str(uuid.uuid4())
    boot = disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", boot_id)
    start, size = disk.place(3)
    root = disk.mkfs((start + MIB, lvm(disk.image, "/dev/sda3", size)), "mkfs.ext4", "-q", "-U", root_id)
    disk.mount(root, "/")
    disk.mount(boot, "/boot")
    kernel = unpack(disk)
    ifupdown(disk)
    disk.write(
        "/etc/fstab",
        f"/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\n{BY_PATH}2 /boot ext4 defaults 0 2\n"
        f"/dev/sda1 /boot/efi vfat umask=0077 0 1\n/dev/mapper/vg0-swap none swap sw 0 0\n"
        f"/dev/sdb1 /srv ext4 defaults 0 2\n",
    )
    disk.write(
        "/etc/lvm/devices/system.devices",
        "VERSION=1.1.1\nIDTYPE=sys_wwid IDNAME=naa.6000c29d8f1b2c0aa1b2c3d4e5f60718 DEVNAME=/dev/sda3 PVID=none PART=3\n",
    )
    initramfs_tools(disk, kernel, "ext4\ndm_mod\n", "zstd", "/dev/mapper/vg0-swap")
    grub_config(disk, kernel, "", boot_id, console("/dev/mapper/vg0-root", "resume=/dev/mapper/vg0-swap"))
    # Without EFI/BOOT: the boot entry is in the NVRAM that stays behind.
    esp = disk.root / "boot/efi"
    (esp / "EFI/debian").mkdir(parents=True)
    (esp / "EFI/debian/grub.cfg").write_text(f"search.fs_uuid {boot_id} root\nset prefix=($root)/grub\nconfigfile $prefix/grub.cfg\n")
    shutil.copytree(disk.root / "usr/lib/grub/x86_64-efi", disk.root / "boot/grub/x86_64-efi")
    disk.sh(f"grub-mkimage -O x86_64-efi -p /EFI/debian -o /boot/efi/EFI/debian/grubx64.efi part_gpt ext2 fat {GRUB}")
    fill_esp(disk, 1, esp)
    run("fstrim", disk.root)
    run("fstrim", disk.root / "boot")


def btrfs(disk: Tree) -> None:
    disk.partition("label: gpt\n2048,2048,21686148-6449-6E6F-744E-656564454649\n,524288,S\n,,L\n")
    root_id = str(uuid.uuid4())
    disk.mkfs(disk.place(2), "mkswap")
    device = disk.mkfs(disk.place(3), "mkfs.btrfs", "-q", "-U", root_id)
    run("mount", device, disk.root)
    for subvolume in ("@", "@home", "@log"):
        run("btrfs", "subvolume", "create", disk.root / subvolume)
    run("umount", disk.root)
    disk.mount(device, "/", "-o", "subvol=@")
    disk.mount(device, "/home", "-o", "subvol=@home")
    disk.mount(device, "/var/log", "-o", "subvol=@log")
    kernel = unpack(disk)
    networkd(disk)
    lines = "".join(
        f"{BY_PATH}3 {point} btrfs subvol={name} 0 0\n" for point, name in (("/", "@"), ("/home", "@home"), ("/var/log", "@log"))
    )
    disk.write("/etc/fstab", lines + f"{BY_PATH}2 none swap sw 0 0\n")
    initramfs_tools(disk, kernel, "btrfs\n", "xz", "")
    grub_config(disk, kernel, "/@/boot", root_id, console("/dev/sda3", "rootflags=subvol=@"))
    grub_bios(disk, "(hd0,gpt3)/@/boot/grub", "part_gpt btrfs", 2048)
    run("fstrim", disk.root)


def dracut(disk: Tree) -> None:
    disk.partition("label: dos\n2048,524288,S\n,,L,*\n")
    root_id = str(uuid.uuid4())
    disk.mkfs(disk.place(1), "mkswap")
    disk.mount(disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", root_id), "/")
    kernel = unpack(disk)
    ifupdown(disk)
    disk.sh("dpkg --purge --force-depends initramfs-tools initramfs-tools-core")
    disk.write("/etc/fstab", f"{BY_PATH}2 / ext4 errors=remount-ro 0 1\n/dev/sda1 none swap sw 0 0\n")
    disk.write(
        "/etc/dracut.conf.d/lab.conf",
        'hostonly="yes"\nhostonly_cmdline="no"\ncompress="lz4"\nfilesystems+=" ext4 "\n'
        'add_drivers+=" vmw_pvscsi mptspi sd_mod "\nomit_drivers+=" virtio virtio_blk virtio_scsi virtio_pci "\n',
    )
    disk.sh(f"dracut -f --kver {kernel} /boot/initrd.img-{kernel}")
    grub_config(disk, kernel, "/boot", root_id, console("/dev/sda2", "resume=/dev/sda1"))
    grub_bios(disk, "(hd0,msdos2)/boot/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)


def systemd_boot(disk: Tree) -> None:
    disk.partition("label: gpt\n2048,262144,U\n,524288,S\n,,L\n")
    disk.mkfs(disk.place(1), "mkfs.vfat", "-F32", "-i", ESP_ID.replace("-", ""))
    disk.mkfs(disk.place(2), "mkswap")
    disk.mount(disk.mkfs(disk.place(3), "mkfs.ext4", "-q"), "/")
    kernel = unpack(disk)
    networkd(disk)
    disk.write(
        "/etc/fstab", f"{BY_PATH}3 / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot/efi vfat umask=0077 0 1\n{BY_PATH}2 none swap sw 0 0\n"
    )
    initramfs_tools(disk, kernel, "ext4\n", "gzip", "")
    cmdline = console("/dev/sda3")
    disk.write("/etc/kernel/cmdline", cmdline + "\n")
    esp = disk.root / "boot/efi"
    loader = disk.root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    for path in ("EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"):
        (esp / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(loader, esp / path)
    home = esp / MACHINE_ID / kernel
    home.mkdir(parents=True)
    (esp / "loader/entries").mkdir(parents=True)
    (esp / "loader/loader.conf").write_text("timeout 1\ndefault *\n")
    shutil.copyfile(disk.root / f"boot/vmlinuz-{kernel}", home / "linux")
    shutil.copyfile(disk.root / f"boot/initrd.img-{kernel}", home / "initrd")
    (esp / f"loader/entries/{MACHINE_ID}-{kernel}.conf").write_text(
        f"title Debian GNU/Linux 12\nversion {kernel}\nmachine-id {MACHINE_ID}\noptions {cmdline}\n"
        f"linux /{MACHINE_ID}/{kernel}/linux\ninitrd /{MACHINE_ID}/{kernel}/initrd\n"
    )
    fill_esp(disk, 1, esp)
    run("fstrim", disk.root)

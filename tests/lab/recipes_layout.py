# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests by where their data lies and how their network is told: LUKS, md RAID, a /usr of its own, two kernels; netplan, bonds, NetworkManager."""

from __future__ import annotations

import uuid
from pathlib import Path

from disk import MIB, Tree, cpio_archive, grub_bios, run, tree
from parts import MAC, MACS, NIC, NIC2, appliance, console, grub_config, initramfs_tools, lvm, unpack

PASSPHRASE = "correct horse"
CRYPT = ("cryptsetup-initramfs", "mdadm", "netplan.io", "ifenslave", "vlan")
NM = ("network-manager", "linux-image-6.1.0-47-amd64")
_CIPHERS = "ext4\ndm_mod\ndm_crypt\naes_generic\nxts\necb\ncbc\nsha256_generic\naf_alg\nalgif_skcipher\n"


def luks_lvm(disk: Tree) -> None:
    """/boot plain; LUKS on partition 2 with vg0 in it. crypttab and the copy of it in the initramfs say /dev/sda2."""
    disk.partition("label: dos\n2048,524288,L,*\n,,L\n")
    boot_id, luks_id = str(uuid.uuid4()), str(uuid.uuid4())
    start, size = disk.place(2)
    inner = disk.image.with_name("inner")
    run("truncate", "-s", str(size - 4 * MIB), inner)
    root_size = lvm(inner, "/dev/sda", size - 4 * MIB)
    root = disk.loop(MIB, root_size, inner)
    run("mkfs.ext4", "-q", root)
    disk.mount(root, "/")
    disk.mount(disk.mkfs(disk.place(1), "mkfs.ext4", "-q", "-U", boot_id), "/boot")
    kernel = unpack(disk, CRYPT)
    disk.write("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
    disk.write(
        "/etc/netplan/01-lan.yaml",
        f"# the LAN\nnetwork:\n  version: 2\n  renderer: networkd\n  ethernets:\n    lan:\n      match:\n        macaddress: {MAC}\n"
        f"      set-name: {NIC}\n      dhcp4: false\n"
        "      addresses: [192.168.77.10/24]\n      routes:\n        - to: default\n          via: 192.168.77.1\n"
        "      nameservers:\n        addresses: [192.168.77.1]\n",
        0o600,
    )
    disk.write(
        "/etc/fstab",
        "/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n/dev/mapper/vg0-swap none swap sw 0 0\n",
    )
    disk.write("/etc/cryptsetup-initramfs/conf-hook", "CRYPTSETUP=y\n")
    disk.write("/etc/crypttab", f"sda2_crypt UUID={luks_id} none luks,initramfs\n")
    # As where LUKS is unlocked over the network: the image drives the card, and names it.
    initramfs_tools(disk, kernel, f"{_CIPHERS}vmxnet3\n", "zstd", "/dev/mapper/vg0-swap")
    disk.write("/etc/crypttab", "sda2_crypt /dev/sda2 none luks\n")
    with open(disk.root / f"boot/initrd.img-{kernel}", "ab") as image:
        image.write(b"\0" * (-image.tell() % 4) + cpio_archive("cryptroot/crypttab", b"sda2_crypt /dev/sda2 none luks,initramfs\n"))
    grub_config(disk, kernel, "", boot_id, console("/dev/mapper/vg0-root", "resume=/dev/mapper/vg0-swap"))
    grub_bios(disk, "(hd0,msdos1)/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)
    disk.close()
    sealed = disk.image.with_name("sealed")
    _seal(inner, sealed)
    run("cryptsetup", "-q", "luksUUID", "--uuid", luks_id, sealed)
    run("dd", f"if={sealed}", f"of={disk.image}", "bs=1M", f"seek={start // MIB}", "conv=notrunc,sparse")
    inner.unlink()
    sealed.unlink()


def _seal(inner: Path, sealed: Path) -> None:
    """A LUKS image of `inner`. qemu measures how fast the processor hashes, and on a busy machine sometimes measures nothing."""
    for attempt in range(8):
        try:
            run(
                "qemu-img", "convert", "-f", "raw", "-O", "luks", "--object", f"secret,id=key,data={PASSPHRASE}",
                "-o", "key-secret=key,iter-time=300,cipher-alg=aes-256,cipher-mode=xts,ivgen-alg=plain64,hash-alg=sha256", inner, sealed,
            )  # fmt: skip
            return
        except RuntimeError as error:
            if "accurate CPU usage" not in str(error) or attempt == 7:
                raise


def raid1(disk: Tree) -> None:
    """Root on /dev/md0 over both disks; mdadm.conf looks at /dev/sda1 and /dev/sdb1 only. A bond of two cards, and a VLAN on it."""
    table = "label: dos\n2048,5767168,fd,*\n,,S\n"
    second = disk.image.with_name("raw2")
    disk.partition(table)
    with tree(second, "3G") as other:
        other.partition(table)
    array, root_id, swap_id = "a1b2c3d4:00112233:44556677:8899aabb", str(uuid.uuid4()), str(uuid.uuid4())
    with appliance(disk.image, second) as handle:
        create = f"mdadm --create /dev/md0 --run --assume-clean --metadata=1.2 --level=1 --raid-devices=2 --data-offset=1M --homehost=labguest --uuid={array}"
        handle.debug("sh", [f"{create} /dev/sda1 /dev/sdb1"])
        size = handle.blockdev_getsize64("/dev/md0")
    start = disk.place(1)[0]
    disk.mkfs(disk.place(2), "mkswap", "-U", swap_id)
    disk.mount(disk.mkfs((start + MIB, size), "mkfs.ext4", "-q", "-U", root_id), "/")
    kernel = unpack(disk, CRYPT)
    disk.write(
        "/etc/network/interfaces",
        f"auto lo\niface lo inet loopback\n\nauto bond0\niface bond0 inet static\n    address 192.168.77.20/24\n    gateway 192.168.77.1\n"
        f"    bond-slaves {NIC} {NIC2}\n    bond-mode active-backup\n    bond-miimon 100\n    bond-primary {NIC}\n\n"
        "auto bond0.10\niface bond0.10 inet static\n    address 192.168.10.20/24\n    vlan-raw-device bond0\n",
    )
    disk.write("/etc/lab-addresses", "2\n")
    disk.write("/etc/fstab", "/dev/md0 / ext4 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\n")
    disk.write(
        "/etc/mdadm/mdadm.conf",
        f"# scan these only\nDEVICE /dev/sda1 /dev/sdb1\nHOMEHOST <system>\nMAILADDR root\nARRAY /dev/md0 metadata=1.2 UUID={array}\n",
    )
    initramfs_tools(disk, kernel, "ext4\nmd_mod\nraid1\n", "gzip", "/dev/sda2")
    grub_config(disk, kernel, "/boot", root_id, console("/dev/md0", "resume=/dev/sda2"))
    grub_bios(disk, f"(mduuid/{array.replace(':', '')})/boot/grub", "part_msdos ext2 diskfilter mdraid1x", 1)
    run("fstrim", disk.root)
    disk.close()
    _mirror(disk.image, second, start + MIB, size)


def _mirror(first: Path, second: Path, start: int, size: int) -> None:
    """The array's data and the boot code, from one member to the other."""
    run(
        "dd",
        f"if={first}",
        f"of={second}",
        "bs=1M",
        f"skip={start // MIB}",
        f"seek={start // MIB}",
        f"count={size // MIB}",
        "conv=notrunc,sparse",
    )
    run("dd", f"if={first}", f"of={second}", "bs=440", "count=1", "conv=notrunc")
    run("dd", f"if={first}", f"of={second}", "bs=512", "skip=1", "seek=1", "count=2047", "conv=notrunc")


def usr_split(disk: Tree) -> None:
    """The system is the VM's second disk, behind a data disk; /usr is a file system of its own; a static address by systemd-networkd."""
    disk.partition("label: dos\n2048,524288,S\n,1048576,L,*\n,,L\n")
    root_id = str(uuid.uuid4())
    disk.mkfs(disk.place(1), "mkswap")
    disk.mount(disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", root_id), "/")
    disk.mount(disk.mkfs(disk.place(3), "mkfs.ext4", "-q"), "/usr")
    kernel = unpack(disk)
    disk.write("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
    disk.write(
        "/etc/systemd/network/20-lan.network",
        f"[Match]\nName={NIC}\n\n[Network]\nDHCP=no\nAddress=192.168.77.30/24\nGateway=192.168.77.1\nDNS=192.168.77.1\n",
    )
    disk.sh("systemctl enable systemd-networkd.service")
    disk.write(
        "/etc/fstab",
        "/dev/sdb2 / ext4 errors=remount-ro 0 1\n/dev/sdb3 /usr ext4 defaults 0 2\n/dev/sdb1 none swap sw 0 0\n/dev/sda1 /srv ext4 defaults 0 2\n",
    )
    initramfs_tools(disk, kernel, "ext4\n", "gzip", "/dev/sdb1")
    grub_config(disk, kernel, "/boot", root_id, console("/dev/sdb2", "resume=/dev/sdb1"))
    # The disk's own number is not the same at every firmware, so the core looks for its file system.
    early = disk.root / "boot/grub/early.cfg"
    early.write_text(f"search.fs_uuid {root_id} root\nset prefix=($root)/boot/grub\n")
    grub_bios(disk, "/boot/grub", "part_msdos ext2 search_fs_uuid", 1, "-c /boot/grub/early.cfg")
    run("fstrim", disk.root)
    run("fstrim", disk.root / "usr")


def nm_two(disk: Tree) -> None:
    """Two cards with static NetworkManager profiles, one by name and one by MAC; two kernels, and the older one is the default."""
    disk.partition("label: dos\n2048,524288,S\n,,L,*\n")
    root_id = str(uuid.uuid4())
    disk.mkfs(disk.place(1), "mkswap")
    disk.mount(disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", root_id), "/")
    newest = unpack(disk, NM)
    older = next(name for name in sorted(path.name for path in (disk.root / "lib/modules").iterdir()) if name != newest)
    disk.write("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
    for name, key, value, address, more in (
        ("LAN", "interface-name", NIC, "192.168.77.40/24,192.168.77.1", ""),
        ("Backup", "", "", "192.168.88.40/24", f"mac-address={MACS[1].upper()}\n"),
    ):
        match = f"{key}={value}\n" if key else ""
        disk.write(
            f"/etc/NetworkManager/system-connections/{name}.nmconnection",
            f"[connection]\nid={name}\nuuid={uuid.uuid4()}\ntype=ethernet\n{match}\n[ethernet]\n{more}\n"
            f"[ipv4]\naddress1={address}\nmethod=manual\n\n[ipv6]\nmethod=disabled\n",
            0o600,
        )
    disk.write("/etc/lab-addresses", "2\n")
    disk.sh("systemctl enable NetworkManager.service")
    disk.write("/etc/fstab", "/dev/sda2 / ext4 errors=remount-ro 0 1\n/dev/sda1 none swap sw 0 0\n")
    for kernel in (older, newest):
        initramfs_tools(disk, kernel, "ext4\n", "zstd", "/dev/sda1")
    grub_config(disk, newest, "/boot", root_id, console("/dev/sda2", "resume=/dev/sda1"), older)
    grub_bios(disk, "(hd0,msdos2)/boot/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)

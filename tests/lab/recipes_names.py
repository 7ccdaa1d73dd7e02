# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests by what they call their hardware: cards that the kernel counts, name spaces of NVMe, file systems that share a UUID, LVM's filter, dracut's fips."""

from __future__ import annotations

import hmac
import uuid

from disk import MIB, Tree, grub_bios, run, tree
from parts import MACS, console, grub_config, ifupdown, initramfs_tools, lvm, unpack

# In the order of the slots that sources.MIXED_SLOTS gives the cards, which is neither that of the description nor that of the MACs.
COUNTED = (MACS[1], MACS[2], MACS[3], MACS[0])
# The image drives virtio in these guests, so that nothing but the name in question keeps them from booting.
_VIRTIO = "virtio_pci\nvirtio_blk\n"
# The key of hmaccalc, and its program, which Debian does not have: HMAC of RFC 2104 with SHA-512, whose blocks are of 128 bytes.
_KEY = b"orboDeJITITejsirpADONivirpUkvarP"
_HMAC = r"""#!/bin/sh
# sha512hmac -c FILE
sum() {
  inner=$(cat /usr/share/hmac/inner "$1" | sha512sum)
  { cat /usr/share/hmac/outer; for byte in $(printf %.128s "$inner" | sed 's/../0x& /g'); do printf "\\$(printf %o $byte)"; done; } | sha512sum
}
while read -r want name; do
  case $(sum "$name") in "$want "*) ;; *) echo "$name is not what it was" >&2; exit 1 ;; esac
done <"$2"
"""
_FILTER = """
@# only the disks of this machine, {what}
@{name} = [
@@"a|^/dev/sda|",
@@"a|^/dev/disk/by-path/pci-0000:03:00.0-|",@# the same by their places

@@"r|.*|"
@]
""".replace("@", "\t")  # as lvm.conf has it


def slots(disk: Tree) -> None:
    """Four cards that ifupdown knows as eth0 to eth3, each with an address of its own; LVM under filters of several lines that accept the old disk alone."""
    disk.partition("label: dos\n2048,524288,L,*\n,,8e\n")
    boot_id, root_id = str(uuid.uuid4()), str(uuid.uuid4())
    boot = disk.mkfs(disk.place(1), "mkfs.ext4", "-q", "-U", boot_id)
    start, size = disk.place(2)
    disk.mount(disk.mkfs((start + MIB, lvm(disk.image, "/dev/sda2", size)), "mkfs.ext4", "-q", "-U", root_id), "/")
    disk.mount(boot, "/boot")
    kernel = unpack(disk)
    (disk.root / "etc/udev/rules.d/70-persistent-net.rules").unlink()
    stanzas = "".join(
        f"\nauto eth{number}\niface eth{number} inet static\n    address 192.168.{90 + number}.10/24\n" for number in range(4)
    )
    disk.write("/etc/network/interfaces", f"auto lo\niface lo inet loopback\n{stanzas}    gateway 192.168.93.1\n")
    disk.write("/etc/lab-addresses", "4\n")
    disk.write("/etc/lab-more", 'for card in /sys/class/net/eth*; do printf " %s=%s" ${card##*/} $(cat $card/address); done\n')
    disk.write(
        "/etc/fstab",
        "/dev/mapper/vg0-root / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n/dev/mapper/vg0-swap none swap sw 0 0\n",
    )
    configuration = (disk.root / "etc/lvm/lvm.conf").read_text()
    filters = "".join(
        _FILTER.format(name=name, what=what) for name, what in (("filter", "for commands"), ("global_filter", "for everybody"))
    )
    disk.write("/etc/lvm/lvm.conf", configuration.replace("\ndevices {\n", f"\ndevices {{\n{filters}", 1))
    initramfs_tools(disk, kernel, f"ext4\ndm_mod\n{_VIRTIO}", "zstd", "/dev/mapper/vg0-swap")
    grub_config(disk, kernel, "", boot_id, console("/dev/mapper/vg0-root", "resume=/dev/mapper/vg0-swap", "net.ifnames=0"))
    grub_bios(disk, "(hd0,msdos1)/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)
    run("fstrim", disk.root / "boot")


def twins(disk: Tree) -> None:
    """Two name spaces of one NVMe controller: XFS as the root, and on the second its clone with the same UUID, which fstab mounts nouuid."""
    disk.partition("label: dos\n2048,524288,S\n,5120000,L,*\n")
    root_id, (start, size) = str(uuid.uuid4()), disk.place(2)
    disk.mkfs(disk.place(1), "mkswap")
    disk.mount(disk.mkfs((start, size), "mkfs.xfs", "-q", "-m", f"uuid={root_id}"), "/")
    kernel = unpack(disk)
    ifupdown(disk)
    disk.write("/etc/fstab", "/dev/nvme0n1p2 / xfs defaults 0 0\n/dev/nvme0n1p1 none swap sw 0 0\n/dev/nvme0n2p1 /srv xfs nouuid 0 0\n")
    disk.write("/etc/lab-which", "original\n")
    disk.write("/etc/lab-more", 'printf " which=%s,%s" $(cat /etc/lab-which /srv/etc/lab-which)\n')
    initramfs_tools(disk, kernel, f"xfs\nnvme\n{_VIRTIO}", "gzip", "/dev/nvme0n1p1")
    grub_config(disk, kernel, "/boot", root_id, console("/dev/nvme0n1p2", "resume=/dev/nvme0n1p1"))
    grub_bios(disk, "(hd0,msdos2)/boot/grub", "part_msdos xfs", 1)
    run("fstrim", disk.root)
    disk.close()
    with tree(disk.image.with_name("raw2"), "3G") as other:
        other.partition("label: dos\n2048,5120000,L\n")
        there = other.place(1)[0]
        run("dd", f"if={disk.image}", f"of={other.image}", "bs=1M", f"skip={start}", f"seek={there}", f"count={size}",
            "iflag=skip_bytes,count_bytes", "oflag=seek_bytes", "conv=notrunc,sparse")  # fmt: skip
        other.mount(other.loop(there, size), "/", "-o", "nouuid")
        other.write("/etc/lab-which", "clone\n")
        other.write("/proof", "lab-data\n")


def fips(disk: Tree) -> None:
    """dracut in FIPS mode: it checks the kernel on the file system that boot= names, /dev/sda1, before it goes on. The root is known by its UUID."""
    disk.partition("label: dos\n2048,524288,L,*\n,524288,S\n,,L\n")
    boot_id, root_id = str(uuid.uuid4()), str(uuid.uuid4())
    boot = disk.mkfs(disk.place(1), "mkfs.ext4", "-q", "-U", boot_id)
    disk.mkfs(disk.place(2), "mkswap")
    disk.mount(disk.mkfs(disk.place(3), "mkfs.ext4", "-q", "-U", root_id), "/")
    disk.mount(boot, "/boot")
    kernel = unpack(disk)
    ifupdown(disk)
    disk.sh("dpkg --purge --force-depends initramfs-tools initramfs-tools-core")
    disk.write(
        "/etc/fstab", f"UUID={root_id} / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n/dev/sda2 none swap sw 0 0\n"
    )
    disk.write("/etc/system-fips", "")
    disk.write("/usr/bin/sha512hmac", _HMAC, 0o755)
    (disk.root / "usr/share/hmac").mkdir()
    for name, value in (("inner", 0x36), ("outer", 0x5C)):
        (disk.root / "usr/share/hmac" / name).write_bytes(bytes(byte ^ value for byte in _KEY.ljust(128, b"\0")))
    image = (disk.root / f"boot/vmlinuz-{kernel}").read_bytes()
    disk.write(f"/boot/.vmlinuz-{kernel}.hmac", f"{hmac.new(_KEY, image, 'sha512').hexdigest()}  vmlinuz-{kernel}\n")
    disk.write(
        "/etc/dracut.conf.d/lab.conf",
        'hostonly="yes"\nhostonly_cmdline="no"\nfilesystems+=" ext4 "\nadd_dracutmodules+=" fips "\n'
        'add_drivers+=" vmw_pvscsi sd_mod virtio_pci virtio_blk "\ninstall_items+=" /usr/bin/sha512sum /usr/share/hmac/inner /usr/share/hmac/outer "\n',
    )
    disk.write(
        "/etc/lab-more",
        'printf " fips=%s checked=%s" $(cat /proc/sys/crypto/fips_enabled) $(journalctl -b -o cat | grep -c "^All initrd crypto checks done")\n',
    )
    disk.sh(f"dracut -f --kver {kernel} /boot/initrd.img-{kernel}")
    grub_config(disk, kernel, "", boot_id, console(f"UUID={root_id}", "fips=1", "boot=/dev/sda1"))
    grub_bios(disk, "(hd0,msdos1)/grub", "part_msdos ext2", 1)
    run("fstrim", disk.root)
    run("fstrim", disk.root / "boot")

# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest whose root is a deployment of ostree: Debian's system as a commit, deployed by ostree itself, started by GRUB from its boot entry."""

from __future__ import annotations

import uuid

from disk import Tree, grub_bios, run, tree
from parts import console, networkd, unpack

# As ostree wants a tree: configuration below /usr, state below /var, the physical root at /sysroot. Source: ostree's manual, "Adapting existing
# mainstream distributions".
_ADAPT = """cd /run/tree
rm -rf dev/* var/* boot/* tmp/* mnt srv home root opt
find run -mindepth 1 -maxdepth 1 ! -name tree ! -name sysroot -exec rm -rf {} +
mkdir -p sysroot
ln -s sysroot/ostree ostree
for name in home srv mnt opt; do ln -s var/$name $name; done
ln -s var/roothome root
mv etc usr/etc
"""
_DEPLOY = """ostree admin os-init --sysroot=/run/sysroot debian
ostree config --repo=/run/sysroot/ostree/repo set sysroot.bootloader none
ostree commit --repo=/run/sysroot/ostree/repo -b debian/12 --tree=dir=/run/tree
ostree admin deploy --sysroot=/run/sysroot --os=debian %s debian/12
"""


def ostree(disk: Tree) -> None:
    """/boot of its own by /dev/sda1, the root by UUID; an initramfs with all drivers, as such systems have it; networkd with a profile for ens192."""
    disk.partition("label: dos\n2048,1048576,L,*\n,,L\n")
    boot_id, root_id = str(uuid.uuid4()), str(uuid.uuid4())
    boot = disk.mkfs(disk.place(1), "mkfs.ext4", "-q", "-U", boot_id)
    root = disk.mkfs(disk.place(2), "mkfs.ext4", "-q", "-U", root_id)
    with tree(disk.image.with_name("scratch"), "3G") as system:
        system.mount(system.mkfs((0, 3 << 30), "mkfs.ext4", "-q"), "/")
        kernel = unpack(system, ("ostree-boot",))
        networkd(system)
        system.sh("dpkg --purge --force-depends initramfs-tools initramfs-tools-core")
        system.write("/etc/fstab", "/dev/sda1 /boot ext4 defaults 0 2\n")
        system.write("/etc/lab-more", 'printf " booted=%s" $(ostree admin status | sed -n "s/^\\* \\([a-z]*\\) .*/\\1/p")\n')
        system.sh(f"dracut -f --no-hostonly --kver {kernel} /usr/lib/modules/{kernel}/initramfs.img")
        run("cp", system.root / f"boot/vmlinuz-{kernel}", system.root / f"usr/lib/modules/{kernel}/vmlinuz")
        system.mount(root, "/run/sysroot")
        system.sh("ostree admin init-fs /run/sysroot")
        system.mount(boot, "/run/sysroot/boot")
        # What is mounted in the tree is not in this second view of it, which is what is committed.
        system.mount(str(system.root), "/run/tree", "--bind")
        system.sh(_ADAPT)
        words = console(f"UUID={root_id}").replace(" ro ", " rw ").split()
        system.sh(_DEPLOY % " ".join(f"--karg={word}" for word in words))
        system.mount(boot, "/boot")
        (entry,) = (system.root / "boot/loader/entries").iterdir()
        said = dict(line.split(" ", 1) for line in entry.read_text().splitlines() if " " in line)
        system.image = disk.image
        grub_bios(system, "(hd0,msdos1)/grub", "part_msdos ext2", 1)
        system.write(
            "/boot/grub/grub.cfg",
            "serial --unit=0 --speed=115200\nterminal_output serial console\nset timeout=1\nset root='hd0,msdos1'\n"
            f'menuentry "{said["title"]}" {{\n\tsearch --no-floppy --fs-uuid --set=root {boot_id}\n'
            f"\tlinux {said['linux']} {said['options']}\n\tinitrd {said['initrd']}\n}}\n",
        )
    disk.image.with_name("scratch").unlink()

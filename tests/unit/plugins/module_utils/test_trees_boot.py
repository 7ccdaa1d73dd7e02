# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot loaders and what writes their menus, by their manuals: GRUB 1 and 2, BLS, systemd-boot, sdbootutil, extlinux, and those of other machines."""

from __future__ import annotations

import pytest
from fixtures import KVER, MAC
from treerules import IMAGES, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

GRUB, LEGACY, BLS, SYSLINUX = "GRUB manual 2.06", "GRUB legacy manual", "Boot Loader Specification", "syslinux wiki"
DEFAULT, CFG = "/etc/default/grub", "/boot/grub/grub.cfg"
UNRESOLVED = ("bootloader.unresolved-root", "blocker")
IMAGE = f"linux /boot/vmlinuz-{KVER}"


def edit(name, source, path, before, after=None, *concerns, idle=(), **more):
    """A rule of one file; None: it stays."""
    return Rule(name, source, {path: before}, {path: after} if after is not None else {}, concerns, idle=idle, **more)


def entry(body, title="one"):
    return f"menuentry '{title}' {{\n{body}\n}}\n"


GRUB2 = [
    edit("a kernel's line", f"{GRUB}, linux", CFG, entry(f" {IMAGE} root=/dev/sda2 ro"), entry(f" {IMAGE} root=UUID=07 ro")),
    edit(
        "linux16 and linuxefi of Red Hat",
        "RHEL 7 system administrator's guide, GRUB 2",
        CFG,
        entry(" linux16 /vmlinuz root=/dev/sda2\n linuxefi /vmlinuz root=/dev/sda2"),
        entry(" linux16 /vmlinuz root=UUID=07\n linuxefi /vmlinuz root=UUID=07"),
    ),
    edit(
        "a line that goes on",
        f"{GRUB}, Shell-like scripting, quoting",
        CFG,
        entry(f" {IMAGE} \\\n  root=/dev/sda2 ro"),
        entry(f" {IMAGE} \\\n  root=UUID=07 ro"),
    ),
    edit(
        "modules of Xen",
        f"{GRUB}, multiboot2, module2",
        CFG,
        entry(" multiboot2 /xen.gz placeholder\n module2 /vmlinuz placeholder root=/dev/sda2 ro\n module2 /initrd.img"),
        entry(" multiboot2 /xen.gz placeholder\n module2 /vmlinuz placeholder root=UUID=07 ro\n module2 /initrd.img"),
    ),
    edit(
        "GRUB's own root is no kernel's",
        f"{GRUB}, root",
        CFG,
        "set root='hd0,msdos2'\nsearch --no-floppy --fs-uuid --set=root 07\n" + entry(f" {IMAGE} root=UUID=07"),
    ),
    edit(
        "a comment in a menu", f"{GRUB}, Shell-like scripting", CFG, f"# linux /vmlinuz root=/dev/sda2\n{entry(f' {IMAGE} root=UUID=07')}"
    ),
    edit(
        "kernelopts in a menu",
        "grub2-switch-to-blscfg(8), kernelopts",
        "/boot/grub2/grub.cfg",
        'set kernelopts="root=/dev/sda2 ro "\nblscfg\n',
        'set kernelopts="root=UUID=07 ro "\nblscfg\n',
    ),
    edit(
        "kernelopts in the environment block, which has 1024 bytes",
        f"{GRUB}, The GRUB environment block",
        "/boot/grub2/grubenv",
        "# GRUB Environment Block\nkernelopts=root=/dev/sda2 ro\n".ljust(1024, "#"),
        "# GRUB Environment Block\nkernelopts=root=UUID=07 ro\n".ljust(1024, "#"),
    ),
    edit(
        "a menu of one's own",
        f"{GRUB}, 41_custom",
        "/boot/grub/custom.cfg",
        entry(f" {IMAGE} root=/dev/sda2"),
        entry(f" {IMAGE} root=UUID=07"),
    ),
    edit(
        "a line that goes on does not lose its end",
        f"{GRUB}, 6.1: a backslash before a newline",
        "/boot/grub/custom.cfg",
        entry(f" {IMAGE} root=UUID=07 ro \\\n  resume=/dev/sdq1"),
        entry(f" {IMAGE} root=UUID=07 ro \\\n  "),
    ),
    edit(
        "what a shell makes of a word is not known",
        "sh(1), expansions",
        "/etc/grub.d/40_custom",
        "#!/bin/sh\n" + entry(f" {IMAGE} root=/dev/sda2 resume=`cat /etc/swapdev` resume=$SWAP"),
        "#!/bin/sh\n" + entry(f" {IMAGE} root=UUID=07 resume=`cat /etc/swapdev` resume=$SWAP"),
    ),
    edit(
        "a menu of one's own on Red Hat",
        f"{GRUB}, 41_custom",
        "/boot/grub2/custom.cfg",
        entry(f" {IMAGE} root=/dev/sda2"),
        entry(f" {IMAGE} root=UUID=07"),
    ),
    edit(
        "an entry of one's own for the next menu",
        f"{GRUB}, 40_custom",
        "/etc/grub.d/40_custom",
        "#!/bin/sh\nexec tail -n +3 $0\n" + entry(f" {IMAGE} root=/dev/sda2"),
        "#!/bin/sh\nexec tail -n +3 $0\n" + entry(f" {IMAGE} root=UUID=07"),
    ),
    Rule("a device map", f"{GRUB}, Device map", {"/boot/grub/device.map": "(hd0) /dev/sda\n"}, {"/boot/grub/device.map": None}),
    edit("a device map without disks", f"{GRUB}, Device map", "/boot/grub/device.map", "(fd0) /dev/fd0\n"),
    edit(
        "GRUB_CMDLINE_LINUX",
        f"{GRUB}, Simple configuration",
        DEFAULT,
        'GRUB_CMDLINE_LINUX="root=/dev/sda2"\n',
        'GRUB_CMDLINE_LINUX="root=UUID=07"\n',
    ),
    edit(
        "GRUB_CMDLINE_LINUX_DEFAULT",
        f"{GRUB}, Simple configuration",
        DEFAULT,
        "GRUB_CMDLINE_LINUX_DEFAULT='quiet resume=/dev/sda1'\n",
        "GRUB_CMDLINE_LINUX_DEFAULT='quiet resume=UUID=5a'\n",
    ),
    edit(
        "GRUB_CMDLINE_LINUX_RECOVERY",
        "openSUSE and Ubuntu, 10_linux",
        DEFAULT,
        'GRUB_CMDLINE_LINUX_RECOVERY="single root=/dev/sda2"\n',
        'GRUB_CMDLINE_LINUX_RECOVERY="single root=UUID=07"\n',
    ),
    edit(
        "a drop-in of Debian",
        "Debian's grub-mkconfig, /etc/default/grub.d",
        "/etc/default/grub.d/50-cloudimg-settings.cfg",
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT root=/dev/sda2"\n',
        'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT root=UUID=07"\n',
    ),
    edit(
        "what is commented out",
        f"{GRUB}, Simple configuration",
        DEFAULT,
        '#GRUB_CMDLINE_LINUX="root=/dev/sda2"\nGRUB_DISABLE_LINUX_UUID=true\n',
    ),
    edit(
        "a value in pieces",
        "bash(1), Quoting; grub-mkconfig sources the file",
        DEFAULT,
        "GRUB_CMDLINE_LINUX=$GRUB_CMDLINE_LINUX\" root=/dev/sda2\"' resume=/dev/sda1'\n",
        "GRUB_CMDLINE_LINUX=$GRUB_CMDLINE_LINUX\" root=UUID=07\"' resume=UUID=5a'\n",
    ),
    edit(
        "single quotes in a menu",
        f"{GRUB}, Shell-like scripting, quoting",
        CFG,
        entry(f" {IMAGE} root='/dev/sda2'"),
        entry(f" {IMAGE} root=UUID=07"),
    ),
    edit(
        "GRUB_DEVICE of one's own",
        "grub-mkconfig, which exports GRUB_DEVICE",
        DEFAULT,
        "GRUB_DEVICE=/dev/sda2\n",
        None,
        ("bootloader.unstable-name", "warning"),
    ),
    edit(
        "words that are made at the next update",
        f"{GRUB}, GRUB_DISABLE_LINUX_UUID",
        DEFAULT,
        'GRUB_DISABLE_LINUX_UUID=true\nGRUB_DISABLE_OS_PROBER=true\nGRUB_TERMINAL="console"\n',
    ),
    edit(
        "Debian remembers the disks of GRUB",
        "grub-pc's debconf, install_devices",
        "/var/cache/debconf/config.dat",
        "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\nValue: /dev/sda\n",
        "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\nValue: \n",
    ),
    edit(
        "SUSE remembers the disks of GRUB",
        "YaST, grub_installdevice",
        "/etc/default/grub_installdevice",
        "/dev/disk/by-id/scsi-36\nactivate\ngeneric_mbr\n",
        "activate\ngeneric_mbr\n",
    ),
]
GRUB1 = [
    edit(
        "a kernel's line",
        f"{LEGACY}, kernel",
        "/boot/grub/menu.lst",
        "title one\nroot (hd0,1)\nkernel /vmlinuz root=/dev/sda2 ro\n",
        "title one\nroot (hd0,1)\nkernel /vmlinuz root=UUID=07 ro\n",
    ),
    edit(
        "kopt of Debian", "Debian's update-grub(8), kopt", "/boot/grub/menu.lst", "# kopt=root=/dev/sda2 ro\n", "# kopt=root=UUID=07 ro\n"
    ),
    edit(
        "kopt of one version",
        "Debian's update-grub(8), kopt_2_6",
        "/boot/grub/menu.lst",
        "# kopt_2_6=root=/dev/sda2 ro\n",
        "# kopt_2_6=root=UUID=07 ro\n",
    ),
    edit(
        "defoptions and altoptions",
        "Debian's update-grub(8)",
        "/boot/grub/menu.lst",
        "# defoptions=quiet resume=/dev/sda1\n# altoptions=(single-user) single\n",
        "# defoptions=quiet resume=UUID=5a\n# altoptions=(single-user) single\n",
    ),
    edit("xenkopt", "Debian's update-grub(8), xenkopt", "/boot/grub/menu.lst", "# xenkopt=root=/dev/sda2\n", "# xenkopt=root=UUID=07\n"),
    edit(
        "modules of Xen",
        f"{LEGACY}, module",
        "/boot/grub/grub.conf",
        "title xen\nkernel /xen.gz\nmodule /vmlinuz root=/dev/sda2 ro\nmodule /initrd\n",
        "title xen\nkernel /xen.gz\nmodule /vmlinuz root=UUID=07 ro\nmodule /initrd\n",
    ),
    edit(
        "RHEL 6 with EFI has its menu on the ESP",
        "RHEL 6 installation guide, GRUB on UEFI",
        "/boot/efi/EFI/redhat/grub.conf",
        "default=0\ntitle one\nroot (hd0,1)\nkernel /vmlinuz root=/dev/sda2 ro\n",
        "default=0\ntitle one\nroot (hd0,1)\nkernel /vmlinuz root=UUID=07 ro\n",
    ),
    edit(
        "YaST's words for new kernels",
        "SLES 11 administration guide, /etc/sysconfig/bootloader",
        "/etc/sysconfig/bootloader",
        'LOADER_TYPE="grub"\nDEFAULT_APPEND="resume=/dev/sda1 splash=silent"\nFAILSAFE_APPEND="root=/dev/sda2"\n',
        'LOADER_TYPE="grub"\nDEFAULT_APPEND="resume=UUID=5a splash=silent"\nFAILSAFE_APPEND="root=UUID=07"\n',
    ),
]
SNAPSHOT = f"version 1@{KVER}\nlinux /opensuse-tumbleweed/{KVER}/linux-0\ninitrd /opensuse-tumbleweed/{KVER}/initrd-0\noptions root={{}}\n"
TYPE1 = "/boot/loader/entries/one.conf"
ENTRIES = [
    edit(
        "options",
        f"{BLS}, type 1",
        TYPE1,
        f"title one\n{IMAGE}\noptions root=/dev/sda2 ro\n",
        f"title one\n{IMAGE}\noptions root=UUID=07 ro\n",
    ),
    edit(
        "options more than once",
        f"{BLS}, options may be specified multiple times",
        TYPE1,
        f"{IMAGE}\noptions ro\noptions root=/dev/sda2\n",
        f"{IMAGE}\noptions ro\noptions root=UUID=07\n",
    ),
    edit(
        "tabs after the key",
        f"{BLS}, separated by spaces or tabs",
        TYPE1,
        f"linux\t/boot/vmlinuz-{KVER}\noptions\troot=/dev/sda2\n",
        f"linux\t/boot/vmlinuz-{KVER}\noptions\troot=UUID=07\n",
    ),
    edit("comments", f"{BLS}, lines that begin with #", TYPE1, f"# options root=/dev/sda2\n{IMAGE}\noptions root=UUID=07\n"),
    edit("variables of GRUB", "grub2-switch-to-blscfg(8)", TYPE1, f"{IMAGE}\noptions $kernelopts $tuned_params\n"),
    edit(
        "entries on the ESP",
        f"{BLS}, $BOOT",
        "/efi/loader/entries/arch.conf",
        "title Arch\nlinux /vmlinuz-linux\noptions root=/dev/sda2 rw\n",
        "title Arch\nlinux /vmlinuz-linux\noptions root=UUID=07 rw\n",
    ),
    edit(
        "entries with boot counting",
        f"{BLS}, boot counting",
        "/boot/loader/entries/one+3-1.conf",
        f"{IMAGE}\noptions root=/dev/sda2\n",
        f"{IMAGE}\noptions root=UUID=07\n",
    ),
    Rule(
        "entries behind a link of ostree",
        "ostree, deployment; /boot/loader is loader.0 or loader.1",
        {
            "/boot/loader": Stat("link", 8, target="loader.1"),
            "/boot/loader.1/entries/ostree-1.conf": f"{IMAGE}\noptions root=/dev/sda2 ostree=/ostree/boot.1/x\n",
        },
        {"/boot/loader.1/entries/ostree-1.conf": f"{IMAGE}\noptions root=UUID=07 ostree=/ostree/boot.1/x\n"},
    ),
    edit(
        "the words for new kernels",
        "kernel-install(8), /etc/kernel/cmdline",
        "/etc/kernel/cmdline",
        "root=/dev/sda2 ro\n",
        "root=UUID=07 ro\n",
    ),
    edit(
        "the words for new kernels over several lines",
        "kernel-install(8), 90-loaderentry joins lines",
        "/etc/kernel/cmdline",
        "ro quiet\nroot=/dev/sda2\n",
        "ro quiet\nroot=UUID=07\n",
    ),
    edit("comments in them", "mkinitcpio(8), --cmdline", "/etc/cmdline.d/root.conf", "# root=/dev/sda2\nroot=UUID=07 ro\n"),
    edit(
        "drop-ins of mkinitcpio for unified kernels",
        "mkinitcpio(8), /etc/cmdline.d",
        "/etc/cmdline.d/root.conf",
        "root=/dev/sda2 rw\n",
        "root=UUID=07 rw\n",
    ),
    edit(
        "Cmdline= of ukify",
        "ukify(1), Cmdline=",
        "/etc/kernel/uki.conf",
        "[UKI]\nCmdline=root=/dev/sda2 ro\n",
        "[UKI]\nCmdline=root=UUID=07 ro\n",
    ),
    edit(
        "kernel_cmdline of dracut",
        "dracut.conf(5), kernel_cmdline",
        "/etc/dracut.conf.d/a.conf",
        'kernel_cmdline+=" root=/dev/sda2 "\n',
        'kernel_cmdline+=" root=UUID=07 "\n',
    ),
    Rule("a unified kernel", f"{BLS}, type 2", {"/efi/EFI/Linux/a.efi": b"MZ\0"}, concerns=(("bootloader.unified-kernel", "warning"),)),
    Rule(
        "an entry of sdbootutil has the release behind the snapshot",
        "sdbootutil, entries: version <snapshot>@<release>",
        {
            "/boot/efi/loader/entries/system-1.conf": SNAPSHOT.format("/dev/sda2"),
            f"/boot/efi/opensuse-tumbleweed/{KVER}/linux-0": bytes(0x202) + b"HdrS" + bytes(64),
            f"/boot/efi/opensuse-tumbleweed/{KVER}/initrd-0": IMAGES["new"],
        },
        {"/boot/efi/loader/entries/system-1.conf": SNAPSHOT.format("UUID=07")},
    ),
]
SYS = [
    edit(
        "APPEND",
        f"{SYSLINUX}, APPEND",
        "/boot/extlinux/extlinux.conf",
        "DEFAULT l\nLABEL l\n  LINUX /vmlinuz\n  APPEND root=/dev/sda2 ro\n",
        "DEFAULT l\nLABEL l\n  LINUX /vmlinuz\n  APPEND root=UUID=07 ro\n",
    ),
    edit(
        "keywords in any case",
        f"{SYSLINUX}, case-insensitive",
        "/boot/syslinux/syslinux.cfg",
        "label l\n  kernel /vmlinuz\n  append root=/dev/sda2\n",
        "label l\n  kernel /vmlinuz\n  append root=UUID=07\n",
    ),
    edit(
        "APPEND for all labels",
        f"{SYSLINUX}, global APPEND",
        "/boot/extlinux.conf",
        "APPEND root=/dev/sda2\nLABEL l\n  LINUX /vmlinuz\n",
        "APPEND root=UUID=07\nLABEL l\n  LINUX /vmlinuz\n",
    ),
    edit(
        "options behind the default",
        "doc/syslinux.txt, DEFAULT kernel options",
        "/boot/extlinux/extlinux.conf",
        "DEFAULT /vmlinuz root=/dev/sda2 ro\n",
        "DEFAULT /vmlinuz root=UUID=07 ro\n",
    ),
    edit(
        "Alpine's words for new menus",
        "Alpine, update-extlinux.conf",
        "/etc/update-extlinux.conf",
        'root=/dev/sda2\ndefault_kernel_opts="quiet rootfstype=ext4"\n',
        'root=UUID=07\ndefault_kernel_opts="quiet rootfstype=ext4"\n',
    ),
    edit(
        "Debian's words for new menus",
        "extlinux-update(8), EXTLINUX_ROOT",
        "/etc/default/extlinux",
        'EXTLINUX_ROOT="root=/dev/sda2"\nEXTLINUX_PARAMETERS="ro resume=/dev/sda1"\n',
        'EXTLINUX_ROOT="root=UUID=07"\nEXTLINUX_PARAMETERS="ro resume=UUID=5a"\n',
    ),
    edit(
        "u-boot-menu",
        "u-boot-update(8), U_BOOT_ROOT",
        "/etc/default/u-boot",
        'U_BOOT_ROOT="root=/dev/sda2"\n',
        'U_BOOT_ROOT="root=UUID=07"\n',
    ),
    edit("kexec-tools", "kexec-tools, /etc/default/kexec", "/etc/default/kexec", 'APPEND="root=/dev/sda2"\n', 'APPEND="root=UUID=07"\n'),
    edit(
        "the words of a crash kernel",
        "kdump(5) of SUSE, KDUMP_COMMANDLINE",
        "/etc/sysconfig/kdump",
        'KDUMP_COMMANDLINE="root=/dev/sda2 single"\n',
        'KDUMP_COMMANDLINE="root=UUID=07 single"\n',
    ),
    edit(
        "Photon's words",
        "Photon OS, photon.cfg",
        "/boot/photon.cfg",
        "photon_cmdline=init=/lib/systemd/systemd ro root=/dev/sda2\nphoton_linux=vmlinuz\n",
        "photon_cmdline=init=/lib/systemd/systemd ro root=UUID=07\nphoton_linux=vmlinuz\n",
    ),
    edit(
        "Photon's root",
        "Photon OS, grub.cfg",
        "/boot/grub2/grub.cfg",
        "set rootpartition=/dev/sda2\n" + entry(f" {IMAGE} root=$rootpartition"),
        "set rootpartition=UUID=07\n" + entry(f" {IMAGE} root=$rootpartition"),
    ),
    edit(
        "zipl is for other machines",
        "zipl.conf(5)",
        "/etc/zipl.conf",
        "[default]\nparameters=root=/dev/disk/by-path/ccw-0.0.0100-part1\n",
        idle=("/dev/disk/by-path/ccw-0.0.0100-part1",),
    ),
    edit(
        "the card of PXE by its MAC",
        "pxelinux, IPAPPEND 2",
        "/boot/extlinux/extlinux.conf",
        f"LABEL l\n  LINUX /v\n  APPEND root=UUID=07 BOOTIF=01-{MAC.replace(':', '-')}\n",
    ),
]


@pytest.mark.parametrize("rule", rules(GRUB2, GRUB1, ENTRIES, SYS))
def test_the_words_that_a_loader_gives(rule):
    holds(rule)

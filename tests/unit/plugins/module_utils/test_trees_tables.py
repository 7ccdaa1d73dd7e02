# SPDX-License-Identifier: GPL-3.0-or-later
"""fstab, crypttab, units of systemd and what else mounts, by their manuals."""

from __future__ import annotations

import pytest
from treerules import BY_PATH, WWID, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.assemble import place
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

FSTAB, CRYPTTAB, SYSTEM = "/etc/fstab", "/etc/crypttab", "/etc/systemd/system"
MOUNT, UTIL = "systemd.mount(5), fstab", "fstab(5)"
UNRESOLVED, UNSURE, LEFT = ("mounts.unresolved", "blocker"), ("mounts.unresolved", "warning"), ("mounts.unstable-name", "warning")


def row(path, name, source, before, after=None, *concerns, idle=()):
    """A rule of one line in one file; None: it stays."""
    return Rule(name, source, {path: before + "\n"}, {path: after + "\n"} if after is not None else {}, concerns, idle=idle)


def fstab(*said, idle=()):
    return row(FSTAB, *said, idle=idle)


def crypttab(*said, idle=()):
    return row(CRYPTTAB, *said, idle=idle)


FIELDS = [
    fstab("a SCSI disk's name", f"{UTIL}, fs_spec", "/dev/sda2 / ext4 defaults 0 1", "UUID=07 / ext4 defaults 0 1"),
    fstab("tabs and columns stay", UTIL, "/dev/sda2\t/\t\text4  defaults\t0 1", "UUID=07\t/\t\text4  defaults\t0 1"),
    fstab(
        "a space in the mount point", f"{UTIL}, \\040", "/dev/sdb1 /srv/a\\040b ext4 defaults 0 2", "UUID=da /srv/a\\040b ext4 defaults 0 2"
    ),
    fstab(
        "a tab in the mount point", f"{UTIL}, \\011", "/dev/sdb1 /srv/a\\011b ext4 defaults 0 2", "UUID=da /srv/a\\011b ext4 defaults 0 2"
    ),
    fstab("a space in a label", f"{UTIL}, LABEL=", "LABEL=a\\040b /srv ext4 nofail 0 2"),
    fstab("a tag in quotes", f"{UTIL}, fs_spec", 'UUID="07" / ext4 defaults 0 1'),
    fstab("comments", UTIL, "# /dev/sda2 / ext4 defaults 0 1\n\n   #/dev/sda1 none swap sw 0 0"),
    fstab("dump and pass may be missing", UTIL, "/dev/sdb1 /srv ext4", "UUID=da /srv ext4"),
    fstab("swap", f"{UTIL}, fs_vfstype", "/dev/sda1 none swap sw,pri=5 0 0", "UUID=5a none swap sw,pri=5 0 0"),
    fstab("a swap file", "swapon(8)", "/swapfile none swap sw 0 0"),
    fstab("a bind mount", "mount(8), bind", "/srv/a /srv/b none bind 0 0"),
    fstab("an image in a loop", "mount(8), loop", "/srv/a.iso /mnt iso9660 loop,ro 0 0"),
    fstab(
        "network storage",
        "mount(8), _netdev",
        "nas:/export /srv nfs4 _netdev,x-systemd.automount 0 0\n//nas/x /y cifs credentials=/root/c 0 0",
    ),
    fstab("memory", "tmpfs(5)", "tmpfs /tmp tmpfs size=1G 0 0\nproc /proc proc defaults 0 0"),
    fstab("a drive", UTIL, "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0"),
    fstab("a volume of LVM", "lvm(8)", "/dev/mapper/vg-root / ext4 defaults 0 1\n/dev/vg/root /x ext4 defaults 0 2"),
    fstab("a disk that is not there", f"{UTIL}, fs_spec", "/dev/sdq1 /x ext4 defaults 0 2", None, UNRESOLVED),
    fstab("a disk that is not there, with nofail", f"{MOUNT}, nofail", "/dev/sdq1 /x ext4 defaults,nofail 0 2", None, UNSURE),
    fstab("a disk that is not there, with noauto", f"{MOUNT}, noauto", "/dev/sdq1 /x ext4 noauto 0 2", idle=("/dev/sdq1",)),
    fstab("an option that only ends like noauto", f"{MOUNT}, x-*", "/dev/sdq1 /x ext4 x-app.noauto 0 2", None, UNRESOLVED),
    fstab(
        "x-initrd.mount", f"{MOUNT}, x-initrd.mount", "/dev/sdb1 /usr ext4 ro,x-initrd.mount 0 0", "UUID=da /usr ext4 ro,x-initrd.mount 0 0"
    ),
    fstab(
        "x-systemd.device-timeout and makefs",
        f"{MOUNT}, x-systemd.makefs",
        "/dev/sdb1 /srv ext4 x-systemd.makefs,x-systemd.device-timeout=5 0 0",
        "UUID=da /srv ext4 x-systemd.makefs,x-systemd.device-timeout=5 0 0",
    ),
    fstab(
        "x-systemd.requires= by a path",
        f"{MOUNT}, x-systemd.requires=",
        "/a /b none bind,x-systemd.requires=/dev/sdb1 0 0",
        "/a /b none bind,x-systemd.requires=/dev/disk/by-uuid/da 0 0",
    ),
    fstab(
        "x-systemd.requires= by the unit of a device",
        f"{MOUNT}, x-systemd.requires=; systemd.device(5)",
        "/a /b none bind,x-systemd.requires=dev-sdb1.device 0 0",
        "/a /b none bind,x-systemd.requires=dev-disk-by\\x2duuid-da.device 0 0",
    ),
    fstab("x-systemd.after= by a service", f"{MOUNT}, x-systemd.after=", "UUID=da /b ext4 x-systemd.after=a.service 0 0"),
    fstab(
        "a log of XFS", "xfs(5), logdev=", "/dev/sdb1 /b xfs logdev=/dev/sdb2 0 0", "UUID=da /b xfs logdev=/dev/disk/by-partuuid/aa-12 0 0"
    ),
    fstab(
        "a journal of ext4",
        "ext4(5), journal_path=",
        "/dev/sdb1 /b ext4 journal_path=/dev/sdb2 0 0",
        "UUID=da /b ext4 journal_path=/dev/disk/by-partuuid/aa-12 0 0",
    ),
    fstab(
        "a journal of reiserfs",
        "fs/reiserfs/super.c, jdev=",
        "/dev/sdb1 /b reiserfs jdev=/dev/sdb2 0 0",
        "UUID=da /b reiserfs jdev=/dev/disk/by-partuuid/aa-12 0 0",
    ),
    fstab(
        "a file system over several disks",
        "bcachefs(8), mount",
        "/dev/sdb1:/dev/sdb2 /b bcachefs defaults 0 0",
        "/dev/disk/by-partuuid/aa-11:/dev/disk/by-partuuid/aa-12 /b bcachefs defaults 0 0",
    ),
    fstab(
        "a folder that VMware shared",
        "vmhgfs-fuse(1)",
        ".host:/ /mnt/hgfs fuse.vmhgfs-fuse allow_other 0 0",
        "# .host:/ /mnt/hgfs fuse.vmhgfs-fuse allow_other 0 0",
        ("mounts.shared-folder", "info"),
    ),
    fstab(
        "a folder that VirtualBox shared",
        "VirtualBox user manual, 4.3",
        "Shared /media/sf_Shared vboxsf uid=0 0 0",
        "# Shared /media/sf_Shared vboxsf uid=0 0 0",
        ("mounts.shared-folder", "info"),
    ),
    fstab(
        "multipath by a friendly name",
        "multipath.conf(5), user_friendly_names",
        "/dev/mapper/mpatha2 / ext4 defaults 0 1",
        "UUID=07 / ext4 defaults 0 1",
    ),
    fstab(
        "multipath by WWID",
        "multipath.conf(5), user_friendly_names no",
        f"/dev/mapper/{WWID}-part2 / ext4 defaults 0 1",
        "UUID=07 / ext4 defaults 0 1",
    ),
    fstab(
        "multipath by WWID, as SUSE and kpartx -p p write it",
        "kpartx(8), -p",
        f"/dev/mapper/{WWID}p2 / ext4 defaults 0 1",
        "UUID=07 / ext4 defaults 0 1",
    ),
    fstab("multipath by an alias", "multipath.conf(5), alias", "/dev/mapper/boss-part2 / ext4 defaults 0 1", "UUID=07 / ext4 defaults 0 1"),
    fstab(
        "the overlay of SLE Micro",
        "transactional-update(8), /etc",
        "overlay /etc overlay defaults,upperdir=/sysroot/var/lib/overlay/1/etc,lowerdir=/sysroot/etc,"
        "workdir=/sysroot/var/lib/overlay/work-etc,x-systemd.requires-mounts-for=/var,x-initrd.mount 0 0",
    ),
    fstab(
        "a temporary disk of Azure",
        "cloud-init, Azure data source",
        "/dev/disk/cloud/azure_resource-part1 /mnt auto nofail 0 2",
        "# /dev/disk/cloud/azure_resource-part1 /mnt auto nofail 0 2",
    ),
    fstab("an instance store of EC2", "cloud-init, mounts", "/dev/xvdf /mnt auto defaults,nofail,comment=cloudconfig 0 2", None, UNSURE),
    fstab(
        "a mount point that is no path",
        "systemd-fstab-generator(8), not a valid path; findmnt(8), --verify",
        "/dev/sdb1 data ext4 defaults 0 2",
        "UUID=da data ext4 defaults 0 2",
        ("mounts.no-path", "info"),
    ),
    fstab(
        "a disk that is not there, for a mount point that is no path",
        "systemd-fstab-generator(8), not a valid path",
        "/dev/sdq1 data ext4 defaults 0 2",
        None,
        UNSURE,
        ("mounts.no-path", "info"),
    ),
    fstab(
        "a disk that is not there, for a relative path",
        "systemd-fstab-generator(8), which takes it from the root",
        "/dev/sdq1 srv/data ext4 defaults 0 2",
        None,
        UNRESOLVED,
    ),
    fstab("swap by another word", f"{UTIL}, fs_file", "/dev/sda1 swap swap sw 0 0", "UUID=5a swap swap sw 0 0"),
    fstab("Windows line ends", UTIL, "/dev/sdb1 /srv ext4 defaults 0 2\r", "UUID=da /srv ext4 defaults 0 2\r"),
]
CRYPT = [
    crypttab("a LUKS device", "crypttab(5), second field", "root /dev/sda4 none luks,discard", "root UUID=1c none luks,discard"),
    crypttab("two fields are enough", "crypttab(5)", "root /dev/sda4", "root UUID=1c"),
    crypttab("by the path of a controller", "crypttab(5)", f"root {BY_PATH}4 -", "root UUID=1c -"),
    crypttab(
        "swap that is made anew at each boot has no UUID",
        "crypttab(5), swap",
        "cswap /dev/sda5 /dev/urandom swap,cipher=aes-xts-plain64",
        "cswap PARTUUID=aa-05 /dev/urandom swap,cipher=aes-xts-plain64",
    ),
    crypttab(
        "nor does one keep that it still has",
        "crypttab(5), swap: destroys the contents at every boot",
        "cswap /dev/sda1 /dev/urandom swap,plain",
        "cswap PARTUUID=aa-01 /dev/urandom swap,plain",
    ),
    crypttab("tmp= likewise", "crypttab(5), tmp=", "t /dev/sdb1 /dev/urandom tmp=ext4", "t PARTUUID=aa-11 /dev/urandom tmp=ext4"),
    crypttab(
        "a key on a device", "crypttab(5), third field", "data UUID=1c /key:/dev/sdb1 luks,nofail", "data UUID=1c /key:UUID=da luks,nofail"
    ),
    crypttab(
        "a device as the key",
        "crypttab(5), third field",
        "data UUID=1c /dev/sdb2 luks,keyfile-size=512",
        "data UUID=1c /dev/disk/by-partuuid/aa-12 luks,keyfile-size=512",
    ),
    crypttab(
        "a header on a device",
        "crypttab(5), header=",
        "data UUID=1c none luks,header=/h:/dev/sdb1",
        "data UUID=1c none luks,header=/h:UUID=da",
    ),
    crypttab(
        "a device as the header",
        "crypttab(5), header=",
        "data UUID=1c none header=/dev/sdb2,luks",
        "data UUID=1c none header=/dev/disk/by-partuuid/aa-12,luks",
    ),
    crypttab("a key on a device that is not there", "crypttab(5), third field", "data UUID=1c /key:/dev/sdq1 luks", None, UNRESOLVED),
    crypttab(
        "passdev has the device first",
        "cryptsetup README.Debian, passdev",
        "data UUID=1c /dev/disk/by-label/keys:/k keyscript=/lib/cryptsetup/scripts/passdev",
    ),
    crypttab("tokens of TPM and FIDO2", "crypttab(5), tpm2-device=", "data UUID=1c - tpm2-device=/dev/tpmrm0,fido2-device=auto"),
    crypttab("x-initrd.attach and _netdev", "crypttab(5)", "data UUID=1c none x-initrd.attach,_netdev"),
    crypttab("comments", "crypttab(5)", "# root /dev/sda4 none luks"),
    crypttab("what is not attached at boot", "crypttab(5), noauto", "old /dev/sdq4 none luks,noauto", idle=("/dev/sdq4",)),
]


def unit(name, source, files, after, *concerns):
    return Rule(
        name,
        source,
        {f"{SYSTEM}/{path}": text for path, text in files.items()},
        {f"{SYSTEM}/{path}": text for path, text in after.items()},
        concerns,
    )


UNITS = [
    unit(
        "What= of a mount",
        "systemd.mount(5), What=",
        {"srv.mount": "[Mount]\nWhat=/dev/sdb1\nWhere=/srv\n"},
        {"srv.mount": "[Mount]\nWhat=/dev/disk/by-uuid/da\nWhere=/srv\n"},
    ),
    unit("What= by a tag", "systemd.mount(5), What=", {"srv.mount": "[Mount]\nWhat=LABEL=data\nWhere=/srv\n"}, {}),
    unit(
        "What= in a drop-in",
        "systemd.unit(5), drop-ins",
        {"srv.mount.d/50-a.conf": "[Mount]\nWhat=/dev/sdb1\n"},
        {"srv.mount.d/50-a.conf": "[Mount]\nWhat=/dev/disk/by-uuid/da\n"},
    ),
    unit(
        "Options= with a log",
        "xfs(5), logdev=",
        {"srv.mount": "[Mount]\nWhat=UUID=da\nWhere=/srv\nType=xfs\nOptions=noatime,logdev=/dev/sdb2\n"},
        {"srv.mount": "[Mount]\nWhat=UUID=da\nWhere=/srv\nType=xfs\nOptions=noatime,logdev=/dev/disk/by-partuuid/aa-12\n"},
    ),
    unit("an automount names no device", "systemd.automount(5)", {"srv.automount": "[Automount]\nWhere=/srv\nTimeoutIdleSec=60\n"}, {}),
    unit(
        "a swap unit is called after its device",
        "systemd.swap(5)",
        {"dev-sda1.swap": "[Swap]\nWhat=/dev/sda1\n"},
        {"dev-sda1.swap": None, "dev-disk-by\\x2duuid-5a.swap": "[Swap]\nWhat=/dev/disk/by-uuid/5a\n"},
    ),
    unit(
        "a service that needs a swap unit and a device",
        "systemd.swap(5); systemd.unit(5), Requires=",
        {"dev-sda1.swap": "[Swap]\nWhat=/dev/sda1\n", "a.service": "[Unit]\nRequires=dev-sda1.swap dev-sdb1.device\n"},
        {
            "dev-sda1.swap": None,
            "dev-disk-by\\x2duuid-5a.swap": "[Swap]\nWhat=/dev/disk/by-uuid/5a\n",
            "a.service": "[Unit]\nRequires=dev-disk-by\\x2duuid-5a.swap dev-disk-by\\x2duuid-da.device\n",
        },
    ),
    unit(
        "a dependency on a device",
        "systemd.device(5); systemd.unit(5), Requires=",
        {"srv.service": "[Unit]\nRequires=dev-sdb1.device a.service\nAfter=dev-sdb1.device\n"},
        {"srv.service": "[Unit]\nRequires=dev-disk-by\\x2duuid-da.device a.service\nAfter=dev-disk-by\\x2duuid-da.device\n"},
    ),
    unit(
        "a dependency on the path of a controller",
        "systemd.unit(5), string escaping",
        {"srv.service": "[Unit]\nBindsTo=dev-disk-by\\x2dpath-pci\\x2d0000:03:00.0\\x2dscsi\\x2d0:0:0:0\\x2dpart2.device\n"},
        {"srv.service": "[Unit]\nBindsTo=dev-disk-by\\x2duuid-07.device\n"},
    ),
    unit(
        "a dependency on a stable device", "systemd.device(5)", {"srv.service": "[Unit]\nRequires=dev-vg-root.device dev-md0.device\n"}, {}
    ),
    unit("a disk that is not there", "systemd.mount(5), What=", {"srv.mount": "[Mount]\nWhat=/dev/sdq1\nWhere=/srv\n"}, {}, UNRESOLVED),
    Rule("a masked unit", "systemd.unit(5), /dev/null", {f"{SYSTEM}/srv.mount": Stat("link", 9, target="/dev/null")}),
]
OTHERS = [
    row("/etc/auto.misc", "maps of autofs", "autofs(5)", "data -fstype=ext4 :/dev/sdb1", "data -fstype=ext4 :/dev/disk/by-uuid/da"),
    row(
        "/etc/autofs/auto.misc",
        "maps of autofs on Arch, Alpine and Gentoo",
        "autofs(5), auto.master(5)",
        "data -fstype=ext4 :/dev/sdb1",
        "data -fstype=ext4 :/dev/disk/by-uuid/da",
    ),
    row("/etc/kdump.conf", "a dump to a file system", "kdump.conf(5)", "ext4 /dev/sdb1", "ext4 UUID=da"),
    row("/etc/kdump.conf", "a dump to a raw partition", "kdump.conf(5), raw", "raw /dev/sdb2", "raw /dev/disk/by-partuuid/aa-12"),
    row("/etc/kdump.conf", "a dump to a disk that is not there", "kdump.conf(5)", "ext4 /dev/sdq1\npath /var/crash", None, UNSURE),
    row(
        "/etc/kdump.conf",
        "a mount for dracut",
        "kdump.conf(5), dracut_args --mount",
        'dracut_args --mount "/dev/sdb1 /var/crash ext4 defaults"',
        'dracut_args --mount "/dev/disk/by-uuid/da /var/crash ext4 defaults"',
    ),
    row("/etc/veritytab", "a verity device", "veritytab(5)", "usr /dev/sda2 /dev/sdb2 0123 auto", "usr UUID=07 PARTUUID=aa-12 0123 auto"),
    row("/etc/integritytab", "an integrity device", "integritytab(5)", "a /dev/sdb1 - mode=journal", "a UUID=da - mode=journal"),
    row(
        "/etc/systemd/zram-generator.conf",
        "what zram writes back to",
        "zram-generator.conf(5), writeback-device=",
        "[zram0]\nwriteback-device=/dev/sdb2",
        "[zram0]\nwriteback-device=/dev/disk/by-partuuid/aa-12",
    ),
    row("/etc/rc.local", "a command at boot", "rc-local.service(8)", "#!/bin/sh\nmount /dev/sdb1 /srv", None, LEFT),
    row("/etc/local.d/a.start", "a command of OpenRC", "OpenRC, local.d", "mount /dev/sdb1 /srv", None, LEFT),
    row(
        f"{SYSTEM}/a.service",
        "a command of a service",
        "systemd.service(5), ExecStart=",
        "[Service]\nExecStart=/sbin/hdparm /dev/sdb",
        None,
        LEFT,
    ),
    row(FSTAB, "a device by its numbers", "udev 50-udev-default.rules, /dev/block", "/dev/block/8:2 /x ext4 nofail 0 0", None, UNSURE),
    row(
        FSTAB,
        "a disk by its count since the start",
        "udev 60-persistent-storage.rules, by-diskseq",
        "/dev/disk/by-diskseq/9-part1 /x ext4 nofail 0 0",
        None,
        UNSURE,
    ),
    row(
        "/etc/conf.d/dmcrypt",
        "dm-crypt of OpenRC",
        "Gentoo and Alpine, conf.d/dmcrypt",
        "target=data\nsource='/dev/sda4'\nkey='/k:UUID=x'",
        "target=data\nsource='UUID=1c'\nkey='/k:UUID=x'",
    ),
    row(
        "/etc/conf.d/dmcrypt",
        "swap of dm-crypt of OpenRC, made anew",
        "Gentoo and Alpine, conf.d/dmcrypt",
        "swap=cswap\nsource=/dev/sda1",
        "swap=cswap\nsource=/dev/disk/by-partuuid/aa-01",
    ),
]


@pytest.mark.parametrize("rule", rules(FIELDS, CRYPT))
def test_the_fields_of_a_table(rule):
    holds(rule)


@pytest.mark.parametrize("rule", rules(UNITS, OTHERS))
def test_what_else_mounts(rule):
    holds(rule)


# What fstab says, and where systemd-fstab-generator and libmount mount it.
PLACES = {
    "/srv": "/srv",
    "/srv/a\\040b": "/srv/a b",
    "/srv/a\\011\\134b": "/srv/a\t\\b",
    "/srv/\\303\\244": "/srv/ä",
    "srv/data": "/srv/data",
    "./data": "/data",
    "../../data": "/data",
    "//srv//data/": "/srv/data",
    "data": "",
    "none": "",
}


@pytest.mark.parametrize("mount_point", PLACES)
def test_where_an_entry_is_mounted(mount_point):
    assert place(mount_point) == PLACES[mount_point]

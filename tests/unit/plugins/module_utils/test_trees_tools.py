# SPDX-License-Identifier: GPL-3.0-or-later
"""What builds an initramfs, and what puts disks together: the configuration of each tool, by its manual."""

from __future__ import annotations

import gzip

import pytest
from fixtures import INITRD
from treerules import BY_PATH, IMAGES, WWID, Rule, facts, guest, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio, newc
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan

MADE = "virtio_pci virtio_blk virtio_scsi"
UNSTABLE = ("storage.unstable-name", "warning")
DEBIAN, DRACUT, ARCH, ALPINE, SUSE = "/usr/sbin/mkinitramfs", "/usr/bin/dracut", "/usr/bin/mkinitcpio", "/sbin/mkinitfs", "/sbin/mkinitrd"
OURS = {"/etc/dracut.conf.d/90-hyper2kvm.conf": f'add_drivers+=" {MADE} "\n'}


def tool(name, source, program, path, before, after=None, *concerns, extra=None, image="old", idle=()):
    """A rule of one file of a tool that makes images; one is there that knows only the old hardware."""
    changed = {path: after} if after is not None else {}
    return Rule(name, source, {program: b"\x7fELF", path: before}, {**changed, **(extra or {})}, concerns, image=image, idle=idle)


INITRAMFS_TOOLS = [
    tool(
        "modules of the target",
        "initramfs-tools(7), /etc/initramfs-tools/modules",
        DEBIAN,
        "/etc/initramfs-tools/modules",
        "# early\nvmw_pvscsi\n",
        "# early\nvmw_pvscsi\nvirtio_pci\nvirtio_blk\nvirtio_scsi\n",
    ),
    tool(
        "modules with parameters",
        "initramfs-tools(7)",
        DEBIAN,
        "/etc/initramfs-tools/modules",
        "virtio_blk num_request_queues=2\n",
        "virtio_blk num_request_queues=2\nvirtio_pci\nvirtio_scsi\n",
    ),
    tool(
        "conf.d/resume",
        "initramfs.conf(5), RESUME",
        DEBIAN,
        "/etc/initramfs-tools/conf.d/resume",
        "RESUME=/dev/sda1\n",
        "RESUME=UUID=5a\n",
        image="new",
    ),
    tool(
        "RESUME= that the shell finds",
        "initramfs.conf(5): read by sh",
        DEBIAN,
        "/etc/initramfs-tools/initramfs.conf",
        "RESUME=`blkid -o device -t TYPE=swap`\n",
        "RESUME=`blkid -o device -t TYPE=swap`\n",
        image="new",
    ),
    tool(
        "RESUME= in the main file",
        "initramfs.conf(5), RESUME",
        DEBIAN,
        "/etc/initramfs-tools/initramfs.conf",
        "MODULES=most\nRESUME=/dev/sda1\n",
        "MODULES=most\nRESUME=UUID=5a\n",
        image="new",
    ),
    tool(
        "RESUME= in a drop-in of another name",
        "initramfs.conf(5), conf.d",
        DEBIAN,
        "/etc/initramfs-tools/conf.d/local.conf",
        "RESUME=/dev/sda1\n",
        "RESUME=UUID=5a\n",
        image="new",
    ),
    tool("RESUME=none and auto", "initramfs.conf(5), RESUME", DEBIAN, "/etc/initramfs-tools/conf.d/resume", "RESUME=none\n", image="new"),
    tool("ROOT=", "initramfs.conf(5), ROOT", DEBIAN, "/etc/initramfs-tools/conf.d/root", "ROOT=/dev/sda2\n", "ROOT=UUID=07\n", image="new"),
    tool(
        "MODULES=dep looks at the machine",
        "initramfs.conf(5), MODULES",
        DEBIAN,
        "/etc/initramfs-tools/initramfs.conf",
        "MODULES=dep\nBUSYBOX=auto\n",
        image="new",
    ),
]
OF_DRACUT = [
    tool("drivers of the target", "dracut.conf(5), add_drivers", DRACUT, "/etc/dracut.conf", 'hostonly="yes"\n', extra=OURS),
    tool(
        "drivers that are left out",
        "dracut.conf(5), omit_drivers",
        DRACUT,
        "/etc/dracut.conf.d/a.conf",
        'omit_drivers+=" virtio-blk floppy "\n',
        'omit_drivers+=" floppy "\n',
        extra=OURS,
    ),
    tool(
        "drivers that are left out, without quotes",
        "dracut.conf(5), which is bash",
        DRACUT,
        "/etc/dracut.conf.d/a.conf",
        "omit_drivers+=virtio_blk\n",
        "omit_drivers+=\n",
        extra=OURS,
    ),
    tool(
        "a device that is waited for",
        "dracut.conf(5), add_device",
        DRACUT,
        "/etc/dracut.conf.d/a.conf",
        'add_device+=" /dev/sdb1 "\n',
        'add_device+=" /dev/disk/by-uuid/da "\n',
        image="new",
    ),
    tool(
        "a device that is waited for and is not there",
        "dracut.conf(5), add_device",
        DRACUT,
        "/etc/dracut.conf.d/a.conf",
        'add_device+=" /dev/sdq1 "\n',
        None,
        ("initramfs.unresolved", "warning"),
        image="new",
    ),
    tool(
        "lines for its fstab",
        "dracut.conf(5), fstab_lines",
        DRACUT,
        "/etc/dracut.conf.d/a.conf",
        'fstab_lines+=("/dev/sdb1 /srv ext4 defaults 0 0")\n',
        'fstab_lines+=("/dev/disk/by-uuid/da /srv ext4 defaults 0 0")\n',
        image="new",
    ),
    tool(
        "how it names devices itself",
        "dracut.conf(5), persistent_policy",
        DRACUT,
        "/etc/dracut.conf",
        'persistent_policy="by-path"\n',
        image="new",
    ),
    tool("comments", "dracut.conf(5)", DRACUT, "/etc/dracut.conf.d/a.conf", '# add_device+=" /dev/sdb1 "\n', image="new"),
]
OF_OTHERS = [
    tool(
        "MODULES of mkinitcpio",
        "mkinitcpio.conf(5), MODULES",
        ARCH,
        "/etc/mkinitcpio.conf",
        "MODULES=(vmw_pvscsi)\nHOOKS=(base udev autodetect block filesystems)\n",
        f"MODULES=(vmw_pvscsi {MADE})\nHOOKS=(base udev autodetect block filesystems)\n",
    ),
    tool(
        "MODULES as a string",
        "mkinitcpio.conf(5), before release 23",
        ARCH,
        "/etc/mkinitcpio.conf",
        'MODULES="vmw_pvscsi"\n',
        f'MODULES="vmw_pvscsi {MADE}"\n',
    ),
    tool(
        "MODULES over several lines, with comments",
        "bash(1), Arrays and comments",
        ARCH,
        "/etc/mkinitcpio.conf",
        "MODULES=(\n  vmw_pvscsi # (disks)\n  ext4\n)\n",
        f"MODULES=(\n  vmw_pvscsi # (disks)\n  ext4\n {MADE})\n",
    ),
    tool(
        "a comment at the end of MODULES",
        "bash(1), Arrays and comments",
        ARCH,
        "/etc/mkinitcpio.conf",
        "MODULES=(\n  vmw_pvscsi # disks\n)\n",
        f"MODULES=(\n  vmw_pvscsi # disks\n {MADE})\n",
    ),
    Rule(
        "MODULES of a drop-in take the place of the others",
        "mkinitcpio(8), /etc/mkinitcpio.conf.d",
        {ARCH: b"\x7fELF", "/etc/mkinitcpio.conf": "MODULES=()\n", "/etc/mkinitcpio.conf.d/a.conf": "MODULES=(ext4)\n"},
        {"/etc/mkinitcpio.conf": f"MODULES=({MADE})\n", "/etc/mkinitcpio.conf.d/a.conf": f"MODULES=(ext4 {MADE})\n"},
        image="old",
    ),
    tool(
        "features of mkinitfs",
        "mkinitfs.conf(5), features",
        ALPINE,
        "/etc/mkinitfs/mkinitfs.conf",
        'features="ata base ext4 scsi"\n',
        'features="ata base ext4 scsi virtio"\n',
    ),
    tool(
        "INITRD_MODULES of SUSE",
        "mkinitrd(8), INITRD_MODULES",
        SUSE,
        "/etc/sysconfig/kernel",
        'INITRD_MODULES="mptspi ext3"\n',
        f'INITRD_MODULES="mptspi ext3 {MADE}"\n',
    ),
]
MD, CONF = "mdadm.conf(5)", "/etc/mdadm/mdadm.conf"


def stored(name, source, path, before, after=None, *concerns, idle=()):
    return Rule(name, source, {path: before}, {path: after} if after is not None else {}, concerns, idle=idle)


ARRAYS = [
    stored("DEVICE by disks", f"{MD}, DEVICE", CONF, "DEVICE /dev/sda1 /dev/sdb1\n", "DEVICE partitions\n"),
    stored("DEVICE behind blanks", "mdadm: conf_word skips them", CONF, "# a\n  DEVICE /dev/sd[ab]1\n", "# a\n  DEVICE partitions\n"),
    stored("DEVICE by a pattern", f"{MD}, DEVICE: glob(7)", CONF, "DEVICE /dev/sd[a-z]*\n", "DEVICE partitions\n"),
    stored("DEVICE partitions", f"{MD}, DEVICE", "/etc/mdadm.conf", "DEVICE partitions containers\nMAILADDR root\n"),
    stored("keywords in any case and shortened", f"{MD}, SYNTAX", CONF, "dev /dev/sda1\n", "dev partitions\n"),
    stored(
        "a line that begins with a blank goes on",
        f"{MD}, SYNTAX",
        CONF,
        "DEVICE /dev/sda1\n  /dev/sdb1\nMAILADDR root\n",
        "DEVICE partitions\nMAILADDR root\n",
    ),
    stored("a comment behind it", f"{MD}, SYNTAX", CONF, "DEVICE /dev/sda1 # old\n", "DEVICE partitions # old\n"),
    stored(
        "devices= beside a UUID",
        f"{MD}, ARRAY devices=",
        CONF,
        "ARRAY /dev/md0 UUID=3d:0:0:0 devices=/dev/sda1,/dev/sdb1\n",
        "ARRAY /dev/md0 UUID=3d:0:0:0\n",
    ),
    stored(
        "devices= on a line that goes on",
        f"{MD}, SYNTAX",
        CONF,
        "ARRAY /dev/md0 UUID=3d:0:0:0\n   devices=/dev/sda1,/dev/sdb1\n",
        "ARRAY /dev/md0 UUID=3d:0:0:0\n",
    ),
    stored("devices= alone", f"{MD}, ARRAY devices=", CONF, "ARRAY /dev/md0 level=1 devices=/dev/sda1,/dev/sdb1\n", None, UNSTABLE),
    stored("a drop-in", f"{MD}, mdadm.conf.d", "/etc/mdadm/mdadm.conf.d/a.conf", "DEVICE /dev/sda1\n", "DEVICE partitions\n"),
    stored("arrays by name", f"{MD}, ARRAY", CONF, "ARRAY /dev/md/0 metadata=1.2 name=web01:0\nPROGRAM /bin/true\nHOMEHOST <system>\n"),
]
ASM = "/etc/udev/rules.d/96-asm.rules"
LVM, LIST = "/etc/lvm/lvm.conf", "/etc/lvm/devices/system.devices"
VOLUMES = [
    stored(
        "a filter for the old disks",
        "lvm.conf(5), devices/filter",
        LVM,
        'devices {\n\tfilter = [ "a|^/dev/sda|", "r|.*|" ]\n}\n',
        'devices {\n\t# filter = [ "a|^/dev/sda|", "r|.*|" ]\n}\n',
    ),
    stored("a filter that rejects drives", "lvm.conf(5), devices/filter", LVM, 'devices {\n filter = [ "r|/dev/cdrom|" ]\n}\n'),
    stored("volumes that are activated", "lvm.conf(5), activation/volume_list", LVM, 'activation {\n volume_list = [ "vg", "@*" ]\n}\n'),
    Rule(
        "entries of the devices file by WWID",
        "lvmdevices(8), IDTYPE",
        {LIST: f"VERSION=1.1.1\nIDTYPE=sys_wwid IDNAME=naa.{WWID[1:]} DEVNAME=/dev/sda3 PVID=x PART=3\n"},
        {LIST: None},
    ),
    stored(
        "entries of the devices file by array",
        "lvmdevices(8), IDTYPE",
        LIST,
        "VERSION=1.1.1\nIDTYPE=md_uuid IDNAME=3d:0 DEVNAME=/dev/md0 PVID=x\n",
    ),
    Rule(
        "a cache of LVM",
        "lvm(8), persistent filter",
        {"/etc/lvm/cache/.cache": 'persistent_filter_cache {\n valid_devices=["/dev/sda2"]\n}\n'},
        {"/etc/lvm/cache/.cache": None},
    ),
    Rule(
        "a cache of blkid",
        "blkid(8), /etc/blkid.tab",
        {"/etc/blkid.tab": '<device DEVNO="0x0801" UUID="07">/dev/sda2</device>\n'},
        {"/etc/blkid.tab": None},
    ),
    stored("disks that are watched", "smartd.conf(5)", "/etc/smartd.conf", "/dev/sda -a\nDEVICESCAN\n", "# /dev/sda -a\nDEVICESCAN\n"),
    stored(
        "disks that are watched by the path of a controller",
        "smartd.conf(5)",
        "/etc/smartd.conf",
        f"{BY_PATH[:-5]} -a\nDEVICESCAN\n",
        f"# {BY_PATH[:-5]} -a\nDEVICESCAN\n",
    ),
    stored(
        "disks of ASM by their serial numbers",
        "udev(7), ENV{ID_SERIAL}; Oracle's grid installation guide",
        ASM,
        f'KERNEL=="sd?1", SUBSYSTEM=="block", ENV{{ID_SERIAL}}=="{WWID}", SYMLINK+="oracleasm/d1", OWNER="grid"\n',
        None,
        ("storage.udev-rule", "warning"),
    ),
    stored("disks by what is on them", "udev(7), ENV{ID_FS_UUID}", ASM, 'SUBSYSTEM=="block", ENV{ID_FS_UUID}=="da", SYMLINK+="data"\n'),
    stored(
        "rules for other things",
        "udev(7)",
        ASM,
        '# KERNEL=="sda", NAME="x"\nKERNEL=="sr0", SYMLINK+="cdrom"\nSUBSYSTEM=="tty", GROUP="dialout"\n',
    ),
    stored(
        "drivers that are forbidden",
        "modprobe.d(5), blacklist",
        "/etc/modprobe.d/a.conf",
        "blacklist virtio_blk\nblacklist virtio_balloon\ninstall virtio-net /bin/true\n",
        "# blacklist virtio_blk\nblacklist virtio_balloon\n# install virtio-net /bin/true\n",
    ),
    stored(
        "multipath's blacklists",
        "multipath.conf(5), blacklist",
        "/etc/multipath.conf",
        'blacklist {\n devnode "^(ram|sd[a-b])"\n wwid "36000.*"\n}\n',
    ),
]


@pytest.mark.parametrize("rule", rules(INITRAMFS_TOOLS, OF_DRACUT, OF_OTHERS))
def test_what_the_next_image_is_made_from(rule):
    holds(rule)


@pytest.mark.parametrize("rule", rules(ARRAYS, VOLUMES))
def test_what_puts_disks_together(rule):
    holds(rule)


# What an image itself is steered by, as its tool has copied it in, and how it must read.
INSIDE = {
    "conf/initramfs.conf": ("MODULES=most\nRESUME=/dev/sda1\nROOT=/dev/sda2\n", "MODULES=most\nRESUME=UUID=5a\nROOT=UUID=07\n"),
    "conf/conf.d/local": ("RESUME=/dev/sda1\n", "RESUME=UUID=5a\n"),
    "conf/conf.d/resume": ("RESUME=UUID=ff\n", "RESUME=none\n"),
    "cryptroot/crypttab": ("r /dev/sda4 /k:/dev/sdb1 luks\n", "r UUID=1c /k:UUID=da luks\n"),
    "etc/crypttab": ("s /dev/sda1 /dev/urandom swap\n", "s PARTUUID=aa-01 /dev/urandom swap\n"),
    "etc/fstab": ("/dev/sdb1 /sysroot/a xfs logdev=/dev/sdb2 0 0\n", "UUID=da /sysroot/a xfs logdev=/dev/disk/by-partuuid/aa-12 0 0\n"),
    "etc/cmdline.d/95root-dev.conf": ("root=block:/dev/sda2 rd.luks.data=1c=/dev/sda4\n", "root=block:UUID=07 rd.luks.data=1c=UUID=1c\n"),
    "etc/mdadm/mdadm.conf": ("dev /dev/sda1\n /dev/sdb1\n", "dev partitions\n"),
    "etc/lvm/lvm.conf": ('filter = [ "a|sda|", "r|.*|" ]\n', '# filter = [ "a|sda|", "r|.*|" ]\n'),
}


@pytest.mark.parametrize("name", INSIDE)
def test_what_steers_an_image(name):
    """initramfs-tools(7), dracut.cmdline(7), /etc/cmdline.d: the same files, read before there is a root."""
    before, after = INSIDE[name]
    rule = Rule("", "", {INITRD: gzip.compress(gzip.decompress(IMAGES["new"]) + newc.write([(name, before.encode())]), mtime=0)})
    made = guest(rule)
    apply(made, make_plan(made, facts(made, rule), Options()))
    assert cpio.read(made.read(INITRD)).texts[name] == after.encode()
    assert make_plan(made, facts(made, rule), Options()).changes == ()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems by the files that their makers put there: what is known of them, what the repair changes, and what it leaves alone."""

from __future__ import annotations

import pytest
from fixtures import KVER, MAC
from treerules import IMAGES, LINKS, Rule, holds, rules

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat

KERNEL = bytes(0x202) + b"HdrS" + bytes(64)
NET, KEPT = "/etc/systemd/network", "/etc/cloud/cloud.cfg.d/99-hyper2kvm.cfg"
PIN = "# The data source of the old hypervisor is gone; what it configured stays.\nnetwork: {config: disabled}\nmanual_cache_clean: true\n"
CARD = Nic(MAC, slot=192)
UNKNOWN = ("guest.unknown-family", "warning")


def system(name, source, release, files, after=None, concerns=(), nics=(), **facts):
    """A rule of a whole system, by its os-release."""
    return Rule(name, source, {"/etc/os-release": release, **files}, after or {}, concerns, facts, nics)


def pinned(name):
    return {f"{NET}/10-hyper2kvm-{name}.link": f"[Match]\nMACAddress={MAC}\n\n[Link]\nName={name}\n"}


UBUNTU = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n'
SYSTEMS = [
    system(
        "Ubuntu of Azure",
        "cloud-init, Azure data source; Ubuntu's image",
        UBUNTU,
        {
            **LINKS,
            "/etc/cloud/cloud.cfg": "datasource_list: [Azure]\n",
            "/etc/fstab": "LABEL=cloudimg-rootfs / ext4 discard,commit=30,errors=remount-ro 0 1\n"
            "/dev/disk/cloud/azure_resource-part1 /mnt auto defaults,nofail,comment=cloudconfig 0 2\n",
            "/etc/default/grub.d/50-cloudimg-settings.cfg": 'GRUB_CMDLINE_LINUX="console=tty1 console=ttyS0 earlyprintk=ttyS0 nvme_core.io_timeout=240"\n',
            "/etc/netplan/50-cloud-init.yaml": f"network:\n  ethernets:\n    eth0:\n      match:\n        driver: hv_netvsc\n"
            f"        macaddress: {MAC}\n      set-name: eth0\n      dhcp4: true\n",
        },
        {
            "/etc/fstab": "LABEL=cloudimg-rootfs / ext4 discard,commit=30,errors=remount-ro 0 1\n"
            "# /dev/disk/cloud/azure_resource-part1 /mnt auto defaults,nofail,comment=cloudconfig 0 2\n",
            "/etc/netplan/50-cloud-init.yaml": f"network:\n  ethernets:\n    eth0:\n      match:\n        driver: virtio_net\n"
            f"        macaddress: {MAC}\n      set-name: eth0\n      dhcp4: true\n",
            KEPT: PIN,
            **pinned("eth0"),
        },
        nics=(CARD,),
        family="debian",
        network=("netplan",),
    ),
    system(
        "Ubuntu of EC2",
        "Ubuntu's image for EC2, LABEL and BOOT",
        UBUNTU,
        {
            "/etc/fstab": "LABEL=cloudimg-rootfs / ext4 discard 0 1\nLABEL=BOOT /boot ext4 defaults 0 2\nLABEL=UEFI /boot/efi vfat umask=0077 0 1\n"
        },
        family="debian",
    ),
    system(
        "Amazon Linux 2023",
        "Amazon Linux 2023 user guide, network; fstab of its image",
        'ID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n',
        {
            "/etc/fstab": "UUID=07 / ext4 defaults,noatime 1 1\nUUID=7A3B-19C2 /boot/efi vfat defaults,noatime,uid=0,x-systemd.automount 0 2\n",
            "/usr/bin/dracut": b"\x7fELF",
            "/usr/lib/systemd/network/80-ec2.network": "[Match]\nDriver=ena\n[Network]\nDHCP=yes\n",
        },
        {f"{NET}/80-ec2.network": "[Match]\nDriver=virtio_net\n[Network]\nDHCP=yes\n"},
        family="amazon",
        initramfs_tool="dracut",
    ),
    system(
        "SLES with snapshots",
        "SLES 15 administration guide, system recovery with Snapper",
        'ID="sles"\nID_LIKE="suse"\nVERSION_ID="15.6"\n',
        {
            "/etc/fstab": "UUID=07 / btrfs defaults 0 0\nUUID=07 /.snapshots btrfs subvol=/@/.snapshots 0 0\nUUID=5a swap swap defaults 0 0\n",
            "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="splash=silent resume=/dev/sda1 mitigations=auto quiet"\n'
            'SUSE_BTRFS_SNAPSHOT_BOOTING="true"\n',
        },
        {
            "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="splash=silent resume=UUID=5a mitigations=auto quiet"\n'
            'SUSE_BTRFS_SNAPSHOT_BOOTING="true"\n'
        },
        family="suse",
    ),
    system(
        "SLE Micro 5",
        "SLE Micro 5.5 administration guide, /etc overlay",
        'ID="sle-micro"\nID_LIKE="suse"\nVERSION_ID="5.5"\n',
        {
            "/etc/fstab": "UUID=07 / btrfs ro 0 0\nUUID=07 /var btrfs subvol=/@/var,x-initrd.mount 0 0\n"
            "overlay /etc overlay defaults,lowerdir=/sysroot/var/lib/overlay/1/etc:"
            "/sysroot/etc,upperdir=/sysroot/var/lib/overlay/2/etc,workdir=/sysroot/var/lib/overlay/2/work-etc,"
            "x-systemd.requires-mounts-for=/sysroot/var,x-initrd.mount 0 0\n"
        },
        family="suse",
    ),
    system(
        "Tumbleweed with systemd-boot",
        "sdbootutil(8)",
        'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n',
        {
            "/boot/efi/loader/loader.conf": "timeout 5\n",
            "/etc/kernel/cmdline": "root=/dev/sda2 quiet\n",
            f"/boot/efi/opensuse-tumbleweed/{KVER}/linux-1": KERNEL,
            f"/boot/efi/opensuse-tumbleweed/{KVER}/initrd-1": IMAGES["new"],
            f"/boot/efi/loader/entries/system-opensuse-tumbleweed-{KVER}-3.conf": f"title Tumbleweed\nversion 3@{KVER}\n"
            f"linux /opensuse-tumbleweed/{KVER}/linux-1\ninitrd /opensuse-tumbleweed/{KVER}/initrd-1\n"
            f"options root=UUID=07 rootflags=subvol=@/.snapshots/3/snapshot\n",
        },
        {"/etc/kernel/cmdline": "root=UUID=07 quiet\n"},
        family="suse",
        boot_loaders=("systemd-boot",),
    ),
    system(
        "Flatcar",
        "Flatcar documentation, disk layout",
        "ID=flatcar\nID_LIKE=coreos\n",
        {
            "/boot/efi/flatcar/grub/grub.cfg": "menuentry a {\n"
            " linux /flatcar/vmlinuz-a root=LABEL=ROOT mount.usr=/dev/mapper/usr verity.usr=PARTUUID=aa-03\n}\n"
        },
        concerns=(UNKNOWN,),
        family="unknown",
    ),
    system(
        "NixOS",
        "NixOS manual, file systems",
        "ID=nixos\n",
        {
            "/etc/fstab": Stat("link", 17, target="/etc/static/fstab"),
            "/etc/static": Stat("link", 10, target="/nix/store/0-etc/etc"),
            "/nix/store/0-etc/etc/fstab": "/dev/disk/by-uuid/07 / ext4 x-initrd.mount 0 1\n/dev/disk/by-uuid/5a none swap defaults\n",
            "/boot/loader/entries/nixos-generation-1.conf": f"title NixOS\nversion Generation 1\nlinux /boot/vmlinuz-{KVER}\n"
            f"options init=/nix/store/0-nixos/init\n",
        },
        concerns=(UNKNOWN,),
    ),
    system(
        "Alpine with extlinux",
        "Alpine wiki, Bootloaders; setup-disk",
        "ID=alpine\nVERSION_ID=3.20.1\n",
        {
            "/sbin/mkinitfs": b"\x7fELF",
            "/boot/extlinux.conf": "DEFAULT lts\nLABEL lts\n  LINUX vmlinuz-lts\n  INITRD initramfs-lts\n"
            "  APPEND root=/dev/sda2 modules=sd-mod,usb-storage,ext4 quiet\n",
            "/etc/update-extlinux.conf": "root=/dev/sda2\nmodules=sd-mod,usb-storage,ext4\n",
            "/etc/fstab": "/dev/sda2\t/\text4\trw,relatime 0 1\n/dev/cdrom\t/media/cdrom\tiso9660\tnoauto,ro 0 0\n",
        },
        {
            "/boot/extlinux.conf": "DEFAULT lts\nLABEL lts\n  LINUX vmlinuz-lts\n  INITRD initramfs-lts\n"
            "  APPEND root=UUID=07 modules=sd-mod,usb-storage,ext4 quiet\n",
            "/etc/update-extlinux.conf": "root=UUID=07\nmodules=sd-mod,usb-storage,ext4\n",
            "/etc/fstab": "UUID=07\t/\text4\trw,relatime 0 1\n/dev/cdrom\t/media/cdrom\tiso9660\tnoauto,ro 0 0\n",
        },
        family="alpine",
        initramfs_tool="mkinitfs",
        boot_loaders=("extlinux",),
    ),
    system(
        "Arch with systemd-boot",
        "ArchWiki, systemd-boot",
        "ID=arch\n",
        {
            "/usr/bin/mkinitcpio": b"\x7fELF",
            "/boot/loader/loader.conf": "default arch.conf\n",
            "/boot/loader/entries/arch.conf": f"title Arch\nlinux /vmlinuz-{KVER}\ninitrd /intel-ucode.img\ninitrd /initrd.img-{KVER}\n"
            f"options root=PARTUUID=aa-02 rw\n",
        },
        family="arch",
        initramfs_tool="mkinitcpio",
        boot_loaders=("systemd-boot",),
    ),
    system(
        "Photon",
        "Photon OS administration guide, kernel parameters",
        'ID=photon\nVERSION_ID="5.0"\n',
        {
            "/boot/photon.cfg": Stat("link", 11, target="linux-1.cfg"),
            "/boot/linux-1.cfg": f"photon_cmdline=init=/lib/systemd/systemd ro loglevel=3 quiet\nphoton_linux=vmlinuz-{KVER}\n",
            "/boot/grub2/grub.cfg": "set rootpartition=PARTUUID=aa-02\nload_env -f $prefix/../photon.cfg\nmenuentry Photon {\n"
            " linux /boot/$photon_linux root=$rootpartition $photon_cmdline\n}\n",
        },
        family="photon",
        boot_loaders=("grub2",),
    ),
    system(
        "an image of ostree",
        "ostree, deployments; bootc, physical layout",
        "ID=fedora\nVARIANT_ID=coreos\n",
        {
            "/boot/loader": Stat("link", 8, target="loader.0"),
            "/boot/ostree/fedora-0/vmlinuz-1": KERNEL,
            "/boot/ostree/fedora-0/initramfs-1.img": IMAGES["new"],
            "/boot/loader.0/entries/ostree-1.conf": "title Fedora\nversion 1\nlinux /ostree/fedora-0/vmlinuz-1\n"
            "initrd /ostree/fedora-0/initramfs-1.img\n"
            "options rw root=UUID=07 ostree=/ostree/boot.0/fedora/0/0\n",
        },
        family="redhat",
    ),
    system(
        "Oracle Linux",
        "Oracle Linux, os-release",
        'ID="ol"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n',
        {
            "/usr/bin/dracut": b"\x7fELF",
            "/etc/default/grub": 'GRUB_CMDLINE_LINUX="crashkernel=1G-64G:448M resume=/dev/mapper/vg-swap rd.lvm.lv=vg/root"\n',
        },
        {"/etc/default/grub": 'GRUB_CMDLINE_LINUX="crashkernel=1G-64G:448M rd.lvm.lv=vg/root"\n'},
        family="redhat",
    ),
    system(
        "Gentoo",
        "Gentoo handbook, fstab and kernel",
        "ID=gentoo\n",
        {
            "/etc/fstab": "/dev/sda3\t/efi\tvfat\tumask=0077,tz=UTC\t0 2\n/dev/sda1\tnone\tswap\tsw\t0 0\n"
            "/dev/sda2\t/\text4\tdefaults,noatime\t0 1\n/dev/cdrom\t/mnt/cdrom\tauto\tnoauto,user\t0 0\n"
        },
        {
            "/etc/fstab": "UUID=7A3B-19C2\t/efi\tvfat\tumask=0077,tz=UTC\t0 2\nUUID=5a\tnone\tswap\tsw\t0 0\n"
            "UUID=07\t/\text4\tdefaults,noatime\t0 1\n/dev/cdrom\t/mnt/cdrom\tauto\tnoauto,user\t0 0\n"
        },
        family="gentoo",
    ),
]
RELEASES = [
    ("CentOS Stream", 'ID="centos"\nID_LIKE="rhel fedora"\n', "redhat"),
    ("AlmaLinux", 'ID="almalinux"\nID_LIKE="rhel centos fedora"\n', "redhat"),
    ("MicroOS", 'ID="opensuse-microos"\nID_LIKE="suse opensuse opensuse-tumbleweed"\n', "suse"),
    ("Azure Linux", "ID=azurelinux\n", "unknown"),
    ("Raspberry Pi OS", "ID=raspbian\nID_LIKE=debian\n", "debian"),
    ("EndeavourOS", "ID=endeavouros\nID_LIKE=arch\n", "arch"),
    ("quotes of either kind", "ID='rocky'\nID_LIKE=\"rhel centos fedora\"\n", "redhat"),
]


@pytest.mark.parametrize("rule", rules(SYSTEMS))
def test_a_system(rule):
    holds(rule)


@pytest.mark.parametrize(("name", "release", "family"), RELEASES, ids=[name for name, dummy, dummy in RELEASES])
def test_the_family_of_a_release(name, release, family):
    """os-release(5), ID and ID_LIKE."""
    holds(system(name, "os-release(5)", release, {}, concerns=(UNKNOWN,) if family == "unknown" else (), family=family))

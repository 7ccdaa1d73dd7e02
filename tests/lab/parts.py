# SPDX-License-Identifier: GPL-3.0-or-later
"""What lab guests are put together from: the unpacked system, its network files, initramfs, boot menu, volumes.

Every guest prints a line `LAB ...` on its console once it is up: root, swap, data, each card with its addresses and its profile; and what its own
/etc/lab-more says beside that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from base import base_tar
from disk import MIB, Tree, run

MACS = ("00:50:56:3a:bb:cc", "00:50:56:3a:bb:cd", "00:50:56:3a:bb:ce", "00:50:56:3a:bb:cf")
MAC = MACS[0]
NIC, NIC2 = "ens192", "ens224"
BY_PATH = "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part"
MACHINE_ID = "5d1f6c0a9b2e4873a6c4d0e2f7b18395"
SECOND = "/dev/disk/by-path/pci-0000:13:00.0-scsi-0:0:0:0-part1"
ESP_ID = "7A3B-19C2"
GRUB = "normal configfile linux search search_fs_uuid echo serial terminal test ls"
REPORT = r"""#!/bin/sh
want=$(cat /etc/lab-addresses 2>/dev/null || echo 1)
for second in $(seq 40); do
  [ "$(ip -4 -o addr show scope global | wc -l)" -lt "$want" ] || break
  sleep 1
done
nics=$(ip -4 -o addr show scope global | awk '{printf "%s%s=%s", c, $2, $4; c=","}')
drv=$(for path in /sys/class/net/*/device/driver; do readlink -f $path; done | sed 's,.*/,,' | sort -u | tr '\n' ,)
profiles=$( (networkctl status ens192 2>/dev/null | sed -n 's,.*Network File: /.*/,,p'; nmcli -t -f NAME,DEVICE connection show --active 2>/dev/null |
  grep -v ':lo$'; ifquery --state 2>/dev/null | grep -v '^lo=') | LC_ALL=C sort | tr '\n' ,)
swap=$(tail -n +2 /proc/swaps | wc -l)
data=$(cat /srv/proof 2>/dev/null || echo none)
failed=$(systemctl --failed --plain --no-legend | awk '{printf "%s%s", c, $1; c=","}')
tools=$(test -e /usr/bin/vmtoolsd && echo yes || echo no)
root=$(findmnt -no SOURCE,FSTYPE / | tr -s ' ' ,)
dpkg=$(dpkg --audit | wc -l)
more=$(sh /etc/lab-more 2>/dev/null)
echo "LAB root=$root swap=$swap data=$data nics=$nics drivers=$drv profiles=$profiles" \
  "kernel=$(uname -r) failed=${failed:-0} tools=$tools dpkg=$dpkg$more END" >/dev/ttyS0
"""


def unpack(disk: Tree, extra: tuple[str, ...] = (), cache: Path | None = None) -> str:
    """The system with its report service; returns the newest kernel's version. /proc, /sys and /dev are there for the tools that follow."""
    tar = base_tar(cache or Path(__file__).resolve().parents[2] / "build" / "lab", extra)
    run("tar", "-C", disk.root, "-xf", tar, "--numeric-owner", "--xattrs")
    disk.write("/etc/hostname", "labguest\n")
    # Without one every boot would be a first boot: all presets again, and a commit that has 30 s.
    disk.write("/etc/machine-id", MACHINE_ID + "\n")
    disk.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 labguest\n")
    disk.write("/usr/local/sbin/lab-report", REPORT, 0o755)
    disk.write(
        "/etc/systemd/system/lab-report.service",
        "[Unit]\nAfter=multi-user.target network-online.target getty.target\nWants=network-online.target\n"
        "[Service]\nType=oneshot\nExecStart=/usr/local/sbin/lab-report\n[Install]\n"
        "WantedBy=multi-user.target\n",
    )
    disk.write(
        "/etc/udev/rules.d/70-persistent-net.rules",
        f'SUBSYSTEM=="net", ACTION=="add", DRIVERS=="vmxnet3", ATTR{{address}}=="{MAC}", ATTR{{type}}=="1", NAME="{NIC}"\n',
    )
    for bind in ("proc", "sys", "dev"):
        disk.mount(f"/{bind}", f"/{bind}", "--bind")
    disk.sh(
        "systemctl enable lab-report.service; systemctl disable apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service 2>/dev/null || true"
    )
    return sorted(os.listdir(disk.root / "lib/modules"))[-1]


def ifupdown(disk: Tree) -> None:
    disk.write("/etc/network/interfaces", f"auto lo\niface lo inet loopback\n\n# the LAN\nallow-hotplug {NIC}\niface {NIC} inet dhcp\n")


def networkd(disk: Tree) -> None:
    disk.write("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
    disk.write("/etc/systemd/network/20-lan.network", f"[Match]\nName={NIC}\n\n[Network]\nDHCP=yes\n")
    disk.sh("systemctl enable systemd-networkd.service")


def initramfs_tools(disk: Tree, kernel: str, modules: str, compress: str, resume: str) -> None:
    """An initramfs with VMware's storage drivers only, as MODULES=dep makes on VMware's hardware."""
    disk.write("/etc/initramfs-tools/conf.d/driver-policy", "MODULES=list\n")
    disk.write("/etc/initramfs-tools/conf.d/compress", f"COMPRESS={compress}\n")
    disk.write("/etc/initramfs-tools/modules", f"vmw_pvscsi\nmptspi\nsd_mod\n{modules}")
    if resume:
        disk.write("/etc/initramfs-tools/conf.d/resume", f"RESUME={resume}\n")
    disk.sh(f"update-initramfs -u -k {kernel}")


def grub_config(disk: Tree, kernel: str, prefix: str, uuid_: str, cmdline: str, older: str = "") -> None:
    """A menu for one kernel; or for two, in a submenu, of which the older is the default."""
    disk.write(
        "/etc/default/grub",
        f'GRUB_DEFAULT=0\nGRUB_TIMEOUT=1\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX_DEFAULT=""\n'
        f'GRUB_CMDLINE_LINUX="{cmdline}"\nGRUB_TERMINAL="serial console"\n',
    )
    disk.write("/boot/grub/device.map", "(hd0) /dev/disk/by-id/scsi-36000c29d8f1b2c0aa1b2c3d4e5f60718\n")
    head = "serial --unit=0 --speed=115200\nterminal_output serial console\nset timeout=1\nset root='hd0,msdos2'\n"

    def entry(version: str, title: str, options: str = "") -> str:
        return (
            f'menuentry "{title}" {options}{{\n\tsearch --no-floppy --fs-uuid --set=root {uuid_}\n'
            f"\tlinux {prefix}/vmlinuz-{version} {cmdline}\n\tinitrd {prefix}/initrd.img-{version}\n}}\n"
        )

    menu = entry(kernel, "Debian GNU/Linux")
    if older:
        head += f'set default="gnulinux-advanced>gnulinux-{older}"\n'
        menu += 'submenu "Advanced options" --id gnulinux-advanced {\n'
        menu += entry(kernel, f"Debian, with Linux {kernel}", f"--id gnulinux-{kernel} ")
        menu += entry(older, f"Debian, with Linux {older}", f"--id gnulinux-{older} ") + "}\n"
    disk.write("/boot/grub/grub.cfg", head + menu)


def console(root: str, *rest: str) -> str:
    return " ".join([f"root={root}", "ro", *rest, "console=tty0", "console=ttyS0,115200"])


@contextlib.contextmanager
def appliance(*images: Path) -> Iterator[Any]:
    """libguestfs over raw images: volumes and arrays are made there, the host has no device mapper."""
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    handle.set_backend_settings(["force_tcg"])
    for image in images:
        handle.add_drive_opts(str(image), format="raw", cachemode="unsafe")
    handle.launch()
    yield handle
    handle.shutdown()
    handle.close()


def lvm(image: Path, device: str, size: int) -> int:
    """vg0 with root and swap on a device of `size` bytes; linear volumes start 1 MiB into it. Returns the size of root."""
    with appliance(image) as handle:
        handle.pvcreate(device)
        handle.vgcreate("vg0", [device])
        handle.lvcreate("root", "vg0", size // MIB - 260)
        handle.lvcreate("swap", "vg0", 200)
        handle.mkswap("/dev/vg0/swap")
        return int(handle.blockdev_getsize64("/dev/vg0/root"))

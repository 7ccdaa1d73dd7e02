# SPDX-License-Identifier: GPL-3.0-or-later
"""Every concern that there is, by its code: how severe it is and what it means. docs/concerns.md is made of it (scripts/concerns)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from .concern import BLOCKER, INFO, WARNING


@dataclass(frozen=True)
class Known:
    """`severity` as a rule, and `otherwise` another one, with when; both and `meaning` for people, in Markdown."""

    severity: str
    meaning: str
    otherwise: str = ""


CONCERNS: Mapping[str, Known] = {
    "mounts.unresolved": Known(
        BLOCKER,
        "an entry of fstab, crypttab or a mount unit names a device that cannot be assigned with certainty",
        "warning with `nofail`",
    ),
    "mounts.unstable-name": Known(WARNING, "a unit or a script that runs at boot names a device by an unstable name in a command"),
    "mounts.shared-folder": Known(INFO, "fstab mounts a folder that the old hypervisor shares; the entry is commented out"),
    "mounts.no-path": Known(INFO, "the mount point of an entry of fstab is no path, so that systemd passes it over"),
    "mounts.failed": Known(WARNING, "a file system of fstab could not be mounted in the appliance"),
    "bootloader.unresolved-root": Known(BLOCKER, "root= of a boot entry is not on any of the VM's disks"),
    "bootloader.unstable-name": Known(
        WARNING,
        "a kernel command line, or what the next one is made from, names a device by an unstable name in a parameter that is not known",
    ),
    "bootloader.other-entry": Known(INFO, "a boot entry that is not the default starts something that is not an installed kernel"),
    "bootloader.grubenv-full": Known(BLOCKER, "the new command line does not fit grubenv"),
    "bootloader.unified-kernel": Known(WARNING, "a unified kernel image carries a sealed command line and initramfs"),
    "efi.no-system-partition": Known(BLOCKER, "UEFI firmware, but no EFI system partition"),
    "efi.no-loader": Known(BLOCKER, "the EFI system partition has no known boot loader"),
    "initramfs.unreadable": Known(BLOCKER, "an initramfs is damaged"),
    "initramfs.missing": Known(WARNING, "a kernel needs its drivers from an initramfs and has none"),
    "initramfs.unresolved": Known(WARNING, "what the next initramfs is made from names a device that is none of the VM's disks"),
    "kernel.no-driver": Known(WARNING, "a kernel has no drivers for the target's disks at all"),
    "kernel.damaged": Known(BLOCKER, "a module that the kernel lists is missing"),
    "network.unassigned": Known(WARNING, "profiles and network cards do not match"),
    "network.assumed-order": Known(WARNING, "several cards were assigned to names in their order"),
    "network.left-out": Known(WARNING, "the description has fewer cards than the source, since `migrate_nics` names fewer"),
    "network.no-position": Known(INFO, "`migrate_pin: mac_or_position` is set, but not each of several cards is known by a name"),
    "network.by-mac": Known(INFO, "a profile still goes by the MAC of a card whose name goes by position too"),
    "network.unmapped": Known(WARNING, "`migrate_network_map` is set but does not mention the network of a card"),
    "network.unreadable": Known(WARNING, "a network file of the guest cannot be read"),
    "network.no-card": Known(
        WARNING,
        "a profile is for names of a pattern that no card is surely called on the new hardware",
        "info where each card has another, or for names that it leaves out",
    ),
    "network.undecided": Known(
        WARNING,
        "what decides whether a profile applies to a card is not known before the guest runs",
        "info where the card is known by its name",
    ),
    "network.driver-match": Known(
        BLOCKER, "a profile applies only to a driver of the old hardware, and is not written in a way that can be changed"
    ),
    "tools.needed": Known(WARNING, "VMware's tools stay because a package depends on them"),
    "luks.locked": Known(WARNING, "encrypted devices stayed locked", "blocker when no root was found"),
    "luks.clevis": Known(INFO, "a device is unlocked by clevis; Tang works where its server is reachable, a TPM does not"),
    "luks.tpm": Known(WARNING, "a device is unlocked by the TPM of the old hypervisor, which is not migrated"),
    "storage.zfs": Known(WARNING, "a ZFS pool is copied as it is"),
    "storage.unstable-name": Known(WARNING, "an array of mdadm.conf is known only by the names of its disks"),
    "storage.udev-rule": Known(WARNING, "a rule of udev gives names or owners to disks by what their old hardware was"),
    "storage.multipath": Known(WARNING, "the guest mounts multipath devices"),
    "grow.refused": Known(BLOCKER, "the last partition of an enlarged disk cannot use the new space"),
    "cloud.running": Known(BLOCKER, "the VM runs, so its disks change while they are read; `migrate_running` shuts it down or freezes it"),
    "cloud.not_consistent": Known(WARNING, "the disks of a running VM are frozen one after the other"),
    "aws.architecture": Known(BLOCKER, "the instance is built for another architecture than x86-64"),
    "azure.encrypted": Known(BLOCKER, "Azure Disk Encryption: the keys stay in Key Vault"),
    "azure.confidential": Known(BLOCKER, "a confidential VM's disks are sealed by its own hardware"),
    "azure.sectors": Known(BLOCKER, "a disk has sectors of 4096 bytes, and its copy has 512, by which its partition table is none"),
    "vsphere.running": Known(
        BLOCKER, "the VM runs, so its disks change while they are read; `migrate_running` shuts it down or freezes it"
    ),
    "vsphere.suspended": Known(BLOCKER, "the memory of a suspended VM is not on its disks"),
    "vsphere.not-connected": Known(BLOCKER, "vSphere cannot reach the VM"),
    "vsphere.no-disks": Known(BLOCKER, "the VM has no disks"),
    "vsphere.disk-without-file": Known(BLOCKER, "a disk has no file on a datastore"),
    "vsphere.disk-empty": Known(BLOCKER, "a disk has no capacity"),
    "vsphere.rdm-physical": Known(
        BLOCKER, "a raw device in physical mode cannot be read through vSphere; accepted, the other disks are migrated"
    ),
    "vsphere.encrypted": Known(BLOCKER, "the VM or a disk is encrypted by vSphere"),
    "vsphere.rdm-virtual": Known(WARNING, "a raw device in virtual mode is read by a lease only"),
    "vsphere.backing": Known(WARNING, "a disk is stored in a way that has no flat file"),
    "vsphere.independent-disk": Known(WARNING, "snapshots leave a disk out, so it can only be read while the VM is off"),
    "vsphere.disk-mode": Known(WARNING, "a disk forgets at its source what was written to it, and keeps it at the target"),
    "vsphere.sectors": Known(BLOCKER, "a disk has sectors of 4096 bytes, and no guest starts from its copy with 512"),
    "vsphere.nvdimm": Known(BLOCKER, "persistent memory holds data that are on no disk; accepted, the disks are migrated"),
    "vsphere.multi-writer": Known(WARNING, "a disk may be written by several VMs"),
    "vsphere.bus-sharing": Known(WARNING, "a disk is on a controller that cluster nodes share"),
    "vsphere.shared-file": Known(WARNING, "several VMs of the wave have the same disk"),
    "vsphere.duplicate-mac": Known(WARNING, "several VMs of the wave have the same MAC"),
    "vsphere.duplicate-name": Known(WARNING, "several VMs of the wave have the same name"),
    "vsphere.many-disks": Known(WARNING, "the VM has more disks than the target takes on one controller"),
    "vsphere.deep-chain": Known(WARNING, "a disk is a chain of more than 32 files"),
    "vsphere.consolidation": Known(WARNING, "snapshot disks are left over that no snapshot owns"),
    "vsphere.fault-tolerance": Known(WARNING, "the VM is protected by Fault Tolerance"),
    "vsphere.vtpm": Known(WARNING, "the content of a virtual TPM is not migrated"),
    "vsphere.passthrough": Known(WARNING, "a passed-through device is not migrated"),
    "vsphere.sriov": Known(WARNING, "SR-IOV cards become virtio cards"),
    "vsphere.disconnected": Known(WARNING, "a card that is not connected at the source is connected at the target"),
    "vsphere.properties": Known(WARNING, "the guest reads settings that vSphere gives it, and which it has no more"),
    "vsphere.boot-order": Known(INFO, "the firmware tries the network before the disks"),
    "vsphere.no-tools": Known(WARNING, "VMware Tools do not run, so the VM can neither be shut down nor quiesced by vSphere"),
    "vsphere.guest-space": Known(WARNING, "the guest reports too little free space for a repair"),
    "vsphere.name": Known(WARNING, "the name of the VM is not valid for files and a domain, and is changed (docs/security.md)"),
    "vsphere.template": Known(INFO, "it is a template"),
    "vsphere.snapshots": Known(INFO, "snapshots are not migrated"),
    "vsphere.no-address": Known(INFO, "the guest reports no address"),
    "vsphere.hostname": Known(INFO, "the guest calls itself localhost.localdomain"),
    "vsphere.no-network": Known(INFO, "the VM has no network card"),
    "vsphere.old-hardware": Known(INFO, "the hardware version of the VM has no changed block tracking"),
    "vsphere.usb": Known(INFO, "USB devices are not migrated"),
    "vsphere.device": Known(INFO, "a device of another kind is not migrated"),
    "vsphere.media": Known(INFO, "drives for CDs and floppies, and media in them, are not migrated"),
    "vsphere.affinity": Known(INFO, "the VM is bound to certain CPUs"),
    "vsphere.maintenance": Known(WARNING, "the VM's host is in maintenance mode"),
    "vsphere.drs": Known(INFO, "DRS may move the running VM while it is read"),
    "vsphere.host-rules": Known(INFO, "rules of its cluster bind the VM to hosts"),
    "vsphere.snapshot-space": Known(WARNING, "a datastore of the running VM has little room for a snapshot"),
    "vsphere.numa-affinity": Known(INFO, "the VM is bound to certain NUMA nodes"),
    "vsphere.clock": Known(INFO, "VMware Tools set the guest's clock by its host"),
    "vsphere.linked-clone": Known(WARNING, "a disk rests on files of another VM (linked clone)"),
    "vsphere.hot-add": Known(INFO, "CPUs or memory can be added while the VM runs"),
    "vsphere.reserved": Known(INFO, "all memory of the VM is reserved"),
    "guest.unknown": Known(WARNING, "neither Linux nor Windows was found: the disks are copied without a repair, for SATA and e1000e"),
    "guest.ostree": Known(WARNING, "a Linux that ostree deploys: it is copied without a repair"),
    "windows.no-drivers": Known(WARNING, "there are no virtio storage drivers for this Windows: the VM gets SATA (IDE before Vista)"),
    "windows.driver-fallback": Known(WARNING, "a driver is taken from the folder of a neighbouring release"),
    "windows.driver-unusable": Known(WARNING, "a driver lacks files, or is for another architecture"),
    "windows.driver-replaced": Known(WARNING, "the guest has another version of the storage driver, which is replaced"),
    "windows.driver-kept": Known(WARNING, "the guest has the storage driver in a form that cannot be read, and it stays"),
    "windows.no-inbox-driver": Known(WARNING, "Windows' own driver for SATA or IDE is missing, so it cannot start without virtio"),
    "windows.driver-signature": Known(
        WARNING,
        "a driver is not used, for this Windows would not load it: nobody whom its kernel knows has signed it, or not as this release and"
        " Secure Boot ask for; accepted, it is used all the same",
    ),
    "windows.signature-unsure": Known(WARNING, "Microsoft's pages do not agree whether this Windows loads a driver that is signed so"),
    "windows.signature-unjudged": Known(
        WARNING, "osslsigncode is missing or fails, so that nobody knows whether this Windows loads the drivers"
    ),
    "windows.publisher": Known(
        INFO, "the publisher of drivers that their vendor signed becomes a trusted one, for Windows would ask a person"
    ),
    "windows.sha2": Known(INFO, "Windows 7 and 2008 (R2) need an update for drivers signed with SHA-2"),
    "windows.dirty-hive": Known(BLOCKER, "a registry hive is dirty, and its logs cannot be replayed"),
    "windows.hive-replayed": Known(INFO, "the logs of a hive are carried out first, as Windows would"),
    "windows.hibernated": Known(BLOCKER, "the disk holds a saved session; accepting throws it away"),
    "windows.bitlocker": Known(BLOCKER, "BitLocker encrypts a volume, suspended or not"),
    "windows.dynamic-disk": Known(
        WARNING, "a dynamic disk: volumes that no partition names cannot be looked at", "blocker where no Windows was found beside it"
    ),
    "windows.storage-spaces": Known(WARNING, "a disk belongs to a storage pool", "blocker where no Windows was found beside it"),
    "windows.unreadable-programs": Known(
        WARNING, "programs of Windows are compressed (CompactOS) or deduplicated and cannot be read; the registry says the processor"
    ),
    "windows.deduplicated": Known(INFO, "a volume keeps its files deduplicated, as it does on the target"),
    "windows.dirty-volume": Known(WARNING, "the file system is marked dirty"),
    "windows.fast-startup": Known(WARNING, "Fast Startup is on; it is switched off in the result"),
    "windows.setup-pending": Known(BLOCKER, "Windows is in the middle of its own setup"),
    "windows.setup-unfinished": Known(WARNING, "setup of Windows has not finished: a generalised image, audit mode, a first run"),
    "windows.upgrade-unfinished": Known(BLOCKER, "an upgrade of Windows is half done: its setup starts next, without virtio drivers"),
    "windows.pending-updates": Known(WARNING, "updates wait for a restart"),
    "windows.pending-renames": Known(
        INFO, "files wait for a start to be renamed or deleted", "warning where a driver is among them that the VM starts with"
    ),
    "windows.activation": Known(INFO, "what is known of the licence, which may have to be activated again"),
    "windows.sockets": Known(
        INFO, "the edition uses fewer sockets than the VM has at its source: the same processors become more cores in fewer"
    ),
    "windows.domain-controller": Known(WARNING, "the guest is a domain controller"),
    "windows.cluster": Known(WARNING, "the guest is a node of a failover cluster"),
    "windows.antivirus": Known(WARNING, "security software may stop new drivers or scripts"),
    "windows.device-policy": Known(WARNING, "a policy restricts the installation of devices"),
    "windows.card-unmatched": Known(WARNING, "it is not known which card has a static address; name it in `migrate_windows_network`"),
    "windows.card-by-position": Known(WARNING, "the settings of a card whose MAC the VM does not have go to the only card that is left"),
    "windows.address-stays": Known(
        WARNING,
        "a static address in the registry goes to no card of the VM: of a team, bridge, virtual switch or VLAN",
        "info where it was not in force",
    ),
    "windows.address-unread": Known(WARNING, "a card has settings in the registry that are no addresses or names"),
    "windows.mac-set": Known(INFO, "a card was given another MAC in Windows"),
    "windows.network-category": Known(
        INFO, "Windows knows a private network by its gateway, and takes one with another gateway for public"
    ),
    "windows.tools-left": Known(INFO, "guest tools of another hypervisor stay installed"),
    "windows.addition-left": Known(INFO, "the guest agent, the balloon's service or the spice agent is not installed, and why"),
    "windows.tools-filter": Known(WARNING, "a filter of another hypervisor's drivers stays on disks or buses, and may stop the start"),
    "windows.customize": Known(WARNING, "something that was asked for beside the repair cannot be done in this Windows"),
    "windows.agent-package": Known(WARNING, "a package of the guest agent is not for Windows"),
    "windows.san-policy": Known(
        INFO, "with two-phase boot, disks on new controllers come online until the final devices, where the policy is set back"
    ),
    "guest.unknown-family": Known(WARNING, "the distribution belongs to no known family"),
    "guest.no-virtio": Known(WARNING, "no installed kernel can run on virtio disks: the VM gets SATA"),
    "guest.no-virtio-net": Known(WARNING, "no installed kernel has virtio_net: the VM gets an e1000e card"),
    "bootloader.default-changed": Known(WARNING, "the default kernel cannot run on virtio; another one becomes the default"),
    "agent.no-package-tool": Known(WARNING, "the guest has neither dpkg nor rpm, so the agent is not installed"),
    "cloudinit.missing": Known(WARNING, "a cloud-init seed was given for a guest without cloud-init"),
    "customize.no-systemd": Known(WARNING, "a first-boot script needs systemd"),
    "selinux.relabel": Known(INFO, "the first boot labels every file and starts again"),
    "source.busy": Known(BLOCKER, "the source is open for writing"),
    "source.topology": Known(INFO, "the cores of a socket do not divide the processors: each processor becomes a socket"),
    "source.suspended": Known(
        BLOCKER, "the description of a local VM says that it is suspended; accepted, its disks are as after a power failure"
    ),
    "source.device": Known(
        INFO, "a device of the description is of a kind that is not migrated", "warning where it may hold data or lead to a network"
    ),
    "source.media": Known(INFO, "drives for CDs and floppies of the description are not migrated"),
    "source.passthrough": Known(WARNING, "a device of the source's host, passed through to the VM, is not migrated"),
    "source.sriov": Known(WARNING, "SR-IOV cards of the description become virtio cards"),
    "source.vtpm": Known(WARNING, "the content of the description's virtual TPM is not migrated"),
    "source.encrypted-settings": Known(WARNING, "a part of the description is encrypted, and is not read"),
    "source.disconnected": Known(WARNING, "a card that is not connected at the source is connected at the target"),
    "source.disk-mode": Known(WARNING, "a disk forgets at its source what was written to it, and keeps it at the target"),
    "source.shared-disk": Known(WARNING, "several VMs may write to a disk of the description"),
    "source.newer-image": Known(
        BLOCKER, "an image beside a disk goes on from it, and is not part of the source; accepted, the state before it is migrated"
    ),
    "source.images-unread": Known(WARNING, "more images beside a disk could go on from it than are looked into"),
    "source.saved-state": Known(WARNING, "the memory of a saved or suspended VM lies beside disks that were named alone"),
    "source.unclean": Known(WARNING, "an image was not closed by whoever wrote it, as of a VM that ran when it was copied"),
    "source.snapshots": Known(INFO, "earlier states of a disk are not migrated"),
    "source.description": Known(INFO, "a description lies beside disks that were named alone, and is not read"),
    "source.boot-order": Known(INFO, "the firmware tries the network before the disks, or another boot entry than the target will start"),
    "source.blank-disk": Known(INFO, "a disk has no file in the package, and is made empty"),
    "source.configuration": Known(
        INFO,
        "the description has several configurations, or several descriptions of the hardware, of which one is taken",
        "warning where that has fewer disks",
    ),
    "source.instance-id": Known(INFO, "several devices of an OVF have one InstanceID, by which nothing else goes"),
    "source.other-systems": Known(INFO, "the package has other VMs, which are migrated each by a source of its own"),
    "source.bounds": Known(WARNING, "the description gives only bounds of what the VM may have"),
    "source.properties": Known(WARNING, "the guest expects settings in an OVF environment or in guestinfo, which it has no more"),
    "source.section": Known(WARNING, "the package has a section that is not known, and says that it must be"),
    "source.file": Known(INFO, "a file of the package is none of the VM's disks, and is not migrated"),
    "proof.failed": Known(BLOCKER, "the proof of the repair failed; accepted, the boot test alone is relied on"),
}

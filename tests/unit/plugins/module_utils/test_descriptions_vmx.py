# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of .vmx files, one a row."""

from __future__ import annotations

import pytest
from descriptions import Got, Refused, Rule, Told, folder_with_disks, holds

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import UnsafeInput

HEAD = '.encoding = "UTF-8"\ndisplayName = "web01"\nmemSize = "2048"\nnumvcpus = "2"\n'
DISK = 'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "a.vmdk"\n'
FIRST = ("a.vmdk", "scsi", 0, 0)
DICTIONARY = "VMware's dictionary files (KEY = \"VALUE\"), as Workstation, ESXi and libvirt's vmx.c read them"
DEVICES = "VMware's device keys (present, deviceType, fileName), as libvirt's vmx.c has them"
VSPHERE = "vSphere: Virtual Machine Administration"


def vmx(more: str = "", disk: str = DISK) -> str:
    return HEAD + disk + more


def second(device: str, file: str = "b.vmdk", kind: str = "", present: str = 'present = "TRUE"') -> str:
    lines = (
        f"{device}.{present}" if present else "",
        f'{device}.deviceType = "{kind}"' if kind else "",
        f'{device}.fileName = "{file}"' if file else "",
    )
    return vmx("\n".join(line for line in lines if line) + "\n")


def card(lines: str, number: int = 0) -> str:
    return vmx("\n".join(f"ethernet{number}.{line}" for line in ('present = "TRUE"', *lines.split("; "))) + "\n")


def both(device: str, bus: str, controller: int, unit: int, **more: str) -> Rule:
    place = ("b.vmdk", bus, controller, unit)
    disks = sorted([FIRST, place], key=lambda disk: (["scsi", "nvme", "sata", "ide"].index(disk[1]), disk[2:]))
    return Rule(f"a disk on {bus} {more or ''}", DEVICES, second(device, **more), Got(disks=disks))


RULES = [
    # The grammar.
    Rule("a value may stand without quotes", DICTIONARY, vmx().replace('"2048"', "2048"), Got(memory=2048)),
    Rule("a line that begins with # is a comment", DICTIONARY, "#!/usr/bin/vmware\n" + vmx('# memSize = "1"\n'), Got(memory=2048)),
    Rule("a comment may follow a value", DICTIONARY, vmx().replace('"2048"', '"2048" # MB'), Got(memory=2048)),
    Rule("a # within quotes is none", DICTIONARY, vmx().replace('"web01"', '"web #1"'), Got(name="web #1")),
    Rule("|22 is a quote, |7C a bar", DICTIONARY, vmx().replace("web01", "a|22b|7Cc"), Got(name='a"b|c')),
    Rule("escapes are bytes: two of them may be one letter", DICTIONARY, vmx().replace("web01", "B|C3|BCcher"), Got(name="Bücher")),
    Rule("a bar that no digits follow is a bar", DICTIONARY, vmx().replace("web01", "a|zz"), Got(name="a|zz")),
    Rule("keys have no case", DICTIONARY, vmx().replace("memSize", "MEMSIZE"), Got(memory=2048)),
    Rule("values that are words have none either", DICTIONARY, vmx(disk=DISK.replace("TRUE", "True")), Got(disks=[FIRST])),
    Rule("blanks around the = may be missing, or be tabs", DICTIONARY, vmx().replace("memSize = ", "memSize\t="), Got(memory=2048)),
    Rule("a key with two values is an error", DICTIONARY, vmx('memSize = "1"\n'), Refused("memsize twice")),
    Rule("a key twice with one value is none", DICTIONARY, vmx('memSize = "2048"\n'), Got(memory=2048)),
    Rule("a quote must end", DICTIONARY, vmx('annotation = "x\n'), Refused("line 7 cannot be read")),
    Rule("lines may end as on Windows", DICTIONARY, vmx().replace("\n", "\r\n"), Got(memory=2048, disks=[FIRST])),
    Rule("a value that has no = says nothing", DICTIONARY, vmx("just a word\n"), Got(memory=2048)),
    # Encodings.
    Rule(
        "the file says its encoding",
        DICTIONARY,
        vmx().replace("UTF-8", "windows-1252").replace("web01", "Bücher").encode("cp1252"),
        Got(name="Bücher"),
    ),
    Rule("UTF-8 may begin with a mark", DICTIONARY, b"\xef\xbb\xbf" + vmx().encode(), Got(memory=2048)),
    Rule(
        "UTF-16 with a mark is read, as an editor of Windows saves it",
        "RFC 2781, 3.2",
        b"\xff\xfe" + vmx().replace("web01", "Bücher").encode("utf-16-le"),
        Got(name="Bücher", disks=[FIRST]),
    ),
    Rule("UTF-16 of the other order too", "RFC 2781, 3.2", b"\xfe\xff" + vmx().encode("utf-16-be"), Got(memory=2048)),
    Rule(
        "UTF-16 that is cut within a letter is refused",
        "RFC 2781",
        b"\xff\xfe" + vmx().encode("utf-16-le")[:-1],
        Refused("begins as UTF-16"),
    ),
    Rule("an encoding that nobody knows is refused", DICTIONARY, vmx().replace("UTF-8", "klingon"), Refused("klingon")),
    # Controllers and disks.
    Rule(
        "a controller that is not mentioned is there",
        "the project's decision, as libvirt",
        second("scsi1:0"),
        Got(disks=[FIRST, ("b.vmdk", "scsi", 1, 0)]),
    ),
    Rule(
        "a disk on a controller that is absent is neither taken nor left out",
        "vmx.c attaches none, virt-v2v all",
        second("scsi1:0") + 'scsi1.present = "FALSE"\n',
        Refused("controller scsi1 is not present"),
    ),
    Rule(
        "a disk that has a file and no word of its presence is there",
        "the project's decision",
        second("scsi0:1", present=""),
        Got(disks=[FIRST, ("b.vmdk", "scsi", 0, 1)]),
    ),
    Rule("a disk that is absent is not there", DEVICES, second("scsi0:1", present='present = "FALSE"'), Got(disks=[FIRST])),
    Rule(
        "a disk that is there without a file is refused",
        DEVICES,
        second("scsi0:1", file="", kind="scsi-hardDisk"),
        Refused("scsi0:1 .*without a file"),
    ),
    Rule(
        "the first of bios.hddOrder is the disk that the BIOS tries first",
        "VMware: bios.hddOrder",
        second("scsi1:0") + 'bios.bootOrder = "hdd"\nbios.hddOrder = "SCSI1:0,scsi0:0"\n',
        Got(starts=("scsi", 1, 0)),
    ),
    Rule("without it nothing is said of that", "VMware: bios.hddOrder", vmx(), Got(starts=None)),
    both("scsi0:15", "scsi", 0, 15, kind="scsi-hardDisk"),
    both("nvme0:1", "nvme", 0, 1),
    both("sata1:29", "sata", 1, 29),
    both("ide1:1", "ide", 1, 1, kind="ata-hardDisk"),
    Rule("a type has no case", DEVICES, second("scsi0:1", kind="SCSI-HARDDISK"), Got(disks=[FIRST, ("b.vmdk", "scsi", 0, 1)])),
    Rule(
        "a raw device in physical mode is refused",
        f"{VSPHERE}, RDM",
        second("scsi0:1", kind="scsi-passthru-rdm"),
        Refused("scsi-passthru-rdm"),
    ),
    Rule("a raw device of the host is refused", f"{VSPHERE}, RDM", second("scsi0:1", "/dev/sdb", "rawDisk"), Refused("rawdisk")),
    Rule("an unknown type of disk is refused", DEVICES, second("scsi0:1", kind="holo-disk"), Refused("holo-disk")),
    Rule(
        "a disk in another folder is refused", "the project's rule", second("scsi0:1", "../b.vmdk"), Refused("plain file name", UnsafeInput)
    ),
    Rule("a disk in NVDIMM is refused", f"{VSPHERE}, PMem", second("nvdimm0:0"), Refused("nvdimm0:0")),
    Rule("a redo log holds what was written last", "VMware KB on undoable disks", vmx('scsi0:0.redo = "a.REDO"\n'), Refused("a.REDO")),
    Rule(
        "a disk that forgets is told",
        f"{VSPHERE}, Disk Modes",
        vmx('scsi0:0.mode = "independent-nonpersistent"\n'),
        Told("source.disk-mode", "scsi0:0"),
    ),
    Rule(
        "a disk of several writers is told",
        "VMware KB 1034165",
        vmx('scsi0:0.sharing = "multi-writer"\n'),
        Told("source.shared-disk", "scsi0:0"),
    ),
    Rule(
        "a bus of several VMs is told",
        f"{VSPHERE}, SCSI Bus Sharing",
        vmx('scsi0.sharedBus = "physical"\n'),
        Told("source.shared-disk", "all of scsi0"),
    ),
    Rule(
        "an NVMe bus that VMs share is told",
        f"{VSPHERE}, NVMe Controllers",
        second("nvme0:0") + 'nvme0.sharedBus = "physical"\n',
        Told("source.shared-disk", "all of nvme0"),
    ),
    *(
        Rule(
            f"a disk that is {mode} is told",
            "VMware Workstation: disk modes",
            vmx(f'scsi0:0.mode = "{mode}"\n'),
            Told("source.disk-mode", "scsi0:0"),
        )
        for mode in ("undoable", "append", "nonpersistent")
    ),
    Rule(
        "a VM that goes back to its snapshot when it is switched off is told",
        "VMware Workstation: snapshots, When powering off: Revert to snapshot",
        vmx('snapshot.action = "autoRevert"\n'),
        Told("source.disk-mode", "scsi0:0"),
    ),
    Rule(
        "settings for cloud-init are told",
        "cloud-init: DataSourceVMware, guestinfo.userdata",
        vmx('guestinfo.userdata = "I2Nsb3VkLWNvbmZpZw=="\nguestinfo.vmtools.versionNumber = "1"\n'),
        Told("source.properties", "more: guestinfo.userdata"),
    ),
    Rule(
        "a start from the network is told", "VMware: bios.bootOrder", vmx('bios.bootOrder = "ethernet0,hdd"\n'), Told("source.boot-order")
    ),
    Rule(
        "a start from a CD, else from a disk, is nothing",
        "VMware: bios.bootOrder",
        vmx('bios.bootOrder = "cdrom,hdd,ethernet0"\n'),
        Got(codes=[]),
    ),
    *(
        Rule(f"a card may be on {name}", "VMware: keys of cards", card(f'{name} = "n1"'), Got(nics=[(None, "n1", "")]))
        for name in ("dvs.portgroupId", "opaqueNetwork.id", "vnet")
    ),
    Rule("a bus of one VM is not", f"{VSPHERE}, SCSI Bus Sharing", vmx('scsi0.sharedBus = "none"\n'), Got(codes=[])),
    # Drives.
    Rule("a CD is told", DEVICES, second("ide1:0", "tools.iso", "cdrom-image"), Told("source.media", "ide1:0")),
    Rule(
        "a drive without a type is known by its medium", DEVICES, second("ide1:0", "tools.iso"), Got(disks=[FIRST], codes=["source.media"])
    ),
    Rule("a drive may be empty", DEVICES, second("sata0:1", "emptyBackingString", "atapi-cdrom"), Told("source.media", "sata0:1")),
    Rule("a drive may find its medium itself", DEVICES, second("ide1:0", "auto detect", "cdrom-raw"), Told("source.media", "ide1:0")),
    Rule(
        "a drive with the name of a disk is one",
        DEVICES,
        second("ide1:0", "x.vmdk", "cdrom-image"),
        Got(disks=[FIRST], codes=["source.media"]),
    ),
    Rule("a floppy is told", DEVICES, second("floppy0", "a.flp"), Told("source.media", "floppy0")),
    Rule("a floppy that is absent is not", DEVICES, vmx('floppy0.present = "FALSE"\n'), Got(codes=[])),
    # Other devices.
    Rule(
        "a passed-through device is told",
        f"{VSPHERE}, PCI",
        vmx('pciPassthru0.present = "TRUE"\npciPassthru0.id = "00:02.0"\n'),
        Told("source.passthrough", "pciPassthru0".lower()),
    ),
    Rule("one that is absent is not", f"{VSPHERE}, PCI", vmx('pciPassthru0.present = "FALSE"\n'), Got(codes=[])),
    Rule(
        "a function of a network card is a card",
        f"{VSPHERE}, SR-IOV",
        vmx('pciPassthru0.present = "TRUE"\npciPassthru0.networkName = "LAN"\npciPassthru0.generatedMACAddress = "00:0c:29:11:22:44"\n'),
        Got(nics=[("00:0c:29:11:22:44", "LAN", "sriov")], codes=["source.sriov"]),
    ),
    Rule(
        "a device of USB that is connected by itself is told",
        f"{VSPHERE}, USB",
        vmx('usb.autoConnect.device0 = "0x0529:0x0001"\n'),
        Told("source.passthrough", "0x0529"),
    ),
    Rule(
        "a serial port is told", DEVICES, vmx('serial0.present = "TRUE"\nserial0.fileName = "out.txt"\n'), Told("source.device", "serial0")
    ),
    Rule("a device that nobody knows is told", "the project's rule", vmx('flux0.present = "TRUE"\n'), Told("source.device", "flux0")),
    Rule(
        "bridges and the channel to the host are what every machine has",
        DEVICES,
        vmx('pciBridge0.present = "TRUE"\nvmci0.present = "TRUE"\nhpet0.present = "TRUE"\n'),
        Got(codes=[]),
    ),
    Rule("a virtual TPM is told", f"{VSPHERE}, vTPM", vmx('vtpm.present = "TRUE"\n'), Told("source.vtpm")),
    Rule(
        "a VM whose settings are encrypted in part is told",
        f"{VSPHERE}, Encryption",
        vmx('encryption.keySafe = "x"\nencryption.data = "y"\n'),
        Told("source.encrypted-settings"),
    ),
    Rule(
        "a VM that is encrypted is refused",
        f"{VSPHERE}, Encryption",
        HEAD + 'encryption.keySafe = "x"\nencryption.data = "y"\n',
        Refused("is encrypted"),
    ),
    Rule("a VM that is suspended has its memory in a file", "VMware: .vmss", vmx('checkpoint.vmState = "vm.vmss"\n'), Got(suspended=True)),
    # Cards.
    Rule(
        "a card has the MAC that was made for it",
        DEVICES,
        card('addressType = "generated"; generatedAddress = "00:0c:29:11:22:33"; networkName = "LAN"; virtualDev = "vmxnet3"'),
        Got(nics=[("00:0c:29:11:22:33", "LAN", "vmxnet3")]),
    ),
    Rule(
        "a card of vCenter has its own",
        DEVICES,
        card('addressType = "vpx"; generatedAddress = "00:50:56:81:22:33"'),
        Got(nics=[("00:50:56:81:22:33", "", "")]),
    ),
    Rule(
        "a card may have one that people gave",
        DEVICES,
        card('addressType = "static"; address = "00:50:56:3A:BB:CC"; generatedAddress = "00:0c:29:11:22:33"'),
        Got(nics=[("00:50:56:3a:bb:cc", "", "")]),
    ),
    Rule("a card without a MAC is a card", DEVICES, card('networkName = "LAN"'), Got(nics=[(None, "LAN", "")])),
    Rule(
        "a card that is not connected is told",
        f"{VSPHERE}, Connect At Power On",
        card('startConnected = "FALSE"'),
        Told("source.disconnected", "ethernet0"),
    ),
    Rule("a card that is not said to be there is not", DEVICES, vmx('ethernet0.networkName = "LAN"\n'), Got(nics=[], codes=[])),
    Rule(
        "cards are in the order of their numbers",
        DEVICES,
        card('networkName = "J"', 10) + 'ethernet9.present = "TRUE"\nethernet9.networkName = "I"\n',
        Got(nics=[(None, "I", ""), (None, "J", "")]),
    ),
    Rule(
        "a number may begin with zeros",
        "the project's rule",
        card('networkName = "LAN"').replace("ethernet0", "ethernet00"),
        Got(nics=[(None, "LAN", "")]),
    ),
    Rule(
        "a number that no VM has is told", "the project's rule", card('networkName = "LAN"', 10000), Told("source.device", "ethernet10000")
    ),
    # The machine.
    Rule("firmware is BIOS where nothing is said", DEVICES, vmx(), Got(firmware="bios", secure_boot=False)),
    Rule(
        "firmware may be EFI, with Secure Boot",
        f"{VSPHERE}, Secure Boot",
        vmx('firmware = "efi"\nuefi.secureBoot.enabled = "TRUE"\n'),
        Got(firmware="uefi", secure_boot=True),
    ),
    Rule("a firmware that is none is refused", DEVICES, vmx('firmware = "coreboot"\n'), Refused("coreboot")),
    Rule("sockets are CPUs by cores", f"{VSPHERE}, Multicore", vmx('cpuid.coresPerSocket = "2"\n'), Got(cpus=2, cores_per_socket=2)),
    Rule("memory that is no number is refused", DEVICES, vmx().replace('"2048"', '"2 GB"'), Refused("memSize")),
    Rule(
        "the VM has the UUID of vCenter before that of its BIOS",
        "vSphere API: instanceUuid",
        vmx('uuid.bios = "56 4d 11 11 11 11 11 11-11 11 11 11 11 11 11 11"\nvc.uuid = "50 01 22 22 22 22 22 22-22 22 22 22 22 22 22 22"\n'),
        Got(uuid="50012222-2222-2222-2222-222222222222"),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_a_vmx_follows_its_rules(tmp_path, rule):
    holds(folder_with_disks(tmp_path), rule, "vm.vmx")


def test_each_row_is_another_rule():
    assert len({rule.rule for rule in RULES}) == len(RULES) >= 60 and all(rule.source for rule in RULES)

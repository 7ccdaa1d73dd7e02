# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of OVF, one a row: which VM and which hardware it is, its cards and other devices, its texts, and what makers add."""

from __future__ import annotations

import pytest
from descriptions import Got, Refused, Rule, Told, folder_with_disks, holds
from descriptions_ovf import (
    BOTH,
    BUS,
    CARD,
    CHOOSABLE,
    CPU,
    DRIVE,
    FILE,
    FIRST,
    ISO,
    MACHINE,
    SECOND,
    TWO_DISKS,
    TWO_FILES,
    hardware,
    item,
    options,
    ovf,
    system,
    with_items,
)

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import UnsafeInput

RULES = [
    # Configurations.
    Rule(
        "the default configuration is taken",
        "DSP0243 9.8, ovf:default",
        ovf(CHOOSABLE, before=options(' ovf:default="true"')),
        Got(cpus=8, codes=["source.configuration"]),
    ),
    Rule("the first one is, where none is the default", "DSP0243 9.8", ovf(CHOOSABLE, before=options()), Got(cpus=1)),
    Rule("the one that is chosen is", "DSP0243 9.8", ovf(CHOOSABLE, before=options()), Got(cpus=8), chosen="#config=large"),
    Rule(
        "one that is not there is refused",
        "DSP0243 9.8",
        ovf(CHOOSABLE, before=options()),
        Refused("no configuration 'huge'; it has small, large"),
        chosen="#config=huge",
    ),
    Rule(
        "what a configuration leaves out is told",
        "the project's rule",
        ovf(CHOOSABLE, before=options()),
        Told("source.configuration", "small, large; small is taken"),
    ),
    Rule(
        "two defaults are refused",
        "DSP0243 9.8: at most one",
        ovf(CHOOSABLE, before=options(' ovf:default="true"').replace('"small"', '"small" ovf:default="1"')),
        Refused("2 deployment options that are the default"),
    ),
    # Systems.
    Rule(
        "one VM in a collection is the VM",
        "DSP0243 7.2",
        ovf(f'<VirtualSystemCollection ovf:id="app"><Info/>{system()}</VirtualSystemCollection>'),
        Got(name="Web 01", part=""),
    ),
    Rule(
        "several are refused with their names", "DSP0243 7.2", ovf(BOTH, TWO_FILES, TWO_DISKS), Refused("vApp of 2 VMs: Web 01, Data base")
    ),
    Rule(
        "one is chosen by its id, and its disks are its own",
        "DSP0243 7.2",
        ovf(BOTH, TWO_FILES, TWO_DISKS),
        Got(name="Data base", part="db01", disks=[("my disk.vmdk", "scsi", 0, 0)]),
        chosen="#db01",
    ),
    Rule("or by its name", "the project's rule", ovf(BOTH, TWO_FILES, TWO_DISKS), Got(part="web01", disks=[FIRST]), chosen="#Web 01"),
    Rule(
        "a name that is none is refused with those there are",
        "the project's rule",
        ovf(BOTH, TWO_FILES, TWO_DISKS),
        Refused("no VM of the name 'db'; it has Web 01, Data base"),
        chosen="#db",
    ),
    Rule(
        "the others are told",
        "the project's rule",
        ovf(BOTH, TWO_FILES, TWO_DISKS),
        Told("source.other-systems", "Data base"),
        chosen="#web01",
    ),
    Rule(
        "a choice that is none is refused",
        "the project's rule",
        ovf(BOTH, TWO_FILES, TWO_DISKS),
        Refused("cannot be read"),
        chosen="#web01,db01",
    ),
    # Hardware sections.
    Rule(
        "of two hardwares the known one is taken",
        "DSP0243 8.1",
        ovf(system(sections=hardware(CPU, "xen-3") + hardware())),
        Got(cpus=2, disks=[FIRST], codes=["source.configuration"]),
    ),
    Rule(
        "a disk that only the other one has is told",
        "DSP0243 8.1",
        ovf(system(sections=hardware(CPU + BUS + DRIVE + SECOND, "xen-3") + hardware()), TWO_FILES, TWO_DISKS),
        Told("source.configuration", "does not have the disks d2"),
    ),
    Rule(
        "two known ones are refused with their kinds",
        "DSP0243 8.1",
        ovf(system(sections=hardware() + hardware(kind="virtualbox-2.2"))),
        Refused(r"2 times \(vmx-19, virtualbox-2.2\)"),
    ),
    Rule(
        "a section may be of several kinds",
        "VMware: vmx-10 vmx-11",
        ovf(system(sections=hardware(CPU, "xen-3") + hardware(kind="vmx-10 vmx-11"))),
        Got(disks=[FIRST]),
    ),
    Rule(
        "the first disk of the boot order is the one that starts",
        "VMware: vmw:BootOrderSection",
        ovf().replace(
            "</VirtualHardwareSection>",
            '</VirtualHardwareSection><vmw:BootOrderSection vmw:instanceId="9" vmw:type="net"><Info/></vmw:BootOrderSection>'
            '<vmw:BootOrderSection vmw:instanceId="4" vmw:type="disk"><Info/></vmw:BootOrderSection>',
        ),
        Got(starts=("scsi", 0, 0)),
    ),
    # Cards.
    Rule("a card without a MAC is a card", "DSP0243 8.3", with_items(CARD), Got(nics=[(None, "LAN", "VmxNet3")])),
    Rule(
        "two cards of one InstanceID are two, since nothing goes by it",
        "DSP0243 8.3 asks for one each; OVF 2.0 files of others, and virt-v2v, which reads item by item",
        with_items(CARD + CARD.replace("LAN", "DMZ")),
        Got(nics=[(None, "LAN", "VmxNet3"), (None, "DMZ", "VmxNet3")], codes=["source.instance-id"]),
    ),
    Rule(
        "two cards that say the same are not known to be two",
        "DSP0243 8.3",
        with_items(CARD + CARD),
        Refused("two devices with the InstanceID '7'"),
    ),
    Rule(
        "two devices of one InstanceID that a boot order names are refused",
        "DSP0243 8.3; VMware: vmw:BootOrderSection",
        with_items(CARD + CARD.replace("LAN", "DMZ")).replace(
            "</VirtualHardwareSection>", '</VirtualHardwareSection><vmw:BootOrderSection vmw:instanceId="7"/>'
        ),
        Refused("two devices with the InstanceID '7'"),
    ),
    Rule(
        "so are two of which an option takes the place",
        "DSP0243 9.8",
        with_items(
            CARD + CARD.replace("LAN", "DMZ") + CARD.replace("<Item ", '<Item ovf:configuration="big" '),
            before=('<DeploymentOptionSection><Configuration ovf:id="big"/></DeploymentOptionSection>'),
        ),
        Refused("two devices with the InstanceID '7'"),
    ),
    Rule(
        "a start from the network is told",
        "VMware: vmw:BootOrderSection",
        with_items(CARD).replace("</VirtualHardwareSection>", '</VirtualHardwareSection><vmw:BootOrderSection vmw:instanceId="7"/>'),
        Told("source.boot-order", "network"),
    ),
    Rule(
        "its MAC may be in the Address",
        "CIM: Address",
        with_items(CARD.replace("</Item>", "<rasd:Address>00-50-56-11-22-33</rasd:Address></Item>")),
        Got(nics=[("00:50:56:11:22:33", "LAN", "VmxNet3")]),
    ),
    Rule(
        "or be oVirt's MACAddress",
        "oVirt: OvfWriter",
        with_items(CARD.replace("</Item>", "<rasd:MACAddress>56:6f:1a:2b:00:01</rasd:MACAddress></Item>")),
        Got(nics=[("56:6f:1a:2b:00:01", "LAN", "VmxNet3")]),
    ),
    Rule(
        "a card that is not connected is told",
        "DSP0243 8.3, rasd:AutomaticAllocation",
        with_items(CARD.replace("</Item>", "<rasd:AutomaticAllocation>false</rasd:AutomaticAllocation></Item>")),
        Told("source.disconnected", "InstanceID 7"),
    ),
    Rule(
        "a network adapter of another kind is worth a warning",
        "DSP0004: 11",
        with_items(item(7, "11")),
        Told("source.device", "ResourceType 11"),
    ),
    # Other devices.
    Rule(
        "a drive is told",
        "DSP0004: 15",
        with_items(item(8, "15", "ElementName=CD/DVD drive 1;HostResource=ovf:/file/f9"), files=FILE + ISO),
        Told("source.media", "CD/DVD drive 1"),
    ),
    Rule(
        "a drive whose medium is a client's is a drive",
        "vSphere API: VirtualCdromRemotePassthroughBackingInfo",
        with_items(item(8, "15", "ElementName=CD/DVD drive 1;ResourceSubType=vmware.cdrom.remotepassthrough")),
        Told("source.media", "CD/DVD drive 1"),
    ),
    Rule(
        "ports and graphics are told",
        "DSP0004: 23, 24",
        with_items(item(8, "23", "ElementName=USB;ResourceSubType=vmware.usb.ehci")),
        Told("source.device", "USB (ResourceType 23)"),
    ),
    Rule(
        "a passed-through device is told",
        "VMware: vmware.pcipassthrough",
        with_items(item(8, "1", "ElementName=GPU;ResourceSubType=vmware.pcipassthrough")),
        Told("source.passthrough", "GPU"),
    ),
    Rule("a virtual TPM is told", "VMware: vmware.vtpm", with_items(item(8, "1", "ResourceSubType=vmware.vtpm")), Told("source.vtpm")),
    Rule(
        "a device without a type is told",
        "DSP0004: ResourceType",
        with_items("<Item><rasd:InstanceID>8</rasd:InstanceID></Item>"),
        Told("source.device", "ResourceType none"),
    ),
    Rule("a type that is no number is refused", "DSP0004: a uint16", with_items(item(8, "disk")), Refused("ResourceType 'disk'")),
    # Texts.
    Rule(
        "a name may be kept with other languages",
        "DSP0243 10, ovf:msgid",
        ovf(system(name='<Name ovf:msgid="n"/>')).replace(
            "</Envelope>", '<Strings xml:lang="de"><Msg ovf:msgid="n">Netz 01</Msg></Strings></Envelope>'
        ),
        Got(name="Netz 01"),
    ),
    Rule(
        "what stands there counts first",
        "DSP0243 10",
        ovf(system(name='<Name ovf:msgid="n">Web 01</Name>')).replace(
            "</Envelope>", '<Strings xml:lang="de"><Msg ovf:msgid="n">Netz 01</Msg></Strings></Envelope>'
        ),
        Got(name="Web 01"),
    ),
    Rule("a VM without a name has its id", "DSP0243 7.2", ovf(system(name="")), Got(name="web01")),
    Rule("UTF-8 may begin with a mark", "XML 1.0, 4.3.3", b"\xef\xbb\xbf" + ovf().encode(), Got(disks=[FIRST])),
    Rule("UTF-16 begins with one", "XML 1.0, 4.3.3", b"\xff\xfe" + ovf().encode("utf-16-le"), Got(disks=[FIRST])),
    Rule(
        "another encoding is declared",
        "XML 1.0, 4.3.3",
        ovf().replace("Web 01", "B\xfccher").replace('"1.0"', '"1.0" encoding="ISO-8859-1"').encode("latin-1"),
        Got(name="B\xfccher"),
    ),
    Rule(
        "entities are refused in whatever encoding",
        "the project's guard",
        b"\xff\xfe" + ovf().replace("?><", '?><!DOCTYPE x [<!ENTITY a "b">]><', 1).encode("utf-16-le"),
        Refused("entities", UnsafeInput),
    ),
    # What makers add.
    Rule(
        "VMware says the firmware",
        "vmw:Config",
        with_items('<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>'),
        Got(firmware="uefi"),
    ),
    Rule(
        "an ExtraConfig becomes a line of the .vmx",
        "vmw:ExtraConfig; vSphere Automation API: Ovf_ExtraConfig",
        with_items('<vmw:ExtraConfig vmw:key="firmware" vmw:value="efi"/>'),
        Got(firmware="uefi"),
    ),
    Rule(
        "so does a device in it",
        "vmw:ExtraConfig",
        with_items('<vmw:ExtraConfig vmw:key="pciPassthru0.present" vmw:value="TRUE"/>'),
        Told("source.passthrough", "pcipassthru0"),
    ),
    Rule(
        "VirtualBox says firmware and MACs apart",
        "vbox:Machine",
        ovf(
            system(
                MACHINE.format(
                    "",
                    '<Firmware type="EFI"/><Network><Adapter slot="0" enabled="true" MACAddress="080027A1B2C3" type="82540EM"/></Network>',
                )
            )
        ),
        Got(firmware="uefi", nics=[("08:00:27:a1:b2:c3", "", "82540EM")]),
    ),
    Rule(
        "what VirtualBox says of devices is told as of its own settings",
        "vbox:Machine, HostPci",
        ovf(system(MACHINE.format("", '<HostPci><Devices><Device host="0000:01:00.0"/></Devices></HostPci>'))),
        Told("source.passthrough", "0000:01:00.0"),
    ),
    Rule(
        "of a TPM too",
        "vbox:Machine, TrustedPlatformModule",
        ovf(system(MACHINE.format("", '<TrustedPlatformModule type="v2_0"/>'))),
        Told("source.vtpm"),
    ),
    Rule(
        "a card that is passed through is told",
        "VMware: vmware.pcipassthrough",
        with_items(CARD.replace("VmxNet3", "vmware.pcipassthrough")),
        Told("source.passthrough"),
    ),
    Rule(
        "a saved state of VirtualBox is one",
        "vbox:Machine, stateFile",
        ovf(system(MACHINE.format(' stateFile="x.sav"', ""))),
        Got(suspended=True),
    ),
    Rule(
        "a section that must be known and is not is told",
        "DSP0243 7.3, ovf:required",
        ovf(system("<vmw:QuantumSection/>")),
        Told("source.section", "QuantumSection"),
    ),
    Rule(
        "several instances of one VM are told",
        "DSP0243 2.1, 9.15",
        ovf(system("<ScaleOutSection/>")),
        Told("source.section", "ScaleOutSection"),
    ),
    Rule("one that need not be is not", "DSP0243 7.3", ovf(system('<vmw:QuantumSection ovf:required="false"/>')), Got(codes=[])),
    Rule(
        "settings from an environment are told",
        "DSP0243 8.1, ovf:transport; 11",
        ovf(
            system(
                '<ProductSection><Property ovf:key="ip" ovf:type="string"/></ProductSection>',
                sections=hardware(attributes='ovf:transport="com.vmware.guestInfo"'),
            )
        ),
        Told("source.properties", "com.vmware.guestInfo"),
    ),
    Rule(
        "an encrypted package is refused",
        "DSP0243 2.0, 9.17",
        ovf(before="<EncryptionSection><Info/></EncryptionSection>"),
        Refused("is encrypted"),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.rule)
def test_an_ovf_follows_its_rules(tmp_path, rule):
    holds(folder_with_disks(tmp_path), rule, "vm.ovf")


def test_each_row_is_another_rule():
    assert len({rule.rule for rule in RULES}) == len(RULES) >= 40 and all(rule.source for rule in RULES)

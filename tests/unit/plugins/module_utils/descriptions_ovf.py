# SPDX-License-Identifier: GPL-3.0-or-later
"""OVFs as makers write them, with their namespaces, from their parts."""

from __future__ import annotations

from descriptions import MIB, Got, Rule

SPACES = (
    'xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" '
    'xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" '
    'xmlns:sasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_StorageAllocationSettingData" '
    'xmlns:epasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_EthernetPortAllocationSettingData" '
    'xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" '
    'xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vbox="http://www.virtualbox.org/ovf/machine" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
FILE = '<File ovf:id="f1" ovf:href="c.vmdk"/>'
ISO = '<File ovf:id="f9" ovf:href="tools.iso" ovf:size="2048"/>'
DISK = f'<Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="{MIB}" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>'
BLANK = '<Disk ovf:diskId="d2" ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30"/>'
FIRST = ("c.vmdk", "scsi", 0, 0)


def item(number: int, kind: str, more: str = "", attributes: str = "", tag: str = "Item", prefix: str = "rasd") -> str:
    """An item of the hardware; `more` is NAME=VALUE, apart by semicolons."""
    said = "".join(
        f"<{prefix}:{name}>{value}</{prefix}:{name}>" for name, dummy, value in (part.partition("=") for part in more.split(";") if part)
    )
    return f"<{tag} {attributes}><{prefix}:InstanceID>{number}</{prefix}:InstanceID><{prefix}:ResourceType>{kind}</{prefix}:ResourceType>{said}</{tag}>"


CPU, MEMORY = item(1, "3", "VirtualQuantity=2"), item(2, "4", "AllocationUnits=byte * 2^20;VirtualQuantity=2048")
BUS = item(3, "6", "Address=0;ResourceSubType=lsilogic")
DRIVE = item(4, "17", "AddressOnParent=0;HostResource=ovf:/disk/d1;Parent=3")
SECOND = item(5, "17", "AddressOnParent=1;HostResource=ovf:/disk/d2;Parent=3")
CARD = item(7, "10", "Connection=LAN;ResourceSubType=VmxNet3")


def hardware(items: str = CPU + MEMORY + BUS + DRIVE, kind: str = "vmx-19", attributes: str = "") -> str:
    kinds = f"<System><vssd:VirtualSystemType>{kind}</vssd:VirtualSystemType></System>"
    return f"<VirtualHardwareSection {attributes}><Info/>{kinds}{items}</VirtualHardwareSection>"


def system(inside: str = "", name: str = "<Name>Web 01</Name>", number: str = "web01", sections: str = hardware()) -> str:
    return f'<VirtualSystem ovf:id="{number}"><Info/>{name}{sections}{inside}</VirtualSystem>'


def ovf(systems: str = system(), files: str = FILE, disks: str = DISK, before: str = "") -> str:
    return f'<?xml version="1.0"?><Envelope {SPACES}><References>{files}</References><DiskSection><Info/>{disks}</DiskSection>{before}{systems}</Envelope>'


def with_items(items: str, disks: str = DISK, before: str = "", files: str = FILE) -> str:
    return ovf(system(sections=hardware(CPU + MEMORY + BUS + DRIVE + items)), files, disks, before)


def memory(quantity: str, unit: str) -> str:
    units = f"AllocationUnits={unit};" if unit else ""
    return ovf(system(sections=hardware(CPU + item(2, "4", f"{units}VirtualQuantity={quantity}") + BUS + DRIVE)))


def unit(text: str, mib: int, rule: str = "") -> Rule:
    return Rule(rule or f"memory in {text or 'no unit'}", "DSP0004, Annex C; DSP0243 8.3", memory("4", text), Got(memory=mib))


def href(name: str, **more: str) -> str:
    return ovf(files=FILE.replace("c.vmdk", name), **more)


def of_file(attributes: str) -> str:
    return ovf(files=FILE.replace("/>", f" {attributes}/>"))


def options(more: str = "") -> str:
    return f'<DeploymentOptionSection><Info/><Configuration ovf:id="small"/><Configuration ovf:id="large"{more}/></DeploymentOptionSection>'


BY_OPTION = "".join(item(1, "3", f"VirtualQuantity={count}", f'ovf:configuration="{name}"') for name, count in (("small", 1), ("large", 8)))
CHOOSABLE = system(sections=hardware(BY_OPTION + MEMORY + BUS + DRIVE))
DB = system(
    number="db01", name="<Name>Data base</Name>", sections=hardware(CPU + BUS + SECOND.replace("AddressOnParent>1", "AddressOnParent>0"))
)
BOTH = f'<VirtualSystemCollection ovf:id="app"><Info/>{system()}{DB}</VirtualSystemCollection>'
TWO_FILES = FILE + '<File ovf:id="f2" ovf:href="my%20disk.vmdk"/>'
TWO_DISKS = DISK + f'<Disk ovf:diskId="d2" ovf:fileRef="f2" ovf:capacity="{MIB}"/>'
MACHINE = '<vbox:Machine ovf:required="false" uuid="{{6d0e5a51-1111-2222-3333-444444444444}}"{}><Hardware>{}</Hardware></vbox:Machine>'

# SPDX-License-Identifier: GPL-3.0-or-later
"""The largest descriptions that are accepted take steps by their length, not by its square, and memory by their length too.

Steps are calls of functions, of Python's and of its own, and turns of generators; so the numbers are the same on every machine.
"""

from __future__ import annotations

import cProfile
import gc
import tracemalloc

import pytest
from descriptions_ovf import BUS, DISK, DRIVE, FILE, SPACES, hardware, item, options, ovf, system
from test_vmdk_chain import sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import limits
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import vmx, xmlfile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

MEMORY = 256 * limits.MIB  # the reader's own objects; twice as much is allowed for all of a process (docs/security.md)


def each(text, count):
    return "".join(text.replace("@", str(number)) for number in range(count))


def section(items):
    return ovf(system(sections=hardware(BUS + DRIVE + items)))


def unchosen(count):
    """Disks that only another configuration has, each named by an item of it."""
    items = each(item(0, "17", "HostResource=ovf:/disk/x@", 'ovf:configuration="large"').replace("InstanceID>0<", "InstanceID>9@<"), count)
    disks = DISK + each('<Disk ovf:diskId="x@" ovf:fileRef="y@"/>', count)
    return ovf(system(sections=hardware(BUS + DRIVE + items)), FILE + each('<File ovf:id="y@" ovf:href="y@.x"/>', count), disks, options())


def elsewhere(count):
    """Disks of many other VMs."""
    others = each(f'<VirtualSystem ovf:id="s@">{hardware(item(1, "17", "HostResource=/disk/x@"))}</VirtualSystem>', count)
    disks = DISK + each('<Disk ovf:diskId="x@" ovf:fileRef="y@"/>', count)
    return ovf(system() + others, FILE + each('<File ovf:id="y@" ovf:href="y@.x"/>', count), disks)


def blank(count):
    items = each(item(0, "17", "HostResource=ovf:/disk/x@;Parent=3;AddressOnParent=7@").replace("InstanceID>0<", "InstanceID>9@<"), count)
    return ovf(system(sections=hardware(BUS + DRIVE + items)), disks=DISK + each('<Disk ovf:diskId="x@" ovf:capacity="512"/>', count))


def drives(count):
    """Drives that all have one disk, which is therefore looked for among them."""
    items = each(item(0, "15", "HostResource=ovf:/disk/d1").replace("InstanceID>0<", "InstanceID>9@<"), count)
    return section(items)


def keys(line):
    return lambda count: 'scsi0:0.fileName = "d.vmdk"\n' + each(line + "\n", count)


OVF = {
    "systems": (lambda count: ovf(each('<VirtualSystem ovf:id="s@"><Name ovf:msgid="m@"/></VirtualSystem>', count)), 24_000),
    "texts": (
        lambda count: ovf(each('<VirtualSystem ovf:id="s@"><Name ovf:msgid="m@"/></VirtualSystem>', count)).replace(
            "</Envelope>", f"<Strings>{each('<Msg ovf:msgid=' + chr(34) + 'm@' + chr(34) + '>x</Msg>', count)}</Strings></Envelope>"
        ),
        16_000,
    ),
    "hardwares": (lambda count: ovf(system(sections=hardware() + each("<VirtualHardwareSection/>", count))), 90_000),
    "cards": (lambda count: section(each(item(0, "10", "Connection=n@").replace("InstanceID>0<", "InstanceID>9@<"), count)), 24_000),
    "unknown devices": (lambda count: section(each(item(0, "99").replace("InstanceID>0<", "InstanceID>9@<"), count)), 32_000),
    "passed devices": (lambda count: section(each(item(0, "1", "ResourceSubType=passthrough").replace("ID>0<", "ID>9@<"), count)), 24_000),
    "drives": (drives, 24_000),
    "configurations": (
        lambda count: ovf(
            system(sections=hardware(BUS + DRIVE + each(item(0, "3", "", 'ovf:configuration="c@"').replace("ID>0<", "ID>9@<"), count))),
            before=f"<DeploymentOptionSection>{each('<Configuration ovf:id=' + chr(34) + 'c@' + chr(34) + '/>', count)}</DeploymentOptionSection>",
        ),
        16_000,
    ),
    "disks of a configuration": (unchosen, 7_500),
    "disks of other VMs": (elsewhere, 5_500),
    "empty disks": (blank, 500),
    "more disks than are": (blank, 11_000),
    "settings": (lambda count: section(each('<vmw:ExtraConfig vmw:key="k@.present" vmw:value="TRUE"/>', count)), 32_000),
    "files": (lambda count: ovf(files=FILE + each('<File ovf:id="y@" ovf:href="y@.x"/>', count)), 32_000),
    "sections": (lambda count: ovf(system(each("<vmw:S@/>", count))), 98_000),
}
VMX = {
    "devices": (keys('d@.present = "TRUE"'), 42_000),
    "cards": (keys('ethernet@.present = "TRUE"'), 28_000),
    "passed devices": (keys('pciPassthru@.present = "TRUE"'), 28_000),
    "disks": (keys('sata@:0.fileName = "x.vmdk"'), 9_900),
    "drives": (keys('ide@:0.fileName = "x.iso"'), 9_900),
    "settings": (keys('guestinfo.k@ = "v"'), 45_000),
    "escapes": (lambda count: keys("")(1) + 'annotation = "' + "|41" * count + '"\n', 340_000),
    "comments": (keys("# @"), 130_000),
}
VBOX = {
    "disks": ('<HardDisk uuid="{@}" location="x@.vmdk"/>', "", 32_000),
    "devices": ("", '<X@ enabled="true"/>', 48_000),
    "cards": ("", '<Network><Adapter slot="@" enabled="true"/></Network>', 24_000),
}


def vbox(media, more, count):
    devices = '<StorageController name="S" type="AHCI"><AttachedDevice type="HardDisk" port="0"><Image uuid="{d}"/></AttachedDevice></StorageController>'
    return (
        f'<VirtualBox><Machine uuid="{{m}}"><MediaRegistry><HardDisks><HardDisk uuid="{{d}}" location="c.vmdk"/>{each(media, count)}</HardDisks>'
        f"</MediaRegistry><Hardware>{each(more, count)}<StorageControllers>{devices}</StorageControllers></Hardware></Machine></VirtualBox>"
    )


LARGEST = ("systems", "unknown devices", "disks of a configuration", "sections", "settings", "devices")
CASES = [
    *(("vm.ovf", name, make, count) for name, (make, count) in OVF.items()),
    *(("vm.vmx", name, make, count) for name, (make, count) in VMX.items()),
    *(("vm.vbox", name, lambda count, parts=parts: vbox(*parts[:2], count), parts[2]) for name, parts in VBOX.items()),
]


def read(folder, name, text):
    (folder / name).write_text(text)
    if name == "vm.vmx":
        values = vmx.parse(text.encode(), name)
        vmx.places(values, name)
        return vmx.described(values, name)
    try:
        return open_source([str(folder / name)])
    except MigrationError as error:
        assert len(str(error)) < 20_000
        return None


def steps(folder, name, text):
    read(folder, name, text)  # what is compiled or cached is not counted
    counted = cProfile.Profile()
    counted.runcall(read, folder, name, text)
    return sum(entry.callcount for entry in counted.getstats())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("vm")
    (made / "c.vmdk").write_bytes(sparse())
    return made


@pytest.mark.parametrize(("name", "what", "make", "count"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_twice_as_much_takes_twice_the_steps(folder, name, what, make, count):
    half, whole = (steps(folder, name, make(part)) for part in (count // 16, count // 8))
    assert whole < 2.2 * half + 1000, f"{half} steps, and {whole} for twice as much"


@pytest.mark.parametrize(
    ("name", "what", "make", "count"),
    [case for case in CASES if case[1] in LARGEST],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_largest_fits_and_takes_little_memory(folder, name, what, make, count):
    text = make(count)
    assert len(text) <= (limits.VMX if name == "vm.vmx" else limits.DESCRIPTION)
    gc.collect()
    tracemalloc.start()
    try:
        vm = read(folder, name, text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    assert vm is None or sum(len(concern.cause) for concern in vm.concerns) < 20_000, "names of many are cut"


def test_one_element_more_than_is_accepted_is_refused(folder):
    root = xmlfile.parse(f"<Envelope {SPACES}>{'<a/>' * (limits.XML_ELEMENTS - 20)}</Envelope>".encode(), "x")
    assert len(root) == limits.XML_ELEMENTS - 20
    with pytest.raises(MigrationError, match="elements"):
        xmlfile.parse(f"<Envelope>{'<a/>' * limits.XML_ELEMENTS}</Envelope>".encode(), "x")


def test_a_vm_has_no_more_disks_than_any_hypervisor_gives(folder):
    (folder / "vm.ovf").write_text(blank(limits.VM_DISKS))
    with pytest.raises(InvalidInput, match="1025 disks"):
        open_source([str(folder / "vm.ovf")])

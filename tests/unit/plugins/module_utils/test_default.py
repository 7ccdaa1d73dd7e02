# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entry starts by itself, for every boot loader; and that another one is chosen only when it must be."""

from __future__ import annotations

import fixtures
import pytest
from fixtures import DEP, KVER, facts, guest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan, merge
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import bootloader
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.default import default_entry, set_default
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.entries import boot_entries

MENU = (
    "menuentry 'Newest' --class x $menuentry_id_option 'gnulinux-simple' {\n linux /boot/vmlinuz-2 root=x\n}\n"
    "submenu 'More' $menuentry_id_option 'gnulinux-advanced' {\n if [ x ]; then\n fi\n"
    " menuentry 'Two' --id gnulinux-2 {\n linux /boot/vmlinuz-2 root=x\n }\n menuentry 'One' --id gnulinux-1 {\n linux /boot/vmlinuz-1 root=x\n }\n}\n"
    "menuentry \"Other\" --id 'other' {\n linux /boot/vmlinuz-3 root=x\n}\n"
)
BLS = {
    f"/boot/loader/entries/m-{version}.conf": f"title T {version}\nversion {version}\nlinux /vmlinuz-{version}\noptions root=x\n"
    for version in ("5.9", "5.14.0-70", "5.14.0-427")
}
ENV = "# GRUB Environment Block\n".ljust(1024, "#")
SAVED = "# GRUB Environment Block\nsaved_entry=More>One\n".ljust(1024, "#")
LINK = Stat("link", target="../efi/EFI/redhat/grubenv")
LEGACY = "default={}\ntitle A\n\tkernel /vmlinuz-1 root=x\ntitle B\n\tkernel /vmlinuz-2 root=x\n"
EXTLINUX = "DEFAULT {}\nLABEL one\n LINUX vmlinuz-1\n APPEND initrd=/i-1 root=x\nLABEL two\n KERNEL /vmlinuz-2\n APPEND root=x\n"
# Files, the default's kernel, and the index of the entry to choose instead.
CASES = {
    "nothing said": ({"/boot/grub/grub.cfg": MENU}, "/boot/vmlinuz-2", 3),
    "a number": ({"/boot/grub/grub.cfg": 'set default="2"\n' + MENU}, "/boot/vmlinuz-3", 0),
    "a path of numbers": ({"/boot/grub/grub.cfg": 'set default="1>1"\n' + MENU}, "/boot/vmlinuz-1", 0),
    "a path of ids": ({"/boot/grub/grub.cfg": 'set default="gnulinux-advanced>gnulinux-1"\n' + MENU}, "/boot/vmlinuz-1", 3),
    "a title": ({"/boot/grub/grub.cfg": "set default='Other'\n" + MENU}, "/boot/vmlinuz-3", 1),
    "a submenu": ({"/boot/grub/grub.cfg": "set default=1\n" + MENU}, "/boot/vmlinuz-2", 3),
    "saved": ({"/boot/grub/grub.cfg": 'set default="${saved_entry}"\n' + MENU, "/boot/grub/grubenv": SAVED}, "/boot/vmlinuz-1", 0),
    "BLS, nothing saved": ({"/boot/grub2/grub.cfg": "blscfg\n", "/boot/grub2/grubenv": ENV, **BLS}, "/vmlinuz-5.14.0-427", 0),
    "BLS on the ESP's menu": (
        {"/boot/efi/EFI/redhat/grub.cfg": "blscfg\n", "/boot/efi/EFI/redhat/grubenv": ENV, "/boot/grub2/grubenv": LINK, **BLS},
        "/vmlinuz-5.14.0-427",
        0,
    ),
    "legacy": ({"/boot/grub/grub.conf": LEGACY.format(1)}, "/vmlinuz-2", 0),
    "systemd-boot": ({"/boot/loader/loader.conf": "timeout 3\ndefault m-5.9*\n", **BLS}, "/vmlinuz-5.9", 1),
    "extlinux": ({"/boot/extlinux/extlinux.conf": EXTLINUX.format("two")}, "/vmlinuz-2", 0),
}


@pytest.mark.parametrize("name", CASES)
def test_the_default_is_found_and_changed(name):
    files, kernel, other = CASES[name]
    made = MemoryGuest(files)
    entries = boot_entries(made)
    chosen = default_entry(made, entries)
    assert chosen is not None and (kernel is None or chosen.kernel == kernel)
    apply(made, Plan(tuple(set_default(made, entries[other]))))
    assert default_entry(made, boot_entries(made)) == entries[other]
    assert all(len(made.read(path) or b"") == 1024 for path in files if path.endswith("grubenv"))


def two_kernels(**more):
    """The newest kernel, which is the default, has no virtio; the older one has."""
    newer = "6.2.0-1-vmware"
    extra = {path.replace(KVER, newer): value for path, value in fixtures.files().items() if KVER in path}
    extra[f"/usr/lib/modules/{newer}/modules.dep"] = "\n".join(text for text in DEP.splitlines() if "virtio" not in text) + "\n"
    menu = fixtures.files()["/boot/grub/grub.cfg"]
    entry = menu[menu.index("menuentry") :]
    return guest(**{**extra, "/boot/grub/grub.cfg": menu.replace(KVER, newer) + entry.replace("'Debian'", "'Debian, older'"), **more})


def test_a_default_that_cannot_run_is_replaced_and_said():
    made, findings = two_kernels(), Findings()
    apply(made, Plan(merge(bootloader.plan(made, facts(made), findings))))
    assert default_entry(made, boot_entries(made)).kernel == f"/boot/vmlinuz-{KVER}"
    assert [concern.code for concern in findings.concerns] == ["bootloader.default-changed"]
    assert bootloader.plan(made, facts(made), Findings()) == []


def test_a_default_that_can_run_stays_even_if_it_is_older():
    made = two_kernels()
    made.files["/boot/grub/grub.cfg"] = b'set default="Debian, older"\n' + made.files["/boot/grub/grub.cfg"]
    findings = Findings()
    bootloader.plan(made, facts(made), findings)
    assert findings.concerns == []


def test_grub_pc_forgets_the_old_disks():
    database = (
        "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\nValue: /dev/disk/by-id/scsi-36000c29\n"
        "Owners: grub-pc\nFlags: seen\nVariables:\n a = b\n\n"
        "Name: grub-pc/install_devices_empty\nTemplate: grub-pc/install_devices_empty\nValue: false\nOwners: grub-pc\n\nName: z\nValue: /dev/sda\n"
    )
    made = MemoryGuest({"/var/cache/debconf/config.dat": database})
    (change,) = bootloader.plan(made, GuestFacts(), Findings())
    assert (
        "Value: \nOwners: grub-pc\nFlags: seen" in change.after
        and "_empty\nValue: true\n" in change.after
        and change.after.endswith("Name: z\nValue: /dev/sda\n")
    )
    made.files["/var/cache/debconf/config.dat"] = change.after.encode()
    assert bootloader.plan(made, GuestFacts(), Findings()) == []

# SPDX-License-Identifier: GPL-3.0-or-later
"""The old hypervisor's tools in Windows: what is disabled while the machine is off, and what the first start deletes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import winlab
from test_windows_firstboot import faults, script
from winlab import CS, RELEASES
from winplans import codes, repaired, software_of, system_of

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import tools as linux
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import leftovers, pnp, tools, toolsdata
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

SERVICES, CLASSES, ENUM = f"{CS}\\Services", f"{CS}\\Control\\Class", f"{CS}\\Enum"
MOUSE, SYSTEM, HDC, HID = (
    "{4d36e96f-e325-11ce-bfc1-08002be10318}",
    "{4d36e97d-e325-11ce-bfc1-08002be10318}",
    "{4d36e96a-e325-11ce-bfc1-08002be10318}",
    "{745a17a0-74d3-11d0-b6fe-00a0c90f57da}",
)
RUN = "Microsoft\\Windows\\CurrentVersion\\Run"
HOME = "C:\\Program Files\\VMware\\VMware Tools"
PS2 = f"{ENUM}\\ACPI\\PNP0F13\\4&25ee97c0&0"
USB = f"{ENUM}\\HID\\VID_0E0F&PID_0003&MI_00\\8&367bfb7c&0&0000"

# Services of the tools with start types, as hives of these guests and VMware's documentation of the versions have them.
VERSIONS = {
    "3 to 5, of 2003": {"VMTools": 2, "VMMEMCTL": 2, "vmmouse": 3, "vmx_svga": 3, "vmhgfs": 1},
    "8, of Windows 7": {"VMTools": 2, "VMUpgradeHelper": 2, "vmdebug": 1, "VMMEMCTL": 2, "vmmouse": 3, "vmrawdsk": 1, "vm3dmp": 3, "vmci": 3},
    "9, with vShield": {"VMTools": 2, "vsepflt": 0, "vnetflt": 1, "VMMemCtl": 2, "vmvss": 3, "vmusbmouse": 3, "vmci": 0, "vsock": 0, "vmaudio": 3},
    "10 and 11": {
        "VMTools": 2, "VGAuthService": 2, "vm3dservice": 2, "vmvss": 3, "VMMemCtl": 2, "vmrawdsk": 1, "vmmouse": 3, "vmusbmouse": 3,
        "vm3dmp": 3, "vm3dmp-debug": 3, "vm3dmp-stats": 3, "vm3dmp_loader": 3, "vmhgfs": 3, "vmci": 0, "vsock": 0,
    },
    "12, with NSX": {"VMTools": 2, "GISvc": 2, "vsepflt": 0, "vnetWFP": 1, "vm3dmp_loader": 3, "vmwefifw": 3, "cblauncher": 3, "pvscsi": 0, "vmxnet3ndis6": 3},
}  # fmt: skip


def inf(provider: str, catalog: str, *services: str) -> bytes:
    lines = ["[Version]", "Provider=%VMWARE%", f"CatalogFile={catalog}", "[x.NTamd64.Services]"]
    lines += [f"AddService={name},0x2,{name}_Inst" for name in services]
    return ("\r\n".join([*lines, "[Strings]", f'VMWARE="{provider}"']) + "\r\n").encode("utf-16")


def vmware(release: winlab.Release, services: dict[str, int], **more: dict[str, object]):
    """A guest with these services of VMware Tools, in all the lists that there are."""
    extra: dict[str, dict[str, object]] = {
        f"{SERVICES}\\{name}": {"Start": start, "Type": 1, "ErrorControl": 1} for name, start in services.items()
    }
    extra[f"{SERVICES}\\VMTools"] = {"Start": 2, "Type": 0x10}
    extra[f"{CLASSES}\\{MOUSE}"] = {"UpperFilters": ["VMMOUSE", "mouclass"]}
    extra[f"{CLASSES}\\{HID}"] = {"UpperFilters": ["vmusbmouse"]}
    extra[PS2] = {"UpperFilters": ["vmmouse"], "Service": "i8042prt"}
    extra[USB] = {"UpperFilters": ["vmusbmouse", "other"]}
    for order in ("Order", "HwOrder"):
        extra[f"{CS}\\Control\\NetworkProvider\\{order}"] = {"ProviderOrder": "vmhgfs,RDPNP,LanmanWorkstation"}
    extra[f"{SERVICES}\\W32Time\\TimeProviders\\vmwTimeProvider"] = {"Enabled": 1, "DllName": "x"}
    if release.nt >= (6, 2):
        extra[f"{SERVICES}\\vsepflt\\StartOverride"] = {"0": 3}
    release = replace(release, extra={**extra, **more})
    software = {
        **winlab.software(release),
        RUN: {
            "VMware User Process": f'"{HOME}\\vmtoolsd.exe" -n vmusr',
            "VMware VM3DService Process": '"C:\\Windows\\system32\\vm3dservice.exe" -u',
            "VMware Tools": f"{HOME}\\VMwareTray.exe",
            "Horizon": '"C:\\Program Files\\VMware\\VMware View\\x.exe"',
        },
        "VMware, Inc.\\VMware Tools": {"InstallPath": f"{HOME}\\"},
        "VMware, Inc.\\VMware View": {"x": 1},
        f"Classes\\Installer\\Products\\{leftovers.packed(winlab.TOOLS_CODE)}": {"ProductName": "VMware Tools"},
        "RegisteredApplications": {"VMware Host Open": "x", "Other": "y"},
    }
    root = f"/c/{release.root}"
    made = winlab.guest(
        release,
        {
            f"{root}/System32/config/SOFTWARE": winlab.hive(software),
            f"{root}/System32/drivers/vsepflt.sys": b"driver",
            f"{root}/inf/oem2.inf": inf("VMware, Inc.", "vmci.cat", "vmci"),
            f"{root}/inf/oem3.inf": inf("VMware, Inc.", "vm3d.cat", "vm3dmp", "vm3dmp_loader"),
            f"{root}/inf/oem4.inf": inf("VMware, Inc.", "vmmouse.cat", "i8042prt", "mouclass", "vmmouse"),
            f"{root}/inf/oem5.inf": inf("VMware, Inc.", "pvscsi.cat", "pvscsi"),
            f"{root}/inf/oem6.inf": inf("VMware, Inc.", "vmwvusb.cat", "vmwvusb"),
            f"{root}/inf/oem7.inf": inf("Red Hat, Inc.", "vmmouse.cat", "vmmouse"),
            f"{root}/inf/oem8.inf": inf("VMware, Inc.", "a & b.cat", "vmci"),
            f"{root}/inf/oem9.inf": b"\0\1",
            "/c/Program Files/VMware/VMware Tools/vmtoolsd.exe": b"program",
            "/c/Program Files/VMware/VMware View/x.exe": b"program",
            "/c/ProgramData/VMware/VMware Tools/tools.conf": b"[x]",
        },
    )
    return release, made


@pytest.mark.parametrize("name", ["xp", "w7", "w10"])
@pytest.mark.parametrize("version", VERSIONS)
def test_of_no_version_a_name_is_left_in_force(version, name, virtio_win):
    release, made = vmware(RELEASES[name], VERSIONS[version])
    before, options = dict(made.files), Options(virtio_win)
    made, facts, changes, backups = repaired(release, options, made)
    system, software = system_of(made, release), software_of(made, release)
    for service in VERSIONS[version]:
        known = toolsdata.VMWARE.service(service)
        wanted = VERSIONS[version][service] if known.kept else pnp.DISABLED
        assert pnp.effective_start(system, facts.windows, service) == wanted, service
    assert system.texts(f"{CLASSES}\\{MOUSE}", "UpperFilters") == ("mouclass",)
    assert system.value(f"{CLASSES}\\{HID}", "UpperFilters") is None and system.value(PS2, "UpperFilters") is None
    assert system.texts(USB, "UpperFilters") == ("other",) and system.text(PS2, "Service") == "i8042prt"
    for order in ("Order", "HwOrder"):
        assert system.text(f"{CS}\\Control\\NetworkProvider\\{order}", "ProviderOrder") == "RDPNP,LanmanWorkstation"
    assert system.number(f"{SERVICES}\\W32Time\\TimeProviders\\vmwTimeProvider", "Enabled") == 0
    assert [value.name for value in software.values(RUN)] == ["Horizon"]
    assert tools.present(system, facts.windows) == ()
    assert winlab.planned(made, winlab.inspected(made, release, options), options).changes == ()
    undo(made, changes, backups)
    assert made.files == before


def test_the_first_start_deletes_what_is_known_and_nothing_beside_it(virtio_win):
    release, made = vmware(RELEASES["w10"], VERSIONS["12, with NSX"])
    text = script(repaired(release, Options(virtio_win), made)[0], release)
    step = text[text.index(":step_tools\r\n") :]
    assert step.index("msiexec.exe /x") < step.index("call :tools_key")
    key = 'call :tools_key "HKLM\\'
    assert f'{key}SYSTEM\\CurrentControlSet\\Services\\vsepflt"' in step and f'{key}SOFTWARE\\VMware, Inc.\\VMware Tools"' in step
    assert f'{key}SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\{winlab.TOOLS_CODE}"' in step
    assert f'{key}SOFTWARE\\Classes\\Installer\\Products\\C2A6F2EFE6910124C940B2B12CF170FE"' in step
    assert 'call :tools_value "HKLM\\SOFTWARE\\RegisteredApplications" "VMware Host Open"' in step
    assert f'call :tools_folder "{HOME}"' in step and 'call :tools_folder "C:\\ProgramData\\VMware\\VMware Tools"' in step
    assert 'call :tools_file "drivers\\vsepflt.sys"' in step
    # Only packages whose services are all the tools', or that are called as one of them; whatever another vendor says.
    assert [line.split()[2] for line in step.splitlines() if line.startswith("call :tools_package ")] == [
        "oem3.inf", "oem4.inf", "oem2.inf", "oem5.inf",
    ]  # fmt: skip
    for other in ("View", "vmwvusb", "storflt", "LSI_SAS", 'VMware, Inc."', "a & b"):
        assert other not in step
    assert faults(step.splitlines()) == []


def test_what_a_disk_or_a_card_starts_from_goes_last_and_only_unused(virtio_win):
    release, made = vmware(RELEASES["w10"], VERSIONS["12, with NSX"])
    text = script(repaired(release, Options(virtio_win), made)[0], release)
    ready = text.index(":tools_ready\r\n")
    assert text.index('if exist "%S%\\drivers.done" goto :tools_ready') < ready
    for name in ("pvscsi", "vmxnet3ndis6", "vmci"):
        line = f'if not defined BOUND call :tools_key "HKLM\\SYSTEM\\CurrentControlSet\\Services\\{name}"\r\n'
        assert text.index(f"call :tools_bound {name}\r\n", ready) < text.index(line)
    assert text.index("if defined BOUND goto :tools_package_", ready) < text.index("call :tools_package oem5.inf pvscsi.cat\r\n")
    # Without drivers of ours there is nothing to wait for.
    release, made = vmware(RELEASES["w10"], VERSIONS["12, with NSX"])
    assert ":tools_ready" not in script(repaired(release, Options(), made)[0], release)


def test_sockets_go_with_the_bus_that_carries_them(virtio_win):
    release, made = vmware(RELEASES["w10"], VERSIONS["10 and 11"])
    lines = script(repaired(release, Options(virtio_win), made)[0], release).splitlines()
    at = lines.index('if not defined BOUND call :tools_key "HKLM\\SYSTEM\\CurrentControlSet\\Services\\vsock"')
    assert lines[at - 2] == "call :tools_bound vmci"


@pytest.mark.parametrize(
    "said",
    ["C:\\", "C:\\Windows", "C:\\Program Files", "C:\\Program Files\\..\\Windows\\VMware Tools", "D:\\Program Files\\VMware Tools",
     "C:\\Program Files\\x & y\\VMware Tools", "%SystemRoot%\\VMware Tools", "C:\\Data\\VMware Tools",
     "C:\\Program Files\\Mine", "C:\\Program Files\\x\\Drivers", ""],
)  # fmt: skip
def test_no_folder_goes_but_one_of_the_tools_below_program_files(said, virtio_win):
    release = RELEASES["w10"]
    software = {**winlab.software(release), "VMware, Inc.\\VMware Tools": {"InstallPath": said}}
    files = {"/c/Windows/System32/config/SOFTWARE": winlab.hive(software)}
    folders = (
        "Windows/VMware Tools",
        "Program Files/Mine",
        "Data/VMware Tools",
        "Program Files/x & y/VMware Tools",
        "Program Files/x/Drivers",
    )
    made = winlab.guest(release, {**files, **{f"/c/{folder}/file": b"x" for folder in folders}})
    assert "call :tools_folder" not in script(repaired(release, Options(virtio_win), made)[0], release)


@pytest.mark.parametrize("said", ["C:\\", "C:\\Program Files\\", ""])
def test_what_starts_at_a_logon_is_not_the_tools_because_a_folder_above_is_called_theirs(said, virtio_win):
    release, made = vmware(RELEASES["w10"], VERSIONS["10 and 11"])
    config = f"/c/{release.root}/System32/config/SOFTWARE"
    values = {"Backup": '"C:\\Program Files\\Backup\\x.exe"', "VMware User Process": "x"}
    made.files[config] = winlab.hive({**winlab.software(release), RUN: values, "VMware, Inc.\\VMware Tools": {"InstallPath": said}})
    made, *dummy = repaired(release, Options(virtio_win), made)
    assert [value.name for value in software_of(made, release).values(RUN)] == ["Backup"]


def test_tools_that_were_installed_elsewhere_are_found(virtio_win):
    release = RELEASES["w10"]
    software = {
        **winlab.software(release),
        "Microsoft\\Windows\\CurrentVersion": {"DevicePath": ("expand", "%SystemRoot%\\inf"), "ProgramFilesDir": "C:\\Programme"},
        "VMware, Inc.\\VMware Tools": {"InstallPath": "C:\\Programme\\Old\\VMware Tools\\"},
    }
    made = winlab.guest(release, {"/c/Windows/System32/config/SOFTWARE": winlab.hive(software), "/c/Programme/Old/VMware Tools/x": b"x"})
    assert 'call :tools_folder "C:\\Programme\\Old\\VMware Tools"' in script(repaired(release, Options(virtio_win), made)[0], release)


def test_what_another_service_needs_stays_with_its_folder(virtio_win):
    more = {f"{SERVICES}\\Backup": {"Start": 2, "Type": 0x10, "DependOnService": ["RpcSs", "vmtools"]}}
    release, made = vmware(RELEASES["w10"], VERSIONS["10 and 11"], **more)
    made, dummy, changes, dummy2 = repaired(release, Options(virtio_win), made)
    system, text = system_of(made, release), script(made, release)
    assert system.number(f"{SERVICES}\\VMTools", "Start") == 2 and system.number(f"{SERVICES}\\VMMemCtl", "Start") == 4
    (concern,) = [one for one in changes.concerns if one.code == "windows.tools-left"]
    assert (
        "VMTools (Backup)" in concern.cause
        and "call :tools_folder" not in text
        and "msiexec.exe /x" not in text
        and 'Services\\VMTools"' not in text
    )


def test_a_folder_from_which_an_unknown_service_runs_stays(virtio_win):
    more = {f"{SERVICES}\\TPAutoConnSvc": {"Start": 3, "Type": 0x10, "ImagePath": f'"{HOME}\\TPAutoConnSvc.exe"'}}
    release, made = vmware(RELEASES["w10"], VERSIONS["10 and 11"], **more)
    made, dummy, changes, dummy2 = repaired(release, Options(virtio_win), made)
    assert f'call :tools_folder "{HOME}"' not in script(made, release)
    assert any("TPAutoConnSvc" in one.cause for one in changes.concerns if one.code == "windows.tools-left")


def test_packages_of_the_vendor_under_its_new_name_are_known(virtio_win):
    release, made = vmware(RELEASES["w10"], VERSIONS["10 and 11"])
    made.files[f"/c/{release.root}/inf/oem11.inf"] = inf("Broadcom Inc.", "vm3d.cat", "vm3dmp", "vm3dmp_loader")
    made.files[f"/c/{release.root}/inf/oem12.inf"] = inf("Broadcom Inc.", "bcm57.cat", "bnxtnd")
    text = script(repaired(release, Options(virtio_win), made)[0], release)
    assert "oem11.inf" in text and "oem12.inf" not in text


def test_the_keys_of_the_installer_are_named_by_the_packed_code():
    assert leftovers.packed("{AF174E64-22CF-4386-A9EC-73F285739998}") == "46E471FAFC2268349ACE372F58379989"


# -- other hypervisors ------------------------------------------------------------------------------------------------------------------


def test_filters_of_xen_leave_every_list_before_their_drivers_are_disabled(virtio_win):
    extra = {
        **{f"{SERVICES}\\{name}": {"Start": 0, "Type": 1} for name in ("xenbus", "xenfilt", "xenvbd")},
        f"{CLASSES}\\{SYSTEM}": {"UpperFilters": ["XENFILT"]},
        f"{CLASSES}\\{HDC}": {"UpperFilters": ["xenfilt", "other"]},
        f"{CLASSES}\\{winlab.SCSI}": {"LowerFilters": ["scsifilt"]},
    }
    release = replace(RELEASES["w10"], extra=extra)
    made = winlab.guest(release)
    assert "xen" in winlab.inspected(made, release, Options()).tools
    left = winlab.planned(made, winlab.inspected(made, release, Options(virtio_win)), Options(virtio_win))
    assert {"windows.tools-filter", "windows.tools-left"} <= codes(left)
    made, dummy, changes, dummy2 = repaired(release, Options(virtio_win, remove_tools=("xen",)), made)
    system = system_of(made, release)
    assert [system.number(f"{SERVICES}\\{name}", "Start") for name in ("xenbus", "xenfilt", "xenvbd")] == [4, 4, 4]
    assert system.value(f"{CLASSES}\\{SYSTEM}", "UpperFilters") is None and system.texts(f"{CLASSES}\\{HDC}", "UpperFilters") == ("other",)
    assert system.value(f"{CLASSES}\\{winlab.SCSI}", "LowerFilters") is None
    assert "windows.tools-filter" not in codes(changes) and "xen" not in script(made, release)


def test_parallels_filter_leaves_the_disks(virtio_win):
    extra = {
        **{f"{SERVICES}\\{name}": {"Start": 0, "Type": 1} for name in ("prl_strg", "prl_boot", "Parallels Tools Service")},
        f"{CLASSES}\\{winlab.DISK}": {"LowerFilters": ["prl_strg"]},
    }
    release = replace(RELEASES["w10"], extra=extra)
    made, *dummy = repaired(release, Options(virtio_win, remove_tools=("parallels",)))
    system = system_of(made, release)
    assert system.value(f"{CLASSES}\\{winlab.DISK}", "LowerFilters") is None
    assert {system.number(f"{SERVICES}\\{name}", "Start") for name in ("prl_strg", "prl_boot", "Parallels Tools Service")} == {4}


def test_microsofts_names_are_touched_only_where_hyper_v_is_named(virtio_win):
    names = {"vmbus": 0, "storflt": 0, "storvsc": 0, "vmicheartbeat": 3, "vmictimesync": 3, "vmgid": 3}
    extra = {f"{SERVICES}\\{name}": {"Start": start, "Type": 1} for name, start in names.items()}
    extra[f"{SERVICES}\\W32Time\\TimeProviders\\VMICTimeProvider"] = {"Enabled": 1}
    for device, chosen in ((False, ("vmware",)), (True, ("vmware",)), (True, ("vmware", "hyperv"))):
        enum = {f"{ENUM}\\VMBUS\\{{guid}}\\1": {"Service": "netvsc"}} if device else {}
        release = replace(RELEASES["w10"], extra={**extra, **enum})
        made = winlab.guest(release)
        assert ("hyperv" in winlab.inspected(made, release, Options()).tools) == device
        made, *dummy = repaired(release, Options(virtio_win, remove_tools=chosen), made)
        system = system_of(made, release)
        off = pnp.DISABLED if "hyperv" in chosen else 3
        wanted = {**names, "vmicheartbeat": off, "vmictimesync": off}
        assert {name: system.number(f"{SERVICES}\\{name}", "Start") for name in names} == wanted
        enabled = system.number(f"{SERVICES}\\W32Time\\TimeProviders\\VMICTimeProvider", "Enabled")
        assert enabled == (0 if "hyperv" in chosen else 1)


def test_additions_of_virtualbox_go_without_an_uninstaller_of_their_own(virtio_win):
    release = replace(RELEASES["w10"], extra={f"{SERVICES}\\VBoxSF": {"Start": 1, "Type": 2}, f"{SERVICES}\\VBoxService": {"Start": 2}})
    folder = "Oracle\\VirtualBox Guest Additions"
    software = {**winlab.software(release), folder: {"InstallDir": f"C:\\Program Files\\{folder}"}, RUN: {"VBoxTray": "%SystemRoot%\\x"}}
    made = winlab.guest(
        release,
        {
            "/c/Windows/System32/config/SOFTWARE": winlab.hive(software),
            "/c/Program Files/Oracle/VirtualBox Guest Additions/uninst.exe": b"x",
            "/c/Windows/inf/oem1.inf": inf("Oracle Corporation", "VBoxGuest.cat", "VBoxGuest"),
        },
    )
    made, *dummy = repaired(release, Options(virtio_win, remove_tools=("virtualbox",)), made)
    text = script(made, release)
    assert f'call :tools_folder "C:\\Program Files\\{folder}"' in text and "call :tools_package oem1.inf VBoxGuest.cat" in text
    assert system_of(made, release).number(f"{SERVICES}\\VBoxSF", "Start") == 4 and software_of(made, release).values(RUN) == []


# -- the data -----------------------------------------------------------------------------------------------------------------------------


def test_every_entry_has_a_source_and_every_source_an_entry():
    used = set()
    for one in toolsdata.HYPERVISORS.values():
        for entry in (*one.services, *one.packages, *one.folders, *one.files, *one.keys, *one.run):
            assert entry.source in toolsdata.SOURCES, entry
            used.add(entry.source)
        assert all(one.service(mark) is not None for mark in one.marks)
        names = [service.name.lower() for service in one.services]
        assert len(names) == len(set(names))
    assert used == set(toolsdata.SOURCES)
    assert set(toolsdata.HYPERVISORS) <= set(linux.HYPERVISORS)


def test_no_name_of_the_data_can_hurt_a_script():
    for one in toolsdata.HYPERVISORS.values():
        texts = [service.name for service in one.services]
        texts += [text for place in (*one.folders, *one.files, *one.keys, *one.run) for text in (place.path, place.value)]
        assert not [text for text in texts if set(text) & set('%!&|<>^"()/') or ".." in text or text.startswith("\\")]
        assert all("\\" in place.path for place in one.folders)


def test_nothing_is_looked_for_without_a_named_hypervisor():
    release, made = vmware(RELEASES["w10"], VERSIONS["10 and 11"])
    facts, findings = winlab.inspected(made, release, Options()), Findings()
    system = system_of(made, release)
    tools.plan(system, facts.windows, (), findings, software_of(made, release))
    assert system.change() == [] and [concern.code for concern in findings.concerns] == ["windows.tools-left"]


@pytest.mark.parametrize("name", sorted(set(linux.HYPERVISORS) - set(toolsdata.HYPERVISORS)))
def test_a_name_that_means_nothing_in_windows_is_said(name):
    release, findings = RELEASES["w10"], Findings()
    made = winlab.guest(release)
    tools.plan(system_of(made, release), winlab.inspected(made, release, Options()).windows, (name,), findings)
    assert f"tools {name} has" in findings.concerns[-1].cause

# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows-shaped disks through the whole playbook: repaired, proved, described, undone; and the states that stop it."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "lab"), str(ROOT / "tests" / "unit" / "plugins" / "module_utils")]
import harness
import windows_disks
import winlab

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import each_from_data, from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import Converted, VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.family import GuestRequest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.offline import Attached
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import families
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.domains import describe
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import Facts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import Timer, opened
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import libvirt_xml
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import devices

PLAIN = ("xp", "w7", "w10", "w11", "2k22")
W10 = winlab.RELEASES["w10"]
STATES = {
    "asleep": {"/c/hiberfil.sys": b"hibr" + bytes(8188)},
    "locked": {},
    "broken": {"/c/Windows/System32/config/SYSTEM": winlab.minimal()[:4096] + bytes(4096)},
}
# The stand-ins of drivers are signed by a vendor whom no kernel knows: what an operator says who knows better.
ACCEPTED = ["windows.driver-signature"]
EVERYONE_FULL = bytes.fromhex("ff011f00010100000000000100000000")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Every image and the drivers, made once for all test processes."""
    folder = tmp_path_factory.getbasetemp().parent / "windows"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            releases = [winlab.RELEASES[name] for name in PLAIN] + [replace(W10, name=name) for name in STATES]
            windows_disks.build(releases, folder, STATES)
            raw = folder / "locked.raw"
            subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", folder / "locked.vmdk", raw], check=True)
            windows_disks.encrypted(raw)
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, folder / "locked.vmdk"], check=True)
            winlab.driver_tree(folder / "drivers", dict.fromkeys(("xp", "w7", "w10", "w11", "2k22"), ("x86_64", "i686")))
            windows_disks.iso(folder / "drivers", folder / "virtio-win.iso")
            (folder / "done").touch()
    return folder


def hosts(lab: Path, out: Path, name: str, **more: object) -> Path:
    drivers = lab / ("virtio-win.iso" if name in ("w11", "w7") else "drivers")
    given = {
        "migrate_source": str(lab / f"{name}.vmx"),
        "migrate_output_dir": str(out),
        "migrate_virtio_win": str(drivers),
        "migrate_accept": ACCEPTED,
        **more,
    }
    return harness.inventory(out / "vms.json", **{name: given})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.rotates("windows", 130)) for name in ("w10", "xp", "w7", "w11", "2k22")]
)
def test_the_whole_playbook(name, lab, tmp_path):
    release = winlab.RELEASES[name]
    before = {path.name: path.stat().st_mtime_ns for path in lab.iterdir() if path.stem == name}
    inventory = hosts(lab, tmp_path, name)
    dry = harness.playbook("migrate", inventory, "--check", "--diff")
    assert dry.returncode == 0, dry.stdout[-3000:]
    assert " [ControlSet001\\Services\\viostor]\n+Type = 1\n+Start = 0\n" in dry.stdout and "-Start = 2\n+Start = 4" in dry.stdout
    assert not (tmp_path / name).exists()
    done = harness.playbook("migrate", inventory)
    assert done.returncode == 0, done.stdout[-3000:]
    out = tmp_path / name
    report = json.loads((out / "report.json").read_text())
    facts, proof = report["facts"], report["proof"]
    assert proof["verdict"] == "passed", [check for check in proof["checks"] if not check["passed"]]
    assert (facts["os"], facts["family"], facts["architecture"]) == ("windows", name, release.machine)
    assert (facts["firmware"], facts["disk_bus"], facts["nic_model"]) == (release.firmware, "virtio", "virtio")
    assert [nic["mac"] for nic in facts["nics"]] == [winlab.MAC] and facts["nics"][0]["addresses"][0] == "192.168.10.5/24"
    assert {path.name: path.stat().st_mtime_ns for path in lab.iterdir() if path.stem == name} == before
    subprocess.run(["virt-xml-validate", out / f"{name}.xml"], check=True, capture_output=True)
    assert "Windows finishes by itself" in (out / "report.md").read_text()
    again = harness.playbook("migrate", inventory)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-2000:]


def opened_overlay(path: str, writable: bool):
    return opened(GuestRequest((Attached(path, "qcow2"),), accept=tuple(ACCEPTED)), writable, Timer())


def digests(guest, facts) -> dict[str, str]:
    """Every file of every mounted volume."""
    found = {}
    for mount in guest.mounts:
        for name in guest.handle.find(mount.path):
            path = f"{mount.path}/{name.lstrip('/')}"
            if guest.handle.is_file(path):
                found[path] = guest.handle.checksum("sha256", path)
    assert facts.windows.system_hive in found
    return found


@pytest.mark.rotates("windows", 110)
@pytest.mark.parametrize("name", ["xp", "w10"])
def test_undo_restores_every_byte_and_new_files_are_not_for_everyone(name, lab, tmp_path):
    work = str(tmp_path / "work")
    release = winlab.RELEASES[name]
    harness.module("vmdk_fetch", source=[str(lab / f"{name}.vmx")], work_dir=work)
    overlay = harness.module("disk_flatten", work_dir=work)["disks"][0]["path"]
    with opened_overlay(overlay, False) as (guest, facts, dummy):
        before = digests(guest, facts)
        access = guest.handle.lgetxattr(facts.windows.system_hive, "system.ntfs_acl")
        boot = guest.read_device(facts.root, 0, 512)
    done = harness.module("guest_fix", work_dir=work, virtio_win=str(lab / "drivers"), accept=ACCEPTED)
    assert done.get("changed") and done["proof"]["verdict"] == "passed", done
    with opened_overlay(overlay, True) as (guest, facts, dummy):
        after = digests(guest, facts)
        assert after != before and facts.disk_bus == "virtio"
        home = f"/c/{release.root}/hyper2kvm"
        for path in (f"/c/{release.root}/System32/drivers/viostor.sys", home, f"{home}/work.cmd", f"{home}/drivers/viostor/viostor.inf"):
            assert EVERYONE_FULL not in guest.handle.lgetxattr(path, "system.ntfs_acl"), path
        assert guest.handle.lgetxattr(facts.windows.system_hive, "system.ntfs_acl") == access
        families.of(facts).prepare(guest, facts, GuestRequest(()))
        assert guest.handle.lstatns(f"{home}/backup/{done['id']}")["st_mode"] & 0o77 == 0
    disks = [{"path": overlay, "format": "qcow2"}]
    unknown = harness.module("guest_fix_rollback", disks=disks, id="nothing")
    assert unknown.get("failed") and done["id"] in unknown["hint"]
    assert harness.module("guest_fix_rollback", disks=disks)["undone"] == [done["id"]]
    with opened_overlay(overlay, False) as (guest, facts, dummy):
        assert digests(guest, facts) == before and guest.read_device(facts.root, 0, 512) == boot


@pytest.mark.rotates("windows", 105)
def test_two_phases_go_on_only_after_the_first_has_worked(lab, tmp_path):
    inventory = hosts(lab, tmp_path, "2k22", migrate_windows_boot="two_phase")
    done = harness.playbook("migrate", inventory)
    assert done.returncode == 0, done.stdout[-3000:]
    out = tmp_path / "2k22"
    first = (out / "2k22-bootstrap.xml").read_text()
    assert 'dev="sda" bus="sata"' in first and 'dev="vda" bus="virtio"' in first and not (out / "2k22.xml").exists()
    subprocess.run(["virt-xml-validate", out / "2k22-bootstrap.xml"], check=True, capture_output=True)
    report = json.loads((out / "report.json").read_text())
    phases = {check["name"].split(".")[0] for check in report["proof"]["checks"]}
    assert {"bootstrap", "final"} <= phases and report["proof"]["verdict"] == "passed"
    early = harness.playbook("windows_finish", inventory)
    assert early.returncode != 0 and "the first start is armed after 0 tries" in early.stdout and not (out / "2k22.xml").exists()
    # What Windows does: the Setup command resets itself, the work leaves its marker.
    with opened_overlay(str(out / "2k22-disk0.qcow2"), True) as (guest, facts, dummy):
        families.of(facts).prepare(guest, facts, GuestRequest(()))
        home = f"{facts.windows.system_root}/hyper2kvm"
        guest.write(f"{home}/firstboot.try", b"1\r\n", None)
        guest.write(f"{home}/firstboot.log", b"drivers and network are done\r\n", None)
        guest.write(f"{home}/firstboot.done", b"ok\r\n", None)
        plain = {"Setup": {"SetupType": 0, "SystemSetupInProgress": 0, "CmdLine": ""}}
        guest.write(facts.windows.system_hive, winlab.hive(plain, guest.read(facts.windows.system_hive)), None)
    late = harness.playbook("windows_finish", inventory)
    assert late.returncode == 0, late.stdout[-3000:]
    assert 'dev="vda" bus="virtio"' in (out / "2k22.xml").read_text() and "sata" not in (out / "2k22.xml").read_text()


def test_an_encrypted_result_is_looked_into_with_its_passphrase(lab, tmp_path):
    work, secret = str(tmp_path / "work"), "only this opens it"
    harness.module("vmdk_fetch", source=[str(lab / "w10.vmx")], work_dir=work)
    harness.module("disk_flatten", work_dir=work)
    (disk,) = harness.module("qemu_convert", work_dir=work, name="w10", dest=str(tmp_path / "out"), passphrase=secret)["disks"]
    before = Path(disk["path"]).read_bytes()
    disks = [{"path": disk["path"], "format": "qcow2"}]
    assert "no passphrase is given" in harness.module("windows_firstboot_info", disks=disks)["msg"]
    found = harness.module("windows_firstboot_info", disks=disks, passphrase=secret)
    assert found["firstboot"]["state"] == "none" and found["facts"]["windows"], found
    assert Path(disk["path"]).read_bytes() == before and secret not in json.dumps(found)


@pytest.mark.parametrize(("name", "code"), [("asleep", "windows.hibernated"), ("locked", "windows.bitlocker"), ("broken", "damaged")])
def test_states_that_stop_a_migration(name, code, lab, tmp_path):
    work = str(tmp_path / "work")
    harness.module("vmdk_fetch", source=[str(lab / f"{name}.vmx")], work_dir=work)
    harness.module("disk_flatten", work_dir=work)
    overlay = next(Path(work).glob("*.qcow2"))
    fresh = overlay.read_bytes()
    refused = harness.module("guest_fix", work_dir=work, virtio_win=str(lab / "drivers"))
    assert refused.get("failed") and refused.get("hint"), refused
    assert code in (refused.get("details") or {}).get("codes", []) or code in refused["msg"], refused
    if name == "asleep":
        accepted = harness.module("guest_fix", work_dir=work, virtio_win=str(lab / "drivers"), accept=[code, *ACCEPTED])
        assert accepted.get("changed") and accepted["proof"]["verdict"] == "passed", accepted
    else:
        assert overlay.read_bytes() == fresh


def test_single_steps_and_a_missing_driver_folder(lab, tmp_path):
    (tmp_path / "empty").mkdir()
    source = [str(lab / "w10.vmx")]
    planned = harness.module("guest_plan", source=source, virtio_win=str(tmp_path / "empty"), fixes=["virtio"])
    assert "windows.no-drivers" in {concern["code"] for concern in planned["concerns"]} and planned["facts"]["disk_bus"] == "sata"
    refused = harness.module("guest_plan", source=source, virtio_win=str(lab / "drivers"), fixes=["virtio"])
    assert {"windows.driver-signature", "windows.no-drivers"} <= {concern["code"] for concern in refused["concerns"]}
    assert refused["facts"]["disk_bus"] == "sata" and {change["kind"] for change in refused["changes"]} == {"registry"}
    injected = harness.module("windows_virtio_inject", check=True, source=source, virtio_win=str(lab / "drivers"), accept=ACCEPTED)
    kinds = {change["kind"] for change in injected["changes"]}
    assert injected["changed"] and kinds == {"upload", "registry"}
    none = harness.module("guest_plan", source=source, virtio_win=str(tmp_path / "nothing"))
    assert none.get("failed") and "does not exist" in none["msg"]


def test_the_devices_of_the_domain_are_those_that_are_proved(tmp_path):
    """qemu itself says what its devices look like on the bus; no guest runs for it."""
    empty = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", empty, "1M"], check=True)
    drive = ["-drive", f"if=none,id=d0,file={empty},format=qcow2"]
    port = ["-device", "pcie-root-port,id=p0"]
    cases = [
        ("q35", [*port, *drive, "-device", "virtio-blk-pci,drive=d0,bus=p0"], devices.BLK_MODERN),
        ("q35", [*drive, "-device", "virtio-blk-pci,drive=d0"], devices.BLK_TRANSITIONAL),
        ("pc", [*drive, "-device", "virtio-blk-pci,drive=d0"], devices.BLK_TRANSITIONAL),
        ("q35", [], devices.AHCI),
        ("pc", [], devices.IDE),
    ]
    for machine, argv, wanted in cases:
        found = {(one["id"]["vendor"], one["id"]["device"]): one for one in pci(machine, argv, tmp_path)}
        one = found[wanted.vendor, wanted.device]
        assert one["class_info"]["class"] == wanted.code >> 8
        assert (one["id"]["subsystem-vendor"], one["id"]["subsystem"]) == (wanted.subsystem_vendor, wanted.subsystem)


def domain(name, vm, facts, disks, *more):
    """The domain of what a module would be given."""
    return describe(name, from_data(VmSaid, vm, "vm"), from_data(Facts, facts, "facts"), each_from_data(Converted, disks, "disks"), *more)


@pytest.mark.parametrize("bus", ["virtio", "sata", "ide"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_every_description_is_one_that_libvirt_takes(bus, firmware, tmp_path):
    machine = "pc" if bus == "ide" else "q35"
    for windows in ({"clock": "localtime"}, None):
        facts = {
            "disk_bus": bus,
            "firmware": firmware,
            "machine": machine,
            "nics": [{"mac": winlab.MAC}],
            "boot_disk": 1,
            "windows": windows,
        }
        disks = [{"path": f"/images/a & <b>{number}.qcow2", "format": "qcow2"} for number in range(3)]
        for phase in ("bootstrap", "final"):
            path = tmp_path / "vm.xml"
            path.write_text(
                libvirt_xml.FORMAT.text(
                    domain("a <b>", {"memory": 4096, "cpus": 4}, facts, disks, phase, "default", str(tmp_path / "side.qcow2"))
                )
            )
            subprocess.run(["virt-xml-validate", path], check=True, capture_output=True)
    with pytest.raises(InvalidInput, match="disks"):
        libvirt_xml.FORMAT.text(domain("vm", {}, {"disk_bus": "ide"}, disks * 2, "final", "default", ""))


def test_nics_go_to_the_networks_that_theirs_become(tmp_path):
    nics = [{"mac": "00:50:56:00:00:01", "network": "VM Network"}, {"mac": "00:50:56:00:00:02", "network": "DMZ"}]
    disks = [{"path": "/images/a.qcow2", "format": "qcow2"}]
    networks = {"VM Network": "default", "DMZ": "bridge:br-dmz"}
    moved = {"nics": [{"mac": "52:54:00:00:00:01"}, {"mac": "00:50:56:00:00:02"}]}

    def on(vm, facts) -> list[tuple[str, str, str]]:
        text = libvirt_xml.FORMAT.text(domain("vm", vm, facts, disks, "final", "other", "", networks))
        (tmp_path / "vm.xml").write_text(text)
        subprocess.run(["virt-xml-validate", tmp_path / "vm.xml"], check=True, capture_output=True)
        found = ElementTree.fromstring(text).findall("devices/interface")
        sources = [(one.find("mac"), one.find("source")) for one in found]
        return [("" if mac is None else mac.get("address"), *source.items()[0]) for mac, source in sources]

    assert on({"nics": nics}, {}) == [("00:50:56:00:00:01", "network", "default"), ("00:50:56:00:00:02", "bridge", "br-dmz")]
    assert on({"nics": nics}, moved) == [("52:54:00:00:00:01", "network", "default"), ("00:50:56:00:00:02", "bridge", "br-dmz")]
    assert on({"nics": [{**nics[0], "network": ""}]}, {}) == [("00:50:56:00:00:01", "network", "other")]
    assert on({"kind": "disks"}, {}) == [("", "network", "other")] and on({"kind": "vmx"}, {}) == []
    text = libvirt_xml.FORMAT.text(domain("vm", {"cpus": 8, "cores_per_socket": 4}, {}, disks, "final", "other", ""))
    assert ElementTree.fromstring(text).find("cpu/topology").attrib == {"sockets": "2", "cores": "4", "threads": "1"}


def ask(stream, command: str):
    """The answer to a command, past the events that come between."""
    stream.write(json.dumps({"execute": command}) + "\n")
    stream.flush()
    while "return" not in (answer := json.loads(stream.readline())):
        pass
    return answer["return"]


def pci(machine: str, argv: list[str], folder: Path) -> list[dict]:
    path = folder / "qmp"
    path.unlink(missing_ok=True)
    command = ["qemu-system-x86_64", "-M", machine, "-accel", "tcg", "-display", "none", "-qmp", f"unix:{path},server=on,wait=off"]
    qemu = subprocess.Popen([*command, "-vga", "none", *argv])
    try:
        for dummy in range(100):
            if path.exists():
                break
            time.sleep(0.1)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            stream = connection.makefile("rw")
            stream.readline()
            ask(stream, "qmp_capabilities")
            for dummy in range(60):  # until the firmware has numbered the buses
                tops = [top for bus in ask(stream, "query-pci") for top in bus["devices"]]
                behind = [one for top in tops for one in top.get("pci_bridge", {}).get("devices", [])]
                if behind or not any("pci_bridge" in top for top in tops):
                    break
                time.sleep(0.5)
        return [*tops, *behind]
    finally:
        qemu.kill()
        qemu.wait()


@pytest.mark.rotates("windows", 170)
@pytest.mark.parametrize("engine", ["v2v", "v2v_then_own", "own_then_v2v"])
def test_virt_v2v_repairs_too_and_the_proof_is_ours(engine, lab, tmp_path, monkeypatch):
    for program in ("rhsrvany.exe", "pnp_wait.exe"):
        (tmp_path / program).write_bytes(winlab.program("i686", 3))
    monkeypatch.setenv("VIRT_TOOLS_DATA_DIR", str(tmp_path))
    inventory = hosts(lab, tmp_path, "w10", migrate_engine=engine, migrate_virtio_win=str(lab / "drivers"))
    done = harness.playbook("migrate", inventory)
    assert done.returncode == 0, done.stdout[-3000:]
    report = json.loads((tmp_path / "w10" / "report.json").read_text())
    assert report["proof"]["verdict"] == "passed" and report["facts"]["disk_bus"] == "virtio"
    assert bool(report["changes"]) == (engine != "v2v") and len(report["disks"]) == 1
    result = report["disks"][0]["path"]
    with opened_overlay(result, False) as (guest, facts, dummy):
        firstboot = [path for path in guest.handle.find("/c") if path.endswith("/Firstboot/firstboot.bat")]
        assert firstboot == ["/Program Files/Guestfs/Firstboot/firstboot.bat"]
        assert (guest.stat(f"{facts.windows.system_root}/hyper2kvm/work.cmd") is not None) == (engine != "v2v")
    again = harness.playbook("migrate", inventory, env={"LIBGUESTFS_HV": "/bin/false"})
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-2000:]


def test_what_virt_v2v_does_not_get_through_is_said(lab, tmp_path):
    sources = {"source": [str(lab / "locked.vmx")], "work_dir": str(tmp_path / "w")}
    harness.module("vmdk_fetch", **sources)
    harness.module("disk_flatten", work_dir=sources["work_dir"])
    refused = harness.module("guest_fix", **sources, engine="v2v")
    assert refused["error_code"] == "tool_failed" and "virt-v2v does not convert this guest" in refused["msg"] and refused["hint"]
    for wrong in ({"engine": "v2v", "v2v_options": ["--key", "all:key:secret"]}, {"v2v_options": ["--root", "first"]}):
        assert harness.module("guest_fix", **sources, **wrong)["error_code"] == "invalid_input"

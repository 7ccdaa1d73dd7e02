# SPDX-License-Identifier: GPL-3.0-or-later
"""Which VM is which, in whole runs: two VMs of one name, copies, what was moved or replaced, and two runs on one VM."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

MIB = 1 << 20
UUIDS = ("56 4d 00 00 00 00 00 00-00 00 00 00 00 00 00 01", "56 4d 00 00 00 00 00 00-00 00 00 00 00 00 00 02")
# There is no guest on these disks, so nothing to repair or to boot.
BARE = ("--skip-tags", "inspect,plan,fix,validate")


def vmx(folder: Path, uuid: str, content: bytes, *lines: str) -> str:
    """A VM of one disk of 4 MiB that begins with `content`."""
    folder.mkdir(parents=True)
    with open(folder / "disk-flat.vmdk", "wb") as file:
        file.write(content)
        file.truncate(4 * MIB)
    (folder / "disk.vmdk").write_text(
        f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="vmfs"\nRW {4 * MIB // 512} VMFS "disk-flat.vmdk"\n'
    )
    known = ['scsi0:0.fileName = "disk.vmdk"', 'displayName = "web01"', f'uuid.bios = "{uuid}"', *lines]
    (folder / "web01.vmx").write_text("\n".join(known) + "\n")
    return str(folder / "web01.vmx")


def begins(path: Path, content: bytes) -> bool:
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw], check=True)
    found = raw.read_bytes()[: len(content)]
    raw.unlink()
    return found == content


def hosts_of(tmp_path: Path, **sources: object) -> Path:
    """VMs that all have the name web01 at their destination."""
    common = {"migrate_name": "web01", "migrate_output_dir": str(tmp_path / "out"), "migrate_boot_test": False}
    return harness.inventory(tmp_path / "vms.json", **{name: {"migrate_source": source, **common} for name, source in sources.items()})


def migrate(hosts: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return harness.playbook("migrate", hosts, *BARE, *arguments)


def stages(source: str, out: Path, check: bool = False, **more: object) -> dict:
    """What the role does for such a VM, module by module; the answer of the first one that fails, else whether any changed something."""
    work, dest = str(out / "web01" / ".work"), str(out / "web01")
    fetched = harness.module("vmdk_fetch", check, source=[source], work_dir=work, name="web01", dest=dest, report_dir=dest, **more)
    if fetched.get("failed") or check:
        return fetched
    given = {"source": [source], "work_dir": work}
    answers = [fetched, harness.module("disk_flatten", **given), harness.module("qemu_convert", **given, name="web01", dest=dest)]
    disks = answers[-1].get("disks", [])
    if disks:
        vm = {**fetched["vm"], "name": "web01"}
        answers.append(harness.module("domain_describe", dest=dest, name="web01", vm=vm, disks=disks))
        answers.append(harness.module("migration_report", dest=dest, vm=vm, disks=disks, **more))
    failed = [answer for answer in answers if answer.get("failed")]
    return failed[0] if failed else {"changed": any(answer["changed"] for answer in answers)}


def migrated(source: str, out: Path, changed: bool = True, **more: object) -> None:
    assert stages(source, out, **more) == {"changed": changed}


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file but the lock, which names whoever had it last."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != "lock"
    }


def refused(done: object, *words: str) -> None:
    """A module, or a whole run."""
    failed, said = (done["failed"], done["msg"]) if isinstance(done, dict) else (done.returncode != 0, done.stdout)
    assert failed and all(word in " ".join(said.split()) for word in words), said


def test_two_vms_of_one_name_one_after_the_other(tmp_path):
    one, other = (vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS))
    hosts = hosts_of(tmp_path, a=one, b=other)
    done = migrate(hosts, "--limit", "a")
    assert done.returncode == 0, done.stdout
    image, before = tmp_path / "out" / "web01" / "web01-disk0.qcow2", tree(tmp_path / "out")
    refused(migrate(hosts, "--limit", "b"), "belongs to", one, other, "migrate_name")
    refused(stages(other, tmp_path / "out", check=True), "belongs to", one, other)
    for taken_back in ("rollback", "rehearse"):
        refused(harness.playbook(taken_back, hosts, "--limit", "b", "-e", "migrate_rollback_domain=false"), one, other)
    assert tree(tmp_path / "out") == before and begins(image, b"a")
    migrated(one, tmp_path / "out", changed=False)


@pytest.mark.rotates("identity", 15)
def test_a_stage_alone_is_no_way_around_whose_a_directory_is(tmp_path):
    one, other = (vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS))
    migrated(one, tmp_path / "out")
    work, dest = str(tmp_path / "out" / "web01" / ".work"), str(tmp_path / "out" / "web01")
    before = tree(tmp_path / "out")
    for name, more in (
        ("disk_flatten", {}),
        ("guest_fix", {}),
        ("qemu_convert", {"name": "web01", "dest": dest}),
        ("domain_describe", {"name": "web01", "dest": dest}),
        ("boot_test", {"dest": dest}),
        ("migration_report", {"dest": dest}),
        ("libvirt_domain", {"name": "web01", "state": "absent", "libvirt_uri": "test:///default"}),
    ):
        for check in (False, True):
            refused(harness.module(name, check, source=[other], work_dir=work, **more), one, other)
    fetched = harness.module("vmdk_fetch", source=[other], work_dir=str(tmp_path / "w"))["vm"]
    harness.module("disk_flatten", work_dir=str(tmp_path / "w"))
    for name, more in (
        ("qemu_convert", {"work_dir": str(tmp_path / "w"), "name": "web01"}),
        ("disk_flatten", {"work_dir": str(tmp_path / "w"), "mode": "copy"}),
        ("domain_describe", {"name": "web01", "vm": fetched, "disks": []}),
        ("migration_report", {"vm": fetched}),
    ):
        for check in (True, False):
            refused(harness.module(name, check, dest=dest, **more), "belongs to", one, other)
    refused(harness.module("guest_plan", source=[other], dest=f"{dest}/plan.json"), "belongs to", one, other)
    refused(harness.module("migration_report_info", path=f"{dest}/report.json", source=[other]), "belongs to", one, other)
    assert "source" in harness.module("migration_report_info", path=f"{dest}/report.json", source=[one])["report"]
    refused(harness.module("source_restore", work_dir=work, source=[other]), one, other)
    assert tree(tmp_path / "out") == before


@pytest.mark.rotates("identity", 20)
def test_two_vms_of_one_name_at_once(tmp_path):
    sources = {name: vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS)}
    done = migrate(hosts_of(tmp_path, **sources), "-f", "2")
    assert done.returncode != 0, done.stdout
    recap = [line for line in done.stdout.splitlines() if "failed=" in line and "localhost" not in line]
    well = [line.split()[0] for line in recap if "failed=0" in line]
    assert len(recap) == 2 and len(well) == 1, done.stdout
    assert begins(tmp_path / "out" / "web01" / "web01-disk0.qcow2", well[0].encode())
    assert "belongs to" in done.stdout or "Another run is working on" in done.stdout


def test_a_copied_folder_is_refused_until_it_is_said_that_the_vm_moved(tmp_path):
    out = tmp_path / "out"
    one = vmx(tmp_path / "a", UUIDS[0], b"a")
    migrated(one, out)
    subprocess.run(["cp", "-a", tmp_path / "a", tmp_path / "b"], check=True)
    copy = str(tmp_path / "b" / "web01.vmx")
    refused(stages(copy, out), one, copy, "it may be a copy", "migrate_moved")
    migrated(copy, tmp_path / "clones")
    migrated(copy, out, moved=True)
    migrated(copy, out, changed=False)
    refused(stages(one, out), "it may be a copy")


def test_a_renamed_vm_is_the_same_and_more_memory_is_another_migration(tmp_path):
    source = vmx(tmp_path / "a", UUIDS[0], b"a", 'memsize = "512"')
    migrated(source, tmp_path / "out")
    text = Path(source).read_text()
    Path(source).write_text(text.replace('"web01"', '"web01-old"').replace('"512"', '"1024"'))
    migrated(source, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "web01" / "report.json").read_text())["source"]["memory"] == 1024
    assert ">1024</memory>" in (tmp_path / "out" / "web01" / "web01.xml").read_text()


def test_bare_disks_that_were_replaced_under_their_path(tmp_path):
    disk, out = tmp_path / "d.raw", tmp_path / "out"

    def write(content: bytes, size: int) -> None:
        disk.write_bytes(content)
        os.truncate(disk, size)

    write(b"one", 4 * MIB)
    migrated(str(disk), out)
    image = out / "web01" / "web01-disk0.qcow2"
    write(b"two", 4 * MIB)  # the same VM, which has run on
    migrated(str(disk), out)
    assert begins(image, b"two")
    subprocess.run(["qemu-io", "-c", "write -P 1 1M 64k", image], check=True, capture_output=True)  # as a VM does
    write(b"six", 4 * MIB)
    refused(stages(str(disk), out), "no longer as it was made", "migrate_overwrite")
    write(b"another", 5 * MIB)
    before = tree(out)
    refused(stages(str(disk), out), "both the size and the beginning of its first disk are others", "migrate_moved")
    assert tree(out) == before


def of_an_earlier_version(work: Path) -> None:
    """As the first release has left it: nothing remembers its VM."""
    for memory in (*work.parent.glob(".*.vm.json"), work / "vm.json"):
        memory.unlink()
    for path, where in ((work / "fetch.json", "result"), (work.parent / "report.json", "source")):
        data = json.loads(path.read_text())
        del data[where]["identity"]
        path.write_text(json.dumps(data))


def test_what_an_earlier_version_has_left_is_taken_over_by_its_own_source_alone(tmp_path):
    one, other = (vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS))
    out = tmp_path / "out"
    migrated(one, out)
    of_an_earlier_version(out / "web01" / ".work")
    before = tree(out)
    refused(stages(other, out), "made by an earlier version", "migrate_moved")
    (out / "web01" / ".work").rename(tmp_path / "kept")
    refused(stages(other, out), "made by an earlier version", "migrate_moved")
    (tmp_path / "kept").rename(out / "web01" / ".work")
    assert tree(out) == before
    assert stages(one, out).get("changed") is not None
    refused(stages(other, out), "belongs to", one, other)


WAITING = """
- hosts: all
  connection: local
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  gather_facts: false
  tasks:
    - hyper2kvm.migration.vmdk_fetch: {source: "{{ migrate_source }}", work_dir: "{{ migrate_output_dir }}/web01/.work"}
    - ansible.builtin.wait_for: {path: "{{ gate }}", timeout: 120}
    - hyper2kvm.migration.disk_flatten: {work_dir: "{{ migrate_output_dir }}/web01/.work"}
"""


@contextlib.contextmanager
def between_two_stages(hosts: Path, tmp_path: Path):
    """A run that holds no lock of the kernel: it waits between FETCH and FLATTEN, until the file gate is there."""
    book = tmp_path / "waiting.yml"
    book.write_text(WAITING)
    command = [str(harness.BIN / "ansible-playbook"), str(book), "-i", str(hosts), "-e", f"gate={tmp_path / 'gate'}"]
    child = subprocess.Popen(command, cwd=harness.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        memory, deadline = tmp_path / "out" / "web01" / ".work" / "fetch.json", time.monotonic() + 300
        while not memory.exists():
            assert time.monotonic() < deadline and child.poll() is None, child.stdout.read()
            time.sleep(0.1)
        time.sleep(1)
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()


@pytest.mark.rotates("identity", 40)
def test_a_run_between_two_stages_keeps_others_away_and_ends_its_work(tmp_path):
    hosts = hosts_of(tmp_path, web01=vmx(tmp_path / "a", UUIDS[0], b"a"))
    with between_two_stages(hosts, tmp_path) as first:
        refused(migrate(hosts), "Another run is working on", f"process {first.pid} on {socket.gethostname()}, for web01")
        (tmp_path / "gate").touch()
        said = first.stdout.read()
        assert first.wait() == 0, said
    done = migrate(hosts)
    assert done.returncode == 0, done.stdout


@pytest.mark.rotates("identity", 25)
def test_a_run_that_was_killed_between_two_stages_keeps_nobody_away(tmp_path):
    hosts = hosts_of(tmp_path, web01=vmx(tmp_path / "a", UUIDS[0], b"a"))
    with between_two_stages(hosts, tmp_path) as first:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        done = migrate(hosts)
        assert done.returncode == 0, done.stdout


def test_a_failed_run_keeps_nobody_away_and_takes_no_directory(tmp_path):
    one, other = (vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS))
    lock = tmp_path / "a" / "disk.vmdk.lck"
    lock.mkdir()
    (lock / "M1").touch()
    refused(stages(one, tmp_path / "out"), "in use")
    migrated(other, tmp_path / "out")


@pytest.mark.rotates("identity", 10)
@pytest.mark.parametrize("packed", [".tar.gz", ".zip"])
def test_a_packed_vm_is_known_before_and_after_it_is_unpacked(tmp_path, packed):
    vmx(tmp_path / "a", UUIDS[0], b"a")
    vmx(tmp_path / "b", UUIDS[1], b"b")
    archive, out = tmp_path / f"web01{packed}", tmp_path / "out"

    def pack(folder: str) -> None:
        archive.unlink(missing_ok=True)
        zipped = [sys.executable, "-m", "zipfile", "-c", archive, *os.listdir(tmp_path / folder)]
        subprocess.run(["tar", "-czf", archive, "."] if packed == ".tar.gz" else zipped, cwd=tmp_path / folder, check=True)

    pack("a")
    migrated(str(archive), out)
    image = out / "web01" / "web01-disk0.qcow2"
    pack("b")
    refused(stages(str(archive), out), "belongs to", "564d0000-0000-0000-0000-000000000001", "564d0000-0000-0000-0000-000000000002")
    assert begins(image, b"a") and not (out / "web01" / ".work" / "source").exists()
    pack("a")
    assert "changed" in stages(str(archive), out) and begins(image, b"a")


@pytest.mark.rotates("identity", 20)
def test_a_stage_of_the_playbook_alone_takes_no_results_of_another_vm(tmp_path):
    one, other = (vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS))
    migrated(one, tmp_path / "out")
    before = tree(tmp_path / "out")
    for stage in ("convert", "validate"):
        refused(harness.playbook("migrate", hosts_of(tmp_path, b=other), "--tags", stage, "-e", "migrate_boot_test=true"), one, other)
    assert tree(tmp_path / "out") == before


@pytest.mark.rotates("identity", 30)
def test_the_dry_run_of_a_vm_that_moved_says_what_the_run_would(tmp_path):
    migrated(vmx(tmp_path / "a", UUIDS[0], b"a"), tmp_path / "out")
    before = tree(tmp_path / "out")
    (tmp_path / "a").rename(tmp_path / "b")
    hosts = hosts_of(tmp_path, b=str(tmp_path / "b" / "web01.vmx"))
    refused(migrate(hosts, "--check"), "it may be a copy", "migrate_moved")
    done = migrate(hosts, "--check", "-e", "migrate_moved=true")
    assert done.returncode == 0 and tree(tmp_path / "out") == before, done.stdout


@pytest.mark.rotates("identity", 50)
def test_a_dry_run_beside_the_old_place_says_what_the_run_would(tmp_path):
    """The same VM by another path, while what was fetched from the old one still holds."""
    one = vmx(tmp_path / "a", UUIDS[0], b"a")
    migrated(one, tmp_path / "out")
    before = tree(tmp_path / "out")
    other = vmx(tmp_path / "b", UUIDS[0], b"a")
    hosts = hosts_of(tmp_path, b=other)
    refused(migrate(hosts, "--check"), "it may be a copy", "migrate_moved")
    done = migrate(hosts, "--check", "-e", "migrate_moved=true")
    assert done.returncode == 0 and tree(tmp_path / "out") == before, done.stdout
    done = migrate(hosts, "-e", "migrate_moved=true")
    assert done.returncode == 0, done.stdout


@pytest.mark.rotates("identity", 20)
@pytest.mark.parametrize("stage", ["flatten", "convert"])
def test_a_dry_stage_alone_takes_no_work_directory_of_another_vm(tmp_path, stage):
    """Also where the source of the other one has changed, so that what was fetched of it holds no more."""
    one, other = (vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS))
    migrated(one, tmp_path / "out")
    before = tree(tmp_path / "out")
    for dummy in range(2):
        refused(harness.playbook("migrate", hosts_of(tmp_path, b=other), "--check", "--tags", stage), one, other)
        (tmp_path / "a" / "disk-flat.vmdk").write_bytes(bytes(4 * MIB))
    assert tree(tmp_path / "out") == before


@pytest.mark.rotates("identity", 50)
def test_a_plan_is_not_replaced_by_that_of_another_vm(tmp_path):
    one, other = (vmx(tmp_path / name, uuid, name.encode()) for name, uuid in zip("ab", UUIDS))
    dest = tmp_path / "new" / "web01" / "plan.json"
    assert harness.module("guest_plan", source=[one], dest=str(dest))["changed"] and dest.stat().st_mode & 0o777 == 0o600
    before = tree(tmp_path / "new")
    for check in (True, False):
        refused(harness.module("guest_plan", check, source=[other], dest=str(dest)), "The plan", "belongs to", one, other)
    assert tree(tmp_path / "new") == before
    assert harness.module("guest_plan", source=[other], dest=str(dest.with_name("other.json")))["changed"]

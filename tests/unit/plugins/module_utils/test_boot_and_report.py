# SPDX-License-Identifier: GPL-3.0-or-later
"""Console signals, the qemu command, verdicts, the report, guest space, accepted concerns, and that the documents know every code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import reports
from fixtures import facts, guest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot import qemu, runner
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import BootNic, BootRequest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.signals import PATTERNS, Console
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import BLOCKER, WARNING, Concern
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Blocked, MissingTool, NotEnoughSpace, ProofFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine, Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import of_today
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.proof import Check, Proof
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import boot_test, record, repair, report, reporting
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.record import Migration, Repaired
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.stage import Run, carry_out
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import refuse
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import qemu_arguments

ROOT = Path(__file__).resolve().parents[4]
FAULTS = {
    "no_boot_device": "No bootable device.",
    "grub_rescue": "error: no such device: 1234.\ngrub rescue> ",
    "initramfs_shell": "Dropping to a shell!\n\nBusyBox v1.35\n(initramfs) ",
    "panic": "[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs",
    "emergency": "You are in emergency mode. After logging in, type",
    "device_wait": "[ ***  ] Job dev-sda2.device/start running (3min / no limit)",
    "halted": "[  136.7] dracut: FATAL: FIPS integrity test failed\n[  136.8] dracut: Refusing to continue\n",
    "resume_wait": "Gave up waiting for suspend/resume device",
    "device_timeout": "[ TIME ] Timed out waiting for device /dev/disk/by-path/x.",
    "mount_failed": "[FAILED] Failed to mount /srv.",
}


def console(*texts, expect=()):
    made = Console(expect)
    for second, text in enumerate(texts):
        made.feed(text.encode(), float(second))
    return made


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_recognised_and_named(name):
    fault = console("Linux version 6.1\r\n", FAULTS[name]).fault()
    assert fault.name == name and fault.cause


@pytest.mark.parametrize(
    "said", ["[  140.0] reboot: System halted", "dracut-pre-mount[447]: Refusing to continue", "dracut: FATAL: No root device"]
)
def test_a_guest_that_stops_by_itself_is_not_waited_for(said):
    """Words of kernel_halt() in kernel/reboot.c, and of die() in dracut-lib.sh."""
    assert console(f"{said}\n").fault().name == "halted"


def test_a_device_that_a_slow_machine_finds_after_a_minute_is_no_fault():
    """As dracut says while it tests its ciphers (fips=1), before udev has started; two minutes are."""
    assert console("[ *** ] Job dev-vda1.device/start running (1min 1s / no limit)\n").fault() is None
    assert console("[ *** ] Job dev-vda1.device/start running (12min 1s / no limit)\n").fault().name == "device_wait"


def test_every_fault_has_an_example():
    assert set(FAULTS) == {pattern.name for pattern in PATTERNS if pattern.fatal or pattern.broken}


def test_a_signal_split_over_two_reads_and_coloured_is_recognised():
    assert "login" in console("\x1b[0;1mweb01 lo", "gin: ").seen


def test_a_login_prompt_in_the_middle_of_a_line_is_none():
    assert "login" not in console("last login: never, said web01 login: now\n").seen


def judge(made, network, request=None, left=()):
    return runner._judge(request or BootRequest((("x", "raw"),)), made, network, dict(left))


def test_verdicts():
    login = "web01 login: "
    assert judge(console(login), "ssh") == ("passed", "")
    assert judge(console(), "ssh")[0] == "passed"  # no serial console, but it answers
    assert judge(console(login), None) == ("failed", "the guest is up but did not answer on the network (no SSH banner, no guest agent)")
    assert judge(console(login), None, BootRequest((("x", "raw"),), network="none")) == ("passed", "")
    assert judge(console(FAULTS["device_timeout"], login), "ssh")[0] == "failed"
    assert "last thing seen was: kernel" in judge(console("Linux version 6.1"), None)[1]
    assert "never showed" in judge(console(login, expect=("READY",)), "ssh")[1]
    assert judge(console(login, "READY", expect=("READY",)), "ssh")[0] == "passed"
    assert judge(console(login), "ssh", left={"port 80": "nothing answers"}) == ("failed", "port 80: nothing answers")


def test_the_result_is_never_written_and_every_card_keeps_its_mac(tmp_path):
    argv = qemu.command(
        BootRequest((("/a,b", "qcow2"), ("/c", "raw")), nics=(BootNic("00:50:56:00:00:01"), BootNic("00:50:56:00:00:02")), boot_disk=1),
        "tcg",
        str(tmp_path),
        {22: (2222, 2223)},
    )
    drives = [word for word in argv if word.startswith("if=none")]
    assert len(drives) == 2 and all("snapshot=on" in drive and "format=" in drive for drive in drives) and "file=/a,,b," in drives[0]
    assert [word for word in argv if "mac=00:50:56" in word and word.startswith("virtio-net-pci")].__len__() == 2
    assert [word.rsplit(":", 2)[1] for word in argv if "hostfwd" in word] == ["2222-", "2223-"] and all(
        "restrict=on" in word for word in argv if word.startswith("user,")
    )


def test_uefi_gets_private_variables_or_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "code").write_bytes(b"c")
    (tmp_path / "vars").write_bytes(b"v")
    monkeypatch.setattr(qemu_arguments, "_OVMF", ((str(tmp_path / "code"), str(tmp_path / "vars")),))
    argv = qemu.command(BootRequest((), firmware="uefi"), "kvm", str(tmp_path), {22: (1,)})
    assert any(f"file={tmp_path}/vars.fd" in word for word in argv) and any("readonly=on" in word for word in argv)
    monkeypatch.setattr(qemu_arguments, "_OVMF", ())
    with pytest.raises(MissingTool, match="ovmf"):
        qemu.firmware_files()


def test_the_report_says_the_same_twice_and_is_readable():
    made = guest()
    plan = make_plan(made, facts(made), Options())
    result = repair.GuestReport(facts(made), plan, Proof((Check("a", True, "b"),))).as_result()
    vm = {"name": "web01", "kind": "vmx", "disks": [{}]}
    disks = [
        {
            "path": "/o/web01-disk0.qcow2",
            "format": "qcow2",
            "virtual_size": 1 << 30,
            "allocated": 1 << 20,
            "sha256": "ab",
            "bytes_read": 5,
            "bytes_written": 6,
        }
    ]
    boot = {"verdict": "passed", "signals": {"login": 3.0, "kernel": 1.0}, "screenshot": "/o/console.png"}
    data = reports.written(vm, result, disks, boot)
    done = from_data(Migration, data, "report")
    assert done.timings.convert == (None,) and done.bytes_read == 5 and done.tools
    text = report.as_markdown(done)
    assert report.as_json(data) == report.as_json(json.loads(report.as_json(data)))
    assert text == report.as_markdown(from_data(Migration, json.loads(report.as_json(data)), "report"))
    assert "**Migrated, proved and booted.**" in text and "+UUID=" in text and "kernel after 1.0 s\n- login after 3.0 s" in text
    assert f"## What was changed ({len(done.changes)} changes)\n" in text
    assert {
        "vm",
        "source",
        "disks",
        "facts",
        "concerns",
        "changes",
        "proof",
        "boot",
        "timings",
        "bytes_read",
        "bytes_written",
        "tools",
    } <= set(data)


GIVEN = {"proof": {"verdict": "passed", "checks": []}, "summary": {"append": 1, "write": 6}}
AHEAD = {
    "proved": (GIVEN, {}, "7 changes would be made to the guest; it is proved to boot."),
    "accepted although the proof fails": (
        {"proof": {"verdict": "failed"}, "summary": {"write": 1}},
        {},
        "1 change would be made to the guest; the proof that it boots fails.",
    ),
    "neither Linux nor Windows": ({"proof": None, "summary": {}}, {}, "0 changes would be made to the guest; nothing proves that it boots."),
    "an older answer": ({"changes": [{"kind": "write", "path": "/x", "reason": ""}]}, {}, "1 change would be made to the guest; nothing proves that it boots."),
    "repaired by an earlier run": ({}, GIVEN, "The guest is repaired already; it is proved to boot."),
    "repaired otherwise before": ({"proof": None, "summary": {"write": 2}}, GIVEN, "2 changes would be made to the guest; nothing proves that it boots."),
    "without FIX": ({}, {}, "The guest was not looked into: what would change, and whether it would boot, is not known."),
}  # fmt: skip


@pytest.mark.parametrize("name", AHEAD)
def test_a_dry_run_says_how_many_changes_there_would_be_and_whether_the_guest_boots_then(name):
    planned, earlier, said = AHEAD[name]
    read = [from_data(Repaired, of_today(one), "guest") if one else None for one in (planned, earlier)]
    assert report.verdict_ahead(*read) == f"Dry run: nothing was written. {said}"


def test_a_dry_report_is_of_what_the_dry_repair_has_answered(tmp_path):
    wanted = reporting.ReportOptions(
        str(tmp_path / "out"), name="web01", vm=VmSaid(Machine("web01", kind="vmx")), guest=from_data(Repaired, GIVEN, "guest")
    )
    assert "7 changes" in carry_out(reporting.Report(wanted), Run(check=True))["verdict"] and not (tmp_path / "out").exists()


def concern(severity, code="a.b"):
    return Plan((), (Concern(code, severity, "Cause.", "Remedy."),))


def test_a_blocker_stops_unless_its_code_is_accepted():
    with pytest.raises(Blocked, match=r"Cause\..*Remedy\..*a\.b"):
        repair.refuse_blockers(concern(BLOCKER), ())
    repair.refuse_blockers(concern(BLOCKER), ("a.b",))
    repair.refuse_blockers(concern(WARNING), ())


def test_a_remedy_is_said_once_and_every_code_with_it():
    stops = (
        Concern("b.b", BLOCKER, "One.", "Remedy."),
        Concern("a.a", BLOCKER, "Two.", "Remedy."),
        Concern("b.b", BLOCKER, "Three.", "Other."),
    )
    with pytest.raises(Blocked) as guests:
        repair.refuse_blockers(Plan((), stops), ())
    with pytest.raises(Blocked) as sources:
        refuse(stops, (), "web01")
    assert guests.value.hint == sources.value.hint == "Remedy. Other. Or migrate all the same (migrate_accept: [a.a, b.b])."
    assert all(cause in guests.value.msg and cause in sources.value.msg for cause in ("One.", "Two.", "Three."))


def test_a_proof_that_fails_stops_unless_accepted_and_says_what_was_carried_out():
    failed, plan = Proof((Check("kernel.image", False, "gone"),)), concern(WARNING)
    with pytest.raises(ProofFailed, match=r"kernel\.image: gone") as met:
        repair.require_proof(failed, (), plan)
    assert Plan.from_json(met.value.plan.encode(), KINDS).concerns == plan.concerns
    kept = met.value.kept("/w/plan-refused.json")
    assert "is in /w/plan-refused.json." in kept.hint and met.value.hint in kept.hint and kept.msg == met.value.msg
    assert kept.details == {"failures": ["kernel.image"], "plan_file": "/w/plan-refused.json"} and "a.b" not in str(kept.as_result())
    repair.require_proof(failed, ("proof.failed",), plan)
    with pytest.raises(ProofFailed):
        repair.require_proof(Proof(()), (), plan)


@pytest.mark.parametrize(("free", "inodes"), [(1 << 20, -1), (1 << 30, 50)])
def test_a_full_guest_is_noticed_before_anything_is_written(free, inodes):
    made = guest()
    made.free = lambda path: (free, inodes)
    plan = make_plan(made, facts(made), Options())
    with pytest.raises(NotEnoughSpace, match="the repair needs"):
        repair.check_space(made, facts(made), plan)
    made.free = lambda path: (1 << 30, -1)
    repair.check_space(made, facts(made), plan)


STATICS = {
    ("10.1.2.3/24", "10.1.2.1"): ",net=10.1.2.0/24,host=10.1.2.1,dns=10.1.2.2,dhcpstart=10.1.2.3,hostfwd=tcp:127.0.0.1:2222-10.1.2.3:22",
    ("10.1.2.3/24", ""): ",net=10.1.2.0/24,host=10.1.2.1,dns=10.1.2.2,dhcpstart=10.1.2.3,hostfwd=tcp:127.0.0.1:2222-10.1.2.3:22",
    ("10.1.2.1/29", "fe80::1"): ",net=10.1.2.0/29,host=10.1.2.2,dns=10.1.2.3,dhcpstart=10.1.2.1,hostfwd=tcp:127.0.0.1:2222-10.1.2.1:22",
    ("10.1.2.3/31", ""): ",hostfwd=tcp:127.0.0.1:2222-:22",
    ("fd00::1/64", ""): ",hostfwd=tcp:127.0.0.1:2222-:22",
    ("", ""): ",hostfwd=tcp:127.0.0.1:2222-:22",
}


@pytest.mark.parametrize("given", STATICS)
def test_a_static_address_is_reached_in_its_own_network(given, tmp_path):
    argv = qemu.command(BootRequest((), nics=(BootNic("00:50:56:00:00:01", *given),)), "tcg", str(tmp_path), {22: (2222,)})
    assert argv[argv.index("-netdev") + 1] == f"user,id=net0,restrict=on{STATICS[given]}"


def test_the_boot_disk_comes_first_and_old_kernels_get_sata(tmp_path):
    disks = tuple((f"/d{number}", "raw") for number in range(8))
    argv = qemu.command(BootRequest(disks, boot_disk=2, disk_bus="sata", nic_model="e1000e"), "tcg", str(tmp_path), {22: (1,)})
    drives = [word for word in argv if word.startswith("ide-hd")]
    assert "bootindex=1" in drives[2] and sum(",bootindex=1" in word + "," and word.endswith("bootindex=1") for word in drives) == 1
    assert (
        "bus=ahci6.1" in drives[7] and any(word.startswith("e1000e,") for word in argv) and not any("virtio-blk" in word for word in argv)
    )


def test_a_passphrase_is_typed_when_it_is_asked_for():
    made = console("Please unlock disk sda2_crypt: ")
    assert "passphrase" in made.seen and made.answer(("one", "two")) == "one" and made.answer(("one", "two")) is None
    made.feed(b"\r\ncryptsetup: ERROR: bad password\r\nPlease unlock disk sda2_crypt: ", 2.0)
    assert made.answer(("one", "two")) == "two" and made.answer(()) is None
    made.feed(b"\r\nset up successfully\r\n", 3.0)
    assert made.answer(("one",)) is None
    assert "waits for the passphrase" in judge(console("Please enter passphrase for disk x: "), None)[1]


def test_an_initramfs_that_waits_for_ever_is_the_last_thing_seen():
    said = "dracut-initqueue[269]: Warning: dracut-initqueue: timeout, still waiting for following initqueue hooks:"
    assert "last thing seen was: initqueue_wait" in judge(console("Linux version 6.1", said), None)[1]


def test_the_cards_of_the_test_are_in_the_order_of_the_description(monkeypatch, tmp_path):
    """A guest with net.ifnames=0 counts its cards: the slots of VMware 224 and 192 are bridges 7 and 6, so that the second is eth0."""
    macs = ("00:50:56:00:00:01", "00:50:56:00:00:02")
    nics = tuple(Nic(made, slot=slot) for made, slot in zip(macs, (224, 192)))
    vm = VmSaid(replace(VmSaid().machine, nics=nics))
    monkeypatch.setattr(record, "known", lambda dummy: record.Known(vm))
    request = BootRequest((("x", "raw"),), nics=tuple(map(BootNic, macs)))

    def tested(work_dir):
        stage = boot_test.BootTest(boot_test.BootTestOptions(str(tmp_path), boot_test.Subject(work_dir), request))
        return [nic.mac for nic in stage._request.nics]

    assert tested("/work") == [macs[1], macs[0]] and tested("") == list(macs)

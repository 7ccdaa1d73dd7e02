# SPDX-License-Identifier: GPL-3.0-or-later
"""What is secret in a guest is in the plan on the conversion host, and in nothing that leaves it; and what leaves it is short and inert."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
import reports
from fixtures import facts, guest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import markdown
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.bounded import bounded, size
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import WARNING, Concern
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, StalePlan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import diffs, secrets
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.run import RunCommand
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.proof import Check, Proof
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import runtime
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import repair, report
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repaired import load_plan, of_record
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import libvirt_xml, qemu_script
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.domain import Domain
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import fleet
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.edit_hive import EditHive, RegistryEdit

MARK = "mArKeR-7f3a"

# Where it is, its text, and its mode: nothing of such a file is shown.
WHOLE = {
    "a key that only root reads": ("/etc/app/key.conf", f"[key]\nvalue {MARK}\n", 0o600),
    "one that a group reads": ("/etc/app/key.conf", f"value {MARK}\n", 0o640),
    "a keyfile of NetworkManager that everybody reads": (
        "/etc/NetworkManager/system-connections/wlan.nmconnection",
        f"[wifi-security]\npsk={MARK}\n",
        0o644,
    ),
    "wpa_supplicant": ("/etc/wpa_supplicant/wpa_supplicant-wlan0.conf", f'network={{\n psk="{MARK}"\n}}\n', 0o644),
    "802.1X": ("/etc/wpa_supplicant.conf", f'password="{MARK}"\n', 0o644),
    "netplan with a password": ("/etc/netplan/50.yaml", f"network:\n  wifis:\n    w:\n      password: {MARK}\n", 0o644),
    "netplan with a block": ("/etc/netplan/50.yaml", f"network:\n  auth:\n    password: |\n      {MARK}\n", 0o644),
    "ifcfg with a key": ("/etc/sysconfig/network-scripts/keys-wlan0", f"KEY1={MARK}\n", 0o644),
    "ifupdown": ("/etc/network/interfaces", f"iface wlan0 inet dhcp\n  wpa-psk {MARK}\n", 0o644),
    "user data": ("/var/lib/cloud/seed/nocloud/user-data", f"chpasswd: {{list: [root:{MARK}]}}\n", 0o644),
    "shadow": ("/etc/shadow", f"root:{MARK}:1:\n", 0o644),
    "a host key": ("/etc/ssh/ssh_host_ed25519_key", f"{MARK}\n", 0o644),
    "a user's key": ("/home/ops/.ssh/id_rsa", f"{MARK}\n", 0o644),
    "a key of crypttab": ("/etc/cryptsetup-keys.d/luks.key", f"{MARK}\n", 0o644),
    "WireGuard": ("/etc/wireguard/wg0.conf", f"PrivateKey = {MARK}\n", 0o644),
    "PPP": ("/etc/ppp/chap-secrets", f"u * {MARK} *\n", 0o644),
    "unattend": ("/Windows/Panther/unattend.xml", f"<Password><Value>{MARK}</Value></Password>\n", 0o777),
    "iwd": ("/var/lib/iwd/home.psk", f"Passphrase={MARK}\n", 0o644),
    "a menu with a password that root alone reads": ("/boot/grub2/grub.cfg", f"password_pbkdf2 root {MARK}\n", 0o600),
}

# What everybody in the guest may read is shown, without its secrets.
PARTS = {
    "a share in fstab": ("/etc/fstab", f"//srv/x /mnt cifs username=u,password={MARK},uid=0 0 0\n", "username=u"),
    "a quoted value": ("/etc/default/x", f'A=1\nAPI_KEY="{MARK} {MARK}"\n', "A=1"),
    "a value with blanks": ("/etc/x.ini", f"name = a\npassphrase = {MARK} {MARK}\n", "name = a"),
    "a repository": ("/etc/apt/sources.list", f"deb https://user:{MARK}@repo.example.com/ x\n", "repo.example.com"),
    "iSCSI on the command line": ("/boot/loader/entries/a.conf", f"options root=UUID=1 netroot=iscsi:u:{MARK}@192.0.2.1::3260::iqn quiet\n", "quiet"),
    "dracut's password": ("/etc/default/grub", f'GRUB_CMDLINE_LINUX="rd.iscsi.password={MARK} quiet"\n', "quiet"),
    "GRUB's password": ("/boot/grub/grub.cfg", f"set timeout=5\npassword_pbkdf2 root grub.{MARK}\n", "timeout=5"),
    "GRUB legacy's": ("/boot/grub/menu.lst", f"timeout 5\npassword --md5 $1${MARK}\n", "timeout 5"),
    "a unit's environment": ("/etc/systemd/system/x.service", f"ExecStart=/x\nEnvironment=DB_PASSWORD={MARK}\n", "ExecStart"),
    "a short word of YAML": ("/etc/app.yml", f"user: a\ndb:\n  - pass: {MARK} {MARK}\n", "user: a"),
    "a setting of YAML": ("/etc/app.yml", f"user: a\ntoken: {MARK} {MARK}\n", "user: a"),
}  # fmt: skip


def planned(path, text, mode=0o644, extra="# more\n"):
    made = MemoryGuest({path: text})
    made.modes[path] = mode
    return made, Plan((WriteFile(path, text, text + extra, "for a test"),)).guarded(made)


def leaving(plan, **more):
    """Everything that a module returns and the report shows."""
    record = repair.GuestReport(facts(guest()), plan, **more).as_result()
    data = reports.written({"name": "vm"}, record)
    told = {"result": of_record(record, "/p"), "diff": plan.diff(), "plan": plan.shown().as_data(), "report": data}
    return json.dumps(told) + reports.page(data)


@pytest.mark.parametrize("name", WHOLE)
def test_a_secret_file_is_shown_by_digest_and_length(name):
    path, text, mode = WHOLE[name]
    made, plan = planned(path, text, mode)
    told = leaving(plan)
    lines = {line.strip() for line in text.splitlines() if len(line.strip()) > 8}
    assert MARK not in told and not any(json.dumps(line)[1:-1] in told for line in lines)
    assert secrets.digest(text.encode()) in told and f"({len(text)} bytes)" in told and path in told
    before = dict(made.files)
    saved = Plan.from_data(json.loads(plan.text()), KINDS)
    assert saved == plan and saved.id == plan.shown().id
    outcome = apply(made, saved)
    kept = made.files[f"{outcome.backup}/plan.json"]
    assert MARK not in kept.decode() and made.files[path].decode() == text + "# more\n"
    undo(made, Plan.from_data(json.loads(kept), KINDS))
    assert made.files == before


@pytest.mark.parametrize("name", PARTS)
def test_what_all_may_read_is_shown_without_its_secrets(name):
    path, text, still = PARTS[name]
    dummy, plan = planned(path, text)
    told = leaving(plan)
    assert MARK not in told and not plan.changes[0].secret
    assert still in told or still.encode("unicode_escape").decode() in told
    assert MARK in plan.text()


def test_what_has_no_secret_is_shown_as_it_is():
    dummy, plan = planned("/etc/netplan/50.yaml", "network:\n  ethernets:\n    ens192: {dhcp4: true}\n")
    assert "+# more" in plan.diff()[0]["prepared"] and plan.shown() == plan


@pytest.mark.parametrize(
    "line",
    [
        'for /f "tokens=1 delims=," %%a in (x) do echo',
        "Give the passphrase, or accept luks.locked.",
        "A transfer broke off in a way that may pass: a cut connection",
        "rd.luks.key=/etc/keys/a",
        "secrets are kept elsewhere",
        "ssh-ed25519 AAAA key=1",
        "PasswordAuthentication no",
    ],
)
def test_words_that_only_look_like_secrets_are_shown(line):
    assert secrets.masked(line) == line


def test_a_closed_directory_makes_a_secret_and_a_link_is_looked_behind():
    made = MemoryGuest(
        {"/srv/closed": Stat("dir", mode=0o700), "/srv/closed/x": "a\n", "/etc/x": Stat("link", target="/srv/real"), "/srv/real": "b\n"}
    )
    made.modes["/srv/real"] = 0o600
    assert secrets.in_guest(made, "/srv/closed/x", 0o644) and secrets.in_guest(made, "/etc/x", 0o644)
    assert secrets.in_guest(made, "/etc/new", 0o600) and not secrets.in_guest(made, "/etc/new", 0o644)


def test_a_plan_without_its_secrets_is_refused_and_changes_nothing():
    made, plan = planned("/etc/key", f"{MARK}\n", 0o600)
    before = dict(made.files)
    with pytest.raises(InvalidInput, match="does not hold what is secret in /etc/key"):
        apply(made, plan.shown())
    made.files["/etc/key"] = b"another\n"
    with pytest.raises(StalePlan):
        apply(made, plan)
    assert set(made.files) == set(before)


def test_a_secret_that_somebody_changed_since_is_not_taken_back():
    made, plan = planned("/etc/key", f"{MARK}\n", 0o600)
    kept = json.loads(made.files[f"{apply(made, plan).backup}/plan.json"])
    made.files["/etc/key"] = b"by hand\n"
    with pytest.raises(StalePlan):
        undo(made, Plan.from_data(kept, KINDS))


def test_a_plan_of_0_1_0_is_taken_back():
    made, plan = planned("/etc/key", f"{MARK}\n", 0o600)
    outcome = apply(made, plan)
    old = plan.as_data()
    del old["changes"][0]["sealed"]
    old["changes"][0]["after"] = secrets.digest(plan.changes[0].after.encode()).split()[0]
    earlier = Plan.from_data(old, KINDS)
    made.files = {path.replace(outcome.backup, f"/var/lib/hyper2kvm/{earlier.id}"): data for path, data in made.files.items()}
    undo(made, earlier)
    assert made.files["/etc/key"].decode() == f"{MARK}\n"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (r"Microsoft\Windows NT\CurrentVersion\Winlogon", "DefaultPassword"),
        (r"Microsoft\Windows NT\CurrentVersion\Winlogon", "AltDefaultPassword"),
        (r"Policy\Secrets\x", ""),
        (r"SAM\Domains", "V"),
        (r"ORL\WinVNC3", "x"),
        (r"RealVNC\WinVNC4", "Password"),
        (r"Services\SNMP\Parameters\ValidCommunities", MARK[:4]),
        ("x", "ProductKey"),
        ("x", "ApiToken"),
    ],
)
def test_a_secret_of_the_registry_is_not_shown(key, name):
    content = MARK.encode("utf-16-le").hex()
    plan = Plan((EditHive("/s", "0", (), (RegistryEdit(key, name, 1, f"1:{content}", content + "0000"),), "why"),))
    told = leaving(plan)
    assert MARK not in told and content not in told and "sha256:" in told and content in plan.text()
    with pytest.raises(InvalidInput, match="does not hold"):
        apply(MemoryGuest({}), plan.shown())


def test_other_values_of_the_registry_are_shown():
    edit = RegistryEdit("Services\\viostor", "ImagePath", 1, None, "a.sys".encode("utf-16-le").hex())
    assert '+ImagePath = "a.sys"' in EditHive("/s", "0", (), (edit,), "why").diff() and edit.seal() == edit
    command = RegistryEdit("Run", "x", 1, None, f"a.exe password={MARK}".encode("utf-16-le").hex())
    assert MARK not in command.diff() and command.seal() != command


def test_what_is_said_of_a_guest_holds_no_secrets():
    line = f"//srv/x /mnt cifs password={MARK},uid=0"
    plan = Plan((RunCommand(("/x", f"--token={MARK}"), (), "why"),), (Concern("a.b", WARNING, line, line),))
    told = leaving(plan, proof=Proof((Check("a", False, line),)), output=(line, f"https://u:{MARK}@x"))
    assert MARK not in told and "//srv/x" in told
    with pytest.raises(InvalidInput, match="does not hold"):
        apply(MemoryGuest({"/x": ""}), plan.shown())


def test_what_a_guest_writes_does_not_make_masking_slow():
    begin = time.monotonic()
    for text in ("x" * 3000000, "pass" * 700000, "password" + " " * 900000, "a://" * 300000, "iscsi:" * 300000, "password=\"" * 200000,
                 ("a" * 64 + "pass") * 200 + "\n", "password: \n" * 100000, "-" * 1000000, ("key" * 5000 + "\n") * 100):  # fmt: skip
        secrets.masked(text)
    assert time.monotonic() - begin < 20


# -- what leaves is short --


def test_a_plan_of_hundreds_of_files_is_a_short_result_and_says_what_is_cut():
    made = guest()
    plan = make_plan(made, facts(made), Options())
    many = tuple(WriteFile(f"/etc/{number}", "a\n" * 500, "b\n" * 500, f"reason {number}") for number in range(600))
    concerns = tuple(Concern(f"a.{number}", WARNING, "Cause. " * 40, "Remedy.") for number in range(200))
    proof = Proof(tuple(Check(f"c{number}", True, "detail " * 20) for number in range(300)))
    found = repair.GuestReport(facts(made), Plan((*plan.changes, *many), concerns), proof, ("line\n" * 2000,) * 50)
    record = found.as_result()
    answer = runtime.within(of_record(record, "/w/plan.json"))
    assert size(record) > 200_000 and size(answer) <= runtime.LONGEST
    assert answer["summary"]["write"] >= 600 and answer["plan_digest"] == found.plan.digest and answer["plan_file"] == "/w/plan.json"
    assert answer["cut"]["changes"] == f"{len(record['changes'])} in all" and answer["concerns"] and answer["changes"]
    assert not any("diff" in change for change in answer["changes"])
    assert sum(len(item["prepared"]) for item in found.plan.diff()) <= diffs.LONGEST_TOGETHER + diffs.LONGEST


def test_a_short_result_is_left_alone_and_a_long_one_is_cut_where_it_hurts_least():
    assert bounded({"a": [1, 2], "b": {"c": "x"}}, 1000) == {"a": [1, 2], "b": {"c": "x"}}
    found = bounded({"nics": [{"mac": "x"}] * 10, "disks": [{"path": "p", "files": ["f" * 50] * 100}] * 3, "log": list(range(500))}, 1500)
    assert len(found["nics"]) == 10 and len(found["disks"]) == 3 and found["log"][-1] == 499 and set(found["cut"]) == {"disks.files", "log"}
    assert size(bounded({"text": "x" * 100_000, "signals": {str(number): number for number in range(5000)}}, 3000)) < 3000


def test_each_of_many_vms_is_short_and_none_is_lost():
    vm = {"name": "x", "disks": [{"files": ["f" * 100] * 500}]}
    answer = runtime.within({"changed": False, "vms": [vm] * 40})
    assert len(answer["vms"]) == 40 and all(size(one) <= runtime.LONGEST and one["cut"] for one in answer["vms"])


def test_diffs_are_cut_each_and_together_at_the_end_of_a_line():
    kept = diffs.cut(["+line\n" * 10_000] * 20 + ["+short\n"])
    assert all(len(diff) <= diffs.LONGEST + 100 for diff in kept) and sum(map(len, kept)) <= diffs.LONGEST_TOGETHER + diffs.LONGEST
    assert kept[0].endswith("+line\n(10000 lines in all; the rest is in the plan)\n") and diffs.cut(["a", "b"]) == ["a", "b"]


def test_a_file_that_is_too_long_to_be_read_is_shown_as_a_secret_is():
    change = WriteFile("/etc/fstab", "password = x\n" * 2_000_000, "y\n", "why")
    begin = time.monotonic()
    assert "bytes)" in change.diff() and len(change.diff()) < 400 and Plan((change,)).shown().changes[0].sealed
    assert time.monotonic() - begin < 5


def test_a_saved_plan_is_the_one_that_was_reviewed(tmp_path):
    plan = planned("/etc/key", f"{MARK}\n", 0o600)[1]
    (tmp_path / "plan.json").write_text(plan.text())
    assert load_plan(str(tmp_path / "plan.json"), plan.digest.upper()) == plan
    with pytest.raises(InvalidInput, match="digest differs"):
        load_plan(str(tmp_path / "plan.json"), "0" * 64)
    for text in ("", "[]", "{", "[" * 100_000, '{"format": 9}', "\xff"):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(InvalidInput, match="plan"):
            load_plan(str(tmp_path / "plan.json"))


# -- what leaves is inert --

HOSTILE = [
    "a|b", "`rm`", "``` x", "[x](javascript:alert(1))", "![x](https://example.com/p.png)", "<img src=x onerror=alert(1)>", "a\n# heading", "a\r\n\r\n| x |",
    "<!-- x", "</details>", "*bold*", "_it_", "~~no~~", "\\`x\\`", "&lt;script&gt;", "[ref]: javascript:1", "\x1b[2J\x1b[1;31mX", "a\u202eb", "x\u2028y",
    "a`b``c```d", "https://u:p@example.com", "<javascript:1>", "\x00", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("value", [value for value in HOSTILE if value != "\ud800"])  # which no record may hold
def test_text_from_outside_is_no_markup_in_the_report(value):
    hostile = replace(facts(guest()), product=value, hostname=value)
    record = repair.GuestReport(
        hostile,
        Plan(
            (WriteFile("/x", None, f"{value}\n```\n# out\n", value), *planned("/y", "y\n")[1].changes),
            (Concern("a.b", WARNING, value, value),),
        ),
        Proof((Check(value, True, value),)),
    ).as_result()
    vm = {"name": value, "kind": value, "disks": []}
    data = reports.written(vm, record, boot={"cause": value, "signals": {value: 1}})
    text = reports.page(json.loads(report.as_json(data)))
    plain = reports.page(reports.written({**vm, "name": "n"}, record))
    outside, fence = [], ""
    for line in text.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if not fence and len(ticks) > 2:
            fence = ticks
        elif fence and line == fence:
            fence = ""
        elif not fence:
            outside.append(line)
    assert not fence and plain.count("\n## ") == text.count("\n## ") == 7
    assert [line for line in outside if line.startswith("# ")] == [outside[0]] and not any(line == "# out" for line in outside)
    assert not any(markup in line for line in outside for markup in ("<img", "<script", "<!--", "</", "\x1b", "\u202e", "\x00"))
    assert not any(re.search(r"(?<!\\)\]\(", line) for line in outside)
    assert all(line.count("|") - line.count("\\|") == 6 for line in outside if line.startswith("|"))


@pytest.mark.parametrize("value", HOSTILE)
def test_code_ends_where_it_should(value):
    made = markdown.code(value)
    fence = made[: len(made) - len(made.lstrip("`"))]
    assert made.endswith(fence) and fence not in made[len(fence) : -len(fence)].replace(f"`{fence}", "").strip("`") and "\n" not in made


@pytest.mark.parametrize(
    "value",
    ["=cmd|'/c calc'!A1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "a;=cmd()", "a,=1", '"=1', "'=1", "\uff1d1", "\n=1", "x\n=1", "a;\t@y"],
)
def test_no_cell_is_a_formula(value):
    row = fleet.Row(**{**dict.fromkeys(fleet.COLUMNS, 1), "vm": value})
    line = fleet.as_csv([row]).splitlines()
    assert len(line) == 2
    for cell in line[1].replace('""', "").replace('"', "").replace(",", ";").split(";"):
        assert cell.strip(" ")[:1] not in tuple("=+@\t\uff1d") and cell.strip()[:1] != "-"


@pytest.mark.parametrize("value", ["a\x00", "a\x01b", "a\nb", "a\x1b", "a\ufffe", "a\ud800", "a\x7f", "a\x85", "a\tb"])
def test_what_xml_cannot_hold_is_refused(value):
    for domain in (Domain(value, ()), Domain("a", (), (Nic(None, value),)), Domain("a", (("/" + value, "raw"),))):
        with pytest.raises(InvalidInput, match="cannot be written") as refused:
            libvirt_xml.FORMAT.text(domain)
        assert "migrate_name" in refused.value.hint


@pytest.mark.parametrize("value", ["a<b>&\"'", "a]]>b", "ä", "<!ENTITY x>", "$(x)"])
def test_what_xml_can_hold_is_text(value):
    from xml.etree import ElementTree

    assert ElementTree.fromstring(libvirt_xml.FORMAT.text(Domain(value, ()))).findtext("name") == value


@pytest.mark.parametrize(
    "value",
    ["$(touch /tmp/x)", "`x`", "a'b", 'a"b', "a;b", "a b", "-x", "a,debug-threads=on", "$HOME", "a\\b", "a&b", "*", "~", "!x", "a|b"],
)
def test_the_script_takes_names_as_they_are(tmp_path, value):
    """The shell itself says what qemu would be told."""
    import subprocess

    path = tmp_path / "vm.sh"
    path.write_text(qemu_script.FORMAT.text(Domain(value, ((f"/d/{value}", "raw"),), (Nic(None, f"bridge:{value}"),))))
    (tmp_path / "qemu-system-x86_64").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "qemu-system-x86_64").chmod(0o755)
    told = subprocess.run(["sh", path], env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/h"}, capture_output=True, text=True, check=True)
    doubled = value.replace(",", ",,")
    assert f"guest={doubled}" in told.stdout.splitlines() and f"file=/d/{doubled}," in told.stdout and f"br={doubled}" in told.stdout

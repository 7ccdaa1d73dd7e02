# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest tools of every hypervisor, the agent, cloud-init and what operators may change: planned, applied, idempotent, taken back."""

from __future__ import annotations

import copy
import json

import pytest
from fixtures import facts, guest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, StalePlan, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply, undo
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.copies import UploadFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.run import RunCommand
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import agent, tools
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.customize import Customization
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.kinds import KINDS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI operator@host"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nops:x:1000:1001::/home/ops:/bin/bash\n"
EVERYTHING = Customization(
    "web02.example.test",
    {"root": (KEY,), "ops": (KEY,)},
    "echo hello\n",
    True,
    {"user_data": "#cloud-config\npassword: hunter2\n", "drop_in": "a: 1\n"},
    True,
)
SYSTEM = {
    "/etc/passwd": PASSWD, "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 web01.example.test web01\n", "/root/.ssh/authorized_keys": "ssh-rsa AAAA old",
    "/usr/lib/systemd/system/serial-getty@.service": "[Unit]\n", "/etc/cloud/cloud.cfg": "users: []\n", "/etc/selinux/config": "SELINUX=enforcing\n",
}  # fmt: skip


def customized(made, wanted):
    return make_plan(made, facts(made), Options(("customize",), customize=wanted))


def test_what_the_operator_wants_is_done_once_and_taken_back():
    made = guest(**SYSTEM)
    before = copy.deepcopy(made.files)
    plan = customized(made, EVERYTHING)
    apply(made, plan)
    assert customized(made, EVERYTHING).changes == ()
    assert made.read("/etc/hostname") == b"web02.example.test\n" and b"web02.example.test\n" in made.read("/etc/hosts")
    assert made.read("/root/.ssh/authorized_keys") == f"ssh-rsa AAAA old\n{KEY}\n".encode()
    assert (
        made.stat("/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service").target
        == "/usr/lib/systemd/system/serial-getty@.service"
    )
    assert made.stat("/etc/systemd/system/multi-user.target.wants/hyper2kvm-firstboot.service").kind == "link"
    assert made.read("/usr/local/sbin/hyper2kvm-firstboot") == b"#!/bin/sh\necho hello\n" and made.read("/.autorelabel") == b""
    assert b"hunter2" in made.read("/var/lib/cloud/seed/nocloud/user-data") and b"NoCloud" in made.read(
        "/etc/cloud/cloud.cfg.d/99-hyper2kvm.cfg"
    )
    assert [(change.owner, change.mode) for change in plan.changes if "home/ops" in change.path] == [((1000, 1001), 0o600)]
    undo(made, plan)
    assert made.files == before


def test_secrets_are_in_no_report_and_only_in_the_plan_of_the_conversion_host():
    made = guest(**SYSTEM)
    plan = customized(made, EVERYTHING)
    assert "hunter2" not in json.dumps(plan.shown().as_data()) + json.dumps(plan.summary()) + json.dumps(plan.diff())
    shown = Plan.from_data(json.loads(json.dumps(plan.shown().as_data())), KINDS)
    saved = Plan.from_data(json.loads(json.dumps(plan.as_data())), KINDS)
    assert saved == plan and shown.id == plan.id == plan.kept().id
    with pytest.raises(InvalidInput, match="does not hold what is secret") as refused:
        apply(made, shown)
    assert "plan_file" in refused.value.hint
    before = copy.deepcopy(made.files)
    apply(made, saved)
    kept = made.files[f"/var/lib/hyper2kvm/{plan.id}/plan.json"]
    assert "hunter2" not in str(kept)
    undo(made, Plan.from_data(json.loads(kept), KINDS))
    assert made.files == before


@pytest.mark.parametrize(
    "wanted",
    [
        Customization("-x"),
        Customization("a b"),
        Customization(ssh_keys={"root": ("not a key",)}),
        Customization(ssh_keys={"nobody": (KEY,)}),
    ],
)
def test_what_no_guest_could_use_is_refused(wanted):
    with pytest.raises(InvalidInput):
        customized(guest(**SYSTEM), wanted)


def test_what_a_guest_lacks_is_said():
    made = MemoryGuest({"/etc/passwd": PASSWD})
    plan = make_plan(
        made, facts(made), Options(("customize",), customize=Customization(firstboot_script="x", cloud_init={"user_data": "x"}))
    )
    assert {"customize.no-systemd", "cloudinit.missing"} <= {concern.code for concern in plan.concerns} and plan.changes == ()


def test_cloud_init_keeps_what_it_configured_unless_it_has_a_seed():
    made = guest(**{"/etc/cloud/cloud.cfg": "x"})
    (change,) = customized(made, Customization()).changes
    assert "network: {config: disabled}" in change.after and "manual_cache_clean: true" in change.after
    assert customized(guest(**{"/etc/cloud/cloud.cfg": "x", "/var/lib/cloud/seed/nocloud/user-data": "x"}), Customization()).changes == ()


def packages(folder, *names):
    for name in names:
        (folder / name).write_bytes(name.encode())
    return (str(folder),)


def test_the_agent_comes_with_what_it_needs_and_goes_again(tmp_path):
    made = guest(**{"/usr/bin/dpkg": "x", "/usr/bin/env": "x"})
    options = Options(
        ("agent",), agent_packages=packages(tmp_path, "qemu-guest-agent_1_amd64.deb", "liburing2_1.deb", "readme.txt", "x.rpm")
    )
    plan = make_plan(made, facts(made), options)
    assert [type(change) for change in plan.changes] == [UploadFile, UploadFile, RunCommand]
    before = copy.deepcopy(made.files)
    apply(made, plan)
    (command,) = made.commands
    assert command[2:4] == ("dpkg", "--install") and all(made.read(path) for path in command[4:]) and len(command) == 6
    undo(made, plan)
    assert made.commands[-1] == ("/usr/bin/dpkg", "--purge", "qemu-guest-agent") and made.files == before


def test_selinux_labels_what_was_installed_offline_and_says_so(tmp_path):
    given, findings = packages(tmp_path, "qemu-guest-agent-1.rpm"), Findings()
    made = MemoryGuest({"/usr/bin/rpm": "x"})
    paths = [change.path for change in agent.plan(made, given, GuestFacts(selinux=True), findings)]
    assert "/.autorelabel" in paths and [concern.code for concern in findings.concerns] == ["selinux.relabel"]
    assert "/.autorelabel" not in [change.path for change in agent.plan(made, given, GuestFacts(selinux=True, live=True), Findings())]


def test_a_database_that_a_command_writes_after_us_goes_back_to_the_first_text(tmp_path):
    class Dpkg(MemoryGuest):
        def run(self, argv):
            self.files["/var/lib/dpkg/status"] += b"Package: qemu-guest-agent\nStatus: deinstall ok\n\n"
            return ""

    made = Dpkg({**guest().files, "/usr/bin/dpkg": "x", "/usr/bin/env": "x"})
    before = copy.deepcopy(made.files)
    options = Options(("vmware_tools", "agent"), agent_packages=packages(tmp_path, "qemu-guest-agent_1.deb"))
    plan = make_plan(made, facts(guest()), options)
    apply(made, plan)
    assert b"open-vm-tools" not in made.read("/var/lib/dpkg/status") and b"qemu-guest-agent" in made.read("/var/lib/dpkg/status")
    undo(made, plan)
    assert made.files == before


def test_packages_that_changed_since_the_plan_are_refused(tmp_path):
    made = guest(**{"/usr/bin/dpkg": "x", "/usr/bin/env": "x"})
    plan = make_plan(made, facts(made), Options(("agent",), agent_packages=packages(tmp_path, "qemu-guest-agent_1.deb")))
    (tmp_path / "qemu-guest-agent_1.deb").write_bytes(b"other")
    with pytest.raises(StalePlan):
        apply(made, plan)
    assert made.commands == []


def test_the_agent_where_it_is_or_cannot_be(tmp_path):
    given, findings = packages(tmp_path, "qemu-guest-agent-1.rpm"), Findings()
    assert agent.plan(MemoryGuest({"/usr/bin/qemu-ga": "x", "/usr/bin/rpm": "x"}), given, GuestFacts(), findings) == []
    assert agent.plan(MemoryGuest({"/usr/bin/rpm": "x"}), given, GuestFacts(), findings)[-1].argv[:2] == ("/usr/bin/rpm", "-U")
    assert agent.plan(MemoryGuest({}), given, GuestFacts(), findings) == [] and [concern.code for concern in findings.concerns] == [
        "agent.no-package-tool"
    ]
    for wrong in (str(tmp_path / "missing"), str(tmp_path)):
        with pytest.raises(InvalidInput):
            agent.plan(MemoryGuest({"/usr/bin/dpkg": "x"}), (wrong,), GuestFacts(), findings)


@pytest.mark.parametrize("name", tools.HYPERVISORS)
def test_tools_leave_only_when_their_hypervisor_is_named(name):
    known = tools.TOOLS[name]
    made = MemoryGuest(
        {
            known.program: "x",
            "/usr/bin/rpm": "x",
            **{path + ("/x" if "." not in path.rsplit("/", 1)[1] else ""): "x" for path in known.leftovers},
        }
    )
    assert tools.plan(made, Findings(), ()) == []
    changes = tools.plan(made, Findings(), (name,))
    commands = [change for change in changes if isinstance(change, RunCommand)]
    assert len(commands) == (max(1, len(known.rpm)) if name != "nutanix" else 0) and not any(change.must for change in commands)
    assert name != "nutanix" or [change.path for change in changes] == ["/etc/systemd/system/ngt_guest_agent.service"]
    assert {change.path for change in changes} >= {path for path in known.leftovers if made.stat(path) and made.stat(path).kind == "file"}


def test_two_hypervisors_packages_leave_one_database():
    extra = "Package: hyperv-daemons\nStatus: install ok installed\nVersion: 6\n\n"
    made = guest()
    made.files["/var/lib/dpkg/status"] += extra.encode()
    made.files["/var/lib/dpkg/info/hyperv-daemons.list"] = b"/.\n/usr\n"
    before = copy.deepcopy(made.files)
    plan = make_plan(made, facts(made), Options(("vmware_tools",), remove_tools=("vmware", "hyperv")))
    apply(made, plan)
    status = made.read("/var/lib/dpkg/status")
    assert b"open-vm-tools" not in status and b"hyperv-daemons" not in status and status.count(b"Package:") == 2
    undo(made, plan)
    assert made.files == before


def test_a_broken_package_database_does_not_stop_the_repair():
    class Broken(MemoryGuest):
        def run(self, argv):
            raise ToolFailed("rpmdb: damaged header.", "Rebuild it.")

    made = Broken({"/usr/bin/vmtoolsd": "x", "/usr/bin/rpm": "x", "/etc/fstab": ""})
    outcome = apply(made, make_plan(made, facts(made), Options(("vmware_tools",))))
    assert "damaged header" in outcome.output[0]


def test_virtualbox_additions_take_themselves_out():
    made = MemoryGuest(
        {"/var/lib/VBoxGuestAdditions/config": "INSTALL_VER='7'\nINSTALL_DIR='/opt/VBox-7'\n", "/opt/VBox-7/uninstall.sh": "x"}
    )
    assert [change.argv for change in tools.plan(made, Findings(), ("virtualbox",))] == [("/opt/VBox-7/uninstall.sh",)]


def test_package_sources_of_vmware_are_switched_off():
    made = MemoryGuest({
        "/etc/yum.repos.d/a.repo": "[vmware-tools]\nbaseurl=https://packages.vmware.com/tools/x\nenabled=1\n"
        "[own]\nbaseurl=https://vmware.com.example.test/x\nenabled=1\n[v2]\nmirrorlist=http://vmware.com/y\n",
        "/etc/apt/sources.list.d/v.list": "deb http://packages.vmware.com/x y z\ndeb http://deb.example.test/x y z\n",
    })  # fmt: skip
    assert {change.path: change.after for change in tools.plan(made, Findings())} == {
        "/etc/yum.repos.d/a.repo": "[vmware-tools]\nbaseurl=https://packages.vmware.com/tools/x\nenabled=0\n"
        "[own]\nbaseurl=https://vmware.com.example.test/x\nenabled=1\n[v2]\nenabled=0\nmirrorlist=http://vmware.com/y\n",
        "/etc/apt/sources.list.d/v.list": "# deb http://packages.vmware.com/x y z\ndeb http://deb.example.test/x y z\n",
    }  # fmt: skip
    again = MemoryGuest({change.path: change.after for change in tools.plan(made, Findings())})
    assert tools.plan(again, Findings()) == []


def test_undo_takes_a_half_applied_plan_back():
    made = MemoryGuest({"/a": "1", "/b": "2", "/tool": "x"})
    plan = Plan((WriteFile("/a", "1", "one", "r"), WriteFile("/b", "2", "two", "r"), WriteFile("/c", None, "3", "r")))
    before = copy.deepcopy(made.files)
    apply(made, plan)
    made.files["/b"] = b"2"
    del made.files["/c"]
    undo(made, plan)
    assert made.files == before


def test_links_are_links():
    made = guest(**SYSTEM, **{"/x": Stat("link", target="/y")})
    assert made.stat("/x").target == "/y"

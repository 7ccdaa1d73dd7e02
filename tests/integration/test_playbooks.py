# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks as people call them: which hosts they take and in which order, hostile names, relative paths, misspelt variables, stages alone.

The VMs are small raw disks without a guest, so nothing starts an appliance.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

NAMES = [
    "../victim",
    "a,b",
    "{% raw %}",
    "$HOME",
    "-rf",
    "all",
    "..%2f..%2fvictim",
    "web\n01",
    "x" * 300,
    "~web.*",
    "web[1:3]",
    "{{ 1 + 1 }}",
]


def called(
    where: Path, playbook: str, hosts: object, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A playbook called from a directory, as its user does; in check mode unless the arguments say more."""
    (where / "hosts.json").write_text(json.dumps(hosts))
    command = [str(harness.BIN / "ansible-playbook"), playbook, "-i", "hosts.json", *arguments]
    return subprocess.run(
        command, cwd=where, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **(env or {})},
    )  # fmt: skip


def vms(*names: str, **variables: object) -> dict:
    common = {"migrate_source": "disk.raw", "migrate_output_dir": "out", "migrate_boot_test": False, **variables}
    return {"vms": {"hosts": {name: {} for name in names}, "vars": common}}


@pytest.fixture
def where(tmp_path):
    """The directory of the user, with a disk; beside it nothing may appear."""
    place = tmp_path / "home" / "user"
    place.mkdir(parents=True)
    harness.sparse(place / "disk.raw", 4 << 20, 0)
    return place


def everything(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def test_hosts_are_taken_in_the_order_of_the_inventory_and_none_is_lost(where):
    names = ["web03", "a,b", "web01", "~web.*", "!web01", "&web03", "web 04"]
    hosts = {**vms(*names, migrate_conversion_host="conv1"), "workers": {"hosts": {"conv1": {"ansible_connection": "local"}}}}
    done = called(
        where,
        "hyper2kvm.migration.migrate",
        hosts,
        "--check",
        "--skip-tags",
        "fix",
        "-f",
        "1",
        "-e",
        "ansible_python_interpreter=/usr/bin/python3",
    )
    assert done.returncode == 0, done.stdout
    order = list(dict.fromkeys(re.findall(r"^changed: \[(.+) -> conv1\]$", done.stdout, re.MULTILINE)))
    assert order == names
    assert "conv1    " not in done.stdout.partition("PLAY RECAP")[2]


def test_members_of_conversion_hosts_are_no_vms_and_localhost_may_be_one(where):
    hosts = {**vms("localhost"), "conversion_hosts": {"hosts": {"conv1": {"migrate_source": "/x.raw"}}}}
    hosts["vms"]["hosts"]["localhost"] = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    done = called(where, "hyper2kvm.migration.migrate", hosts, "--check", "--skip-tags", "fix")
    said, recap = " ".join(done.stdout.split()), done.stdout.partition("PLAY RECAP")[2]
    assert "conv1 does the work for other hosts (the group conversion_hosts), so it is not a VM, although it has a migrate_source" in said
    assert done.returncode == 0 and "conv1" not in recap and "localhost" in recap, done.stdout


@pytest.mark.parametrize(
    "playbook", ["migrate", "plan", "rehearse", "rollback", "download", "janitor", "libvirt_import", "windows_finish", "inventory"]
)
def test_every_playbook_refuses_a_variable_that_means_nothing(where, playbook):
    done = called(
        where,
        f"hyper2kvm.migration.{playbook}",
        vms("web01"),
        "--check",
        "-e",
        "migrate_ouput_dir=/srv",
        "-e",
        '{"migrate_accept": ["prof.failed"]}',
    )
    assert done.returncode != 0 and "migrate_ouput_dir is not a variable of the role migrate; migrate_output_dir is." in done.stdout, (
        done.stdout
    )
    assert "'prof.failed'; proof.failed is" in done.stdout
    assert everything(where) == {"disk.raw", "hosts.json"}


EMPTY: dict[str, dict] = {"no host": {"vms": {}}, "conversion hosts alone": {"conversion_hosts": {"hosts": {"conv1": {}}}}}


@pytest.mark.parametrize("arguments", [[], ["--tags", "fetch"], ["--limit", "web01"]], ids=" ".join)
@pytest.mark.parametrize("hosts", [*EMPTY, "no file"])
def test_an_inventory_without_a_vm_is_no_success(where, hosts, arguments):
    more = ["-i", "vms.inn"] if hosts == "no file" else []
    done = called(where, "hyper2kvm.migration.migrate", EMPTY.get(hosts, EMPTY["no host"]), *arguments, *more)
    assert done.returncode != 0, done.stdout
    # Ansible itself refuses a limit that leaves nothing of the hosts that there are.
    said = "leaves us with no hosts" if arguments[:1] == ["--limit"] and "conversion" in hosts else "The inventory names no VM ("
    assert said in done.stdout and (hosts != "no file" or "vms.inn" in done.stdout), done.stdout


def test_every_playbook_for_vms_looks_whether_there_are_any():
    plays = {path: yaml.safe_load(path.read_text()) for path in (harness.ROOT / "playbooks").glob("*.yml")}
    of_vms = {path.stem: plays[path] for path in plays if any("!conversion_hosts" in str(play.get("hosts")) for play in plays[path])}
    assert len(of_vms) > 10 and all(first.get("ansible.builtin.import_playbook") == "plays/vms.yml" for first, *dummy in of_vms.values())


def test_where_there_are_vms_nothing_is_said_of_it(where):
    for arguments in ([], ["--limit", "web01"]):
        done = called(where, "hyper2kvm.migration.migrate", vms("web01", "web02"), "--check", "--tags", "fetch", *arguments)
        assert done.returncode == 0 and "localhost" not in done.stdout.partition("PLAY RECAP")[2], done.stdout


def test_a_vm_without_a_source_is_told_so_in_a_sentence(where):
    done = called(where, "hyper2kvm.migration.migrate", {"vms": {"hosts": {"web01": {"migrate_output_dir": "out"}}}}, "--check")
    assert done.returncode == 2 and "migrate_source is not given for web01." in done.stdout and len(done.stdout) < 5000, done.stdout


def test_what_the_role_works_out_itself_is_not_given(where):
    """From the inventory it would be of no effect, from the command line it would replace what the role finds out."""
    hosts = vms("web01", migrate_customize={"hostname": "x"}, migrate_failed="x")
    done = called(where, "hyper2kvm.migration.migrate", hosts, "-e", "migrate_known=true")
    assert done.returncode != 0 and all(
        f"{name} is worked out by the role migrate" in done.stdout for name in ("migrate_customize", "migrate_failed", "migrate_known")
    ), done.stdout
    assert everything(where) == {"disk.raw", "hosts.json"}


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("migrate_nics", [{"macs": "52:54:00:00:00:01"}], "macs"),
        ("migrate_boot_checks", [{"prot": 22}], "prot"),
        ("migrate_windows_network", [{"mac": "52:54:00:00:00:01", "adresses": []}], "adresses"),
        ("migrate_customize_cloud_init", {"userdata": ""}, "userdata"),
    ],
)
def test_dictionaries_are_known_to_their_leaves(where, variable, value, words):
    done = called(where, "hyper2kvm.migration.migrate", vms("web01", **{variable: value}), "--check")
    assert done.returncode != 0 and words in done.stdout and "FETCH" not in done.stdout, done.stdout


def test_hostile_names_stay_in_the_output_directory(where):
    secret = where.parent / "victim"
    secret.mkdir()
    before = everything(where.parent)
    hosts = vms(*[f"vm{number}" for number in range(len(NAMES))])
    for number, name in enumerate(NAMES):
        hosts["vms"]["hosts"][f"vm{number}"] = {"migrate_name": {"__ansible_unsafe": name}}
    done = called(where, "hyper2kvm.migration.migrate", hosts, "--skip-tags", "fix,validate,report")
    assert done.returncode == 0, done.stdout
    folders = sorted((where / "out").iterdir())
    assert len(folders) == len(NAMES) and all((folder / f"{folder.name}-disk0.qcow2").is_file() for folder in folders), folders
    assert {path for path in everything(where.parent) - before if not path.startswith("user/out")} == {"user/hosts.json"}


def test_a_name_that_cannot_be_seen_is_refused_in_check_mode_too(where):
    for arguments in ((), ("--check",)):
        done = called(where, "hyper2kvm.migration.migrate", vms("web01", migrate_name="   "), *arguments)
        assert done.returncode != 0 and "not a name" in done.stdout and "migrate_name" in done.stdout and "FETCH" not in done.stdout
    assert everything(where) == {"disk.raw", "hosts.json"}


def test_a_path_of_an_unsafe_name_is_refused(where):
    hosts = vms("web01", migrate_name="../x", migrate_work_dir=f"{where}/work/{{{{ migrate_name }}}}")
    done = called(where, "hyper2kvm.migration.migrate", hosts)
    assert done.returncode != 0 and "migrate_work_dir is made of the name '../x'" in done.stdout, done.stdout
    assert everything(where) == {"disk.raw", "hosts.json"}


def test_environment_variables_in_a_source_are_letters(where):
    (where / "$SECRET.raw").write_bytes(b"\0" * (1 << 20))
    done = called(
        where,
        "hyper2kvm.migration.migrate",
        vms("web01", migrate_source="$SECRET.raw"),
        "--check",
        "--tags",
        "fetch",
        env={"SECRET": "/etc/passwd"},
    )
    assert done.returncode == 0, done.stdout


def test_a_relative_path_on_another_conversion_host_is_refused(where):
    hosts = {**vms("web01", migrate_conversion_host="conv1"), "workers": {"hosts": {"conv1": {}}}}
    done = called(where, "hyper2kvm.migration.migrate", hosts, "--check")
    assert done.returncode != 0 and "is a relative path" in done.stdout and "absolute" in done.stdout, done.stdout


def test_every_stage_runs_alone_on_a_vm_that_has_come_that_far(where):
    done = called(where, "hyper2kvm.migration.migrate", vms("web01"), "--skip-tags", "fix,report")
    assert done.returncode == 0, done.stdout
    description = (where / "out" / "web01" / "web01.xml").read_bytes()
    assert b"<interface" in description
    for stage in ("flatten", "convert", "validate", "report", "fetch"):
        done = called(
            where,
            "hyper2kvm.migration.migrate",
            vms("web01", migrate_boot_test=True),
            "--tags",
            stage,
            *(["--check"] if stage == "validate" else []),
        )
        assert done.returncode == 0, done.stdout
    assert (where / "out" / "web01" / "web01.xml").read_bytes() == description
    report = json.loads((where / "out" / "web01" / "report.json").read_text())
    assert [Path(disk["path"]).name for disk in report["disks"]] == ["web01-disk0.qcow2"] and report["vm"] == "web01"
    before = (where / "out" / "web01" / "report.json").read_bytes()
    for task in ("Describe the VM for its first start", "Write the report"):
        done = called(where, "hyper2kvm.migration.migrate", vms("web01"), "--start-at-task", task, "--skip-tags", "validate")
        assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout
    assert (where / "out" / "web01" / "report.json").read_bytes() == before


def test_a_stage_on_a_vm_that_has_not_come_that_far_says_what_to_run(where):
    for stage, words in (("validate", "FETCH|vmdk_fetch"), ("convert", "vmdk_fetch"), ("flatten", "vmdk_fetch")):
        done = called(where, "hyper2kvm.migration.migrate", vms("web01", migrate_boot_test=True), "--tags", stage)
        assert done.returncode != 0 and re.search(words, done.stdout) and "Traceback" not in done.stdout, done.stdout

# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole migration with a mark as every secret: no command line, log, answer, report or record has one; the plan alone has the guest's."""

from __future__ import annotations

import json
import os
import secrets
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

MARK = f"mArKeR{secrets.token_hex(4)}"  # another one in each process, since processes of others are looked at
# What the operator gives; each is another mark.
GIVEN = {
    "migrate_vsphere_password": f"{MARK}-vsphere",
    "migrate_ssh_password": f"{MARK}-ssh",
    "migrate_luks_keys": {"all": f"{MARK}-luks"},
    "migrate_output_passphrase": f"{MARK}-passphrase",
    "migrate_customize_firstboot_script": f"register --token {MARK}-script\n",
    "migrate_customize_cloud_init": {
        "user_data": f"#cloud-config\nchpasswd: {{list: ['root:{MARK}-user-data']}}\n",
        "network_config": f"wifis: {{w: {{password: {MARK}-network}}}}\n",
        "drop_in": f"x: {MARK}-drop-in\n",
    },
}
# What is in the guest: in files that the repair rewrites, one of which everybody there may read.
_IN_GUEST = """
import guestfs, sys
handle = guestfs.GuestFS(python_return_dict=True)
handle.set_backend("direct")
handle.add_drive_opts(sys.argv[1], format="vmdk")
handle.launch()
handle.mount("/dev/sda2", "/")
handle.write_append("/etc/fstab", b"//srv/x /mnt cifs noauto,username=u,password=%(mark)s-share,uid=0 0 0\\n")
handle.mkdir_p("/etc/cloud")
handle.write("/etc/cloud/cloud.cfg", b"users: []\\n")
handle.write_append("/etc/default/grub", b"# %(mark)s-default\\n")
handle.chmod(0o600, "/etc/default/grub")
handle.write_append("/boot/grub/grub.cfg", b"\\npassword_pbkdf2 root grub.%(mark)s-grub\\n")
handle.chmod(0o600, "/boot/grub/grub.cfg")
handle.shutdown()
handle.close()
"""


@pytest.fixture
def source(tmp_path):
    """A guest with secrets."""
    folder = tmp_path / "exports"
    folder.mkdir()
    made = Path(harness.guest("bios")[0]).parent
    last, settings = sorted(made.glob("web01-0*.vmdk"))[-1], folder / "web01.vmx"
    for disk, copy in ((last, "web01.vmdk"), (made / "web01_1.vmdk", "web01_1.vmdk")):
        subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "vmdk", disk, folder / copy], check=True)
    settings.write_text((made / "web01.vmx").read_text().replace(last.name, "web01.vmdk"))
    environment = {**os.environ, "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    subprocess.run(
        ["/usr/bin/python3", "-", folder / "web01.vmdk"], input=_IN_GUEST % {"mark": MARK}, text=True, check=True, env=environment
    )
    return [str(settings)]


class Watched(threading.Thread):
    """Every command line with a mark that any process has meanwhile."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if MARK.encode() in line:
                    self.seen.add(line)


def having(folder: Path, word: str) -> set[str]:
    """Files below a folder that hold a word."""
    found = subprocess.run(["grep", "-rlaF", word, folder], check=False, capture_output=True, text=True).stdout
    return set(found.splitlines())


def run_with_marks(tmp_path: Path, source: list[str], *arguments: str) -> str:
    """What a migration with every secret says, which no process was told on its command line, and which is in no log."""
    log, scratch = tmp_path / "ansible.log", tmp_path / "tmp"
    scratch.mkdir()
    hosts = harness.inventory(tmp_path / "vms.json", web01={"migrate_source": source, "migrate_output_dir": str(tmp_path / "out")})
    (tmp_path / "vars.json").write_text(json.dumps({**GIVEN, "migrate_boot_test": False}))
    environment = {"ANSIBLE_LOG_PATH": str(log), "TMPDIR": str(scratch), "LIBGUESTFS_CACHEDIR": "/var/tmp"}
    watched = Watched()
    watched.start()
    done = harness.playbook("migrate", hosts, "-e", f"@{tmp_path / 'vars.json'}", "--diff", "-vvv", *arguments, env=environment)
    watched.ended.set()
    assert done.returncode == 0, done.stdout[-4000:]
    assert not watched.seen and not having(scratch, MARK)
    assert MARK not in done.stdout and MARK not in log.read_text()
    return done.stdout


def test_what_the_operator_gives_is_in_no_command_line_log_or_file(tmp_path):
    """Without a guest, since nothing looks into one; every module gets what it gets otherwise."""
    (tmp_path / "exports").mkdir()
    source = harness.sparse(tmp_path / "exports" / "a.raw", 4 << 20, 0)
    said = run_with_marks(tmp_path, [str(source)], "--tags", "fetch,flatten,convert")
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in said and (tmp_path / "out" / "web01" / "web01-disk0.qcow2").exists()
    assert not having(tmp_path / "out", MARK)


@pytest.mark.rotates("guests", 70)
def test_no_secret_leaves_the_conversion_host(source, tmp_path):
    out, said = tmp_path / "out", run_with_marks(tmp_path, source)
    # What is shown is shown: the share without its password, the others by digest.
    assert "password=(not shown),uid=0" in said and "/boot/grub/grub.cfg (not shown)" in said and "sha256:" in said
    place = out / "web01"
    plan = place / ".work" / "plan.json"
    saved = plan.read_text()
    assert all(f"{MARK}-{name}" in saved for name in ("share", "grub", "default", "script", "user-data", "network", "drop-in"))
    assert stat.S_IMODE(plan.stat().st_mode) == stat.S_IMODE((place / "plan.json").stat().st_mode) == 0o600
    given = {f"{MARK}-{name}" for name in ("vsphere", "ssh", "luks", "passphrase")}
    assert not any(word in saved for word in given)
    # Of files: the plans, and the disks of the guest that are not encrypted.
    disks = {str(path) for path in (place / ".work").iterdir() if path.suffix in (".qcow2", ".vmdk")} | {
        str(path) for path in place.glob("*/source/*")
    }
    assert having(out, MARK) - disks == {str(plan), str(place / "plan.json")}
    assert not any(having(out, word) for word in given)


@pytest.mark.rotates("guests", 70)
def test_results_are_short_on_a_real_guest(source, tmp_path):
    """At most 20 kB without --diff, at the most that there is: every module of a migration, and the second run too."""
    work = {"source": source, "work_dir": str(tmp_path / "out" / ".work")}
    place = {"name": "web01", "dest": str(tmp_path / "out")}
    for name, more in (
        ("vmdk_fetch", {}),
        ("disk_flatten", {}),
        ("guest_fix", {}),
        ("guest_fix", {}),
        ("guest_plan", {}),
        ("qemu_convert", place),
    ):
        answer = harness.module(name, **work, **more)
        assert not answer.get("failed"), answer["msg"]
        assert len(json.dumps(answer)) <= 20_000, (name, {key: len(json.dumps(value)) for key, value in answer.items()})
    rehearsed = harness.module("guest_fix", check=True, source=source, work_dir=str(tmp_path / "other"))
    assert "plan_file" not in rehearsed and rehearsed["plan_digest"] and sum(map(len, map(str, rehearsed["diff"]))) < 200_000

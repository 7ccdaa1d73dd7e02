# SPDX-License-Identifier: GPL-3.0-or-later
"""A conversion host that is not the controller: a real sshd on loopback, long modules detached, progress fetched."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness


@pytest.fixture
def server(tmp_path):
    """Variables of an inventory host behind an sshd of our own."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPermitRootLogin prohibit-password\n"
        f"PasswordAuthentication no\nStrictModes no\nUsePAM no\nPidFile {folder}/pid\n"
    )
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    Path("/run/sshd").mkdir(exist_ok=True)
    child = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", folder / "config"])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (folder / "pid").exists():
            time.sleep(0.05)
        yield {
            "ansible_host": "127.0.0.1",
            "ansible_port": port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(folder / "user"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=yes",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
    finally:
        child.terminate()
        child.wait()


@pytest.mark.rotates("runs", 115)
def test_the_work_is_done_on_the_conversion_host_with_its_progress_shown_here(server, tmp_path):
    variables = {
        "migrate_source": harness.guest("bios"),
        "migrate_output_dir": str(tmp_path / "out"),
        "migrate_conversion_host": "worker",
        "migrate_boot_test": False,
    }
    hosts = tmp_path / "hosts.json"
    hosts.write_text(json.dumps({"vms": {"hosts": {"web01": variables}}, "conversion_hosts": {"hosts": {"worker": server}}}))
    done = harness.playbook("migrate", hosts)
    assert done.returncode == 0, done.stdout
    assert "changed: [web01 -> worker(127.0.0.1)]" in done.stdout and "[web01] guest_fix" in done.stdout, done.stdout
    assert (tmp_path / "out" / "web01" / "web01-disk0.qcow2").exists() and "worker " not in done.stdout.split("PLAY RECAP")[1]
    again = harness.playbook("migrate", hosts)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout

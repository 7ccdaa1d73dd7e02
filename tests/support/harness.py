# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests with real images share: run a module, run a playbook, make a lab guest once, digest a source."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
CACHE = ROOT / "build" / "lab"
MODULES = "ansible_collections.hyper2kvm.migration.plugins.modules"

sys.path.insert(0, str(ROOT / "tests" / "lab"))
import forked
import guests as lab
from base import agent_packages


def module(module_name: str, check: bool = False, env: dict[str, str] | None = None, **arguments: object) -> dict:
    """Run one module the way Ansible does and return its answer."""
    arguments = {**arguments, "_ansible_check_mode": check, "_ansible_diff": check}
    whole = {**os.environ, "PYTHONPATH": str(ROOT / ".venv" / "collections"), **(env or {})}
    if any(name.startswith("PYTHON") for name in env or ()):  # what changes the interpreter itself needs one of its own
        out, error = _alone(module_name, arguments, whole)
    elif "HARNESS_HERE" in whole:  # tests/hostile: only a child of ours is accounted for
        out, error = forked.here(module_name, arguments, whole)
    else:
        out, error = _forked(module_name, arguments, whole)
    try:
        return json.loads(out)
    except ValueError:
        raise AssertionError(f"{module_name} printed no JSON: {out[-2000:]}\n{error[-4000:]}") from None


def _forked(name: str, arguments: dict, env: dict[str, str]) -> tuple[str, str]:
    return forked.call(BIN / "python", name, arguments, env)


def _alone(name: str, arguments: dict, env: dict[str, str]) -> tuple[str, str]:
    code = (
        "import json, sys\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        f"from {MODULES} import {name}\n"
        "with patch_module_args(json.load(sys.stdin)):\n"
        f"    {name}.main()\n"
    )
    done = subprocess.run([BIN / "python", "-c", code], input=json.dumps(arguments), capture_output=True, text=True, check=False, env=env)
    return done.stdout, done.stderr


def inventory(path: Path, **hosts: dict[str, object]) -> Path:
    """An inventory file of VMs with their variables."""
    path.write_text(json.dumps({"vms": {"hosts": hosts}}))
    return path


def playbook_command(name: str, hosts: Path, *arguments: str) -> list[str]:
    return [str(BIN / "ansible-playbook"), str(ROOT / "playbooks" / f"{name}.yml"), "-i", str(hosts), *arguments]


def playbook(name: str, hosts: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection to its end; standard error is part of the output."""
    return subprocess.run(
        playbook_command(name, hosts, *arguments), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **(env or {})},
    )  # fmt: skip


def guest(name: str) -> list[str]:
    """The source of a lab guest, built once and kept; parallel test processes wait for each other."""
    folder = CACHE / "guests" / name
    folder.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(
        b"".join(
            (ROOT / "tests" / "lab" / file).read_bytes()
            for file in (
                "recipes_boot.py",
                "recipes_layout.py",
                "recipes_names.py",
                "recipes_ostree.py",
                "parts.py",
                "sources.py",
                "disk.py",
                "base.py",
            )
        )
    ).hexdigest()
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = folder / "sources.json"
        if record.exists() and (known := json.loads(record.read_text()))["recipe"] == recipe:
            kept = [folder / name for name in known["sources"]]
            if all(path.parent == folder and path.exists() for path in kept):
                return list(map(str, kept))
        for stale in folder.iterdir():
            stale.unlink()
        sources = lab.build({**lab.GUESTS, **lab.COPIED}[name], folder)
        record.write_text(json.dumps({"recipe": recipe, "sources": [path.name for path in sources]}))
        return [str(path) for path in sources]


def variables(name: str) -> dict[str, object]:
    """What the playbook gets for a lab guest beside its place."""
    made = lab.GUESTS[name]
    checks = [{"command": ["/bin/systemctl", "is-active", "ssh"], "expect": "^active$"}]
    packages = [str(agent_packages(CACHE))] if made.agent else []
    agent = {"migrate_guest_agent_packages": packages, "migrate_boot_network": "agent", "migrate_boot_checks": checks} if made.agent else {}
    return {"migrate_source": guest(name), **agent, **made.variables}


def as_images(sources: list[str], suffixes: tuple[str, ...], folder: Path) -> list[str]:
    """The VMDKs of a lab guest as images of other kinds, in a tarball where a suffix says so. A qcow2 gets a snapshot that holds nothing yet."""
    found = []
    for source, suffix in zip(disks_of(sources), suffixes):
        kind, dummy, packed = suffix.partition(".")
        fmt, options = {"vhd": ("vpc", ["-o", "force_size=on"])}.get(kind, (kind, []))
        found.append(folder / f"{source.stem}.{kind}")
        subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", fmt, *options, source, found[-1]], check=True)
        if kind == "qcow2":
            base = found[-1]
            found[-1] = base.with_stem(f"{base.stem}-snapshot")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.name, found[-1]], cwd=folder, check=True)
        if packed:
            plain, found[-1] = found[-1], Path(f"{found[-1]}.{packed}")
            tar = ["tar", "--sparse", "--use-compress-program=xz -0 -T2", "-cf", found[-1].name, "--remove-files", plain.name]
            subprocess.run(tar, cwd=folder, check=True)
    return list(map(str, found))


def as_vbox(sources: list[str], cards: list[str], folder: Path) -> list[str]:
    """A lab guest in a folder of VirtualBox: its settings, with cards of these MACs, over VDIs on a SATA controller."""
    disks = [Path(path) for path in as_images(sources, ("vdi",) * len(disks_of(sources)), folder)]
    media = "".join(f'<HardDisk uuid="{{{index}}}" location="{disk.name}" format="VDI" type="Normal"/>' for index, disk in enumerate(disks))
    attached = "".join(
        f'<AttachedDevice type="HardDisk" port="{index}" device="0"><Image uuid="{{{index}}}"/></AttachedDevice>'
        for index in range(len(disks))
    )
    network = "".join(
        f'<Adapter slot="{slot}" enabled="true" MACAddress="{mac.replace(":", "").upper()}" type="82540EM"><NAT/></Adapter>'
        for slot, mac in enumerate(cards)
    )
    settings = folder / "srv01.vbox"
    settings.write_text(
        '<?xml version="1.0"?><VirtualBox xmlns="http://www.virtualbox.org/" version="1.16-linux"><Machine uuid="{m}" name="srv01" OSType="Debian_64">'
        f'<MediaRegistry><HardDisks>{media}</HardDisks></MediaRegistry><Hardware><CPU count="2"/><Memory RAMSize="1024"/><Network>{network}</Network>'
        f'<StorageControllers><StorageController name="SATA" type="AHCI" PortCount="2">{attached}</StorageController></StorageControllers>'
        "</Hardware></Machine></VirtualBox>"
    )
    return [str(settings)]


def disks_of(sources: list[str]) -> list[Path]:
    """The VMDKs of a lab guest that has no snapshots."""
    return sorted(Path(sources[0]).parent.glob("*.vmdk")) if sources[0].endswith(".vmx") else [Path(source) for source in sources]


def sparse(path: Path, size: int, *offsets: int) -> Path:
    """A raw disk that is all holes but for 4096 random bytes at each offset."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset in offsets:
            file.seek(offset)
            file.write(os.urandom(4096))
    return path


@contextlib.contextmanager
def loop_devices() -> Iterator[Callable[..., str]]:
    """What attaches files as block devices, with further options of losetup, for the time of a block."""
    with contextlib.ExitStack() as stack:

        def attached(path: Path, *options: str) -> str:
            device = subprocess.run(
                ["losetup", "--find", "--show", *options, path], check=True, capture_output=True, text=True
            ).stdout.strip()
            stack.callback(subprocess.run, ["losetup", "--detach", device], check=False, capture_output=True)
            return device

        yield attached


def content_digest(path: Path) -> str:
    """The digest of a raw disk's content, as docs/security.md defines it."""
    content, whole = path.read_bytes(), hashlib.sha256()
    for begin in range(0, len(content), 65536):
        whole.update(hashlib.sha256(content[begin : begin + 65536]).digest())
    whole.update(len(content).to_bytes(8, "big"))
    return f"sha256-64k:{whole.hexdigest()}"


def digests(sources: list[str]) -> dict[str, str]:
    """Digest of every file in the folder of a source."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(sources[0]).parent.iterdir())}

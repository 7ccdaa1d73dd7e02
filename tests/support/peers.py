# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that VMs come from, as real programs on the loopback: the vSphere simulator with our front, an sshd that is shaped like ESXi's, nginx."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import getpass
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import harness
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
VM = "DC0/vm/DC0_H0_VM0"  # of the simulator's own
USER, PASSWORD = "migrator@vsphere.local", "pass-Word 4711"


def simulator() -> Path:
    """The simulator, built once from our front and Debian's govmomi."""
    sources = sorted((ROOT / "tests" / "peers" / "vcsim").glob("*.go"))
    recipe = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    built = ROOT / "build" / "peers" / f"vcsim-{recipe}"
    built.parent.mkdir(parents=True, exist_ok=True)
    with open(built.parent / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            go = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "GOCACHE": str(ROOT / "build" / "peers" / "go")}
            command = ["go", "build", "-o", f"{built}.partial", *(source.name for source in sources)]
            subprocess.run(command, cwd=sources[0].parent, env={**os.environ, **go}, check=True)
            os.replace(f"{built}.partial", built)
    return built


def vddk() -> dict[str, str]:
    """nbdkit's real vddk plugin, which the release after this one has, and a library that stands in for VMware's; as options of access."""
    built = ROOT / "build" / "peers" / "vddk"
    library, plugin = (
        built / "lib64" / "libvixDiskLib.so.8",
        built / "plugin" / "usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-vddk-plugin.so",
    )
    (built / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    library.parent.mkdir(exist_ok=True)
    with open(built / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not plugin.exists():
            targets = subprocess.run(
                ["apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT)"], capture_output=True, text=True, check=True
            ).stdout
            mirror = next(line.split()[0] for line in targets.splitlines() if line.split()[0].rstrip("/").endswith("/debian"))
            (built / "trixie.list").write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} trixie contrib\n")
            options = [
                f"-oDir::Etc::sourcelist={built}/trixie.list",
                "-oDir::Etc::sourceparts=/dev/null",
                f"-oDir::State::lists={built}/lists",
            ]
            subprocess.run(["apt-get", "-q", *options, "update"], check=True)
            unpack("nbdkit-plugin-vddk", built / "plugin", *options)
        if not library.exists():
            source = ROOT / "tests" / "peers" / "vddk" / "stand_in.c"
            subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", f"{library}.partial", source], check=True)
            os.replace(f"{library}.partial", library)
    return {"libdir": str(built), "plugin": str(plugin)}


def unpack(package: str, folder: Path, *options: str) -> None:
    """The files of a package of the distribution, without installing it: nothing starts, nothing else is replaced."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        subprocess.run(["apt-get", "-q", *options, "download", package], cwd=scratch, check=True)
        subprocess.run(["dpkg", "-x", next(Path(scratch).glob("*.deb")), folder], check=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    """A TLS server for the files of a folder, `rate` kilobytes a second for each request (0: as fast as it can)."""

    def __init__(self, folder: Path, files: Path, rate: int = 0) -> None:
        binaries = ROOT / "build" / "peers" / "nginx"
        binaries.parent.mkdir(parents=True, exist_ok=True)
        with open(binaries.parent / "nginx.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not binaries.exists():
                unpack("nginx", binaries)
        self.cert, key = certificate(folder)
        self.port = free_port()
        places = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(
            f"user {getpass.getuser()};daemon off;pid {folder}/pid;error_log {folder}/error.log;events{{}}\n"
            f"http{{{places}access_log off;limit_rate {rate}k;"
            f"server{{listen 127.0.0.1:{self.port} ssl;ssl_certificate {self.cert};ssl_certificate_key {key};root {files};}}}}\n"
        )
        self.command = [binaries / "usr" / "sbin" / "nginx", "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, start_new_session=True)
        for dummy in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError("nginx did not start")

    def close(self) -> None:
        """At once, with every connection."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def exporters(folder: Path) -> Path:
    """A directory with programs named govc and ovftool, for the front of a PATH."""
    folder.mkdir()
    for name in ("govc", "ovftool"):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/peers/exporters.py {name} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback, which is its own authority, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


class Proxy:
    """An HTTP proxy that tunnels (CONNECT); `asked` is what for. `refusing`: it lets nobody through."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusing = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._tunnel, args=(self._server.accept()[0],), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        target = head.split()[1].decode()
        self.asked.append(target)
        if self.refusing:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            client.close()
            return
        host, dummy, port = target.rpartition(":")
        with client, socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


class VCenter:
    """A running simulator, and a pyVmomi session with it for what a test arranges."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.cert, key = certificate(folder)
        command = [simulator(), "-cert", self.cert, "-key", key, "-user", USER, "-password", PASSWORD, *arguments]
        self.log = open(folder / "vcsim.log", "w", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, "TMPDIR": str(folder)}
        )
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1].split("/")[0])
        self.context = ssl.create_default_context(cafile=str(self.cert))
        self.service = SmartConnect(host="localhost", port=self.port, user=USER, pwd=PASSWORD, sslContext=self.context)
        self.content = self.service.RetrieveContent()

    def close(self) -> None:
        with contextlib.suppress(Exception):
            Disconnect(self.service)
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def url(self, path: str) -> str:
        return f"vsphere://localhost:{self.port}/{path}"

    @property
    def login(self) -> dict[str, str]:
        return {"username": USER, "password": PASSWORD, "ca_file": str(self.cert)}

    def inventory(self, folder: Path, **more: Any) -> Path:
        """A configuration of our inventory plugin for this server; the password comes from the environment."""
        path = folder / "vsphere.yml"
        base = {
            "plugin": "hyper2kvm.migration.vsphere",
            "hostname": "localhost",
            "port": self.port,
            "username": USER,
            "ca_file": str(self.cert),
        }
        path.write_text(json.dumps({**base, **more}))
        return path

    def peer(self, what: str, **data: Any) -> Any:
        """Steer the front: fault, clear, expire, reset; or ask it: calls, ranges, leases."""
        body = json.dumps(data).encode() if data else None
        with urllib.request.urlopen(f"https://localhost:{self.port}/_peer/{what}", body, context=self.context) as answer:
            text = answer.read()
        if what == "expire":
            self.service._stub.cookie = ""
            self.content.sessionManager.Login(USER, PASSWORD)
        return json.loads(text) if text else None

    def vddk_files(self, vm: Any) -> str:
        """The two disks of a VM for VDDK_FILES of the library that stands in."""
        folder = self.folder_of(vm)
        return ";".join(f"[LocalDS_0] {folder.name}/disk{number}.vmdk={folder}/disk{number}-flat.vmdk" for number in (1, 2))

    def tag(self, vm: Any, category: str, name: str) -> None:
        """Give a VM a tag of a category of its own, by the REST interface."""
        base = f"https://localhost:{self.port}/rest/com/vmware/cis"

        def ask(path: str, body: dict[str, Any], **headers: str) -> Any:
            request = urllib.request.Request(
                base + path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, method="POST"
            )
            with urllib.request.urlopen(request, context=self.context) as answer:
                return json.loads(answer.read() or b"{}").get("value")

        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        known = {"vmware-api-session-id": ask("/session", {}, Authorization=f"Basic {login}")}
        spec = {"name": category, "description": "", "cardinality": "MULTIPLE", "associable_types": []}
        made = ask("/tagging/category", {"create_spec": spec}, **known)
        tag = ask("/tagging/tag", {"create_spec": {"name": name, "description": "", "category_id": made}}, **known)
        ask(f"/tagging/tag-association/id:{tag}?~action=attach", {"object_id": {"id": vm._moId, "type": "VirtualMachine"}}, **known)

    def vm(self, path: str) -> Any:
        return self.content.searchIndex.FindByInventoryPath(path)

    def wait(self, task: Any) -> Any:
        while task.info.state not in ("success", "error"):
            time.sleep(0.05)
        assert task.info.state == "success", task.info.error
        return task.info.result

    def folder_of(self, vm: Any) -> Path:
        """The local directory that holds the VM's files."""
        name, dummy, rest = vm.config.files.vmPathName[1:].partition("] ")
        datastore = next(item for item in vm.datastore if item.name == name)
        return Path(datastore.info.url) / os.path.dirname(rest)

    def place(self, path: str, disks: list[Path], power: str = "off", apart: bool = False, **config: Any) -> Any:
        """Give a VM of the simulator these disks (raw), and this configuration (firmware, memoryMB, mac, slot, ...).

        `apart`: each disk has a controller of its own.
        """
        vm = self.vm(path)
        if vm.runtime.powerState == "poweredOn":
            self.wait(vm.PowerOffVM_Task())
        folder, changes = self.folder_of(vm), []
        relative = os.path.dirname(vm.config.files.vmPathName)
        present = [device for device in vm.config.hardware.device if isinstance(device, vim.vm.device.VirtualDisk)]
        controller = present[0].controllerKey
        for number, image in enumerate(disks):
            size = image.stat().st_size
            if number >= len(present):
                backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                    fileName=f"{relative}/disk{number + 1}.vmdk", diskMode="persistent", thinProvisioned=True
                )
                if apart:
                    controller = -100 - number
                    own = vim.vm.device.ParaVirtualSCSIController(key=controller, busNumber=number, sharedBus="noSharing")
                    changes.append(vim.vm.device.VirtualDeviceSpec(operation="add", device=own))
                disk = vim.vm.device.VirtualDisk(
                    key=-1 - number,
                    controllerKey=controller,
                    unitNumber=0 if apart else number,
                    capacityInKB=size // 1024,
                    capacityInBytes=size,
                    backing=backing,
                )
                change = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
            else:
                disk = present[number]
                disk.capacityInKB, disk.capacityInBytes = size // 1024, size
                change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
            changes.append(change)
        mac, slot = config.pop("mac", None), config.pop("slot", None)
        for device in vm.config.hardware.device:
            if isinstance(device, vim.vm.device.VirtualEthernetCard) and (mac or slot):
                device.macAddress = mac or device.macAddress
                device.slotInfo = vim.vm.device.VirtualDevice.PciBusSlotInfo(pciSlotNumber=slot) if slot else device.slotInfo
                changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=device))
        self.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=changes, **config)))
        placed = [device for device in vm.config.hardware.device if isinstance(device, vim.vm.device.VirtualDisk)]
        for device, image in zip(placed, disks):
            write_flat(folder, Path(device.backing.fileName.rpartition("/")[2]).stem, image)
        if power == "on":
            self.wait(vm.PowerOnVM_Task())
        return vm


def write_flat(folder: Path, name: str, image: Path, cid: str = "4711cafe") -> None:
    """A disk as ESXi keeps it: a descriptor and a flat file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-flat.vmdk").unlink(missing_ok=True)
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, folder / f"{name}-flat.vmdk"], check=True)
    (folder / f"{name}.vmdk").write_text(
        f'# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID={cid}\nparentCID=ffffffff\ncreateType="vmfs"\n\n# Extent description\n'
        f'RW {image.stat().st_size // 512} VMFS "{name}-flat.vmdk"\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = "lsilogic"\nddb.virtualHWVersion = "13"\n'
    )


class Esxi:
    """An sshd of its own, for keys only. It serves this machine's files, and either datastores where ESXi has them, or SFTP."""

    def __init__(self, folder: Path, datastores: dict[str, Path] | None = None, sftp: bool = False) -> None:
        self.folder = folder
        volumes = folder / "volumes"
        volumes.mkdir()
        for name, path in (datastores or {}).items():
            (volumes / name).symlink_to(path)
        shell = folder / "shell"
        tools = folder / "bin"
        tools.mkdir()
        shell.write_text(
            f"#!/bin/sh\nexport PATH={tools}:$PATH VIM_STATE={folder}/vms.json VIM_VOLUMES={volumes}\n"
            f'exec /bin/sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed s,/vmfs/volumes,{volumes},g)"\n'
        )
        shell.chmod(0o755)
        for name in ("host", "user", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        self.port = free_port()
        (folder / "authorized").write_text((folder / "user.pub").read_text())
        (folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n"
            f"SetEnv HOME={folder}\n"  # what this machine's user runs at each login is nothing that a host has
            + ("Subsystem sftp internal-sftp\n" if sftp else f"ForceCommand {shell}\n")
        )
        kind, key = (folder / "host.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text(f"[localhost]:{self.port} {kind} {key}\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        command = [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-E", folder / "sshd.log", "-f", folder / "config"]
        self.process = subprocess.Popen(command)
        for dummy in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.05)

    def register(self, *vms: dict[str, Any]) -> None:
        """Give the host vim-cmd, and these VMs, numbered from 1: name, datastore, file, disk, power, tools."""
        command = self.folder / "bin" / "vim-cmd"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/peers/vim_cmd.py "$@"\n')
        command.chmod(0o755)
        numbered = {str(number): {"snapshots": {}, "power": "Powered off", "tools": True, **vm} for number, vm in enumerate(vms, 1)}
        (self.folder / "vms.json").write_text(json.dumps({"vms": numbered, "calls": []}))

    def state(self) -> dict[str, Any]:
        """What vim-cmd was asked, and how its VMs are."""
        return json.loads((self.folder / "vms.json").read_text())

    def url(self, path: Path | str) -> str:
        return f"ssh://{getpass.getuser()}@localhost:{self.port}{path}"

    @property
    def login(self) -> dict[str, Any]:
        return {
            "user": getpass.getuser(),
            "port": self.port,
            "host": "localhost",
            "key_file": str(self.folder / "user"),
            "known_hosts": str(self.folder / "known_hosts"),
        }

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def fetch(vc: VCenter, work_dir: Path, source: str = "", check: bool = False, **more: object) -> dict:
    access = {"vsphere": vc.login, **more}
    return harness.module("vmdk_fetch", check, source=[source or vc.url(VM)], work_dir=str(work_dir), access=access)


def content(result: dict, folder: Path) -> list[str]:
    """Digests of the disks as the guest sees them."""
    assert "vm" in result, result["msg"]
    found = []
    for disk in result["vm"]["disks"]:
        raw = folder / "content.raw"
        subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk["staged"], raw], check=True)
        found.append(digest(raw))
        raw.unlink()
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

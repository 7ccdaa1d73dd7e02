# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a host that is reached by SSH, such as ESXi: the system's ssh runs stat and dd there, over one shared connection.

Nothing is needed on the other side but a shell with stat and dd as busybox has them; no SFTP subsystem. Source: ssh(1), ssh_config(5).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import io
import os
import shlex
import shutil
import signal
import subprocess  # pylint: disable=ansible-bad-import
import tempfile
import threading
from dataclasses import dataclass, field
from typing import Iterator, Mapping, Optional, cast

from ..core import atomic, process
from ..core.deadline import limited
from ..core.errors import AccessDenied, InvalidInput, Unreachable
from ..core.numbers import decimal
from . import nbdkit
from .files import MIB, Areas, Interrupted, RemoteFile, changed

# AES-GCM first: twice the rate of the default pick on processors with AES.
_CIPHERS = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr,chacha20-poly1305@openssh.com"
_F_SETPIPE_SZ = 1031  # fcntl(2); Python names it since 3.10
_FAILED = 255  # ssh's own status, as opposed to the remote command's
_WORDS = 64 << 10  # bytes of complaints
_ASKPASS = '#!/bin/sh\nexec cat "$HYPER2KVM_SECRET"\n'


@dataclass(frozen=True)
class Login:
    """How the host is reached. Empty fields are ssh's own defaults. The password never stands in a command line or in the environment."""

    host: str
    user: str = "root"
    port: int = 22
    key_file: str = ""
    known_hosts: str = ""
    password: str = field(default="", repr=False)


@dataclass
class SshFiles:
    """`Login` made into a connection that every read shares. Close it to end the connection and remove its files."""

    login: Login
    timeout: float = 60.0
    run: int = 256 * MIB  # each stream is a command of its own on the other side, and several of them keep all workers busy
    gap: int = MIB
    _directory: str = ""
    _reached: bool = False
    _master: Optional[subprocess.Popen[bytes]] = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stat(self, path: str) -> RemoteFile:
        said = self.command(_stat(path), path)
        fields = said.split()
        if len(fields) != 3 or None in map(decimal, fields):
            raise InvalidInput(
                f"{self.login.host} gives no usable information about {path}: {said[:200]!r}.", "The host needs stat.", path=path
            )
        return RemoteFile(int(fields[0]), said.strip())

    def stream(self, path: str, areas: Areas, stamp: str = "") -> Iterator[memoryview]:
        """One command says what the file is now and then sends it, in whole blocks of 1 MiB as dd counts them; the excess is dropped here."""
        child = self._start(" && ".join([_stat(path), f"F={shlex.quote(path)}", *map(_dd, areas)]))
        with contextlib.suppress(OSError):  # fewer changes between ssh and us; the system may limit it (pipe-user-pages-soft)
            fcntl.fcntl(cast("io.BufferedReader", child.stdout), _F_SETPIPE_SZ, MIB)
        output, errors = cast("io.BufferedReader", child.stdout), cast("io.BufferedReader", child.stderr)
        left = sum(length for dummy, length in areas)
        try:
            with limited(self.timeout, functools.partial(process.kill, child)) as wait:
                now = output.readline(200).decode("ascii", "replace").strip()
                if stamp and now and now != stamp:
                    raise changed(path)
                for offset, length in areas:
                    for piece in _trimmed(output, offset % MIB, length):
                        left -= len(piece)
                        with wait.paused():
                            yield piece
                if left and wait.passed:
                    raise Interrupted(f"{path}: {self.login.host} has sent nothing, or drops, for {self.timeout:.0f} seconds")
                if left:
                    raise self._failed(child.wait(self.timeout), path, f"{left} bytes are missing", errors.read(_WORDS))
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Interrupted(f"{path}: {error}") from error
        finally:
            process.stop(child, grace=0.5)
            output.close()
            errors.close()

    def command(self, command: str, path: str, limit: int = MIB) -> str:
        """What a command on the host prints. Raises InvalidInput for more than `limit` bytes."""
        child = self._start(command)
        output, errors = cast("io.BufferedReader", child.stdout), cast("io.BufferedReader", child.stderr)
        try:
            with limited(self.timeout, functools.partial(process.kill, child)) as wait:
                out = output.read(limit + 1)
                if len(out) > limit:
                    process.kill(child)
                child.wait()
                err = errors.read(_WORDS)
        finally:
            process.stop(child, grace=0.5)
            output.close()
            errors.close()
        if wait.passed:
            raise Interrupted(f"{self.login.host} did not answer within {self.timeout:.0f} seconds")
        if len(out) > limit:
            raise InvalidInput(
                f"{self.login.host} says more than {limit >> 10} KiB about {path}.", "Check what its shell prints.", path=path
            )
        if child.returncode:
            raise self._failed(child.returncode, path, "the command failed", err)
        return out.decode("utf-8", "replace")

    @property
    def exports(self) -> bool:
        return True

    def export(self, path: str, manner: nbdkit.Manner) -> contextlib.AbstractContextManager[nbdkit.Export]:
        """The file as an NBD export. The host needs an SFTP subsystem for this."""
        login = self.login
        arguments = {"host": login.host, "user": login.user, "port": str(login.port), "path": path, "compression": "false"}
        arguments.update({"known-hosts": login.known_hosts} if login.known_hosts else {})
        arguments.update({"identity": login.key_file} if login.key_file else {})
        return nbdkit.export("ssh", arguments, {"password": login.password} if login.password else {}, manner)

    def close(self) -> None:
        if self._master is not None:
            process.stop(self._master)
            self._master = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        self._connect()
        return process.start([*self._ssh("no"), "--", self.login.host, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def _connect(self) -> None:
        """The connection that every command goes through: one login, however many reads there are."""
        with self._lock:
            if self._master is not None and self._master.poll() is None:
                return
            if not self._directory:
                self._directory = tempfile.mkdtemp(prefix="hyper2kvm-ssh-")  # mode 0700
            words = os.path.join(self._directory, "words")
            with open(words, "wb") as said:
                self._master = process.start([*self._ssh("yes"), "-N", "--", self.login.host], env=self._secrets(), stderr=said)
            if not process.appears(os.path.join(self._directory, "mux"), self._master, self.timeout):
                process.stop(self._master)
                with open(words, "rb") as said:
                    raise self._failed(_FAILED, self.login.host, "no connection", said.read())
            self._reached = True

    def _secrets(self) -> Optional[Mapping[str, str]]:
        """ssh asks a program for the password, which reads it from a file that only we can read."""
        if not self.login.password:
            return None
        secret, askpass = os.path.join(self._directory, "secret"), os.path.join(self._directory, "askpass")
        atomic.write_text(secret, self.login.password + "\n", 0o600)
        atomic.write_text(askpass, _ASKPASS, 0o700)
        return {**os.environ, "SSH_ASKPASS": askpass, "SSH_ASKPASS_REQUIRE": "force", "HYPER2KVM_SECRET": secret, "DISPLAY": ":0"}

    def _ssh(self, master: str) -> list[str]:
        options = {
            "BatchMode": "no" if self.login.password else "yes",
            "StrictHostKeyChecking": "yes",
            "NumberOfPasswordPrompts": "1",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
            "ControlMaster": master,
            "ControlPath": os.path.join(self._directory, "mux"),
            "Ciphers": _CIPHERS,
            "Compression": "no",
            "ClearAllForwardings": "yes",
        }
        if self.login.known_hosts:
            options["UserKnownHostsFile"] = self.login.known_hosts
        if self.login.key_file:
            options["IdentityFile"], options["IdentitiesOnly"] = self.login.key_file, "yes"
        argv = ["ssh", "-T", "-l", self.login.user, "-p", str(self.login.port)]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        return argv

    def _failed(self, status: int, path: str, why: str, said: bytes) -> Exception:
        words = said.decode("utf-8", "replace").strip()[-1000:]
        host = self.login.host
        if status == _FAILED or status < 0 or status == 128 + signal.SIGPIPE:
            if "host key" in words.lower() or "host identification" in words.lower():
                return Unreachable(
                    f"{host} has an unknown host key: {words}",
                    "Compare the key on the host's console, then add it (ssh-keyscan) to the known_hosts file that migrate_ssh_known_hosts names.",
                    host=host,
                )
            if "denied" in words.lower() or "too many authentication" in words.lower():
                return AccessDenied(
                    f"{host} refuses the login of {self.login.user}: {words}",
                    "Check the key or the password; ESXi allows root only.",
                    host=host,
                )
            if "resolve" in words.lower():
                return Unreachable(
                    f"{host} cannot be found: {words}",
                    f"Correct the name where it is misspelt; else make the name server know it ('getent hosts {host}' shows what this host finds).",
                    host=host,
                )
            if "connection refused" in words.lower() and not self._reached:  # one that was there before may be starting again
                return Unreachable(
                    f"{host} does not accept connections: {words}", "Check the port, and whether its SSH service runs.", host=host
                )
            return Interrupted(f"{host}: {words or why}")
        if "no such file" in words.lower():
            return InvalidInput(f"{host} has no {path}.", "Check the path; datastores are below /vmfs/volumes.", path=path)
        if "busy" in words.lower() or (status and not words):
            return InvalidInput(
                f"{path} cannot be read on {host}: {words or 'the host gives no reason'}.",
                "ESXi locks the disks of a running VM: shut it down, or take a snapshot and name its parent disk.",
                path=path,
            )
        return Interrupted(f"{path}: {words or why}")


def _stat(path: str) -> str:
    return f"stat -L -c '%s %Y %i' -- {shlex.quote(path)}"


def _dd(area: tuple[int, int]) -> str:
    first, last = area[0] // MIB, (area[0] + area[1] + MIB - 1) // MIB
    return f'dd if="$F" bs={MIB} skip={first} count={last - first} 2>/dev/null'


def _trimmed(output: io.BufferedReader, skip: int, length: int) -> Iterator[memoryview]:
    """`length` bytes of what one dd sends, without the first `skip` and what comes after; fewer where it ends."""
    buffer = memoryview(bytearray(MIB))
    blocks = (skip + length + MIB - 1) // MIB
    for dummy in range(blocks):
        count = output.readinto(buffer)
        piece = buffer[:count][skip : skip + length]
        skip, length = 0, length - len(piece)
        if piece:
            yield piece
        if count < MIB:  # the end of the file
            return

# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM written as an OVF package by govc or by VMware's OVF Tool, where an operator trusts them more: same lease, other client.

Source: `govc export.ovf -h` and its GOVC_* variables; OVF Tool User's Guide (vi locators, prompts). Neither gets a secret on its command line.
"""

from __future__ import annotations

import errno
import os
import pty
import re
import selectors
import shutil
import time
from dataclasses import dataclass, field
from typing import Optional, Sequence

from ..core import modes, process
from ..core.errors import AccessDenied, InvalidInput, NotEnoughSpace, TimedOut, ToolFailed, Unreachable
from ..core.progress import Progress
from ..core.tls import Trust

_KEPT = 64 << 10  # characters of what it has said
_SILENCE = 900.0  # seconds without a word and without a byte
_NAME = "vm"  # of the package, whatever the VM is called
_LOOK = 1.0  # seconds between two looks at what has arrived
_DENIED = re.compile(r"incorrect user name or password|cannot complete login|invalid login", re.IGNORECASE)
_CERTIFICATE = re.compile(r"x509:|SSL (?:fingerprint|thumbprint|certificate)", re.IGNORECASE)
_NO_NAME = re.compile(r"[*?\[\]\\]|(?:^|/)\.{1,2}(?:/|$)")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Export:
    """What is exported: by its id for OVF Tool, by its inventory path for govc. `snapshot`: its id, empty for the VM as it is.

    `thumbprint`: SHA-1 of the server's certificate, which has been judged by `trust`.
    """

    server: str
    port: int
    user: str
    password: str = field(repr=False)
    trust: Trust
    thumbprint: str
    vm: str
    path: str
    snapshot: str


def govc(wanted: Export, directory: str, progress: Progress) -> str:
    """Write the package below `directory`; gives its descriptor."""
    _empty(directory)
    known = os.path.join(directory, "known_hosts")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOVC_")}
    environment.update(
        GOVC_URL=f"https://{wanted.server}:{wanted.port}/sdk",
        GOVC_USERNAME=wanted.user,
        GOVC_PASSWORD=wanted.password,
        GOVC_INSECURE=str(not wanted.trust.verify).lower(),
        GOVC_PERSIST_SESSION="false",
    )
    if wanted.trust.thumbprint:
        with open(known, "w", encoding="ascii") as file:
            file.write(f"{wanted.server}:{wanted.port} {wanted.thumbprint}\n")
        environment["GOVC_TLS_KNOWN_HOSTS"] = known
    elif wanted.trust.ca_file:
        environment["GOVC_TLS_CA_CERTS"] = wanted.trust.ca_file
    # Without a name of ours the VM's would be a path below the directory.
    argv = ["govc", "export.ovf", "-sha", "256", "-name", _NAME, "-vm", wanted.path]
    argv += ["-snapshot", wanted.snapshot] if wanted.snapshot else []
    _watched([*argv, directory], environment, {}, wanted, directory, progress)
    return descriptor(directory)


def require_one(wanted: Export) -> None:
    """Raise InvalidInput for a path that govc takes for a pattern, or for a way through the inventory, and so for that of another VM."""
    if _NO_NAME.search(wanted.path):
        raise InvalidInput(
            f"govc does not take {wanted.path!r} for the name of one VM.",
            "Use another transport (migrate_transport: nfc exports the same), or rename the VM or its folder.",
            path=wanted.path,
        )


def ovftool(wanted: Export, directory: str, progress: Progress) -> str:
    """Write the package into `directory`; gives its descriptor. The VM must be off: OVF Tool exports no snapshot."""
    _empty(directory)
    user = re.sub(r"[^A-Za-z0-9._~-]", lambda match: "".join(f"%{byte:02x}" for byte in match[0].encode()), wanted.user)
    source = f"vi://{user}@{wanted.server}:{wanted.port}/?moref=vim.VirtualMachine:{wanted.vm}"
    argv = ["ovftool", "--shaAlgorithm=SHA256", "--noImageFiles", *([] if wanted.trust.verify else ["--noSSLVerify"])]
    argv += [source, os.path.join(directory, f"{_NAME}.ovf")]
    # It asks for what it lacks: the password, and for a certificate that its own store does not know.
    answers = {r"password:\s*$": wanted.password, r"yes.{0,3} or .{0,3}no\W*$": ""}
    _watched(argv, {**os.environ, "HOME": directory}, answers, wanted, directory, progress)
    return descriptor(directory)


def _empty(directory: str) -> None:
    """What a run that died has left is of no use: an export begins anew."""
    shutil.rmtree(directory, ignore_errors=True)
    modes.make_directory(os.path.dirname(directory))
    os.mkdir(directory, modes.PRIVATE)


def descriptor(directory: str) -> str:
    """The descriptor of the package that lies in `directory` or below."""
    found = [os.path.join(place, name) for place, dummy, names in os.walk(directory) for name in names if name.lower().endswith(".ovf")]
    if len(found) != 1:
        raise ToolFailed(f"The export wrote {len(found)} descriptors, it should have written one.", "Use another transport.")
    return found[0]


def _watched(
    argv: Sequence[str], environment: dict[str, str], answers: dict[str, str], wanted: Export, directory: str, progress: Progress
) -> None:
    """Run the program on a terminal of its own, answer what it asks, and look at what it writes.

    Raises AccessDenied, Unreachable or ToolFailed with its last words, TimedOut when nothing comes any more.
    """
    ours, theirs = pty.openpty()
    try:
        child = process.start(argv, env={**environment, "TERM": "dumb"}, terminal=theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    said, asked, size, whole = "", 0, 0, False
    heard = moved = time.monotonic()
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ours, selectors.EVENT_READ)
            while True:
                if selector.select(_LOOK):
                    chunk = _read(ours)
                    if not chunk:
                        break
                    said = _ESCAPES.sub("", said + chunk.decode("utf-8", "replace"))
                    asked = max(0, asked - max(0, len(said) - _KEPT))
                    said = said[-_KEPT:]
                    heard = time.monotonic()
                    reply = _reply(said[asked:], answers, wanted)
                    if reply is not None:
                        os.write(ours, reply.encode() + b"\n")
                        asked = len(said)
                before, size = size, _size(directory)
                progress.update(size)
                heard, moved = (time.monotonic(),) * 2 if size != before else (heard, moved)
                if time.monotonic() > min(heard + _SILENCE, moved + 2 * _SILENCE):  # one that only says how little is done is no better
                    raise TimedOut(
                        f"{argv[0]} has written nothing for {time.monotonic() - moved:.0f} seconds and was stopped.",
                        "Check the host's load and the network path to it; then run again.",
                        argv=list(argv),
                    )
        if child.wait(60.0):
            raise _failed(argv[0], said[asked:].replace(wanted.password or "\0", "***"))
        whole = True
    finally:
        process.stop(child)
        os.close(ours)
        if not whole:
            shutil.rmtree(directory, ignore_errors=True)


def _reply(tail: str, answers: dict[str, str], wanted: Export) -> Optional[str]:
    """What is answered to the question that the output ends with; an unknown certificate is accepted if it is the one that we verified."""
    for question, answer in answers.items():
        if re.search(question, tail, re.IGNORECASE):
            return answer or ("yes" if wanted.thumbprint and wanted.thumbprint.upper() in tail.upper() else "no")
    return None


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # Linux says so when the other side is closed
            return b""
        raise


def _size(directory: str) -> int:
    total = 0
    for place, dummy, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _failed(tool: str, said: str) -> Exception:
    words = said.strip()[-1500:] or "it printed nothing"
    full = NotEnoughSpace.met(words)
    if full is not None:
        return full
    if _DENIED.search(said):
        return AccessDenied(f"{tool} could not log in: {words}", "Check user name and password.")
    if _CERTIFICATE.search(said):
        return Unreachable(
            f"{tool} does not trust the server's certificate: {words}", "Name the authority (ca_file) or the certificate (thumbprint)."
        )
    return ToolFailed(f"{tool} failed: {words}", "The transports nfc and datastore need no program beside; try one of them.")

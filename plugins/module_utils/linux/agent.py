# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-guest-agent from packages that the operator gives, installed without any network, before the first boot.

Source: dpkg(1), rpm(8); both run inside the appliance and start no service there.
"""

from __future__ import annotations

import os
from typing import Sequence

from ..core import files, limits
from ..core.concern import WARNING, Findings
from ..core.errors import InvalidInput
from ..guest.change import Change
from ..guest.changes.copies import UploadFile
from ..guest.changes.run import RunCommand
from ..guest.model import GuestFacts
from ..guest.protocol import Guest, exists
from . import selinux

_PROGRAMS = ("/usr/sbin/qemu-ga", "/usr/bin/qemu-ga")
_DATABASE = "/var/lib/dpkg/status"
_STORE = "/var/cache/hyper2kvm"
_REASON = "the guest agent, for shutdown, backups and addresses"


def plan(guest: Guest, packages: Sequence[str], facts: GuestFacts, findings: Findings) -> list[Change]:
    """Changes that bring in the packages and install them together; nothing where the agent is installed already.

    What a package tool writes in the appliance has no SELinux labels, so such a guest has to label its files at the first boot.

    `packages` are files or directories with packages. Raises InvalidInput for what is neither, or has no package of the guest's kind.
    """
    if not packages or any(exists(guest, path) for path in _PROGRAMS):
        return []
    dpkg, rpm = exists(guest, "/usr/bin/dpkg"), next((path for path in ("/usr/bin/rpm", "/bin/rpm") if exists(guest, path)), None)
    if not dpkg and rpm is None:
        findings.add(
            "agent.no-package-tool",
            WARNING,
            f"The guest agent is not installed: {facts.family} has neither dpkg nor rpm.",
            "Install it after the move.",
        )
        return []
    uploads = [_upload(path) for path in _files(packages, ".deb" if dpkg else ".rpm")]
    inside = tuple(upload.path for upload in uploads)
    if dpkg:
        argv: tuple[str, ...] = ("/usr/bin/env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", *inside)
        revert: tuple[str, ...] = ("/usr/bin/dpkg", "--purge", "qemu-guest-agent")
    else:
        argv, revert = (rpm or "", "-U", "--replacepkgs", *inside), (rpm or "", "-e", "qemu-guest-agent")
    unlabelled = [] if facts.live else selinux.relabel(guest, facts, "packages were installed offline, without labels", findings)
    return [*uploads, *unlabelled, RunCommand(argv, (_DATABASE,) if dpkg else (), _REASON, revert=revert)]


def _files(packages: Sequence[str], suffix: str) -> list[str]:
    found: list[str] = []
    for path in packages:
        if os.path.isdir(path):
            found += sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(suffix))
        elif os.path.isfile(path):
            found += [path] if path.endswith(suffix) else []
        else:
            raise InvalidInput(
                f"{path} of the guest agent's packages does not exist.", "Give files or directories of the conversion host.", path=path
            )
    if not any(os.path.basename(path).startswith("qemu-guest-agent") for path in found):
        raise InvalidInput(
            f"There is no qemu-guest-agent*{suffix} among the given packages.",
            "Download the package and what it depends on for the guest's release.",
        )
    return found


def _upload(path: str) -> UploadFile:
    data = files.read(path, limits.GUEST_FILE, "The package")
    return UploadFile.of(path, f"{_STORE}/{os.path.basename(path)}", data, _REASON)

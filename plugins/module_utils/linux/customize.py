# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator wants changed beside the repair: host name, SSH keys, serial console, a script for the first boot and, with selinux, a relabel.

Source: hostname(5), sshd's AuthorizedKeysFile, systemd-getty-generator(8), systemd.unit(5) (ConditionPathExists), selinux-autorelabel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Mapping

from ..core.concern import WARNING, Findings
from ..core.errors import InvalidInput
from ..core.numbers import decimal
from ..guest.change import Change
from ..guest.changes.entries import MakeLink
from ..guest.changes.write import WriteFile, edit
from ..guest.model import GuestFacts
from ..guest.protocol import Guest, exists, text
from . import cloudinit, selinux

_SCRIPT = "/usr/local/sbin/hyper2kvm-firstboot"
_DONE = "/var/lib/hyper2kvm-firstboot.done"
_UNIT = "/etc/systemd/system/hyper2kvm-firstboot.service"
_WANTED = "/etc/systemd/system/multi-user.target.wants/hyper2kvm-firstboot.service"
_HOSTNAME = re.compile(r"^(?=.{1,253}$)[a-zA-Z0-9]([a-zA-Z0-9-]{0,62})(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,62}))*$")
_KEY = re.compile(r"^(ssh-|ecdsa-|sk-)[\w@.-]+ [A-Za-z0-9+/=]+( .*)?$")


@dataclass(frozen=True)
class Customization:
    """Everything optional; an empty value changes nothing. `cloud_init` has user_data, meta_data, network_config and drop_in."""

    hostname: str = ""
    ssh_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    firstboot_script: str = ""
    serial_console: bool = False
    cloud_init: Mapping[str, str] = field(default_factory=dict)
    selinux_relabel: bool = False


def plan(guest: Guest, facts: GuestFacts, wanted: Customization, findings: Findings) -> list[Change]:
    """Changes for what is wanted, and the pin of cloud-init. Raises InvalidInput for values that no guest could use."""
    changes: list[Change] = []
    if wanted.hostname:
        changes += _hostname(guest, facts, wanted.hostname)
    for user, keys in wanted.ssh_keys.items():
        changes += _keys(guest, user, keys)
    if wanted.firstboot_script:
        changes += _firstboot(guest, wanted.firstboot_script, findings)
    if wanted.serial_console:
        changes += _serial(guest)
    if wanted.cloud_init and not cloudinit.installed(guest):
        findings.add(
            "cloudinit.missing",
            WARNING,
            "A cloud-init seed was given, but the guest has no cloud-init.",
            "Install it in the guest, or use migrate_customize_*.",
        )
    seed = {key: value for key, value in wanted.cloud_init.items() if key in cloudinit.FILES and value}
    changes += cloudinit.plan(guest, seed, wanted.cloud_init.get("drop_in", ""))
    if wanted.selinux_relabel:
        changes += selinux.relabel(guest, facts, "the operator asked for it", findings)
    return changes


def _hostname(guest: Guest, facts: GuestFacts, name: str) -> list[Change]:
    if not _HOSTNAME.match(name):
        raise InvalidInput(f"{name!r} is not a valid host name.", "Use letters, digits, hyphens and dots.")
    changes = list(edit("/etc/hostname", text(guest, "/etc/hostname"), f"{name}\n", "the operator's host name"))
    network = text(guest, "/etc/sysconfig/network")
    if network is not None and "HOSTNAME=" in network:
        changes += edit(
            "/etc/sysconfig/network", network, re.sub(r"(?m)^HOSTNAME=.*$", f"HOSTNAME={name}", network), "the operator's host name"
        )
    hosts = text(guest, "/etc/hosts")
    if hosts is not None and facts.hostname:
        after = re.sub(rf"(?m)(?<=\s){re.escape(facts.hostname)}(?=\s|$)", name, hosts)
        changes += edit("/etc/hosts", hosts, after, "the operator's host name")
    return changes


def _keys(guest: Guest, user: str, keys: tuple[str, ...]) -> list[Change]:
    wrong = next((key for key in keys if not _KEY.match(key)), None)
    if wrong is not None:
        raise InvalidInput(f"{wrong[:40]!r} is not a public SSH key.", "Give the line of the .pub file.")
    entry = next((line.split(":") for line in (text(guest, "/etc/passwd") or "").splitlines() if line.split(":")[0] == user), None)
    if entry is None or len(entry) < 7:
        raise InvalidInput(f"The guest has no user {user}.", "Name a user of /etc/passwd.")
    path = f"{entry[5].rstrip('/')}/.ssh/authorized_keys"
    before = text(guest, path)
    added = [key for key in keys if key not in (before or "").splitlines()]
    start = before if before is None or before.endswith("\n") or not before else before + "\n"
    after = (start or "") + "".join(f"{key}\n" for key in added)
    uid, gid = decimal(entry[2]), decimal(entry[3])
    if uid is None or gid is None:
        raise InvalidInput(
            f"The entry of {user} in the guest's /etc/passwd has no number for its user or group.", "Correct /etc/passwd in the guest."
        )
    owner = (uid, gid)
    return [] if not added else [WriteFile(path, before, after, f"the operator's keys for {user}", 0o600, owner)]


def _firstboot(guest: Guest, script: str, findings: Findings) -> list[Change]:
    if not exists(guest, "/usr/lib/systemd/system") and not exists(guest, "/lib/systemd/system"):
        findings.add(
            "customize.no-systemd",
            WARNING,
            "The first-boot script needs systemd, which the guest does not have.",
            "Run it by hand after the move.",
        )
        return []
    unit = (
        f"[Unit]\nDescription=The operator's script for the first boot\nConditionPathExists=!{_DONE}\nAfter=network-online.target\n"
        f"Wants=network-online.target\n\n[Service]\nType=oneshot\nExecStart={_SCRIPT}\nExecStartPost=/bin/touch {_DONE}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    body = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
    return [
        *edit(_SCRIPT, text(guest, _SCRIPT), body, "the operator's script", 0o700, secret=True),
        *edit(_UNIT, text(guest, _UNIT), unit, "runs it once"),
        *([] if exists(guest, _WANTED) else [MakeLink(_WANTED, _UNIT, "runs it once")]),
    ]


def _serial(guest: Guest) -> list[Change]:
    """A login on ttyS0 by the generator's own rule; kernel messages go there by `console=`, which the boot loader's fix leaves alone."""
    wanted = "/etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service"
    template = next(
        (
            path
            for path in ("/usr/lib/systemd/system/serial-getty@.service", "/lib/systemd/system/serial-getty@.service")
            if exists(guest, path)
        ),
        None,
    )
    return [] if template is None or exists(guest, wanted) else [MakeLink(wanted, template, "a login on the serial console")]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entry starts by itself, and how to choose another one: the guest's own default is kept when its kernel can run.

Source: GRUB manual 2.06 (default, saved_entry), GRUB legacy manual, loader.conf(5), Boot Loader Specification (sorting, boot counting),
syslinux wiki (DEFAULT, MENU DEFAULT).
"""

from __future__ import annotations

import fnmatch
import re
from typing import Optional, Sequence

from ..core.numbers import decimal
from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.protocol import Guest, glob, resolve_link, text
from .entries import BootEntry, environment, newest_first
from .inspect import ESP_MOUNTS, EXTLINUX_CONFIGS, GRUB_CONFIGS, legacy_configs, vendor_configs, version_key

GRUBENV_SIZE = 1024
_DEFAULT = re.compile(r"^([ \t]*set[ \t]+default=)(\"[^\"\n]*\"|'[^'\n]*'|[^\s;]*)", re.MULTILINE)
_LEGACY = re.compile(r"^([ \t]*default[ \t=]+)(\S+)", re.MULTILINE)
_GRUB_DEFAULT = re.compile(r"^([ \t]*GRUB_DEFAULT=)([^\n]*)", re.MULTILINE)
_BLSCFG = re.compile(r"^[ \t]*blscfg\b", re.MULTILINE)
_ANY_CASE = re.MULTILINE | re.IGNORECASE
_REASON = "a kernel that can run on virtio starts by default"


def default_entry(guest: Guest, entries: Sequence[BootEntry]) -> Optional[BootEntry]:
    """The entry that starts by itself; None when that cannot be told."""
    for path in (*GRUB_CONFIGS, *vendor_configs(guest)):
        content = text(guest, path)
        if content is None:
            continue
        chosen = _grub_choice(guest, content)
        if _BLSCFG.search(content):
            listed = newest_first([entry for entry in entries if "/loader/entries/" in entry.config])
            return _named(listed, chosen) or (listed[0] if listed else None)
        own = [entry for entry in entries if entry.config == path]
        if own:
            return _by_path(own, chosen) or own[0]
    for path in legacy_configs(guest):
        own = [entry for entry in entries if entry.config == path]
        match = _LEGACY.search(text(guest, path) or "")
        if own:
            chosen = match[2] if match else "0"
            if chosen == "saved":
                chosen = (text(guest, "/boot/grub/default") or "").split("\n", 1)[0].strip()
            return _by_path(own, chosen) or own[0]
    return _loader_default(guest, entries) or _extlinux_default(guest, entries) or (entries[0] if entries else None)


def set_default(guest: Guest, entry: BootEntry) -> list[Change]:
    """Changes after which `entry` starts by itself, also after the menu is generated anew."""
    if "/loader/entries/" in entry.config:
        changes = [change for path in grubenvs(guest) for change in set_env(guest, path, "saved_entry", entry.names[0][1])]
        for base in ESP_MOUNTS:
            path = f"{base}/loader/loader.conf"
            before = text(guest, path)
            if before is not None:
                line = f"default {entry.names[0][0]}"
                found = re.search(r"^[ \t]*default\b.*$", before, re.MULTILINE)
                after = before[: found.start()] + line + before[found.end() :] if found else f"{line}\n{before}"
                changes += edit(path, before, after, _REASON)
        return changes
    before = text(guest, entry.config) or ""
    if entry.config in legacy_configs(guest):
        return list(edit(entry.config, before, _LEGACY.sub(lambda match: match[1] + entry.names[0][0], before), _REASON))
    if entry.config in EXTLINUX_CONFIGS:
        after = re.sub(
            r"^([ \t]*default[ \t]+)\S+", lambda match: match[1] + entry.names[0][0], before, count=1, flags=re.MULTILINE | re.IGNORECASE
        )
        return list(edit(entry.config, before, after, _REASON))
    spec = ">".join(names[-1] for names in entry.names)
    changes = []
    if "${saved_entry}" in before:
        changes += [change for path in grubenvs(guest) for change in set_env(guest, path, "saved_entry", spec)]
    else:
        after = _DEFAULT.sub(lambda match: match[0] if "$" in match[2] else f'{match[1]}"{spec}"', before)
        changes += edit(entry.config, before, after if after != before else f'set default="{spec}"\n{before}', _REASON)
    defaults = text(guest, "/etc/default/grub")
    if defaults is not None and not re.search(r"^[ \t]*GRUB_DEFAULT=[\"']?saved", defaults, re.MULTILINE):
        changes += edit("/etc/default/grub", defaults, _GRUB_DEFAULT.sub(lambda match: f'{match[1]}"{spec}"', defaults), _REASON)
    return changes


def grubenvs(guest: Guest) -> list[str]:
    """GRUB's environment blocks; in /boot it may be a link to the one on the ESP."""
    found = ["/boot/grub/grubenv", "/boot/grub2/grubenv"]
    found += [f"{path.rsplit('/', 1)[0]}/grubenv" for path in vendor_configs(guest)]
    return list(dict.fromkeys(resolve_link(guest, path) for path in found if guest.read(path) is not None))


def set_env(guest: Guest, path: str, key: str, value: str) -> list[Change]:
    """A change of one variable of a GRUB environment block, which is exactly 1024 bytes, padded with '#'."""
    before = text(guest, path) or ""
    lines = [line for line in before.rstrip("#").splitlines() if not line.startswith(f"{key}=")]
    body = "\n".join([*lines, f"{key}={value}"]) + "\n"
    return list(edit(path, before, body + "#" * (GRUBENV_SIZE - len(body)), _REASON)) if len(body) <= GRUBENV_SIZE else []


def _grub_choice(guest: Guest, content: str) -> str:
    """The literal default of a menu, or the saved one where the menu asks for it."""
    if "${saved_entry}" in content or _BLSCFG.search(content):
        saved = next((environment(text(guest, path) or "").get("saved_entry") for path in grubenvs(guest)), None)
        if saved:
            return saved
    literal = [match[2].strip("\"'") for match in _DEFAULT.finditer(content) if "$" not in match[2]]
    return literal[-1] if literal else "0"


def _by_path(entries: Sequence[BootEntry], spec: str) -> Optional[BootEntry]:
    """The entry at "submenu>entry", each by number, title or id; a submenu alone means its first entry."""
    steps = spec.split(">")
    return next(
        (entry for entry in entries if len(steps) <= len(entry.names) and all(step in names for step, names in zip(steps, entry.names))),
        None,
    )


def _named(listed: Sequence[BootEntry], spec: str) -> Optional[BootEntry]:
    number = decimal(spec)
    if number is not None and number < len(listed):
        return listed[number]
    return next((entry for entry in listed if spec in entry.names[0]), None)


def _loader_default(guest: Guest, entries: Sequence[BootEntry]) -> Optional[BootEntry]:
    listed = _sorted(guest, [entry for entry in entries if "/loader/entries/" in entry.config])
    for base in ESP_MOUNTS:
        match = re.search(r"^[ \t]*default[ \t]+(\S+)", text(guest, f"{base}/loader/loader.conf") or "", re.MULTILINE)
        if match is not None and glob(guest, f"{base}/loader/entries", ".conf"):
            pattern = match[1] if "*" in match[1] else match[1].replace(".conf", "") + "*"
            return next((entry for entry in listed if fnmatch.fnmatch(entry.names[0][0], pattern)), None) or (listed[0] if listed else None)
    return listed[0] if listed else None


def _sorted(guest: Guest, entries: Sequence[BootEntry]) -> list[BootEntry]:
    """Entries as systemd-boot lists them: those that have a sort key by it and newest first, then the others; at the end what never started."""
    said = {
        entry.config: dict(re.findall(r"^[ \t]*(sort-key|version|machine-id)[ \t]+(\S+)", text(guest, entry.config) or "", re.M))
        for entry in entries
    }
    listed = newest_first(entries)
    listed.sort(
        key=lambda entry: version_key(said[entry.config].get("version", "")) if "sort-key" in said[entry.config] else (), reverse=True
    )
    listed.sort(
        key=lambda entry: (
            re.search(r"\+0(?:-[0-9]+)?\.conf$", entry.config) is not None,
            "sort-key" not in said[entry.config],
            said[entry.config].get("sort-key", ""),
            said[entry.config].get("machine-id", "") if "sort-key" in said[entry.config] else "",
        )
    )
    return listed


def _extlinux_default(guest: Guest, entries: Sequence[BootEntry]) -> Optional[BootEntry]:
    for path in EXTLINUX_CONFIGS:
        own = [entry for entry in entries if entry.config == path]
        content = text(guest, path) or ""
        match = re.search(r"^[ \t]*(?:default|ontimeout)[ \t]+(\S+)", content, _ANY_CASE)
        marked = re.search(r"^[ \t]*label[ \t]+(\S+)(?:(?!\n[ \t]*label\b)[\s\S])*?\n[ \t]*menu[ \t]+default[ \t]*$", content, _ANY_CASE)
        named = [found[1] for found in (match, marked) if found is not None]
        if own:
            return next((entry for name in named for entry in own if entry.names[0][0] == name), own[0])
    return None

# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a guest is nobody else's business: files that not everybody in the guest may read, and values that are known to be secrets.

Such a file is shown by its digest and length. In files that everybody may read, passwords and the like are shown as such.
Source: netplan(5), nm-settings-keyfile(5), wpa_supplicant.conf(5), mount.cifs(8), dracut.cmdline(7), GRUB's manual ("Authentication and
authorisation"), Microsoft: "Configure Windows to automate logon".
"""

from __future__ import annotations

import hashlib
import re
from typing import Optional

from .protocol import Guest, resolve_link

_OTHERS_READ, _OTHERS_PASS = 0o004, 0o001
# Directories of boot loaders are closed on many distributions, and what is in them is open.
_OPEN = ("/boot", "/boot/efi", "/efi")
_PATHS = re.compile(
    r"/etc/(g?shadow|(gshadow|shadow|passwd)-|krb5\.keytab|ipsec\.secrets|.*wpa_supplicant.*\.conf|ppp/.*secrets|wireguard/.*|openvpn/.*|cryptsetup-keys\.d/.*"
    r"|ssh/ssh_host_[^/]*key|NetworkManager/system-connections/.*|sysconfig/network-scripts/keys-.*|ssl/private/.*|pki/.*/private/.*)"
    r"|/var/lib/(cloud/(seed|instances?)/.*|iwd/.*|connman/.*)|.*/\.ssh/id_[^/]*"
    r"|.*\.(key|psk|p12|pfx|keytab|8021x)|.*/(unattend|autounattend|sysprep)\.(xml|inf)",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"/etc/(netplan|network|wicked|systemd/network|sysconfig/network(-scripts)?)(/.*)?|/(usr/)?lib/(netplan|systemd/network)/.*"
)
# Every repetition has an end, and words are looked for in few places, since what is searched may be written to make it take long.
_LONG = r"(?:pass(?:word|wd|phrase|code)|pwd|psk|secret|token|credential|(?:api|private|wep|preshared|pre-shared|access|auth|wireless)[_.-]?key)"
_NAME = rf"(?:{_LONG}|pass)(?!(?-i:[a-z]))"  # not the beginning of another word, as in "tokens"
_WORD = re.compile(_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"""(?i)(?:{_NAME}[\w.-]{{0,40}}["']?[ \t]{{0,4}}=[ \t]{{0,4}}("[^"\n]*"?|'[^'\n]*'?|[^\s,;"']+)"""
    rf"""|{_LONG}(?!(?-i:[a-z]))[\w.-]{{0,40}}["']?:[ \t]{{1,4}}(\S[^\n]*))"""
)
# A setting that begins a line takes all of it, blanks too.
_LINE = re.compile(
    rf"(?im)^[ \t-]{{0,40}}(?:[\w.-]{{0,40}}{_NAME}[\w.-]{{0,40}}(?:[ \t]{{0,4}}=[ \t]{{0,4}}|[ \t]{{0,4}}:[ \t]{{1,4}})(\S[^\n]*)"
    r"|(?:wpa-psk|wireless-key\d?|password|password_pbkdf2)[ \t]{1,4}(\S[^\n]*))"
)
_URL = re.compile(r"(?i)(?:://|iscsi:)[^\s/:@]{0,64}:([^\s/@]{1,256})@")
_BLOCK = re.compile(rf"(?i){_NAME}[\w.-]{{0,40}}[\"']?[ \t]{{0,4}}:[ \t]{{0,4}}[|>]")
_LONGEST = 16384  # characters of a line that is looked into
_REGISTRY = re.compile(
    r"pass(word|wd|phrase|code)|secret|psk|token|credential|private.?key|(wep|product|auth|shared).?key|digitalproductid|communit|\bhash",
    re.IGNORECASE,
)
_KEYS = re.compile(r"(?:^|\\)(SAM|SECURITY|Secrets|ValidCommunities|TrapConfiguration|WinVNC\d?|ORL)(?:\\|$)", re.IGNORECASE)
NOT_SHOWN = "(not shown)"


def digest(data: bytes) -> str:
    """What stands for a secret."""
    return f"sha256:{hashlib.sha256(data).hexdigest()} ({len(data)} bytes)"


def in_guest(guest: Guest, path: str, new: int, *texts: Optional[str]) -> bool:
    """Whether the file at `path` is a secret: by the mode that it has there, or will have (`new`), its name, and for what networks need its `texts`."""
    real = resolve_link(guest, path)
    stat = guest.stat(real)
    if not (new if stat is None else stat.mode) & _OTHERS_READ or _PATHS.fullmatch(path) or _PATHS.fullmatch(real):
        return True
    known = [text for text in texts if text is not None]
    if any(_BLOCK.search(text) or (_NETWORK.fullmatch(path) and masked(text) != text) for text in known):
        return True
    return any(_closed(guest, parent) for parent in _parents(real))


def _parents(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def _closed(guest: Guest, directory: str) -> bool:
    if directory in _OPEN or directory.startswith("/boot/"):
        return False
    stat = guest.stat(directory)
    return stat is not None and stat.kind == "dir" and not stat.mode & _OTHERS_PASS


def masked(text: str) -> str:
    """A text without the values that are known to be secrets."""
    return "\n".join(map(_masked, text.split("\n")))


def _masked(line: str) -> str:
    if len(line) > _LONGEST:
        return f"({len(line)} characters)"
    found = _WORD.search(line) is not None
    for pattern in (_LINE, _ASSIGNED, _URL) if found else (_URL,):
        line = pattern.sub(_hidden, line)
    return line


def _hidden(match: re.Match[str]) -> str:
    start, end = next(match.span(number) for number in range(1, match.re.groups + 1) if match[number] is not None)
    if match.string[start:end].startswith(NOT_SHOWN.split()[0]):
        return match[0]
    return match.string[match.start() : start] + NOT_SHOWN + match.string[end : match.end()]


def in_registry(key: str, name: str, number: bool = False) -> bool:
    """Whether a value of the registry is a secret. A number only says how one is dealt with, unless its key holds nothing else."""
    return (not number and _REGISTRY.search(name) is not None) or _KEYS.search(key) is not None

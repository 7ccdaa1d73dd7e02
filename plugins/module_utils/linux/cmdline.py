# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel command lines, edited token by token: what is not a device of this guest keeps every byte.

One table (`WORDS`) has every word that names a device, with how its value is written and which names the program that reads it takes.
Source: Documentation/admin-guide/kernel-parameters.rst, dracut.cmdline(7) with its module fips, systemd-cryptsetup-generator(8),
systemd-veritysetup-generator(8), systemd-fstab-generator(8), cryptsetup-initramfs' README, genkernel(8), the mkinitcpio hook encrypt,
mkinitfs-bootparam(7), btrfs(5), xfs(5); for device numbers block/early-lookup.c and Documentation/admin-guide/devices.txt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Iterator, Optional

from ..core.concern import Findings
from ..guest.device_names import letters
from ..guest.model import SWAP, BlockDevice
from ..guest.protocol import Guest, stable_path, stable_spec

_TOKEN = re.compile(r'(?:[^\s"]|"[^"]*")+')
_NAMES = (
    r"/dev/(?:sd[a-z]+\d*|hd[a-z]\d*|vd[a-z]\d*|xvd[a-z]\d*|nvme\d+n\d+(?:p\d+)?|mapper/(?:mpath[a-z]+|3[0-9a-f]{16,32})[^\s,:;\"']*"
    r"|block/\d+:\d+|disk/(?:by-path|by-id|by-diskseq|azure|cloud)/[^\s,;\"']+)"
)
# Names that the order of discovery or the controller gives; everything else survives the move.
UNSTABLE = re.compile(rf"^{_NAMES}$")
_ANYWHERE = re.compile(rf"(?:^|(?<=[\s=,:;\"'])){_NAMES}(?=$|[\s,:;\"'])")
_NUMBERS = re.compile(r"^(?:([0-9]{1,3}):([0-9]{1,4})|(?:0x)?([0-9a-f]{3,4}))$")
_BLOCK = "/dev/block/"
_EXPANDED = re.compile(r"[$`*\[(\\]")  # what a shell makes of it is not known here
_IDE = (3, 22, 33, 34, 56, 57)
_SCSI = (8, *range(65, 72), *range(128, 136))
_SERIAL = re.compile(r"(?:^|(?<=\s))rd\.luks\.serial=(\S+)")  # of a disk that stays behind
_MOST = 100  # names of one file that are told one by one
_PORTABLE_ID = re.compile(r"^/dev/disk/by-id/(dm-name-|dm-uuid-|lvm-pv-uuid-|md-uuid-|md-name-)")

TAGS = ("UUID", "PARTUUID")


@dataclass(frozen=True)
class Word:
    """A parameter that names a device: the names of it, and a pattern that finds `device` in its value.

    `path`: what reads it wants a path below /dev/disk, and takes no UUID=. `tags` are the identifiers that it knows, the best first.
    """

    names: tuple[str, ...]
    pattern: re.Pattern[str]
    tags: tuple[str, ...] = TAGS
    path: bool = False

    def rewritten(self, value: str, stable: Callable[[str, Word], Optional[str]]) -> str:
        """The value with each device that `stable` knows a name for by that name."""

        def replaced(match: re.Match[str]) -> str:
            spec = stable(match["device"], self)
            if spec is None:
                return match[0]
            start, end = match.start("device") - match.start(), match.end("device") - match.start()
            return match[0][:start] + spec + match[0][end:]

        return self.pattern.sub(replaced, value)

    def name_of(self, guest: Guest, device: BlockDevice) -> Optional[str]:
        """The stable name of a device as this parameter takes it; None where it has none."""
        spec = stable_spec(guest, device, self.tags)
        return stable_path(spec) if spec is not None and self.path else spec


_WHOLE = re.compile(r"^(?P<device>[^\s]+)$")
_ROOT = re.compile(r"^(?:block:)?(?P<device>[^\s]+)$")  # dracut takes it with its kind before it
_FIRST = re.compile(r"^(?P<device>(?:/dev/disk/by-path/[^\s]*?-part\d+|/dev/disk/by-path/\S*?(?=:[^:]*$)|[^:\s]+))(?=:|$)")
_SECOND = re.compile(r"^[^:\s]*:(?P<device>/dev/disk/by-path/(?:\S*?-part\d+|\S+)|/dev/[^:\s]+|[A-Z]+=[^:\s]+)(?=:|$)")
_HEADER = r"(?:^|(?<=[=,]))header="
WORDS = (
    Word(("root", "real_root"), _ROOT),
    Word(("boot",), _WHOLE),  # dracut's fips: where the kernel and its checksum are
    Word(("crypt_root", "crypt_swap", "real_resume"), _WHOLE, ("UUID", "PARTUUID", "LABEL")),  # genkernel
    Word(("cryptroot",), re.compile(r"^(?!source=|target=)(?P<device>\S+)$"), ("UUID",)),  # mkinitfs
    Word(("cryptdevice", "cryptkey"), _FIRST, ("UUID", "PARTUUID", "LABEL")),  # mkinitcpio
    Word(("cryptopts", "cryptroot"), re.compile(r"(?:^|(?<=,))source=(?P<device>[^,\s]+)"), ("UUID",)),  # cryptsetup-initramfs
    Word(("root_keydev", "swap_keydev"), _WHOLE, path=True),  # genkernel
    Word(("rd.luks.key", "luks.key", "rd.luks.header"), _SECOND, ("UUID", "LABEL")),
    Word(("rd.luks.data", "luks.data"), re.compile(r"^[^=\s]*=(?P<device>\S+)$"), ("UUID", "PARTUUID", "LABEL")),
    Word(("rd.luks.options", "luks.options"), re.compile(_HEADER + r"[^:,\s]*:(?P<device>/dev/[^,\s]+)"), ("UUID", "PARTUUID", "LABEL")),
    Word(("rd.luks.options", "luks.options"), re.compile(_HEADER + r"(?P<device>/dev/[^,\s]+)"), path=True),
    Word(tuple(f"systemd.verity_{what}" for what in ("root_data", "root_hash", "usr_data", "usr_hash")), _WHOLE, path=True),
    Word(("mount.usr",), _WHOLE),
    Word(
        tuple(f"{where}systemd.{what}-extra" for where in ("", "rd.") for what in ("mount", "swap")), _FIRST, ("UUID", "PARTUUID", "LABEL")
    ),
    # Members of one btrfs share its UUID, so that only their partitions tell them apart.
    Word(("rootflags",), re.compile(r"(?:^|(?<=,))device=(?P<device>[^,\s]+)"), ("PARTUUID",), path=True),
    Word(("rootflags",), re.compile(r"(?:^|(?<=,))(?:logdev|rtdev|journal_path)=(?P<device>[^,\s]+)"), path=True),
)


def unstable(spec: str) -> bool:
    """Whether a device name may mean something else, or nothing, after the move."""
    return bool(UNSTABLE.match(spec)) and not _PORTABLE_ID.match(spec)


def numbered(spec: str) -> str:
    """The name of the disk with device numbers, as the kernel takes them for root= and resume=: major:minor, or both in hexadecimal.

    Empty for what is neither, or for numbers that no kind of disk has for its own.
    """
    match = _NUMBERS.match(spec)
    if match is None:
        return ""
    major, minor = (int(match[1]), int(match[2])) if match[1] else divmod(int(match[3], 16), 256)
    if major in _IDE:
        drive, part = divmod(minor, 64)
        name = f"/dev/hd{letters(_IDE.index(major) * 2 + drive)}"
    elif major in _SCSI:
        disk, part = divmod(minor, 16)
        name = f"/dev/sd{letters(_SCSI.index(major) * 16 + disk)}"
    else:
        return f"{_BLOCK}{major}:{minor}"
    return f"{name}{part or ''}"


def rewrite(line: str, guest: Guest, missing: Optional[Callable[[str, str], None]] = None) -> str:
    """`line` with the devices of its words by stable names, and resume= by a stable name or, when its device is not there, dropped.

    `missing(parameter, spec)` is told of a device that cannot be resolved; the token is then left alone.
    """
    tokens = list(_tokens(line))
    swap_file = any(token.startswith("resume_offset=") for token in tokens)
    resumes = [_resumed(token, guest, swap_file) for token in tokens if token.startswith("resume=")]
    lost = bool(resumes) and resumes[-1] is None
    swap_file = swap_file and not lost
    out, position = "", 0
    for match in _TOKEN.finditer(line):
        bare = _bare(match[0])
        token = _replaced(bare, guest, missing, swap_file)
        if token == bare:
            token = match[0]
        if lost and bare.startswith("resume_offset="):
            token = None
        gap = line[position : match.start()]
        if token is not None:
            out += gap + token
        elif "\n" in gap or not out.strip():  # without the white space on one side, but a line that goes on needs its end
            out += gap
            position = match.end() + len(line[match.end() :]) - len(line[match.end() :].lstrip(" \t"))
            continue
        position = match.end()
    return out + line[position:]


def _replaced(token: str, guest: Guest, missing: Optional[Callable[[str, str], None]], swap_file: bool) -> Optional[str]:
    """What a token becomes; None for one that is dropped."""
    name, equals, value = token.partition("=")
    if name == "resume" and equals:
        return _resumed(token, guest, swap_file)
    whole = value[:1] in ('"', "'") and value[-1:] == value[:1] and len(value) > 1  # GRUB takes either kind away
    inner = value[1:-1] if whole else value

    def stable(spec: str, word: Word) -> Optional[str]:
        named = numbered(spec) if name == "root" else ""
        if not named and not unstable(spec):
            return None
        device = guest.device(named or spec)
        found = word.name_of(guest, device) if device is not None else None
        if (
            found is None and missing is not None and not named.startswith(_BLOCK)
        ):  # what has no number of its own may be a volume, or no number at all
            missing(name, spec)
        return found

    for word in WORDS:
        if name in word.names:
            inner = word.rewritten(inner, stable)
    return f"{name}={inner}" if equals and inner != (value[1:-1] if whole else value) else token


def _resumed(token: str, guest: Guest, swap_file: bool) -> Optional[str]:
    """resume= by a stable name; None where it leads nowhere. With resume_offset= it names the file system of a swap file."""
    spec = token.partition("=")[2].strip("\"'")
    if spec in ("", "none") or _EXPANDED.search(spec):
        return token
    named = numbered(spec)
    device = guest.device(named or spec)
    if device is None or not (swap_file or device.fstype in SWAP):
        return None
    found = stable_spec(guest, device, TAGS) if named or unstable(spec) else None
    return f"resume={found}" if found is not None else token


def devices(line: str) -> Iterator[tuple[str, str]]:
    """Each device that the words of a command line name, but for root= and resume=, with its parameter."""
    for token in _tokens(line):
        name, equals, value = token.partition("=")
        for word in WORDS if equals and name != "root" else ():
            if name in word.names:
                yield from ((name, match["device"]) for match in word.pattern.finditer(value.strip("\"'")))


def leftovers(line: str) -> list[str]:
    """Every name in a command line that the order of discovery or the controller gives, in whatever word it stands."""
    return [found for found in _ANYWHERE.findall(line) if unstable(found)] + _SERIAL.findall(line)


def unsaid(content: str, comments: tuple[str, ...], findings: Findings) -> Iterator[str]:
    """Names that are left in the lines of a file and that no concern has yet, each once. After many only how many more there are."""
    lines = (line for line in content.splitlines() if not line.lstrip().startswith(comments))
    names, told = list(dict.fromkeys(name for line in lines for name in leftovers(line))), 0
    for number, name in enumerate(names):
        if told == _MOST:
            yield f"{name} and {len(names) - number - 1} more"
            return
        if not any(name in concern.cause for concern in findings.concerns):
            told += 1
            yield name


def values(line: str, name: str) -> list[str]:
    """Every value of a parameter, in order."""
    return [token.partition("=")[2].strip("\"'") for token in _tokens(line) if token.partition("=")[0] == name]


def roots(line: str) -> list[str]:
    """Every device of root=, in order, and of genkernel's real_root= behind them; the last one counts."""
    found = [*values(line, "root"), *values(line, "real_root")]
    return [value[len("block:") :] if value.startswith("block:") else value for value in found]


def _tokens(line: str) -> Iterator[str]:
    return map(_bare, _TOKEN.findall(line))


def _bare(token: str) -> str:
    """A parameter without quotes around all of it. Source: next_arg in lib/cmdline.c."""
    return token[1:-1] if len(token) > 2 and token[0] == token[-1] == '"' and '"' not in token[1:-1] and " " not in token else token

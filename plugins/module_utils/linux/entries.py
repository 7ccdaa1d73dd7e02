# SPDX-License-Identifier: GPL-3.0-or-later
"""What the boot loader will start: kernel, initramfs and command line of every entry, with the files found in the guest.

Source: GRUB manual 2.06 (menuentry, submenu, load_env), Boot Loader Specification, syslinux wiki.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from typing import Iterator, Mapping, Optional, Sequence

from ..guest.model import Kernel
from ..guest.protocol import Guest, exists, resolve_link, text
from .inspect import EXTLINUX_CONFIGS, GRUB_CONFIGS, bls_entries, legacy_configs, vendor_configs, version_key

_KERNEL = re.compile(r"^\s*(?:linux|linux16|linuxefi|kernel)\s+(\S+)[ \t]*(.*)$")
_INITRD = re.compile(r"^\s*(?:initrd|initrd16|initrdefi)\s+(.*)$")
_MENU = re.compile(r"^\s*(menuentry|submenu)\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))(.*)\{\s*$")
_TITLE = re.compile(r"^\s*title\s+(.*)$")
_ID = re.compile(r"(?:\$\{?menuentry_id_option\}?|--id)[ =]+['\"]?([^'\"\s{]+)")
_SET = re.compile(r"^\s*set\s+(\w+)=(?:\"([^\"]*)\"|'([^']*)'|(\S*))\s*$")
_LOAD_ENV = re.compile(r"load_env\s+-f\s+(\S+)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_MEMTEST = re.compile(r"memtest|xen.*\.gz$")
_MICROCODE = re.compile(r"(?:ucode|microcode|-uc)\.(?:img|cpio)$")  # as mkinitcpio, Debian, Ubuntu and systemd-boot call it


@dataclass(frozen=True)
class BootEntry:
    """One way to boot: where it is written, the kernel and initramfs paths as written, the command line.

    `names` says, level by level of the menu, what a default may call it: its number, title, id.
    """

    config: str
    kernel: str
    initrds: tuple[str, ...]
    cmdline: str
    names: tuple[tuple[str, ...], ...] = ()


def boot_entries(guest: Guest) -> list[BootEntry]:
    """Every entry that starts a Linux kernel, in the order of the configuration files."""
    found: list[BootEntry] = []
    for path in (*GRUB_CONFIGS, *vendor_configs(guest)):
        content = text(guest, path)
        if content is not None:
            found += _grub(guest, path, content.replace("\\\n", " "))
    for path in legacy_configs(guest):
        content = text(guest, path)
        if content is not None:
            found += _legacy(path, content.replace("\\\n", " "))
    for path in EXTLINUX_CONFIGS:
        content = text(guest, path)
        if content is not None:
            found += _extlinux(path, content)
    options = kernelopts(guest)
    for path in bls_entries(guest):
        found += _bls(path, text(guest, path) or "", options)
    return [entry for entry in found if not _MEMTEST.search(entry.kernel)]


def locate(guest: Guest, entry: BootEntry, path: str, subvolume: str) -> Optional[str]:
    """The guest's path of a file that the boot loader names relative to its own file system."""
    path = re.sub(r"^\([^)]*\)", "", path)
    candidates = [path, f"/boot{path}"]
    if subvolume and path.startswith(f"/{subvolume}/"):
        candidates.insert(0, path[len(subvolume) + 1 :])
    if "/loader/entries/" in entry.config:
        candidates.insert(0, entry.config.split("/loader/entries/", 1)[0] + path)
    if not path.startswith("/"):
        candidates.append(posixpath.normpath(f"{entry.config.rsplit('/', 1)[0]}/{path}"))
        candidates.append(f"/boot/{path}")
    return next((candidate for candidate in candidates if candidate.startswith("/") and exists(guest, candidate)), None)


def kernel_of(guest: Guest, entry: BootEntry, kernels: Sequence[Kernel], subvolume: str) -> Optional[Kernel]:
    """The installed kernel that an entry starts."""
    path = locate(guest, entry, entry.kernel, subvolume)
    real = resolve_link(guest, path) if path else None
    return next((kernel for kernel in kernels if real and real == resolve_link(guest, kernel.image)), None)


def images_of(guest: Guest, entries: Sequence[BootEntry], kernel: Kernel, subvolume: str) -> list[str]:
    """Every initramfs a kernel is started with, microcode apart: its own, and those that boot entries name beside it."""
    found = {resolve_link(guest, kernel.initramfs): None} if kernel.initramfs else {}
    for entry in entries:
        if kernel_of(guest, entry, [kernel], subvolume) is None:
            continue
        for name in entry.initrds:
            path = locate(guest, entry, name, subvolume)
            if path is not None:
                found[resolve_link(guest, path)] = None
    return [path for path in found if not microcode(path)]


def microcode(path: str) -> bool:
    """Whether an image holds early microcode only."""
    return _MICROCODE.search(path) is not None


def kernelopts(guest: Guest) -> str:
    """What $kernelopts stands for in BLS entries of GRUB: the environment block's value, else the menu's default."""
    configs = (*GRUB_CONFIGS, *vendor_configs(guest))
    for path in configs:
        found = environment(text(guest, f"{path.rsplit('/', 1)[0]}/grubenv") or "").get("kernelopts")
        if found is not None:
            return found
    for path in configs:
        match = re.search(r'^[ \t]*set kernelopts="(.*)"', text(guest, path) or "", re.MULTILINE)
        if match is not None:
            return match[1]
    return ""


def environment(content: str) -> dict[str, str]:
    """The variables of a GRUB environment block or of a file for load_env."""
    pairs = (line.partition("=") for line in content.splitlines() if line[:1] != "#")
    return {key.strip(): value.rstrip("#") for key, equals, value in pairs if equals}


def _grub(guest: Guest, path: str, content: str) -> Iterator[BootEntry]:
    base = path.rsplit("/", 2)[0]
    values = {match[1]: match[2] or match[3] or match[4] or "" for match in map(_SET.match, content.splitlines()) if match}
    for name in _LOAD_ENV.findall(content):
        values.update(environment(text(guest, f"{base}/{name.rsplit('/', 1)[-1].rsplit('}', 1)[-1].strip(chr(34))}") or ""))
    current: Optional[BootEntry] = None
    blocks: list[Optional[tuple[str, ...]]] = []
    counts = [0]
    for line in content.splitlines():
        menu, kernel, initrd = _MENU.match(line), _KERNEL.match(line), _INITRD.match(line)
        if menu is not None:
            number = re.search(_ID, menu[5])
            blocks.append((str(counts[-1]), menu[2] or menu[3] or menu[4] or "", *([number[1]] if number else [])))
            counts[-1] += 1
            counts.append(0)
        elif line.rstrip().endswith("{"):
            blocks.append(None)
            counts.append(counts[-1])
        elif line.strip() == "}" and blocks:
            blocks.pop()
            counts.pop()
        elif kernel is not None:
            if current is not None:
                yield current
            names = tuple(block for block in blocks if block is not None)
            current = BootEntry(path, _expand(kernel[1], values), (), _expand(kernel[2].strip(), values), names)
        elif initrd is not None and current is not None:
            current = replace(current, initrds=(*current.initrds, *_expand(initrd[1], values).split()))
    if current is not None:
        yield current


def _expand(value: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1], ""), value) if "$" in value else value


def _legacy(path: str, content: str) -> Iterator[BootEntry]:
    number, title = -1, ""
    current: Optional[BootEntry] = None
    for line in content.splitlines():
        heading, kernel, initrd = _TITLE.match(line), _KERNEL.match(line), _INITRD.match(line)
        if heading is not None:
            number, title = number + 1, heading[1].strip()
        elif kernel is not None:
            if current is not None:
                yield current
            current = BootEntry(path, kernel[1], (), kernel[2].strip(), ((str(number), title),))
        elif initrd is not None and current is not None:
            current = replace(current, initrds=(*current.initrds, *initrd[1].split()))
    if current is not None:
        yield current


def _extlinux(path: str, content: str) -> Iterator[BootEntry]:
    for label in re.split(r"^\s*label\s", content, flags=re.MULTILINE | re.IGNORECASE)[1:]:
        values = {
            match[1].lower(): match[2].strip()
            for match in re.finditer(
                r"^[ \t]*(kernel|linux|initrd|append)[ \t]+(.*)$", label.partition("\n")[2], re.MULTILINE | re.IGNORECASE
            )
        }
        kernel = values.get("linux") or values.get("kernel")
        options = values.get("append", "")
        inline = re.search(r"(?:^|\s)initrd=(\S+)", options)
        initrds = values.get("initrd") or (inline[1] if inline else "")
        if kernel:
            name = label.split("\n", 1)[0].strip()
            yield BootEntry(path, kernel, tuple(initrds.replace(",", " ").split()), options, ((name,),))


def _bls(path: str, content: str, options: str) -> Iterator[BootEntry]:
    values: dict[str, list[str]] = {}
    for line in filter(str.strip, content.splitlines()):
        key, *value = line.split(None, 1)
        values.setdefault(key, []).append("".join(value).strip())
    if "linux" in values:
        initrds = " ".join(values.get("initrd", [])).replace("$tuned_initrd", "").split()
        name = path.rsplit("/", 1)[1]
        names = (name, name[: -len(".conf")], *values.get("title", [])[:1])
        yield BootEntry(
            path,
            values["linux"][0],
            tuple(initrds),
            " ".join(values.get("options", [])).replace("$kernelopts", options).replace("$tuned_params", "").strip(),
            (names,),
        )


def newest_first(entries: Sequence[BootEntry]) -> list[BootEntry]:
    """BLS entries as GRUB and systemd-boot list them."""
    return sorted(entries, key=lambda entry: version_key(entry.config.rsplit("/", 1)[1]), reverse=True)

# SPDX-License-Identifier: GPL-3.0-or-later
"""MAC addresses, in one form everywhere: six pairs of digits in lower case with colons between them.

Whoever reads one makes a `Mac` of it here, and whoever must write another spelling asks for it here.
"""

from __future__ import annotations

import re
from typing import Mapping, NewType, Optional

from .errors import InvalidInput

Mac = NewType("Mac", str)  # a text in that form
_IN_TEXT = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")  # as the files of Linux guests have them
# Of ip= and of BOOTIF= on a kernel command line (nm-initrd-generator(8), PXELINUX), and at the end of a variable's name (netifrc).
_OTHERWISE = re.compile(
    r"(?P<lead>\bip=|\bBOOTIF=01-|(?m:^)[ \t]*[a-z_]{1,40}_(?=[0-9a-fA-F]{12}=))(?P<mac>(?:[0-9a-fA-F]{2}-){5}[0-9a-fA-F]{2}|[0-9a-fA-F]{12}(?==))"
)
_DECIMAL = re.compile(r"(?P<lead>=[ \t]*)(?P<mac>(?:\d{1,3};){5}\d{1,3};?)(?=\s|\Z)", re.ASCII)  # of old keyfiles (nm-settings-keyfile(5))
_DECIMALS = re.compile(r"(?:\d{1,3};){5}\d{1,3};?", re.ASCII)
_SPELT = re.compile(r"[0-9a-f]{12}|[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}")


def canonical(text: Optional[str]) -> Optional[Mac]:
    """From any spelling (colons, the dashes of Windows, Cisco's dots, none); None for what is not a MAC address."""
    plain = (text or "").strip().lower()
    if _SPELT.fullmatch(plain) is None:
        return None
    return _of_digits(re.sub(r"[:.-]", "", plain))


def of_nic(text: Optional[str]) -> Optional[Mac]:
    """The same of what a NIC can have: neither zeros, which say that none was given, nor the address of a group (IEEE 802, the first bit)."""
    mac = canonical(text)
    return None if mac is None or mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1 else mac


def required(text: str, where: str = "") -> Mac:
    """The same of what an operator gave; `where` ends the words "... is not a MAC address". Raises InvalidInput for what is none."""
    mac = canonical(text)
    if mac is None:
        raise InvalidInput(f"{text!r}{where} is not a MAC address.", "Write MACs as 52:54:00:12:34:56.")
    return mac


def made_of(digest: str) -> Mac:
    """One that qemu's NICs may have, from hexadecimal digits of which the first six count."""
    return _of_digits(f"525400{digest[:6]}")


def of_decimals(text: str) -> Optional[Mac]:
    """An address whose bytes are decimal numbers, with semicolons between them and perhaps one behind; None for anything else."""
    if _DECIMALS.fullmatch(text.strip()) is None:
        return None
    numbers = [int(word) for word in text.split(";") if word.strip()]
    return _of_digits(bytes(numbers).hex()) if max(numbers) < 256 else None


def dashed(mac: Mac) -> str:
    """As Windows shows it."""
    return mac.upper().replace(":", "-")


def spaced(mac: Mac) -> tuple[str, str]:
    """As Windows' `route print` lists it, in small letters and in capitals."""
    small = mac.replace(":", " ")
    return small, small.upper()


def upper(mac: Mac) -> str:
    """As Proxmox has it in its configuration."""
    return mac.upper()


def replaced(text: str, macs: Mapping[Mac, Mac]) -> str:
    """A text with new addresses in place of old ones, however these are written in it with colons; in other spellings where nothing else can stand."""
    with_colons = _IN_TEXT.sub(lambda match: macs.get(Mac(match[0].lower()), match[0]), text)
    for otherwise in (_DECIMAL, _OTHERWISE):
        with_colons = otherwise.sub(lambda match: match["lead"] + _respelt(match["mac"], macs), with_colons)
    return with_colons


def _respelt(said: str, macs: Mapping[Mac, Mac]) -> str:
    """An address without colons by its new one, in the same spelling."""
    mac = canonical(said) or of_decimals(said)
    new = macs.get(mac) if mac is not None else None
    if new is None:
        return said
    if ";" in said:
        return ";".join(str(byte) for byte in bytes.fromhex(new.replace(":", ""))) + said[len(said.rstrip(";")) :]
    return new.replace(":", "-" if "-" in said else "")


def _of_digits(digits: str) -> Mac:
    return Mac(":".join(digits[at : at + 2] for at in range(0, 12, 2)))

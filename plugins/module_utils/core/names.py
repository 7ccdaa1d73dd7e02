# SPDX-License-Identifier: GPL-3.0-or-later
"""Names made safe: one rule that makes a file's, a libvirt domain's and an inventory host's name of any text.

A name stays as it is when it is made of letters and digits of any script, `.`, `_`, `-`, `+` and inner spaces, begins with a letter, a digit or `_`,
has at most 128 bytes, and means nothing else to Ansible or to the layout of results. Otherwise what does not fit becomes `_`, the name is shortened,
and a digest of the whole text follows, so that two VMs never meet. But for its spaces nothing in a safe name means anything to a shell, Ansible,
qemu or a URL.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from .errors import InvalidInput, UnsafeInput

LONGEST = 128  # bytes, which leaves room for endings such as -disk0.qcow2.partial below the 255 of file systems
# Hosts and groups that Ansible makes by itself, groups of our playbooks, and directories beside the results.
RESERVED = frozenset({"all", "ungrouped", "localhost", "127.0.0.1", "conversion_hosts", "dropped", "quarantine"})
_LONGEST_FILE = 255 - len(".partial.journal")
_DIGEST = 8  # hexadecimal digits
_PLAIN = "._-+ "
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})

# Of Unicode 3.2, which every Python carries beside its own version (it is that of IDNA): the rule says the same on every host.
_category = unicodedata.ucd_3_2_0.category


def safe(text: str) -> str:
    """The name for `text`; a safe name is its own. Raises InvalidInput for a text that shows nothing."""
    if all(_category(letter) in _INVISIBLE for letter in text):
        raise InvalidInput(
            f"{text[:80]!r} is not a name: it has no visible characters.",
            "Give the VM a name (migrate_name), or rename it at its source.",
            name=text[:80],
        )
    if _is_word(text[0]) and all(map(_fits, text)) and text[-1] != " " and len(_bytes(text)) <= LONGEST and text.lower() not in RESERVED:
        return text
    words = "".join(letter if _fits(letter) and letter != " " else "_" for letter in text.strip())
    start = _cut(re.sub("_{2,}", "_", words), LONGEST - _DIGEST - 2)
    digest = hashlib.sha256(_bytes(text)).hexdigest()[:_DIGEST]
    return f"{'' if _is_word(start[0]) else '_'}{start}-{digest}"


def is_safe(text: str) -> bool:
    """Whether `text` is a name already."""
    try:
        return safe(text) == text
    except InvalidInput:
        return False


def of_file(name: str) -> str:
    """`name` if a file of a source can have it here, which other files of that source know it by.

    Raises UnsafeInput for paths, protocols ("nbd:", "json:"), control characters and names that leave no room for endings.
    """
    if (
        name in ("", ".", "..")
        or set('/\\:"') & set(name)
        or any(_category(letter) == "Cc" for letter in name)
        or len(_bytes(name)) > _LONGEST_FILE
    ):
        raise UnsafeInput(f"{name[:80]!r} cannot be the name of a file here.", "Rename the file at its source.", name=name[:80])
    return name


def _fits(letter: str) -> bool:
    return letter in _PLAIN or _is_word(letter) or _category(letter)[0] == "M"


def _is_word(letter: str) -> bool:
    return letter == "_" or _category(letter) == "Nd" or _category(letter)[0] == "L"


def _cut(name: str, most: int) -> str:
    return _bytes(name)[:most].decode("utf-8", "ignore")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards in the commands of a stanza of ifupdown: what they put below a bond or a bridge, and what else they name.

Source: interfaces(5) (pre-up, up, post-up, $IFACE), ifenslave(8), ip-link(8), brctl(8), vconfig(8), ovs-vsctl(8); for bonding/slaves the kernel's
Documentation/networking/bonding.rst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator, Mapping, Sequence

_LONGEST = 64 << 10  # characters of the commands of one stanza
_IFACE = re.compile(r"\$(?:\{IFACE\}|IFACE\b)")
_MOST, _MOST_WORDS = 1000, 50  # commands of a stanza, and words of a loop
_LOOP = re.compile(r"\bfor\s+([A-Za-z_]\w{0,30})\s+in\s+([^;\n]*)")
_VARIABLE = re.compile(r"^\$(?:\{(\w+)\}|(\w+))$")
_SIMPLE = re.compile(r"[;\n|&()]+|(?<!\$)[{](?=\s)|(?<=\s)[}]")
_SLAVES = re.compile(r"/sys/class/net/([^/\s]+)/bonding/slaves")
# In a text that is no list of names only what can hardly be anything else is one.
_CARD = re.compile(r"^(?:eth\d+|en(?:o|s|p|P\d+p)\d\w*|enx[0-9a-f]{12}|em\d+|p\d+p\d+)$")
_APART = re.compile(r"[^\w]+")
_BEFORE = ("if", "then", "do", "else", "while", "!", "exec", "sudo", "sh", "-c", "command")


@dataclass
class Commanded:
    """(kind, upper interface, card below it) of each that commands join, and every card that they name."""

    joined: list[tuple[str, str, str]] = field(default_factory=list)
    named: list[str] = field(default_factory=list)


def read(commands: str, own: str) -> Commanded:
    """What the commands of the stanza of the interface `own` name."""
    found = Commanded()
    text = _IFACE.sub(lambda dummy: own, commands[:_LONGEST])
    loops = {match[1]: match[2].split()[:_MOST_WORDS] for match in _LOOP.finditer(text)}
    for simple in _SIMPLE.split(text)[:_MOST]:
        words = [word.strip("\"'`") for word in simple.split()]
        while words and (words[0] in _BEFORE or re.match(r"^[A-Za-z_]\w*=", words[0])):
            words = words[1:]
        found.joined += [one for said in _looped(words, loops) for one in _joined(said) if "$" not in "".join(one)] if words else []
    cards = (word for word in _APART.split(text) if _CARD.match(word))
    found.named = list(dict.fromkeys((*cards, *(card for dummy, upper, card in found.joined))))
    return found


def _looped(words: Sequence[str], loops: Mapping[str, Sequence[str]]) -> Iterator[Sequence[str]]:
    """The command once for each word that a loop gives its variable."""
    used = (match[1] or match[2] for match in map(_VARIABLE.match, words) if match is not None)
    name = next((name for name in used if name in loops), "")
    for value in loops[name] if name else [""]:
        yield [value if name and word in (f"${name}", f"${{{name}}}") else word for word in words]


def _joined(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    program, said = words[0].rsplit("/", 1)[-1], list(words[1:])
    plain = [word for word in said if not word.startswith("-")]
    if program == "ifenslave" and not {"-d", "--detach", "-c", "--change-active"} & set(said):
        yield from (("bond", plain[0], card) for card in plain[1:])
    elif program == "ip" and plain[:1] and "link".startswith(plain[0]):
        yield from _by_ip(plain[1:])
    elif program == "brctl" and plain[:1] == ["addif"]:
        yield from (("bridge", plain[1], card) for card in plain[2:])
    elif program == "vconfig" and plain[:1] == ["add"] and len(plain) > 2:
        yield from (("vlan", upper, plain[1]) for upper in (f"{plain[1]}.{plain[2]}", f"vlan{plain[2]}"))  # by set_name_type
    elif program == "ovs-vsctl" and "add-port" in plain:
        upper, *ports = plain[plain.index("add-port") + 1 :] or [""]
        yield from (("bridge", upper, card) for card in ports[:1])
    elif program == "ovs-vsctl" and "add-bond" in plain:
        upper, *cards = plain[plain.index("add-bond") + 2 :] or [""]
        yield from (("bond", upper, card) for card in cards if "=" not in card)
    elif program == "echo" and (match := _SLAVES.search(" ".join(said))) is not None:
        yield from (("bond", match[1], word[1:]) for word in said if word.startswith("+") and len(word) > 1)


def _by_ip(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """ip link set [dev] CARD master UPPER, and ip link add link CARD name UPPER type vlan."""
    values = dict(zip(words, words[1:]))
    first = words[1] if len(words) > 1 else ""
    if words[:1] == ["set"] and "master" in values:
        card = values.get("dev") or (first if first not in ("master", "dev") else "")
        if card:
            yield "bond", values["master"], card
    elif words[:1] and "add".startswith(words[0]) and "link" in values and values.get("type") in ("vlan", "macvlan", "ipvlan"):
        upper = values.get("name") or values.get("dev") or (first if first != "link" else "")
        if upper:
            yield "vlan", upper, values["link"]

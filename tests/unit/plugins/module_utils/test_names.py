# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of names made safe, for hostile names and for any text."""

from __future__ import annotations

import os
import string
import xml.etree.ElementTree as ET

import pytest
from ansible.inventory.manager import InventoryManager, split_host_pattern
from ansible.parsing.dataloader import DataLoader
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.names import LONGEST, RESERVED, is_safe, safe

GOOD = [
    "web01",
    "Web01.example.com",
    "Windows 2019 Web",
    "db_01-old+1",
    "_under",
    "7zip",
    "Büro-Server",
    "サーバー01",
    "сервер",
    "दिल्ली",
    "con",
    "x" * LONGEST,
]
HOSTILE = {
    "parent": "../x",
    "parent-alone": "..",
    "here": ".",
    "encoded-parent": "..%2f..%2fvictim",
    "backslashes": "..\\..\\x",
    "absolute": "/etc/passwd",
    "option": "-rf",
    "hidden": ".ssh",
    "variable": "$HOME",
    "braced-variable": "${HOME}/x",
    "home": "~root",
    "command": "$(touch /tmp/x)`id`",
    "template": "{{ lookup('pipe', 'id') }}",
    "raw": "{% raw %}",
    "comment": "{# x",
    "comma": "a,b",
    "colon": "a:b",
    "not": "!web01",
    "and": "&web01",
    "range": "web[1:3]",
    "wildcard": "web*",
    "question": "web0?",
    "regex": "~web.*",
    "newline": "web\n01",
    "nul": "web\x0001",
    "escape": "web\x1b[31m",
    "tab": "web\t01",
    "quotes": "a\"b'c",
    "markup": "<name>&amp;",
    "pipe": "a|b;c&d",
    "reserved-all": "all",
    "reserved-case": "All",
    "reserved-localhost": "localhost",
    "reserved-ungrouped": "ungrouped",
    "reserved-loopback": "127.0.0.1",
    "reserved-group": "conversion_hosts",
    "reserved-folder": "quarantine",
    "address": "fe80::1",
    "long": "a" * 300,
    "long-wide": "サ" * 300,
    "edges": " web01 ",
    "no-break": "web\u00a001",
    "right-to-left": "web\u202e10",
    "zero-width": "web\u200b01",
    "line-separator": "web\u202801",
    "mark-first": "\u0301web",
    "undecodable": "web\udce4",
    "picture": "\U0001f525",
    "byte-order": "\ufeffweb",
    "digit-like": "web²",
    "slashes": "///",
    "dots": "...",
    "dashes": "---",
    "url": "vsphere://vc/DC/vm/x?id=1#y",
    "nvme": 'json:{"driver":"file"}',
}
UNNAMEABLE = {
    "empty": "",
    "spaces": "   ",
    "newlines": "\n\r\n",
    "no-break": "\u00a0",
    "zero-width": "\u200b\u200d",
    "nul": "\x00",
    "bytes": "\udcff",
}
NEVER = set("/\\\0\n\r\t,:*?\"'<>|$~%{}[]!&;`()#@=^")


def lawful(name: str) -> None:
    assert name not in ("", ".", "..") and name[0] not in "-. " and name[-1] != " "
    assert not NEVER & set(name)
    assert name.isprintable()
    assert len(name.encode()) <= LONGEST
    assert name.lower() not in RESERVED
    assert safe(name) == name
    assert os.path.expandvars(os.path.expanduser(name)) == name and os.path.basename(name) == name


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_stays_as_it_is(name: str) -> None:
    assert safe(name) == name
    assert is_safe(name)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_becomes_a_lawful_one(name: str) -> None:
    lawful(safe(name))
    assert not is_safe(name)


@pytest.mark.parametrize("name", UNNAMEABLE.values(), ids=UNNAMEABLE)
def test_what_shows_nothing_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"not a name.*migrate_name"):
        safe(name)
    assert not is_safe(name)


def test_no_two_names_meet() -> None:
    names = [*GOOD, *HOSTILE.values(), *(name.replace("/", "\\") for name in HOSTILE.values() if "/" in name)]
    assert len({safe(name) for name in names}) == len(set(names))


@given(st.text())
def test_any_text_gets_a_lawful_name_or_none(text: str) -> None:
    try:
        name = safe(text)
    except InvalidInput:
        assert not any(letter.isalnum() for letter in text)
        return
    lawful(name)


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_texts_have_different_names(one: str, other: str) -> None:
    try:
        assert (safe(one) == safe(other)) == (one == other)
    except InvalidInput:
        pass


@given(st.text(string.ascii_letters + string.digits + "._-+ /", min_size=1, max_size=300))
def test_what_is_plain_is_kept(text: str) -> None:
    try:
        name = safe(text)
    except InvalidInput:
        assert not text.strip()
        return
    plain = "/" not in text and text[0] not in ".-+ " and text[-1] != " " and len(text) <= LONGEST
    assert (name == text) == (plain and text.lower() not in RESERVED)


@pytest.mark.parametrize("name", [*GOOD, *HOSTILE.values()])
def test_ansible_takes_it_as_one_host(name: str) -> None:
    manager = InventoryManager(DataLoader(), sources=None)
    host = safe(name)
    manager._inventory.add_host(host)
    manager.reconcile_inventory()
    assert [found.name for found in manager.get_hosts("all")] == [host]
    if " " not in host:  # a pattern is split at spaces
        assert split_host_pattern(host) == [host]
        assert [found.name for found in manager.get_hosts(host)] == [host]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_xml_holds_it_as_it_is(name: str) -> None:
    element = ET.Element("name")
    element.text = safe(name)
    assert ET.fromstring(ET.tostring(element)).text == safe(name)

# SPDX-License-Identifier: GPL-3.0-or-later
"""A MAC address has one form, whoever writes it: sources, operators, guests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils import guest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import macs
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine, Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.nics import mac_map, named
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf.model import mac_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import families

HOME = Path(guest.__path__[0]).parent
ONE = "00:50:56:ab:cd:ef"
SPELT = [ONE, ONE.upper(), "00-50-56-AB-CD-EF", "0050.56ab.cdef", "005056ABCDEF", f" {ONE}\n"]


@pytest.mark.parametrize("text", SPELT)
def test_every_spelling_is_one_address_to_everybody(text):
    other = "52:54:00:00:00:01"
    assert macs.canonical(text) == macs.of_nic(text) == mac_of(f'"{text.strip()}"') == ONE
    assert mac_map({text: other}) == {ONE: other} and mac_map({other: text}) == {other: ONE}
    source = VmSaid(Machine(nics=(Nic(ONE, slot=192),)))
    assert families.guest_request(source, (), nics=named([{"mac": text}])).nics == source.machine.nics


def test_two_spellings_of_one_address_are_one_nic():
    with pytest.raises(InvalidInput, match="the same MAC"):
        mac_map({"52:54:00:00:00:01": ONE, "52:54:00:00:00:02": SPELT[2]})
    with pytest.raises(InvalidInput, match="the same MAC"):
        mac_map({ONE: "52:54:00:00:00:01", SPELT[2]: "52:54:00:00:00:02"})


@given(st.integers(0, (1 << 48) - 1), st.sampled_from([":", "-", ""]))
def test_any_number_of_48_bits_is_one_and_the_form_is_kept(number, between):
    digits = f"{number:012X}"
    mac = macs.canonical(between.join(digits[at : at + 2] for at in range(0, 12, 2)))
    assert mac is not None and mac == macs.canonical(mac) and mac.replace(":", "") == digits.lower()
    assert (macs.of_nic(mac) is None) == (number == 0 or number >> 40 & 1 == 1)


@given(st.integers(0, (1 << 48) - 1), st.booleans())
def test_decimal_numbers_are_an_address_of_keyfiles_and_are_replaced_by_such(number, closed):
    mac, new = macs.canonical(f"{number:012x}"), macs.canonical(f"{number ^ 0xFFFFFF:012x}")
    spelt, wanted = (";".join(map(str, bytes.fromhex(one.replace(":", "")))) + ";" * closed for one in (mac, new))
    assert macs.of_decimals(spelt) == mac
    assert macs.replaced(f"mac-address={spelt}\n", {mac: new}) == f"mac-address={wanted}\n"


@pytest.mark.parametrize(
    "text", ["", "0;80;86;171;205", "0;80;86;171;205;256;", "0;80;86;171;205;239;1", "0;80;86;171;205;-1;", "a;b;c;d;e;f", ";" * 6]
)
def test_other_numbers_are_no_address(text):
    assert macs.of_decimals(text) is None and macs.replaced(f"x={text}\n", {macs.canonical(ONE): macs.canonical(ONE)}) == f"x={text}\n"


@given(st.text(max_size=20))
def test_any_other_text_is_none(text):
    mac = macs.canonical(text)
    assert mac is None or re.sub(r"[:.\s-]", "", text).lower() == mac.replace(":", "")


@given(st.integers(0, (1 << 48) - 1))
def test_every_spelling_that_others_want_is_read_back(number):
    mac = macs.canonical(f"{number:012x}")
    assert macs.canonical(macs.dashed(mac)) == macs.canonical(macs.upper(mac)) == macs.required(mac) == mac
    small, capital = macs.spaced(mac)
    assert macs.canonical(small.replace(" ", "-")) == macs.canonical(capital.replace(" ", "-")) == mac and capital == small.upper()
    assert macs.replaced(f"a {mac.upper()}, b {ONE}.", {mac: ONE}) == f"a {ONE}, b {ONE}."
    assert macs.of_nic(macs.made_of(f"{number:012x}")) is not None


def test_nobody_else_writes_one_in_another_form():
    spelt = re.compile(r"\b(mac|mac_?address|macs)\b[^#]*\.(lower|upper|replace)\(|\.(lower|upper)\(\)[^#]*\bmac\b")
    found = {
        f"{path.relative_to(HOME)}: {line}" for path in HOME.rglob("*.py") for line in path.read_text().splitlines() if spelt.search(line)
    }
    assert {line for line in found if not line.startswith("core/macs.py")} == set()


def test_nobody_else_says_what_a_mac_address_is():
    spelt = re.compile(r"\{2\}(\[:-\]|:|-)|(\[:-\]|:|-)\)\{5\}")
    found = {str(path.relative_to(HOME)) for path in HOME.rglob("*.py") if spelt.search(path.read_text())}
    assert found <= {"core/macs.py"}, found

# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: what is written is read again, anything else is read or refused by the name of its part, and the schema says what is read."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Mapping, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import data, schemas, shape
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import FLAT, REST, called, formerly, from_data, to_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.macs import Mac
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import record

ROOT = Path(__file__).resolve().parents[4]
RECORDS = (*record.SCHEMAS.values(), VmId)
MAC = "00:50:56:00:00:01"


@dataclass(frozen=True)
class Inner:
    """One."""

    x: int = 0
    y: Optional[float] = None


@dataclass(frozen=True)
class Closed:
    """One that knows all of its keys."""

    closed: ClassVar[bool] = True
    word: Literal["a", "b"]


@dataclass(frozen=True)
class Outer:
    """One with a field of every kind."""

    name: str
    flat: Inner = field(default=Inner(), metadata=FLAT)
    inner: Optional[Inner] = None
    many: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("", 0)
    mac: Optional[Mac] = None
    count: Annotated[int, shape.count(1, 9)] = 1
    either: Union[int, str] = 0
    table: Mapping[str, bool] = field(default_factory=dict)
    closed: Optional[Closed] = None
    nics: tuple[str, ...] = field(default=(), metadata=formerly("cards"))
    kept: str = field(default="", metadata={**called("origin"), **formerly("source")})
    rest: Mapping[str, Any] = field(default_factory=dict, metadata=REST)


WRONG = {
    "o.name is not a text": {}, "o.x is not a whole": {"name": "", "x": 1.5}, "o.inner.x is not a whole": {"name": "", "inner": {"x": True}},
    "o.many is not a list": {"name": "", "many": 7}, "o.many[1].y is not a number": {"name": "", "many": [{}, {"y": "1"}]},
    "o.pair is not a list of 2": {"name": "", "pair": ["a"]}, "o.pair[1] is not": {"name": "", "pair": ["a", "b"]},
    "o.mac is not a MAC address": {"name": "", "mac": "eth0"}, "o.count is not a number from 1": {"name": "", "count": "10"},
    "o.either is not a whole": {"name": "", "either": [1]}, "o.table.a is not true or false": {"name": "", "table": {"a": 1}},
    "o.closed.word is not one of a, b": {"name": "", "closed": {"word": "c"}},
    "o.closed.more is not one of word": {"name": "", "closed": {"word": "a", "more": 1}},
    "o.cards is not a list": {"name": "", "cards": 7}, "o.origin is not a text": {"name": "", "origin": 7}, "o is not a mapping": [],
    "o is not text that can be written": {"name": "\ud800"}, "o is not text that": {"name": "", "more": [math.nan]},
}  # fmt: skip


@pytest.mark.parametrize(("said", "wrong"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_is_said_by_its_name(said, wrong):
    with pytest.raises(InvalidInput) as refused:
        from_data(Outer, wrong, "o", "Again.")
    assert refused.value.msg.startswith(said) and refused.value.hint == "Again." and said.startswith(refused.value.details["option"])


def test_what_is_not_said_is_the_default_and_what_is_not_known_is_kept():
    assert from_data(Outer, {"name": "a", "mac": "", "count": None, "closed": {}, "many": None}, "o") == Outer("a")
    found = from_data(Outer, {"name": "a", "x": 3, "count": "4", "mac": MAC.upper(), "cards": ["e"], "source": "s", "more": [1]}, "o")
    assert found == Outer("a", Inner(3), mac=MAC, count=4, nics=("e",), kept="s", rest={"more": [1]})
    written = to_data(found)
    assert written["x"] == 3 and written["more"] == [1] and written["origin"] == "s" and "flat" not in written and "cards" not in written
    assert from_data(Outer, {"name": "", "cards": ["old"], "nics": ["new"]}, "o").nics == ("new",)


def test_what_is_nested_too_deeply_is_refused():
    deep: Any = {"name": "a", "more": 1}
    for dummy in range(100_000):
        deep = {"more": deep}
    with pytest.raises(InvalidInput, match="nested too deeply"):
        from_data(Outer, deep, "o")


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.sampled_from([MAC, "uefi", "qcow2", "/a", "passed"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=6,
)


def some(cls: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Data with the record's own keys and anything in them."""
    return st.dictionaries(st.sampled_from(sorted(data.names(cls))), JSON, max_size=6)


@pytest.mark.parametrize("cls", [Outer, *RECORDS], ids=lambda cls: cls.__name__)
@given(st.data())
def test_anything_is_read_or_refused_by_name(cls, drawn):
    given_ = drawn.draw(st.one_of(JSON, some(cls)))
    try:
        found = from_data(cls, given_, "o")
    except InvalidInput as error:
        assert error.hint and ("o" in error.msg)
        return
    again = json.loads(json.dumps(to_data(found)))
    assert from_data(cls, again, "o") == found and to_data(from_data(cls, again, "o")) == again


@pytest.mark.parametrize("name", record.SCHEMAS)
def test_the_schemas_in_the_documents_are_those_of_the_records(name):
    """To write them anew: scripts/schemas"""
    path = ROOT / "docs" / "schemas" / f"{name}-{record.FORMAT}.json"
    assert path.read_text() == schemas.text(record.SCHEMAS[name], name, record.FORMAT)


@functools.cache
def checker(cls):
    """What checks records of a class by their schema, which is one itself."""
    made = pytest.importorskip("jsonschema").Draft202012Validator(schemas.schema(cls))
    made.check_schema(made.schema)
    return made


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
@given(st.data())
def test_what_is_written_is_what_the_schema_says(cls, drawn):
    given_ = drawn.draw(some(cls))
    try:
        found = from_data(cls, given_, "o")
    except InvalidInput:
        return
    assert not [error.message for error in checker(cls).iter_errors(json.loads(json.dumps(to_data(found))))]

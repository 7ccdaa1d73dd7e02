# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest in memory keeps what it found of its files: after any change it answers as one that was made anew of the same files."""

from __future__ import annotations

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.protocol import normalise

PATHS = ["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/b", "/e/f/g"]
path = st.sampled_from(PATHS)
entry = st.one_of(st.just(b"x"), st.just(b"other"), st.sampled_from(["/a", "b", "../e", "/e/f"]).map(lambda to: Stat("link", target=to)))
CHANGES = {
    "write": lambda made, one, two, what: made.write(one, b"new", None),
    "append": lambda made, one, two, what: made.append(one, b"more"),
    "symlink": lambda made, one, two, what: made.symlink(two, one),
    "rename": lambda made, one, two, what: made.rename(one, f"{two}.new"),
    "remove": lambda made, one, two, what: made.remove(one),
    "set": lambda made, one, two, what: made.files.__setitem__(one, what),
    "pop": lambda made, one, two, what: made.files.pop(one, None),
    "update": lambda made, one, two, what: made.files.update({one: what}),
    "default": lambda made, one, two, what: made.files.setdefault(one, what),
    "or": lambda made, one, two, what: made.files.__ior__({one: what}),
    "others": lambda made, one, two, what: setattr(made, "files", {one: what, two: b"x"}),
    "clear": lambda made, one, two, what: made.files.clear(),
}


def seen(made: MemoryGuest) -> object:
    """All that is asked of files."""
    names = ["/", *PATHS, *(f"{one}.new" for one in PATHS)]
    return [(made.read(name), made.stat(name), made.listdir(name)) for name in names]


@given(st.dictionaries(path, entry), st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), path, path, entry), max_size=6))
def test_after_any_change_it_answers_as_a_new_one(files, changes):
    made = MemoryGuest(files)
    for name, one, two, what in changes:
        seen(made)
        CHANGES[name](made, one, two, what)
        again = MemoryGuest(made.files)
        again.modes = made.modes
        assert seen(made) == seen(again)


@given(st.lists(st.sampled_from(["a", "b.c", ".d", "..e", ".", "..", ""]), max_size=6).map("/".join))
def test_a_path_is_absolute_without_dots(text):
    assert normalise(text) == posixpath.normpath(f"/{text.lstrip('/')}")

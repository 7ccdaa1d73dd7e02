# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths in a guest."""

from __future__ import annotations

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.protocol import normalise


@given(st.lists(st.sampled_from(["a", "b.c", ".d", "..e", ".", "..", ""]), max_size=6).map("/".join))
def test_a_path_is_absolute_without_dots(text):
    assert normalise(text) == posixpath.normpath(f"/{text.lstrip('/')}")

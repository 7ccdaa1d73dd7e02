# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of target that there is: each module below that has a TARGET is one. The scheme of a URI tells the kind."""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

from typing import Mapping

from ..core import registry
from . import libvirt
from .target import Kind

TARGETS: Mapping[str, Kind] = {kind.scheme: kind for kind in registry.entries(globals(), "TARGET")}


def of(uri: str) -> Kind:
    """The kind of target that a URI is of. libvirt has all that no other kind has: its drivers have schemes of their own, and its aliases none."""
    scheme, colon, dummy = uri.partition("://")
    return TARGETS.get(scheme.lower() if colon else "", TARGETS[""])

# SPDX-License-Identifier: GPL-3.0-or-later
"""A format that nobody has: what test_one_more drops into a copy of the collection."""

from __future__ import annotations

from typing import Any, Mapping

from .domain import Domain
from .format import AsJson, Format, Said


def _written(domain: Domain) -> dict[str, Any]:
    return {"called": domain.name, "disks": [path for path, dummy in domain.disks]}


def _read(data: Mapping[str, Any], domain: Domain) -> Said:
    return Said(tuple(data["disks"]))


FORMAT: Format = AsJson("shelf", _written, _read)

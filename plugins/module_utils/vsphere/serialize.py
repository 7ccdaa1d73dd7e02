# SPDX-License-Identifier: GPL-3.0-or-later
"""vSphere's objects as plain data, so that what decides over them needs neither a server nor a library.

A data object becomes a dict whose "_type" is its name in the API ("VirtualDisk"), a reference its id ("vm-57").
"""

from __future__ import annotations

import datetime
from typing import Any

Plain = Any


def plain(value: Any) -> Plain:
    """`value` of pyVmomi as dicts, lists, texts and numbers; what was not set is left out."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "_moId"):
        return value._moId
    if hasattr(value, "_GetPropertyList"):
        fields = {item.name: plain(getattr(value, item.name)) for item in value._GetPropertyList()}
        kept = {name: item for name, item in fields.items() if item is not None and item != [] and not name.startswith("dynamic")}
        return {"_type": type(value)._wsdlName, **kept}
    return str(value)

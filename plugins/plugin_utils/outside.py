# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from outside, as variables that Ansible never takes for templates."""

from __future__ import annotations

from typing import Any

from ansible.utils.unsafe_proxy import wrap_var

try:
    from ansible.utils.native_jinja import NativeJinjaText  # up to ansible-core 2.18
except ImportError:
    NativeJinjaText = str


def as_data(value: Any) -> Any:
    """`value` with every text in it, keys too, marked as unsafe.

    Up to ansible-core 2.18 an unmarked text is a template, and one that reads as True, a list or a dictionary becomes that when it is all that an expression
    gives; from 2.19 on neither is so, unless a text is marked as trusted.
    """
    if isinstance(value, dict):
        return {as_data(key): as_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_data(item) for item in value]
    return wrap_var(NativeJinjaText(value)) if isinstance(value, str) else value

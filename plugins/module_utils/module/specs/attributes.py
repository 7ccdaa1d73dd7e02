# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of the options that doc_fragments/attributes.py documents, written by make options."""

from __future__ import annotations

from typing import Any

ACTION: dict[str, Any] = {
    "progress_file": {"type": "path"},
    "probe": {"type": "bool", "default": False},
    "watch_pid": {"type": "int"},
    "watched": {"type": "list", "elements": "str"},
    "run": {"type": "dict"},
}
RUN: dict[str, Any] = {"run": {"type": "dict"}}
MODE: dict[str, Any] = {"mode": {"type": "raw"}}

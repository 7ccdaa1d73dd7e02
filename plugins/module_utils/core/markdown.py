# SPDX-License-Identifier: GPL-3.0-or-later
"""Text from outside in Markdown: shown as it is, never as markup, a link, a picture or HTML, and never as what moves a terminal's cursor.

Source: CommonMark 0.31 (backslash escapes, code spans, fenced code blocks); GitHub Flavored Markdown (tables).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_MARKUP = re.compile(r"[\\`*\[\]<|~&]|!(?=\[)|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"<": "&lt;", "&": "&amp;"}


def text(value: Any) -> str:
    """One line of plain text, for within a line."""
    return _MARKUP.sub(lambda match: _ENTITIES.get(match[0]) or f"\\{match[0]}", visible(value))


def code(value: Any) -> str:
    """One line as code, in a table too."""
    line = visible(value)
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    inner = f" {line} " if line[:1] in ("`", " ") or line[-1:] in ("`", " ") else line
    return f"{fence}{inner}{fence}".replace("|", "\\|") if line else ""


def block(value: str, language: str = "") -> list[str]:
    """Lines as a block of code that nothing in them ends."""
    lines = [visible(line) for line in value.rstrip("\n").split("\n")]
    fence = "`" * max(3, max((len(run) for line in lines for run in re.findall("`+", line)), default=0) + 1)
    return [fence + language, *lines, fence]


def visible(value: Any) -> str:
    """A line without line ends and other characters that are not seen; they are spelt out. Tabs stay."""
    return "".join(letter if letter == "\t" or not _hidden(letter) else _spelt(letter) for letter in str(value))


def _hidden(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _spelt(letter: str) -> str:
    return " " if letter in "\r\n" else f"\\u{ord(letter):04x}"

# SPDX-License-Identifier: GPL-3.0-or-later
"""Write everything that is made of options/*.yml; with --check only say what is not current."""

from __future__ import annotations

import sys
from pathlib import Path

from . import plugin_pages, role_pages, table

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    known = table.load(ROOT / "options")
    stale = []
    for path, content in (*plugin_pages.pages(ROOT, known), *role_pages.pages(ROOT, known)):
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv[1:]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        print(f"{', '.join(stale)}: not what options/*.yml say; run make options", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-3.0-or-later
"""The campaign of hostile inputs is as large and as mixed as it says, and its watcher notices each fault that it counts."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

HOSTILE = Path(__file__).resolve().parents[1] / "hostile"
sys.path.insert(0, str(HOSTILE))
import run


def test_it_has_many_inputs_of_many_kinds_for_each_theme():
    found = [(item, case) for item, dummy, case in run.found()]
    assert len(found) == len({(item, case.name) for item, case in found}) >= 300
    assert sum(case.varied for dummy, case in found) <= len(found) / 3
    items = Counter(item for item, dummy in found)
    assert set(items) == set(run.NAMES) and min(items.values()) >= 15
    for name in items:
        assert len({case.kind for item, case in found if item == name}) >= 3, name


FAULTY = {
    "hang": "import time; time.sleep(60)",
    "traceback": "raise RuntimeError('a defect')",
    "wrong": "return Outcome('wrong', 'another disk')",
    "unexpected": "return Outcome('used', 'a bomb')",
    "read": "(place.work / 'result').write_bytes(place.canary.read_bytes()); return Outcome('refused')",
    "overwritten": "place.canary.write_text('gone'); return Outcome('refused')",
    "escaped": "(place.folder.parent / 'elsewhere').write_text('x'); return Outcome('refused')",
    "memory": "kept = bytearray(600 << 20); kept[::4096] = b'x' * len(kept[::4096]); return Outcome('refused')",
    "": "return Outcome('refused', 'with a remedy')",
}


@pytest.mark.parametrize("fault", FAULTY)
def test_the_watcher_notices(fault, tmp_path, monkeypatch):
    path = tmp_path / "item1_made.py"
    path.write_text(
        f"from case import Case, Outcome\ndef run(place):\n    {FAULTY[fault]}\n"
        f"def cases():\n    yield Case('made', 'made', run, seconds={5 if fault == 'hang' else 120}, expect=('refused',))\n"
    )
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a directory of compiled files would be one that is left
    own = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]
    monkeypatch.setattr(run, "MEMORY", run.MEMORY + int(own) // 1024)  # a case begins with what the process holds that forks it
    ((item, dummy, case),) = run.found()
    result = run.watched(item, case, tmp_path)
    assert result["faults"] == ([fault] if fault else []) and not [left for left in tmp_path.iterdir() if left.is_dir()]


def test_the_figures_go_into_the_page(tmp_path, monkeypatch):
    row = {"name": "a", "kind": "k", "varied": False, "verdict": "refused", "faults": [], "seconds": 1.0, "mib": 70, "words": ""}
    results = [
        {**row, "item": "item2"},
        {**row, "item": "item2", "faults": ["read"], "mib": 90},
        {**row, "item": "item8", "verdict": "used", "faults": ["escaped"]},
    ]
    text = run.table(results)
    assert (
        "| 2: names | 1 | 1 | 0 | 1 | 0 | 0 | 1 | 0 | 0 | 0 | 0 | 90 |" in text
        and "| all | 2 | 1 | 0 | 1 | 1 | 0 | 1 | 0 | 0 | 0 | 1 | 90 |" in text
    )
    page = tmp_path / "security.md"
    page.write_text("# Security\n\n## What was tried\n\nWords.\n")
    monkeypatch.setattr(run, "PAGE", page)
    for dummy in range(2):
        run.written(text)
    assert page.read_text().count("2: names") == 1 and page.read_text().endswith("Words.\n")


def test_a_result_is_of_the_code_and_of_its_own_cases(tmp_path, monkeypatch):
    for name in ("item1_a.py", "item2_b.py", "case.py"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(run, "HERE", tmp_path)
    one, two = (tmp_path / name for name in ("item1_a.py", "item2_b.py"))
    before = run.code(one), run.code(two)
    one.write_text("x = 1\n")
    assert run.code(one) != before[0] and run.code(two) == before[1] != before[0]
    monkeypatch.setattr(run, "_collection", lambda: "another one")
    assert run.code(two) != before[1]


@pytest.mark.parametrize(
    "words, code",
    [
        ("print(1)", 0),
        ("raise RuntimeError", 1),
        ("import os; os.kill(os.getpid(), 9)", 1),
        ('import sys; open(sys.argv[2], \'a\').write(\'{"case": "a", "ok": false, "what": "kill", "stage": "s", "point": "p"}\\n\')', 1),
    ],
)
def test_a_campaign_whose_ends_crash_or_go_wrong_has_failed(words, code, tmp_path, monkeypatch):
    (tmp_path / "faults.py").write_text(words)
    (tmp_path / "case.py").write_text("")
    for name, value in {"HERE": tmp_path, "RESULTS": tmp_path / "made" / "results.jsonl", "MODULES": ()}.items():
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(sys, "argv", ["run.py"])
    assert run.main() == code

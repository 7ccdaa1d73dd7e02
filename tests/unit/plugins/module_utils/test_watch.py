# SPDX-License-Identifier: GPL-3.0-or-later
"""A process is told from a later one of its number, and a dead one from a living; points do nothing unless a test names them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import trace, watch


def test_a_process_lives_until_it_ends():
    with subprocess.Popen(["sleep", "60"]) as child:
        mark = watch.mark(child.pid)
        assert watch.lives(mark) and watch.lives(str(child.pid))
        child.kill()
        for dummy in range(100):
            if not watch.lives(mark):
                break
            time.sleep(0.02)
        assert not watch.lives(mark)  # though nobody has waited for it: it is a zombie
    assert not watch.lives(mark) and not watch.lives(f"{child.pid}:")


def test_a_number_that_was_given_again_is_another_process():
    pid, dummy, began = watch.mark(os.getpid()).partition(":")
    assert began and not watch.lives(f"{pid}:{int(began) + 1}") and watch.lives(f"{pid}:{began}")


def test_a_process_of_another_user_lives():
    assert watch.lives("1") and watch.lives(watch.mark(1))


def test_points_do_nothing_by_themselves(monkeypatch, tmp_path):
    monkeypatch.delenv("HYPER2KVM_POINT", raising=False)
    trace.point("a")
    monkeypatch.setenv("HYPER2KVM_POINTS", str(tmp_path / "met"))
    monkeypatch.setenv("HYPER2KVM_POINT", "b=full:2")
    monkeypatch.setattr(trace, "_met", {})
    for name in ("a", "b"):
        trace.point(name)
    with pytest.raises(OSError, match="b") as full:
        trace.point("b")
    trace.point("b")
    assert full.value.errno == errno.ENOSPC and (tmp_path / "met").read_text().split() == ["a", "b", "b", "b"]


def test_a_point_kills():
    code = "from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.trace import point\npoint('x=y.json')\nprint('after')\n"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "HYPER2KVM_POINT": "x=y.json=kill"}, capture_output=True, check=False
    )
    assert done.returncode == -9 and not done.stdout

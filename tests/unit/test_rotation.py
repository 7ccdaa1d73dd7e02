# SPDX-License-Identifier: GPL-3.0-or-later
"""What rotates comes round: for every few commits each test has run, what always runs is never left out, and the page says which is which."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys

import pytest
import rotation
from hypothesis import given
from hypothesis import strategies as st
from rotation import GROUPS, Group, Member

COMMITS = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(200)]


@pytest.fixture(scope="module")
def members() -> list[Member]:
    return rotation.collected()


def test_every_test_that_rotates_has_run_after_a_few_commits(members):
    for group, one in GROUPS.items():
        mine = {member.test for member in members if member.group == group}
        assert mine, f"{group} has no members"
        few = 8 * one.parts  # of a hundred such runs less than one misses a part
        for begin in range(0, len(COMMITS) - few, few):
            ran = set()
            for commit in COMMITS[begin : begin + few]:
                ran |= mine - {member.test for member in rotation.left_out(members, commit)}
            assert ran == mine, (group, begin, mine - ran)


def test_a_group_runs_about_its_part_whatever_the_commit(members):
    for commit in COMMITS[:50]:
        left = rotation.left_out(members, commit)
        for group, one in GROUPS.items():
            mine = [member for member in members if member.group == group]
            ran = sum(member.seconds for member in mine) - sum(member.seconds for member in left if member.group == group)
            assert ran <= sum(member.seconds for member in mine) / one.parts + max(member.seconds for member in mine)


@pytest.mark.parametrize("suite", ["unit", "integration", "e2e"])
def test_make_runs_the_tests_that_it_says(suite):
    plain = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "PYTEST_ADDOPTS")
    }  # they change what is printed

    def printed(*argv):
        return subprocess.run(argv, cwd=rotation.ROOT, env=plain, capture_output=True, text=True, check=False)

    (command,) = [line for line in printed("make", "--no-print-directory", "-n", suite).stdout.splitlines() if "-m pytest" in line]
    dummy, *argv = shlex.split(command)
    found = printed(sys.executable, *argv, "--collect-only", "-n", "0")
    assert found.returncode == 0, found.stdout
    tests = [line for line in found.stdout.splitlines() if "::" in line]
    assert len(tests) > 5 and all(test.startswith(f"tests/{suite}/") for test in tests)
    assert ("left out this time" in found.stdout) == (suite != "unit")


def test_what_is_no_commit_is_refused():
    """Such as the folder of the tests, which would then be those that run when nothing is said."""
    command = [sys.executable, "-m", "pytest", "--rotate", "tests/e2e", "--collect-only", "-n", "0"]
    done = subprocess.run(command, cwd=rotation.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 4 and "--rotate wants a commit or HEAD, not tests/e2e" in done.stderr


def test_the_page_says_what_rotates(members):
    text = rotation.PAGE.read_text()
    assert text == rotation.page(text, members), "docs/testing.md is old: python tests/support/rotation.py writes it"
    assert rotation.table(members) in text


@given(st.lists(st.integers(1, 500), min_size=1, max_size=20), st.integers(1, 5), st.text("0123456789abcdef", min_size=1, max_size=40))
def test_one_part_runs_and_the_others_do_not(seconds, parts, commit):
    ones = [Member(f"test_{number}", "kind", length) for number, length in enumerate(seconds)]
    groups = {"kind": Group(parts, "", "")}
    cut = rotation.cut(ones, parts)
    assert sorted(member.test for part in cut for member in part) == sorted(member.test for member in ones)
    left = rotation.left_out(ones, commit, groups)
    assert set(ones) - set(left) == set(cut[rotation.turn(commit, "kind", parts)])
    assert rotation.left_out(reversed(ones), commit, groups) == left


def test_without_a_commit_everything_runs(tmp_path):
    ones = [Member("a", "kind", 1), Member("b", "kind", 1)]
    assert rotation.commit_of(tmp_path) == "" and rotation.left_out(ones, "", {"kind": Group(2, "", "")}) == []
    assert "everything runs" in rotation.said([], "")[0]
    with pytest.raises(KeyError):
        rotation.left_out([Member("a", "no such group", 1)], "abc", {})


def test_a_shallow_clone_knows_its_commit(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        return subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "there").mkdir()
    for words in (
        ("init", "-q", "there"),
        ("-C", "there", "commit", "-q", "--allow-empty", "-m", "one"),
        ("-C", "there", "commit", "-q", "--allow-empty", "-m", "two"),
    ):
        git(*words)
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}/there", "here")
    assert rotation.commit_of(tmp_path / "here") == git("-C", "there", "rev-parse", "HEAD")


def test_what_is_left_out_is_said():
    ones = [Member("tests/e2e/test_boot.py::test_a_guest[x]", "boots", 120), Member("tests/e2e/test_boot.py::test_a_guest[y]", "boots", 60)]
    first, second = rotation.said(ones, "0123456789abcdef", {"boots": Group(3, "", "")})
    assert first.startswith("rotation for 0123456789ab: 2 tests left out this time, about 3 minutes") and "make matrix" in first
    assert "of 3 ran; not: test_boot.py, a guest: x, y" in second

# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the long tests run for a commit: each group is cut into parts of about equal length, and the commit's hash picks one of them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
PAGE, BEGIN, END = ROOT / "docs" / "testing.md", "<!-- written by tests/support/rotation.py -->", "<!-- end -->"
MARKER = "rotates(group, seconds): runs for one commit in a few, see docs/testing.md; `seconds` is what it takes on two emulated cores"


@dataclass(frozen=True)
class Group:
    """Tests that look at one kind of thing: what of it always runs, and into how many parts the rest is cut."""

    parts: int
    words: str
    always: str


@dataclass(frozen=True)
class Member:
    """A test that rotates; `seconds` is its length."""

    test: str
    group: str
    seconds: float


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "boots": Group(
            12,
            "a guest of the lab is migrated and booted",
            "BIOS with initramfs-tools; the unrepaired boot",
        ),
        "doors": Group(4, "a VM of vSphere by each transport, with a real guest", "the dry run"),
        "hosts": Group(2, "a guest that runs elsewhere than in the boot test", "one of the two, each time the other"),
        "windows": Group(
            8,
            "a Windows-shaped disk through the whole playbook, in two phases, undone to the last byte, or beside virt-v2v",
            "single steps; states that stop a migration",
        ),
        "guests": Group(
            6,
            "steps and families on real disks",
            "a source is inspected, what is copied as it is; guests that are booted grow",
        ),
        "kills": Group(
            3, "a run is killed in a stage, and the next one finishes", "while the result is written; the run is killed, not its fork"
        ),
        "encrypted": Group(3, "an encrypted result in use", "it opens with its passphrase only; what cannot be encrypted is refused"),
        "starts": Group(
            12,
            "the first start of Windows in wine: every release, a power cut at every line",
            "2022; programs that fail, hang, come late or are missing",
        ),
        "identity": Group(
            3, "directories of another VM of the same name", "one after the other, renamed, replaced, copied, left by an earlier version"
        ),
        "runs": Group(4, "whole runs: how they are started and followed", "the dry run, wrong variables, hostile names and sources"),
    }
)


def commit_of(folder: Path = ROOT) -> str:
    """The hash of the commit that is checked out; empty where nothing says it."""
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def is_commit(text: str) -> bool:
    """Whether a text is the whole hash of a commit."""
    return re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text) is not None


def cut(members: Iterable[Member], parts: int) -> list[list[Member]]:
    """Parts of about equal length: the longest first, each into the part that is shortest so far."""
    found: list[list[Member]] = [[] for dummy in range(parts)]
    for member in sorted(members, key=lambda one: (-one.seconds, one.test)):
        min(found, key=lambda part: (sum(one.seconds for one in part), len(part))).append(member)
    return found


def turn(commit: str, group: str, parts: int) -> int:
    """The part of a group whose turn it is; groups turn independently of each other."""
    return int.from_bytes(hashlib.sha256(f"{commit} {group}".encode()).digest()[:8], "big") % parts


def left_out(members: Iterable[Member], commit: str, groups: Mapping[str, Group] = GROUPS) -> list[Member]:
    """The members whose turn it is not. Without a commit nothing says whose turn it is, so all run.

    KeyError: a member's group is not in the table.
    """
    by_group: dict[str, list[Member]] = {}
    for member in members:
        by_group.setdefault(member.group, []).append(member)
    found = []
    for name, ones in by_group.items():
        parts = cut(ones, groups[name].parts)
        if commit:
            found += [member for number, part in enumerate(parts) if number != turn(commit, name, len(parts)) for member in part]
    return sorted(found, key=lambda one: (one.group, one.test))


def said(left: Iterable[Member], commit: str, groups: Mapping[str, Group] = GROUPS) -> list[str]:
    """What a run prints of what it did not run."""
    if not commit:
        return ["rotation: no commit is known, so everything runs"]
    ones = list(left)
    minutes = sum(member.seconds for member in ones) / 60
    lines = [
        f"rotation for {commit[:12]}: {len(ones)} tests left out this time, about {minutes:.0f} minutes of one core; `make matrix` runs all"
    ]
    for name in sorted({member.group for member in ones}):
        mine = [member for member in ones if member.group == name]
        lines.append(
            f"  {name}, part {turn(commit, name, groups[name].parts) + 1} of {groups[name].parts} ran; not: {words(mine, seconds=False)}"
        )
    return lines


def words(members: Iterable[Member], seconds: bool = True) -> str:
    """Tests by their names, those that differ by a parameter together."""
    found: dict[str, list[str]] = {}
    for member in sorted(members, key=lambda one: one.test):
        place, dummy, name = member.test.partition("::")
        name, dummy, parameter = name.partition("[")
        listed = found.setdefault(f"{Path(place).name}, {name.removeprefix('test_').replace('_', ' ')}", [])
        listed.append(
            f"{': ' if parameter and not listed else ''}{parameter.removesuffix(']')}{f' ({member.seconds:g})' if seconds else ''}"
        )
    return "; ".join(name + ", ".join(ones) for name, ones in found.items())


def table(members: Iterable[Member], groups: Mapping[str, Group] = GROUPS) -> str:
    """What always runs and what rotates, in Markdown."""
    ones, lines = list(members), ["| group | always | by turns, with seconds | one commit in |", "| --- | --- | --- | --- |"]
    for name, group in groups.items():
        mine = [member for member in ones if member.group == name]
        lines.append(f"| {name}: {group.words} | {group.always} | {words(mine)} | {group.parts} |")
    return "\n".join(lines)


def collected() -> list[Member]:
    """The tests of the long suites that rotate, as pytest finds them."""
    command = [sys.executable, "-m", "pytest", "--rotation-members", "tests/integration", "tests/e2e"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    if done.returncode not in (0, 5) or not lines:  # 5: nothing ran
        raise RuntimeError(f"{done.stdout}\n{done.stderr}")
    return [Member(*line) for line in lines]


def page(text: str, members: Iterable[Member]) -> str:
    """docs/testing.md with the table of these members."""
    return re.sub(
        f"({re.escape(BEGIN)}\n).*?(\n{re.escape(END)})", lambda found: f"{found[1]}\n{table(members)}\n{found[2]}", text, flags=re.DOTALL
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), collected()))

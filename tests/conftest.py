# SPDX-License-Identifier: GPL-3.0-or-later
"""`pytest --rotate=HEAD`: of the tests that rotate only those whose turn it is for this commit; what was left out is printed at the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import rotation

LEFT, SHOWN = pytest.StashKey[list](), pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--rotate", metavar="COMMIT", help="of the tests that rotate run only those of this commit, or HEAD")
    parser.addoption("--rotation-members", action="store_true", help="print the tests that rotate, with group and seconds, and run nothing")


def pytest_configure(config):
    config.addinivalue_line("markers", rotation.MARKER)
    if config.option.rotate == "HEAD":  # asked once: workers get the answer, and HEAD may move
        config.option.rotate = rotation.commit_of()
    elif config.option.rotate and not rotation.is_commit(config.option.rotate):
        raise pytest.UsageError(f"--rotate wants a commit or HEAD, not {config.option.rotate}")


def pytest_collection_modifyitems(config, items):
    marks = {item.nodeid: item.get_closest_marker("rotates") for item in items}
    members = [rotation.Member(test, *mark.args) for test, mark in marks.items() if mark is not None]
    if config.option.rotation_members:
        config.stash[SHOWN] = members
        left = set(marks)
    elif config.option.rotate is not None:
        config.stash[LEFT] = rotation.left_out(members, config.option.rotate)
        left = {member.test for member in config.stash[LEFT]}
        if hasattr(config, "workeroutput"):
            config.workeroutput["left_out"] = [(member.test, member.group, member.seconds) for member in config.stash[LEFT]]
    else:
        return
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = [item for item in items if item.nodeid not in left]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """What a worker left out; all of them leave out the same."""
    if "left_out" in getattr(node, "workeroutput", {}):
        node.config.stash[LEFT] = [rotation.Member(*words) for words in node.workeroutput["left_out"]]


def pytest_terminal_summary(terminalreporter, config):
    for member in config.stash.get(SHOWN, ()):
        terminalreporter.write_line(json.dumps([member.test, member.group, member.seconds]))
    if LEFT in config.stash:
        terminalreporter.write_line("\n".join(rotation.said(config.stash[LEFT], config.option.rotate)))

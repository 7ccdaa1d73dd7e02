# SPDX-License-Identifier: GPL-3.0-or-later
"""`pytest --rotate=HEAD`: of the tests that rotate only those whose turn it is for this commit; what was left out is printed at the end.

A test with the mark `again` whose assertion fails is tried that many times, and a warning tells of it.
"""

from __future__ import annotations

import json
import sys
import warnings
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
    config.addinivalue_line(
        "markers", "again(times): is tried so often, for what it runs on fails now and then; a fault of ours is there each time"
    )
    if config.option.rotate == "HEAD":  # asked once: workers get the answer, and HEAD may move
        config.option.rotate = rotation.commit_of()
    elif config.option.rotate and not rotation.is_commit(config.option.rotate):
        raise pytest.UsageError(f"--rotate wants a commit or HEAD, not {config.option.rotate}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    mark = pyfuncitem.get_closest_marker("again")
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames} if mark is not None else {}
    for dummy in range(mark.args[0] - 1 if mark is not None else 0):
        try:
            pyfuncitem.obj(**arguments)
            return True
        except AssertionError as error:
            warnings.warn(f"{pyfuncitem.nodeid} is tried again: {error}", stacklevel=1)
    return None


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

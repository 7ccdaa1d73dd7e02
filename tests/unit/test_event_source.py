# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source of the drop folder: what is new is told once, and what stays is told again."""

from __future__ import annotations

import asyncio
import errno
import os

from ansible_collections.hyper2kvm.migration.extensions.eda.plugins.event_source import drop_folder


def told(path, *steps, **given):
    """The entries of each event, while the steps are taken, one a while after the other."""

    async def watch():
        queue = asyncio.Queue()
        watching = asyncio.ensure_future(drop_folder.main(queue, {"path": str(path), "delay": 0.01, **given}))
        for step in (*steps, None):
            await asyncio.sleep(0.4)
            if step:
                step()
        watching.cancel()
        return [queue.get_nowait()["drop_folder"]["entries"] for dummy in range(queue.qsize())]

    return asyncio.run(watch())


def test_what_is_new_is_told_once(tmp_path):
    (tmp_path / "processed").mkdir()
    (tmp_path / ".digests.json").write_text("{}")
    one, other = tmp_path / "a.raw", tmp_path / "b.raw"
    assert told(tmp_path, one.touch, other.touch, one.unlink, one.touch) == [["a.raw"], ["a.raw", "b.raw"], ["a.raw", "b.raw"]]


def test_what_stays_is_told_again_until_it_is_gone(tmp_path):
    one = tmp_path / "a.raw"
    one.touch()
    assert told(tmp_path, again=60) == [["a.raw"]]
    events = told(tmp_path, one.unlink, again=0.05)
    assert len(events) > 2 and all(event == ["a.raw"] for event in events)
    assert not told(tmp_path, again=0.05)


def test_what_is_on_its_way_or_of_the_file_system_is_not_told(tmp_path):
    for name in (".hidden", "a.ova.part", "b.raw.tmp", "lost+found", "@eaDir"):
        (tmp_path / name).mkdir()
    assert not told(tmp_path, again=0.05)


def test_a_server_that_is_away_is_waited_for(tmp_path, monkeypatch):
    (tmp_path / "a.raw").touch()
    real, answers = os.listdir, [OSError(errno.ESTALE, "Stale file handle"), NotADirectoryError(errno.ENOTDIR, "Not a directory")]

    def listed(path):
        if answers:
            raise answers.pop()
        return real(path)

    monkeypatch.setattr(os, "listdir", listed)
    assert told(tmp_path) == [["a.raw"]] and not answers


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path):
    folder = tmp_path / "drop"
    assert told(folder, folder.mkdir, (folder / "a.raw").touch) == [["a.raw"]]

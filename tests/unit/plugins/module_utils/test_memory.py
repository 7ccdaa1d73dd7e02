# SPDX-License-Identifier: GPL-3.0-or-later
"""What remembers its VM, and who works on it: claims that outlive a stage and not their run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import memory
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy, InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.memory import Memory, Run, claim, name_of, recall, release
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import ToFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import Mark, VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import places, stage

ONE = VmId("u1", "/a/web01.vmx", ("/a/web01.vmx",), "web01", "d1")
OTHER = VmId("u2", "/b/web01.vmx", ("/b/web01.vmx",), "web01", "d2")


@contextlib.contextmanager
def process():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdin.close()


def ended_run(**more: str) -> Run:
    with process() as child:
        run = Run.of(child.pid, **more)
    return run


def mine(vm: str = "") -> Run:
    return Run.of(os.getpid(), vm)


def test_a_run_is_alive_as_long_as_its_process_and_no_longer():
    with process() as child:
        run = Run.of(child.pid, "web01")
        assert run.gone() is False
    assert run.gone() is True
    assert replace(mine(), start="1").gone() is True  # its number was given to another process
    assert replace(mine(), boot="x").gone() is True  # the machine has started anew
    assert replace(mine(), host="elsewhere").gone() is None
    assert replace(mine(), space="pid:[1]").gone() is None  # in another container


def test_a_process_that_has_ended_and_is_not_yet_buried_is_gone():
    child = subprocess.Popen([sys.executable, "-c", ""])
    run = Run.of(child.pid)
    deadline = time.monotonic() + 20
    while not run.gone() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.gone() is True
    child.wait()


@given(st.builds(Run, *[st.text(max_size=5)] * 3, st.integers(0, 1 << 22), *[st.text(max_size=5)] * 3))
def test_a_run_is_the_same_after_it_was_written_down(run):
    assert Run.from_data(json.loads(json.dumps(run.as_data()))) == run


@pytest.mark.parametrize("data", [{}, {"pid": "x"}, {"pid": None}, [], {"pid": [1]}, "text"], ids=str)
def test_what_is_no_run_is_refused(data):
    with pytest.raises(InvalidInput, match="not identify a run"):
        Run.from_data(data)


def test_a_place_takes_its_first_vm_and_no_other(tmp_path):
    path = str(tmp_path / "vm.json")
    assert recall(path) == Memory()
    assert claim(path, "The directory", ONE, None) is True and claim(path, "The directory", ONE, None) is False
    with pytest.raises(InvalidInput, match=r"/a/web01\.vmx.*/b/web01\.vmx"):
        claim(path, "The directory", OTHER, None)
    assert recall(path).vm == ONE and os.stat(path).st_mode & 0o777 == 0o600


def test_what_is_packed_does_not_make_a_place_forget_what_was_in_it(tmp_path):
    path = str(tmp_path / "vm.json")
    claim(path, "x", replace(ONE, place="/a.zip"), None)
    claim(path, "x", VmId("", "/a.zip"), None)
    assert recall(path).vm.uuid == "u1"


def test_the_second_of_two_runs_is_told_who_is_first_until_that_one_ends(tmp_path):
    path = str(tmp_path / "vm.json")
    with process() as child:
        first = Run.of(child.pid, "web01", "4711")
        claim(path, "the VM", ONE, first)
        words = f"process {child.pid} on {socket.gethostname()}, for web01, job 4711 of AWX"
        with pytest.raises(Busy, match=words) as refused:
            claim(path, "the VM", ONE, mine())
        assert Run.from_data(refused.value.details["holder"]) == first
        with pytest.raises(Busy):
            claim(path, "the VM", ONE, replace(first, vm="web02"))  # another host of the same play
        claim(path, "the VM", ONE, first)
    claim(path, "the VM", ONE, mine())
    assert recall(path).run == mine()


def test_a_run_that_ends_its_work_keeps_nobody_away(tmp_path):
    path = str(tmp_path / "vm.json")
    with process() as child:
        first = Run.of(child.pid)
        claim(path, "x", ONE, first)
        release(path, mine())  # somebody else's is not given back
        assert recall(path).run == first
        release(path, first)
        claim(path, "x", ONE, mine())
    release(path, mine(), forget=True)
    assert not os.path.exists(path)
    release(path, mine())


def test_a_run_elsewhere_is_believed_alive_for_a_while_unless_its_controller_says_that_it_has_ended(tmp_path, monkeypatch):
    path, far = str(tmp_path / "vm.json"), replace(mine(), host="elsewhere")
    claim(path, "x", ONE, far)
    with pytest.raises(Busy, match="noticed after 10 minutes"):
        claim(path, "x", ONE, mine())
    claim(path, "x", ONE, mine(), known_dead=name_of(far))
    release(path, mine())
    claim(path, "x", ONE, far)
    now = time.time()
    monkeypatch.setattr(memory.time, "time", lambda: now + memory.LEASE + 1)
    claim(path, "x", ONE, mine())


def test_of_many_at_once_one_vm_gets_the_place(tmp_path):
    path, won, lost = str(tmp_path / "vm.json"), [], []

    def take(number: int) -> None:
        try:
            claim(path, "x", VmId(f"u{number}", "/p", digest="d"), None)
            won.append(number)
        except InvalidInput:
            lost.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 19 and recall(path).vm.uuid == f"u{won[0]}"


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER]), st.integers(0, 60)), max_size=6))
def test_a_kill_at_any_byte_leaves_what_was_or_what_is_to_be(tmp_path_factory, steps):
    """A longer record over a shorter one, and the other way round, cut off before the file got its length."""
    path = tmp_path_factory.mktemp("m") / "vm.json"
    for vm, length in steps:
        long = replace(vm, name="n" * length, disks=(Mark(1, "h" * length),))
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            with contextlib.suppress(RuntimeError):
                monkey = os.ftruncate
                os.ftruncate = lambda *dummy: (one for one in ()).throw(RuntimeError)
                try:
                    memory._write(fd, Memory(long))
                finally:
                    os.ftruncate = monkey
        finally:
            os.close(fd)
        assert recall(str(path)).vm == long


DAMAGED = {
    "half a record": b'{"vm": {"uuid": "u1"',
    "no JSON": b"\x00\xff\n",
    "a list": b"[]\n",
    "a number": b"3\n",
    "another vm": b'{"vm": {"uuid": 3}, "run": null, "seen": 0}\n',
    "no run": b'{"vm": null, "run": {"pid": "x"}, "seen": 0}\n',
    "no time": b'{"vm": null, "run": null}\n',
    "deep": b"[" * 5000 + b"\n",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_memory_that_cannot_be_read_is_refused_with_a_remedy_and_never_overwritten(tmp_path, name):
    path = tmp_path / "vm.json"
    path.write_bytes(DAMAGED[name])
    for use in (lambda: recall(str(path)), lambda: claim(str(path), "x", ONE, mine())):
        with pytest.raises(InvalidInput, match="remove this file"):
            use()
    assert path.read_bytes() == DAMAGED[name]


def test_a_link_in_place_of_a_memory_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("")
    (tmp_path / "vm.json").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        claim(str(tmp_path / "vm.json"), "x", ONE, mine())
    assert (tmp_path / "victim").read_text() == ""


def test_a_holder_that_stands_still_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    path = str(tmp_path / "vm.json")
    claim(path, "x", ONE, None)
    monkeypatch.setattr(memory, "_WAIT", 0.3)
    with open(path, "rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begin = time.monotonic()
        with pytest.raises(Busy, match="may be stopped"):
            claim(path, "x", ONE, None)
        assert time.monotonic() - begin < 5


def test_a_stage_keeps_the_vm_for_its_run_and_gives_it_back_when_it_fails(tmp_path):
    work, place = str(tmp_path / "w"), places.work_dir(str(tmp_path / "w"))
    with stage.working_on(stage.Run(by=mine()), work):
        pass
    assert recall(place.path).run == mine()
    with (
        process() as child,
        pytest.raises(Busy, match=f"process {os.getpid()}"),
        stage.working_on(stage.Run(by=Run.of(child.pid)), work),
    ):
        pass
    with pytest.raises(ZeroDivisionError), stage.working_on(stage.Run(by=mine()), work):
        raise ZeroDivisionError
    with process() as child, stage.working_on(stage.Run(by=Run.of(child.pid)), work):
        pass
    stage.done_with(stage.Run(by=mine()), place)


def test_a_first_stage_that_fails_takes_no_place_for_its_vm(tmp_path):
    place = places.results(str(tmp_path / "out"), "web01")
    with pytest.raises(ZeroDivisionError), stage.belonging(stage.Run(by=mine()), place, ONE):
        raise ZeroDivisionError
    assert not (tmp_path / "out").exists()
    with stage.belonging(stage.Run(by=mine()), place, OTHER):
        pass
    with pytest.raises(ZeroDivisionError), stage.belonging(stage.Run(by=mine()), place, OTHER):
        raise ZeroDivisionError
    assert recall(place.path).vm == OTHER


def test_check_mode_refuses_another_vm_and_writes_nothing(tmp_path):
    place = places.results(str(tmp_path / "out"), "web01")
    with stage.belonging(stage.Run(by=mine(), check=True), place, ONE):
        assert not (tmp_path / "out").exists()
    with stage.belonging(stage.Run(by=mine()), place, ONE):
        pass
    with pytest.raises(InvalidInput, match="belongs to"), stage.belonging(stage.Run(by=mine(), check=True), place, OTHER):
        pass
    with stage.belonging(stage.Run(by=mine(), check=True, moved=True), place, replace(ONE, place="/c")):
        pass


@pytest.mark.parametrize("here", [True, False], ids=["on this machine", "as its controller says"])
def test_the_last_stage_of_a_run_that_has_ended_is_waited_for_with_the_reason(tmp_path, here):
    work = str(tmp_path / "w")
    dead = ended_run() if here else replace(mine(), host="elsewhere")
    with stage.working_on(stage.Run(by=dead), work):
        pass
    progress = tmp_path / "progress.json"
    given = stage.Run(by=mine(), progress=ToFile(str(progress)), known_dead="" if here else name_of(dead))
    with open(tmp_path / "w" / "lock", "rb+") as working:
        fcntl.flock(working, fcntl.LOCK_EX)
        with pytest.raises(stage.Pending), stage.working_on(replace(given, probe=True), work):
            pass
        threading.Timer(1.0, fcntl.flock, (working, fcntl.LOCK_UN)).start()
        begin = time.monotonic()
        with stage.working_on(given, work):
            assert time.monotonic() - begin > 0.8
    assert "a run that has ended" in progress.read_text()
    assert recall(places.work_dir(work).path).run == mine()


def test_a_stage_of_a_run_that_lives_is_not_waited_for(tmp_path):
    work = str(tmp_path / "w")
    with process() as child:
        with stage.working_on(stage.Run(by=Run.of(child.pid)), work):
            pass
        with open(tmp_path / "w" / "lock", "rb+") as working:
            fcntl.flock(working, fcntl.LOCK_EX)
            with pytest.raises(Busy, match=f"process {child.pid}"), stage.working_on(stage.Run(by=mine()), work):
                pass


def test_a_module_that_knows_no_run_is_kept_away_by_stages_alone(tmp_path):
    work = str(tmp_path / "w")
    with process() as child, stage.working_on(stage.Run(by=Run.of(child.pid)), work):
        pass
    with stage.working_on(stage.Run(by=None), work):
        pass

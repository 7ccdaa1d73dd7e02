# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that do nothing any more are ended, and the message says what was waited for; one that works slowly is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from promptly import within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import deadline, process
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import TimedOut, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import Limits, run

QUIET = Limits(timeout=60.0, silence=1.0)

STUCK = {
    "sleeps": "sleep 50",
    "has closed its output": "exec >&- 2>&-; sleep 50",
    "waits for a pipe": "mkfifo p; cat p",
    "waits for a child": "sleep 50 & wait",
    "has left its output to a child": "sleep 50 & exit 0",
    "is stopped": "kill -STOP $$",
    "stops after some words": "echo begin; kill -STOP $$",
    "waits for a lock": "flock l sleep 50 & sleep 0.2; flock l true",
    "waits for input of nobody": "exec 3<>p.$$; mkfifo q; read x < q",
    "is stopped together with its child": "sleep 50 & kill -STOP $! $$",
    "ignores being asked": "trap '' TERM HUP; sleep 50",
}


@pytest.mark.parametrize("how", STUCK)
def test_a_program_that_does_nothing_is_ended(tmp_path, how):
    begin, mark = time.monotonic(), f"50.{os.getpid()}{list(STUCK).index(how):02}"
    with within(20), pytest.raises(TimedOut, match="no output and done no work") as caught:
        run(["sh", "-c", STUCK[how].replace("sleep 50", f"sleep {mark}")], QUIET, cwd=str(tmp_path))
    assert 0.9 < time.monotonic() - begin < 15 and caught.value.hint
    assert not subprocess.run(["pgrep", "-f", f"sleep {mark[:-1]}[{mark[-1]}]"], capture_output=True, check=False).stdout


def test_a_stopped_program_is_said_to_be_stopped(tmp_path):
    with within(20), pytest.raises(TimedOut, match="by a signal"):
        run(["sh", "-c", "kill -STOP $$"], QUIET)


WORKING = {
    "computes": "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done",
    "speaks": "for i in 1 2 3 4 5 6; do echo $i; sleep 0.5; done",
    "complains": "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.5; done",
    "writes": "for i in 1 2 3 4 5 6; do head -c 10000 /dev/zero > f; sleep 0.5; done",
    "has a child that works": "(for i in 1 2 3 4 5 6; do head -c 10000 /dev/zero > f; sleep 0.5; done) & wait",
}


@pytest.mark.parametrize("how", WORKING)
def test_one_that_works_slowly_is_left_alone(tmp_path, how):
    assert run(["sh", "-c", WORKING[how]], QUIET, cwd=str(tmp_path)).rc == 0


def test_the_whole_has_a_deadline_too():
    with within(20), pytest.raises(TimedOut, match="did not end within 1 seconds"):
        run(["sh", "-c", "while :; do echo y; sleep 0.1; done"], Limits(timeout=1.0))


def test_what_a_program_prints_is_limited(monkeypatch):
    monkeypatch.setattr(process, "OUTPUT", 1 << 20)
    with within(20), pytest.raises(ToolFailed, match="prints more than 1 MiB"):
        run(["yes"])
    with within(20), pytest.raises(ToolFailed, match="prints more than 1 MiB"):
        run(["sh", "-c", "yes >&2"])
    assert run(["head", "-c", "3000000", "/dev/zero"], on_output=lambda chunk: None).rc == 0


def test_one_that_is_let_go_again_goes_on(tmp_path):
    child = process.start(["sleep", "30"])
    try:
        os.kill(child.pid, signal.SIGSTOP)
        for dummy in range(100):
            if deadline.stopped(child.pid):
                break
            time.sleep(0.02)
        assert deadline.stopped(child.pid) and deadline.session(child.pid) == [child.pid]
        os.kill(child.pid, signal.SIGCONT)
    finally:
        with within(10):
            process.stop(child)
    assert not deadline.stopped(child.pid) and deadline.Pulse.of(child.pid) == deadline.Pulse()


def test_children_are_found_by_a_mark_and_no_others_are():
    with subprocess.Popen(["sleep", "31.25"]) as child, subprocess.Popen(["sleep", "31.26"]) as other:
        try:
            assert list(deadline.marked(b"31.25")) == [child.pid] and list(deadline.marked(b"31.2")) == [child.pid, other.pid]
        finally:
            child.kill()
            other.kill()


def test_waiting_for_a_processor_is_counted_and_is_no_progress():
    one = min(os.sched_getaffinity(0))
    begin = f"import os; os.sched_setaffinity(0, [{one}]); print(flush=True)\nwhile True: pass"
    programs = [subprocess.Popen([sys.executable, "-c", begin], stdout=subprocess.PIPE) for dummy in range(2)]
    try:
        for program in programs:
            program.stdout.read(1)
        before = deadline.Pulse.of(*(program.pid for program in programs))
        time.sleep(1.0)
        after = deadline.Pulse.of(*(program.pid for program in programs))
        assert after.waited - before.waited > 0.5  # two that want one processor
    finally:
        for program in programs:
            program.kill()
            program.wait()
            program.stdout.close()
    assert deadline.Pulse(1.0, 2, 3.0) == deadline.Pulse(1.0, 2, 4.0)


def test_silence_begins_anew_with_every_pulse():
    quiet = deadline.Silence()
    quiet._since -= 10
    assert quiet.lasts(deadline.Pulse()) > 9 and quiet.lasts(deadline.Pulse(1.0)) < 1
    quiet._since -= 10
    assert quiet.lasts(deadline.Pulse(1.0)) > 9
    quiet.heard()
    assert quiet.lasts(deadline.Pulse(1.0)) < 1


def test_threads_may_wait_at_once():
    failed = []

    def wait():
        try:
            run(["sleep", "40"], QUIET)
        except TimedOut as error:
            failed.append(error)

    threads = [threading.Thread(target=wait) for dummy in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(failed) == 4

# SPDX-License-Identifier: GPL-3.0-or-later
"""An appliance that does nothing, computes for ever, pauses or dies is ended, and whoever waited for it is told why."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from promptly import within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.deadline import Pulse
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import NotEnoughSpace, TimedOut, ToolFailed
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.appliance import Appliance, Patience, _Judge

SHORT = Patience(launch=20.0, idle=1.0, stopped=0.8, spin=1.6, look=0.2)
IDLE, BUSY = "sleep 25; :", "while :; do :; done"
MOVING = "while :; do head -c 100000 /dev/zero; sleep 0.05; done >/dev/null"
SLOW = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); head -c 60000 /dev/zero >/dev/null; sleep 0.05; done"


class Handle:
    """libguestfs with a shell in place of qemu: a call waits until it ends, or is told to. `says` are events of its monitor."""

    def __init__(self, program: str, says=(), after: float = 0.3):
        self.program, self.says, self.after, self.settings, self.closed = program, says, after, [], False

    def config(self, name, value):
        self.settings.append((name, value))

    def launch(self):
        path = dict(self.settings)["-qmp"].partition("unix:")[2].partition(",")[0]
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        threading.Thread(target=self._monitor, args=(server,), daemon=True).start()
        self.child = subprocess.Popen(["sh", "-c", self.program, path])

    def _monitor(self, server):
        connection = server.accept()[0]
        connection.sendall(b'{"QMP": {}}\r\n')
        assert b"qmp_capabilities" in connection.recv(1000)
        connection.sendall(b'{"return": {}}\r\n')
        time.sleep(self.after)
        for event in self.says:
            connection.sendall(event if isinstance(event, bytes) else json.dumps(event).encode() + b"\r\n")
        time.sleep(30)

    def is_ready(self):
        return self.child.poll() is None

    def get_pid(self):
        return self.child.pid

    def wait(self, path):
        self.child.wait()
        raise RuntimeError("appliance closed the connection unexpectedly.\nThis usually means ...")

    def ls(self, path):
        raise RuntimeError(f"ls: {path}: No such file or directory")

    def nap(self, path):
        time.sleep(3)
        return path

    def close(self):
        self.child.kill()
        self.child.wait()
        self.closed = True


@pytest.fixture
def appliance(tmp_path):
    made = []

    def start(program, says=(), patience=SHORT):
        handle = Handle(program, says)
        made.append((handle, Appliance(handle, [str(tmp_path / "disk0-overlay.qcow2"), "/other/disk1.qcow2"], patience)))
        made[-1][1].launch()
        return made[-1][1]

    yield start
    for handle, one in made:
        with within(20):
            one.close()
        assert handle.closed and not one._thread.is_alive() and not os.path.exists(one._directory)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (IDLE, "Nothing has happened in the appliance for"),
        (BUSY, "has computed for"),
        ("kill -STOP $$; sleep 25", "was stopped by a signal"),
    ],
)
def test_a_call_without_progress_ends_and_says_what_was_waited_for(appliance, program, words):
    opened = appliance(program)
    with within(20), pytest.raises(TimedOut, match=words) as caught:
        opened.wait("/etc/fstab")
    assert "wait /etc/fstab" in str(caught.value) and caught.value.hint
    with pytest.raises(TimedOut):  # whatever is asked then is not taken for an absent file
        opened.ls("/etc")


def test_a_call_that_makes_progress_may_take_its_time(appliance):
    opened = appliance(MOVING)
    with within(20):
        assert opened.nap("/x") == "/x"
    assert opened.reason is None


def test_progress_that_ends_is_noticed(appliance):
    opened = appliance(SLOW + "; sleep 25; :")
    begin = time.monotonic()
    with within(30), pytest.raises(TimedOut, match="Nothing has happened"):
        opened.wait("/x")
    assert time.monotonic() - begin > 3


def test_while_nobody_waits_it_may_rest(appliance):
    opened = appliance(IDLE)
    time.sleep(2.5)
    assert opened.reason is None
    with pytest.raises(RuntimeError, match="No such file"):
        opened.ls("/x")


FULL = {
    "event": "BLOCK_IO_ERROR",
    "data": {"device": "hd0", "action": "stop", "operation": "write", "nospace": True, "reason": "No space left on device"},
}
BROKEN = {
    "event": "BLOCK_IO_ERROR",
    "data": {"device": "hd1", "action": "stop", "operation": "write", "nospace": False, "reason": "Input/output error"},
}
QUOTA = {
    "event": "BLOCK_IO_ERROR",
    "data": {"device": "hd0", "action": "stop", "operation": "write", "nospace": False, "reason": "Disk quota exceeded"},
}
OWN = {"event": "BLOCK_IO_ERROR", "data": {"device": "appliance", "action": "stop", "nospace": True, "reason": "No space left on device"}}


@pytest.mark.parametrize(
    ("event", "error", "words"),
    [
        (FULL, NotEnoughSpace, "no space left in .*test_a_write_that_fails"),
        (QUOTA, NotEnoughSpace, "quota exceeded"),
        (BROKEN, ToolFailed, "does not reach /other/disk1.qcow2: Input/output error"),
        (OWN, NotEnoughSpace, "no space left in /"),
    ],
)
def test_a_write_that_fails_is_an_error_at_once(appliance, event, error, words):
    opened = appliance(IDLE, [event], Patience())
    with within(10), pytest.raises(error, match=words) as caught:
        opened.wait("/x")
    assert caught.value.hint


@pytest.mark.parametrize(
    "said",
    [
        b"no json\r\n[1, 2]\r\n" + json.dumps(FULL).encode() + b"\r\n",
        json.dumps({"event": "STOP"}).encode()
        + b"\r\n"
        + json.dumps({**FULL, "data": {"action": "report"}}).encode()
        + b"\r\n"
        + json.dumps(FULL).encode()
        + b"\n",
        b'{"event": "BLOCK_IO_ERROR"}\n' + json.dumps({**FULL, "data": {**FULL["data"], "device": None}}).encode() + b"\n",
    ],
)
def test_what_else_the_monitor_says_is_passed_over(appliance, said):
    opened = appliance(IDLE, [said[:30], said[30:]], Patience())
    with within(10), pytest.raises(NotEnoughSpace):
        opened.wait("/x")


def test_errors_that_are_reported_to_the_guest_do_not_end_it(appliance):
    opened = appliance(MOVING, [{**FULL, "data": {**FULL["data"], "action": "report"}}, {"event": "RESUME"}])
    with within(20):
        assert opened.nap("/x") == "/x"


def test_one_that_dies_is_said_to_have_died(appliance):
    opened = appliance(IDLE)
    threading.Timer(0.3, lambda: os.kill(opened.get_pid(), signal.SIGKILL)).start()
    with within(10), pytest.raises(ToolFailed, match="The appliance ended during wait /x") as caught:
        opened.wait("/x")
    assert "memory" in caught.value.hint
    with pytest.raises(ToolFailed):
        opened.ls("/x")


def test_a_secret_is_in_no_message(appliance):
    opened = appliance(IDLE)
    opened._handle.cryptsetup_open = lambda *given: opened._handle.wait("")
    with within(20), pytest.raises(TimedOut) as caught:
        opened.cryptsetup_open("/dev/sda2", "the passphrase", "luks-x")
    assert "cryptsetup_open /dev/sda2" in str(caught.value) and "passphrase" not in str(caught.value)


def test_qemu_is_told_to_pause_on_every_disk_and_where_we_listen(appliance):
    settings = appliance(IDLE)._handle.settings
    assert settings[:2] == [("-set", "drive.hd0.werror=stop"), ("-set", "drive.hd1.werror=stop")]
    assert settings[2][0] == "-qmp" and settings[2][1].endswith(",server=on,wait=off")


# A second of qemu's: of processors, of waiting for one, bytes; and the seconds after which it is ended in a call.
SECONDS = {
    "a start that computes": ("launch", 1.0, 0.0, 0, 300),
    "a start that hangs": ("launch", 0.006, 0.001, 200, 300),
    "a start with a quarter of a processor": ("launch", 0.25, 0.75, 0, 1200),
    "a start that hardly gets one": ("launch", 0.02, 0.98, 0, 3000),
    "a start on two that it shares": ("launch", 1.0, 1.0, 0, 600),
    "nothing": ("ls", 0.006, 0.001, 200, 300),
    "computing": ("ls", 1.0, 0.0, 0, 1800),
    "computing with half a processor": ("ls", 0.5, 0.5, 0, 3600),
    "work that hardly gets a processor": ("ls", 0.02, 0.98, 0, 18000),
    "copying": ("ls", 0.02, 0.98, 100_000, None),
}


@pytest.mark.parametrize("what", SECONDS)
def test_what_other_work_takes_of_the_processors_does_not_count(monkeypatch, what):
    call, used, waited, moved, expected = SECONDS[what]
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Pulse, "of", classmethod(lambda cls, *pids: cls(now[0] * used, int(now[0] * moved), now[0] * waited)))
    judge, ended = _Judge(Patience()), None
    while ended is None and now[0] < 21000:
        ended = judge.look((1, call), ())
        now[0] += 2.0
    assert (expected is None) == (ended is None) and (ended is None or abs(now[0] - 1000.0 - expected) <= 8), (now, ended)

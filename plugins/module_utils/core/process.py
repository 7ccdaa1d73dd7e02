# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that starts a program: no shell, no inherited input, always a deadline, always dying with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import selectors
import shutil
import signal
import subprocess  # pylint: disable=ansible-bad-import
import termios
import time
from dataclasses import dataclass
from typing import IO, Callable, Mapping, Optional, Sequence, Union, cast

from .deadline import Pulse, Silence, session, stopped
from .errors import InvalidInput, MissingTool, NotEnoughSpace, TimedOut, ToolFailed

_PR_SET_PDEATHSIG = 1  # prctl(2)
_TAIL = 4000
_LOOK = 5.0  # seconds between two looks at a program that says nothing
OUTPUT = 128 << 20  # bytes of what a program prints that are kept

PACKAGES = {
    "govc": "govc, from the releases of govmomi",
    "ovftool": "VMware's OVF Tool",
    "nbdkit": "nbdkit (with its curl and ssh plugins)",
    "ssh": "openssh-client (Debian, Ubuntu) or openssh-clients (Fedora, RHEL)",
    "virt-v2v-in-place": "virt-v2v",
    "bsdtar": "libarchive-tools (Debian, Ubuntu) or bsdtar (Fedora, RHEL, SUSE)",
    "msiinfo": "msitools",
    "osslsigncode": "osslsigncode (Debian, Ubuntu, Fedora; for RHEL from EPEL)",
    "qemu-nbd": "qemu-utils (Debian, Ubuntu) or qemu-img (Fedora, RHEL), qemu-tools (SUSE)",
    "rbd": "ceph-common (conversion_host_ceph: true)",
    "qemu-img": "qemu-utils (Debian, Ubuntu) or qemu-img (Fedora, RHEL, SUSE)",
    "qemu-system-x86_64": "qemu-system-x86 (Debian, Ubuntu) or qemu-kvm (Fedora, RHEL)",
}


@dataclass(frozen=True)
class Limits:
    """What a program may use: `timeout` in seconds, `memory` and `file_size` in bytes (None: unlimited); what it makes is ours alone by `umask`.

    `silence`: seconds in which it neither says nor does anything, by its processor time and its input and output. It is longer than a flush
    to slow storage takes, in which the kernel works for it.
    """

    timeout: float = 300.0
    silence: float = 900.0
    memory: Optional[int] = None
    file_size: Optional[int] = None
    umask: int = 0o077


@dataclass(frozen=True)
class Completed:
    """A program that ended: its exit status and what it printed (bytes decoded as UTF-8, errors replaced)."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str


def require(tool: str) -> str:
    """The absolute path of `tool`.

    Raises MissingTool with the package to install.
    """
    path = shutil.which(tool, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec")
    if path is None:
        raise MissingTool(
            f"The program {tool} is not installed on the conversion host.",
            f"Install {PACKAGES.get(tool, tool)}, or run the role hyper2kvm.migration.conversion_host on it.",
            tool=tool,
        )
    return path


def run(
    argv: Sequence[str],
    limits: Limits = Limits(),
    *,
    check: bool = True,
    cwd: Optional[str] = None,
    env: Optional[Mapping[str, str]] = None,
    on_output: Optional[Callable[[bytes], None]] = None,
) -> Completed:
    """Run a program to its end and return what it said.

    `on_output` takes raw chunks of standard output as they come, and nothing of it is kept then. With `check`, a status other than 0 raises
    ToolFailed with the program's own last words. Both deadlines, on the whole and on progress, raise TimedOut after the whole process group was
    killed. More output than `OUTPUT` raises ToolFailed: it is held in memory.
    """
    child = start(argv, limits, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = _collect(child, cast("IO[bytes]", child.stdout), cast("IO[bytes]", child.stderr), limits, argv, on_output)
    done = Completed(tuple(argv), child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
    if check and done.rc != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-_TAIL:] or "it printed nothing"
        failed = ToolFailed(f"{os.path.basename(argv[0])} failed with status {done.rc}: {said}", argv=list(argv), rc=done.rc)
        raise NotEnoughSpace.met(said) or failed
    return done


def start(
    argv: Sequence[str],
    limits: Limits = Limits(),
    *,
    cwd: Optional[str] = None,
    env: Optional[Mapping[str, str]] = None,
    stdout: Union[int, IO[bytes]] = subprocess.DEVNULL,
    stderr: Union[int, IO[bytes]] = subprocess.DEVNULL,
    terminal: Optional[int] = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own; it is killed when this process dies. The caller ends it with `stop`.

    `terminal`: a pseudo terminal that becomes its own, for all that it reads and says.
    """
    wrong = next((word for word in argv if "\0" in word), None)
    if wrong is not None:
        raise InvalidInput(f"{wrong!r} holds a NUL byte, which cannot be passed to a program.", "Correct the name.", argument=wrong)
    full = dict(os.environ if env is None else env)
    full["LC_ALL"] = "C.UTF-8"
    parent = os.getpid()
    return subprocess.Popen(  # pylint: disable=ansible-bad-function,subprocess-popen-preexec-fn,consider-using-with
        [require(argv[0]), *argv[1:]],
        stdin=subprocess.DEVNULL if terminal is None else terminal,
        stdout=stdout if terminal is None else terminal,
        stderr=stderr if terminal is None else terminal,
        cwd=cwd,
        env=full,
        start_new_session=True,
        umask=limits.umask,
        preexec_fn=lambda: _confine(limits, parent, terminal),
    )


def appears(path: str, child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a file by which a program started here says that it is ready. False when the program ends before, or the time does.

    A socket is no such file: its name is there before anybody listens (bind(2), listen(2)). nbdkit and qemu-nbd write their number when they do.
    """
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if child.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def stop(child: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """End a program started here: ask, wait `grace` seconds, then kill its whole group."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            pass
    kill(child)
    child.wait()


def kill(child: subprocess.Popen[bytes]) -> None:
    """Kill a program started here with all that it has started: what is read from any of them then ends."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _confine(limits: Limits, parent: int, terminal: Optional[int]) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before prctl took effect
        os.kill(os.getpid(), signal.SIGKILL)
    if terminal is not None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    if limits.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_size, limits.file_size))


def _collect(
    child: subprocess.Popen[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
    limits: Limits,
    argv: Sequence[str],
    on_output: Optional[Callable[[bytes], None]],
) -> tuple[bytes, bytes]:
    watch = _Watch(child, limits, argv)
    buffers = {"out": bytearray(), "err": bytearray()}
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ, "out")
            selector.register(stderr, selectors.EVENT_READ, "err")
            while selector.get_map():
                for key, dummy in selector.select(watch.patience()):
                    chunk = os.read(key.fd, 65536)
                    watch.silence.heard()
                    if not chunk:
                        selector.unregister(key.fileobj)
                        continue
                    if on_output is not None and key.data == "out":
                        on_output(chunk)
                    else:
                        buffers[key.data] += chunk
                        if len(buffers[key.data]) > OUTPUT:
                            raise ToolFailed(
                                f"{watch.name} prints more than {OUTPUT >> 20} MiB.",
                                "Check its input; it was stopped.",
                                argv=list(argv),
                            )
            while child.poll() is None:  # it has closed its output and goes on
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(watch.patience())
    finally:
        stop(child, grace=0.0 if child.poll() is None else 1.0)
        stdout.close()
        stderr.close()
    return bytes(buffers["out"]), bytes(buffers["err"])


class _Watch:
    """The two deadlines of a program that is waited for."""

    def __init__(self, child: subprocess.Popen[bytes], limits: Limits, argv: Sequence[str]) -> None:
        self.name, self.silence = os.path.basename(argv[0]), Silence()
        self._child, self._limits, self._argv = child, limits, list(argv)
        self._end = time.monotonic() + limits.timeout

    def patience(self) -> float:
        """Seconds to wait before it is asked again. Raises TimedOut when a deadline has passed."""
        left, quiet = self._end - time.monotonic(), self.silence.lasts(Pulse.of(*session(self._child.pid)))
        if left <= 0:
            raise TimedOut(
                f"{self.name} did not end within {self._limits.timeout:.0f} seconds and was stopped.",
                "Check for overloaded or unreachable storage, or raise the timeout.",
                argv=self._argv,
            )
        if quiet >= self._limits.silence:
            why = "it was stopped by a signal" if stopped(self._child.pid) else "its storage or what it waits for does not answer"
            raise TimedOut(
                f"{self.name} has produced no output and done no work for {quiet:.0f} seconds and was ended: {why}.",
                "Check the health of the storage that it reads and writes (dmesg, a share that hangs), then run again.",
                argv=self._argv,
            )
        return min(left, _LOOK, max(self._limits.silence - quiet, 0.05))

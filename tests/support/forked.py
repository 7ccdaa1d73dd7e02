# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules in processes of their own that begin with everything imported: a server that forks for each call, so that no call pays for its imports.

A call sees what it would see as a program: its environment, its directory, its output, and an exit of the interpreter at its end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "ansible_collections.hyper2kvm.migration.plugins.modules"
_lock = threading.Lock()
_server: tuple[int, socket.socket] | None = None  # the process that has started it, and the way to it


def call(python: Path, name: str, arguments: Mapping[str, object], env: Mapping[str, str]) -> tuple[str, str]:
    """Run a module with these arguments in this environment; gives what it printed, and its standard error."""
    request = os.memfd_create("request")
    with open(request, "w", encoding="utf-8") as file:
        json.dump({"name": name, "arguments": arguments, "env": dict(env), "directory": os.getcwd()}, file)
        file.flush()
        (out, out_end), (error, error_end) = os.pipe(), os.pipe()
        socket.send_fds(_connection(python, env), [b"x"], [request, out_end, error_end])
    os.close(out_end)
    os.close(error_end)
    read: dict[int, str] = {}

    def drain(end: int) -> None:
        with open(end, encoding="utf-8", errors="replace") as file:
            read[end] = file.read()

    beside = threading.Thread(target=drain, args=(error,))
    beside.start()
    drain(out)
    beside.join()
    return read[out], read[error]


def here(name: str, arguments: Mapping[str, object], env: Mapping[str, str]) -> tuple[str, str]:
    """As `call`, in a child of this process: what it takes is accounted to the caller, and what watches the caller's group watches it."""
    main = importlib.import_module(f"{PACKAGE}.{name}").main
    from ansible.module_utils.testing import patch_module_args

    out, error = (os.memfd_create(word) for word in ("out", "error"))
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.environ.clear()
        os.environ.update(env)
        for end, number in ((out, 1), (error, 2)):
            os.dup2(end, number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        try:
            with contextlib.suppress(SystemExit), patch_module_args(arguments):
                main()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    os.waitpid(child, 0)
    found = []
    for end in (out, error):
        with open(end, encoding="utf-8", errors="replace") as file:
            file.seek(0)
            found.append(file.read())
    return found[0], found[1]


def _connection(python: Path, env: Mapping[str, str]) -> socket.socket:
    global _server
    with _lock:
        if _server is None or _server[0] != os.getpid():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            subprocess.Popen([python, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=dict(env))
            theirs.close()
            _server = os.getpid(), ours
        return _server[1]


def _serve(connection: socket.socket) -> dict | None:
    """In the server nothing, once there is nobody who asks; in a child what it is to do."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        fds = socket.recv_fds(connection, 1, 3)[1]
        if not fds:
            return None
        with open(fds[0], encoding="utf-8") as file:
            file.seek(0)
            request = json.load(file)
        with contextlib.suppress(Exception):  # the child says it
            importlib.import_module(f"{PACKAGE}.{request['name']}")
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            connection.close()
            for end, number in zip(fds[1:], (1, 2)):
                os.dup2(end, number)
                os.close(end)
            os.chdir(request["directory"])
            os.environ.clear()
            os.environ.update(request["env"])
            return request
        for end in fds[1:]:
            os.close(end)


if __name__ == "__main__":
    del sys.path[0]
    from ansible.module_utils.testing import patch_module_args

    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        with patch_module_args(asked["arguments"]):
            importlib.import_module(f"{PACKAGE}.{asked['name']}").main()

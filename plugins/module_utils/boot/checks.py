# SPDX-License-Identifier: GPL-3.0-or-later
"""What a started guest must answer: on its network, over its agent, and to the operator's own checks.

Source: QEMU Guest Agent Protocol Reference (guest-sync, guest-exec, guest-exec-status).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import ssl
import time
from typing import Optional

from .model import SSH, Check, Machine

_PATIENCE = 5.0  # seconds for one answer
_COMMAND = 60.0  # seconds for a command in the guest
_LIMIT = 1 << 20  # bytes of a body that are looked at


def network(kind: str, machine: Machine) -> Optional[str]:
    """What answers: "ssh" for an SSH banner, "agent" for the guest agent, None for nothing. `kind` is auto, ssh or agent."""
    for port in machine.ports(SSH) if kind in ("auto", "ssh") else ():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.settimeout(_PATIENCE)
            if connection.recv(64).startswith(b"SSH-"):
                return "ssh"
    if kind in ("auto", "agent"):
        with contextlib.suppress(OSError, ValueError):
            if machine.agent({"execute": "guest-ping"}) is not None:
                return "agent"
    return None


def fault(check: Check, machine: Machine) -> str:
    """Why a check does not hold now; empty when it does."""
    try:
        if check.command:
            return _command(check, machine)
        faults = [_http(check, port) if check.http else _port(port, machine) for port in machine.ports(check.port)]
        return "" if "" in faults else faults[0]
    except ssl.SSLError as error:
        return f"TLS fails: {getattr(error, 'verify_message', '') or error.reason or error}"
    except http.client.HTTPException as error:
        return f"the answer is not HTTP: {str(error).strip() or type(error).__name__}"
    except (LookupError, TypeError, AttributeError) as error:  # what a guest agent answers is the guest's to choose
        return f"the guest agent's answer cannot be read: {error!r}"
    except (OSError, ValueError) as error:
        return f"{'the guest agent does not support it' if check.command else 'nothing answers'}: {error}"


def _port(port: int, machine: Machine) -> str:
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as connection:
        connection.settimeout(1.0)
        with contextlib.suppress(socket.timeout):
            if not connection.recv(1):
                return "the connection is refused"
            return ""
        return "" if machine.connected(port) else "nothing answers"


def _http(check: Check, port: int) -> str:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)) as connection:
        if check.tls:
            context = ssl.create_default_context()
            if not check.verify:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection.connect()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=check.host or "localhost")
        connection.request("GET", check.http, headers={"Host": check.host or "localhost"})
        answer = connection.getresponse()
        body = answer.read(_LIMIT).decode("utf-8", "replace")
    if answer.status != check.status:
        return f"the answer is {answer.status} {answer.reason}, not {check.status}"
    return _expected(check, body)


def _command(check: Check, machine: Machine) -> str:
    what = {"path": check.command[0], "arg": list(check.command[1:]), "capture-output": True}
    pid = machine.agent({"execute": "guest-exec", "arguments": what})["pid"]
    deadline = time.monotonic() + _COMMAND
    while time.monotonic() < deadline:
        state = machine.agent({"execute": "guest-exec-status", "arguments": {"pid": pid}})
        if state["exited"]:
            said = base64.b64decode(state.get("out-data", "")).decode("utf-8", "replace")
            words = (said + base64.b64decode(state.get("err-data", "")).decode("utf-8", "replace")).strip()[-300:]
            if state.get("exitcode") != check.rc:
                return f"it ended with {state.get('exitcode', state.get('signal'))}, not {check.rc}: {words}"
            return _expected(check, said)
        time.sleep(0.2)
    return f"it did not end within {_COMMAND:.0f} seconds"


def _expected(check: Check, text: str) -> str:
    if not check.expect or re.search(check.expect, text, re.MULTILINE):
        return ""
    return f"nothing matches {check.expect!r} in: {text.strip()[:300]}"

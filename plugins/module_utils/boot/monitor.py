# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk with qemu and the guest agent: a JSON object a line each way.

Sources: "QEMU Machine Protocol Specification"; "QEMU Guest Agent Protocol Reference"; `info usernet` of the human monitor.
"""

from __future__ import annotations

import json
import re
import socket
from typing import Any, Mapping, Union


class Dialogue:
    """A connected socket that takes a JSON object a line and answers in the same way."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._stream = connection, connection.makefile("rb")

    def ask(self, command: Mapping[str, Any]) -> Any:
        """Send a command and give what it returns. Raises OSError at the end of the connection, ValueError for a refusal."""
        self._connection.sendall(json.dumps(command).encode("utf-8") + b"\n")
        return self.answer()

    def synchronise(self, number: int) -> None:
        """Pass over whatever a guest agent still says to earlier questions, its complaint about the byte that ends half a line of them too."""
        question = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        self._connection.sendall(b"\xff" + json.dumps(question).encode("utf-8") + b"\n")
        said = None
        while said != number:
            try:
                said = self.answer()
            except ValueError:
                continue

    def answer(self) -> Any:
        """The next thing that is returned; events that come before are passed over."""
        while True:
            line = self._stream.readline()
            if not line:
                raise OSError("the connection ended")
            answer = answer_of(line.rpartition(b"\xff")[2])
            if "error" in answer:
                error = answer["error"]
                raise ValueError(error.get("desc", error) if isinstance(error, dict) else error)
            if "return" in answer:
                return answer["return"]


def answer_of(text: Union[bytes, str]) -> dict[str, Any]:
    """What qemu or a guest agent, which the guest can forge, has answered. Raises ValueError for what is no object of JSON."""
    try:
        answer = json.loads(text)
    except RecursionError as error:
        raise ValueError("the answer is nested too deeply") from error
    if not isinstance(answer, dict):
        raise ValueError(f"the answer is not a JSON object: {str(answer)[:80]}")
    return answer


class Monitor:
    """qemu's monitor on a connected socket. Raises OSError when qemu does not answer, ValueError when it refuses."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        self._dialogue = Dialogue(connection)  # the greeting returns nothing, and is passed over
        self.execute("qmp_capabilities")

    def execute(self, name: str, **arguments: Any) -> Any:
        """Carry out a command and give what it returns."""
        return self._dialogue.ask({"execute": name, "arguments": arguments})

    def human(self, line: str) -> str:
        """What the human monitor says to a command."""
        return str(self.execute("human-monitor-command", **{"command-line": line}))


def ask_agent(path: str, command: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Ask the guest agent behind a socket. `number` is new in each call: what comes before it answers earlier questions."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(path)
        dialogue = Dialogue(connection)
        dialogue.synchronise(number)
        answer: Mapping[str, Any] = dialogue.ask(command)
        return answer


def established(usernet: str, port: int) -> bool:
    """Whether `info usernet` shows a connection over a forwarded loopback port that the guest has taken."""
    return re.search(rf"^\s*TCP\[ESTABLISHED\]\s+\d+\s+\S+\s+{port}\s", usernet, re.MULTILINE) is not None

# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error family: what failed, why, and what to do next."""

from __future__ import annotations

import errno
import re
from typing import Any, Optional, Union


class MigrationError(Exception):
    """Base of every error the collection raises on purpose; anything else is a defect.

    `msg` says what failed and why, `hint` what to do next, `details` carries data for machines (never a secret).
    """

    code = "error"

    def __init__(self, msg: str, hint: str = "", **details: Any) -> None:
        super().__init__(msg)
        self.msg = msg
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.msg} {self.hint}".strip()

    def as_result(self) -> dict[str, Any]:
        """The keyword arguments for fail_json."""
        return {"msg": str(self), "error_code": self.code, "hint": self.hint, "details": self.details}


class InvalidInput(MigrationError):
    """A value or a file the user named cannot be used."""

    code = "invalid_input"


class UnsafeInput(InvalidInput):
    """Input that reaches for something outside what the user named; it is refused, never followed."""

    code = "unsafe_input"


class MissingTool(MigrationError):
    """A program or a library the conversion host needs is not there."""

    code = "missing_tool"


class ToolFailed(MigrationError):
    """An external program failed; the message carries its own words."""

    code = "tool_failed"


class TimedOut(ToolFailed):
    """An external program passed its deadline and was ended."""

    code = "timed_out"


class NotEnoughSpace(MigrationError):
    """What is to be written does not fit: computed before the work, or met on the way."""

    code = "not_enough_space"

    @classmethod
    def met(cls, what: Union[Exception, str]) -> Optional[NotEnoughSpace]:
        """The error for a file system that is full, or a quota that is spent; None when an exception, or what a program said, is about something else."""
        if isinstance(what, OSError):
            full = what.errno in (errno.ENOSPC, errno.EDQUOT)
        else:
            full = re.search(r"no space left on device|disk quota exceeded", str(what), re.IGNORECASE) is not None
        return cls(f"There is no space left: {what}", "Free space there, or choose another directory; then run again.") if full else None


class Busy(MigrationError):
    """Somebody else works on the same thing."""

    code = "busy"


class Unreachable(MigrationError):
    """A server does not answer, or does not prove that it is the one that was named."""

    code = "unreachable"


class AccessDenied(MigrationError):
    """A server refuses the name, the password, the key or the privilege."""

    code = "access_denied"


class TransferFailed(MigrationError):
    """Bytes did not arrive in spite of repeated tries; what has arrived is kept and the next run goes on from there."""

    code = "transfer_failed"


class SourceChanged(MigrationError):
    """A file at the source is no longer what it was when its transfer began."""

    code = "source_changed"


class NotInPlace(InvalidInput):
    """A source that cannot be looked at where it is; it must be fetched first."""

    code = "not_in_place"


class StalePlan(MigrationError):
    """The guest is no longer what the plan saw."""

    code = "stale_plan"


class UnsupportedGuest(MigrationError):
    """No operating system that the collection can repair was found."""

    code = "unsupported_guest"


class Blocked(MigrationError):
    """A concern of severity blocker was not accepted by the operator."""

    code = "blocked"


class ProofFailed(MigrationError):
    """The bytes of the result do not show that the guest will boot."""

    code = "proof_failed"


class BootFailed(MigrationError):
    """The boot test ended without the signals of a working guest."""

    code = "boot_failed"

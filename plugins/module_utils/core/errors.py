# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error family: what failed, why, and what to do next."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import ssl
from typing import Any, Iterator, Optional, Union


class MigrationError(Exception):
    """Base of every error the collection raises on purpose; anything else is a defect.

    `msg` says what failed and why, `hint` what to do next, `details` carries data for machines (never a secret).
    """

    code = "error"
    usual_hint = ""

    def __init__(self, msg: str, hint: str = "", **details: Any) -> None:
        super().__init__(msg)
        self.msg = msg
        self.hint = hint or self.usual_hint
        self.details = details

    def __str__(self) -> str:
        said = self.msg.rstrip()
        stop = "." if self.hint and said[-1:].isalnum() else ""  # the words of a system or a library may end without one
        return f"{said}{stop} {self.hint}".strip()

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
    usual_hint = "Correct what the program names, then run again."


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
            found = of_system(what)
            return found if isinstance(found, cls) and what.errno != errno.EFBIG else None
        full = re.search(r"no space left on device|disk quota exceeded", str(what), re.IGNORECASE) is not None
        return cls(f"There is no space left: {what}", _REMEDIES[errno.ENOSPC][1]) if full else None


class Busy(MigrationError):
    """Somebody else works on the same thing."""

    code = "busy"


class Unreachable(MigrationError):
    """A server does not answer, or does not prove that it is the one that was named."""

    code = "unreachable"


class AccessDenied(MigrationError):
    """A server refuses the name, the password, the key or the privilege; or a file system the reading or writing."""

    code = "access_denied"


class StorageFailed(MigrationError):
    """A disk, a file system or a share below a path does not do what it is there for."""

    code = "storage_failed"


class OutOfResources(MigrationError):
    """The host has no more of what a program may have: memory, open files, processes."""

    code = "out_of_resources"


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
    """The bytes of the result do not show that the guest will boot. `plan` is what was carried out, as text, for whoever keeps it."""

    code = "proof_failed"
    plan = ""

    def kept(self, path: str) -> ProofFailed:
        """The same error, which says where the plan is kept."""
        found = ProofFailed(self.msg, f"The plan that was carried out is in {path}. {self.hint}", **self.details, plan_file=path)
        found.plan = self.plan
        return found


class BootFailed(MigrationError):
    """The boot test ended without the signals of a working guest."""

    code = "boot_failed"


_PLACE = "Correct the path, or choose another one."
_RIGHTS = "Give the user that runs the module access to it, run the module as another user (become), or choose another directory."
_DAMAGED = "Look at the host's log (dmesg) and check the disk and its file system; then run again. Nothing incomplete was published."
_SHARE = "Check that the share is mounted and that its server answers (mount it again where it has changed there); then run again."
_LIMIT = "Raise the limit (ulimit, LimitNOFILE of the service), or run fewer VMs at once (forks, throttle); then run again."
_WAY = "Check the name, the port, the firewall and the proxy; then run again."
# What a system call says (errno(3)), and what is to be done. What is not here is STORAGE of an unknown kind.
_REMEDIES: dict[int, tuple[type[MigrationError], str]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), (NotEnoughSpace, "Free space there, or choose another directory; then run again.")),
    errno.EFBIG: (
        NotEnoughSpace,
        "The file system, or a limit of the process (ulimit -f), does not allow a file of this size: choose another directory.",
    ),
    **dict.fromkeys((errno.EACCES, errno.EPERM), (AccessDenied, _RIGHTS)),
    errno.EROFS: (AccessDenied, "The file system is mounted read-only: mount it for writing, or choose another directory."),
    errno.ENOENT: (InvalidInput, "Correct the path; is the file system that holds it mounted?"),
    errno.ENAMETOOLONG: (
        InvalidInput,
        "A name has at most 255 bytes, a path 4096: choose a shorter one (migrate_name, migrate_output_dir).",
    ),
    errno.ELOOP: (InvalidInput, "Symbolic links form a loop, or lead to a place that is not allowed: name the file itself."),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EEXIST, errno.ENOTEMPTY, errno.EXDEV, errno.ENXIO, errno.ESPIPE, errno.EMLINK),
        (InvalidInput, _PLACE),
    ),
    **dict.fromkeys((errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ENODATA, errno.EREMOTEIO, errno.EILSEQ), (StorageFailed, _DAMAGED)),
    **dict.fromkeys((errno.ENODEV, errno.ENOMEDIUM), (StorageFailed, "The device is gone: attach it again, then run again.")),
    **dict.fromkeys((errno.ESTALE, errno.EHOSTDOWN, errno.ENOTCONN, errno.ENOLINK), (StorageFailed, _SHARE)),
    **dict.fromkeys(
        (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY), (StorageFailed, "The file system cannot do this: choose another directory.")
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOLCK, errno.EUSERS), (OutOfResources, _LIMIT)),
    errno.ENOMEM: (OutOfResources, "Free memory of the host, or run fewer VMs at once (forks, throttle); then run again."),
    **dict.fromkeys((errno.EBUSY, errno.ETXTBSY), (Busy, "Something uses it (lsof, fuser -m tell what): end that, then run again.")),
    errno.ENOEXEC: (MissingTool, "The program is built for another processor: install it for this host."),
    **dict.fromkeys(
        (
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.ECONNABORTED,
            errno.EPIPE,
            errno.EHOSTUNREACH,
            errno.ENETUNREACH,
            errno.ENETDOWN,
            errno.EADDRNOTAVAIL,
            errno.EADDRINUSE,
            errno.ETIMEDOUT,
        ),
        (Unreachable, _WAY),
    ),
}


def of_system(error: OSError) -> MigrationError:
    """What the operating system refused, as an error with its path, its reason and a remedy: the last resort for what no caller knew better."""
    names = " and ".join(_shown(name) for name in (error.filename, error.filename2) if name is not None)
    reason = error.strerror or str(error) or type(error).__name__
    kind, hint = _REMEDIES.get(error.errno or 0, (StorageFailed, "Look at the path and at the host's log (dmesg); then run again."))
    if isinstance(error, (socket.gaierror, socket.herror, ssl.SSLError, TimeoutError)) and error.filename is None:
        kind, hint = Unreachable, _WAY
    details = {"path": names} if names else {}
    return kind(
        f"{names}: {reason}." if names else f"The system refuses: {reason}.",
        hint,
        errno=errno.errorcode.get(error.errno or 0, ""),
        **details,
    )


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """What the system refuses in the block names this path, where it names none: it knows none of what was written by a descriptor."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = path
        raise


def _shown(name: object) -> str:
    """A path that can be printed: bytes that are no text of the file system's encoding are shown, not raised for."""
    return os.fsdecode(name).encode("utf-8", "backslashreplace").decode() if isinstance(name, (str, bytes, os.PathLike)) else str(name)

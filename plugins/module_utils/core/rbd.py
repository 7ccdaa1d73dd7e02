# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of Ceph, named as qemu names them: rbd:POOL/IMAGE, with :id=USER and :conf=FILE where these are not Ceph's own defaults.

They are block devices without a kernel's: qemu reads and writes them by itself. Sources: qemu's block/rbd.c; rbd(8); Ceph's rbd.yaml.in
(rbd_mtime_update_interval).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from typing import Any, Optional

from .errors import InvalidInput, ToolFailed
from .process import Limits, run

PREFIX = "rbd:"
_FORM = re.compile(r"rbd:(\w[\w.-]*(?:/\w[\w.-]*){1,2})((?::(?:id|conf)=[^:\s]+)*)", re.ASCII)
_QUICK, _LONG = Limits(timeout=120), Limits(timeout=7 * 24 * 3600.0)
_MISSING = 2


@dataclass(frozen=True)
class Image:
    """`name` is POOL/IMAGE or POOL/NAMESPACE/IMAGE; `user` and `conf` are empty for Ceph's defaults (client.admin, /etc/ceph/ceph.conf)."""

    name: str
    user: str = ""
    conf: str = ""

    def command(self, *words: str) -> list[str]:
        """A call of rbd."""
        login = [*(["--id", self.user] if self.user else []), *(["--conf", self.conf] if self.conf else [])]
        return ["rbd", *login, *words]


def is_image(path: str) -> bool:
    return path.startswith(PREFIX)


def parse(path: str) -> Image:
    """Raises InvalidInput for anything but the name of an image."""
    match = _FORM.fullmatch(path)
    if match is None:
        raise InvalidInput(f"{path} does not name a Ceph image.", "Write rbd:POOL/IMAGE, or rbd:POOL/IMAGE:id=USER:conf=FILE.", path=path)
    options = dict(option.split("=", 1) for option in match[2].split(":") if option)
    return Image(match[1], options.get("id", ""), options.get("conf", ""))


def size(path: str) -> Optional[int]:
    """Bytes of an image; None when it is not there. Raises ToolFailed or TimedOut without a cluster."""
    found = _info(path)
    return None if found is None else int(found["size"])


def identity(path: str) -> tuple[int, int, int]:
    """The bytes of an image, and two numbers, of which the first is another one after writes to it, the second for another image.

    The first is never the same twice where Ceph does not note writes. Raises FileNotFoundError for an image that is not there.
    """
    found = _info(path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    noted = found.get("modify_timestamp", "") if _interval(path) else str(time.time_ns())
    return int(found["size"]), _number(noted), _number(found.get("id", ""))


def settle(path: str, since: float) -> None:
    """Wait until a write is noted as one that came after the moment `since` (monotonic): a client notes one only so often."""
    time.sleep(max(0.0, since + _interval(path) + 1 - time.monotonic()))


def watched(path: str) -> bool:
    """Whether somebody has the image open for writing, such as a VM."""
    image = parse(path)
    return bool(json.loads(run(image.command("status", "--format", "json", image.name), _QUICK).stdout)["watchers"])


def sha256(path: str) -> str:
    """Hexadecimal SHA-256 of a whole image."""
    image, digest = parse(path), hashlib.sha256()
    run(image.command("export", "--no-progress", image.name, "-"), _LONG, on_output=digest.update)
    return digest.hexdigest()


def _info(path: str) -> Optional[dict[str, Any]]:
    image = parse(path)
    done = run(image.command("info", "--format", "json", image.name), _QUICK, check=False)
    if done.rc not in (0, _MISSING):
        raise ToolFailed(
            f"Ceph gives no information about {path}: {done.stderr.strip()[-1000:]}", "Correct what it names (conf=, id=).", path=path
        )
    answer: Optional[dict[str, Any]] = json.loads(done.stdout) if done.rc == 0 else None
    return answer


def _interval(path: str) -> int:
    """Seconds in which further writes are not noted; 0 where none is."""
    image = parse(path)
    settings = json.loads(run(image.command("config", "image", "list", "--format", "json", image.name), _QUICK).stdout)
    return next((int(one["value"]) for one in settings if one["name"] == "rbd_mtime_update_interval"), 0)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that has no file: whoever deploys the VM makes it, empty.

Source: DSP0243 9.1: without ovf:fileRef the disk has no initial content.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from ..core.concern import Concern
from ..core.manifest import Identity
from . import qemu_img
from .image import Image


@dataclass(frozen=True)
class Blank:
    """See machine.Chain; of its size in bytes."""

    virtual_size: int
    links: tuple[Image, ...] = ()
    wwn: Optional[str] = None
    concerns: tuple[Concern, ...] = ()

    def files(self) -> tuple[str, ...]:
        return ()

    def identities(self) -> tuple[Identity, ...]:
        return ()

    def allocated(self) -> int:
        return 0

    def check_idle(self) -> None:
        """Nobody has it yet."""

    def stage(self, directory: str, prefix: str) -> tuple[str, str]:
        made = os.path.join(directory, f"{prefix}-blank.qcow2")
        qemu_img.create_empty(made, self.virtual_size)
        return made, "qcow2"

# SPDX-License-Identifier: GPL-3.0-or-later
"""Every format that a VM is described in beside libvirt's: each module below that has a FORMAT is one."""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

from typing import Mapping

from ..core import registry
from . import kubevirt, openstack, proxmox, qemu_script
from .format import Format

FORMATS: Mapping[str, Format] = {one.name: one for one in registry.entries(globals(), "FORMAT")}

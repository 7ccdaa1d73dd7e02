# SPDX-License-Identifier: GPL-3.0-or-later
"""The public library: migrate VMs from plain Python, without Ansible. What is not here is private, and may change with any version.

A migration is its stages, carried out in order over one work directory: Fetch, Fix (or Flatten, for disks that are not repaired), Convert, Describe,
BootTest, Report. Each is made of its options, and carry_out() does the rest: a stage that was done before is not done again.

Stages raise MigrationError, which says what happened (`msg`), what to do (`hint`) and which kind of error it is (`code`), and OSError for what the system
refuses. docs/library.md has all names.
"""

from __future__ import annotations

from .boot.model import BootNic, BootRequest, Check
from .core.concern import Concern
from .core.errors import MigrationError
from .core.machine import Nic
from .core.progress import Progress, Silent, ToFile
from .core.tls import Trust
from .disk.machine import Converted, VmSaid
from .guest.plan import Plan
from .linux.customize import Customization
from .linux.plan import Options as LinuxOptions
from .pipeline.boot_test import BootTest, BootTestOptions
from .pipeline.convert import Convert, ConvertOptions
from .pipeline.describe import Describe, DescribeOptions
from .pipeline.engines import Engine
from .pipeline.fetch import Fetch, FetchOptions
from .pipeline.fix import Fix, FixOptions
from .pipeline.flatten import Flatten, FlattenOptions
from .pipeline.record import Booted, Facts, Repaired
from .pipeline.repaired import load_plan
from .pipeline.reporting import Report, ReportOptions
from .pipeline.sources import identified, opened
from .pipeline.stage import Run, Stage, carry_out
from .pipeline.subject import Subject
from .sources.source import Access
from .transport.ssh import Login
from .transport.vddk import Vddk
from .vsphere.connection import Endpoint as VsphereEndpoint
from .vsphere.connection import session as vsphere_session
from .vsphere.inventory import parse_url as parse_vsphere_url
from .vsphere.inventory import vms as vsphere_vms
from .vsphere.readiness import concerns as vsphere_concerns
from .windows.wanted import Wanted as WindowsNicSettings
from .windows.work import Options as WindowsOptions

__all__ = [
    "Access",
    "BootNic",
    "BootRequest",
    "BootTest",
    "BootTestOptions",
    "Booted",
    "Check",
    "Concern",
    "Convert",
    "ConvertOptions",
    "Converted",
    "Customization",
    "Describe",
    "DescribeOptions",
    "Engine",
    "Facts",
    "Fetch",
    "FetchOptions",
    "Fix",
    "FixOptions",
    "Flatten",
    "FlattenOptions",
    "LinuxOptions",
    "Login",
    "MigrationError",
    "Nic",
    "Plan",
    "Progress",
    "Repaired",
    "Report",
    "ReportOptions",
    "Run",
    "Silent",
    "Stage",
    "Subject",
    "ToFile",
    "Trust",
    "Vddk",
    "VmSaid",
    "VsphereEndpoint",
    "WindowsNicSettings",
    "WindowsOptions",
    "carry_out",
    "identified",
    "load_plan",
    "opened",
    "parse_vsphere_url",
    "vsphere_concerns",
    "vsphere_session",
    "vsphere_vms",
]

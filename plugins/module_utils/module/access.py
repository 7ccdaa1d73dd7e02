# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options mean that say how sources which are elsewhere are reached, and what becomes of them."""

from __future__ import annotations

from typing import Any, Mapping

from ..sources.source import Access
from ..transport.ssh import Login
from ..transport.vddk import Vddk
from .vsphere_login import proxy_of, trust_of


def access_of(module_params: Mapping[str, Any]) -> Access:
    """How the source is reached, from the parameters of specs.vsphere.SOURCE."""
    params = module_params["access"]
    vsphere, ssh = params["vsphere"] or {}, params["ssh"] or {}
    return Access(
        user=vsphere.get("username") or "",
        password=vsphere.get("password") or "",
        trust=trust_of(vsphere),
        proxy=proxy_of(vsphere),
        ssh=Login(
            ssh.get("host") or "",
            ssh.get("user") or "root",
            ssh.get("port") or 22,
            ssh.get("key_file") or "",
            ssh.get("known_hosts") or "",
            ssh.get("password") or "",
        ),
        vddk=Vddk(**(params["vddk"] or {})),
        transport=params["transport"],
        running=params["running"],
        quiesce=params["quiesce"],
        shutdown_timeout=params["shutdown_timeout"],
        power_off=params["power_off"],
        bandwidth=params["bandwidth"] * 1000000 // 8,
        workers=params["workers"],
        host_slots=params["host_slots"],
        allocated_only=params["allocated_only"],
        verify=bool(module_params.get("verify")),
        accept=tuple(module_params.get("accept") or ()),
    )

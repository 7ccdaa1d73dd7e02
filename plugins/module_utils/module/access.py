# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options mean that say how sources which are elsewhere are reached, and what becomes of them."""

from __future__ import annotations

from typing import Any, Mapping

from ..sources.source import Access
from ..transport.ssh import Login
from ..transport.vddk import Vddk
from .fields import made
from .vsphere_login import proxy_of, trust_of


def access_of(module_params: Mapping[str, Any]) -> Access:
    """How the source is reached, from the parameters of specs.vsphere.SOURCE."""
    params = module_params["access"]
    vsphere, ssh = params["vsphere"] or {}, params["ssh"] or {}
    return made(
        Access,
        params,
        user=vsphere.get("username") or "",
        password=vsphere.get("password") or "",
        trust=trust_of(vsphere),
        proxy=proxy_of(vsphere),
        ssh=made(Login, {name: value for name, value in ssh.items() if value}, host=ssh.get("host") or ""),
        vddk=made(Vddk, params["vddk"] or {}),
        bandwidth=params["bandwidth"] * 1000000 // 8,
        accept=tuple(module_params.get("accept") or ()),
    )

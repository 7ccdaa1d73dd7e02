# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how sources which are elsewhere are reached, and what becomes of them."""

from __future__ import annotations

from typing import Any, Mapping

from ..sources.source import RUNNING, Access
from ..sources.vsphere_transports import AUTO, TRANSPORTS
from ..transport.ssh import Login
from ..transport.vddk import Vddk
from .vsphere_login import proxy_of, trust_of, vsphere_spec


def access_spec() -> dict[str, Any]:
    """Everything that a source which is elsewhere may need, as one option."""
    login = vsphere_spec()
    del login["hostname"], login["port"]
    options = {
        "vsphere": {"type": "dict", "options": login},
        "ssh": {
            "type": "dict",
            "options": {
                "host": {"type": "str"},
                "user": {"type": "str", "default": "root"},
                "port": {"type": "int", "default": 22},
                "key_file": {"type": "path", "no_log": False},
                "known_hosts": {"type": "path"},
                "password": {"type": "str", "no_log": True},
            },
        },
        "vddk": {
            "type": "dict",
            "options": {
                "libdir": {"type": "path", "default": Vddk.libdir},
                "plugin": {"type": "str", "default": Vddk.plugin},
                "transports": {"type": "str", "default": ""},
                "compression": {"type": "str", "default": "", "choices": ["", "none", "zlib", "fastlz", "skipz"]},
            },
        },
        "transport": {"type": "str", "default": AUTO, "choices": [AUTO, *sorted(TRANSPORTS)]},
        "running": {"type": "str", "default": "refuse", "choices": list(RUNNING)},
        "quiesce": {"type": "bool", "default": False},
        "shutdown_timeout": {"type": "int", "default": 600},
        "power_off": {"type": "bool", "default": False},
        "bandwidth": {"type": "int", "default": 0},
        "workers": {"type": "int", "default": 2},
        "host_slots": {"type": "int", "default": 8},
        "allocated_only": {"type": "bool", "default": True},
    }
    return {"access": {"type": "dict", "default": {}, "apply_defaults": True, "options": options}}


def access_of(module_params: Mapping[str, Any]) -> Access:
    """How the source is reached, from the parameters of access_spec."""
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

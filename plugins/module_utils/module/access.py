# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how sources which are elsewhere are reached, and what becomes of them. Beside adapter it knows Ansible."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ansible.module_utils.basic import env_fallback

from ..core.errors import InvalidInput
from ..core.tls import Trust
from ..sources.source import RUNNING, Access
from ..sources.vsphere_transports import AUTO, TRANSPORTS
from ..transport.ssh import Login
from ..transport.vddk import Vddk
from ..vsphere.connection import Endpoint


def vsphere_spec() -> dict[str, Any]:
    """The login, with the names and environment variables that vmware.vmware and AWX's credential have."""

    def option(variable: str, **more: Any) -> dict[str, Any]:
        return {"type": "str", "fallback": (env_fallback, [variable]), **more}

    return {
        "hostname": option("VMWARE_HOST"),
        "username": option("VMWARE_USER"),
        "password": option("VMWARE_PASSWORD", no_log=True),
        "port": option("VMWARE_PORT", type="int", default=443),
        "validate_certs": option("VMWARE_VALIDATE_CERTS", type="bool", default=True),
        "ca_file": {"type": "path"},
        "thumbprint": {"type": "str"},
        "proxy_host": option("VMWARE_PROXY_HOST"),
        "proxy_port": option("VMWARE_PROXY_PORT", type="int"),
    }


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
        "transport": {"type": "str", "default": AUTO, "choices": [AUTO, *TRANSPORTS]},
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


def trust_of(params: Mapping[str, Any]) -> Trust:
    return Trust(params.get("validate_certs") is not False, params.get("ca_file") or "", params.get("thumbprint") or "")


def access_of(module_params: Mapping[str, Any]) -> Access:
    """How the source is reached, from the parameters of access_spec."""
    params = module_params["access"]
    vsphere, ssh = params["vsphere"] or {}, params["ssh"] or {}
    return Access(
        user=vsphere.get("username") or "",
        password=vsphere.get("password") or "",
        trust=trust_of(vsphere),
        proxy=_proxy(vsphere),
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
        accept=tuple(module_params.get("accept") or ()),
    )


def endpoint_of(params: Mapping[str, Any]) -> Endpoint:
    """The server, from the parameters of vsphere_spec."""
    for name, variable in (("hostname", "VMWARE_HOST"), ("username", "VMWARE_USER"), ("password", "VMWARE_PASSWORD")):
        if not params.get(name):
            raise InvalidInput(f"{name} is not given.", f"Set the option, or {variable} in the environment.")
    return Endpoint(params["hostname"], params["username"], params["password"], params["port"], trust_of(params), _proxy(params))


def _proxy(params: Mapping[str, Any]) -> Optional[tuple[str, int]]:
    return (params["proxy_host"], params.get("proxy_port") or 3128) if params.get("proxy_host") else None

# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the login at vSphere, and the server that they name."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ansible.module_utils.basic import env_fallback

from ..core.errors import InvalidInput
from ..core.tls import Trust
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


def trust_of(params: Mapping[str, Any]) -> Trust:
    return Trust(params.get("validate_certs") is not False, params.get("ca_file") or "", params.get("thumbprint") or "")


def endpoint_of(params: Mapping[str, Any]) -> Endpoint:
    """The server, from the parameters of vsphere_spec."""
    for name, variable in (("hostname", "VMWARE_HOST"), ("username", "VMWARE_USER"), ("password", "VMWARE_PASSWORD")):
        if not params.get(name):
            raise InvalidInput(f"{name} is not given.", f"Set the option, or {variable} in the environment.")
    return Endpoint(params["hostname"], params["username"], params["password"], params["port"], trust_of(params), proxy_of(params))


def proxy_of(params: Mapping[str, Any]) -> Optional[tuple[str, int]]:
    return (params["proxy_host"], params.get("proxy_port") or 3128) if params.get("proxy_host") else None

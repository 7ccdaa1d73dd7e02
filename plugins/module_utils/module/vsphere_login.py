# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of vSphere that the options of the login name."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..core.errors import InvalidInput
from ..core.tls import Trust
from ..vsphere.connection import Endpoint


def trust_of(params: Mapping[str, Any]) -> Trust:
    return Trust(params.get("validate_certs") is not False, params.get("ca_file") or "", params.get("thumbprint") or "")


def endpoint_of(params: Mapping[str, Any]) -> Endpoint:
    """The server, from the parameters of specs.vsphere.MAIN."""
    host, user, password = (params.get(name) or "" for name in ("hostname", "username", "password"))
    if not host:
        raise InvalidInput(
            "hostname is not given, so no server can be asked.",
            "Set the option, or VMWARE_HOST in the environment, to the name of the vCenter or the ESXi host.",
        )
    return Endpoint(host, user, password, params["port"], trust_of(params), proxy_of(params))


def proxy_of(params: Mapping[str, Any]) -> Optional[tuple[str, int]]:
    return (params["proxy_host"], params.get("proxy_port") or 3128) if params.get("proxy_host") else None

# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags of VMs. The object model has none: vCenter's REST interface does. Source: vSphere Automation API, com.vmware.cis.tagging."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import json
import ssl
import urllib.parse
from dataclasses import replace
from typing import Any, Mapping, Optional, Sequence

from ..core.errors import ToolFailed, Unreachable
from ..core.tls import https_connection, unproven
from .connection import Session
from .model import Vm

_REST = "/rest/com/vmware/cis"
_BATCH = 1000  # VMs in one question
_LIMIT = 64 << 20


def tagged(session: Session, vms: Sequence[Vm]) -> list[Vm]:
    """The VMs with their tags, "category/name" each, in order; as they were where the server has no tags (a host without vCenter).

    A question for each thousand VMs, one for each tag and category in use. Raises Unreachable, ToolFailed.
    """
    with contextlib.closing(_Rest(session)) as rest:
        if not vms or not rest.log_in():
            return list(vms)
        found: dict[str, list[str]] = {}
        for at in range(0, len(vms), _BATCH):
            objects = [{"id": vm.id, "type": "VirtualMachine"} for vm in vms[at : at + _BATCH]]
            answer = rest.ask("POST", "/tagging/tag-association?~action=list-attached-tags-on-objects", {"object_ids": objects})
            found.update((item["object_id"]["id"], item.get("tag_ids") or []) for item in answer)

        @functools.cache
        def category(name: str) -> str:
            return str(rest.ask("GET", f"/tagging/category/id:{urllib.parse.quote(name, safe=':')}")["name"])

        @functools.cache
        def label(name: str) -> str:
            tag = rest.ask("GET", f"/tagging/tag/id:{urllib.parse.quote(name, safe=':')}")
            return f"{category(tag['category_id'])}/{tag['name']}"

        return [replace(vm, tags=tuple(sorted(label(name) for name in found.get(vm.id, ())))) for vm in vms]


class _Rest:
    """The interface with a session of its own, held to the certificate that was verified."""

    def __init__(self, session: Session) -> None:
        self._endpoint = session.endpoint
        self._connection = https_connection(self._endpoint.host, self._endpoint.port, session.context, self._endpoint.proxy)
        self._headers = {"Content-Type": "application/json"}

    def log_in(self) -> bool:
        login = base64.b64encode(f"{self._endpoint.user}:{self._endpoint.password}".encode()).decode("ascii")
        answer = self._request("POST", "/session", {"Authorization": f"Basic {login}"})
        if answer is None:
            return False
        self._headers["vmware-api-session-id"] = str(answer)
        return True

    def ask(self, method: str, path: str, body: Optional[Mapping[str, Any]] = None) -> Any:
        answer = self._request(method, path, {}, body)
        if answer is None:
            raise ToolFailed(f"{self._endpoint.host} has no {path} for tags.", "Turn tags off, or check the account's rights to read them.")
        return answer

    def close(self) -> None:
        if "vmware-api-session-id" in self._headers:
            with contextlib.suppress(Unreachable, ToolFailed):
                self._request("DELETE", "/session", {})
        self._connection.close()

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: Optional[Mapping[str, Any]] = None) -> Any:
        """The value of the answer; None where the path is not served."""
        host = self._endpoint.host
        try:
            self._connection.request(method, _REST + path, json.dumps(body) if body else None, {**self._headers, **headers})
            response = self._connection.getresponse()
            data = response.read(_LIMIT)
        except ssl.SSLCertVerificationError as error:
            raise unproven(host, error) from error
        except (http.client.HTTPException, OSError) as error:
            raise Unreachable(
                f"{host} closed the connection while its tags were read: {error}.", "Check its health, or turn tags off.", host=host
            ) from error
        if response.status == 404:
            return None
        if response.status != 200:
            raise ToolFailed(
                f"{host} does not list its tags (status {response.status}).", "Turn tags off, or check the account's rights.", host=host
            )
        try:
            return json.loads(data or b"{}").get("value")
        except (ValueError, AttributeError, RecursionError) as error:
            raise ToolFailed(f"{host} does not answer with JSON when asked for tags.", "Turn tags off.", host=host) from error

# SPDX-License-Identifier: GPL-3.0-or-later
"""A session with vCenter or ESXi: verified, logged in again when it has expired, patient with passing trouble, logged out at the end."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import ssl
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Optional, TypeVar
from xml.parsers import expat

from ..core import limits
from ..core.errors import AccessDenied, MigrationError, MissingTool, ToolFailed, Unreachable
from ..core.tls import Connection, Trust, https_connection, server_certificate, unknown, unproven

PYVMOMI_ERROR: Optional[str] = None
try:
    from pyVmomi import SoapStubAdapter, VmomiSupport, vim, vmodl
except ImportError:
    PYVMOMI_ERROR = traceback.format_exc()

_TRIES = 4
_ANSWER = 1 << 20  # bytes
_PATIENCE = 300.0  # seconds for an answer; a busy vCenter computes
_PART = 1 << 18
_ALIVE = 300.0  # seconds; vCenter ends a session that was idle for 30 minutes, ESXi likewise
_TRANSIENT = (http.client.HTTPException, socket.timeout, ConnectionError, TimeoutError)
# What pyVmomi raises of its own for an answer that is none of vSphere's, besides what sockets do.
_NONSENSE = (expat.ExpatError, UnicodeError)

T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """Where vSphere answers, and for whom."""

    host: str
    user: str
    password: str = field(repr=False)
    port: int = 443
    trust: Trust = Trust()
    proxy: Optional[tuple[str, int]] = None


class Session:
    """A logged-in session. `call` is how everything else talks to the server."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises MissingTool without pyVmomi, Unreachable, AccessDenied, also where no login is given."""
        if PYVMOMI_ERROR is not None:
            raise MissingTool(
                "The Python library pyVmomi is not installed on the conversion host.",
                "Install python3-pyvmomi (Debian, Ubuntu) or, with pip, pyvmomi; or run the role hyper2kvm.migration.conversion_host.",
                tool="pyvmomi",
            )
        _require_login(endpoint)
        self.endpoint = endpoint
        self.context: ssl.SSLContext = endpoint.trust.context(endpoint.host, endpoint.port, endpoint.proxy)
        self._lock = threading.RLock()
        self._log_in()

    @property
    def content(self) -> Any:
        """The service's content (vim.ServiceInstanceContent)."""
        return self._content

    @property
    def cookie(self) -> str:
        """The session's cookie as a request carries it: servers differ in quotes and attributes."""
        name, dummy, value = str(self._stub.cookie or "").partition(";")[0].partition("=")
        return f"{name.strip()}={value.strip()}"

    @property
    def anchors(self) -> Optional[str]:
        """The file of authorities that other programs can believe too, empty for the system's; None for a pinned certificate."""
        trust = self.endpoint.trust
        return None if trust.thumbprint else trust.ca_file

    @property
    def thumbprint(self) -> str:
        """SHA-1 of the server's certificate, which has been verified, as VMware's own programs want it."""
        certificate = server_certificate(self.endpoint.host, self.endpoint.port, self.context, self.endpoint.proxy)
        return _colons(certificate)

    def renew(self) -> None:
        """Log in again, once for all threads that find the session gone."""
        before = self._stub.cookie
        with self._lock:
            if self._stub.cookie == before:
                self._stub.cookie = ""
                self._login()

    def call(self, work: Callable[[], T]) -> T:
        """The result of `work`, tried again after an expired session or a broken connection; faults become our errors."""
        for tries in range(1, _TRIES + 1):
            try:
                return work()
            except vim.fault.NotAuthenticated:
                if tries == _TRIES:
                    raise AccessDenied(
                        f"{self.endpoint.host} ends every session at once.",
                        "Check the session limits of the server.",
                        host=self.endpoint.host,
                    ) from None
                self.renew()
            except _TRANSIENT as error:
                if tries == _TRIES:
                    raise _unreachable(self.endpoint, error) from error
                time.sleep(0.5 * 2**tries)
            except vmodl.MethodFault as fault:
                raise translate(fault, self.endpoint.host) from fault
            except ssl.SSLCertVerificationError as error:
                raise unproven(self.endpoint.host, error) from error
            except (OSError, *_NONSENSE) as error:
                raise _unreachable(self.endpoint, error) from error
        raise AssertionError  # the loop returns or raises

    def wait(self, task: Any, timeout: float = 3600.0, every: float = 0.5) -> Any:
        """The result of a task.

        Raises ToolFailed with the task's own fault, or when it does not end within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            info = self.call(lambda: task.info)
            if info.state == "success":
                return info.result
            if info.state == "error":
                raise translate(info.error, self.endpoint.host)
            time.sleep(every)
        raise ToolFailed(
            f"A task on {self.endpoint.host} has not ended after {timeout:.0f} seconds.",
            "Check the recent tasks of the VM; it may still end.",
        )

    @contextlib.contextmanager
    def kept_alive(self, every: float = _ALIVE) -> Iterator[None]:
        """While bytes move elsewhere, the session is used now and then, so that it does not expire."""
        done = threading.Event()

        def run() -> None:
            while not done.wait(every):
                with contextlib.suppress(MigrationError):
                    self.call(self._instance.CurrentTime)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(1.0)

    def close(self) -> None:
        """Log out; servers have few sessions to give."""
        with contextlib.suppress(Exception):
            self._content.sessionManager.Logout()

    def _log_in(self) -> None:
        endpoint = self.endpoint
        try:
            self._stub = _stub(endpoint, self.context)
            self._instance = vim.ServiceInstance("ServiceInstance", self._stub)
            self._content = self._instance.RetrieveContent()
        except ssl.SSLCertVerificationError as error:
            raise unproven(endpoint.host, error) from error
        except (
            OSError,
            http.client.HTTPException,
            vmodl.MethodFault,
            *_NONSENSE,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            raise _unreachable(endpoint, error) from error  # the first answer: anything may be behind the name
        self._login()

    def _login(self) -> None:
        try:
            self._content.sessionManager.Login(self.endpoint.user, self.endpoint.password)
        except vim.fault.InvalidLogin:
            raise AccessDenied(
                f"{self.endpoint.host} refuses the login of {self.endpoint.user}.",
                "Check name and password (vCenter wants user@domain), and that the account is not locked.",
                host=self.endpoint.host,
            ) from None
        except vmodl.MethodFault as fault:
            raise translate(fault, self.endpoint.host) from fault
        except (OSError, http.client.HTTPException, *_NONSENSE) as error:
            raise _unreachable(self.endpoint, error) from error


@contextlib.contextmanager
def session(endpoint: Endpoint) -> Iterator[Session]:
    """A session for the time of a block."""
    opened = Session(endpoint)
    try:
        yield opened
    finally:
        opened.close()


def _require_login(endpoint: Endpoint) -> None:
    for given, what, variable, option in (
        (endpoint.user, "user name", "user", "username"),
        (endpoint.password, "password", "password", "password"),
    ):
        if not given:
            raise AccessDenied(
                f"No {what} is given for {endpoint.host}, which answers nobody who has not logged in.",
                f"Give it as VMWARE_{variable.upper()} in the environment, as migrate_vsphere_{variable}, or as the option {option}.",
                host=endpoint.host,
            )


def _stub(endpoint: Endpoint, context: ssl.SSLContext) -> Any:
    """What speaks with the server, over connections of ours. pyVmomi's own wait without a limit and take answers of any size; and its way through
    a proxy asks for versions without it, and believes every certificate behind it.
    """

    def connection(*dummy: Any, **more: Any) -> Connection:
        return _bounded(https_connection(endpoint.host, endpoint.port, context, endpoint.proxy, _PATIENCE))

    with contextlib.closing(connection()) as asked:
        asked.request("GET", "/sdk/vimServiceVersions.xml", headers={"Accept-Encoding": "identity"})
        spoken = re.findall("<version>([^<]+)</version>", asked.getresponse().read(_ANSWER).decode("utf-8", "replace"))
    version = next((one for one in VmomiSupport.GetServiceVersions("vim25") if VmomiSupport.versionIdMap[one] in spoken), None)
    if version is None:
        raise Unreachable(
            f"{endpoint.host} is not a supported vSphere server.", "Check the name and the port of the server.", host=endpoint.host
        )
    made = SoapStubAdapter(host=endpoint.host, port=endpoint.port, version=version, sslContext=context, acceptCompressedResponses=False)
    made.scheme = connection
    return made


def _bounded(connection: Connection) -> Connection:
    """A connection whose answers have an end, in time and in size. Packed ones, which we do not ask for, are refused."""

    class Answer(http.client.HTTPResponse):
        _given = 0

        def read(self, amt: Optional[int] = None) -> bytes:
            if self.getheader("Content-Encoding", "identity").lower() != "identity":
                raise http.client.HTTPException("an answer is packed, which was not asked for")
            parts: list[bytes] = []
            with connection.within("sent more than drops") as wait:
                while amt is None or sum(map(len, parts)) < amt:
                    part = super().read(_PART if amt is None else amt - sum(map(len, parts)))
                    wait.moved(len(part))
                    parts.append(part)
                    self._given += len(part)
                    if self._given > limits.ANSWER:
                        raise http.client.HTTPException(f"an answer has more than {limits.ANSWER >> 20} MiB")
                    if not part:
                        break
            return b"".join(parts)

    connection.response_class = Answer
    return connection


def _colons(certificate: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in hashlib.sha1(certificate, usedforsecurity=False).digest())


def translate(fault: Any, host: str) -> MigrationError:
    """A vSphere fault as an error of ours, with what the server said and what can be done."""
    kind = type(fault).__name__.rpartition(".")[2]
    said = str(getattr(fault, "msg", "") or "").strip() or kind
    remedy = _REMEDIES.get(kind, "Check the recent tasks and events of the VM.")
    if kind == "NoPermission":
        privilege = getattr(fault, "privilegeId", "") or "a privilege"
        return AccessDenied(
            f"{host}: the account lacks {privilege}.", "Give its role this privilege on the VM and its folders.", fault=kind
        )
    return ToolFailed(f"{host}: {kind}: {said}.", remedy, fault=kind)


_REMEDIES = {
    "InvalidPowerState": "Bring the VM into the power state that is asked for.",
    "InvalidState": "The VM is busy with something else; wait for its task to end.",
    "TaskInProgress": "The VM is busy with something else; wait for its task to end.",
    "NotFound": "It is gone; run again with the present name.",
    "ManagedObjectNotFound": "It is gone; run again with the present name.",
    "RestrictedVersion": "The licence of this host (free ESXi) does not allow it: choose migrate_transport ssh.",
    "FileLocked": "A running VM locks its disks: shut it down, or read from a snapshot.",
    "ToolsUnavailable": "VMware Tools do not run in the guest: shut it down by hand, or allow a hard power-off.",
    "ApplicationQuiesceFault": "The guest cannot be quiesced: take the snapshot without, or look at VSS in the guest.",
}


def _unreachable(endpoint: Endpoint, error: Exception) -> Unreachable:
    if isinstance(error, socket.gaierror):
        return unknown(endpoint.proxy[0] if endpoint.proxy else endpoint.host, error)
    return Unreachable(
        f"{endpoint.host}:{endpoint.port} does not answer as vSphere does: {error or type(error).__name__}.",
        "Check the name, the port, the proxy and the network path to it.",
        host=endpoint.host,
    )

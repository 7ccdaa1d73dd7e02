# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to libvirt, and its errors in our words."""

from __future__ import annotations

import contextlib
import io
import traceback
from typing import Any, Iterator, Optional
from xml.etree import ElementTree

from ..core.errors import MissingTool, ToolFailed, Unreachable

LIBVIRT_ERROR: Optional[str] = None
try:
    import libvirt
    import libvirt_qemu
except ImportError:
    LIBVIRT_ERROR = traceback.format_exc()


@contextlib.contextmanager
def connection(uri: str) -> Iterator[Any]:
    """A connection for the time of a block. What libvirt refuses inside it becomes ToolFailed.

    Raises MissingTool without the bindings, Unreachable when no libvirt answers.
    """
    if LIBVIRT_ERROR is not None:
        raise MissingTool(
            "The libvirt bindings for Python are not installed on the conversion host.",
            "Install python3-libvirt, or run the role hyper2kvm.migration.conversion_host with conversion_host_libvirt on it.",
            traceback=LIBVIRT_ERROR,
        )
    libvirt.registerErrorHandler(lambda context, said: None, None)  # else it prints them
    try:
        opened = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise Unreachable(
            f"libvirt does not answer at {uri}: {error}",
            "Start it (systemctl start libvirtd), or name another (libvirt_uri, migrate_libvirt_uri).",
            uri=uri,
        ) from error
    with contextlib.closing(opened):
        try:
            yield opened
        except libvirt.libvirtError as error:
            raise ToolFailed(f"libvirt refuses: {error}", "Correct the cause that it names, then run again.", uri=uri) from error


def find(opened: Any, name: str) -> Any:
    """The domain of a name; None when there is none."""
    try:
        return opened.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def mark(domain: Any, uri: str) -> Optional[str]:
    """Our element in the metadata of a domain, as XML; None for a domain that has none."""
    try:
        return str(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, uri, 0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise


def start_for_a_test(opened: Any, text: str) -> Any:
    """A transient domain that has not begun to run, and that libvirt destroys when this connection ends, however it ends."""
    return opened.createXML(text, libvirt.VIR_DOMAIN_START_AUTODESTROY | libvirt.VIR_DOMAIN_START_PAUSED)


def undefine(domain: Any) -> None:
    """Forget a domain, and the variables of its firmware with it."""
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


def secret(opened: Any, uuid: str) -> Any:
    """The secret of a UUID; None when there is none."""
    try:
        return opened.secretLookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise


def keep_secret(opened: Any, text: str, value: str) -> Any:
    """Give libvirt a secret as `text` describes it."""
    kept = opened.secretDefineXML(text)
    kept.setValue(value.encode("utf-8"))
    return kept


def human(domain: Any, line: str) -> str:
    """What qemu's human monitor says to a command."""
    return str(libvirt_qemu.qemuMonitorCommand(domain, line, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP))


def ask_agent(domain: Any, question: str, timeout: int) -> str:
    """The guest agent's answer. Raises OSError when there is none."""
    try:
        return str(libvirt_qemu.qemuAgentCommand(domain, question, timeout, 0))
    except libvirt.libvirtError as error:
        raise OSError(str(error)) from error


def picture(opened: Any, domain: Any) -> Optional[bytes]:
    """What the first screen shows, in the format that libvirt gives (PNG, or PPM before 8.1); None where it gives none."""
    stream, shown = opened.newStream(0), io.BytesIO()
    try:
        domain.screenshot(stream, 0, 0)
        stream.recvAll(lambda dummy, data, target: target.write(data), shown)
        stream.finish()
        return shown.getvalue()
    except libvirt.libvirtError:
        return None


def destroy(domain: Any) -> None:
    """Switch a domain off, if it still runs."""
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroy()


def variables(domain: Any, name: str) -> str:
    """The file with the variables of a domain's firmware: what libvirt says while it runs, else where libvirt puts it."""
    root = ElementTree.fromstring(domain.XMLDesc(0))
    return root.findtext("os/nvram") or f"/var/lib/libvirt/qemu/nvram/{name}_VARS.fd"


def text_of(domain: Any) -> str:
    """The persistent description of a domain."""
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))

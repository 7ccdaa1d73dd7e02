# SPDX-License-Identifier: GPL-3.0-or-later
"""wicked's own XML: <interface> elements of files in /etc/wicked/ifconfig, beside the ifcfg files that it reads as well.

Source: wicked-config(5) (sources of ifconfig), samples/wicked and schema of wicked. The files are no whole documents of XML: they may have several elements
at their top, and prefixes (ipv4:static) that nothing declares.
"""

from __future__ import annotations

import re
from typing import Iterator, Optional
from xml.etree import ElementTree

from ...core import limits
from ...core.errors import InvalidInput
from ...core.macs import Mac
from ...disk import xmlfile
from ...guest.protocol import Guest, glob
from .model import Profile, cidr, mac_of

DIRECTORY = "/etc/wicked/ifconfig"
_HEAD = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>)?")
_ENCODING = re.compile(rb"""encoding\s*=\s*["'](iso-8859-(?:[1-9]|1[03-6])|windows-125[0-8]|us-ascii)["']""", re.IGNORECASE)  # of one byte
_PREFIX = re.compile(rb"(?:</?|\s(?=[\w.-]+:[\w.-]+\s*=))([A-Za-z_][\w.-]{0,40}):")
_MOST_PREFIXES = 100
_PORTS = ("ports", "slaves")
_KINDS = ("bond", "bridge", "team", "vlan")
_OTHERS = ("wireless", "infiniband", "infiniband-child", "ppp", "tuntap", "tun", "tap", "dummy", "gre", "ipip", "sit", "vxlan", "openvpn")
_ON_ONE = ("vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "vxlan")


def read(guest: Guest, problems: list[str]) -> Iterator[Profile]:
    """Every interface; a file that cannot be read is named in `problems`."""
    found: list[tuple[str, ElementTree.Element]] = []
    total = 0
    for path in glob(guest, DIRECTORY, ".xml"):
        content = guest.read(path) or b""
        total += len(content)
        try:
            if total > limits.XML_FILES:
                raise InvalidInput(f"{path} and the files before it have more than {limits.XML_FILES >> 10} KiB")
            found += [(path, element) for element in _root(content, path).iter("interface")]
        except InvalidInput as error:
            problems.append(error.msg.rstrip("."))
    members: dict[str, list[str]] = {}
    for dummy, element in found:
        master = _text(element, "link/master")
        if master:
            members.setdefault(master, []).append(_text(element, "name"))
    below = {master: tuple(dict.fromkeys(names)) for master, names in members.items()}
    for path, element in found:
        yield _profile(path, element, below)


def _root(content: bytes, path: str) -> ElementTree.Element:
    """What a file holds, below one element that declares its prefixes."""
    head = _HEAD.match(content)
    said = _ENCODING.search(head[0]) if head is not None else None
    if said is not None:
        content = content.decode(said[1].decode("ascii"), "replace").encode("utf-8")
    bare = _HEAD.sub(b"", content, count=1)
    prefixes = sorted({match[1] for match in _PREFIX.finditer(bare)} - {b"xml", b"xmlns"})[:_MOST_PREFIXES]
    declared = b"".join(b' xmlns:%b="%b"' % (prefix, prefix) for prefix in prefixes)
    return xmlfile.parse(b"<wicked%b>%b</wicked>" % (declared, bare), path)


def _profile(path: str, element: ElementTree.Element, members: dict[str, tuple[str, ...]]) -> Profile:
    mac = _mac(element)
    name = _text(element, "name") if element.find("name/*") is None else ""
    kind = next((one for one in _KINDS if element.find(one) is not None), "")
    others = kind or any(element.find(one) is not None for one in (*_OTHERS, *_ON_ONE))
    below = [
        port
        for group in _PORTS
        for one in (element.find(f"{kind}/{group}") if kind else None,)
        if one is not None
        for port in _devices(one)
    ]
    parent = next((value for one in _ON_ONE if (value := _text(element, f"{one}/device"))), "")
    addresses = [found for static in element.findall("static") for one in static.iter("local") if (found := cidr((one.text or "").strip()))]
    return Profile(
        "wicked", path, name or None, mac, None, kind or ("other" if others else "ethernet"),
        tuple(dict.fromkeys((*below, *members.get(name, ())))) if below else members.get(name, ()), parent,
        "static" if addresses else "dhcp" if _dynamic(element) else "none", tuple(addresses), _gateway(element),
        _text(element, "control/mode") not in ("manual", "off"),
    )  # fmt: skip


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _mac(element: ElementTree.Element) -> Optional[Mac]:
    """<name namespace="ethernet"><permanent-address> or <identify><ethernet:permanent-address>: the NIC itself, whatever it is called."""
    said = (one for tag in ("name", "identify") for above in element.findall(tag) for one in above.iter("permanent-address"))
    return next((mac for one in said if (mac := mac_of(one.text)) is not None), None)


def _devices(ports: ElementTree.Element) -> list[str]:
    """The devices below a bond, a bridge or a team."""
    return [device for port in ports for device in [_text(port, "device")] if device]


def _dynamic(element: ElementTree.Element) -> bool:
    """Whether an address comes by DHCP (or by IPv6's own ways): the tags are ipv4:dhcp, ipv6:dhcp, ipv6:auto."""
    asked = [one for tag in ("dhcp", "auto") for one in element.findall(tag)]
    return any(_text(one, "enabled").lower() not in ("false", "no", "0") for one in asked)


def _gateway(element: ElementTree.Element) -> str:
    """That of the route to everywhere, which has no destination or one of no length."""
    for route in (one for static in element.findall("static") for one in static.iter("route")):
        if _text(route, "destination") in ("", "default", "0.0.0.0/0"):
            return _text(route, "nexthop/gateway")
    return ""

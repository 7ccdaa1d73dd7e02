# SPDX-License-Identifier: GPL-3.0-or-later
"""netplan's YAML: later files override earlier ones by key. Source: netplan(5)."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ...core import limits
from ...guest.protocol import Guest, glob, text
from .. import yamlfile
from .model import PHYSICAL, Profile, cidrs, mac_of

_KINDS = {"ethernets": "ethernet", "bonds": "bond", "bridges": "bridge", "vlans": "vlan"}


def files(guest: Guest) -> list[str]:
    """The files in the order netplan merges them: by name, whatever their directory."""
    found = {path.rsplit("/", 1)[1]: path for base in ("/lib/netplan", "/etc/netplan") for path in glob(guest, base, ".yaml")}
    return [found[name] for name in sorted(found)]


def read(guest: Guest, problems: list[str]) -> Iterator[Profile]:
    """Every definition; a file that is no YAML mapping is named in `problems`."""
    merged: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {}
    total = 0
    for path in files(guest):
        try:
            said = text(guest, path) or ""
            total += len(said) if len(said) <= limits.YAML else 0
            if total > limits.YAML_FILES:
                raise ValueError(f"together with the files before it, it has more than {limits.YAML_FILES >> 10} KiB")
            data = yamlfile.load(said, "The guest's network is configured by netplan")
            network = (data or {}).get("network") or {}
            for section in _KINDS:
                for name, values in (network.get(section) or {}).items():
                    if name == "renderer":  # of all definitions of the section
                        continue
                    known = merged.setdefault(section, {}).get(str(name), ("", {}))[1]
                    merged[section][str(name)] = (path, {**known, **(values or {})})
        except (AttributeError, TypeError, ValueError) as error:
            problems.append(f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    for section, kind in _KINDS.items():
        for name, (path, values) in merged.get(section, {}).items():
            yield _profile(path, name, kind, values)


def _profile(path: str, name: str, kind: str, values: Mapping[str, Any]) -> Profile:
    match = values.get("match") if isinstance(values.get("match"), dict) else None
    mac = mac_of(str(match.get("macaddress", ""))) if match else None
    shown = values.get("set-name") or (match or {}).get("name")
    addresses = [str(next(iter(entry))) if isinstance(entry, dict) and entry else str(entry) for entry in _list(values.get("addresses"))]
    routes = [route for route in _list(values.get("routes")) if isinstance(route, dict)]
    default = next((str(route.get("via", "")) for route in routes if str(route.get("to")) in ("default", "0.0.0.0/0")), "")
    fixed = cidrs(addresses)
    dynamic = any(str(values.get(key)).lower() in ("true", "yes") for key in ("dhcp4", "dhcp6"))
    return Profile(
        "netplan", path,
        str(shown) if shown else None if match and not PHYSICAL.match(name) else name,
        mac, str(match["driver"]) if match and match.get("driver") else None, kind,
        tuple(str(member) for member in _list(values.get("interfaces"))), str(values.get("link", "")),
        "static" if fixed else "dhcp" if dynamic else "none", fixed, str(values.get("gateway4") or default),
    )  # fmt: skip


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

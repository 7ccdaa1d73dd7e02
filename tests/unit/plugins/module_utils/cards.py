# SPDX-License-Identifier: GPL-3.0-or-later
"""What udev and the backends make of a repaired guest in memory, said once more by the manuals and without the repair's own code: udev(7),
systemd.link(5), systemd.network(5), netplan(5), nm-settings-keyfile(5), sysconfig.txt of initscripts.
"""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.apply import apply
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, complete, make_plan

MAC, OTHER, FOREIGN = "00:50:56:8a:00:01", "00:50:56:8a:00:02", "52:54:00:12:34:56"
NET, NM, RH, NETPLAN = (
    "/etc/systemd/network/",
    "/etc/NetworkManager/system-connections/",
    "/etc/sysconfig/network-scripts/",
    "/etc/netplan/",
)
KEYFILE = "[connection]\nid=x\nuuid=9\ntype=ethernet\n{name}\n[ethernet]\n{mac}cloned-mac-address=preserve\n\n[ipv4]\nmethod=auto\n"
BLOCK = (
    "network:\n  version: 2\n  ethernets:\n    lan:  # the LAN\n      match:\n        # of the host\n        macaddress: {mac}\n"
    "      set-name: ens192\n      dhcp4: true\n"
)
# A profile by MAC, and the same by name; None where it stays.
BY_MAC = {
    "networkd": (f"{NET}a.network", f"[Match]\nMACAddress={MAC}\n\n[Network]\nDHCP=yes\n", "[Match]\nName=ens192\n\n[Network]\nDHCP=yes\n"),
    "networkd, by the permanent one": (
        f"{NET}a.network",
        f"[Match]\nPermanentMACAddress={MAC.upper()}\n[Link]\nMACAddress={MAC}\n",
        f"[Match]\nName=ens192\n[Link]\nMACAddress={MAC}\n",
    ),
    "networkd, by a pattern too": (
        f"{NET}a.network",
        f"[Match]\nName=en*\nMACAddress={MAC}\n[Network]\nDHCP=yes\n",
        "[Match]\nName=ens192\n[Network]\nDHCP=yes\n",
    ),
    "networkd, by a pattern that is none of the card": (f"{NET}a.network", f"[Match]\nName=eth*\nMACAddress={MAC}\n[Network]\nDHCP=yes\n", None),
    "networkd, also another card": (f"{NET}a.network", f"[Match]\nMACAddress={MAC} {OTHER}\n[Network]\nDHCP=yes\n", None),
    "networkd, a bridge with the card's MAC": (f"{NET}a.network", f"[Match]\nType=bridge\nMACAddress={MAC}\n[Network]\nDHCP=yes\n", None),
    "networkd, a bridge's driver": (f"{NET}a.network", f"[Match]\nDriver=bridge\nMACAddress={MAC}\n[Network]\nDHCP=yes\n", None),
    "networkd, a list of what it is not": (f"{NET}a.network", f"[Match]\nName=!eth* veth*\nMACAddress={MAC}\n[Network]\nDHCP=yes\n", None),
    "networkd, two addresses of one card": (f"{NET}a.network", f"[Match]\nMACAddress={OTHER}\nPermanentMACAddress={MAC}\n", None),
    "networkd, one address twice": (f"{NET}a.network", f"[Match]\nMACAddress={MAC}\nPermanentMACAddress={MAC}\n", "[Match]\nName=ens192\n"),
    "netplan over lines": (f"{NETPLAN}a.yaml", BLOCK.format(mac=f'"{MAC}"'), BLOCK.format(mac="x").replace("macaddress: x", "name: ens192")),
    "netplan in braces": (
        f"{NETPLAN}a.yaml",
        f"network: {{ethernets: {{lan: {{match: {{driver: virtio_net, macaddress: '{MAC.upper()}'}}, set-name: ens192}}}}}}\n",
        "network: {ethernets: {lan: {match: {driver: virtio_net, name: ens192}, set-name: ens192}}}\n",
    ),
    "netplan, a MAC to be set": (
        f"{NETPLAN}a.yaml",
        f"network:\n  ethernets:\n    ens192:\n      match:\n        macaddress: {MAC}\n      macaddress: {MAC}\n",
        f"network:\n  ethernets:\n    ens192:\n      match:\n        name: ens192\n      macaddress: {MAC}\n",
    ),
    "netplan, only a MAC to be set": (f"{NETPLAN}a.yaml", f"network: {{ethernets: {{ens192: {{macaddress: '{MAC}'}}}}}}\n", None),
    "netplan, with a renderer": (
        f"{NETPLAN}a.yaml",
        f"network: {{ethernets: {{renderer: networkd, lan: {{match: {{macaddress: '{MAC}'}}, set-name: ens192}}}}}}\n",
        "network: {ethernets: {renderer: networkd, lan: {match: {name: ens192}, set-name: ens192}}}\n",
    ),
    "netplan as JSON": (
        f"{NETPLAN}a.yaml",
        f'{{"network": {{"ethernets": {{"ens192": {{"match": {{"macaddress": "{MAC}"}}, "macaddress": "{MAC}", "set-name": "ens192"}}}}}}}}\n',
        f'{{"network": {{"ethernets": {{"ens192": {{"match": {{"name": "ens192"}}, "macaddress": "{MAC}", "set-name": "ens192"}}}}}}}}\n',
    ),
    "netplan, by a name too": (f"{NETPLAN}a.yaml", f"network: {{ethernets: {{a: {{match: {{name: e*, macaddress: '{MAC}'}}}}}}}}\n", None),
    "netplan, under another name": (f"{NETPLAN}a.yaml", f"network: {{ethernets: {{a: {{match: {{macaddress: '{MAC}'}}, set-name: x0}}}}}}\n", None),
    "netplan that is none": (f"{NETPLAN}a.yaml", f"network: [{MAC}\n", None),
    "NetworkManager": (f"{NM}x", KEYFILE.format(name="", mac=f"mac-address={MAC.upper()}\n"), KEYFILE.format(name="interface-name=ens192\n", mac="")),
    "NetworkManager, by name too": (
        f"{NM}x",
        KEYFILE.format(name="interface-name=ens192\n", mac=f"mac-address={MAC}\n"),
        KEYFILE.format(name="interface-name=ens192\n", mac=""),
    ),
    "NetworkManager, the type at the end": (
        f"{NM}x",
        f"[ethernet]\nmac-address={MAC}\n[connection]\nid=x\ntype=ethernet",
        "[ethernet]\n[connection]\nid=x\ntype=ethernet\ninterface-name=ens192\n",
    ),
    "NetworkManager, an empty name": (
        f"{NM}x",
        KEYFILE.format(name="interface-name=", mac=f"mac-address={MAC}\n"),
        KEYFILE.format(name="interface-name=ens192", mac=""),
    ),
    "NetworkManager, an empty name before another": (
        f"{NM}x",
        KEYFILE.format(name="interface-name=\ninterface-name=x0\n", mac=f"mac-address={MAC}\n"),
        None,
    ),
    "NetworkManager, under another name": (f"{NM}x", KEYFILE.format(name="interface-name=x0\n", mac=f"mac-address={MAC}\n"), None),
    "NetworkManager, a VLAN on the card": (f"{NM}x", KEYFILE.format(name="", mac=f"mac-address={MAC}\n").replace("=ethernet", "=vlan"), None),
    "NetworkManager, an editor's copy": (f"{NM}x.bak", KEYFILE.format(name="", mac=f"mac-address={MAC}\n"), None),
    "ifcfg": (f"{RH}ifcfg-ens192", f'DEVICE=ens192\nHWADDR="{MAC}"\nBOOTPROTO=dhcp\nMACADDR={MAC}\n', f"DEVICE=ens192\nBOOTPROTO=dhcp\nMACADDR={MAC}\n"),
    "ifcfg without a name": (f"{RH}ifcfg-LAN", f"TYPE=Ethernet\nHWADDR={MAC.upper()}\nBOOTPROTO=dhcp\n", "TYPE=Ethernet\nDEVICE=ens192\nBOOTPROTO=dhcp\n"),
    "ifcfg of a bond": (f"{RH}ifcfg-bond0", f"TYPE=Bond\nDEVICE=bond0\nHWADDR={MAC}\n", None),
    "ifcfg of a bond without its name": (f"{RH}ifcfg-bond0", f"HWADDR={MAC}\nBONDING_OPTS=mode=1\n", None),
    "ifcfg, another card": (f"{RH}ifcfg-x", f"DEVICE=x\nHWADDR={OTHER}\n", None),
}  # fmt: skip


# How udev names cards, with the files that say so.
LINK = {"/usr/lib/systemd/network/99-default.link": "[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep path\n"}
NAMING = {
    "link": LINK,
    "rules": {"/usr/lib/udev/rules.d/75-persistent-net-generator.rules": "#\n"},
    "link switched off": {**LINK, "/etc/udev/rules.d/80-net-setup-link.rules": ""},
}
PROFILES = {
    **{case: {path: before} for case, (path, before, after) in BY_MAC.items() if after and "set" not in case},
    "ifupdown": {"/etc/network/interfaces": "auto ens192\niface ens192 inet dhcp\n"},
    "networkd by name": {f"{NET}a.network": "[Match]\nName=ens192\n[Network]\nDHCP=yes\n"},
    "netplan by name": {f"{NETPLAN}a.yaml": "network: {ethernets: {ens192: {dhcp4: true}}}\n"},
    "NetworkManager by name": {f"{NM}x": KEYFILE.format(name="interface-name=ens192\n", mac="")},
    "ifcfg by name": {f"{RH}ifcfg-ens192": "DEVICE=ens192\nBOOTPROTO=dhcp\n"},
    "wicked": {"/etc/sysconfig/network/ifcfg-ens192": "BOOTPROTO=dhcp\nSTARTMODE=auto\n"},
    "dhcpcd": {"/etc/dhcpcd.conf": "interface ens192\nstatic ip_address=192.0.2.2/24\n"},
}


def called(guest, macs):
    """What udev calls the cards, which the kernel has found in this order as eth0, eth1, ... All are looked at before any has a new name."""
    given_names = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, mac in enumerate(macs):
            card = Path(folder, f"eth{number}")
            (card / "device").mkdir(parents=True)
            (card / "address").write_text(f"{mac}\n")
            (card / "ifindex").write_text(f"{number + 2}\n")
        Path(folder, "lo").mkdir()
        Path(folder, "bonding_masters").write_text("")
        for number, mac in enumerate(macs):
            name = _by_rules(guest, mac, str(number + 2), folder)
            masked = guest.files.get("/etc/udev/rules.d/80-net-setup-link.rules") == b""
            reads_links = any(path.endswith("/99-default.link") for path in guest.files) and not masked
            name = name or (_by_link(guest, mac) if reads_links else None) or f"eth{number}"
            assert name not in given_names.values(), "udev would leave one of them without a record"
            given_names[mac] = name
    return given_names


def _by_rules(guest, mac, index, folder):
    name, is_card = (
        "",
        {"SUBSYSTEM": "net", "ACTION": "add", "DRIVERS": "virtio_net", "ATTR{type}": "1", "ATTR{address}": mac, "KERNEL": "eth9"},
    )
    for path in sorted(path for path in guest.files if path.startswith("/etc/udev/rules.d/")):
        for line in guest.files[path].decode().splitlines():
            fits, found = not line.startswith("#"), None
            for key, operator, value in re.findall(r'([A-Z]+(?:\{\w+\})?)(==|!=|=)"([^"]*)"', line):
                if key == "PROGRAM" and fits:
                    program = value.replace("$attr{ifindex}", index).replace("$$", "$").replace("/sys/class/net", folder)
                    fits = subprocess.run(shlex.split(program), check=False, timeout=20).returncode == 0
                elif key == "NAME" and operator == "=":
                    found = value
                elif key != "PROGRAM":
                    one = any(fnmatchcase({**is_card, "NAME": name}[key], word) for word in value.split("|"))
                    fits = fits and one == (operator == "==")
            name = found if fits and found else name
    return name


def _by_link(guest, mac):
    found = {path.rsplit("/", 1)[1]: path for path in sorted(guest.files, reverse=True) if path.endswith(".link")}
    for name in sorted(found):
        said = _ini(guest.files[found[name]])
        if said["match"].get("macaddress", mac).lower() == mac:
            return said["link"].get("name")
    return None


def _ini(content):
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(content.decode())
    return {section.lower(): dict(parser[section]) for section in parser.sections()}


def comes_up(guest, name, mac):
    """Whether some backend has a profile for the card, as it would match it."""
    for path, data in guest.files.items():
        content = data.decode("utf-8", "replace")
        if path.startswith(NET) and path.endswith(".network"):
            match = _ini(data)["match"]
            by = [match[key].lower() == mac for key in ("macaddress", "permanentmacaddress") if key in match]
            by += [any(fnmatchcase(name, word) for word in match["name"].split())] if "name" in match else []
        elif path.startswith(NM):
            said = _ini(data)
            by = [said["ethernet"]["mac-address"].lower() == mac] if "mac-address" in said["ethernet"] else []
            by += [said["connection"]["interface-name"] == name] if said["connection"].get("interface-name") else []
        elif path.startswith(NETPLAN):
            ((key, said),) = (item for item in yaml.safe_load(content)["network"]["ethernets"].items() if item[0] != "renderer")
            match = said.get("match", {"name": key})
            by = [match["macaddress"].lower() == mac] if "macaddress" in match else []
            by += [fnmatchcase(name, match["name"])] if "name" in match else []
        elif path.startswith(RH):
            said = dict(word.split("=", 1) for word in shlex.split(content))
            by = [said["HWADDR"].lower() == mac] if "HWADDR" in said else []
            by += [said["DEVICE"] == name] if "DEVICE" in said else []
        elif path.startswith("/etc/sysconfig/network/ifcfg-"):
            by = [path.endswith(f"-{name}")]
        elif path in ("/etc/network/interfaces", "/etc/dhcpcd.conf"):
            by = [bool(re.search(rf"^(iface|interface) {name}\b", content, re.MULTILINE))]
        else:
            continue
        if by and all(by):
            return True
    return False


def repaired(files, pin, nics=(Nic(MAC, slot=192),)):
    made = MemoryGuest(files)
    facts, dummy = complete(GuestFacts(), made, nics, {})
    plan = make_plan(made, facts, Options(("network",), pin=pin))
    apply(made, plan)
    again = make_plan(made, complete(GuestFacts(), made, nics, {})[0], Options(("network",), pin=pin))
    assert again.changes == () and not [concern for concern in plan.concerns if concern.code.startswith("network")]
    made.files = {path: data for path, data in made.files.items() if not path.startswith("/var/lib/hyper2kvm")}
    return made


MACS = st.integers(0, (1 << 40) - 1).map(lambda number: ":".join(["52", *re.findall("..", f"{number:010x}")]))

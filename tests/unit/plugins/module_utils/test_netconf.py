# SPDX-License-Identifier: GPL-3.0-or-later
"""Seven backends: what each profile does, how every card comes up, and that a new MAC is followed everywhere."""

from __future__ import annotations

import pytest
from fixtures import MAC
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MissingTool
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Machine, Nic, NicFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.machine import VmSaid
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.nics import mac_map, named
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import modules, network, yamlfile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import names
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import complete
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import families

OTHER = "00:50:56:3a:bb:cd"
NET = "/etc/systemd/network"
NM = "/etc/NetworkManager/system-connections"
RH, SUSE = "/etc/sysconfig/network-scripts", "/etc/sysconfig/network"
# Files, and how ens192 comes up: method, addresses, gateway, on what.
NICS = {
    "ifupdown static": (
        {
            "/etc/network/interfaces": "auto ens192\niface ens192 inet static\n address 10.0.0.2\n netmask 255.255.255.0\n gateway 10.0.0.1\n"
            "iface ens192 inet6 static\n address fd00::2/64\niface ens192:1 inet static\n address 10.0.0.3/24\n"
        },
        ("static", ("10.0.0.2/24", "fd00::2/64", "10.0.0.3/24"), "10.0.0.1", ""),
    ),
    "ifupdown dhcp": (
        {
            "/etc/network/interfaces": "source /etc/network/interfaces.d/*\n",
            "/etc/network/interfaces.d/lan": "allow-hotplug ens192\niface ens192 inet dhcp\n",
        },
        ("dhcp", (), "", ""),
    ),
    "ifupdown, files of another folder": (
        {
            "/etc/network/interfaces": "source ifs/*.cfg\n",
            "/etc/network/ifs/lan.cfg": "auto ens192\niface ens192 inet dhcp\n",
            "/etc/network/ifs/lan.bak": "iface ens192 inet static\n address 10.9.9.9/24\n",
            "/etc/network/interfaces.d/none": "iface ens192 inet static\n address 10.9.9.8/24\n",
        },
        ("dhcp", (), "", ""),
    ),
    "ifupdown, a directory with a backup": (
        {
            "/etc/network/interfaces": "source-directory interfaces.d\n",
            "/etc/network/interfaces.d/ens192": "auto ens192\niface ens192 inet dhcp\n",
            "/etc/network/interfaces.d/ens192.bak": "iface ens192 inet static\n address 10.9.9.9/24\n",
        },
        ("dhcp", (), "", ""),
    ),
    "ifupdown, a hidden file of an editor": (
        {
            "/etc/network/interfaces": "source /etc/network/ifs/*\n",
            "/etc/network/ifs/lan": "auto ens192\niface ens192 inet dhcp\n",
            "/etc/network/ifs/.lan.swp": "iface ens192 inet static\n address 10.9.9.9/24\n",
        },
        ("dhcp", (), "", ""),
    ),
    "ifupdown bond": (
        {"/etc/network/interfaces": "iface bond0 inet static\n bond-slaves ens192 ens224\n bond-mode 1\n address 10.0.0.2/24\n"},
        ("static", ("10.0.0.2/24",), "", "bond0"),
    ),
    "ifupdown bond by its members": (
        {"/etc/network/interfaces": "iface ens192 inet manual\n bond-master bond0\niface bond0 inet dhcp\n bond-mode 4\n"},
        ("dhcp", (), "", "bond0"),
    ),
    "ifupdown vlan": (
        {"/etc/network/interfaces": "iface ens192 inet manual\niface ens192.5 inet static\n address 10.0.5.2/24\n"},
        ("static", ("10.0.5.2/24",), "", "ens192.5"),
    ),
    "ifupdown bridge": (
        {"/etc/network/interfaces": "iface br0 inet static\n address 10.0.0.2/24\n bridge_ports ens192\n"},
        ("static", ("10.0.0.2/24",), "", "br0"),
    ),
    "netplan static": (
        {
            "/etc/netplan/1.yaml": "network:\n  ethernets:\n    ens192:\n      addresses: [10.0.0.2/24, {10.0.0.3/24: {lifetime: 0}}]\n"
            "      routes: [{to: default, via: 10.0.0.1}]\n"
        },
        ("static", ("10.0.0.2/24", "10.0.0.3/24"), "10.0.0.1", ""),
    ),
    "netplan by MAC": (
        {"/etc/netplan/1.yaml": f"network:\n  ethernets:\n    lan:\n      match: {{macaddress: '{MAC.upper()}'}}\n      dhcp4: true\n"},
        ("dhcp", (), "", ""),
    ),
    "netplan, a renderer of all": (
        {"/etc/netplan/1.yaml": "network:\n  ethernets:\n    renderer: NetworkManager\n    ens192: {dhcp4: true}\n"},
        ("dhcp", (), "", ""),
    ),
    "netplan merged": (
        {
            "/lib/netplan/0.yaml": "network: {ethernets: {ens192: {dhcp4: true}}}\n",
            "/etc/netplan/9.yaml": "network: {ethernets: {ens192: {dhcp4: false, addresses: [10.0.0.2/24]}}}\n",
        },
        ("static", ("10.0.0.2/24",), "", ""),
    ),
    "netplan bond and vlan": (
        {
            "/etc/netplan/1.yaml": "network:\n  ethernets: {ens192: {}, ens224: {}}\n  bonds: {bond0: {interfaces: [ens192, ens224]}}\n"
            "  vlans: {v5: {id: 5, link: bond0, addresses: [10.0.5.2/24]}}\n"
        },
        ("static", ("10.0.5.2/24",), "", "v5"),
    ),
    "networkd static": (
        {
            f"{NET}/a.network": "[Match]\nName=ens192\n[Network]\nDHCP=no\nAddress=10.0.0.2/24\nGateway=10.0.0.1\n"
            "[Address]\nAddress=10.0.0.3/24\n"
        },
        ("static", ("10.0.0.2/24", "10.0.0.3/24"), "10.0.0.1", ""),
    ),
    "networkd pattern": ({f"{NET}/a.network": "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n"}, ("dhcp", (), "", "")),
    "networkd by the second MAC": (
        {f"{NET}/a.network": f"[Match]\nMACAddress={OTHER} {MAC}\n[Network]\nDHCP=yes\n"},
        ("dhcp", (), "", ""),
    ),
    "NetworkManager pattern, the second": (
        {f"{NM}/a": "[connection]\ntype=ethernet\n[match]\ninterface-name=eth*;|ens*;!ens224;\n[ipv4]\nmethod=auto\n"},
        ("dhcp", (), "", ""),
    ),
    "networkd no": ({f"{NET}/a.network": "[Match]\nName=ens192\n[Network]\nDHCP=no\n"}, ("none", (), "", "")),
    "networkd bond": (
        {
            f"{NET}/a.netdev": "[NetDev]\nName=bond0\nKind=bond\n",
            f"{NET}/a.network": "[Match]\nName=ens192 ens224\n[Network]\nBond=bond0\n",
            f"{NET}/b.network": "[Match]\nName=bond0\n[Network]\nAddress=10.0.0.2/24\n",
        },
        ("static", ("10.0.0.2/24",), "", "bond0"),
    ),
    "NetworkManager static": (
        {
            f"{NM}/a": "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\nmethod=manual\naddress1=10.0.0.2/24,10.0.0.1\n"
            "address2=10.0.0.3/24\n"
        },
        ("static", ("10.0.0.2/24", "10.0.0.3/24"), "10.0.0.1", ""),
    ),
    "NetworkManager bond": (
        {
            f"{NM}/a": "[connection]\nuuid=u-u\ntype=bond\ninterface-name=bond0\n[ipv4]\nmethod=auto\n",
            f"{NM}/b": "[connection]\ntype=ethernet\ninterface-name=ens192\nmaster=u-u\nslave-type=bond\n",
        },
        ("dhcp", (), "", "bond0"),
    ),
    "NetworkManager vlan": (
        {
            f"{NM}/a": "[connection]\ntype=ethernet\ninterface-name=ens192\n[ipv4]\nmethod=disabled\n",
            f"{NM}/b": "[connection]\ntype=vlan\ninterface-name=ens192.7\n[vlan]\nparent=ens192\nid=7\n[ipv4]\nmethod=manual\naddress1=10.0.7.2/24\n",
        },
        ("static", ("10.0.7.2/24",), "", "ens192.7"),
    ),
    "ifcfg static": (
        {
            f"{RH}/ifcfg-ens192": 'DEVICE="ens192"\nBOOTPROTO=none\nIPADDR=10.0.0.2\nPREFIX=24\nIPADDR1="10.0.0.3"\nPREFIX1=24\n'
            "GATEWAY=10.0.0.1 # x\n"
        },
        ("static", ("10.0.0.2/24", "10.0.0.3/24"), "10.0.0.1", ""),
    ),
    "ifcfg bond": (
        {
            f"{RH}/ifcfg-ens192": "DEVICE=ens192\nMASTER=bond0\nSLAVE=yes\n",
            f"{RH}/ifcfg-bond0": "DEVICE=bond0\nBONDING_OPTS=mode=1\nBOOTPROTO=dhcp\n",
        },
        ("dhcp", (), "", "bond0"),
    ),
    "ifcfg bridge": (
        {
            f"{RH}/ifcfg-ens192": "DEVICE=ens192\nBRIDGE=br0\n",
            f"{RH}/ifcfg-br0": "DEVICE=br0\nTYPE=Bridge\nIPADDR=10.0.0.2\nNETMASK=255.255.255.0\n",
        },
        ("static", ("10.0.0.2/24",), "", "br0"),
    ),
    "ifcfg vlan": (
        {f"{RH}/ifcfg-ens192": "DEVICE=ens192\n", f"{RH}/ifcfg-ens192.5": "DEVICE=ens192.5\nVLAN=yes\nIPADDR=10.0.5.2\nPREFIX=24\n"},
        ("static", ("10.0.5.2/24",), "", "ens192.5"),
    ),
    "ifcfg team": (
        {
            f"{RH}/ifcfg-ens192": "DEVICE=ens192\nDEVICETYPE=TeamPort\nTEAM_MASTER=team0\n",
            f"{RH}/ifcfg-team0": "DEVICE=team0\nDEVICETYPE=Team\nBOOTPROTO=dhcp\n",
        },
        ("dhcp", (), "", "team0"),
    ),
    "wicked static": (
        {
            f"{SUSE}/ifcfg-ens192": "BOOTPROTO='static'\nIPADDR='10.0.0.2/24'\nIPADDR_x='10.0.0.3'\nNETMASK_x='255.255.255.0'\n",
            f"{SUSE}/ifroute-ens192": "default 10.0.0.1 - -\n",
        },
        ("static", ("10.0.0.2/24", "10.0.0.3/24"), "10.0.0.1", ""),
    ),
    "wicked bond": (
        {f"{SUSE}/ifcfg-bond0": "BONDING_MASTER=yes\nBONDING_SLAVE0=ens192\nBONDING_SLAVE_1=ens224\nBOOTPROTO=dhcp4\n"},
        ("dhcp", (), "", "bond0"),
    ),
    "dhcpcd": (
        {"/etc/dhcpcd.conf": "duid\ninterface ens192\nstatic ip_address=10.0.0.2/24\nstatic routers=10.0.0.1\ninterface eth1\n"},
        ("static", ("10.0.0.2/24",), "10.0.0.1", ""),
    ),
}


@pytest.mark.parametrize("name", NICS)
def test_how_a_nic_comes_up(name):
    files, expected = NICS[name]
    found = names.profiles(MemoryGuest(files))
    (nic,) = names.nics(found, [("ens192", MAC)], "virtio_net")
    assert (nic.method, nic.addresses, nic.gateway, nic.on) == expected
    assert "ens192" in names.nic_names(found) or "MAC" in name or "pattern" in name


def test_only_the_first_nic_of_a_bond_carries_its_addresses():
    files = NICS["ifupdown bond"][0]
    first, second = names.nics(names.profiles(MemoryGuest(files)), [("ens192", MAC), ("ens224", OTHER)], "virtio_net")
    assert first.addresses and not second.addresses and names.nic_names(names.profiles(MemoryGuest(files))) == ["ens192", "ens224"]


def test_names_below_a_bond_are_pinned():
    made = MemoryGuest({**NICS["netplan bond and vlan"][0], "/usr/lib/systemd/network/99-default.link": ""})
    facts, findings = complete(GuestFacts(), made, (Nic(MAC, slot=192), Nic(OTHER, slot=224)), {})
    assert facts.interfaces == (("ens192", MAC), ("ens224", OTHER)) and not findings.concerns
    assert [change.path[-11:] for change in network.plan(made, facts.interfaces, {}, Findings())] == ["ens192.link", "ens224.link"]


@pytest.mark.parametrize(
    "binding",
    [
        {f"{NET}/10-lan.link": "[Match]\nPath=pci-0000:0b:00.0\n[Link]\nName=lan0\n"},
        {"/etc/udev/rules.d/10-lan.rules": '# x\nSUBSYSTEM=="net", ACTION=="add", KERNELS=="0000:0b:00.0", NAME="lan0"\n'},
    ],
)
def test_a_name_of_the_administrators_own_is_pinned_too(binding):
    made = MemoryGuest({"/etc/network/interfaces": "iface lan0 inet dhcp\n", "/usr/lib/systemd/network/99-default.link": "", **binding})
    facts, dummy = complete(GuestFacts(), made, (Nic(MAC, slot=192),), {})
    assert facts.interfaces == (("lan0", MAC),)


def test_a_profile_bound_to_nothing_takes_any_nic():
    (nic,) = names.nics(
        names.profiles(MemoryGuest({f"{NM}/any": "[connection]\ntype=ethernet\n[ipv4]\nmethod=auto\n"})), [("ens192", MAC)], "virtio_net"
    )
    assert (nic.method, nic.backend) == ("dhcp", "networkmanager")


def test_a_nic_without_a_profile_is_still_a_nic():
    facts, dummy = complete(GuestFacts(), MemoryGuest({}), (Nic(MAC, slot=192),), {})
    assert facts.nics == (NicFacts(MAC),)


NEW = "52:54:00:00:00:01"
DECIMAL = "".join(f"{byte};" for byte in bytes.fromhex(MAC.replace(":", "")))
FOLLOWERS = {
    "/etc/netplan/1.yaml": f"network:\n  ethernets:\n    lan:\n      match: {{macaddress: {MAC}}}\n      set-name: ens192\n",
    f"{NET}/a.network": f"[Match]\nMACAddress={MAC.upper()}\n[Network]\nDHCP=yes\n",
    f"{NM}/a": f"[connection]\ntype=ethernet\n[ethernet]\nmac-address={MAC}\n",
    f"{NM}/old": f"[connection]\ntype=802-3-ethernet\n[802-3-ethernet]\nmac-address={DECIMAL}\n",
    f"{RH}/ifcfg-a": f'HWADDR="{MAC}"\n',
    "/etc/udev/rules.d/71-own.rules": f'ATTR{{address}}=="{MAC}", NAME="ens192"\n',
    "/etc/cloud/cloud.cfg.d/50.cfg": f"mac: {MAC}\n",
    f"{NET}/b.network.d/c.conf": f"[Match]\nMACAddress={MAC}\n",
    "/etc/wicked/ifconfig/a.xml": f"<interface><identify><ethernet:permanent-address>{MAC}</ethernet:permanent-address></identify></interface>\n",
    "/etc/network/interfaces": f"rename mac/{MAC}=lan0\nauto lan0\niface lan0 inet dhcp\n",
    "/boot/loader/entries/a.conf": f"linux /vmlinuz\noptions ifname=lan0:{MAC} ip={MAC.replace(':', '-')}:dhcp BOOTIF=01-{MAC.replace(':', '-')}\n",
    "/etc/default/grub": f'GRUB_CMDLINE_LINUX="ifname=lan0:{MAC}"\n',
    "/etc/conf.d/net": f'config_{MAC.replace(":", "")}="dhcp"\n',
}
SPELLINGS = (
    str,
    str.upper,
    lambda mac: mac.replace(":", "-"),
    lambda mac: mac.replace(":", ""),
    lambda mac: "".join(f"{byte};" for byte in bytes.fromhex(mac.replace(":", ""))),
)


@pytest.mark.parametrize("path", FOLLOWERS)
def test_a_new_mac_is_followed_and_another_is_not(path):
    before = FOLLOWERS[path] + f"# {OTHER}\n"
    made = MemoryGuest({path: before})
    (change,) = network.plan(made, [], {MAC: NEW}, Findings())
    for spelt in SPELLINGS:
        before = before.replace(spelt(MAC), NEW if spelt is str.upper else spelt(NEW))
    assert change.after == before


def test_the_facts_and_pins_have_the_new_mac():
    made = MemoryGuest({**FOLLOWERS, "/usr/lib/systemd/network/99-default.link": ""})
    facts, dummy = complete(GuestFacts(), made, (Nic(MAC, slot=192),), {MAC: NEW})
    assert facts.interfaces == (("ens192", NEW),) and [nic.mac for nic in facts.nics] == [NEW]
    pin = {change.path: change.after for change in network.plan(made, facts.interfaces, {MAC: NEW}, Findings())}[
        "/etc/systemd/network/10-hyper2kvm-ens192.link"
    ]
    assert NEW in pin


@pytest.mark.parametrize("values", [{"x": NEW}, {MAC: "52:54"}, {MAC: NEW, OTHER: NEW}])
def test_a_map_that_cannot_be_right_is_refused(values):
    with pytest.raises(InvalidInput):
        mac_map(values)


@given(st.dictionaries(st.sampled_from([f"00:50:56:00:00:0{digit}" for digit in range(8)]), st.integers(0, 255)))
def test_any_map_of_distinct_macs_is_taken(values):
    new = {old: f"52:54:00:00:0{index % 10}:{value:02x}" for index, (old, value) in enumerate(values.items())}
    assert mac_map(new) == new


def test_nics_that_the_operator_names_keep_the_slots_that_the_source_knows():
    known = VmSaid(Machine(nics=(Nic(MAC, "old", slot=192),)))
    found = named([{"mac": OTHER.upper(), "network": "x"}, {"mac": MAC, "network": ""}])
    assert families.guest_request(known, (), nics=found).nics == (Nic(OTHER, "x"), Nic(MAC, slot=192))
    with pytest.raises(InvalidInput, match="is not a MAC address"):
        named([{"mac": "eth0", "network": ""}])


def test_broken_yaml_is_said_and_left_alone():
    findings = Findings()
    assert network.plan(MemoryGuest({"/etc/netplan/1.yaml": "network: [\n"}), [], {}, findings) == []
    assert [concern.code for concern in findings.concerns] == ["network.unreadable"]


def test_a_missing_yaml_library_is_named(monkeypatch):
    monkeypatch.setattr(yamlfile, "yaml", None)
    with pytest.raises(MissingTool, match="python3-yaml"):
        names.profiles(MemoryGuest({"/etc/netplan/1.yaml": "{}"}))


def test_modules_of_vmwares_hardware_leave_the_lists():
    made = MemoryGuest({
        "/etc/modprobe.d/a.conf": "alias eth0 vmxnet3\nalias eth1 e1000\noptions vmxnet3 x=1\noptions kvm y=1\n",
        "/etc/modules": "# x\nvmw_balloon\nloop\nvmw_pvscsi\n",
    })  # fmt: skip
    assert {change.path: change.after for change in modules.plan(made)} == {
        "/etc/modprobe.d/a.conf": "alias eth1 e1000\noptions kvm y=1\n", "/etc/modules": "# x\nloop\nvmw_pvscsi\n",
    }  # fmt: skip

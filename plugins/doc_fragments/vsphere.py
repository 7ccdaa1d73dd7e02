# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of how vSphere and other sources that are elsewhere are reached."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:  # written by make options
  hostname:
    description: The vCenter or ESXi host. E(VMWARE_HOST) where it is not given.
    type: str
  username:
    description: User name. E(VMWARE_USER) where it is not given.
    type: str
  password:
    description: The password. E(VMWARE_PASSWORD) where it is not given.
    type: str
  port:
    description: The port of the API. E(VMWARE_PORT) where it is not given.
    type: int
    default: 443
  validate_certs:
    description: Whether the server must prove who it is. E(VMWARE_VALIDATE_CERTS) where it is not given.
    type: bool
    default: true
  ca_file:
    description: A file with the authorities that are believed (PEM), in place of the system's.
    type: path
  thumbprint:
    description: The SHA-1 or SHA-256 digest of the server's certificate, which is then the only one that is believed.
    type: str
  proxy_host:
    description: An HTTP proxy to go through. E(VMWARE_PROXY_HOST) where it is not given.
    type: str
  proxy_port:
    description: Its port. E(VMWARE_PROXY_PORT) where it is not given, else 3128.
    type: int
requirements:
  - pyVmomi
"""

    VM = r"""
options:  # written by make options
  vm:
    description: The VM by its inventory path (V(DC1/vm/production/web01)), or as V(moref=vm-57), V(uuid=...) or V(name=...).
    type: str
    required: true
"""

    SOURCE = r"""
requirements:
  - pyVmomi for sources of vSphere
  - ssh for sources that are reached by it
  - the Azure CLI for sources of Azure, boto3 for those of AWS
options:  # written by make options
  access:
    description: How a source that is elsewhere is reached, and what may happen to it there.
    type: dict
    default: {}
    version_added: 0.2.0
    suboptions:
      vsphere:
        description: The login for sources of vSphere, whose host is in the URL.
        type: dict
        suboptions:
          username:
            description: User name. E(VMWARE_USER) where it is not given.
            type: str
          password:
            description: The password. E(VMWARE_PASSWORD) where it is not given.
            type: str
          validate_certs:
            description: Whether the server must prove who it is. E(VMWARE_VALIDATE_CERTS) where it is not given.
            type: bool
            default: true
          ca_file:
            description: A file with the authorities that are believed (PEM), in place of the system's.
            type: path
          thumbprint:
            description: The SHA-1 or SHA-256 digest of the server's certificate, which is then the only one that is believed.
            type: str
          proxy_host:
            description: An HTTP proxy to go through. E(VMWARE_PROXY_HOST) where it is not given.
            type: str
          proxy_port:
            description: Its port. E(VMWARE_PROXY_PORT) where it is not given, else 3128.
            type: int
      ssh:
        description: The login for sources that are reached by SSH. The host's key must be known.
        type: dict
        suboptions:
          host:
            description: The ESXi host that reads the files of a VM of vSphere, where it is not the one that runs it. The host of a C(ssh://) URL counts
              first.
            type: str
          user:
            description: User name, where the URL does not say it.
            type: str
            default: root
          port:
            description: The port, where the URL does not say it.
            type: int
            default: 22
          key_file:
            description: The private key.
            type: path
          known_hosts:
            description: The file with the keys of known hosts, in place of the user's.
            type: path
          password:
            description: The password, also for keyboard-interactive logins.
            type: str
      vddk:
        description: VMware's Virtual Disk Development Kit on the host that the module runs on, for I(transport=vddk).
        type: dict
        suboptions:
          libdir:
            description: Where it is unpacked.
            type: path
            default: /opt/vmware-vix-disklib-distrib
          plugin:
            description: The plugin that nbdkit loads, a name or the path of its file.
            type: str
            default: vddk
          transports:
            description: The library's own transports in their order, as V(san:hotadd:nbdssl:nbd). Its own choice where this is empty.
            type: str
            default: ""
          compression:
            description: What the library compresses with on the way.
            type: str
            default: ""
            choices: ["", none, zlib, fastlz, skipz]
      transport:
        description:
          - How the bytes of a VM of vSphere come here. V(datastore) is HTTPS with ranges, V(nfc) an export lease, V(ssh) reads on the ESXi host, V(vddk)
            VMware's own library through nbdkit. V(govc) and V(ovftool) are exports by these programs.
          - V(auto) takes the datastore, and a lease where it has no files to read.
        type: str
        default: auto
        choices: [auto, datastore, govc, nfc, ovftool, ssh, vddk]
      running:
        description:
          - What happens to a VM that is running. It is refused, or frozen by a V(snapshot) for the time of the copy (the result is as after a power
            failure), or shut down (V(shutdown)) by its tools.
        type: str
        default: refuse
        choices: [refuse, snapshot, shutdown]
      quiesce:
        description: Whether the guest's file systems are quiesced for the snapshot.
        type: bool
        default: false
      shutdown_timeout:
        description: Seconds until a guest must have shut down.
        type: int
        default: 600
      power_off:
        description: Whether a VM is switched off hard when its guest does not shut down.
        type: bool
        default: false
      bandwidth:
        description: At most so many megabits a second. 0 is no limit.
        type: int
        default: 0
      workers:
        description: How many pieces of a file are transferred at once.
        type: int
        default: 2
      host_slots:
        description: How many VMs of one ESXi host are read at once from this conversion host; others wait. 0 is no limit.
        type: int
        default: 8
      allocated_only:
        description: Whether only what changed block tracking knows to be in use is read, where a VM has it. Turn it off where its maps are not trusted.
        type: bool
        default: true
"""

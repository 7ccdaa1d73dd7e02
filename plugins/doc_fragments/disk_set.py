# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that name a VM's disks."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:  # written by make options
  source:
    description:
      - One V(.vmx), V(.vbox), V(.ova) or V(.ovf) file, or one or more disks of one VM in their order, as C(docs/sources.md) lists them.
      - Or one URL, as M(hyper2kvm.migration.vmdk_fetch) takes it.
      - It is only read. Where nothing is staged yet it is looked at through throw-away overlays, a source that is elsewhere where it is.
    type: list
    elements: str
  work_dir:
    description: The VM's work directory, as filled by M(hyper2kvm.migration.vmdk_fetch) and M(hyper2kvm.migration.disk_flatten).
    type: path
  accept:
    description: Codes of concerns that the operator accepts, of the guest and of a source that is elsewhere.
    type: list
    elements: str
    default: []
"""

    GUEST = r"""
options:  # written by make options
  disks:
    description: All disks of the VM in their order, where neither a source nor a work directory says which they are.
    type: list
    elements: dict
    suboptions:
      path:
        description: The image.
        type: path
        required: true
      format:
        description: Its format. Formats are never guessed.
        type: str
        required: true
        choices: [qcow2, raw, vmdk, vdi]
"""

    SYSTEM = r"""
options:  # written by make options
  firmware:
    description: What starts the guest. V(auto) takes what the source says, else what the partition tables show.
    type: str
    default: auto
    choices: [auto, bios, uefi]
  nics:
    description:
      - The network cards of the VM in their order, in place of what the source says. A disk alone says nothing of them, and a guest that knows its card
        only by the name that the kernel gave it keeps that name only if the card's MAC is known.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
    suboptions:
      mac:
        description: The card's MAC, which it keeps.
        type: str
        required: true
      network:
        description: The network it was on at the source.
        type: str
        default: ""
  luks_keys:
    description: Keys of encrypted devices, by the UUID of the LUKS header, or under V(all).
    type: dict
    default: {}
  root:
    description: The root file system, as a device or V(UUID=...), where the disks hold more than one system.
    type: str
    default: ""
    version_added: 0.2.0
"""

    LOOK = r"""
options:  # written by make options
  passphrase:
    description: Opens O(disks) that are encrypted, as M(hyper2kvm.migration.qemu_convert) makes them.
    type: str
    default: ""
    version_added: 0.2.0
"""

    FIX = r"""
options:  # written by make options
  fstab_mode:
    description: Which entries of fstab, crypttab and mount units get stable names; all unstable ones, only by-path ones, or none.
    type: str
    default: stabilize-all
    choices: [stabilize-all, bypath-only, noop]
  initramfs:
    description:
      - How the initramfs of each kernel gets the virtio drivers.
      - V(overlay) appends the guest's own virtio drivers to each initramfs. No program of the guest runs.
      - V(regenerate) runs the guest's own tool inside the appliance.
    type: str
    default: overlay
    choices: [overlay, regenerate, skip]
  agent_packages:
    description: Packages with the QEMU guest agent and what it depends on, or directories of such, on the host the module runs on. They are installed
      inside the appliance, without any network. Nothing happens where the agent is installed. Windows installs an C(.msi) at its first start, in place of
      that of the driver source.
    type: list
    elements: path
    default: []
    version_added: 0.2.0
  mac_map:
    description: New MACs by the old ones, for cards that do not keep theirs. Every profile that names an old one follows.
    type: dict
    default: {}
    version_added: 0.2.0
  pin:
    description:
      - What the names of a Linux guest's network cards go by, for targets that give a card another MAC than the source's.
      - V(mac) pins each name to its card's MAC. Profiles that match the MAC stay as they are.
      - V(mac_or_position) also gives a card with an unknown MAC the name of its position, unless another card has the MAC of that name. Profiles that
        match the card's MAC match its name instead.
      - V(auto) is V(mac_or_position) for a VM with one card, and V(mac) for one with several, which a target may put in another order.
    type: str
    default: auto
    choices: [auto, mac, mac_or_position]
    version_added: 0.2.0
  virtio_win:
    description:
      - The virtio drivers for Windows on the host that the module runs on, as the virtio-win ISO, a package of it (.rpm, .deb, .msi), or a directory with
        its content.
      - Without it C(/usr/share/virtio-win) is taken where the distribution's package installed it.
    type: path
    version_added: 0.2.0
  windows:
    description: What is chosen for Windows guests.
    type: dict
    default: {}
    version_added: 0.2.0
    suboptions:
      boot:
        description:
          - V(direct) starts the system disk on virtio at once.
          - V(two_phase) starts it on SATA (IDE before Vista) first, with a small virtio disk and the network card beside it, so that Windows installs
            their drivers, and on virtio after that has worked.
        type: str
        default: direct
        choices: [direct, two_phase]
      drivers:
        description: Which drivers are staged beside those for disks. All that the source has by default.
        type: list
        elements: str
        default: []
        choices: [netkvm, balloon, vioser, viorng, pvpanic, pvpanic-pci, fwcfg, viofs, viogpudo, qxl, qxldod, vioinput, viosock]
      additions:
        description: What the guest gets beside drivers, from the driver source's own folders. V(qemu_ga) is the QEMU guest agent and V(spice_agent) that
          of spice, both installed at the first start; V(balloon) is the service that tells how much memory is in use. Nothing happens where it is
          installed.
        type: list
        elements: str
        default: [qemu_ga, balloon]
        choices: [qemu_ga, balloon, spice_agent]
        version_added: 0.2.0
      timezone:
        description: The time zone, by the name that Windows has for it, such as C(W. Europe Standard Time). C(tzutil /l) lists them.
        type: str
        default: ""
        version_added: 0.2.0
      rdp:
        description: Whether Remote Desktop is on, and its port open in Windows' firewall.
        type: bool
        default: false
        version_added: 0.2.0
      winrm:
        description: Whether remote management (WinRM over HTTP, port 5985) is on, as C(winrm quickconfig) does it. From 7 and 2008 R2 on.
        type: bool
        default: false
        version_added: 0.2.0
      admin_password:
        description:
          - A new password of the built-in administrator, who is also enabled. Windows sets it at its first start, from a file that is deleted then.
          - ASCII without quotes, percent signs and backslashes, and neither / nor * at the start.
        type: str
        default: ""
        version_added: 0.2.0
      network:
        description: Settings of network cards by their MAC, in place of what the registry says.
        type: list
        elements: dict
        default: []
        suboptions:
          mac:
            description: The card's MAC on the target.
            type: str
            required: true
          addresses:
            description: Addresses of IPv4 and IPv6 as address/prefix. None means DHCP.
            type: list
            elements: str
            default: []
          gateway:
            description: The default gateway.
            type: str
            default: ""
          gateway6:
            description: The default gateway of IPv6.
            type: str
            default: ""
            version_added: 0.2.0
          dns:
            description: Name servers.
            type: list
            elements: str
            default: []
          suffix:
            description: The DNS suffix of the connection.
            type: str
            default: ""
      wrapper:
        description:
          - A program that runs a command as a service (C(rhsrvany.exe) or C(pvvxsvc.exe)), which then starts the first-boot work.
          - Without it the Setup command line does, which needs no program of a third party.
        type: path
requirements:
  - libguestfs with its Python bindings
  - hivex with its Python bindings, for Windows guests
  - qemu-img
  - python3-zstandard and python3-lz4 for guests whose initramfs is compressed so
"""

    OPTIONS = r"""
options:  # written by make options
  return_plan:
    description:
      - Whether the plan is returned too, without what is secret in the guest. Whoever keeps results, such as AWX, then keeps files of the guest.
      - Otherwise what is returned are its digest, a summary, and the file that it is kept in.
    type: bool
    default: false
    version_added: 0.2.0
  remove_tools:
    description:
      - The hypervisors whose guest tools leave the guest.
      - In Windows those of vmware and virtualbox are deleted at the first start, of the others what is known to be safe is disabled.
    type: list
    elements: str
    default: [vmware]
    choices: [vmware, hyperv, virtualbox, xen, parallels, nutanix, azure, aws]
    version_added: 0.2.0
  customize:
    description: What is to be changed beside the repair.
    type: dict
    default: {}
    version_added: 0.2.0
    suboptions:
      hostname:
        description: A new host name. In Windows its first label becomes the name of the computer, unless that is in a domain.
        type: str
        default: ""
      ssh_keys:
        description: Public SSH keys by user, one or a list, to be added to their authorized keys.
        type: dict
        default: {}
      firstboot_script:
        description: A script that systemd runs once, at the first boot. Without an interpreter line it is run by C(/bin/sh).
        type: str
        default: ""
      serial_console:
        description: Whether the guest gets a login on its first serial port.
        type: bool
        default: false
      selinux_relabel:
        description: Whether a guest with SELinux labels every file at its first boot. Files that are written get their labels without this.
        type: bool
        default: false
      cloud_init:
        description: A NoCloud seed and a drop-in configuration, for guests with cloud-init. Without it cloud-init is told to keep what it configured.
        type: dict
        default: {}
        suboptions:
          user_data:
            description: The seed's C(user-data).
            type: str
            default: ""
          meta_data:
            description: The seed's C(meta-data).
            type: str
            default: ""
          network_config:
            description: The seed's C(network-config).
            type: str
            default: ""
          drop_in:
            description: A file for C(/etc/cloud/cloud.cfg.d).
            type: str
            default: ""
"""

# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of the options that doc_fragments/disk_set.py documents, written by make options."""

from __future__ import annotations

from typing import Any

MAIN: dict[str, Any] = {
    "source": {"type": "list", "elements": "str"},
    "work_dir": {"type": "path"},
    "accept": {"type": "list", "elements": "str", "default": []},
}
GUEST: dict[str, Any] = {
    "disks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "path": {"type": "path", "required": True},
            "format": {"type": "str", "required": True, "choices": ["qcow2", "raw", "vmdk", "vdi"]},
        },
    }
}
SYSTEM: dict[str, Any] = {
    "firmware": {"type": "str", "default": "auto", "choices": ["auto", "bios", "uefi"]},
    "nics": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"mac": {"type": "str", "required": True}, "network": {"type": "str", "default": ""}},
    },
    "luks_keys": {"type": "dict", "default": {}, "no_log": True},
    "root": {"type": "str", "default": ""},
}
LOOK: dict[str, Any] = {"passphrase": {"type": "str", "default": "", "no_log": True}}
FIX: dict[str, Any] = {
    "fstab_mode": {"type": "str", "default": "stabilize-all", "choices": ["stabilize-all", "bypath-only", "noop"]},
    "initramfs": {"type": "str", "default": "overlay", "choices": ["overlay", "regenerate", "skip"]},
    "agent_packages": {"type": "list", "elements": "path", "default": []},
    "mac_map": {"type": "dict", "default": {}},
    "pin": {"type": "str", "default": "auto", "choices": ["auto", "mac", "mac_or_position"]},
    "virtio_win": {"type": "path"},
    "windows": {
        "type": "dict",
        "default": {},
        "options": {
            "boot": {"type": "str", "default": "direct", "choices": ["direct", "two_phase"]},
            "drivers": {
                "type": "list",
                "elements": "str",
                "default": [],
                "choices": [
                    "netkvm",
                    "balloon",
                    "vioser",
                    "viorng",
                    "pvpanic",
                    "pvpanic-pci",
                    "fwcfg",
                    "viofs",
                    "viogpudo",
                    "qxl",
                    "qxldod",
                    "vioinput",
                    "viosock",
                ],
            },
            "additions": {
                "type": "list",
                "elements": "str",
                "default": ["qemu_ga", "balloon"],
                "choices": ["qemu_ga", "balloon", "spice_agent"],
            },
            "timezone": {"type": "str", "default": ""},
            "rdp": {"type": "bool", "default": False},
            "winrm": {"type": "bool", "default": False},
            "admin_password": {"type": "str", "default": "", "no_log": True},
            "network": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "mac": {"type": "str", "required": True},
                    "addresses": {"type": "list", "elements": "str", "default": []},
                    "gateway": {"type": "str", "default": ""},
                    "gateway6": {"type": "str", "default": ""},
                    "dns": {"type": "list", "elements": "str", "default": []},
                    "suffix": {"type": "str", "default": ""},
                },
            },
            "wrapper": {"type": "path"},
        },
    },
}
OPTIONS: dict[str, Any] = {
    "return_plan": {"type": "bool", "default": False},
    "remove_tools": {
        "type": "list",
        "elements": "str",
        "default": ["vmware"],
        "choices": ["vmware", "hyperv", "virtualbox", "xen", "parallels", "nutanix", "azure", "aws"],
    },
    "customize": {
        "type": "dict",
        "default": {},
        "options": {
            "hostname": {"type": "str", "default": ""},
            "ssh_keys": {"type": "dict", "default": {}, "no_log": False},
            "firstboot_script": {"type": "str", "default": "", "no_log": True},
            "serial_console": {"type": "bool", "default": False},
            "selinux_relabel": {"type": "bool", "default": False},
            "cloud_init": {
                "type": "dict",
                "default": {},
                "no_log": True,
                "options": {
                    "user_data": {"type": "str", "default": ""},
                    "meta_data": {"type": "str", "default": ""},
                    "network_config": {"type": "str", "default": ""},
                    "drop_in": {"type": "str", "default": ""},
                },
            },
        },
    },
}

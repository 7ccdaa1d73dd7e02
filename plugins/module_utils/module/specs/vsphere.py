# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of the options that doc_fragments/vsphere.py documents, written by make options."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

SOURCE: dict[str, Any] = {
    "access": {
        "type": "dict",
        "default": {},
        "apply_defaults": True,
        "options": {
            "vsphere": {
                "type": "dict",
                "options": {
                    "username": {"type": "str", "fallback": (env_fallback, ["VMWARE_USER"])},
                    "password": {"type": "str", "fallback": (env_fallback, ["VMWARE_PASSWORD"]), "no_log": True},
                    "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["VMWARE_VALIDATE_CERTS"])},
                    "ca_file": {"type": "path"},
                    "thumbprint": {"type": "str"},
                    "proxy_host": {"type": "str", "fallback": (env_fallback, ["VMWARE_PROXY_HOST"])},
                    "proxy_port": {"type": "int", "fallback": (env_fallback, ["VMWARE_PROXY_PORT"])},
                },
            },
            "ssh": {
                "type": "dict",
                "options": {
                    "host": {"type": "str"},
                    "user": {"type": "str", "default": "root"},
                    "port": {"type": "int", "default": 22},
                    "key_file": {"type": "path", "no_log": False},
                    "known_hosts": {"type": "path"},
                    "password": {"type": "str", "no_log": True},
                },
            },
            "vddk": {
                "type": "dict",
                "options": {
                    "libdir": {"type": "path", "default": "/opt/vmware-vix-disklib-distrib"},
                    "plugin": {"type": "str", "default": "vddk"},
                    "transports": {"type": "str", "default": ""},
                    "compression": {"type": "str", "default": "", "choices": ["", "none", "zlib", "fastlz", "skipz"]},
                },
            },
            "transport": {"type": "str", "default": "auto", "choices": ["auto", "datastore", "govc", "nfc", "ovftool", "ssh", "vddk"]},
            "running": {"type": "str", "default": "refuse", "choices": ["refuse", "snapshot", "shutdown"]},
            "quiesce": {"type": "bool", "default": False},
            "shutdown_timeout": {"type": "int", "default": 600},
            "power_off": {"type": "bool", "default": False},
            "bandwidth": {"type": "int", "default": 0},
            "workers": {"type": "int", "default": 2},
            "host_slots": {"type": "int", "default": 8},
            "allocated_only": {"type": "bool", "default": True},
        },
    }
}
MAIN: dict[str, Any] = {
    "hostname": {"type": "str", "fallback": (env_fallback, ["VMWARE_HOST"])},
    "username": {"type": "str", "fallback": (env_fallback, ["VMWARE_USER"])},
    "password": {"type": "str", "fallback": (env_fallback, ["VMWARE_PASSWORD"]), "no_log": True},
    "port": {"type": "int", "default": 443, "fallback": (env_fallback, ["VMWARE_PORT"])},
    "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["VMWARE_VALIDATE_CERTS"])},
    "ca_file": {"type": "path"},
    "thumbprint": {"type": "str"},
    "proxy_host": {"type": "str", "fallback": (env_fallback, ["VMWARE_PROXY_HOST"])},
    "proxy_port": {"type": "int", "fallback": (env_fallback, ["VMWARE_PROXY_PORT"])},
}
VM: dict[str, Any] = {"vm": {"type": "str", "required": True}}

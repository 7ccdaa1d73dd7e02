# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud-init: what it configured once stays; or, when the operator says so, a NoCloud seed configures it anew.

A data source that is gone makes cloud-init believe in a new instance: it writes DHCP over the network, makes new host keys and
resets users. Source: cloud-init's documentation of instance-id, manual_cache_clean, network configuration and NoCloud.
"""

from __future__ import annotations

from typing import Mapping

from ..guest.change import Change
from ..guest.changes.write import WriteFile, edit
from ..guest.protocol import Guest, exists, text

PIN = "/etc/cloud/cloud.cfg.d/99-hyper2kvm.cfg"
SEED = "/var/lib/cloud/seed/nocloud"
FILES = {"user_data": "user-data", "meta_data": "meta-data", "network_config": "network-config"}
_KEPT = (
    "# The data source of the old hypervisor is gone; what it configured stays.\nnetwork: {config: disabled}\nmanual_cache_clean: true\n"
)
_SEEDED = "datasource_list: [NoCloud, None]\n"


def installed(guest: Guest) -> bool:
    return exists(guest, "/etc/cloud/cloud.cfg")


def plan(guest: Guest, seed: Mapping[str, str], drop_in: str) -> list[Change]:
    """Changes that pin an installed cloud-init to what it did, or give it a seed and a drop-in configuration."""
    if not installed(guest):
        return []
    changes: list[Change] = []
    if seed:
        values = {"meta_data": "instance-id: hyper2kvm\n", **seed}
        for key, name in FILES.items():
            if key in values:
                path = f"{SEED}/{name}"
                before = text(guest, path)
                if before != values[key]:
                    changes.append(WriteFile(path, before, values[key], "the operator's seed", 0o600, secret=True))
        changes += edit(PIN, text(guest, PIN), _SEEDED, "cloud-init reads the operator's seed")
    elif not exists(guest, SEED):
        changes += edit(PIN, text(guest, PIN), _KEPT, "cloud-init keeps what it configured")
    if drop_in:
        path = "/etc/cloud/cloud.cfg.d/98-hyper2kvm-operator.cfg"
        changes += edit(path, text(guest, path), drop_in, "the operator's drop-in", secret=True)
    return changes

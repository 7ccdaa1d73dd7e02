#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrate one VM of vSphere from plain Python, without Ansible: connect, list, plan, fetch, fix, convert, boot.

    VMWARE_USER=... VMWARE_PASSWORD=... python3 examples/library.py vsphere://vcenter.example.com/DC1/vm/web01 /var/lib/libvirt/images/web01

The directory that holds ansible_collections must be on PYTHONPATH. VMWARE_CA_FILE names an authority beside the system's.
"""

from __future__ import annotations

import os
import sys

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import BootRequest, Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.runner import boot
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Identity
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.tls import Trust
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import convert, staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import families, fetch, repair, sources
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import connection, inventory, readiness


def main(url: str, directory: str) -> str:
    access = Access(os.environ["VMWARE_USER"], os.environ["VMWARE_PASSWORD"], Trust(ca_file=os.environ.get("VMWARE_CA_FILE", "")))
    work_dir, progress = os.path.join(directory, ".work"), Silent()

    host, port, dummy, dummy_query = inventory.parse_url(url)
    with connection.session(connection.Endpoint(host, access.user, access.password, port, access.trust)) as session:
        for vm in inventory.vms(session):
            print(f"{vm.path}: {vm.power}, {vm.size >> 20} MiB, {[concern.code for concern in readiness.concerns(vm)]}")

    with sources.opened([url], access, check=True) as planned:
        print("plan:", planned.transport, [disk.virtual_size for disk in planned.sizes()])

    which, options = sources.identified([url], access), {"source": [url]}
    description, dummy = fetch.fetch([url], access, work_dir, options, progress, check=False, stay=False, expected=which)
    overlays = staging.flatten(description, work_dir, ())
    report = repair.fix(families.guest_request(description, overlays), progress)
    for change in report.plan.summary():
        print("fixed:", change["path"], "-", change["reason"])

    disks = []
    for number, overlay in enumerate(overlays):
        dest = os.path.join(directory, f"{description['name']}-disk{number}.qcow2")
        request = convert.Request(overlay.overlay, "qcow2", dest)
        disks.append((convert.convert(request, (Identity.of(overlay.overlay),), progress)["path"], "qcow2"))

    facts = report.facts
    cards = tuple(Nic(nic["mac"]) for nic in description["nics"])
    outcome = boot(BootRequest(tuple(disks), facts.firmware, cards, facts.boot_disk), progress)
    print("boot:", outcome.verdict, dict(outcome.signals))
    return outcome.verdict


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]) != "passed")
    except MigrationError as error:
        sys.exit(f"{error.msg}\n{error.hint}")

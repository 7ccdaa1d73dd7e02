#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrate one VM of vSphere from plain Python, without Ansible: connect, list, plan, fetch, fix, convert, describe, boot, report.

    VMWARE_USER=... VMWARE_PASSWORD=... python3 examples/library.py vsphere://vcenter.example.com/DC1/vm/web01 /var/lib/libvirt/images/web01

The directory that holds ansible_collections must be on PYTHONPATH (docs/library.md). VMWARE_CA_FILE names an authority beside the system's.
A second run does only what is left to do.
"""

from __future__ import annotations

import os
import sys

try:
    from ansible_collections.hyper2kvm.migration.plugins.module_utils import api
except ModuleNotFoundError as error:
    sys.exit(f"{error}.\nPut the directory that holds ansible_collections on PYTHONPATH; after 'make setup' that is .venv/collections of the checkout.")

USAGE = __doc__.splitlines()[2].strip()


def look_around(url: str, access: api.Access) -> None:
    """What vSphere has, and what would stand in the way of a migration."""
    host, port, dummy, dummy_query = api.parse_vsphere_url(url)
    with api.vsphere_session(api.VsphereEndpoint(host, access.user, access.password, port, access.trust)) as session:
        for vm in api.vsphere_vms(session):
            print(f"{vm.path}: {vm.power}, {vm.size >> 20} MiB, {[concern.code for concern in api.vsphere_concerns(vm)]}")
    with api.opened([url], access, check=True) as planned:
        print("plan:", planned.transport, [disk.virtual_size for disk in planned.sizes()])


def migrate(subject: api.Subject, directory: str) -> str:
    """All stages, one after the other; gives the verdict of the boot test."""
    run = api.Run(warn=lambda text: print("warning:", text))
    fetched = api.carry_out(api.Fetch(api.FetchOptions(subject.source, subject.work_dir, subject.access)), run)
    name = fetched["vm"]["name"]
    for change in api.carry_out(api.Fix(api.FixOptions(subject)), run)["changes"]:
        print("fixed:", change["path"], "-", change["reason"])
    api.carry_out(api.Convert(api.ConvertOptions(subject, name, directory)), run)
    api.carry_out(api.Describe(api.DescribeOptions(name, directory, subject)), run)
    tested = api.carry_out(api.BootTest(api.BootTestOptions(directory, subject, of_records=True)), run)
    boot = tested.get("boot") or {"verdict": "not run", "signals": tested.get("skip_reason")}
    print("boot:", boot["verdict"], boot["signals"])
    print(api.carry_out(api.Report(api.ReportOptions(directory, subject, name=name)), run)["report"])
    return str(boot["verdict"])


def main(arguments: list[str]) -> str:
    """What sys.exit takes: nothing where the VM has booted, else what is wrong."""
    if len(arguments) != 2:
        return f"usage: {USAGE}"
    url, directory = arguments[0], os.path.abspath(arguments[1])
    trust = api.Trust(ca_file=os.environ.get("VMWARE_CA_FILE", ""))
    access = api.Access(os.environ.get("VMWARE_USER", ""), os.environ.get("VMWARE_PASSWORD", ""), trust)
    try:
        look_around(url, access)
        verdict = migrate(api.Subject(os.path.join(directory, ".work"), (url,), access), directory)
    except api.MigrationError as error:
        return f"{error.msg}\n{error.hint}"
    except OSError as error:  # what the system refuses stays one
        return str(error)
    return "" if verdict == "passed" else f"The boot test: {verdict}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) or 0)

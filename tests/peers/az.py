# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the Azure CLI: VMs and disks from a file of the test, whose snapshots are page blobs of a real blob service (Azurite).

AZ_STATE names the file. Answers have the shape of az 2.6x. What a snapshot is read by is a shared access signature under a stored policy, which ends
when access is revoked.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone

MIB = 1 << 20


class Refused(Exception):
    """What the program says when it fails."""


def parsed() -> tuple[list[str], argparse.Namespace]:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs=2)
    for name in ("subscription", "resource-group", "name", "ids", "location", "source", "incremental", "tags", "access-level", "output"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--duration-in-seconds", type=int)
    for name in ("show-details", "only-show-errors"):
        parser.add_argument(f"--{name}", action="store_true")
    given = parser.parse_args()
    return given.words, given


def upload(container, path: str) -> None:
    """A disk as Azure keeps it: a fixed VHD, of which only what was written is there."""
    with tempfile.TemporaryDirectory() as scratch:
        vhd = f"{scratch}/disk.vhd"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", path, vhd], check=True)
        size = os.path.getsize(vhd)
        blob = container.get_blob_client("abcd")
        blob.create_page_blob(size)
        with open(vhd, "rb") as file:
            for offset in range(0, size, 4 * MIB):
                data = file.read(4 * MIB)
                if data.strip(b"\0"):
                    blob.upload_page(data, offset=offset, length=len(data))


def answer(state: dict, words: list[str], given: argparse.Namespace) -> object:
    snapshots = state["snapshots"]
    if state.get("logged_out"):
        raise Refused("Please run 'az login' to setup account.")
    if words == ["vm", "list-sizes"]:
        return [{"name": "Standard_B2s", "numberOfCores": 2, "memoryInMB": 4096, "maxDataDiskCount": 4}]
    if words == ["disk", "show"]:
        return {key: value for key, value in state["disks"][given.ids].items() if key != "file"}
    if words[0] == "vm":
        vm = state["vms"].get(given.name)
        if vm is None or (given.subscription, given.resource_group) != (state["subscription"], state["group"]):
            raise Refused(
                f"(ResourceNotFound) The Resource 'Microsoft.Compute/virtualMachines/{given.name}' under resource group '{given.resource_group}' was not found."
            )
        if words[1] in ("stop", "start"):
            vm["powerState"] = {"stop": "VM stopped", "start": "VM running"}[words[1]]
            return None
        return vm
    if words == ["snapshot", "list"]:
        return list(snapshots.values())
    return of_a_snapshot(state, words, given)


def of_a_snapshot(state: dict, words: list[str], given: argparse.Namespace) -> object:
    """What needs the service; the others do not wait for its library."""
    from azure.core.exceptions import ResourceNotFoundError
    from azure.storage.blob import AccessPolicy, BlobServiceClient, ContainerSasPermissions, generate_blob_sas

    service = BlobServiceClient(state["blobs"], credential=state["key"], connection_verify=state["ca"])
    now, snapshots = datetime.now(timezone.utc), state["snapshots"]
    if words == ["snapshot", "create"]:
        if state.get("denied"):
            raise Refused(
                "(AuthorizationFailed) The client does not have authorization to perform action 'Microsoft.Compute/snapshots/write'."
            )
        container = service.create_container(given.name.lower())
        upload(container, state["disks"][given.source]["file"])
        key, dummy, value = given.tags.partition("=")
        snapshots[given.name] = {
            "name": given.name, "incremental": True, "timeCreated": now.isoformat(), "tags": {key: value}, "completionPercent": None,
            "creationData": {"createOption": "Copy", "sourceResourceId": given.source}, "provisioningState": "Succeeded",
        }  # fmt: skip
        return snapshots[given.name]
    if given.name not in snapshots:
        raise Refused(f"(ResourceNotFound) The Resource 'Microsoft.Compute/snapshots/{given.name}' was not found.")
    container = service.get_container_client(given.name.lower())
    if words == ["snapshot", "show"]:
        return snapshots[given.name]
    if words == ["snapshot", "grant-access"]:
        policy = AccessPolicy(
            ContainerSasPermissions(read=True), now + timedelta(seconds=given.duration_in_seconds), now - timedelta(minutes=5)
        )
        name = f"grant{len(state['calls'])}"
        container.set_container_access_policy({name: policy})
        sas = generate_blob_sas(service.account_name, container.container_name, "abcd", account_key=state["key"], policy_id=name)
        return {"accessSas": f"{container.url}/abcd?{sas}"}
    if words == ["snapshot", "revoke-access"]:
        with contextlib.suppress(ResourceNotFoundError):  # of what a test has noted as left behind there is no blob
            container.set_container_access_policy({})
        return None
    if words == ["snapshot", "delete"]:
        with contextlib.suppress(ResourceNotFoundError):
            container.delete_container()
        del snapshots[given.name]
        return None
    raise Refused(f"'{' '.join(words)}' is misspelled or not recognized by the system.")


def main() -> None:
    words, given = parsed()
    with open(os.environ["AZ_STATE"], "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        state["calls"].append(" ".join(words))
        try:
            print(json.dumps(answer(state, words, given)))
        except Refused as error:
            sys.exit(f"ERROR: {error}")
        finally:
            file.seek(0)
            file.truncate()
            json.dump(state, file)


if __name__ == "__main__":
    main()

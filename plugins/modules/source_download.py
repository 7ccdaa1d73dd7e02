#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's folder, brought as it is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_download
short_description: Bring the files of a VM's folder from a datastore or an ESXi host as they are
description:
  - For an archive, or for a look at logs and configuration. Nothing is converted, and nothing is done to the VM.
  - Files arrive in checked pieces; a run that broke off is gone on with. Beside each file lies its journal (C(.journal)), which the next run
    compares with the source.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  source:
    description: The VM as a URL, as M(hyper2kvm.migration.vmdk_fetch) takes it.
    type: str
    required: true
  dest:
    description: The directory for the files, created if it is missing. It remembers its VM, and files of another one never come into it.
    type: path
    required: true
  moved:
    description: Whether the VM may be that of O(dest) although it comes from another place.
    type: bool
    default: false
    version_added: 0.2.0
  include:
    description: Patterns of names that are wanted.
    type: list
    elements: str
    default: ["*"]
  exclude:
    description: Patterns of names that are not. Locks (C(*.lck)) and swap files (C(*.vswp)) never are.
    type: list
    elements: str
    default: []
  accept:
    description: Codes of concerns that do not stop the download. Of a VM that runs (V(vsphere.running)) only files that it does not hold can be read.
    type: list
    elements: str
    default: []
attributes:
  action:
    support: full
extends_documentation_fragment:
  - hyper2kvm.migration.vsphere.source
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
  - hyper2kvm.migration.attributes.action
"""

EXAMPLES = r"""
- name: Keep a VM as it is
  hyper2kvm.migration.source_download:
    source: vsphere://vcenter.example.com/DC1/vm/production/web01
    dest: /srv/archive/web01

- name: Look at the logs of a VM that runs
  hyper2kvm.migration.source_download:
    source: ssh://root@esx1.example.com/web01
    dest: /tmp/web01
    include: ["*.log"]
"""

RETURN = r"""
files:
  description: The files. In check mode names and sizes.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: The name., type: str}
    size: {description: The size in bytes., type: int}
    transferred: {description: The bytes that this run transferred., type: int}
    tree_sha256: {description: The digest of the digests of its pieces., type: str}
  sample: [{"name": "web01.vmx", "size": 2811, "transferred": 2811, "tree_sha256": "9f86d0..."}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import sink
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.access import access_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, run_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes, vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import download, places, sources
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.stage import belonging


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **vsphere.SOURCE,
        **attributes.MODE,
        **attributes.ACTION,
        "source": {"type": "str", "required": True},
        "dest": {"type": "path", "required": True},
        "moved": {"type": "bool", "default": False},
        "include": {"type": "list", "elements": "str", "default": ["*"]},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "accept": {"type": "list", "elements": "str", "default": []},
    }


def work(module: AnsibleModule) -> Result:
    params = module.params
    if params["probe"]:
        return {"changed": False, "pending": True}
    progress, mode, access = sink(params["progress_file"]), modes.parse(params["mode"]), access_of(params)
    vm = sources.of(params["source"]).identified(params["source"], access)
    places.require_one_of(params["dest"], vm, params["moved"])
    with belonging(run_of(module), places.folder(params["dest"]), vm, mode):
        changed, files = download.download(
            params["source"], access, params["dest"], params["include"], params["exclude"], progress, module.check_mode, mode
        )
    return {"changed": changed, "files": files}


def main() -> None:
    module = module_with_source(argument_spec())
    respawn_for(*sources.libraries_of([module.params["source"]]))
    run(module, work)


if __name__ == "__main__":
    main()

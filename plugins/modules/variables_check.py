# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of an action; see plugins/action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: variables_check
short_description: Refuse variables of the roles that mean nothing
description:
  - Fails for a variable that begins as those of a role do and is none of them, for a value that is none of the choices or of another type, for a code that
    no concern has, for a VM without a source, and for a VM's name in which nothing can be seen, with the nearest right name where there is one. All variables
    of the host are looked at, those of the command line too.
  - It says so in a sentence. What ansible-core says by itself of a wrong value comes with the role's whole specification.
  - Runs on the controller and connects to nothing. The roles and playbooks of this collection begin with it.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  roles:
    description: The roles whose variables are looked at. What the first cannot do without must be given.
    type: list
    elements: str
    default: [migrate]
  accept:
    description: The codes in C(migrate_accept).
    type: list
    elements: str
    default: []
  name:
    description: The VM's name. A path that is made of a name which cannot be that of a file is refused too.
    type: str
    default: ""
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
"""

EXAMPLES = r"""
- name: Check the variables
  hyper2kvm.migration.variables_check:
    accept: "{{ migrate_accept }}"
    name: "{{ migrate_name }}"
"""

RETURN = r"""#"""

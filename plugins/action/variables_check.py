# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the module of the same name, on the controller, where all variables of a host are known."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Optional

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.plugin_utils import variables

_PLACES = (
    "migrate_output_dir",
    "migrate_work_dir",
    "migrate_report_dir",
    "migrate_quarantine_dir",
    "migrate_download_dest",
    "libvirt_import_source",
    "libvirt_import_directory",
)


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        "roles": {"type": "list", "elements": "str", "default": ["migrate"]},
        "accept": {"type": "list", "elements": "str", "default": []},
        "name": {"type": "str", "default": ""},
    }


class ActionModule(ActionBase):
    """See DOCUMENTATION of the module."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result, task_vars = super().run(tmp, task_vars), task_vars or {}
        del tmp
        dummy, given = self.validate_argument_spec(argument_spec())
        try:
            wrong = [
                *variables.unknown(task_vars, given["roles"]),
                *(said for role in given["roles"][:1] for said in variables.missing(task_vars, role, task_vars["inventory_hostname"])),
                *variables.given_anyway(self._given(task_vars), given["roles"]),
                *(said for role in given["roles"] for said in variables.wrong_values(role, self._values(role, task_vars))),
                *(said for role in given["roles"] for said in variables.wrong_forms(self._values(role, task_vars))),
                *variables.wrong_codes(given["accept"]),
                *(variables.unsafe_places(given["name"], dict(self._places(task_vars))) if given["name"] else ()),
            ]
        except InvalidInput as error:
            wrong = [str(error)]
        return {**result, "changed": False, **({"failed": True, "msg": " ".join(wrong)} if wrong else {})}

    def _given(self, task_vars: Mapping[str, Any]) -> Iterable[str]:
        """The names of what was there before any role began; later there are results of the roles, too."""
        known: Mapping[str, Any] = task_vars["hostvars"].raw_get(task_vars["inventory_hostname"])
        return () if "variables_checked" in known else known

    def _places(self, task_vars: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        return ((variable, str(value)) for variable, value in self._known(_PLACES, task_vars))

    def _values(self, role: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._known(variables.options(role), task_vars))

    def _known(self, names: Iterable[str], task_vars: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name in names:
            try:
                yield name, self._templar.template(task_vars[name])
            except (KeyError, AnsibleError):  # not given, or hangs on what is not known yet
                continue

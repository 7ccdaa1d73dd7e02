# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of options: what is made of it is current, one entry reaches everything, and what modules and roles have is what it says."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.basic import env_fallback
from ansible.module_utils.testing import patch_module_args
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.customize import Customization
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import runtime
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.fields import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import vsphere
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.ssh import Login
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.vddk import Vddk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options as WindowsOptions

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.options import __main__ as script
from scripts.options import plugin_pages, role_pages, text
from scripts.options.table import Table, load

TABLE = load(ROOT / "options")
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "variables_check")
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
ONE_MORE = """\
disk_set.fix:
  one_more:
    description: One more.
    type: str
    default: usual
    choices: [usual, other]
    version_added: 0.2.0
    variables:
      migrate_one_more:
        description: One more for this VM.

"""


def made_of(table: Table) -> dict[str, str]:
    found = (*plugin_pages.pages(ROOT, table), *role_pages.pages(ROOT, table))
    return {str(path.relative_to(ROOT)): content for path, content in found}


def with_entry(tmp_path: Path, before: str, after: str, topic: str = "repair") -> Table:
    """The table with something of a topic replaced."""
    shutil.copytree(ROOT / "options", tmp_path / "options")
    path = tmp_path / "options" / f"{topic}.yml"
    content = path.read_text()
    assert content.count(before) == 1
    path.write_text(content.replace(before, after))
    return load(tmp_path / "options")


def test_what_is_made_of_the_table_is_current(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["options", "--check"])
    assert script.main() == 0, capsys.readouterr().err


def test_one_entry_reaches_every_place(tmp_path):
    before, after = made_of(TABLE), made_of(with_entry(tmp_path, "disk_set.fix:\n", ONE_MORE.rstrip("\n") + "\n"))
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {
        "plugins/doc_fragments/disk_set.py",
        "plugins/module_utils/module/specs/disk_set.py",
        "roles/migrate/meta/argument_specs.yml",
        "roles/migrate/defaults/main.yml",
        "roles/migrate/tasks/fix.yml",
        "roles/migrate/tasks/plan.yml",
    }
    for path in changed - {"plugins/doc_fragments/disk_set.py", "plugins/module_utils/module/specs/disk_set.py"}:
        assert "migrate_one_more" in after[path]
    specs = yaml.safe_load(after["roles/migrate/meta/argument_specs.yml"])["argument_specs"]
    said = {
        "description": "One more for this VM.",
        "type": "str",
        "default": "usual",
        "choices": ["usual", "other"],
        "version_added": "0.2.0",
    }
    assert all(entry["options"]["migrate_one_more"] == said for entry in specs.values())
    assert yaml.safe_load(after["roles/migrate/defaults/main.yml"])["migrate_one_more"] == "usual"
    (task,) = yaml.safe_load(after["roles/migrate/tasks/plan.yml"])[:1]
    assert task["hyper2kvm.migration.guest_plan"]["one_more"] == "{{ migrate_one_more }}"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    like: guest_fix.fixes\n", "    like: guest_fix.fixed\n", r"guest_fix\.fixed: the table has no such option"),
        ("    like: guest_fix.fixes\n", "    liked: guest_fix.fixes\n", r"guest_plan\.fixes: the table knows no liked"),
        (
            "        argument: migrate_sizes if migrate_grow else []\n",
            "        arguments: x\n",
            r"migrate_grow: the table knows no arguments",
        ),
    ],
)
def test_what_the_table_cannot_mean_is_refused(tmp_path, before, after, said):
    with pytest.raises(ValueError, match=said):
        with_entry(tmp_path, before, after)


def test_a_module_with_options_has_a_place_for_them(tmp_path):
    table = with_entry(tmp_path, "guest_inspect:\n", "windows_firstboot_info:\n  x: {type: str, description: X.}\nguest_inspect:\n")
    with pytest.raises(ValueError, match=r"windows_firstboot_info\.py: write the string DOCUMENTATION with a line `options:`"):
        made_of(table)


def test_a_module_imports_the_specs_that_it_takes():
    before = (ROOT / "plugins" / "modules" / "guest_plan.py").read_text()
    (line,) = (line for line in before.splitlines() if line.startswith(f"from {plugin_pages.SPECS} import "))
    assert line.endswith("import disk_set, vsphere")
    for without in (before.replace(f"{line}\n", ""), before.replace(line, line.replace("disk_set, ", "attributes, "))):
        assert plugin_pages._module(without, "guest_plan", TABLE, []) == before


class Asked(Exception):
    """What a module wants AnsibleModule to know."""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_takes_what_the_table_says(monkeypatch, name):
    def asked(argument_spec, **dummy):
        raise Asked(argument_spec)

    monkeypatch.setattr(runtime, "_discreet", lambda: asked)
    module = importlib.import_module(f"ansible_collections.hyper2kvm.migration.plugins.modules.{name}")
    with pytest.raises(Asked) as found:
        module.main()
    fragments = plugin_pages.extended((ROOT / "plugins" / "modules" / f"{name}.py").read_text())
    wanted = eval(repr(plugin_pages.spec(TABLE.of_module(name, fragments))), {"env_fallback": env_fallback})  # as the pages have it
    assert found.value.args[0] == wanted


def test_what_ansible_fills_in_for_one_module_is_not_there_for_the_next():
    with patch_module_args({}):
        assert runtime.module_for(vsphere.SOURCE).params["access"]["transport"] == "auto"
    assert vsphere.SOURCE["access"]["default"] == {}


@pytest.mark.parametrize("role", [role for role in ROLES if TABLE.of_role(role)])
def test_no_variable_of_a_role_is_without_use(role):
    files = [*(ROOT / "roles" / role).glob("[dtv]*/*"), *(ROOT / "playbooks").glob("**/*.yml")]
    used = "\n".join(re.sub(r"(?m)^\w+:", "", path.read_text()) for path in files if path.is_file())
    unused = [variable.name for variable in TABLE.of_role(role) if not re.search(rf"\b{variable.name}\b", used)]
    assert unused == []


FIELDS = [
    (Options, "disk_set.fix", {"initramfs_mode": "initramfs", "macs": "mac_map"}),
    (Options, "disk_set.options", {}),
    (Customization, "disk_set.options.customize", {}),
    (WindowsOptions, "disk_set.fix.windows", {}),
    (Access, "vsphere.source.access", {}),
    (Login, "vsphere.source.access.ssh", {}),
    (Vddk, "vsphere.source.access.vddk", {}),
]


@pytest.mark.parametrize(("kind", "place", "called"), FIELDS)
def test_a_field_has_the_default_of_its_option(kind, place, called):
    section = next(name for name in sorted(TABLE.sections, key=len, reverse=True) if f"{place}.".startswith(f"{name}."))
    options = TABLE.sections[section]
    for name in filter(None, place[len(section) :].split(".")):
        (options,) = (option.suboptions for option in options if option.name == name)
    known = {option.name: option.says for option in options if not option.suboptions}
    compared = 0
    for field in fields(kind):
        said = known.get(called.get(field.name, field.name))
        if said is None or "default" not in said:
            continue
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        assert (list(default) if isinstance(default, tuple) else default) == said["default"], field.name
        compared += 1
    assert compared


def test_an_option_reaches_the_field_of_its_name():
    login = made(Login, {"user": None, "port": 2222, "password": "", "unknown": 1}, host="esx1")
    assert login == Login("esx1", "root", 2222)
    assert made(Options, {"remove_tools": ["xen"], "fstab_mode": "noop"}, fixes=()) == Options((), "noop", remove_tools=("xen",))


TEXTS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=300)


@given(TEXTS)
def test_a_text_is_read_as_it_was_written(value):
    assert yaml.safe_load(text.block({"description": value, "default": [value, {"a": value}]})) == {
        "description": value,
        "default": [value, {"a": value}],
    }


def test_a_long_text_stands_in_lines_that_can_be_read():
    words = " ".join(["word"] * 100)
    written = text.block({"description": [words, "V(a): b"], "contains": {"os": {"description": "Which, or none.", "type": "str"}}})
    assert max(map(len, written.splitlines())) <= text.WIDTH
    assert '    - "V(a): b"\n'[2:] in written
    assert '  os: {description: "Which, or none.", type: str}\n' in written

# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module that opens a source or a guest goes on under an interpreter that has the libraries for it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import runtime

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
# What is an action alone documents itself in a module that has no code.
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py") if "def main(" in path.read_text())
# Options that are enough to get as far as the work.
VALUES = {
    "work_dir": "/nonexistent",
    "source": "SOURCE",
    "vm": "DC1/vm/web01",
    "name": "web01",
    "dest": "/nonexistent",
    "vms": [],
    "path": "/nonexistent",
    "id": "x",
}


class Respawned(Exception):
    pass


class Answered(Exception):
    pass


class Module:
    """Parameters as Ansible would give them, of the options that matter here."""

    check_mode = True
    _diff = False

    def __init__(self, argument_spec, **dummy):
        self.spec = argument_spec
        raise Made(self)

    def warn(self, text):
        pass


class Made(Exception):
    pass


def defaults(spec):
    return {
        name: defaults(option["options"])
        if option.get("apply_defaults")
        else option.get("default", [] if option["type"] == "list" else None)
        for name, option in spec.items()
    }


def main_of(name):
    return importlib.import_module(f"ansible_collections.hyper2kvm.migration.plugins.modules.{name}").main


def spec_of(name, monkeypatch) -> dict:
    with monkeypatch.context() as patched, pytest.raises(Made) as made:
        patched.setattr(runtime, "AnsibleModule", Module)
        main_of(name)()
    return made.value.args[0].spec


def libraries(name, monkeypatch, spec, params) -> set[str]:
    """What the module looks for when this interpreter has nothing."""

    class Given(Module):
        def __init__(self, argument_spec, **dummy):
            self.params = {**defaults(argument_spec), **params}
            self.no_log_values = set()

        def fail_json(self, **result):
            raise Answered(result)

        exit_json = fail_json

    asked = []

    def probe(dummy, wanted):
        asked.append(wanted)
        return "/python"

    def respawn(dummy):
        raise Respawned

    with monkeypatch.context() as patched:
        patched.setattr(runtime, "AnsibleModule", Given)
        patched.setattr(runtime, "_importable", lambda dummy: False)
        patched.setattr(runtime, "probe_interpreters_for_module", probe)
        patched.setattr(runtime, "respawn_module", respawn)
        try:
            main_of(name)()
        except (Respawned, Answered):
            pass
    return set(asked[0].split(", ")) if asked else set()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(("source", "library"), [("vsphere://vc/DC1/vm/web01", "pyVmomi"), ("aws://eu-central-1/i-1", "boto3")])
def test_a_module_that_opens_a_source(name, source, library, monkeypatch, tmp_path):
    spec = spec_of(name, monkeypatch)
    params = {key: value for key, value in VALUES.items() if key in spec}
    if "hostname" in spec:
        assert "pyVmomi" in libraries(name, monkeypatch, spec, params)
    if "access" not in spec:
        return
    if "source" in spec:
        params["source"] = [source] if spec["source"]["type"] == "list" else source
        assert library in libraries(name, monkeypatch, spec, params)
    if "work_dir" in spec and not spec.get("source", {}).get("required"):  # the source is what an earlier stage has noted
        Manifest("fetch", (), {"source": [source]}, (), {"name": "web01", "disks": []}).save(str(tmp_path / "fetch.json"))
        (tmp_path / "source-stopped.json").write_text(f'{{"source": "{source}"}}')
        params = {**params, "source": [], "work_dir": str(tmp_path)}
        assert library in libraries(name, monkeypatch, spec, params)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_that_looks_into_disks(name, monkeypatch):
    text = (PLUGINS / "modules" / f"{name}.py").read_text()
    if ("guest" in name and "live" not in name) or name in ("windows_firstboot_info", "windows_virtio_inject"):
        spec = spec_of(name, monkeypatch)
        params = {key: value for key, value in {**VALUES, "source": ["vsphere://vc/x"], "work_dir": "/nonexistent"}.items() if key in spec}
        found = libraries(name, monkeypatch, spec, params)
        assert "guestfs" in found and ("pyVmomi" in found or "source" not in spec)
    else:
        assert "guest_request" not in text and "single_fix" not in text and "report_on_guest" not in text


@pytest.mark.parametrize(("backend", "asked"), [("libvirt", {"libvirt"}), ("qemu", set())])
def test_a_boot_test_asks_for_libvirt_alone_where_that_starts_the_vm(backend, asked, monkeypatch):
    spec = spec_of("boot_test", monkeypatch)
    given = {"dest": "/nonexistent", "disks": [], "backend": backend, "description": "/nonexistent.xml"}
    assert libraries("boot_test", monkeypatch, spec, given) == asked


def test_one_interpreter_must_have_all_of_them(monkeypatch):
    has = {"/both": {"guestfs", "pyVmomi"}, "/one": {"guestfs"}}

    def probe(dummy, wanted):
        return next((path for path, libraries in has.items() if set(wanted.split(", ")) <= libraries), None)

    went = []
    monkeypatch.setattr(runtime, "_importable", lambda library: library != "pyVmomi")
    monkeypatch.setattr(runtime, "probe_interpreters_for_module", probe)
    monkeypatch.setattr(runtime, "respawn_module", went.append)
    runtime.respawn_for("guestfs", "pyVmomi")
    runtime.respawn_for("guestfs")
    assert went == ["/both"]
    del has["/both"]
    has["/other"] = {"pyVmomi"}
    runtime.respawn_for("guestfs", "pyVmomi")
    assert went == ["/both", "/other"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode refuses what the run refuses, for the same reason, and names no file that it did not write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from harness import module, sparse

MIB = 1 << 20
VM = {"name": "web01", "disks": [], "nics": [], "firmware": "bios", "memory": 512, "cpus": 1}


def steps(source: Path, dest: Path) -> dict[str, tuple[str, dict]]:
    """Modules that write, told to write to `dest`."""
    made = {"path": str(source), "format": "raw"}
    facts = {"firmware": "bios"}
    return {
        "fetch": ("vmdk_fetch", {"source": [str(source)], "work_dir": str(dest)}),
        "results of a fetch": (
            "vmdk_fetch",
            {"source": [str(source)], "work_dir": str(source.parent / "w"), "name": "web01", "dest": str(dest)},
        ),
        "report of a fetch": (
            "vmdk_fetch",
            {"source": [str(source)], "work_dir": str(source.parent / "w"), "name": "web01", "report_dir": str(dest)},
        ),
        "report": ("migration_report", {"dest": str(dest), "vm": VM}),
        "boot": ("boot_test", {"dest": str(dest), "disks": [made]}),
        "describe": ("domain_describe", {"dest": str(dest), "name": "web01", "vm": VM, "facts": facts, "disks": [made]}),
        "readiness": ("vsphere_readiness_report", {"vms": [], "dest": str(dest)}),
    }


PLACES = {"a file": "file", "below a file": "file/web01", "a circle of links": "loop", "a name of 300 characters": "n" * 300}


@pytest.fixture
def source(tmp_path) -> Path:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    return sparse(tmp_path / "web01.raw", 8 * MIB, MIB)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("step", ["fetch", "results of a fetch", "report of a fetch", "report", "boot", "describe", "readiness"])
def test_what_cannot_be_written_to(source, tmp_path, step, place):
    name, arguments = steps(source, tmp_path / PLACES[place])[step]
    ahead, really = module(name, check=True, **arguments), module(name, **arguments)
    assert ahead["failed"] and really["failed"] and ahead["error_code"] == really["error_code"] == "invalid_input"
    assert ahead["hint"] and "does not say" not in ahead["msg"] and PLACES[place].split("/")[0][:20] in ahead["msg"]


CARDS = {
    "a group's MAC": ({"nics": [{"mac": "01:00:5e:00:00:01"}]}, "01:00:5e:00:00:01 is not the MAC address of a card"),
    "zeros": ({"nics": [{"mac": "000000000000"}]}, "00:00:00:00:00:00 is not the MAC address of a card"),
    "one MAC twice": (
        {"nics": [{"mac": "52:54:00:00:00:01"}, {"mac": "52-54-00-00-00-01"}]},
        "52:54:00:00:00:01 is the MAC address of two",
    ),
    "two names": (
        {"nics": [{"mac": "52:54:00:00:00:01"}], "cards": [{"mac": "52:54:00:00:00:02"}]},
        "nics and cards are names of one option",
    ),
}


@pytest.mark.parametrize("name", CARDS)
def test_cards_that_no_vm_has(source, tmp_path, name):
    nics, said = CARDS[name]
    arguments = {"dest": str(tmp_path / "out"), "disks": [{"path": str(source), "format": "raw"}], **nics}
    ahead, really = module("boot_test", check=True, **arguments), module("boot_test", **arguments)
    assert ahead["failed"] and really["failed"] and ahead["error_code"] == really["error_code"] == "invalid_input"
    assert said in ahead["msg"] and ahead["msg"] == really["msg"] and ahead["hint"]


def test_an_option_s_other_name_is_taken(source, tmp_path):
    nics = {"cards": [{"mac": "52:54:00:00:00:02"}]}
    answer = module("boot_test", check=True, dest=str(tmp_path / "out"), disks=[{"path": str(source), "format": "raw"}], **nics)
    assert answer["boot"]["verdict"] == "not run", answer


def test_convert_refuses_ahead_what_it_would_refuse(source, tmp_path):
    work = str(tmp_path / "work")
    assert module("vmdk_fetch", source=[str(source)], work_dir=work)["changed"]
    assert module("disk_flatten", work_dir=work)["changed"]
    for dest in (tmp_path / "file", tmp_path / "loop"):
        arguments = {"work_dir": work, "name": "web01", "dest": str(dest)}
        ahead, really = module("qemu_convert", check=True, **arguments), module("qemu_convert", **arguments)
        assert ahead["failed"] and ahead["error_code"] == really["error_code"] and str(dest) in ahead["msg"]
    arguments = {"work_dir": work, "name": "web01", "dest": str(tmp_path / "out")}
    assert module("qemu_convert", check=True, **arguments)["changed"] and not (tmp_path / "out").exists()


def test_a_full_output_file_system_is_met_ahead(source, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", small], check=True)
    try:
        dest = {"source": [str(source)], "work_dir": str(tmp_path / "work"), "name": "web01", "dest": str(small / "web01")}
        refused = module("qemu_convert", check=True, **dest)
        assert refused["error_code"] == "not_enough_space" and str(small) in refused["msg"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_report_is_named_only_where_there_is_one(source, tmp_path):
    arguments = {"dest": str(tmp_path / "out"), "vm": VM}
    ahead = module("migration_report", check=True, **arguments)
    assert ahead["changed"] and "report" not in ahead and not (tmp_path / "out").exists()
    assert Path(module("migration_report", **arguments)["report"]).exists()
    again = module("migration_report", check=True, **arguments)
    assert not again["changed"] and Path(again["report"]).exists()
    ready = module("vsphere_readiness_report", check=True, vms=[], dest=str(tmp_path / "ready"))
    assert ready["changed"] and "report" not in ready and not (tmp_path / "ready").exists()


def test_a_description_is_named_only_where_there_is_one(source, tmp_path):
    arguments = {"dest": str(tmp_path / "out"), "name": "web01", "vm": VM, "disks": [{"path": str(source), "format": "raw"}]}
    for more in ({"formats": ["qemu", "proxmox"]}, {"phase": "bootstrap"}):
        ahead, really = (module("domain_describe", check=check, **arguments, **more) for check in (True, False))
        assert ahead["changed"] and (ahead["files"], ahead["side_disk"], "path" in ahead) == ([], "", False)
        assert all(Path(path).exists() for path in (really["path"], *really["files"], *filter(None, [really["side_disk"]])))
        again = module("domain_describe", check=True, **arguments, **more)
        assert not again["changed"] and {name: again[name] for name in ("path", "files", "side_disk")} == {
            name: really[name] for name in ("path", "files", "side_disk")
        }
    Path(really["side_disk"]).unlink()
    (tmp_path / "out" / "web01.xml").write_text("of another hand")
    stale = module("domain_describe", check=True, **arguments, formats=["qemu", "proxmox"])
    assert stale["changed"] and "path" not in stale and len(stale["files"]) == 2
    assert module("domain_describe", check=True, **arguments, phase="bootstrap")["side_disk"] == ""


def test_what_was_dropped_is_not_said_to_be_where_it_would_be_put(source, tmp_path):
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.raw").write_bytes(source.read_bytes())
    item = module("drop_folder", path=str(tmp_path / "drop"), settle=0)["vms"][0]
    ahead, really, again = (
        module("drop_folder", check=check, path=str(tmp_path / "drop"), item=item, state="processed") for check in (True, False, True)
    )
    assert ahead["changed"] and "directory" not in ahead and Path(really["directory"]).is_dir()
    assert not again["changed"] and again["directory"] == really["directory"]

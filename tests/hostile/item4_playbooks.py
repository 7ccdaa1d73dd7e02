# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories and variables that mean something else than their author thought: said at the start, or the right VM with the right disk."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from case import REFUSED, ROOT, USED, WRONG, Case, Outcome, Place, tiny

MISSPELT = {
    "an option": {"migrate_output_directory": "/x"}, "a letter": {"migrate_compresion": "zstd"}, "an underscore": {"migrate_outputdir": "/x"},
    "a plural": {"migrate_output_formats": "raw"}, "a prefix": {"migrate_migrate_name": "x"}, "capitals": {"migrate_Name": "x"},
    "an accepted code": {"migrate_accept": ["source.buzy"]}, "accepted codes as text": {"migrate_accept": "source.busy,nothing"},
    "a list for a text": {"migrate_output_dir": ["/x"]}, "a text for a number": {"migrate_boot_timeout": "soon"},
    "a dictionary for a list": {"migrate_nics": {"mac": "00:50:56:00:00:01"}}, "a leaf of a list": {"migrate_nics": [{"mak": "00:50:56:00:00:01"}]},
    "a leaf's type": {"migrate_nics": [7]}, "a choice": {"migrate_output_format": "qcow3"}, "a superscript": {"migrate_boot_timeout": "\u00b2"},
    "a size that is none": {"migrate_resize": "+1X"}, "a negative size": {"migrate_resize": "-1G"}, "a stage that is none": {"migrate_fetch": "copy"},
    "a result": {"migrate_converted": {"disks": []}}, "what the role works out": {"migrate_customize": {"hostname": "x"}},
    "who it is": {"migrate_known": True}, "that it failed": {"migrate_failed": "x"}, "its sizes": {"migrate_sizes": ["+1G"]},
    "a mode that is none": {"migrate_mode": "0999"}, "a mode for all": {"migrate_mode": "0777"},
}  # fmt: skip
HOSTS = {
    "all": "all", "comma": "a,b", "not": "!web01", "and": "&web01", "range": "web[1:3]", "wildcard": "web*", "regular expression": "~web.*", "option": "-rf",
    "spaces": "web 01", "template": "{{ 7*7 }}", "dots": "..", "colon": "a:b", "localhost": "localhost", "the group's name": "vms", "a number": "1",
    "a conversion host": "conv01",
}  # fmt: skip


def played(hosts: Callable[[Place, Path], dict], expect: Callable[[Place, str], str] = lambda place, out: ""):
    """FETCH and FLATTEN of what an inventory says."""

    def run(place: Place) -> Outcome:
        import harness

        path, dummy = tiny(place)
        inventory = place.work / "hosts.json"
        inventory.write_text(json.dumps(hosts(place, path)))
        done = subprocess.run(
            harness.playbook_command("migrate", inventory, "--tags", "fetch,flatten"), cwd=place.work, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        )  # fmt: skip
        if any(word in done.stdout for word in ("Traceback", "template error", "Unexpected Exception")):
            return Outcome(WRONG, done.stdout[-1500:])
        found = sorted(str(one.relative_to(place.work)) for one in place.work.rglob("fetch.json"))
        if done.returncode != 0:
            failed = [line for line in done.stdout.splitlines() if "FAILED!" in line or line.startswith(("fatal", "ERROR", "[ERROR"))]
            return Outcome(REFUSED if failed and not found else WRONG, f"{found} {failed}"[:600])
        wrong = expect(place, done.stdout)
        return Outcome(WRONG, wrong) if wrong else Outcome(USED if found else WRONG, f"{found}")

    return run


def with_variables(more: dict) -> Callable[[Place, Path], dict]:
    return lambda place, path: {
        "vms": {"hosts": {"web01": {"migrate_source": str(path), "migrate_output_dir": str(place.work / "out"), **more}}}
    }


def with_hosts(name: str) -> Callable[[Place, Path], dict]:
    """A VM of this name beside a plain one, and a conversion host."""

    def made(place: Path, path: Path) -> dict:
        (place.inputs / "other.raw").write_bytes(path.read_bytes())
        one = {"migrate_source": str(path), "migrate_output_dir": str(place.work / "out")}
        two = {**one, "migrate_source": str(place.inputs / "other.raw")}
        return {
            "vms": {"hosts": {name: one, "plain": two}},
            "conversion_hosts": {"hosts": {"conv01": {"ansible_connection": "local"}}},
        }

    return made


def all_of(count: int) -> Callable[[Place, str], str]:
    def expect(place: Place, out: str) -> str:
        found = [path for path in (place.work / "out").glob("*") if path.is_dir()]
        return "" if len(found) == count else f"of {count} VMs {[path.name for path in found]} arrived"

    return expect


def a_worker(place: Place, out: str) -> str:
    """One that works for others is no VM, which is said where it has a source."""
    return all_of(1)(place, out) or (
        "" if "conv01 does the work for other hosts" in " ".join(out.split()) else "it was left out in silence"
    )


def called_here(place: Place, out: str) -> str:
    """A relative path means the directory where the user called."""
    return "" if (place.work / "out" / "web01").is_dir() else "it went elsewhere"


def cases() -> Iterator[Case]:
    for name, more in MISSPELT.items():
        # Sizes are looked at by the stage that uses them, which does not run here.
        expect = (REFUSED, USED) if "size" in name else (REFUSED,)
        yield Case(f"variable: {name}", "a variable that is none", played(with_variables(more)), seconds=300, expect=expect)
    for name, host in HOSTS.items():
        yield Case(
            f"host: {name}",
            "a host's name",
            played(with_hosts(host), a_worker if name == "a conversion host" else all_of(4 if name == "range" else 2)),
            seconds=300,
            expect=(USED, REFUSED),
        )
    paths = {
        "a relative output directory": played(with_variables({"migrate_output_dir": "out"}), called_here),
        "a relative source": played(with_variables({"migrate_source": "../in/disk.raw"})),
        "a relative source that is not there": played(with_variables({"migrate_source": "disk.raw"})),
        "no source": played(with_variables({"migrate_source": ""})),
    }
    for name, run in paths.items():
        yield Case(name, "a path", run, seconds=300, expect=(REFUSED, USED))

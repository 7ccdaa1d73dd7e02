# SPDX-License-Identifier: GPL-3.0-or-later
"""The laws of stages, which each of them is held to: who is new here has a line in CASES."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import pkgutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Iterator

import pytest
from fixtures import facts, guest

from ansible_collections.hyper2kvm.migration.plugins.module_utils import pipeline
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import BootOutcome, Check
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import memory
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy, InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import staging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.nics import named
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options as LinuxOptions
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import (
    boot_test,
    convert,
    describe,
    fetch,
    fix,
    flatten,
    reporting,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.engines import Engine
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.fix import options_digest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import GuestReport
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.stage import Plain, Run, Stage, carry_out
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.subject import Subject
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access

MINE = Run(by=memory.Run.of(os.getpid()))


def subject(place: Path) -> Subject:
    return Subject(str(place / "out" / ".work"), (str(place / "a.raw"),))


def source(place: Path) -> None:
    (place / "a.raw").write_bytes(b"\x33" * 512 + bytes(1 << 20))


def fetching(place: Path) -> Stage:
    of = subject(place)
    return fetch.Fetch(fetch.FetchOptions(of.source, of.work_dir, name="a", dest=str(place / "out"), report_dir=str(place / "out")))


def flattening(place: Path) -> Stage:
    return flatten.Flatten(flatten.FlattenOptions(subject(place)))


def copying(place: Path) -> Stage:
    return flatten.Flatten(flatten.FlattenOptions(subject(place), str(place / "copies"), "raw"))


def converting(place: Path) -> Stage:
    return convert.Convert(convert.ConvertOptions(subject(place), "a", str(place / "results")))


def fixing(place: Path) -> Stage:
    return fix.Fix(fix.FixOptions(subject(place)))


def describing(place: Path) -> Stage:
    return describe.Describe(describe.DescribeOptions("a", str(place / "results"), subject(place), formats=("kubevirt",)))


def booting(place: Path) -> Stage:
    request = boot_test.BootRequest((), nics=(boot_test.BootNic("00:50:56:00:00:01"),))
    return boot_test.BootTest(boot_test.BootTestOptions(str(place / "results"), subject(place), request, of_records=True))


def reported(place: Path) -> Stage:
    return reporting.Report(reporting.ReportOptions(str(place / "results"), subject(place), name="a"))


@dataclass(frozen=True)
class Case:
    """A stage, those before it, and what does its work, which can be made to fail."""

    made: Callable[[Path], Stage]
    before: tuple[str, ...]
    works: tuple[object, str]


CASES = {
    "fetch": Case(fetching, (), (staging, "fetch")),
    "flatten": Case(flattening, ("fetch",), (staging, "flatten")),
    "flatten, copies": Case(copying, ("fetch",), (flatten.convert, "convert")),
    "fix": Case(fixing, ("fetch",), (fix, "repair")),
    "convert": Case(converting, ("fetch", "flatten"), (convert.convert, "convert")),
    "describe": Case(describing, ("fetch", "flatten", "convert"), (describe.descriptions, "write")),
    "boot test": Case(booting, ("fetch", "fix", "convert"), (boot_test, "boot")),
    "report": Case(reported, ("fetch", "flatten", "convert"), (reporting.atomic, "write_text")),
}
EACH = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def ready(tmp_path, monkeypatch) -> Callable[[str], Stage]:
    """What makes a stage anew, once those before it are through."""
    source(tmp_path)
    made = guest()
    monkeypatch.setattr(fix, "repair", lambda *dummy: GuestReport(facts(made), Plan((), ())))
    monkeypatch.setattr(boot_test, "boot", lambda *dummy: BootOutcome("passed", ""))
    monkeypatch.setattr(boot_test, "require", lambda *dummy: None)

    def of(name: str) -> Callable[[], Stage]:
        for before in CASES[name].before:
            carry_out(CASES[before].made(tmp_path), Run())
        return lambda: CASES[name].made(tmp_path)

    return of


class Worked(Exception):
    pass


@pytest.fixture
def failing(monkeypatch) -> Callable[[str], None]:
    def work(*dummy: object, **more: object) -> None:
        raise Worked

    return lambda name: monkeypatch.setattr(*CASES[name].works, work)


def everything(place: Path) -> dict[str, tuple[int, ...]]:
    """All that is there, but for how the source is held while it is read: by a lock, and by links that are made anew."""
    found = {path: path.lstat() for path in place.rglob("*") if path.name != "held" and not path.is_symlink()}
    return {str(path): () if path.is_dir() else (status.st_mtime_ns, status.st_size, status.st_ino) for path, status in found.items()}


def stages(kind: type) -> Iterator[type]:
    """Those that are built on a kind of stage, and on the kinds of that kind."""
    below = kind.__subclasses__()
    return itertools.chain.from_iterable(map(stages, below)) if below else iter((kind,))


def test_every_stage_is_held_to_the_laws(tmp_path):
    for module in pkgutil.iter_modules(pipeline.__path__):
        importlib.import_module(f"{pipeline.__name__}.{module.name}")
    assert {type(case.made(tmp_path)) for case in CASES.values()} == set(stages(Plain))
    assert {case.made(tmp_path).name for case in CASES.values()} == {name.partition(",")[0] for name in CASES}


@EACH
def test_check_mode_writes_nothing_and_answers_as_a_run_does(name, ready, tmp_path):
    stage = ready(name)
    before = everything(tmp_path)
    would = carry_out(stage(), Run(check=True))
    assert would["changed"] and everything(tmp_path) == before
    done = carry_out(stage(), Run())
    assert done["changed"] and would.keys() <= done.keys()


@EACH
def test_a_second_run_is_unchanged_and_says_the_same(name, ready, failing):
    stage = ready(name)
    first = json.loads(json.dumps(carry_out(stage(), MINE)))
    failing(name)
    for run in (MINE, Run(), Run(probe=True), Run(check=True)):
        assert carry_out(stage(), run) == {**first, "changed": False}


@EACH
def test_one_stage_can_be_carried_out_again(name, ready):
    stage = ready(name)()
    assert [carry_out(stage, Run())["changed"] for dummy in range(2)] == [True, False]


@pytest.mark.parametrize("place", ["dest", "report_dir"])
def test_places_of_a_vm_without_a_name_are_refused(place):
    with pytest.raises(InvalidInput, match="need name"):
        fetch.FetchOptions(("/srv/a.raw",), "/w", **{place: "/out"})


@EACH
def test_a_probe_does_not_work(name, ready, failing, tmp_path):
    stage = ready(name)
    failing(name)
    assert carry_out(stage(), Run(probe=True)) == {"changed": False, "pending": True}
    with pytest.raises(Worked):
        carry_out(stage(), Run())


@pytest.mark.parametrize("name", ["flatten", "flatten, copies", "fix", "convert"])
def test_check_mode_asks_the_source_of_what_was_not_fetched(name, ready, tmp_path):
    ready("fetch")
    before = everything(tmp_path)
    assert carry_out(CASES[name].made(tmp_path), Run(check=True))["changed"] and everything(tmp_path) == before


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.before])
def test_a_stage_without_those_before_it_says_so_and_keeps_nothing(name, ready, tmp_path):
    ready("fetch")
    stage = CASES[name].made(tmp_path)
    with pytest.raises(InvalidInput) as refused:
        carry_out(stage, MINE)
    assert refused.value.hint and memory.recall(str(tmp_path / "out" / ".work" / "vm.json")).run is None
    assert not (tmp_path / "results").exists() and not (tmp_path / "copies").exists()


def claimed(stage: Stage) -> list[str]:
    """The files that remember for whom the stage keeps something."""
    stage.require(Run())
    places = [place.path for place in stage.claims(Run()).places]
    return list(dict.fromkeys([*([os.path.join(stage.holds, "vm.json")] if stage.holds else []), *places]))


@EACH
def test_whom_another_run_works_on_is_left_alone(name, ready, failing, tmp_path):
    stage = ready(name)
    failing(name)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        for path in claimed(stage()):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            memory.claim(path, "it", None, memory.Run.of(other.pid))
            with pytest.raises(Busy, match=f"process {other.pid}"):
                carry_out(stage(), MINE)
            memory.release(path, memory.Run.of(other.pid))
        other.kill()


@EACH
def test_a_run_that_fails_keeps_nothing(name, ready, failing):
    stage = ready(name)
    failing(name)
    paths = claimed(stage())
    before = [memory.recall(path).vm for path in paths]
    with pytest.raises(Worked):
        carry_out(stage(), MINE)
    assert [(memory.recall(path).vm, memory.recall(path).run) for path in paths] == [(vm, None) for vm in before]


@EACH
def test_another_vm_keeps_its_places(name, ready, failing):
    stage = ready(name)
    failing(name)
    other = VmId("u2", "/b/web01.vmx", ("/b/web01.vmx",), "web01", "d2")
    for path in claimed(stage()):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mine = memory.recall(path).vm
        Path(path).unlink(missing_ok=True)
        memory.claim(path, "it", other, None)
        for run in (MINE, Run(check=True)):
            with pytest.raises(InvalidInput, match="belongs to"):
                carry_out(stage(), run)
        os.unlink(path)
        memory.claim(path, "it", mine, None)


def test_the_vm_is_kept_between_the_stages_and_the_report_ends_it(ready, tmp_path):
    ready("fetch")
    ended = CASES["report"].made(tmp_path).ended()
    for name in ("fetch", "flatten", "convert", "describe"):
        carry_out(CASES[name].made(tmp_path), MINE)
        assert memory.recall(ended[0].path).run == MINE.by
    stage = CASES["report"].made(tmp_path)
    for how in ("check", "probe"):
        carry_out(stage, Run(by=MINE.by, **{how: True}))
        assert memory.recall(ended[0].path).run == MINE.by
    carry_out(stage, MINE)
    assert [memory.recall(place.path).run for place in stage.ended()] == [None, None]


def test_what_is_recorded_of_options_stays_as_earlier_versions_have_it():
    """Another record would be another stage to do: every VM would be fetched and repaired again."""
    of = Subject("/w", ("/srv/a.raw",), Access(verify=True, accept=("b", "a")))
    assert fetch.FetchOptions(of.source, of.work_dir, of.access).recorded() == {"source": ["/srv/a.raw"], "verify": True}
    streamed = fetch.FetchOptions(("vsphere://vc/DC1/vm/a",), of.work_dir, of.access, stay=True)
    assert streamed.recorded() == {"source": ["vsphere://vc/DC1/vm/a"], "verify": True, "fetch": "stream"}
    usual = {
        "fixes": [], "fstab_mode": "stabilize-all", "initramfs": "overlay", "firmware": "auto", "accept": ["a", "b"], "keys": [], "nics": [],
        "plan": None, "vm": "d", "options": options_digest("", fix.FixOptions(of).chosen),
    }  # fmt: skip
    assert fix.FixOptions(of).recorded("d") == usual
    given = fix.FixOptions(
        of, grow=("", "+1G"), engine=Engine("v2v", ("--x",)), nics=named([{"mac": "52-54-00-AB-CD-EF"}]), luks_keys={"b": "x"}
    )
    more = {"grow": ["", "+1G"], "engine": ["v2v", "--x"], "nics": ["52:54:00:ab:cd:ef"], "keys": ["b"]}
    assert given.recorded("d") == {**usual, **more} and fix.FixOptions(of, grow=("",)).recorded("d") == usual
    by_mac = fix.FixOptions(of, (LinuxOptions(pin="mac"), *fix.FixOptions(of).chosen[1:]))
    assert by_mac.recorded("d") == {**usual, "pin": "mac"}
    request = boot_test.BootRequest((), nics=(boot_test.BootNic("00:50:56:00:00:01", "10.1.2.3/24"),), checks=(Check(command=("true",)),))
    tested = {
        "firmware": "bios", "boot_disk": 0, "disk_bus": "virtio", "nic_model": "virtio", "memory": 1024, "cpus": 2, "timeout": 300, "network": "auto",
        "expect": [], "nics": [{"mac": "00:50:56:00:00:01", "address": "10.1.2.3/24", "gateway": ""}],
    }  # fmt: skip
    checks = [{"port": 0, "http": "", "host": "", "status": 200, "tls": False, "verify": True, "command": ["true"], "rc": 0, "expect": ""}]
    assert json.loads(json.dumps(boot_test.recorded(request, "<x/>"))) == {**tested, "checks": checks, "description": "<x/>"}
    assert boot_test.recorded(replace(request, checks=()), "") == tested

# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of sources and their transports: found by what is written, and documented as what they are."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, NotInPlace
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import fetch, sources
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources import source as sources_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.vsphere_transport import ANY, TRACKED
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.vsphere_transports import AUTO, TRANSPORTS

ROOT = Path(__file__).resolve().parents[4]
ALLOCATED = {ANY: r"what is allocated", TRACKED: r"where changed block tracking knows it|as `datastore`"}


def test_every_file_with_a_source_is_registered():
    files = [path for path in (ROOT / "plugins" / "module_utils" / "sources").glob("*.py") if "\nSOURCE: Source = " in path.read_text()]
    assert len(files) == len(sources.SOURCES) and all(one.words.startswith(f"{scheme}://") for scheme, one in sources.SOURCES.items())


@pytest.mark.parametrize("url", ["sftp://esx1/a.vmx", "https://vc/a", "vsphere2://vc/a"])
def test_a_url_of_no_kind_is_refused_with_those_that_there_are(url):
    with pytest.raises(InvalidInput) as refused:
        sources.of(url)
    assert url in refused.value.msg and all(f"{scheme}://" in refused.value.hint for scheme in sources.SOURCES)
    assert sources.libraries_of([url]) == ()


def test_the_page_says_what_can_be_asked_of_each_kind():
    rows = re.findall(
        r"^\| `(\w+)://` \| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \|$", (ROOT / "docs" / "sources.md").read_text(), re.MULTILINE
    )
    said = {scheme: sources_of.Can(*(word == "yes" for word in words)) for scheme, *words in rows}
    assert said == {scheme: kind.can for scheme, kind in sources.SOURCES.items()}


class Simple(sources_of.Kind):
    """What its own file of a few functions would have, and no more."""

    scheme, words = "simple", "simple://name"

    def opened(self, url, access, check):
        raise AssertionError("It was reached.")


@pytest.mark.parametrize("running", ["shutdown", "snapshot"])
def test_what_a_kind_cannot_is_refused_before_it_is_reached(monkeypatch, tmp_path, running):
    monkeypatch.setitem(sources.SOURCES, "simple", Simple())
    with pytest.raises(InvalidInput, match=f"while it is running: {running}") as refused:
        sources.opened(["simple://a"], sources_of.Access(running=running))
    assert "refuse" in refused.value.hint and running not in refused.value.hint
    with pytest.raises(NotInPlace, match="where it is"):
        fetch.fetch(["simple://a"], sources_of.Access(), str(tmp_path), {}, Silent(), check=False, stay=True, expected=VmId("", ""))
    with pytest.raises(InvalidInput, match="cannot be brought"):
        sources.folder("simple://a", sources_of.Access())
    assert not list(tmp_path.iterdir())


def test_files_of_this_host_are_a_source_like_any_other(tmp_path):
    """A disk, and the same packed: which VM it is, its sizes before and its files after FETCH."""
    disk = tmp_path / "vm.raw"
    disk.write_bytes(b"x" * 4096)
    with gzip.open(tmp_path / "vm.raw.gz", "wb") as packed:
        packed.write(disk.read_bytes())
    for path, sizes in ((disk, [4096]), (tmp_path / "vm.raw.gz", [])):
        source, work = [str(path)], str(tmp_path / f"{path.name}.work")
        access, before = sources_of.Access(), path.read_bytes()
        which = sources.identified(source, access)
        with sources.opened(source, access) as found:
            assert found.which == which and [size.virtual_size for size in found.sizes()] == sizes
            with pytest.raises(NotInPlace):
                found.exports()
        vm, told = fetch.fetch(source, access, work, {"source": source}, Silent(), check=False, stay=False, expected=which)
        assert [disk.virtual_size for disk in vm.disks] == [4096] and not told and vm.transfer is None
        assert sources.brought(source) == (not sizes) and path.read_bytes() == before


def test_the_page_says_of_each_transport_what_the_code_does():
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs" / "vsphere.md").read_text().partition("| `migrate_transport` |")[2], re.MULTILINE
        )
    )
    assert rows.keys() == {AUTO, *TRANSPORTS}
    for name, transport in TRANSPORTS.items():
        how, resumes, reads = rows[name].split(" | ")
        assert resumes.startswith("in pieces") == transport.resumes
        assert ("a VM that is off" in how) == transport.needs_off
        assert re.search(ALLOCATED[transport.allocated], reads)
        assert ("digests" in reads or "manifest" in reads) == transport.digests

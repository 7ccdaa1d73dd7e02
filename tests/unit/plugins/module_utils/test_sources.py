# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of sources and their transports: found by what is written, and documented as what they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import sources
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.vsphere_transports import ANY, AUTO, TRACKED, TRANSPORTS

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

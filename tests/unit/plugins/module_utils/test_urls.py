# SPDX-License-Identifier: GPL-3.0-or-later
"""A login in a URL is refused, and shown nowhere; what belongs into a URL is taken."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils import adapter
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import urls
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.sources import FORMS

SECRET = "pass-Word-4711"
WITH_LOGIN = {
    "a scheme that is none": f"sftp://root:{SECRET}@esx1/a.vmx",
    "capitals": f"SFTP://root:{SECRET}@esx1/a.vmx",
    "slashes too few": f"ssh:/root:{SECRET}@esx1/a.vmx",
    "ssh": f"ssh://root:{SECRET}@esx1/vmfs/volumes/ds/a/a.vmx",
    "vsphere": f"vsphere://admin:{SECRET}@vc/DC/vm/a",
    "a token": f"aws://{SECRET}@eu-central-1/web01",
    "a token of azure": f"azure://{SECRET}@subscription/group/web01",
    "an unknown token": f"https://{SECRET}@vc/a.ova",
    "no user": f"vsphere://:{SECRET}@vc/DC/vm/a",
    "an at sign in it": f"vsphere://u:{SECRET}@x@vc/DC/vm/a",
    "a slash in it": f"vsphere://u:{SECRET}/x@vc/DC/vm/a",
    "a hash in it": f"ssh://u:{SECRET}#x@vc/a",
    "a colon in it": f"ssh://u:{SECRET}:x@vc/a",
    "encoded": "ssh://u:pass%2DWord-4711@vc/a",
    "a query": f"vsphere://vc/DC/vm/a?password={SECRET}",
    "a query of ssh": f"ssh://root@esx1/a?key={SECRET}",
    "a space before it": f" sftp://root:{SECRET}@esx1/a.vmx",
}
PLAIN = [
    "/exports/web01/web01.vmdk", "web01.ova", "./a:b@c.raw", "ssh://root@esx1/vmfs/volumes/ds/a/a.vmx", "ssh://esx1:2222/web01", "ssh://root@[fd00::1]:22/a",
    "vsphere://vc/DC/vm/a@b", "vsphere://vc:8443/DC/vm/a:b@c", "vsphere://[fd00::1]/DC/vm/a", "vsphere://vc?moref=vm-57", "vsphere://vc?uuid=4212",
    "aws://eu-central-1/i-0123", "azure://subscription/group/web01",
]  # fmt: skip


@pytest.mark.parametrize("url", WITH_LOGIN.values(), ids=WITH_LOGIN)
def test_a_login_is_refused_and_not_shown(url):
    with pytest.raises(InvalidInput) as refused:
        adapter.source_of({"source": [url]})
    assert refused.value.hint and not any(word in str(refused.value.as_result()) for word in (SECRET, "pass%2DWord"))
    assert any(SECRET in one for one in urls.secrets(url, FORMS))
    assert not any(word in one for one in urls.secrets(url, FORMS) for word in ("esx1", "/DC/vm", "eu-central-1"))


def test_one_of_several_is_found():
    with pytest.raises(InvalidInput, match="login"):
        adapter.source_of({"source": ["/exports/a.raw", f"sftp://u:{SECRET}@h/b.raw"]})


@pytest.mark.parametrize("url", PLAIN)
def test_what_belongs_there_is_taken(url):
    urls.require_plain(url, FORMS)
    assert urls.secrets(url, FORMS) == ()

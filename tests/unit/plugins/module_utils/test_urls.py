# SPDX-License-Identifier: GPL-3.0-or-later
"""A login in a URL is refused, and shown nowhere; what belongs into a URL is taken."""

from __future__ import annotations

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import tls, urls
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import place_of, places_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module import source_options
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import sources
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.sources import FORMS
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access

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
    "all of it encoded": f"vsphere://u%3a{SECRET}%40vc/DC/vm/a",
    "encoded twice": f"vsphere://u%253A{SECRET}%2540vc/DC/vm/a",
    "a slash in one that is encoded": f"vsphere://u%3a{SECRET}/x%40vc/DC/vm/a",
    "an encoded colon where a user belongs": f"ssh://root%3a{SECRET}@esx1",
    "no scheme": f"//u:{SECRET}@esx1/x.raw",
    "too many slashes": f"///u:{SECRET}@esx1/x.raw",
    "no slashes": f"http:u:{SECRET}@esx1",
    "as scp writes it": f"root:{SECRET}@esx1:/x.raw",
    "a fragment": f"vsphere://vc/DC/vm/a#token={SECRET}",
    "a fragment of ssh": f"ssh://root@esx1/a#{SECRET}",
    "a query that is but a value": f"ssh://root@esx1/a?{SECRET}",
    "a query and a fragment": f"vsphere://vc?moref=vm-57#{SECRET}",
    "a line's end in it": f"ssh://u:\n{SECRET}@esx1/a",
    "a space before it": f" sftp://root:{SECRET}@esx1/a.vmx",
}
PLAIN = [
    "/exports/web01/web01.vmdk", "web01.ova", "./a:b@c.raw", "ssh://root@esx1/vmfs/volumes/ds/a/a.vmx", "ssh://esx1:2222/web01", "ssh://root@[fd00::1]:22/a",
    "vsphere://vc/DC/vm/a@b", "vsphere://vc:8443/DC/vm/a:b@c", "vsphere://[fd00::1]/DC/vm/a", "vsphere://vc?moref=vm-57", "vsphere://vc?uuid=4212",
    "rbd:pool/image@now", "//srv/a@b/c.raw", "//srv/a:b@c.raw", "VSPHERE://vc/DC/vm/a", "aws://eu-central-1/i-0123", "azure://subscription/group/web01",
]  # fmt: skip


@pytest.mark.parametrize("url", WITH_LOGIN.values(), ids=WITH_LOGIN)
def test_a_login_is_refused_and_not_shown(url):
    with pytest.raises(InvalidInput) as refused:
        source_options.source_of({"source": [url]})
    assert refused.value.hint and not any(word in str(refused.value.as_result()) for word in (SECRET, "pass%2DWord"))
    assert any(SECRET in one for one in urls.secrets(url, FORMS))
    assert not any(word in one for one in urls.secrets(url, FORMS) for word in ("esx1", "/DC/vm", "eu-central-1"))


def test_one_of_several_is_found():
    with pytest.raises(InvalidInput, match="login"):
        source_options.source_of({"source": ["/exports/a.raw", f"sftp://u:{SECRET}@h/b.raw"]})


@pytest.mark.parametrize("url", PLAIN)
def test_what_belongs_there_is_taken(url):
    urls.require_plain(url, FORMS)
    assert urls.secrets(url, FORMS) == ()


IMPOSSIBLE = {
    "half a bracket": "[::1", "a bracket within": "a[b]", "a letter that becomes a slash": "a\u2100b", "a port beyond all": "vc:99999",
    "a port of words": f"u:{SECRET}",
    "an option of ssh": "-oProxyCommand=id", "a user and an option": "root@-oProxyCommand=id",
}  # fmt: skip


@pytest.mark.parametrize("host", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("scheme", ["ssh", "vsphere", "aws", "azure", "sftp"])
def test_a_host_that_cannot_be_is_refused_wherever_a_url_is_read(scheme, host):
    url = f"{scheme}://{host}/a/b"
    ways = [urls.split, place_of, lambda one: places_of([one]), sources.of, lambda one: sources.identified([one], Access())]
    ways += [lambda one, kind=kind: kind.identified(one, Access()) for kind in sources.SOURCES.values()]
    for way in ways:
        with pytest.raises(InvalidInput) as refused:
            way(url)
        assert refused.value.hint and SECRET not in str(refused.value.as_result())
    sources.libraries_of([url])


@pytest.mark.parametrize("host", ["a b", "a;id", "$(id)", "a'b"])
def test_a_host_that_a_shell_may_run_is_none_of_ssh(host):
    with pytest.raises(InvalidInput, match="does not name a VM"):
        sources.identified([f"ssh://{host}/a.vmx"], Access())


def test_a_scheme_is_the_same_in_capitals():
    assert sources.is_remote(["VSPHERE://vc/DC/vm/a"]) and sources.of("VSPHERE://vc/DC/vm/a").scheme == "vsphere"
    assert places_of(["VSPHERE://vc/DC/vm/a"]) == places_of(["vsphere://vc/DC/vm/a"]) == {"vsphere://vc/DC/vm/a"}
    assert sources.libraries_of(["AWS://eu-central-1/a"]) == ("boto3",)


def test_a_proxy_that_cannot_be_is_refused_without_its_login(monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://u:{SECRET}@[::1")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(InvalidInput) as refused:
        tls.environment_proxy("vc")
    assert "https_proxy" in refused.value.hint and SECRET not in str(refused.value.as_result())


@pytest.mark.parametrize("url", [one for one in WITH_LOGIN.values() if "://" in one])
def test_every_way_to_a_source_refuses_a_login(url):
    with pytest.raises(InvalidInput) as refused:
        sources.of(url)
    assert SECRET not in str(refused.value.as_result())


WRAPPED = {
    "a mark of the byte order": f"\ufeffssh://root:{SECRET}@esx1/a.vmx",
    "a space of no width": f"\u200bssh://root:{SECRET}@esx1/a.vmx",
    "a space of no width within": f"ss\u200bh:\u200b//ro\u200bot:{SECRET}@esx1/a.vmx",
    "a mark of the byte order, too few slashes": f"\ufeffssh:/root:{SECRET}@esx1/a.vmx",
    "angles": f"<ssh://root:{SECRET}@esx1/a.vmx>",
    "quotes": f'"ssh://root:{SECRET}@esx1/a.vmx"',
    "a parenthesis": f"(ssh://root:{SECRET}@esx1/a.vmx)",
    "a setting": f"url=ssh://root:{SECRET}@esx1/a.vmx",
    "a setting in quotes": f"url='ssh://root:{SECRET}@esx1/a.vmx'",
    "a setting of scp": f"url=root:{SECRET}@esx1:/x.raw",
    "quotes of scp": f"'root:{SECRET}@esx1:/x.raw'",
    "a word": f"see ssh://root:{SECRET}@esx1/a.vmx",
    "a path": f"/exports/ssh://root:{SECRET}@esx1/a.vmx",
    "a path that is relative": f"./ssh://root:{SECRET}@esx1/a.vmx",
    "a URL": f"ssh://esx1/ssh://root:{SECRET}@esx1/a.vmx",
    "a hyphen": f"-ssh://root:{SECRET}@esx1/a.vmx",
    "a scheme that is none": f"\u00e9://root:{SECRET}@esx1/a.vmx",
    "no scheme": f"://root:{SECRET}@esx1/a.vmx",
    "a wide colon": f"ssh\uff1a//root:{SECRET}@esx1/a.vmx",
    "a wide at sign": f"ssh://root:{SECRET}\uff20esx1/a.vmx",
    "small signs": f"ssh\ufe55//root\ufe55{SECRET}\ufe6besx1/a.vmx",
    "all wide": f"\uff53\uff53\uff48\uff1a\uff0f\uff0froot\uff1a{SECRET}\uff20esx1/a.vmx",
    "an encoded colon": f"ssh%3A//root:{SECRET}@esx1/a.vmx",
    "all encoded": f"ssh%3A%2F%2Froot%3A{SECRET}%40esx1/a.vmx",
    "backslashes": f"ssh:\\\\root:{SECRET}@esx1/a.vmx",
    "a query in angles": f"<vsphere://vc/DC/vm/a?password={SECRET}",
    "a key of Ceph": f"rbd:p/i:id=a:key={SECRET}",
    "a key of Ceph alone": f"rbd:p/i:{SECRET}",
    "a key of Ceph in quotes": f'"rbd:p/i:key={SECRET}',
    "a key of Ceph in capitals": f"RBD:p/i:KEY={SECRET}",
    "a keyring of Ceph": f"rbd:p/i:keyring=/etc/{SECRET}:id=a",
    "an object": f'json:{{"driver":"https","url":"https://vc/a","password":"{SECRET}"}}',
    "an object in quotes": f'\'JSON:{{"file.password": "{SECRET}"}}\'',
    "a driver": f"driver=https,url=https://u:{SECRET}@vc/a",
}
IN_PLAIN = ["rbd:pool/image:id=web:conf=/etc/ceph/x.conf", "rbd:pool/space/image@now", "/exports/a=b:c.raw", "./a=b:c@d.raw",
            "vsphere://vc/DC/vm/a%3a%2f%2fb%40c", "/exports/\uff33\uff32\uff36\uff1a1.raw",
            "/exports/a@b://c.raw", "web 01 (copy).ova", "(web01).raw", "a=b.raw"]  # fmt: skip


@pytest.mark.parametrize("url", WRAPPED.values(), ids=WRAPPED)
def test_a_login_is_refused_and_not_shown_whatever_stands_around_it(url):
    with pytest.raises(InvalidInput) as refused:
        source_options.source_of({"source": [url]})
    assert refused.value.hint and SECRET not in str(refused.value.as_result())
    shown = url
    for secret in sorted(urls.hidden([url], FORMS), key=len, reverse=True):
        shown = shown.replace(secret, "*")
    assert SECRET not in shown


def test_what_is_hidden_is_hidden_as_it_is_written():
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in SECRET)
    assert any(wide in one for one in urls.secrets(f"ssh://root:{wide}@esx1/a.vmx", FORMS))
    assert any("se\u200bcret" in one for one in urls.secrets("ssh://root:se\u200bcret@esx1/a.vmx", FORMS))


def test_an_object_that_was_cut_at_its_commas_is_hidden():
    pieces = f'json:{{"driver":"https","password":"{SECRET}"}}'.split(",")
    assert pieces[1] in urls.hidden(pieces, FORMS) and urls.hidden(["/a.raw", *pieces], FORMS) == urls.hidden(pieces, FORMS)


@pytest.mark.parametrize("url", IN_PLAIN)
def test_what_looks_strange_and_holds_nothing_is_taken(url):
    urls.require_plain(url, FORMS)
    assert urls.secrets(url, FORMS) == ()


def test_a_long_source_takes_no_time():
    for text in ("://" * 50_000, "=" * 100_000, "a=" * 50_000, "(" * 100_000 + "@", "rbd:" + "\\:" * 50_000, "%25" * 50_000):
        urls.secrets(text, FORMS)

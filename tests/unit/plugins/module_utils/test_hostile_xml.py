# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptions that are XML and made to take memory, time or files of the host, in every encoding that the parser knows."""

from __future__ import annotations

import pytest
from promptly import PEAK, alone

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import ovf, xmlfile

LAUGHS = '<!DOCTYPE a [<!ENTITY x0 "ha">{}]><a>&x20;</a>'.format("".join(f'<!ENTITY x{n + 1} "&x{n};&x{n};">' for n in range(20)))
EXTERNAL = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
BLOWUP = '<!DOCTYPE a [<!ENTITY x "{}">]><a>{}</a>'.format("h" * 100_000, "&x;" * 10_000)
EMPTY = '<!DOCTYPE a SYSTEM "http://localhost:1/x.dtd"><a/>'


def said(encoding: str, text: str) -> bytes:
    return f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)


DECLARED = {
    f"{name} in {encoding}": said(encoding, text)
    for name, text in (("laughs", LAUGHS), ("a file", EXTERNAL), ("one long entity", BLOWUP), ("a DTD elsewhere", EMPTY))
    for encoding in ("utf-8", "utf-16", "iso-8859-1", "ascii")
}
DECLARED["UTF-16 without a declaration"] = EXTERNAL.encode("utf-16")
DECLARED["UTF-16-BE with a mark"] = b"\xfe\xff" + EXTERNAL.encode("utf-16-be")
DECLARED["a parameter entity"] = b'<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><a/>'
DECLARED["behind a mark"] = b"\xef\xbb\xbf" + EXTERNAL.encode()
DECLARED["behind a comment"] = b"<!-- <x> -->" + EXTERNAL.encode()

BAD = {
    "levels": b"<a>" * 1_000_000,
    "closed levels": b"<a>" * 400_000 + b"</a>" * 400_000,
    "elements": b"<a>" + b"<b/>" * 800_000 + b"</a>",
    "attributes": b"<a " + b" ".join(b'a%d=""' % n for n in range(300_000)) + b"/>",
    "too long": b"<a>" + b" " * (5 << 20) + b"</a>",
    "an encoding that is none": b'<?xml version="1.0" encoding="x-none"?><a/>',
    "an encoding with several bytes": b'<?xml version="1.0" encoding="shift_jis"?><a/>',
    "UTF-7": b'<?xml version="1.0" encoding="utf-7"?><a/>',
    "a codec that is no encoding": b'<?xml version="1.0" encoding="zlib"?><a/>',
    "half of UTF-16": "<a/>".encode("utf-16")[:-1],
    "UTF-32": "<a/>".encode("utf-32"),
    "an undeclared entity": b"<a>&x;</a>",
    "a NUL": b"<a>\0</a>",
    "nothing": b"",
}


@pytest.mark.parametrize("name", DECLARED)
def test_a_document_type_is_refused_in_every_encoding(name):
    with pytest.raises(UnsafeInput, match="entities"):
        xmlfile.parse(DECLARED[name], "vm.ovf")


@pytest.mark.parametrize("name", BAD)
def test_what_is_too_much_or_broken_is_refused_in_little_memory(name):
    def work():
        with pytest.raises(InvalidInput) as caught:
            xmlfile.parse(BAD[name], "vm.ovf")
        assert caught.value.hint

    words, memory = alone(work, 60)
    assert words == "" and memory < PEAK, (words, memory >> 20)


@pytest.mark.parametrize(
    "data",
    [
        *(
            f'<?xml version="1.0" encoding="{name}"?><a/>'.encode()
            for name in ("x-none", "GBK", "shift_jis", "utf-7", "zlib", "rot13", "ucs-4")
        ),
        b'<?xml version="1.0" encoding="utf-16"?><a/>',
        '<?xml version="1.0" encoding="gb18030"?><a n="\u4e2d"/>'.encode("gb18030"),
        "<a/>".encode("utf-32"),
    ],
)
def test_an_encoding_that_is_not_known_is_called_so(data):
    with pytest.raises(InvalidInput, match="encoding that is not read") as caught:
        xmlfile.parse(data, "vm.ovf")
    assert "as UTF-8" in caught.value.hint and "damaged" not in str(caught.value)


def test_what_is_damaged_is_not_called_an_encoding():
    with pytest.raises(InvalidInput, match="not well-formed") as caught:
        xmlfile.parse(b'<?xml version="1.0" encoding="utf-8"?><a>', "vm.ovf")
    assert "damaged" in caught.value.hint


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings_are_read(encoding):
    root = xmlfile.parse(said(encoding, '<e:a xmlns:e="urn:x" e:n="\u00fc"><b>x</b></e:a>'), "vm.ovf")
    assert root.tag == "a" and root.get("n") == "\u00fc" and root.findtext("b") == "x"


def test_an_envelope_that_is_hostile_is_refused_by_the_package(tmp_path):
    (tmp_path / "vm.ovf").write_bytes(EXTERNAL.encode("utf-16"))
    with pytest.raises(MigrationError, match="entities"):
        ovf.read(str(tmp_path / "vm.ovf"))

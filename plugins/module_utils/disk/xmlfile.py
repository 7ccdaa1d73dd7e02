# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptions of VMs that are XML: small, well-formed, without entities, and read without regard to namespaces."""

from __future__ import annotations

from xml.etree import ElementTree

from ..core.errors import InvalidInput, UnsafeInput

LIMIT = 4 << 20  # bytes


def parse(text: bytes, name: str) -> ElementTree.Element:
    """The root, with namespaces taken off tags and attributes: versions and vendors differ there.

    Raises UnsafeInput for declared entities, InvalidInput for what is no XML.
    """
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise UnsafeInput(f"{name} declares XML entities, which no such file needs.", "Export the VM again.", path=name)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InvalidInput(f"{name} is not well-formed XML: {error}.", "The package is damaged; export the VM again.", path=name) from error
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
        element.attrib = {key.rsplit("}", 1)[-1]: value for key, value in element.attrib.items()}
    return root

# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptions of VMs that are XML: small, well-formed, without a document type, and read without regard to namespaces."""

from __future__ import annotations

import codecs
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from ..core import limits
from ..core.errors import InvalidInput, UnsafeInput

LIMIT = limits.DESCRIPTION  # bytes
# Source: expat.h, XML_ERROR_UNKNOWN_ENCODING and XML_ERROR_INCORRECT_ENCODING.
_ENCODINGS = (18, 19)


def parse(text: bytes, name: str) -> ElementTree.Element:
    """The root, with namespaces taken off tags and attributes: versions and vendors differ there.

    The parser itself says whether there is a document type, so that no encoding hides one. Raises UnsafeInput for one, and for more elements,
    attributes or levels than any description has; InvalidInput for what is no XML, or in an encoding that is not known.
    """
    if len(text) > LIMIT:
        raise InvalidInput(f"{name} has more than {LIMIT >> 20} MiB, which no description needs.", "Name the VM's description.", path=name)
    if text.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # the parser takes it for UTF-16
        raise _unknown(name, "UTF-32")
    _check(text, name)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _broken(name, error) from error
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
        element.attrib = {key.rsplit("}", 1)[-1]: value for key, value in element.attrib.items()}
    return root


def _check(text: bytes, name: str) -> None:
    """One pass that keeps nothing: what is refused costs no memory."""
    parser, depth, count = expat.ParserCreate(), 0, 0

    def begin(dummy: str, attributes: Any) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1 + len(attributes)
        if depth > limits.XML_DEPTH or count > limits.XML_ELEMENTS:
            what = f"{limits.XML_DEPTH} levels" if depth > limits.XML_DEPTH else f"{limits.XML_ELEMENTS} elements and attributes"
            raise UnsafeInput(f"{name} has more than {what}, which no description needs.", "Export the VM again.", path=name)

    def end(*dummy: Any) -> None:
        nonlocal depth
        depth -= 1

    def declares(*dummy: Any) -> None:
        raise UnsafeInput(f"{name} declares XML entities, which no such file needs.", "Export the VM again.", path=name)

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = declares
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> InvalidInput:
    """Of an encoding that only its writer knows nothing is damaged. The parser leaves most of them to Python, which says it in errors of its own."""
    if isinstance(error, (LookupError, ValueError)) or getattr(error, "code", None) in _ENCODINGS:
        return _unknown(name, str(error))
    return InvalidInput(f"{name} is not well-formed XML: {error}.", "The package is damaged; export the VM again.", path=name)


def _unknown(name: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is in an encoding that is not read: {what}.",
        'Save it as UTF-8, with encoding="UTF-8" in its first line; the manifest (.mf) of a package does not fit then, so remove it.',
        path=name,
    )

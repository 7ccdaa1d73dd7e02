# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins and other secrets in what names a source: there is no place for them in a URL, which is shown, recorded and compared.

Source: RFC 3986, 3.2.1: a password in the userinfo is deprecated, and applications should not show what follows its first colon.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Mapping

from .errors import InvalidInput

_URL = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):/+(.*)", re.DOTALL)  # also one whose scheme we do not know, or whose slashes are wrong
_PORT = re.compile(r"(\[.*\]|[^:\[\]]*)(:[0-9]*)?")


@dataclass(frozen=True)
class Form:
    """What belongs into URLs of a scheme beside host and path: the name of a user, parts of a query."""

    user: bool = False
    query: tuple[str, ...] = ()


Forms = Mapping[str, Form]  # by scheme


def secrets(url: str, forms: Forms) -> tuple[str, ...]:
    """What of a URL may be secret: its login, unless that is the user alone where one belongs, and the values of its query."""
    scheme, login, rest = _parts(url)
    form = forms.get(scheme, Form())
    found = [login, login.partition(":")[2]] if login and _is_secret(form, login) else []
    if scheme:
        found += [value for name, value in urllib.parse.parse_qsl(urllib.parse.urlsplit(f"x://{rest}").query) if name not in form.query]
    return tuple(dict.fromkeys(one for text in found for one in (text, urllib.parse.unquote(text)) if one))


def require_plain(url: str, forms: Forms) -> None:
    """Raise InvalidInput for a URL with a login, or a query that says nothing. The message does not show them."""
    scheme, login, rest = _parts(url)
    form = forms.get(scheme, Form())
    if login and _is_secret(form, login):
        raise InvalidInput(
            f"A login has no place in a URL such as {scheme}://...@{rest}.",
            "Take it out. Logins are migrate_ssh_password or a key, migrate_vsphere_user and migrate_vsphere_password, and those of az and aws.",
        )
    before, mark, query = rest.partition("?")
    names = [name for name, dummy in urllib.parse.parse_qsl(query, keep_blank_values=True)]
    unknown = [name for name in names if name not in form.query]
    if scheme and mark and unknown:
        with_query = "; ".join(f"{one}:// has {', '.join(known.query)}" for one, known in forms.items() if known.query)
        raise InvalidInput(
            f"The query {', '.join(unknown)} of {scheme}://{before} means nothing.",
            f"Take it out. {with_query or 'No source has one'}. A question mark in a path is %3F.",
        )


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, login, and all after the login; empty texts for what is no URL."""
    found = _URL.match(url)
    if found is None:
        return "", "", ""
    scheme, rest = found[1].lower(), found[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and _PORT.fullmatch(authority):
        return scheme, "", rest
    login, mark, after = (authority if "@" in authority else rest).rpartition("@")  # a password may have a slash in it
    return (scheme, login, after + (rest[len(authority) :] if "@" in authority else "")) if mark else (scheme, "", rest)


def _is_secret(form: Form, login: str) -> bool:
    return ":" in login or not form.user

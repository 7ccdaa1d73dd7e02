# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins and other secrets in what names a source: there is no place for them in a URL, which is shown, recorded and compared.

Source: RFC 3986, 3.2.1: a password in the userinfo is deprecated, and applications should not show what follows its first colon.
"""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from dataclasses import dataclass
from typing import Mapping

from .errors import InvalidInput

# Also one whose scheme we do not know, whose slashes are wrong, or that has no scheme; an image of Ceph has no login.
_URL = re.compile(r"\s*(?!rbd:)(?:([A-Za-z][A-Za-z0-9+.-]*):/+|//+|(?=[A-Za-z][A-Za-z0-9+.-]*:[^/@]*@))(.*)", re.DOTALL)
_PORT = re.compile(r"(\[.*\]|[^:\[\]]*)(:[0-9]*)?")
_AT = re.compile(r"@|%(?:25)*40")  # whoever encodes twice means one too
_COLON = re.compile(r":|%(?:25)*3a", re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """What belongs into URLs of a scheme beside host and path: the name of a user, parts of a query."""

    user: bool = False
    query: tuple[str, ...] = ()


Forms = Mapping[str, Form]  # by scheme


def split(url: str, hint: str = "Correct migrate_source.") -> urllib.parse.SplitResult:
    """The parts of a URL, whose host and port can be. Raises InvalidInput, which shows nothing of the URL that may be secret."""
    with contextlib.suppress(ValueError):  # whose words hold what stands there, a login too
        parts = urllib.parse.urlsplit(url)
        if parts.port != -1 and not (parts.hostname or "").startswith("-"):  # a port is looked at no earlier than it is asked for
            return parts
    scheme, dummy, rest = _parts(url)
    path = re.sub(r"[^/?#]*([^?#]*).*", r"\1", rest, count=1, flags=re.DOTALL)
    raise InvalidInput(f"{scheme}://...{path} is no URL: its host or its port is none that can be.", hint)


def secrets(url: str, forms: Forms) -> tuple[str, ...]:
    """What of a URL may be secret: its login, unless that is the user alone where one belongs, the values of its query, and its fragment."""
    scheme, login, rest = _parts(url)
    form = forms.get(scheme, Form())
    found = [login, *_COLON.split(login, maxsplit=1)[1:]] if login and _is_secret(scheme, form, login) else []
    if scheme:
        before, dummy, fragment = rest.partition("#")
        asked = urllib.parse.parse_qsl(before.partition("?")[2], keep_blank_values=True)
        found += [*(value or name for name, value in asked if name not in form.query), fragment, fragment.partition("=")[2]]
    return tuple(dict.fromkeys(one for text in found for one in (text, urllib.parse.unquote(text)) if one))


def require_plain(url: str, forms: Forms) -> None:
    """Raise InvalidInput for a URL with a login, a fragment, or a query that says nothing. The message does not show them."""
    scheme, login, rest = _parts(url)
    form, begin = forms.get(scheme, Form()), f"{scheme}://" if scheme else ""
    place = re.split("[?#]", rest, maxsplit=1)[0]
    if login and _is_secret(scheme, form, login):
        raise InvalidInput(
            f"A login has no place in a URL such as {begin}...@{place}.",
            "Take it out. Logins are migrate_ssh_password or a key, migrate_vsphere_user and migrate_vsphere_password, and those of az and aws."
            + ("" if scheme else " The name of a file that looks like one is written with ./ before it."),
        )
    if scheme and "#" in rest:
        raise InvalidInput(f"The fragment, what follows #, of {begin}{place} means nothing.", "Take it out. A # in a path is %23.")
    asked = urllib.parse.parse_qsl(rest.partition("?")[2], keep_blank_values=True)
    unknown = [name if value else "..." for name, value in asked if name not in form.query]  # a name alone may be a value
    if scheme and unknown:
        with_query = "; ".join(f"{one}:// has {', '.join(known.query)}" for one, known in forms.items() if known.query)
        raise InvalidInput(
            f"The query {', '.join(unknown)} of {begin}{place} means nothing.",
            f"Take it out. {with_query or 'No source has one'}. A question mark in a path is %3F.",
        )


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, login, and all after the login; empty texts for what is no URL."""
    found = _URL.match(url)
    if found is None:
        return "", "", ""
    scheme, rest = (found[1] or "").lower(), found[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _AT.search(authority) is None and _PORT.fullmatch(_COLON.sub(":", authority)):
        return scheme, "", rest
    within = authority if _AT.search(authority) else rest  # a password may have a slash in it
    ends = list(_AT.finditer(within))
    return (scheme, within[: ends[-1].start()], rest[ends[-1].end() :]) if ends else (scheme, "", rest)


def _is_secret(scheme: str, form: Form, login: str) -> bool:
    """A user alone is none where one belongs, nor is what stands before an @ in a path that begins with two slashes."""
    return _COLON.search(login) is not None or (scheme != "" and not form.user)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins and other secrets in what names a source: there is no place for them in a URL, which is shown, recorded and compared.

Source: RFC 3986, 3.2.1: a password in the userinfo is deprecated, and applications should not show what follows its first colon.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
import urllib.parse
from dataclasses import dataclass
from typing import Iterator, Mapping, Sequence

from .errors import InvalidInput

# Also one whose scheme we do not know, whose slashes are wrong, or that has no scheme; an image of Ceph has no login.
_URL = re.compile(r"\s*(?!rbd:)(?:([A-Za-z][A-Za-z0-9+.-]*):/+|//+|(?=[A-Za-z][A-Za-z0-9+.-]*:[^/@]*@))(.*)", re.DOTALL)
_BEFORE = re.compile(r"[^\w./~%-]*(?:\w+=[^\w./~%-]*)?")  # what a mail, a shell or a file of settings has around a URL
_SLASHES, _ANY_SLASHES = re.compile("://"), re.compile(r"(?::|%(?:25)*3a)(?:[/\\]|%(?:25)*(?:2f|5c)){2}", re.IGNORECASE)
_JSON = re.compile(r"json:", re.IGNORECASE)
_CEPH = re.compile(r"rbd:[^:]*(.*)", re.DOTALL | re.IGNORECASE)
_OF_CEPH = ("id", "conf")
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
    raise InvalidInput(f"{scheme}://...{path} is not a valid URL: its host or port is not valid.", hint)


def hidden(sources: Sequence[str], forms: Forms) -> set[str]:
    """What of several sources may be secret, see `secrets`. An object in JSON is cut at its commas where a text is read as a list."""
    first = next((number for number, source in enumerate(sources) if _JSON.match(_bare(_Seen(source).text))), len(sources))
    return {secret for source in sources[:first] for secret in secrets(source, forms)} | {
        secret for source in sources[first:] for secret in (source, *secrets(source, forms)) if secret
    }


def secrets(url: str, forms: Forms) -> tuple[str, ...]:
    """What of a URL may be secret: its login, unless that is the user alone where one belongs, the values of its query, and its fragment.

    Of other names of qemu the options of Ceph that are neither a user nor a file, and all of an object in JSON.
    """
    seen = _Seen(url)
    found = tuple(text for text in _secrets(seen.text, forms) if text)
    return tuple(
        dict.fromkeys(one for text in found for shown in (text, *seen.as_written(text)) for one in (shown, urllib.parse.unquote(shown)))
    )


def _secrets(text: str, forms: Forms) -> Iterator[str]:
    bare = _bare(text)
    if _JSON.match(bare):
        yield from (bare, bare[len("json:") :])
    for name, value in _options_of_ceph(bare):
        yield from (value or name,)
    for one in (text, bare):
        scheme, login, rest = _parts(one)
        form = forms.get(scheme, Form())
        if login and _is_secret(scheme, form, login):
            yield from (login, *_COLON.split(login, maxsplit=1)[1:])
        if scheme:
            before, dummy, fragment = rest.partition("#")
            asked = urllib.parse.parse_qsl(before.partition("?")[2], keep_blank_values=True)
            yield from (*(value or name for name, value in asked if name not in form.query), fragment, fragment.partition("=")[2])
    yield from (part for login in _logins_within(text) for part in (login, *_COLON.split(login, maxsplit=1)[1:]))


def require_plain(url: str, forms: Forms) -> None:
    """Raise InvalidInput for a URL with a login, a fragment, or a query that says nothing, whatever stands around it. The message does not show them.

    So for other names of qemu that hold, or may hold, a secret.
    """
    url = _Seen(url).text
    _require_no_options(_bare(url))
    scheme, login, rest = _parts(url)
    form, begin = forms.get(scheme, Form()), f"{scheme}://" if scheme else ""
    place = re.split("[?#]", rest, maxsplit=1)[0]
    if login and _is_secret(scheme, form, login):
        raise InvalidInput(
            f"A login has no place in a URL such as {begin}...@{place}.",
            "Take it out. Logins are migrate_ssh_password or a key, migrate_vsphere_user and migrate_vsphere_password, and those of az and aws."
            + ("" if scheme else " The name of a file that looks like one is written with ./ before it."),
        )
    if any(_logins_within(url)) or (not scheme and any(_parts(_bare(url))[:2])):
        raise InvalidInput(
            "A source holds a URL, or a login, and something before it.",
            "Write the URL alone, without its login. Of a file that is called so, write ./ before its name, or change it.",
        )
    if scheme and "#" in rest:
        raise InvalidInput(f"The fragment (after the #) of {begin}{place} means nothing.", "Take it out. A # in a path is %23.")
    asked = urllib.parse.parse_qsl(rest.partition("?")[2], keep_blank_values=True)
    unknown = [name if value else "..." for name, value in asked if name not in form.query]  # a name alone may be a value
    if scheme and unknown:
        with_query = "; ".join(f"{one}:// has {', '.join(known.query)}" for one, known in forms.items() if known.query)
        raise InvalidInput(
            f"The query {', '.join(unknown)} of {begin}{place} means nothing.",
            f"Take it out. {with_query or 'No source has one'}. A question mark in a path is %3F.",
        )


def _require_no_options(name: str) -> None:
    if _JSON.match(name):
        raise InvalidInput(
            "A source is an object in JSON as qemu takes it, which may hold secrets.",
            "Name the file, the device or the URL itself. Logins are migrate_ssh_password or a key, and those of vSphere, az and aws.",
        )
    if any(True for dummy in _options_of_ceph(name)):
        raise InvalidInput(
            "A source names a Ceph image with options other than id and conf, which may hold secrets.",
            "As a source, map it (rbd map) and name the device. For a result write rbd:POOL/IMAGE:id=USER:conf=FILE; the key of the user is in the keyring that"
            " the file names.",
        )


def _options_of_ceph(name: str) -> Iterator[tuple[str, str]]:
    """Those of an image of Ceph, (name, value), that are none of ours."""
    found = _CEPH.match(name)
    for option in re.split(r"(?<!\\):", found[1])[1:] if found is not None else ():
        key, dummy, value = option.partition("=")
        if key not in _OF_CEPH or not value:
            yield key, value


def _logins_within(url: str) -> Iterator[str]:
    """What may be one: all up to the last @ behind a :// that is not at the beginning of the URL."""
    begun, ends = _URL.match(url), list(_AT.finditer(url))
    found = (_SLASHES if begun is not None and begun[1] else _ANY_SLASHES).search(url, begun.start(2) if begun is not None else 0)
    if found is not None and ends and ends[-1].start() >= found.end():
        yield url[found.end() : ends[-1].start()]


def _bare(text: str) -> str:
    """Without what may stand before a URL."""
    return _BEFORE.sub("", text, count=1)


class _Seen:
    """A text as it is read: with wide colons and letters as their usual ones, without what nobody sees (byte order marks, spaces of no width)."""

    def __init__(self, written: str) -> None:
        letters = [(plain, at) for at, letter in enumerate(written) for plain in _plain(letter)]
        self._written, self._at = written, [at for dummy, at in letters]
        self.text = "".join(plain for plain, dummy in letters)

    def as_written(self, text: str) -> Iterator[str]:
        """Each place of a text, as it is written there."""
        found = self.text.find(text)
        while found >= 0:
            yield self._written[self._at[found] : self._at[found + len(text) - 1] + 1]
            found = self.text.find(text, found + 1)


def _plain(letter: str) -> str:
    return "" if unicodedata.category(letter) == "Cf" else unicodedata.normalize("NFKC", letter)


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

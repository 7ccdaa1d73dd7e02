# SPDX-License-Identifier: GPL-3.0-or-later
"""A target in one file, shelf:///DIRECTORY: a directory that runs VMs. A test drops it into a copy of the collection."""

from __future__ import annotations

import contextlib
import json
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Optional

from ..core.errors import InvalidInput, ToolFailed
from ..core.vm import VmId
from . import placement
from .target import Definition, Described, Fitted, Found, Kind, Placing, Settings, Target


@dataclass(frozen=True)
class Shelf:
    """See Target. A VM is a file there, which says what of it is so; a pool is a directory below."""

    folder: Path
    deaf: bool = False
    pool: str = ""

    def _now(self, name: str, **changed: object) -> dict:
        file = self.folder / f"{name}.json"
        now = {**(json.loads(file.read_text()) if file.exists() else {}), **changed}
        if changed:
            file.write_text(json.dumps(now))
        return now

    def read(self, text: str) -> Described:
        said = json.loads(text)
        vm = VmId.from_data(said["vm"]) if said.get("vm") else None
        return Described(said["name"], tuple(said["disks"]), vm=vm, secret=said.get("secret", ""), encrypted=tuple(said.get("locked", ())))

    def fit(self, text: str, places: Mapping[str, str], images: Mapping[str, str]) -> Fitted:
        said = json.loads(text)
        mark = {"memory": str(said.get("memory")), "images": json.dumps(images), "places": json.dumps(places)}
        return Fitted(json.dumps({**said, "disks": [places[path] for path in said["disks"]], "mark": mark}), mark)

    def describe(self, name: str, secret: str = "") -> Optional[Found]:
        now = self._now(name)
        if not now:
            return None
        mark, kept = json.loads(now["text"]).get("mark"), now.get("secret", "")
        return Found(
            now["text"],
            mark,
            images=json.loads(mark["images"]) if mark else {},
            vm=self.read(now["text"]).vm,
            running=now.get("runs", False),
            autostart=now.get("autostart", False),
            secret=kept,
            knows=kept == secret,
            suffix=".json",
        )

    def preflight(self, described: Described) -> None:
        if (self.folder / "full").exists():
            raise InvalidInput(f"There is no room for {described.name}.", "Make room.")

    def place(self, placing: Placing) -> None:
        placement.place(placing.path, placing.place, placing.kind, placing.overwrite)

    def define(self, definition: Definition) -> None:
        kept = {"text": definition.text, "secret": definition.secret, "autostart": definition.autostart}
        self._now(definition.name, **{key: value for key, value in kept.items() if value not in ("", None)})

    def start(self, name: str) -> None:
        self._now(name, runs=True)

    def stop(self, name: str, timeout: float, power_off: bool) -> None:
        if self.deaf and not power_off:
            raise ToolFailed(f"{name} does not listen.", "Pull the plug.")
        self._now(name, runs=False)

    def remove(self, name: str, secret: str = "") -> None:
        (self.folder / f"{name}.json").unlink()

    def directory(self) -> str:
        return str(self.folder / self.pool)


class ShelfKind:
    """See Kind."""

    scheme = "shelf"
    libraries: tuple[str, ...] = ()

    @contextlib.contextmanager
    def opened(self, uri: str, settings: Settings) -> Iterator[Target]:
        yield Shelf(Path(urllib.parse.urlsplit(uri).path), pool=settings.pool)


TARGET: Kind = ShelfKind()

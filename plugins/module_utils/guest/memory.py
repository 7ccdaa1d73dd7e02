# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest in a dictionary, for tests and for trying a fix in a Python shell."""

from __future__ import annotations

import functools
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from ..core.errors import ToolFailed
from .model import BlockDevice, Stat
from .protocol import normalise


def _changing(method: Callable[..., Any]) -> Any:
    """A method of dictionaries, after which `Files` look anew."""

    @functools.wraps(method)
    def changed(files: Files, *args: Any, **more: Any) -> Any:
        files.forget()
        return method(files, *args, **more)

    return changed


class Files(dict[str, Union[bytes, Stat]]):
    """What a guest has, by path. Names in directories and ends of links are found once, and anew after a path came or went."""

    def __init__(self, content: Mapping[str, Union[str, bytes, Stat]]) -> None:
        super().__init__(
            (path, value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value) for path, value in content.items()
        )
        self.forget()

    def forget(self) -> None:
        """Look anew for names and links."""
        self._listed: Optional[dict[str, set[str]]] = None
        self._followed: dict[str, str] = {}
        self._links: Optional[bool] = None

    def __setitem__(self, path: str, value: Union[bytes, Stat]) -> None:
        if not isinstance(value, bytes) or not isinstance(self.get(path), bytes):
            self.forget()
        super().__setitem__(path, value)

    __delitem__ = _changing(dict.__delitem__)
    __ior__ = _changing(dict.__ior__)
    clear = _changing(dict.clear)
    pop = _changing(dict.pop)
    popitem = _changing(dict.popitem)
    setdefault = _changing(dict.setdefault)
    update = _changing(dict.update)

    def __copy__(self) -> dict[str, Union[bytes, Stat]]:
        return dict(self)

    def __deepcopy__(self, memo: object) -> dict[str, Union[bytes, Stat]]:
        return dict(self)  # what it holds does not change

    def within(self, directory: str) -> Optional[set[str]]:
        """The names in a directory, written without a slash at its end; None where there is none."""
        if self._listed is None:
            self._listed = {}
            for path in self:
                at = path.find("/")
                while at >= 0:
                    names = self._listed.setdefault(path[:at], set())
                    following = path.find("/", at + 1)
                    if at + 1 < len(path):
                        names.add(path[at + 1 : following if following >= 0 else None])
                    at = following
        return self._listed.get(directory)

    def follow(self, path: str) -> str:
        """A path with every symbolic link on the way resolved."""
        found = self._followed.get(path)
        if found is None:
            found = self._followed[path] = self._end(path)
        return found

    def _end(self, path: str) -> str:
        if self._links is None:
            self._links = any(isinstance(value, Stat) and value.kind == "link" for value in self.values())
        if not self._links:
            return normalise(path)
        done, todo = "", [part for part in normalise(path).split("/") if part]
        hops = 0
        while todo:
            step = f"{done}/{todo.pop(0)}"
            value = self.get(step)
            if isinstance(value, Stat) and value.kind == "link" and hops < 40:
                hops += 1
                todo = [
                    part
                    for part in normalise(value.target if value.target.startswith("/") else f"{done}/{value.target}").split("/")
                    if part
                ] + todo
                done = ""
            else:
                done = step
        return done or "/"


class MemoryGuest:
    """`files` maps paths to text, bytes, or a Stat for links and empty directories; `devices` maps the guest's names to devices."""

    def __init__(
        self,
        files: Mapping[str, Union[str, bytes, Stat]],
        devices: Optional[Mapping[str, BlockDevice]] = None,
        raw: Optional[Mapping[str, bytes]] = None,
    ) -> None:
        self._files = Files(files)
        self.modes: dict[str, int] = {}
        self.names = dict(devices or {})
        self.raw = dict(raw or {})
        self.commands: list[tuple[str, ...]] = []

    @property
    def files(self) -> Files:
        return self._files

    @files.setter
    def files(self, content: Mapping[str, Union[str, bytes, Stat]]) -> None:
        self._files = Files(content)

    def read(self, path: str) -> Optional[bytes]:
        value = self.files.get(self.files.follow(path))
        return value if isinstance(value, bytes) else None

    def stat(self, path: str) -> Optional[Stat]:
        parent, dummy, name = normalise(path).rpartition("/")
        path = f"{self.files.follow(parent or '/').rstrip('/')}/{name}"
        value = self.files.get(path)
        if isinstance(value, bytes):
            return Stat("file", len(value), self.modes.get(path, 0o644))
        if value is not None:
            return value
        return Stat("dir", mode=0o755) if self.files.within(path.rstrip("/")) is not None else None

    def listdir(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(self.files.within(self.files.follow(path).rstrip("/")) or ()))

    def devices(self) -> tuple[BlockDevice, ...]:
        return tuple({device.name: device for device in self.names.values()}.values())

    def device(self, spec: str) -> Optional[BlockDevice]:
        tag, dummy, value = spec.replace("/dev/disk/by-uuid/", "UUID=").partition("=")
        value = value.strip('"')
        for device in self.devices():
            tags = {"UUID": device.uuid, "LABEL": device.label, "PARTUUID": device.partuuid, "PARTLABEL": device.partlabel}
            if (value and tags.get(tag) == value) or spec in (device.name, *device.aliases):
                return device
        return self.names.get(spec)

    def read_device(self, name: str, offset: int, size: int) -> bytes:
        return self.raw.get(name, b"")[offset : offset + size]

    def write_device(self, name: str, offset: int, data: bytes) -> None:
        self.raw[name] = self.raw[name][:offset] + data + self.raw[name][offset + len(data) :]

    def write(self, path: str, data: bytes, like: Optional[Stat]) -> None:
        path = self.files.follow(path)
        self.files[path] = data
        if like is not None:
            self.modes[path] = like.mode

    def rename(self, source: str, path: str) -> None:
        for known in [known for known in self.files if known == source or known.startswith(source + "/")]:
            self.files[path + known[len(source) :]] = self.files.pop(known)

    def copy(self, source: str, path: str) -> None:
        self.files[path] = self.files[self.files.follow(source)]

    def symlink(self, target: str, path: str) -> None:
        self.files[path] = Stat("link", len(target), 0o777, target=target)

    def append(self, path: str, data: bytes) -> None:
        self.files[self.files.follow(path)] = (self.read(path) or b"") + data

    def truncate(self, path: str, size: int) -> None:
        self.files[self.files.follow(path)] = (self.read(path) or b"")[:size]

    def mkdir(self, path: str, mode: Optional[int] = None) -> None:
        pass

    def remove(self, path: str) -> None:
        for known in [known for known in self.files if known == path or known.startswith(path + "/")]:
            del self.files[known]

    def run(self, argv: Sequence[str]) -> str:
        if self.stat(argv[0]) is None:
            raise ToolFailed(f"{argv[0]} does not exist in the guest.")
        self.commands.append(tuple(argv))
        return ""

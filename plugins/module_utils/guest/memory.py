# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest in a dictionary, for tests and for trying a fix in a Python shell."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence, Union

from ..core.errors import ToolFailed
from .model import BlockDevice, Stat
from .protocol import normalise


class MemoryGuest:
    """`files` maps paths to text, bytes, or a Stat for links and empty directories; `devices` maps the guest's names to devices."""

    def __init__(
        self,
        files: Mapping[str, Union[str, bytes, Stat]],
        devices: Optional[Mapping[str, BlockDevice]] = None,
        raw: Optional[Mapping[str, bytes]] = None,
    ) -> None:
        self.files: dict[str, Union[bytes, Stat]] = {
            path: value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value for path, value in files.items()
        }
        self.modes: dict[str, int] = {}
        self.names = dict(devices or {})
        self.raw = dict(raw or {})
        self.commands: list[tuple[str, ...]] = []

    def read(self, path: str) -> Optional[bytes]:
        value = self.files.get(self._follow(path))
        return value if isinstance(value, bytes) else None

    def stat(self, path: str) -> Optional[Stat]:
        parent, dummy, name = normalise(path).rpartition("/")
        path = f"{self._follow(parent or '/').rstrip('/')}/{name}"
        value = self.files.get(path)
        if isinstance(value, bytes):
            return Stat("file", len(value), self.modes.get(path, 0o644))
        if value is not None:
            return value
        return Stat("dir", mode=0o755) if any(known.startswith(path.rstrip("/") + "/") for known in self.files) else None

    def listdir(self, path: str) -> tuple[str, ...]:
        prefix = self._follow(path).rstrip("/") + "/"
        return tuple(
            sorted({known[len(prefix) :].split("/", 1)[0] for known in self.files if known.startswith(prefix) and known != prefix})
        )

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
        path = self._follow(path)
        self.files[path] = data
        if like is not None:
            self.modes[path] = like.mode

    def rename(self, source: str, path: str) -> None:
        for known in [known for known in self.files if known == source or known.startswith(source + "/")]:
            self.files[path + known[len(source) :]] = self.files.pop(known)

    def copy(self, source: str, path: str) -> None:
        self.files[path] = self.files[self._follow(source)]

    def symlink(self, target: str, path: str) -> None:
        self.files[path] = Stat("link", len(target), 0o777, target=target)

    def append(self, path: str, data: bytes) -> None:
        self.files[self._follow(path)] = (self.read(path) or b"") + data

    def truncate(self, path: str, size: int) -> None:
        self.files[self._follow(path)] = (self.read(path) or b"")[:size]

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

    def _follow(self, path: str) -> str:
        """With every symbolic link on the way resolved."""
        done, todo = "", [part for part in normalise(path).split("/") if part]
        hops = 0
        while todo:
            step = f"{done}/{todo.pop(0)}"
            value = self.files.get(step)
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

# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts in a real cmd.exe implementation: wine without a display, with stand-ins for the programs that it lacks or that would do something."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

LOADER, SERVER = "/usr/lib/wine/wine64", "/usr/lib/wine/wineserver64"
BUILT_IN = Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")
SOURCE = Path(__file__).with_name("standin.c")
STAND_INS = ("findstr", "getmac", "msiexec", "net", "netsh", "ping", "pnputil", "route", "schtasks", "shutdown", "waitfor")
# What a stand-in is told: its exit code and what it prints; None: it hangs. It is asked with its name and its words.
Answer = Callable[[str, str], "tuple[int, str] | int | None"]


def program(folder: Path) -> Path:
    """The stand-in as a Windows program, made by the compiler that every Debian has."""
    path = folder / "standin.exe"
    flags = "-Os -c -ffreestanding -fno-pic -mno-red-zone -fno-asynchronous-unwind-tables -fno-stack-protector -fno-ident -Wall -Werror"
    subprocess.run(["gcc", *flags.split(), SOURCE, "-o", folder / "standin.o"], check=True)
    subprocess.run(["objcopy", "-R", ".comment", "-R", ".note*", folder / "standin.o"], check=True)
    place = "--image-base 0x400000 --disable-dynamicbase --subsystem console -e start -s"
    subprocess.run(["ld", "-m", "i386pep", *place.split(), "-o", path, folder / "standin.o", BUILT_IN / "kernel32.dll"], check=True)
    return path


class Machine:
    """A Windows directory of links to wine's programs, which costs nothing to make; what wineboot would add is not needed for cmd.exe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "drive_c" / "windows"
        self.stand = folder / "drive_c" / "stand"
        self.calls: list[tuple[str, str]] = []
        self.answer: Answer = lambda name, words: 0
        overrides = ",".join(f"{name}.exe" for name in STAND_INS) + "=n"
        self.delay = {"ping": 0.15}  # seconds: so that who waits starts fewer programs
        self._env = {
            "WINEPREFIX": str(folder),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": overrides,
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
        }
        system = self.root / "system32"
        for one in (system, self.root / "temp", self.stand, folder / "dosdevices"):
            one.mkdir(parents=True)
        (folder / "dosdevices" / "c:").symlink_to("../drive_c")
        (folder / "dosdevices" / "z:").symlink_to("/")
        (folder / ".update-timestamp").write_text("disable")
        for built_in in BUILT_IN.iterdir():
            if built_in.stem not in STAND_INS:
                (system / built_in.name).symlink_to(built_in)
        self._program = program(folder)
        self.standing(*STAND_INS)
        self._over = threading.Event()
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()
        subprocess.run([SERVER, "-p"], env=self._env, check=True)  # stays, else every program waits for a new one
        self.registry = Registry(self)
        self.run("reg", "add", "HKCU\\Software\\Wine\\Drivers", "/v", "Graphics", "/d", "null", "/f")  # else each looks for a display

    def standing(self, *names: str) -> None:
        """The stand-ins that are there; the others are missing."""
        for name in STAND_INS:
            path = self.root / "system32" / f"{name}.exe"
            if name not in names:
                path.unlink(missing_ok=True)
            elif not path.exists():
                shutil.copy(self._program, path)

    def _serve(self) -> None:
        due: list[tuple[float, str, str]] = []
        while not self._over.wait(0.004):
            for name in os.listdir(self.stand):
                if name.startswith("ask."):
                    path = self.stand / name
                    program_, dummy, words = path.read_text().partition("\n")
                    path.unlink()
                    asked = program_.rpartition("\\")[2].partition(".")[0].lower()
                    self.calls.append((asked, words.strip()))
                    told = self.answer(asked, words.strip())
                    if told is not None:
                        code, output = told if isinstance(told, tuple) else (told, "")
                        due.append((time.monotonic() + self.delay.get(asked, 0), name[4:], f"{code}\n{output}"))
            for one in [one for one in due if one[0] <= time.monotonic()]:
                due.remove(one)
                fresh = self.stand / f"fresh.answer.{one[1]}"
                fresh.write_text(one[2])
                fresh.rename(self.stand / f"answer.{one[1]}")

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """A Windows program, from the system's directory. It writes into a file: what wine leaves running would hold a pipe open."""
        with open(self.folder / "output", "wb") as output:
            folder = self.root / "system32"
            return subprocess.Popen([LOADER, *argv], env=self._env, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def run(self, *argv: str) -> tuple[int, str]:
        code = self.start(*argv).wait(timeout=120)
        return code, (self.folder / "output").read_text("utf-8", "replace").replace("\r\n", "\n")

    def cut(self) -> None:
        """The power goes: every program ends where it is. The registry stays, as it does where each write is logged."""
        quiet = 0
        while quiet < 4:  # one that is just being started does not say yet whose it is
            mine = list(self.programs())
            for number in mine:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            quiet = 0 if mine else quiet + 1
            time.sleep(0.02)
        for path in self.stand.iterdir():
            path.unlink(missing_ok=True)

    def programs(self) -> Iterator[int]:
        """The programs of this machine, without what wine itself runs."""
        mark = f"WINEPREFIX={self.folder}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line, state = (process / "cmdline").read_bytes(), (process / "stat").read_text().rpartition(")")[2].split()[0]
                own = any(name in line for name in (b"wineserver", b"services.exe", b"explorer.exe"))
                if state != "Z" and not own and mark in (process / "environ").read_bytes():
                    yield int(process.name)

    def close(self) -> None:
        self.cut()
        subprocess.run([SERVER, "-k"], env=self._env, check=False)
        self._over.set()
        self._server.join()


class Registry:
    """The machine's registry, by wine's own reg."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def load(self, tree: Mapping[str, Mapping[str, int | str | None]]) -> None:
        """Values by their keys below HKLM; None takes one away."""
        lines = ["REGEDIT4", ""]
        for key, values in tree.items():
            lines.append(f"[HKEY_LOCAL_MACHINE\\{key}]")
            for name, value in values.items():
                text = "-" if value is None else f"dword:{value:08x}" if isinstance(value, int) else '"' + value.replace("\\", "\\\\") + '"'
                lines.append(f'"{name}"={text}')
            lines.append("")
        path = self._machine.folder / "drive_c" / "load.reg"
        path.write_text("\r\n".join(lines))
        for dummy in range(5):  # wine now and then does not start a program
            code, output = self._machine.run("reg", "import", "C:\\load.reg")
            if code == 0:
                break
        assert code == 0, output

    def values(self, key: str) -> dict[str, int | str]:
        """The numbers and texts of a key below HKLM."""
        found: dict[str, int | str] = {}
        for dummy in range(5):  # on a busy machine one was seen that said nothing
            code, output = self._machine.run("reg", "query", f"HKLM\\{key}")
            if code == 0 and output.strip():
                break
        for line in output.splitlines():
            name, kind, value = [*line.strip().split("    "), "", ""][:3]
            if kind.startswith("REG_"):
                found[name] = int(value, 16) if kind == "REG_DWORD" else value
        return found

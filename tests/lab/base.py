# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system every lab guest starts from: Debian's own packages, made once and kept as a tar archive."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

PACKAGES = (
    "linux-image-amd64",
    "systemd",
    "systemd-sysv",
    "systemd-boot",
    "udev",
    "dbus",
    "openssh-server",
    "netbase",
    "iproute2",
    "e2fsprogs",
    "kmod",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "grub2-common",
    "ifupdown",
    "isc-dhcp-client",
    "initramfs-tools",
    "dracut-core",
    "lvm2",
    "btrfs-progs",
    "zstd",
    "xz-utils",
    "lz4",
    "open-vm-tools",
    "python3",
)
LEFT_OUT = (
    "drivers/gpu",
    "drivers/media",
    "drivers/net/wireless",
    "drivers/infiniband",
    "drivers/staging",
    "drivers/iio",
    "drivers/isdn",
    "drivers/net/ethernet/mellanox",
    "sound",
    "drivers/bluetooth",
    "net/bluetooth",
    "net/wireless",
    "net/mac80211",
    "drivers/usb/gadget",
    "drivers/comedi",
    "drivers/video",
    "drivers/hwmon",
    "drivers/leds",
)
RELEASE = "bookworm"
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")


def of_release(sources: str) -> str:
    """The machine's package sources, with the guests' release in place of its own."""
    (own,) = re.findall(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return re.sub(rf"\b{own}\b", RELEASE, sources)


def base_tar(cache: Path, extra: tuple[str, ...] = ()) -> Path:
    """The archive with `extra` packages, built on first use; its name carries a digest of what it is made of."""
    packages = (*PACKAGES, *extra)
    recipe = repr((packages, LEFT_OUT, "without sources")).encode()
    tar = cache / f"base-{hashlib.sha256(recipe).hexdigest()[:12]}.tar"
    if tar.exists():
        return tar
    cache.mkdir(parents=True, exist_ok=True)
    sources = Path(next(path for path in SOURCES if os.path.exists(path) and os.path.getsize(path)))
    excluded = [f"--dpkgopt=path-exclude=/lib/modules/*/kernel/{tree}/*" for tree in LEFT_OUT]
    excluded += [f"--dpkgopt=path-exclude=/usr/share/{tree}/*" for tree in ("doc", "man", "locale")]
    with (
        tempfile.NamedTemporaryFile(dir=cache, suffix=".tar") as partial,
        tempfile.NamedTemporaryFile("w", suffix=sources.suffix) as listed,
    ):
        listed.write(of_release(sources.read_text()))
        listed.flush()
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                "--mode=root",
                "--format=tar",
                '--aptopt=Acquire::Check-Valid-Until "false"',
                '--aptopt=APT::Install-Recommends "false"',
                "--dpkgopt=force-unsafe-io",
                *excluded,
                f"--include={','.join(packages)}",
                # The machine's own package sources do not belong into a guest. (tar --delete damages archives of this size.)
                '--customize-hook=rm -rf "$1/etc/apt/sources.list.d" "$1/etc/apt/sources.list"',
                RELEASE,
                partial.name,
                listed.name,
            ],
            check=True,
        )
        os.link(partial.name, tar)
    return tar


def agent_packages(cache: Path) -> Path:
    """A folder with qemu-guest-agent and what it needs beside the base, as an operator would gather it."""
    folder = cache / "agent"
    if not list(folder.glob("qemu-guest-agent*.deb")):
        (folder / "partial").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            subprocess.run(["tar", "-xf", base_tar(cache), "-C", scratch, "./var/lib/dpkg/status"], check=True)
            subprocess.run(
                ["apt-get", "install", "-y", "-q", "--no-install-recommends", "--download-only", "-o", f"Dir::State::status={scratch}/var/lib/dpkg/status",
                 "-o", f"Dir::Cache::archives={folder}", "-o", "Debug::NoLocking=1", "qemu-guest-agent"],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
    return folder


if __name__ == "__main__":
    print(base_tar(Path(__file__).resolve().parents[2] / "build" / "lab"))

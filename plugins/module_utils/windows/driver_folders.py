# SPDX-License-Identifier: GPL-3.0-or-later
"""By which names a driver source calls releases of Windows and architectures, and which folder may stand in for another."""

from __future__ import annotations

from typing import Mapping

# Another folder is taken only where its kernel is the same, or where the drivers are known to be built for both. Those of 7 and 2008 R2 serve
# 8 to 2012 R2, whose own carry Red Hat's test signature since virtio-win 0.1.217 at the latest (virtio-win-pkg-scripts, issues 65 and 116).
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "2k25": ("2k22", "2k19"),
    "2k22": ("2k19", "2k16"),
    "2k19": ("2k16", "w10"),
    "2k16": ("w10",),
    "w11": ("w10",),
    "w10": ("2k16",),
    "2k12R2": ("w8.1", "2k8R2", "w7"),
    "w8.1": ("2k12R2", "w7", "2k8R2"),
    "2k12": ("w8", "2k8R2", "w7"),
    "w8": ("2k12", "w7", "2k8R2"),
    "2k8R2": ("w7",),
    "w7": ("2k8R2",),
}
RELEASES = {name.lower() for name in ("xp", "2k3", "2k8", *FALLBACKS)}
FOLDERS = {"x86_64": ("amd64", "x64", "x86_64"), "i686": ("x86", "i386", "i686"), "aarch64": ("arm64", "aarch64")}
ALL_FOLDERS = {name for names in FOLDERS.values() for name in names}
TREES = ("viostor", "vioscsi", "drivers", "amd64")  # by which a directory is known to hold drivers


def is_image(name: str) -> bool:
    """Whether a file is called as the ISO is."""
    return name.lower().startswith("virtio-win") and name.lower().endswith(".iso")

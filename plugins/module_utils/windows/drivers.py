# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of a driver source that fit one Windows. Everything is judged by the INF files, not by names.

The trees that are known: that of the virtio-win ISO (<driver>/<release>/<architecture>), its boot folders (amd64/<release>), and that of
the distribution packages (drivers/by-os/<architecture>/<release>).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Iterator, Optional, Sequence

from ..core.concern import INFO, WARNING, Findings, listed
from ..guest.model import WindowsFacts
from . import pe, signing_policy
from .driver_folders import ALL_FOLDERS, FALLBACKS, FOLDERS, RELEASES
from .driver_source import Tree
from .inf import Driver, Inf
from .signing_policy import NO, UNKNOWN, UNSURE, YES, Verdict

STORAGE = ("viostor", "vioscsi")
OPTIONAL = (
    "netkvm",
    "balloon",
    "vioser",
    "viorng",
    "pvpanic",
    "pvpanic-pci",
    "fwcfg",
    "viofs",
    "viogpudo",
    "qxl",
    "qxldod",
    "vioinput",
    "viosock",
)
_SKIPPED = (".pdb", ".map", ".html", ".txt")
_MAX_DEPTH = 6


@dataclass(frozen=True)
class Package:
    """A driver with the place of its files in the source: `inf` and `files` as (name, path) below the tree's root.

    `verdict`: whether the guest's kernel takes it.
    """

    name: str
    driver: Driver
    inf: str
    digest: str
    files: tuple[tuple[str, str], ...]
    verdict: Verdict = Verdict(YES, "")


def select(tree: Tree, facts: WindowsFacts, architecture: str, wanted: tuple[str, ...], findings: Findings) -> dict[str, Package]:
    """The packages for one Windows, by the names of their INF files without ending. What is missing or wrong becomes a concern."""
    wanted = (*STORAGE, *(wanted or OPTIONAL))
    found = sorted(_candidates(tree, facts.release, architecture))
    packages: dict[str, Package] = {}
    told: dict[Verdict, list[str]] = {}
    for name in wanted:
        for release in (facts.release, *FALLBACKS.get(facts.release, ())):
            paths = [path for kind, path in found if kind == release.lower() and path.rsplit("/", 1)[-1].lower() == f"{name}.inf"]
            package = _taken(tree, paths, name, release, facts=facts, architecture=architecture, findings=findings, told=told)
            if package is None:
                continue
            packages[name] = package
            if release != facts.release:
                findings.add(
                    "windows.driver-fallback",
                    WARNING,
                    f"The driver source has no folder {facts.release} for {architecture} whose {name} this Windows takes; it is taken from {release}.",
                    "Use a newer virtio-win if there is one; the boot-readiness proof says whether the driver fits.",
                )
            break
    for verdict, names in told.items():
        _signature_concern(verdict, listed(names), findings)
    return packages


def _taken(
    tree: Tree,
    paths: Sequence[str],
    name: str,
    release: str,
    *,
    facts: WindowsFacts,
    architecture: str,
    findings: Findings,
    told: dict[Verdict, list[str]],
) -> Optional[Package]:
    """The first of the packages that fits and that the kernel takes; what is to be said of signatures goes to `told`."""
    for path in paths:
        package = _package(tree, path, name, facts, architecture, findings)
        if package is None:
            continue
        verdict = _verdict(tree, package, facts, architecture)
        names = told.setdefault(replace(verdict, publisher=b""), [])
        names += [label for label in (f"{name} ({release})",) if label not in names]
        if verdict.state != NO:
            return replace(package, verdict=verdict)
    return None


def _verdict(tree: Tree, package: Package, facts: WindowsFacts, architecture: str) -> Verdict:
    """Whether the kernel takes it. What starts the disk carries its signature in itself, for no catalogue is installed by then; of the others
    the catalogue is what Windows asks for at their installation. A package without a program has nothing that the kernel loads.
    """
    service, places = package.driver.service, dict(package.files)
    if service is None:
        return Verdict(YES, "it has no program")
    program = tree.read(places[service.image.rsplit("\\", 1)[-1].lower()])
    catalog = places.get(package.driver.catalog.lower()) if package.name not in STORAGE else None
    return signing_policy.judge(facts, architecture, program, tree.read(catalog) if catalog is not None else None)


def _signature_concern(verdict: Verdict, names: str, findings: Findings) -> None:
    if verdict.state == NO:
        findings.add(
            signing_policy.CODE,
            WARNING,
            f"This Windows would not load these drivers, and they are not used: {names}: {verdict.why}.",
            "Take a virtio-win whose drivers for this release are signed by Microsoft (0.1.189 or older for 8 to 2012 R2, or that of a Red Hat"
            f" subscription); or accept {signing_policy.CODE} where you know that this Windows loads them.",
        )
    elif verdict.state == UNKNOWN:
        findings.add(
            "windows.signature-unjudged",
            WARNING,
            f"It is not known whether this Windows loads these drivers: {names}: {verdict.why}",
            "Install the package osslsigncode on the conversion host (for RHEL from EPEL; the role conversion_host does it on Debian and Ubuntu) and run"
            " again; or rely on the boot test.",
        )
    elif verdict.state == UNSURE and verdict.sha2:
        findings.add(
            "windows.sha2",
            INFO,
            f"This Windows needs the update KB3033929 or KB4474419 (7, 2008 R2), KB4474419 (2008) for {names}: {verdict.why}.",
            "Install it at the source, or use a virtio-win whose drivers are signed with SHA-1 too (0.1.173 or older).",
        )
    elif verdict.state == UNSURE:
        findings.add(
            "windows.signature-unsure",
            WARNING,
            f"This Windows may refuse these drivers: {names}: {verdict.why}.",
            "Look at the boot test. Drivers with a WHQL signature, as those of a Red Hat subscription, are beyond doubt.",
        )


def _candidates(tree: Tree, release: str, architecture: str) -> Iterator[tuple[str, str]]:
    """(release folder, path) of every INF below folders of a release and an architecture that fit."""
    releases = {name.lower() for name in (release, *FALLBACKS.get(release, ()))}
    stack: list[tuple[str, str, bool]] = [("", "", False)]
    while stack:
        directory, folder, fits = stack.pop()
        for name, is_directory in tree.listdir(directory):
            path, low = f"{directory}/{name}" if directory else name, name.lower()
            if is_directory and path.count("/") < _MAX_DEPTH:
                foreign = (low in RELEASES and low not in releases) or (low in ALL_FOLDERS and low not in FOLDERS.get(architecture, ()))
                if not foreign and low != "sriov":
                    stack.append((path, low if low in RELEASES else folder, fits or low in ALL_FOLDERS))
            elif low.endswith(".inf") and folder and fits:
                yield folder, path


def _package(tree: Tree, path: str, name: str, facts: WindowsFacts, architecture: str, findings: Findings) -> Optional[Package]:
    data = tree.read(path)
    driver = Inf(path, data).driver(architecture, facts.nt, facts.build)
    if driver is None:
        return None
    directory = path.rpartition("/")[0]
    beside = {entry.lower(): entry for entry, is_directory in tree.listdir(directory) if not is_directory}
    needed = [driver.inf, *([driver.catalog] if driver.catalog else []), *(file for file in driver.files)]
    needed = list(dict.fromkeys(file.lower() for file in needed if not file.lower().endswith(_SKIPPED)))
    missing = [file for file in needed if file not in beside]
    if driver.service is not None:
        program = driver.service.image.rsplit("\\", 1)[-1].lower()
        if program not in needed:
            needed.append(program)
            missing += [program] if program not in beside else []
    wrong = ""
    if missing:
        wrong = f"it lacks {', '.join(missing)}"
    elif driver.service is not None:
        machine = pe.machine(tree.read(f"{directory}/{beside[program]}"))
        if machine != architecture:
            wrong = f"{program} is for {machine or 'no known machine'}, and the guest is {architecture}"
    if wrong:
        findings.add(
            "windows.driver-unusable",
            WARNING,
            f"The driver {name} in {directory} cannot be used: {wrong}.",
            "Take the drivers from an unchanged virtio-win ISO.",
        )
        return None
    files = tuple((file, f"{directory}/{beside[file]}") for file in needed)
    return Package(name, driver, path, hashlib.sha256(data).hexdigest(), files)

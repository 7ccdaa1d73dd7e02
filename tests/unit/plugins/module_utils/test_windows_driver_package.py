"""Packages of virtio-win as the tools of distributions make them: rpmbuild, dpkg-deb, wixl and genisoimage."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
import winlab

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import cache
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError, MissingTool, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import WindowsFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import driver_package, driver_source, drivers

W10 = WindowsFacts("w10", (10, 0), 19045, "Client", "/c/Windows", "ControlSet001", "", "")
W81 = WindowsFacts("w8.1", (6, 3), 9600, "Client", "/c/Windows", "ControlSet001", "", "")


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(cache, "base", lambda: str(tmp_path / "cache"))
    return tmp_path / "cache" / "drivers"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return winlab.driver_tree(tmp_path_factory.mktemp("tree"), {"w10": ("x86_64", "i686"), "w8.1": ("x86_64",)})


def rpm(tree: Path, folder: Path) -> Path:
    """As virtio-win.noarch.rpm: everything below /usr/share/virtio-win."""
    spec = folder / "virtio-win.spec"
    spec.write_text(
        "Name: virtio-win\nVersion: 0.1.1\nRelease: 1\nSummary: drivers\nLicense: none\nBuildArch: noarch\n%description\ndrivers\n%install\n"
        f"mkdir -p %{{buildroot}}/usr/share\ncp -r {tree} %{{buildroot}}/usr/share/virtio-win\n%files\n/usr/share/virtio-win\n"
        f"%pre\ntouch {folder}/ran\n"
    )
    subprocess.run(["rpmbuild", "-bb", "--define", f"_topdir {folder}/rpm", spec], check=True, capture_output=True)
    return next((folder / "rpm" / "RPMS").rglob("*.rpm"))


def deb(tree: Path, folder: Path) -> Path:
    """As Debian-like packages have it: the ISO alone."""
    root = folder / "deb"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN").chmod(0o755)
    (root / "DEBIAN" / "control").write_text(
        "Package: virtio-win\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: x\n"
    )
    (root / "usr" / "share" / "virtio").mkdir(parents=True)
    subprocess.run(["genisoimage", "-quiet", "-J", "-R", "-o", root / "usr/share/virtio/virtio-win-0.1.1.iso", tree], check=True)
    (root / "usr" / "share" / "virtio" / "virtio-win.iso").symlink_to("virtio-win-0.1.1.iso")
    subprocess.run(["dpkg-deb", "--build", root, folder / "virtio-win.deb"], check=True, capture_output=True)
    return folder / "virtio-win.deb"


def msi(tree: Path, folder: Path) -> Path:
    """As virtio-win-gt-x64.msi: the files of all releases in one directory for each driver, told apart by the keys of their table."""
    parts = []
    for number, path in enumerate(sorted(tree.rglob("*"))):
        if path.is_file() and path.suffix in (".inf", ".sys", ".cat"):
            name, release, machine = path.relative_to(tree).parts[:3]
            key, source = f"FILE_{path.stem}_{release}_{machine}{path.suffix}", path.relative_to(tree)
            parts.append((name, f"<Component Id='C{number}' Guid='*'><File Id='{key}' Source='{source}' KeyPath='yes'/></Component>"))
    folders = "".join(
        f"<Directory Id='{name}' Name='{name}'>{''.join(text for one, text in parts if one == name)}</Directory>"
        for name in sorted({name for name, dummy in parts})
    )
    refs = "".join(f"<ComponentRef Id='{text.split(chr(39))[1]}'/>" for dummy, text in parts)
    source = folder / "gt.wxs"
    source.write_text(
        "<Wix xmlns='http://schemas.microsoft.com/wix/2006/wi'><Product Id='*' Name='gt' Language='1033' Version='1.0.0' Manufacturer='none'"
        " UpgradeCode='12345678-1234-1234-1234-123456789012'><Package InstallerVersion='200' Compressed='yes'/><Media Id='1' Cabinet='c.cab' EmbedCab='yes'/>"
        f"<Directory Id='TARGETDIR' Name='SourceDir'>{folders}</Directory><Feature Id='F' Level='1'>{refs}</Feature></Product></Wix>"
    )
    subprocess.run(["wixl", "-o", folder / "gt.msi", source], cwd=tree, check=True, capture_output=True)
    return folder / "gt.msi"


@pytest.mark.parametrize("make", [rpm, msi])
def test_the_drivers_of_a_package_are_those_of_the_directory_it_was_made_of(make, tree, tmp_path, kept):
    package = make(tree, tmp_path)
    place, iso = driver_source.locate(str(package))
    assert not iso and place.startswith(str(kept)) and not (tmp_path / "ran").exists()
    for facts in (W10, W81):
        expected = drivers.select(driver_source.HostTree(str(tree)), facts, "x86_64", (), Findings())
        found = drivers.select(driver_source.HostTree(place), facts, "x86_64", (), Findings())
        assert {name: one.digest for name, one in found.items()} == {
            name: one.digest for name, one in expected.items()
        } and "viostor" in found
    for path in Path(place).rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert driver_source.locate(str(package)) == (place, False) and len(os.listdir(kept)) == 1
    os.utime(package)
    package.chmod(0o600)
    assert driver_source.locate(str(package)) == (place, False)
    package.write_bytes(package.read_bytes() + b"x")
    with contextlib.suppress(MigrationError):
        assert driver_source.locate(str(package))[0] != place


def test_the_iso_of_a_package_is_mounted_in_the_appliance(tree, tmp_path):
    place, iso = driver_source.locate(str(deb(tree, tmp_path)))
    assert iso and place.endswith("/usr/share/virtio/virtio-win.iso")


def test_a_package_without_drivers_or_with_its_end_missing_leaves_nothing(tree, tmp_path, kept):
    (tmp_path / "other" / "nothing").mkdir(parents=True)
    whole = rpm(tree, tmp_path)
    (tmp_path / "half.rpm").write_bytes(whole.read_bytes()[:20000])
    empty = rpm(tmp_path / "other" / "nothing", tmp_path / "other")
    for wrong in (tmp_path / "half.rpm", empty):
        with pytest.raises(MigrationError):
            driver_source.locate(str(wrong))
        assert os.listdir(kept) == []
    (tmp_path / "text.rpm").write_text("no package")
    with pytest.raises(InvalidInput, match="neither an ISO image nor a package"):
        driver_source.locate(str(tmp_path / "text.rpm"))


def test_what_a_package_links_to_outside_is_not_written(tree, tmp_path):
    """An archive whose link leads out, and whose next file goes through it."""
    (tmp_path / "out").mkdir()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "link").symlink_to(tmp_path / "out")
    (second / "link").mkdir(parents=True)
    (second / "link" / "file").write_text("x")
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", "-cf", archive, "-C", first, "link"], check=True)
    subprocess.run(["tar", "-rf", archive, "-C", second, "link/file"], check=True)
    (tmp_path / "into").mkdir()
    with pytest.raises(MigrationError):
        driver_package._archive(str(archive), str(tmp_path / "into"))
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("key", ["{victim}", "../../../../../../../../{victim}"])
def test_the_keys_of_an_msi_are_no_paths(key, tree, tmp_path):
    """A file of the host whose name looks like that of a driver."""
    victim = tmp_path / "victim_w10_amd64.inf"
    victim.write_text("mine")
    package = msi(tree, tmp_path)
    table = subprocess.run(["msiinfo", "export", package, "File"], check=True, capture_output=True, text=True).stdout.splitlines()
    first = table[3].split("\t")
    (tmp_path / "File.idt").write_text("\r\n".join([*table, "\t".join([key.format(victim=victim), *first[1:]])]) + "\r\n")
    subprocess.run(["msibuild", package, "-i", tmp_path / "File.idt"], check=True, capture_output=True)
    driver_source.locate(str(package))
    assert victim.read_text() == "mine"


def test_what_is_neither_a_file_nor_a_directory_is_not_kept(tmp_path, kept):
    (tmp_path / "tree" / "viostor").mkdir(parents=True)
    os.mkfifo(tmp_path / "tree" / "virtio-win.iso")
    (tmp_path / "tree" / "viostor" / "passwd").symlink_to("/etc/passwd")
    place, iso = driver_source.locate(str(rpm(tmp_path / "tree", tmp_path)))
    assert not iso and os.listdir(place) == ["viostor"] and os.listdir(os.path.join(place, "viostor")) == []


def test_a_place_that_others_write_to_is_not_used(tree, tmp_path, kept):
    package = msi(tree, tmp_path)
    kept.parent.mkdir()
    kept.mkdir()
    kept.chmod(0o777)
    with pytest.raises(UnsafeInput):
        driver_source.locate(str(package))


def test_a_host_without_the_tool_is_told_which(tree, tmp_path, monkeypatch):
    package = msi(tree, tmp_path)
    monkeypatch.setattr(driver_package.process.shutil, "which", lambda tool, path: None)
    with pytest.raises(MissingTool, match="msiinfo") as told:
        driver_source.locate(str(package))
    assert "msitools" in told.value.hint

# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes that a result cannot have are refused before anything is written, in check mode as in a run."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import sizes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.request import Request, largest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.staging import StagedDisk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import convert
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.subject import Subject

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


def options(tmp_path, **given):
    return convert.ConvertOptions(Subject(), "vm", str(tmp_path), **given)


def planned(tmp_path, disks=(MIB,), **given):
    """What the sizes of the results are, by the way that check mode and a run share."""
    wanted = convert.requests(options(tmp_path, **given), [StagedDisk("", "", size) for size in disks])
    return [request.virtual_size(size, 0) for request, size in zip(wanted, disks)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resize": ["+999999999999999T"]}, "larger than qemu makes one"),
        ({"resize": ["9000T"]}, "larger than qemu makes one"),
        ({"resize": ["2049T"]}, "2048 TiB"),
        ({"resize": ["999999999999999"], "format": "raw"}, "file system"),
        ({"resize": ["2048T"], "format": "raw"}, "file system"),
        ({"resize": ["60T"], "cluster_size": 512}, "larger clusters"),
        ({"resize": ["129G"], "cluster_size": 512}, "larger clusters"),
        ({"disks": (129 * GIB,), "cluster_size": 512}, "larger clusters"),
        ({"resize": ["600T"], "cluster_size": 32768}, "larger clusters"),
        ({"resize": ["65T"], "format": "vdi"}, "another format"),
        ({"resize": ["", "+1G"]}, "sizes for 2 disks, but the VM has 1"),
        ({"resize": ["", ""]}, "sizes for 2 disks, but the VM has 1"),
        ({"devices": [""]}, "names none"),
        ({"devices": ["", ""], "disks": (MIB, MIB)}, "names none"),
    ],
)
def test_what_a_run_would_fail_at_is_refused_ahead(tmp_path, monkeypatch, given, words):
    def small(fd, size, truncate=os.ftruncate):
        if size > 16 * TIB:  # as ext4
            raise OSError(errno.EFBIG, "File too large")
        truncate(fd, size)

    monkeypatch.setattr(os, "ftruncate", small)
    with pytest.raises(InvalidInput, match=words) as caught:
        planned(tmp_path, **given)
    assert caught.value.hint and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"resize": ["2048T"]}, [2048 * TIB]),
        ({"resize": ["128G"], "cluster_size": 512}, [128 * GIB]),
        ({"resize": ["64T"], "format": "vdi"}, [64 * TIB]),
        ({"resize": ["1T"], "format": "raw"}, [TIB]),
        ({"resize": ["", "+1M"], "disks": (MIB, MIB)}, [MIB, 2 * MIB]),
        ({"resize": ["+1G"], "devices": [], "disks": ()}, []),  # an archive, of which nothing is known
    ],
)
def test_what_can_be_is_planned(tmp_path, given, expected):
    assert planned(tmp_path, **given) == expected


def test_a_list_of_devices_may_leave_disks_to_images(tmp_path):
    wanted = convert.requests(options(tmp_path, devices=["", "/dev/vg0/b"]), [StagedDisk("", "", MIB)] * 2)
    assert [request.device for request in wanted] == ["", "/dev/vg0/b"]


@pytest.mark.parametrize("wanted", [["", ""], ["1G", "+1G"]])
def test_growing_and_converting_count_in_the_same_words(tmp_path, wanted):
    words = []
    for call in (lambda: sizes.enlarge([StagedDisk("", "", MIB)], wanted), lambda: planned(tmp_path, resize=wanted)):
        with pytest.raises(InvalidInput) as caught:
            call()
        words.append(str(caught.value))
    assert words[0] == words[1]


@pytest.mark.parametrize("cluster", [512, 4096, 0])
def test_the_largest_qcow2_is_that_of_qemu(tmp_path, cluster):
    def made(size):
        options = ["-o", f"cluster_size={cluster}"] if cluster else []
        done = subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *options, tmp_path / "a", str(size)], capture_output=True, check=False
        )
        return done.returncode == 0

    assert made(largest("qcow2", cluster)) and not made(largest("qcow2", cluster) + MIB)


def test_a_length_is_asked_of_the_file_system_and_nothing_is_left(tmp_path):
    ahead.length(str(tmp_path / "new" / "er"), MIB, "x.raw")
    with pytest.raises(InvalidInput, match="file system") as caught:
        ahead.length(str(tmp_path), 1 << 70, "x.raw")
    assert caught.value.hint and os.listdir(tmp_path) == []
    assert Request("s", "qcow2", str(tmp_path / "a.raw"), "raw", device="/dev/vg0/a").virtual_size(1 << 60, 1 << 61) == 1 << 61

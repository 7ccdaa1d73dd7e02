# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of a real web server: the engine and its HTTPS transport against nginx."""

from __future__ import annotations

import ssl
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import peers
from peers import MIB, digest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import SourceChanged, TransferFailed, Unreachable
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport import download, files
from ansible_collections.hyper2kvm.migration.plugins.module_utils.transport.https import HttpsFiles

NAME = "a b&c=%41?#ü.vmdk"


@pytest.fixture
def folder(images, tmp_path) -> Path:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / NAME).write_bytes(images[0].read_bytes())
    return tmp_path / "files"


@pytest.fixture
def serve(folder, tmp_path):
    """A function that gives nginx and its files, for a rate."""
    with_them = []

    def started(rate: int = 0, cafile: str | None = None):
        server = peers.Nginx(tmp_path, folder, rate)
        context = ssl.create_default_context(cafile=cafile or str(server.cert))
        found = HttpsFiles("localhost", server.port, context, urllib.parse.quote, lambda again: {}, timeout=5.0)
        with_them.append((server, found))
        return server, found

    yield started
    for server, found in with_them:
        found.close()
        server.close()


def job(found: HttpsFiles) -> download.Job:
    remote = files.patiently(lambda: found.stat(f"/{NAME}"), NAME)
    assert remote.ranged
    return download.Job(f"/{NAME}", "disk", remote.size, remote.stamp)


def test_a_file_with_an_odd_name_arrives(serve, images, tmp_path):
    dummy, found = serve()
    arrived = download.download(found, [job(found)], str(tmp_path / "out"), Silent(), workers=3)
    assert digest(tmp_path / "out" / "disk") == digest(images[0]) and arrived[0].transferred == 150 * MIB


def test_a_server_that_dies_and_comes_back_is_waited_for(serve, images, tmp_path):
    server, found = serve(rate=8000)  # 150 MiB by three workers: some 6 s

    def outage() -> None:
        time.sleep(2)
        server.close()
        time.sleep(2)
        server.start()

    thread = threading.Thread(target=outage)
    wanted = job(found)
    thread.start()
    arrived = download.download(found, [wanted], str(tmp_path / "out"), Silent(), workers=3)
    thread.join()
    assert digest(tmp_path / "out" / "disk") == digest(images[0])
    assert 150 * MIB <= arrived[0].transferred < 160 * MIB  # gone on with, not begun anew


def test_a_file_that_is_replaced_meanwhile_is_not_taken(serve, folder, images, tmp_path):
    dummy, found = serve(rate=8000)
    wanted = job(found)

    def replace() -> None:
        time.sleep(2)
        (folder / "new").write_bytes(images[0].read_bytes())
        (folder / "new").rename(folder / NAME)

    thread = threading.Thread(target=replace)
    thread.start()
    with pytest.raises(SourceChanged):
        download.download(found, [wanted], str(tmp_path / "out"), Silent(), workers=3)
    thread.join()
    assert not (tmp_path / "out" / "disk").exists()


def test_a_server_that_stays_away_ends_the_run_and_the_next_goes_on(serve, images, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 2)
    server, found = serve(rate=20000)
    wanted = job(found)
    journal = tmp_path / "out" / "disk.journal"

    def end() -> None:
        while not journal.exists() or journal.read_text().count("\n") < 2:
            time.sleep(0.05)
        server.close()

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    with pytest.raises((TransferFailed, Unreachable)):
        download.download(found, [wanted], str(tmp_path / "out"), Silent(), workers=1)
    thread.join()
    assert not (tmp_path / "out" / "disk").exists()
    server.start()
    arrived = download.download(found, [wanted], str(tmp_path / "out"), Silent(), workers=2)
    assert digest(tmp_path / "out" / "disk") == digest(images[0]) and arrived[0].transferred < 100 * MIB


def test_a_server_that_another_authority_vouches_for_is_not_believed(serve):
    dummy, found = serve(cafile="/etc/ssl/certs/ca-certificates.crt")
    with pytest.raises(Unreachable):
        files.patiently(lambda: found.stat(f"/{NAME}"), NAME)

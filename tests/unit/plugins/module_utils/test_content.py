# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a disk's content, whatever comes in which order, and what NBD's answers are told apart by."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import struct
import threading

import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import content, tap
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.content import BLOCK, Content

SIZES = [512, BLOCK, BLOCK + 512, 5 * BLOCK - 512, 40 * BLOCK + 3 * 512]


def plainly(disk: bytes) -> str:
    whole = hashlib.sha256()
    for begin in range(0, len(disk), BLOCK):
        whole.update(hashlib.sha256(disk[begin : begin + BLOCK]).digest())
    return "sha256-64k:" + _end(whole, len(disk))


def _end(whole, size: int) -> str:
    whole.update(size.to_bytes(8, "big"))
    return whole.hexdigest()


def pieces(disk: bytearray, chance: random.Random) -> list[tuple[int, bytes]]:
    """Some of the disk gets data, in pieces of any length; the rest stays zeros."""
    found, at = [], 0
    while at < len(disk):
        length = min(len(disk) - at, chance.choice([512, 4096, 130 * 512, BLOCK, 200 * 512, 1 << 20]))
        if chance.random() < 0.7:
            disk[at : at + length] = os.urandom(length)
            found.append((at, bytes(disk[at : at + length])))
        at += length
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(8))
def test_the_digest_does_not_depend_on_the_order_or_the_pieces(size, seed):
    chance, disk = random.Random(seed), bytearray(size)
    parts = pieces(disk, chance)
    chance.shuffle(parts)
    found = Content(size, 1000)
    for offset, data in parts:
        found.part(offset, memoryview(data))
    assert found.head == disk[:1000] and found.digest() == plainly(bytes(disk)) and not found.late


def test_what_comes_too_late_is_noticed(monkeypatch):
    monkeypatch.setattr(content, "_WINDOW", 4 * BLOCK)
    found = Content(64 * BLOCK)
    found.part(0, memoryview(bytes(512)))
    found.part(20 * BLOCK, memoryview(os.urandom(BLOCK)))
    assert not found.late
    found.part(512, memoryview(os.urandom(512)))
    assert found.late


def test_many_pieces_that_never_become_whole_take_little_memory(monkeypatch):
    monkeypatch.setattr(content, "_PARTS", 8)
    size = 4000 * BLOCK
    disk, found = {}, Content(size)
    for number in range(0, 4000, 2):
        disk[number] = os.urandom(512)
        found.part(number * BLOCK + 1024, memoryview(disk[number]))
        assert len(found._parts) <= 9
    whole = hashlib.sha256()
    for number in range(4000):
        block = bytes(1024) + disk[number] if number in disk else b""
        whole.update(hashlib.sha256(block.ljust(BLOCK, b"\0")).digest())
    assert found.digest() == "sha256-64k:" + _end(whole, size) and not found.late


def test_an_empty_disk_of_a_tebibyte_has_a_digest_at_once():
    assert Content(1 << 40).digest() != Content((1 << 40) + 512).digest()


def _structured(kind: int, payload: bytes) -> bytes:
    return struct.pack(">IHHQI", 0x668E33EF, 1, kind, 7, len(payload)) + payload


def _extended(kind: int, payload: bytes) -> bytes:
    return struct.pack(">IHHQQQ", 0x6E8A278C, 1, kind, 7, 0, len(payload)) + payload


def _option(payload: bytes) -> bytes:
    return struct.pack(">QIII", 0x0003E889045565A9, 7, 1, len(payload)) + payload


SAID = {
    "an option's answer": (_option(b"x" * 12), []),
    "data": (_structured(1, struct.pack(">Q", 4096) + b"d" * 512), [(4096, b"d" * 512)]),
    "a hole": (_structured(2, struct.pack(">QI", 4096, 512)), []),
    "what is allocated": (_structured(5, struct.pack(">III", 1, 65536, 3)), []),
    "an error": (_structured(0x8001, struct.pack(">IH", 5, 3) + b"bad"), []),
    "the end of an answer": (_structured(0, b""), []),
    "a simple answer": (struct.pack(">IIQ", 0x67446698, 0, 7), []),
    "data with a long header": (_extended(1, struct.pack(">Q", 1 << 40) + b"e" * 1024), [(1 << 40, b"e" * 1024)]),
    "other news with a long header": (_extended(6, b"z" * 24), []),
}


def talked(said: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    (server, upstream), (client, far) = socket.socketpair(), socket.socketpair()
    seen, got = [], bytearray()
    with server, upstream, client, far:
        server.sendall(b"g" * 18 + said)
        server.close()

        def collect() -> None:
            while chunk := far.recv(65536):
                got.extend(chunk)

        reader = threading.Thread(target=collect)
        reader.start()
        with pytest.raises(EOFError):
            tap.answers(upstream, client, lambda offset, data: seen.append((offset, bytes(data))))
        client.shutdown(socket.SHUT_WR)
        reader.join()
    return bytes(got[18:]), seen


@pytest.mark.parametrize("name", SAID)
def test_answers_pass_unchanged_and_data_are_seen(name):
    said, expected = SAID[name]
    rest, more = SAID["data"]
    assert talked(said + rest) == (said + rest, [*expected, *more])


@pytest.mark.parametrize("said", [b"\xff" * 40, struct.pack(">IHHQI", 0x668E33EF, 1, 1, 7, 1 << 31), b"\0" * 16])
def test_what_is_no_answer_ends_the_relay(said):
    assert talked(said + SAID["data"][0])[1] == []

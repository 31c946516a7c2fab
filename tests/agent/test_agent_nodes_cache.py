"""Firmware of nodes as the gateway keeps it: by digest, bounded, the oldest gone first."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gateway.agent import nodes_cache
from gateway.agent.nodes_cache import NodesCache, Unfit


def kept(cache: NodesCache, data: bytes, age: int) -> str:
    name = hashlib.sha256(data).hexdigest()
    cache.path(name).write_bytes(data)
    os.utime(cache.path(name), (1_000_000 - age, 1_000_000 - age))
    return name


def test_the_oldest_that_nobody_needs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_cache, "LIMIT_BYTES", 1000)
    cache = NodesCache(tmp_path)
    old, middle, new = (kept(cache, bytes((number,)) * 300, 10 - number) for number in range(3))
    (tmp_path / "files" / f"{'0' * 64}.part").write_bytes(bytes(50))  # given up long ago
    cache.make_room(50, set())
    assert set(cache.held()) == {old, middle, new}
    cache.make_room(300, {old})
    assert set(cache.held()) == {old, new}
    with pytest.raises(Unfit, match="other updates"):
        cache.make_room(800, {old, new})
    assert set(cache.held()) == {old, new}


def test_reading_in_pieces(tmp_path: Path) -> None:
    cache = NodesCache(tmp_path)
    data = os.urandom(3000)
    name = kept(cache, data, 0)
    assert cache.read(name, 1024, 1024) == (data[1024:2048], 3000, bytes.fromhex(name[:16]))
    assert cache.read(name, 2048, 1024) == (data[2048:], 3000, bytes.fromhex(name[:16]))
    assert cache.read("0" * 64, 0, 16) is None

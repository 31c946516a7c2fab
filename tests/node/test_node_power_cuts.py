"""A node's firmware while the power goes: at every write, in every way, over and over. Never bricked."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.agent_node_rig import KINDS, CutDisk, Maker, PowerCut, install, powered, shelf, started, survives
from gateway.node import boot, state
from gateway.node.boot import MOST_BOOTS
from gateway.node.disk import Disk
from gateway.node.pull import Piece

MAKER = Maker(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OLD, NEW = os.urandom(3000), os.urandom(6 * 1024 + 100)
SHELF = shelf(MAKER.manifest(NEW, 2), NEW)
WRITES = 6 + 7  # told, accepted, shortened, 7 blocks, whole, update; one over


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the power takes is decided by the rig, so no card has to wait for its syncs."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


def outcome(cuts: Sequence[tuple[int, str]], *, is_fit: bool = True) -> str:
    with TemporaryDirectory() as folder:
        install(Path(folder), OLD, 1)
        return asyncio.run(survives(Path(folder), MAKER, SHELF, cuts, OLD, NEW, is_fit=is_fit))


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_at_every_write(kind: str) -> None:
    assert [at for at in range(1, WRITES + 1) if outcome([(at, kind)])] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_at_every_write_of_a_trial(kind: str) -> None:
    assert [at for at in (1, 2) if outcome([(0, kind), (at, kind)])] == []
    fails = [[(0, kind)] * start + [(1, kind)] for start in range(1, MOST_BOOTS + 2)]
    assert [cuts for cuts in fails if outcome(cuts, is_fit=False)] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, WRITES), st.sampled_from(KINDS)), max_size=12), st.booleans())
def test_any_row_of_cuts(cuts: list[tuple[int, str]], is_fit: bool) -> None:
    assert outcome(cuts, is_fit=is_fit) == ""


def test_the_rig_sees_a_node_that_believes_a_files_length(monkeypatch: pytest.MonkeyPatch) -> None:
    proven = {"a.image": hashlib.sha256(OLD).hexdigest(), "b.image": hashlib.sha256(NEW).hexdigest()}
    monkeypatch.setattr(Disk, "sha256", lambda _, name: proven[name])
    assert "neither firmware" in outcome([(8, "hollow")])


def test_a_block_that_is_on_disk_is_not_asked_for_again(tmp_path: Path) -> None:
    """Resumed where it was: the last block alone comes twice, where its write was cut."""
    asked: list[int] = []

    async def counting(uri: str, offset: int) -> Piece:
        asked.append(offset)
        return await SHELF(uri, offset)

    install(tmp_path, OLD, 1)
    with pytest.raises(PowerCut):
        asyncio.run(powered(CutDisk(tmp_path, 3 + 4, "torn"), MAKER, counting))
    assert asked == [0, 0, 1024, 2048, 3072]
    asked.clear()
    asyncio.run(powered(CutDisk(tmp_path), MAKER, counting))
    assert asked == [3072, 4096, 5120, 6144]


def test_ordinary_starts_use_up_nothing(tmp_path: Path) -> None:
    install(tmp_path, OLD, 1)
    disk = CutDisk(tmp_path)
    assert [started(disk) for _ in range(20)] == [OLD] * 20
    assert disk.writes == 0


def test_a_slot_that_rots_is_not_started(tmp_path: Path) -> None:
    """Flash forgets: then the package runs, which nothing wrote to."""
    install(tmp_path, OLD, 1)
    disk = Disk(tmp_path)
    with disk.path(boot.file_of("a")).open("r+b") as file:
        file.seek(1500)
        file.write(bytes((OLD[1500] ^ 1,)))
    assert started(disk) == b""
    disk.path(boot.file_of("a")).unlink()
    assert started(disk) == b""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"phase": 9}', b"\xff\xfe", b'{"phase": 0, "slots": []}'])
def test_a_state_that_somebody_damaged_starts_the_package(tmp_path: Path, content: bytes) -> None:
    install(tmp_path, OLD, 1)
    disk = Disk(tmp_path)
    disk.replace(state.FILE, content)
    assert started(disk) == b""
    asyncio.run(powered(CutDisk(tmp_path), MAKER, SHELF))
    assert started(disk) == NEW

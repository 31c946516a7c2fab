"""What a node takes for its firmware and what it refuses, from caches that nobody has to trust."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.agent_node_rig import KIND, URI, VENDOR, Maker, install, shelf
from gateway.node import boot, pull, state
from gateway.node.disk import Disk
from gateway.node.firmware import Demands, Firmware, resolved
from gateway.node.main import _Trial
from gateway.node.pull import Cut, Fetch, Piece, Refusal
from gateway.node.state import TABLE, Event, Kept, NotNow, Phase, Result
from gateway.wire import suit

MAKER = Maker(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OLD, NEW = b"old" * 1000, os.urandom(4 * 1024 + 77)
GOOD = MAKER.manifest(NEW, 2)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


def node(folder: Path, fetch: Fetch, *, automatic: bool = False) -> Firmware:
    if not (folder / state.FILE).exists():
        install(folder, OLD, 1)
    wanted = MAKER.demands
    demands = Demands(wanted.vendor, wanted.kind, wanted.trust, wanted.limit_bytes, automatic)
    return Firmware(Disk(folder), demands, fetch, pause=no_pause)


async def settled(firmware: Firmware) -> Kept:
    """Told, and worked until nothing is under way."""
    firmware.told(URI)
    over = asyncio.Event()
    firmware.changed = lambda: over.set() if firmware.phase is not Phase.DOWNLOADING else None
    work = asyncio.ensure_future(firmware.run())
    await asyncio.wait((work, waiting := asyncio.ensure_future(over.wait())), return_when=asyncio.FIRST_COMPLETED)
    for task in (work, waiting):
        task.cancel()
    await asyncio.gather(work, waiting, return_exceptions=True)
    return firmware.kept


async def test_a_whole_update(tmp_path: Path) -> None:
    firmware = node(tmp_path, shelf(GOOD, NEW))
    kept = await settled(firmware)
    assert (kept.phase, kept.result) == (Phase.DOWNLOADED, Result.NONE)
    firmware.update(good=3)
    assert firmware.restart.is_set()
    kept, slot = boot.choose(state.load(Disk(tmp_path)), boot.intact(Disk(tmp_path)))
    assert (slot, kept.boots, kept.good, kept.active) == ("b", 1, 3, "a")
    state.save(Disk(tmp_path), kept)
    after = node(tmp_path, shelf(GOOD, NEW))
    after.confirm()
    assert (after.kept.active, after.kept.sequence, after.kept.result) == ("b", 2, Result.SUCCESS)
    assert state.load(Disk(tmp_path)) == after.kept
    assert after.kept.free_slot == "a"


async def test_the_old_firmware_does_not_confirm_the_new(tmp_path: Path) -> None:
    """Between the note of a trial and its own end it still runs, and is well."""
    firmware = node(tmp_path, shelf(GOOD, NEW))
    await settled(firmware)
    trial = _Trial(firmware, probation_s=1.0, now_s=0.0)
    firmware.update(good=0)
    assert [trial.looked(5, float(second)) for second in range(10)] == [True] * 10
    with pytest.raises(NotNow):
        firmware.confirm()
    assert state.load(Disk(tmp_path)).phase is Phase.TRIAL
    assert state.load(Disk(tmp_path)).sequence == 1


async def test_a_trial_is_a_whole_probation_without_a_break(tmp_path: Path) -> None:
    await settled(before := node(tmp_path, shelf(GOOD, NEW)))
    before.update(good=2)
    for seen, ends in (
        ([2, 2, 2, 2], [None, None, None, True]),
        ([2, 1, 2, 2, 2, 2], [None, None, None, None, None, True]),
        ([2, 1, 1, 1, 1, 1, 1, 1], [None] * 7 + [False]),
        ([1, 1, 1, 1, 2, 2, 2, 2], [None] * 7 + [True]),
    ):
        state.save(Disk(tmp_path), before.kept)
        trial = _Trial(node(tmp_path, shelf(GOOD, NEW)), probation_s=3.0, now_s=0.0)
        assert [trial.looked(good, float(at)) for at, good in enumerate(seen)] == ends


def other(image: bytes = NEW, sequence: int = 2, **change: object) -> bytes:
    found = suit.read(MAKER.manifest(image, sequence))
    facts = {name: getattr(found, name) for name in ("vendor", "kind", "sequence", "sha256", "size", "uri")} | change
    return suit.signed(suit.Manifest(**facts), MAKER.key)  # type: ignore[arg-type]


STRANGER = Maker(Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("manifest", "result"),
    [
        (STRANGER.manifest(NEW, 2), Result.BAD_PACKAGE),
        (MAKER.manifest(NEW, 1), Result.BAD_PACKAGE),
        (other(vendor=suit.vendor_id("example.net")), Result.BAD_PACKAGE),
        (other(kind=suit.class_id(VENDOR, "water node")), Result.BAD_PACKAGE),
        (other(size=2_000_000), Result.NO_ROOM),
        (other(size=len(NEW) - 1), Result.BAD_DIGEST),
        (other(size=len(NEW) + 1), Result.BAD_DIGEST),
        (other(sha256=bytes(32)), Result.BAD_DIGEST),
        (other(uri="http://127.0.0.1/f/1/image"), Result.BAD_URI),
        (other(uri="coap://user@host/image"), Result.BAD_URI),
        (other(uri="coap://[broken/image"), Result.BAD_URI),
        (other(uri="elsewhere"), Result.BAD_URI),
        (GOOD[:-5], Result.BAD_PACKAGE),
        (b"", Result.BAD_PACKAGE),
        (os.urandom(300), Result.BAD_PACKAGE),
        (GOOD + bytes(pull.LARGEST_MANIFEST), Result.BAD_PACKAGE),
    ],
)
async def test_what_is_refused(tmp_path: Path, manifest: bytes, result: Result) -> None:
    """The old firmware runs, its slot untouched, and 5/0/5 says why."""
    kept = await settled(node(tmp_path, shelf(manifest, NEW)))
    assert (kept.phase, kept.result, kept.active, kept.sequence) == (Phase.IDLE, result, "a", 1)
    disk = Disk(tmp_path)
    assert boot.choose(state.load(disk), boot.intact(disk))[1] == "a"
    assert disk.path("a.image").read_bytes() == OLD


async def test_an_image_that_is_another(tmp_path: Path) -> None:
    lying = bytearray(NEW)
    lying[3000] ^= 1
    kept = await settled(node(tmp_path, shelf(GOOD, bytes(lying))))
    assert (kept.phase, kept.result) == (Phase.IDLE, Result.BAD_DIGEST)
    assert Disk(tmp_path).size("b.image") == 0  # its room is given back


async def test_a_resumed_image_that_is_wrong_is_fetched_once_more(tmp_path: Path) -> None:
    """What lies in the slot from before was something else of the same length."""
    install(tmp_path, OLD, 1)
    (tmp_path / "b.image").write_bytes(os.urandom(len(NEW)))
    asked: list[int] = []

    async def counting(uri: str, offset: int) -> Piece:
        asked.append(offset)
        return await shelf(GOOD, NEW)(uri, offset)

    kept = await settled(node(tmp_path, counting))
    assert kept.phase is Phase.DOWNLOADED
    assert asked == [0, 4096, 0, 1024, 2048, 3072, 4096]


@pytest.mark.parametrize("block", [16, 64, 256, 512, 1024])
async def test_smaller_blocks(tmp_path: Path, block: int) -> None:
    kept = await settled(node(tmp_path, shelf(GOOD, NEW, block)))
    assert kept.phase is Phase.DOWNLOADED
    assert Disk(tmp_path).path("b.image").read_bytes() == NEW


async def test_a_line_that_breaks_at_every_block(tmp_path: Path) -> None:
    seen: set[tuple[str, int]] = set()

    async def breaking(uri: str, offset: int) -> Piece:
        if (uri, offset) not in seen:
            seen.add((uri, offset))
            raise Cut("no answer")
        return await shelf(GOOD, NEW)(uri, offset)

    kept = await settled(node(tmp_path, breaking))
    assert kept.phase is Phase.DOWNLOADED
    assert len(seen) == 6


async def test_a_cache_that_never_answers_or_lies_about_blocks(tmp_path: Path) -> None:
    async def silent(uri: str, offset: int) -> Piece:
        raise Cut("no answer")

    async def shifted(uri: str, offset: int) -> Piece:
        return Piece(offset + 16, b"x" * 16, True)

    async def endless(uri: str, offset: int) -> Piece:
        return Piece(offset, b"", True)

    for number, fetch in enumerate((silent, shifted, endless)):
        folder = tmp_path / str(number)
        folder.mkdir()
        kept = await settled(node(folder, fetch))
        assert (kept.phase, kept.result) == (Phase.IDLE, Result.CONNECTION_LOST)


async def test_an_image_without_an_end(tmp_path: Path) -> None:
    async def endless(uri: str, offset: int) -> Piece:
        if uri == URI:
            return await shelf(GOOD, NEW)(uri, offset)
        return Piece(offset, bytes(1024), True)

    kept = await settled(node(tmp_path, endless))
    assert (kept.phase, kept.result) == (Phase.IDLE, Result.BAD_DIGEST)


async def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Disk.append

    def full(self: Disk, name: str, at: int, data: bytes) -> None:
        if at >= 2048:
            raise OSError(errno.ENOSPC, "No space left on device")
        right(self, name, at, data)

    monkeypatch.setattr(Disk, "append", full)
    kept = await settled(node(tmp_path, shelf(GOOD, NEW)))
    assert (kept.phase, kept.result) == (Phase.IDLE, Result.NO_ROOM)
    assert Disk(tmp_path).size("b.image") == 0
    monkeypatch.setattr(Disk, "free", lambda _: 1000)
    kept = await settled(node(tmp_path, shelf(GOOD, NEW)))
    assert (kept.phase, kept.result) == (Phase.IDLE, Result.NO_ROOM)


async def test_cancelling(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def slow(uri: str, offset: int) -> Piece:
        if offset == 2048:
            held.set()
            await asyncio.Event().wait()
        return await shelf(GOOD, NEW)(uri, offset)

    firmware = node(tmp_path, slow)
    firmware.told(URI)
    work = asyncio.ensure_future(firmware.run())
    await held.wait()
    with pytest.raises(NotNow):
        firmware.told(URI)
    with pytest.raises(NotNow):
        firmware.update()
    firmware.cancel()
    assert (firmware.phase, firmware.kept.result) == (Phase.IDLE, Result.CANCELLED)
    held.clear()
    firmware.told(URI)  # and again, by the same machine
    await held.wait()
    firmware.told("")
    assert (firmware.phase, firmware.kept.result) == (Phase.IDLE, Result.NONE)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


@pytest.mark.parametrize(
    "uri", ["http://gw/m", "coap:", "gw", "coap://u@gw/m", "coap://gw/" + "x" * 255, "coap://gw/m#x"]
)
def test_addresses_that_are_none(tmp_path: Path, uri: str) -> None:
    firmware = node(tmp_path, shelf(GOOD, NEW))
    with pytest.raises(Refusal, match="CG-6201"):
        firmware.told(uri)
    assert firmware.phase is Phase.IDLE


def test_where_an_image_is() -> None:
    assert resolved("coap://gw:5690/f/1/m", "image") == "coap://gw:5690/f/1/image"
    assert resolved("coap://[fd00::1]:5690/f/1/m", "a/b.image") == "coap://[fd00::1]:5690/f/1/a/b.image"
    assert resolved("coap://gw/f/1/m", "/x/http") == "coap://gw/x/http"
    assert resolved("coap://gw/f/1/m", "coap://other/http/x") == "coap://other/http/x"


async def test_what_waits_is_overtaken_by_what_is_told_next(tmp_path: Path) -> None:
    firmware = node(tmp_path, shelf(GOOD, NEW))
    await settled(firmware)
    newer = os.urandom(1500)
    firmware._fetch = shelf(MAKER.manifest(newer, 3), newer)
    kept = await settled(firmware)
    assert kept.slots["b"].sequence == 3


async def test_what_waits_and_rots_is_not_tried(tmp_path: Path) -> None:
    firmware = node(tmp_path, shelf(GOOD, NEW))
    await settled(firmware)
    (tmp_path / "b.image").write_bytes(NEW[:-1] + b"x")
    firmware.update()
    assert (firmware.phase, firmware.kept.result) == (Phase.IDLE, Result.BAD_DIGEST)
    assert not firmware.restart.is_set()


def test_every_event_in_every_phase_is_in_the_table_or_refused() -> None:
    for phase in Phase:
        for event in Event:
            kept = Kept(phase=phase, candidate="b", active="a")
            if (phase, event) in TABLE:
                assert state.after(kept, event).phase is TABLE[phase, event]
            else:
                with pytest.raises(NotNow):
                    state.after(kept, event)
    assert {phase for phase, _ in TABLE} == set(Phase)  # nothing is stuck
    assert all(any(TABLE[line] is not phase for line in TABLE if line[0] is phase) for phase in Phase)


def test_identifiers() -> None:
    assert MAKER.demands.vendor == VENDOR
    assert MAKER.demands.kind == KIND

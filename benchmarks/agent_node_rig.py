"""A node whose power can be cut at any of its writes: before it, in the middle of it, or after it.

What is not synced when the power goes is lost or torn, as a card does it: half of a block, or a block's length without
its bytes. The node is the real one (`gateway.node`), its folder is a real folder; only the moment is chosen.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.node import boot, state
from gateway.node.disk import Disk
from gateway.node.firmware import Demands, Firmware
from gateway.node.pull import Fetch, Piece, Refusal
from gateway.node.state import Image, Kept, Phase, Result
from gateway.wire import suit

BEFORE, TORN, HOLLOW, AFTER = KINDS = ("before", "torn", "hollow", "after")
VENDOR = suit.vendor_id("example.com")
KIND = suit.class_id(VENDOR, "air node")
URI = "coap://127.0.0.1/f/1/m"
MOST_STARTS = 40  # of one node until its update must have ended


class PowerCut(BaseException):
    """Not an error of anybody's: nothing may catch it."""


class CutDisk(Disk):
    """`cut_at`: the number of the write, from 1, at which the power goes; 0: never."""

    def __init__(self, folder: Path, cut_at: int = 0, kind: str = BEFORE) -> None:
        super().__init__(folder)
        self._cut_at, self._kind = cut_at, kind
        self.writes = 0

    def replace(self, name: str, data: bytes) -> None:
        if self._at_the_cut():
            if self._kind == TORN:
                self.path(f".{name}.new").write_bytes(data[: len(data) // 2])
            elif self._kind == HOLLOW:
                self.path(f".{name}.new").write_bytes(bytes(len(data)))
            elif self._kind == AFTER:
                super().replace(name, data)
            raise PowerCut
        super().replace(name, data)

    def shorten(self, name: str, size: int) -> None:
        if self._at_the_cut():
            if self._kind == AFTER:
                super().shorten(name, size)
            raise PowerCut
        super().shorten(name, size)

    def append(self, name: str, at: int, data: bytes) -> None:
        if self._at_the_cut():
            there = {BEFORE: b"", TORN: data[: len(data) // 2], HOLLOW: bytes(len(data)), AFTER: data}[self._kind]
            with self.path(name).open("r+b") as file:
                os.pwrite(file.fileno(), there, at)
            raise PowerCut
        super().append(name, at, data)

    def _at_the_cut(self) -> bool:
        self.writes += 1
        return self.writes == self._cut_at


@dataclass(frozen=True, slots=True)
class Maker:
    """Who signs firmware."""

    key: Ed25519PrivateKey

    def manifest(self, image: bytes, sequence: int, uri: str = "image") -> bytes:
        sha256 = hashlib.sha256(image).digest()
        return suit.signed(suit.Manifest(VENDOR, KIND, sequence, sha256, len(image), uri), self.key)

    @property
    def demands(self) -> Demands:
        return Demands(VENDOR, KIND, (self.key.public_key(),), 1_000_000)


def shelf(manifest: bytes, image: bytes, block: int = 1024) -> Fetch:
    """A cache that has both, without a network."""

    async def fetch(uri: str, offset: int) -> Piece:
        await asyncio.sleep(0)
        held = {URI: manifest, URI[:-1] + "image": image}.get(uri)
        if held is None or offset > len(held):
            raise Refusal(Result.BAD_URI, "CG-6201", f"there is nothing at {uri}")
        data = held[offset : offset + block]
        return Piece(offset, data, offset + len(data) < len(held))

    return fetch


def install(folder: Path, image: bytes, sequence: int) -> None:
    """A node that runs `image` from slot a."""
    disk = Disk(folder)
    disk.replace(boot.file_of("a"), image)
    there = Image(hashlib.sha256(image).hexdigest(), len(image), sequence)
    state.save(disk, Kept(active="a", slots={"a": there}, sequence=sequence))


def started(disk: Disk) -> bytes:
    """What the launcher starts at power-on, its count written first; b"" is the installed package."""
    before = state.load(disk)
    kept, slot = boot.choose(before, boot.intact(disk))
    if kept != before:
        state.save(disk, kept)
    return b"" if slot == state.BASE else disk.path(boot.file_of(slot)).read_bytes()


async def powered(disk: Disk, maker: Maker, fetch: Fetch, uri: str = URI, *, is_fit: bool = True) -> bytes:
    """One power-on: what was started, told of the update if it knows of none, works until it wants to be started anew,
    or has nothing left to do. A new firmware that is not fit dies on trial, and is not offered again. Raises
    PowerCut."""
    running = started(disk)
    firmware = Firmware(disk, maker.demands, fetch, pause=_at_once)
    if firmware.phase is Phase.TRIAL:
        if is_fit:
            firmware.confirm()
        return running
    if firmware.phase is Phase.IDLE:
        if firmware.kept.result is (Result.SUCCESS if is_fit else Result.FAILED):
            return running
        firmware.told(uri)
    work = asyncio.ensure_future(firmware.run())
    restart = asyncio.ensure_future(firmware.restart.wait())
    idle = asyncio.ensure_future(_idle(firmware))
    try:
        done, _ = await asyncio.wait((work, restart, idle), return_when=asyncio.FIRST_COMPLETED)
        if work in done:
            work.result()
    finally:
        for task in (work, restart, idle):
            task.cancel()
        await asyncio.gather(work, restart, idle, return_exceptions=True)
    return running


async def _idle(firmware: Firmware) -> None:
    """Until the update has ended without anything to try."""
    changed = asyncio.Event()
    firmware.changed = changed.set
    while firmware.phase is not Phase.IDLE:
        await changed.wait()
        changed.clear()


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


async def survives(folder: Path, maker: Maker, fetch: Fetch, cuts: Sequence[tuple[int, str]], old: bytes, new: bytes,
                   uri: str = URI, *, is_fit: bool = True) -> str:  # fmt: skip
    """A node with `old` that is updated to `new`, its power cut once a power-on as `cuts` says (0: not in this one),
    then never. "" where every start was of one of the two, whole, and in the end the new one runs, the old one where
    the new is not fit; else what went wrong."""
    for cut_at, kind in (*cuts, *((0, BEFORE),) * MOST_STARTS):
        disk = CutDisk(folder, cut_at, kind)
        try:
            running = await powered(disk, maker, fetch, uri, is_fit=is_fit)
        except PowerCut:
            continue
        if running not in (old, new):
            return f"started {len(running)} bytes that are neither firmware"
        kept = state.load(disk)
        if kept.phase is Phase.IDLE and kept.result is (Result.SUCCESS if is_fit else Result.FAILED):
            return "" if started(disk) == (new if is_fit else old) else "ended, and the other one runs"
    return f"the update never ended: {state.load(Disk(folder))}"

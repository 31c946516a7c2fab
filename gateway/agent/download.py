"""A file fetched in pieces over a line that breaks: where the pieces come from, in; a file of proven content, out.

Several pieces are under way at once, at most WINDOW bytes, so that a cut costs no more than that. What has arrived is
appended to PART; beside it lies PART.marks, one line for each MARK bytes with the SHA-256 of all bytes so far. After a
power cut the file is believed as far as the marks agree with it, whatever the disk made of the rest. No CoAP, no trust:
whoever asks knows length and digest from signed metadata.

    OFFSET HEXDIGEST      decimal, one space, the digest of bytes 0 to OFFSET
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PIECE = 8192  # bytes asked for at once; a multiple of 1,024 (Block2 counts in those)
WINDOW = 4  # pieces under way
MARK = 32_768
SYNC = 262_144  # what a power cut may cost
SPARE = 16 << 20  # bytes of the disk that a download leaves free
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # after a cut without a byte in between


class Cut(Exception):
    """The line broke, or nobody answered in time; what arrived is kept."""


class Down(Cut):
    """There is no connection: nothing was asked."""


class Missing(Exception):
    """The center has no such file."""


class Damaged(Exception):
    """What came is not what the metadata promised."""


class Full(Exception):
    """No room on the disk."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`total`: bytes of the whole file; `tag` changes with the file."""

    data: bytes
    total: int
    tag: bytes = b""


class Source(Protocol):
    """Where pieces come from: the center at the other end of the gateway's own connection."""

    async def fetch(self, path: str, offset: int) -> Piece:
        """The bytes of `path` from `offset` (a multiple of 1,024) on, as many as come at once. Raises Cut, Missing."""
        ...


class Download:
    """One file on its way. `arrived` bytes are on disk; `asked` counts all that was asked for over a connection."""

    def __init__(self, part: Path, length: int, sha256: str) -> None:
        """Takes up what lies at `part` already. Raises OSError."""
        self.part, self.length, self.sha256 = part, length, sha256
        self.asked = 0
        self._marks = part.with_name(part.name + ".marks")
        self._held: dict[int, bytes] = {}  # came before what precedes it
        self._running = hashlib.sha256()
        self.arrived = self._proven()
        self._marked = self._synced = self.arrived

    async def run(
        self,
        source: Source,
        path: str,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        said: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Until all is there and proven; a cut is waited out, for ever. `said(arrived)` after each piece. Raises
        Missing, Damaged (then nothing is kept), Full (what arrived is kept) and OSError."""
        self._room()
        fruitless = 0
        with os.fdopen(os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
            file.truncate(self.arrived)
            with os.fdopen(os.open(self._marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as marks:
                while self.arrived < self.length:
                    before = self.arrived
                    try:
                        await self._pull(source, path, file.fileno(), marks.fileno(), said)
                    except Cut:
                        fruitless = 0 if self.arrived > before else fruitless + 1
                        await pause(PAUSES_S[min(max(0, fruitless - 1), len(PAUSES_S) - 1)])
                    except OSError as bad:
                        if bad.errno in (errno.ENOSPC, errno.EDQUOT):
                            raise Full(str(bad.strerror)) from bad
                        raise
            os.fsync(file.fileno())
        if self._running.hexdigest() != self.sha256:
            self.forget()
            raise Damaged(f"SHA-256 is {self._running.hexdigest()}, signed is {self.sha256}")
        _sync_folder(self.part.parent)

    def forget(self) -> None:
        """Remove what has arrived."""
        for path in (self._marks, self.part):
            path.unlink(missing_ok=True)

    async def _pull(self, source: Source, path: str, file: int, marks: int, said: Callable[[int], None]) -> None:
        under_way: dict[asyncio.Task[Piece], int] = {}
        try:
            while True:
                self._append(file, marks, said)
                if self.arrived >= self.length:
                    return
                for offset in self._wanted(set(under_way.values())):
                    self.asked += min(PIECE, self.length - offset)
                    under_way[asyncio.ensure_future(source.fetch(path, offset))] = offset
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                self._collect(under_way)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            with suppress(Cut, Missing, Damaged, asyncio.CancelledError):
                self._collect(under_way)

    def _wanted(self, under_way: set[int]) -> list[int]:
        """Offsets to ask for, so that the window is full."""
        found: list[int] = []
        at = self.arrived
        while at < min(self.length, self.arrived + WINDOW * PIECE) and len(under_way) + len(found) < WINDOW:
            if at in self._held:
                at += len(self._held[at])
            else:
                if at not in under_way:
                    found.append(at)
                at += PIECE
        return found

    def _collect(self, under_way: dict[asyncio.Task[Piece], int]) -> None:
        """Keep what came, also where the line broke meanwhile. Raises Cut, Missing, Damaged."""
        trouble: BaseException | None = None
        for task in [task for task in under_way if task.done()]:
            offset = under_way.pop(task)
            if task.cancelled() or (bad := task.exception()) is not None:
                trouble = asyncio.CancelledError() if task.cancelled() else bad
                if isinstance(trouble, Down):
                    self.asked -= min(PIECE, self.length - offset)
                continue
            piece = task.result()
            data = (
                piece.data if offset + len(piece.data) == self.length else piece.data[: len(piece.data) // 1024 * 1024]
            )
            if piece.total != self.length or not 0 < len(data) <= self.length - offset:
                self.forget()
                raise Damaged(f"{piece.total} bytes at the center, {self.length} are signed")
            self._held[offset] = data
        if trouble is not None:
            raise trouble

    def _append(self, file: int, marks: int, said: Callable[[int], None]) -> None:
        moved = False
        while (data := self._held.pop(self.arrived, None)) is not None:
            _write(file, data, self.arrived)
            self._running.update(data)
            self.arrived += len(data)
            moved = True
            if self.arrived - self._marked >= MARK:
                os.write(marks, f"{self.arrived} {self._running.hexdigest()}\n".encode())
                self._marked = self.arrived
            if self.arrived - self._synced >= SYNC:
                os.fdatasync(file)
                self._synced = self.arrived
        for offset in [offset for offset in self._held if offset < self.arrived]:
            del self._held[offset]
        if moved:
            said(self.arrived)

    def _room(self) -> None:
        room = os.statvfs(self.part.parent)
        if room.f_bavail * room.f_frsize < self.length - self.arrived + SPARE:
            raise Full(f"{room.f_bavail * room.f_frsize} bytes are free")

    def _proven(self) -> int:
        """How far file and marks agree; the running digest is brought there."""
        whole = hashlib.sha256()
        proven = 0
        with suppress(FileNotFoundError), open(self.part, "rb") as file:
            for line in _marks_in(self._marks):
                offset, digest = line
                if not proven < offset <= self.length:
                    break
                ahead = whole.copy()
                data = file.read(offset - proven)
                ahead.update(data)
                if len(data) != offset - proven or ahead.hexdigest() != digest:
                    break
                whole, proven = ahead, offset
        if proven == 0:
            self.forget()
        self._running = whole
        self._cut_marks(proven)
        return proven

    def _cut_marks(self, proven: int) -> None:
        """Marks beyond what is believed would be believed later, behind other bytes."""
        kept = [f"{offset} {digest}\n" for offset, digest in _marks_in(self._marks) if offset <= proven]
        if self._marks.exists():
            self._marks.write_text("".join(kept))


def _marks_in(path: Path) -> list[tuple[int, str]]:
    """Whole lines only; nothing after the first that is none."""
    found: list[tuple[int, str]] = []
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return found
    for line in lines:
        offset, _, digest = line.partition(b" ")
        if not offset.isdigit() or len(offset) > 12 or len(digest) != 64:
            break
        found.append((int(offset), digest.decode("ascii", "replace")))
    return found


def _write(file: int, data: bytes, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], offset + done)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

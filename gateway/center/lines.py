"""JSON lines as a sink: packs in, one line each, synced to the disk before the caller goes on.

    FOLDER/packs.jsonl            written now; FOLDER/packs-NNNNNN.jsonl those before, whole and never touched again
    FOLDER/known.cbor             [first file not in it, {gateway: [next_s, [share], incident, seen]}]

One thread writes; packs that arrive while it syncs share the next one. Duplicates are told by what `known.cbor` and
the files after it hold, however old they are. A line cut off by a power cut is cut away at the next start: nobody was
told that it is safe. Files are turned at ROTATE bytes; whoever collects them may take the numbered ones away.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cbor2

from gateway.center.seen import Seen
from gateway.center.sink import SELF, Heard, HeardRow, StoreError, Taken
from gateway.spool.trouble import Trouble

FILE, KNOWN = "packs.jsonl", "known.cbor"
ROTATE = 64 << 20  # bytes
BATCH = 512  # lines a sync


@dataclass(slots=True)
class _Known:
    heard: Heard
    incident: str
    seen: Seen


@dataclass(slots=True, eq=False)
class _Put:
    gateway: str
    packs: Sequence[Taken]
    heard: Heard | None
    names: Sequence[str]  # silent in the incident `gateway`, where nobody was heard
    done: asyncio.Future[list[bool | ValueError]]


class Lines:
    """`put_all` from the event loop; everything else happens in a thread of its own."""

    def __init__(self, folder: str | Path, *, rotate: int = ROTATE) -> None:
        """Raises Trouble CG-4202."""
        self._folder = Path(folder)
        self._rotate = rotate
        self._known: dict[str, _Known] = {}
        self._puts: deque[_Put] = deque()
        self._news = threading.Condition()
        self._ending = False
        self.ended: Future[None] = Future()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._number = self._load()
            self._file: BinaryIO = (self._folder / FILE).open("ab", buffering=0)
            self._size = self._file.tell()
            _sync_folder(self._folder)
        except (OSError, ValueError) as bad:
            raise Trouble(
                "CG-4202",
                f"the center's JSON lines in {folder} cannot be used ({bad})",
                f"센터의 JSON lines 폴더 {folder} 을(를) 사용할 수 없습니다 ({bad})",
                next_en="Check the folder, its owner, and that its files are a center's",
                next_ko="폴더와 소유자, 센터가 쓴 파일인지 확인하십시오",
            ) from bad
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    @property
    def leads(self) -> bool:
        return True

    async def put_all(self, gateway: str, packs: Sequence[Taken], heard: Heard) -> list[bool | ValueError]:
        return await self._put(gateway, packs, heard, ())

    async def mark_silent(self, names: Sequence[str], incident: str) -> None:
        await self._put(incident, (), None, names)

    def heard(self) -> list[HeardRow]:
        rows = list(self._known.items())
        return [(name, 0, its.heard.next_s, its.heard.shares, its.incident) for name, its in rows if name != SELF]

    async def aclose(self) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Write what is queued and stop."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join()
        with suppress(OSError):
            self._remember()
        self._file.close()

    async def _put(
        self, gateway: str, packs: Sequence[Taken], heard: Heard | None, names: Sequence[str]
    ) -> list[bool | ValueError]:
        one = _Put(gateway, packs, heard, names, asyncio.get_running_loop().create_future())
        with self._news:
            self._puts.append(one)
            self._news.notify()
        return await one.done

    # -- the thread

    def _run(self) -> None:
        try:
            while True:
                with self._news:
                    self._news.wait_for(lambda: self._puts or self._ending)
                    if not self._puts:
                        break
                self._write()
            self.ended.set_result(None)
        except BaseException as bad:
            self.ended.set_exception(bad)

    def _write(self) -> None:
        """As many puts as wait, one sync."""
        puts: list[_Put] = []
        results: list[list[bool | ValueError]] = []
        lines: list[bytes] = []
        new: set[tuple[Any, ...]] = set()
        while self._puts and len(lines) < BATCH:
            one = self._puts.popleft()
            puts.append(one)
            results.append([self._line(one.gateway, taken, lines, new) for taken in one.packs])
        failure: StoreError | None = None
        try:
            if lines:
                self._append(b"".join(lines))
        except OSError as bad:
            failure = StoreError(bad.strerror or str(bad))
        if failure is None:
            for gateway, stream, number in new:
                self._of(gateway).seen.add(stream, number)
            for one in puts:
                self._note(one)
        with suppress(RuntimeError):  # the loop is gone: nobody waits
            puts[0].done.get_loop().call_soon_threadsafe(_tell, puts, results, failure)
        if failure is None and self._size > self._rotate:
            with suppress(OSError):  # the file grows on until there is room for another
                self._turn()

    def _line(self, gateway: str, taken: Taken, lines: list[bytes], new: set[tuple[Any, ...]]) -> bool | ValueError:
        said = taken.message
        stream = (said.boot, said.upstream, int(said.lane))
        if (gateway, stream, said.seq) in new or self._of(gateway).seen.has(stream, said.seq):
            return False
        try:
            lines.append(_encoded(gateway, taken))
        except (ValueError, TypeError, OverflowError) as bad:
            return ValueError(f"cannot be stored: {type(bad).__name__}")
        new.add((gateway, stream, said.seq))
        return True

    def _append(self, block: bytes) -> None:
        """Raises OSError; the file is then as it was."""
        try:
            left = memoryview(block)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
            self._size += len(block)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), self._size)
            raise

    def _note(self, one: _Put) -> None:
        if one.heard is not None:
            its = self._of(one.gateway)
            its.heard = Heard(one.heard.next_s or its.heard.next_s, one.heard.shares or its.heard.shares)
        for name in one.names:
            self._of(name).incident = one.gateway

    def _of(self, gateway: str) -> _Known:
        if gateway not in self._known:
            self._known[gateway] = _Known(Heard(), "", Seen())
        return self._known[gateway]

    def _turn(self) -> None:
        """The file goes among those that are whole, before what is known says so: read twice does no harm."""
        os.rename(self._folder / FILE, self._folder / f"packs-{self._number:06}.jsonl")
        self._number += 1
        self._file.close()
        self._file = (self._folder / FILE).open("ab", buffering=0)
        self._size = 0
        _sync_folder(self._folder)
        self._remember()

    def _remember(self) -> None:
        """Raises OSError."""
        rows = {
            name: [its.heard.next_s, list(its.heard.shares), its.incident, its.seen.plain()]
            for name, its in self._known.items()
        }
        fresh = self._folder / f".{KNOWN}.new"
        with fresh.open("wb") as file:
            file.write(cbor2.dumps([self._number, rows]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._folder / KNOWN)
        _sync_folder(self._folder)

    def _load(self) -> int:
        """The number of the file being written. Raises OSError, ValueError."""
        first = 1
        with suppress(FileNotFoundError):
            first, rows = _known((self._folder / KNOWN).read_bytes())
            for name, (next_s, shares, incident, seen) in rows.items():
                self._known[name] = _Known(Heard(next_s, tuple(shares)), incident, Seen(seen))
        numbers = sorted(int(path.stem.removeprefix("packs-")) for path in self._folder.glob("packs-*.jsonl"))
        for number in numbers:
            if number >= first:
                self._read(self._folder / f"packs-{number:06}.jsonl")
        with suppress(FileNotFoundError):
            whole = self._read(self._folder / FILE)
            os.truncate(self._folder / FILE, whole)
        return max([first, *(number + 1 for number in numbers)])

    def _read(self, path: Path) -> int:
        """Bytes of whole lines. Raises ValueError for a line that is none of ours."""
        size = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    row = json.loads(line)
                    stream = (row["boot"], row["upstream"], row["lane"])
                    self._of(row["gateway"]).seen.add(stream, row["seq"])
                except (ValueError, KeyError, TypeError) as bad:
                    raise ValueError(f"{path.name}:{number} is no line of a center") from bad
                size += len(line)
        return size


def _known(data: bytes) -> tuple[int, dict[str, Any]]:
    try:
        first, rows = cbor2.loads(data)
        return int(first), dict(rows)
    except Exception as bad:  # cbor2 lets errors of the types it builds through
        raise ValueError(f"{KNOWN} is damaged; without it duplicates cannot be told") from bad


def _encoded(gateway: str, taken: Taken) -> bytes:
    said = taken.message
    row = {
        "gateway": gateway, "boot": said.boot, "upstream": said.upstream, "lane": int(said.lane), "seq": said.seq,
        "received_ns": time.time_ns(), "next_s": said.next_s, "kind": taken.kind,
        "content": _plain([asdict(one) for one in said.content] if isinstance(said.content, tuple)
                          else asdict(said.content)),
    }  # fmt: skip
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    """What JSON has no number for (no reading, no end) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def _tell(puts: Sequence[_Put], results: Sequence[list[bool | ValueError]], failure: StoreError | None) -> None:
    for one, result in zip(puts, results, strict=True):
        if one.done.done():
            continue
        if failure is None:
            one.done.set_result(result)
        else:
            one.done.set_exception(failure)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

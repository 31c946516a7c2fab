"""Where frames begin and end: any bytes in, verified frames out. No sockets, no clocks, no values.

    binary    start | ... length ... | ... fixed bytes ... | values | check
    stuffed   flag | the same, flag and escape bytes escaped | flag
    lines     prefix | field separator field ... | after, check | terminator

After a frame that fails, the search for the next start goes on one byte further, inside the rejected bytes: a
truncated frame never costs the one behind it. Nothing of an unverified frame ever comes out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.serial.checks import SUMS
from protocols.serial.lines import LineParser
from protocols.serial.parsing import COUNTERS, Burst, Parser
from protocols.serial.points import MAX_FRAME, Check, Length, Options, fill, unhex, unstuff

_MANY, _MOST = 4, 64  # frames in a row that are checked as one table: after damage little work is done in vain


def parser(options: Options, synchronised: bool = False, unit: int = 0) -> Parser:
    """For the device at address `unit`. `synchronised`: the first byte begins a frame (a reply, a capture), not
    somewhere inside one."""
    if options.frame == "lines":
        return LineParser(options, synchronised)
    return StuffedParser(options, unit) if options.frame == "stuffed" else BinaryParser(options, unit)


# ---- what makes bytes a frame


class Layout:
    """Start, length, fixed bytes and check of binary and stuffed frames."""

    def __init__(self, options: Options, unit: int) -> None:
        self.start = fill(options.start, unit, options)
        self._length = options.length if isinstance(options.length, Length) else None
        self.constant = options.length if isinstance(options.length, int) else 0  # 0: frames differ in length
        self.longest = max(1, options.longest)
        self._fixed = [(0, self.start), *((fixed.at, fill(fixed.bytes, unit, options)) for fixed in options.fixed)]
        self._check = options.check if isinstance(options.check, Check) else None

    def length_at(self, data: bytes, at: int) -> int | None:
        """The length of the frame that begins at `at`; 0 where none can, None where more bytes are needed."""
        return self.constant if self._length is None else self._length.of(data, at)

    def is_right(self, frame: bytes) -> bool:
        """Start and fixed bytes are there."""
        return all(frame[at : at + len(constant)] == constant for at, constant in self._fixed)

    def is_whole(self, frame: bytes) -> bool:
        """Its check is right."""
        if self._check is None:
            return True
        sum_ = SUMS[self._check.kind]
        start, end, at = self._check.place(len(frame))
        found = frame[at : at + self._check.size]
        wanted = sum_.of(frame[start:end]).to_bytes(sum_.size, self._check.order)
        return found.upper() == wanted.hex().upper().encode() if self._check.form == "hex" else found == wanted

    def leading(self, table: NDArray[np.uint8]) -> int:
        """How many of the first rows u8[n, constant] are frames."""
        good = np.ones(len(table), bool)
        for at, constant in self._fixed:
            good &= (table[:, at : at + len(constant)] == np.frombuffer(constant, np.uint8)).all(axis=1)
        if self._check is not None:
            good &= self._sums_are_right(table, self._check)
        return len(table) if good.all() else int(good.argmin())

    def _sums_are_right(self, table: NDArray[np.uint8], check: Check) -> NDArray[np.bool_]:
        if check.form == "hex":
            return np.array([self.is_whole(row.tobytes()) for row in table], bool)
        sum_ = SUMS[check.kind]
        start, end, at = check.place(self.constant)
        found = np.zeros(len(table), np.int64)
        columns = table[:, at : at + sum_.size]
        for column in columns.T if check.order == "big" else columns.T[::-1]:
            found = (found << 8) | column
        right: NDArray[np.bool_] = found == sum_.of_rows(table[:, start:end])
        return right


# ---- binary frames


class BinaryParser:
    """`counters`: resyncs count runs of skipped bytes; `truncated` are those of the `check_errors` in whose bytes a
    good frame began. Without a start only the very first byte begins a frame (a reply)."""

    def __init__(self, options: Options, unit: int = 0) -> None:
        self._layout = Layout(options, unit)
        self._rest = b""
        self._failed = (-MAX_FRAME, -MAX_FRAME)  # from where to where the last frame lay that failed its check
        self._skipping = False
        self._in_a_row = 0  # frames since the last damage
        self.taken = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def reset(self) -> None:
        self._rest = b""
        self._skip()

    def push(self, data: bytes) -> Burst:
        buffer = self._rest + data
        base = self.taken - len(self._rest)
        self.taken += len(data)
        burst = Burst([], [])
        at = 0
        while True:
            found = self._find_start(buffer, base, at)
            if found > at:
                self._skip()
            at = found
            many = self._many(buffer, base, at, burst)
            if many:
                at += many
                continue
            size = self._layout.length_at(buffer, at)
            if size is None or (size and at + size > len(buffer)):
                break
            if at >= len(buffer):
                break
            frame = buffer[at : at + size]
            if size and self._is_frame(frame, base + at):
                at += size
                self._accept(base + at - size, 1)
                burst.frames.append(frame)
                burst.ends.append(base + at)
            else:
                self._skip()
                at += 1
        self._rest = buffer[at:]
        return burst

    def _find_start(self, buffer: bytes, base: int, at: int) -> int:
        """The next place a frame may begin, be it with the first bytes of its start only."""
        start = self._layout.start
        if not start:
            return at if base + at == 0 else len(buffer)
        found = buffer.find(start, at)
        if found >= 0:
            return found
        for tail in range(min(len(start) - 1, len(buffer) - at), 0, -1):
            if buffer.endswith(start[:tail]):
                return len(buffer) - tail
        return len(buffer)

    def _many(self, buffer: bytes, base: int, at: int, burst: Burst) -> int:
        """Frames of constant length that follow each other without a gap, taken at once: how many bytes they are."""
        size = self._layout.constant
        n = min(_MOST, (len(buffer) - at) // size) if size and self._layout.start else 0
        if n < _MANY or self._in_a_row < _MANY:
            return 0
        table = np.frombuffer(buffer, np.uint8, n * size, at).reshape(n, size)
        n = self._layout.leading(table)
        if n:
            self._accept(base + at, n)
            burst.frames.extend([buffer[i : i + size] for i in range(at, at + n * size, size)])
            burst.ends.extend(range(base + at + size, base + at + n * size + 1, size))
        return n * size

    def _is_frame(self, frame: bytes, at: int) -> bool:
        if not self._layout.is_right(frame):
            return False
        if self._layout.is_whole(frame):
            return True
        self.counters["check_errors"] += 1
        self._failed = (at, at + len(frame))
        return False

    def _accept(self, at: int, n: int) -> None:
        self.counters["frames"] += n
        self._in_a_row += n
        self.counters["truncated"] += self._failed[0] <= at < self._failed[1]
        self._failed = (-MAX_FRAME, -MAX_FRAME)
        self._skipping = False

    def _skip(self) -> None:
        self.counters["resyncs"] += not self._skipping
        self._skipping, self._in_a_row = True, 0


# ---- stuffed frames


class StuffedParser:
    """What stands between two flags, escapes undone, where length, fixed bytes and check are right. One flag may end a
    frame and begin the next."""

    def __init__(self, options: Options, unit: int = 0) -> None:
        self._layout = Layout(options, unit)
        self._flag, self._escape = unhex(options.flag) or b"\x7e", unhex(options.escape) or b"\x7d"
        self._longest = 2 * self._layout.longest
        self._rest = b""
        self._inside = False  # a flag has been seen
        self._skipping = False
        self.taken = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def reset(self) -> None:
        self._rest, self._inside = b"", False
        self._skip()

    def push(self, data: bytes) -> Burst:
        buffer = self._rest + data
        end = self.taken - len(self._rest)
        self.taken += len(data)
        *pieces, self._rest = buffer.split(self._flag)
        burst = Burst([], [])
        for piece in pieces:
            end += len(piece) + 1
            inside, self._inside = self._inside, True
            if not piece:
                continue
            frame = self._frame(piece) if inside else None
            if frame is None:
                self._skip()
            else:
                burst.frames.append(frame)
                burst.ends.append(end)
        if len(self._rest) > self._longest:  # no frame is so long: wait for the next flag
            self.reset()
        return burst

    def _frame(self, piece: bytes) -> bytes | None:
        frame = unstuff(piece, self._escape)
        if frame is None or self._layout.length_at(frame, 0) != len(frame) or not self._layout.is_right(frame):
            self.counters["malformed"] += 1
            return None
        if not self._layout.is_whole(frame):
            self.counters["check_errors"] += 1
            return None
        self.counters["frames"] += 1
        self._skipping = False
        return frame

    def _skip(self) -> None:
        self.counters["resyncs"] += not self._skipping
        self._skipping = True

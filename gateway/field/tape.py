"""The last bytes of one link, as they passed: a ring that forgets the oldest.

In: what a driver shows (`protocols.api.Tap`). Out: pieces with running numbers, so that whoever follows it knows what
was missed. It knows no protocol and no file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

KEPT_BYTES = 64 * 1024  # of one link: 40 min of a meter read every 5 s
_PIECE = 64  # bytes that a piece itself takes in the ring's account


class Piece(NamedTuple):
    """Bytes that were sent or arrived together, at `time_ns` (CLOCK_BOOTTIME)."""

    number: int
    time_ns: int
    sent: bool
    data: bytes


class Tape:
    """`add` is a `Tap`."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._pieces: deque[Piece] = deque()
        self._size = 0
        self.next = 0  # number of the piece to come

    def add(self, sent: bool, data: bytes, time_ns: int) -> None:
        self._pieces.append(Piece(self.next, time_ns, sent, bytes(data)))
        self.next += 1
        self._size += len(data) + _PIECE
        while self._size > self._kept_bytes and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft().data) + _PIECE

    def since(self, number: int = 0) -> Sequence[Piece]:
        """What is still there from piece `number` on, the oldest first."""
        first = self._pieces[0].number if self._pieces else self.next
        return list(self._pieces)[max(0, number - first) :]

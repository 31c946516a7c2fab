"""What every parser of serial frames offers: bytes in, in pieces of any size, whole frames out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

COUNTERS = ("frames", "resyncs", "check_errors", "truncated", "malformed", "other_lines")


class Burst(NamedTuple):
    """Frames that became whole together. `ends` are offsets behind each frame, in bytes since the parser
    began."""

    frames: list[bytes]
    ends: list[int]


class Parser(Protocol):
    counters: dict[str, int]

    @property
    def taken(self) -> int:
        """Bytes pushed so far."""
        ...

    def push(self, data: bytes) -> Burst: ...
    def reset(self) -> None:
        """Forget what is unfinished: bytes have been lost."""
        ...

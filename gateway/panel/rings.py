"""The latest readings of every channel, kept for curves: plain arrays of fixed size, no growth, no numpy.

In: rows as the field half tells them. Out: columns, oldest first.
"""

from __future__ import annotations

import math
from array import array
from typing import Any

KEPT = 600  # readings a channel


class Ring:
    """Of one channel: time in ms of UTC, value, value behind the filter, quality. NaN where there is no number."""

    __slots__ = ("_at", "_full", "kept", "quality", "time_ms", "value")

    def __init__(self) -> None:
        self.time_ms = array("q")
        self.value, self.kept = array("d"), array("d")
        self.quality = array("B")
        self._at = 0
        self._full = False

    def add(self, time_ms: int, value: float | None, kept: float | None, quality: int) -> None:
        if not self._full:
            self.time_ms.append(0)
            self.value.append(0.0)
            self.kept.append(0.0)
            self.quality.append(0)
        at = self._at
        self.time_ms[at] = time_ms
        self.value[at] = math.nan if value is None else value
        self.kept[at] = math.nan if kept is None else kept
        self.quality[at] = quality & 0xFF
        self._at = (at + 1) % KEPT
        self._full = self._full or self._at == 0

    def columns(self) -> dict[str, list[Any]]:
        """t, v, k, q; null for no number."""
        at = self._at if self._full else 0
        return {
            "t": [*self.time_ms[at:], *self.time_ms[:at]],
            "v": [_number(x) for x in (*self.value[at:], *self.value[:at])],
            "k": [_number(x) for x in (*self.kept[at:], *self.kept[:at])],
            "q": [*self.quality[at:], *self.quality[:at]],
        }


def _number(x: float) -> float | None:
    return x if math.isfinite(x) else None

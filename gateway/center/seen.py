"""Which numbers of one gateway have come, by boot, upstream and lane. No input or output.

Numbers are kept as spans, so a gateway whose numbers run without holes costs a few words. Bounded: the boots heard of
longest ago and the lowest spans are forgotten first. A number forgotten is at worst taken twice, never refused.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

STREAMS = 192  # (boot, upstream, lane) of one gateway
BOUNDS = 2048  # of one of these: two a span

Stream = tuple[str, str, int]


class Seen:
    def __init__(self, kept: Iterable[Any] = ()) -> None:
        """`kept`: what `plain` returned."""
        self._bounds: dict[Stream, list[int]] = {
            (str(boot), str(upstream), int(lane)): [int(bound) for bound in bounds]
            for boot, upstream, lane, bounds in kept
        }

    def has(self, stream: Stream, number: int) -> bool:
        return bisect_right(self._bounds.get(stream, ()), number) % 2 == 1

    def add(self, stream: Stream, number: int) -> bool:
        """Whether it is new."""
        bounds = self._bounds.pop(stream, [])
        self._bounds[stream] = bounds  # the newest last
        at = bisect_right(bounds, number)
        if at % 2:
            return False
        first, last = number, number + 1
        begin = end = at
        if at and bounds[at - 1] == first:
            begin, first = at - 2, bounds[at - 2]
        if at < len(bounds) and bounds[at] == last:
            end, last = at + 2, bounds[at + 1]
        bounds[begin:end] = (first, last)
        if len(bounds) > BOUNDS:
            del bounds[:2]
        if len(self._bounds) > STREAMS:
            del self._bounds[next(iter(self._bounds))]
        return True

    def plain(self) -> list[list[Any]]:
        """Lists, strings and numbers."""
        return [[*stream, list(bounds)] for stream, bounds in self._bounds.items()]

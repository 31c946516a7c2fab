"""Points of a node to operations: one GET or one observation for all points of a resource. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.api import Batch, Device, Link, PlanError, Point, Quality
from protocols.clock import DeviceClock
from protocols.coap.payload import Reading, parse
from protocols.coap.points import CONTENT_FORMATS, Options
from protocols.coap.senml import RELATIVE_BELOW, Malformed

READING_COUNTERS = ("malformed_payload", "foreign_units")
Row = tuple[int, int, float, int]  # channel, time_ns, value, quality


@dataclass(frozen=True, slots=True, eq=False)
class Get:
    """All points of one resource. `accept`: the content-format it is asked for, None for none."""

    device: Device
    path: str
    accept: int | None
    period_s: float
    points: tuple[Point, ...] = field(repr=False)

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(point.channel for point in self.points)

    @property
    def options(self) -> Options:
        return self.device.options  # type: ignore[no-any-return]

    def wire_s(self, link: Link) -> float:
        return 0.0

    def describe(self) -> str:
        how = "observe" if self.options.mode == "observe" else "GET"
        wanted = next((f" as {name}" for name, number in CONTENT_FORMATS.items() if number == self.accept), "")
        return f"{how} {self.path}{wanted}"


def plan(points: Sequence[Point]) -> tuple[Get, ...]:
    """One operation a (device, path, format). Raises PlanError."""
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in points:
        if not point.spec.path.startswith("/"):
            raise PlanError(point.name, "a path begins with a slash")
        groups.setdefault((point.device.name, point.spec.path, point.spec.format), []).append(point)
    return tuple(
        Get(
            group[0].device,
            path,
            CONTENT_FORMATS.get(form),
            min(point.period_s for point in group),
            tuple(group),
        )
        for (_, path, form), group in groups.items()
    )


class Meaning:
    """Payloads of one operation to rows. Remembers the node's clock and what was delivered last."""

    def __init__(self, op: Get, clock: DeviceClock, counters: Counter[str]) -> None:
        self._op, self._clock, self._counters = op, clock, counters
        self._last_ns: dict[int, int] = {}

    def rows(self, content_format: int, payload: bytes, arrived_ns: int, *, latest: bool) -> list[Row]:
        """At least one row a point. `latest`: one only, though the node may have sent a history."""
        try:
            parsed = parse(content_format, payload)
        except Malformed:
            self._counters["malformed_payload"] += 1
            return self.failed(Quality.BAD_REPLY, arrived_ns)
        rows: list[Row] = []
        for point in self._op.points:
            try:
                found = self._timed(parsed(point.spec), arrived_ns)
            except Malformed:
                self._counters["malformed_payload"] += 1
                rows.append((point.channel, self._not_before(point.channel, arrived_ns), math.nan, Quality.BAD_REPLY))
                continue
            rows += self._of_point(point, found[-1:] if latest else found)
        return rows

    def failed(self, quality: Quality, now_ns: int) -> list[Row]:
        return [(channel, self._not_before(channel, now_ns), math.nan, quality) for channel in self._op.channels]

    def _timed(self, readings: Sequence[Reading], arrived_ns: int) -> list[tuple[int, Reading]]:
        """In the order in which they happened: absolute times by the node's clock as we know it, others by arrival."""
        absolute = [r.time_s for r in readings if r.time_s is not None and r.time_s >= RELATIVE_BELOW]
        placed = iter(self._clock.times_ns(absolute, arrived_ns).tolist() if absolute else ())
        return sorted(((_when(r.time_s, arrived_ns, placed), r) for r in readings), key=lambda pair: pair[0])

    def _of_point(self, point: Point, found: Sequence[tuple[int, Reading]]) -> Iterator[Row]:
        """Readings newer than the last delivered; the newest in any case, for that is what stands."""
        last_ns = self._last_ns.get(point.channel, 0)
        fresh = [pair for pair in found if pair[0] > last_ns] or list(found[-1:])
        for time_ns, reading in fresh:
            yield self._row(point, max(0, time_ns), reading)

    def _row(self, point: Point, time_ns: int, reading: Reading) -> Row:
        time_ns = self._not_before(point.channel, time_ns)
        if math.isnan(reading.value):
            return point.channel, time_ns, math.nan, Quality.SENTINEL
        factor, offset = 1.0, 0.0
        if reading.unit:
            known = point.units.get(reading.unit)
            if known is None:
                self._counters["foreign_units"] += 1
                return point.channel, time_ns, math.nan, Quality.BAD_REPLY
            factor, offset = known
        value = (reading.value * factor + offset) * point.scale + point.offset
        if not math.isfinite(value):
            return point.channel, time_ns, math.nan, Quality.BAD_REPLY
        return point.channel, time_ns, value, Quality.GOOD

    def _not_before(self, channel: int, time_ns: int) -> int:
        self._last_ns[channel] = time_ns = max(time_ns, self._last_ns.get(channel, 0))
        return time_ns


def _when(sent_s: float | None, arrived_ns: int, placed: Iterator[int]) -> int:
    if sent_s is None:
        return arrived_ns
    if sent_s >= RELATIVE_BELOW:
        return next(placed)
    return min(arrived_ns, arrived_ns + round(sent_s * 1e9))


def batch(rows: Sequence[Row]) -> Batch:
    if not rows:
        return Batch.empty()
    columns: tuple[Any, ...] = tuple(zip(*rows, strict=True))
    return Batch(
        np.array(columns[0], np.int32),
        np.array(columns[1], np.int64),
        np.array(columns[2], np.float64),
        np.array(columns[3], np.uint8),
    )

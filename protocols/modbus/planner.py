"""Points of one link in, the fewest block reads that fetch them out. Pure.

A block joins values of one device, function and period whose gaps are worth reading through. A value is never
split, no request is longer than the device allows, none touches a forbidden register.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from protocols.api import Batch, Device, Link, PlanError, Point, Quality
from protocols.modbus.codec import Decoder, byte_count
from protocols.modbus.points import COILS, Options, Register
from protocols.streams import char_s, scheme


@dataclass(frozen=True, slots=True, eq=False)
class ReadBlock:
    """One request: `count` registers (or coils) from `address`, every point of it decoded at once."""

    device: Device
    function: int
    address: int
    count: int
    period_s: float
    channels: tuple[int, ...]
    decoder: Decoder = field(repr=False)
    column: NDArray[np.int32] = field(repr=False)  # the channels again, for batches
    cuts: tuple[int, ...] = field(default=(), repr=False)  # counts at which it can be cut without splitting a value

    @property
    def unit(self) -> int:
        return self.device.unit

    def wire_s(self, link: Link) -> float:
        if scheme(link) == "tcp":
            return 0.0
        characters = 8 + 5 + byte_count(self.function, self.count)
        return characters * char_s(link) + 2 * silence_s(link)

    def describe(self) -> str:
        last, noun = self.address + self.count - 1, "coil" if self.function in COILS else "register"
        plural = "" if self.count == 1 else "s"
        return f"unit {self.unit} FC{self.function} {self.address}-{last} ({self.count} {noun}{plural})"

    def batch(self, data: bytes, time_ns: int) -> Batch:
        """One row a channel, decoded."""
        value, absent = self.decoder.decode(data)
        quality = np.zeros(len(value), np.uint8)
        if absent is not None:
            quality[absent] = Quality.SENTINEL
        return Batch(self.column.copy(), np.full(len(value), time_ns, np.int64), value, quality)

    def failed(self, time_ns: int, quality: Quality) -> Batch:
        return Batch.failed(self.channels, time_ns, quality)


def silence_s(link: Link) -> float:
    """Between two frames: 3.5 characters, fixed above 19200 baud (Modbus over Serial Line 1.02, 2.5.1.1)."""
    return 0.00175 if link.baud > 19_200 else 3.5 * char_s(link)


def plan(points: Sequence[Point]) -> tuple[ReadBlock, ...]:
    """Raises PlanError for a value that no request can fetch."""
    seen: dict[str, int] = {}
    for point in points:
        seen.setdefault(point.device.name, len(seen))

    def place(point: Point) -> tuple[int, int, float]:
        return seen[point.device.name], point.spec.function, point.period_s

    ordered = sorted(points, key=lambda p: (*place(p), p.spec.address, p.spec.end))
    return tuple(block for _, same in groupby(ordered, place) for block in _blocks(list(same)))


def _blocks(points: list[Point]) -> Iterator[ReadBlock]:
    """Left to right, each block as long as it may be: with values in order that is also the fewest."""
    options: Options = points[0].device.options
    block: list[Point] = []
    end = 0
    for point in points:
        _fits(point, options)
        joined = max(end, point.spec.end)
        if block and not _joins(block[0].spec, end, point.spec, joined, options):
            yield _block(block, end)
            block, joined = [], point.spec.end
        block.append(point)
        end = joined
    yield _block(block, end)


def _joins(first: Register, end: int, spec: Register, joined: int, options: Options) -> bool:
    return (
        spec.address - end <= options.gap(spec.function)
        and joined - first.address <= options.limit(spec.function)
        and options.forbids(first.address, joined) is None
    )


def _fits(point: Point, options: Options) -> None:
    spec: Register = point.spec
    if spec.address < 0 or spec.end > 65_536:
        raise PlanError(point.name, f"{spec.type} at {spec.address} is outside 0..65535")
    if spec.span > options.limit(spec.function):
        raise PlanError(point.name, f"{spec.type} is wider than max_registers = {options.max_registers}")
    if banned := options.forbids(spec.address, spec.end):
        raise PlanError(point.name, f"address {spec.address} is inside the forbidden range {banned}")


def _block(points: list[Point], end: int) -> ReadBlock:
    first = points[0]
    address, function = first.spec.address, first.spec.function
    decoder = Decoder(points, function, address)
    channels = tuple(points[i].channel for i in decoder.order)
    return ReadBlock(
        first.device,
        function,
        address,
        end - address,
        first.period_s,
        channels,
        decoder,
        np.array(channels, np.int32),
        _cuts(points, end),
    )


def _cuts(points: list[Point], end: int) -> tuple[int, ...]:
    first, step = points[0].spec.address, 8 if points[0].spec.is_coil else 1
    inside = {address for p in points for address in range(p.spec.address + 1, p.spec.end)}
    return tuple(at - first for at in range(first + step, end, step) if at not in inside)

"""Points of one link in, the fewest block reads that fetch them out. Pure.

A block joins values of one device, function and period whose gaps are worth reading through. A value is never
split, no request is longer than the device allows, none touches a forbidden register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from protocols.api import Batch, Device, Link, PlanError, Point, Quality
from protocols.modbus.codec import Decoder, byte_count, mbap_reply_head, mbap_request_tail
from protocols.modbus.framing import framing_of
from protocols.modbus.learned import Learned
from protocols.modbus.points import COILS, Options, Register
from protocols.streams import char_s, scheme

Layout = tuple[tuple[Register, float, float], ...]  # spec, scale, offset: devices of one profile share a decoder


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
    request_tail: bytes = field(default=b"", repr=False)  # of the request on TCP, behind the transaction id
    reply_head: bytes = field(default=b"", repr=False)  # of a good reply on TCP, between transaction id and data
    points: tuple[Point, ...] = field(default=(), repr=False)
    learned: Learned = field(default_factory=lambda: Learned(""), repr=False)  # one a device, kept by its plan

    @property
    def unit(self) -> int:
        return self.device.unit

    def wire_s(self, link: Link) -> float:
        if scheme(link) == "tcp":
            return 0.0
        framing = framing_of(link)
        options: Options = self.device.options
        characters = framing.characters(5) + framing.characters(2 + byte_count(self.function, self.count))
        return characters * char_s(link) + 2 * framing.silence_s(link) + options.delay_ms / 1000

    def describe(self) -> str:
        last, noun = self.address + self.count - 1, "coil" if self.function in COILS else "register"
        plural = "" if self.count == 1 else "s"
        return f"unit {self.unit} FC{self.function} {self.address}-{last} ({self.count} {noun}{plural})"

    def halves(self) -> tuple[ReadBlock, ...]:
        """The block cut between two values, near the middle; () where it holds one value (or bits of one)."""
        values = [list(same) for same in _values(self.points)]
        if len(values) < 2:
            return ()
        middle = len(values) // 2
        parts = (values[:middle], values[middle:])
        return tuple(alone([point for value in part for point in value], self.learned) for part in parts)

    def regrouped(self, points: Sequence[Point], allows: Allows) -> list[ReadBlock]:
        """Some of its points as the fewest requests that `allows(function, start, end)` lets pass."""
        ordered = sorted(points, key=_extent)
        return list(_blocks(ordered, {}, self.learned, allows))

    def batch(self, data: bytes, time_ns: int) -> Batch:
        """One row a channel, decoded."""
        value, absent = self.decoder.decode(data)
        quality = np.zeros(len(value), np.uint8)
        if absent is not None:
            quality[absent] = Quality.SENTINEL
        return Batch(self.column.copy(), np.full(len(value), time_ns, np.int64), value, quality)

    def failed(self, time_ns: int, quality: Quality) -> Batch:
        return Batch.failed(self.channels, time_ns, quality)


def batch_of(answers: Sequence[tuple[ReadBlock, bytes, int]]) -> Batch:
    """One row a channel of every (block, data, time_ns); blocks of one layout are decoded together."""
    layouts: dict[Decoder, list[tuple[ReadBlock, bytes, int]]] = {}
    for answer in answers:
        layouts.setdefault(answer[0].decoder, []).append(answer)
    return Batch.join([_decoded(decoder, alike) for decoder, alike in layouts.items()])


def _decoded(decoder: Decoder, alike: list[tuple[ReadBlock, bytes, int]]) -> Batch:
    blocks, data, times = zip(*alike, strict=True)
    value, absent = decoder.decode_blocks(b"".join(data), len(alike))
    quality = np.zeros(value.size, np.uint8)
    if absent is not None:
        quality[absent.ravel()] = Quality.SENTINEL
    channel = np.concatenate([block.column for block in blocks])
    return Batch(channel, np.array(times, np.int64).repeat(value.shape[1]), value.ravel(), quality)


Allows = Callable[[int, int, int], bool]


def plan(points: Sequence[Point]) -> tuple[ReadBlock, ...]:
    """Raises PlanError for a value that no request can fetch."""
    seen: dict[str, int] = {}
    for point in points:
        seen.setdefault(point.device.name, len(seen))

    def place(point: Point) -> tuple[int, int, float]:
        return seen[point.device.name], point.spec.function, point.period_s

    ordered = sorted(points, key=lambda p: (*place(p), *_extent(p)))
    layouts: dict[Layout, Decoder] = {}
    learned = {name: Learned(name) for name in seen}
    groups = (list(same) for _, same in groupby(ordered, place))
    return tuple(block for same in groups for block in _blocks(same, layouts, learned[same[0].device.name]))


def _blocks(
    points: list[Point],
    layouts: dict[Layout, Decoder],
    learned: Learned,
    allows: Allows = lambda function, start, end: True,
) -> Iterator[ReadBlock]:
    """Left to right, each block as long as it may be: with values in order that is also the fewest."""
    options: Options = points[0].device.options
    block: list[Point] = []
    end = 0
    for point in points:
        _fits(point, options)
        joined = max(end, point.spec.beyond)
        first = block[0].spec if block else point.spec
        if block and not (
            _joins(first, end, point.spec, joined, options) and allows(first.function, first.first, joined)
        ):
            yield _block(block, end, layouts, learned)
            block, joined = [], point.spec.beyond
        block.append(point)
        end = joined
    yield _block(block, end, layouts, learned)


def _values(points: Iterable[Point]) -> Iterator[list[Point]]:
    """Points that share registers together, by address."""
    same: list[Point] = []
    end = -1
    for point in sorted(points, key=_extent):
        if same and point.spec.first >= end:
            yield same
            same = []
        same.append(point)
        end = max(end, point.spec.beyond)
    if same:
        yield same


def alone(points: list[Point], learned: Learned) -> ReadBlock:
    """One request for these points, whatever lies between them."""
    ordered = sorted(points, key=_extent)
    return _block(ordered, max(p.spec.beyond for p in ordered), {}, learned)


def _extent(point: Point) -> tuple[int, int]:
    """What must be read for it."""
    return point.spec.first, point.spec.beyond


def _joins(first: Register, end: int, spec: Register, joined: int, options: Options) -> bool:
    return (
        spec.first - end <= options.gap(spec.function)
        and joined - first.first <= options.limit(spec.function)
        and options.forbids(first.first, joined) is None
    )


def _fits(point: Point, options: Options) -> None:
    spec: Register = point.spec
    if spec.first < 0 or spec.beyond > 65_536:
        raise PlanError(point.name, f"{spec.type} at {spec.address} is outside 0..65535")
    if spec.beyond - spec.first > options.limit(spec.function):
        raise PlanError(point.name, f"{spec.type} is wider than max_registers = {options.max_registers}")
    if banned := options.forbids(spec.first, spec.beyond):
        raise PlanError(point.name, f"address {spec.address} is inside the forbidden range {banned}")


def _block(points: list[Point], end: int, layouts: dict[Layout, Decoder], learned: Learned) -> ReadBlock:
    first = points[0]
    address, function = first.spec.first, first.spec.function
    layout = tuple((point.spec, point.scale, point.offset) for point in points)
    decoder = layouts.get(layout) or layouts.setdefault(layout, Decoder(points, function, address))
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
        mbap_request_tail(first.device.unit, function, address, end - address),
        mbap_reply_head(first.device.unit, function, end - address),
        tuple(points),
        learned,
    )


def _cuts(points: list[Point], end: int) -> tuple[int, ...]:
    first, step = points[0].spec.first, 8 if points[0].spec.is_coil else 1
    inside = {address for p in points for address in range(p.spec.first + 1, p.spec.beyond)}
    return tuple(at - first for at in range(first + step, end, step) if at not in inside)

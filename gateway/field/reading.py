"""One look at a device: bytes that passed, what they hold, what that means, and whether it can be believed.

In: an open reader and a device's operations. Out: a `Sight`, and its rows as JSON carries them. Only `read_device`
awaits; it asks for nothing that the device's profile does not poll anyway.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from gateway.field.asking import tapping
from protocols.api import Point, Quality, Reader

VERDICTS = {
    Quality.GOOD: "ok",
    Quality.SUSPECT: "doubtful",
    Quality.OUT_OF_RANGE: "out of range",
    Quality.SENTINEL: "not available",
    Quality.NO_REPLY: "no reply",
    Quality.BAD_REPLY: "bad reply",
    Quality.REFUSED: "refused",
    Quality.LINK_DOWN: "link down",
    Quality.NOT_POLLED: "not heard yet",
}


class Meaning(Protocol):
    """What a reading is judged by: a channel of a plan, or a point of a profile."""

    @property
    def unit(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def label_en(self) -> str: ...
    @property
    def label_ko(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def words(self) -> tuple[tuple[int, str], ...]: ...


class Passed(NamedTuple):
    """A request and what came back until the next one."""

    request: bytes
    reply: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Sight:
    """`values` by channel: (value, quality)."""

    passed: tuple[Passed, ...]
    values: Mapping[int, tuple[float, Quality]]


async def read_device(
    reader: Reader[Any], ops: Sequence[Any], points: Sequence[Point], timeout_s: float, listen_s: float = 0.0
) -> Sight:
    """Everything once. `listen_s`: how long a device that speaks by itself is waited for. Raises LinkDown."""
    wanted = {point.channel for point in points}
    values: dict[int, tuple[float, Quality]] = {}
    loop = asyncio.get_running_loop()
    until = loop.time() + listen_s
    with tapping(reader) as heard:
        while True:
            batch = await reader.read(ops, timeout_s)
            for channel, value, quality in zip(
                batch.channel.tolist(), batch.value.tolist(), batch.quality.tolist(), strict=True
            ):
                if channel in wanted:
                    values[channel] = value, Quality(quality)
            if wanted <= values.keys() or loop.time() >= until:
                break
    return sight_of(heard, values)


def sight_of(heard: Sequence[tuple[bool, bytes, int]], values: Mapping[int, tuple[float, Quality]]) -> Sight:
    """What a tap saw, and the values by channel."""
    return Sight(tuple(_paired(heard)), values)


def _paired(heard: Sequence[tuple[bool, bytes, int]]) -> Iterator[Passed]:
    """Requests and what followed each. Answers on TCP find theirs by the transaction id, the first two bytes; a line
    has one request at a time."""
    sent: list[tuple[bytes, int]] = []
    replies: list[bytes] = []
    ends: list[int] = []
    for is_ours, data, time_ns in heard:
        if is_ours or not sent:
            sent.append((data if is_ours else b"", time_ns))
            replies.append(b"" if is_ours else data)
            ends.append(time_ns)
            continue
        waiting = [at for at, (request, _) in enumerate(sent) if not replies[at] and request[:2] == data[:2]]
        at = waiting[0] if waiting else len(sent) - 1
        replies[at] += data
        ends[at] = time_ns
    for (request, begun_ns), reply, end_ns in zip(sent, replies, ends, strict=True):
        yield Passed(request, reply, (end_ns - begun_ns) / 1e9 if reply and request else math.nan)


def facts_of(sight: Sight, points: Sequence[Point], meanings: Mapping[str, Meaning], driver: str) -> dict[str, Any]:
    """`exchanges` and `points`, side by side, for JSON: no number in it is NaN or infinite."""
    return {
        "exchanges": [
            {
                "request": one.request.hex(" ").upper(),
                "reply": one.reply.hex(" ").upper(),
                "ms": _finite(one.seconds * 1000),
                "says": said_by(one, driver),
            }
            for one in sight.passed
        ],
        "points": [_row(sight, point, meanings[point.name], driver) for point in points],
    }


def _row(sight: Sight, point: Point, meaning: Meaning, driver: str) -> dict[str, Any]:
    value, quality = sight.values.get(point.channel, (math.nan, Quality.NOT_POLLED))
    if quality == Quality.GOOD and not meaning.low <= value <= meaning.high:
        quality = Quality.OUT_OF_RANGE
    decoded = (value - point.offset) / point.scale
    return {
        "point": point.name,
        "label": {"en": meaning.label_en, "ko": meaning.label_ko},
        "where": where(point),
        "raw": raw_of(sight, point).hex(" ").upper() if driver == "modbus" else "",
        "decoded": _finite(decoded),
        "value": _finite(value),
        "word": dict(meaning.words).get(round(value), "") if meaning.words and math.isfinite(value) else "",
        "unit": meaning.unit,
        "role": meaning.role,
        "low": _finite(meaning.low),
        "high": _finite(meaning.high),
        "quality": int(quality),
        "verdict": VERDICTS[quality],
    }


def where(point: Point) -> str:
    """`FC3 8 int32 CDAB`, as short as it can be said."""
    spec = point.spec
    if hasattr(spec, "function"):
        if spec.is_coil:
            return f"FC{spec.function} {spec.address} bit"
        wide = "" if spec.span < 2 and spec.order == "ABCD" else f" {spec.order}"
        bit = "" if spec.bit is None else f" bit {spec.bit}"
        factor = "" if spec.scale_factor is None else f" x 10^({spec.scale_factor})"
        return f"FC{spec.function} {spec.address} {spec.type}{wide}{bit}{factor}"
    for key in ("path", "characteristic", "offset", "field", "object"):
        if (value := getattr(spec, key, None)) not in (None, ""):
            return f"{key} {value}"
    return ""


def raw_of(sight: Sight, point: Point) -> bytes:
    """The registers of a Modbus point as they came, high byte first; of a coil one byte, 0 or 1; b"" where none."""
    spec = point.spec
    for one in sight.passed:
        got = _exchange(one)
        if got is None or got.function != spec.function:
            continue
        at = spec.address - got.address
        if at < 0 or spec.end > got.address + got.count:
            continue
        if spec.is_coil:
            return bytes((got.data[at // 8] >> at % 8 & 1,))
        return bytes(got.data[2 * at : 2 * at + 2 * spec.span])
    return b""


def _exchange(one: Passed) -> Any:
    from protocols.modbus.codec import parse_exchange

    try:
        return parse_exchange(one.request, one.reply.removeprefix(one.request))
    except ValueError:
        return None


def said_by(one: Passed, driver: str) -> str:
    """What is wrong with a reply, in words; "" where nothing is or it cannot be told."""
    if not one.request:
        return ""
    if not one.reply:
        return "no reply"
    if driver != "modbus":
        return ""
    from protocols.modbus.codec import parse_exchange

    try:
        parse_exchange(one.request, one.reply.removeprefix(one.request))
    except ValueError as bad:
        return str(bad)
    return ""


def _finite(number: float) -> float | None:
    return float(f"{number:.10g}") if math.isfinite(number) else None

"""Payloads of one BLE device as bytes in, values out. No radio, no clocks.

A `Decoder` keeps what tells a new message from an old one: the packet id, the counter of encrypted messages, the last
payload. It never raises: what cannot be used is counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from protocols.api import Device, Point, Quality
from protocols.ble.bthome import Refused, decrypt, is_encrypted, objects
from protocols.ble.points import SIZES, Options, Value

COUNTERS = (
    "decoded", "repeated", "malformed", "other_format", "unknown_objects", "plain_refused", "key_missing",
    "not_authentic", "replayed",
)  # fmt: skip
Row = tuple[int, float, int]
"""channel, value (NaN from quality SENTINEL on), quality"""


class _Message(NamedTuple):
    values: Sequence[tuple[int, float]]
    packet_id: int | None
    counter: int | None
    unknown: bool


class Decoder:
    """Messages of one device, in the order heard."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = tuple(points)
        self._device: Device = points[0].device
        self._options: Options = self._device.options
        self._period_ns = round(min(point.period_s for point in points) * 1e9)
        self._packet_id: int | None = None
        self.counter = -1  # of the last encrypted message that was believed
        self._last = b""
        self._last_ns = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def push(self, data: bytes, time_ns: int) -> list[Row]:
        """Rows of a payload heard at `time_ns`; none where it says nothing new or cannot be believed."""
        try:
            rows = self._bthome(data, time_ns) if self._options.format == "bthome" else self._plain(data, time_ns)
        except Refused as why:
            self.counters[why.counter] += 1
            return []
        self.counters["decoded" if rows else "repeated"] += 1
        return rows

    def _is_repeated(self, data: bytes, time_ns: int) -> bool:
        """Heard already, and no sensor that has only stayed the same for its period."""
        if data == self._last and time_ns - self._last_ns < self._period_ns:
            return True
        self._last, self._last_ns = data, time_ns
        return False

    def _plain(self, data: bytes, time_ns: int) -> list[Row]:
        require(self._options, data)
        if self._is_repeated(data, time_ns):
            return []
        return [_row(point, number(point.spec, data)) for point in self._points]

    def _bthome(self, data: bytes, time_ns: int) -> list[Row]:
        message = self._message(data)
        if message.counter is not None:
            if message.counter == self.counter and data == self._last:
                return []
            if message.counter <= self.counter:
                raise Refused("replayed", f"counter {message.counter} after {self.counter}")
            self.counter, self._last = message.counter, data
        if message.packet_id is not None:
            if message.packet_id == self._packet_id and time_ns - self._last_ns < self._period_ns:
                return []  # later it is a sensor that began to count anew
            self._packet_id, self._last_ns = message.packet_id, time_ns
        elif message.counter is None and self._is_repeated(data, time_ns):
            return []
        self.counters["unknown_objects"] += message.unknown
        rows = [_row(point, value) for point in self._points if (value := pick(point.spec, message.values)) is not None]
        if not rows:
            raise Refused("other_format", "none of the points is in this message")
        return rows

    def _message(self, data: bytes) -> _Message:
        key = self._device.secret
        counter = None
        if is_encrypted(data):
            if not key:
                raise Refused("key_missing", "the message is encrypted, and the site names no key")
            counter, plain = decrypt(data, self._device.address, key)
        elif key:
            raise Refused("plain_refused", "a plain message of a device that has a key")
        else:
            plain = data[1:]
        found = objects(plain)
        if found.cut:
            raise Refused("malformed", "the last object lacks bytes")
        return _Message(found.values, found.packet_id, counter, found.unknown)


def require(options: Options, data: bytes) -> None:
    """Raises Refused where `data` is no payload of this device."""
    for one in options.fixed:
        if data[one.at : one.at + len(one.data)] != one.data:
            raise Refused("other_format", f"byte {one.at} is not {one.bytes}")
    if options.length and len(data) != options.length:
        raise Refused("malformed", f"{len(data)} bytes, not {options.length}")


def number(spec: Value, data: bytes) -> float:
    """The raw number of a point, NaN where the device has none. Raises Refused where the payload ends before it."""
    if spec.end > len(data):
        raise Refused("malformed", f"{len(data)} bytes, {spec.end} are needed")
    end = spec.at + SIZES[spec.type]
    raw = int.from_bytes(data[spec.at : end], spec.order, signed=spec.type.startswith("i"))
    if spec.mask is not None:
        raw = (raw & spec.mask) >> spec.shift
    if spec.low_bit:
        raw = raw << 1 | data[spec.low_bit.at] >> spec.low_bit.bit & 1
    if raw in spec.none:
        return math.nan
    return math.expm1(raw * spec.growth) if spec.growth is not None else float(raw)


def pick(spec: Value, values: Sequence[tuple[int, float]]) -> float | None:
    """The `index`-th value of the point's object, None where the message has none."""
    left = spec.index
    for one, value in values:
        if one == spec.object:
            if not left:
                return value
            left -= 1
    return None


def _row(point: Point, raw: float) -> Row:
    value = raw * point.scale + point.offset
    return point.channel, value, int(Quality.SENTINEL if math.isnan(value) else Quality.GOOD)


def decode(points: Sequence[Point], request: bytes, reply: bytes) -> Mapping[str, float]:
    """Values of one payload, for captures. `request`: the characteristic's UUID (GATT), else nothing.
    Raises ValueError."""
    if not points:
        return {}
    options: Options = points[0].device.options
    if options.format == "bthome":
        if is_encrypted(reply):
            raise ValueError("an encrypted capture proves nothing without its key")
        found = objects(reply[1:])
        if found.cut or found.unknown:
            raise ValueError("the objects do not end with the message")
        values = {point.name: pick(point.spec, found.values) for point in points}
        got = {name: value for name, value in values.items() if value is not None}
        if not got:
            raise ValueError("none of the points is in this message")
        return {point.name: got[point.name] * point.scale + point.offset for point in points if point.name in got}
    require(options, reply)
    asked = [point for point in points if options.format != "gatt" or _of(point, request)]
    if not asked:
        raise ValueError("no point has this characteristic")
    return {point.name: number(point.spec, reply) * point.scale + point.offset for point in asked}


def _of(point: Point, request: bytes) -> bool:
    return str(point.spec.characteristic).replace("-", "").lower() == request.hex()

"""Bluetooth devices simulated from their profiles: what they advertise, and what they answer once connected.

In: points of one device and their values. Out: payloads as the profile describes them (BTHome plain or encrypted, data
by offsets, GATT values), played on an `org.bluez` without a radio (gateway.sim.bluez). The bytes are made from the
published formats, by no code that reads them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from gateway.sim.bluez import Bluez
from gateway.sim.modbus import Now
from gateway.sim.world import Sent, World
from protocols.api import Point

BTHOME_UUID = 0xFCD2
PLAIN, SEALED = 0x40, 0x41  # device information: version 2, bit 0 encrypted
LEAST_PERIOD_S = 0.2
_SIZES = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int24": 3, "uint24": 3, "int32": 4, "uint32": 4}
# id -> (bytes, sign, divisor) of those objects whose value is not one plain byte; bthome.io/format
_OBJECTS = {
    0x02: (2, True, 100), 0x03: (2, False, 100), 0x04: (3, False, 100), 0x05: (3, False, 100), 0x06: (2, False, 100),
    0x07: (2, False, 100), 0x08: (2, True, 100), 0x0A: (3, False, 1000), 0x0B: (3, False, 100), 0x0C: (2, False, 1000),
    0x0D: (2, False, 1), 0x0E: (2, False, 1), 0x12: (2, False, 1), 0x13: (2, False, 1), 0x14: (2, False, 100),
    0x3F: (2, True, 10), 0x3C: (2, False, 1), 0x3D: (2, False, 1), 0x3E: (4, False, 1), 0x40: (2, False, 1),
    0x41: (2, False, 10), 0x43: (2, False, 1000), 0x45: (2, True, 10), 0x4A: (2, False, 10), 0x50: (4, False, 1),
}  # fmt: skip


def objects(points: Sequence[Point], values: Sequence[float], packet_id: int) -> tuple[bytes, list[float]]:
    """BTHome objects in rising order, and the values that they really carry."""
    out = bytes((0x00, packet_id & 0xFF))
    carried = [math.nan] * len(points)
    for number in sorted(range(len(points)), key=lambda n: (points[n].spec.object, points[n].spec.index)):
        point = points[number]
        size, signed, divisor = _OBJECTS.get(point.spec.object, (1, False, 1))
        raw = _fitted((values[number] - point.offset) / point.scale * divisor, size, signed)
        out += bytes((point.spec.object,)) + raw.to_bytes(size, "little", signed=signed)
        carried[number] = raw / divisor * point.scale + point.offset
    return out, carried


def bthome(plain: bytes, address: str, key: bytes, counter: int) -> bytes:
    """Service data of UUID 0xFCD2; sealed by AES-CCM where there is a key (bthome.io/encryption)."""
    if not key:
        return bytes((PLAIN,)) + plain
    count = counter.to_bytes(4, "little")
    nonce = bytes.fromhex(address.replace(":", "")) + BTHOME_UUID.to_bytes(2, "little") + bytes((SEALED,)) + count
    sealed = AESCCM(key, tag_length=4).encrypt(nonce, plain, None)
    return bytes((SEALED,)) + sealed[:-4] + count + sealed[-4:]


def by_offsets(points: Sequence[Point], values: Sequence[float]) -> tuple[bytes, list[float]]:
    """A payload whose fields lie where the profile says, and the values that they really carry."""
    options = points[0].device.options
    size = options.length or max(
        [point.spec.end for point in points] + [one.at + len(one.data) for one in options.fixed]
    )
    out = bytearray(size)
    for one in options.fixed:
        out[one.at : one.at + len(one.data)] = one.data
    carried = []
    for point, value in zip(points, values, strict=True):
        spec = point.spec
        wanted = (value - point.offset) / point.scale
        raw = round(math.log1p(max(0.0, wanted)) / spec.growth) if spec.growth else round(wanted)
        raw = _stored(out, spec, raw)
        told = math.expm1(raw * spec.growth) if spec.growth else float(raw)
        carried.append(told * point.scale + point.offset)
    return bytes(out), carried


def _stored(out: bytearray, spec: object, raw: int) -> int:
    """Put a raw number where `spec` wants it; what is there then."""
    size = _SIZES[spec.type]  # type: ignore[attr-defined]
    signed = spec.type.startswith("i")  # type: ignore[attr-defined]
    mask, shift, low, at = spec.mask, spec.shift, spec.low_bit, spec.at  # type: ignore[attr-defined]
    least = 0
    if low is not None:
        least, raw = raw & 1, raw >> 1
        out[low.at] = out[low.at] & ~(1 << low.bit) | least << low.bit
    if mask is None:
        raw = _fitted(raw, size, signed)
        out[at : at + size] = raw.to_bytes(size, spec.order, signed=signed)  # type: ignore[attr-defined]
    else:
        raw = min(max(0, raw), mask >> shift)
        there = int.from_bytes(out[at : at + size], spec.order) & ~mask  # type: ignore[attr-defined]
        out[at : at + size] = (there | raw << shift).to_bytes(size, spec.order)  # type: ignore[attr-defined]
    return raw << 1 | least if low is not None else raw


def _fitted(value: float, size: int, signed: bool) -> int:
    bits = 8 * size - signed
    return min((1 << bits) - 1, max(-(1 << bits) if signed else 0, round(value)))


class Beacon:
    """One device on a daemon, as long as `play` runs."""

    def __init__(self, bluez: Bluez, points: Sequence[Point], world: World, sent: Sent, now: Now) -> None:
        self._bluez, self._points, self._world, self._sent, self._now = bluez, tuple(points), world, sent, now
        self._device = points[0].device
        self._number = 0
        self._manufacturer: dict[int, bytes] = {}
        self._service: dict[int, bytes] = {}
        self.period_s = max(LEAST_PERIOD_S, min(point.period_s for point in points))

    async def play(self, again_s: float = 0.0) -> None:
        """A new message once a period, said again every `again_s` in between, as beacons do. What nobody listened to
        was not sent."""
        while True:
            self.speak()
            left_s = self.period_s
            while 0 < again_s < left_s:
                await asyncio.sleep(again_s)
                left_s -= again_s
                self.repeat()
            await asyncio.sleep(left_s)

    def speak(self) -> bool:
        """One message now: whether somebody was told."""
        time_ns, at_s = self._now()
        if not self._world.alive(self._device.name, at_s):
            return False
        values = [self._world.value(f"{self._device.name}.{point.name}", at_s) for point in self._points]
        self._number += 1
        options = self._device.options
        if options.format == "gatt":
            self._offer(values)
            return True
        if options.format == "bthome":
            plain, carried = objects(self._points, values, self._number)
            data = bthome(plain, self._device.address, self._device.secret, self._number)
            self._service = {BTHOME_UUID: data}
        else:
            data, carried = by_offsets(self._points, values)
            if options.format == "manufacturer":
                self._manufacturer = {options.company: data}
            else:
                self._service = {int(options.uuid[-4:], 16): data}
        told = self._advertise()
        if told:
            self._sent.wire_bytes += len(data)
            for point, value in zip(self._points, carried, strict=True):
                self._sent.add(f"{self._device.name}.{point.name}", time_ns, value)
        return told

    def repeat(self) -> None:
        """The last message once more."""
        if self._world.alive(self._device.name, self._now()[1]):
            self._advertise()

    def _advertise(self) -> bool:
        return self._bluez.advertise(self._device.address, self._manufacturer, self._service)

    def _offer(self, values: Sequence[float]) -> None:
        """What each characteristic holds now; a client that asked for notifications is told."""
        found: dict[int, bytearray] = {}
        for point, value in zip(self._points, values, strict=True):
            uuid = int(point.spec.characteristic[-4:] if len(point.spec.characteristic) == 4
                       else point.spec.characteristic[4:8], 16)  # fmt: skip
            least = max(one.spec.end for one in self._points if one.spec.characteristic == point.spec.characteristic)
            body = found.setdefault(uuid, bytearray(least))
            _stored(body, point.spec, round((value - point.offset) / point.scale))
        self._bluez.offer(self._device.address, {uuid: bytes(body) for uuid, body in found.items()})
        self._advertise()

"""Points of one adapter to what is listened for: one operation a device. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.api import Device, Link, Point
from protocols.ble.points import Options


@dataclass(frozen=True, slots=True)
class Hear:
    """One device, heard or (GATT) connected to."""

    points: tuple[Point, ...]

    @property
    def device(self) -> Device:
        return self.points[0].device

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(point.channel for point in self.points)

    @property
    def period_s(self) -> float:
        return min(point.period_s for point in self.points)

    def wire_s(self, link: Link) -> float:
        """The air has room for what a cabinet hears."""
        return 0.0

    def describe(self) -> str:
        options: Options = self.device.options
        what = {
            "bthome": "BTHome v2" + (", encrypted" if self.device.secret else ""),
            "manufacturer": f"manufacturer 0x{options.company or 0:04X}",
            "service": f"service {options.uuid}",
            "gatt": f"GATT {options.mode}",
        }[options.format]
        return f"{self.device.address or 'no address'} {what} ({len(self.points)} values)"


def plan(points: Sequence[Point]) -> tuple[Hear, ...]:
    """One operation a device, in the order of the points."""
    by_device: dict[str, list[Point]] = {}
    for point in points:
        by_device.setdefault(point.device.name, []).append(point)
    return tuple(Hear(tuple(mine)) for mine in by_device.values())

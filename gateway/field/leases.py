"""Values that a center has put on devices for a time, and what they go back to.

In: leases, points of time. Out: which are over, and what a restart finds. No device, no network; one file in the state
folder, replaced as a whole, and always before a device hears of it.

    asked for ──▶ PENDING ──reads back──▶ HELD ──over, released──▶ FALLING ──rest reads back──▶ gone
                     └──────────────nobody knows what it took──────────▲

Time runs on CLOCK_BOOTTIME. A restart of the process goes on with what was HELD; what was PENDING then may have reached
the device and was told to nobody, so it falls. After a boot of the machine all of them fall: nobody knows how long it
was away.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from gateway.spool.spool import kernel_boot
from gateway.wire import state

FILE = "leases.json"


class Step(Enum):
    PENDING = "pending"
    HELD = "held"
    FALLING = "falling"


@dataclass(frozen=True, slots=True)
class Lease:
    """`rest`: what the point goes back to, in the profile's unit like `value`. Times are CLOCK_BOOTTIME ns."""

    point: str  # device.point
    value: float
    rest: float
    since_ns: int
    until_ns: int
    by: str
    step: Step = Step.PENDING


class Leases:
    """At most one a point. `changed` is True while the file is older than what is known."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._of: dict[str, Lease] = {}
        self.changed = False

    def __len__(self) -> int:
        return len(self._of)

    def get(self, point: str) -> Lease | None:
        return self._of.get(point)

    def all(self) -> tuple[Lease, ...]:
        return tuple(self._of.values())

    def put(self, lease: Lease) -> None:
        """Kept, and on disk. Raises OSError; then all is as it was."""
        before = dict(self._of)
        self._of[lease.point] = lease
        try:
            self.write()
        except OSError:
            self._of = before
            raise

    def note(self, lease: Lease) -> None:
        """Known; on disk with the next `write`. For what must go on whatever the disk says."""
        self._of[lease.point] = lease
        self.changed = True

    def forget(self, point: str) -> None:
        if self._of.pop(point, None) is not None:
            self.changed = True

    def due(self, now_ns: int) -> list[Lease]:
        """What is to fall now."""
        return [one for one in self._of.values() if one.step is Step.FALLING or one.until_ns <= now_ns]

    def next_ns(self) -> int | None:
        """When the next of those that are HELD is over."""
        return min((one.until_ns for one in self._of.values() if one.step is not Step.FALLING), default=None)

    def write(self) -> None:
        """Raises OSError; then the file before it stays."""
        told = [asdict(one) | {"step": one.step.value} for one in self._of.values()]
        state.write(self._folder, FILE, {"boot": kernel_boot(), "leases": told})
        self.changed = False

    def restore(self) -> None:
        """What the process before left. Raises OSError and ValueError for a file that cannot be used; then there is no
        lease, and the file is left for whoever looks."""
        try:
            found = json.loads((self._folder / FILE).read_text())
        except FileNotFoundError:
            return
        try:
            is_same = found["boot"] == kernel_boot()
            leases = [_lease(told) for told in found["leases"]]
        except (KeyError, TypeError) as bad:
            raise ValueError(f"{bad} is missing or of another kind") from bad
        self._of = {
            one.point: one if is_same and one.step is Step.HELD else replace(one, step=Step.FALLING) for one in leases
        }


def _lease(told: Mapping[str, Any]) -> Lease:
    """Raises KeyError, TypeError, ValueError."""
    lease = Lease(
        str(told["point"]),
        float(told["value"]),
        float(told["rest"]),
        int(told["since_ns"]),
        int(told["until_ns"]),
        str(told["by"]),
        Step(told["step"]),
    )
    if not math.isfinite(lease.rest):
        raise ValueError(f"{lease.point} has no resting value")
    return lease

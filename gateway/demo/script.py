"""What happens in the block, and when an alarm for it is due.

Times are seconds of the play, which begins with the field half's start. A rule is production's own; where production
waits for hours, the demo's site file shortens the duration (see `block.py`), and the same number is used here.

`due_ns` answers from the ledger of what the devices sent: the reading with which the rule is first satisfied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.sim.serial import StuckLoop
from gateway.sim.world import Incident, Sent, Signal

LAMPS = 8
GROUP_SHARE = 0.8
LEAK_HOLD_S = 2.0
BURST_HOLD_S = 3.2
BURST_FLOW, BURST_PRESSURE = 60.0, 3.0
METER_HOLD_S = 3.2
AIR_HOLD_S = 5.5
AIR_LIMIT = 75.0
STUCK_S = 6.0
SILENT_S = 3.0

CUT_S = (22.0, 32.0)
KILL_S = 34.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the simulators know at the end: the only witness the account trusts."""

    sent: Sent
    stuck: StuckLoop
    began_ns: int


Due = Callable[[Ledger], int | None]


@dataclass(frozen=True, slots=True)
class Scene:
    """An incident with the alarm it must raise. `settled_s`: by then a working gateway has raised and ended it."""

    incident: Incident
    code: str
    subject: str
    due_ns: Due
    settled_s: float


def held(channel: str, true: Callable[[float], bool], hold_s: float) -> Due:
    """First reading at which `true` has held for `hold_s` without a break."""

    def due(ledger: Ledger) -> int | None:
        since: int | None = None
        times, values = ledger.sent.times.get(channel, ()), ledger.sent.values.get(channel, ())
        for time_ns, value in zip(times, values, strict=True):
            if not true(value):
                since = None
                continue
            since = time_ns if since is None else since
            if time_ns - since >= hold_s * 1e9:
                return time_ns
        return None

    return due


def together(*rules: Due) -> Due:
    """When the last of several rules is satisfied."""

    def due(ledger: Ledger) -> int | None:
        found = [rule(ledger) for rule in rules]
        return None if None in found else max(time_ns for time_ns in found if time_ns is not None)

    return due


def most_of(channels: Sequence[str], count: int) -> Due:
    """When the `count`-th of several channels is not 0."""

    def due(ledger: Ledger) -> int | None:
        firsts = [held(channel, lambda v: v != 0, 0.0)(ledger) for channel in channels]
        known = sorted(time_ns for time_ns in firsts if time_ns is not None)
        return known[count - 1] if len(known) >= count else None

    return due


def silence(channel: str, start_s: float, limit_s: float) -> Due:
    """The deadline that a device's absence missed: its last reading before `start_s`, and `limit_s` more."""

    def due(ledger: Ledger) -> int | None:
        start_ns = ledger.began_ns + round(start_s * 1e9)
        before = [time_ns for time_ns in ledger.sent.times.get(channel, ()) if time_ns < start_ns]
        return before[-1] + round(limit_s * 1e9) if before else None

    return due


def stuck(channel: str, rate_hz: float, limit_s: float) -> Due:
    """The burst with the sample at which a loop has been on for `limit_s` of its own sample clock."""

    def due(ledger: Ledger) -> int | None:
        first = ledger.stuck.first_sample.get(channel)
        return None if first is None else ledger.stuck.time_of(first + round(limit_s * rate_hz))

    return due


def scenes() -> list[Scene]:
    """The script. The burst stands while the way is cut and the field half is killed: it must be raised once only."""
    lamp_failures = [f"dali.lamp{n}_failure" for n in range(LAMPS)]
    dark = {name: Signal(1.0) for name in lamp_failures}
    return [
        Scene(
            Incident("wet leak rope", 4, 11, {"rope.leak": Signal(1.0), "rope.distance": Signal(37.0)}),
            "water.leak", "rope", held("rope.leak", lambda v: v != 0, LEAK_HOLD_S), 14.0,
        ),
        Scene(
            Incident("lamp group out", 7, 15, dark),
            "streetlight.group_outage", "F1", most_of(lamp_failures, round(GROUP_SHARE * LAMPS + 0.49)), 16.5,
        ),
        Scene(
            Incident("PM2.5 episode", 10, 20, {"air.pm25": Signal(112.0, 1.5), "air.pm10": Signal(131.0, 2.0)}),
            "air.pm25_advisory", "air", held("air.pm25", lambda v: v >= AIR_LIMIT, AIR_HOLD_S), 22.0,
        ),
        Scene(
            Incident("pipe burst", 23, 37, {"flow.flow": Signal(96.0, 0.6), "pressure.pressure": Signal(1.9, 0.01)}),
            "water.burst", "dma-3",
            together(
                held("flow.flow", lambda v: v >= BURST_FLOW, BURST_HOLD_S),
                held("pressure.pressure", lambda v: v <= BURST_PRESSURE, BURST_HOLD_S),
            ), 42.0,
        ),
        Scene(
            Incident("device dies and returns", 41, 47, dead=("rope",)),
            "health.device_silent", "rope", silence("rope.leak", 41, SILENT_S), 52.0,
        ),
        Scene(
            Incident("loop stuck on", 40, 49, {"loops.loop2": Signal(3.1, 0.0)}),
            "traffic.loop_stuck", "loops.loop2", stuck("loops.loop2", 500.0, STUCK_S), 51.0,
        ),
        Scene(
            Incident("meter fault", 43, 50, {"flow.error": Signal(1.0)}),
            "water.meter_fault", "flow", held("flow.error", lambda v: v != 0, METER_HOLD_S), 54.5,
        ),
    ]  # fmt: skip


def fitting(play_s: float) -> list[Scene]:
    """The scenes that a play of `play_s` has time for; the whole script needs 55 s."""
    return [scene for scene in scenes() if scene.settled_s <= play_s]


def courses() -> dict[str, Signal]:
    """How the block measures when nothing is wrong."""
    power: dict[str, Signal] = {}
    for meter, amps, watts in (("meter", 3.4, 742.0), ("feeder1", 1.9, 415.0), ("feeder2", 1.5, 327.0)):
        power |= {
            f"{meter}.voltage": Signal(230.2, 0.25),
            f"{meter}.frequency": Signal(60.0, 0.004),
            f"{meter}.current": Signal(amps, 0.01),
            f"{meter}.power": Signal(watts, 1.8),
            f"{meter}.power_factor": Signal(0.95, 0.001),
            f"{meter}.energy": Signal(4821.0, per_s=watts / 3.6e6),
        }
    water = {
        "flow.flow": Signal(36.6, 0.35),
        "flow.velocity": Signal(1.29, 0.012),
        "flow.volume_positive": Signal(118_240.0, per_s=0.0102),
        "flow.signal_quality": Signal(91.0),
        "pressure.pressure": Signal(4.62, 0.015),
        "rope.leak": Signal(0.0),
        "rope.distance": Signal(0.0),
        "rope.leak_current": Signal(3.0),
        "rope.cable_length": Signal(150.0),
    }
    air = {
        "air.pm1": Signal(9.0, 0.8), "air.pm25": Signal(14.0, 1.2), "air.pm10": Signal(21.0, 1.6),
        "air.pm1_cf1": Signal(9.0, 0.8), "air.pm25_cf1": Signal(14.0, 1.2), "air.pm10_cf1": Signal(21.0, 1.6),
    }  # fmt: skip
    lane = {
        "shade.temperature": Signal(24.3, 0.05),
        "shade.humidity": Signal(47.0, 0.3),
        "shade.battery": Signal(92.0),
        "lane.vehicles": Signal(4812.0, per_s=0.4),
        "lane.speed": Signal(46.0, 2.0),
        "lane.occupancy": Signal(11.0, 1.0),
    }
    lamps = {f"dali.lamp{n}_level": Signal(80.0) for n in range(LAMPS)}
    return {**power, **water, **air, **lane, **lamps}

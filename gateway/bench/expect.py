"""What a sensor must do when a person does something to it: told by a word of the trade or by a rule. Pure.

    leak, dry, dark, light, vehicle, door, lamp-on, lamp-off, flow, pressure, warm, breath, smoke, move
    POINT>2.5  POINT<10  POINT=1      crosses to there, having been elsewhere
    POINT+5    POINT-5                rises or falls by so much from where it was
    POINT~0.2                         moves either way

In: readings one after the other. Out: waiting, or passed. A value that is already there when the watch begins proves
nothing: it must go and come.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import Any


class Way(Enum):
    ABOVE = ">"
    BELOW = "<"
    EQUALS = "="
    RISE = "+"
    FALL = "-"
    MOVE = "~"


class State(Enum):
    WAITING = "waiting"
    ALREADY = "already so: undo it first"
    PASS = "PASS"


@dataclass(frozen=True, slots=True)
class Expectation:
    """`amount` in the point's unit; with `is_share` a part of the value it started from."""

    point: str
    way: Way
    amount: float
    is_share: bool = False

    def __str__(self) -> str:
        amount = f"{self.amount:.0%}" if self.is_share else f"{self.amount:g}"
        words = {
            Way.ABOVE: "above", Way.BELOW: "below", Way.EQUALS: "becomes", Way.RISE: "rises by", Way.FALL: "falls by",
            Way.MOVE: "moves by",
        }  # fmt: skip
        return f"{self.point} {words[self.way]} {amount}"


WORDS: dict[str, tuple[tuple[str, Way, float, bool], ...]] = {
    "leak": (("leak", Way.EQUALS, 1, False), ("leak_distance", Way.MOVE, 0.5, False)),
    "dry": (("leak", Way.EQUALS, 0, False),),
    "dark": (("illuminance", Way.FALL, 0.5, True),),
    "light": (("illuminance", Way.RISE, 1.0, True),),
    "vehicle": (
        ("vehicle_count", Way.RISE, 1, False),
        ("volume", Way.RISE, 1, False),
        ("occupancy", Way.RISE, 1, False),
        ("loop", Way.MOVE, 0.5, False),
    ),
    "door": (("door", Way.MOVE, 1, False),),
    "lamp-on": (
        ("lamp_power", Way.RISE, 5, False),
        ("power", Way.RISE, 5, False),
        ("lamp_level", Way.RISE, 10, False),
        ("current", Way.RISE, 0.1, False),
    ),
    "lamp-off": (
        ("lamp_power", Way.FALL, 5, False),
        ("power", Way.FALL, 5, False),
        ("lamp_level", Way.FALL, 10, False),
        ("current", Way.FALL, 0.1, False),
    ),
    "flow": (("flow", Way.MOVE, 0.1, True),),
    "pressure": (("pressure", Way.MOVE, 0.05, True),),
    "warm": (("temperature", Way.RISE, 1, False),),
    "breath": (("co2", Way.RISE, 200, False), ("humidity", Way.RISE, 5, False)),
    "smoke": (("pm25", Way.RISE, 20, False), ("pm10", Way.RISE, 20, False)),
}
"""Word -> roles that can show it, the best first: direction, how much, whether that is a part of the value."""

_RULE = re.compile(r"([A-Za-z]\w*)\s*([><=+~-])\s*(\d+(?:\.\d+)?|-\d+(?:\.\d+)?)")


def expected(text: str, points: Sequence[Mapping[str, Any]]) -> Expectation:
    """What `text` means for a device with these points (`point`, `role`). ValueError says what can be written."""
    names = [str(one["point"]) for one in points]
    if match := _RULE.fullmatch(text.strip()):
        if match[1] not in names:
            raise ValueError(f"no point {match[1]}; there are {', '.join(names)}")
        return Expectation(match[1], Way(match[2]), float(match[3]))
    for role, way, amount, is_share in WORDS.get(text, ()):
        found = next((str(one["point"]) for one in points if one.get("role") == role), "")
        if found:
            return Expectation(found, way, amount, is_share)
    if text in WORDS:
        roles = ", ".join(role for role, *_ in WORDS[text])
        raise ValueError(f"no point of this device has a role that shows {text} ({roles}); write POINT>VALUE")
    raise ValueError(f"{text} is none of {', '.join(WORDS)} and no rule such as {names[0] if names else 'flow'}>2.5")


@dataclass(slots=True)
class Trial:
    """One expectation, reading by reading."""

    expectation: Expectation
    settle: int = 3  # readings that make the value it started from
    state: State = State.WAITING
    first: list[float] = field(default_factory=list)
    _was_elsewhere: bool = False

    def take(self, value: float) -> State:
        """NaN changes nothing."""
        if self.state is State.PASS or math.isnan(value):
            return self.state
        is_there = self._is_there(value)
        if self.expectation.way in (Way.ABOVE, Way.BELOW, Way.EQUALS):
            self._was_elsewhere |= not is_there
            self.state = State.WAITING if self._was_elsewhere else State.ALREADY
            if is_there and self._was_elsewhere:
                self.state = State.PASS
            return self.state
        if len(self.first) < self.settle and not (self.first and is_there):
            self.first.append(value)
        elif is_there:
            self.state = State.PASS
        return self.state

    def _is_there(self, value: float) -> bool:
        one = self.expectation
        match one.way:
            case Way.ABOVE:
                return value > one.amount
            case Way.BELOW:
                return value < one.amount
            case Way.EQUALS:
                return math.isclose(value, one.amount, abs_tol=1e-9)
        if not self.first:
            return False
        start = median(self.first)
        much = one.amount * abs(start) if one.is_share else one.amount
        change = value - start
        if one.way is Way.MOVE:
            return abs(change) >= much > 0
        return (change if one.way is Way.RISE else -change) >= much > 0

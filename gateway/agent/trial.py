"""Whether a release on trial is good: looks at the gateway in, a verdict out. No clock, no sockets.

Good is: the field half runs this very release and has at least as many good points as before, the spool takes what is
written, and the connection to a center stands wherever its network can be reached at all. A line that is down says
nothing about a release, and what a center answers, or that it cannot be told, is no part of the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

GOOD_QUALITY = 0  # protocols.api.Quality.GOOD, as the control socket tells it
HELD = 0.5  # of the probation: how long all must be well without a break, to its end


class Reach(Enum):
    """The way to a center that this release has."""

    STANDS = "stands"  # it has answered on our connection
    AWAY = "away"  # nothing is to be reached there: no network, no center
    BROKEN = "broken"  # something takes connections there, but ours does not come to stand


class Verdict(Enum):
    WAIT = "wait"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Look:
    """`version`: the field half's, "" where none answers; `good`: points of good quality; `spool`: its fault."""

    version: str = ""
    good: int = 0
    spool: str = ""
    reach: Reach = Reach.AWAY


def look(live: Mapping[str, Any], health: Mapping[str, Any], reach: Reach = Reach.AWAY) -> Look:
    """From the field half's answers to `live` and `health`. Raises KeyError, TypeError, ValueError for others."""
    good = sum(1 for channel in live["channels"] if channel["value"] is not None and channel["quality"] == GOOD_QUALITY)
    return Look(str(health["version"]), good, str(health["spool"]["fault"] or ""), reach)


class Gate:
    """One trial. `see` each look with the seconds since it began."""

    def __init__(self, release: str, good: int, probation_s: float) -> None:
        """`good`: points that were good before the switch."""
        self._release, self._good, self._probation_s = release, good, probation_s
        self._well_since_s: float | None = None

    def see(self, at_s: float, look: Look) -> tuple[Verdict, str, str]:
        """The verdict, and what is in the way (English, Korean). It falls after one probation at the earliest, after
        two at the latest."""
        en, ko = self._fault(look)
        if en:
            self._well_since_s = None
        elif self._well_since_s is None:
            self._well_since_s = at_s
        if at_s < self._probation_s:
            return Verdict.WAIT, en, ko
        if self._well_since_s is not None and at_s - self._well_since_s >= self._probation_s * HELD:
            return Verdict.GOOD, "", ""
        if at_s < 2 * self._probation_s:
            return Verdict.WAIT, en, ko
        return (Verdict.BAD, en, ko) if en else (Verdict.BAD, "it does not stay well", "상태가 유지되지 않습니다")

    def _fault(self, look: Look) -> tuple[str, str]:
        if not look.version:
            return "the field half does not answer", "필드 프로세스가 응답하지 않습니다"
        if look.version != self._release:
            return f"the field half runs {look.version}", f"필드 프로세스가 {look.version} 으로 동작합니다"
        if look.spool:
            return f"the spool refuses ({look.spool})", f"스풀 오류 ({look.spool})"
        if look.good < self._good:
            return f"{look.good} points are good, {self._good} were", f"정상 포인트 {look.good}개 (이전 {self._good}개)"
        if look.reach is Reach.BROKEN:
            return "its connection to the center does not stand", "센터 연결이 성립되지 않습니다"
        return "", ""

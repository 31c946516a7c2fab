"""How long one unit needs to answer, learned from its own answers. No clocks: durations in, a time-out out.

The time-out is the larger of mean + 4 deviations (RFC 6298's estimator) and twice the slowest recent answer, between
a floor that belongs to the link and the ceiling that the site or the profile gives. A unit nobody knows yet has the
ceiling.

A unit that falls silent keeps its short time-out, so that it costs its neighbours little, and one that never answered
gets a quarter of the ceiling; every eighth time both get four times that, in case the unit has become slow. A late
answer proves that it has: the ceiling counts again until enough answers are in.
"""

from __future__ import annotations

from dataclasses import dataclass

ENOUGH = 8  # answers before the ceiling is left
_HOPES = 3  # time-outs in a row before an unknown unit is taken for dead
_LONG_LOOK = 8  # of so many time-outs in a row the last is a long one
_FADE = 0.98  # of the slowest answer, a turn


@dataclass(slots=True)
class Timing:
    """Durations in ns, without the time the answer itself takes on the line."""

    mean_ns: float = 0.0
    deviation_ns: float = 0.0
    slowest_ns: float = 0.0
    answers: int = 0
    misses: int = 0
    current_ns: int = 0  # the time-out given last

    def answered(self, took_ns: int) -> None:
        took = max(took_ns, 0)
        if self.answers == 0:
            self.mean_ns, self.deviation_ns, self.slowest_ns = took, took / 2, took
        else:
            self.deviation_ns += (abs(took - self.mean_ns) - self.deviation_ns) / 4
            self.mean_ns += (took - self.mean_ns) / 8
            self.slowest_ns = max(took, self.slowest_ns * _FADE)
        self.answers += 1
        self.misses = 0

    def missed(self) -> None:
        self.misses += 1

    def was_late(self) -> None:
        """What has been learned no longer holds."""
        self.answers = self.misses = 0

    def timeout_ns(self, floor_ns: int, ceiling_ns: int) -> int:
        wanted: float = ceiling_ns
        if self.answers >= ENOUGH:
            wanted = max(self.mean_ns + 4 * self.deviation_ns, 2 * self.slowest_ns, floor_ns)
        elif self.misses >= _HOPES:
            wanted = max(floor_ns, ceiling_ns / 4)
        if self.misses % _LONG_LOOK == _LONG_LOOK - 1:
            wanted *= 4
        self.current_ns = min(ceiling_ns, round(wanted))
        return self.current_ns

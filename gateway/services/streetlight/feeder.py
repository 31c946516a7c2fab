"""One feeder: what its lamps do together. In: its current and its lamps' states, row by row. Out: onset and clear of
a group outage, a stolen cable, a stuck contactor; and whether its lamps are to be held back.

Silence alone proves nothing: nodes out of reach go on drawing current. What a silent lamp would draw is looked for in
the feeder's current, over as many rows as it takes to see it; at night one row tells, by day the standby of the
drivers needs an hour. A node that loses its supply may say so with a last reading near nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.services.streetlight.claim import Claim
from gateway.services.streetlight.lamp import SILENT_ROWS, LampState, Light
from gateway.services.streetlight.layout import Lamp
from gateway.spool.records import Phase

CURRENT_NOISE_A = 0.01  # of a feeder's transformer, where its resolution is finer
SIGMAS = 2.0
GAIN_ERROR = 0.05  # of the lamps that are heard
VA_PER_W_LIT, VA_PER_W_OFF = 1.05, 1.7  # drivers: power factor 0.95 lit, poor in standby
HALF, LITTLE = 0.5, 0.2  # of what is looked for: more is a supply, less may be noise; between them is part of a feeder
DEAD_HOLD_S = 600.0
ONE_LAMP_HOLD_S = 3600.0  # a single silent lamp at the end of a cable
STUCK_HOLD_S = 900.0
MOST = 0.8  # of the lamps that could show it
BACK_S = 600.0


@dataclass(slots=True)
class Search:
    """Apparent power looked for (`wanted`) and left over (`found`) since the silent set last changed, VA x rows."""

    silent: tuple[int, ...] = ()
    wanted: float = 0.0
    found: float = 0.0
    known: float = 0.0
    rows: int = 0
    alive: bool = False  # they were seen to draw current while silent

    def restart(self, silent: tuple[int, ...] | None = None) -> None:
        if silent is not None:
            self.silent = silent
            self.alive = False
        self.wanted = self.found = self.known = 0.0
        self.rows = 0

    def dead(self, noise_va: float) -> bool | None:
        """True: the silent lamps draw nothing; False: they draw; None: it cannot be seen yet."""
        doubt = SIGMAS * noise_va * math.sqrt(self.rows) + GAIN_ERROR * self.known
        if self.found - doubt > HALF * self.wanted:
            return False
        little = self.found + doubt < HALF * self.wanted and self.found - doubt < LITTLE * self.wanted
        return True if little and self.found + doubt > -LITTLE * self.wanted else None  # less than nothing is an error


@dataclass(slots=True)
class FeederState:
    """`cut`: the lamps that a standing theft took; `dark` and `lit`: what is under way concerns the feeder."""

    outage: Claim = field(default_factory=Claim)
    theft: Claim = field(default_factory=Claim)
    stuck: Claim = field(default_factory=Claim)
    search: Search = field(default_factory=Search)
    cut: list[int] = field(default_factory=list)
    stuck_on: bool = False
    dark: bool = False
    lit: bool = False
    lit_va_per_w: float = VA_PER_W_LIT
    off_va_per_w: float = VA_PER_W_OFF

    def factor(self, level: float) -> float:
        return self.lit_va_per_w if level > 0 else self.off_va_per_w

    def supply(
        self, now_s: float, lamps: Sequence[Lamp], states: Sequence[LampState], va: float, noise_va: float, held: bool
    ) -> tuple[Phase | None, Phase | None]:
        """(group outage, cable theft). `lamps`, `states`: nearest to the cabinet first; `va`: what the feeder draws,
        NaN unknown; `held`: work was announced."""
        silent = tuple(i for i, one in enumerate(states) if one.silent_rows >= SILENT_ROWS)
        self.cut = [i for i in self.cut if i < len(states)]  # the site may have fewer lamps than it had
        if held:
            self.outage.forget()
            self.theft.forget()
            self.search.restart(silent)
            return None, None
        if silent != self.search.silent:
            self.search.restart(silent)
        whole = len(silent) == len(states)
        tail = silent if whole else _tail(len(states), silent)
        dead = self._dead(lamps, states, silent, tail, va, noise_va) if silent else None
        heard = len(states) - len(silent)
        outage = dead if whole else (False if 2 * heard >= len(states) or not self.outage.standing else None)
        first = self.outage.say(now_s, outage, DEAD_HOLD_S, 0.0)
        if self.outage.standing:
            return first, None
        return first, self._theft(now_s, states, whole, tail, dead)

    def _theft(
        self, now_s: float, states: Sequence[LampState], whole: bool, tail: tuple[int, ...], dead: bool | None
    ) -> Phase | None:
        if self.theft.standing:
            back = sum(states[i].silent_rows < SILENT_ROWS for i in self.cut)
            verdict: bool | None = False if 2 * back >= len(self.cut) else None
        else:
            verdict = None if whole else (dead if tail else False)
            if len(tail) == 1 and self.search.alive:
                verdict = False
        phase = self.theft.say(now_s, verdict, DEAD_HOLD_S if len(tail) > 1 else ONE_LAMP_HOLD_S, 0.0)
        if phase is Phase.ONSET:
            self.cut = list(tail)
        elif phase is Phase.CLEAR:
            self.cut = []
        return phase

    def _dead(
        self,
        lamps: Sequence[Lamp],
        states: Sequence[LampState],
        silent: tuple[int, ...],
        tail: tuple[int, ...],
        va: float,
        noise_va: float,
    ) -> bool | None:
        """Whether the lamps of `tail` are without supply."""
        if not tail:
            return None
        fresh = [i for i in tail if i not in self.cut]
        died = sum(states[i].died for i in fresh)
        search = self.search
        clear = all(one.steady and not (one.level <= 0 and one.light == Light.LIT) for one in states)
        if math.isfinite(va) and clear:
            wanted = known = 0.0
            for i, (lamp, one) in enumerate(zip(lamps, states, strict=True)):
                if i in self.cut:
                    continue
                if i in tail:
                    wanted += self._alive_va(lamp, one)
                elif i in silent:
                    known += self._alive_va(lamp, one)
                else:
                    known += one.watts * self.factor(one.level)
            if math.isfinite(wanted) and math.isfinite(known):
                search.wanted += wanted
                search.known += known
                search.found += va - known
                search.rows += 1
        dead = search.dead(noise_va) if search.rows else None
        if dead is False:
            search.alive = True
            search.restart()
        if dead is None and died >= 2 and 2 * died >= len(fresh) and not search.alive:
            return True
        return dead

    def _alive_va(self, lamp: Lamp, one: LampState) -> float:
        """What a silent lamp draws if it is supplied. One that was out or out of sorts is looked for in standby."""
        if math.isnan(one.level):
            return math.nan
        broken = one.out.standing or one.cycling or (one.out.since_s is not None and not one.died)
        unlit = self.dark or (self.stuck.standing and not self.stuck_on)
        burning = one.level > 0 and not broken and not unlit
        watts = one.expected_w(lamp, one.level) * (1 + one.drift.change) if burning else one.standby_w
        return watts * self.factor(one.level)

    def learn(self, states: Sequence[LampState], va: float) -> None:
        """Apparent power by watt, from rows in which every lamp was heard and did the same."""
        if not math.isfinite(va) or any(one.silent_rows or not one.steady for one in states):
            return
        lights = {one.light for one in states}
        total = sum(one.watts for one in states)
        if len(lights) > 1 or Light.UNKNOWN in lights or total <= 0:
            return
        ratio = va / total
        if Light.LIT in lights and all(one.level > 0 for one in states) and 0.8 < ratio < 1.5:
            self.lit_va_per_w += 0.02 * (ratio - self.lit_va_per_w)
        elif Light.DARK in lights and all(one.level <= 0 for one in states) and 0.5 < ratio < 4.0:
            self.off_va_per_w += 0.01 * (ratio - self.off_va_per_w)

    def contactor(self, now_s: float, states: Sequence[LampState], held: bool) -> Phase | None:
        """Most lamps dark though commanded on, and heard; or most burning though commanded off."""
        on = [one for one in states if one.level > 0 and one.light != Light.UNKNOWN]
        off = [one for one in states if one.level <= 0 and one.light != Light.UNKNOWN]
        fit = [one for one in on if not one.out.standing and not one.cycling]
        own = [one for one in off if not one.burner.standing]
        enough = max(2, math.ceil(len(states) / 2))
        dark = sum(one.light == Light.DARK for one in fit)
        lit = sum(one.light == Light.LIT for one in own)
        self.dark = dark >= 2 and dark >= MOST * len(fit)
        self.lit = lit >= 2 and lit >= MOST * len(own)
        all_dark, all_lit = self.dark and len(on) >= enough, self.lit and len(off) >= enough
        if held:
            self.stuck.forget()
            return None
        verdict: bool | None
        if all_dark or all_lit:
            if not self.stuck.standing and self.stuck.since_s is not None and self.stuck_on != all_lit:
                self.stuck.forget()
            if not self.stuck.standing:
                self.stuck_on = all_lit
            verdict = True
        elif self.stuck_on:
            verdict = False if off and 2 * lit < len(own) else None
        else:
            verdict = False if on and 2 * sum(one.light == Light.DARK for one in on) < len(on) else None
        return self.stuck.say(now_s, verdict, STUCK_HOLD_S, BACK_S)


def _tail(count: int, silent: tuple[int, ...]) -> tuple[int, ...]:
    """The silent lamps beyond which none is heard."""
    gone = set(silent)
    first = count
    while first - 1 in gone:
        first -= 1
    return tuple(range(first, count))


PARTS = (FeederState, Search)

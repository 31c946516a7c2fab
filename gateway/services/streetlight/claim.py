"""A claim that must be held before it is an alarm. In: verdicts in order of time. Out: onset and clear, once each."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.spool.records import Phase


@dataclass(slots=True)
class Claim:
    """`since_s`: where its first witness spoke, None while nobody claims it. `against_s`: where the run of contrary
    rows began while it stands."""

    since_s: float | None = None
    against_s: float | None = None
    standing: bool = False

    def say(self, now_s: float, verdict: bool | None, hold_s: float, clear_s: float) -> Phase | None:
        """`verdict` None: this row cannot tell. ONSET once it was claimed over `hold_s` and is claimed again, without
        a contrary row; CLEAR once the contrary was seen over `clear_s`."""
        if verdict is None:
            return None
        if not self.standing:
            if not verdict:
                self.since_s = None
            elif self.since_s is None:
                self.since_s = now_s
            if verdict and self.since_s is not None and now_s - self.since_s >= hold_s:
                self.standing = True
                self.against_s = None
                return Phase.ONSET
            return None
        if verdict:
            self.against_s = None
        elif self.against_s is None:
            self.against_s = now_s
        if not verdict and self.against_s is not None and now_s - self.against_s >= clear_s:
            self.standing = False
            self.since_s = self.against_s = None
            return Phase.CLEAR
        return None

    def began_s(self, now_s: float) -> float:
        return now_s if self.since_s is None else self.since_s

    def forget(self) -> None:
        """What was claimed so far does not count; what stands stays."""
        if not self.standing:
            self.since_s = None
        self.against_s = None

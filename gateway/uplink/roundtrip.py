"""How long an answer takes, estimated (RFC 6298, RFC 7252 section 4.7). Numbers in, a time-out out. No clock."""

from __future__ import annotations

FIRST_S = 0.3  # before anything is known
FLOOR_S = 0.1
CEILING_S = 5.0
DOUBTFUL = 3


class RoundTrip:
    """One way to a center."""

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._spread_s = 0.0
        self._doubtful = 0  # answers in a row that say nothing
        self.timeout_s = FIRST_S

    @property
    def mean_s(self) -> float:
        """0 before the first answer."""
        return self._mean_s

    def answered(self, after_s: float) -> None:
        """An answer came `after_s` after the message. One that took longer than the time-out may answer a
        retransmission and says nothing about the way (Karn); only several in a row tell of a way that has become
        slower rather than of a message that was lost."""
        if after_s > self.timeout_s:
            self._doubtful += 1
            if self._doubtful >= DOUBTFUL:
                self.timeout_s = min(CEILING_S, self.timeout_s * 1.5)
            return
        self._doubtful = 0
        if self._mean_s:
            self._spread_s += (abs(after_s - self._mean_s) - self._spread_s) / 4
            self._mean_s += (after_s - self._mean_s) / 8
        else:
            self._mean_s, self._spread_s = after_s, after_s / 2
        self.timeout_s = min(CEILING_S, max(FLOOR_S, self._mean_s + 4 * self._spread_s))

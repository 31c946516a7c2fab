"""Which notification is newer, and how many a node may send. Times in, verdicts out."""

from __future__ import annotations

FRESH_NS = 128 * 1_000_000_000  # RFC 7641, section 3.4: after so long any number is newer
_HALF = 1 << 23


class Order:
    """Notifications of one observation. `numbered`: numbers that only grow (an OSCORE sender's), not 24 bits."""

    def __init__(self, numbered: bool = False) -> None:
        self._numbered = numbered
        self._last: int | None = None
        self._last_ns = 0

    def is_newer(self, number: int, now_ns: int) -> bool:
        """RFC 7641, section 3.4; remembers what is newer."""
        last = self._last
        newer = last is None or (
            number > last
            if self._numbered
            else (last < number and number - last < _HALF)
            or (last > number and last - number > _HALF)
            or now_ns > self._last_ns + FRESH_NS
        )
        if newer:
            self._last, self._last_ns = number, now_ns
        return newer


class Allowance:
    """A bucket of datagrams: `per_s` on average, two seconds' worth at once."""

    def __init__(self, per_s: float) -> None:
        self._per_ns = per_s / 1e9
        self._most = max(2.0 * per_s, 8.0)
        self._left = self._most
        self._at_ns = 0

    def take(self, now_ns: int) -> bool:
        self._left = min(self._most, self._left + (now_ns - self._at_ns) * self._per_ns)
        self._at_ns = now_ns
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

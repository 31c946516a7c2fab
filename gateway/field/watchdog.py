"""Whether a half still does its work: what it says of itself in, why it must be killed out. No clock, no socket.

Progress is work that ended, however it ended: a poll that nobody answered, a link that could not be opened and a commit
that a full disk refused are all progress, for a restart helps none of them. What never ends is not: a task that waits
for what will not come, a thread stuck in the kernel. systemd kills a service that stops feeding its watchdog.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PATIENCE_NS = 60_000_000_000  # longer than the worst stall of a card: seconds, tens of them when it is worn


@dataclass(frozen=True, slots=True)
class Pulse:
    """One worker as it is now. `count`: grows, or merely changes, with each piece of work that ended. `rests_until_ns`:
    it has nothing to do before (BOOTTIME ns; 0: it works). `patience_ns`: how long one piece may rightly take."""

    name: str
    count: int
    rests_until_ns: int = 0
    patience_ns: int = PATIENCE_NS


class Watchdog:
    """Feed only while `stuck` is empty."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}  # name -> (count, when it was first seen, BOOTTIME ns)

    def stuck(self, pulses: Iterable[Pulse], now_ns: int) -> dict[str, float]:
        """Who has ended nothing for longer than its patience -> for how many seconds. A worker that rests, or that is
        seen for the first time, has until its rest, or now, plus its patience. Who is not named is forgotten."""
        before, self._seen = self._seen, {}
        late: dict[str, float] = {}
        for pulse in pulses:
            count, since_ns = before.get(pulse.name, (pulse.count, now_ns))
            if count != pulse.count:
                since_ns = now_ns
            self._seen[pulse.name] = (pulse.count, since_ns)
            waited_ns = now_ns - max(since_ns, pulse.rests_until_ns)
            if waited_ns > pulse.patience_ns:
                late[pulse.name] = waited_ns / 1e9
        return late

"""What a stop or a kill took: from the last committed reading of each channel to the first one after it.

In: the coverage stored with the last commit, and the first reading of each channel now. Out: `Gap` entries whose bounds
are exclusive and exact to half a period: the reading before `from_ns` was delivered, the one after `to_ns` is too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from gateway.site.plan import Channel, Kind
from gateway.spool.records import Gap


class RestartGap:
    """Collects the gap of every channel as its first reading arrives."""

    def __init__(
        self,
        channels: Sequence[Channel],
        covered: Mapping[str, int],
        *,
        boot: str,
        covered_boot: str,
        clean: bool,
        started_ns: int,
        listens: Set[int] = frozenset(),
    ) -> None:
        self._boot = "" if covered_boot == boot else covered_boot
        self._reason = "stopped" if clean else "crash"
        self._started_ns = started_ns
        self._names = [channel.name for channel in channels]
        self._half_ns = [round(channel.period_s * 5e8) for channel in channels]
        self._open = {
            channel.index: covered[channel.name]
            for channel in channels
            if channel.name in covered and channel.kind is not Kind.WAVEFORM
        }
        # a device that speaks by itself may have spoken between our start and the moment its port was open
        self._unheard = {index for index in listens if index not in self._open}
        self._found: dict[tuple[str, int, int], list[int]] = {}

    def first(self, channel: int, time_ns: int) -> bool:
        """The first reading of `channel`; True where windows of it were committed before this start. A streaming device
        sent one a period before: half a period separates them."""
        until_ns = max(self._started_ns, time_ns - self._half_ns[channel])
        if channel in self._open:
            self._note(self._reason, self._open.pop(channel), until_ns, channel)
            return True
        if channel in self._unheard:
            self._unheard.discard(channel)
            self._note("start", self._started_ns, until_ns, channel)
        return False

    def give_up(self, now_ns: int) -> None:
        """At a stop: what never answered again is a gap up to now."""
        for channel, covered_ns in self._open.items():
            self._note(self._reason, covered_ns, now_ns, channel)
        self._open.clear()

    def _note(self, reason: str, low: int, high: int, channel: int) -> None:
        if low < high or self._boot:
            self._found.setdefault((reason, low, high), []).append(channel)

    def take(self) -> tuple[list[Gap], dict[str, int]]:
        """What has been found since the last call, one gap a reason, and the coverage it brings about."""
        by_reason: dict[str, list[tuple[int, int, int]]] = {}
        for (reason, low, high), channels in self._found.items():
            by_reason.setdefault(reason, []).extend((low, high, channel) for channel in channels)
        coverage = {self._names[c]: high for (_, _, high), channels in self._found.items() for c in channels}
        self._found = {}
        gaps = [
            Gap(reason, self._entries(bounds), "" if reason == "start" else self._boot)
            for reason, bounds in by_reason.items()
        ]
        return gaps, coverage

    def _entries(self, bounds: list[tuple[int, int, int]]) -> tuple[tuple[tuple[int, ...], int, int], ...]:
        """Channels that may share bounds do: the lower bound of one may lie anywhere in the half period after its last
        reading, so channels read at nearly the same time need only one entry between them."""
        shared: dict[tuple[int, int], list[int]] = {}
        for low, high, channel in sorted(bounds, reverse=True):
            near = next((b for b in shared if b[1] == high and 0 <= b[0] - low < self._half_ns[channel]), (low, high))
            shared.setdefault(near, []).append(channel)
        return tuple((tuple(sorted(channels)), low, high) for (low, high), channels in shared.items())

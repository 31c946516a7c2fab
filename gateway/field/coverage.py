"""What nobody heard: readings a stop, a kill, a closed port or an overrun took, as gaps.

In: the coverage stored with the last commit, losses as they happen, the first reading of each channel after one. Out:
`Gap` entries whose bounds are exclusive: the reading before `from_ns` was delivered, the one after `to_ns` is too.

A device that is asked says nothing unless asked: its gap ends when the new process began, and is declared before the
first question. One that speaks by itself goes on speaking: its gap ends half a period before it is heard again. What is
declared before polling begins comes with the coverage it brings about, so that a kill at any moment is told from the
right reading on, be it the second before the first was told, or the first of a gateway's life.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from gateway.site.plan import Channel, Kind, Plan
from gateway.spool.records import Gap
from protocols import registry

Entries = tuple[tuple[tuple[int, ...], int, int], ...]

ROUND_TRIP_NS = 50_000_000  # of a question to a node nearby, at most
NEAR = 16  # channels read within this part of a period of each other share an entry


class Coverage:
    """Of every channel that has readings of its own; raw waveforms have none."""

    def __init__(
        self,
        channels: Sequence[Channel],
        covered: Mapping[str, int],
        *,
        boot: str,
        covered_boot: str,
        clean: bool,
        started_ns: int,
        since_ns: int = 0,
        listens: Set[int] = frozenset(),
        asked: Set[int] = frozenset(),
        going_on: Set[int] = frozenset(),
    ) -> None:
        """`started_ns`: nothing is asked before; `since_ns`: this process exists, 0 for the same. `asked`: of those
        that listen, the ones whose first reading is the answer to a question (an observed resource). `going_on`:
        their link was never closed, and what it read meanwhile is delivered."""
        self._old_boot = "" if covered_boot == boot else covered_boot
        self._reason = "stopped" if clean else "crash"
        self._started_ns, self._since_ns = started_ns, since_ns or started_ns
        self._period_ns = [round(channel.period_s * 1e9) for channel in channels]
        self._listens, self._asked, self._going_on = listens, asked, going_on
        self._channels = [c for c in channels if c.kind is not Kind.WAVEFORM]
        self._known = {c.index: covered[c.name] for c in self._channels if c.name in covered}
        self._unheard: dict[int, tuple[str, int]] = {}  # listening: why, and the last reading delivered
        self._found: dict[tuple[str, int, int], list[int]] = {}

    def begin(self) -> tuple[list[Gap], dict[str, int]]:
        """What can be told at once, and the coverage with which it must be committed before anything is asked."""
        took: dict[tuple[int, int], list[int]] = {}
        coverage: dict[str, int] = {}
        for channel in self._channels:
            index, listens = channel.index, channel.index in self._listens
            low = self._known.get(index)
            if low is not None and index in self._going_on:
                continue
            resumes_ns = self._since_ns if listens else self._started_ns
            if listens:
                same = low is not None and not self._old_boot
                self._unheard[index] = (self._reason, low or 0) if same else ("start", resumes_ns)
                if same:
                    continue  # told when it is heard again; until then it is covered up to where it was
            if low is not None and (self._old_boot or low < resumes_ns):
                took.setdefault((low, resumes_ns), []).append(index)
            coverage[channel.name] = resumes_ns
        if not took:
            return [], coverage
        return [Gap(self._reason, self._entries(took), self._old_boot)], coverage

    def known(self, channel: int) -> bool:
        """Whether readings of `channel` were delivered before this start."""
        return channel in self._known

    def missed(self, after_ns: Mapping[int, int], reason: str) -> list[int]:
        """From its last reading (by channel) on, some of what a listening device says is not heard. Gives the channels
        whose next reading has to be told to `heard`."""
        fresh = [c for c in after_ns if c in self._listens and c not in self._unheard]
        for channel in fresh:
            self._unheard[channel] = (reason, after_ns[channel])
        return fresh

    def heard(self, channel: int, time_ns: int) -> None:
        """The first reading of `channel` after `begin` or `missed`. A streaming device sent one a period before: half
        a period separates them. An answer may come right behind what was told to nobody: a round trip does."""
        if channel in self._unheard:
            reason, low = self._unheard.pop(channel)
            apart_ns = self._period_ns[channel] // 2
            if channel in self._asked:
                apart_ns = min(apart_ns, ROUND_TRIP_NS)
            self._note(reason, low, time_ns - apart_ns, channel)

    def give_up(self, now_ns: int) -> None:
        """At a stop: what was not heard again is a gap up to now."""
        for channel, (reason, low) in self._unheard.items():
            self._note(reason, low, now_ns, channel)
        self._unheard.clear()

    def take(self) -> list[Gap]:
        """What has been found since the last call, one gap a reason."""
        by_reason: dict[str, dict[tuple[int, int], list[int]]] = {}
        for (reason, low, high), channels in self._found.items():
            by_reason.setdefault(reason, {})[low, high] = channels
        self._found = {}
        return [Gap(reason, self._entries(bounds)) for reason, bounds in by_reason.items()]

    def _note(self, reason: str, low: int, high: int, channel: int) -> None:
        if low < high:
            self._found.setdefault((reason, low, high), []).append(channel)

    def _entries(self, bounds: Mapping[tuple[int, int], Sequence[int]]) -> Entries:
        """Channels that may share bounds do: the lower bound of one may lie a little after its last reading, so
        channels read at nearly the same time need only one entry between them."""
        shared: dict[tuple[int, int], list[int]] = {}
        for (low, high), channels in sorted(bounds.items(), reverse=True):
            for channel in channels:
                reach = self._period_ns[channel] // NEAR
                near = next((b for b in shared if b[1] == high and 0 <= b[0] - low < reach), (low, high))
                shared.setdefault(near, []).append(channel)
        return tuple((tuple(sorted(channels)), low, high) for (low, high), channels in shared.items())


def listening(plan: Plan) -> set[int]:
    """Channels of devices that speak by themselves."""
    channels = {index for device in plan.devices if device.listens for index in device.channels}
    return {i for i in channels if plan.channels[i].kind is not Kind.WAVEFORM and not plan.channels[i].derived}


def asked(plan: Plan) -> set[int]:
    """Those of them whose first reading is the answer to a question."""
    drivers = {link.link.name for link in plan.links if registry.driver(link.driver).asks_first}
    return {index for device in plan.devices if device.link in drivers for index in device.channels}

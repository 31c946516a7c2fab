"""What one device has taught its reader, kept from one connection to the next. No I/O: facts in, what to ask out.

    exception 1   the device has not got this function: it is not asked with it for ten minutes
    exception 2   a register of the request is not there: the request is cut in two until the register is found. It is
                  left out from then on, tried again every ten minutes, and no request crosses it
    exception 3   the request is too long: requests of this function become half as long
    5, 6          at work on something else: asked again at the next turn
    10, 11        a gateway's word for "no reply"

A range that was refused is refused as part of any longer one, so every refusal rules out all requests that contain its
range. Once all is found, what is left is joined again to the fewest requests that cross none of them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from protocols.modbus.codec import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE
from protocols.modbus.timing import Timing

if TYPE_CHECKING:
    from protocols.modbus.planner import ReadBlock

log = logging.getLogger("citygate.modbus")

AGAIN_NS = 600_000_000_000  # how long a refusal is believed
EXTRA = 8  # requests a read may spend on finding out what is refused

Range = tuple[int, int]  # first address, and the first behind the last


@dataclass(slots=True, eq=False)
class Learned:
    """About one device. Ranges are those of a function."""

    device: str
    timing: Timing = field(default_factory=Timing)
    without: dict[int, int] = field(default_factory=dict)  # function -> when it may be tried again
    limits: dict[int, int] = field(default_factory=dict)  # function -> most registers or coils of a request
    refused: dict[int, list[Range]] = field(default_factory=dict)  # the shortest that are known
    multiple: set[int] = field(default_factory=set)  # write functions that it takes only in their plural form
    _holes: dict[ReadBlock, int] = field(default_factory=dict)  # one value that is refused -> when it is tried again
    _parts: dict[ReadBlock, list[ReadBlock]] = field(default_factory=dict)  # planned -> what is asked instead
    _searching: set[ReadBlock] = field(default_factory=set)
    _restless: set[ReadBlock] = field(default_factory=set)  # refused something in its last read

    def to_ask(self, block: ReadBlock, now_ns: int) -> tuple[Sequence[ReadBlock], Sequence[ReadBlock]]:
        """(what to ask instead of the planned `block`, what to leave out)."""
        if self.without and self.without.get(block.function, 0) > now_ns:
            return (), (block,)
        parts = self._parts.get(block)
        if parts is None:
            return (block,), ()
        if block in self._searching and block not in self._restless:
            self._searching.discard(block)
            parts = self._parts[block] = self._joined(block, parts)
        self._restless.discard(block)
        ask = [part for part in parts if self._holes.get(part, 0) <= now_ns]
        return ask, [part for part in parts if self._holes.get(part, 0) > now_ns]

    def was_refused(self, block: ReadBlock, part: ReadBlock, exception: int, now_ns: int) -> Sequence[ReadBlock]:
        """`part` of the planned `block` was answered with `exception`: the parts to ask instead, if any."""
        if exception == ILLEGAL_FUNCTION:
            if part.function not in self.without:
                log.warning("device %s has no function %d: left out", self.device, part.function)
            self.without[part.function] = now_ns + AGAIN_NS
            return ()
        if exception not in (ILLEGAL_ADDRESS, ILLEGAL_VALUE):
            return ()
        halves = part.halves()
        if exception == ILLEGAL_VALUE and halves:
            self.limits[part.function] = max(half.count for half in halves)
        else:
            self._rule_out(part.function, (part.address, part.address + part.count))
        if not halves:
            self._lose(block, part, now_ns)
            return ()
        parts = self._parts.setdefault(block, [block])
        at = parts.index(part)
        parts[at : at + 1] = halves
        self._searching.add(block)
        self._restless.add(block)
        return halves

    def was_read(self, block: ReadBlock, part: ReadBlock) -> None:
        """`part` of the planned `block` was answered."""
        self.without.pop(part.function, None)
        if self._holes.pop(part, None) is not None:
            log.warning("device %s answers for %s again", self.device, part.describe())
            ranges = self.refused[part.function]
            ranges[:] = [r for r in ranges if r[1] <= part.address or part.address + part.count <= r[0]]
            self._searching.add(block)

    def allows(self, function: int, start: int, end: int) -> bool:
        """Whether nothing speaks against a request for [start, end)."""
        return end - start <= self.limits.get(function, end - start) and not any(
            start <= low and high <= end for low, high in self.refused.get(function, ())
        )

    def facts(self, now_ns: int) -> dict[str, Any]:
        """For people, as JSON can carry it."""
        return {
            "answer_ms": round(self.timing.mean_ns / 1e6, 1) if self.timing.answers else None,
            "timeout_ms": round(self.timing.current_ns / 1e6, 1),
            "answers": self.timing.answers,
            "misses": self.timing.misses,
            "holes": sorted(hole.describe() for hole in self._holes),
            "without": sorted(function for function, until in self.without.items() if until > now_ns),
            "limits": {str(function): count for function, count in self.limits.items()},
        }

    @property
    def is_plain(self) -> bool:
        """Whether it has refused nothing so far."""
        return not self._parts and not self.without

    def _lose(self, block: ReadBlock, part: ReadBlock, now_ns: int) -> None:
        if part not in self._holes:
            log.warning("device %s refuses %s: left out, tried again every 10 min", self.device, part.describe())
        self._parts.setdefault(block, [block])
        self._holes[part] = now_ns + AGAIN_NS

    def _rule_out(self, function: int, refused: Range) -> None:
        known = self.refused.setdefault(function, [])
        if not any(refused[0] <= low and high <= refused[1] for low, high in known):
            known[:] = [(low, high) for low, high in known if not (low <= refused[0] and refused[1] <= high)]
            known.append(refused)

    def _joined(self, block: ReadBlock, parts: Sequence[ReadBlock]) -> list[ReadBlock]:
        """The parts joined to as few as are allowed, holes apart. A part that stays as it is stays the same object."""
        holes = [part for part in parts if part in self._holes]
        lost = {channel for hole in holes for channel in hole.channels}
        same = {part.channels: part for part in parts}
        points = [point for point in block.points if point.channel not in lost]
        joined = block.regrouped(points, self.allows) if points else []
        log.info("device %s: %s is read in %d requests from now on", self.device, block.describe(), len(joined))
        return [*(same.get(part.channels, part) for part in joined), *holes]

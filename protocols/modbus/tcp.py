"""Modbus TCP transactions over one connection, many units behind it.

In: block reads. Out: one batch with a row a channel. Requests are pipelined by transaction id, up to `depth` a
device, the greatest `depth` of its devices on a connection, and 16 at most (Modbus Messaging on TCP 1.0b, 4.2.2).
A request times out alone. Answers are believed by their id: late ones, duplicates and strangers are dropped and
counted. Never reconnects.

A depth above 1 is a property of the device that a profile must state: simple servers (pymodbus 3.16 among them) take
one request out of a segment and forget the rest, or answer it one request later for ever after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protocols.api import Batch, Quality
from protocols.modbus.codec import NOT_THERE, BadReply, Mbap, MbapParser, Refused, mbap_request, reply_data
from protocols.modbus.planner import ReadBlock
from protocols.streams import Stream, link_down

MAX_IN_FLIGHT = 16
_REMEMBERED = 1024  # ids given up on, or answered, that are still recognised


@dataclass(slots=True, eq=False)
class _Unit:
    """One device during one `read`: what is still to be asked, and whether it answered anything."""

    name: str
    depth: int
    timeout_ns: int
    pause_ns: int
    waiting: deque[ReadBlock] = field(default_factory=deque)
    in_flight: int = 0
    answered: bool = False
    ready_ns: int = 0

    def may_ask(self, now_ns: int) -> bool:
        return bool(self.waiting) and self.in_flight < self.depth and self.ready_ns <= now_ns


@dataclass(slots=True, eq=False)
class _Asked:
    block: ReadBlock
    unit: _Unit
    deadline_ns: int


class TcpReader:
    """An open connection."""

    def __init__(self, stream: Stream, url: str) -> None:
        self._stream, self._url = stream, url
        self._parser = MbapParser()
        self._next = 0
        self._asked: dict[int, _Asked] = {}
        self._past: dict[int, str] = {}  # transaction -> counter an answer with it belongs to
        self._quiet_until: dict[str, int] = {}  # device -> end of its pause
        self._dead: set[str] = set()  # devices that answered nothing in their last read: asked last
        self._counters = dict.fromkeys(
            ("requests", "replies", "timeouts", "refused", "bad_replies", "late", "duplicates", "foreign"), 0
        )

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    async def read(self, ops: Sequence[ReadBlock], timeout_s: float) -> Batch:
        units = self._sort(ops, timeout_s)
        parts: list[Batch] = []
        try:
            while await self._ask(units, parts):
                for frame, time_ns in await self._receive(units):
                    self._settle(frame, time_ns, parts)
                self._expire(parts)
        finally:
            self._abandon()
        self._dead -= {unit.name for unit in units if unit.answered}
        self._dead |= {unit.name for unit in units if not unit.answered}
        return Batch.join(parts)

    def _sort(self, ops: Sequence[ReadBlock], timeout_s: float) -> list[_Unit]:
        units: dict[str, _Unit] = {}
        for op in ops:
            options = op.device.options
            unit = units.get(op.device.name)
            if unit is None:
                own_s = timeout_s if options.timeout_ms is None else options.timeout_ms / 1000
                pause_ns = int(options.pause_ms * 1e6)
                # a pause between answer and request leaves room for one request at a time
                depth = 1 if pause_ns else options.depth
                unit = _Unit(op.device.name, depth, int(own_s * 1e9), pause_ns)
                unit.ready_ns = self._quiet_until.get(op.device.name, 0)
                units[op.device.name] = unit
            unit.waiting.append(op)
        return sorted(units.values(), key=lambda unit: unit.name in self._dead)

    async def _ask(self, units: list[_Unit], parts: list[Batch]) -> bool:
        """Send what may be sent, each unit in its turn. False once nothing is open."""
        now_ns = self._stream.now_ns()
        limit = min(MAX_IN_FLIGHT, max((unit.depth for unit in units), default=0))
        progress = True
        while progress:
            progress = False
            for unit in units:
                if len(self._asked) < limit and unit.may_ask(now_ns):
                    await self._send(unit.waiting.popleft(), unit, now_ns)
                    progress = True
        return bool(self._asked) or any(unit.waiting for unit in units)

    async def _send(self, block: ReadBlock, unit: _Unit, now_ns: int) -> None:
        transaction = self._fresh()
        self._asked[transaction] = _Asked(block, unit, now_ns + unit.timeout_ns)
        unit.in_flight += 1
        self._counters["requests"] += 1
        # one segment a request: simple devices read one frame a segment and lose the rest
        await self._stream.write(mbap_request(transaction, block.unit, block.function, block.address, block.count))

    def _fresh(self) -> int:
        """The next id that nobody could still answer."""
        while True:
            self._next = (self._next + 1) & 0xFFFF
            if self._next not in self._asked and self._past.get(self._next) != "late":
                return self._next

    async def _receive(self, units: list[_Unit]) -> list[tuple[Mbap, int]]:
        now_ns = self._stream.now_ns()
        limits = [asked.deadline_ns for asked in self._asked.values()]
        limits += [u.ready_ns for u in units if u.waiting and not u.in_flight and u.ready_ns > now_ns]
        frames: list[tuple[Mbap, int]] = []
        for chunk in await self._stream.chunks((min(limits, default=now_ns) - now_ns) / 1e9):
            if chunk.gap:
                raise link_down("CG-3010", f"{self._url}: input overran its buffer")
            try:
                frames += [(frame, chunk.time_ns) for frame in self._parser.push(chunk.data)]
            except BadReply as nonsense:
                raise link_down("CG-3010", f"{self._url}: {nonsense}") from nonsense
        return frames

    def _settle(self, frame: Mbap, time_ns: int, parts: list[Batch]) -> None:
        asked = self._asked.pop(frame.transaction, None)
        if asked is None:
            self._counters[self._past.get(frame.transaction, "foreign")] += 1
            return
        self._forget(frame.transaction, "duplicates")
        block, unit = asked.block, asked.unit
        unit.in_flight -= 1
        unit.ready_ns = time_ns + unit.pause_ns
        if unit.pause_ns:
            self._quiet_until[block.device.name] = unit.ready_ns
        parts.append(self._answer(frame, block, unit, time_ns))

    def _answer(self, frame: Mbap, block: ReadBlock, unit: _Unit, time_ns: int) -> Batch:
        try:
            if frame.unit != block.unit:
                raise BadReply(f"unit {frame.unit} answered for unit {block.unit}")
            data = reply_data(frame.pdu, block.function, block.count)
        except Refused as refused:
            absent = refused.exception in NOT_THERE
            unit.answered = unit.answered or not absent
            self._counters["timeouts" if absent else "refused"] += 1
            return block.failed(time_ns, Quality.NO_REPLY if absent else Quality.REFUSED)
        except BadReply:
            self._counters["bad_replies"] += 1
            return block.failed(time_ns, Quality.BAD_REPLY)
        unit.answered = True
        self._counters["replies"] += 1
        return block.batch(data, time_ns)

    def _expire(self, parts: list[Batch]) -> None:
        """Requests past their time. A device that has answered nothing so far is not asked the rest."""
        now_ns = self._stream.now_ns()
        for transaction, asked in list(self._asked.items()):
            if asked.deadline_ns > now_ns:
                continue
            del self._asked[transaction]
            self._forget(transaction, "late")
            self._counters["timeouts"] += 1
            unit = asked.unit
            unit.in_flight -= 1
            unit.ready_ns = now_ns + unit.pause_ns
            parts.append(asked.block.failed(now_ns, Quality.NO_REPLY))
            if not unit.answered:
                parts += [block.failed(now_ns, Quality.NO_REPLY) for block in unit.waiting]
                unit.waiting.clear()

    def _abandon(self) -> None:
        """A read that was cancelled leaves ids behind: their answers will be late."""
        for transaction in self._asked:
            self._forget(transaction, "late")
        self._asked.clear()

    def _forget(self, transaction: int, counter: str) -> None:
        self._past.pop(transaction, None)
        self._past[transaction] = counter
        if len(self._past) > _REMEMBERED:
            del self._past[next(iter(self._past))]

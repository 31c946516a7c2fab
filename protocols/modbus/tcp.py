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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocols.api import Batch, Device, Quality
from protocols.modbus.codec import (
    LATER,
    NOT_THERE,
    BadReply,
    MbapParser,
    Refused,
    mbap,
    mbap_frame,
    reply_data,
)
from protocols.modbus.exchange import Reply, Shape
from protocols.modbus.learned import EXTRA, Learned
from protocols.modbus.planner import ReadBlock, batch_of
from protocols.modbus.single import SingleRequests
from protocols.streams import Stream, link_down

MAX_IN_FLIGHT = 16
_REMEMBERED = 1024  # ids given up on, or answered, that are still recognised
_FLOOR_NS = 250_000_000  # no learned time-out is shorter: a lost segment is sent again after 200 ms
_HEAD = 9  # bytes before the data of a reply


@dataclass(slots=True, eq=False)
class _Unit:
    """One device: what is still to be asked in this `read`, and whether it answered anything."""

    name: str
    depth: int
    pause_ns: int
    own_ns: int  # its own time-out, 0 for the link's
    learned: Learned
    timeout_ns: int = 0
    extra: int = EXTRA  # requests it may still be asked to find out what it refuses
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
    sent_ns: int
    deadline_ns: int


Turns = tuple[deque[_Unit], deque[_Unit]]  # who still has something to ask, the living and the dead


class _Outcome:
    """What has come of a `read` so far."""

    __slots__ = ("again", "answers", "failures")

    def __init__(self) -> None:
        self.answers: list[tuple[ReadBlock, bytes, int]] = []
        self.failures: list[Batch] = []
        self.again: list[_Unit] = []  # with something to ask that was not planned

    def batch(self) -> Batch:
        if self.answers:
            self.failures.append(batch_of(self.answers))
        return Batch.join(self.failures)


class TcpReader(SingleRequests):
    """An open connection."""

    def __init__(self, stream: Stream, url: str, ops: Sequence[ReadBlock] = ()) -> None:
        self._stream, self._url = stream, url
        self._parser = MbapParser()
        self._next = 0
        self._issued = 0
        self._asked: dict[int, _Asked] = {}
        self._late: dict[int, Learned | None] = {}  # transactions given up on, the oldest first, and whose they were
        self._learned = {op.device.name: op.learned for op in ops}
        self._planned: dict[ReadBlock, ReadBlock] = {}  # part of a block -> the block
        self._units: dict[str, _Unit] = {}
        self._dead: set[str] = set()  # devices that answered nothing in their last read: asked last
        self._counters = dict.fromkeys(
            (
                "requests",
                "replies",
                "timeouts",
                "refused",
                "bad_replies",
                "late",
                "duplicates",
                "foreign",
                "busy",
                "writes",
            ),
            0,
        )

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    async def read(self, ops: Sequence[ReadBlock], timeout_s: float) -> Batch:
        outcome = _Outcome()
        units = self._units_of(ops, timeout_s, outcome)
        dead = self._dead
        turns = (
            deque(unit for unit in units if unit.name not in dead),
            deque(unit for unit in units if unit.name in dead) if dead else deque(),
        )
        limit = min(MAX_IN_FLIGHT, max((unit.depth for unit in units), default=0))
        try:
            while await self._ask(turns, limit):
                for frames, time_ns in await self._receive(turns):
                    for frame in frames:
                        self._settle(frame, time_ns, outcome)
                self._expire(outcome)
                if outcome.again:
                    turns[0].extend(unit for unit in outcome.again if unit not in turns[0] and unit not in turns[1])
                    outcome.again.clear()
        finally:
            self._abandon(units)
        self._dead.difference_update(unit.name for unit in units if unit.answered)
        self._dead.update(unit.name for unit in units if not unit.answered)
        return outcome.batch()

    def _learned_of(self, device: Device) -> Learned:
        return self._learned.setdefault(device.name, Learned(device.name))

    def learned(self) -> dict[str, dict[str, Any]]:
        now_ns = self._stream.now_ns()
        return {name: one.facts(now_ns) for name, one in self._learned.items()}

    async def _exchange(self, device: Device, pdu: bytes, shape: Shape, *, timeout_s: float) -> Reply:
        """One request by itself."""
        own_ms, pause_ns = device.options.timeout_ms, int(device.options.pause_ms * 1e6)
        unit = self._units.get(device.name)
        if unit is not None and unit.ready_ns > self._stream.now_ns():
            await self._stream.wait_until(unit.ready_ns)
        transaction = self._fresh()
        deadline_ns = self._stream.now_ns() + int((timeout_s if own_ms is None else own_ms / 1000) * 1e9)
        self._counters["requests"] += 1
        self._give_up(transaction, None)  # until it is answered: this may be cancelled
        await self._stream.write(mbap_frame(transaction, device.unit, pdu))
        while (now_ns := self._stream.now_ns()) < deadline_ns:
            for frames, time_ns in await self._arrived((deadline_ns - now_ns) / 1e9):
                for frame in frames:
                    answered, answering, reply = mbap(frame)
                    if answered != transaction:
                        self._counters[self._stray(answered)] += 1
                        continue
                    del self._late[transaction]
                    if unit is not None and pause_ns:
                        unit.ready_ns = time_ns + pause_ns
                    return self._judged(answering == device.unit, reply, pdu[0], shape, time_ns)
        self._counters["timeouts"] += 1
        return Reply(Quality.NO_REPLY, b"", self._stream.now_ns())

    def _judged(self, is_unit: bool, reply: bytes, function: int, shape: Shape, time_ns: int) -> Reply:
        if is_unit and len(reply) == 2 and reply[0] == function | 0x80:
            absent = reply[1] in NOT_THERE
            self._counters["timeouts" if absent else "busy" if reply[1] in LATER else "refused"] += 1
            return Reply(Quality.NO_REPLY if absent else Quality.REFUSED, b"" if absent else reply, time_ns)
        good = is_unit and reply.startswith(shape.head) and shape.size(reply) == len(reply)
        self._counters["replies" if good else "bad_replies"] += 1
        return Reply(Quality.GOOD, reply, time_ns) if good else Reply(Quality.BAD_REPLY, b"", time_ns)

    def _units_of(self, ops: Sequence[ReadBlock], timeout_s: float, outcome: _Outcome) -> Sequence[_Unit]:
        """The units of `ops`, with what is to be asked of each."""
        units: dict[str, _Unit] = {}
        timeout_ns = int(timeout_s * 1e9)
        for op in ops:
            name = op.device.name
            unit = units.get(name)
            if unit is None:
                unit = units[name] = self._units.get(name) or self._units.setdefault(name, _unit(op))
                unit.timeout_ns = unit.learned.timing.timeout_ns(_FLOOR_NS, unit.own_ns or timeout_ns)
                unit.answered, unit.extra = False, EXTRA
            if unit.learned.is_plain:
                unit.waiting.append(op)
            else:
                self._ask_around(op, unit, outcome)
        return [unit for unit in units.values() if unit.waiting]

    def _ask_around(self, op: ReadBlock, unit: _Unit, outcome: _Outcome) -> None:
        """Ask what is left of a block of which the device refuses something."""
        now_ns = self._stream.now_ns()
        asked, left_out = op.learned.to_ask(op, now_ns)
        for part in asked:
            self._planned[part] = op
            unit.waiting.append(part)
        outcome.failures += [part.failed(now_ns, Quality.REFUSED) for part in left_out]

    async def _ask(self, turns: Turns, limit: int) -> bool:
        """Send what may be sent, each unit in its turn, the dead behind, in one write. False once nothing is open."""
        now_ns = self._stream.now_ns()
        requests: list[bytes] = []
        for queue in turns:
            idle = 0
            while idle < len(queue) and len(self._asked) < limit:
                unit = queue.popleft()
                if unit.may_ask(now_ns):
                    requests.append(self._request(unit.waiting.popleft(), unit, now_ns))
                    idle = 0
                else:
                    idle += 1
                if unit.waiting:
                    queue.append(unit)
        if requests:
            self._counters["requests"] += len(requests)
            await self._stream.write(b"".join(requests))
        return bool(self._asked or turns[0] or turns[1])

    def _request(self, block: ReadBlock, unit: _Unit, now_ns: int) -> bytes:
        transaction = self._fresh()
        self._asked[transaction] = _Asked(block, unit, now_ns, now_ns + unit.timeout_ns)
        unit.in_flight += 1
        return transaction.to_bytes(2, "big") + block.request_tail

    def _fresh(self) -> int:
        """The next id that nobody could still answer."""
        while True:
            self._next = (self._next + 1) & 0xFFFF
            self._issued += 1
            if self._next not in self._asked and self._next not in self._late:
                return self._next

    async def _receive(self, turns: Turns) -> list[tuple[list[bytes], int]]:
        now_ns = self._stream.now_ns()
        limits = [asked.deadline_ns for asked in self._asked.values()]
        limits += [unit.ready_ns for queue in turns for unit in queue if unit.ready_ns > now_ns and not unit.in_flight]
        return await self._arrived((min(limits, default=now_ns) - now_ns) / 1e9)

    async def _arrived(self, timeout_s: float) -> list[tuple[list[bytes], int]]:
        """Whole frames, and when their last bytes came."""
        arrived: list[tuple[list[bytes], int]] = []
        for chunk in await self._stream.chunks(timeout_s):
            if chunk.gap:
                raise link_down("CG-3010", f"{self._url}: input overran its buffer")
            if self._parser.rest and self._begins_reply(chunk.data):
                self._parser.rest = b""  # the frame before it was cut short
                self._counters["bad_replies"] += 1
            try:
                frames = self._parser.frames(chunk.data)
            except BadReply as nonsense:
                raise link_down("CG-3010", f"{self._url}: {nonsense}") from nonsense
            if frames and self._parser.rest and not self._is_known(self._parser.rest):
                raise link_down("CG-3010", f"{self._url}: an answer shorter or longer than it says")
            arrived.append((frames, chunk.time_ns))
        return arrived

    def _begins_reply(self, data: bytes) -> bool:
        """Whether this is the head of an answer that is waited for: it cannot be the middle of another."""
        asked = self._asked.get(int.from_bytes(data[:2], "big"))
        if asked is None or len(data) < _HEAD or data[2:5] != b"\0\0\0":
            return False
        return data[6] == asked.block.unit and data[7] & 0x7F == asked.block.function

    def _is_known(self, frame: bytes) -> bool:
        """Whether a frame that begins like this may answer anything that was asked."""
        if len(frame) == 1:
            return ((self._next >> 8) - frame[0]) & 0xFF <= _REMEMBERED >> 8
        transaction = int.from_bytes(frame[:2], "big")
        age = (self._next - transaction) & 0xFFFF
        return transaction in self._asked or transaction in self._late or age < min(self._issued, _REMEMBERED)

    def _settle(self, frame: bytes, time_ns: int, outcome: _Outcome) -> None:
        asked = self._asked.pop(int.from_bytes(frame[:2], "big"), None)
        if asked is None:
            self._counters[self._stray(int.from_bytes(frame[:2], "big"))] += 1
            return
        block, unit = asked.block, asked.unit
        unit.in_flight -= 1
        if unit.pause_ns:
            unit.ready_ns = time_ns + unit.pause_ns
        if frame[2:_HEAD] == block.reply_head:
            unit.answered = True
            self._counters["replies"] += 1
            unit.learned.timing.answered(time_ns - asked.sent_ns)
            if not unit.learned.is_plain:
                unit.learned.was_read(self._planned.get(block, block), block)
            outcome.answers.append((block, frame[_HEAD:], time_ns))
        else:
            self._fail(frame, asked, time_ns, outcome)

    def _stray(self, transaction: int) -> str:
        """What an answer is that nobody waits for."""
        if transaction in self._late:
            if (learned := self._late[transaction]) is not None:
                learned.timing.was_late()
            return "late"
        age = (self._next - transaction) & 0xFFFF
        return "duplicates" if age < min(self._issued, _REMEMBERED) else "foreign"

    def _fail(self, frame: bytes, asked: _Asked, time_ns: int, outcome: _Outcome) -> None:
        block, unit = asked.block, asked.unit
        _, answering, pdu = mbap(frame)
        try:
            if answering != block.unit:
                raise BadReply(f"unit {answering} answered for unit {block.unit}")
            reply_data(pdu, block.function, block.count)
            raise BadReply("a head that does not fit its data")
        except Refused as refused:
            absent = refused.exception in NOT_THERE
            unit.answered = unit.answered or not absent
            if absent:
                self._counters["timeouts"] += 1
                outcome.failures.append(block.failed(time_ns, Quality.NO_REPLY))
                return
            unit.learned.timing.answered(time_ns - asked.sent_ns)
            self._counters["busy" if refused.exception in LATER else "refused"] += 1
            planned = self._planned.get(block, block)
            instead = unit.learned.was_refused(planned, block, refused.exception, time_ns)
            if instead and unit.extra > 0:
                unit.extra -= len(instead)
                self._planned.update((part, planned) for part in instead)
                unit.waiting.extendleft(reversed(instead))
                outcome.again.append(unit)
            else:
                outcome.failures.append(block.failed(time_ns, Quality.REFUSED))
        except BadReply:
            self._counters["bad_replies"] += 1
            outcome.failures.append(block.failed(time_ns, Quality.BAD_REPLY))

    def _expire(self, outcome: _Outcome) -> None:
        """Requests past their time. A device that has answered nothing so far is not asked the rest."""
        now_ns = self._stream.now_ns()
        overdue = [transaction for transaction, asked in self._asked.items() if asked.deadline_ns <= now_ns]
        for transaction in overdue:
            asked = self._asked.pop(transaction)
            self._give_up(transaction, asked.unit.learned)
            asked.unit.learned.timing.missed()
            self._counters["timeouts"] += 1
            unit = asked.unit
            unit.in_flight -= 1
            unit.ready_ns = now_ns + unit.pause_ns if unit.pause_ns else 0
            outcome.failures.append(asked.block.failed(now_ns, Quality.NO_REPLY))
            if not unit.answered:
                outcome.failures += [block.failed(now_ns, Quality.NO_REPLY) for block in unit.waiting]
                unit.waiting.clear()

    def _abandon(self, units: Iterable[_Unit]) -> None:
        """A read that was cancelled leaves ids behind: their answers will be late."""
        for transaction in self._asked:
            self._give_up(transaction, None)
        self._asked.clear()
        for unit in units:
            unit.waiting.clear()
            unit.in_flight = 0

    def _give_up(self, transaction: int, learned: Learned | None) -> None:
        self._late.pop(transaction, None)
        self._late[transaction] = learned
        if len(self._late) > _REMEMBERED:
            del self._late[next(iter(self._late))]


def _unit(op: ReadBlock) -> _Unit:
    options = op.device.options
    pause_ns = int(options.pause_ms * 1e6)
    # a pause between answer and request leaves room for one request at a time
    depth = 1 if pause_ns else options.depth
    return _Unit(op.device.name, depth, pause_ns, int((options.timeout_ms or 0) * 1e6), op.learned)

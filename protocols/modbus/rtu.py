"""Modbus RTU and ASCII transactions on one line: a serial port, or a transparent converter (`rtu+tcp://`).

In: block reads, writes. Out: one batch with a row a channel. One request at a time: silence, request, answer
matched by unit, function, byte count and check. Never reconnects.

Neither has transaction ids. After a time-out the answer may still come, and it would look right to a request for
another block of the same function and length. So an unanswered (function, byte count) is OWED by its unit for 5 s,
and while it is, every request whose answer would look the same is made to look different:

    longer      the same block and up to 8 registers more, unless limit, `forbidden` or the device object; else
    in pieces   cut between two values; else
    a probe     a read of another length first: devices answer in order, so its answer settles the debt; else
    nothing     the block is not read until the debt has lapsed.

Seeing a late answer does not settle the debt: a second master's traffic looks the same, and the real one may follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from protocols.api import Batch, Device, Link, Quality
from protocols.modbus.codec import LATER, NOT_THERE, Found, byte_count, read_request
from protocols.modbus.exchange import Reply, Shape
from protocols.modbus.framing import framing_of
from protocols.modbus.learned import EXTRA, Learned
from protocols.modbus.planner import ReadBlock
from protocols.modbus.points import COILS, Options
from protocols.modbus.single import SingleRequests
from protocols.streams import Stream, char_s, scheme

OWED_NS = 5_000_000_000
_BROKEN_NS = {"serial": 50_000_000, "ascii": 1_000_000_000}  # a pause so long inside an answer ends it
_BROKEN_OVER_TCP_NS = 250_000_000
_FLOOR_NS = {"serial": 30_000_000, "ascii": 30_000_000}  # no learned time-out is shorter: USB adapters hold back 16 ms
_FLOOR_OVER_TCP_NS = 250_000_000  # a lost segment is sent again after 200 ms
_BABBLE_NS = 500_000_000  # how long to wait for a line that never falls silent
_LONGER = 8

Key = tuple[int, int]  # (function, byte count): what tells one unit's answers apart


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked of a unit: `count` registers or coils from `address`."""

    function: int
    address: int
    count: int

    @property
    def key(self) -> Key:
        return self.function, byte_count(self.function, self.count)


class Answer(NamedTuple):
    """Outcome of one request: `data` where `quality` is GOOD."""

    quality: Quality
    data: bytes
    time_ns: int
    exception: int = 0  # of a refusal that can only be this request's


class RtuReader(SingleRequests):
    """An open line."""

    def __init__(self, stream: Stream, link: Link, ops: Sequence[ReadBlock] = ()) -> None:
        self._stream = stream
        self._framing = framing_of(link)
        self._char_ns = int(char_s(link) * 1e9)
        self._silence_ns = int(self._framing.silence_s(link) * 1e9)
        self._broken_ns = max(_BROKEN_NS.get(scheme(link), _BROKEN_OVER_TCP_NS), 2 * self._silence_ns)
        self._floor_ns = _FLOOR_NS.get(scheme(link), _FLOOR_OVER_TCP_NS)
        self._learned = {op.unit: op.learned for op in ops}
        self._sent_ns = 0  # when the last byte sent has left the line
        self._quiet_until: dict[str, int] = {}  # device -> end of its pause
        self._owed: dict[int, dict[Key, int]] = {}  # unit -> unanswered key -> when the debt lapses
        self._strict: set[ReadBlock] = set()  # blocks behind which the device refused to read on
        self._misses: dict[ReadBlock, int] = {}  # time-outs in a row: the worst are asked last
        self._dead: set[str] = set()  # devices that answered nothing in their last read
        self._counters = dict.fromkeys(
            ("requests", "replies", "timeouts", "refused", "bad_replies"), 0
        ) | dict.fromkeys(("late", "foreign", "echoes", "probes", "busy", "writes"), 0)

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    async def read(self, ops: Sequence[ReadBlock], timeout_s: float) -> Batch:
        parts: list[Batch] = []
        # A dead device costs one time-out a read (two if it was alive a moment ago), not one a block.
        patience = {op.device.name: 1 if op.device.name in self._dead else 2 for op in ops}
        heard: set[str] = set()
        for op in sorted(ops, key=lambda op: self._misses.get(op, 0)):
            name, learned = op.device.name, op.learned
            self._learned.setdefault(op.unit, learned)
            asked, left_out = learned.to_ask(op, self._stream.now_ns())
            parts += [part.failed(self._stream.now_ns(), Quality.REFUSED) for part in left_out]
            if left_out:
                heard.add(name)
            to_ask, extra = deque(asked), EXTRA
            while to_ask:
                part = to_ask.popleft()
                if name not in heard and not patience[name]:
                    parts.append(part.failed(self._stream.now_ns(), Quality.NO_REPLY))
                    continue
                answer = await self._fetch(part, timeout_s)
                if answer.quality == Quality.NO_REPLY:
                    patience[name] = max(0, patience[name] - 1)
                    self._misses[op] = self._misses.get(op, 0) + 1
                else:
                    heard.add(name)
                    self._misses.pop(op, None)
                if answer.quality == Quality.GOOD:
                    learned.was_read(op, part)
                    parts.append(part.batch(answer.data, answer.time_ns))
                    continue
                instead = learned.was_refused(op, part, answer.exception, answer.time_ns) if answer.exception else ()
                if instead and extra > 0:
                    extra -= len(instead)
                    to_ask.extendleft(reversed(instead))
                else:
                    parts.append(part.failed(answer.time_ns, answer.quality))
        self._dead = {name for name in self._dead if name not in patience}
        self._dead |= patience.keys() - heard
        return Batch.join(parts)

    async def _fetch(self, op: ReadBlock, timeout_s: float) -> Answer:
        """The block's data, by a request that no owed answer can be taken for."""
        asked, options = Span(op.function, op.address, op.count), op.device.options
        await self._silence(op.device)  # what is late may be in by now
        if asked.key not in self._debts(op.unit):
            return await self._request(op.device, asked, timeout_s)
        longer = None if op in self._strict else self._unlike(op.unit, self._allowed(op, _longer(asked, options)))
        if longer is not None:
            answer = await self._request(op.device, longer, timeout_s)
            if answer.quality != Quality.REFUSED:
                return answer
            self._strict.add(op)
        if pieces := self._pieces(op):
            return await self._request_pieces(op.device, pieces, timeout_s)
        probe = self._unlike(op.unit, self._allowed(op, _probes(asked, options)))
        if probe is None:
            return Answer(Quality.NO_REPLY, b"", self._stream.now_ns())
        self._counters["probes"] += 1
        answer = await self._request(op.device, probe, timeout_s)
        if answer.quality not in (Quality.GOOD, Quality.REFUSED):
            return answer
        self._debts(op.unit).pop(asked.key, None)
        return await self._request(op.device, asked, timeout_s)

    @staticmethod
    def _allowed(op: ReadBlock, spans: Iterable[Span]) -> Iterator[Span]:
        """Without what the device is known to refuse."""
        return (s for s in spans if op.learned.allows(s.function, s.address, s.address + s.count))

    def _learned_of(self, device: Device) -> Learned:
        return self._learned.setdefault(device.unit, Learned(device.name))

    def learned(self) -> dict[str, dict[str, Any]]:
        now_ns = self._stream.now_ns()
        return {one.device: one.facts(now_ns) for one in self._learned.values()}

    async def _request_pieces(self, device: Device, pieces: tuple[Span, Span], timeout_s: float) -> Answer:
        data = b""
        for piece in pieces:
            answer = await self._request(device, piece, timeout_s)
            if answer.quality != Quality.GOOD:
                return answer
            data += answer.data[: piece.key[1]]
        return answer._replace(data=data)

    def _pieces(self, op: ReadBlock) -> tuple[Span, Span] | None:
        """The block cut between two values so that neither part looks like what is owed."""
        for cut in op.cuts:
            first = Span(op.function, op.address, cut)
            second = Span(op.function, op.address + cut, op.count - cut)
            if not {first.key, second.key} & self._debts(op.unit).keys():
                return first, second
        return None

    def _unlike(self, unit: int, spans: Iterable[Span]) -> Span | None:
        """The first whose answer could not be mistaken for one that is owed."""
        debts = self._debts(unit)
        return next((span for span in spans if span.key not in debts), None)

    async def _request(self, device: Device, span: Span, timeout_s: float) -> Answer:
        function, expected = span.key
        shape = Shape.fixed(bytes((function, expected)), expected + 2)
        pdu = read_request(function, span.address, span.count)
        reply = await self._exchange(device, pdu, shape, timeout_s=timeout_s, span=span)
        if reply.quality == Quality.GOOD:
            return Answer(Quality.GOOD, reply.pdu[2:], reply.time_ns)
        others = self._debts(device.unit).keys() - {span.key}
        is_ours = not any(owed == function for owed, _ in others)  # else the refusal may be an older request's
        return Answer(reply.quality, b"", reply.time_ns, reply.exception if is_ours else 0)

    async def _exchange(
        self, device: Device, pdu: bytes, shape: Shape, *, timeout_s: float, span: Span | None = None
    ) -> Reply:
        """One request and what came of it. `span`: it is a read, whose answer is owed from now on."""
        options: Options = device.options
        ceiling_s = timeout_s if options.timeout_ms is None else options.timeout_ms / 1000
        if not await self._silence(device):
            return self._failed(Quality.BAD_REPLY, "bad_replies")
        learned = self._learned_of(device)
        request = self._framing.frame(device.unit, pdu)
        self._sent_ns = self._stream.now_ns() + len(request) * self._char_ns
        reply_ns = self._framing.characters(shape.size(shape.head) or 253) * self._char_ns
        ceiling_ns = int(ceiling_s * 1e9)
        deadline_ns = self._sent_ns + learned.timing.timeout_ns(self._floor_ns, ceiling_ns) + reply_ns
        if span is not None:
            # owed before the bytes leave: this read may be cancelled. A short time-out shortens no debt
            self._debts(device.unit)[span.key] = self._sent_ns + ceiling_ns + reply_ns + OWED_NS
        self._counters["requests"] += 1
        await self._stream.write(request)
        try:
            return await self._listen(device.unit, pdu, shape, request, deadline_ns, span)
        finally:
            self._quiet_until[device.name] = self._stream.now_ns() + int(options.pause_ms * 1e6)

    async def _listen(
        self, unit: int, pdu: bytes, shape: Shape, request: bytes, deadline_ns: int, span: Span | None
    ) -> Reply:
        """Read until the answer is whole, the line breaks off, or the time is up."""
        stream, line, function = self._stream, b"", pdu[0]
        is_echo = shape.head == pdu  # some writes are answered by their echo: it is not taken for an adapter's
        while True:
            broken_ns = stream.last_byte_ns + self._broken_ns
            until_ns = min(deadline_ns, broken_ns) if self._begins(line, unit, function) else deadline_ns
            data = await stream.read((until_ns - stream.now_ns()) / 1e9)
            line += data
            if not is_echo and request in line:  # a two-wire adapter hears itself
                line, is_echo = line.partition(request)[2], True
                self._counters["echoes"] += 1
            if found := self._find(line, unit, function, shape):
                return self._settle(unit, span, found.pdu)
            line = self._without_late(line)
            if not data and stream.now_ns() >= until_ns:
                return self._gave_up(line, unit)

    def _find(self, line: bytes, unit: int, function: int, shape: Shape) -> Found | None:
        """The first whole frame that is such an answer or a refusal."""
        refusal = self._framing.find(line, unit, bytes((function | 0x80,)), 2)
        size = shape.size(shape.head)
        if size is not None:
            answer = self._framing.find(line, unit, shape.head, size)
        else:
            answer = self._find_open(line, unit, shape)
        if answer is None or refusal is None:
            return answer or refusal
        return min(answer, refusal, key=lambda found: found.end)

    def _find_open(self, line: bytes, unit: int, shape: Shape) -> Found | None:
        """An answer that says itself how long it is."""
        for candidate in self._framing.candidates(line, unit, shape.head):
            size = shape.size(candidate[1:])
            if size is not None and (found := self._framing.find(line, unit, candidate[1 : 1 + min(7, size)], size)):
                return found
        return None

    def _begins(self, line: bytes, unit: int, function: int) -> bool:
        return any(self._framing.begins(line, unit, bytes((f,))) for f in (function, function | 0x80))

    def _gave_up(self, line: bytes, unit: int) -> Reply:
        if line:
            return self._failed(Quality.BAD_REPLY, "bad_replies" if self._framing.is_from(line, unit) else "foreign")
        self._learned[unit].timing.missed()
        return self._failed(Quality.NO_REPLY, "timeouts")

    def _settle(self, unit: int, span: Span | None, pdu: bytes) -> Reply:
        debts, time_ns = self._debts(unit), self._stream.last_byte_ns
        on_wire_ns = self._framing.characters(len(pdu)) * self._char_ns
        self._learned[unit].timing.answered(time_ns - self._sent_ns - on_wire_ns)
        if not pdu[0] & 0x80:
            if span is not None:
                debts.pop(span.key, None)
            self._counters["replies"] += 1
            return Reply(Quality.GOOD, pdu, time_ns)
        if span is not None and not any(function == span.function for function, _ in debts.keys() - {span.key}):
            debts.pop(span.key, None)  # else the refusal may be an older request's
        if pdu[1] in NOT_THERE:
            self._counters["timeouts"] += 1
            return Reply(Quality.NO_REPLY, b"", time_ns)
        self._counters["busy" if pdu[1] in LATER else "refused"] += 1
        return Reply(Quality.REFUSED, pdu, time_ns)

    def _failed(self, quality: Quality, counter: str) -> Reply:
        self._counters[counter] += 1
        return Reply(quality, b"", self._stream.now_ns())

    def _debts(self, unit: int) -> dict[Key, int]:
        """What the unit still owes now."""
        now_ns = self._stream.now_ns()
        debts = self._owed.setdefault(unit, {})
        for key in [key for key, lapses_ns in debts.items() if lapses_ns <= now_ns]:
            del debts[key]
        return debts

    def _without_late(self, line: bytes) -> bytes:
        """The line less the answers that came too late. They settle nothing: one may be somebody else's."""
        for unit in list(self._owed):
            for function, expected in list(self._debts(unit)):
                if found := self._find(line, unit, function, Shape.fixed(bytes((function, expected)), expected + 2)):
                    self._counters["late"] += 1
                    if unit in self._learned:
                        self._learned[unit].timing.was_late()
                    line = line[found.end :]
        return line

    async def _silence(self, device: Device) -> bool:
        """Wait out 3.5 characters since the last byte in or out, and the device's pause; what arrives
        meanwhile is thrown away. False if the line never falls silent."""
        stream = self._stream
        give_up_ns = max(stream.now_ns(), self._sent_ns) + _BABBLE_NS
        strays = stream.take()
        while True:
            last_ns = max(stream.last_byte_ns, self._sent_ns)
            quiet_ns = max(last_ns + self._silence_ns, self._quiet_until.get(device.name, 0))
            if quiet_ns <= stream.now_ns():
                break
            await stream.wait_until(quiet_ns)
            strays += stream.take()
            if stream.last_byte_ns > give_up_ns:
                return False
        if self._without_late(strays):
            self._counters["foreign"] += 1
        return True


def _longer(span: Span, options: Options) -> Iterator[Span]:
    """The same start, read on a little further, as far as the device may be read."""
    step = 8 if span.function in COILS else 1
    for extra in range(1, _LONGER + 1):
        count = span.count + extra * step
        if _may_read(span.address, count, span.function, options):
            yield Span(span.function, span.address, count)


def _probes(span: Span, options: Options) -> Iterator[Span]:
    """Shorter reads within the block, then one a little longer that starts before it or runs on behind it."""
    step = 8 if span.function in COILS else 1
    for count in range(1, span.count, step):
        yield Span(span.function, span.address, count)
    yield from _longer(span, options)
    for extra in range(1, _LONGER + 1):
        before = span.address - extra * step
        if _may_read(before, span.count + extra * step, span.function, options):
            yield Span(span.function, before, span.count + extra * step)


def _may_read(address: int, count: int, function: int, options: Options) -> bool:
    return (
        address >= 0
        and address + count <= 65_536
        and count <= options.limit(function)
        and options.forbids(address, address + count) is None
    )

"""Modbus RTU transactions on one line: a serial port, or a transparent converter (`rtu+tcp://`).

In: block reads. Out: one batch with a row a channel. One request at a time: silence, request, answer
matched by unit, function, byte count and CRC. Never reconnects.

RTU frames carry no transaction id. After a time-out the answer may still come, and it would look right to a request
for another block of the same function and length. So an unanswered (function, byte count) is OWED by its unit for
5 s, and while it is, every request whose answer would look the same is made to look different:

    longer      the same block and up to 8 registers more, unless limit, `forbidden` or the device object; else
    in pieces   cut between two values; else
    a probe     a read of another length first: devices answer in order, so its answer settles the debt; else
    nothing     the block is not read until the debt has lapsed.

The late answer itself, once seen, settles the debt too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.api import Batch, Device, Link, Quality
from protocols.modbus.codec import NOT_THERE, begins_reply, byte_count, find_reply, rtu_request
from protocols.modbus.planner import ReadBlock, silence_s
from protocols.modbus.points import COILS, Options
from protocols.streams import Stream, char_s, scheme

OWED_NS = 5_000_000_000
_BROKEN_NS = {"serial": 50_000_000, "rtu+tcp": 250_000_000}  # a pause so long inside an answer ends it
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


class RtuReader:
    """An open line."""

    def __init__(self, stream: Stream, link: Link) -> None:
        self._stream = stream
        self._char_ns = int(char_s(link) * 1e9)
        self._silence_ns = int(silence_s(link) * 1e9)
        self._broken_ns = max(_BROKEN_NS[scheme(link)], 2 * self._silence_ns)
        self._sent_ns = 0  # when the last byte sent has left the line
        self._quiet_until: dict[str, int] = {}  # device -> end of its pause
        self._owed: dict[int, dict[Key, int]] = {}  # unit -> unanswered key -> when the debt lapses
        self._strict: set[ReadBlock] = set()  # blocks behind which the device refused to read on
        self._misses: dict[ReadBlock, int] = {}  # time-outs in a row: the worst are asked last
        self._dead: set[str] = set()  # devices that answered nothing in their last read
        self._counters = dict.fromkeys(
            ("requests", "replies", "timeouts", "refused", "bad_replies"), 0
        ) | dict.fromkeys(("late", "foreign", "echoes", "probes"), 0)

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counters

    async def read(self, ops: Sequence[ReadBlock], timeout_s: float) -> Batch:
        parts: list[Batch] = []
        # A dead device costs one time-out a read (two if it was alive a moment ago), not one a block.
        patience = {op.device.name: 1 if op.device.name in self._dead else 2 for op in ops}
        heard: set[str] = set()
        for op in sorted(ops, key=lambda op: self._misses.get(op, 0)):
            name = op.device.name
            if name not in heard and not patience[name]:
                parts.append(op.failed(self._stream.now_ns(), Quality.NO_REPLY))
                continue
            answer = await self._fetch(op, timeout_s)
            if answer.quality == Quality.NO_REPLY:
                patience[name] = max(0, patience[name] - 1)
                self._misses[op] = self._misses.get(op, 0) + 1
            else:
                heard.add(name)
                self._misses.pop(op, None)
            good = answer.quality == Quality.GOOD
            parts.append(op.batch(answer.data, answer.time_ns) if good else op.failed(answer.time_ns, answer.quality))
        self._dead = {name for name in self._dead if name not in patience}
        self._dead |= patience.keys() - heard
        return Batch.join(parts)

    async def _fetch(self, op: ReadBlock, timeout_s: float) -> Answer:
        """The block's data, by a request that no owed answer can be taken for."""
        asked, options = Span(op.function, op.address, op.count), op.device.options
        await self._silence(op.device)  # what is late may be in by now
        if asked.key not in self._debts(op.unit):
            return await self._request(op.device, asked, timeout_s)
        longer = None if op in self._strict else self._unlike(op.unit, _longer(asked, options))
        if longer is not None:
            answer = await self._request(op.device, longer, timeout_s)
            if answer.quality != Quality.REFUSED:
                return answer
            self._strict.add(op)
        if pieces := self._pieces(op):
            return await self._request_pieces(op.device, pieces, timeout_s)
        probe = self._unlike(op.unit, _probes(asked, options))
        if probe is None:
            return Answer(Quality.NO_REPLY, b"", self._stream.now_ns())
        self._counters["probes"] += 1
        answer = await self._request(op.device, probe, timeout_s)
        if answer.quality not in (Quality.GOOD, Quality.REFUSED):
            return answer
        self._debts(op.unit).pop(asked.key, None)
        return await self._request(op.device, asked, timeout_s)

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
        options: Options = device.options
        own_s = timeout_s if options.timeout_ms is None else options.timeout_ms / 1000
        if not await self._silence(device):
            return self._failed(Quality.BAD_REPLY, "bad_replies")
        request = rtu_request(device.unit, span.function, span.address, span.count)
        self._sent_ns = self._stream.now_ns() + len(request) * self._char_ns
        reply_ns = (byte_count(span.function, span.count) + 5) * self._char_ns
        deadline_ns = self._sent_ns + int(own_s * 1e9) + reply_ns
        # owed before the bytes leave: this read may be cancelled
        self._debts(device.unit)[span.key] = deadline_ns + OWED_NS
        self._counters["requests"] += 1
        await self._stream.write(request)
        try:
            return await self._listen(device.unit, span, request, deadline_ns)
        finally:
            self._quiet_until[device.name] = self._stream.now_ns() + int(options.pause_ms * 1e6)

    async def _listen(self, unit: int, span: Span, request: bytes, deadline_ns: int) -> Answer:
        """Read until the answer is whole, the line breaks off, or the time is up."""
        function, expected = span.key
        stream, line, is_echo = self._stream, b"", False
        while True:
            broken_ns = stream.last_byte_ns + self._broken_ns
            until_ns = min(deadline_ns, broken_ns) if begins_reply(line, unit, function) else deadline_ns
            data = await stream.read((until_ns - stream.now_ns()) / 1e9)
            line += data
            if not is_echo and request in line:  # a two-wire adapter hears itself
                line, is_echo = line.partition(request)[2], True
                self._counters["echoes"] += 1
            if found := find_reply(line, unit, function, expected):
                return self._settle(unit, span, found.pdu)
            line = self._without_late(line)
            if not data and stream.now_ns() >= until_ns:
                return self._gave_up(line, unit)

    def _gave_up(self, line: bytes, unit: int) -> Answer:
        if not line:
            return self._failed(Quality.NO_REPLY, "timeouts")
        return self._failed(Quality.BAD_REPLY, "bad_replies" if line[0] == unit else "foreign")

    def _settle(self, unit: int, span: Span, pdu: bytes) -> Answer:
        debts, time_ns = self._debts(unit), self._stream.last_byte_ns
        if pdu[0] == span.function:
            debts.pop(span.key, None)
            self._counters["replies"] += 1
            return Answer(Quality.GOOD, pdu[2:], time_ns)
        if not any(function == span.function for function, _ in debts.keys() - {span.key}):
            debts.pop(span.key, None)  # else the refusal may be an older request's
        absent = pdu[1] in NOT_THERE
        self._counters["timeouts" if absent else "refused"] += 1
        return Answer(Quality.NO_REPLY if absent else Quality.REFUSED, b"", time_ns)

    def _failed(self, quality: Quality, counter: str) -> Answer:
        self._counters[counter] += 1
        return Answer(quality, b"", self._stream.now_ns())

    def _debts(self, unit: int) -> dict[Key, int]:
        """What the unit still owes now."""
        now_ns = self._stream.now_ns()
        debts = self._owed.setdefault(unit, {})
        for key in [key for key, lapses_ns in debts.items() if lapses_ns <= now_ns]:
            del debts[key]
        return debts

    def _without_late(self, line: bytes) -> bytes:
        """The line less the answers that came too late, which settle their debts."""
        for unit in list(self._owed):
            for function, expected in list(self._debts(unit)):
                if found := find_reply(line, unit, function, expected):
                    self._owed[unit].pop((function, expected))
                    self._counters["late"] += 1
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

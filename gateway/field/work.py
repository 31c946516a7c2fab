"""What a technician asks of the running field half at work: bytes of a link, maintenance, a replaced meter, a test
message. In: requests of the control socket. Out: what JSON can carry.

    {"tape": LINK, "after": N}                      pieces of a link's bytes from number N on
    {"maintain": DEVICE or "", "for_s": S, ...}     begin or prolong; "off": true ends it
    {"replace": DEVICE, "old": {...}, ...}          a counter's meter was exchanged
    {"push": UPSTREAM or "", "within_s": S}         a test event, and when it was acknowledged

Each answer has `error`, `error_ko` and `code` where it was refused. Whatever changes something is added to the audit
file; where the disk does not take that, the answer has `unaudited` with the reason.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.field import push
from gateway.field.capture import Line
from gateway.field.carry import Carry
from gateway.field.clock import boottime_ns, known_utc_offset, utc_offset
from gateway.field.control import Errands
from gateway.field.engine import Engine
from gateway.field.freeze import Freezer
from gateway.field.maintenance import Maintenance
from gateway.field.push import PushTest
from gateway.field.scheduler import LinkRunner
from gateway.field.tape import Tape
from gateway.field.writer import SpoolWriter
from gateway.site.plan import Kind, LinkPlan, Plan, SiteDevice
from gateway.spool import audit
from gateway.spool.spool import Spool
from protocols.api import Batch, Identifier, LinkDown, Quality, Reader

log = logging.getLogger("citygate.field")

TEXT_MOST = 200
FRESH_S = 60.0  # a device that speaks by itself: its last count must not be older, in seconds or ten periods


class Refused(Exception):
    """A request that is not carried out: code, English, Korean."""

    def __init__(self, code: str, en: str, ko: str) -> None:
        super().__init__(en)
        self.answer = {"code": code, "error": en, "error_ko": ko}


class Work:
    """The bench's side of one running plan."""

    def __init__(self, plan: Plan, maintenance: Maintenance, carry: Carry) -> None:
        self._plan, self.maintenance, self.carry = plan, maintenance, carry
        self._state = Path(plan.state_dir)
        kept_bytes = round(plan.capture_kb * 1024)
        self.tapes = {link.link.name: Tape(kept_bytes) for link in plan.links} if kept_bytes else {}
        self._lines = {link.link.name: line_of(link) for link in plan.links}
        self.freezer = Freezer(self._state, self._lines, self.tapes, lambda: utc_offset()[0])

    def begin(self, engine: Engine, links: Mapping[str, LinkRunner], spool: Spool, writer: SpoolWriter) -> None:
        """What requests are carried out with."""
        self._engine, self._links = engine, links
        self._push = PushTest(self._plan, spool, writer)

    def errands(self) -> Errands:
        named = {"tape": self.tape, "maintain": self.maintain, "replace": self.replace, "push": self.push}
        return {word: _refusing(asked) for word, asked in named.items()}

    async def keep(self) -> None:
        """Write what changed. A disk that refuses is asked again with the next tick."""
        if not self.maintenance.changed:
            return
        now_ns, offset = boottime_ns(), known_utc_offset()
        content = self.maintenance.content(now_ns, offset[0] if offset else None)
        self.maintenance.changed = False
        try:
            await asyncio.to_thread(self.maintenance.write, self._state, content)
        except OSError as refused:
            self.maintenance.changed = True
            log.debug("maintenance is not written: %s", refused)

    def shown(self) -> dict[str, Any]:
        return {
            "maintenance": self.maintenance.shown(boottime_ns()),
            "carried": self.carry.shown(),
            "captures": self.freezer.kept(),
        }

    # -- bytes

    async def tape(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = str(request["tape"])
        if name not in self._lines:
            raise Refused(
                "CG-5150",
                f"no link is called {name}: {', '.join(self._lines)}",
                f"{name} 링크가 없습니다: {', '.join(self._lines)}",
            )
        if name not in self.tapes:
            raise Refused(
                "CG-5151",
                "capture_kb = 0 in [gateway]: no bytes are kept",
                "[gateway]의 capture_kb = 0 이므로 바이트를 보관하지 않습니다",
            )
        after, tape, line = int(request.get("after", 0)), self.tapes[name], self._lines[name]
        pieces = tape.since(after)
        return {
            "line": {key: getattr(line, key) for key in Line.__dataclass_fields__},
            "utc_offset_ns": utc_offset()[0],
            "pieces": [[piece.number, piece.time_ns, piece.sent, piece.data.hex()] for piece in pieces],
            "lost": (pieces[0].number if pieces else tape.next) - after if after else 0,
            "next": tape.next,
        }

    # -- maintenance

    async def maintain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        device, by, why = str(request["maintain"] or ""), _text(request, "by"), _text(request, "why")
        now_ns = boottime_ns()
        try:
            if request.get("off"):
                told, what = self.maintenance.off(device, now_ns), "maintenance off"
            else:
                told = self.maintenance.on(device, float(request["for_s"]), why, by, now_ns)
                what = "maintenance on"
        except ValueError as bad:
            raise Refused("CG-5140", str(bad), f"점검을 설정할 수 없습니다: {bad}") from bad
        self._engine.emit(told)
        facts: dict[str, Any] = {"device": device, "why": why}
        facts |= {} if request.get("off") else {"for_s": float(request["for_s"])}
        await self.keep()
        return self.maintenance.shown(boottime_ns()) | await self._audit(what, by, facts)

    # -- meters

    async def replace(self, request: Mapping[str, Any]) -> dict[str, Any]:
        device = next((one for one in self._plan.devices if one.name == request["replace"]), None)
        if device is None:
            raise _wrong(f"no device is called {request['replace']}", f"{request['replace']} 장치가 없습니다")
        old, new = _numbers(request.get("old")), _numbers(request.get("new"))
        counters = self._counters(device, [*old, *new])
        found, identity = await self._look(device)
        carried_old: dict[int, float] = {}
        carried_new: dict[int, float] = {}
        for name, channel in counters.items():
            reading = found.get(channel, math.nan)
            start = new.get(name, reading)
            before, last = self.carry.before(channel, boottime_ns()), self.carry.total[channel]
            total = old.get(name, before if math.isfinite(before) else last)
            if not math.isfinite(start) or not math.isfinite(total):
                lacks = "--new-total: the new meter does not answer" if not math.isfinite(start) else "--old-total"
                raise _wrong(
                    f"{device.name}.{name}: give {lacks}",
                    f"{device.name}.{name}: {lacks.partition(':')[0]} 값이 필요합니다",
                )
            carried_old[channel], carried_new[channel] = total, start
        by = _text(request, "by")
        facts = {"by": by, "identity": identity, "serial": _text(request, "serial"), "was": _text(request, "was")}
        try:
            offsets, passed = await asyncio.to_thread(
                self.carry.replaced, carried_old, carried_new, facts, boottime_ns()
            )
        except OSError as refused:
            raise Refused(
                "CG-5146",
                f"the exchange cannot be kept ({refused.strerror}); nothing was changed",
                f"교체 내용을 저장할 수 없습니다 ({refused.strerror}). 변경된 것은 없습니다",
            ) from refused
        self._engine.meter_replaced(passed)
        points = {
            name: {
                "old": carried_old[channel],
                "new": carried_new[channel],
                "offset": offsets[channel],
                "reading": found.get(channel),
                "total": self.carry.total_of(channel, found.get(channel, carried_new[channel])),
                "unit": self._plan.channels[channel].unit,
            }
            for name, channel in counters.items()
        }
        done = {"device": device.name, "points": points, **facts}
        return done | await self._audit("replace", by, done)

    def _counters(self, device: SiteDevice, named: Sequence[str]) -> dict[str, int]:
        channels = [self._plan.channels[index] for index in device.channels]
        counters = {c.point: c.index for c in channels if c.kind is Kind.COUNTER and not c.derived}
        for name in named:
            if name not in counters:
                has = ", ".join(counters) or "none"
                raise _wrong(
                    f"{device.name} has no counter {name}: {has}",
                    f"{device.name}에 {name} 적산 포인트가 없습니다: {has}",
                )
        return counters

    async def _look(self, device: SiteDevice) -> tuple[dict[int, float], Mapping[str, str]]:
        """What the device's counters show now, as it has them, and who it says it is."""
        plan = next(link for link in self._plan.links if link.link.name == device.link)
        if device.listens:
            return self._last(device), {}
        ops = [op for op in plan.ops if op.device.name == device.name]

        async def work(reader: Reader[Any]) -> tuple[Batch, Mapping[str, str]]:
            batch = await reader.read(ops, plan.timeout_s)
            said = await reader.identify(device.protocol, plan.timeout_s) if isinstance(reader, Identifier) else {}
            return batch, said

        try:
            batch, said = await self._links[device.link].errand(work)
        except LinkDown:
            return {}, {}
        good = batch.quality < Quality.SENTINEL
        return dict(zip(batch.channel[good].tolist(), batch.value[good].tolist(), strict=True)), dict(said)

    def _last(self, device: SiteDevice) -> dict[int, float]:
        now_ns = boottime_ns()
        return {
            channel: float(self.carry.raw[channel])
            for channel in device.channels
            if now_ns - int(self._engine.last_ns[channel])
            < max(FRESH_S, 10 * self._plan.channels[channel].period_s) * 1e9
            and math.isfinite(self.carry.raw[channel])
        }

    # -- the way to the centers

    async def push(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            names = push.wanted(self._plan, {"upstream": request["push"]})
        except ValueError as bad:
            raise Refused("CG-5155", str(bad), f"업스트림 이름이 올바르지 않습니다: {bad}") from bad
        if not names:
            raise Refused(
                "CG-5155", "the site has no upstream: nothing is sent", "업스트림이 없어 아무것도 전송하지 않습니다"
            )
        if known_utc_offset() is None:
            raise Refused(
                "CG-5157",
                "the clock is not set: records wait until it is",
                "시계가 설정되지 않아 기록이 대기 중입니다",
            )
        told = await self._push.run(names, float(request.get("within_s", 30.0)))
        unaudited = await self._audit("push test", _text(request, "by"), {"upstreams": told})
        return {"upstreams": told, "uplink": self._push.uplink_listens(), **unaudited}

    async def _audit(self, what: str, by: str, facts: Mapping[str, Any]) -> dict[str, str]:
        """Nothing, or why it is not in the file."""
        try:
            await asyncio.to_thread(audit.append, self._state, what, by, facts)
        except OSError as refused:
            log.error("CG-5142 %s is not in the audit file (%s)", what, refused.strerror or refused)
            return {"unaudited": f"CG-5142 {refused.strerror or refused}"}
        return {}


def line_of(link: LinkPlan) -> Line:
    one = link.link
    return Line(one.name, one.url, link.driver, one.baud, one.parity, one.stop_bits, one.data_bits)


def _refusing(asked: Any) -> Any:
    async def answer(request: Mapping[str, Any]) -> Any:
        try:
            return await asked(request)
        except Refused as refused:
            return refused.answer

    return answer


def _wrong(en: str, ko: str) -> Refused:
    return Refused("CG-5147", en, ko)


def _text(request: Mapping[str, Any], key: str) -> str:
    return str(request.get(key) or "")[:TEXT_MOST]


def _numbers(given: Any) -> dict[str, float]:
    numbers = {str(name): float(value) for name, value in dict(given or {}).items()}
    if not all(map(math.isfinite, numbers.values())):
        raise _wrong("a total must be a finite number", "적산값은 유한한 숫자여야 합니다")
    return numbers

"""Commands of a center to devices: each under a lease, range-checked, read back, and put back when its time is over.

In: requests of the control socket. Out: what JSON can carry, writes through the link's own queue, events, audit lines.

    {"command": POINT, "value": X, "lease_s": S, "by": WHO, "id": ID}     `id`: the same again is not carried out again
    {"command": POINT, "off": true, "by": WHO}                            before its time
    {"commands": {}}                                                      what stands

Nothing is written before the lease is on disk, and never to a point that the site does not allow. An outcome that
nobody knows counts as the worst: the point is put back to rest, again and again until that reads back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.field.clock import boottime_ns
from gateway.field.control import Errands
from gateway.field.leases import FILE, Lease, Leases, Step
from gateway.field.scheduler import LinkRunner
from gateway.services.rules import event
from gateway.site.plan import Channel, Plan
from gateway.spool import audit
from gateway.spool.records import Event, Phase
from protocols.api import LinkDown, Point, Quality, Reader, Writer, Written

log = logging.getLogger("citygate.field")

STUCK = "health.command_stuck"
SHORTEST_S = 1.0
TEXT_MOST = 200
REMEMBERED = 256  # outcomes, for a command that comes again
RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STOP_S = 5.0  # what is under way at a stop
UNTOUCHED = (Quality.OUT_OF_RANGE, Quality.REFUSED)  # the device is as it was


class Refused(Exception):
    """A command that is not carried out: code, English, Korean."""

    def __init__(self, code: str, en: str, ko: str) -> None:
        super().__init__(en)
        self.answer = {"code": code, "error": en, "error_ko": ko}


class Commands:
    """Of one running plan. `begin` before `run`; leases of the process before are found when it is made."""

    def __init__(
        self, plan: Plan, is_maintained: Callable[[str], bool], now_ns: Callable[[], int] = boottime_ns
    ) -> None:
        self._plan, self._is_maintained, self._now_ns = plan, is_maintained, now_ns
        self._state = Path(plan.state_dir)
        self._rules = plan.commands
        self._allowed = [_pattern(one) for one in plan.commands.points]
        self._channels = {channel.name: channel for channel in plan.channels}
        self._points = {point.channel: point for link in plan.links for point in link.points}
        self._locks: dict[str, asyncio.Lock] = {}
        self._disk = asyncio.Lock()
        self._sent: dict[str, deque[int]] = {}
        self._told: OrderedDict[str, tuple[tuple[str, float, float], dict[str, Any]]] = OrderedDict()
        self._tries: dict[str, tuple[int, int]] = {}  # failed so often, again at
        self._falling: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._lost: list[Lease] = []
        self._closed = False
        self.leases = Leases(self._state)
        try:
            self.leases.restore()
        except (OSError, ValueError) as bad:
            log.critical("CG-6131 %s cannot be read (%s): check what its points are set to", self._state / FILE, bad)
        for one in self.leases.all():
            if one.point not in self._channels:
                self._lost.append(one)
                self.leases.forget(one.point)
            elif not self.allows(one.point):
                self.leases.note(replace(one, step=Step.FALLING))

    def begin(
        self, links: Mapping[str, LinkRunner], emit: Callable[[Sequence[Event]], None], standing: Mapping[str, Event]
    ) -> None:
        """`emit`: events on their way; `standing`: alarms by their keys."""
        self._links, self._emit, self._standing = links, emit, standing

    def errands(self) -> Errands:
        async def refusing(request: Mapping[str, Any]) -> Any:
            try:
                return await (self.release(request) if request.get("off") else self.command(request))
            except Refused as refused:
                log.warning("%s asks for a command: %s", _text(request, "by") or "-", refused)
                return refused.answer

        async def shown(_: Mapping[str, Any]) -> Any:
            return self.shown()

        return {"command": refusing, "commands": shown}

    def allows(self, point: str) -> bool:
        return any(one.fullmatch(point) for one in self._allowed)

    def shown(self) -> dict[str, Any]:
        now_ns = self._now_ns()
        return {
            "leases": [
                {
                    "point": one.point,
                    "value": one.value,
                    "rest": one.rest,
                    "left_s": max(0.0, round((one.until_ns - now_ns) / 1e9, 1)),
                    "by": one.by,
                    "step": one.step.value,
                    "stuck": f"{STUCK}|{one.point}" in self._standing,
                }
                for one in self.leases.all()
            ],
            "points": [
                {"point": name, "low": span[0], "high": span[1], "unit": channel.unit, "rest": point.rest}
                for name, channel in self._channels.items()
                if self.allows(name) and (point := self._points.get(channel.index)) and (span := point.writable)
            ],
            "longest_lease_s": self._rules.longest_lease_s,
            "a_minute": self._rules.a_minute,
        }

    # -- what is asked for

    async def command(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises Refused."""
        begun_ns = self._now_ns()
        name, value, lease_s = str(request["command"]), _number(request, "value"), _number(request, "lease_s")
        by, nonce = _text(request, "by"), _text(request, "id")
        channel, point = self._checked(name, value, lease_s)
        async with self._lock(name):
            asked = (name, value, lease_s)
            if nonce in self._told:
                before, answer = self._told[nonce]
                if before != asked:
                    raise Refused("CG-6130", f"id {nonce} was another command", f"id {nonce} 은(는) 다른 명령입니다")
                return answer | {"again": True}
            self._check_rate(name)
            answer = await self._carry_out(channel, point, value, lease_s, by)
            answer |= {"latency_ms": round((self._now_ns() - begun_ns) / 1e6, 3)}
            if nonce:
                self._told[nonce] = (asked, answer)
                while len(self._told) > REMEMBERED:
                    self._told.popitem(last=False)
            return answer

    async def release(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises Refused."""
        name, by = str(request["command"]), _text(request, "by")
        async with self._lock(name):
            lease = self.leases.get(name)
            if lease is None:
                raise Refused("CG-6132", f"{name} is under no command", f"{name} 에 유효한 명령이 없습니다")
            self.leases.note(replace(lease, step=Step.FALLING, until_ns=min(lease.until_ns, self._now_ns())))
            self._tries.pop(name, None)
            written = await self._fall(name, by)
        if written is None or written.quality != Quality.GOOD:
            why = written.detail if written is not None else ""
            raise Refused(
                "CG-6129",
                f"{name} could not be put back to {lease.rest:g} yet ({why}); it is tried until it reads back",
                f"{name} 을(를) {lease.rest:g}(으)로 아직 되돌리지 못했습니다. 되읽힐 때까지 다시 시도합니다",
            )
        return {"point": name, "value": written.value, "rest": lease.rest}

    @asynccontextmanager
    async def by_hand(self, name: str, by: str = "technician") -> AsyncIterator[Callable[[], None]]:
        """Somebody at the cabinet writes the point: call what is given when the device took it. Their value stays, and
        the lease is over."""
        taken = False

        def took() -> None:
            nonlocal taken
            taken = True

        async with self._lock(name):
            yield took
            lease = self.leases.get(name)
            if taken and lease is not None:
                self.leases.forget(name)
                self._settled(lease)
                await self._save()
                await self._audit("command ended by hand", by, _facts(lease))

    def _checked(self, name: str, value: float, lease_s: float) -> tuple[Channel, Point]:
        """Raises Refused."""
        channel = self._channels.get(name)
        if channel is None:
            raise Refused("CG-6120", f"no point is called {name}", f"{name} 포인트가 없습니다")
        if not self.allows(name):
            raise Refused(
                "CG-6121",
                f"the site does not allow commands to {name}: [agent].commands lists what it allows",
                f"사이트가 {name} 명령을 허용하지 않습니다. [agent].commands 에 추가해야 합니다",
            )
        point = self._points.get(channel.index)
        if point is None or point.writable is None:
            raise Refused(
                "CG-6122", f"{name} is not writable in its profile", f"{name} 은(는) 프로파일에 writable 이 없습니다"
            )
        low, high = point.writable
        if not low <= value <= high:
            raise Refused(
                "CG-6123",
                f"{value:g} is not within {low:g} to {high:g} of {name}",
                f"{name} 의 허용 범위는 {low:g}~{high:g} 입니다 ({value:g})",
            )
        longest_s = self._rules.longest_lease_s
        if not SHORTEST_S <= lease_s <= longest_s:
            raise Refused(
                "CG-6124",
                f"a lease is {SHORTEST_S:g} to {longest_s:g} s here, not {lease_s:g}",
                f"유지 시간은 {SHORTEST_S:g}~{longest_s:g}초입니다 ({lease_s:g})",
            )
        if self._is_maintained(channel.device):
            raise Refused(
                "CG-6125",
                f"{channel.device} is under maintenance: somebody is at work there",
                f"{channel.device} 은(는) 점검 중입니다. 현장 작업자가 있습니다",
            )
        return channel, point

    def _check_rate(self, name: str) -> None:
        """Raises Refused. Less than one a minute is one in so many minutes."""
        most, window_s = max(1, int(self._rules.a_minute)), 60.0 * max(1.0, 1.0 / self._rules.a_minute)
        sent, now_ns = self._sent.setdefault(name, deque()), self._now_ns()
        while sent and now_ns - sent[0] >= window_s * 1e9:
            sent.popleft()
        if len(sent) >= most:
            wait_s = math.ceil(window_s - (now_ns - sent[0]) / 1e9)
            raise Refused(
                "CG-6126",
                f"{name} takes {self._rules.a_minute:g} commands a minute; the next in {wait_s} s",
                f"{name} 은(는) 분당 {self._rules.a_minute:g}회까지입니다. {wait_s}초 후 다시 시도하십시오",
            )
        sent.append(now_ns)

    async def _carry_out(self, channel: Channel, point: Point, value: float, lease_s: float, by: str) -> dict[str, Any]:
        """Under the point's lock. Raises Refused."""
        name, before = channel.name, self.leases.get(channel.name)
        runner = self._links[self._plan.device(channel.device).link]
        if self._closed or not runner.up:
            why = runner.fault or "it is closed"
            raise Refused(
                "CG-6137",
                f"the link of {name} is down ({why}); nothing was written",
                f"{name} 의 통신선이 끊어져 있습니다. 아무것도 쓰지 않았습니다",
            )
        rest = before.rest if before is not None else await self._resting(channel, point)
        now_ns = self._now_ns()
        lease = Lease(name, value, rest, now_ns, now_ns + round(lease_s * 1e9), by)
        try:
            async with self._disk:
                await asyncio.to_thread(self.leases.put, lease)
        except OSError as refused:
            raise Refused(
                "CG-6128",
                f"the lease cannot be kept ({refused.strerror or refused}); nothing was written to the device",
                f"명령을 저장할 수 없습니다 ({refused.strerror or refused}). 장치에는 쓰지 않았습니다",
            ) from refused
        written = await self._write(channel, value)
        quality = Quality(written.quality)
        said = {"point": name, "asked": value, "lease_s": lease_s, "rest": rest, "quality": quality.name.lower()}
        said |= {"value": None if math.isnan(written.value) else written.value, "detail": written.detail}
        if quality == Quality.GOOD:
            self.leases.note(replace(lease, step=Step.HELD))
            self._settled(lease)
        elif quality in UNTOUCHED:
            if before is None:
                self.leases.forget(name)
            else:
                self.leases.note(before if before.step is not Step.PENDING else replace(before, step=Step.FALLING))
        else:
            self.leases.note(replace(lease, step=Step.FALLING))
        await self._save()
        self._wake.set()
        said |= await self._audit("command", by, said)
        if quality == Quality.GOOD:
            return said
        after = "" if quality in UNTOUCHED else f"; it is put back to {rest:g}"
        after_ko = "" if quality in UNTOUCHED else f". {rest:g}(으)로 되돌립니다"
        said["code"] = "CG-6127"
        said["error"] = f"{name} did not take {value:g} ({written.detail or quality.name.lower()}){after}"
        said["error_ko"] = f"{name} 에 {value:g} 을(를) 쓰지 못했습니다 ({quality.name.lower()}){after_ko}"
        return said

    async def _resting(self, channel: Channel, point: Point) -> float:
        """What the point goes back to. Raises Refused where nobody could say."""
        if point.rest is not None:
            return point.rest
        value, why = await self._read(channel)
        low, high = point.writable or (math.inf, -math.inf)
        if not low <= value <= high:
            raise Refused(
                "CG-6133",
                f"{channel.name} has nothing to go back to: {why or f'it shows {value:g}, which cannot be written'}, "
                "and its profile declares no rest",
                f"{channel.name} 의 복귀 값을 알 수 없습니다 ({why or f'{value:g}'}). 프로파일에 rest 가 없습니다",
            )
        return value

    # -- devices

    async def _read(self, channel: Channel) -> tuple[float, str]:
        """What the point shows now, NaN with the reason."""
        plan = next(link for link in self._plan.links if link.link.name == self._plan.device(channel.device).link)
        ops = [op for op in plan.ops if channel.index in op.channels]
        if not ops:
            return math.nan, "it cannot be read"
        runner = self._links[plan.link.name]
        if runner.reader is not None and not isinstance(runner.reader, Writer):
            return math.nan, f"{plan.driver} devices are only read"

        async def work(reader: Reader[Any]) -> tuple[float, str]:
            batch = await reader.read(ops, plan.timeout_s)
            for row, value, quality in zip(batch.channel, batch.value, batch.quality, strict=True):
                if int(row) == channel.index:
                    good = int(quality) < Quality.SENTINEL
                    return (float(value), "") if good else (math.nan, Quality(int(quality)).name.lower())
            return math.nan, "it does not answer"

        try:
            return await runner.errand(work)
        except LinkDown as down:
            return math.nan, str(down)

    async def _write(self, channel: Channel, value: float) -> Written:
        return await self._links[self._plan.device(channel.device).link].write(channel.index, value)

    # -- what is over

    async def run(self, stop: asyncio.Event) -> None:
        """Put back what is over, until `stop`. A device that does not answer holds up no other."""
        for one in self._lost:
            log.error("CG-6134 %s is gone from the site while under a command: %s stays on it", one.point, one.value)
            await self._audit("command lost", one.by, _facts(one))
        stopping = asyncio.ensure_future(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self.turn()
                wait_s = self._wait_s()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            if self._falling:
                await asyncio.wait(self._falling.values(), timeout=STOP_S)
        finally:
            stopping.cancel()
            for task in self._falling.values():
                task.cancel()
            async with self._disk:  # whoever comes next has the file
                self._closed = True

    async def turn(self) -> None:
        """Begin to put back what is due, and write what the disk refused."""
        now_ns = self._now_ns()
        for one in self.leases.due(now_ns):
            if one.point not in self._falling and self._tries.get(one.point, (0, now_ns))[1] <= now_ns:
                task = asyncio.get_running_loop().create_task(self._end(one.point), name=f"rest {one.point}")
                self._falling[one.point] = task
                task.add_done_callback(lambda done, name=one.point: self._ended(name, done))  # type: ignore[misc]
        if self.leases.changed:
            await self._save()

    async def settle(self) -> None:
        """Until nothing is being put back."""
        while self._falling:
            await asyncio.wait(self._falling.values())
            await asyncio.sleep(0)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()
        self._falling.pop(name, None)
        self._wake.set()

    def _wait_s(self) -> float:
        now_ns = self._now_ns()
        waits = [at - now_ns for name, (_, at) in self._tries.items() if name not in self._falling]
        if (next_ns := self.leases.next_ns()) is not None:
            waits.append(next_ns - now_ns)
        if self.leases.changed:
            waits.append(1_000_000_000)
        return max(0.01, min([60.0, *(wait / 1e9 for wait in waits)]))

    async def _end(self, name: str) -> None:
        async with self._lock(name):
            lease = self.leases.get(name)
            if lease is None or lease not in self.leases.due(self._now_ns()):
                return
            try:
                await self._fall(name, lease.by)
            except Exception:  # ours; the point must still be put back
                log.exception("%s is tried again", name)
                self._tries[name] = (self._tries.get(name, (0, 0))[0] + 1, self._now_ns() + round(RETRY_S[-1] * 1e9))

    async def _fall(self, name: str, by: str) -> Written | None:
        """Write the resting value once, under the point's lock. Does not wait for a disk that refuses."""
        lease = self.leases.get(name)
        if lease is None:
            return None
        if lease.step is not Step.FALLING:
            self.leases.note(replace(lease, step=Step.FALLING))
        if self.leases.changed:  # a restart must not take for held what was given up
            await self._save()
        written = await self._write(self._channels[name], lease.rest)
        failed = self._tries.get(name, (0, 0))[0]
        if written.quality == Quality.GOOD:
            self.leases.forget(name)
            self._settled(lease)
            await self._save()
            await self._audit("command over", by, _facts(lease) | {"read_back": written.value})
            return written
        wait_s = RETRY_S[min(failed, len(RETRY_S) - 1)]
        self._tries[name] = (failed + 1, self._now_ns() + round(wait_s * 1e9))
        if f"{STUCK}|{name}" not in self._standing:
            self._tell(name, lease, Phase.ONSET, written.detail or Quality(written.quality).name.lower())
            await self._audit("command stuck", by, _facts(lease) | {"detail": written.detail})
        return written

    def _settled(self, lease: Lease) -> None:
        """Its point is where it should be."""
        self._tries.pop(lease.point, None)
        if f"{STUCK}|{lease.point}" in self._standing:
            self._tell(lease.point, lease, Phase.CLEAR, "")

    def _tell(self, name: str, lease: Lease, phase: Phase, why: str) -> None:
        channel, now_ns = self._channels[name], self._now_ns()
        told = self._standing.get(f"{STUCK}|{name}")
        onset_ns = told.onset_ns if told is not None else now_ns
        numbers: dict[str, float | str] = {"value": lease.value, "rest": lease.rest, "why": why or "-"}
        place = self._plan.device(channel.device).place
        self._emit([event(STUCK, phase, name, place, time_ns=now_ns, onset_ns=onset_ns, numbers=numbers)])

    # -- what is kept

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock()) if name in self._channels else asyncio.Lock()

    async def _save(self) -> None:
        """What is known, to the disk; what it refuses is tried again with a later turn."""
        try:
            async with self._disk:
                if not self._closed:
                    await asyncio.to_thread(self.leases.write)
        except OSError as refused:
            self.leases.changed = True
            log.error("CG-6135 %s is not written (%s)", FILE, refused.strerror or refused)

    async def _audit(self, what: str, by: str, facts: Mapping[str, Any]) -> dict[str, str]:
        """Nothing, or why it is not in the file."""
        try:
            await asyncio.to_thread(audit.append, self._state, what, by, facts)
        except OSError as refused:
            log.error("CG-5142 %s is not in the audit file (%s)", what, refused.strerror or refused)
            return {"unaudited": f"CG-5142 {refused.strerror or refused}"}
        return {}


def _facts(lease: Lease) -> dict[str, Any]:
    return {"point": lease.point, "value": lease.value, "rest": lease.rest, "by": lease.by}


def _pattern(words: str) -> re.Pattern[str]:
    """`*` stands for any name, on either side of the dot."""
    return re.compile(re.escape(words).replace(r"\*", r"[^.]*"))


def _number(request: Mapping[str, Any], key: str) -> float:
    """Raises Refused."""
    found = request.get(key)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        raise Refused("CG-6136", f"{key} must be a number", f"{key} 은(는) 숫자여야 합니다")
    return float(found)


def _text(request: Mapping[str, Any], key: str) -> str:
    return str(request.get(key) or "")[:TEXT_MOST]

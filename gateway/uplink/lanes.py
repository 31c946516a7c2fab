"""One upstream: what the spool holds for it goes out. Alarms as datagrams on a port of their own, one message each;
the rest on another port, a backlog of it in bulk over a connection (`bulk`). A record is forgotten only when the center
says that it is stored (2.04, after its commit).

In: records of the spool, hints that there are new ones. Out: messages, acknowledgements in the spool, one log line a
change of state. Nothing is lost on any answer: a message that is refused again and again is set aside and declared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from gateway.spool.records import Lane, Record
from gateway.spool.spool import IN_THE_AIR, Spool
from gateway.spool.trouble import SpoolError
from gateway.uplink import parcel
from gateway.uplink.budget import Budget
from gateway.uplink.bulk import UNKNOWN_HERE, Bulk
from gateway.uplink.columns import Columns
from gateway.uplink.link import StreamPort
from gateway.uplink.parcel import Packed, Parcel
from gateway.uplink.port import Port
from gateway.uplink.source import Source
from gateway.uplink.sparing import Clock, Sparing
from gateway.uplink.way import Answer, Kind, Way, backoff_s
from gateway.wire import bundle, hello, pack

log = logging.getLogger("citygate.uplink")

POLL_S = 1.0
SPOOL_RETRY_S = 5.0  # while the disk refuses
USABLE = "the spool can be used again / 스풀을 다시 사용할 수 있습니다"
REFUSALS = 3
AT_ONCE = 8  # records taken from the spool together
ALARMS_AT_ONCE = 8
DEEP = 24  # records of a lane that are a backlog: worth a connection
NO_STREAM_S = 2.0  # a center that took no connection is asked again after this, then after twice that ...
NO_STREAM_MOST_S = 900.0
KEPT_SHARE = 0.8  # of a promise: then something is said, even if there is nothing to say
FULL = 2048  # records at the center that the spool cannot forget: no more are sent in bulk

# acknowledged records that may wait to be forgotten while the disk refuses; the spool may evict any but the oldest
# summaries, and what has arrived must not be declared lost
KNOWN_AT_MOST = {Lane.ALARM: 256, Lane.SUMMARY: IN_THE_AIR - AT_ONCE, Lane.DIAGNOSTIC: IN_THE_AIR - AT_ONCE}

T = TypeVar("T")

_STATES = {
    Kind.STORED: (logging.INFO, "", "stores again", "다시 저장합니다"),
    Kind.REFUSED: (
        logging.WARNING,
        "CG-4103 ",
        "refuses a message; it is set aside and declared as a gap, compare the releases of both ends",
        "메시지를 거부했습니다. 해당 기록은 누락으로 신고됩니다. 양쪽 버전을 확인하십시오",
    ),
    Kind.STRANGER: (
        logging.ERROR,
        "CG-4102 ",
        "does not accept our credentials; enrol again (citygate enrol) or install the same context at both ends",
        "자격 증명을 인정하지 않습니다. 다시 등록하거나(citygate enrol) 양쪽에 같은 자격 증명을 설치하십시오",
    ),
    Kind.BUSY: (
        logging.WARNING,
        "CG-4104 ",
        "cannot store now; everything is kept here and sent later, look at the center's disk and log",
        "지금은 저장할 수 없습니다. 모두 보관했다가 다시 보냅니다. 센터의 디스크와 로그를 확인하십시오",
    ),
    Kind.ODD: (
        logging.WARNING,
        "CG-4105 ",
        "answers what no center answers; check the address",
        "센터가 아닌 응답입니다. 주소를 확인하십시오",
    ),
    Kind.DEAD: (
        logging.WARNING,
        "CG-4101 ",
        "cannot be reached; everything is kept here and sent later, check the network and `uri` in the site file",
        "연결할 수 없습니다. 모두 보관했다가 다시 보냅니다. 네트워크와 사이트 파일의 uri를 확인하십시오",
    ),
}


class Lanes:
    """The two senders of one upstream. `spool` calls run in `executor`, one at a time."""

    def __init__(
        self, way: Way, spool: Callable[[], Spool], executor: Executor, *,
        columns: Columns | None = None, budget: Budget | None = None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        """`columns`: windows go in this private form. `budget`: what the way may carry, made with `clock`."""
        self._way = way
        self._columns = columns
        self._sparing = Sparing(way, spool, budget, clock or Clock()) if budget else None
        self._spool = spool
        self._executor = executor
        self._state = Kind.STORED
        self._refused: dict[tuple[int, str, int], int] = {}
        self._known: dict[Lane, set[tuple[str, int]]] = {lane: set() for lane in Lane}  # at the center, still here
        self._trouble = ""
        self._wake = {Lane.ALARM: asyncio.Event(), Lane.SUMMARY: asyncio.Event()}
        self._no_stream = 0  # tries in a row
        self._stream_again_s = 0.0  # time.monotonic
        self._bulk = Bulk(
            way,
            self._do,
            lambda: Source(spool, way.name, self._is_known, lambda: not self._holds_history()),
            self._pack,
            self._settle,
            self._greeting,
            self._is_full,
        )

    @property
    def state(self) -> str:
        """What the last message met, as `Kind` says."""
        return self._state.value

    def hint(self, alarm: bool) -> None:
        if alarm:
            self._wake[Lane.ALARM].set()
            self._bulk.calm.clear()
        self._wake[Lane.SUMMARY].set()
        self._bulk.news.set()

    async def run(self) -> None:
        """Until cancelled."""
        ports = [StreamPort(self._way) if self._way.streams_only else Port(self._way) for _ in range(3)]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_alarms(ports[0]))
                group.create_task(self._send((Lane.DIAGNOSTIC, Lane.SUMMARY), ports[1]))
                group.create_task(self._keep_promise(ports[2]))
                if self._sparing is not None:
                    group.create_task(self._sparing.watch(self._do))
        finally:
            for port in ports:
                await port.close()
            if self._sparing is not None:
                self._sparing.close()

    async def _send_alarms(self, port: Port | StreamPort) -> None:
        """Each at once, however many are on their way; all of them stop where one finds the way shut."""
        wake, flying = self._wake[Lane.ALARM], dict[asyncio.Task[Answer], Parcel]()
        failures = 0
        try:
            while True:
                await self._way.open.wait()
                wake.clear()
                try:
                    await self._forget(Lane.ALARM)
                    taken = {(one.record.boot, one.record.seq) for sent in flying.values() for one in sent.packed}
                    for sent in await self._do(self._take, Lane.ALARM, ALARMS_AT_ONCE - len(flying), taken):
                        flying[asyncio.get_running_loop().create_task(port.send(sent.path, sent.payload))] = sent
                    await asyncio.sleep(0)  # they are on the line
                    if not wake.is_set():
                        self._bulk.calm.set()
                    worst = await self._land(flying, wake)
                except SpoolError as bad:
                    self._note_spool(bad)
                    await asyncio.sleep(min(SPOOL_RETRY_S, backoff_s(failures := failures + 1)))
                    continue
                if worst is None:
                    failures = 0
                    continue
                while flying:
                    await self._land(flying, asyncio.Event())
                if worst.kind is Kind.DEAD:
                    await self._way.shut()
                else:
                    failures += 1
                    await asyncio.sleep(max(backoff_s(failures), worst.wait_s))
        finally:
            for task in flying:
                task.cancel()

    async def _land(self, flying: dict[asyncio.Task[Answer], Parcel], wake: asyncio.Event) -> Answer | None:
        """Wait for answers, or news; the last answer that is none of those hoped for."""
        waking = asyncio.get_running_loop().create_task(wake.wait())
        try:
            await asyncio.wait((waking, *flying), timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
        worst = None
        for task in [task for task in flying if task.done()]:
            sent, answer = flying.pop(task), task.result()
            await self._settle(sent, answer)
            worst = worst if answer.kind is Kind.STORED else answer
        return worst

    async def _send(self, lanes: Sequence[Lane], port: Port | StreamPort) -> None:
        wake = self._wake[lanes[-1]]
        failures = 0
        while True:
            await self._way.open.wait()
            wake.clear()
            try:
                answer = await self._bulk_round(lanes) or await self._round(lanes, port)
            except SpoolError as bad:
                self._note_spool(bad)
                await asyncio.sleep(min(SPOOL_RETRY_S, backoff_s(failures := failures + 1)))
                continue
            if answer is None:
                await _sleep_until(wake, POLL_S)
            elif answer.kind is Kind.STORED:
                failures = 0
            elif answer.kind is Kind.DEAD:
                await self._way.shut()
                self._stream_again_s = 0.0
            else:
                failures += 1
                await asyncio.sleep(max(backoff_s(failures), answer.wait_s))

    async def _bulk_round(self, lanes: Sequence[Lane]) -> Answer | None:
        """Drain a backlog. None when there is none, or when datagrams must do."""
        way = self._way
        wanted = way.bulk != "datagram" and way.bundles and Lane.ALARM not in lanes
        if not wanted or self._holds_history() or not await self._do(self._is_deep, lanes):
            return None
        for lane in lanes:
            await self._forget(lane)
        if self._is_full():
            return Answer(Kind.BUSY)
        if time.monotonic() < self._stream_again_s:
            return None
        answer = await self._bulk.drain()
        if answer.kind is Kind.NO_STREAM:
            self._no_stream += 1
            if self._no_stream == 1:
                log.info("center %s takes no connection (%s)", way.name, answer.detail)
            if way.bulk == "tcp":
                return answer
            wait_s = min(NO_STREAM_MOST_S, NO_STREAM_S * 2 ** min(self._no_stream - 1, 10))
            self._stream_again_s = time.monotonic() + wait_s
            return None
        self._no_stream = 0
        if answer.kind is Kind.CUT:
            log.info("center %s: the connection broke (%s)", way.name, answer.detail)
        return answer if way.bundles else None

    async def _keep_promise(self, port: Port | StreamPort) -> None:
        """Say hello after a start, and whenever nothing else would be heard in time."""
        way = self._way
        while way.hellos:
            await way.open.wait()
            due_s = way.heard_s + KEPT_SHARE * way.promise_s
            if (left_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
                continue
            answer = await port.send(hello.PATH, await self._do(self._greeting))
            if answer.kind is Kind.REFUSED and answer.code in UNKNOWN_HERE:
                way.hellos = False
                return
            self._note(answer)
            if answer.kind is Kind.DEAD:
                await way.shut()
            elif answer.kind is not Kind.STORED:
                await asyncio.sleep(max(backoff_s(9), answer.wait_s))

    async def _round(self, lanes: Sequence[Lane], port: Port | StreamPort) -> Answer | None:
        """Send what there is, at most one take of each lane. None when there was nothing; else the last answer."""
        last: Answer | None = None
        for lane in lanes:
            await self._forget(lane)
            try:
                waiting = await self._do(self._take, lane, AT_ONCE)
                while waiting:
                    sent = waiting.pop(0)
                    answer = await port.send(sent.path, sent.payload, sent.content_format)
                    if sent.is_bundle and answer.kind is Kind.REFUSED:
                        self._way.bundles = self._way.bundles and answer.code not in UNKNOWN_HERE
                        waiting[:0] = map(parcel.alone, sent.packed)
                        continue
                    last = answer if last is None or answer.kind is not Kind.STORED else last
                    await self._settle(sent, answer, AT_ONCE)
                    if answer.kind not in (Kind.STORED, Kind.REFUSED):
                        return answer
            finally:
                await asyncio.shield(self._forget(lane))
        return last

    async def _settle(self, sent: Parcel, answer: Answer, forget_at: int = 1) -> list[Packed]:
        """What an answer means for the records it is about; gives back those that must be sent again. The spool forgets
        `forget_at` records together."""
        if answer.kind is Kind.REFUSED:
            return await self._refusals([(one, answer.detail) for one in sent.packed], answer)
        self._note(answer)
        if answer.kind is not Kind.STORED:
            return []
        try:
            refused = bundle.decode_refusals(answer.payload, len(sent.packed)) if sent.is_bundle else {}
        except ValueError:
            refused = {}
        for index, one in enumerate(sent.packed):
            if index not in refused:
                self._known[one.record.lane].add((one.record.boot, one.record.seq))
                if self._columns is not None:
                    self._columns.stored(one)
        again = await self._refusals([(sent.packed[index], why) for index, why in refused.items()], answer)
        for lane in {one.record.lane for one in sent.packed}:
            if lane is Lane.ALARM or len(self._known[lane]) >= forget_at:
                await self._forget(lane)
        return again

    async def _refusals(self, refused: Sequence[tuple[Packed, str]], answer: Answer) -> list[Packed]:
        """Packs with the center's words; gives back those to be sent again, in another form where it was the form."""
        again: list[Packed] = []
        formed: list[Record] = []
        for one, words in refused:
            if self._columns is not None and self._columns.is_about_form(one, answer.code, words):
                formed.append(one.record)
                continue
            if answer.kind is Kind.REFUSED:
                self._note(answer)
            if not await self._refuse(one.record, words):
                again.append(one)
        return again + (await self._do(self._pack, formed) if formed else [])

    def _is_deep(self, lanes: Sequence[Lane]) -> bool:
        most = 1 if self._way.bulk == "tcp" else DEEP
        return any(self._spool().waiting(self._way.name, lane, most) >= most for lane in lanes)

    def _holds_history(self) -> bool:
        return self._sparing is not None and self._sparing.holds_history

    def _is_known(self, record: Record) -> bool:
        return (record.boot, record.seq) in self._known[record.lane]

    def _is_full(self) -> bool:
        return sum(map(len, self._known.values())) >= FULL

    def _take(self, lane: Lane, limit: int, flying: Collection[tuple[str, int]] = ()) -> list[Parcel]:
        """Records as messages, those excepted that the center has or is being told (boot, number): alarms one by one,
        the rest together."""
        spool, known = self._spool(), self._known[lane]
        if limit <= 0 or len(known) >= KNOWN_AT_MOST[lane]:
            return []
        most = limit + len(known) + len(flying)
        if self._sparing is not None and self._sparing.holds(lane):
            records = self._sparing.take(lane, most, settled=not known)
        else:
            records = spool.take(self._way.name, lane, most)
        fresh = [one for one in records if not self._is_known(one) and (one.boot, one.seq) not in flying]
        packed = self._pack(fresh[:limit])
        if lane is Lane.ALARM or not self._way.bundles:
            return [parcel.alone(one) for one in packed]
        return parcel.within(packed, pack.MAX_PAYLOAD, self._way.promise_s)

    def _pack(self, records: Sequence[Record]) -> list[Packed]:
        """One that cannot be encoded is set aside."""
        spool, out = self._spool(), list[Packed]()
        told: set[bytes] = set()
        promise_s = round(self._way.promise_s)

        def offset_of(boot: str) -> int | None:
            return _offset(spool, boot)

        for record in records:
            catalog = spool.catalog(record.catalog)
            try:
                if catalog is None:
                    raise ValueError("its catalog is missing")
                if self._columns is not None and self._columns.fits(record):
                    out.append(self._columns.pack(record, catalog, offset_of, told, next_s=promise_s))
                else:
                    out.append(Packed(record, *pack.encode(record, catalog, offset_of, next_s=promise_s)))
            except ValueError as bad:
                lane = record.lane
                log.error("upstream %s: CG-2006 record %s/%d set aside: %s", self._way.name, lane.name, record.seq, bad)
                spool.refuse(record.upstream, lane, record.boot, record.seq, "damaged")
        return out

    def _greeting(self) -> bytes:
        way, boot = self._way, self._spool().boot or "00" * 8
        said = hello.Hello(way.promise_s, way.shares, way.role)
        return hello.encode(way.gateway, boot, way.name, int(time.time()), said)

    async def _refuse(self, record: Record, why: str) -> bool:
        """Three times refused is set aside, so that it does not hold up the others; true then."""
        key = (int(record.lane), record.boot, record.seq)
        times = self._refused[key] = self._refused.get(key, 0) + 1
        if times < REFUSALS:
            return False
        del self._refused[key]
        log.error("upstream %s: CG-4103 %s %d set aside: %s", self._way.name, record.lane.name, record.seq, why)
        await self._do(self._spool().refuse, record.upstream, record.lane, record.boot, record.seq, why)
        return True

    async def _forget(self, lane: Lane) -> None:
        """Acknowledge in the spool what the center has. While the disk refuses that, it is remembered here and not sent
        again."""
        known = self._known[lane]
        try:
            for boot in sorted({boot for boot, _ in known}):
                seqs = [seq for its, seq in known if its == boot]
                await self._do(self._spool().ack, self._way.name, lane, boot, seqs)
                known -= {(boot, seq) for seq in seqs}
                self._note_spool(None)
        except SpoolError as bad:
            self._note_spool(bad)

    def _note_spool(self, bad: SpoolError | None) -> None:
        """Said once."""
        code = bad.code if bad else ""
        if code != self._trouble:
            self._trouble = code
            log.log(logging.ERROR if bad else logging.WARNING, "upstream %s: %s", self._way.name, bad or USABLE)

    def _note(self, answer: Answer) -> None:
        if answer.kind is self._state or answer.kind not in _STATES:
            return
        self._state = answer.kind
        level, code, en, ko = _STATES[answer.kind]
        detail = f" ({answer.detail})" if answer.detail else ""
        log.log(level, "%scenter %s %s%s / %s", code, self._way.name, en, detail, ko)

    async def _do(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)


def _offset(spool: Spool, boot: str) -> int | None:
    """A boot whose clock was never entered counts from this machine's clock now, if it is the running one."""
    known = spool.boot_offset(boot)
    if known is not None:
        return known[0]
    if boot == spool.boot:
        return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return None


async def _sleep_until(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return

"""One oneM2M platform: what the spool holds for it becomes contentInstances there, over CoAP (TS-0008).

In: records of the spool, hints that there are new ones. Out: CREATE requests, acknowledgements in the spool, one log
line a change of state. A record is forgotten when each of its instances was created, or was there already under its own
name.

Summaries go oldest first, unlike to a center of ours: a platform shows the latest instance of a container, and it must
never step back. Alarms go at once from a socket of their own, those of one subject in their order. The AE and the
containers are made when an instance finds none to be put into, so a platform that lost its tree gets it again.

Messages are our own (`wire.coap`, `Port`): the library keeps one confirmable request in flight a peer and knows a fixed
time-out. Platforms need not answer a CoAP ping, so a way that was dead is tried with the next record.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from gateway.site.upstream import Upstream
from gateway.spool.records import Event, Lane, Record
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError
from gateway.uplink import onem2m_request as request
from gateway.uplink.onem2m_content import Instance, instances
from gateway.uplink.onem2m_request import Status
from gateway.uplink.port import Port
from gateway.uplink.way import Kind, Way, backoff_s
from gateway.wire.coap import Message

log = logging.getLogger("citygate.uplink")

POLL_S = 1.0
PAUSE_S = 2.0  # at most, before a dead way is tried again
SPOOL_RETRY_S = 5.0
REFUSALS = 3
IN_FLIGHT = 8  # instances, of one record; alarms, of all
TAKEN = 16  # records taken from the spool together; it leaves so many of the oldest as they are
GOOD = (Status.CREATED, Status.EXISTS)
UNPLACED = (Status.ORPHAN, Status.STRANGER)  # some platforms say that a stranger may not, where nobody is registered

T = TypeVar("T")

_WORDS: dict[Status | None, tuple[int, str, str, str]] = {
    Status.CREATED: (logging.INFO, "", "takes instances again", "다시 저장합니다"),
    Status.ORPHAN: (
        logging.ERROR,
        "CG-4105 ",
        "has no such CSEBase; the path of `uri` in the site file is its name",
        "해당 CSEBase가 없습니다. 사이트 파일의 uri 경로에 CSEBase 이름을 쓰십시오",
    ),
    Status.STRANGER: (
        logging.ERROR,
        "CG-4102 ",
        "does not let this originator in; register `onem2m.originator` there, or correct it in the site file",
        "이 originator를 허용하지 않습니다. 플랫폼에 등록하거나 사이트 파일의 onem2m.originator를 고치십시오",
    ),
    Status.REFUSED: (
        logging.ERROR,
        "CG-4103 ",
        "refuses to have the gateway's containers made",
        "게이트웨이 컨테이너 생성을 거부했습니다",
    ),
    Status.BUSY: (
        logging.WARNING,
        "CG-4104 ",
        "cannot store now; everything is kept here and sent later",
        "지금은 저장할 수 없습니다. 모두 보관했다가 다시 보냅니다",
    ),
    Status.ODD: (
        logging.WARNING,
        "CG-4105 ",
        "answers what no oneM2M platform answers; check the address",
        "oneM2M 플랫폼이 아닌 응답입니다. 주소를 확인하십시오",
    ),
    None: (
        logging.WARNING,
        "CG-4101 ",
        "cannot be reached; everything is kept here and sent later, check the network and `uri` in the site file",
        "연결할 수 없습니다. 모두 보관했다가 다시 보냅니다. 네트워크와 사이트 파일의 uri를 확인하십시오",
    ),
}


class Dead(Exception):
    """No answer."""


class Instances:
    """The two senders of one upstream. `spool` calls run in `executor`, one at a time."""

    def __init__(self, way: Way, upstream: Upstream, spool: Callable[[], Spool], executor: Executor) -> None:
        how = upstream.onem2m
        self._how = replace(how, originator=how.originator or f"C{way.gateway}")
        self._way = way
        self._spool = spool
        self._executor = executor
        self._wake = {True: asyncio.Event(), False: asyncio.Event()}
        self._placing = asyncio.Lock()
        self._places: set[tuple[str, ...]] = set()  # made or found since the platform was last seen without them
        self._session = secrets.token_hex(4)
        self._requests = itertools.count(1)
        self._refused: dict[tuple[Lane, str, int], int] = {}
        self._state: Status | None = Status.CREATED
        self._why = ""  # the last refusal
        self._trouble = ""

    @property
    def state(self) -> str:
        """What the last message met, in the words of `gateway.uplink.way.Kind`."""
        if self._state is None:
            return Kind.DEAD.value
        return Kind.STORED.value if self._state is Status.CREATED else self._state.value

    def hint(self, alarm: bool) -> None:
        self._wake[alarm].set()

    async def run(self) -> None:
        """Until cancelled."""
        ports = Port(self._way), Port(self._way)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._loop(self._alarms, ports[0], self._wake[True]))
                group.create_task(self._loop(self._rest, ports[1], self._wake[False]))
        finally:
            for port in ports:
                await port.close()

    async def _loop(self, turn: Callable[[Port], Any], port: Port, wake: asyncio.Event) -> None:
        """`turn` sends what there is and says how that went, None where there was nothing."""
        failures = 0
        while True:
            wake.clear()
            try:
                status = await turn(port)
            except Dead as bad:
                self._note(None, str(bad))
                await port.close()  # the next one goes from a new port, in case this one is what is broken
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_S):
                        await self._way.shut()
                continue
            except SpoolError as bad:
                self._note_spool(bad)
                failures += 1
                await asyncio.sleep(min(SPOOL_RETRY_S, backoff_s(failures)))
                continue
            self._note_spool(None)
            if status in GOOD:
                failures = 0
            elif status is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await wake.wait()
            else:
                failures += 1
                await asyncio.sleep(backoff_s(failures))

    async def _alarms(self, port: Port) -> Status | None:
        """Each at once, however many are on their way. One that goes ill ends the turn when the others have landed."""
        wake, flying = self._wake[True], dict[asyncio.Task[Status], Record]()
        worst: Status | None = None
        try:
            while True:
                wake.clear()
                if worst is None or worst in GOOD:
                    found = await self._do(self._take, Lane.ALARM, 4 * IN_FLIGHT)
                    for record in _startable(found, flying.values()):
                        flying[asyncio.create_task(self._store(record, port))] = record
                if not flying:
                    return worst
                landed = await _first_of(flying, wake)
                for task in landed:
                    del flying[task]
                if landed:
                    worst = _worst(
                        [*([worst] if worst else []), _all([task.exception() or task.result() for task in landed])]
                    )
        finally:
            for task in flying:
                task.cancel()

    async def _rest(self, port: Port) -> Status | None:
        worst: Status | None = None
        for lane in (Lane.DIAGNOSTIC, Lane.SUMMARY):
            for record in await self._do(self._take, lane, TAKEN):
                worst = _worst([status for status in (worst, await self._store(record, port)) if status is not None])
                if worst not in (*GOOD, Status.REFUSED):
                    return worst
        return worst

    def _take(self, lane: Lane, limit: int) -> list[Record]:
        return self._spool().take(self._way.name, lane, limit)

    async def _store(self, record: Record, port: Port) -> Status:
        """One record, whole; forgotten here when it is there. Raises Dead, SpoolError."""
        try:
            made = await self._do(self._made, record)
        except ValueError as bad:
            log.error(
                "upstream %s: CG-2006 record %s/%d set aside: %s", self._way.name, record.lane.name, record.seq, bad
            )
            await self._do(self._spool().refuse, record.upstream, record.lane, record.boot, record.seq, "damaged")
            return Status.CREATED
        status = Status.CREATED
        for at in range(0, len(made), IN_FLIGHT):
            part = [asyncio.create_task(self._put(one, port)) for one in made[at : at + IN_FLIGHT]]
            results = await asyncio.gather(*part, return_exceptions=True)
            status = _worst([status, _all(results)])
            if status not in (*GOOD, Status.REFUSED):
                return status
        if status is Status.REFUSED:
            return await self._refuse(record)
        await self._do(self._spool().ack, self._way.name, record.lane, record.boot, [record.seq])
        return status

    def _made(self, record: Record) -> list[Instance]:
        spool = self._spool()
        catalog = spool.catalog(record.catalog)
        if catalog is None:
            raise ValueError("its catalog is missing")
        return instances(record, catalog, lambda boot: _offset(spool, boot))

    async def _put(self, one: Instance, port: Port) -> Status:
        """One instance, and the containers above it if they are missing. Raises Dead."""
        parent = (*self._way.prefix, self._way.gateway, *one.path)
        for first in (True, False):
            answer = await self._ask(request.instance(parent, one, self._how, self._number()), port)
            status = request.read(answer, request.CIN)
            if status not in UNPLACED or not first:
                break
            placed = await self._place(parent, status, port)
            if placed not in GOOD:
                return placed
        if status is Status.ORPHAN:
            status = Status.BUSY  # its container was there a moment ago
        if status is Status.REFUSED:
            self._why = request.said(answer)
        else:
            self._note(status, request.said(answer))
        return status

    async def _place(self, parent: tuple[str, ...], found: Status, port: Port) -> Status:
        """The AE and the containers down to `parent`, one asker at a time; what others made meanwhile is there."""
        known = frozenset(self._places)
        async with self._placing:
            if parent in self._places and parent not in known:
                return Status.EXISTS
            base = len(self._way.prefix)
            for depth in range(base + 1, len(parent) + 1):
                place = parent[:depth]
                if place in self._places and place not in known:
                    continue
                resource = request.AE if depth == base + 1 else request.CNT
                make = request.ae if resource == request.AE else request.container
                answer = await self._ask(make(place[:-1], place[-1], self._how, self._number()), port)
                status = request.read(answer, resource)
                if status not in GOOD:
                    self._note(status, request.said(answer))
                    return status
                if status is Status.CREATED:
                    log.info("upstream %s: made %s", self._way.name, "/".join(place))
                self._places.add(place)
        return Status.CREATED

    async def _ask(self, message: Message, port: Port) -> Message:
        try:
            answer = await port.ask(message)
        except (OSError, TimeoutError) as bad:
            raise Dead(f"{type(bad).__name__} {bad}".strip()) from bad
        self._way.failures = 0
        return answer

    async def _refuse(self, record: Record) -> Status:
        """Three times refused is set aside, so that it does not hold up the others."""
        key = record.lane, record.boot, record.seq
        times = self._refused[key] = self._refused.get(key, 0) + 1
        if times < REFUSALS:
            return Status.REFUSED
        del self._refused[key]
        log.error("upstream %s: CG-4103 %s %d set aside: %s", self._way.name, record.lane.name, record.seq, self._why)
        await self._do(self._spool().refuse, record.upstream, record.lane, record.boot, record.seq, "refused")
        return Status.CREATED

    def _number(self) -> str:
        """A request identifier: never the same twice, over restarts too."""
        return f"{self._session}-{next(self._requests)}"

    def _note(self, status: Status | None, detail: str) -> None:
        """Said once a change."""
        status = Status.CREATED if status in GOOD else status
        if status is self._state:
            return
        self._state = status
        level, code, en, ko = _WORDS[status]
        log.log(level, "%splatform %s %s (%s) / %s", code, self._way.name, en, detail, ko)

    def _note_spool(self, bad: SpoolError | None) -> None:
        code = bad.code if bad else ""
        if code != self._trouble:
            self._trouble = code
            words = bad or "the spool can be used again / 스풀을 다시 사용할 수 있습니다"
            log.log(logging.ERROR if bad else logging.WARNING, "upstream %s: %s", self._way.name, words)

    async def _do(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)


_BY_BADNESS = (
    Status.CREATED,
    Status.EXISTS,
    Status.REFUSED,
    Status.ORPHAN,
    Status.BUSY,
    Status.STRANGER,
    Status.ODD,
)


def _startable(found: Sequence[Record], flying: Collection[Record]) -> list[Record]:
    """Alarms that may go now, the oldest first: of those about the same, an end must not overtake its beginning."""
    known = {(record.boot, record.seq) for record in flying}
    busy = {_subject(record) for record in flying}
    ready: list[Record] = []
    for record in found:
        if (record.boot, record.seq) not in known and _subject(record) not in busy:
            ready.append(record)
            busy.add(_subject(record))
    return ready[: IN_FLIGHT - len(flying)]


def _subject(record: Record) -> str:
    return record.item.key if isinstance(record.item, Event) else ""


async def _first_of(tasks: Collection[asyncio.Task[Status]], wake: asyncio.Event) -> list[asyncio.Task[Status]]:
    """Those that are done when one is, or when there is news."""
    waking = asyncio.create_task(wake.wait())
    try:
        await asyncio.wait((waking, *tasks), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waking.cancel()
    return [task for task in tasks if task.done()]


def _all(results: Sequence[Status | BaseException]) -> Status:
    """The worst of what each came to; raises what one of them raised."""
    for one in results:
        if isinstance(one, BaseException):
            raise one
    return _worst([one for one in results if isinstance(one, Status)])


def _worst(found: Sequence[Status]) -> Status:
    return max(found, key=_BY_BADNESS.index)


def _offset(spool: Spool, boot: str) -> int | None:
    """A boot whose clock was never entered counts from this machine's clock now, if it is the running one."""
    known = spool.boot_offset(boot)
    if known is not None:
        return known[0]
    if boot == spool.boot:
        return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return None

"""One upstream: what the spool holds for it goes out, alarms on a port of their own, the rest on another. A record is
forgotten only when the center says it is stored (2.04, after its commit).

In: records of the spool, hints that there are new ones. Out: messages, acknowledgements in the spool, one log line a
change of state. Nothing is lost on any answer: a message that is refused again and again is set aside and declared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from gateway.spool.records import Lane, Record
from gateway.spool.spool import IN_THE_AIR, Spool
from gateway.spool.trouble import SpoolError
from gateway.uplink.way import Answer, Kind, Port, Way, backoff_s
from gateway.wire import pack

log = logging.getLogger("citygate.uplink")

POLL_S = 1.0
SPOOL_RETRY_S = 5.0  # while the disk refuses
USABLE = "the spool can be used again / 스풀을 다시 사용할 수 있습니다"
REFUSALS = 3
AT_ONCE = 8  # records taken from the spool together

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
        "does not accept our credentials; install the same context at both ends",
        "자격 증명을 인정하지 않습니다. 양쪽에 같은 자격 증명을 설치하십시오",
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

    def __init__(self, way: Way, spool: Callable[[], Spool], executor: Executor) -> None:
        self._way = way
        self._spool = spool
        self._executor = executor
        self._state = Kind.STORED
        self._refused: dict[tuple[int, str, int], int] = {}
        self._known: dict[Lane, set[tuple[str, int]]] = {lane: set() for lane in Lane}  # at the center, still here
        self._trouble = ""
        self._wake = {Lane.ALARM: asyncio.Event(), Lane.SUMMARY: asyncio.Event()}

    def hint(self, alarm: bool) -> None:
        if alarm:
            self._wake[Lane.ALARM].set()
        self._wake[Lane.SUMMARY].set()

    async def run(self) -> None:
        """Until cancelled."""
        ports = [Port(self._way), Port(self._way)]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send((Lane.ALARM,), ports[0], 1))
                group.create_task(self._send((Lane.DIAGNOSTIC, Lane.SUMMARY), ports[1], AT_ONCE))
        finally:
            for port in ports:
                await port.close()

    async def _send(self, lanes: Sequence[Lane], port: Port, at_once: int) -> None:
        wake = self._wake[lanes[-1]]
        failures = 0
        while True:
            await self._way.open.wait()
            wake.clear()
            try:
                answer = await self._round(lanes, port, at_once)
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
            else:
                failures += 1
                await asyncio.sleep(max(backoff_s(failures), answer.wait_s))

    async def _round(self, lanes: Sequence[Lane], port: Port, at_once: int) -> Answer | None:
        """Send what there is, at most `at_once` of each lane. None when there was nothing; else the last answer."""
        last: Answer | None = None
        for lane in lanes:
            known = self._known[lane]
            await self._forget(lane)
            try:
                for record, path, payload in await self._do(self._take, lane, AT_ONCE):
                    answer = await port.send(path, payload)
                    last = answer if last is None or answer.kind is not Kind.STORED else last
                    self._note(answer)
                    if answer.kind is Kind.STORED:
                        self._way.failures = 0
                        known.add((record.boot, record.seq))
                    elif answer.kind is Kind.REFUSED:
                        await self._refuse(record, answer.detail)
                    else:
                        return answer
                    if len(known) >= at_once:
                        await self._forget(lane)
            finally:
                await asyncio.shield(self._forget(lane))
        return last

    def _take(self, lane: Lane, limit: int) -> list[tuple[Record, str, bytes]]:
        """Records with their messages, those excepted that the center has. One that cannot be encoded is set aside."""
        spool, known = self._spool(), self._known[lane]
        if len(known) >= KNOWN_AT_MOST[lane]:
            return []
        out: list[tuple[Record, str, bytes]] = []
        for record in spool.take(self._way.name, lane, limit + len(known)):
            if (record.boot, record.seq) in known:
                continue
            catalog = spool.catalog(record.catalog)
            try:
                if catalog is None:
                    raise ValueError("its catalog is missing")
                out.append((record, *pack.encode(record, catalog, lambda boot: _offset(spool, boot))))
            except ValueError as bad:
                log.error("upstream %s: CG-2006 record %s/%d set aside: %s", self._way.name, lane.name, record.seq, bad)
                spool.refuse(record.upstream, lane, record.boot, record.seq, "damaged")
        return out

    async def _refuse(self, record: Record, why: str) -> None:
        """Three times refused is set aside, so that it does not hold up the others."""
        key = (int(record.lane), record.boot, record.seq)
        times = self._refused[key] = self._refused.get(key, 0) + 1
        if times >= REFUSALS:
            del self._refused[key]
            log.error("upstream %s: CG-4103 %s %d set aside: %s", self._way.name, record.lane.name, record.seq, why)
            await self._do(self._spool().refuse, record.upstream, record.lane, record.boot, record.seq, why)

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
        if answer.kind is self._state:
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

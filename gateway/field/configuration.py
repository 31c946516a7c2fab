"""A new configuration, from its bytes to being kept or reverted by itself. The field half decides: it owns the devices.

In: requests of the control socket, and a site file that somebody edited. Out: plans to run, and what JSON can carry.

    {"configure": NAME, "by": WHO}                  a signed bundle, in STATE/configuration/incoming
    {"configure": NAME, "by": WHO, "local": true}   a technician's, not signed: from a trusted sender alone
    {"revert": true, "by": WHO}                     the generation before this one
    {"configuration": true}                         where it stands

Received, validated (compiled whole), read dry (a device that answers must answer in its new form, too), in use on
trial, kept or reverted: each step is durable before the next begins (gateway/site/generations.py holds the table). A
trial is kept once as many points are good as before; a center's also needs its acknowledgement of one message, so that
nobody cuts the branch they sit on. A process that dies comes back to the whole old or the whole new configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gateway.field.control import NOT_TRUSTED, TRUSTED, Errands
from gateway.field.lock import StateLock
from gateway.field.ongoing import same_links
from gateway.field.scheduler import LinkRunner
from gateway.site import generations
from gateway.site.compile import load_plan, plan_of
from gateway.site.faults import Faults
from gateway.site.generations import KEPT, RECEIVED, REVERTED, TRIAL, VALIDATED, Record
from gateway.site.plan import Plan
from gateway.site.site import Site, load_site
from gateway.spool import audit
from gateway.spool.trouble import SpoolError, Trouble
from protocols import registry
from protocols.api import LinkDown, Quality, Reader

log = logging.getLogger("citygate.field")

INCOMING = "incoming"
ATTEMPTS = 3  # processes that may begin in one trial
LEAST_S = 5.0  # of a trial, however well it goes
LOOK_S = 0.5
DRY_S = 30.0
SAID_S = 0.2  # until the swap begins the answer is on its way
AGAIN_S = 5.0  # until a disk that refused is asked again, or a center that was not heard
WORDS_MOST = 1500


class Running(Protocol):
    """The plan that runs."""

    links: dict[str, LinkRunner]

    @property
    def plan(self) -> Plan: ...

    def good(self) -> set[str]:
        """Names of the channels whose latest reading is good."""
        ...

    async def acknowledged(self, within_s: float, upstream: str = "") -> bool:
        """Whether a center acknowledges a message made now: the one of that name, if one is given."""
        ...


class Configuration:
    """Of the site file `named`. `plan` is the one to run; `changed` is called when it is another."""

    def __init__(self, named: str | Path) -> None:
        """Raises Faults where there is nothing that could run, SpoolError where another field half works there."""
        self._named = Path(named)
        self._state = generations.state_dir_of(named)
        self._record = Record()
        self._is_written = True  # what the disk refuses holds for this process, and is written later
        self._edited = False
        self.plan = self._begun()
        self.changed: Callable[[], None] = lambda: None
        self._running: Running | None = None
        self._since_s = 0.0
        self._watched: set[str] | None = None
        self._lock = asyncio.Lock()

    @property
    def record(self) -> Record:
        return self._record

    def errands(self) -> Errands:
        return {"configure": self._asked, "revert": self._back, "configuration": self._shown}

    # -- the start of a process

    def _begun(self) -> Plan:
        if self._state is None:
            return load_plan(self._named)  # raises what is wrong with it
        lock = StateLock(self._state)
        try:
            # asked of a process that died
            shutil.rmtree(self._state / generations.FOLDER / INCOMING, ignore_errors=True)
            self._record = generations.read(self._state)
            return self._begin()
        finally:
            lock.release()

    def _begin(self) -> Plan:
        record = self.record
        if record.state in (RECEIVED, VALIDATED):
            self._put(record.to(REVERTED, candidate=0, **_why("the process ended first", "프로세스가 먼저 종료됨")))
        elif record.state == TRIAL and record.attempts >= ATTEMPTS:
            self._end(record, "it was begun too often without an end", "시험이 끝나지 않은 채 여러 번 다시 시작됨")
        elif record.state == TRIAL:
            self._put(record.to(TRIAL, attempts=record.attempts + 1))
        record = self.record
        self._edited = record.in_use == 0 or record.base != generations.base_of(self._named)
        try:
            return load_plan(self._named)
        except Faults as bad:
            if not record.current:
                raise
            return self._fallback(record, bad)

    def _fallback(self, record: Record, bad: Faults) -> Plan:
        """The last generation that ran, where the file, or what is on trial, cannot be used."""
        old = self._old_plan()
        log.error("CG-6151 %s is not used, generation %d goes on:\n%s", self._named, record.current, bad.text())
        words, base = bad.text()[:WORDS_MOST], generations.base_of(self._named)
        step = {"state": REVERTED, "candidate": 0} if record.state == TRIAL else {"state": KEPT}
        self._put(record.to(**step, base=base, **_why(words, words)))
        self._edited = False
        return old

    def _old_plan(self) -> Plan:
        """Of the generation that is kept, whatever has become of the named file. Raises Faults."""
        if not self.record.current:
            return load_plan(self._named)
        return plan_of(generations.folder_of(self._state_dir(), self.record.current) / generations.SITE, self._named)

    async def adopt(self) -> None:
        """A file that was edited while nobody ran becomes a generation, so that there is something to go back to."""
        if not self._edited or self._state is None:
            return
        self._edited = False
        try:
            await asyncio.to_thread(self._adopt)
        except (OSError, Faults) as bad:
            log.warning("the configuration is not kept as a generation: %s", bad)

    def _adopt(self) -> None:
        assert self._state is not None
        record, site = self.record, load_site(self._named)
        files = generations.snapshot(self._named, site.profile_folders)
        number = record.last + 1
        generations.put(self._state, number, files)
        self._write(
            record.to(
                KEPT,
                current=number,
                candidate=0,
                last=number,
                base=generations.base_of(self._named),
                sha256=generations.digest(self._named),
                by="site file",
                signed=False,
                **_why("", ""),
            )
        )
        generations.drop(self._state, self.record)

    # -- what is asked

    async def _asked(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, by, local = str(request["configure"]), str(request.get("by") or "")[:120], bool(request.get("local"))
        try:
            if local and not request.get(TRUSTED):
                return dict(NOT_TRUSTED)
            return await self._answered(lambda: self._configure(name, by, local))
        finally:
            with contextlib.suppress(OSError):
                (self._state_dir() / generations.FOLDER / INCOMING / Path(name).name).unlink()

    async def _back(self, request: Mapping[str, Any]) -> dict[str, Any]:
        by = str(request.get("by") or "")[:120]
        return await self._answered(lambda: self._revert(by))

    async def _shown(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return asdict(self.record) | {"named": str(self._named), "edited": self._is_edited()}

    async def _answered(self, work: Callable[[], Any]) -> dict[str, Any]:
        if self._lock.locked():
            return _refused("CG-6145", "another configuration is being taken", "다른 설정을 적용하는 중입니다")
        async with self._lock:
            try:
                answer: dict[str, Any] = await work()
                return answer
            except Trouble as no:
                return {"code": no.code, "error": no.en, "error_ko": no.ko}
            except Faults as no:
                words = no.text()[:WORDS_MOST]
                return _refused("CG-6147", f"the site has faults:\n{words}", f"사이트에 오류가 있습니다:\n{words}")
            except OSError as no:
                return _refused("CG-6152", f"the disk does not take it: {no}", f"디스크에 쓸 수 없습니다: {no}")

    async def _configure(self, name: str, by: str, local: bool) -> dict[str, Any]:
        from gateway.agent import bundle as packed

        state = self._state_dir()
        self._free(self.record)
        path = state / generations.FOLDER / INCOMING / Path(name).name
        body = await asyncio.to_thread(_taken, path, packed.LARGEST)
        site = await asyncio.to_thread(load_site, self._named)
        if local:
            bundle = packed.read(body)
        else:
            bundle = packed.proven(body, _keys(site))
            self._check_turn(bundle, site)
        return await self._try(dict(bundle.files), by, signed=not local, sequence=bundle.sequence)

    def _check_turn(self, bundle: Any, site: Site) -> None:
        if not bundle.is_for(site.gateway.id):
            raise _trouble("CG-6144", f"it is for {', '.join(bundle.gateways)}", "다른 게이트웨이의 설정입니다")
        if bundle.sequence <= self.record.sequence:
            seen = self.record.sequence
            raise _trouble(
                "CG-6146",
                f"its number {bundle.sequence} is not above {seen}, the last one tried",
                f"일련번호 {bundle.sequence} 이(가) 마지막 번호 {seen} 이하입니다",
            )

    async def _revert(self, by: str) -> dict[str, Any]:
        state, record = self._state_dir(), self.record
        if record.state == TRIAL:
            await self._reverted("asked for", "요청에 따름", by)
            return {"state": REVERTED, "generation": record.current}
        numbers = sorted(
            (int(one.name) for one in (state / generations.FOLDER).glob("[0-9]*") if one.name.isdigit()), reverse=True
        )
        before = next((number for number in numbers if number < record.current), 0)
        if not before:
            raise _trouble("CG-6153", "there is no generation before this one", "이전 설정이 없습니다")
        folder = generations.folder_of(state, before)
        files = {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*.toml"))}
        return await self._try(files, by, signed=False)

    async def edited(self) -> bool:
        """The site file is to be read again. False where it is refused, and the old configuration goes on."""
        async with self._lock:
            try:
                if self._state is None or not await asyncio.to_thread(self._is_edited):
                    self.plan = await asyncio.to_thread(load_plan, self._named)
                    self.changed()
                    return True
                site = await asyncio.to_thread(_site_of, self._named)
                files = await asyncio.to_thread(generations.snapshot, self._named, site.profile_folders)
                if self.record.state == TRIAL:  # whoever edits again does not wait for the end of the last edit's trial
                    await self._reverted("edited again", "다시 수정됨", "site file")
                await self._try(files, "site file", signed=False, free=True)
                return True
            except Faults as bad:
                log.error("%s is not used, the old configuration keeps running:\n%s", self._named, bad.text())
            except (Trouble, OSError) as bad:
                log.error("%s is not used, the old configuration keeps running: %s", self._named, bad)
            return False

    # -- the way of one configuration

    async def _try(
        self, files: Mapping[str, bytes], by: str, *, signed: bool, sequence: int = -1, free: bool = False
    ) -> dict[str, Any]:
        """`free`: who edits the site file itself may change what others may do, too."""
        state, record = self._state_dir(), self.record
        number = record.last + 1
        folder = await asyncio.to_thread(generations.put, state, number, files)
        record = record.to(RECEIVED, candidate=number, last=number, by=by, signed=signed, **_why("", ""))
        await asyncio.to_thread(self._write, record)
        try:
            plan = await asyncio.to_thread(plan_of, folder / generations.SITE, self._named)
            self._check_identity(plan)
            if not signed and not free:
                self._check_powers(folder)
            record = record.to(VALIDATED)
            await asyncio.to_thread(self._write, record)
            await self._dry(plan)
            await self._settled()
            self._watched, good = await asyncio.to_thread(self._baseline, plan)
            record = record.to(
                TRIAL,
                base=generations.base_of(self._named),
                sequence=max(record.sequence, sequence) if signed else record.sequence,
                sha256=generations.digest(folder / generations.SITE),
                good_before=good,
                attempts=1,
            )
            await asyncio.to_thread(self._write, record)
        except Faults as bad:
            words = bad.text()[:WORDS_MOST]
            await self._refuse(record, words, words)
            raise _trouble("CG-6147", f"it has faults:\n{words}", f"오류가 있습니다:\n{words}") from bad
        except Trouble as bad:
            await self._refuse(record, bad.en, bad.ko)
            raise
        except BaseException as bad:  # a full disk, a mistake of ours, a stop: the next one finds the way free
            if self.record.state != TRIAL:
                await self._refuse(self.record, f"not tried: {bad}", f"시험하지 못함: {bad}")
            raise
        await self._audit("configuration on trial", by, {"generation": number, "sha256": record.sha256})
        log.info("configuration %d by %s is on trial", number, by or "nobody")
        self.plan = plan
        self._swap()
        return {"state": TRIAL, "generation": number, "good_before": good}

    def _check_identity(self, plan: Plan) -> None:
        if plan.gateway != self.plan.gateway or Path(plan.state_dir) != Path(self.plan.state_dir):
            raise _trouble(
                "CG-6148",
                "it changes the gateway's id or its state_dir: that is another gateway",
                "게이트웨이 id 나 state_dir 를 바꾸는 설정은 적용할 수 없습니다",
            )

    def _check_powers(self, folder: Path) -> None:
        """What others may do from afar is changed by a signed configuration, or in the file itself."""
        from gateway.site.site import parse_site

        now = load_site(self._named)
        then, _ = parse_site(folder / generations.SITE, self._named)
        if then is None or then.agent != now.agent or _powers(then) != _powers(now):
            raise _trouble(
                "CG-6149",
                "it changes [agent] or what a center may ask: sign it, or edit the site file itself",
                "[agent] 나 센터의 권한을 바꾸려면 서명된 설정이나 사이트 파일 직접 수정이 필요합니다",
            )

    async def _dry(self, plan: Plan) -> None:
        """Ask devices in their new form, on lines that are open. Raises Trouble for one that answered until now."""
        running = self._running
        if running is None:
            return
        same, answering = same_links(running.plan, plan), {name.partition(".")[0] for name in running.good()}
        before = {link.link.name: link for link in running.plan.links}
        lost: list[str] = []
        for link in plan.links:
            name, runner = link.link.name, running.links.get(link.link.name)
            was = before.get(name)
            if name in same or runner is None or was is None or was.link != link.link or not runner.up:
                continue
            if any(registry.driver(link.driver).listens(op.device) for op in link.ops):
                continue
            try:
                async with asyncio.timeout(DRY_S):
                    heard = await runner.errand(_asking(link.ops, link.timeout_s))
            except (LinkDown, TimeoutError):
                continue  # the line fell out meanwhile: the trial will tell
            lost += sorted({op.device.name for op in link.ops} & answering - heard)
        if lost:
            names = ", ".join(lost)
            raise _trouble(
                "CG-6150",
                f"{names} answers now, but not as it is described there",
                f"{names} 장치가 새 설정으로는 응답하지 않습니다",
            )

    async def _settled(self) -> None:
        """What has just begun is no measure yet: a moment more, unless all that it asks is good already."""
        loop = asyncio.get_running_loop()
        while (running := self._running) is not None and loop.time() - self._since_s < LEAST_S:
            if running.good() >= {channel.name for channel in running.plan.channels if channel.period_s <= LEAST_S}:
                return
            await asyncio.sleep(LOOK_S)

    def _baseline(self, plan: Plan) -> tuple[set[str], int]:
        """Channels of the new plan that are read often enough to be judged, and how many of them have to be good: those
        that are good now, and one new name for each good one that is gone, as far as there are new ones."""
        longest_s = max(LEAST_S, self._probation_s() / 2)
        names = {channel.name for channel in plan.channels if channel.period_s <= longest_s}
        if self._running is None:
            return names, 0
        before = {channel.name for channel in self._running.plan.channels if channel.period_s <= longest_s}
        good = self._running.good() & before
        return names, len(good & names) + min(len(good - names), len(names - before))

    def runs(self, running: Running) -> None:
        """What is there to be compared with, from here on."""
        self._running, self._since_s = running, asyncio.get_running_loop().time()

    async def judge(self, running: Running) -> None:
        """The trial of what runs: kept or reverted when this returns; nothing to do where none stands."""
        record = self.record
        if record.state != TRIAL or record.candidate == 0:
            return
        loop = asyncio.get_running_loop()
        begun_s, within_s = loop.time(), await asyncio.to_thread(self._probation_s)
        told = asyncio.ensure_future(self._heard(running, within_s)) if record.signed else None
        try:
            while (spent_s := loop.time() - begun_s) < within_s:
                await asyncio.sleep(LOOK_S)
                if self.record.state != TRIAL or self.record.candidate != record.candidate:
                    return  # ended by somebody else
                good = running.good()
                enough = len(good & self._watched if self._watched is not None else good) >= record.good_before
                if enough and (told is None or told.done()) and spent_s >= min(LEAST_S, within_s / 2):
                    await self._keep(len(good))
                    return
        finally:
            if told is not None:
                told.cancel()
        good = running.good()
        count = len(good & self._watched if self._watched is not None else good)
        if count < record.good_before:
            en = f"{count} points were good after {within_s:g} s, {record.good_before} before"
            ko = f"{within_s:g}초 뒤 정상 포인트 {count}개, 이전 {record.good_before}개"
        else:
            en, ko = "its center acknowledged nothing under it", "이 설정으로는 센터의 확인 응답이 없음"
        await self._reverted(en, ko, "probation")

    async def _heard(self, running: Running, within_s: float) -> None:
        """Ends once the center has acknowledged what was made while both halves go by what is on trial; asks again
        where that could not be asked yet."""
        record = self.record
        while True:
            try:
                if generations.sending(self._state_dir()) != record.candidate:
                    await asyncio.sleep(LOOK_S)
                    continue
                if await running.acknowledged(within_s, _center(record.by)):
                    return
            except (SpoolError, OSError) as bad:
                log.warning("no center could be asked under the new configuration: %s", bad)
            await asyncio.sleep(AGAIN_S)

    async def _keep(self, good: int) -> None:
        record = self.record
        kept = record.to(KEPT, current=record.candidate, candidate=0)
        await asyncio.to_thread(self._put, kept)
        if self._is_written:
            await asyncio.to_thread(generations.drop, self._state_dir(), kept)
        log.info("configuration %d is kept: %d points are good", kept.current, good)
        facts = {"generation": kept.current, "sha256": kept.sha256, "signed": kept.signed, "sequence": kept.sequence}
        await self._audit("configuration kept", kept.by, {**facts, "good": good, "good_before": kept.good_before})

    async def _reverted(self, en: str, ko: str, by: str) -> None:
        record = self.record
        await asyncio.to_thread(self._end, record, en, ko)
        log.error("CG-6154 configuration %d is taken back: %s / %s", record.candidate, en, ko)
        self.plan = await asyncio.to_thread(self._old_plan)
        self._swap()
        await self._audit("configuration reverted", by, {"generation": record.candidate, "why": en})

    def _swap(self) -> None:
        asyncio.get_running_loop().call_later(SAID_S, lambda: self.changed())

    # -- inside

    async def _refuse(self, record: Record, en: str, ko: str) -> None:
        await asyncio.to_thread(self._put, record.to(REVERTED, candidate=0, **_why(en, ko)))
        await self._audit("configuration refused", record.by, {"generation": record.candidate, "why": en[:300]})

    def _end(self, record: Record, en: str, ko: str) -> None:
        self._put(record.to(REVERTED, candidate=0, **_why(en, ko)))

    def _write(self, record: Record) -> None:
        """Durable when it returns. Raises OSError; then the record before it stands."""
        generations.write(self._state_dir(), record)
        self._record, self._is_written = record, True

    def _put(self, record: Record) -> None:
        """Holds for this process even where the disk refuses, whose old record is whole as well. What was taken back
        is gone."""
        candidate = self.record.candidate
        try:
            self._write(record)
            if record.state == REVERTED and candidate:
                generations.forget(self._state_dir(), candidate)
        except OSError as bad:
            self._record, self._is_written = record, False
            log.error("CG-6152 the state of the configuration is not written, tried again: %s", bad)

    async def write_again(self) -> None:
        """What the disk has refused, until it takes it. Has no end."""
        while True:
            await asyncio.sleep(AGAIN_S)
            if not self._is_written:
                await asyncio.to_thread(self._put, self.record)

    async def _audit(self, what: str, by: str, facts: Mapping[str, Any]) -> None:
        try:
            await asyncio.to_thread(audit.append, self._state_dir(), what, by, facts)
        except OSError as bad:
            log.error("%s is not in the audit file: %s", what, bad)

    def _free(self, record: Record) -> None:
        if record.state == TRIAL:
            raise _trouble("CG-6145", "another configuration is on trial", "다른 설정을 시험하는 중입니다")

    def _is_edited(self) -> bool:
        record = self.record
        return record.in_use > 0 and record.base != generations.base_of(self._named)

    def _probation_s(self) -> float:
        try:
            return load_site(self._named).agent.probation_s
        except Faults:
            return 120.0

    def _state_dir(self) -> Path:
        assert self._state is not None, "a plan that runs has a state folder"
        return self._state


def _asking(ops: Sequence[Any], timeout_s: float) -> Callable[[Reader[Any]], Any]:
    async def work(reader: Reader[Any]) -> set[str]:
        """Names of the devices that answered."""
        heard: set[str] = set()
        for op in ops:
            batch = await reader.read([op], timeout_s)
            if bool(np.any(batch.quality < Quality.NO_REPLY)):
                heard.add(op.device.name)
        return heard

    return work


def _keys(site: Site) -> list[Any]:
    from gateway.agent.bundle import public_key

    if not site.agent.trust:
        raise _trouble(
            "CG-6143",
            "this gateway trusts nobody's configuration: [agent] trust names no key",
            "신뢰하는 키가 없습니다: [agent] trust 가 비어 있습니다",
        )
    return [public_key(path) for path in site.agent.trust]


def _site_of(named: Path) -> Site:
    """Of the file as it is, whatever it stands for. Raises Faults."""
    from gateway.site.site import parse_site

    site, faults = parse_site(named)
    if site is None:
        raise Faults(faults)
    return site


def _powers(site: Site) -> dict[str, tuple[frozenset[str], str]]:
    """What each center may change, and by whose credentials it is known. Who is sent the readings may see them."""
    harmless = {"observe"}
    return {one.name: (one.agent, one.credentials) for one in site.upstreams if one.agent - harmless}


def _taken(path: Path, largest: int) -> bytes:
    """What lies there. Raises Trouble, OSError."""
    try:  # the other half made it: a link would lead elsewhere, a pipe would be waited for
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(path)
        with open(fd, "rb") as file:
            body = file.read(largest + 1)
    except OSError as bad:
        raise _trouble("CG-6141", f"{path.name} is no file there", f"{path.name} 파일이 없습니다") from bad
    return body


def _center(by: str) -> str:
    """The upstream whose center sent it (see gateway/agent/commands.py); "" for a technician."""
    return by.removeprefix("center:").split(" ")[0] if by.startswith("center:") else ""


def _why(en: str, ko: str) -> dict[str, str]:
    return {"why_en": en, "why_ko": ko}


def _trouble(code: str, en: str, ko: str) -> Trouble:
    return Trouble(code, f"the configuration is not taken: {en}", f"설정을 적용하지 않습니다: {ko}")


def _refused(code: str, en: str, ko: str) -> dict[str, Any]:
    return {"code": code, "error": en, "error_ko": ko}

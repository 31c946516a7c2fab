"""A new configuration, from its bytes to being kept or reverted by itself. The field half decides: it owns the devices.

In: requests of the control socket, and a site file that somebody edited. Out: plans to run, and what JSON can carry.

    {"configure": NAME, "by": WHO}                  a signed bundle, in STATE/configuration/incoming
    {"configure": NAME, "by": WHO, "local": true}   a technician's, not signed
    {"revert": true, "by": WHO}                     the generation before this one
    {"configuration": true}                         where it stands

Received, validated (compiled whole), read dry (a device that answers must answer in its new form, too), in use on
trial, kept or reverted: each step is durable before the next begins (gateway/site/generations.py holds the table). A
trial is kept once as many points are good as before; a center's also needs its acknowledgement of one message, so that
nobody cuts the branch they sit on. A process that dies comes back to the whole old or the whole new configuration.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gateway.field.control import Errands
from gateway.field.ongoing import same_links
from gateway.field.scheduler import LinkRunner
from gateway.site import generations
from gateway.site.compile import load_plan, plan_of
from gateway.site.faults import Faults
from gateway.site.generations import KEPT, RECEIVED, REVERTED, TRIAL, VALIDATED, Record
from gateway.site.plan import Plan
from gateway.site.site import Site, load_site
from gateway.spool import audit
from gateway.spool.trouble import Trouble
from protocols import registry
from protocols.api import LinkDown, Quality, Reader

log = logging.getLogger("citygate.field")

INCOMING = "incoming"
ATTEMPTS = 3  # processes that may begin in one trial
LEAST_S = 5.0  # of a trial, however well it goes
LOOK_S = 0.5
DRY_S = 30.0
SAID_S = 0.2  # until the swap begins the answer is on its way
WORDS_MOST = 1500


class Running(Protocol):
    """The plan that runs."""

    links: dict[str, LinkRunner]

    @property
    def plan(self) -> Plan: ...

    def good(self) -> set[str]:
        """Names of the channels whose latest reading is good."""
        ...

    async def acknowledged(self, within_s: float) -> bool:
        """Whether a center acknowledges a message made now."""
        ...


class Configuration:
    """Of the site file `named`. `plan` is the one to run; `changed` is called when it is another."""

    def __init__(self, named: str | Path) -> None:
        """Raises Faults where there is nothing that could run."""
        self._named = Path(named)
        self._state = generations.state_dir_of(named)
        self._edited = False
        self.plan = self._begin()
        self.changed: Callable[[], None] = lambda: None
        self._running: Running | None = None
        self._watched: set[str] | None = None
        self._lock = asyncio.Lock()

    @property
    def record(self) -> Record:
        return generations.read(self._state) if self._state else Record()

    def errands(self) -> Errands:
        return {"configure": self._asked, "revert": self._back, "configuration": self._shown}

    # -- the start of a process

    def _begin(self) -> Plan:
        if self._state is None:
            return load_plan(self._named)  # raises what is wrong with it
        record = self.record
        if record.state in (RECEIVED, VALIDATED):
            self._put(record.to(REVERTED, candidate=0, **_why("the process ended first", "프로세스가 먼저 종료됨")))
        elif record.state == TRIAL and record.attempts >= ATTEMPTS:
            self._end(record, "it was begun too often without an end", "시험이 끝나지 않은 채 여러 번 다시 시작됨")
        elif record.state == TRIAL:
            self._put(record.to(TRIAL, attempts=record.attempts + 1))
        record = self.record
        self._edited = record.in_use == 0 or record.base != generations.digest(self._named)
        try:
            return load_plan(self._named)
        except Faults as bad:
            if not record.current:
                raise
            return self._fallback(record, bad)

    def _fallback(self, record: Record, bad: Faults) -> Plan:
        """The last generation that ran, where the file, or what is on trial, cannot be used."""
        old = plan_of(generations.folder_of(self._state or "", record.current) / generations.SITE, self._named)
        log.error("CG-6151 %s is not used, generation %d goes on:\n%s", self._named, record.current, bad.text())
        if record.state == TRIAL:
            self._end(record, "it cannot be read any more", "더 이상 읽을 수 없음")
        else:
            self._put(record.to(KEPT, base=generations.digest(self._named), **_why(bad.text(), bad.text())))
        self._edited = False
        return old

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
        base = generations.digest(self._named)
        generations.write(
            self._state,
            record.to(
                KEPT,
                current=number,
                candidate=0,
                last=number,
                base=base,
                sha256=base,
                by="site file",
                signed=False,
                **_why("", ""),
            ),
        )

    # -- what is asked

    async def _asked(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, by, local = str(request["configure"]), str(request.get("by") or "")[:120], bool(request.get("local"))
        return await self._answered(lambda: self._configure(name, by, local))

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
            self._reverted("asked for", "요청에 따름", by)
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
                if self._state is None or not self._is_edited():
                    self.plan = await asyncio.to_thread(load_plan, self._named)
                    self.changed()
                    return True
                site = await asyncio.to_thread(_site_of, self._named)
                if self.record.state == TRIAL:  # whoever edits again does not wait for the end of the last edit's trial
                    self._end(self.record, "edited again", "다시 수정됨")
                files = await asyncio.to_thread(generations.snapshot, self._named, site.profile_folders)
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
        await asyncio.to_thread(generations.write, state, record)
        try:
            plan = await asyncio.to_thread(plan_of, folder / generations.SITE, self._named)
            self._check_identity(plan)
            if not signed and not free:
                self._check_powers(folder)
            record = record.to(VALIDATED)
            await asyncio.to_thread(generations.write, state, record)
            await self._dry(plan)
        except Faults as bad:
            words = bad.text()[:WORDS_MOST]
            await self._refuse(record, words, words)
            raise _trouble("CG-6147", f"it has faults:\n{words}", f"오류가 있습니다:\n{words}") from bad
        except Trouble as bad:
            await self._refuse(record, bad.en, bad.ko)
            raise
        self._watched, good = self._baseline(plan)
        record = record.to(
            TRIAL,
            base=generations.digest(self._named),
            sequence=max(record.sequence, sequence) if signed else record.sequence,
            sha256=generations.digest(folder / generations.SITE),
            good_before=good,
            attempts=1,
        )
        await asyncio.to_thread(generations.write, state, record)
        await self._audit("configuration on trial", by, {"generation": number, "sha256": record.sha256})
        log.info("configuration %d by %s is on trial", number, by or "nobody")
        self.plan = plan
        asyncio.get_running_loop().call_later(SAID_S, self.changed)
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

    def _baseline(self, plan: Plan) -> tuple[set[str], int]:
        """Channels that both plans have and that are read often enough to be judged, and how many of them are good."""
        longest_s = max(LEAST_S, self._probation_s() / 2)
        names = {channel.name for channel in plan.channels if channel.period_s <= longest_s}
        good = self._running.good() & names if self._running is not None else set()
        return names, len(good)

    async def judge(self, running: Running) -> None:
        """The trial of what runs: kept or reverted when this returns; nothing to do where none stands."""
        self._running = running
        record = self.record
        if record.state != TRIAL or record.candidate == 0:
            return
        loop = asyncio.get_running_loop()
        begun_s, within_s = loop.time(), self._probation_s()
        told = asyncio.ensure_future(running.acknowledged(within_s)) if record.signed else None
        try:
            while (spent_s := loop.time() - begun_s) < within_s:
                await asyncio.sleep(LOOK_S)
                good = running.good()
                enough = len(good & self._watched if self._watched is not None else good) >= record.good_before
                heard = told is None or (told.done() and told.result())
                if enough and heard and spent_s >= min(LEAST_S, within_s / 2):
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
            en, ko = "no center acknowledged anything under it", "이 설정으로는 센터의 확인 응답이 없음"
        self._reverted(en, ko, "probation")

    async def _keep(self, good: int) -> None:
        record = self.record
        kept = record.to(KEPT, current=record.candidate, candidate=0)
        await asyncio.to_thread(self._put, kept)
        await asyncio.to_thread(generations.drop, self._state_dir(), kept)
        log.info("configuration %d is kept: %d points are good", kept.current, good)
        facts = {"generation": kept.current, "sha256": kept.sha256, "signed": kept.signed, "sequence": kept.sequence}
        await self._audit("configuration kept", kept.by, {**facts, "good": good, "good_before": kept.good_before})

    def _reverted(self, en: str, ko: str, by: str) -> None:
        record = self.record
        self._end(record, en, ko)
        log.error("CG-6154 configuration %d is taken back: %s / %s", record.candidate, en, ko)
        task = asyncio.ensure_future(
            self._audit("configuration reverted", by, {"generation": record.candidate, "why": en})
        )
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.plan = load_plan(self._named)
        self.changed()

    # -- inside

    async def _refuse(self, record: Record, en: str, ko: str) -> None:
        await asyncio.to_thread(self._put, record.to(REVERTED, candidate=0, **_why(en, ko)))
        await self._audit("configuration refused", record.by, {"generation": record.candidate, "why": en[:300]})

    def _end(self, record: Record, en: str, ko: str) -> None:
        self._put(record.to(REVERTED, candidate=0, **_why(en, ko)))

    def _put(self, record: Record) -> None:
        """A disk that refuses leaves the old record, which is whole as well. What was taken back is gone."""
        candidate = self.record.candidate
        try:
            generations.write(self._state_dir(), record)
            if record.state == REVERTED and candidate:
                generations.forget(self._state_dir(), candidate)
        except OSError as bad:
            log.error("CG-6152 the state of the configuration is not written: %s", bad)

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
        return record.in_use > 0 and record.base != generations.digest(self._named)

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


def _powers(site: Site) -> dict[str, frozenset[str]]:
    return {one.name: one.agent for one in site.upstreams}


def _taken(path: Path, largest: int) -> bytes:
    """What lies there, which is then gone. Raises Trouble, OSError."""
    try:
        with open(path, "rb") as file:
            body = file.read(largest + 1)
    except FileNotFoundError as bad:
        raise _trouble("CG-6141", f"{path.name} is not there", f"{path.name} 이(가) 없습니다") from bad
    path.unlink(missing_ok=True)
    return body


def _why(en: str, ko: str) -> dict[str, str]:
    return {"why_en": en, "why_ko": ko}


def _trouble(code: str, en: str, ko: str) -> Trouble:
    return Trouble(code, f"the configuration is not taken: {en}", f"설정을 적용하지 않습니다: {ko}")


def _refused(code: str, en: str, ko: str) -> dict[str, Any]:
    return {"code": code, "error": en, "error_ko": ko}

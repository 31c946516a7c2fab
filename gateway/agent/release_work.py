"""A release's way onto this gateway: fetched, proven, unpacked, tried, kept or gone back from.

In: the record (release_state.py), pieces of files, looks at the field half, what the switch says. Out: the next record,
requests to the switch (systemd/switch.py), which alone changes what runs. It can be killed anywhere and goes on.
Whether it can be told to anybody changes nothing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from gateway.agent import release_places, trial, unpack
from gateway.agent.download import PAUSES_S, SPARE, Cut, Damaged, Download, Full, Missing, Source
from gateway.agent.proof import FOLDER, Unproven, prove
from gateway.agent.release_places import Places, about
from gateway.agent.release_state import RESTING, Machine, Record, State, Step
from gateway.agent.trial import Gate, Look, Reach, Verdict
from gateway.site.site import Site
from gateway.spool import audit

log = logging.getLogger("citygate.agent")

LOOK_S = 5.0
SWITCH_S = 90.0  # how long a request may lie there
TRIES = 3
MOMENT_S = 1.0
KEPT = 1  # releases beside the one in use, to go back to
SLACK_S = 300.0  # the first start compiles kernels, and both halves take their time
TROUBLE_S = 30.0

Reaching = Callable[[], Awaitable[Reach]]
Pause = Callable[[float], Awaitable[None]]


class FieldHalf(Protocol):
    """The field half's control socket."""

    async def request(self, words: Mapping[str, Any], within_s: float) -> Any:
        """Raises an OSError where no field half answers."""
        ...


class ReleaseWork:
    """`run` it. `changed` is set, and replaced, with each change of what it tells."""

    def __init__(
        self,
        site: Site,
        control: FieldHalf,
        source: Source,
        *,
        places: Places | None = None,
        reach: Reaching | None = None,
        arch: str = "",
        clock_s: Callable[[], float] = time.time,
        elapsed_s: Callable[[], float] = time.monotonic,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """`reach`: how the way to the center stands; without it nothing is judged by it."""
        self.site, self._control, self._source, self._reach = site, control, source, reach
        self.places = places or Places()
        self._arch = arch or release_places.this_arch()
        self._clock_s, self._elapsed_s, self._pause = clock_s, elapsed_s, pause
        self._machine = Machine(self.places.sent, utc=self._utc)
        self._begun_s = elapsed_s()
        self._asked_s: float | None = None
        self._work: asyncio.Task[None] | None = None
        self.changed = asyncio.Event()
        self.arrived = 0
        self.in_the_way = ("", "")  # of the end of a trial: English, Korean

    @property
    def record(self) -> Record:
        return self._machine.record

    def begin(self, fresh: Record, *, is_here: bool) -> None:
        """Take up a release. `is_here`: it lies on this box already. Raises NoSuchStep, OSError."""
        fields = {name: getattr(fresh, name) for name in Record.__slots__ if name not in ("state", "since_utc")}
        self._machine.step(Step.FOUND if is_here else Step.ASKED, **fields)
        self._note("release asked", {"release": fresh.name, "running": self.places.running.name})
        self._tell()

    def give_up(self, by: str) -> bool:
        """Whether that was still possible: not once the switch has been asked."""
        record = self.record
        if record.state not in (State.DOWNLOADING, State.DOWNLOADED, State.STAGED) or record.request:
            return False
        self._refuse("CG-6187", f"given up by {by}", f"{by} 에서 취소")
        if self._work is not None:
            self._work.cancel()
        return True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._work = asyncio.ensure_future(self._turn(self.record.state))
            try:
                await asyncio.shield(self._work)
            except asyncio.CancelledError:
                if not self._work.cancelled():  # it is we who are to end
                    self._work.cancel()
                    await asyncio.wait([self._work])
                    raise
            except OSError as bad:
                log.warning("a release has to wait: %s", bad)
                await self._pause(TROUBLE_S)

    async def _turn(self, state: State) -> None:
        """One state's work, to the next step or the next look."""
        if state in RESTING:
            await asyncio.to_thread(self._tidy)
            changed = self.changed
            if self.record.state is state:
                await changed.wait()
        elif state is State.DOWNLOADING:
            await self._download()
        elif state is State.DOWNLOADED:
            await self._unpack()
        elif state is State.STAGED:
            await self._switch()
        else:
            await self._try()

    async def _download(self) -> None:
        record = self.record
        try:
            if not record.target:
                record = await self._prove()
            self._room(record.length + record.unpacked)
            download = Download(self._part(record), record.length, record.sha256)
            self._said(download.arrived)
            await download.run(self._source, record.target, pause=self._pause, said=self._said)
            self._step(Step.ARRIVED)
        except Cut as bad:
            log.info("the list of releases cannot be fetched yet: %s", bad)
            await self._pause(TROUBLE_S)
        except Unproven as bad:
            self._refuse(bad.code, bad.en, bad.ko)
        except Missing:
            self._refuse(
                "CG-6175", f"the center has no image of {record.name}. Publish it there (citygate release publish)",
                f"센터에 릴리스 {record.name} 이미지가 없습니다. 센터에서 게시하십시오(citygate release publish)",
            )  # fmt: skip
        except Full as bad:
            self._no_room(str(bad))
        except Damaged as bad:
            if record.tries + 1 < TRIES:
                self._machine.note(tries=record.tries + 1, target="")
                await self._pause(TROUBLE_S)
            else:
                self._refuse(
                    "CG-6180", f"the image of {record.name} is not the signed one ({bad}). Publish it again",
                    f"릴리스 {record.name} 이미지가 서명된 것과 다릅니다 ({bad}). 센터에서 다시 게시하십시오",
                )  # fmt: skip

    async def _prove(self) -> Record:
        """The record with what signed metadata says of the image. Raises Unproven, Cut, OSError."""
        loop, asked = asyncio.get_running_loop(), set[concurrent.futures.Future[bytes]]()

        def fetch(path: str, most: int) -> bytes:
            coming = asyncio.run_coroutine_threadsafe(self._whole(path, most), loop)
            asked.add(coming)
            return coming.result()

        made = about(self.places.running).get("made", 0)
        try:
            image = await asyncio.to_thread(
                prove, self.places.sent / FOLDER, Path(self.site.agent.releases), fetch, self.record.name, self._arch,
                clock_s=self._clock_s(), made_s=float(made) if isinstance(made, int | float) else 0.0,
            )  # fmt: skip
        finally:
            for coming in asked:  # given up: the thread must not wait for ever
                coming.cancel()
        return self._machine.note(target=image.path, length=image.length, sha256=image.sha256, unpacked=image.unpacked)

    async def _whole(self, path: str, most: int) -> bytes:
        """A small file; a cut is waited out. Raises Cut for what is odd, Missing, ValueError."""
        data, tag, cuts = b"", None, 0
        while True:
            try:
                piece = await self._source.fetch(path, len(data))
            except Cut:
                await self._pause(PAUSES_S[min(cuts, len(PAUSES_S) - 1)])
                cuts += 1
                continue
            if piece.total > most:
                raise ValueError(f"{path} has {piece.total} bytes, {most} are taken")
            if tag not in (None, piece.tag):
                raise Cut(f"{path} was changed meanwhile")
            data, tag = data + piece.data, piece.tag
            if len(data) >= piece.total:
                return data
            if not piece.data or len(data) % 1024:
                raise Cut(f"{path} came in odd pieces")

    async def _unpack(self) -> None:
        record, stop = self.record, threading.Event()
        thread = asyncio.ensure_future(asyncio.to_thread(self._unpacked, record, stop))
        try:
            await asyncio.shield(thread)
        except asyncio.CancelledError:
            stop.set()
            with suppress(Exception):
                await thread
            raise
        except unpack.NoRoom as bad:
            self._no_room(str(bad))
            return
        except unpack.BadImage as bad:
            self._refuse(
                "CG-6183", f"the image of {record.name} is no release ({bad}). Build it with make release",
                f"릴리스 {record.name} 이미지를 풀 수 없습니다 ({bad}). make release 로 다시 만드십시오",
            )  # fmt: skip
            return
        except _ForAnother as bad:
            self._refuse(
                "CG-6184", f"release {record.name} does not run here: {bad}",
                f"릴리스 {record.name} 은(는) 이 장비에서 실행할 수 없습니다: {bad}",
            )  # fmt: skip
            return
        self._step(Step.UNPACKED, tries=0)

    def _unpacked(self, record: Record, stop: threading.Event) -> None:
        """In a thread."""
        part, sent = self._part(record), self.places.sent
        with open(part, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                raise unpack.BadImage("it has changed on the disk")
        unpack.unpack(part, sent, record.name, limit=record.unpacked, given_up=stop.is_set)
        found = about(sent / record.name)
        if found.get("name") != record.name or found.get("arch") != self._arch:
            unpack.remove(sent / record.name)
            raise _ForAnother(f"it is {found.get('name')} for {found.get('arch')}")
        if self.places.folder(record.name) is None:
            unpack.remove(sent / record.name)
            raise _ForAnother("its Python is not installed, or its program is missing")

    async def _switch(self) -> None:
        """Staged: ask the switch, once, and wait for what becomes of it."""
        record, places = self.record, self.places
        if places.running.name == record.name:
            self._step(Step.SWITCHED)
        elif places.is_asked:
            await self._wait_for_the_switch()
        elif record.request and places.trial(record.request) is not None:
            await self._pause(MOMENT_S)  # we are about to be ended, or the watch takes it back
        elif (told := places.outcome(record.request)) is not None and told.get("word") != "trial":
            self._back(told)
        elif places.is_linked(record.name):
            await self._pause(MOMENT_S)
        elif record.tries >= TRIES:
            self._nobody()
        else:
            looked = await self._look()
            patience_s = 2 * self.site.agent.probation_s + SLACK_S
            record = self._machine.note(request=secrets.token_hex(8), good=looked.good, tries=record.tries + 1)
            self._asked_s = self._elapsed_s()
            places.ask(f"{record.name} trial {patience_s:.0f} {record.request}")

    def _back(self, told: Mapping[str, Any]) -> None:
        code, en, ko = (str(told.get(key, ""))[:400] for key in ("code", "en", "ko"))
        if told.get("word") == "reverted":
            self._step(Step.BAD, code=code, error=en, error_ko=ko)
        else:
            self._refuse(code, en, ko)

    async def _wait_for_the_switch(self) -> None:
        if self._asked_s is None:
            self._asked_s = self._elapsed_s()
        if self._elapsed_s() - self._asked_s > SWITCH_S:
            self.places.request.unlink(missing_ok=True)
            self._asked_s = None
        else:
            await self._pause(MOMENT_S)

    def _nobody(self) -> None:
        self._refuse(
            "CG-6185", "nobody follows the request for a switch. Look at citygate-switch.path and .service",
            "릴리스 전환 요청이 처리되지 않습니다. citygate-switch.path 와 .service 를 확인하십시오",
        )  # fmt: skip

    async def _try(self) -> None:
        """Trial: look until the verdict, tell the switch, wait until it has followed."""
        record, places = self.record, self.places
        told = places.outcome(record.request)
        if places.trial(record.request) is None:
            if told is not None and told.get("word") == "reverted":
                self._back(told)
            elif places.running.name == record.name and places.is_linked(record.name):
                self._step(Step.GOOD, code="", error="", error_ko="")
            else:
                self._step(
                    Step.BAD, code="CG-6186", error="another release was put in place by hand",
                    error_ko="다른 릴리스가 수동으로 설치되었습니다",
                )  # fmt: skip
        elif places.running.name != record.name:
            await self._pause(MOMENT_S)
        else:
            await self._judge(record)

    async def _judge(self, record: Record) -> None:
        gate = Gate(record.name, record.good, self.site.agent.probation_s)
        verdict = Verdict.WAIT
        while verdict is Verdict.WAIT:
            if self.places.trial(record.request) is None:
                return
            looked = await self._look()
            verdict, *words = gate.see(self._elapsed_s() - self._begun_s, looked)
            if words != list(self.in_the_way):
                self.in_the_way = (words[0], words[1])
                self._tell()
            if verdict is Verdict.WAIT:
                await self._pause(min(LOOK_S, self.site.agent.probation_s / 4))
        if verdict is Verdict.BAD:
            log.error("release %s is not good: %s", record.name, self.in_the_way[0])
            self._machine.note(code="CG-6186", error=self.in_the_way[0], error_ko=self.in_the_way[1])
        word = "commit" if verdict is Verdict.GOOD else "revert"
        while self.places.trial(record.request) is not None:
            if not self.places.is_asked:
                self.places.ask(f"{record.name} {word} {record.request}")
            await self._pause(MOMENT_S)

    async def _look(self) -> Look:
        reach = Reach.AWAY if self._reach is None else await self._reach()
        try:
            live = await self._control.request({"get": "live"}, LOOK_S)
            health = await self._control.request({"get": "health"}, LOOK_S)
            return trial.look(live, health, reach)
        except (OSError, TimeoutError, KeyError, TypeError, ValueError):
            return Look(reach=reach)

    def _part(self, record: Record) -> Path:
        return self.places.sent / f".image-{record.sha256[:16]}"

    def _room(self, needed: int) -> None:
        """Raises Full."""
        room = os.statvfs(self.places.sent)
        free = room.f_bavail * room.f_frsize
        if free < needed + SPARE:
            raise Full(f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")

    def _no_room(self, why: str) -> None:
        self._refuse(
            "CG-6182", f"no room for release {self.record.name} ({why}). Free space in {self.places.sent}",
            f"릴리스 {self.record.name} 을(를) 둘 공간이 없습니다 ({why}). {self.places.sent} 공간을 확보하십시오",
        )  # fmt: skip

    def _refuse(self, code: str, en: str, ko: str) -> None:
        self._step(Step.REFUSED, code=code, error=en, error_ko=ko)

    def _step(self, step: Step, **changes: Any) -> None:
        before = self.record
        if step is Step.BAD and before.code:  # the verdict says more than what the switch made of it
            changes = {}
        record = self._machine.step(step, **changes)
        log.info("release %s: %s %s", record.name, record.state.value, record.error)
        if record.state in RESTING:
            facts = {"release": record.name, "running": self.places.running.name, "code": record.code}
            self._note(f"release {'refused' if record.state is State.IDLE else record.state.value}", facts)
        self._tell()

    def _note(self, what: str, facts: Mapping[str, Any]) -> None:
        try:
            audit.append(self.site.state_dir, what, self.record.by, facts)
        except OSError as bad:
            log.error("%s is not in the audit file: %s", what, bad)

    def _said(self, arrived: int) -> None:
        hundredth = max(1, self.record.length // 100)
        moved = arrived // hundredth != self.arrived // hundredth
        self.arrived = arrived
        if moved:
            self._tell()

    def _tell(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def _tidy(self) -> None:
        """What no release needs any longer. In a thread, while nothing is under way."""
        if self.places.is_on_trial:
            return  # asked for by hand, or by a record that is lost: the release before may be needed yet
        with suppress(OSError):
            unpack.clean(self.places.sent)
            for left in self.places.sent.glob(".image-*"):
                left.unlink()
            for tree in self.places.others()[KEPT:]:
                unpack.remove(tree)
            for gone in self.places.sent.glob(".gone-*"):
                unpack.remove(gone)

    def _utc(self) -> str:
        return datetime.fromtimestamp(max(0.0, self._clock_s()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _ForAnother(Exception):
    """A release of another name, or for another machine."""

"""The release of this gateway as a resource of the agent: what it says, what a center may wish.

In: POST {"release": NAME, "by": WHO, "older": BOOL}; DELETE gives it up, before the switch; GET and Observe. Out: the
state; a wish is handed to `release_work`, which does it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from gateway.agent.release_places import NAME, is_older
from gateway.agent.release_state import RESTING, Record, State
from gateway.agent.release_work import ReleaseWork
from gateway.agent.resource import About, Refused, Reply, Request, Role
from gateway.wire import coap


class Releases:
    """A `Resource` with work of its own: `run` it."""

    def __init__(self, work: ReleaseWork) -> None:
        self._work = work

    async def run(self) -> None:
        """Until cancelled."""
        await self._work.run()

    @property
    def about(self) -> About:
        return About("releases", "Software releases", change=Role.RELEASE, kind="citygate.releases", observable=True)

    @property
    def record(self) -> Record:
        return self._work.record

    @property
    def lwm2m(self) -> tuple[int, int]:
        """State and update result of LwM2M's object 5 (resources 3 and 5)."""
        states = {State.DOWNLOADING: 1, State.DOWNLOADED: 2, State.STAGED: 2, State.TRIAL: 3}
        results = {"CG-6182": 2, "CG-6180": 5, "CG-6173": 5, "CG-6183": 6, "CG-6184": 6, "CG-6187": 10}
        record = self.record
        if record.state is State.COMMITTED:
            return 0, 1
        return states.get(record.state, 0), results.get(record.code, 8) if record.code else 0

    async def answer(self, request: Request) -> Reply:
        if request.path:
            raise _refused(coap.NOT_FOUND, "CG-6172", "there is nothing below releases", "releases 아래에는 없습니다")
        if request.method == coap.GET:
            return Reply.of(self.shown())
        if request.method == coap.DELETE:
            return self._give_up(request.upstream)
        if request.method == coap.POST:
            return self._ask(request)
        raise _refused(coap.NOT_ALLOWED, "CG-6172", "GET, POST or DELETE", "GET, POST, DELETE 만 됩니다")

    async def changes(self, request: Request) -> AsyncIterator[Reply]:
        """The state at first and after each change; while pieces arrive, once for each hundredth of the image."""
        while True:
            changed = self._work.changed
            yield Reply.of(self.shown())
            await changed.wait()

    def shown(self) -> dict[str, Any]:
        record, places = self.record, self._work.places
        out: dict[str, Any] = {
            "state": record.state.value,
            "running": places.running.name if places.is_packaged else "",
            "release": record.name,
            "by": record.by,
            "since": record.since_utc,
            "kept": [tree.name for tree in places.others()],
        }
        if record.state is State.DOWNLOADING and record.length:
            out |= {"arrived": self._work.arrived, "length": record.length}
        if record.state is State.TRIAL and self._work.in_the_way[0]:
            out |= {"waiting_for": self._work.in_the_way[0], "waiting_for_ko": self._work.in_the_way[1]}
        if record.code:
            out |= {"code": record.code, "error": record.error, "error_ko": record.error_ko}
        return out

    def _ask(self, request: Request) -> Reply:
        body = request.body()
        name = body.get("release") if isinstance(body, dict) else None
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _refused(
                coap.BAD_REQUEST, "CG-6172", 'name a release: {"release": "0.2.0"}',
                '릴리스를 지정하십시오: {"release": "0.2.0"}',
            )  # fmt: skip
        if not self._work.places.is_packaged:
            raise _refused(
                coap.UNAVAILABLE, "CG-6170",
                f"this gateway runs from {self._work.places.running}, not from its package; no release can replace it",
                f"패키지로 설치되지 않은 게이트웨이입니다({self._work.places.running}). 릴리스로 교체할 수 없습니다",
            )  # fmt: skip
        running, state = self._work.places.running.name, self.record.state
        if state not in RESTING and name != self.record.name:
            raise _refused(
                coap.UNAVAILABLE, "CG-6177", f"release {self.record.name} is under way ({state.value}): give it up",
                f"릴리스 {self.record.name} 진행 중입니다({state.value}). 먼저 취소하십시오",
            )  # fmt: skip
        if state not in RESTING or name == running:
            return Reply.of(self.shown(), coap.CHANGED)
        if is_older(name, running) and body.get("older") is not True:
            raise _refused(
                coap.FORBIDDEN, "CG-6179", f'{name} is older than {running}, in use. Say "older" if it is meant',
                f'{name} 은(는) 현재 {running} 보다 이전 릴리스입니다. 의도한 것이면 "older"를 지정하십시오',
            )  # fmt: skip
        here = self._work.places.folder(name) is not None
        if not here and not self._work.site.agent.releases:
            raise _refused(
                coap.FORBIDDEN, "CG-6171", "the site names no root metadata to prove releases by: [agent].releases",
                "릴리스를 검증할 루트 메타데이터가 사이트에 없습니다: [agent].releases",
            )  # fmt: skip
        person = body.get("by")
        by = f"center:{request.upstream}" + (f" {person[:64]}" if isinstance(person, str) and person else "")
        try:
            self._work.begin(Record(name=name, by=by, older=body.get("older") is True), is_here=here)
        except OSError as bad:
            raise _refused(
                coap.UNAVAILABLE, "CG-6182", f"the wish cannot be kept ({bad.strerror}); nothing was changed",
                f"요청을 저장할 수 없습니다 ({bad.strerror}). 변경된 것은 없습니다",
            ) from bad  # fmt: skip
        return Reply.of(self.shown(), coap.CHANGED)

    def _give_up(self, upstream: str) -> Reply:
        if not self._work.give_up(f"center:{upstream}") and self.record.state not in RESTING:
            raise _refused(
                coap.UNAVAILABLE, "CG-6177", f"release {self.record.name} is on trial; it ends by itself",
                f"릴리스 {self.record.name} 시험 운영 중입니다. 스스로 끝납니다",
            )  # fmt: skip
        return Reply.of(self.shown(), coap.DELETED)


def _refused(status: int, code: str, en: str, ko: str) -> Refused:
    return Refused(status, code, en, ko)

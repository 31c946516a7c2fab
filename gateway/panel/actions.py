"""What a person does through the panel: each an errand of the field half, under that person's name.

In: the pass of who asks and a JSON body. Out: an answer for the page. The field half decides and audits; asking a
device to show its bytes is audited here, since it changes nothing there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.responses import Response

from gateway.panel.answers import refused, said
from gateway.panel.asking import NotThere, asked
from gateway.panel.tokens import Pass
from gateway.spool import audit

ASK_S = 15.0
PUSH_S = 30.0
LONGEST_TEXT = 200
LONGEST_NAME = 128

log = logging.getLogger("citygate.panel")

Body = Mapping[str, Any]
Action = Callable[["Actions", Pass, Body], Awaitable[Response]]


class Actions:
    """Over the control socket in `state`."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._socket = state / "field.sock"

    async def acknowledge(self, who: Pass, body: Body) -> Response:
        note = text(body, "note", 300)
        return await self._errand({"acknowledge": text(body, "key", 300), "by": by(who), "note": note}, ASK_S)

    async def maintenance(self, who: Pass, body: Body) -> Response:
        words: dict[str, Any] = {"maintain": text(body, "device", LONGEST_NAME), "by": by(who)}
        if body.get("off"):
            return await self._errand({**words, "off": True}, ASK_S)
        return await self._errand({**words, "for_s": number(body, "for_s"), "why": text(body, "why")}, ASK_S)

    async def read(self, who: Pass, body: Body) -> Response:
        device = text(body, "device", LONGEST_NAME)
        answer = await self._errand({"read": device}, ASK_S)
        await self._audit("read", who, {"device": device})
        return answer

    async def command(self, who: Pass, body: Body) -> Response:
        words = {"command": text(body, "point", LONGEST_NAME), "value": number(body, "value")}
        return await self._errand({**words, "lease_s": number(body, "lease_s"), "by": by(who)}, ASK_S)

    async def push_test(self, who: Pass, body: Body) -> Response:
        return await self._errand({"push": "", "within_s": PUSH_S, "by": by(who)}, PUSH_S + ASK_S)

    async def _errand(self, words: Body, within_s: float) -> Response:
        try:
            answer = await asked(self._socket, words, within_s)
        except NotThere as gone:
            return not_there(gone)
        if "error" in answer:
            en, code = str(answer["error"]), str(answer.get("code", "CG-5140"))
            return refused(409, code, en, str(answer.get("error_ko") or en))
        return said(answer)

    async def _audit(self, what: str, who: Pass, facts: Body) -> None:
        try:
            await asyncio.to_thread(audit.append, self._state, f"panel.{what}", by(who), facts)
        except OSError as no:
            log.warning("%s by %s is not in the audit file: %s", what, by(who), no)


def by(who: Pass) -> str:
    return f"panel:{who.name or who.id}"


class Unfit(ValueError):
    """A body that is not what the action takes."""


def text(body: Body, key: str, longest: int = LONGEST_TEXT) -> str:
    """Raises Unfit."""
    value = body.get(key, "")
    if not isinstance(value, str) or len(value) > longest:
        raise Unfit(f"{key} is text of at most {longest} characters")
    return value


def number(body: Body, key: str) -> float:
    """Raises Unfit."""
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise Unfit(f"{key} is a number")
    return float(value)


def not_there(gone: NotThere) -> Response:
    return refused(
        503,
        "CG-6305",
        f"the field half does not answer ({gone}). Look at citygate-field",
        f"필드 프로세스가 응답하지 않습니다 ({gone}). citygate-field 를 확인하십시오",
    )

"""`live`: the latest value of every channel and the alarms that stand; told again as they change (Observe).

?device=NAME (a star at its end for any) leaves out the rest. The field half is asked at most once in EVERY_S, however
many observe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from gateway.agent.control import Control
from gateway.agent.health import QUALITY, field_half, nothing_below
from gateway.agent.resource import About, Reply, Request

EVERY_S = 1.0


class Live:
    about = About("live", "latest values and standing alarms; ?device=", kind="citygate.live", observable=True)

    def __init__(self, control: Control, every_s: float = EVERY_S) -> None:
        self._control, self._every_s = control, every_s
        self._asked_s = -every_s
        self._told: dict[str, Any] = {}
        self._asking = asyncio.Lock()

    async def answer(self, request: Request) -> Reply:
        nothing_below(request)
        return Reply.of(shown(await self._live(), request.query.get("device", "")))

    async def changes(self, request: Request) -> AsyncIterator[Reply]:
        nothing_below(request)
        before: Any = None
        while True:
            said = shown(await self._live(), request.query.get("device", ""))
            values = ({name: one[:2] for name, one in said["values"].items()}, said["alarms"])
            if values != before:
                before = values
                yield Reply.of(said)
            await asyncio.sleep(self._every_s)

    async def _live(self) -> dict[str, Any]:
        """Raises Refused."""
        async with self._asking:
            if time.monotonic() - self._asked_s >= self._every_s * 0.9:
                with field_half():
                    self._told = await self._control.request({"get": "live"})
                self._asked_s = time.monotonic()
            return self._told


def shown(live: Mapping[str, Any], device: str = "") -> dict[str, Any]:
    """values: {channel: [value, quality, age in seconds, unit]}."""
    values = {
        str(one["name"]): [one["value"], QUALITY.get(int(one["quality"]), "unknown"), one["age_s"], one["unit"]]
        for one in live.get("channels") or ()
        if _is_of(str(one["name"]), device)
    }
    alarms = [
        {"code": one["code"], "subject": one["subject"], "en": one["en"], "ko": one["ko"]}
        for one in live.get("alarms") or ()
        if not device or _is_of(str(one["subject"]), device)
    ]
    return {"values": values, "alarms": alarms}


def _is_of(name: str, device: str) -> bool:
    """Whether a channel or subject belongs to the device."""
    if device.endswith("*"):
        return name.startswith(device[:-1])
    return not device or name == device or name.startswith(f"{device}.")

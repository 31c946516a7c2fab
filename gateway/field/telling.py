"""What runs, told as it happens: to a panel that stays connected to the control socket.

In: the engine's latest readings, its events, the judge's bands. Out: one JSON line after another.

    {"channels": [...], "devices": [...], "links": [...], "standing": [...], "past": [...], ...}    first
    {"at_ms": T, "rows": [[channel, value, kept, quality, time_ms], ...]}     readings new since the line before
    {"at_ms": T, "bands": [[channel, low, high], ...]}     what the detector thinks normal, every BANDS_S
    {"event": {...}}                  at once
    {"health": {...}}                 as `citygate status` has it, every HEALTH_S
    {"acknowledged": {...}}           at once

Times are milliseconds of UTC, whatever the offset is worth (`clock` in health says it). A follower that does not read
is dropped; what it missed is in the next `rows` of whoever follows. No number is invented: NaN is null.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.field.clock import boottime_ns, utc_offset
from gateway.site.plan import Channel, Plan
from gateway.spool.records import Event, Phase

FOLLOWERS = 4
EVERY_S = 1.0
BANDS_S = 10.0
HEALTH_S = 2.0
PAST = 200  # events kept for whoever comes later
WAITING = 1000  # events a follower may be behind


class Latest(Protocol):
    """The engine's side, columns by channel."""

    last_value: NDArray[np.float64]
    last_quality: NDArray[np.uint8]
    last_ns: NDArray[np.int64]
    readings: NDArray[np.int64]
    standing: dict[str, Event]

    def kept(self) -> NDArray[np.float64] | None: ...

    def bands(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None: ...


class Telling:
    """One for the running plan; `heard` each event, `follow` for each who wants to know."""

    def __init__(
        self,
        plan: Plan,
        latest: Latest,
        health: Callable[[], Awaitable[dict[str, Any]]],
        acknowledged: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._plan, self._latest, self._health = plan, latest, health
        self._acknowledged = acknowledged
        self._past: deque[dict[str, Any]] = deque(maxlen=PAST)
        self._queues: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def heard(self, event: Event) -> None:
        self._past.append(shown(event))
        self._say({"event": self._past[-1]})

    def said(self) -> None:
        """An alarm was acknowledged, or is over."""
        self._say({"acknowledged": dict(self._acknowledged())})

    def close(self) -> None:
        """The plan ends: so do those who follow it."""
        for queue in self._queues:
            queue.put_nowait(None)

    def _say(self, line: dict[str, Any]) -> None:
        for queue in self._queues:
            if queue.qsize() < WAITING:
                queue.put_nowait(line)

    async def follow(self, request: Mapping[str, Any]) -> Any:
        """{"follow": {}}: an endless answer, or an error."""
        if len(self._queues) >= FOLLOWERS:
            en = f"{FOLLOWERS} follow already. End a panel that is not needed"
            ko = f"이미 {FOLLOWERS}개가 연결되어 있습니다. 쓰지 않는 패널을 종료하십시오"
            return {"code": "CG-5190", "error": en, "error_ko": ko}
        return self._lines()

    async def _lines(self) -> AsyncGenerator[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            seen = np.full(len(self._plan.channels), -1, np.int64)
            qualities = self._latest.last_quality.copy()
            yield self._first()
            due_s = bands_s = health_s = 0.0
            loop = asyncio.get_running_loop()
            while True:
                now_s = loop.time()
                if now_s >= due_s:
                    due_s = now_s + EVERY_S
                    if rows := self._rows(seen, qualities):
                        yield {"at_ms": _utc_ms(boottime_ns()), "rows": rows}
                if now_s >= bands_s:
                    bands_s = now_s + BANDS_S
                    if bands := self._bands():
                        yield {"at_ms": _utc_ms(boottime_ns()), "bands": bands}
                if now_s >= health_s:
                    health_s = now_s + HEALTH_S
                    yield {"health": await self._health()}
                try:
                    async with asyncio.timeout(max(0.0, min(due_s, bands_s, health_s) - loop.time())):
                        line = await queue.get()
                except TimeoutError:
                    continue
                if line is None:
                    return
                yield line
        finally:
            self._queues.discard(queue)

    def _first(self) -> dict[str, Any]:
        plan = self._plan
        points = (point for link in plan.links for point in link.points)
        writable = {point.channel: point.writable for point in points if point.writable is not None}
        return {
            "gateway": plan.gateway,
            "mode": plan.mode,
            "timezone": plan.timezone,
            "at_ms": _utc_ms(boottime_ns()),
            "channels": [_channel(channel, writable.get(channel.index)) for channel in plan.channels],
            "devices": [
                {
                    "name": device.name,
                    "profile": device.profile,
                    "link": device.link,
                    "group": device.group,
                    "family": device.family,
                    "place": {"en": device.place.name_en, "ko": device.place.name_ko},
                    "asset": device.place.asset,
                    "channels": list(device.channels),
                }
                for device in plan.devices
            ],
            "standing": [shown(event) for event in self._latest.standing.values()],
            "past": list(self._past),
            "acknowledged": dict(self._acknowledged()),
        }

    def _rows(self, seen: NDArray[np.int64], qualities: NDArray[np.uint8]) -> list[list[Any]]:
        """Channels whose reading or quality is another one than `seen` and `qualities` say; these are brought up to
        date."""
        latest = self._latest
        new = np.flatnonzero((latest.last_ns != seen) | (latest.last_quality != qualities))
        seen[:], qualities[:] = latest.last_ns, latest.last_quality
        new = new[latest.last_ns[new] > 0]
        if not new.size:
            return []
        kept = latest.kept()
        behind = (latest.last_value if kept is None else np.where(np.isnan(kept), latest.last_value, kept))[new]
        columns = (new, latest.last_value[new], behind, latest.last_quality[new], latest.last_ns[new])
        offset_ns = utc_offset()[0]
        return [
            [c, _number(x), _number(k), q, (t + offset_ns) // 1_000_000]
            for c, x, k, q, t in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _bands(self) -> list[list[Any]]:
        bands = self._latest.bands()
        if bands is None:
            return []
        low, high = bands
        known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
        return [list(row) for row in zip(known.tolist(), low[known].tolist(), high[known].tolist(), strict=True)]


def shown(event: Event) -> dict[str, Any]:
    """An event for people, its evidence included."""
    return {
        "key": event.key,
        "code": event.code,
        "phase": Phase(event.phase).name.lower(),
        "severity": event.severity.name.lower(),
        "cause": event.cause,
        "subject": event.subject,
        "at_ms": _utc_ms(event.time_ns),
        "since_ms": _utc_ms(event.onset_ns),
        "score": _number(event.score),
        "en": event.text_en,
        "ko": event.text_ko,
        "place": {"en": event.place_en, "ko": event.place_ko},
        "asset": event.asset,
        "evidence": [
            [channel, [[_utc_ms(time_ns), _number(value)] for time_ns, value in samples]]
            for channel, samples in event.evidence
        ],
    }


def _channel(channel: Channel, writable: tuple[float, float] | None) -> dict[str, Any]:
    return {
        "name": channel.name,
        "device": channel.device,
        "point": channel.point,
        "unit": channel.unit,
        "role": channel.role,
        "kind": channel.kind.name.lower(),
        "label": {"en": channel.label_en, "ko": channel.label_ko},
        "unproven": channel.unproven,
        "derived": bool(channel.derived),
        "period_s": channel.period_s,
        "words": {str(value): word for value, word in channel.words},
        "range": [_number(channel.low), _number(channel.high)],
        "resolution": channel.resolution,
        "writable": writable,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _utc_ms(time_ns: int) -> int:
    return (time_ns + utc_offset()[0]) // 1_000_000

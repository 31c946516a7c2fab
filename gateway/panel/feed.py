"""What the field half tells, kept for whoever looks: one connection to its control socket however many viewers.

In: lines of `gateway.field.telling`. Out: events of a stream to each viewer, as bytes ready to be sent, and what the
pages ask for. A field half that is not there is tried again every RETRY_S and told as such; nothing is asked of it more
than once because of many viewers. A viewer that does not read loses its place, not the others'.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from gateway.panel.rings import Ring
from gateway.panel.views import cabinet, nobody

RETRY_S = 0.5
SILENT_S = 10.0  # health comes every two seconds: a field half that says nothing is stuck
LONGEST_LINE = 8 << 20
WAITING = 256  # messages a viewer may be behind
VIEWERS = 64
PAST = 200

log = logging.getLogger("citygate.panel")


class TooMany(Exception):
    """Of viewers."""


class Viewer:
    """One open page. `values`: "all", "none", or a device's name."""

    def __init__(self, values: str) -> None:
        self.values = values
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)

    def put(self, message: bytes) -> None:
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)  # the end of the stream: the page connects again and begins anew


class Feed:
    """Of the field half at `socket`. `run` keeps it; everything else is only asked."""

    def __init__(self, socket: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._socket, self._now_ms = socket, now_ms
        self._viewers: set[Viewer] = set()
        self.up = False
        self.since_ms = now_ms()
        self.first: dict[str, Any] = {}
        self.health: dict[str, Any] = {}
        self.standing: dict[str, dict[str, Any]] = {}
        self.past: deque[dict[str, Any]] = deque(maxlen=PAST)
        self.acknowledged: dict[str, Any] = {}
        self.rows: dict[int, list[Any]] = {}
        self.bands: dict[int, list[Any]] = {}
        self._rings: list[Ring] = []
        self._members: dict[str, frozenset[int]] = {}
        self._named: tuple[str, ...] = ()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen()
            except (OSError, ValueError, TimeoutError, KeyError, TypeError, IndexError) as gone:
                log.debug("field half: %r", gone)
            self._is_up(False)
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=LONGEST_LINE)
        try:
            writer.write(b'{"follow": {}}\n')
            while True:
                async with asyncio.timeout(SILENT_S):
                    line = await reader.readline()
                if not line:
                    return
                self._take(json.loads(line), line)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _take(self, said: dict[str, Any], line: bytes) -> None:
        if "channels" in said:
            self._begin(said)
        elif "rows" in said:
            for row in said["rows"]:
                self.rows[row[0]] = row
                self._rings[row[0]].add(row[4], row[1], row[2], row[3])
            self._tell_rows(said, line)
        elif "health" in said:
            self.health = said["health"]
            self._tell("cabinet", self.cabinet())
        elif "bands" in said:
            self.bands = {band[0]: band for band in said["bands"]}
            self._tell("bands", {"bands": said["bands"]})
        elif "event" in said:
            self._event(said["event"])
        elif "acknowledged" in said:
            self.acknowledged = said["acknowledged"]
            self._tell("acknowledged", self.acknowledged)
        elif "error" in said:
            log.warning("the field half does not tell: %s", said["error"])
            raise ValueError("refused")

    def _begin(self, said: dict[str, Any]) -> None:
        names = tuple(channel["name"] for channel in said["channels"])
        if names != self._named:  # another site: curves of other channels are none of these
            self._named = names
            self._rings = [Ring() for _ in names]
            self.rows, self.bands = {}, {}
            self._members = {one["name"]: frozenset(one["channels"]) for one in said["devices"]}
        self.standing = {event["key"]: event for event in said["standing"]}
        self.past = deque(said["past"], maxlen=PAST)
        self.acknowledged = said["acknowledged"]
        self.first = {key: said[key] for key in ("gateway", "mode", "timezone", "channels", "devices")}
        self._is_up(True)
        self._tell("first", self.beginning())

    def _event(self, event: dict[str, Any]) -> None:
        self.past.append(event)
        stands = self.standing.get(event["key"])
        if event["phase"] == "clear":
            self.standing.pop(event["key"], None)
        elif event["phase"] == "onset":
            self.standing[event["key"]] = event
        elif stands is not None:  # an update adds readings; the sentence is the onset's
            self.standing[event["key"]] = {**stands, "evidence": [*stands["evidence"], *event["evidence"]]}
        self._tell("event", event)

    def _is_up(self, up: bool) -> None:
        if up == self.up:
            return
        self.up, self.since_ms = up, self._now_ms()
        log.info("the field half %s", "answers" if up else "does not answer")
        self._tell("field", {"up": up, "since_ms": self.since_ms})
        if not up:
            self._tell("cabinet", self.cabinet())

    # -- what pages ask for

    def cabinet(self) -> dict[str, Any]:
        if not self.health:
            return nobody(self._now_ms(), self.up)
        return cabinet(self.health, self.first, list(self.standing), self._now_ms(), self.up)

    def beginning(self) -> dict[str, Any]:
        """All that a page needs that opens now."""
        return {
            **self.first,
            "at_ms": self._now_ms(),
            "up": self.up,
            "standing": list(self.standing.values()),
            "past": list(self.past),
            "acknowledged": self.acknowledged,
            "cabinet": self.cabinet(),
            "latest": list(self.rows.values()),
            "bands": list(self.bands.values()),
        }

    def history(self, device: str) -> dict[str, Any] | None:
        """Columns of each channel of a device; None where there is no such device."""
        members = self._members.get(device)
        if members is None:
            return None
        return {"device": device, "channels": {channel: self._rings[channel].columns() for channel in sorted(members)}}

    def alarms(self) -> dict[str, Any]:
        return {
            "standing": list(self.standing.values()),
            "past": list(reversed(self.past)),
            "acknowledged": self.acknowledged,
        }

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    async def stream(self, values: str, quiet_s: float = 10.0) -> AsyncIterator[bytes]:
        """Server-sent events. Raises TooMany."""
        if len(self._viewers) >= VIEWERS:
            raise TooMany
        viewer = Viewer(values)
        self._viewers.add(viewer)
        try:
            yield message("first", self.beginning())
            while True:
                try:
                    async with asyncio.timeout(quiet_s):
                        said = await viewer.queue.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if said is None:
                    return
                yield said
        finally:
            self._viewers.discard(viewer)

    def close(self) -> None:
        """End every stream."""
        for viewer in list(self._viewers):
            while not viewer.queue.empty():
                viewer.queue.get_nowait()
            viewer.queue.put_nowait(None)

    def _tell(self, kind: str, body: Any) -> None:
        if self._viewers:
            said = message(kind, body)
            for viewer in list(self._viewers):
                viewer.put(said)

    def _tell_rows(self, said: dict[str, Any], line: bytes) -> None:
        """The line as it came, for those who want all; cut down once a device for those who look at one."""
        cut: dict[str, bytes] = {}
        for viewer in list(self._viewers):
            if viewer.values == "none":
                continue
            if viewer.values not in cut:
                members = self._members.get(viewer.values)
                if viewer.values == "all":
                    cut["all"] = b"event: rows\ndata: " + line.strip() + b"\n\n"
                else:
                    rows = [row for row in said["rows"] if row[0] in (members or ())]
                    cut[viewer.values] = message("rows", {"at_ms": said["at_ms"], "rows": rows}) if rows else b""
            if cut[viewer.values]:
                viewer.put(cut[viewer.values])


def message(kind: str, body: Any) -> bytes:
    """One server-sent event. JSON has no line breaks of its own."""
    return f"event: {kind}\ndata: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()

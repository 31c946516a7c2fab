"""Captures that are kept by themselves: what passed on a link when one of its devices fell out.

In: the tapes, and word of who fell out. Out: pcapng files in the state folder, a bounded number of them, the oldest
gone first. One a device in ten minutes: whoever comes and goes does not push out what others left. A disk that refuses
costs the capture, never the gateway.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.field import capture
from gateway.field.capture import Line
from gateway.field.clock import boottime_ns
from gateway.field.tape import Tape

log = logging.getLogger("citygate.field")

FOLDER = "captures"
MOST = 16
PAUSE_NS = 600_000_000_000


class Freezer:
    """`lines` and `tapes` by link; `utc_offset_ns` of now."""

    def __init__(
        self, folder: Path, lines: Mapping[str, Line], tapes: Mapping[str, Tape], utc_offset_ns: Callable[[], int]
    ) -> None:
        self._folder = folder / FOLDER
        self._lines, self._tapes, self._utc_offset_ns = lines, tapes, utc_offset_ns
        self._last_ns: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fell_out(self, link: str, device: str, why: str) -> None:
        """Keep what passed on `link`; returns at once."""
        now_ns = boottime_ns()
        pieces = self._tapes[link].since() if link in self._tapes else ()
        if not pieces or now_ns - self._last_ns.get((link, device), -PAUSE_NS) < PAUSE_NS:
            return
        self._last_ns[link, device] = now_ns
        line = Line(**{**_fields(self._lines[link]), "why": f"{device or link}: {why}"})
        offset_ns = self._utc_offset_ns()
        utc = datetime.fromtimestamp((now_ns + offset_ns) / 1e9, UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{utc}-{link}{'-' * bool(device)}{device}.pcapng"
        task = asyncio.ensure_future(
            asyncio.to_thread(self._keep, name, lambda: capture.file([(line, pieces)], offset_ns))
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Until all that was begun is on disk or given up."""
        await asyncio.gather(*self._tasks)

    def kept(self) -> list[dict[str, Any]]:
        """The files, the oldest first."""
        try:
            return [{"file": str(path), "bytes": path.stat().st_size} for path in sorted(self._folder.glob("*.pcapng"))]
        except OSError:
            return []

    def _keep(self, name: str, content: Callable[[], bytes]) -> None:
        try:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            fresh = self._folder / f".{name}.new"
            fresh.write_bytes(content())
            os.replace(fresh, self._folder / name)
            for old in sorted(self._folder.glob("*.pcapng"))[:-MOST]:
                old.unlink()
        except OSError as refused:
            log.warning("the capture %s is not kept: %s", name, refused.strerror)
        else:
            log.warning("what passed is kept: %s", self._folder / name)


def _fields(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in Line.__dataclass_fields__}

"""Alarms that somebody has seen: who, when, and a note. Kept on disk while the alarm stands.

    {"acknowledge": KEY, "by": "kim", "note": "valve 3 is closed"}

An acknowledgement changes nothing of the alarm; it goes into the audit file, and so to the center.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from gateway.spool import audit

FILE = "acknowledged.json"
LONGEST = 300  # characters of a note

log = logging.getLogger("citygate.field")


class Acknowledged:
    """Of one state folder. `standing` tells the alarms that stand, by key."""

    def __init__(self, state: Path, standing: Callable[[], Collection[str]]) -> None:
        self._state, self._standing = state, standing
        self.told: Callable[[], None] = lambda: None
        self._kept: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((state / FILE).read_text())
            if isinstance(found, dict):
                self._kept = {key: one for key, one in found.items() if isinstance(one, dict)}

    def shown(self) -> Mapping[str, dict[str, Any]]:
        """By key of the alarm: by, note, at_ms (UTC)."""
        standing = self._standing()
        return {key: one for key, one in self._kept.items() if key in standing}

    async def acknowledge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the control socket asks for."""
        key, by, note = (str(request.get(word) or "") for word in ("acknowledge", "by", "note"))
        if key not in self._standing():
            return {
                "code": "CG-5191",
                "error": f"no alarm {key} stands: it is over, or its name is another",
                "error_ko": f"{key} 경보가 없습니다. 이미 해제되었거나 이름이 다릅니다",
            }
        if not by or len(note) > LONGEST:
            return {
                "code": "CG-5192",
                "error": f"say who acknowledges (by), and no more than {LONGEST} characters of note",
                "error_ko": f"확인자(by)를 밝히고 메모는 {LONGEST}자 이내로 쓰십시오",
            }
        at_ms = time.time_ns() // 1_000_000
        self._kept = dict(self.shown()) | {key: {"by": by, "note": note, "at_ms": at_ms}}
        self.told()
        answer: dict[str, Any] = {"acknowledged": key}
        try:
            await asyncio.to_thread(self._write)
            await asyncio.to_thread(audit.append, self._state, "acknowledge", by, {"alarm": key, "note": note})
        except OSError as refused:
            log.error("acknowledgement of %s is not on disk: %s", key, refused)
            answer["unaudited"] = str(refused)
        return answer

    def _write(self) -> None:
        fresh = self._state / f"{FILE}.new"
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(self._kept, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._state / FILE)

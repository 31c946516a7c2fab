"""Raw readings to a CSV file beside everything else, for `citygate replay`. Bounded: at `limit_mb` it ends and says so.

A recording never holds up polling: what the disk refuses ends the recording, not the gateway.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.site.plan import Plan
from gateway.spool.trouble import SpoolError
from protocols.api import Batch

log = logging.getLogger("citygate.field")

HEADER = "timestamp,channel,value,quality\n"
S = 1_000_000_000


class Recorder:
    """`timestamp` is UTC in seconds with nine decimals, from CLOCK_BOOTTIME and the boot's offset at the start."""

    def __init__(self, path: Path, plan: Plan, utc_offset_ns: int, limit_mb: float = 100.0) -> None:
        self._names = [channel.name for channel in plan.channels]
        self._offset_ns = utc_offset_ns
        self._left = int(limit_mb * 1e6)
        self._path = path
        self._file = path.open("a", encoding="utf-8")
        self._open = True
        if not self._file.tell():
            self._put(HEADER)

    def take(self, batch: Batch) -> None:
        if not self._open:
            return
        lines = [
            f"{(time_ns + self._offset_ns) // S}.{(time_ns + self._offset_ns) % S:09d},{self._names[channel]},"
            f"{'' if value != value else repr(value)},{quality}\n"
            for channel, time_ns, value, quality in zip(*(column.tolist() for column in batch), strict=True)
        ]
        self._put("".join(lines))

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                self._file.close()
            except OSError as refused:
                log.error("the recording %s lacks its end: %s", self._path, refused.strerror)

    def _put(self, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            log.warning("the recording %s has reached its limit and ends here", self._path)
            self.close()
            return
        try:
            self._file.write(text)
        except OSError as refused:
            log.error("the recording %s ends here: %s", self._path, refused.strerror)
            self.close()


def recorder(path: str, plan: Plan, utc_offset_ns: int) -> Recorder:
    """A recording at `path`. Raises SpoolError where it cannot be written."""
    try:
        return Recorder(Path(path), plan, utc_offset_ns)
    except OSError as refused:
        raise SpoolError(
            "CG-2009",
            f"the recording {path} cannot be written ({refused.strerror})",
            f"기록 파일 {path}에 쓸 수 없습니다 ({refused.strerror})",
            next_en="Name a file in a folder that the service may write to",
            next_ko="서비스가 쓸 수 있는 폴더의 파일을 지정하십시오",
        ) from refused

"""The gateway's clocks: CLOCK_BOOTTIME for every reading, and its offset to UTC with an uncertainty, where it is known.

Readings never carry wall time; a record's wall time is computed when it is encoded, from the boot's offset. A cabinet's
computer may have no clock that runs without power: it starts in 1970, or where a file says it was switched off. Until
such a clock was synchronised nothing is known of UTC, and records wait.
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct
import time
from pathlib import Path
from typing import Protocol

log = logging.getLogger("citygate.field")

UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2): the kernel's clock is not disciplined
UNKNOWN_NS = 3_600 * 1_000_000_000  # what an undisciplined clock may be off by, said rather than guessed smaller

FLOOR_NS = 1_767_225_600 * 1_000_000_000  # 2026-01-01: no clock that was set shows less
RESTORED = (Path("/var/lib/systemd/timesync/clock"), Path("/etc/fake-hwclock.data"))  # where a clock is taken up again
RTC = Path("/sys/class/rtc")

_TIMEX_BYTES = 208
_MAXERROR_AT = 24  # struct timex on 64-bit Linux: modes, offset, freq, maxerror ...


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def process_start_ns() -> int:
    """When the kernel began this process: CLOCK_BOOTTIME rounded down to a clock tick."""
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def utc_offset() -> tuple[int, int]:
    """(UTC minus CLOCK_BOOTTIME in ns, uncertainty in ns), the latter from the kernel's own maxerror."""
    offset_ns = time.time_ns() - boottime_ns()
    maxerror_us = _maxerror_us()
    return offset_ns, UNKNOWN_NS if maxerror_us is None else maxerror_us * 1_000


def known_utc_offset() -> tuple[int, int] | None:
    """`utc_offset`; None while it would be invented: the clock is not synchronised, and it shows what no clock that was
    set can show, or what a file said when the power went and no real-time clock knows better."""
    if _maxerror_us() is None and (time.time_ns() < FLOOR_NS or _is_restored()):
        return None
    return utc_offset()


class Dated(Protocol):
    """What computes wall times of a boot's records."""

    def set_offset(self, offset_ns: int, uncertainty_ns: int) -> None: ...


class BootClock:
    """The boot's offset to UTC as records are dated by it, in ns; before `is_set` it is a guess that dates none."""

    def __init__(self) -> None:
        self.offset_ns, self.uncertainty_ns = utc_offset()
        self.is_set = False

    def enter(self, spool: Dated) -> bool:
        """Enter the offset once it is known, and again whenever the clock was set. True where it was. Raises
        SpoolError; then nothing is changed."""
        known = known_utc_offset()
        if known is None:
            return False
        has_moved = abs(known[0] - self.offset_ns) > max(1_000_000, known[1] // 4)
        is_surer = known[1] < self.uncertainty_ns // 2
        if self.is_set and not has_moved and not is_surer:
            return False
        spool.set_offset(*known)
        if not self.is_set:
            log.info("the clock is set, to within %.3f s", known[1] / 1e9)
        self.offset_ns, self.uncertainty_ns = known
        self.is_set = True
        return True


def _maxerror_us() -> int | None:
    """The kernel's bound of its clock's error; None where the clock is not synchronised."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None).adjtimex(timex)
    (maxerror_us,) = struct.unpack_from("q", timex, _MAXERROR_AT)
    return None if state < 0 or state == UNSYNCHRONISED else int(maxerror_us)


def _is_restored() -> bool:
    has_rtc = RTC.is_dir() and any(RTC.iterdir())
    return not has_rtc and any(path.exists() for path in RESTORED)

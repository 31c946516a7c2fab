"""The gateway's clocks: CLOCK_BOOTTIME for every reading, and its offset to UTC with an uncertainty.

Readings never carry wall time; a record's wall time is computed when it is encoded, from the boot's offset.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from pathlib import Path

UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2): the kernel's clock is not disciplined
UNKNOWN_NS = 3_600 * 1_000_000_000  # what an undisciplined clock may be off by, said rather than guessed smaller

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
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None).adjtimex(timex)
    (maxerror_us,) = struct.unpack_from("q", timex, _MAXERROR_AT)
    uncertain = state < 0 or state == UNSYNCHRONISED
    return offset_ns, UNKNOWN_NS if uncertain else maxerror_us * 1_000

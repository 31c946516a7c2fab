"""Messages as a center reads them: names instead of channel numbers, UTC instead of a boot's clock. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.spool.records import Lane, Phase, Severity

Scalar = float | str | bool


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One window, as `gateway.spool.records.Window`; times in UTC ns (to the millisecond), NaN where n = 0."""

    channel: str
    unit: str
    start_ns: int
    end_ns: int
    n: int
    expected: int
    min: float
    max: float
    mean: float
    sd: float
    last: float
    p50: float
    p95: float
    quality: int


@dataclass(frozen=True, slots=True)
class ValueRow:
    channel: str
    unit: str
    time_ns: int
    value: float
    quality: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """One abnormality beginning, changing or ending. `evidence`: (channel, ((UTC ns, value), ...))."""

    code: str
    phase: Phase
    severity: Severity
    cause: str
    subject: str
    time_ns: int
    onset_ns: int
    score: float
    text_en: str
    text_ko: str
    asset: str
    place_en: str
    place_ko: str
    latitude: float | None
    longitude: float | None
    evidence: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


@dataclass(frozen=True, slots=True)
class GapEntry:
    """Readings that will never come, both bounds exclusive, in the boot's own clock (CLOCK_BOOTTIME ns)."""

    channels: tuple[str, ...]
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class GapRow:
    """`from_offset_ns` and `to_offset_ns` turn the bounds into UTC; None while that boot's clock was never set.
    `records`: (lane, boot, first seq, last seq) that will never come."""

    reason: str
    entries: tuple[GapEntry, ...]
    from_boot: str
    to_boot: str
    from_offset_ns: int | None
    to_offset_ns: int | None
    records: tuple[tuple[int, str, int, int], ...]


@dataclass(frozen=True, slots=True)
class HealthRow:
    time_ns: int
    facts: Mapping[str, Scalar]


Content = tuple[WindowRow, ...] | tuple[ValueRow, ...] | EventRow | GapRow | HealthRow


@dataclass(frozen=True, slots=True)
class Message:
    """One message: who numbers it, and what it holds. `next_s` promises the next one, 0 for no promise."""

    boot: str
    upstream: str
    lane: Lane
    seq: int
    next_s: float
    content: Content

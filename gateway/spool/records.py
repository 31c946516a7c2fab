"""What the spool holds, as values and as CBOR. No SQLite here.

A record belongs to one upstream and one lane and carries one item: an `Event` (lane ALARM), `Windows` or
`Values` (lane SUMMARY), a `Gap` or `Health` (lane DIAGNOSTIC). Times are CLOCK_BOOTTIME ns of the record's boot; wall
time is applied when a record is encoded for an upstream, from the boot's UTC offset.

Channels are rows of the catalog named by the record.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from enum import IntEnum
from operator import attrgetter
from typing import Any

import cbor2


class Lane(IntEnum):
    ALARM = 0
    SUMMARY = 1
    DIAGNOSTIC = 2


class Phase(IntEnum):
    ONSET = 0
    UPDATE = 1
    CLEAR = 2


class Severity(IntEnum):
    NOTICE = 0
    MINOR = 1
    MAJOR = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Event:
    """One abnormality beginning, changing or ending. `code` is `family.what` (`water.burst`); `cause` separates
    "sensor" (the instrument is broken) from "city" (the world is abnormal). `time_ns` is the reading that satisfied the
    rule; `evidence` holds (channel, ((time_ns, value), ...)) around it."""

    code: str
    phase: Phase
    severity: Severity
    cause: str  # "city", "sensor" or "link"
    subject: str  # device, group or zone it is about
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
    evidence: tuple[tuple[int, tuple[tuple[int, float], ...]], ...] = ()

    @property
    def key(self) -> str:
        """What an onset and its clear have in common."""
        return f"{self.code}|{self.subject}"


@dataclass(frozen=True, slots=True)
class Window:
    """Summary of one channel over [start_ns, end_ns). `n` readings entered the statistics, `expected` were due.
    Gauges: mean, sd (population), quantiles. Counters: `mean` is the delta over the window, `sd` the rollovers.
    States: `mean` is the share of time not 0, `sd` the number of changes. NaN where n = 0."""

    channel: int
    start_ns: int
    end_ns: int
    n: int
    expected: int
    min: float
    max: float
    mean: float
    sd: float
    first: float
    last: float
    last_ns: int
    p50: float
    p95: float
    quality: int  # the worst of the window
    inner: tuple[float, ...] = ()  # p05, p25, p75 of a gauge: for merging only, never sent


@dataclass(frozen=True, slots=True)
class Windows:
    rows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """The windows still open, as they would be committed now. Each replaces the one before; a writer that finds one
    left by a killed predecessor makes records of it. `coverage` is what that adds: last_ns by channel name. `levels`
    are baselines at `time_ns` that whoever comes next may start from."""

    items: tuple[tuple[str, Windows], ...] = ()
    coverage: Mapping[str, int] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class Values:
    """Latest values, sent at once after a start: (channel, time_ns, value, quality). They are not counted as
    readings: the same readings come again inside a window."""

    rows: tuple[tuple[int, int, float, int], ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """Readings that will never come: per entry (channels, from_ns, to_ns), both bounds exclusive. `from_boot` and
    `to_boot` name the boot whose clock the bound belongs to, when it is not the record's own. `records` holds (lane,
    boot, first seq, last seq) of records that will never come. `reason`: crash, stopped, start (a device spoke
    before it could be heard), link (its port was closed), overrun, disk, thinned to 10 min, thinned to 1 h, refused
    (the center would not take it), damaged (unreadable in the spool)."""

    reason: str
    entries: tuple[tuple[tuple[int, ...], int, int], ...]
    from_boot: str = ""
    to_boot: str = ""
    records: tuple[tuple[int, str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """State of the gateway itself as data: free-form name -> number or short text."""

    time_ns: int
    facts: Mapping[str, Any]


_WINDOW = attrgetter(*(one.name for one in dataclass_fields(Window)))  # asdict would take ten times as long

Item = Event | Windows | Values | Gap | Health
_KINDS: dict[str, type] = {"event": Event, "windows": Windows, "values": Values, "gap": Gap, "health": Health}
_NAMES = {cls: name for name, cls in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Record:
    """One item as the spool hands it out. (gateway, boot, upstream, lane, seq) tells duplicates."""

    boot: str
    upstream: str
    lane: Lane
    seq: int
    catalog: str
    item: Item


def lane_of(item: Item) -> Lane:
    if isinstance(item, Event):
        return Lane.ALARM
    return Lane.SUMMARY if isinstance(item, (Windows, Values)) else Lane.DIAGNOSTIC


def time_of(item: Item) -> int:
    """The latest moment that the item tells of, ns of its boot's clock."""
    if isinstance(item, (Event, Health)):
        return item.time_ns
    if isinstance(item, Gap):
        return max((to_ns for _, _, to_ns in item.entries), default=0)
    if isinstance(item, Values):
        return max((row[1] for row in item.rows), default=0)
    return max((row.end_ns for row in item.rows), default=0)


def kin_of(item: Item) -> int:
    """Equal for windows of the same channels, so that those which could be merged are found unread; 0 for anything
    that is no window."""
    if not isinstance(item, Windows):
        return 0
    return 1 + zlib.crc32(repr([row.channel for row in item.rows]).encode())


def to_blob(item: Item) -> bytes:
    """Compressed CBOR of [kind, fields]."""
    fields = {"rows": [_WINDOW(row) for row in item.rows]} if isinstance(item, Windows) else asdict(item)
    return zlib.compress(cbor2.dumps([_NAMES[type(item)], fields]), 6)


def from_blob(blob: bytes) -> Item:
    """The inverse of `to_blob`. Raises ValueError on anything else."""
    try:
        kind, fields = cbor2.loads(zlib.decompress(blob))
        if kind == "windows":
            return Windows(tuple(Window(*row[:15], *map(tuple, row[15:])) for row in fields["rows"]))
        item = _KINDS[kind](**{k: _tuples(v) for k, v in fields.items()})
    except (cbor2.CBORDecodeError, zlib.error, AttributeError, KeyError, TypeError, ValueError) as bad:
        raise ValueError(f"not a spool item: {bad}") from bad
    if isinstance(item, Event):
        object.__setattr__(item, "phase", Phase(item.phase))
        object.__setattr__(item, "severity", Severity(item.severity))
    return item  # type: ignore[no-any-return]


def readable(blob: bytes) -> Item | None:
    """`from_blob`, None where it cannot be read."""
    try:
        return from_blob(blob)
    except ValueError:
        return None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def is_number(value: float) -> bool:
    return not (math.isnan(value) or math.isinf(value))

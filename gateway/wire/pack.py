"""One spool record as one CoAP message, and back. In: a record, its catalog, the boots' UTC offsets. Out: path and
SenML-CBOR pack. No sockets, no clocks, no SQLite.

Every pack starts with a record holding bn = "<gateway>/", bt and `i` = [boot as 8 bytes, upstream, seq, next_s?].
The path says what it is and so the lane:

    w  windows  one mean record a channel, then `w` with vd = [duration ms, rows, missing] (gateway.wire.window)
    v  values   one record a channel
    e  event    subject with vs = code, then `e` with the rest
    g  gap      `gap` with vs = reason, then `g` with the bounds
    h  health   one record a fact

`c` is another form of `w`, no SenML: gateway.wire.columnar, which readers get through `decode` all the same.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cbor2

from gateway.site.upstream import Catalog
from gateway.spool.records import Event, Gap, Health, Lane, Phase, Record, Severity, Values, Window, Windows
from gateway.wire import columnar, senml, window
from gateway.wire.rows import (
    Content,
    EventRow,
    GapEntry,
    GapRow,
    HealthRow,
    Message,
    Scalar,
    ValueRow,
    WindowRow,
)

IDENTITY = "i"
QUALITY = "q"
CBOR = "60"
CAUSES = ("city", "sensor", "link")
EVIDENCE_SAMPLES = 16
EVIDENCE_CHANNELS = 4
MAX_PAYLOAD = 1000  # bytes; larger messages go blockwise

NOTHING = (math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)  # statistics of no readings

OffsetOf = Callable[[str], int | None]


def encode(record: Record, catalog: Catalog, offset_of: OffsetOf, *, next_s: int = 0) -> tuple[str, bytes]:
    """(path, payload). Raises ValueError for a record that does not fit its catalog."""
    item = record.item
    offset = offset_of(record.boot) or 0
    try:
        if isinstance(item, Windows):
            path, records = "w", _windows(item, catalog, offset)
        elif isinstance(item, Values):
            path, records = "v", _values(item, catalog, offset)
        elif isinstance(item, Event):
            path, records = "e", _event(item, catalog, offset)
        elif isinstance(item, Gap):
            path, records = "g", _gap(item, catalog, record.boot, offset_of)
        else:
            path, records = "h", _health(item, offset)
    except (IndexError, OverflowError, TypeError) as bad:
        raise ValueError(f"record {record.seq} does not fit its catalog: {bad}") from bad
    identity: list[Any] = [bytes.fromhex(record.boot), record.upstream, record.seq]
    records[0] = {senml.BN: f"{catalog.gateway}/", IDENTITY: identity + [next_s] * bool(next_s), **records[0]}
    return path, senml.encode(records)


def decode(path: str, payload: bytes) -> Message:
    """The inverse. Raises ValueError, with words short enough for a diagnostic payload, on anything else; these words
    are columnar.UNKNOWN where the pack must come again with its dictionary."""
    if path == columnar.PATH:
        return columnar.decode(payload)
    kind = _KINDS.get(path)
    if kind is None:
        raise ValueError("unknown kind of message")
    entries = senml.decode(payload)
    boot, upstream, seq, next_s = _identity(entries[0].extra.get(IDENTITY))
    lane, read = kind
    try:
        content = read(entries)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError) as bad:
        raise ValueError(f"damaged {path} pack") from bad
    return Message(boot, upstream, lane, seq, next_s, content)


def chunk(rows: Sequence[Window], catalog: Catalog, limit: int = MAX_PAYLOAD) -> list[Windows]:
    """Windows in parts whose messages stay within about `limit` bytes."""
    parts: list[list[Window]] = [[]]
    room = limit - 60
    for row in rows:
        cost = len(catalog.rows[row.channel][0].encode()) + 40
        if cost > room and parts[-1]:
            parts.append([])
            room = limit - 60
        parts[-1].append(row)
        room -= cost
    return [Windows(tuple(part)) for part in parts if part]


# -- windows


def _windows(item: Windows, catalog: Catalog, offset: int) -> list[dict[Any, Any]]:
    """Sorted by unit, so that a unit is named once."""
    rows = sorted(item.rows, key=lambda row: catalog.rows[row.channel][3])
    ends = [_ms(row.end_ns + offset) for row in rows]
    lengths = [end - _ms(row.start_ns + offset) for row, end in zip(rows, ends, strict=True)]
    base = _commonest(ends)
    common = _commonest(lengths)
    records: list[dict[Any, Any]] = []
    stats: list[Any] = []
    missing: list[Any] = []
    unit = ""
    for row, end, length in zip(rows, ends, lengths, strict=True):
        name, _, _, row_unit, kind, resolution = catalog.rows[row.channel]
        if row.n == 0 or not math.isfinite(row.mean):
            missing.append([name, row.n, row.expected, row.quality, end - base, length])
            continue
        entry: dict[Any, Any] = {senml.N: name}
        entry[senml.V] = senml.number(row.mean, window.tolerance(resolution, kind, row.mean))
        if end != base:
            entry[senml.T] = _seconds(end - base)
        if row_unit != unit:
            entry[senml.BU] = unit = row_unit
        records.append(entry)
        stats.append(window.encode(row, resolution, kind, common, length))
    body = [common, stats, missing] if missing else [common, stats]
    records.append({senml.N: "w", senml.CT: CBOR, senml.VD: cbor2.dumps(body, canonical=True)})
    records[0] = {senml.BT: _seconds(base), **records[0]}
    return records


def _read_windows(entries: list[senml.Entry]) -> Content:
    *means, last = entries
    common, stats, missing = [*_body(last, "w"), []][:3]
    if len(stats) != len(means):
        raise ValueError("means and statistics do not pair")
    out = []
    for mean, row in zip(means, stats, strict=True):
        if mean.value is None:
            raise ValueError("a window without its mean")
        end_ms = _whole_ms(mean.time)
        n, expected, lo, hi, sd, latest, p50, p95, quality, ms = window.decode(row, mean.value, common)
        out.append(
            WindowRow(
                channel=mean.name,
                unit=mean.unit,
                start_ns=(end_ms - ms) * 1_000_000,
                end_ns=end_ms * 1_000_000,
                n=n,
                expected=expected,
                min=lo,
                max=hi,
                mean=mean.value,
                sd=sd,
                last=latest,
                p50=p50,
                p95=p95,
                quality=quality,
            )
        )
    base_ms = _whole_ms(entries[0].base_time)
    for name, n, expected, quality, end, ms in missing:
        end_ms = base_ms + _span(end)
        start_ns, end_ns = (end_ms - _span(ms)) * 1_000_000, end_ms * 1_000_000
        counts = (_int(n), _int(expected))
        out.append(WindowRow(_str(name), "", start_ns, end_ns, *counts, *NOTHING, _int(quality)))
    return tuple(out)


# -- values


def _values(item: Values, catalog: Catalog, offset: int) -> list[dict[Any, Any]]:
    rows = sorted((r for r in item.rows if math.isfinite(r[2])), key=lambda r: catalog.rows[r[0]][3])
    base = _commonest([_ms(t_ns + offset) for _, t_ns, _, _ in rows]) if rows else 0
    records: list[dict[Any, Any]] = []
    unit = ""
    for channel, t_ns, value, quality in rows:
        name, _, _, row_unit, kind, resolution = catalog.rows[channel]
        entry: dict[Any, Any] = {senml.N: name}
        entry[senml.V] = senml.number(value, window.tolerance(resolution, kind, value))
        if late := _ms(t_ns + offset) - base:
            entry[senml.T] = _seconds(late)
        if row_unit != unit:
            entry[senml.BU] = unit = row_unit
        if quality:
            entry[QUALITY] = quality
        records.append(entry)
    if not records:
        records.append({senml.N: "none", senml.VS: ""})
    records[0] = {senml.BT: _seconds(base), **records[0]}
    return records


def _read_values(entries: list[senml.Entry]) -> Content:
    return tuple(
        ValueRow(e.name, e.unit, _whole_ms(e.time) * 1_000_000, e.value, _int(e.extra.get(QUALITY, 0)))
        for e in entries
        if e.value is not None
    )


# -- events


def _event(item: Event, catalog: Catalog, offset: int) -> list[dict[Any, Any]]:
    base = _ms(item.time_ns + offset)
    cause = CAUSES.index(item.cause) if item.cause in CAUSES else item.cause
    place = None
    if item.latitude is not None and item.longitude is not None:
        place = [round(item.latitude * 1e6), round(item.longitude * 1e6)]
    body = [
        int(item.phase),
        int(item.severity),
        cause,
        senml.number(item.score, abs(item.score) * 1e-3) if math.isfinite(item.score) else 0,
        base - _ms(item.onset_ns + offset),
        item.asset,
        place,
        item.place_en,
        item.place_ko,
        item.text_en,
        item.text_ko,
        _evidence(item, catalog, offset, base),
    ]
    return [
        {senml.BT: _seconds(base), senml.N: item.subject, senml.VS: item.code},
        {senml.N: "e", senml.CT: CBOR, senml.VD: cbor2.dumps(body, canonical=True)},
    ]


def _evidence(item: Event, catalog: Catalog, offset: int, base: int) -> list[Any]:
    """Per channel [name, e, first time ms before the event, second differences of the times, first value, differences
    of the values]: the newest samples, sixteen in all."""
    chosen = [(c, samples) for c, samples in item.evidence if samples][:EVIDENCE_CHANNELS]
    out = []
    for channel, samples in chosen:
        name, *_, resolution = catalog.rows[channel]
        kept = [s for s in samples if math.isfinite(s[1])][-(EVIDENCE_SAMPLES // len(chosen)) :]
        if not kept:
            continue
        exponent, values = _decimal([value for _, value in kept], resolution)
        times = [_ms(t_ns + offset) - base for t_ns, _ in kept]
        out.append([name, exponent, -times[0], _differences(_differences(times)[1:]), values])
    return out


def _decimal(values: Sequence[float], resolution: float) -> tuple[int | None, list[Any]]:
    if 0 < resolution < math.inf:
        exponent = max(-18, math.floor(math.log10(resolution) + 1e-9))
        steps = [x * 10.0**-exponent for x in values]
        if all(abs(x) < senml.EXACT for x in steps):
            return exponent, _differences([round(x) for x in steps])
    return None, [senml.single(x) for x in values]


def _read_event(entries: list[senml.Entry]) -> Content:
    first, detail = entries
    body = _body(detail, "e")
    phase, severity, cause, score, age, asset, place, place_en, place_ko, text_en, text_ko, evidence = body
    time_ms = _whole_ms(first.time)
    return EventRow(
        code=_str(first.text),
        phase=Phase(phase),
        severity=Severity(severity),
        cause=cause if isinstance(cause, str) else CAUSES[_int(cause)],
        subject=first.name,
        time_ns=time_ms * 1_000_000,
        onset_ns=(time_ms - _span(age)) * 1_000_000,
        score=_float(score),
        text_en=_str(text_en),
        text_ko=_str(text_ko),
        asset=_str(asset),
        place_en=_str(place_en),
        place_ko=_str(place_ko),
        latitude=None if place is None else _int(place[0]) / 1e6,
        longitude=None if place is None else _int(place[1]) / 1e6,
        evidence=tuple(_read_evidence(one, time_ms) for one in evidence),
    )


def _read_evidence(one: Any, time_ms: int) -> tuple[str, tuple[tuple[int, float], ...]]:
    name, exponent, age, time_steps, values = one
    if exponent is None:
        numbers = [_float(x) for x in values]
    elif -18 <= _int(exponent) <= 18:
        numbers = [window.on_grid(x, exponent) for x in itertools.accumulate(_int(x) for x in values)]
    else:
        raise ValueError("the grid is not a power of ten")
    gaps = itertools.accumulate(_span(x) for x in time_steps)
    times = list(itertools.accumulate(gaps, initial=time_ms - _span(age)))
    return _str(name), tuple((_span(t) * 1_000_000, v) for t, v in zip(times, numbers, strict=True))


# -- gaps and health


def _gap(item: Gap, catalog: Catalog, boot: str, offset_of: OffsetOf) -> list[dict[Any, Any]]:
    body = [
        offset_of(item.from_boot or boot),
        offset_of(item.to_boot or boot),
        [[_by_device(channels, catalog), start, end - start if not item.from_boot else end]
         for channels, start, end in item.entries],
        [[lane, bytes.fromhex(name), first, last - first] for lane, name, first, last in item.records],
        bytes.fromhex(item.from_boot),
        bytes.fromhex(item.to_boot),
    ]  # fmt: skip
    return [
        {senml.N: "gap", senml.VS: item.reason},
        {senml.N: "g", senml.CT: CBOR, senml.VD: cbor2.dumps(body, canonical=True)},
    ]


def _by_device(channels: Sequence[int], catalog: Catalog) -> list[list[Any]]:
    """[[device, point, point ...] ...]: a device is named once."""
    found: dict[str, list[Any]] = {}
    for channel in channels:
        _, device, point, *_ = catalog.rows[channel]
        found.setdefault(device, [device]).append(point)
    return list(found.values())


def _names(devices: Any) -> tuple[str, ...]:
    return tuple(f"{_str(device)}.{_str(point)}" for device, *points in devices for point in points)


def _read_gap(entries: list[senml.Entry]) -> Content:
    first, detail = entries
    from_offset, to_offset, spans, records, from_boot, to_boot = _body(detail, "g")
    relative = not from_boot
    return GapRow(
        reason=_str(first.text),
        entries=tuple(
            GapEntry(_names(names), _int(start), _int(end) + (start if relative else 0)) for names, start, end in spans
        ),
        from_boot=from_boot.hex(),
        to_boot=to_boot.hex(),
        from_offset_ns=None if from_offset is None else _int(from_offset),
        to_offset_ns=None if to_offset is None else _int(to_offset),
        records=tuple((_int(ln), b.hex(), _int(first), _int(first) + _int(more)) for ln, b, first, more in records),
    )


def _health(item: Health, offset: int) -> list[dict[Any, Any]]:
    records: list[dict[Any, Any]] = []
    for name, fact in item.facts.items():
        if isinstance(fact, bool):
            records.append({senml.N: name, senml.VB: fact})
        elif isinstance(fact, (int, float)) and abs(fact) < 1e300:
            records.append({senml.N: name, senml.V: senml.single(fact)})
        else:
            records.append({senml.N: name, senml.VS: str(fact)})
    if not records:
        records.append({senml.N: "alive", senml.VB: True})
    records[0] = {senml.BT: _seconds(_ms(item.time_ns + offset)), **records[0]}
    return records


def _read_health(entries: list[senml.Entry]) -> Content:
    facts: dict[str, Scalar] = {}
    for entry in entries:
        found = next((x for x in (entry.value, entry.text, entry.flag) if x is not None), None)
        if found is None:
            raise ValueError("a fact without a value")
        facts[entry.name] = found
    return HealthRow(_whole_ms(entries[0].time) * 1_000_000, facts)


_KINDS: Mapping[str, tuple[Lane, Callable[[list[senml.Entry]], Content]]] = {
    "w": (Lane.SUMMARY, _read_windows),
    "v": (Lane.SUMMARY, _read_values),
    "e": (Lane.ALARM, _read_event),
    "g": (Lane.DIAGNOSTIC, _read_gap),
    "h": (Lane.DIAGNOSTIC, _read_health),
}


# -- small things


def _identity(found: Any) -> tuple[str, str, int, float]:
    if not isinstance(found, list) or len(found) not in (3, 4):
        raise ValueError("the message has no identity")
    boot, upstream, seq = found[:3]
    if not isinstance(boot, bytes) or len(boot) != 8 or not isinstance(upstream, str) or len(upstream) > 64:
        raise ValueError("the message has no valid identity")
    if _int(seq) < 0:
        raise ValueError("the sequence number is negative")
    return boot.hex(), upstream, seq, _float(found[3]) if len(found) == 4 else 0.0


def _body(entry: senml.Entry, name: str) -> Any:
    if entry.name != name or entry.data is None:
        raise ValueError(f"record {name} is missing")
    try:
        return cbor2.loads(entry.data)
    except Exception as bad:  # as in senml.decode
        raise ValueError(f"record {name} is not CBOR") from bad


def _ms(t_ns: int) -> int:
    return (t_ns + 500_000) // 1_000_000


def _whole_ms(time_s: float) -> int:
    ms = round(time_s * 1000)
    if not -(1 << 52) < ms < 1 << 43:
        raise ValueError("the time is out of range")
    return ms


def _seconds(ms: int) -> int | float:
    """Within half a millisecond, so that reading rounds to the same one."""
    return ms // 1000 if ms % 1000 == 0 else senml.number(ms / 1000, 0.00045 if abs(ms) < 1 << 22 else 0.0)


def _commonest(values: Sequence[int]) -> int:
    return Counter(values).most_common(1)[0][0] if values else 0


def _differences(values: Sequence[int]) -> list[int]:
    return [b - a for a, b in itertools.pairwise([0, *values])] if values else []


def _int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 61) < value < 1 << 61:
        raise ValueError("expected a whole number")
    return int(value)


def _span(value: Any) -> int:
    if abs(_int(value)) >= 1 << 43:
        raise ValueError("the time is out of range")
    return int(value)


def _float(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > 1e300:
        raise ValueError("expected a number")
    return float(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")
    return value

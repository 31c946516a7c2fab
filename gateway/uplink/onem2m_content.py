"""What a spool record is on a oneM2M platform: contentInstances, each with the container it belongs in. Pure.

    <AE>/<device>/<point>   windows and values, SenML in JSON (RFC 8428)
    <AE>/alarms             events, a JSON object each
    <AE>/gaps               what will never come, a JSON object each
    <AE>/health             state of the gateway itself, SenML in JSON

An instance is named <boot>-<lane>-<number>[-<part>]: the same record always makes the same names, so that one sent
twice conflicts with itself instead of standing there twice, and the numbers of a lane show what is missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.site.upstream import Catalog
from gateway.spool.records import Event, Gap, Health, Lane, Record, Values, Window, Windows
from gateway.wire import senml, window
from gateway.wire.pack import OffsetOf

ALARMS, GAPS, HEALTH = "alarms", "gaps", "health"
SENML, JSON = "application/senml+json:0", "application/json:0"  # contentInfo: media type, and no encoding of its own
LETTERS = {Lane.ALARM: "a", Lane.SUMMARY: "s", Lane.DIAGNOSTIC: "d"}
VIRTUAL = ("la", "ol", "fopt")  # every container has children of these names (TS-0004): nobody else may bear them
LARGEST = 1100  # bytes of content: with its headers an instance stays one datagram that no network cuts
COUNTER = 1  # gateway.site.plan.Kind
RFC8798 = 26  # version of packs with secondary units


@dataclass(frozen=True, slots=True)
class Instance:
    """`path`: names of containers below the AE."""

    path: tuple[str, ...]
    name: str
    info: str
    content: str


def instances(record: Record, catalog: Catalog, offset_of: OffsetOf) -> list[Instance]:
    """Raises ValueError for a record that does not fit its catalog."""
    offset, item = offset_of(record.boot) or 0, record.item
    try:
        made: list[tuple[tuple[str, ...], str, str]]
        if isinstance(item, Windows):
            made = [(_channel(catalog, row.channel), SENML, _window(row, catalog, offset)) for row in item.rows]
        elif isinstance(item, Values):
            made = [
                (_channel(catalog, channel), SENML, _value(channel, t_ns, value, quality, catalog, offset))
                for channel, t_ns, value, quality in item.rows
                if math.isfinite(value)
            ]
        elif isinstance(item, Event):
            made = [((ALARMS,), JSON, _event(item, catalog, offset))]
        elif isinstance(item, Gap):
            made = [((GAPS,), JSON, content) for content in _gap(item, catalog, record, offset_of)]
        else:
            made = [((HEALTH,), SENML, _health(item, catalog, offset))]
    except (IndexError, OverflowError, TypeError) as bad:
        raise ValueError(f"record {record.seq} does not fit its catalog: {bad}") from bad
    return list(_named(record, made))


def _named(record: Record, made: Iterable[tuple[tuple[str, ...], str, str]]) -> Iterable[Instance]:
    """Parts are counted where one record has several instances for one container."""
    name, seen = f"{record.boot}-{LETTERS[record.lane]}-{record.seq}", dict[tuple[str, ...], int]()
    for path, info, content in made:
        part = seen[path] = seen.get(path, 0) + 1
        yield Instance(path, name if part == 1 else f"{name}-{part}", info, content)


def _channel(catalog: Catalog, channel: int) -> tuple[str, ...]:
    _, device, point, *_ = catalog.rows[channel]
    return device, f"{point}_" if point in VIRTUAL else point


def _window(row: Window, catalog: Catalog, offset: int) -> str:
    """The mean under the channel's own name, statistics under names below it. Those that are missing equal the mean
    (sd: 0, expected: n, quality: 0); without any reading there is no mean."""
    name, _, _, unit, kind, resolution = catalog.rows[row.channel]
    records: list[dict[str, Any]] = []

    def add(label: str, value: float, unit: str = "") -> None:
        own = {"n": f"/{label}"} | ({"u": unit} if unit else {})
        records.append(own | {"v": _number(value, resolution if unit else 1e-3)})

    if row.n and math.isfinite(row.mean):
        first = {"n": "", "v": _number(row.mean, 2 * window.tolerance(resolution, kind, row.mean))}
        records.append(first | ({"u": unit} if unit else {}))
        for label in ("min", "max", "last", "p50", "p95"):
            value = getattr(row, label)
            if math.isfinite(value) and value != row.mean:
                add(label, value, unit)
        if math.isfinite(row.sd) and row.sd:
            add("rollovers" if kind == COUNTER else "sd", row.sd, "" if kind == COUNTER else unit)
    add("n", row.n)
    if row.expected != row.n:
        add("expected", row.expected)
    if row.quality:
        add("quality", row.quality)
    records.append({"n": "/duration", "u": "s", "v": _number((row.end_ns - row.start_ns) / 1e9, 1e-3)})
    return _pack(f"{catalog.gateway}/{name}", row.end_ns + offset, records)


def _value(channel: int, t_ns: int, value: float, quality: int, catalog: Catalog, offset: int) -> str:
    name, _, _, unit, kind, resolution = catalog.rows[channel]
    first: dict[str, Any] = {"n": "", "v": _number(value, 2 * window.tolerance(resolution, kind, value))}
    records = [first | ({"u": unit} if unit else {})]
    if quality:
        records.append({"n": "/quality", "v": quality})
    return _pack(f"{catalog.gateway}/{name}", t_ns + offset, records)


def _event(item: Event, catalog: Catalog, offset: int) -> str:
    """Evidence is the first to go where there is too much for a datagram."""
    whole: dict[str, Any] = {
        "code": item.code,
        "phase": item.phase.name.lower(),
        "severity": item.severity.name.lower(),
        "cause": item.cause,
        "subject": item.subject,
        "time": _utc(item.time_ns + offset),
        "onset": _utc(item.onset_ns + offset),
        "score": _number(item.score, 1e-3) if math.isfinite(item.score) else None,
        "text": {"en": item.text_en, "ko": item.text_ko},
        "asset": item.asset,
        "place": {"en": item.place_en, "ko": item.place_ko},
    }
    if item.latitude is not None and item.longitude is not None:
        whole |= {"latitude": item.latitude, "longitude": item.longitude}
    evidence = {
        catalog.rows[channel][0]: [
            [_utc(t_ns + offset), _number(value, catalog.rows[channel][5])]
            for t_ns, value in samples
            if math.isfinite(value)
        ]
        for channel, samples in item.evidence
    }
    while evidence := {name: samples for name, samples in evidence.items() if samples}:
        if len((content := _text(whole | {"evidence": evidence})).encode()) <= LARGEST:
            return content
        evidence = {name: samples[(len(samples) + 1) // 2 :] for name, samples in evidence.items()}
    return _text(whole)


def _gap(item: Gap, catalog: Catalog, record: Record, offset_of: OffsetOf) -> list[str]:
    """As many objects as stay small, each about some channels and bounds or some records."""
    low_offset, high_offset = offset_of(item.from_boot or record.boot), offset_of(item.to_boot or record.boot)
    entries: list[dict[str, Any]] = []
    for channels, low, high in item.entries:
        bounds = {"from": _bound(low, low_offset), "to": _bound(high, high_offset)}
        parts = _parts([catalog.rows[channel][0] for channel in channels])
        entries += ({"reason": item.reason, "channels": part} | bounds for part in parts)
    for lane, boot, first, last in item.records:
        lost = {"lane": Lane(lane).name.lower(), "boot": boot, "first": first, "last": last}
        entries.append({"reason": item.reason, "records": lost})
    return [_text(entry) for entry in entries] or [_text({"reason": item.reason})]


def _parts(names: Sequence[str]) -> Iterable[list[str]]:
    part: list[str] = []
    for name in names:
        if part and len(_text(part)) + len(name) > LARGEST // 2:
            yield part
            part = []
        part.append(name)
    if part:
        yield part


def _health(item: Health, catalog: Catalog, offset: int) -> str:
    records: list[dict[str, Any]] = []
    for name, value in item.facts.items():
        told = {"vs": value} if isinstance(value, str) else {"v": _number(float(value), 1e-3)}
        records.append({"n": f"/{name}", **told})
    return _pack(f"{catalog.gateway}", item.time_ns + offset, records)


def _pack(base: str, utc_ns: int, records: Sequence[Mapping[str, Any]]) -> str:
    """A pack all of whose times are `utc_ns`."""
    secondary = any(record.get("u") in senml.SECONDARY for record in records)
    first, *rest = ({key: value for key, value in record.items() if (key, value) != ("n", "")} for record in records)
    head: dict[str, Any] = {"bver": RFC8798} if secondary else {}
    return _text([head | {"bn": base, "bt": round(utc_ns / 1e9, 3)} | first, *rest])


def _number(value: float, step: float) -> int | float:
    """As many digits as `step` is worth: half of it is the most that may be lost."""
    if not 0 < step < math.inf:
        step = abs(value) * 1e-7
    digits = max(0, -math.floor(math.log10(step))) if step else 0
    rounded = round(float(value), digits)
    return int(rounded) if rounded.is_integer() else rounded


def _bound(time_ns: int, offset: int | None) -> str | None:
    """None for a boot whose clock was never known."""
    return None if offset is None else _utc(time_ns + offset)


def _utc(utc_ns: int) -> str:
    whole, rest = divmod(utc_ns // 1_000_000, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

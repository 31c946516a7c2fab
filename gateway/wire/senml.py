"""SenML packs in CBOR (RFC 8428, content-format 112): records as maps in, bytes out, and resolved entries back.

No input or output, no clock. Base fields are resolved when reading; writing leaves their choice to the caller.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

CONTENT_FORMAT = 112

BVER, BN, BT, BU, BV, BS = -1, -2, -3, -4, -5, -6
N, U, V, VS, VB, S, T, UT, VD = 0, 1, 2, 3, 4, 5, 6, 7, 8
CT = "ct"  # content-format of `vd` (RFC 9193)

BASE_VERSION = 10
SECONDARY_VERSION = 26  # 10 + 2^4: the pack uses secondary units (RFC 8798)
# fmt: off
SECONDARY = frozenset((
    "ms", "min", "h", "MHz", "kW", "kVA", "kvar", "Ah", "Wh", "kWh", "varh", "kvarh", "kVAh", "Wh/km", "KiB", "GB",
    "Mbit/s", "B/s", "MB/s", "mV", "mA", "dBm", "ug/m3", "mm/h", "m/h", "ppm", "/100", "/1000", "hPa", "mm", "cm",
    "km", "km/h", "ppb", "ppt", "VAs", "VAh",
))
# fmt: on
EXACT = 2**53  # integers a float holds exactly


@dataclass(frozen=True, slots=True)
class Entry:
    """One record with its base fields applied. At most one of value, text, flag and data is set."""

    base: str
    name: str  # without the base name
    unit: str
    time: float  # seconds, base time and own time together
    base_time: float
    value: float | None
    text: str | None
    flag: bool | None
    data: bytes | None
    extra: Mapping[Any, Any]


def encode(records: Sequence[Mapping[Any, Any]]) -> bytes:
    """Records with integer labels to a pack, every float in the shortest form that holds it exactly. The first
    record gets the base version that its units need."""
    first, *rest = records
    units = {r.get(label) for r in records for label in (U, BU)}
    if units & SECONDARY:
        first = {BVER: SECONDARY_VERSION, **first}
    return cbor2.dumps([dict(first), *(dict(r) for r in rest)], canonical=True)


def decode(payload: bytes) -> list[Entry]:
    """Raises ValueError on anything that is not a SenML pack of version 26 or at most 10."""
    try:
        records = cbor2.loads(payload)
    except Exception as bad:  # cbor2 lets errors of the types it builds (dates, fractions) through
        raise ValueError("not CBOR") from bad
    if not isinstance(records, list) or not records:
        raise ValueError("a pack is a list of at least one record")
    base: dict[Any, Any] = {BN: "", BT: 0.0, BU: "", BV: None, BS: None, BVER: BASE_VERSION}
    out = []
    for record in records:
        if not isinstance(record, dict):
            raise ValueError("a record is a map")
        out.append(_entry(record, base))
    return out


def _entry(record: dict[Any, Any], base: dict[Any, Any]) -> Entry:
    for label, kind in ((BN, str), (BT, float), (BU, str), (BV, float), (BVER, int)):
        if label in record:
            base[label] = _typed(record[label], kind, label)
    if base[BVER] > BASE_VERSION and base[BVER] != SECONDARY_VERSION:
        raise ValueError(f"SenML version {base[BVER]!r} is not known")
    extra = {label: v for label, v in record.items() if not (isinstance(label, int) and BS <= label <= VD)}
    for label in extra:
        if isinstance(label, str) and label.endswith("_"):
            raise ValueError(f"label {label!r} must be understood and is not")
    value = _optional(record, V, float)
    if value is not None and base[BV] is not None:
        value += base[BV]
    return Entry(
        base=base[BN],
        name=_optional(record, N, str) or "",
        unit=_optional(record, U, str) or base[BU],
        time=base[BT] + (_optional(record, T, float) or 0.0),
        base_time=base[BT],
        value=value,
        text=_optional(record, VS, str),
        flag=_optional(record, VB, bool),
        data=_optional(record, VD, bytes),
        extra=extra,
    )


def _optional(record: dict[Any, Any], label: int, kind: type) -> Any:
    return _typed(record[label], kind, label) if label in record else None


def _typed(value: Any, kind: type, label: int) -> Any:
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not -1e300 < value < 1e300:
            raise ValueError(f"label {label}: the number is out of range")
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"label {label}: expected {kind.__name__}")
    return value


def number(value: float, tolerance: float) -> int | float:
    """The value as the number with the shortest CBOR form not further than `tolerance` away."""
    whole = round(value) if abs(value) < EXACT else None
    if whole is not None and abs(whole - value) <= tolerance and abs(whole) < 1 << 16:
        return whole
    half = _through("<e", value)
    if abs(half - value) <= tolerance:
        return half
    if whole is not None and abs(whole - value) <= tolerance and abs(whole) < 1 << 32:
        return whole
    single = _through("<f", value)
    return single if abs(single - value) <= tolerance else value


def single(value: float) -> int | float:
    """The value at float32 precision."""
    return number(value, abs(value) * 2.0**-24)


def _through(form: str, value: float) -> float:
    try:
        return float(struct.unpack(form, struct.pack(form, value))[0])
    except OverflowError:
        return math.inf

"""SenML packs (RFC 8428) as a sensor sends them: a parsed JSON or CBOR array in, resolved records out.

Base fields are applied; times stay as they were sent, because what they mean depends on the arrival. No wall clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

RELATIVE_BELOW = float(1 << 28)  # section 4.5.3: smaller times are seconds from now
MOST_RECORDS = 1000
VERSIONS = (10, 26)  # RFC 8428; RFC 9100 with secondary units

_LABELS: Mapping[object, str] = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip


class Malformed(ValueError):
    """Not what the content-format says."""


class Record(NamedTuple):
    """`value` is a number, a text, or None for a record of no value. `time_s` as sent, base time added."""

    name: str
    own_name: str
    unit: str
    value: float | str | None
    time_s: float

    @property
    def is_absolute(self) -> bool:
        return self.time_s >= RELATIVE_BELOW


def records(pack: object) -> list[Record]:
    """Raises Malformed."""
    if not isinstance(pack, list) or not pack:
        raise Malformed("a SenML pack is an array of records")
    if len(pack) > MOST_RECORDS:
        raise Malformed(f"{len(pack)} records, {MOST_RECORDS} at most")
    base: dict[str, Any] = {}
    return [_record(_labelled(entry), base) for entry in pack]


def _labelled(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise Malformed("a SenML record is a map")
    named = {_LABELS.get(key, key): value for key, value in entry.items()}
    for key in named:
        if isinstance(key, str) and key.endswith("_"):
            raise Malformed(f"the field {key[:40]!r} must be understood, and is not")
    return named


def _record(entry: Mapping[str, Any], base: dict[str, Any]) -> Record:
    for key in ("bn", "bt", "bu", "bv", "bs", "bver"):
        if key in entry:
            base[key] = entry[key]
    if base.get("bver", VERSIONS[0]) not in VERSIONS:
        raise Malformed("a version of SenML that is not known")
    own = _text(entry.get("n", ""))
    unit = _text(entry["u"]) if "u" in entry else _text(base.get("bu", ""))
    time_s = _number(base.get("bt", 0)) + _number(entry.get("t", 0))
    return Record(_text(base.get("bn", "")) + own, own, unit, _value(entry, base), time_s)


def _value(entry: Mapping[str, Any], base: Mapping[str, Any]) -> float | str | None:
    if "v" in entry:
        return _number(entry["v"]) + _number(base.get("bv", 0))
    if "vb" in entry:
        if not isinstance(entry["vb"], bool):
            raise Malformed("vb is true or false")
        return float(entry["vb"])
    if "vs" in entry:
        return _text(entry["vs"])
    if "s" in entry:
        return _number(entry["s"]) + _number(base.get("bs", 0))
    return _number(base["bv"]) if "bv" in base and "vd" not in entry else None


def _number(value: object) -> float:
    """Infinities and NaN are no numbers of SenML."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Malformed("a number was expected")
    try:
        number = float(value)
    except OverflowError as bad:
        raise Malformed("a number is too large") from bad
    if not math.isfinite(number):
        raise Malformed("a number is not finite")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed("a text was expected")
    return value

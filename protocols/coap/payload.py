"""Representations as bytes: readings out of what a node answered, and a value into what it is told.

Bytes, content-format and a point's `Resource` in; numbers with the unit and the time the node gave them out. No
sockets, no clocks. Whatever is wrong with bytes raises Malformed, never anything else.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cbor2

from protocols.coap import senml, tlv
from protocols.coap.points import CONTENT_FORMATS, Resource
from protocols.coap.senml import Malformed

TEXT = CONTENT_FORMATS["text"]
NONE = -1
"""Content-format of a representation that names none."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_TRUTH = {"true": 1.0, "false": 0.0}


class Reading(NamedTuple):
    """`value` NaN: the node itself says that it has none. `unit` "" and `time_s` None: not told. `time_s` as in
    SenML: absolute seconds UTC, or seconds from the arrival."""

    value: float
    unit: str = ""
    time_s: float | None = None


Parsed = Callable[[Resource], list[Reading]]


def parse(content_format: int, payload: bytes) -> Parsed:
    """What the payload says of a point: the payload is taken apart once, however many points read it. The readings of
    one point are in the order they were sent. Both steps raise Malformed."""
    known = _PARSERS.get(content_format)
    if known is None:
        raise Malformed(f"content-format {content_format} is not spoken")
    return known(payload)


def tell(spec: Resource, value: float) -> tuple[int, bytes]:
    """Content-format and payload that set the resource to `value`."""
    whole: int | float = int(value) if value == int(value) else value
    word = next((word for word, number in spec.words.items() if number == value), None)
    said: Any = word if word is not None else whole
    name = spec.format or "text"
    record = {"n": spec.record} if spec.record else {}
    match name:
        case "json":
            return CONTENT_FORMATS[name], json.dumps(said).encode()
        case "cbor":
            return CONTENT_FORMATS[name], cbor2.dumps(said)
        case "senml+json":
            return CONTENT_FORMATS[name], json.dumps([{**record, "vs" if word else "v": said}]).encode()
        case "senml+cbor":
            labels: dict[int, Any] = {0: spec.record} if spec.record else {}
            return CONTENT_FORMATS[name], cbor2.dumps([{**labels, 3 if word else 2: said}])
        case _:
            return TEXT, str(said).encode()


# -- one parser a content-format


def _text(payload: bytes) -> Parsed:
    try:
        said = payload.decode().strip("\0 \t\r\n")
    except UnicodeDecodeError as bad:
        raise Malformed("the text is not UTF-8") from bad
    return lambda spec: [Reading(_number(said, spec.words))]


def _json(payload: bytes) -> Parsed:
    content = _from_json(payload)
    return lambda spec: [Reading(_number(_at(content, spec.at), spec.words))]


def _cbor(payload: bytes) -> Parsed:
    content = _from_cbor(payload)
    return lambda spec: [Reading(_number(_at(content, spec.at), spec.words))]


def _senml_json(payload: bytes) -> Parsed:
    return _senml(senml.records(_from_json(payload)))


def _senml_cbor(payload: bytes) -> Parsed:
    return _senml(senml.records(_from_cbor(payload)))


def _senml(records: Sequence[senml.Record]) -> Parsed:
    names = {record.name for record in records}

    def of(spec: Resource) -> list[Reading]:
        wanted = spec.record
        if not wanted and len(names) > 1:
            raise Malformed(f"{len(names)} records, and the profile says none")
        chosen = [r for r in records if not wanted or wanted in (r.own_name, r.name)]
        if not chosen:
            raise Malformed(f'no record "{wanted}"')
        return [Reading(_number(r.value, spec.words), r.unit, r.time_s) for r in chosen]

    return of


def _lwm2m_tlv(payload: bytes) -> Parsed:
    values = tlv.values(payload)

    def of(spec: Resource) -> list[Reading]:
        raw = values.get(_wanted(spec))
        if raw is None and not spec.at and len(values) == 1:
            raw = next(iter(values.values()))
        if raw is None:
            raise Malformed(f'no resource "{_wanted(spec)}"')
        return [Reading(tlv.number(raw, spec.type))]

    return of


def _lwm2m_json(payload: bytes) -> Parsed:
    """`{"bn": "/3303/0/", "e": [{"n": "5700", "v": 21.5}]}` (OMA LwM2M 1.0, section 6.4.4)."""
    content = _from_json(payload)
    if not isinstance(content, dict) or not isinstance(content.get("e"), list):
        raise Malformed("LwM2M JSON is a map with the array e")
    base = str(content.get("bn", ""))
    found: dict[str, Any] = {}
    for entry in content["e"][: senml.MOST_RECORDS]:
        if not isinstance(entry, dict):
            raise Malformed("an entry of e is a map")
        value = next((entry[key] for key in ("v", "bv", "sv") if key in entry), None)
        own = str(entry.get("n", ""))
        found[own.strip("/")] = found[(base + own).strip("/")] = value

    def of(spec: Resource) -> list[Reading]:
        name = _wanted(spec)
        value = next((found[key] for key in (name, spec.path.strip("/"), "") if key in found), found)
        if value is found:
            raise Malformed(f'no resource "{name}"')
        return [Reading(_number(value, spec.words))]

    return of


_PARSERS: Mapping[int, Callable[[bytes], Parsed]] = {
    NONE: _text,
    TEXT: _text,
    CONTENT_FORMATS["json"]: _json,
    CONTENT_FORMATS["cbor"]: _cbor,
    CONTENT_FORMATS["senml+json"]: _senml_json,
    CONTENT_FORMATS["senml+cbor"]: _senml_cbor,
    CONTENT_FORMATS["lwm2m+tlv"]: _lwm2m_tlv,
    CONTENT_FORMATS["lwm2m+json"]: _lwm2m_json,
}


# -- small things


def _wanted(spec: Resource) -> str:
    """The LwM2M resource below the path: `at`, else the path's own last part."""
    return spec.at or spec.path.strip("/").rpartition("/")[2]


def _from_json(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as bad:
        raise Malformed("not JSON") from bad


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _from_cbor(payload: bytes) -> Any:
    source = io.BytesIO(payload)
    try:
        content = cbor2.load(source)
    except Exception as bad:  # what the library lets through for bytes that are no CBOR is not listed anywhere
        raise Malformed("not CBOR") from bad
    if source.tell() != len(payload):
        raise Malformed("bytes after the CBOR")
    return content


def _at(content: Any, path: str) -> Any:
    """The part of nested maps and arrays that `a.0.b` names. Raises Malformed."""
    for part in path.split(".") if path else ():
        index = int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else None
        if isinstance(content, dict) and (part in content or index in content):
            content = content[part] if part in content else content[index]
        elif isinstance(content, (list, tuple)) and index is not None and index < len(content):
            content = content[index]
        else:
            raise Malformed(f'there is no "{path}"')
    return content


def _number(said: object, words: Mapping[str, float]) -> float:
    """NaN where the node says that it has no value."""
    if said is None:
        return math.nan
    if isinstance(said, str):
        return _from_text(said, words)
    if not isinstance(said, (bool, int, float)):
        raise Malformed("a number was expected")
    try:
        number = float(said)
    except OverflowError as bad:
        raise Malformed("a number is too large") from bad
    return number if math.isfinite(number) else math.nan


def _from_text(said: str, words: Mapping[str, float]) -> float:
    if said in words:
        return float(words[said])
    if said.lower() in _TRUTH:
        return _TRUTH[said.lower()]
    if said.lower() == "nan":
        return math.nan
    if not said.isascii() or not _NUMBER.fullmatch(said):
        raise Malformed(f"{said[:40]!r} is no number")
    number = float(said)
    if not math.isfinite(number):
        raise Malformed("a number is too large")
    return number

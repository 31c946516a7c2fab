"""What a profile says of a CoAP node (`[coap]`) and of each of its points: no code, only where a value lies.

Data only, and its faults in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from protocols.api import Device, Point

Mode = Literal["poll", "observe"]
Format = Literal["", "text", "json", "cbor", "senml+json", "senml+cbor", "lwm2m+tlv", "lwm2m+json"]
Type = Literal["", "float", "integer", "unsigned", "boolean"]

# IANA registry "CoAP Content-Formats"
CONTENT_FORMATS: dict[str, int] = {
    "text": 0, "json": 50, "cbor": 60, "senml+json": 110, "senml+cbor": 112, "lwm2m+tlv": 11542, "lwm2m+json": 11543,
}  # fmt: skip
STRUCTURED = ("json", "cbor", "lwm2m+tlv", "lwm2m+json")
WRITTEN = ("", "text", "json", "cbor", "senml+json", "senml+cbor")
LARGEST = 1 << 20
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Options:
    """Keys of `[coap]`.

    `mode` "poll": every resource is asked each period; "observe": the node tells what changed (RFC 7641), and what it
    does not let observe is asked each period. `check_s`: an observed resource that says nothing for so long is asked,
    at the latest shortly before its Max-Age ends; 0: two periods. `largest`: bytes of one representation. `per_s`:
    datagrams a second taken from the node. `timeout_ms` in place of the link's.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    mode: Mode = "poll"
    check_s: float = 0.0
    largest: int = 16_384
    per_s: float = 50.0
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """Keys of one point. `path` with its query, as in a URI. `format`: what the node is asked for, "" whatever it
    likes and names itself (text where it names nothing).

    `at`: where in JSON or CBOR (`air.pm.0`), or which LwM2M resource below the path (`5700`, `0/5700`). `record`: which
    SenML record, by its own or its full name; "" where the node sends one. `type` of an LwM2M TLV value. `words`: the
    numbers of texts.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    path: str
    format: Format = ""
    at: str = ""
    record: str = ""
    type: Type = ""
    words: dict[str, float] = field(default_factory=dict, hash=False)


Fault = tuple[str, str, str]  # point name, key, words


def split(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Uri-Path and Uri-Query of a path: "/a/b?x=1&y" is ("a", "b"), ("x=1", "y")."""
    way, _, query = path.partition("?")
    return tuple(way.strip("/").split("/")) if way.strip("/") else (), tuple(query.split("&")) if query else ()


def check(device: Device, points: Sequence[Point]) -> tuple[Fault, ...]:
    """Everything types cannot say: (point name or "", key, words)."""
    faults = [("", key, words) for key, words in _option_faults(device.options)]
    for point in points:
        faults += ((point.name, key, words) for key, words in _point_faults(point))
    return tuple(faults)


def _option_faults(options: Options) -> Iterator[tuple[str, str]]:
    if not 1 <= options.largest <= LARGEST:
        yield "largest", f"1 to {LARGEST} bytes"
    if not 1.0 <= options.per_s <= 1000.0:
        yield "per_s", "1 to 1000 datagrams a second"
    if options.check_s < 0:
        yield "check_s", "cannot be negative"
    if options.timeout_ms is not None and options.timeout_ms <= 0:
        yield "timeout_ms", "must be positive"


def _point_faults(point: Point) -> Iterator[tuple[str, str]]:
    spec: Resource = point.spec
    way, query = split(spec.path)
    if not spec.path.startswith("/"):
        yield "path", f'begins with a slash: "/{spec.path}"'
    if any(not 1 <= len(part.encode()) <= 255 for part in (*way, *query)):
        yield "path", "each part between slashes has 1 to 255 bytes"
    if spec.at and spec.format not in ("", *STRUCTURED):
        yield "at", f"only in {', '.join(STRUCTURED)}"
    if spec.record and spec.format not in ("", "senml+json", "senml+cbor"):
        yield "record", "only in senml+json and senml+cbor"
    if spec.record and spec.at:
        yield "record", "either a SenML record or a place in JSON, CBOR or LwM2M, not both"
    if spec.format == "lwm2m+tlv" and not spec.type:
        yield "type", "a TLV says how long a value is, not what: float, integer, unsigned or boolean"
    if point.writable is not None and spec.format not in WRITTEN:
        yield "writable", "written as text, json, cbor, senml+json or senml+cbor only"
    if point.writable is not None and spec.at:
        yield "writable", "a resource is written as a whole: it cannot be one place of many"

"""LwM2M TLV (OMA LwM2M 1.0, section 6.4.3): bytes in, values by their path below the one that was asked for.

type   kind(2) id is 16 bits(1) length of length(2) length(3), then id, length, value
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from protocols.coap.senml import Malformed

OBJECT_INSTANCE, RESOURCE_INSTANCE, MULTIPLE, RESOURCE = range(4)
_DEEPEST = 3
_MOST = 1000


def values(data: bytes) -> dict[str, bytes]:
    """Raw value of every resource by path, "5700" or "0/5700". Raises Malformed."""
    found: dict[str, bytes] = {}
    for path, value in _walk(data, "", 0):
        found[path] = value
        if len(found) > _MOST:
            raise Malformed(f"more than {_MOST} resources")
    return found


def number(raw: bytes, kind: str) -> float:
    """The number that `raw` means as `kind`: float, integer, unsigned or boolean. Raises Malformed."""
    size = len(raw)
    if kind == "float" and size in (4, 8):
        return float(struct.unpack(">f" if size == 4 else ">d", raw)[0])
    if kind in ("integer", "unsigned") and size in (1, 2, 4, 8):
        return float(int.from_bytes(raw, "big", signed=kind == "integer"))
    if kind == "boolean" and raw in (b"\x00", b"\x01"):
        return float(raw[0])
    raise Malformed(f"{size} bytes are no {kind or 'value of a declared type'}")


def _walk(data: bytes, under: str, depth: int) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        head = data[at]
        kind, wide, counted = head >> 6, 2 if head & 0x20 else 1, head >> 3 & 3
        body = at + 1 + wide + counted
        if body > len(data):
            raise Malformed("a TLV is cut off")
        name = int.from_bytes(data[at + 1 : at + 1 + wide], "big")
        length = int.from_bytes(data[at + 1 + wide : body], "big") if counted else head & 7
        if body + length > len(data):
            raise Malformed("a TLV is cut off")
        value, path = data[body : body + length], f"{under}{name}"
        if kind in (OBJECT_INSTANCE, MULTIPLE):
            if depth == _DEEPEST:
                raise Malformed("TLVs are nested too deeply")
            yield from _walk(value, f"{path}/", depth + 1)
        else:
            yield path, value
        at = body + length

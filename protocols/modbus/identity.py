"""Who a device says it is: function 43/14 (Read Device Identification), and texts in registers. No I/O.

    request   2B 0E | code u8 | first object u8
    reply     2B 0E | code u8 | conformity u8 | more (FF, 00) | next object u8 | count u8 | objects
    object    id u8 | length u8 | text

Modbus Application Protocol 1.1b3, 6.21.
"""

from __future__ import annotations

from typing import NamedTuple

from protocols.modbus.codec import BadReply, Refused
from protocols.modbus.points import Text

FUNCTION, MEI = 0x2B, 0x0E
HEAD = bytes((FUNCTION, MEI))
BASIC, REGULAR = 1, 2  # codes: vendor, product, revision; and what else the device tells
NAMES = ("vendor", "product", "revision", "url", "product_name", "model", "application")
_FIXED = 7  # bytes before the first object


class Identity(NamedTuple):
    """One reply: `more` is the object to go on with, None where there is no more."""

    objects: dict[str, str]
    more: int | None


def identity_request(code: int = BASIC, first: int = 0) -> bytes:
    return HEAD + bytes((code, first))


def identity_size(pdu: bytes) -> int | None:
    """How long the reply is that begins with these bytes; None while that cannot be said."""
    at = _FIXED
    if len(pdu) < at:
        return None
    for _ in range(pdu[6]):
        if len(pdu) < at + 2:
            return None
        at += 2 + pdu[at + 1]
    return at


def parse_identity(pdu: bytes) -> Identity:
    """Raises Refused or BadReply."""
    if len(pdu) == 2 and pdu[0] == FUNCTION | 0x80:
        raise Refused(pdu[1])
    if pdu[:2] != HEAD or identity_size(pdu) != len(pdu):
        raise BadReply(f"not a device identification: {pdu[:8].hex(' ')}")
    objects: dict[str, str] = {}
    at = _FIXED
    for _ in range(pdu[6]):
        number, size = pdu[at], pdu[at + 1]
        name = NAMES[number] if number < len(NAMES) else f"object_{number}"
        objects[name] = plain(pdu[at + 2 : at + 2 + size])
        at += 2 + size
    return Identity(objects, pdu[5] if pdu[4] == 0xFF else None)


def text_of(data: bytes, text: Text) -> str:
    """Registers as a text."""
    if text.order == "BADC":
        data = b"".join(data[i : i + 2][::-1] for i in range(0, len(data), 2))
    return plain(data)


def plain(data: bytes) -> str:
    """Up to the first zero byte, without what no terminal should be shown."""
    words = data.partition(b"\0")[0].decode("utf-8", "replace")
    return "".join(c for c in words if c.isprintable()).strip()

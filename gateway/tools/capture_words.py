"""Frames of a capture in words for a terminal of 80 columns. In: a link and a frame. Out: facts and lines. Pure."""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.field.capture import Frame, Line
from protocols.modbus.crc import crc16

WIDTH = 80
A_LINE = 32  # bytes, where they do not fit behind the words
_READS = {1: "coils", 2: "inputs", 3: "holding", 4: "input regs"}
_WRITES = {5: "coil", 6: "register"}
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge",
    6: "busy",
    10: "gateway path",
    11: "no response behind gateway",
}
_CLASSES = {0: "", 2: "2.", 4: "4.", 5: "5."}
_METHODS = {0: "empty", 1: "GET", 2: "POST", 3: "PUT", 4: "DELETE"}


def row(line: Line, frame: Frame) -> dict[str, Any]:
    """`unit` and `function` are None where the protocol has none; `words` says what the frame is."""
    unit, function, words = {"mbtcp": _tcp, "mbrtu": _rtu, "ascii": _ascii, "coap": _coap, "ble": _ble}.get(
        line.kind, _plain
    )(frame.data, frame.sent)
    return {
        "time_ns": frame.time_ns,
        "link": line.name,
        "sent": frame.sent,
        "unit": unit,
        "function": function,
        "words": words,
        "bytes": frame.data.hex(),
    }


def table(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line a frame, none wider than the terminal."""
    yield "time (UTC)   -> sent    unit fc  what, and the bytes"
    for one in rows:
        at = datetime.fromtimestamp(one["time_ns"] / 1e9, UTC).strftime("%H:%M:%S.%f")[:12]
        arrow = "->" if one["sent"] else "<-"
        unit = "" if one["unit"] is None else str(one["unit"])
        function = "" if one["function"] is None else str(one["function"])
        head = f"{at} {arrow} {one['link'][:7]:7} {unit:>4} {function:>2}  "
        text = one["bytes"]
        room = WIDTH - len(head) - len(text) - 1
        if _wide(one["words"]) <= room:
            yield head + _cut(one["words"], room) + " " + text
            continue
        yield (head + _cut(one["words"], WIDTH - len(head))).rstrip()
        for at_byte in range(0, len(text), 2 * A_LINE):
            yield "    " + bytes.fromhex(text[at_byte : at_byte + 2 * A_LINE]).hex(" ", -4)


def _wide(words: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in words)


def _cut(words: str, width: int) -> str:
    out, used = "", 0
    for letter in words:
        wide = _wide(letter)
        if used + wide > width:
            break
        out, used = out + letter, used + wide
    return out + " " * (width - used)


Told = tuple[int | None, int | None, str]


def _tcp(data: bytes, sent: bool) -> Told:
    if len(data) < 8:
        return None, None, "cut short"
    size = struct.unpack_from(">H", data, 4)[0]
    more = " +more" if len(data) > 6 + size else ""
    return data[6], data[7] & 0x7F, _pdu(data[7 : 6 + size], sent) + more


def _rtu(data: bytes, sent: bool) -> Told:
    if len(data) < 4:
        return None, None, "noise" if not sent else "cut short"
    if struct.pack("<H", crc16(data[:-2])) != data[-2:]:
        return data[0], data[1] & 0x7F, "CRC wrong"
    return data[0], data[1] & 0x7F, _pdu(data[1:-2], sent)


def _ascii(data: bytes, sent: bool) -> Told:
    text = data.strip()
    try:
        frame = bytes.fromhex(text[1:].decode("ascii")) if text.startswith(b":") else b""
    except ValueError:
        frame = b""
    if len(frame) < 3:
        return None, None, "cut short"
    if sum(frame) & 0xFF:
        return frame[0], frame[1] & 0x7F, "LRC wrong"
    return frame[0], frame[1] & 0x7F, _pdu(frame[1:-1], sent)


def _pdu(pdu: bytes, sent: bool) -> str:
    function = pdu[0]
    try:
        if function & 0x80:
            return f"exception {pdu[1]} {_EXCEPTIONS.get(pdu[1], '')}".rstrip()
        if function in _READS and sent:
            first, count = struct.unpack_from(">HH", pdu, 1)
            return f"read {_READS[function]} {first}-{first + count - 1}"
        if function in (3, 4):
            values = struct.unpack_from(f">{pdu[1] // 2}H", pdu, 2)
            return "= " + " ".join(map(str, values))
        if function in _READS:
            return "= " + pdu[2:].hex()
        if function in _WRITES:
            address, value = struct.unpack_from(">HH", pdu, 1)
            return f"write {_WRITES[function]} {address} = {value}"
        if function in (15, 16):
            address, count = struct.unpack_from(">HH", pdu, 1)
            return f"write {address}-{address + count - 1}"
        if function == 43:
            return "who are you" if sent else "identity"
    except (struct.error, IndexError):
        return "cut short"
    return f"function {function}"


def _coap(data: bytes, sent: bool) -> Told:
    if len(data) < 4:
        return None, None, "cut short"
    kind = ("CON", "NON", "ACK", "RST")[data[0] >> 4 & 3]
    klass, detail = data[1] >> 5, data[1] & 31
    code = _METHODS.get(detail, str(detail)) if not klass else f"{_CLASSES.get(klass, f'{klass}.')}{detail:02}"
    return None, None, f"{kind} {code} id {int.from_bytes(data[2:4], 'big')}"


def _ble(data: bytes, sent: bool) -> Told:
    if len(data) < 14:
        return None, None, "cut short"
    return None, None, "advert " + data[7:13][::-1].hex(":").upper()


def _plain(data: bytes, sent: bool) -> Told:
    text = data.decode("ascii", "replace").strip()
    return None, None, repr(text)[1:-1] if text and text.isprintable() else f"{len(data)} bytes"

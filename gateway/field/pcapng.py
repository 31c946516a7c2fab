"""pcapng as bytes: section, interfaces and packets, written and read. No files, no clocks, no protocols.

In: interfaces and packets. Out: bytes that Wireshark opens, and back. Layout: draft-ietf-opsawg-pcapng; little-endian
is written, both are read.

    block   type u32 | length u32 | body | options | length u32
    option  code u16 | length u16 | value, padded to 4     ended by code 0
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_COMMENT, _NAME, _USER_APPLICATION, _RESOLUTION, _FLAGS = 1, 2, 4, 9, 2
_INBOUND, _OUTBOUND = 1, 2  # the low bits of epb_flags
_NANOSECONDS = b"\x09"


@dataclass(frozen=True, slots=True)
class Interface:
    """One link. `linktype` is of the tcpdump.org registry; `comment` is free text."""

    name: str
    linktype: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Packet:
    """`time_ns` is UTC; `interface` counts through the file's."""

    interface: int
    time_ns: int
    sent: bool
    data: bytes


def write(interfaces: Sequence[Interface], packets: Iterable[Packet], application: str) -> bytes:
    """A whole file."""
    parts = [_block(SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1), [(_USER_APPLICATION, application.encode())])]
    for one in interfaces:
        options = [(_NAME, one.name.encode()), (_RESOLUTION, _NANOSECONDS)]
        options += [(_COMMENT, one.comment.encode())] if one.comment else []
        parts.append(_block(INTERFACE, struct.pack("<HHI", one.linktype, 0, 0), options))
    for packet in packets:
        high, low = divmod(packet.time_ns, 1 << 32)
        size = len(packet.data)
        head = struct.pack("<IIIII", packet.interface, high, low, size, size) + _padded(packet.data)
        flags = struct.pack("<I", _OUTBOUND if packet.sent else _INBOUND)
        parts.append(_block(PACKET, head, [(_FLAGS, flags)]))
    return b"".join(parts)


def read(data: bytes) -> tuple[list[Interface], list[Packet]]:
    """The inverse of `write`; blocks of other kinds are passed over. Raises ValueError on anything else."""
    interfaces: list[Interface] = []
    packets: list[Packet] = []
    units: list[int] = []  # ns a tick of each interface
    try:
        for kind, order, body in _blocks(data):
            if kind == INTERFACE:
                linktype, _, _ = struct.unpack_from(order + "HHI", body)
                options = dict(_options(body[8:], order))
                name, comment = (options.get(code, b"").decode("utf-8", "replace") for code in (_NAME, _COMMENT))
                interfaces.append(Interface(name, linktype, comment))
                units.append(_tick_ns(options.get(_RESOLUTION, b"\x06")))
            elif kind == PACKET:
                interface, high, low, size, _ = struct.unpack_from(order + "IIIII", body)
                options = dict(_options(body[20 + size + -size % 4 :], order))
                (flags,) = struct.unpack(order + "I", options.get(_FLAGS, b"\0\0\0\0"))
                time_ns = ((high << 32) + low) * units[interface]
                packets.append(Packet(interface, time_ns, flags & 3 == _OUTBOUND, body[20 : 20 + size]))
    except (struct.error, IndexError) as bad:
        raise ValueError(f"no pcapng file: {bad}") from bad
    return interfaces, packets


def _blocks(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """(type, byte order, body) of each block."""
    at, order = 0, "<"
    if struct.unpack_from("<I", data)[0] != SECTION:
        raise ValueError("no pcapng file: it does not begin with a section")
    while at < len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if struct.unpack_from("<I", data, at + 8)[0] == _MAGIC else ">"
        kind, length = struct.unpack_from(order + "II", data, at)
        if length < 12 or length % 4 or at + length > len(data):
            raise ValueError(f"no pcapng file: a block of {length} bytes at {at}")
        yield kind, order, data[at + 8 : at + length - 4]
        at += length


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(order + "HH", data, at)
        if not code:
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


def _tick_ns(resolution: bytes) -> int:
    exponent = resolution[0]
    if exponent & 0x80 or exponent > 9:
        raise ValueError(f"no time resolution that is read: {exponent:#x}")
    return int(10 ** (9 - exponent))


def _block(kind: int, body: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    for code, value in options:
        body += struct.pack("<HH", code, len(value)) + _padded(value)
    body += b"\0\0\0\0"
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)

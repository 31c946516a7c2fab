"""What passed on a link, as packets that Wireshark takes apart without being told how, and back to the bytes.

In: a link's facts and pieces. Out: a pcapng file, or from one the bytes of each packet. No sockets, no clocks.

    Modbus TCP        RAW (101): IPv4 and TCP, the device on port 502
    Modbus RTU        WIRESHARK_UPPER_PDU (252): names the dissector, mbrtu
    ASCII, serial     RTAC_SERIAL (250): what was sent and what came; the payload is bytes
    CoAP              RAW (101): IPv4 and UDP, the node on port 5683
    Bluetooth         BLUETOOTH_HCI_H4_WITH_PHDR (201): adverts as LE Advertising Reports

IP headers are made up around real bytes: a gateway sees a stream, not its packets. Pieces of one frame that came a few
milliseconds apart are one packet.
"""

from __future__ import annotations

import ipaddress
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from gateway import VERSION
from gateway.field import pcapng
from gateway.field.tape import Piece

RAW, H4, RTAC, UPPER_PDU = 101, 201, 250, 252
MBTCP_PORT, COAP_PORT, OUR_PORT = 502, 5683, 50_000
GATEWAY, DEVICE = "192.0.2.1", "192.0.2.2"  # of RFC 5737, where the link's address is no IPv4
APART_NS = 20_000_000  # USB adapters hold bytes back for 16 ms; a longer pause begins another frame
_DISSECTOR, _END = 12, 0  # tags of an exported PDU: the dissector's name
_RTAC_SENT, _RTAC_RECEIVED = 1, 2  # DATA_TX_START, DATA_RX_START


@dataclass(frozen=True, slots=True)
class Line:
    """One link as a capture tells of it."""

    name: str
    url: str
    driver: str
    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1
    data_bits: int = 8
    why: str = ""  # what the capture was frozen for; "" where a person asked

    @property
    def kind(self) -> str:
        """`mbtcp`, `mbrtu`, `ascii`, `serial`, `coap` or `ble`."""
        scheme = self.url.partition(":")[0]
        if self.driver != "modbus":
            return self.driver
        return "mbtcp" if scheme == "tcp" else "ascii" if scheme.startswith("ascii") else "mbrtu"


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of one packet, at a UTC time."""

    line: int
    time_ns: int
    sent: bool
    data: bytes


def file(lines: Sequence[tuple[Line, Sequence[Piece]]], utc_offset_ns: int) -> bytes:
    """A whole pcapng file, packets in order of time."""
    interfaces = [
        pcapng.Interface(line.name, LINKTYPES[line.kind], json.dumps(asdict(line), ensure_ascii=False))
        for line, _ in lines
    ]
    packets = [
        pcapng.Packet(number, time_ns + utc_offset_ns, sent, data)
        for number, (line, pieces) in enumerate(lines)
        for time_ns, sent, data in _packed(line, frames(line, pieces), utc_offset_ns)
    ]
    packets.sort(key=lambda packet: packet.time_ns)
    return pcapng.write(interfaces, packets, f"citygate {VERSION}")


def read(data: bytes) -> tuple[list[Line], list[Frame]]:
    """The links of a capture that `file` made, and the bytes of its packets. Raises ValueError."""
    interfaces, packets = pcapng.read(data)
    lines = []
    for interface in interfaces:
        try:
            lines.append(Line(**json.loads(interface.comment)))
        except (ValueError, TypeError) as bad:
            raise ValueError(f"interface {interface.name!r} does not say which link it is") from bad
    found = [Frame(p.interface, p.time_ns, p.sent, _bare(lines[p.interface], p.data)) for p in packets]
    return lines, [frame for frame in found if frame.data]


def frames(line: Line, pieces: Sequence[Piece]) -> Iterator[tuple[int, bool, bytes]]:
    """(time_ns of its first byte's piece, sent, bytes): pieces that belong together joined."""
    if line.kind in ("mbtcp", "coap", "ble"):
        yield from ((piece.time_ns, piece.sent, piece.data) for piece in pieces)
        return
    held: list[Piece] = []
    for piece in pieces:
        if held and (piece.sent != held[0].sent or piece.sent or piece.time_ns - held[-1].time_ns > APART_NS):
            yield held[0].time_ns, held[0].sent, b"".join(one.data for one in held)
            held = []
        held.append(piece)
    if held:
        yield held[0].time_ns, held[0].sent, b"".join(one.data for one in held)


LINKTYPES: Mapping[str, int] = {"mbtcp": RAW, "coap": RAW, "mbrtu": UPPER_PDU, "ascii": RTAC, "serial": RTAC, "ble": H4}


def _packed(
    line: Line, passed: Iterable[tuple[int, bool, bytes]], utc_offset_ns: int
) -> Iterator[tuple[int, bool, bytes]]:
    here, there = GATEWAY, _ipv4(line.url)
    sequence = {True: 1, False: 1}  # the next TCP sequence number of each direction
    for time_ns, sent, data in passed:
        if line.kind == "mbtcp":
            ports = (OUR_PORT, MBTCP_PORT) if sent else (MBTCP_PORT, OUR_PORT)
            head = struct.pack(">HHIIBBHHH", *ports, sequence[sent], sequence[not sent], 5 << 4, 0x18, 65_535, 0, 0)
            sequence[sent] = (sequence[sent] + len(data)) & 0xFFFFFFFF
            yield time_ns, sent, _ip(6, here, there, head, data, sent, 16)
        elif line.kind == "coap":
            ports = (OUR_PORT, COAP_PORT) if sent else (COAP_PORT, OUR_PORT)
            head = struct.pack(">HHHH", *ports, 8 + len(data), 0)
            yield time_ns, sent, _ip(17, here, there, head, data, sent, 6)
        elif line.kind == "mbrtu":
            yield time_ns, sent, _tag(_DISSECTOR, b"mbrtu") + _tag(_END, b"") + data
        elif line.kind == "ble":
            yield time_ns, sent, struct.pack(">I", 0 if sent else 1) + data
        else:
            seconds, micros = divmod((time_ns + utc_offset_ns) // 1000, 1_000_000)
            event = _RTAC_SENT if sent else _RTAC_RECEIVED
            yield time_ns, sent, struct.pack(">IIBBH", seconds & 0xFFFFFFFF, micros, event, 0, 0) + data


def _bare(line: Line, data: bytes) -> bytes:
    """A packet without what `_packed` put around it."""
    if line.kind in ("mbtcp", "coap"):
        header = (data[0] & 15) * 4 if data else 0
        return data[header + ((data[header + 12] >> 4) * 4 if line.kind == "mbtcp" else 8) :] if header else b""
    if line.kind == "mbrtu":
        at = 0
        while at + 4 <= len(data):
            tag, size = struct.unpack_from(">HH", data, at)
            at += 4 + size
            if tag == _END:
                return data[at:]
        return b""
    return data[4:] if line.kind == "ble" else data[12:]


def _tag(tag: int, value: bytes) -> bytes:
    value += b"\0" * (-len(value) % 4)
    return struct.pack(">HH", tag, len(value)) + value


def _ip(protocol: int, here: str, there: str, head: bytes, data: bytes, sent: bool, checksum_at: int) -> bytes:
    """An IPv4 packet with its checksums; `checksum_at`: where in `head` the transport's is."""
    ends = (ipaddress.IPv4Address(here).packed, ipaddress.IPv4Address(there).packed)
    source, target = ends if sent else ends[::-1]
    size = len(head) + len(data)
    pseudo = source + target + struct.pack(">BBH", 0, protocol, size)
    check = _checksum(pseudo + head + data) or 0xFFFF
    head = head[:checksum_at] + struct.pack(">H", check) + head[checksum_at + 2 :]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, protocol, 0) + source + target
    ip = ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:]
    return ip + head + data


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def _ipv4(url: str) -> str:
    host = url.partition("://")[2].rpartition(":")[0] or url.partition("://")[2]
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        return DEVICE

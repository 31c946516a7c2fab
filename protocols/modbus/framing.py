"""Two ways to put a PDU on a serial line: as bytes with a CRC, or as characters with an LRC. No sockets, no clocks.

    RTU     unit | PDU | CRC-16 (low byte first)
    ASCII   ":" | unit, PDU and LRC as hexadecimal digits | CR LF        (LRC: two's complement of the sum of the bytes)

Neither frame carries a transaction id, so what is believed, and when, is the same for both (line.py).
"""

from __future__ import annotations

from typing import Protocol

from protocols.api import Link
from protocols.modbus.codec import Found, find_frame, rtu_frame
from protocols.streams import char_s, scheme


class Framing(Protocol):
    def frame(self, unit: int, pdu: bytes) -> bytes: ...
    def characters(self, size: int) -> int:
        """How many characters a frame around a PDU of `size` bytes takes."""
        ...

    def find(self, line: bytes, unit: int, head: bytes, size: int) -> Found | None:
        """The first whole frame of `unit` on the line whose PDU begins with `head`, is `size` bytes long and whose
        check is right; None if there is none (yet)."""
        ...

    def begins(self, line: bytes, unit: int, head: bytes) -> bool:
        """Whether such a frame may have begun somewhere on the line."""
        ...

    def is_from(self, line: bytes, unit: int) -> bool:
        """Whether the line begins with this unit's number."""
        ...

    def candidates(self, line: bytes, unit: int, head: bytes) -> list[bytes]:
        """What stands on the line from each place where such a frame may begin, as bytes: unit, PDU and what
        follows."""
        ...

    def silence_s(self, link: Link) -> float:
        """What must separate two frames."""
        ...


class Rtu:
    def frame(self, unit: int, pdu: bytes) -> bytes:
        return rtu_frame(unit, pdu)

    def characters(self, size: int) -> int:
        return size + 3

    def find(self, line: bytes, unit: int, head: bytes, size: int) -> Found | None:
        at = find_frame(line, bytes((unit,)) + head, size + 3)
        return None if at is None else Found(line[at + 1 : at + 1 + size], at + size + 3)

    def begins(self, line: bytes, unit: int, head: bytes) -> bool:
        return bytes((unit,)) + head in line

    def is_from(self, line: bytes, unit: int) -> bool:
        return line[0] == unit

    def candidates(self, line: bytes, unit: int, head: bytes) -> list[bytes]:
        return [line[at:] for at in _places(line, bytes((unit,)) + head)]

    def silence_s(self, link: Link) -> float:
        """3.5 characters, fixed above 19200 baud (Modbus over Serial Line 1.02, 2.5.1.1)."""
        return 0.00175 if link.baud > 19_200 else 3.5 * char_s(link)


class Ascii:
    def frame(self, unit: int, pdu: bytes) -> bytes:
        body = bytes((unit,)) + pdu
        return b":" + (body + bytes((lrc(body),))).hex().upper().encode() + b"\r\n"

    def characters(self, size: int) -> int:
        return 2 * (size + 2) + 3

    def find(self, line: bytes, unit: int, head: bytes, size: int) -> Found | None:
        length = self.characters(size)
        for at in _places(line.upper(), _begin(unit, head)):
            body = _body(line[at : at + length])
            if body is not None and len(body) == size + 2:
                return Found(body[1:-1], at + length)
        return None

    def begins(self, line: bytes, unit: int, head: bytes) -> bool:
        return _begin(unit, head) in line.upper()

    def is_from(self, line: bytes, unit: int) -> bool:
        return line.upper().startswith(_begin(unit, b""))

    def candidates(self, line: bytes, unit: int, head: bytes) -> list[bytes]:
        frames = (line[at:].partition(b"\n")[0] + b"\n" for at in _places(line.upper(), _begin(unit, head)))
        return [body for frame in frames if (body := _body(frame)) is not None]

    def silence_s(self, link: Link) -> float:
        """A frame says itself where it begins: none."""
        return 0.0


def lrc(body: bytes) -> int:
    """Modbus over Serial Line 1.02, 6.2.1."""
    return -sum(body) & 0xFF


def framing_of(link: Link) -> Framing:
    return ASCII if scheme(link).startswith("ascii") else RTU


def _begin(unit: int, head: bytes) -> bytes:
    return b":" + (bytes((unit,)) + head).hex().upper().encode()


def _body(frame: bytes) -> bytes | None:
    """Unit, PDU and LRC of a whole frame; None where digits, end or LRC are wrong."""
    if not frame.endswith(b"\r\n"):
        return None
    digits = frame[1:-2]
    if not digits.isalnum():  # bytes.fromhex would pass over spaces
        return None
    try:
        body = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    return body if sum(body) & 0xFF == 0 else None


def _places(line: bytes, head: bytes) -> list[int]:
    places = []
    at = line.find(head)
    while at >= 0:
        places.append(at)
        at = line.find(head, at + 1)
    return places


RTU, ASCII = Rtu(), Ascii()

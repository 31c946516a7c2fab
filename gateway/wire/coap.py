"""CoAP messages as bytes: datagrams (RFC 7252, section 3) and frames on a stream (RFC 8323, section 3.2).

Bytes in, messages out, and back. No sockets, no clocks, no table of options that grows with what strangers send.

    datagram   Ver|T|TKL, Code, Message ID, Token, Options, [0xFF, Payload]
    frame      Len|TKL, extended length, Code, Token, Options, [0xFF, Payload]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CON, NON, ACK, RST = range(4)

EMPTY = 0x00
GET, POST, PUT, DELETE, FETCH = 0x01, 0x02, 0x03, 0x04, 0x05
CREATED, DELETED, CONTENT = 0x41, 0x42, 0x45
CHANGED, CONTINUE = 0x44, 0x5F
BAD_REQUEST, UNAUTHORIZED, BAD_OPTION, NOT_FOUND, NOT_ALLOWED = 0x80, 0x81, 0x82, 0x84, 0x85
FORBIDDEN, NOT_ACCEPTABLE = 0x83, 0x86
INCOMPLETE, TOO_LARGE, UNSUPPORTED_FORMAT, TOO_MANY = 0x88, 0x8D, 0x8F, 0x9D
INTERNAL_ERROR, BAD_GATEWAY, UNAVAILABLE, TIMED_OUT = 0xA0, 0xA2, 0xA3, 0xA4
CSM, PING, PONG, RELEASE, ABORT = 0xE1, 0xE2, 0xE3, 0xE4, 0xE5

URI_HOST, URI_PORT, OSCORE, URI_PATH, CONTENT_FORMAT, MAX_AGE, URI_QUERY = 3, 7, 9, 11, 12, 14, 15
LOCATION_PATH, ACCEPT, BLOCK2, SIZE2 = 8, 17, 23, 28
BLOCK1, SIZE1, ECHO, REQUEST_TAG = 27, 60, 252, 292
ETAG, OBSERVE = 4, 6
CSM_MAX_MESSAGE_SIZE, CSM_BLOCKWISE = 2, 4

LARGEST_OPTION = 0xFFFF
UNSAID_MESSAGE_SIZE = 1152  # what a peer takes that has announced nothing (RFC 8323, section 5.3.1)

Options = tuple[tuple[int, bytes], ...]


class BadMessage(ValueError):
    """Not a CoAP message."""


@dataclass(frozen=True, slots=True)
class Message:
    """`kind` and `mid` are those of a datagram; a stream has none."""

    code: int
    options: Options = ()
    payload: bytes = b""
    token: bytes = b""
    kind: int = CON
    mid: int = 0

    @property
    def is_request(self) -> bool:
        return 0 < self.code < 0x20

    @property
    def is_response(self) -> bool:
        return 0x40 <= self.code < 0xE0

    @property
    def code_class(self) -> int:
        return self.code >> 5

    @property
    def dotted(self) -> str:
        return f"{self.code >> 5}.{self.code & 0x1F:02}"

    def first(self, number: int) -> bytes | None:
        return next((value for its, value in self.options if its == number), None)

    def uint(self, number: int) -> int | None:
        found = self.first(number)
        return None if found is None else int.from_bytes(found, "big")

    def texts(self, number: int) -> tuple[str, ...]:
        """Values of a repeatable text option. Raises BadMessage for one that is not UTF-8."""
        try:
            return tuple(value.decode() for its, value in self.options if its == number)
        except UnicodeDecodeError as bad:
            raise BadMessage("an option is not UTF-8") from bad


def uint(value: int) -> bytes:
    """The shortest form of an option's whole number."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def from_datagram(data: bytes) -> Message:
    """Raises BadMessage."""
    if len(data) < 4 or data[0] >> 6 != 1:
        raise BadMessage("no CoAP header")
    length = data[0] & 0x0F
    if length > 8 or len(data) < 4 + length:
        raise BadMessage("the token is cut off")
    code = data[1]
    if code == EMPTY and len(data) > 4:
        raise BadMessage("an empty message with something in it")
    options, payload = _read_options(data, 4 + length)
    mid = int.from_bytes(data[2:4], "big")
    return Message(code, options, payload, data[4 : 4 + length], data[0] >> 4 & 3, mid)


def to_datagram(message: Message) -> bytes:
    head = bytes((0x40 | message.kind << 4 | len(message.token), message.code)) + message.mid.to_bytes(2, "big")
    return head + message.token + _body(message)


def to_frame(message: Message) -> bytes:
    body = _body(message)
    size = len(body)
    if size < 13:
        length, extended = size, b""
    elif size < 269:
        length, extended = 13, (size - 13).to_bytes(1, "big")
    elif size < 65805:
        length, extended = 14, (size - 269).to_bytes(2, "big")
    else:
        length, extended = 15, (size - 65805).to_bytes(4, "big")
    return bytes((length << 4 | len(message.token),)) + extended + bytes((message.code,)) + message.token + body


class Frames:
    """What a stream brings, cut into messages. Holds at most `limit` bytes of one message and what came with it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        if self._at:
            del self._held[: self._at]
            self._at = 0
        self._held += data

    @property
    def size(self) -> int:
        """Bytes not yet handed out."""
        return len(self._held) - self._at

    def next(self) -> Message | None:
        """The next whole message. Raises BadMessage; the stream cannot be read on after that."""
        held, at = self._held, self._at
        if len(held) - at < 2:
            return None
        length, tokens = held[at] >> 4, held[at] & 0x0F
        extra = (0, 1, 2, 4)[max(0, length - 12)]
        body_at = at + 2 + extra
        if tokens > 8:
            raise BadMessage("the token is too long")
        if len(held) < body_at:
            return None
        if extra:
            length = int.from_bytes(held[at + 1 : at + 1 + extra], "big") + (0, 13, 269, 65805)[max(0, length - 12)]
        if length > self._limit:
            raise BadMessage("the message is too large")
        end = body_at + tokens + length
        if len(held) < end:
            return None
        code = held[body_at - 1]
        data = bytes(held[body_at:end])
        self._at = end
        options, payload = _read_options(data, tokens)
        return Message(code, options, payload, data[:tokens])


def _body(message: Message) -> bytes:
    parts = [_written_options(message.options)]
    if message.payload:
        parts += [b"\xff", message.payload]
    return b"".join(parts)


def _written_options(options: Sequence[tuple[int, bytes]]) -> bytes:
    out = bytearray()
    last = 0
    for number, value in sorted(options, key=lambda option: option[0]):
        delta, delta_more = _nibble(number - last)
        length, length_more = _nibble(len(value))
        out.append(delta << 4 | length)
        out += delta_more + length_more + value
        last = number
    return bytes(out)


def _nibble(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    if value < 269:
        return 13, (value - 13).to_bytes(1, "big")
    return 14, (value - 269).to_bytes(2, "big")


def _read_options(data: bytes, at: int) -> tuple[Options, bytes]:
    out: list[tuple[int, bytes]] = []
    number, end = 0, len(data)
    while at < end:
        head = data[at]
        at += 1
        if head == 0xFF:
            if at == end:
                raise BadMessage("a payload of nothing")
            return tuple(out), data[at:]
        delta, at = _extended(head >> 4, data, at)
        length, at = _extended(head & 0x0F, data, at)
        number += delta
        if number > LARGEST_OPTION or at + length > end:
            raise BadMessage("an option is cut off")
        out.append((number, data[at : at + length]))
        at += length
    return tuple(out), b""


def _extended(nibble: int, data: bytes, at: int) -> tuple[int, int]:
    if nibble < 13:
        return nibble, at
    if nibble == 15:
        raise BadMessage("a reserved option length")
    size = nibble - 12
    if at + size > len(data):
        raise BadMessage("an option is cut off")
    return int.from_bytes(data[at : at + size], "big") + (13 if size == 1 else 269), at + size


def without(options: Iterable[tuple[int, bytes]], *numbers: int) -> Options:
    return tuple(option for option in options if option[0] not in numbers)

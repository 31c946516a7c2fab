"""BTHome v2 service data (UUID 0xFCD2) as bytes in, measurements out. No sockets, no clocks.

Layout: device information u8 (bit 0 encrypted, bits 5-7 version = 2), then objects: id u8, value little-endian.
Encrypted: information u8, ciphertext, counter u32, MIC 4 bytes; AES-CCM with the nonce address + D2 FC + information
+ counter. Source: bthome.io/format and bthome.io/encryption. An object unknown here has no known length, so what
follows it cannot be read: what came before is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

UUID = 0xFCD2
PACKET_ID = 0x00
VERSION = 2
KEY_BYTES = 16
_TEXTS = (0x53, 0x54)  # text, raw: a length goes before the bytes
_OVERHEAD = 9  # information, counter, MIC


class Object(NamedTuple):
    """Bytes of the value, whether it has a sign, and what divides it."""

    size: int
    signed: bool = False
    divisor: float = 1.0


OBJECTS: dict[int, Object] = {
    **{one: Object(1) for one in (0x00, 0x01, 0x09, *range(0x0F, 0x12), *range(0x15, 0x30), 0x3A, 0x60, 0x64, 0x65)},
    0x02: Object(2, True, 100), 0x03: Object(2, False, 100), 0x04: Object(3, False, 100),
    0x05: Object(3, False, 100), 0x06: Object(2, False, 100), 0x07: Object(2, False, 100),
    0x08: Object(2, True, 100), 0x0A: Object(3, False, 1000), 0x0B: Object(3, False, 100),
    0x0C: Object(2, False, 1000), 0x0D: Object(2), 0x0E: Object(2), 0x12: Object(2), 0x13: Object(2),
    0x14: Object(2, False, 100), 0x3C: Object(2), 0x3D: Object(2), 0x3E: Object(4), 0x3F: Object(2, True, 10),
    0x40: Object(2), 0x41: Object(2, False, 10), 0x42: Object(3, False, 1000), 0x43: Object(2, False, 1000),
    0x44: Object(2, False, 100), 0x45: Object(2, True, 10), 0x46: Object(1, False, 10), 0x47: Object(2, False, 10),
    0x48: Object(2), 0x49: Object(2, False, 1000), 0x4A: Object(2, False, 10), 0x4B: Object(3, False, 1000),
    0x4C: Object(4, False, 1000), 0x4D: Object(4, False, 1000), 0x4E: Object(4, False, 1000),
    0x4F: Object(4, False, 1000), 0x50: Object(4), 0x51: Object(2, False, 1000), 0x52: Object(2, False, 1000),
    0x55: Object(4, False, 1000), 0x56: Object(2), 0x57: Object(1, True), 0x58: Object(1, True, 1 / 0.35),
    0x59: Object(1, True), 0x5A: Object(2, True), 0x5B: Object(4, True), 0x5C: Object(4, True, 100),
    0x5D: Object(2, True, 1000), 0x5E: Object(2, False, 100), 0x5F: Object(2, False, 10), 0x61: Object(2),
    0x62: Object(4, True, 1e6), 0x63: Object(4, True, 1e6), 0xF0: Object(2), 0xF1: Object(4), 0xF2: Object(3),
}  # fmt: skip


class Refused(ValueError):
    """A message that must not be believed. `counter` names the counter that it adds to."""

    def __init__(self, counter: str, why: str) -> None:
        super().__init__(why)
        self.counter = counter


class Objects(NamedTuple):
    """(id, value) in the order sent. `unknown`: an object had to end the reading; `cut`: the last one lacked bytes."""

    values: tuple[tuple[int, float], ...]
    unknown: bool
    cut: bool

    @property
    def packet_id(self) -> int | None:
        return next((int(value) for one, value in self.values if one == PACKET_ID), None)


def objects(data: bytes) -> Objects:
    """The objects of a plain payload, its information byte left out."""
    values: list[tuple[int, float]] = []
    at = 0
    while at < len(data):
        one = data[at]
        at += 1
        if one in _TEXTS:
            if at >= len(data) or at + 1 + data[at] > len(data):
                return Objects(tuple(values), False, True)
            at += 1 + data[at]
            continue
        shape = OBJECTS.get(one)
        if shape is None:
            return Objects(tuple(values), True, False)
        if at + shape.size > len(data):
            return Objects(tuple(values), False, True)
        raw = int.from_bytes(data[at : at + shape.size], "little", signed=shape.signed)
        values.append((one, raw / shape.divisor))
        at += shape.size
    return Objects(tuple(values), False, False)


def is_encrypted(data: bytes) -> bool:
    """Raises Refused for what is no BTHome v2 message."""
    if len(data) < 2 or data[0] >> 5 != VERSION:
        raise Refused("malformed", "not a BTHome v2 message")
    return bool(data[0] & 1)


def decrypt(data: bytes, address: str, key: bytes) -> tuple[int, bytes]:
    """(counter, plain objects) of an encrypted message. Raises Refused where the key or the bytes are wrong."""
    if len(data) <= _OVERHEAD:
        raise Refused("malformed", "too short for an encrypted message")
    nonce = bytes.fromhex(address.replace(":", "")) + UUID.to_bytes(2, "little") + data[:1] + data[-8:-4]
    try:
        plain = _cipher(key).decrypt(nonce, data[1:-8] + data[-4:], None)
    except InvalidTag as bad:
        raise Refused("not_authentic", "the key does not fit, or the message was altered") from bad
    return int.from_bytes(data[-8:-4], "little"), plain


def encrypt(plain: bytes, address: str, key: bytes, counter: int, information: int = 0x41) -> bytes:
    """The service data that carries `plain` objects."""
    count, info = counter.to_bytes(4, "little"), bytes((information,))
    nonce = bytes.fromhex(address.replace(":", "")) + UUID.to_bytes(2, "little") + info + count
    sealed = _cipher(key).encrypt(nonce, plain, None)
    return info + sealed[:-4] + count + sealed[-4:]


@lru_cache(maxsize=256)
def _cipher(key: bytes) -> AESCCM:
    return AESCCM(key, tag_length=4)

"""What bytes on a Modbus RTU line tell: of one request, of one address asked again and again, of a whole line. Pure.

    one request     nothing | answer | refusal | two answers | garbled | somebody else's frame | noise
    one address     nobody | a device | a device with errors | two devices | unreadable
    the line        silence, echo, noise, errors, doubled addresses, somebody else: each with what to try next

Two devices with one number answer at once. Where both keep step their first bytes agree (unit, function, count) and
what follows is a mix that no CRC fits, every time; out of step the answer grows longer than it may be, or there are
two. Noise of the line spoils some answers, not all, and not only one address's; it turns over a byte here and there, so
that the majority of some answers to one read is the answer again.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from gateway.bench.findings import Finding, finding
from gateway.bench.line import Heard
from protocols.modbus.codec import byte_count
from protocols.modbus.crc import crc16

REFUSAL_BYTES = 5
ENOUGH_SPOILT = 3  # answers none of which could be read
MIXED = 0.28  # of an answer's bytes: noise seldom spoils so many at once
DAMAGED = 0.45  # of all bytes of all spoilt answers: not even on a line where a third of the bytes is wrong


class Sound(Enum):
    NOTHING = "nothing"
    ANSWER = "answer"
    REFUSAL = "refusal"
    TWO = "two answers"
    GARBLED = "garbled"
    FOREIGN = "foreign"
    NOISE = "noise"


class Address(Enum):
    NOBODY = "nobody"
    DEVICE = "device"
    ERRORS = "device with errors"
    DOUBLED = "two devices"
    UNREADABLE = "unreadable"


class Listened(NamedTuple):
    """One request judged. `frame` is the whole answer or refusal, if any; `has_echo`: the adapter hears itself."""

    request: bytes
    sound: Sound
    body: bytes
    frame: bytes = b""
    has_echo: bool = False
    after_s: float = float("nan")


def listened(heard: Heard) -> Listened:
    """What `heard` is. The request is a read of functions 1 to 4 with its CRC."""
    has_echo = len(heard.data) >= len(heard.request) and heard.data.startswith(heard.request)
    body = heard.data[len(heard.request) :] if has_echo else heard.data
    if not body or heard.request.startswith(body):
        return Listened(heard.request, Sound.NOTHING, b"", b"", has_echo or bool(body))
    unit, function = heard.request[0], heard.request[1]
    frames = _frames(body, heard.request)
    rest = body.replace(frames[0], b"", 1) if frames else body
    if len(frames) > 1 or (frames and rest[:1] == bytes((unit,))):
        sound = Sound.TWO
    elif frames:
        sound = Sound.REFUSAL if frames[0][1] & 0x80 else Sound.ANSWER
    elif bytes((unit, function)) in body or bytes((unit, function | 0x80)) in body or body[0] == unit:
        sound = Sound.GARBLED
    else:
        sound = Sound.FOREIGN if _has_frame(body) else Sound.NOISE
    return Listened(heard.request, sound, body, frames[0] if frames else b"", has_echo, heard.after_s)


def settle(tries: Sequence[Listened]) -> tuple[Address, bool]:
    """What one address is, by the same and by different reads, and whether that is certain."""
    clean = [one for one in tries if one.sound in (Sound.ANSWER, Sound.REFUSAL)]
    spoilt = [one for one in tries if one.sound in (Sound.GARBLED, Sound.NOISE)]
    if any(one.sound is Sound.TWO for one in tries):
        return Address.DOUBLED, True
    if not spoilt:
        return (Address.DEVICE if clean else Address.NOBODY), True
    begins = [one for one in spoilt if one.sound is Sound.GARBLED]
    overlong = [one for one in spoilt if len(one.body) > _size(one.request)]
    if begins and (_contradicts(clean) or len(overlong) * 2 > len(spoilt)):
        return Address.DOUBLED, True
    if clean and len(spoilt) >= ENOUGH_SPOILT and _damage(spoilt, clean) >= DAMAGED:
        return Address.DOUBLED, False
    if begins and _is_rebuilt(spoilt):
        return Address.ERRORS, True
    if clean:
        mixed = [one for one in spoilt if _is_mixed(one, clean)]
        return (Address.DOUBLED, False) if len(mixed) * 2 > len(spoilt) else (Address.ERRORS, True)
    if len(spoilt) < ENOUGH_SPOILT or len(begins) * 3 < len(spoilt):
        return Address.UNREADABLE, False
    in_step = all(one.body.startswith(_head(one.body, one.request)) for one in spoilt)
    return Address.DOUBLED, in_step


def _is_mixed(one: Listened, clean: Sequence[Listened]) -> bool:
    """Whether more of a spoilt answer differs from a clean one to the same read than noise turns over: two devices
    with the same values answer alike, and spoil each other only when out of step."""
    for other in clean:
        if other.request == one.request:
            different = sum(a != b for a, b in zip(one.body, other.frame, strict=False))
            return len(one.body) != len(other.frame) or different >= max(2.0, MIXED * len(other.frame))
    return len(one.body) > _size(one.request)


def _damage(spoilt: Sequence[Listened], clean: Sequence[Listened]) -> float:
    """Share of wrong bytes in spoilt answers: against a clean answer to the same read, else in how each must begin."""
    shown = {one.request: one.frame for one in clean}
    wrong = total = 0
    for one in spoilt:
        whole = shown.get(one.request, b"")
        if not whole or abs(len(whole) - len(one.body)) > 1:
            unit, function = one.request[0], one.request[1]
            heads = (bytes((unit, function, _size(one.request) - REFUSAL_BYTES)), bytes((unit, function | 0x80)))
            whole = min(heads, key=lambda head: _differ(head, one.body) / len(head))
        wrong += _differ(whole, one.body)
        total += min(len(whole), len(one.body))
    return wrong / max(1, total)


def _differ(one: bytes, other: bytes) -> int:
    return sum(a != b for a, b in zip(one, other, strict=False))


def _is_rebuilt(spoilt: Sequence[Listened]) -> bool:
    """Whether the bits that most answers to one read have make a whole answer, though none of them was one."""
    alike: dict[tuple[bytes, int], list[bytes]] = {}
    for one in spoilt:
        if len(one.body) in (_size(one.request), REFUSAL_BYTES):
            alike.setdefault((one.request, len(one.body)), []).append(one.body)
    for (request, size), bodies in alike.items():
        if len(bodies) < ENOUGH_SPOILT:
            continue
        columns = [bytes(column) for column in zip(*bodies, strict=True)]
        bits = [[2 * sum((byte >> bit) & 1 for byte in one) > len(bodies) for bit in range(8)] for one in columns]
        most = bytes(sum(1 << bit for bit in range(8) if byte[bit]) for byte in bits)
        if [len(frame) for frame in _frames(most, request)] == [size]:
            return True
    return False


def _contradicts(clean: Sequence[Listened]) -> bool:
    """One read answered once and refused once: not by the same device."""
    kinds: dict[bytes, set[Sound]] = {}
    for one in clean:
        kinds.setdefault(one.request, set()).add(one.sound)
    return any(len(found) > 1 for found in kinds.values())


def diagnosed(
    addresses: Sequence[tuple[int, Address, bool]],
    sounds: Sequence[Listened],
    unasked: bytes,
) -> list[Finding]:
    """What is to be said of a line at one setting: (unit, what it is, certain) of all that answered somehow, every
    request's outcome, and what was heard though nobody asked."""
    found: list[Finding] = []
    devices = [unit for unit, what, _ in addresses if what in (Address.DEVICE, Address.ERRORS)]
    for unit, what, certain in addresses:
        if what is Address.DOUBLED:
            found.append(finding("CG-5104" if certain or devices else "CG-5105", unit=unit))
    errors = [unit for unit, what, _ in addresses if what is Address.ERRORS]
    clean = [unit for unit, what, _ in addresses if what is Address.DEVICE]
    if errors and clean:
        found += [finding("CG-5116", unit=unit, others=", ".join(map(str, clean[:8]))) for unit in errors]
    elif errors:
        found.append(finding("CG-5103", units=", ".join(map(str, errors))))
    noisy = sum(one.sound is Sound.NOISE for one in sounds)
    if any(one.sound is Sound.FOREIGN for one in sounds) or _has_frame(unasked):
        found.append(finding("CG-5106"))
    elif (noisy or unasked) and not found and not devices:
        found.append(finding("CG-5102", bytes=len(unasked) + sum(len(one.body) for one in sounds)))
    if not found and not devices:
        heard_itself = sum(one.has_echo for one in sounds) * 2 > len(sounds)
        found.append(finding("CG-5101" if heard_itself else "CG-5100"))
    return found


def _size(request: bytes) -> int:
    """Bytes of the whole answer."""
    return 5 + byte_count(request[1], int.from_bytes(request[4:6], "big"))


def _head(body: bytes, request: bytes) -> bytes:
    """How an answer of this length begins."""
    if len(body) > REFUSAL_BYTES:
        return request[:2] + bytes((_size(request) - 5,))
    return request[:1]


def _frames(body: bytes, request: bytes) -> list[bytes]:
    """Whole answers and refusals to `request`, one behind the other."""
    found: list[bytes] = []
    unit, function, at = request[0], request[1], 0
    while at < len(body):
        for second, size in ((function, _size(request)), (function | 0x80, REFUSAL_BYTES)):
            frame = body[at : at + size]
            if len(frame) == size and frame[:2] == bytes((unit, second)) and crc16(frame) == 0:
                found.append(frame)
                at += size - 1
                break
        at += 1
    return found


def _has_frame(data: bytes) -> bool:
    """Whether some whole Modbus frame of at least 4 bytes, of anybody, is in it."""
    return any(
        0 < data[start] <= 247 and data[start + 1] & 0x7F in range(1, 25) and crc16(data[start:end]) == 0
        for start in range(min(len(data) - 4, 64))
        for end in range(start + 5, min(len(data), start + 256) + 1)
    )

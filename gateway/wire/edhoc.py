"""EDHOC (RFC 9528) between a gateway that enrols and its center: bytes in, bytes out, and an OSCORE context at the end.

    gateway  message_1 >  < message_2  center     method 3 (both sign with static Diffie-Hellman keys), cipher suite 2
             message_3 >  < message_4             (P-256, SHA-256, AES-CCM-16-64-128), credentials by value

The arithmetic is lakers'. No sockets, no files, no clock. On CoAP (appendix A.2): POST /.well-known/edhoc, message_1
after a CBOR true, message_3 after C_R. Whatever is wrong with a message raises `Refused`, never anything else.

A credential is a CCS (RFC 8392) with one COSE key; people compare its `fingerprint`: 128 bits of SHA-256 over the key's
x coordinate, which is all that the key agreement uses.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import cbor2
import lakers  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric import ec

PATH = (".well-known", "edhoc")
FORMAT, FORMAT_WITH_ID = 64, 65  # application/edhoc+cbor-seq, application/cid-edhoc+cbor-seq
METHOD, SUITE = 3, 2
GATEWAY_ID = b"\x00"  # C_I: what the center signs its OSCORE messages with
SECRET_BYTES, SALT_BYTES = 16, 8
POINT, TAG = 32, 8  # bytes
LONGEST = 512  # bytes of a message
NAME_LONGEST = 64  # bytes
UNSPECIFIED, WRONG_SUITE, UNKNOWN_CREDENTIAL = 1, 2, 3  # ERR_CODE, section 6
_CCS = 14

T = TypeVar("T")


class Refused(Exception):
    """`code` and `info` as in an EDHOC error message (section 6)."""

    def __init__(self, words: str, code: int = UNSPECIFIED, info: Any = None) -> None:
        super().__init__(words)
        self.code = code
        self.info = words if info is None else info

    def encode(self) -> bytes:
        return cbor2.dumps(self.code) + cbor2.dumps(self.info)


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a credential names: what it calls itself, and its key."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Derived:
    """An OSCORE context as its own side sees it (appendix A.1)."""

    secret: bytes
    salt: bytes
    sender_id: bytes
    recipient_id: bytes


class Key:
    """A static P-256 key and the credential made of it."""

    def __init__(self, private: bytes, name: str) -> None:
        """`private`: 32 bytes, big-endian. Raises ValueError for what is no key."""
        if len(private) != 32:
            raise ValueError("a key of P-256 has 32 bytes")
        numbers = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1()).public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        self.private = private
        self.fingerprint = fingerprint(x)
        key = {1: 2, 2: b"\x01", -1: 1, -2: x, -3: y}
        self.credential: bytes = cbor2.dumps({2: name[:NAME_LONGEST], 8: {1: key}})

    @classmethod
    def new(cls, name: str) -> Key:
        number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        return cls(number.to_bytes(32, "big"), name)


class Initiator:
    """The gateway's side of one exchange: `first`, then `third` with the answer, then `done` with the last one."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self._lakers = lakers.EdhocInitiator()
        self._id = b""

    def first(self) -> bytes:
        """What to POST first."""
        return cbor2.dumps(True) + bytes(self._lakers.prepare_message_1(GATEWAY_ID, None))

    def third(self, message_2: bytes, trusted: Callable[[Peer], bool]) -> bytes:
        """What to POST next. Raises Refused, also where the center is not `trusted`."""
        _raise_error(message_2)
        _check_point(_check_one(message_2, POINT + TAG)[:POINT])
        self._id, its, extra = _ask(lambda: self._lakers.parse_message_2(message_2))
        _uncritical(extra)
        peer, credential = _who(its)
        if not trusted(peer):
            raise Refused(f"the center's key is {peer.fingerprint}")
        if self._id == GATEWAY_ID or not self._id:
            raise Refused("the center chose an id that is taken")
        _ask(lambda: self._lakers.verify_message_2(self._key.private, self._key.credential, credential))
        message_3, _ = _ask(lambda: self._lakers.prepare_message_3(lakers.CredentialTransfer.ByValue, None))
        return _identifier(self._id) + bytes(message_3)

    def done(self, message_4: bytes) -> Derived:
        """Raises Refused."""
        _raise_error(message_4)
        _check_one(message_4, TAG)
        _uncritical(_ask(lambda: self._lakers.process_message_4(message_4)) or [])
        return _derive(self._lakers, sender=self._id, recipient=GATEWAY_ID)


class Responder:
    """The center's side of one exchange."""

    def __init__(self, key: Key, own_id: bytes) -> None:
        """`own_id`: C_R, by which gateways' OSCORE messages are told apart; two bytes or more."""
        self._lakers = lakers.EdhocResponder(key.private, key.credential)
        self.id = own_id
        self._theirs = b""

    def second(self, message_1: bytes) -> bytes:
        """message_2. Raises Refused."""
        _check_offer(message_1)
        self._theirs, extra = _ask(lambda: self._lakers.process_message_1(message_1))
        _uncritical(extra)
        if not self._theirs or len(self._theirs) > 7 or self._theirs == self.id:
            raise Refused("C_I cannot be an OSCORE id")
        return bytes(_ask(lambda: self._lakers.prepare_message_2(lakers.CredentialTransfer.ByValue, self.id, None)))

    def fourth(self, message_3: bytes, accepted: Callable[[Peer], bool]) -> tuple[Peer, bytes, Derived]:
        """Whose key it is, message_4, the context. Raises Refused, also where the peer is not `accepted`; that is asked
        only of peers that have shown that they hold the key."""
        _check_one(message_3, TAG)
        its, extra = _ask(lambda: self._lakers.parse_message_3(message_3))
        _uncritical(extra)
        peer, credential = _who(its)
        _ask(lambda: self._lakers.verify_message_3(credential))
        if not accepted(peer):
            raise Refused("this key is not accepted", UNKNOWN_CREDENTIAL, True)
        message_4 = bytes(_ask(lambda: self._lakers.prepare_message_4(None)))
        return peer, message_4, _derive(self._lakers, sender=self._theirs, recipient=self.id)


def fingerprint(x: bytes) -> str:
    """Of a key's x coordinate: eight groups of four hexadecimal digits, to be read over a telephone."""
    digits = hashlib.sha256(b"citygate P-256" + x).hexdigest()[:32]
    return "-".join(digits[at : at + 4] for at in range(0, 32, 4))


def as_fingerprint(said: str) -> str:
    """What a person typed, as `fingerprint` writes it. Raises ValueError."""
    digits = re.sub(r"[\s:-]", "", said).lower()
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        raise ValueError("a fingerprint has 32 hexadecimal digits")
    return "-".join(digits[at : at + 4] for at in range(0, 32, 4))


def split(payload: bytes) -> tuple[bytes | None, bytes]:
    """(None, message_1) or (C_R, message_3) of what came in a POST. Raises Refused."""
    if not payload or len(payload) > LONGEST:
        raise Refused("not an EDHOC message")
    if payload[0] == 0xF5:
        return None, payload[1:]
    stream = io.BytesIO(payload)
    found = _ask(lambda: cbor2.load(stream))
    if isinstance(found, int) and not isinstance(found, bool) and -24 <= found <= 23:
        identifier = payload[:1]
    elif isinstance(found, bytes):
        identifier = found
    else:
        raise Refused("no connection identifier")
    return identifier, payload[stream.tell() :]


def fresh_id(taken: Callable[[bytes], bool]) -> bytes:
    """A C_R of two bytes that nobody has."""
    while taken(made := secrets.token_bytes(2)):
        pass
    return made


def _identifier(value: bytes) -> bytes:
    """Section 3.3.2: a byte that is a small CBOR integer stands for itself."""
    small = len(value) == 1 and (value[0] <= 0x17 or 0x20 <= value[0] <= 0x37)
    return value if small else bytes(cbor2.dumps(value))


def _check_offer(message_1: bytes) -> None:
    """Before anything is reckoned, so that a peer learns what is wrong; and because lakers panics, with a page in the
    log, at what is cut off or no point of the curve. Raises Refused."""
    found = _sequence(message_1)
    if len(found) < 4:
        raise Refused("message_1 is cut off")
    method, suites, point = found[:3]
    if method != METHOD:
        raise Refused("method 3 only")
    chosen = suites[-1] if isinstance(suites, list) and suites else suites
    if chosen != SUITE:
        raise Refused("cipher suite 2 only", WRONG_SUITE, SUITE)
    _check_point(point)


def _check_one(message: bytes, least: int) -> bytes:
    """message_2, 3 and 4 are one byte string. Raises Refused."""
    found = _sequence(message)
    if len(found) != 1 or not isinstance(found[0], bytes) or len(found[0]) < least:
        raise Refused("the message is cut off")
    return found[0]


def _check_point(x: Any) -> None:
    """Raises Refused for what is no x coordinate on P-256."""
    if not isinstance(x, bytes) or len(x) != POINT:
        raise Refused("a key of P-256 has 32 bytes")
    _ask(lambda: ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x02" + x))


def _sequence(data: bytes) -> list[Any]:
    """A CBOR sequence (RFC 8742). Raises Refused."""
    if len(data) > LONGEST:
        raise Refused("not an EDHOC message")
    stream, found = io.BytesIO(data), []
    while stream.tell() < len(data):
        found.append(_ask(lambda: cbor2.load(stream)))
    return found


def _raise_error(message: bytes) -> None:
    """An EDHOC error message begins with an integer, any other with a byte string. Raises Refused."""
    if len(message) > LONGEST or not message:
        raise Refused("not an EDHOC message")
    if message[0] >> 5 > 1:
        return
    stream = io.BytesIO(message)
    code = _ask(lambda: cbor2.load(stream))
    info = _ask(lambda: cbor2.load(stream)) if stream.tell() < len(message) else ""
    raise Refused(str(info)[:80], code if isinstance(code, int) else UNSPECIFIED, info)


def _who(id_cred: bytes) -> tuple[Peer, bytes]:
    """A credential by value: who that is, and its bytes. Raises Refused."""
    found = _ask(lambda: cbor2.loads(id_cred))
    if not isinstance(found, dict) or list(found) != [_CCS] or id_cred[:2] != b"\xa1\x0e":
        raise Refused("a credential by value is needed (kccs)")
    ccs = found[_CCS]
    name, key = _ask(lambda: (ccs.get(2, ""), ccs[8][1]))
    x = key.get(-2) if isinstance(key, dict) else None
    if not isinstance(name, str) or not isinstance(key, dict) or key.get(-1) != 1:
        raise Refused("a credential with a key of P-256 is needed")
    _check_point(x)
    assert isinstance(x, bytes)
    return Peer(name[:NAME_LONGEST], fingerprint(x)), id_cred[2:]


def _uncritical(items: Any) -> None:
    if any(item.is_critical() for item in items):
        raise Refused("critical external data")


def _derive(session: Any, *, sender: bytes, recipient: bytes) -> Derived:
    secret = bytes(session.edhoc_exporter(0, [], SECRET_BYTES))
    return Derived(secret, bytes(session.edhoc_exporter(1, [], SALT_BYTES)), sender, recipient)


def _ask(call: Callable[[], T]) -> T:
    """The libraries' own errors become ours, a panic of compiled code too."""
    try:
        return call()
    except Refused:
        raise
    except BaseException as bad:
        if isinstance(bad, Exception) or type(bad).__name__ == "PanicException":
            raise Refused(f"EDHOC: {str(bad)[:60] or type(bad).__name__}") from bad
        raise

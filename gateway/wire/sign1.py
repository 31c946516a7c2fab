"""COSE_Sign1 (RFC 9052, section 4.2) with EdDSA over Ed25519: a payload and a key in, one signed message out, and back.

No files, no clock. The payload travels inside, or detached from it where the format around says so (SUIT). The
protected header holds the algorithm, the unprotected one the first bytes of the key's SHA-256 as key id, which is a
hint and proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import cbor2

TAG = 18
EDDSA = cbor2.dumps({1: -8})
KEY_ID = 4


class BadSignature(ValueError):
    """Not a message of this form, or by none of the keys."""


def sign(payload: bytes, private: Any, external: bytes = b"") -> bytes:
    """`private`: an Ed25519PrivateKey. `external`: what is signed with it and does not travel."""
    return _message({KEY_ID: key_id(private.public_key())}, payload, private.sign(_to_sign(payload, external)))


def sign_detached(payload: bytes, private: Any) -> bytes:
    """`sign` without the payload, which whoever proves it has already, and without the hint: no byte of it can be
    another."""
    return _message({}, None, private.sign(_to_sign(payload, b"")))


def opened(message: bytes, trust: Sequence[Any], external: bytes = b"") -> bytes:
    """The payload, signed by one of `trust` (Ed25519PublicKeys). Raises BadSignature."""
    payload, signature = _parts(message)
    if payload is None:
        raise BadSignature("a COSE_Sign1 message without its payload")
    _prove(signature, _to_sign(payload, external), trust)
    return payload


def prove_detached(message: bytes, payload: bytes, trust: Sequence[Any]) -> None:
    """Raises BadSignature unless `message` is what `sign_detached` makes of `payload` with one of the keys."""
    inside, signature = _parts(message)
    if inside is not None:
        raise BadSignature("a COSE_Sign1 message with a payload of its own")
    _prove(signature, _to_sign(payload, b""), trust)


def unproven(message: bytes) -> bytes:
    """The payload of anybody's message, to be shown. Raises BadSignature for what is no message."""
    payload = _parts(message)[0]
    if payload is None:
        raise BadSignature("a COSE_Sign1 message without its payload")
    return payload


def key_id(public: Any) -> bytes:
    """8 bytes: the first of the key's SHA-256."""
    return hashlib.sha256(public.public_bytes_raw()).digest()[:8]


def _message(unprotected: Mapping[int, bytes], payload: bytes | None, signature: bytes) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(TAG, [EDDSA, unprotected, payload, signature]))


def _prove(signature: bytes, to_sign: bytes, trust: Sequence[Any]) -> None:
    from cryptography.exceptions import InvalidSignature

    for key in trust:
        try:
            key.verify(signature, to_sign)
        except InvalidSignature:
            continue
        return
    raise BadSignature("signed by none of the keys that are trusted")


def _parts(message: bytes) -> tuple[bytes | None, bytes]:
    try:
        found = cbor2.loads(message)
        protected, unprotected, payload, signature = found.value
        good = (
            found.tag == TAG
            and protected == EDDSA
            and isinstance(unprotected, Mapping)
            and (payload is None or isinstance(payload, bytes))
            and isinstance(signature, bytes)
            and len(signature) == 64
        )
    except Exception as bad:  # cbor2 lets a dozen kinds of error through for bytes from outside
        raise BadSignature("no COSE_Sign1 message") from bad
    if not good:
        raise BadSignature("no COSE_Sign1 message with EdDSA")
    return payload, signature


def _to_sign(payload: bytes, external: bytes) -> bytes:
    """Sig_structure (RFC 9052, section 4.4)."""
    return cbor2.dumps(["Signature1", EDDSA, external, payload])

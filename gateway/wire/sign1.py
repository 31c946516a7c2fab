"""COSE_Sign1 (RFC 9052, section 4.2) with EdDSA over Ed25519: a payload and a key in, one signed message out, and back.

No files, no clock. The payload travels inside; the protected header holds the algorithm, the unprotected one the first
bytes of the key's SHA-256 as key id, which is a hint and proves nothing.
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
    signature = private.sign(_to_sign(payload, external))
    return cbor2.dumps(cbor2.CBORTag(TAG, [EDDSA, {KEY_ID: key_id(private.public_key())}, payload, signature]))


def opened(message: bytes, trust: Sequence[Any], external: bytes = b"") -> bytes:
    """The payload, signed by one of `trust` (Ed25519PublicKeys). Raises BadSignature."""
    from cryptography.exceptions import InvalidSignature

    payload, signature = _parts(message)
    for key in trust:
        try:
            key.verify(signature, _to_sign(payload, external))
        except InvalidSignature:
            continue
        return payload
    raise BadSignature("signed by none of the keys that are trusted")


def unproven(message: bytes) -> bytes:
    """The payload of anybody's message, to be shown. Raises BadSignature for what is no message."""
    return _parts(message)[0]


def key_id(public: Any) -> bytes:
    """8 bytes: the first of the key's SHA-256."""
    return hashlib.sha256(public.public_bytes_raw()).digest()[:8]


def _parts(message: bytes) -> tuple[bytes, bytes]:
    try:
        found = cbor2.loads(message)
        protected, unprotected, payload, signature = found.value
        good = (
            found.tag == TAG
            and protected == EDDSA
            and isinstance(unprotected, Mapping)
            and isinstance(payload, bytes)
            and isinstance(signature, bytes)
            and len(signature) == 64
        )
    except Exception as bad:  # cbor2 lets a dozen kinds of error through for bytes from outside
        raise BadSignature("no COSE_Sign1 message") from bad
    if not good:
        raise BadSignature("no COSE_Sign1 message with EdDSA and its payload inside")
    return payload, signature


def _to_sign(payload: bytes, external: bytes) -> bytes:
    return cbor2.dumps(["Signature1", EDDSA, external, payload])

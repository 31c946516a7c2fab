"""COSE_Sign1: the working group's own example, structure by hand as in RFC 9052, and everything that is none."""

from __future__ import annotations

import contextlib

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire import sign1
from gateway.wire.sign1 import BadSignature

# eddsa-examples/eddsa-sig-01 of the COSE working group: the key of RFC 8032, section 7.1, test 1
EXAMPLE_KEY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
EXAMPLE = bytes.fromhex(
    "d28445a201270300a10442313154546869732069732074686520636f6e74656e742e58407142fd2ff96d56db85bee905a76ba1d0b7321a95"
    "c8c4d3607c5781932b7afb8711497dfa751bf40b58b3bcc32300b1487f3db34085eef013bf08f4a44d6fef0d"
)
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32) for number in (1, 2))
PUBLIC = KEY.public_key()


def structure(protected: bytes, external: bytes, payload: bytes) -> bytes:
    """Sig_structure of RFC 9052, section 4.4, by hand: strings shorter than 24 bytes."""
    return b"\x84\x6aSignature1" + b"".join(bytes((0x40 + len(one),)) + one for one in (protected, external, payload))


def test_what_is_signed_is_what_the_example_of_the_working_group_signs() -> None:
    protected, _, payload, signature = cbor2.loads(EXAMPLE).value
    example = Ed25519PrivateKey.from_private_bytes(EXAMPLE_KEY)
    assert payload == b"This is the content."
    assert example.sign(structure(protected, b"", payload)) == signature
    message = sign1.sign(b"abc", KEY, external=b"xy")
    PUBLIC.verify(message[-64:], structure(b"\xa1\x01\x27", b"xy", b"abc"))
    head = b"\xd2\x84" + b"\x43\xa1\x01\x27" + b"\xa1\x04\x48" + sign1.key_id(PUBLIC) + b"\x43abc" + b"\x58\x40"
    assert message[:-64] == head


def test_a_protected_header_that_says_more_is_not_understood_and_refused() -> None:
    with pytest.raises(BadSignature, match="no COSE_Sign1"):
        sign1.opened(EXAMPLE, [Ed25519PrivateKey.from_private_bytes(EXAMPLE_KEY).public_key()])


@given(payload=st.binary(max_size=300), external=st.binary(max_size=40))
def test_what_was_signed_comes_back_and_only_with_its_key_and_its_context(payload: bytes, external: bytes) -> None:
    message = sign1.sign(payload, KEY, external)
    assert sign1.opened(message, [OTHER.public_key(), PUBLIC], external) == payload == sign1.unproven(message)
    for trust, context in (([OTHER.public_key()], external), ([], external), ([PUBLIC], external + b"!")):
        with pytest.raises(BadSignature, match="none of the keys"):
            sign1.opened(message, trust, context)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_bit_that_differs_is_told(at: int, bit: int) -> None:
    message = bytearray(sign1.sign(b"payload of some length", KEY))
    at %= len(message)
    message[at] ^= 1 << bit
    if 7 <= at < 17:  # in the unprotected header, which no signature covers: the key's id is a hint
        with contextlib.suppress(BadSignature):
            assert sign1.opened(bytes(message), [PUBLIC]) == b"payload of some length"
        return
    with pytest.raises(BadSignature):
        sign1.opened(bytes(message), [PUBLIC])


@given(size=st.integers(0, 200))
def test_half_a_message_is_none(size: int) -> None:
    message = sign1.sign(b"payload", KEY)
    with pytest.raises(BadSignature):
        sign1.opened(message[: size % len(message)], [PUBLIC])


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x81" * 200)  # deep
@example(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff")  # long
@example(b"\xd2\x84\x43\xa1\x01\x26\xa0\x40\x58\x40" + bytes(64))  # ES256
def test_nonsense_is_no_message(raw: bytes) -> None:
    with pytest.raises(BadSignature):
        sign1.opened(raw, [PUBLIC])


@pytest.mark.parametrize(
    "parts",
    [
        [sign1.EDDSA, {}, None, bytes(64)],  # detached
        [sign1.EDDSA, {}, b"", bytes(63)],
        [b"", {1: -8}, b"", bytes(64)],  # the algorithm unprotected
        [cbor2.dumps({1: -8, 2: [99], 99: 1}), {}, b"", bytes(64)],  # critical, and unknown
        [sign1.EDDSA, [], b"", bytes(64)],
        [sign1.EDDSA, {}, b""],
    ],
)
def test_other_forms_are_refused(parts: list[object]) -> None:
    for tag in (sign1.TAG, 98):
        with pytest.raises(BadSignature):
            sign1.unproven(cbor2.dumps(cbor2.CBORTag(tag, parts)))
    with pytest.raises(BadSignature):
        sign1.unproven(cbor2.dumps(parts))

"""SUIT manifests: bytes as the draft has them, and whatever a stranger makes of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from uuid import UUID

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire import suit
from gateway.wire.suit import BadManifest, Manifest

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUST = (KEY.public_key(),)
VENDOR = UUID("fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe")
MANIFEST = Manifest(
    VENDOR, UUID("1492af14-2569-5e48-bf42-9b2d51f2ab45"), 7, bytes(range(32)), 34768, "air-7.image", "1.2.0"
)
ENVELOPE = suit.signed(MANIFEST, KEY)


def layers(envelope: bytes) -> tuple[dict[int, bytes], list[bytes], dict[int, object]]:
    outer = dict(cbor2.loads(envelope).value)
    return outer, list(cbor2.loads(outer[2])), cbor2.loads(outer[3])


def rebuilt(inner: dict[int, object], key: Ed25519PrivateKey = KEY) -> bytes:
    """A manifest of another content, signed as it should be."""
    body = cbor2.dumps(inner)
    digest = cbor2.dumps([-16, hashlib.sha256(cbor2.dumps(body)).digest()])
    protected = cbor2.dumps({1: -8})
    said = key.sign(cbor2.dumps(["Signature1", protected, b"", digest]))
    block = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, None, said]))
    return cbor2.dumps(cbor2.CBORTag(107, {2: cbor2.dumps([digest, block]), 3: body}))


def test_the_layout_is_that_of_the_draft() -> None:
    outer, (digest, block), inner = layers(ENVELOPE)
    assert cbor2.loads(ENVELOPE).tag == 107
    assert sorted(outer) == [2, 3]
    assert cbor2.loads(digest) == [-16, hashlib.sha256(cbor2.dumps(outer[3])).digest()]
    signature = cbor2.loads(block)
    assert signature.tag == 18
    assert cbor2.loads(signature.value[0]) == {1: -8}
    assert signature.value[2] is None
    assert (inner[1], inner[2]) == (1, 7)
    common = cbor2.loads(inner[3])
    assert common[2] == [[b"firmware"]]
    assert cbor2.loads(common[4]) == [
        20,
        {1: MANIFEST.vendor.bytes, 2: MANIFEST.kind.bytes, 3: cbor2.dumps([-16, bytes(range(32))]), 14: 34768},
        *(1, 15, 2, 15),
    ]
    assert cbor2.loads(inner[7]) == [3, 15]
    assert cbor2.loads(inner[20]) == [20, {21: "air-7.image"}, 21, 2, 3, 15]


def test_the_digest_is_the_drafts_own() -> None:
    """The manifest of example 1 of draft-ietf-suit-manifest-12 (appendix B.2) and the digest that it prints."""
    body = bytes.fromhex(
        "a50101020103585fa202818141000458568614a40150fa6b4a53d5ad5fdfbe9de663e4d41ffe02501492af1425695e48bf429b2d51f2ab"
        "450358248202582000112233445566778899aabbccddeeff0123456789abcdeffedcba98765432100e1987d0010f020f0958258613a115"
        "781b687474703a2f2f6578616d706c652e636f6d2f66696c652e62696e1502030f0a4382030f"
    )
    algorithm, digest = cbor2.loads(suit._digest(body))
    assert (algorithm, digest.hex()) == (-16, "987eec85fa99fd31d332381b9810f90b05c2e0d4f284a6f4211207ed00fff750")


def test_identifiers_are_made_from_names_as_rfc_9124_says() -> None:
    assert suit.vendor_id("arm.com") == VENDOR
    assert suit.vendor_id(str(VENDOR)) == VENDOR
    assert suit.class_id(VENDOR, "air node") != suit.class_id(VENDOR, "water node")


def test_only_a_trusted_key_proves() -> None:
    other = Ed25519PrivateKey.generate()
    assert suit.proven(ENVELOPE, (other.public_key(), *TRUST)) == MANIFEST
    for trust in ((), (other.public_key(),)):
        with pytest.raises(BadManifest, match="not signed by a key"):
            suit.proven(ENVELOPE, trust)


def test_a_signature_does_not_move_to_another_manifest() -> None:
    older = suit.signed(replace(MANIFEST, sequence=6), KEY)
    outer, (digest, _), _ = layers(ENVELOPE)
    _, (_, block), _ = layers(older)
    with pytest.raises(BadManifest, match="not signed by a key"):
        suit.proven(cbor2.dumps({2: cbor2.dumps([digest, block]), 3: outer[3]}), TRUST)
    with pytest.raises(BadManifest, match="not that of the manifest"):
        suit.proven(cbor2.dumps({2: outer[2], 3: layers(older)[0][3]}), TRUST)
    with pytest.raises(BadManifest, match="it is not signed"):
        suit.proven(cbor2.dumps({2: cbor2.dumps([digest]), 3: outer[3]}), TRUST)


def test_another_algorithm_is_no_signature() -> None:
    outer, (digest, block), _ = layers(ENVELOPE)
    value = list(cbor2.loads(block).value)
    for protected in (cbor2.dumps({1: -7}), cbor2.dumps({}), b""):
        forged = cbor2.dumps(cbor2.CBORTag(18, [protected, *value[1:]]))
        with pytest.raises(BadManifest, match="not signed by a key"):
            suit.proven(cbor2.dumps({2: cbor2.dumps([digest, forged]), 3: outer[3]}), TRUST)


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        (1, 2, "version"),
        (2, 0, "sequence number"),
        (2, True, "sequence number"),
        (2, -1, "sequence number"),
        (2, 1 << 60, "sequence number"),
        (2, 7.5, "sequence number"),
        (5, [b"else"], "shape"),
        (9, cbor2.dumps([23, 2]), "shape"),
        (7, cbor2.dumps([3, 15, 23, 2]), "steps"),
        (20, cbor2.dumps([20, {21: "x"}, 21, 2, 3, 15, 23, 2]), "steps"),
        (20, cbor2.dumps([20, {21: "x", 19: b""}, 21, 2, 3, 15]), "shape"),
        (20, cbor2.dumps([20, {21: 5}, 21, 2, 3, 15]), "text"),
        (20, cbor2.dumps([20, {21: "x" * 300}, 21, 2, 3, 15]), "text"),
        (20, cbor2.dumps([20, {21: "a\nb"}, 21, 2, 3, 15]), "text"),
        (3, b"\xff", "CBOR"),
        (3, {2: 1}, "shape"),
        (3, cbor2.dumps({2: [[b"other"]], 4: b""}), "component"),
        (3, cbor2.dumps({2: [[b"firmware"], [b"more"]], 4: b""}), "component"),
    ],
)
def test_what_a_signed_manifest_may_not_want(label: int, value: object, words: str) -> None:
    """Refused, though the key is right: a step that is not known is not left out."""
    inner = dict(layers(ENVELOPE)[2])
    inner[label] = value
    with pytest.raises(BadManifest, match=words):
        suit.proven(rebuilt(inner), TRUST)


@pytest.mark.parametrize("field", [{1: b"short"}, {3: cbor2.dumps([-16, b"short"])}, {3: cbor2.dumps([-43, bytes(48)])},
                                   {14: 0}, {14: "many"}, {24: b"device"}])  # fmt: skip
def test_parameters_out_of_shape(field: dict[int, object]) -> None:
    inner = dict(layers(ENVELOPE)[2])
    common = dict(cbor2.loads(inner[3]))
    shared = list(cbor2.loads(common[4]))
    shared[1] = {**shared[1], **field}
    inner[3] = cbor2.dumps({**common, 4: cbor2.dumps(shared)})
    with pytest.raises(BadManifest):
        suit.proven(rebuilt(inner), TRUST)


def test_what_was_rebuilt_unchanged_is_taken() -> None:
    """So that the refusals above are those of what was changed."""
    assert suit.proven(rebuilt(dict(layers(ENVELOPE)[2])), TRUST) == MANIFEST


def test_texts_are_left_out_where_there_are_none() -> None:
    bare = replace(MANIFEST, version="")
    assert suit.proven(suit.signed(bare, KEY), TRUST) == bare
    assert 23 not in layers(suit.signed(bare, KEY))[2]


@pytest.mark.parametrize(
    "change", [{"sequence": 0}, {"size": 0}, {"sha256": b"x"}, {"uri": "x" * 300}, {"version": "\0"}]
)
def test_what_cannot_be_signed(change: dict[str, object]) -> None:
    with pytest.raises(BadManifest):
        suit.signed(replace(MANIFEST, **change), KEY)  # type: ignore[arg-type]


def test_bombs_and_tails() -> None:
    for bad in (
        b"",
        b"\x9f" * 4000,
        b"\x81" * 4000,
        b"\x5b\x7f" + b"\xff" * 7,
        b"\x9b\x00\x00\x00\xff" + bytes(4),
        ENVELOPE + b"\x00",
        ENVELOPE[:-1],
        bytes(suit.LARGEST + 1),
        cbor2.dumps({2: b"", 3: b"", 4: b""}),
        cbor2.dumps([1]),
        cbor2.dumps(cbor2.CBORTag(107, cbor2.CBORTag(107, {}))),
    ):
        with pytest.raises(BadManifest):
            suit.read(bad)


@settings(max_examples=150, deadline=None)
@given(st.integers(2, len(ENVELOPE) - 1), st.integers(1, 255), st.integers(0, 3))
def test_no_bit_can_be_turned(at: int, with_bits: int, shortened: int) -> None:
    """But for the envelope's own tag, which says nothing and may be missing."""
    forged = bytearray(ENVELOPE)
    forged[at] ^= with_bits
    with pytest.raises(BadManifest):
        suit.proven(bytes(forged[: len(forged) - shortened]), TRUST)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_strangers_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(BadManifest):
        suit.read(data)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Manifest, st.uuids(), st.uuids(), st.integers(1, (1 << 53) - 1), st.binary(min_size=32, max_size=32),
        st.integers(1, 1 << 40), st.from_regex(r"[a-z][a-z0-9./-]{0,80}", fullmatch=True), st.sampled_from(["", "1.0"]),
    )
)  # fmt: skip
def test_what_is_signed_is_what_is_read(manifest: Manifest) -> None:
    assert suit.proven(suit.signed(manifest, KEY), TRUST) == manifest

"""SUIT manifests of one image: bytes in, what they say out, and back. No input or output, no clock, no keys.

Shape and labels of draft-ietf-suit-manifest-34 (its registry at IANA), the information of RFC 9124. The signature is
COSE_Sign1 with EdDSA over the SUIT_Digest of the manifest; the digest is SHA-256 over the manifest as a byte string.

    107({2: bstr [bstr [-16, sha256(bstr manifest)], bstr COSE_Sign1 with no payload, ...],
         3: bstr {1: 1, 2: sequence number,
                  3: bstr {2: [[component]], 4: bstr [20, {1: vendor, 2: class, 3: bstr [-16, sha256], 14: size},
                                                      1, 15, 2, 15]},
                  7: bstr [3, 15],
                  20: bstr [20, {21: uri}, 21, 2, 3, 15],
                  23: {"en": {1: description, [component]: {6: version}}}}})

One component, these two sequences of commands and no other: a manifest that wants anything else is refused, not half
obeyed. The text is left out where there is none.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.wire import sign1

TAG = 107
LARGEST = 8192  # bytes of an envelope
SHA256 = -16  # COSE algorithm (RFC 9054)
COMPONENT = [b"firmware"]
LONGEST_TEXT = 255

_AUTHENTICATION, _MANIFEST = 2, 3
_VERSION, _SEQUENCE, _COMMON, _VALIDATE, _INSTALL, _TEXT = 1, 2, 3, 7, 20, 23
_COMPONENTS, _SHARED = 2, 4
_VENDOR, _CLASS, _DIGEST, _SIZE, _URI = 1, 2, 3, 14, 21
_IF_VENDOR, _IF_CLASS, _IF_IMAGE, _OVERRIDE, _FETCH = 1, 2, 3, 20, 21
_REPORT_ALL, _REPORT_FAILURE = 15, 2
_COMPONENT_VERSION = 6
_DEEPEST = 8  # of one byte string's nested items


class BadManifest(ValueError):
    """Not a manifest of this shape, or not signed by any key that is trusted."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`kind` is the class identifier. `uri` may be relative to where the manifest came from."""

    vendor: UUID
    kind: UUID
    sequence: int
    sha256: bytes
    size: int
    uri: str
    version: str = ""


def vendor_id(name: str) -> UUID:
    """Of a UUID as text, or made from a domain name (RFC 9124, section 3.3: UUID version 5 in the DNS name space)."""
    return _uuid(name) or uuid5(NAMESPACE_DNS, name)


def class_id(vendor: UUID, name: str) -> UUID:
    """Of a UUID as text, or made from what the vendor calls it (RFC 9124, section 3.4)."""
    return _uuid(name) or uuid5(vendor, name)


def signed(manifest: Manifest, key: Ed25519PrivateKey) -> bytes:
    """The envelope. Raises BadManifest for what cannot be written."""
    shared = [
        _OVERRIDE,
        {
            _VENDOR: manifest.vendor.bytes,
            _CLASS: manifest.kind.bytes,
            _DIGEST: cbor2.dumps([SHA256, manifest.sha256]),
            _SIZE: manifest.size,
        },
        *(_IF_VENDOR, _REPORT_ALL),
        *(_IF_CLASS, _REPORT_ALL),
    ]
    inner: dict[int, Any] = {
        _VERSION: 1,
        _SEQUENCE: manifest.sequence,
        _COMMON: cbor2.dumps({_COMPONENTS: [COMPONENT], _SHARED: cbor2.dumps(shared)}),
        _VALIDATE: cbor2.dumps([_IF_IMAGE, _REPORT_ALL]),
        _INSTALL: cbor2.dumps([_OVERRIDE, {_URI: manifest.uri}, _FETCH, _REPORT_FAILURE, _IF_IMAGE, _REPORT_ALL]),
    }
    if manifest.version:
        inner[_TEXT] = cbor2.dumps({"en": {tuple(COMPONENT): {_COMPONENT_VERSION: manifest.version}}})
    body = cbor2.dumps(inner)
    digest = _digest(body)
    wrapper = [digest, sign1.sign_detached(digest, key)]
    envelope = cbor2.dumps(cbor2.CBORTag(TAG, {_AUTHENTICATION: cbor2.dumps(wrapper), _MANIFEST: body}))
    if read(envelope) != manifest or len(envelope) > LARGEST:
        raise BadManifest("a value is out of its range")
    return envelope


def read(envelope: bytes) -> Manifest:
    """What it says, believed by nobody yet. Raises BadManifest."""
    return _opened(envelope)[0]


def proven(envelope: bytes, trust: Sequence[Ed25519PublicKey]) -> Manifest:
    """What it says, signed by one of `trust`. Raises BadManifest."""
    manifest, digest, blocks = _opened(envelope)
    if not any(_proves(block, digest, trust) for block in blocks):
        raise BadManifest("it is not signed by a key that is trusted here")
    return manifest


def _proves(block: bytes, digest: bytes, trust: Sequence[Ed25519PublicKey]) -> bool:
    try:
        sign1.prove_detached(block, digest, trust)
    except sign1.BadSignature:
        return False
    return True


def _opened(envelope: bytes) -> tuple[Manifest, bytes, list[bytes]]:
    """The manifest, the digest that is signed and its signatures."""
    if len(envelope) > LARGEST:
        raise BadManifest(f"it has more than {LARGEST} bytes")
    outer = _cbor(envelope, "the envelope")
    if isinstance(outer, cbor2.CBORTag) and outer.tag == TAG:
        outer = outer.value
    _has(outer, {_AUTHENTICATION, _MANIFEST}, "the envelope")
    wrapper, body = _cbor(outer[_AUTHENTICATION], "the authentication wrapper"), outer[_MANIFEST]
    if not isinstance(wrapper, list) or len(wrapper) < 2 or not all(isinstance(one, bytes) for one in wrapper):
        raise BadManifest("it is not signed")
    digest, *blocks = wrapper
    inner = _cbor(body, "the manifest")
    if digest != _digest(body):
        raise BadManifest("the digest that is signed is not that of the manifest")
    return _manifest(inner), digest, blocks[:8]


def _manifest(inner: Any) -> Manifest:
    _has(inner, {_VERSION, _SEQUENCE, _COMMON, _VALIDATE, _INSTALL}, "the manifest", also={_TEXT})
    if inner[_VERSION] != 1:
        raise BadManifest("its version is not known")
    common = _cbor(inner[_COMMON], "common")
    _has(common, {_COMPONENTS, _SHARED}, "common")
    if common[_COMPONENTS] != [COMPONENT]:
        raise BadManifest("it is not for the one component of a node, its firmware")
    facts = _commands(
        _cbor(common[_SHARED], "the shared sequence"), (_IF_VENDOR, _REPORT_ALL, _IF_CLASS, _REPORT_ALL), "shared"
    )
    _has(facts, {_VENDOR, _CLASS, _DIGEST, _SIZE}, "the parameters")
    place = _commands(_cbor(inner[_INSTALL], "install"), (_FETCH, _REPORT_FAILURE, _IF_IMAGE, _REPORT_ALL), "install")
    _has(place, {_URI}, "the parameters of install")
    if _cbor(inner[_VALIDATE], "validate") != [_IF_IMAGE, _REPORT_ALL]:
        raise BadManifest("it wants steps that are not known here (validate)")
    algorithm = _cbor(facts[_DIGEST], "the image's digest")
    match algorithm:
        case [-16, bytes() as sha256] if len(sha256) == 32:
            pass
        case _:
            raise BadManifest("the image's digest is no SHA-256")
    return Manifest(
        _identifier(facts[_VENDOR]),
        _identifier(facts[_CLASS]),
        _number(inner[_SEQUENCE], "sequence number"),
        sha256,
        _number(facts[_SIZE], "image size"),
        _short(place[_URI]),
        _version(inner.get(_TEXT)),
    )


def _commands(sequence: Any, rest: tuple[int, ...], where: str) -> Any:
    """The parameters that a sequence sets before its commands, which must be `rest`."""
    if not isinstance(sequence, list) or sequence[:1] != [_OVERRIDE] or tuple(sequence[2:]) != rest:
        raise BadManifest(f"it wants steps that are not known here ({where})")
    return sequence[1]


def _version(text: Any) -> str:
    if text is None:
        return ""
    try:
        version = _cbor(text, "the text")["en"][tuple(COMPONENT)][_COMPONENT_VERSION]
    except (KeyError, TypeError, AttributeError):
        return ""
    return _short(version)


def _has(found: Any, keys: set[int], what: str, also: frozenset[int] | set[int] = frozenset()) -> None:
    if (
        not isinstance(found, Mapping)
        or not all(type(key) is int for key in found)
        or not keys <= found.keys() <= keys | also
    ):
        raise BadManifest(f"{what} is not of the shape that is known here")


def _identifier(value: Any) -> UUID:
    if not isinstance(value, bytes) or len(value) != 16:
        raise BadManifest("an identifier is no UUID")
    return UUID(bytes=value)


def _number(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 53:
        raise BadManifest(f"the {what} is out of its range")
    return value


def _short(value: Any) -> str:
    if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > LONGEST_TEXT or not value.isprintable():
        raise BadManifest("a text is too long, or none")
    return value


def _digest(body: bytes) -> bytes:
    """SUIT_Digest over the manifest as it stands in the envelope, its byte string's head included."""
    return cbor2.dumps([SHA256, hashlib.sha256(cbor2.dumps(body)).digest()])


def _cbor(data: Any, what: str) -> Any:
    """One item, and nothing behind it."""
    if not isinstance(data, bytes):
        raise BadManifest(f"{what} is not of the shape that is known here")
    source = io.BytesIO(data)
    try:
        found = cbor2.load(source, allow_duplicate_keys=False, allow_indefinite=False, max_depth=_DEEPEST)
    except Exception as bad:  # cbor2 lets errors of the types it builds (dates, fractions) through
        raise BadManifest(f"{what} is no CBOR") from bad
    if source.tell() != len(data):
        raise BadManifest(f"{what} has something behind its end")
    return found


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

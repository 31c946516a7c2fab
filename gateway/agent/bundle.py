"""A configuration as one file: a site and its profiles, for certain gateways, with a rising number, signed.

    COSE_Sign1 over deflated CBOR {"format": 1, "gateways": ["cab-7"], "sequence": 12, "made": "2026-03-01T02:10:00Z",
                                   "files": {"site.toml": bytes, "profiles/water/acme.toml": bytes}}

Bytes in, files by name out. There are no links, folders or modes in it, and no name but those two forms; what it
unpacks to is bounded before it is unpacked.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2

from gateway.spool.trouble import Trouble
from gateway.wire import sign1

FORMAT = 1
SITE = "site.toml"
PROFILE = re.compile(r"profiles/[a-z0-9_]{1,40}/[A-Za-z0-9][A-Za-z0-9_.-]{0,80}\.toml")
LARGEST = 1 << 20  # bytes of a bundle
UNPACKED = 8 << 20
FILES = 500
EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Bundle:
    """`gateways`: ids it is for, or `*`. `made`: UTC, as its maker's clock had it."""

    gateways: tuple[str, ...]
    sequence: int
    made: str
    files: Mapping[str, bytes]

    def is_for(self, gateway: str) -> bool:
        return EVERYBODY in self.gateways or gateway in self.gateways


def packed(bundle: Bundle) -> bytes:
    """Not signed. Raises Trouble CG-6141 for files that may not be in one."""
    for name in bundle.files:
        _check_name(name)
    if SITE not in bundle.files:
        raise _bad("it has no site.toml", "site.toml 이 없습니다")
    body = {
        "format": FORMAT,
        "gateways": list(bundle.gateways),
        "sequence": bundle.sequence,
        "made": bundle.made,
        "files": dict(bundle.files),
    }
    raw = cbor2.dumps(body)
    out = zlib.compress(raw, 9)
    if len(raw) > UNPACKED or len(out) > LARGEST:
        raise _bad(f"it has {len(raw)} bytes", f"{len(raw)} 바이트로 너무 큽니다")
    return out


def signed(bundle: Bundle, private: Any) -> bytes:
    """`private`: an Ed25519PrivateKey. Raises Trouble CG-6141."""
    return sign1.sign(packed(bundle), private)


def proven(message: bytes, trust: Sequence[Any]) -> Bundle:
    """Of a signed one. Raises Trouble CG-6140 for the signature, CG-6141 for the contents."""
    if len(message) > LARGEST:
        raise _bad(f"it has {len(message)} bytes", f"{len(message)} 바이트로 너무 큽니다")
    try:
        payload = sign1.opened(message, trust)
    except sign1.BadSignature as bad:
        raise Trouble(
            "CG-6140",
            f"the configuration is not taken: {bad}",
            f"설정을 적용하지 않습니다: 신뢰하는 키의 서명이 아닙니다 ({bad})",
            next_en="Sign it with a key that [agent] trust names on this gateway",
            next_ko="게이트웨이의 [agent] trust 에 있는 키로 서명하십시오",
        ) from bad
    return read(payload)


def read(payload: bytes) -> Bundle:
    """What was packed. Raises Trouble CG-6141."""
    if len(payload) > LARGEST:
        raise _bad(f"it has {len(payload)} bytes", f"{len(payload)} 바이트로 너무 큽니다")
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(payload, UNPACKED + 1)
        if len(raw) > UNPACKED:
            raise _bad(f"it unpacks to more than {UNPACKED} bytes", f"풀면 {UNPACKED} 바이트가 넘습니다")
        if not unpacker.eof or unpacker.unused_data:
            raise _bad("it is cut off, or something follows it", "잘렸거나 뒤에 다른 것이 붙어 있습니다")
        body = cbor2.loads(raw)
    except Trouble:
        raise
    except Exception as bad:  # zlib's, and a dozen kinds of cbor2's
        raise _bad(f"it cannot be read: {bad}", f"읽을 수 없습니다: {bad}") from bad
    return _checked(body)


def _checked(body: Any) -> Bundle:
    if not isinstance(body, dict) or set(body) != {"format", "gateways", "sequence", "made", "files"}:
        raise _bad("it has other keys than a bundle's", "번들 형식이 아닙니다")
    gateways, sequence, files = body["gateways"], body["sequence"], body["files"]
    if body["format"] != FORMAT:
        raise _bad(f"its format is {body['format']!r}, not {FORMAT}", f"형식이 {FORMAT} 이(가) 아닙니다")
    if isinstance(sequence, bool) or not isinstance(sequence, int) or not 0 <= sequence < 1 << 63:
        raise _bad("its sequence number is none", "일련번호가 올바르지 않습니다")
    if not isinstance(gateways, list) or not gateways or not all(isinstance(one, str) for one in gateways):
        raise _bad("it names no gateway", "대상 게이트웨이가 없습니다")
    if not isinstance(body["made"], str) or not isinstance(files, dict) or not 0 < len(files) <= FILES:
        raise _bad("it holds no files, or too many", "파일이 없거나 너무 많습니다")
    for name, content in files.items():
        if not isinstance(name, str) or not isinstance(content, bytes):
            raise _bad("its files are no files", "파일이 올바르지 않습니다")
        _check_name(name)
    if SITE not in files:
        raise _bad("it has no site.toml", "site.toml 이 없습니다")
    return Bundle(tuple(gateways), sequence, body["made"][:40], files)


def _check_name(name: str) -> None:
    if name != SITE and not (PROFILE.fullmatch(name) and ".." not in name):
        raise _bad(
            f"a file is called {name[:80]!r}; site.toml and profiles/FAMILY/NAME.toml are taken",
            f"{name[:80]!r} 파일은 사용할 수 없습니다. site.toml 과 profiles/FAMILY/NAME.toml 만 가능합니다",
        )


def _bad(en: str, ko: str) -> Trouble:
    return Trouble("CG-6141", f"no configuration: {en}", f"설정 번들이 아닙니다: {ko}")


def public_key(path: str) -> Any:
    """An Ed25519 key of a PEM file. Raises Trouble CG-6142."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        with open(path, "rb") as file:
            key = load_pem_public_key(file.read())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("not an Ed25519 key")
        return key
    except (OSError, ValueError) as bad:
        raise _bad_key(path, bad) from bad


def private_key(path: str) -> Any:
    """The same of one that signs. Raises Trouble CG-6142."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with open(path, "rb") as file:
            key = load_pem_private_key(file.read(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("not an Ed25519 key")
        return key
    except (OSError, ValueError, TypeError) as bad:
        raise _bad_key(path, bad) from bad


def _bad_key(path: str, bad: Exception) -> Trouble:
    return Trouble(
        "CG-6142",
        f"the key {path} cannot be used ({bad})",
        f"키 {path} 을(를) 사용할 수 없습니다 ({bad})",
        next_en="Name an Ed25519 key in PEM: citygate bundle keygen makes a pair",
        next_ko="PEM 형식의 Ed25519 키를 지정하십시오. citygate bundle keygen 으로 만들 수 있습니다",
    )

"""A commissioning record: signed JSON, and the page that is printed from it. No files, no network, no clock.

In: facts and an Ed25519 key. Out: one HTML file that holds the signed JSON and shows it, in Korean and English, and the
verdict on such a file. The page is made from the JSON alone: a page whose visible text was altered is not the page that
its JSON makes, and is found out as surely as altered JSON.

The signature is over the record as canonical JSON (sorted keys, no blanks, UTF-8). It says that the holder of the key
signed; whose key it is a reader knows by its fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = "citygate-commissioning/1"
_OPEN, _CLOSE = '<script type="application/json" id="record">\n', "\n</script>"


@dataclass(frozen=True, slots=True)
class Verified:
    """`fault` is "" where signature and page are right."""

    record: Mapping[str, Any]
    fingerprint: str
    fault: str


def canonical(record: Mapping[str, Any]) -> bytes:
    """Raises ValueError for numbers that JSON has no word for."""
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def fingerprint(public: bytes) -> str:
    """The first 16 bytes of SHA-256 over the key, in groups that can be read over the phone."""
    digits = hashlib.sha256(public).hexdigest()[:32]
    return "-".join(digits[at : at + 4] for at in range(0, 32, 4))


def signed(record: Mapping[str, Any], private: bytes, signer: str) -> dict[str, Any]:
    """`record` with its signature. `private`: 32 bytes. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(private)
    public = key.public_key().public_bytes_raw()
    said = {"record": _plain(record), "signer": signer, "public_key": public.hex()}
    return {**said, "algorithm": "Ed25519", "signature": key.sign(canonical(said)).hex()}


def verify(text: str) -> Verified:
    """A page, or the signed JSON by itself. Raises ValueError where it is neither."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    is_page = _OPEN in text
    try:
        body = text.partition(_OPEN)[2].partition(_CLOSE)[0] if is_page else text
        document = json.loads(body)
        said = {name: document[name] for name in ("record", "signer", "public_key")}
        public, signature = bytes.fromhex(said["public_key"]), bytes.fromhex(document["signature"])
        if said["record"]["format"] != FORMAT:
            raise ValueError(f"format {said['record']['format']}")
        key = Ed25519PublicKey.from_public_bytes(public)
    except (ValueError, KeyError, TypeError, AttributeError) as bad:
        raise ValueError(f"no commissioning record: {bad}") from bad
    fault = ""
    try:
        key.verify(signature, canonical(said))
    except InvalidSignature:
        fault = "the signature does not fit the record"
    if not fault and is_page and text != page(document):
        fault = "the page shows something else than the record says"
    return Verified(said["record"], fingerprint(public), fault)


def page(document: Mapping[str, Any]) -> str:
    """The HTML file of a signed record."""
    from gateway.bench.sheet_page import body

    document = json.loads(json.dumps(document, sort_keys=True))  # the order in which a reader of the file has it
    record = document["record"]
    mark = fingerprint(bytes.fromhex(document["public_key"]))
    inside = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1).replace("</", "<\\/")
    return body(record, str(document["signer"]), mark, str(document["signature"])).replace(
        "@RECORD@", _OPEN + inside + _CLOSE, 1
    )


def _plain(value: Any) -> Any:
    """As JSON carries it; a number that it has no word for is null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""Several packs in one message, and what the center says to each. CBOR in, CBOR out; no sockets, no clock.

    request    POST b    [next_s, kind, pack, kind, pack, ...]     application/cbor, or deflated (RFC 1950)
    answer     2.04      nothing where all are stored; else {index: why} of those refused, the others are stored

`kind` is the path that the pack would have gone to alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import cbor2

PATH = "b"
CBOR, DEFLATED = 60, 11060  # content-formats of RFC 7252's registry
LARGEST = 1 << 20  # bytes, inflated
MOST = 512  # packs

Pack = tuple[str, bytes]


def encode(packs: Sequence[Pack], next_s: float) -> bytes:
    """Deflated."""
    flat = [part for pack in packs for part in pack]
    return zlib.compress(cbor2.dumps([next_s, *flat]), 6)


def decode(content_format: int, body: bytes) -> tuple[float, list[Pack]]:
    """(next_s, packs). Raises ValueError, with words short enough for a diagnostic payload."""
    if content_format == DEFLATED:
        body = _inflated(body)
    try:
        found = cbor2.loads(body)
    except Exception as bad:  # cbor2 lets errors of the types it builds (dates, fractions) through
        raise ValueError("not CBOR") from bad
    if not isinstance(found, list) or not found or not len(found) % 2 or len(found) > 2 * MOST + 1:
        raise ValueError("not a bundle")
    next_s, *flat = found
    if isinstance(next_s, bool) or not isinstance(next_s, (int, float)) or not 0 <= next_s < 1e9:
        raise ValueError("the promise is no number of seconds")
    packs = list(zip(flat[::2], flat[1::2], strict=True))
    if not all(isinstance(kind, str) and isinstance(pack, bytes) for kind, pack in packs):
        raise ValueError("not a bundle")
    return float(next_s), packs


def encode_refusals(refused: Mapping[int, str]) -> bytes:
    """b"" where nothing was refused."""
    return cbor2.dumps({index: why[:64] for index, why in refused.items()}) if refused else b""


def decode_refusals(payload: bytes, packs: int) -> dict[int, str]:
    """By index below `packs`. Raises ValueError."""
    if not payload:
        return {}
    try:
        found = cbor2.loads(payload)
    except Exception as bad:
        raise ValueError("not CBOR") from bad
    if not isinstance(found, dict) or not all(
        isinstance(index, int) and 0 <= index < packs and isinstance(why, str) for index, why in found.items()
    ):
        raise ValueError("not a list of refusals")
    return {int(index): str(why) for index, why in found.items()}


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(body, LARGEST)
    except zlib.error as bad:
        raise ValueError("not deflated") from bad
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("cut off, or too large inflated")
    return out

"""Proof that a request was made just now (Echo, RFC 9175). No sockets; the clock is given.

An Echo is the time it was made at and a mark of it under a key that lives as long as the connection: nothing is kept
for each, and what was recorded on another connection proves nothing. A duplicate on the same one has a used OSCORE
number, and does not come so far.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

LIFETIME_S = 10.0
_TIME, _MARK = 6, 8  # bytes


class Freshness:
    """One connection's."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._key = secrets.token_bytes(16)

    def echo(self) -> bytes:
        return self._marked(self._now_ms())

    def proves(self, echo: bytes | None) -> bool:
        if echo is None or len(echo) != _TIME + _MARK:
            return False
        made_ms = int.from_bytes(echo[:_TIME], "big")
        fresh = 0 <= self._now_ms() - made_ms <= LIFETIME_S * 1e3
        return hmac.compare_digest(self._marked(made_ms), echo) and fresh

    def _now_ms(self) -> int:
        return int(self._clock_s() * 1e3)

    def _marked(self, made_ms: int) -> bytes:
        time = made_ms.to_bytes(_TIME, "big")
        return time + hmac.digest(self._key, time, "sha256")[:_MARK]

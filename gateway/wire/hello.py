"""A message without a record: who is there, when the next message comes, and what it falls silent with. Pure.

One SenML record: bn = "<gateway>/", bt, `i` = [boot, upstream, null, next_s], n = "shares" with vd = CBOR [* text].
A second one, n = "role" with vs = "center" or "agency", says what the gateway takes its receiver for.
Sent after a start, after the way was shut, and whenever a promise would be broken otherwise. Nothing is numbered, so
one that is lost is no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2

from gateway.wire import senml

PATH = "n"
IDENTITY = "i"
SHARES = 16
LONGEST = 64


@dataclass(frozen=True, slots=True)
class Hello:
    """`shares`: the lines, masts and mains feeders that this gateway has in common with others."""

    next_s: float
    shares: tuple[str, ...] = ()
    role: str = ""


def encode(gateway: str, boot: str, upstream: str, utc_s: int, said: Hello) -> bytes:
    identity = [bytes.fromhex(boot), upstream, None, said.next_s]
    record: dict[Any, Any] = {senml.BN: f"{gateway}/", senml.BT: utc_s, IDENTITY: identity, senml.N: "shares"}
    record |= {senml.CT: "60", senml.VD: cbor2.dumps(list(said.shares))}
    return senml.encode([record, {senml.N: "role", senml.VS: said.role}] if said.role else [record])


def decode(payload: bytes) -> Hello:
    """Raises ValueError."""
    (entry, *more) = senml.decode(payload)
    identity = entry.extra.get(IDENTITY)
    if not isinstance(identity, list) or len(identity) != 4 or identity[2] is not None:
        raise ValueError("the message has no identity")
    next_s = identity[3]
    if isinstance(next_s, bool) or not isinstance(next_s, (int, float)) or not 0 <= next_s < 1e9:
        raise ValueError("the promise is no number of seconds")
    try:
        shares = cbor2.loads(entry.data or b"\x80")
    except Exception as bad:  # cbor2 lets errors of the types it builds through
        raise ValueError("shares are not CBOR") from bad
    if not isinstance(shares, list) or len(shares) > SHARES:
        raise ValueError("shares are a short list")
    if not all(isinstance(name, str) and len(name) <= LONGEST for name in shares):
        raise ValueError("a share is a short name")
    role = next((one.text for one in more if one.name == "role" and one.text), "")
    if len(role) > LONGEST:
        raise ValueError("a role is a short word")
    return Hello(float(next_s), tuple(shares), role)

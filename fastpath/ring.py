"""The evidence ring: the last DEPTH raw readings of every channel. Readings in, columns out, oldest first.

State: time_ns i64[n, DEPTH], value f64[n, DEPTH], count i64[n] (readings ever put in).
"""

from __future__ import annotations

from fastpath.columns import F8, I8
from fastpath.jit import inner

DEPTH = 32


@inner
def remember(time: I8, value: F8, count: I8, c: int, t: int, x: float) -> None:
    """Put (t, x) into the ring of channel c, over the oldest when full."""
    slot = count[c] % DEPTH
    time[c, slot] = t
    value[c, slot] = x
    count[c] += 1


def recall(time: I8, value: F8, count: I8, c: int, wanted: int) -> tuple[I8, F8]:
    """Copies of the last `wanted` readings (at most DEPTH), oldest first."""
    have = int(count[c])
    slots = [k % DEPTH for k in range(have - min(wanted, have, DEPTH), have)]
    return time[c, slots], value[c, slots]

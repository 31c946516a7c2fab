"""The evidence ring: the last DEPTH raw readings of every channel. Readings in, columns out, oldest first.

State: n rows of 2 * DEPTH words seen through two views, time (i64) and value (f64) of a reading side by side; how many
were ever put in is in the channel's row.
"""

from __future__ import annotations

import numpy as np

from fastpath.columns import F8, I8
from fastpath.jit import inner
from fastpath.layout import GATHERED, State

DEPTH = 32  # a power of two: the kernel masks


@inner
def remember(state: State, c: int, t: int, x: float) -> None:
    """Put (t, x) into the ring of channel c, over the oldest when full."""
    count = state.whole[c, GATHERED]
    slot = 2 * (count & (DEPTH - 1))
    state.evidence_whole[c, slot] = t
    state.evidence_number[c, slot + 1] = x
    state.whole[c, GATHERED] = count + 1


def recall(state: State, c: int, wanted: int) -> tuple[I8, F8]:
    """Copies of the last `wanted` readings (at most DEPTH), oldest first."""
    have = int(state.whole[c, GATHERED])
    slots = np.array([2 * (k % DEPTH) for k in range(have - min(wanted, have, DEPTH), have)], np.int64)
    return state.evidence_whole[c, slots], state.evidence_number[c, slots + 1]

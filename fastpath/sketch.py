"""A mergeable quantile sketch in bounded memory: values in, quantiles out.

A merging t-digest (T. Dunning, O. Ertl, arXiv:1902.04023): centroids sorted by mean, small at both ends,
large in the middle. Up to CAPACITY values it simply holds them all, so short windows are exact.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastpath.columns import F8, I8
from fastpath.jit import inner, kernel, outlined

CAPACITY = 96
COMPRESSION = 32.0
ROOM = 24  # free places a compression must leave

FILL = 0
SORTED = 1


class Sketch(NamedTuple):
    """State of n sketches: mean and weight of their centroids, f64[n + 1, CAPACITY], and fill i64[n, 2]:
    centroids in use (FILL), and how many of these, from the first, are sorted (SORTED). The last row is room to sort
    in."""

    mean: F8
    weight: F8
    fill: I8


def empty(n: int) -> Sketch:
    """n sketches of nothing."""
    return Sketch(np.zeros((n + 1, CAPACITY)), np.zeros((n + 1, CAPACITY)), np.zeros((n, 2), np.int64))


@inner
def clear(state: Sketch, c: int) -> None:
    state.fill[c, FILL] = 0
    state.fill[c, SORTED] = 0


@outlined
def sort(state: Sketch, c: int) -> None:
    """Bring all centroids of c into the order of their means: sort the new ones, merge them with the old.

    Each new one is put where the count of smaller ones says: no branch depends on a value, and the processor counts
    several at once (60 values: a third of the time of insertion)."""
    size = state.fill[c, FILL]
    old = state.fill[c, SORTED]
    fresh = size - old
    if fresh <= 0:
        return
    room = state.mean.shape[0] - 1
    mean, weight = state.mean[c, old:size], state.weight[c, old:size]
    ordered_mean, ordered_weight = state.mean[room, :fresh], state.weight[room, :fresh]
    for i in range(fresh):
        x = mean[i]
        rank = 0
        for j in range(i):
            rank += 1 if mean[j] <= x else 0
        after = mean[i + 1 :]
        for j in range(fresh - i - 1):
            rank += 1 if after[j] < x else 0
        ordered_mean[rank] = x
        ordered_weight[rank] = weight[i]
    a = old - 1
    b = fresh - 1
    k = size - 1
    while b >= 0:
        if a >= 0 and state.mean[c, a] > ordered_mean[b]:
            state.mean[c, k] = state.mean[c, a]
            state.weight[c, k] = state.weight[c, a]
            a -= 1
        else:
            state.mean[c, k] = ordered_mean[b]
            state.weight[c, k] = ordered_weight[b]
            b -= 1
        k -= 1
    state.fill[c, SORTED] = size


@outlined
def compress(state: Sketch, c: int) -> None:
    """Merge neighbours until ROOM places are free. A centroid at rank q may weigh N pi/C sqrt(q(1-q))."""
    sort(state, c)
    size = state.fill[c, FILL]
    total = 0.0
    for i in range(size):
        total += state.weight[c, i]
    spread = math.pi / COMPRESSION
    while size > CAPACITY - ROOM:
        before = 0.0
        kept = 0
        for i in range(1, size):
            both = state.weight[c, kept] + state.weight[c, i]
            q = (before + 0.5 * both) / total
            if both <= total * spread * math.sqrt(max(q * (1.0 - q), 0.0)):
                share = state.weight[c, i] / both
                state.mean[c, kept] = state.mean[c, kept] * (1.0 - share) + state.mean[c, i] * share
                state.weight[c, kept] = both
            else:
                before += state.weight[c, kept]
                kept += 1
                state.mean[c, kept] = state.mean[c, i]
                state.weight[c, kept] = state.weight[c, i]
        size = kept + 1
        spread *= 1.5
    state.fill[c, FILL] = size
    state.fill[c, SORTED] = size


@inner
def add(state: Sketch, c: int, x: float, w: float) -> None:
    """Take x with weight w into sketch c."""
    if state.fill[c, FILL] == CAPACITY:
        compress(state, c)
    size = state.fill[c, FILL]
    state.mean[c, size] = x
    state.weight[c, size] = w
    state.fill[c, FILL] = size + 1


@inner
def quantile(state: Sketch, c: int, p: float) -> Any:
    """The p-quantile of a sorted sketch, linear between centroids as numpy does it; NaN if empty."""
    size = state.fill[c, FILL]
    if size == 0:
        return math.nan
    total = 0.0
    for i in range(size):
        total += state.weight[c, i]
    rank = p * (total - 1.0)
    before = 0.0
    last_rank = 0.0
    for i in range(size):
        centre = before + 0.5 * (state.weight[c, i] - 1.0)
        if centre >= rank:
            if i == 0 or centre <= last_rank:
                return state.mean[c, i]
            share = (rank - last_rank) / (centre - last_rank)
            return state.mean[c, i - 1] * (1.0 - share) + state.mean[c, i] * share
        last_rank = centre
        before += state.weight[c, i]
    return state.mean[c, size - 1]


@kernel
def merge(state: Sketch, c: int, source: Sketch, other: int) -> None:
    """Take every centroid of sketch `other` of the second state into sketch c of the first."""
    for i in range(source.fill[other, FILL]):
        add(state, c, source.mean[other, i], source.weight[other, i])
    sort(state, c)


@kernel
def sketched(values: F8, state: Sketch) -> None:
    """Take all values into sketch 0, sorted at the end."""
    for x in values:
        add(state, 0, x, 1.0)
    sort(state, 0)


@kernel
def read(state: Sketch, c: int, p: F8, out: F8) -> None:
    sort(state, c)
    for k in range(p.size):
        out[k] = quantile(state, c, p[k])


def quantiles(state: Sketch, c: int, p: F8) -> F8:
    """Quantiles p of sketch c (which is sorted in passing)."""
    out = np.empty(p.size)
    read(state, c, p, out)
    return out

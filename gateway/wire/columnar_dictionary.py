"""What the two ends of a columnar line agree on: channels and their grids, under a name made of the content. Pure.

    dictionary   CBOR [boot, upstream, [[channel, unit, kind, grid] ...]], deflated (RFC 1950)
    grid         [m, e]: steps of m x 10^e      number: steps of that      null: none, floats
    name         the first 8 bytes of its SHA-256, before deflating

Two dictionaries of one name have one content, so it does not matter who sent it, and nothing is ever replaced.
"""

from __future__ import annotations

import functools
import hashlib
import math
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import cbor2

from gateway.wire import window

MOST_ROWS = 4096  # channels of one dictionary
LARGEST = 1 << 19  # bytes, inflated
KEPT = 48_000_000  # bytes of all dictionaries that a reader keeps, about
ROW_COST = 250  # bytes that a channel takes besides its names
DECIMAL = 1000  # a grid is m x 10^e with m below this, where it can be

Grid = tuple[int, int] | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """One channel. `kind` as in gateway.site.plan: gauge, counter, state."""

    channel: str
    unit: str
    kind: int
    grid: Grid

    @property
    def step(self) -> float:
        """Infinite where there is no grid."""
        if isinstance(self.grid, tuple):
            return window.on_grid(*self.grid)
        return math.inf if self.grid is None else self.grid

    def value(self, steps: int) -> float:
        """The number so many steps from 0, as a person would write it."""
        if isinstance(self.grid, tuple):
            return window.on_grid(steps * self.grid[0], self.grid[1])
        assert self.grid is not None
        return steps * self.grid


@dataclass(frozen=True, slots=True)
class Dictionary:
    boot: str
    upstream: str
    columns: tuple[Column, ...]

    def blob(self) -> bytes:
        rows = [[one.channel, one.unit, one.kind, _written(one.grid)] for one in self.columns]
        return cbor2.dumps([bytes.fromhex(self.boot), self.upstream, rows], canonical=True)

    def deflated(self) -> bytes:
        return zlib.compress(self.blob(), 9)

    @property
    def name(self) -> bytes:
        return name_of(self.blob())


class Dictionaries:
    """What a reader has been told; those not needed for longest go first."""

    def __init__(self, most: int = KEPT) -> None:
        """`most`: bytes."""
        self._most = most
        self._size = 0
        self._known: OrderedDict[bytes, tuple[Dictionary, int]] = OrderedDict()

    def find(self, name: bytes) -> Dictionary | None:
        if name not in self._known:
            return None
        self._known.move_to_end(name)
        return self._known[name][0]

    def learn(self, deflated: bytes) -> Dictionary:
        """Raises ValueError."""
        blob = _inflated(deflated)
        name = name_of(blob)
        if (known := self.find(name)) is not None:
            return known
        found = read(blob)
        size = len(blob) + ROW_COST * len(found.columns)
        self._known[name] = found, size
        self._size += size
        while self._size > self._most and len(self._known) > 1:
            _, (_, its) = self._known.popitem(last=False)
            self._size -= its
        return found


def name_of(blob: bytes) -> bytes:
    return hashlib.sha256(blob).digest()[:8]


@functools.lru_cache(1024)
def grid_of(resolution: float) -> Grid:
    if not 1e-18 <= resolution <= 1e18:
        return None
    exponent = math.floor(math.log10(resolution) + 1e-9)
    for finer in range(3):
        e = exponent - finer
        mantissa = round(resolution * 10.0**-e)
        if 0 < mantissa < DECIMAL and -18 <= e <= 18 and abs(window.on_grid(mantissa, e) / resolution - 1) < 1e-12:
            return mantissa, e
    return resolution


def read(blob: bytes) -> Dictionary:
    """The inverse of `Dictionary.blob`. Raises ValueError."""
    try:
        found = cbor2.loads(blob)
    except Exception as bad:  # cbor2 lets errors of the types it builds (dates, fractions) through
        raise ValueError("the dictionary is not CBOR") from bad
    if not isinstance(found, list) or len(found) != 3:
        raise ValueError("not a dictionary")
    boot, upstream, rows = found
    if not isinstance(boot, bytes) or len(boot) != 8 or not isinstance(upstream, str) or len(upstream) > 64:
        raise ValueError("the dictionary has no valid identity")
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
        raise ValueError("a dictionary has 1 to 4096 channels")
    return Dictionary(boot.hex(), upstream, tuple(map(_column, rows)))


def _column(row: Any) -> Column:
    if not isinstance(row, list) or len(row) != 4:
        raise ValueError("a channel of the dictionary is damaged")
    channel, unit, kind, grid = row
    if not isinstance(channel, str) or not isinstance(unit, str) or type(kind) is not int or not 0 <= kind < 256:
        raise ValueError("a channel of the dictionary is damaged")
    return Column(channel, unit, kind, _grid(grid))


def _grid(found: Any) -> Grid:
    if isinstance(found, list) and len(found) == 2 and all(type(x) is int for x in found):
        if 0 < found[0] < DECIMAL and -18 <= found[1] <= 18:
            return found[0], found[1]
    elif found is None or (isinstance(found, float) and 1e-18 <= found <= 1e18):
        return found
    raise ValueError("the grid of a channel is damaged")


def _written(grid: Grid) -> Any:
    return list(grid) if isinstance(grid, tuple) else grid


def _inflated(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(deflated, LARGEST)
    except zlib.error as bad:
        raise ValueError("the dictionary is not deflated") from bad
    if inflater.unconsumed_tail or not inflater.eof:
        raise ValueError("the dictionary is cut off, or too large")
    return out

"""The vocabulary of a watch: channels that only make sense together (a water zone, a feeder and its lamps, a city's
stations), judged row by row.

The engine assembles the rows: one value a column and `step_s`, the mean of the good readings of a gauge, the last of a
state or counter, NaN where none came. A reading outside its profile's range is not among them, and where the profile's
filter puts another value in a reading's place, that one is; evidence stays raw. A row is handed over as soon as it can
be complete, and once. A watch knows no clock, file or device; its rows come in order of time, with steps missing where
nothing at all was read; only when the wall clock is set may `utc_s` step back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gateway.site.plan import Place, Plan
from gateway.spool.records import Phase

Row = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a watch found in the row it was just given. `since_s` (UTC seconds) is where it says that it began;
    `numbers` fill the sentences of `code`; `columns` are those whose recent readings are evidence."""

    code: str
    phase: Phase
    subject: str
    place: Place
    since_s: float
    score: float = 1.0
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    columns: tuple[int, ...] = ()


class Learning(Protocol):
    """What goes over a restart lies in the attributes that LEARNT names: numbers, strings, None, arrays, lists, tuples,
    dicts, sets and deques of such, and instances of the dataclasses in PARTS. Everything else is made anew from the
    plan."""

    LEARNT: ClassVar[tuple[str, ...]]
    PARTS: ClassVar[tuple[type, ...]]


class Watch(Learning, Protocol):
    """Channels judged together."""

    @property
    def name(self) -> str:
        """Unique in its site: what it has learnt is kept under this name."""
        ...

    @property
    def channels(self) -> Sequence[int]:
        """Channel rows of its columns, in order."""
        ...

    @property
    def step_s(self) -> float:
        """Seconds from row to row."""
        ...

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        """f64[columns] of the step that begins at `utc_s`, to what it changes."""
        ...


@runtime_checkable
class Deriving(Protocol):
    """A watch that also computes readings of its own."""

    def derived(self) -> Sequence[tuple[int, float]]:
        """[(channel row of a derived point, value)] after the row just given."""
        ...


Watches = Callable[[Plan], Sequence[Watch]]

"""What a profile or site may tell the filter and the detector of one point beyond their names. Data only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

FilterName = Literal["none", "hampel", "hampel_replace", "median", "ewma", "deadband", "debounce"]
DetectorName = Literal[
    "none", "default", "level", "spike", "drift", "variance", "stuck", "missing", "seasonal", "cusum", "page_hinkley"
]  # fmt: skip
Positive = Annotated[FiniteFloat, Field(gt=0)]


class Tuning(BaseModel):
    """None: learnt from the channel, or the detector's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    band: Positive | None = None  # deadband: moves of at most this much are held back
    settle_s: Positive | None = None  # ewma: its time constant; debounce: how long a new state must last
    target: FiniteFloat | None = None  # cusum: the value a healthy channel has
    size: Positive | None = None  # the smallest change worth an alarm, in the point's unit
    span_s: Positive | None = None  # drift: length of the blocks compared; stuck: longest time without a change
    onset: Positive | None = (
        None  # the score that raises: a ratio of the default detector, -log10 of a chance elsewhere
    )

    def but(self, other: Tuning | None) -> Tuning:
        """This, with what `other` says in its place."""
        return self if other is None else self.model_copy(update=other.model_dump(exclude_none=True))

"""What a watch has learnt survives a restart whole, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.memory import recall, remember
from gateway.services.watch import Finding, Row


@dataclass(slots=True)
class Night:
    level: float
    rows: int


class Zone:
    LEARNT: ClassVar[tuple[str, ...]] = ("profile", "nights", "standing", "seen", "open", "recent")
    PARTS: ClassVar[tuple[type, ...]] = (Night,)
    name = "zone"
    channels: Sequence[int] = (0, 1)
    step_s = 60.0

    def __init__(self, columns: int = 2) -> None:
        self.profile = np.zeros((columns, 4))
        self.nights: deque[Night] = deque(maxlen=3)
        self.standing: dict[tuple[str, str], float] = {}
        self.seen: set[int] = set()
        self.open: Night | None = None
        self.recent: list[Any] = []

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        return ()


def test_what_was_learnt_comes_back() -> None:
    old, new = Zone(), Zone()
    old.profile[1, 2] = np.nan
    old.nights.extend([Night(1.5, 3), Night(2.5, 4)])
    old.standing[("water.leak", "zone")] = 12.0
    old.seen |= {3, 4}
    old.open = Night(0.0, 1)
    old.recent = [np.arange(3), ("a", None, True)]
    assert recall(new, remember(old))
    assert np.array_equal(new.profile, old.profile, equal_nan=True)
    assert new.nights == old.nights
    assert new.nights.maxlen == 3
    assert (new.standing, new.seen, new.open) == (old.standing, old.seen, old.open)
    assert np.array_equal(new.recent[0], old.recent[0])
    assert new.recent[1] == ("a", None, True)


def test_what_does_not_fit_changes_nothing() -> None:
    new = Zone(columns=3)
    assert not recall(new, remember(Zone(columns=2)))
    assert new.profile.shape == (3, 4)


@given(st.binary(max_size=200))
def test_a_foreign_blob_is_refused(blob: bytes) -> None:
    zone = Zone()
    assert not recall(zone, blob)
    assert zone.nights == deque()


def test_what_cannot_be_kept_is_said_at_once() -> None:
    zone = Zone()
    zone.recent = [object()]
    with pytest.raises(TypeError):
        remember(zone)

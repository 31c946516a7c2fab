"""The chain in C and in numpy, written anew for the benchmark, give what the kernels give."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.fastpath_numpy import InNumpy
from benchmarks.fastpath_rig import InC, Ours, Readings, compilers, differences


def agreement(other, channels=30, rows=400, rounds=3):
    ours, readings, alerts = Ours(channels), Readings(channels, seed=11), 0
    for _ in range(rounds):
        batch = readings.take(rows)
        mine = ours.result(ours.push(batch))
        assert differences(mine, other.result(other.push(batch))) == []
        alerts += len(mine.alerts)
    assert alerts > 10
    assert len(mine.windows) > channels


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_chain_in_c_gives_what_ours_gives(compiler):
    if compiler not in compilers():
        pytest.skip(f"there is no {compiler} on this machine")
    agreement(InC(compiler, 30))


def test_the_chain_in_numpy_gives_what_ours_gives():
    agreement(InNumpy(30))


def test_a_difference_is_told():
    ours, readings = Ours(3), Readings(3)
    one = ours.result(ours.push(readings.take(130)))
    other = one._replace(mark=one.mark ^ 1, score=one.score + 1.0, windows=one.windows[1:], alerts=one.alerts)
    assert differences(one, other)[0].endswith("marks")
    assert len(differences(one, other)) == 3
    assert differences(one, one._replace(score=one.score * (1 + 1e-12))) == []
    assert np.isfinite(one.score).all()

"""The benchmark on recorded machines: what it writes of an alarm that goes on."""

from __future__ import annotations

import numpy as np

from benchmarks.detect import skab

S = 1_000_000_000


def test_an_alarm_that_is_updated_still_stands() -> None:
    """What was read after an onset follows as an update of the same alarm; it ends nothing."""
    rng = np.random.default_rng(5)
    values = rng.normal(50.0, 1.0, (1200, 4))
    values[700:] += 12.0
    when = 1_700_000_000 * S + np.arange(1200) * S
    names = ("Current", "Pressure", "Temperature", "Voltage")
    found = skab.judged(skab.Run("other/0", names, tuple(str(t) for t in when), tuple(int(t) for t in when), values))
    first = int(np.flatnonzero(found.anomaly)[0])
    assert 700 <= first < 760
    assert found.anomaly[first : first + 120].all()
    assert np.flatnonzero(found.changepoint[: first + 120]).tolist() == [first]
    assert found.onsets == 1

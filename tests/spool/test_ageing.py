"""Coarser windows tell what the fine ones told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.site.upstream import Catalog
from gateway.spool.ageing import merged
from gateway.spool.records import Gap, Lane, Window, Windows
from gateway.spool.spool import START, Spool

MINUTE = 60_000_000_000


def window(values: NDArray[np.float64], start_ns: int, kind: int = 0, channel: int = 3) -> Window:
    """What fastpath makes of one minute of readings."""
    n = len(values)
    if not n:
        nan = math.nan
        return Window(channel, start_ns, start_ns + MINUTE, 0, 6, nan, nan, nan, nan, nan, nan, 0, nan, nan, 160)
    mean, sd = (values.mean(), values.std()) if kind == 0 else (float(values[-1] - values[0]), 0.0)
    p05, p25, p50, p75, p95 = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
    return Window(
        channel, start_ns, start_ns + MINUTE, n, 6, values.min(), values.max(), mean, sd, values[0], values[-1],
        start_ns + n, p50, p95, 0, (p05, p25, p75),
    )  # fmt: skip


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, allow_nan=False, width=32), max_size=20),
        min_size=1,
        max_size=12,
    )
)
def test_moments_and_extremes_are_exact(minutes: list[list[float]]) -> None:
    windows = [window(np.array(values), i * MINUTE) for i, values in enumerate(minutes)]
    one = merged(windows, kind=0)
    everything = np.array([value for values in minutes for value in values])
    assert (one.start_ns, one.end_ns) == (0, len(minutes) * MINUTE)
    assert (one.n, one.expected) == (len(everything), 6 * len(minutes))
    if not len(everything):
        assert math.isnan(one.mean)
        return
    assert (one.min, one.max) == (everything.min(), everything.max())
    assert (one.first, one.last) == (everything[0], everything[-1])
    scale = max(1.0, float(np.abs(everything).max()))
    assert one.mean == pytest.approx(everything.mean(), abs=1e-9 * scale)
    assert one.sd == pytest.approx(everything.std(), abs=1e-7 * scale)
    assert one.min <= one.p50 <= one.p95 <= one.max


def test_quantiles_come_near_those_of_all_readings() -> None:
    random = np.random.default_rng(11)
    readings = 20.0 + np.cumsum(random.normal(0, 0.01, 3600)) + random.normal(0, 0.3, 3600)
    minutes = [window(readings[i : i + 60], i // 60 * MINUTE) for i in range(0, 3600, 60)]
    tens = [merged(minutes[i : i + 10], 0) for i in range(0, 60, 10)]
    for hour in (merged(minutes, 0), merged(tens, 0)):
        for mine, p in ((hour.p50, 0.5), (hour.p95, 0.95)):
            rank = (readings <= mine).mean()
            assert rank == pytest.approx(p, abs=0.02)
    assert merged(tens, 0).sd == pytest.approx(readings.std(), rel=1e-9)


def test_merging_in_steps_or_at_once_is_the_same() -> None:
    random = np.random.default_rng(2)
    minutes = [window(random.normal(5, 1, 10), i * MINUTE) for i in range(60)]
    once, twice = merged(minutes, 0), merged([merged(minutes[:30], 0), merged(minutes[30:], 0)], 0)
    assert (once.n, once.min, once.max) == (twice.n, twice.min, twice.max)
    assert once.mean == pytest.approx(twice.mean, rel=1e-12)
    assert once.sd == pytest.approx(twice.sd, rel=1e-12)


def test_counters_add_up_and_states_weigh_by_time() -> None:
    counter = [
        Window(0, i * MINUTE, (i + 1) * MINUTE, 2, 2, 0, 9, 4.0, 1.0, 0, 9, 0, math.nan, math.nan, 0) for i in (0, 1)
    ]
    assert (merged(counter, 1).mean, merged(counter, 1).sd) == (8.0, 2.0)
    short = Window(0, 0, MINUTE, 2, 2, 0, 1, 1.0, 1.0, 0, 1, 0, math.nan, math.nan, 0)
    long = Window(0, MINUTE, 4 * MINUTE, 2, 2, 0, 1, 0.0, 3.0, 0, 1, 0, math.nan, math.nan, 32)
    both = merged([long, short], 2)
    assert (both.mean, both.sd, both.quality) == (0.25, 4.0, 32)


def test_nothing_is_no_window() -> None:
    with pytest.raises(ValueError, match="no windows"):
        merged([], 0)


def minute_of_all(channels: int, minute: int, random: np.random.Generator) -> list[Windows]:
    """What the field half commits a minute: records of eight channels."""
    rows = [window(random.normal(c, 0.1, 6).round(2), minute * MINUTE, channel=c) for c in range(channels)]
    return [Windows(tuple(rows[at : at + 8])) for at in range(0, channels, 8)]


def everything(spool: Spool) -> tuple[list[Window], list[Gap]]:
    windows, gaps = [], []
    for lane in (Lane.SUMMARY, Lane.DIAGNOSTIC):
        for record in spool.take("center", lane, 1_000_000):
            if isinstance(record.item, Windows):
                windows += record.item.rows
            elif isinstance(record.item, Gap):
                gaps.append(record.item)
    return windows, gaps


def test_near_the_limit_old_summaries_grow_coarser_and_nothing_goes_missing(tmp_path: Path) -> None:
    catalog = Catalog("cab", tuple((f"d.p{i}", "d", f"p{i}", "Cel", 0, 0.01) for i in range(24)))
    spool = Spool.open(tmp_path / "spool.db", limit_mb=0.6)
    spool.set_offset(0, 0)
    name = spool.put_catalog(catalog)
    random = np.random.default_rng(7)
    minutes = 360
    seqs: set[int] = set()
    for minute in range(minutes):
        stored = spool.append([("center", one) for one in minute_of_all(24, minute, random)], catalog=name)
        seqs |= {seq for _, lane, seq in stored if lane is Lane.SUMMARY}
    windows, gaps = everything(spool)
    assert {gap.reason for gap in gaps} >= {"thinned to 10 min"}
    assert {gap.entries for gap in gaps} == {()}
    for channel in range(24):
        mine = sorted((w for w in windows if w.channel == channel), key=lambda w: w.start_ns)
        assert sum(w.n for w in mine) == minutes * 6
        assert [w.start_ns for w in mine[1:]] == [w.end_ns for w in mine[:-1]]
        assert (mine[0].start_ns, mine[-1].end_ns) == (0, minutes * MINUTE)
        assert all(w.end_ns - w.start_ns == MINUTE for w in mine[-5:]), "the newest stay as they are"
    there = {r.seq for r in spool.take("center", Lane.SUMMARY, 1_000_000)}
    declared = {seq for gap in gaps for _, _, first, last in gap.records for seq in range(first, last + 1)}
    assert not there & declared
    assert seqs - there <= declared, "every number that is gone is declared"
    assert (tmp_path / "spool.db").stat().st_size <= 0.6e6
    spool.close()


def test_what_may_be_on_its_way_is_not_touched(tmp_path: Path) -> None:
    catalog = Catalog("cab", tuple((f"d.p{i}", "d", f"p{i}", "Cel", 0, 0.01) for i in range(24)))
    spool = Spool.open(tmp_path / "spool.db", limit_mb=0.6)
    name = spool.put_catalog(catalog)
    random = np.random.default_rng(7)
    for minute in range(5):
        spool.append([("center", one) for one in minute_of_all(24, minute, random)], catalog=name)
    on_the_way = spool.take("center", Lane.SUMMARY, 15)
    for minute in range(5, 300):
        spool.append([("center", one) for one in minute_of_all(24, minute, random)], catalog=name)
    assert spool.take("center", Lane.SUMMARY, 15) == on_the_way
    spool.close()


def test_what_is_held_for_bulk_is_not_touched(tmp_path: Path) -> None:
    catalog = Catalog("cab", tuple((f"d.p{i}", "d", f"p{i}", "Cel", 0, 0.01) for i in range(24)))
    spool = Spool.open(tmp_path / "spool.db", limit_mb=0.6)
    name = spool.put_catalog(catalog)
    random = np.random.default_rng(7)
    for minute in range(50):
        spool.append([("center", one) for one in minute_of_all(24, minute, random)], catalog=name)
    sent = spool.after("center", Lane.SUMMARY, START, 100)
    spool.hold("center", sent[-1][0])
    for minute in range(50, 300):
        spool.append([("center", one) for one in minute_of_all(24, minute, random)], catalog=name)
    assert spool.after("center", Lane.SUMMARY, START, 100) == sent
    spool.close()

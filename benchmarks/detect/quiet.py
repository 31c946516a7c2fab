"""What a threshold means: false alarms a channel and month of every detector of single channels, on channels that keep
their habits (noise alone, correlated, with a daily course, in coarse steps, counts, skewed) at the rates of the field.

Nothing in these series is abnormal, so every onset is a false alarm. The first month, in which a channel is learnt, is
told apart from the months after it.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpath.chain import Chain, ChannelParams, ConditionParams, channel_params
from gateway.site.plan import Detector

S = 1_000_000_000
DAY_S = 86_400.0
MONTH_S = 30 * DAY_S
SPANS = {1.0: 1.0, 10.0: 3.0, 60.0: 6.0, 300.0: 12.0, 900.0: 12.0}  # seconds from reading to reading: months
BLOCK = 4096
LEFT_OUT = (Detector.NONE, Detector.MISSING)  # nothing is missing here
SCORES = (1.1, 1.3, 1.6, 2.0)

Series = NDArray[np.float64]


def habits(random: np.random.Generator, readings: int, period_s: float) -> dict[str, Series]:
    """f64[readings] each, by what they are called."""
    course = np.sin(2 * np.pi * np.arange(readings) * period_s / DAY_S)
    noise = random.normal(size=readings)
    return {
        "noise": 20 + noise,
        "correlated": 20 + _correlated(random, readings, 0.9),
        "daily": 20 + 5 * course + noise,
        "daily, correlated": 20 + 5 * course + 0.5 * _correlated(random, readings, 0.9),
        "coarse": np.round(20 + 0.3 * noise),
        "counts": random.poisson(20 + 15 * course).astype(float),
        "skewed": np.exp(0.5 * noise),
    }


def _correlated(random: np.random.Generator, readings: int, share: float) -> Series:
    out = random.normal(size=readings)
    for i in range(1, readings):
        out[i] += share * out[i - 1]
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=2, help="series of each kind and rate")


def run(args: argparse.Namespace) -> dict[str, Any]:
    begun = time.perf_counter()
    chosen = [one for one in Detector if one not in LEFT_OUT]
    table: dict[str, dict[str, Any]] = {}
    for detector in chosen:
        told = {}
        for period_s, months in SPANS.items():
            first, later, scores, worst = counted(detector, period_s, months, args.seeds)
            told[f"{period_s:g} s"] = {"first_month": first, "later_months": later, "worst_series": worst, **scores}
        table[detector.name.lower()] = told
    figures = {"false_alarms_a_channel_month": table, "seeds": args.seeds,
               "seconds": round(time.perf_counter() - begun, 1)}  # fmt: skip
    if not args.json:
        _print(table)
    return figures


def counted(
    detector: Detector, period_s: float, months: float, seeds: int
) -> tuple[float, float | None, dict[str, float], str]:
    """False alarms in the first month, in a later one, by score for the universal detector, and the series with most of
    them."""
    readings = round(months * MONTH_S / period_s)
    first: list[float] = []
    later: list[float] = []
    scores: list[float] = []
    tally: dict[str, int] = {}
    channels = 0
    for seed in range(seeds):
        series = habits(np.random.default_rng(seed), readings, period_s)
        channels += len(series)
        for name, at_s, score in _onsets(detector, series, period_s):
            (first if at_s < MONTH_S else later).append(at_s)
            scores.append(score)
            tally[name] = tally.get(name, 0) + 1
    by_score = {}
    if detector is Detector.DEFAULT:
        by_score = {
            f"from_{least:g}": round(sum(score >= least for score in scores) / channels / months, 3) for least in SCORES
        }
    return (
        round(len(first) / channels / min(1.0, months), 2),
        round(len(later) / channels / (months - 1), 2) if months > 1 else None,
        by_score,
        max(tally, key=lambda name: tally[name], default=""),
    )


def _onsets(detector: Detector, series: dict[str, Series], period_s: float) -> list[tuple[str, float, float]]:
    names, period_ns = list(series), round(period_s * S)
    values = np.array([series[name] for name in names])
    chain = Chain(_params(len(names), detector, period_ns), _no_conditions(), start_ns=0)
    found = []
    for start in range(0, values.shape[1], BLOCK):
        block = values[:, start : start + BLOCK]
        rows = block.shape[1]
        pushed = chain.push(
            np.tile(np.arange(len(names), dtype=np.int32), rows),
            np.repeat(np.arange(start, start + rows, dtype=np.int64) * period_ns, len(names)),
            np.ascontiguousarray(block.T).ravel(),
            np.zeros(rows * len(names), np.uint8),
        )
        alerts = pushed.alerts
        columns = (alerts.channel, alerts.time_ns, alerts.onset, alerts.score)
        for channel, time_ns, onset, score in zip(*(column.tolist() for column in columns), strict=True):
            if onset:
                found.append((names[channel], time_ns / S, score))
    return found


def _params(n: int, detector: Detector, period_ns: int) -> ChannelParams:
    return channel_params(n, detector=int(detector), period_ns=period_ns, window_ns=3600 * S)


def _no_conditions() -> ConditionParams:
    none = np.zeros(0)
    whole = np.zeros(0, np.int64)
    return ConditionParams(np.zeros(0, np.int32), np.zeros(0, np.uint8), none, none, whole, whole)


def _print(table: dict[str, dict[str, Any]]) -> None:
    print(f"{'detector':13} {'every':>7} {'first month':>12} {'a later one':>12}  most of them on")
    for detector, rates in table.items():
        for every, told in rates.items():
            later = "" if told["later_months"] is None else f"{told['later_months']:.2f}"
            print(f"{detector:13} {every:>7} {told['first_month']:12.2f} {later:>12}  {told['worst_series']}")

"""The tables of the chain: what it is told, what it has learnt, what it gives back. Shapes and packing, no arithmetic.

Parameters and results are columns with names; `Settings`, `State` and `Output` are the same packed for the kernel, so
that one channel's numbers lie side by side.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastpath import condition, detect, filter, sketch, summary
from fastpath.columns import F8, I4, I8, U1
from fastpath.ring import DEPTH

FAR_NS = 2**61  # 73 years; times beyond are clamped, so that differences fit


class ChannelParams(NamedTuple):
    """One row a channel. kind 0 gauge, 1 counter, 2 state, 3 waveform (skipped); filter 0 none, 1 Hampel;
    detector 0 none, 1 default (both for gauges only). low, high, step, rollover f64 (infinite = none);
    times in ns."""

    kind: U1
    filter: U1
    detector: U1
    low: F8
    high: F8
    step: F8
    rollover: F8
    window_ns: I8
    period_ns: I8


class ConditionParams(NamedTuple):
    """One row a condition, sorted by channel. op: see `fastpath.condition`. GE clears below `clear`, LE
    above it."""

    channel: I4
    op: U1
    threshold: F8
    clear: F8
    hold_ns: I8
    clear_hold_ns: I8


class Alerts(NamedTuple):
    """Onsets (1) and clears (0) of the detector."""

    channel: I4
    time_ns: I8
    onset: U1
    score: F8
    value: F8
    expected: F8


class Changes(NamedTuple):
    """Conditions met (1) or cleared (0) at `time_ns`; `since_ns` is the first reading of the run that led
    there."""

    condition: I4
    time_ns: I8
    met: U1
    since_ns: I8
    value: F8


class WindowRows(NamedTuple):
    """Closed windows [start_ns, end_ns); NaN where n = 0. See `fastpath.summary` for what each kind holds."""

    channel: I4
    start_ns: I8
    end_ns: I8
    n: I4
    expected: I4
    min: F8
    max: F8
    mean: F8
    sd: F8
    first: F8
    last: F8
    last_ns: I8
    p50: F8
    p95: F8
    quality: U1


class Pushed(NamedTuple):
    """What a batch of n readings led to."""

    mark: U1
    windows: WindowRows
    alerts: Alerts
    changes: Changes


class Settings(NamedTuple):
    """What is constant, packed for the kernel. whole i64[n, 5]: kind, filter, detector, window, period.
    number f64[n, 4]: low, high, step, rollover. rule_* the same for conditions; first i64[n + 1]: rules of
    a channel."""

    whole: I8
    number: F8
    first: I8
    rule_whole: I8
    rule_number: F8


class State(NamedTuple):
    """What is learnt. Shapes are those of the modules named."""

    seen: I8  # i64[n]: time of the reading before
    gate: F8
    hampel: F8
    hampel_count: I8
    detector: F8
    window: summary.WindowState
    evidence_time: I8
    evidence_value: F8
    evidence_count: I8
    rule: I8


class Output(NamedTuple):
    """Room for rows; `used` i64[3] counts windows, alerts and changes written."""

    used: I8
    window: summary.Rows
    alert_whole: I8  # i64[r, 3]
    alert_number: F8  # f64[r, 3]
    change_whole: I8  # i64[r, 4]
    change_value: F8  # f64[r]


KIND, FILTER, DETECTOR, WINDOW, PERIOD = range(5)
LOW, HIGH, STEP, ROLLOVER = range(4)
RULE_OP, RULE_HOLD, RULE_CLEAR_HOLD = range(3)
RULE_THRESHOLD, RULE_CLEAR = range(2)
NEVER = -(2**63)


ROOM = 512


def _sane(span_ns: Any) -> I8:
    return np.clip(np.asarray(span_ns, np.int64), 0, FAR_NS)


def settings_of(channels: ChannelParams, conditions: ConditionParams) -> Settings:
    """Check and pack."""
    n, m = len(channels.kind), len(conditions.channel)
    if any(len(a) != n for a in channels) or any(len(a) != m for a in conditions):
        raise ValueError("columns of parameters differ in length")
    window = np.asarray(channels.window_ns, np.int64)
    if n and (window.min() <= 0 or window.max() >= FAR_NS):
        raise ValueError("a window is longer than nothing and shorter than 73 years")
    owner = np.asarray(conditions.channel, np.int64)
    if m and (owner.min() < 0 or owner.max() >= n or np.any(np.diff(owner) < 0)):
        raise ValueError("conditions are sorted by channel and name channels that exist")
    return Settings(
        np.column_stack([np.asarray(a, np.int64) for a in (*channels[:3], window, _sane(channels.period_ns))]).copy(),
        np.column_stack([np.asarray(a, np.float64) for a in channels[3:7]]).copy(),
        np.searchsorted(owner, np.arange(n + 1)).astype(np.int64),
        np.column_stack(
            [np.asarray(a, np.int64) for a in (conditions.op, conditions.hold_ns, conditions.clear_hold_ns)]
        ).copy(),
        np.column_stack([np.asarray(a, np.float64) for a in (conditions.threshold, conditions.clear)]).copy(),
    )


def fresh_state(n: int, m: int, settings: Settings, start_ns: int, align_ns: int) -> State:
    """Nothing known yet, every window open from `start_ns`."""
    number = np.zeros((n, 8))
    number[:] = (math.inf, -math.inf, 0.0, 0.0, math.nan, math.nan, 0.0, 0.0)
    whole = np.zeros((n, 11), np.int64)
    length = settings.whole[:, WINDOW]
    whole[:, summary.START] = start_ns
    whole[:, summary.END] = (start_ns + align_ns) // length * length - align_ns + length
    whole[:, summary.BEFORE_NS] = summary.NEVER
    return State(
        seen=np.full(n, NEVER, np.int64),
        gate=np.full(n, math.nan),
        hampel=np.zeros((n, filter.COLUMNS)),
        hampel_count=np.zeros(n, np.int64),
        detector=np.zeros((n, detect.COLUMNS)),
        window=summary.WindowState(number, whole, sketch.empty(n)),
        evidence_time=np.zeros((n, DEPTH), np.int64),
        evidence_value=np.zeros((n, DEPTH)),
        evidence_count=np.zeros(n, np.int64),
        rule=np.zeros((m, condition.COLUMNS), np.int64),
    )


def bytes_of(state: Any) -> int:
    return sum(bytes_of(part) for part in state) if isinstance(state, tuple) else int(state.nbytes)


def output(rules: int) -> Output:
    """Room for ROOM rows of each kind; a batch that needs more is taken in several rounds."""
    changes = max(ROOM, rules)
    return Output(
        np.zeros(3, np.int64),
        summary.Rows(np.zeros((ROOM, 7), np.int64), np.zeros((ROOM, 8))),
        np.zeros((ROOM, 3), np.int64),
        np.zeros((ROOM, 3)),
        np.zeros((changes, 4), np.int64),
        np.zeros(changes),
    )


def window_rows(rows: summary.Rows, used: int) -> WindowRows:
    """Owned columns of the first `used` rows."""
    channel, start, end, n, expected, last_ns, quality = rows.whole[:used].T.copy()
    low, high, mean, sd, first, last, p50, p95 = rows.number[:used].T.copy()
    return WindowRows(
        channel.astype(np.int32), start, end, n.astype(np.int32), expected.astype(np.int32),
        low, high, mean, sd, first, last, last_ns, p50, p95, quality.astype(np.uint8),
    )  # fmt: skip


def alert_rows(whole: I8, number: F8) -> Alerts:
    w, x = whole.T.copy(), number.T.copy()
    return Alerts(w[0].astype(np.int32), w[1], w[2].astype(np.uint8), x[0], x[1], x[2])


def change_rows(whole: I8, value: F8) -> Changes:
    w = whole.T.copy()
    return Changes(w[0].astype(np.int32), w[1], w[2].astype(np.uint8), w[3], value.copy())


def joined(parts: list[Any], empty: Any) -> Any:
    if len(parts) < 2:
        return parts[0] if parts else empty
    return type(empty)(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


NO_WINDOWS = window_rows(summary.Rows(np.empty((0, 7), np.int64), np.empty((0, 8))), 0)
NO_ALERTS = alert_rows(np.empty((0, 3), np.int64), np.empty((0, 3)))
NO_CHANGES = change_rows(np.empty((0, 4), np.int64), np.empty(0))

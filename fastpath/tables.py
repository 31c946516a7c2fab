"""The tables of the chain as callers see them, and how they are packed for the kernels. Shapes, no arithmetic."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastpath import condition, detect, detectors, filter, layout, sketch, summary
from fastpath.columns import F8, I4, I8, U1
from fastpath.layout import FAR_NS, NEVER, Output, Settings, State
from fastpath.ring import DEPTH


class ChannelParams(NamedTuple):
    """One row a channel. kind 0 gauge, 1 counter, 2 state, 3 waveform (skipped); filter: the numbers of
    `fastpath.filter`, all but debounce for gauges only, debounce for states; detector 0 none, 1 the universal one,
    others: the numbers of `fastpath.detectors`, for gauges (stuck: counters, too; missing: all). low, high, step, rate
    (a second) and rollover f64 (infinite = none); times in ns.

    What a filter or detector is told beyond that: band (deadband), settle_ns (ewma, debounce), target and size of the
    change to find in the channel's unit (NaN: learnt), span_ns (0: the detector's own), onset: the score that
    raises (NaN: the detector's own)."""

    kind: U1
    filter: U1
    detector: U1
    low: F8
    high: F8
    step: F8
    rollover: F8
    window_ns: I8
    period_ns: I8
    rate: F8
    band: F8
    settle_ns: I8
    target: F8
    size: F8
    span_ns: I8
    onset: F8


NUMBERS = {"low": -math.inf, "high": math.inf, "step": math.inf, "rollover": math.inf, "rate": math.inf, "band": 0.0,
           "target": math.nan, "size": math.nan, "onset": math.nan}  # fmt: skip
TIMES = {"window_ns": 60_000_000_000, "period_ns": 1_000_000_000, "settle_ns": 0, "span_ns": 0}
CODES = {"kind": 0, "filter": 0, "detector": 0}


def channel_params(n: int, **columns: Any) -> ChannelParams:
    """`n` rows from the columns given (each one value or n of them) and, for the rest, what asks for nothing: a gauge
    without filter and detector, read every second, summarised every minute. Raises TypeError for an unknown column,
    ValueError for a wrong length."""
    if unknown := columns.keys() - set(ChannelParams._fields):
        raise TypeError(f"no such columns: {', '.join(sorted(unknown))}")
    types = dict.fromkeys(CODES, np.uint8) | dict.fromkeys(TIMES, np.int64) | dict.fromkeys(NUMBERS, np.float64)
    rest = CODES | TIMES | NUMBERS
    return ChannelParams(
        *(
            np.broadcast_to(np.asarray(columns.get(name, rest[name]), types[name]), (n,)).copy()
            for name in ChannelParams._fields
        )
    )


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
    """Onsets (1) and clears (0) of the detector named, which is that of the channel."""

    channel: I4
    time_ns: I8
    onset: U1
    score: F8
    value: F8
    expected: F8
    detector: U1


class Changes(NamedTuple):
    """Conditions met (1) or cleared (0) at `time_ns`; `since_ns` is the first reading of the run that led
    there."""

    condition: I4
    time_ns: I8
    met: U1
    since_ns: I8
    value: F8


class WindowRows(NamedTuple):
    """Closed windows [start_ns, end_ns); NaN where n = 0. See `fastpath.summary` for what each kind holds. The last
    three are for merging windows."""

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
    p05: F8
    p25: F8
    p75: F8


class Pushed(NamedTuple):
    """What a batch of n readings led to: marks u8[n], scores of the detectors f64[n] (0 where none judged), and the
    values f64[n] that the gate and the filter let pass, NaN where there is no number or one outside the range."""

    mark: U1
    score: F8
    kept: F8
    windows: WindowRows
    alerts: Alerts
    changes: Changes


ROOM = 512


def _sane(span_ns: Any) -> I8:
    return np.clip(np.asarray(span_ns, np.int64), 0, FAR_NS)


def _two_views(rows: int, words: int) -> tuple[I8, F8]:
    """Zeros, as whole and as numbers; each row of 8 words begins with a cache line."""
    room = np.zeros(rows * words + 8, np.int64)
    skip = -(room.ctypes.data // 8) % 8
    whole = room[skip : skip + rows * words].reshape(rows, words)
    return whole, whole.view(np.float64)


def settings_of(channels: ChannelParams, conditions: ConditionParams) -> Settings:
    """Check and pack. A filter or detector that does not fit the kind of its channel is left out."""
    n, m = len(channels.kind), len(conditions.channel)
    if any(len(a) != n for a in channels) or any(len(a) != m for a in conditions):
        raise ValueError("columns of parameters differ in length")
    window = np.asarray(channels.window_ns, np.int64)
    if n and (window.min() <= 0 or window.max() >= FAR_NS):
        raise ValueError("a window is longer than nothing and shorter than 73 years")
    owner = np.asarray(conditions.channel, np.int64)
    if m and (owner.min() < 0 or owner.max() >= n or np.any(np.diff(owner) < 0)):
        raise ValueError("conditions are sorted by channel and name channels that exist")
    first = np.searchsorted(owner, np.arange(n + 1)).astype(np.int64)
    whole, number = _two_views(n, layout.SETTING_WORDS)
    kind = np.asarray(channels.kind)
    chosen = np.asarray(channels.filter)
    debounced = chosen == filter.DEBOUNCE
    whole[:, layout.KIND] = kind
    whole[:, layout.FILTERED] = np.where(
        ((kind == summary.GAUGE) & ~debounced) | ((kind == summary.STATE) & debounced), chosen, filter.NONE
    )
    whole[:, layout.DETECTOR] = detectors.fitting(kind, np.asarray(channels.detector))
    whole[:, layout.WINDOW] = window
    whole[:, layout.PERIOD] = _sane(channels.period_ns)
    whole[:, layout.SETTLE] = _sane(channels.settle_ns)
    whole[:, layout.FIRST_RULE] = first[:-1]
    whole[:, layout.END_RULE] = first[1:]
    for word, column in (
        (layout.LOW, channels.low), (layout.HIGH, channels.high), (layout.STEP, channels.step),
        (layout.RATE, channels.rate), (layout.ROLLOVER, channels.rollover), (layout.BAND, channels.band),
    ):  # fmt: skip
        number[:, word] = column
    tuning = np.zeros((n, layout.TUNINGS))
    tuning[:, layout.TARGET] = channels.target
    tuning[:, layout.SIZE] = channels.size
    tuning[:, layout.SPAN] = _sane(channels.span_ns)
    own = np.where(whole[:, layout.DETECTOR] == detectors.DEFAULT, detect.ONSET_SCORE, detectors.ONSET_SCORE)
    tuning[:, layout.ONSET] = np.where(np.isnan(channels.onset), own, channels.onset)
    return Settings(
        whole,
        number,
        tuning,
        np.column_stack(
            [np.asarray(a, np.int64) for a in (conditions.op, conditions.hold_ns, conditions.clear_hold_ns)]
        ).copy(),
        np.column_stack([np.asarray(a, np.float64) for a in (conditions.threshold, conditions.clear)]).copy(),
    )


def fresh_state(n: int, m: int, settings: Settings, start_ns: int, align_ns: int) -> State:
    """Nothing known yet, every window open from `start_ns`."""
    whole, number = _two_views(n, layout.WORDS)
    evidence_whole, evidence_number = _two_views(n, 2 * DEPTH)
    length = settings.whole[:, layout.WINDOW]
    whole[:, layout.SEEN] = NEVER
    number[:, layout.LAST] = math.nan
    number[:, summary.MIN] = math.inf
    number[:, summary.MAX] = -math.inf
    number[:, (summary.FIRST, summary.LAST)] = math.nan
    whole[:, summary.START] = start_ns
    whole[:, summary.END] = (start_ns + align_ns) // length * length - align_ns + length
    whole[:, summary.BEFORE_NS] = NEVER
    state = State(
        number=number,
        whole=whole,
        detector=np.zeros((n, detectors.COLUMNS)),
        sketch=sketch.empty(n),
        evidence_number=evidence_number,
        evidence_whole=evidence_whole,
        rule=np.zeros((m, condition.COLUMNS), np.int64),
    )
    filter.begin(state)
    return state


def bytes_of(state: State) -> int:
    """Memory of a state; views of the same memory count once."""
    return sum(a.nbytes for a in (state.whole, state.detector, *state.sketch, state.evidence_whole, state.rule))


def output(rules: int) -> Output:
    """Room for ROOM rows of each kind; a batch that needs more is taken in several rounds."""
    first = np.array([0, ROOM, 2 * ROOM, 2 * ROOM + max(ROOM, rules)])
    whole, number = _two_views(int(first[3]), layout.OUT_WORDS)
    return Output(np.zeros(3, np.int64), first, number, whole)


def window_rows(out: Output, used: int) -> WindowRows:
    """Owned columns of the first `used` windows."""
    whole = out.whole[:used, : summary.OUT_MIN].T.copy()
    number = out.number[:used, summary.OUT_MIN : summary.OUT_P75 + 1].T.copy()
    channel, start, end, n, expected, last_ns, quality = whole
    low, high, mean, sd, first, last, p50, p95, *inner = number
    return WindowRows(
        channel.astype(np.int32), start, end, n.astype(np.int32), expected.astype(np.int32),
        low, high, mean, sd, first, last, last_ns, p50, p95, quality.astype(np.uint8), *inner,
    )  # fmt: skip


def alert_rows(out: Output, used: int) -> Alerts:
    a, b = int(out.first[1]), int(out.first[1]) + used
    w, x = out.whole[a:b, :4].T.copy(), out.number[a:b, 4:7].T.copy()
    return Alerts(w[0].astype(np.int32), w[1], w[2].astype(np.uint8), x[0], x[1], x[2], w[3].astype(np.uint8))


def change_rows(out: Output, used: int) -> Changes:
    a, b = int(out.first[2]), int(out.first[2]) + used
    w, x = out.whole[a:b, :4].T.copy(), out.number[a:b, 4].copy()
    return Changes(w[0].astype(np.int32), w[1], w[2].astype(np.uint8), w[3], x)


def joined(parts: list[Any], empty: Any) -> Any:
    if len(parts) < 2:
        return parts[0] if parts else empty
    return type(empty)(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


_NOTHING = output(0)
NO_WINDOWS = window_rows(_NOTHING, 0)
NO_ALERTS = alert_rows(_NOTHING, 0)
NO_CHANGES = change_rows(_NOTHING, 0)

"""The whole chain over a batch of mixed channels in one kernel call: readings in, marks and rows out.

Gate, Hampel filter, detector, window summary, conditions and evidence see every reading in the order given.
All state is held here, in columns; nothing is known of clocks, devices or names. Results are owned by the
caller.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import numpy as np

from fastpath import band, condition, detect, detectors, filter, learnt, summary
from fastpath.columns import F8, I4, I8, U1, column
from fastpath.jit import inner, kernel
from fastpath.layout import (
    DETECTOR,
    END_RULE,
    FAR_NS,
    FILTERED,
    FIRST_RULE,
    GATHERED,
    KIND,
    NEVER,
    ONSET,
    PERIOD,
    ROLLOVER,
    RULE_CLEAR,
    RULE_CLEAR_HOLD,
    RULE_HOLD,
    RULE_OP,
    RULE_THRESHOLD,
    SEEN,
    WINDOW,
    Output,
    Settings,
    State,
)
from fastpath.loop import LoopBank
from fastpath.marks import FILTERED as FILTERED_MARK
from fastpath.marks import MISSING, NO_NUMBER, RANGE, STALE
from fastpath.ring import recall, remember
from fastpath.sketch import Sketch
from fastpath.tables import (
    NO_ALERTS,
    NO_CHANGES,
    NO_WINDOWS,
    Alerts,
    Changes,
    ChannelParams,
    ConditionParams,
    Pushed,
    WindowRows,
    alert_rows,
    bytes_of,
    change_rows,
    channel_params,
    fresh_state,
    joined,
    output,
    settings_of,
    window_rows,
)

__all__ = [
    "Alerts",
    "Chain",
    "Changes",
    "ChannelParams",
    "ConditionParams",
    "Pushed",
    "WindowRows",
    "channel_params",
    "warm",
]


@inner
def filtered(settings: Settings, state: State, c: int, which: int, t: int, x: float, elapsed: int) -> tuple[int, float]:
    """SPIKE or nothing, and the value to go on with."""
    if which == filter.EWMA:
        return 0, filter.ewma(settings, state, c, x, elapsed)
    if which == filter.DEADBAND:
        return 0, filter.deadband(settings, state, c, x)
    if which == filter.DEBOUNCE:
        return 0, filter.debounce(settings, state, c, t, x)
    bits = filter.hampel(state, c, x)
    if which == filter.MEDIAN or (which == filter.HAMPEL_REPLACE and bits != 0):
        return bits, filter.median(state, c)
    return bits, x


@inner
def alert(out: Output, row: int, c: int, t: int, which: int, onset: bool, score: float, x: float, usual: float) -> None:
    place = out.first[1] + row
    out.whole[place, 0] = c
    out.whole[place, 1] = t
    out.whole[place, 2] = 1 if onset else 0
    out.whole[place, 3] = which
    out.number[place, 4] = score
    out.number[place, 5] = x
    out.number[place, 6] = usual


@kernel
def push_batch(
    start: int, align: int, channel: I4, time_ns: I8, value: F8, quality: U1, mark: U1, score: F8, kept: F8,
    settings: Settings, state: State, out: Output,
) -> int:  # fmt: skip
    """Readings from `start` on. Gives the first not taken for want of room; -1 - i if reading i has no channel."""
    n = settings.whole.shape[0]
    room_windows = out.first[1] - summary.ROWS_A_READING
    room_alerts = out.first[2] - out.first[1]
    room_changes = out.first[3] - out.first[2]
    windows = 0
    alerts = 0
    changes = 0
    i = start
    while i < channel.size:
        c = np.int64(channel[i])
        if c < 0 or c >= n:
            i = -1 - i
            break
        kind = settings.whole[c, KIND]
        if kind == summary.WAVEFORM:
            mark[i] = 0
            kept[i] = value[i]
            i += 1
            continue
        first_rule = settings.whole[c, FIRST_RULE]
        end_rule = settings.whole[c, END_RULE]
        if windows > room_windows or alerts >= room_alerts or changes + end_rule - first_rule > room_changes:
            break
        t = min(max(time_ns[i], -FAR_NS), FAR_NS)
        x = value[i]
        q = np.int64(quality[i])
        period = settings.whole[c, PERIOD]
        detector = settings.whole[c, DETECTOR]
        if t >= state.whole[c, summary.END]:
            windows = summary.roll(state, c, kind, period, settings.whole[c, WINDOW], align, t, out, windows)
        if q >= NO_NUMBER or not math.isfinite(x):
            mark[i] = MISSING
            kept[i] = math.nan
            summary.count_missing(state, c, q)
            if detector == detectors.MISSING:
                verdict, level, usual = detectors.step(settings, state, c, t, math.nan, False, align)
                score[i] = level
                if verdict != detectors.NOTHING:
                    alert(out, alerts, c, t, detector, verdict == detectors.ONSET, level, math.nan, usual)
                    alerts += 1
            i += 1
            continue

        before = state.whole[c, SEEN]
        state.whole[c, SEEN] = t
        bits = STALE if before != NEVER and t <= before else 0
        remember(state, c, t, x)
        bits |= filter.gate(settings, state, c, kind == summary.COUNTER, t, x)
        if not bits & (RANGE | STALE):
            if settings.whole[c, FILTERED] != filter.NONE:
                spike, instead = filtered(settings, state, c, settings.whole[c, FILTERED], t, x, t - before)
                bits |= spike
                if instead != x:
                    bits |= FILTERED_MARK
                    x = instead
            if detector != detectors.NONE:
                gap = period > 0 and before != NEVER and t - before > detect.GAP_PERIODS * period
                if detector == detectors.DEFAULT:
                    verdict, level = detect.step(state.detector, c, t, x, gap, align, settings.tuning[c, ONSET])
                    usual = state.detector[c, detect.EXPECTED]
                else:
                    verdict, level, usual = detectors.step(settings, state, c, t, x, gap, align)
                score[i] = level
                if verdict != detectors.NOTHING:
                    alert(out, alerts, c, t, detector, verdict == detectors.ONSET, level, x, usual)
                    alerts += 1
        mark[i] = bits
        kept[i] = math.nan if bits & RANGE else x
        summary.count(state, c, kind, t, x, q, bits, settings.number[c, ROLLOVER])
        for j in range(first_rule, end_rule):
            change = condition.judge(
                state.rule, j, t, x, settings.rule_whole[j, RULE_OP],
                settings.rule_number[j, RULE_THRESHOLD], settings.rule_number[j, RULE_CLEAR],
                settings.rule_whole[j, RULE_HOLD], settings.rule_whole[j, RULE_CLEAR_HOLD],
            )  # fmt: skip
            if change != condition.NOTHING:
                place = out.first[2] + changes
                out.whole[place, 0] = j
                out.whole[place, 1] = t
                out.whole[place, 2] = 1 if change == condition.ONSET else 0
                out.whole[place, 3] = state.rule[j, condition.SINCE]
                out.number[place, 4] = x
                changes += 1
        i += 1
    out.used[0] = windows
    out.used[1] = alerts
    out.used[2] = changes
    return i


@kernel
def close_windows(
    start: int, align: int, now: int, partial: bool, settings: Settings, state: State, out: Output
) -> int:
    """Close what ended by `now`, with `partial` what is open, too. Gives the first channel there was no room for."""
    n = settings.whole.shape[0]
    windows = 0
    c = start
    while c < n:
        kind = settings.whole[c, KIND]
        if kind == summary.WAVEFORM:
            c += 1
            continue
        if windows + summary.ROWS_A_READING + 1 > out.first[1]:
            break
        period = settings.whole[c, PERIOD]
        if now >= state.whole[c, summary.END]:
            windows = summary.roll(state, c, kind, period, settings.whole[c, WINDOW], align, now, out, windows)
        if partial:
            opened = state.whole[c, summary.START]
            end = max(now, opened)
            rows = state.whole[c, summary.ROWS]
            if rows > 0 or summary.expected_in(end - opened, period, 0) > 0:
                summary.close(state, c, kind, period, end, out, windows)
                windows += 1
                state.whole[c, summary.START] = end
        c += 1
    out.used[0] = windows
    return c


_I4, _I8, _F8, _U1 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.uint8)


class Chain:
    """State and settings of n channels and m conditions. Windows begin at `start_ns`, then lie on the grid.

    Raises ValueError when columns differ in length, a window is not positive, or conditions are not sorted
    or name no channel.
    """

    def __init__(
        self, channels: ChannelParams, conditions: ConditionParams, *, start_ns: int, align_ns: int = 0
    ) -> None:
        self._settings = settings_of(channels, conditions)
        if abs(start_ns) > FAR_NS or abs(align_ns) > FAR_NS:
            raise ValueError("start_ns and align_ns are times of this century")
        self._align_ns = int(align_ns)
        n, m = len(channels.kind), len(conditions.channel)
        rules = int((self._settings.whole[:, END_RULE] - self._settings.whole[:, FIRST_RULE]).max(initial=0))
        self._state = fresh_state(n, m, self._settings, int(start_ns), self._align_ns)
        self._out = output(rules)

    def push(self, channel: I4, time_ns: I8, value: F8, quality: U1) -> Pushed:
        """All readings of a batch, in order. Raises IndexError for a channel that is not there (what came
        before it is taken), ValueError for columns of different lengths."""
        channel, time_ns = column(channel, _I4), column(time_ns, _I8)
        value, quality = column(value, _F8), column(quality, _U1)
        n = channel.size
        if not n == time_ns.size == value.size == quality.size:
            raise ValueError("the four columns of a batch have one length")
        mark, score, kept = np.empty(n, np.uint8), np.zeros(n), np.empty(n)
        windows: list[WindowRows] = []
        alerts: list[Alerts] = []
        changes: list[Changes] = []
        out = self._out
        at = 0
        while at < n:
            at = push_batch(
                at, self._align_ns, channel, time_ns, value, quality, mark, score, kept,
                self._settings, self._state, out,
            )  # fmt: skip
            w, a, c = out.used.tolist()
            if w:
                windows.append(window_rows(out, w))
            if a:
                alerts.append(alert_rows(out, a))
            if c:
                changes.append(change_rows(out, c))
            if at < 0:
                raise IndexError(f"reading {-1 - at} names channel {int(channel[-1 - at])}")
        return Pushed(
            mark,
            score,
            kept,
            joined(windows, NO_WINDOWS),
            joined(alerts, NO_ALERTS),
            joined(changes, NO_CHANGES),
        )

    def close_due(self, now_ns: int) -> WindowRows:
        """Windows whose end has passed, of silent channels too."""
        return self._close(self._state, now_ns, partial=False)

    def close_all(self, now_ns: int) -> WindowRows:
        """The same, and the open windows up to now, but for those in which nothing came or was due."""
        return self._close(self._state, now_ns, partial=True)

    def open_windows(self, now_ns: int) -> WindowRows:
        """What `close_all` would give now; the windows stay open."""
        state = self._state
        whole = state.whole.copy()
        sketches = Sketch(state.sketch.mean.copy(), state.sketch.weight.copy(), state.sketch.fill.copy())
        copied = state._replace(whole=whole, number=whole.view(np.float64), sketch=sketches)
        return self._close(copied, now_ns, partial=True)

    def evidence(self, channel: int, count: int) -> tuple[I8, F8]:
        """The last `count` raw readings of a channel (at most 32), oldest first."""
        return recall(self._state, channel, count)

    def kept(self) -> F8:
        """f64[n]: the latest value of each channel after its filter, NaN where its open window has none."""
        return self._state.number[:, summary.LAST].copy()

    def band(self) -> tuple[F8, F8]:
        """f64[n] twice: between which values the next reading would be nothing new. See `fastpath.band`."""
        return band.band(self._settings, self._state)

    def gathered(self, channel: int) -> int:
        """How many raw readings of a channel there ever were."""
        return int(self._state.whole[channel, GATHERED])

    def learnt(self, channels: Iterable[int] | None = None) -> dict[int, bytes]:
        """What channels (all, if none are named) have learnt: gate, filter and detector, not the open window. Channels
        that have read nothing are left out."""
        seen = self._state.whole[:, SEEN]
        rows = range(len(seen)) if channels is None else channels
        return {
            c: learnt.channel_bytes(self._settings, self._state, self._align_ns, c) for c in rows if seen[c] != NEVER
        }

    def restore_learnt(self, channel: int, blob: bytes) -> bool:
        """Start `channel` with what `learnt` gave before a restart; False, and nothing changed, where it was learnt by
        other code or under other settings."""
        return learnt.restore_channel(self._settings, self._state, self._align_ns, channel, blob)

    def conditions_learnt(self) -> dict[int, bytes]:
        """Where conditions stand that are met, or on their way to be."""
        standing = np.flatnonzero(self._state.rule[:, : condition.SINCE].any(axis=1)).tolist()
        return {j: learnt.condition_bytes(self._settings, self._state, self._align_ns, j) for j in standing}

    def restore_condition_learnt(self, index: int, blob: bytes) -> bool:
        """Start condition `index` where it stood before a restart, a hold that is running included; False, and nothing
        changed, where it was another condition."""
        return learnt.restore_condition(self._settings, self._state, self._align_ns, index, blob)

    def is_met(self, index: int) -> bool:
        """Whether condition `index` is met."""
        return bool(self._state.rule[index, condition.MET])

    def restore_condition(self, index: int, met: bool, since_ns: int) -> None:
        """Start condition `index` as met: its alarm stood before the restart."""
        rule = self._state.rule
        rule[index, condition.MET] = int(met)
        rule[index, condition.RUNNING] = 0
        rule[index, condition.SINCE] = min(max(int(since_ns), -FAR_NS), FAR_NS)

    def restore_alert(self, channel: int) -> None:
        """Start the detector of `channel` within an onset: its alarm stood before the restart. It clears once the
        channel is calm by the habits it then learns."""
        detectors.stand(self._settings, self._state, channel)

    @property
    def nbytes(self) -> int:
        """Bytes of state, evidence included."""
        return bytes_of(self._state)

    @property
    def evidence_nbytes(self) -> int:
        """Bytes of the evidence rings."""
        return self._state.evidence_whole.nbytes

    def _close(self, state: State, now_ns: int, *, partial: bool) -> WindowRows:
        n = len(self._settings.whole)
        now = min(max(int(now_ns), -FAR_NS), FAR_NS)
        parts: list[WindowRows] = []
        out = self._out
        at = 0
        while at < n:
            at = close_windows(at, self._align_ns, now, partial, self._settings, state, out)
            w = int(out.used[0])
            if w:
                parts.append(window_rows(out, w))
        rows: WindowRows = joined(parts, NO_WINDOWS)
        return rows


def warm(*, loops: bool = True) -> float:
    """Compile the kernels (those of inductive loops if wanted) or load them from the cache. Gives the seconds."""
    begin = time.perf_counter()
    one, span = np.ones(1), np.ones(1, np.int64)
    rules = ConditionParams(np.zeros(1, np.int32), np.ones(1, np.uint8), one, one, span, span)
    chain = Chain(channel_params(1, filter=1, detector=1), rules, start_ns=0)
    chain.push(np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.uint8))
    chain.close_all(1)
    if loops:
        LoopBank(1, 100.0).push(np.zeros((1, 1)))
    return time.perf_counter() - begin

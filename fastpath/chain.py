"""The whole chain over a batch of mixed channels in one kernel call: readings in, marks and rows out.

Gate, Hampel filter, detector, window summary, conditions and evidence see every reading in the order given.
All state is held here, in columns; nothing is known of clocks, devices or names. Results are owned by the
caller.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from fastpath import condition, detect, filter, summary
from fastpath.columns import F8, I4, I8, U1, column
from fastpath.jit import kernel
from fastpath.loop import LoopBank
from fastpath.marks import MISSING, NO_NUMBER, RANGE, STALE
from fastpath.ring import recall, remember
from fastpath.tables import (
    DETECTOR,
    FAR_NS,
    FILTER,
    HIGH,
    KIND,
    LOW,
    NEVER,
    NO_ALERTS,
    NO_CHANGES,
    NO_WINDOWS,
    PERIOD,
    ROLLOVER,
    RULE_CLEAR,
    RULE_CLEAR_HOLD,
    RULE_HOLD,
    RULE_OP,
    RULE_THRESHOLD,
    STEP,
    WINDOW,
    Alerts,
    Changes,
    ChannelParams,
    ConditionParams,
    Output,
    Pushed,
    Settings,
    State,
    WindowRows,
    alert_rows,
    bytes_of,
    change_rows,
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
    "warm",
]


@kernel
def push_batch(
    start: int, align: int, channel: I4, time_ns: I8, value: F8, quality: U1, mark: U1,
    settings: Settings, state: State, out: Output,
) -> int:  # fmt: skip
    """Readings from `start` on. Gives the first not taken for want of room; -1 - i if reading i has no channel."""
    n = settings.first.size - 1
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
            i += 1
            continue
        first_rule = settings.first[c]
        end_rule = settings.first[c + 1]
        if (
            windows + summary.ROWS_A_READING > out.window.whole.shape[0]
            or alerts + 1 > out.alert_whole.shape[0]
            or changes + end_rule - first_rule > out.change_whole.shape[0]
        ):
            break
        t = min(max(time_ns[i], -FAR_NS), FAR_NS)
        x = value[i]
        q = np.int64(quality[i])
        period = settings.whole[c, PERIOD]
        if t >= state.window.whole[c, summary.END]:
            windows = summary.roll(
                state.window, c, kind, period, settings.whole[c, WINDOW], align, t, out.window, windows,
            )  # fmt: skip
        if q >= NO_NUMBER or not math.isfinite(x):
            mark[i] = MISSING
            summary.count_missing(state.window, c, q)
            i += 1
            continue

        before = state.seen[c]
        state.seen[c] = t
        bits = STALE if before != NEVER and t <= before else 0
        remember(state.evidence_time, state.evidence_value, state.evidence_count, c, t, x)
        bits |= filter.gate(
            state.gate, c, kind == summary.COUNTER, x,
            settings.number[c, LOW], settings.number[c, HIGH], settings.number[c, STEP],
        )  # fmt: skip
        if kind == summary.GAUGE and not bits & (RANGE | STALE):
            if settings.whole[c, FILTER] != 0:
                bits |= filter.hampel(state.hampel, state.hampel_count, c, x)
            if settings.whole[c, DETECTOR] != 0:
                gap = period > 0 and before != NEVER and t - before > detect.GAP_PERIODS * period
                verdict, score = detect.step(state.detector, c, x, gap)
                if verdict != detect.NOTHING:
                    out.alert_whole[alerts, 0] = c
                    out.alert_whole[alerts, 1] = t
                    out.alert_whole[alerts, 2] = 1 if verdict == detect.ONSET else 0
                    out.alert_number[alerts, 0] = score
                    out.alert_number[alerts, 1] = x
                    out.alert_number[alerts, 2] = state.detector[c, detect.EXPECTED]
                    alerts += 1
        mark[i] = bits
        summary.count(
            state.window, c, kind, t, x, q, bits, settings.number[c, ROLLOVER],
        )  # fmt: skip
        for j in range(first_rule, end_rule):
            change = condition.judge(
                state.rule, j, t, x, settings.rule_whole[j, RULE_OP],
                settings.rule_number[j, RULE_THRESHOLD], settings.rule_number[j, RULE_CLEAR],
                settings.rule_whole[j, RULE_HOLD], settings.rule_whole[j, RULE_CLEAR_HOLD],
            )  # fmt: skip
            if change != condition.NOTHING:
                out.change_whole[changes, 0] = j
                out.change_whole[changes, 1] = t
                out.change_whole[changes, 2] = 1 if change == condition.ONSET else 0
                out.change_whole[changes, 3] = state.rule[j, condition.SINCE]
                out.change_value[changes] = x
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
    n = settings.first.size - 1
    windows = 0
    c = start
    while c < n:
        kind = settings.whole[c, KIND]
        if kind == summary.WAVEFORM:
            c += 1
            continue
        if windows + summary.ROWS_A_READING + 1 > out.window.whole.shape[0]:
            break
        period = settings.whole[c, PERIOD]
        if now >= state.window.whole[c, summary.END]:
            windows = summary.roll(
                state.window, c, kind, period, settings.whole[c, WINDOW], align, now, out.window, windows,
            )  # fmt: skip
        if partial:
            opened = state.window.whole[c, summary.START]
            end = max(now, opened)
            rows = state.window.whole[c, summary.ROWS]
            if rows > 0 or summary.expected_in(end - opened, period, 0) > 0:
                summary.close(
                    state.window, c, kind, period, end, out.window, windows,
                )  # fmt: skip
                windows += 1
                state.window.whole[c, summary.START] = end
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
        rules = int(np.diff(self._settings.first).max(initial=0))
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
        mark = np.empty(n, np.uint8)
        windows: list[WindowRows] = []
        alerts: list[Alerts] = []
        changes: list[Changes] = []
        out = self._out
        at = 0
        while at < n:
            at = push_batch(
                at, self._align_ns, channel, time_ns, value, quality, mark, self._settings, self._state, out
            )
            w, a, c = out.used.tolist()
            if w:
                windows.append(window_rows(out.window, w))
            if a:
                alerts.append(alert_rows(out.alert_whole[:a], out.alert_number[:a]))
            if c:
                changes.append(change_rows(out.change_whole[:c], out.change_value[:c]))
            if at < 0:
                raise IndexError(f"reading {-1 - at} names channel {int(channel[-1 - at])}")
        return Pushed(
            mark,
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
        copied = state._replace(window=_copied(state.window))
        return self._close(copied, now_ns, partial=True)

    def evidence(self, channel: int, count: int) -> tuple[I8, F8]:
        """The last `count` raw readings of a channel (at most 32), oldest first."""
        state = self._state
        return recall(state.evidence_time, state.evidence_value, state.evidence_count, channel, count)

    def restore_condition(self, index: int, met: bool, since_ns: int) -> None:
        """Start condition `index` as met: its alarm stood before the restart."""
        rule = self._state.rule
        rule[index, condition.MET] = int(met)
        rule[index, condition.RUNNING] = 0
        rule[index, condition.SINCE] = min(max(int(since_ns), -FAR_NS), FAR_NS)

    def restore_alert(self, channel: int) -> None:
        """Start the detector of `channel` within an onset: its alarm stood before the restart. It clears once the
        channel is calm by the habits it then learns."""
        self._state.detector[channel, detect.ACTIVE] = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of state."""
        return bytes_of(self._state)

    def _close(self, state: State, now_ns: int, *, partial: bool) -> WindowRows:
        n = self._settings.first.size - 1
        now = min(max(int(now_ns), -FAR_NS), FAR_NS)
        parts: list[WindowRows] = []
        out = self._out
        at = 0
        while at < n:
            at = close_windows(at, self._align_ns, now, partial, self._settings, state, out)
            w = int(out.used[0])
            if w:
                parts.append(window_rows(out.window, w))
        rows: WindowRows = joined(parts, NO_WINDOWS)
        return rows


def _copied(columns: Any) -> Any:
    """Columns, or named tuples of columns, with memory of their own."""
    return columns.copy() if isinstance(columns, np.ndarray) else type(columns)(*map(_copied, columns))


def warm(*, loops: bool = True) -> float:
    """Compile the kernels (those of inductive loops if wanted) or load them from the cache. Gives the seconds."""
    begin = time.perf_counter()
    zero, one = np.zeros(1), np.ones(1)
    flag, span = np.ones(1, np.uint8), np.ones(1, np.int64)
    channels = ChannelParams(np.zeros(1, np.uint8), flag, flag, zero, one, one, one, span, span)
    rules = ConditionParams(np.zeros(1, np.int32), flag, one, one, span, span)
    chain = Chain(channels, rules, start_ns=0)
    chain.push(np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.uint8))
    chain.close_all(1)
    if loops:
        LoopBank(1, 100.0).push(np.zeros((1, 1)))
    return time.perf_counter() - begin

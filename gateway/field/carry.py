"""Meters are exchanged, totals go on: an offset for each counter whose meter was replaced.

In: batches as they come from the links. Out: batches in which carried counters count on from the old meter. Where a
device's maintenance is on and its counter falls, its readings are withheld until somebody says what the exchange was:
no total jumps. A counter that is not carried passes untouched. One file in the state folder.

    total = (reading + offset) modulo rollover        modulo only where the profile gives a rollover
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.site.plan import Kind, Plan
from gateway.wire import state
from protocols.api import Batch, Quality

log = logging.getLogger("citygate.field")

FILE = "carried.json"
SENTINEL = int(Quality.SENTINEL)
RECENT_NS = 86_400_000_000_000  # an older fall was something else than the exchange that is told now
TURNED = 0.05  # a counter that fell has rolled over where it thereby advanced by less than so much of its range


class Carry:
    """`is_on(device)`: whether its maintenance is on. By channel: `raw` the last count as the meter has it, `total` the
    last that was handed on; NaN for none."""

    def __init__(self, plan: Plan, folder: Path, is_on: Callable[[str], bool]) -> None:
        self._plan, self._folder, self._is_on = plan, folder, is_on
        n = len(plan.channels)
        self._counts = np.array([c.kind is Kind.COUNTER and not c.derived for c in plan.channels], bool)
        self._has_counters = bool(self._counts.any())
        self._offset = [0.0] * n
        self._rollover = [c.rollover for c in plan.channels]
        self.raw, self.total = [math.nan] * n, [math.nan] * n
        self._before: dict[int, tuple[float, int]] = {}  # channels that fell: total before, and when
        self.withheld: set[int] = set()  # channels whose new meter nobody has told of yet
        self._file: dict[str, dict[str, Any]] = {}
        self._restore()

    def take(self, batch: Batch) -> Batch:
        """`batch` with its carried counters counted on. A batch has few counters: plain numbers cost a fifth of what
        columns would."""
        if not self._has_counters:
            return batch
        rows = self._counts[batch.channel].nonzero()[0]
        if not len(rows):
            return batch
        changed: list[tuple[int, float]] = []  # rows with another value than the meter's
        columns = (rows, *(column[rows] for column in batch))
        for row, channel, time_ns, raw, quality in zip(*(column.tolist() for column in columns), strict=True):
            if quality >= SENTINEL or not math.isfinite(raw):
                continue
            self.raw[channel] = raw
            total = self.total_of(channel, raw)
            if total < self.total[channel] or channel in self.withheld:
                self._fell(channel, total, time_ns)
                if channel in self.withheld:
                    changed.append((row, math.nan))
                    continue
            self.total[channel] = total
            if total != raw:
                changed.append((row, total))
        return _changed(batch, changed) if changed else batch

    def replaced(
        self, old: Mapping[int, float], new: Mapping[int, float], facts: Mapping[str, Any], now_ns: int
    ) -> tuple[dict[int, float], list[int]]:
        """Count on from `old` where the new meter showed `new`, by channel; `facts` are kept beside. The offsets, and
        the channels of which readings of the new meter have already passed. Raises OSError; then nothing is
        changed."""
        names = self._plan.channels
        offsets = {channel: old[channel] - new[channel] for channel in old}
        content = dict(self._file)
        for channel, offset in offsets.items():
            content[names[channel].name] = {"offset": offset, "old": old[channel], "new": new[channel], **facts}
        state.write(self._folder, FILE, {"counters": content})
        self._file = content
        passed = [c for c in offsets if c not in self.withheld and math.isfinite(self.before(c, now_ns))]
        for channel, offset in offsets.items():
            self._offset[channel] = offset
            self._before.pop(channel, None)
            self.withheld.discard(channel)
        return offsets, passed

    def total_of(self, channel: int, reading: float) -> float:
        """What is handed on for a reading of this channel."""
        offset = self._offset[channel]
        if not offset:
            return reading
        rollover = self._rollover[channel]
        return (reading + offset) % rollover if math.isfinite(rollover) else reading + offset

    def shown(self) -> dict[str, Any]:
        """Carried counters, for the control socket."""
        names = {channel.name for channel in self._plan.channels}
        waiting = sorted(self._plan.channels[channel].name for channel in self.withheld)
        return {
            "counters": {name: dict(facts) for name, facts in self._file.items() if name in names},
            "withheld": waiting,
        }

    def before(self, channel: int, now_ns: int) -> float:
        """The total before the counter fell for no reason within the last day; NaN where it did not."""
        total, fell_ns = self._before.get(channel, (math.nan, 0))
        return total if now_ns - fell_ns < RECENT_NS else math.nan

    def _fell(self, channel: int, total: float, time_ns: int) -> None:
        """The counter is below its last total, or its readings are withheld already."""
        one = self._plan.channels[channel]
        if channel in self.withheld and not self._is_on(one.device):
            self.withheld.discard(channel)
            log.warning("%s: maintenance is over, the counter begins anew", one.name)
            return
        fell, rollover = self.total[channel] - total, self._rollover[channel]
        is_turn = math.isfinite(rollover) and rollover - fell < TURNED * rollover
        if fell <= 0 or is_turn:
            self.withheld.discard(channel)  # it has the old count again: a bad reading, no exchange
        elif channel not in self.withheld:
            self._before[channel] = (self.total[channel], time_ns)
            if self._is_on(one.device):
                self.withheld.add(channel)
                log.warning("%s fell by %g: withheld until citygate replace", one.name, fell)

    def _restore(self) -> None:
        """A file that cannot be read leaves meters as they count, and says so: totals then show a reset."""
        path = self._folder / FILE
        try:
            self._file = dict(json.loads(path.read_text())["counters"])
            offsets = {name: float(facts["offset"]) for name, facts in self._file.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as bad:
            log.error("CG-5145 %s cannot be read (%s): replaced meters count from their own start", path, bad)
            self._file = {}
            return
        for channel in self._plan.channels:
            self._offset[channel.index] = offsets.get(channel.name, 0.0)


def _changed(batch: Batch, changed: Sequence[tuple[int, float]]) -> Batch:
    value, quality = batch.value.copy(), batch.quality.copy()
    for row, number in changed:
        value[row] = number
        if math.isnan(number):
            quality[row] = int(Quality.NOT_POLLED)
    return batch._replace(value=value, quality=quality)

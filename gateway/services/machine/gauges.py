"""One machine's gauges judged together. In: rows of readings. Out: when it stops running as usual, and when it does so
again. Everything counts in rows, so a machine read once a minute is judged as one read every second, only slower.

A gauge takes part once it has given its reference; one that comes later than the others joins them. While no alarm
stands its reference grows, and its habits are learnt again at twice and four times the length: a few minutes do not
show how far a machine that warms up will wander. An alarm that stands for `patience_rows` is given up and all is
learnt anew: the machine may have been changed for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fastpath import joint
from gateway.services.watch import Finding, Row
from gateway.site.plan import Kind, Plan, SiteDevice
from gateway.site.settings import MachineSettings
from gateway.spool.records import Phase

CODE = "machine.joint"
LESSONS = (1, 2, 4)  # references after which habits are learnt


def joint_gauges(plan: Plan, device: SiteDevice) -> list[int]:
    """Channel rows of the gauges that are judged together; none where the site does not ask for it."""
    if not device.joint:
        return []
    return [i for i in device.channels if plan.channels[i].kind is Kind.GAUGE and not plan.channels[i].derived]


class MachineWatch:
    """A `Watch` over the gauges of one device."""

    LEARNT: ClassVar[tuple[str, ...]] = ("gauges", "machine", "reference", "taken", "since_s")
    PARTS: ClassVar[tuple[type, ...]] = ()

    def __init__(self, plan: Plan, device: SiteDevice) -> None:
        settings: MachineSettings = plan.services.machine
        self.channels: Sequence[int] = joint_gauges(plan, device)
        self.name = f"machine/{device.name}"
        self.step_s = max(settings.step_s, *(plan.channels[i].period_s for i in self.channels))
        self._settings = settings
        self._device = device
        self._words = [plan.channels[i].point for i in self.channels]
        self._resolution = [plan.channels[i].resolution for i in self.channels]
        self.gauges, self.machine = joint.empty(len(self.channels))
        self.reference = np.zeros((len(self.channels), LESSONS[-1] * settings.reference_rows))
        self.taken = np.zeros(len(self.channels), np.int64)  # readings of the reference so far, a gauge
        self.since_s = float("nan")  # when the score last rose above the clearing level
        joint.warm()

    def row(self, utc_s: float, values: Row) -> Sequence[Finding]:
        limits = self._settings
        code = joint.step(
            self.gauges,
            self.machine,
            np.ascontiguousarray(values, np.float64),
            limits.onset_score,
            limits.clear_score,
            float(limits.calm_rows),
            float(limits.patience_rows),
        )
        if self.machine[joint.ACTIVE] == 0.0 or code == joint.ONSET:
            self._rising(utc_s)
        if self.machine[joint.ACTIVE] == 0.0 and (self.taken < self.reference.shape[1]).any():
            self._learn(values)
        if code == joint.NOTHING:
            return ()
        if code == joint.ONSET:
            return (self._onset(utc_s, values),)
        given_up = code == joint.GIVEN_UP
        if given_up:
            self._begin_anew()
        return (self._clear(utc_s, given_up),)

    def _rising(self, utc_s: float) -> None:
        if self.machine[joint.SCORE] < self._settings.clear_score:
            self.since_s = float("nan")
        elif not self.since_s <= utc_s:  # NaN, or a clock that stepped back
            self.since_s = utc_s

    def _learn(self, values: Row) -> None:
        """One more reading for the reference of each gauge that has not given all of it."""
        lessons = [times * self._settings.reference_rows for times in LESSONS]
        for column, value in enumerate(values.tolist()):
            if self.taken[column] == lessons[-1] or not abs(value) <= joint.FAR:
                continue
            self.reference[column, self.taken[column]] = value
            self.taken[column] += 1
            taken = int(self.taken[column])
            if taken not in lessons:
                continue
            learnt = joint.habits(self.reference[column, :taken], self._resolution[column])
            if learnt is not None:
                self.gauges[column] = learnt
            else:
                self.taken[column] = 0  # a gauge that never moved is watched until it does
            if taken == lessons[-1]:
                self.reference[column] = 0.0

    def _begin_anew(self) -> None:
        self.gauges, self.machine = joint.empty(len(self.channels))
        self.taken[:] = 0

    def _onset(self, utc_s: float, values: Row) -> Finding:
        worth = np.maximum(self.gauges[:, joint.WORTH], 0.0)
        first, second = np.argsort(-worth, kind="stable")[:2].tolist()
        total = float(worth.sum())
        numbers: dict[str, float | str] = {
            "score": float(self.machine[joint.SCORE]),
            "limit": self._settings.onset_score,
        }
        for which, column in (("first", first), ("second", second)):
            numbers[which] = self._words[column]
            numbers[f"{which}_share"] = 100.0 * float(worth[column]) / total
            numbers[f"{which}_value"] = float(values[column])
            numbers[f"{which}_usual"] = float(self.gauges[column, joint.LEVEL])
        since_s = self.since_s if self.since_s <= utc_s else utc_s
        return self._finding(Phase.ONSET, since_s, numbers, (first, second))

    def _clear(self, utc_s: float, given_up: bool) -> Finding:
        numbers: dict[str, float | str] = {
            "how_en": "has settled in a new state, which is learnt as usual" if given_up else "runs as usual again",
            "how_ko": "새로운 상태로 지속되어 정상으로 재학습" if given_up else "정상 운전 회복",
        }
        return self._finding(Phase.CLEAR, utc_s, numbers, ())

    def _finding(
        self, phase: Phase, since_s: float, numbers: dict[str, float | str], columns: tuple[int, ...]
    ) -> Finding:
        return Finding(
            code=CODE,
            phase=phase,
            subject=self._device.name,
            place=self._device.place,
            since_s=since_s,
            score=float(self.machine[joint.SCORE]),
            numbers=numbers,
            columns=columns,
        )

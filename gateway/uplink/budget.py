"""What a SIM card may carry in a calendar month: counts it, foresees the month, and says what to leave out.

In: bytes as they pass, a clock that goes on evenly, the local time where it can be trusted. Out: a `Step`, a forecast.
A file beside the spool keeps the count over restarts and power cuts: like an OSCORE sequence it promises more than was
used, so that it never says too little. Sends nothing itself.

Steps, each saving more than the one before; alarms go out at once in every one of them:

    FULL       everything
    HISTORY    a backlog's older half stays in the spool; what is older than HISTORY_S there is not sent
    MINUTES    windows of ten minutes, merged in the spool and declared there ("thinned to 10 min")
    HOURS      windows of an hour
    ALARMS     alarms, hellos and this step's own announcement

The forecast is what was used and what the rest of the month takes at the rate measured in that step (backlogs apart,
which come once). A stricter step is taken when the forecast exceeds the budget, a milder one when that would keep
within 90 % of it. A new month begins at FULL. While the clock cannot be trusted bytes are counted and no month begins.
"""

from __future__ import annotations

import calendar
import json
import logging
import math
import socket
import struct
import time
from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.wire import state

log = logging.getLogger("citygate.uplink")

EVERY_S = 10.0  # how often `look` looks
RATE_S = 6 * 3600.0  # what the rate of a step remembers, while in it
AGING_S = 2 * 86_400.0  # and while in another: what was busy a week ago may be calm
KNOWN_S = 600.0  # a rate measured for less is no rate
TIGHTER_S = 1800.0  # in a step before a stricter one
MILDER_S = 6 * 3600.0
FULL_SHARE, MILD_SHARE, LAST_SHARE = 0.98, 0.90, 0.98  # of the budget
AHEAD_SHARE = 0.10  # of the budget that a backlog may be ahead of the calendar
RESERVE_SHARE, RESERVE = 0.001, (2_000, 1_000_000)  # of the budget, bytes promised ahead in the file
HISTORY_S = 900.0
TRUSTED_NS = 300 * 1_000_000_000


class Step(IntEnum):
    FULL = 0
    HISTORY = 1
    MINUTES = 2
    HOURS = 3
    ALARMS = 4


WORDS = {
    Step.FULL: ("everything is sent", "모두 전송합니다"),
    Step.HISTORY: ("history held back", "과거 데이터 전송을 보류합니다"),
    Step.MINUTES: ("windows to 10 min", "10분 단위 요약만 전송합니다"),
    Step.HOURS: ("windows to 1 h", "1시간 단위 요약만 전송합니다"),
    Step.ALARMS: ("alarms and hellos only", "경보와 생존 신호만 전송합니다"),
}
THINNED_S = {Step.MINUTES: 600, Step.HOURS: 3600}
PROMISE_S = {Step.MINUTES: 900.0, Step.HOURS: 3600.0, Step.ALARMS: 3600.0}  # hellos cost more than windows of an hour
# what a step takes of FULL, until it was measured
GUESS = {Step.FULL: 1.0, Step.HISTORY: 1.0, Step.MINUTES: 0.25, Step.HOURS: 0.08, Step.ALARMS: 0.03}


class Budget:
    """One upstream's. `local`: the local time of a clock that can be trusted, else None. `even`: seconds that no clock
    setting touches."""

    def __init__(
        self,
        folder: Path,
        upstream: str,
        monthly_mb: float,
        *,
        local: Callable[[], time.struct_time | None],
        even: Callable[[], float] = time.monotonic,
    ) -> None:
        self.upstream = upstream
        self.limit = monthly_mb * 1e6
        self._folder = folder
        self._name = file_of(upstream)
        self._local = local
        self._even = even
        low, high = RESERVE
        self._reserve = int(min(high, max(low, RESERVE_SHARE * self.limit)))
        kept = _kept(folder / self._name)
        self.month: str = kept["month"]
        self.used: int = kept["bytes"]
        self.step = Step(kept["step"])
        self._rates: dict[Step, list[float]] = {Step(int(k)): list(map(float, v)) for k, v in kept["rates"].items()}
        self._promised = self.used
        self._since_s = self._looked_s = even()
        self._live = 0
        self._unwritten = False

    # -- counting

    def carried(self, size: int, *, live: bool = True) -> None:
        """So many bytes passed, headers included; `live`: not of a backlog."""
        self.used += size
        if live:
            self._live += size
        if self.used > self._promised:
            self._keep(self.used + self._reserve)

    def close(self) -> None:
        self._keep(self.used)

    # -- foreseeing

    def look(self) -> bool:
        """Whether the step has changed."""
        now_s = self._even()
        if now_s - self._looked_s < EVERY_S:
            return False
        self._measure(now_s - self._looked_s)
        self._looked_s = now_s
        local = self._local()
        before = self.step
        if local is not None:
            self._calendar(local)
        self.step = self._wanted(local, now_s - self._since_s)
        if self.step is before:
            return False
        self._since_s = now_s
        self._keep(self.used + self._reserve)
        return True

    def forecast(self, step: Step | None = None) -> float | None:
        """Bytes at the end of the month if it went on in this step; None while that cannot be known."""
        local = self._local()
        rate = self._rate(self.step if step is None else step)
        return None if local is None or rate is None else self.used + rate * _left_s(local)

    def facts(self) -> dict[str, Any]:
        """For a health record."""
        forecast = self.forecast()
        known = {} if forecast is None else {"byte_budget_forecast_mb": round(forecast / 1e6, 3)}
        return {
            "byte_budget": f"byte budget: {WORDS[self.step][0]}",
            "byte_budget_step": int(self.step),
            "byte_budget_mb": self.limit / 1e6,
            "byte_budget_used_mb": round(self.used / 1e6, 3),
            **known,
        }

    # -- inside

    def _measure(self, length_s: float) -> None:
        faded = {self.step: [0.0, 0.0]} | self._rates
        for step, (size, seconds) in faded.items():
            fade = math.exp(-length_s / (RATE_S if step is self.step else AGING_S))
            self._rates[step] = [size * fade, seconds * fade]
        size, seconds = self._rates[self.step]
        self._rates[self.step] = [size + self._live, seconds + length_s]
        self._live = 0

    def _rate(self, step: Step) -> float | None:
        """Bytes a second; guessed from the mildest step that was measured where this one was not."""
        known = {one: size / seconds for one, (size, seconds) in self._rates.items() if seconds >= KNOWN_S}
        if step in known:
            return known[step]
        if not known:
            return None
        nearest = min(known, key=lambda one: (abs(one - step), one))
        return known[nearest] * GUESS[step] / GUESS[nearest]

    def _calendar(self, local: time.struct_time) -> None:
        """Begin a month. One that ran on a clock which was wrong keeps its bytes under its right name."""
        month = time.strftime("%Y-%m", local)
        if self.month and month > self.month:
            self.used, self._promised = 0, 0
            self.step = Step.FULL
        if month != self.month:
            self.month = month
            self._keep(self.used + self._reserve)

    def _wanted(self, local: time.struct_time | None, in_step_s: float) -> Step:
        if self.used >= LAST_SHARE * self.limit:
            return Step.ALARMS
        if local is None:
            return self.step
        ahead = self.used - self.limit * _gone(local)
        if self.step is Step.FULL and ahead > AHEAD_SHARE * self.limit:
            return Step.HISTORY
        forecast = self.forecast()
        if forecast is None:
            return self.step
        if forecast > FULL_SHARE * self.limit:
            may = self.step is Step.FULL or in_step_s >= TIGHTER_S
            return Step(min(self.step + 1, Step.ALARMS)) if may else self.step
        if self.step is Step.FULL or in_step_s < MILDER_S:
            return self.step
        milder = Step(self.step - 1)
        then = self.forecast(milder)
        fits = then is not None and then <= MILD_SHARE * self.limit and (milder is not Step.FULL or ahead <= 0)
        return milder if fits else self.step

    def _keep(self, promised: int) -> None:
        rates = {str(int(step)): [round(x, 1) for x in rate] for step, rate in self._rates.items()}
        forecast = self.forecast()
        content = {
            "upstream": self.upstream,
            "limit": int(self.limit),
            "month": self.month,
            "bytes": promised,
            "step": int(self.step),
            "forecast": None if forecast is None else round(forecast),
            "rates": rates,
        }
        self._promised = promised
        try:
            state.write(self._folder, self._name, content)
        except OSError as bad:
            if not self._unwritten:
                log.error(
                    "CG-4120 upstream %s: the byte count cannot be kept: %s / 월간 데이터 사용량을 기록할 수 없습니다",
                    self.upstream, bad,
                )  # fmt: skip
            self._unwritten = True
        else:
            self._unwritten = False


def file_of(upstream: str) -> str:
    return f"budget-{upstream}.json"


def trusted_local(known: tuple[int, int] | None, utc_s: float, zone: str = "") -> time.struct_time | None:
    """Local time (of `zone`, "" for the machine's) where the clock's (offset, uncertainty) in ns are known and good to
    a few minutes."""
    if known is None or not 0 <= known[1] <= TRUSTED_NS:
        return None
    return datetime.fromtimestamp(utc_s, ZoneInfo(zone) if zone else None).timetuple()


_BYTES_RECEIVED, _SEGMENTS, _BYTES_SENT = 128, 136, 200  # offsets, linux/tcp.h
_TCP_HEADER = 32  # bytes, with time stamps
_END = 4  # segments that close a connection


def passed(sock: socket.socket | None, *, ended: bool = False) -> int:
    """Bytes that a TCP connection has cost so far, both ways, sent again and headers included; 0 where the kernel does
    not say."""
    if sock is None:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
        header = _TCP_HEADER + (40 if sock.family == socket.AF_INET6 else 20)
    except OSError:
        return 0
    if len(info) < _BYTES_SENT + 8:
        return 0
    (received,) = struct.unpack_from("=Q", info, _BYTES_RECEIVED)
    out, into = struct.unpack_from("=II", info, _SEGMENTS)
    (sent,) = struct.unpack_from("=Q", info, _BYTES_SENT)
    return int(received + sent + (out + into + _END * ended) * header)


def _kept(path: Path) -> dict[str, Any]:
    """What the file says; a fresh count where there is none or it cannot be read."""
    fresh: dict[str, Any] = {"month": "", "bytes": 0, "step": 0, "rates": {}}
    try:
        found = json.loads(path.read_text())
        Step(found["step"])
        return {
            "month": str(found["month"]),
            "bytes": max(0, int(found["bytes"])),
            "step": int(found["step"]),
            "rates": {str(int(Step(int(k)))): [float(a), float(b)] for k, (a, b) in found["rates"].items()},
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return fresh


def _days(local: time.struct_time) -> int:
    return calendar.monthrange(local.tm_year, local.tm_mon)[1]


def _gone(local: time.struct_time) -> float:
    """The share of the month that is over."""
    day = local.tm_mday - 1 + (local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec) / 86_400
    return day / _days(local)


def _left_s(local: time.struct_time) -> float:
    return (1 - _gone(local)) * _days(local) * 86_400

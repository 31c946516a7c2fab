"""What the benchmark of the kernels stands on: readings of many channels, and the contestants that take them.

In: counts. Out: batches, and for each contestant the marks, scores and rows it makes of them. It measures nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpath import detect, novelty, season
from fastpath.chain import Chain, ConditionParams, channel_params

SECOND = 1_000_000_000
WINDOW_S = 60
EPOCH_ROWS = 20_000_000  # rows are seconds; the first is some day in August 1970
SOURCES = Path(__file__).parent / "c"
FLAGS = ("-O3", "-march=native", "-fPIC", "-shared", "-std=gnu11")


class Batch(NamedTuple):
    """One reading of every channel a second: columns of rows * channels."""

    channel: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]


def part_of(batch: Batch, start: int, end: int) -> Batch:
    """Readings `start` up to, not including, `end`, in memory of their own."""
    channel, time_ns, value, quality = (column[start:end].copy() for column in batch)
    return Batch(channel, time_ns, value, quality)  # type: ignore[arg-type]


class Result(NamedTuple):
    """mark u8[n], score f64[n], windows f64[w, 15] (channel, start, end, n, expected, last, quality, min, max, mean,
    sd, first, last, p50, p95), alerts f64[a, 6] (channel, time, onset, score, value, expected), sorted by channel."""

    mark: NDArray[np.uint8]
    score: NDArray[np.float64]
    windows: NDArray[np.float64]
    alerts: NDArray[np.float64]


class Readings:
    """A seeded city: a daily course, correlated noise, steps of a hundredth, spikes, levels that shift, and readings
    without a number."""

    def __init__(self, channels: int, seed: int = 1) -> None:
        self.channels = channels
        self._rng = np.random.default_rng(seed)
        self._noise = np.zeros(channels)
        self._level = self._rng.normal(20.0, 5.0, channels)
        self._row = EPOCH_ROWS

    def take(self, rows: int) -> Batch:
        rng, n = self._rng, self.channels
        seconds = np.arange(self._row, self._row + rows)
        self._row += rows
        fresh = rng.normal(0.0, 0.3, (rows, n))
        noise = np.empty((rows, n))
        for k in range(rows):
            self._noise = 0.7 * self._noise + fresh[k]
            noise[k] = self._noise
        shifts = np.where(rng.random((rows, n)) < 2e-4, rng.normal(0.0, 3.0, (rows, n)), 0.0)
        level = self._level + np.cumsum(shifts, axis=0)
        self._level = level[-1]
        value = level + 3.0 * np.sin(seconds * (2.0 * np.pi / 86400.0))[:, None] + noise
        value += np.where(rng.random((rows, n)) < 1e-3, 15.0, 0.0)
        value = np.round(value, 2)
        value[rng.random((rows, n)) < 1e-3] = np.nan
        return Batch(
            np.tile(np.arange(n, dtype=np.int32), rows),
            np.repeat(seconds * SECOND, n),
            value.reshape(-1),
            np.zeros(rows * n, np.uint8),
        )


def _sorted(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


class Ours:
    """fastpath.chain.Chain as the gateway runs it."""

    def __init__(self, channels: int, *, filter: int = 1, detector: int = 1) -> None:
        params = channel_params(channels, filter=filter, detector=detector, window_ns=WINDOW_S * SECOND)
        nothing = ConditionParams(*(np.zeros(0, t) for t in (np.int32, np.uint8, "f8", "f8", np.int64, np.int64)))
        self.chain = Chain(params, nothing, start_ns=EPOCH_ROWS * SECOND)

    def push(self, batch: Batch) -> Any:
        return self.chain.push(*batch)

    @staticmethod
    def result(pushed: Any) -> Result:
        w, a = pushed.windows, pushed.alerts
        numbers = (w.min, w.max, w.mean, w.sd, w.first, w.last, w.p50, w.p95)
        windows = np.column_stack([w.channel, w.start_ns, w.end_ns, w.n, w.expected, w.last_ns, w.quality, *numbers])
        alerts = np.column_stack([a.channel, a.time_ns, a.onset, a.score, a.value, a.expected])
        return Result(
            pushed.mark, pushed.score, _sorted(windows.astype(np.float64)), _sorted(alerts.astype(np.float64))
        )


TOLD = np.dtype([("number", np.float64, 4), ("whole", np.int64, 4)])
WINDOW_ROW = np.dtype([("whole", np.int64, 7), ("number", np.float64, 8)])
ALERT_ROW = np.dtype([("whole", np.int64, 3), ("number", np.float64, 3)])


def compilers() -> list[str]:
    return [name for name in ("gcc", "clang") if shutil.which(name)]


def _constants() -> list[str]:
    """The detector's constants as the C compiler takes them, so that both sides always have the same."""
    return [
        f"-D{module.__name__.rpartition('.')[2]}_{name}={_in_c(value)}"
        for module in (detect, novelty, season)
        for name, value in sorted(vars(module).items())
        if name.isupper() and isinstance(value, int | float | np.ndarray)
    ]


def _in_c(value: Any) -> str:
    return "{" + ",".join(map(str, value.tolist())) + "}" if isinstance(value, np.ndarray) else repr(value)


def library(compiler: str) -> ctypes.CDLL:
    """`c/chain.c`, compiled once a source. Raises CalledProcessError with the compiler's words."""
    flags = [*FLAGS, *_constants()]
    sources = sorted(SOURCES.glob("chain*"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + " ".join((compiler, *flags)).encode())
    made = Path(tempfile.gettempdir()) / f"citygate-bench-{digest.hexdigest()[:16]}.so"
    if not made.exists():
        fresh = made.with_suffix(".new")
        subprocess.run(
            [compiler, *flags, "-o", str(fresh), str(SOURCES / "chain.c"), "-lm"], check=True, capture_output=True
        )
        fresh.replace(made)
    found = ctypes.CDLL(str(made))
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    found.chain_bytes.argtypes = [pointer]
    found.chain_bytes.restype = None
    found.chain_begin.argtypes = [pointer, whole, pointer, whole, whole]
    found.chain_begin.restype = None
    found.chain_push.argtypes = [pointer, whole, whole, *[pointer] * 7]
    found.chain_push.restype = None
    return found


class InC:
    """The same algorithm in C: `c/chain.c`. Memory is the caller's, as in `Ours`."""

    def __init__(self, compiler: str, channels: int, *, filter: int = 1, detector: int = 1) -> None:
        self._library = library(compiler)
        told = np.zeros(channels, TOLD)
        told["number"] = (-np.inf, np.inf, np.inf, np.inf)
        told["whole"] = (WINDOW_S * SECOND, SECOND, filter, detector)
        sizes = np.zeros(4, np.int64)
        self._library.chain_bytes(sizes.ctypes.data)
        self._room = [np.zeros(channels * size // 8 + 8, np.int64) for size in sizes.tolist()]
        self._state = np.array([(table.ctypes.data + 63) // 64 * 64 for table in self._room])
        self._count = channels
        self._library.chain_begin(self._state.ctypes.data, channels, told.ctypes.data, EPOCH_ROWS * SECOND, 0)
        self._windows, self._alerts = np.zeros(0, WINDOW_ROW), np.zeros(0, ALERT_ROW)

    def push(self, batch: Batch) -> Any:
        n = len(batch.channel)
        rows = n // self._count + 1
        if len(self._windows) < self._count * (rows // WINDOW_S + 5):
            self._windows = np.zeros(self._count * (rows // WINDOW_S + 5), WINDOW_ROW)
            self._alerts = np.zeros(n, ALERT_ROW)
        mark, score = np.empty(n, np.uint8), np.zeros(n)
        used = np.array([0, 0, self._windows.ctypes.data, self._alerts.ctypes.data], np.int64)
        columns = (*batch, mark, score, used)
        self._library.chain_push(self._state.ctypes.data, n, 0, *(column.ctypes.data for column in columns))
        return mark, score, self._windows[: used[0]].copy(), self._alerts[: used[1]].copy()

    @staticmethod
    def result(pushed: Any) -> Result:
        mark, score, windows, alerts = pushed
        rows = (np.column_stack([part["whole"], part["number"]]).astype(np.float64) for part in (windows, alerts))
        return Result(mark, score, *(_sorted(part) for part in rows))


def differences(a: Result, b: Result) -> list[str]:
    """Where two results differ by more than what another order of rounding explains."""
    found = []
    if not np.array_equal(a.mark, b.mark):
        found.append(f"{np.count_nonzero(a.mark != b.mark)} marks")
    if not np.allclose(a.score, b.score, rtol=1e-6, atol=1e-6):
        found.append(f"scores, by up to {np.abs(a.score - b.score).max():.3g}")
    for name in ("windows", "alerts"):
        ours, theirs = getattr(a, name), getattr(b, name)
        if ours.shape != theirs.shape:
            found.append(f"{len(ours)} and {len(theirs)} {name}")
        elif not np.allclose(ours, theirs, rtol=1e-6, atol=1e-6, equal_nan=True):
            found.append(f"{name}, by up to {np.nanmax(np.abs(ours - theirs)):.3g}")
    return found

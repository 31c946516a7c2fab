"""The kernels in figures: the full default chain (gate, Hampel 11, universal detector, window summary with sketch)
against the same algorithm in C, in numpy over channels, and in River's classes.

Contestants take turns round by round on the same readings; a figure is the median over the rounds, a ratio the median
of the ratios within a round. Times are CPU time of the one thread that works, so that other work on the machine counts
less. What C and numpy make of the readings is compared with ours before anything is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.fastpath_numpy import InNumpy
from benchmarks.fastpath_rig import Batch, InC, Ours, Readings, compilers, differences, part_of
from benchmarks.fastpath_river import InRiver, RiverReady
from fastpath import detect, detectors
from fastpath.columns import F8, I4, I8
from fastpath.jit import kernel

SHAPES = {"1000x1000": (1000, 1000), "10000x1": (10_000, 1)}
ROUNDS, FULL_ROUNDS = 7, 21
REPEATS = {"1000x1000": 1, "10000x1": 20}  # batches a round, so that a round is not shorter than the clock's grain
WARM_ROWS = 130  # past two window ends, and past the first readings that no filter judges
RIVER_CHANNELS, RIVER_ROWS = 50, 40  # of a round: River is slow, and a reading costs the same whatever the count
NUMPY_ROWS = 100
SCALES = (100, 1000, 10_000, 100_000)
SCALE_READINGS = 300_000
CALLS, BATCH20 = 200, 20

WANTED = {
    "ratio_c": "<= 1.15",
    "ratio_river": ">= 50",
    "detector_ns": "<= 200",
    "scaling": "<= 3",
    "batch20_us": "<= 15",
    "bytes_per_channel": "<= 4096",
}


@kernel
def judge(detector: F8, channel: I4, time_ns: I8, value: F8, score: F8) -> None:
    """The universal detector alone; readings without a number are not for it."""
    for i in range(channel.size):
        if np.isfinite(value[i]):
            _, score[i] = detect.step(
                detector, np.int64(channel[i]), time_ns[i], value[i], False, 0, detect.ONSET_SCORE
            )


def run(*, full: bool) -> dict[str, Any]:
    rounds = FULL_ROUNDS if full else ROUNDS
    names = compilers()
    agreed = {name: _agreement(partial(InC, name)) for name in names}
    agreed["numpy"] = _agreement(InNumpy)
    for name, found in agreed.items():
        print(f"{name:6} gives what ours gives" if not found else f"{name:6} DIFFERS: {'; '.join(found)}")
    figures: dict[str, dict[str, float]] = {}
    ratios: dict[str, list[float]] = {"c": [], "river": []}
    for shape, (channels, rows) in SHAPES.items():
        times = _race(channels, rows, REPEATS[shape], rounds, names)
        best = min(names, key=lambda name: statistics.median(times[name]), default=None)
        figures[shape] = {"numba": statistics.median(times["numba"])}
        if best:
            figures[shape]["c"] = statistics.median(times[best])
            ratios["c"].append(_ratio(times["numba"], times[best]))
        for other in ("numpy", "river", "river_ready"):
            figures[shape][other] = statistics.median(times[other])
        ratios["river"].append(_ratio(times["river"], times["numba"]))
        print(f"{shape}: " + ", ".join(f"{name} {ns:.0f}" for name, ns in figures[shape].items()) + " ns a sample")
    scale = _scaling(max(3, rounds // 2))
    print("by channels: " + ", ".join(f"{n} {ns:.0f}" for n, ns in scale.items()) + " ns a sample")
    result = {
        "ns_per_sample": figures["1000x1000"],
        "ns_per_sample_10000x1": figures["10000x1"],
        "ratio_c": max(ratios["c"]) if ratios["c"] else None,
        "ratio_river": min(ratios["river"]),
        "detector_ns": _detector(rounds),
        "scaling": max(scale.values()) / min(scale.values()),
        "by_channels": {str(n): ns for n, ns in scale.items()},
        "batch20_us": _batch20(rounds),
        **_memory(),
        "agreed": {name: not found for name, found in agreed.items()},
        "rounds": rounds,
    }
    print(f"\n{'figure':20} {'wanted':>10} {'measured':>10}   ({rounds} rounds)")
    for key, wanted in WANTED.items():
        print(f"{key:20} {wanted:>10} " + ("no compiler" if result[key] is None else f"{result[key]:>10.2f}"))
    return result


def _ratio(a: list[float], b: list[float]) -> float:
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def _cpu_ns(work: Callable[[], Any]) -> int:
    begin = time.thread_time_ns()
    work()
    return time.thread_time_ns() - begin


def _agreement(contestant: Callable[[int], Any]) -> list[str]:
    """What another makes of readings in other ways than ours."""
    ours, other, readings = Ours(100), contestant(100), Readings(100, seed=7)
    found: list[str] = []
    for _ in range(4):
        batch = readings.take(400)
        found += differences(ours.result(ours.push(batch)), other.result(other.push(batch)))
    return found


def _race(channels: int, rows: int, repeats: int, rounds: int, names: list[str]) -> dict[str, list[float]]:
    """ns a sample, by contestant and round."""
    readings = Readings(channels)
    crowd: dict[str, Any] = {"numba": Ours(channels), **{name: InC(name, channels) for name in names}}
    numpy = InNumpy(channels)
    few = Readings(RIVER_CHANNELS)
    river = {"river": InRiver(RIVER_CHANNELS), "river_ready": RiverReady(RIVER_CHANNELS)}
    warm = readings.take(WARM_ROWS)
    for one in (*crowd.values(), numpy):
        one.push(warm)
    warm = few.take(WARM_ROWS)
    for one in river.values():
        one.push(warm)
    times: dict[str, list[float]] = {name: [] for name in (*crowd, "numpy", *river)}
    for number in range(rounds):
        batches = [readings.take(rows) for _ in range(repeats)]
        order = list(crowd) if number % 2 else list(crowd)[::-1]
        for name in order:
            times[name].append(_each(crowd[name], batches))
        short = part_of(batches[0], 0, NUMPY_ROWS * channels)
        times["numpy"].append(_each(numpy, [short]))
        part = [few.take(RIVER_ROWS)]
        for name, one in river.items():
            times[name].append(_each(one, part))
    return times


def _each(contestant: Any, batches: list[Batch]) -> float:
    spent = sum(_cpu_ns(lambda batch=batch: contestant.push(batch)) for batch in batches)  # type: ignore[misc]
    return spent / sum(len(batch.channel) for batch in batches)


def _scaling(rounds: int) -> dict[int, float]:
    """ns a sample by count of channels, each the best of its rounds."""
    times: dict[int, list[float]] = {n: [] for n in SCALES}
    for channels in SCALES:
        ours, readings = Ours(channels), Readings(channels)
        rows = max(2, SCALE_READINGS // channels)
        ours.push(readings.take(max(12, min(WARM_ROWS, 20 * rows))))
        for _ in range(rounds):
            times[channels].append(_each(ours, [readings.take(rows)]))
    return {n: statistics.median(spent) for n, spent in times.items()}


def _detector(rounds: int) -> float:
    readings, state = Readings(1000), np.zeros((1000, detectors.COLUMNS))
    spent = []
    for number in range(rounds + 1):
        batch = readings.take(200)
        score = np.zeros(len(batch.channel))
        ns = _cpu_ns(lambda batch=batch, score=score: judge(state, batch.channel, batch.time_ns, batch.value, score))  # type: ignore[misc]
        if number:
            spent.append(ns / len(batch.channel))
    return statistics.median(spent)


def _batch20(rounds: int) -> float:
    """Microseconds of one call with one reading of each of 20 channels, in a gateway of 1,000."""
    ours, readings = Ours(1000), Readings(1000)
    ours.push(readings.take(WARM_ROWS))
    spent = []
    for _ in range(rounds):
        rows = readings.take(CALLS)
        calls = [part_of(rows, k * 1000, k * 1000 + BATCH20) for k in range(CALLS)]
        spent.append(_cpu_ns(lambda calls=calls: [ours.chain.push(*one) for one in calls]) / CALLS / 1e3)  # type: ignore[misc]
    return statistics.median(spent)


def _memory() -> dict[str, float]:
    """Bytes a channel, without its evidence and with it."""
    chain = Ours(1000).chain
    return {
        "bytes_per_channel": (chain.nbytes - chain.evidence_nbytes) / 1000,
        "bytes_with_evidence": chain.nbytes / 1000,
    }

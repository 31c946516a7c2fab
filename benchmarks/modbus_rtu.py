"""Paced RTU lines: how close a cycle comes to the wire's own time, to the plan's word, and what a dead unit costs.

The line is used about 70 %: eight units, each asked once a period by the whole field half. A request's time includes
one whole silence, whether requests follow one another or not, so that a spread schedule gains nothing.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.modbus_contestants import judging
from benchmarks.modbus_rig import REGISTERS, contestant, write_site
from gateway.field.clock import boottime_ns
from gateway.field.field import Field
from gateway.field.scheduler import LinkRunner
from gateway.site.compile import load_plan
from protocols import registry
from protocols.api import Batch, Driver, Link, Quality

BAUDS = (9_600, 19_200, 115_200)
UNITS, DEAD, DELAY_MS, USED = 8, 4, 4.0, 0.70
WARM_CYCLES = 20  # time-outs are learned meanwhile


def serial_lines(before_s: float, after_s: float) -> dict[str, Any]:
    """The worst of the three rates, key by key. The lines run at the same time: each needs a few percent of a core."""
    with ThreadPoolExecutor(len(BAUDS)) as pool:
        rates = list(pool.map(lambda baud: _one_rate(baud, before_s, after_s), BAUDS))
    for baud, rate in zip(BAUDS, rates, strict=True):
        shown = {key: round(value, 4) for key, value in rate.items()}
        print(f"rtu {baud}: {shown}", flush=True)
    return {key: max(rate[key] for rate in rates) for key in ("rtu_efficiency", "plan_error", "dead_unit_penalty")}


def _one_rate(baud: int, before_s: float, after_s: float) -> dict[str, float]:
    with _slave(baud) as (process, path), tempfile.TemporaryDirectory(prefix="citygate-bench-") as folder:
        site = write_site(
            Path(folder),
            links=[(f"serial:{path}", f"baud = {baud}")],
            devices=[("l0", unit) for unit in range(1, UNITS + 1)],
            registers=REGISTERS,
            period_s=round(UNITS * wire_s(baud) / USED, 4),
            options=f"delay_ms = {DELAY_MS}",
        )
        assert process.stdin is not None
        return contestant("line", site, baud, before_s, after_s, process.stdin.fileno(), keep=process.stdin.fileno())


def wire_s(baud: int) -> float:
    """Request, silence, the device's delay, answer, silence."""
    characters = 8 + 5 + 2 * REGISTERS
    silence_s = _silence_s(baud)
    return characters * 10 / baud + 2 * silence_s + DELAY_MS / 1000


def _silence_s(baud: int) -> float:
    return 0.00175 if baud > 19_200 else 35 / baud


@contextmanager
def _slave(baud: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    command = [sys.executable, "-m", "benchmarks.modbus_rtu_slave", str(baud), str(UNITS), str(DELAY_MS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


class _Timed:
    """The driver, with a note of every read: (unit, begun, ended, last byte, answered)."""

    def __init__(self, driver: Driver[Any]) -> None:
        self.reads: list[tuple[int, int, int, int, bool]] = []
        self._driver = driver
        self.driver = replace(driver, connect=self._connect)

    @asynccontextmanager
    async def _connect(self, link: Link, ops: Sequence[Any]) -> AsyncIterator[Any]:
        async with self._driver.connect(link, ops) as reader:
            inner = reader.read

            async def read(ops: Sequence[Any], timeout_s: float) -> Batch:
                begun_ns = boottime_ns()
                batch = await inner(ops, timeout_s)
                good = bool((batch.quality == Quality.GOOD).all())
                self.reads.append((ops[0].unit, begun_ns, boottime_ns(), int(batch.time_ns[-1]), good))
                return batch

            reader.read = read  # type: ignore[method-assign]
            yield reader


def watch(site: str, baud: str, before_s: str, after_s: str, slave: str) -> dict[str, float]:
    """The contestant: `Field` on the line; the slave's input is descriptor `slave`."""
    timed = _Timed(registry.driver("modbus"))
    registry.driver = lambda name: timed.driver
    return asyncio.run(_watch(site, int(baud), float(before_s), float(after_s), int(slave), timed))


async def _watch(site: str, baud: int, before_s: float, after_s: float, slave: int, timed: _Timed) -> dict[str, float]:
    plan = load_plan(site)
    half, stop = Field(plan), asyncio.Event()
    (bus,) = plan.links
    running = asyncio.create_task(half.run(stop))
    await judging(half)
    await asyncio.sleep(WARM_CYCLES * bus.ops[0].period_s)
    steady_ns = boottime_ns()
    await asyncio.sleep(before_s)
    death_ns = boottime_ns()
    os.write(slave, f"dead {DEAD}\n".encode())
    await asyncio.sleep(after_s)
    runner: LinkRunner = half.links["l0"]
    stop.set()
    await running
    taken_s = _taken_s([r for r in timed.reads if steady_ns <= r[1] < death_ns], baud)
    predicted_s = sum(op.wire_s(bus.link) for op in bus.ops) / len(bus.ops)
    before, after = _p99_s(timed, steady_ns, death_ns), _p99_s(timed, death_ns, boottime_ns())
    return {
        "rtu_efficiency": taken_s / wire_s(baud),
        "plan_error": abs(predicted_s / taken_s - 1),
        "dead_unit_penalty": after / before - 1,
        "request_ms": taken_s * 1000,
        "wire_ms": wire_s(baud) * 1000,
        "planned_ms": predicted_s * 1000,
        "p99_before_ms": before * 1000,
        "p99_after_ms": after * 1000,
        "period_ms": bus.ops[0].period_s * 1000,
        "skipped": runner.overruns,
    }


def _taken_s(reads: Sequence[tuple[int, int, int, int, bool]], baud: int) -> float:
    """Time of the line a request, of the median cycle: from last byte to last byte where requests follow one another,
    else from the call to the last byte, and of the silence before it what had passed already."""
    silence_ns, near_ns = _silence_s(baud) * 1e9, 0.2e9 * wire_s(baud)
    taken_ns: list[float] = []
    for (_, _, ended_ns, before_ns, _), (_, begun_ns, _, last_byte_ns, _) in pairwise(reads):
        if begun_ns - ended_ns < near_ns:
            taken_ns.append(last_byte_ns - before_ns)
        else:
            waited_ns = min(max(before_ns + silence_ns - begun_ns, 0.0), silence_ns)
            taken_ns.append(last_byte_ns - begun_ns + silence_ns - waited_ns)
    cycles = [sum(taken_ns[at : at + UNITS]) for at in range(0, len(taken_ns) - UNITS + 1, UNITS)]
    return float(np.median(cycles)) / UNITS / 1e9


def _p99_s(timed: _Timed, from_ns: int, to_ns: int) -> float:
    """Of the times between two answers of the same unit, all but the one that dies."""
    periods: list[float] = []
    for unit in range(1, UNITS + 1):
        times = [at for who, _, _, at, good in timed.reads if who == unit and good and from_ns <= at < to_ns]
        if unit != DEAD:
            periods += np.diff(times).tolist()
    return float(np.percentile(periods, 99)) / 1e9

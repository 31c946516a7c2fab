"""One contestant a process: `python -m benchmarks.modbus_contestants NAME WORDS...`, its figures as one JSON line.

- `pymodbus PORT ROUNDS`: a plain loop on pymodbus's client, one block read a unit, values thrown away
- `link PORT ROUNDS`: our link: plan, pipelined reads, one Batch a round
- `field SITE ROUNDS`: the same reads through the whole field half, spool on disk
- `schedule SITE SLOTS`: `Field` on its own schedule until every link has had SLOTS polls: what came of them
- `line SITE BAUD ...`: `Field` on a paced RTU line (modbus_rtu.py)
- `share SITE SECONDS`: `Field` on its own schedule: CPU seconds a second once its kernels are loaded
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.modbus_rig import REGISTERS, UNITS, block_points
from gateway.field.clock import boottime_ns, utc_offset
from gateway.field.field import Field
from gateway.field.scheduler import LinkRunner
from gateway.site.compile import load_plan
from gateway.site.plan import LinkPlan
from gateway.spool.records import Lane, Windows
from gateway.spool.spool import Spool
from protocols.api import Batch, Link, Quality
from protocols.registry import driver

WARM_ROUNDS = 20
SETTLE_S = 2.0


def cpu_s() -> float:
    """User and system CPU of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Clock:
    def __init__(self) -> None:
        self._begun, self._cpu = time.perf_counter(), cpu_s()

    def figures(self, readings: int) -> dict[str, float]:
        seconds, cpu = time.perf_counter() - self._begun, cpu_s() - self._cpu
        return {"readings": readings, "rate": readings / seconds, "cpu_us": cpu / readings * 1e6}


def pymodbus(port: str, rounds: str) -> dict[str, Any]:
    from pymodbus.client import ModbusTcpClient

    client: Any = ModbusTcpClient("127.0.0.1", port=int(port))
    client.connect()
    for warming, count in ((True, WARM_ROUNDS), (False, int(rounds))):
        clock, readings = _Clock(), 0
        for _ in range(count):
            for unit in range(1, UNITS + 1):
                readings += len(client.read_holding_registers(0, count=REGISTERS, device_id=unit).registers)
        if not warming:
            return clock.figures(readings)
    raise AssertionError


def link(port: str, rounds: str) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        modbus = driver("modbus")
        ops = modbus.plan(block_points(UNITS, REGISTERS, 1.0))
        async with modbus.connect(Link("bench", f"tcp://127.0.0.1:{port}"), ops) as reader:
            for _ in range(WARM_ROUNDS):
                await reader.read(ops, 1.0)
            clock, readings = _Clock(), 0
            for _ in range(int(rounds)):
                readings += _good(await reader.read(ops, 1.0))
            return clock.figures(readings)

    return asyncio.run(main())


def field(site: str, rounds: str) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        from gateway.field.judge import Judge, warm

        plan = load_plan(site)
        half = Field(plan)
        engine, (bus,) = half.engine, plan.links
        warm()
        engine.begin_judging(Judge(plan, boottime_ns(), utc_offset()[0], []))
        async with driver("modbus").connect(bus.link, bus.ops) as reader:
            for _ in range(WARM_ROUNDS):
                engine.take(await reader.read(bus.ops, 1.0))
            engine.tick(boottime_ns())
            clock, readings, tick_ns = _Clock(), 0, boottime_ns()
            for _ in range(int(rounds)):
                batch = await reader.read(bus.ops, 1.0)
                engine.take(batch)
                readings += _good(batch)
                if boottime_ns() - tick_ns > 1_000_000_000:
                    tick_ns = boottime_ns()
                    engine.tick(tick_ns)
            engine.close()
            half.writer.close()
            figures = clock.figures(readings)
        half.spool.mark_clean()
        half.spool.close()
        return figures | {"spooled": _spooled(plan.state_dir)}

    return asyncio.run(main())


def _good(batch: Batch) -> int:
    return int((batch.quality == Quality.GOOD).sum())


def _spooled(state_dir: str) -> int:
    """Readings summarised in the spool's windows."""
    spool = Spool.open(Path(state_dir) / "spool.db", role="reader")
    try:
        return sum(
            row.n
            for lane in Lane
            for record in spool.take("center", lane, 1_000_000)
            if isinstance(record.item, Windows)
            for row in record.item.rows
        )
    finally:
        spool.close()


class _Tally:
    """What became of `slots` polls of one link that its schedule asked for, skipped ones included, from `begin` on."""

    def __init__(self, plan: LinkPlan, take: Callable[[Batch], None], slots: int) -> None:
        self.runner = LinkRunner(plan, self._sink)
        self._take, self._slots = take, slots
        self._unpolled = 0
        self._last_ns = 0
        self._begun_at: int | None = None
        self._skipped_at = 0
        self.delivered = 0
        self.merged = 0
        self.skipped = 0

    def begin(self) -> None:
        self._begun_at, self._skipped_at = self._all, self.runner.overruns

    @property
    def early(self) -> int:
        """Polls skipped before `begin`."""
        return self._skipped_at

    @property
    def _all(self) -> int:
        return self.runner.polls + self.runner.overruns + self._unpolled

    @property
    def slots(self) -> int:
        return 0 if self._begun_at is None else self._all - self._begun_at

    def _sink(self, batch: Batch) -> None:
        self._unpolled += int(batch.quality[0] == Quality.NOT_POLLED)
        if 0 < self.slots <= self._slots:
            self.delivered += _good(batch)
            self.merged += int(batch.time_ns[0] <= self._last_ns)
            self.skipped = self.runner.overruns - self._skipped_at
        self._last_ns = int(batch.time_ns[-1])
        self._take(batch)


async def judging(half: Field) -> None:
    """Until the kernels of a running field half are loaded."""
    judged = asyncio.Event()
    begin_judging = half.engine.begin_judging

    def begun(judge: Any) -> None:
        begin_judging(judge)
        judged.set()

    half.engine.begin_judging = begun  # type: ignore[method-assign]
    await judged.wait()


def schedule(site: str, slots: str) -> dict[str, Any]:
    """Every link of the site has one operation. Counted from the moment on at which every reading is judged."""

    async def main() -> dict[str, Any]:
        plan = load_plan(site)
        half, stop = Field(plan), asyncio.Event()
        tallies = [_Tally(bus, half.engine.take, int(slots)) for bus in plan.links]
        half.links = {tally.runner.name: tally.runner for tally in tallies}
        running = asyncio.create_task(half.run(stop))
        await judging(half)
        await asyncio.sleep(SETTLE_S)
        for tally in tallies:
            tally.begin()
        begun, cpu = time.perf_counter(), cpu_s()
        while min(tally.slots for tally in tallies) < int(slots):  # noqa: ASYNC110 counters have no event
            await asyncio.sleep(0.25)
        seconds, cpu = time.perf_counter() - begun, cpu_s() - cpu
        stop.set()
        await running
        return {
            "polled": int(slots) * sum(len(bus.points) for bus in plan.links),
            "delivered": sum(tally.delivered for tally in tallies),
            "merged": sum(tally.merged for tally in tallies),
            "polls_skipped": sum(tally.skipped for tally in tallies),
            "polls_skipped_while_kernels_loaded": sum(tally.early for tally in tallies),
            "seconds": round(seconds, 1),
            "core_share": cpu / seconds,
            "not_in_spool": int(half.engine.readings.sum()) - _spooled(plan.state_dir),
        }

    return asyncio.run(main())


def share(site: str, seconds: str) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        plan = load_plan(site)
        half, stop = Field(plan), asyncio.Event()
        running = asyncio.create_task(half.run(stop))
        await judging(half)
        await asyncio.sleep(SETTLE_S)
        readings, begun_s, cpu = int(half.engine.readings.sum()), time.perf_counter(), cpu_s()
        await asyncio.sleep(float(seconds))
        spent, cpu = time.perf_counter() - begun_s, cpu_s() - cpu
        readings = int(half.engine.readings.sum()) - readings
        skipped = sum(runner.overruns for runner in half.links.values())
        stop.set()
        await running
        return {"core_share": cpu / spent, "rate": readings / spent, "skipped": skipped, "points": len(plan.channels)}

    return asyncio.run(main())


def line(*words: str) -> dict[str, Any]:
    from benchmarks.modbus_rtu import watch

    return watch(*words)


CONTESTANTS = {c.__name__: c for c in (pymodbus, link, field, schedule, share, line)}

if __name__ == "__main__":
    print(json.dumps(CONTESTANTS[sys.argv[1]](*sys.argv[2:])))

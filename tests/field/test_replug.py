"""An adapter is pulled out and comes back as another device: `/dev/serial/by-id` names the same one again."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gateway.field import scheduler
from gateway.field.scheduler import LinkRunner
from gateway.site.plan import LinkPlan
from protocols.api import Batch, Link
from protocols.modbus.planner import plan


def _peers() -> ModuleType:
    """The far ends of tests/protocols."""
    path = Path(__file__).parents[1] / "protocols" / "peers.py"
    spec = importlib.util.spec_from_file_location("field_peers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["field_peers"] = module
    spec.loader.exec_module(module)
    return module


peers = _peers()


async def test_a_replugged_adapter_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "RECONNECT_FIRST_S", 0.01)
    by_id = tmp_path / "usb-FTDI_FT232R-if00-port0"
    points = (peers.point(0, peers.device(), 5, period_s=0.02),)
    read: list[float] = []
    news = asyncio.Event()

    def sink(batch: Batch) -> None:
        if not batch.quality.any():
            read.extend(batch.value.tolist())
            news.set()

    runner = LinkRunner(
        LinkPlan(Link("bus", f"serial:{by_id}", baud=115_200), "modbus", 0.5, points, plan(points)), sink
    )
    stop = asyncio.Event()
    task = asyncio.create_task(runner.run(stop))
    for turn in range(2):
        async with peers.rtu_slave() as (rig, _):
            by_id.unlink(missing_ok=True)
            by_id.symlink_to(rig.link.url.removeprefix("serial:"))
            news.clear()
            await asyncio.wait_for(news.wait(), 10.0)
            assert runner.up
        by_id.unlink()
        async with asyncio.timeout(10.0):
            while runner.up:
                await asyncio.sleep(0.01)
        assert runner.fault is not None
        assert runner.fault.code in ("CG-3002", "CG-3007")
        assert runner.reconnects in (turn, turn + 1)
    stop.set()
    await task
    assert set(read) == {float(peers.register(5))}


def test_a_port_is_looked_for_often_enough() -> None:
    """Recovery within 10 s: the longest pause, its jitter, and the opening itself."""
    assert scheduler.REPLUG_LAST_S * 1.2 + 1.0 < 10.0

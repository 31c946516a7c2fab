"""What a panel is told as it happens, and alarms that somebody has seen: over a real control socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.field import control, telling
from gateway.field.acknowledged import Acknowledged
from gateway.field.telling import Telling
from gateway.services.rules import event
from gateway.site.plan import Plan
from gateway.spool import audit
from gateway.spool.records import Event, Phase

S = 1_000_000_000
SITE = """
[[links]]
name = "bus"
url = "rtu+tcp://127.0.0.1:1502"
[[devices]]
name = "rope"
profile = "water/rle-ld5000"
link = "bus"
unit = 3
"""


@pytest.fixture
def plan(make_plan: Callable[[str], Plan]) -> Plan:
    return make_plan(SITE)


class Engine:
    def __init__(self, channels: int) -> None:
        self.last_value = np.full(channels, np.nan)
        self.last_quality = np.zeros(channels, np.uint8)
        self.last_ns = np.zeros(channels, np.int64)
        self.readings = np.zeros(channels, np.int64)
        self.standing: dict[str, Event] = {}

    def read(self, channel: int, value: float, time_ns: int) -> None:
        self.last_value[channel], self.last_ns[channel] = value, time_ns

    def kept(self) -> Any:
        return np.where(np.arange(len(self.last_value)) == 0, np.nan, 0.5)

    def bands(self) -> Any:
        low = np.full(len(self.last_value), np.nan)
        low[1] = 1.0
        return low, low + 2


async def health() -> dict[str, Any]:
    return {"version": "1"}


def alarm(plan: Plan) -> Event:
    return event("water.cable_break", Phase.ONSET, "rope", plan.device("rope").place, time_ns=S, onset_ns=S)


async def until(reader: asyncio.StreamReader, key: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            line = json.loads(await reader.readline())
            if key in line:
                return line[key]


def test_readings_bands_events_and_health_come_as_they_happen(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "EVERY_S", 0.005)
    engine = Engine(len(plan.channels))
    engine.read(0, 7.0, 3 * S)
    told = Telling(plan, engine, health, dict)

    async def play() -> None:
        path = tmp_path / "field.sock"
        server = await control.serve(path, {}, errands={"follow": told.follow})
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"follow": {}}\n')
        first = json.loads(await reader.readline())
        assert [one["name"] for one in first["channels"]] == [channel.name for channel in plan.channels]
        assert first["devices"][0]["channels"] == list(plan.devices[0].channels)
        rows = await until(reader, "rows")
        assert [row[:4] for row in rows] == [[0, 7.0, 7.0, 0]]
        assert await until(reader, "bands") == [[1, 1.0, 3.0]]
        assert await until(reader, "health") == {"version": "1"}
        engine.read(1, float("nan"), 4 * S)
        ((channel, value, kept, _, at_ms),) = await until(reader, "rows")
        assert (channel, value, kept) == (1, None, 0.5)
        assert at_ms - rows[0][4] == 1000
        told.heard(alarm(plan))
        said = await until(reader, "event")
        assert (said["key"], said["phase"]) == ("water.cable_break|rope", "onset")
        assert said["ko"]
        assert said["en"]
        told.close()
        async with asyncio.timeout(10):
            while await reader.readline():
                pass
        writer.close()
        server.close()

    asyncio.run(play())


def test_those_who_come_later_learn_what_was_and_too_many_are_refused(plan: Plan) -> None:
    told = Telling(plan, Engine(len(plan.channels)), health, dict)
    told.heard(alarm(plan))

    async def play() -> None:
        followers = [await told.follow({}) for _ in range(telling.FOLLOWERS)]
        firsts = [await anext(one) for one in followers]
        assert all(first["past"][0]["code"] == "water.cable_break" for first in firsts)
        assert (await told.follow({}))["code"] == "CG-5190"
        await followers[0].aclose()
        again = await told.follow({})
        assert "channels" in await anext(again)
        for one in (*followers[1:], again):
            await one.aclose()

    asyncio.run(play())


def test_an_acknowledgement_lasts_as_long_as_its_alarm_and_is_audited(tmp_path: Path) -> None:
    standing = {"water.leak|rope": 1}
    changes: list[int] = []
    seen = Acknowledged(tmp_path, standing.keys)
    seen.told = lambda: changes.append(1)
    key = "water.leak|rope"
    assert asyncio.run(seen.acknowledge({"acknowledge": "x", "by": "kim"}))["code"] == "CG-5191"
    assert asyncio.run(seen.acknowledge({"acknowledge": key}))["code"] == "CG-5192"
    assert asyncio.run(seen.acknowledge({"acknowledge": key, "by": "kim", "note": "n" * 301}))["code"] == "CG-5192"
    assert not changes
    assert not (tmp_path / audit.FILE).exists()
    assert asyncio.run(seen.acknowledge({"acknowledge": key, "by": "kim", "note": "밸브"})) == {"acknowledged": key}
    again = Acknowledged(tmp_path, standing.keys)
    assert (again.shown()[key]["by"], again.shown()[key]["note"]) == ("kim", "밸브")
    assert [line["what"] for line in audit.entries(tmp_path / audit.FILE)] == ["acknowledge"]
    standing.clear()
    assert not again.shown()


def test_a_broken_file_of_acknowledgements_is_none(tmp_path: Path) -> None:
    (tmp_path / "acknowledged.json").write_text('{"a": 1, "b": {"by": "k"}, ')
    assert not Acknowledged(tmp_path, ["a", "b"].copy).shown()

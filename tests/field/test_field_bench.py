"""What the bench asks of a running field half, with a real reader on a simulated line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.field.bench import errands
from gateway.sim.bus import FACTORY, Bus, Slave
from gateway.site.plan import Plan
from protocols.modbus.rtu import RtuReader
from protocols.testing import FakeStream

SITE = """
[[links]]
name = "bus1"
url = "serial:/dev/none"
[[devices]]
name = "meter1"
profile = "water/tuf-2000m"
link = "bus1"
unit = 5
"""
FLOW = {
    "flow": 23.5,
    "velocity": 1.25,
    "volume_positive": 1000.0,
    "volume_net": 900.0,
    "error": 0,
    "signal_quality": 90,
}


class Runner:
    """A link whose errands are carried out at once."""

    def __init__(self, reader: Any) -> None:
        self.reader, self.up, self.fault = reader, True, None

    async def errand(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await work(self.reader)


@pytest.fixture
def ask(make_plan: Callable[[str], Plan]) -> Callable[[dict[str, Any]], Any]:
    plan = make_plan(SITE)
    [link] = plan.links
    bus = Bus([Slave(5, link.points, lambda point: float(FLOW[point.name]))])
    reader = RtuReader(FakeStream(bus.peer(FACTORY)), link.link, link.ops)
    latest = SimpleNamespace(last_value=np.zeros(0), last_quality=np.zeros(0, np.uint8), last_ns=np.zeros(0, np.int64))
    answers = errands(plan, {"bus1": Runner(reader)}, latest)  # type: ignore[dict-item]

    def asked(request: dict[str, Any]) -> Any:
        word = next(word for word in answers if word in request)
        return asyncio.run(answers[word](request))  # type: ignore[arg-type]

    return asked


def test_a_device_is_read_byte_by_byte_to_value(ask: Callable[[dict[str, Any]], Any]) -> None:
    facts = ask({"read": "meter1"})
    rows = {row["point"]: row for row in facts["points"]}
    assert (facts["unit"], facts["profile"], facts["link"]) == (5, "water/tuf-2000m", "bus1")
    assert (rows["flow"]["value"], rows["flow"]["raw"], rows["flow"]["unit"]) == (23.5, "00 00 41 BC", "m3/h")
    assert rows["flow"]["where"] == "FC3 0 float32 CDAB"
    assert {row["verdict"] for row in rows.values()} == {"ok"}
    assert facts["exchanges"][0]["request"].startswith("05 03 00 00 00 06")
    assert facts["exchanges"][0]["reply"].startswith("05 03 0C 00 00 41 BC")


def test_one_read_of_any_unit_goes_through(ask: Callable[[dict[str, Any]], Any]) -> None:
    answer = ask({"exchange": "bus1", "unit": 5, "pdu": "0300000002"})
    assert bytes.fromhex(answer["pdu"]) == bytes.fromhex("03 04 00 00 41 bc")
    assert ask({"exchange": "bus1", "unit": 6, "pdu": "0300000002"})["pdu"] == ""


@pytest.mark.parametrize("pdu", ["0600000001", "0f0000000801ff", "", "zz", "03", "030000ffff", "2b0d0100"])
def test_nothing_but_reads_goes_through(ask: Callable[[dict[str, Any]], Any], pdu: str) -> None:
    assert ask({"exchange": "bus1", "unit": 5, "pdu": pdu})["code"] == "CG-5111"


def test_names_that_are_none_are_answered_with_those_there_are(ask: Callable[[dict[str, Any]], Any]) -> None:
    assert ask({"read": "meter9"})["known"] == ["meter1"]
    assert ask({"exchange": "bus9", "unit": 5, "pdu": "0300000002"})["known"] == ["bus1"]
    assert ask({"lines": True})["lines"]["bus1"]["units"] == {5: "meter1"}

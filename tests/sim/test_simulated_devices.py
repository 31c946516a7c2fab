"""A simulated device says what its profile means: whatever it encodes, the drivers' own decoding gives back.

The simulator's bytes come from struct and pymodbus, the decoding from protocols/: two hands.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest

from gateway.sim.image import Frame, raw, reorder, request_bytes, to_bytes
from gateway.sim.line import PtyLine
from gateway.sim.modbus import Units, serve_rtu
from gateway.sim.world import Incident, Sent, Signal, World
from gateway.site.library import Library
from gateway.site.plan import Plan
from gateway.site.profile import load_profile
from protocols import registry
from protocols.api import Point
from protocols.modbus.codec import rtu_request


def protocol_of(name: str) -> str:
    path = Library.of([]).find(name)
    assert path is not None
    return load_profile(path, name).driver.name


ON_A_LINE = ("modbus", "serial")  # what a pseudo terminal can play
PROFILES = sorted(name for name in Library.of([]).names() if protocol_of(name) in ON_A_LINE)
SERIAL = """
[[links]]
name = "l"
url = "serial:/dev/none"
[[devices]]
name = "d"
profile = "{profile}"
link = "l"
unit = 1
"""


def request_pdu(op: object) -> tuple[int, int, int]:
    return op.function, op.address, op.count  # type: ignore[attr-defined]


@pytest.mark.parametrize("profile", PROFILES)
def test_what_a_device_sends_is_what_the_driver_reads(profile: str, make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SERIAL.format(profile=profile))
    [link] = plan.links
    driver = registry.driver(link.driver)
    world = World({c.name: Signal(base=_plausible(c.low, c.high)) for c in plan.channels})
    units = Units(link, world, Sent(), lambda: (0, 0.0)) if link.driver == "modbus" else None
    for op in link.ops:
        points = [p for p in link.points if p.channel in op.channels]
        if units is not None:
            told = _modbus_exchange(units, driver.decode, points, op)
        else:
            told = _serial_exchange(world, driver.decode, points)
        assert set(told) == {p.name for p in points}
        for point in points:
            wanted = world.value(f"d.{point.name}", 0.0)
            if getattr(point.spec, "scale_factor", None) is not None:  # four digits at least, by a power it chooses
                assert told[point.name] == pytest.approx(wanted, rel=5e-4), point.name
                continue
            _, exact = (0, float(wanted != 0)) if _is_bit(point) else raw(point, wanted)
            assert told[point.name] == pytest.approx(exact, rel=1e-6, abs=1e-9), point.name


def _plausible(low: float, high: float) -> float:
    if low > -1e300 and high < 1e300:
        return low + (high - low) * 0.37
    return 1.0


def _is_bit(point: Point) -> bool:
    return getattr(point.spec, "bit", None) is not None or getattr(point.spec, "function", 3) in (1, 2)


def _modbus_exchange(
    units: Units, decode: Callable[..., dict[str, float]], points: list[Point], op: object
) -> dict[str, float]:
    function, address, count = request_pdu(op)
    request = rtu_request(1, function, address, count)
    _, pdu = FramerRTU(DecodePDU(True)).handleFrame(request, 0, 0)
    assert pdu is not None
    answered = units.answer(pdu)
    assert answered is not None
    reply, told = answered
    frame = FramerRTU(DecodePDU(True)).buildFrame(reply)
    assert set(told) == {f"d.{p.name}" for p in points}  # the ledger counts what was asked for
    return dict(decode(points, request, frame))


def _serial_exchange(world: World, decode: Callable[..., dict[str, float]], points: list[Point]) -> dict[str, float]:
    device = points[0].device
    request = request_bytes(device.options, device.unit) if device.options.request else b""
    frame, _ = Frame(device.options, points, device.unit).build(lambda point: world.value(f"d.{point.name}", 0.0))
    return dict(decode(points, request, frame))


@given(st.integers(0, 2**64 - 1))
def test_every_word_order_undoes_itself(number: int) -> None:
    data = to_bytes("uint64", number)
    for order in ("ABCD", "CDAB", "BADC", "DCBA"):
        assert reorder(reorder(data, order), order) == data


def test_the_published_low_word_first_float() -> None:
    assert round(struct.unpack(">f", reorder(bytes.fromhex("806b4212"), "CDAB"))[0], 3) == 36.625


@settings(max_examples=30)
@given(st.floats(0, 100), st.floats(0, 100))
def test_a_world_changes_only_what_its_incident_names(at: float, start: float) -> None:
    incident = Incident("x", start, start + 5, {"d.a": Signal(7.0)}, dead=("e",))
    world = World({"d.a": Signal(1.0), "d.b": Signal(2.0)}, [incident])
    on = start <= at < start + 5
    assert world.value("d.a", at) == (7.0 if on else 1.0)
    assert world.value("d.b", at) == 2.0
    assert world.alive("e", at) is not on
    assert world.alive("d", at)


async def test_a_paced_line_takes_the_time_of_its_bytes_and_a_dead_unit_none(
    make_plan: Callable[[str], Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(SERIAL.format(profile="water/keller-30x"))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("gateway.sim.modbus.asyncio.sleep", sleep)
    incident = Incident("off", 10, 20, dead=("d",))
    sent = Sent()
    now = [5.0]
    units = Units(plan.links[0], World({}, [incident]), sent, lambda: (1, now[0]))
    line = PtyLine(9600)
    answers: list[bytes] = []
    monkeypatch.setattr(line, "put", lambda data: answers.append(data) or True)
    requests = asyncio.Queue[bytes]()
    monkeypatch.setattr(line, "receive", requests.get)
    task = asyncio.create_task(serve_rtu(line, units))
    op = plan.links[0].ops[0]
    request = rtu_request(1, op.function, op.address, op.count)
    requests.put_nowait(request)
    while not answers:
        await asyncio.wait({task}, timeout=0)
    assert slept[0] >= (len(request) + len(answers[0])) * 10 / 9600
    assert sent.readings == len(op.channels)
    now[0] = 15.0
    requests.put_nowait(request)
    while not requests.empty():
        await asyncio.wait({task}, timeout=0)
    assert len(answers) == 1
    task.cancel()


def test_a_request_nobody_planned_is_answered_and_counts_no_reading(make_plan: Callable[[str], Plan]) -> None:
    plan = make_plan(SERIAL.format(profile="water/keller-30x"))
    units = Units(plan.links[0], World({}), Sent(), lambda: (0, 0.0))
    probe = ReadHoldingRegistersRequest(dev_id=1, address=0, count=1)
    answered = units.answer(probe)
    assert answered is not None
    assert answered[1] == {}
    assert units.answer(ReadHoldingRegistersRequest(dev_id=9, address=0, count=1)) is None


def test_profiles_are_found() -> None:
    assert len(PROFILES) >= 13
    assert all(Path(name).parent.name for name in PROFILES)

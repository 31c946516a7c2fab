"""Values whose power of ten stands in a register beside them: read together, never guessed."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.image import ModbusImage
from protocols.modbus.codec import Decoder
from protocols.modbus.planner import plan
from protocols.modbus.points import Options, check

INVERTER = peers.device("inverter")
NOT_IMPLEMENTED = 0x8000


def words(*registers: int) -> bytes:
    return struct.pack(f">{len(registers)}H", *(register & 0xFFFF for register in registers))


def decoded(*registers: int, **keys: object) -> float:
    """Of a register at 0 whose scale factor is at 1."""
    point = peers.point(0, INVERTER, 0, scale_factor=1, **keys)
    value, absent = Decoder([point], 3, 0).decode(words(*registers))
    assert (absent is not None and bool(absent[0])) == bool(np.isnan(value[0]))
    return float(value[0])


@pytest.mark.parametrize(
    ("raw", "power", "means"),
    [(440, -1, 44.0), (2305, -1, 230.5), (5, 3, 5000.0), (7, 0, 7.0), (65535, -10, 65535e-10), (3, 10, 3e10)],
)
def test_a_power_of_ten_scales_the_value(raw: int, power: int, means: float) -> None:
    assert decoded(raw, power) == means
    assert decoded(raw, power, scale=0.5, offset=1.0) == pytest.approx(means * 0.5 + 1.0)


@pytest.mark.parametrize("power", [NOT_IMPLEMENTED, 11, -11, 0x7FFF])
def test_a_power_that_is_none_leaves_no_value(power: int) -> None:
    assert np.isnan(decoded(440, power))


def test_the_values_own_sentinel_counts_before() -> None:
    assert np.isnan(decoded(0xFFFF, -1, nan=(0xFFFF,)))


def test_other_values_of_the_block_are_as_they_were() -> None:
    points = [peers.point(0, INVERTER, 0), peers.point(1, INVERTER, 1, type="int16", scale_factor=2)]
    decoder = Decoder(points, 3, 0)
    value, absent = decoder.decode(words(123, -5, NOT_IMPLEMENTED))
    row = {points[i].channel: float(v) for i, v in zip(decoder.order, value, strict=True)}
    assert row[0] == 123.0
    assert np.isnan(row[1])
    assert absent is not None
    assert absent.sum() == 1


def test_value_and_power_come_from_one_request() -> None:
    far = [peers.point(0, INVERTER, 10), peers.point(1, INVERTER, 0, scale_factor=60), peers.point(2, INVERTER, 90)]
    assert [(op.address, op.count) for op in plan(far)] == [(0, 61), (90, 1)]
    before = [peers.point(0, INVERTER, 40, type="uint32", scale_factor=20), peers.point(1, INVERTER, 45)]
    [op] = plan(before)
    assert (op.address, op.count) == (20, 26)
    assert [(half.address, half.count) for half in op.halves()] == [(20, 22), (45, 1)]
    assert all(not 1 <= cut < 22 for cut in op.cuts), "a value is not cut from its power"


def test_those_that_share_a_power_stay_together() -> None:
    phases = [peers.point(i, INVERTER, i, scale_factor=3) for i in range(3)]
    [op] = plan(phases)
    assert (op.address, op.count, op.halves(), op.cuts) == (0, 4, (), ())


@pytest.mark.parametrize(
    ("keys", "words_"),
    [
        ({"address": 5, "type": "uint32", "scale_factor": 6}, "beside the value"),
        ({"address": 5, "scale_factor": 200}, "one request must read both"),
        ({"address": 5, "scale_factor": 70_000}, "0 to 65535"),
        ({"address": 5, "type": "float32", "scale_factor": 9}, "a float has its own exponent"),
        ({"address": 5, "bit": 3, "scale_factor": 9}, "a bit has none"),
        ({"address": 5, "function": 1, "scale_factor": 9}, "a coil is one bit"),
    ],
)
def test_a_factor_that_cannot_be_is_a_fault(keys: dict[str, object], words_: str) -> None:
    faults = check(INVERTER, [peers.point(0, INVERTER, **keys)])  # type: ignore[arg-type]
    assert any(words_ in fault[2] for fault in faults), faults


def test_a_factor_in_a_forbidden_range_is_a_fault() -> None:
    device = peers.device(forbidden=((8, 8),))
    assert [fault[1] for fault in check(device, [peers.point(0, device, 5, scale_factor=9)])] == ["address"]
    assert Options().forbids(5, 10) is None


def test_what_is_scaled_so_is_not_written() -> None:
    point = replace(peers.point(0, INVERTER, 5, scale_factor=9), writable=(0.0, 1.0))
    assert [(fault[1], "scale factor" in fault[2]) for fault in check(INVERTER, [point])] == [("writable", True)]


@given(
    st.lists(st.floats(-30_000, 30_000), min_size=3, max_size=3),
    st.sampled_from(["int16", "int32"]),
    st.sampled_from([1.0, 0.001, 10.0]),
)
def test_a_simulated_device_shows_what_it_means(values: list[float], kind: str, scale: float) -> None:
    width = 2 if kind == "int32" else 1
    points = [
        peers.point(i, INVERTER, width * i, type=kind, scale=scale, scale_factor=3 * width, nan=(-32768,))
        for i in range(3)
    ]
    [op] = plan(points)
    registers, told = ModbusImage(points).registers(3, op.address, op.count, lambda point: values[point.channel])
    value, absent = op.decoder.decode(words(*registers))
    assert absent is None
    power = registers[-1] - 0x10000 if registers[-1] & 0x8000 else registers[-1]
    for row, i in enumerate(op.decoder.order):
        assert value[row] == pytest.approx(told[points[i].name])
        assert value[row] == pytest.approx(values[i], abs=scale * 10.0**power)

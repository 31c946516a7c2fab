"""Fewest requests, nothing split, nothing touched that is forbidden; and the faults of points in words."""

from __future__ import annotations

import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from protocols.api import Link, PlanError
from protocols.modbus.planner import plan
from protocols.modbus.points import WORDS, Options, Register, check, check_link

METER = peers.device()
LINE = Link("line", "serial:/dev/ttyS0", baud=9600)


def spans(*points: object) -> list[tuple[int, int, int]]:
    return [(op.function, op.address, op.count) for op in plan(points)]  # type: ignore[arg-type]


def test_neighbours_are_one_request() -> None:
    points = [peers.point(i, METER, 2 * i, type="float32") for i in range(6)]
    assert spans(*points) == [(3, 0, 12)]
    assert [op.describe() for op in plan(points)] == ["unit 1 FC3 0-11 (12 registers)"]


def test_gaps_are_read_through_up_to_max_gap() -> None:
    assert spans(peers.point(0, METER, 0), peers.point(1, METER, 9)) == [(3, 0, 10)]
    assert spans(peers.point(0, METER, 0), peers.point(1, METER, 10)) == [(3, 0, 1), (3, 10, 1)]


def test_coils_count_sixteen_to_a_register() -> None:
    assert spans(peers.point(0, METER, 0, function=1), peers.point(1, METER, 128, function=1)) == [(1, 0, 129)]


def test_device_function_and_period_are_kept_apart() -> None:
    rope = peers.device("rope", 2)
    points = (
        peers.point(0, METER, 0),
        peers.point(1, METER, 1, function=4),
        peers.point(2, METER, 2, period_s=60.0),
        peers.point(3, rope, 3),
    )
    assert [(op.unit, op.function, op.period_s) for op in plan(points)] == [
        (1, 3, 1.0),
        (1, 3, 60.0),
        (1, 4, 1.0),
        (2, 3, 1.0),
    ]


def test_a_value_is_never_split() -> None:
    small = peers.device(max_registers=5)
    points = [peers.point(i, small, 2 * i, type="float32") for i in range(5)]
    assert spans(*points) == [(3, 0, 4), (3, 4, 4), (3, 8, 2)]


def test_forbidden_registers_are_walked_round() -> None:
    careful = peers.device(forbidden=((3, 4),))
    assert spans(peers.point(0, careful, 2), peers.point(1, careful, 5)) == [(3, 2, 1), (3, 5, 1)]
    with pytest.raises(PlanError, match="forbidden") as fault:
        plan([peers.point(7, careful, 3)])
    assert fault.value.where == "meter.3.7"


def test_bits_of_one_register_are_one_register() -> None:
    assert spans(*(peers.point(i, METER, 40, bit=i) for i in range(16))) == [(3, 40, 1)]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(sorted(WORDS))), min_size=1, max_size=40),
    st.integers(4, 125),
    st.integers(0, 20),
    st.tuples(st.integers(0, 300), st.integers(0, 5)),
)
def test_any_points_are_served_once_within_the_limits(
    wanted: list[tuple[int, str]], most: int, gap: int, banned: tuple[int, int]
) -> None:
    forbidden = ((banned[0], banned[0] + banned[1]),)
    device = peers.device(max_registers=most, max_gap=gap, forbidden=forbidden)
    points = [peers.point(i, device, address, type=kind) for i, (address, kind) in enumerate(wanted)]
    points = [p for p in points if device.options.forbids(p.spec.address, p.spec.end) is None]
    ops = plan(points)
    assert sorted(channel for op in ops for channel in op.channels) == [p.channel for p in points]
    by_channel = {p.channel: p.spec for p in points}
    for op in ops:
        assert op.count <= most
        assert device.options.forbids(op.address, op.address + op.count) is None
        for channel in op.channels:
            assert op.address <= by_channel[channel].address
            assert by_channel[channel].end <= op.address + op.count


def test_wire_time_of_ten_registers_at_9600_baud() -> None:
    (op,) = plan([peers.point(i, METER, i) for i in range(10)])
    assert op.wire_s(LINE) == pytest.approx((8 + 25 + 7) * 10 / 9600)
    assert op.wire_s(Link("fast", "serial:/dev/ttyS0", baud=38_400)) == pytest.approx(33 * 10 / 38_400 + 0.0035)
    assert op.wire_s(Link("lan", "tcp://10.0.0.1:502")) == 0.0


@pytest.mark.parametrize(
    ("options", "keys", "key", "words"),
    [
        ({}, {"address": 65535, "type": "uint32"}, "address", "ends beyond 65535"),
        ({}, {"address": 70000}, "address", "zero-based"),
        ({}, {"address": 1, "bit": 16}, "bit", "0 \\(least\\) to 15"),
        ({}, {"address": 1, "bit": 3, "type": "int32"}, "bit", "one register"),
        ({}, {"address": 1, "mask": 3, "type": "float32"}, "mask", "integer"),
        ({}, {"address": 1, "mask": 0x10000}, "mask", "0xffff"),
        ({}, {"address": 1, "mask": 1, "bit": 1}, "mask", "exclude"),
        ({}, {"address": 1, "nan": (0x10000,)}, "nan", "cannot hold"),
        ({}, {"address": 1, "function": 2, "type": "uint32"}, "type", "one bit"),
        ({"max_registers": 3}, {"address": 1, "type": "float64"}, "type", "wider"),
        ({"forbidden": ((5, 9),)}, {"address": 8}, "address", "forbidden range"),
        ({"forbidden": ((5, 9),)}, {"address": 4, "type": "float32"}, "address", "forbidden range"),
    ],
)
def test_faults_of_a_point(options: dict[str, object], keys: dict[str, object], key: str, words: str) -> None:
    device = peers.device(**options)
    point = peers.point(0, device, **keys)  # type: ignore[arg-type]
    (fault,) = check(device, [point])
    assert fault[:2] == (point.name, key)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(fault[2])


def test_overlaps_that_are_meant_and_that_are_not() -> None:
    bits = [peers.point(i, METER, 40, bit=i) for i in range(16)]
    whole = peers.point(20, METER, 40)
    assert check(METER, [*bits, whole]) == ()
    flow, odd = peers.point(0, METER, 0, type="float32"), peers.point(1, METER, 1, type="float32")
    assert check(METER, [flow, odd]) == ((odd.name, "address", f'overlaps "{flow.name}" (float32 at 0)'),)
    assert check(METER, [flow, peers.point(1, METER, 1, function=4, type="float32")]) == ()
    assert check(METER, [flow, peers.point(1, METER, 0, type="uint32")]) != ()
    assert check(METER, [flow, peers.point(1, METER, 0, type="float32", scale=1000.0)]) == ()


def test_faults_of_a_device() -> None:
    assert [key for _, key, _ in check(peers.device(max_registers=126, depth=0), [])] == ["max_registers", "depth"]
    assert [key for _, key, _ in check(peers.device(forbidden=((9, 5),)), [])] == ["forbidden"]
    assert [key for _, key, _ in check(peers.device(unit=256), [])] == ["unit"]


@pytest.mark.parametrize(("unit", "serial", "tcp"), [(0, False, True), (247, True, True), (255, False, True)])
def test_units_by_kind_of_link(unit: int, serial: bool, tcp: bool) -> None:
    device = peers.device(unit=unit)
    assert (check_link(LINE, device) == "") is serial
    assert (check_link(Link("lan", "tcp://10.0.0.1:502"), device) == "") is tcp


def test_profile_keys_are_closed_sets() -> None:
    keys = {"function": 3, "address": 1, "type": "float32", "order": "CDAB", "nan": [1]}
    assert TypeAdapter(Register).validate_python(keys) == Register(3, 1, "float32", "CDAB", nan=(1,))
    assert TypeAdapter(Options).validate_python({"forbidden": [[1, 2]]}) == Options(forbidden=((1, 2),))
    for wrong in ({"type": "unt16"}, {"order": "ACBD"}, {"function": 5}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            TypeAdapter(Register).validate_python(keys | wrong)

"""A simulated UART is a UART, and a simulated slave answers as its profile says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.bus import EXCEPTION, Bus, Slave, with_crc
from gateway.sim.uart import Setting, heard, wave
from protocols.api import Device, Point
from protocols.modbus.codec import reply_data, rtu_request
from protocols.modbus.crc import crc16
from protocols.modbus.points import Options, Register

SETTINGS = st.builds(Setting, st.sampled_from([1200, 9600, 115200]), st.sampled_from("NEO"), st.sampled_from([1, 2]))


@given(st.binary(min_size=1, max_size=40), SETTINGS)
def test_equal_settings_hear_every_byte(data: bytes, setting: Setting) -> None:
    chars = heard([wave(data, setting, 0.5)], setting)
    assert bytes(char.byte for char in chars) == data
    assert all(char.is_clean for char in chars)


@given(st.binary(min_size=4, max_size=40), st.sampled_from([("E", "O"), ("O", "E")]))
def test_the_wrong_parity_is_seen_at_every_character(data: bytes, pair: tuple[str, str]) -> None:
    sent, own = (Setting(9600, parity) for parity in pair)
    assert not any(char.is_clean for char in heard([wave(data, sent, 0.0)], own))


@given(st.binary(min_size=1, max_size=9), st.binary(min_size=1, max_size=9))
def test_two_in_step_are_a_wired_and(one: bytes, other: bytes) -> None:
    setting = Setting()
    together = heard([wave(one, setting, 0.0), wave(other, setting, 0.0)], setting)
    short = min(len(one), len(other))
    assert bytes(char.byte for char in together)[:short] == bytes(a & b for a, b in zip(one, other, strict=False))


def test_the_simulators_check_is_the_drivers() -> None:
    assert crc16(with_crc(b"\x05\x03\x00\x00\x00\x01")) == 0


def slave(unit: int = 5) -> Slave:
    points = [Point(i, f"p{i}", Device("d", unit, Options()), Register(3, 10 + i), 1.0) for i in range(3)]
    return Slave(unit, points, lambda point: 100.0 + point.channel)


def test_a_slave_gives_what_it_has_and_refuses_what_it_has_not() -> None:
    assert reply_data(slave().answer(rtu_request(5, 3, 10, 3)[1:-2]), 3, 3) == bytes.fromhex("0064 0065 0066")
    assert slave().answer(rtu_request(5, 3, 0, 1)[1:-2]) == b"\x83\x02"
    assert slave().answer(rtu_request(5, 4, 10, 1)[1:-2]) == b"\x84\x01"
    assert slave().answer(b"\x2b\x0e\x01\x00") == b"\xab\x01"


@pytest.mark.parametrize(("host", "answers"), [(("N", 9600), True), (("E", 9600), False), (("N", 19200), False)])
def test_only_the_right_setting_is_answered(host: tuple[str, int], answers: bool) -> None:
    setting = Setting(host[1], host[0])
    chars = Bus([slave()]).exchange(rtu_request(5, 3, 10, 1), setting)
    assert bool(chars) is answers


def test_a_failing_slave_answers_with_an_exception() -> None:
    broken = slave()
    broken.fault = EXCEPTION
    data = bytes(char.byte for char in Bus([broken]).exchange(rtu_request(5, 3, 10, 1), Setting()))
    assert data == with_crc(b"\x05\x83\x04")

"""A search of simulated lines, bit by bit, on a clock of their own: what is found, and what is said of the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from gateway.bench.line_verdict import Address
from gateway.bench.scan import LineReport, LineScan, Setting, settings_of, worst_s
from gateway.sim.bus import CRC, LATE, SILENT, Bus, Slave
from gateway.sim.uart import Setting as Port
from protocols.api import Device, Link, Point
from protocols.modbus.points import Options, Register
from protocols.testing import FakeStream


def slave(unit: int, value: float, port: Port = Port(9600, "N"), delay_s: float = 0.004) -> Slave:  # noqa: B008
    device = Device("d", unit, Options())
    point = Point(0, "p", device, Register(3, 0), 1.0)
    return Slave(unit, [point], lambda _: value, port, delay_s=delay_s)


class Line:
    """A fake stream a setting, one clock for all."""

    def __init__(self, bus: Bus) -> None:
        self.bus, self.now_ns, self.opened = bus, 1_000_000_000, 0
        self.unasked = b""

    @asynccontextmanager
    async def open(self, link: Link) -> AsyncIterator[FakeStream]:
        self.opened += 1
        stream = FakeStream(self.bus.peer(Port(link.baud, link.parity, link.stop_bits)), self.now_ns)
        if self.unasked:
            stream.arrive(self.unasked, 0.01)
        try:
            yield stream
        finally:
            self.now_ns = stream.now_ns()


def scan(bus: Bus, units: Sequence[int], unasked: bytes = b"", **how: object) -> LineReport:
    line = Line(bus)
    line.unasked = unasked
    settings = how.pop("settings", [Setting(9600, "N")])
    return asyncio.run(LineScan("serial:/dev/none", settings, units, opened=line.open, **how).run())  # type: ignore[arg-type]


def codes(report: LineReport) -> list[str]:
    return [one.code for one in report.findings]


def test_a_device_is_found_at_the_setting_it_has() -> None:
    report = scan(Bus([slave(17, 42.0, Port(19200, "E"))]), range(1, 31), settings=settings_of((9600, 19200)))
    [found] = report.found
    assert (found.setting, found.unit, found.what) == (Setting(19200, "E"), 17, Address.DEVICE)
    assert found.says == "holding register 0 = 42"
    assert not report.findings


@pytest.mark.parametrize("delays", [(0.004, 0.004), (0.004, 0.0045), (0.004, 0.007), (0.004, 0.025)])
@pytest.mark.parametrize("values", [(230, 1077), (1, 2), (0, 65535)])
def test_two_devices_with_one_address_are_told(delays: tuple[float, float], values: tuple[int, int]) -> None:
    """In step, out of step by half a character, by some characters, and one behind the other."""
    pair = [slave(5, value, delay_s=delay) for value, delay in zip(values, delays, strict=True)]
    report = scan(Bus([*pair, slave(9, 7)]), range(1, 12))
    assert {f.unit: f.what for f in report.found} == {5: Address.DOUBLED, 9: Address.DEVICE}
    assert codes(report) == ["CG-5104"]


@pytest.mark.parametrize("seed", range(8))
def test_two_that_say_the_same_in_step_are_suspected(seed: int) -> None:
    report = scan(Bus([slave(5, 0), slave(5, 0), slave(9, 7)], seed=seed), range(1, 12))
    assert codes(report)[0] in ("CG-5104", "CG-5116")


def test_two_devices_alone_on_a_line_are_told_too() -> None:
    report = scan(Bus([slave(5, 230), slave(5, 1077)]), range(1, 12))
    assert [f.what for f in report.found] == [Address.DOUBLED]
    assert codes(report)[0] in ("CG-5104", "CG-5105")


@pytest.mark.parametrize("alone", [True, False])
def test_hardly_any_pair_within_half_a_character_passes_for_one(alone: bool) -> None:
    """The hardest: as good as in step, so that some answers come through whole, or both say the same."""
    others = [] if alone else [slave(9, 7)]
    reports = [
        scan(Bus([slave(5, value), slave(5, second, delay_s=delay), *others], seed=seed), range(4, 10))
        for seed, (value, second) in enumerate([(0xD1AC, 0xD1AC), (0x3D09, 0x3D09), (0x9948, 0x2D75), (0xAC5C, 0x0386)])
        for delay in (0.004, 0.0043)
    ]
    told = [one for report in reports for one in report.found if (one.unit, one.what) == (5, Address.DOUBLED)]
    assert len(told) >= len(reports) - 1
    assert max(report.requests for report in reports) < 60


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0])
def test_a_device_whose_answers_are_nearly_all_spoilt_is_one_device(rate: float) -> None:
    """One bit of each answer is wrong: what most answers to one read agree on is the answer."""
    for seed in range(6):
        spoilt = slave(4, 0x1234 + seed)
        spoilt.fault, spoilt.fault_rate = CRC, rate
        report = scan(Bus([spoilt], seed=seed), range(3, 7))
        assert [(f.unit, f.what) for f in report.found] == [(4, Address.ERRORS)]


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_noise_makes_no_two_devices_of_one(noise: float) -> None:
    for seed in range(6):
        report = scan(Bus([slave(4, 0x3039), slave(6, 3)], seed=seed, noise=noise), range(3, 8))
        assert {f.what for f in report.found} <= {Address.DEVICE, Address.ERRORS}


def test_a_silent_line_is_called_silent() -> None:
    assert codes(scan(Bus([]), range(1, 12))) == ["CG-5100"]


def test_an_adapter_that_hears_itself_is_told_from_a_silent_line() -> None:
    assert codes(scan(Bus([], echo=True), range(1, 12))) == ["CG-5101"]


def test_an_echo_does_not_hide_a_device() -> None:
    report = scan(Bus([slave(3, 5)], echo=True), range(1, 12))
    assert [(f.unit, f.what) for f in report.found] == [(3, Address.DEVICE)]


def test_bytes_without_meaning_are_noise() -> None:
    assert codes(scan(Bus([]), range(1, 12), unasked=bytes.fromhex("fe 80 f8 00 9f"))) == ["CG-5102"]


def test_noise_at_every_address_ends_the_setting() -> None:
    report = scan(Bus([], babble=5), range(1, 248))
    assert codes(report) == ["CG-5102"]
    assert report.requests < 120


def test_somebody_elses_frames_are_another_master() -> None:
    assert codes(scan(Bus([]), range(1, 12), unasked=bytes.fromhex("11 03 00 00 00 01 86 9a"))) == ["CG-5106"]


def test_answers_spoilt_now_and_then_are_errors_of_the_line() -> None:
    spoilt = slave(4, 99)
    spoilt.fault, spoilt.fault_rate = CRC, 0.5
    report = scan(Bus([spoilt], seed=3), range(1, 12))
    assert [(f.unit, f.what) for f in report.found] == [(4, Address.ERRORS)]
    assert codes(report) == ["CG-5103"]


@pytest.mark.parametrize("fault", [SILENT, LATE])
def test_a_device_that_does_not_answer_in_time_is_not_found(fault: str) -> None:
    dead = slave(4, 99)
    dead.fault = fault
    report = scan(Bus([dead]), range(1, 9))
    assert not [f for f in report.found if f.unit == 4]


def test_the_search_ends_within_its_time_and_says_what_was_left() -> None:
    report = scan(Bus([]), range(1, 248), settings=settings_of(), within_s=5.0)
    assert report.seconds < 6.0
    assert report.untried > 2000
    assert codes(report)[-1] == "CG-5107"


def test_a_silent_line_takes_hardly_more_than_its_time_outs() -> None:
    settings = settings_of()
    report = scan(Bus([]), range(1, 248), settings=settings)
    assert report.requests == 12 * 247
    assert report.timeouts_s == pytest.approx(worst_s(settings, range(1, 248)), rel=0.01)
    assert report.seconds <= 1.2 * report.timeouts_s

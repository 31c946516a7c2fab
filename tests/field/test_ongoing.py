"""Links that go on while the plan around them changes: which ones do; nothing they read is lost or misnamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.field.coverage import Coverage
from gateway.field.ongoing import Ongoing, Running, same_links
from gateway.site.plan import Plan
from protocols.api import Batch

S = 1_000_000_000
HEAD = '[[links]]\nname = "{0}"\nurl = "tcp://127.0.0.1:{1}"\n'
DEVICE = '[[devices]]\nname = "{0}"\nprofile = "streetlight/waveshare-relay8"\nlink = "{1}"\nunit = {2}\n'
BUS, TWO = HEAD.format("bus", 1502), HEAD.format("two", 1503)
OLD = BUS + TWO + DEVICE.format("a", "bus", 1) + DEVICE.format("m", "two", 1)


class Runner:
    """A link's loop that reads whatever it is told to."""

    def __init__(self, name: str, sink: Callable[[Batch], None]) -> None:
        self.name, self.sink, self.numbers, self.dies = name, sink, None, None
        self.ended = False

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await asyncio.sleep(0)
            if self.dies is not None:
                raise self.dies
        self.ended = True


def batch(channels: list[int], at_ns: int = 0) -> Batch:
    made = Batch.failed(channels, at_ns, 0)
    return made._replace(value=np.array(channels, np.float64))


@pytest.mark.parametrize(
    ("new", "same"),
    [
        (OLD, {"bus", "two"}),
        (TWO + BUS + DEVICE.format("m", "two", 1) + DEVICE.format("a", "bus", 1), {"bus", "two"}),  # other numbers
        (OLD.replace('"m"', '"n"'), {"bus"}),
        (OLD.replace("1503", "1504"), {"bus"}),
        (OLD + "period_s = 5\n", {"bus"}),
        (OLD + DEVICE.format("more", "two", 2), {"bus"}),
        (OLD.replace('"two"', '"three"'), {"bus"}),
        (BUS + DEVICE.format("a", "bus", 1), {"bus"}),
        (
            OLD.replace('"bus"\nurl = "tcp://127.0.0.1:1502"', '"bus"\nurl = "tcp://127.0.0.1:1502"\ntimeout_s = 3'),
            {"two"},
        ),
    ],
)
def test_which_links_are_the_same(make_plan: Callable[[str], Plan], new: str, same: set[str]) -> None:
    assert same_links(make_plan(OLD), make_plan(new)) == same


def test_another_label_or_window_of_a_channel_stops_no_link(make_plan: Callable[[str], Plan]) -> None:
    assert same_links(make_plan(OLD), make_plan(OLD + "window_s = 300\n")) == {"bus", "two"}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan]:
    """A plan, and one in which the channels of link `two` come first."""
    from gateway.site.compile import load_plan

    made = []
    for name, text in (("a", OLD), ("b", TWO + BUS + DEVICE.format("m", "two", 1) + DEVICE.format("b", "bus", 1))):
        path = tmp_path_factory.mktemp(name) / "site.toml"
        path.write_text('schema = 1\n[gateway]\nid = "cab"\n' + text)
        made.append(load_plan(path))
    return made[0], made[1]


@given(st.lists(st.sampled_from(["read", "hold", "take"]), max_size=12))
def test_every_reading_arrives_once_in_order_and_by_its_name(plans: tuple[Plan, Plan], steps: list[str]) -> None:
    plan, other = plans
    got: list[tuple[str, int]] = []
    runner, now = Runner("two", lambda batch: take(plan, batch)), [plan, other]

    def take(under: Plan, batch: Batch) -> None:
        got.extend(
            (under.channels[channel].name, time_ns)
            for channel, time_ns in zip(batch.channel.tolist(), batch.time_ns.tolist(), strict=True)
        )

    names = {channel.index: channel.name for channel in plan.channels if channel.device == "m"}
    ongoing = Ongoing({"two": Running(runner, names, asyncio.Event(), None)})  # type: ignore[arg-type]
    wanted: list[tuple[str, int]] = []
    for at_ns, step in enumerate([*steps, "take"]):
        if step == "read":
            runner.sink(batch(list(names), at_ns))
            wanted += [(name, at_ns) for name in names.values()]
        elif step == "hold":
            ongoing.hold(frozenset(("two", "unknown")))
        else:
            now.reverse()
            ongoing.take_over(now[0], lambda batch, under=now[0]: take(under, batch))  # type: ignore[misc]
            numbers = {channel.name: channel.index for channel in now[0].channels}
            assert runner.numbers == {numbers[name]: number for number, name in names.items()}
    assert got == wanted
    assert ongoing.held == []


def test_those_that_end_have_ended_and_the_others_run_on(plans: tuple[Plan, Plan]) -> None:
    async def work() -> None:
        ongoing, runners = Ongoing(), [Runner(name, lambda batch: None) for name in ("bus", "two")]
        for runner in runners:
            ongoing.start(runner, plans[0])  # type: ignore[arg-type]
        await ongoing.end(frozenset(("two",)))
        assert [runner.ended for runner in runners] == [True, False]
        assert list(ongoing.running) == ["two"]
        await ongoing.end()
        assert runners[1].ended
        assert ongoing.running == {}

    asyncio.run(work())


def test_what_a_link_dies_of_is_raised(plans: tuple[Plan, Plan]) -> None:
    async def work() -> None:
        ongoing, runner = Ongoing(), Runner("two", lambda batch: None)
        ongoing.start(runner, plans[0])  # type: ignore[arg-type]
        runner.dies = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            await ongoing.broken()
        with pytest.raises(ZeroDivisionError):
            await ongoing.end()

    asyncio.run(work())


def test_no_gap_is_told_for_a_link_that_goes_on(plans: tuple[Plan, Plan]) -> None:
    plan = plans[0]
    on = {channel.index for channel in plan.channels if channel.device == "m"}
    covered = {channel.name: 10 * S for channel in plan.channels}
    settings: dict[str, Any] = {"boot": "b", "covered_boot": "b", "clean": True, "started_ns": 20 * S}
    coverage = Coverage(plan.channels, covered, **settings, going_on=on)
    [gap], told = coverage.begin()
    assert {channel for entry in gap.entries for channel in entry[0]} == {c.index for c in plan.channels} - on
    assert set(told) == {channel.name for channel in plan.channels if channel.index not in on}
    fresh = Coverage(plan.channels, {}, **settings, going_on=on)
    assert fresh.begin() == ([], {channel.name: 20 * S for channel in plan.channels})
    assert gap.reason == "stopped"

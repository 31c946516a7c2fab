"""Commands under leases: whatever happens, a device is at a value under a living lease or at its resting value."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.field import leases as leases_module
from gateway.field.commands import STUCK, Commands
from gateway.field.leases import FILE, Lease, Leases, Step
from gateway.field.scheduler import LinkRunner
from gateway.site.plan import CommandRules, Plan
from gateway.spool import audit
from gateway.spool.records import Event, Phase
from gateway.wire import state
from protocols.api import Batch, LinkDown, Quality, Written

S = 1_000_000_000
LONGEST_S = 600.0
SITE = """
[[links]]
name = "bus"
url = "tcp://127.0.0.1:1502"
[[devices]]
name = "lamps"
profile = "streetlight/waveshare-relay8"
link = "bus"
unit = 1
"""


class Killed(BaseException):
    """The process is gone, here and at once."""


@dataclass
class Device:
    """Two lamps that outlive every process. `trouble`: what happens to a write."""

    folder: Path
    names: dict[int, str]
    value: dict[int, float]
    trouble: str = ""
    fault: LinkDown | None = None  # the link's own
    up: bool = True
    killed: bool = False
    reader: Any = None
    writes: list[tuple[str, float]] = field(default_factory=list)
    unleased: list[tuple[str, float]] = field(default_factory=list)

    async def errand(self, work: Callable[[Any], Any]) -> Any:
        if self.trouble == "down":
            raise LinkDown("gone", code="CG-3007")
        return await work(self)

    async def read(self, ops: Sequence[Any], timeout_s: float) -> Batch:
        channels = [channel for op in ops for channel in op.channels]
        batch = Batch.failed(channels, 0, Quality.GOOD)
        return batch._replace(value=np.array([self.value.get(one, 0.0) for one in channels]))

    async def write(self, channel: int, value: float) -> Written:
        name = self.names[channel]
        self.writes.append((name, value))
        if not any(
            one["point"] == name and value in (one["value"], one["rest"])
            for one in json.loads((self.folder / FILE).read_text())["leases"]
        ):
            self.unleased.append((name, value))
        if self.trouble == "killed before":
            self.killed = True
            raise Killed
        if self.trouble == "refused":
            return Written(Quality.REFUSED, math.nan, 0, "illegal data value")
        if self.trouble in ("deaf", "down"):
            return Written(Quality.NO_REPLY, math.nan, 0, "no valid answer")
        self.value[channel] = value
        if self.trouble == "killed after":
            self.killed = True
            raise Killed
        if self.trouble == "mute":
            return Written(Quality.NO_REPLY, math.nan, 0, "no valid answer")
        if self.trouble == "other":
            self.value[channel] = value / 2
            return Written(Quality.SUSPECT, value / 2, 0, "reads back another")
        return Written(Quality.GOOD, value, 0)


class Gateway:
    """A field half's commands that can be killed and started again, on a clock of the test."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.now_ns, self.is_maintained = 1000 * S, False
        names = {channel.index: channel.name for channel in plan.channels}
        points = tuple(
            replace(point, writable=None if point.name.endswith("8") else (0.0, 100.0))
            for point in plan.links[0].points
        )
        self.plan = replace(
            plan,
            state_dir=str(folder),
            links=(replace(plan.links[0], points=points),),
            commands=CommandRules(("lamps.*",), 600.0, LONGEST_S),
        )
        self.device = Device(folder, names, dict.fromkeys(names, 7.0))
        self.standing: dict[str, Event] = {}
        self.start()

    def start(self) -> None:
        self.commands = Commands(self.plan, lambda _: self.is_maintained, lambda: self.now_ns)
        self.commands.begin({"bus": cast(LinkRunner, self.device)}, self.emit, self.standing)

    def emit(self, events: Sequence[Event]) -> None:
        for one in events:
            if one.phase is Phase.CLEAR:
                self.standing.pop(one.key)
            else:
                assert one.key not in self.standing
                self.standing[one.key] = one

    async def ask(self, point: str, value: float | None = None, lease_s: float = 60.0, **more: Any) -> Any:
        words: dict[str, Any] = {"command": point, "by": "center:main kim", **more}
        words |= {"off": True} if value is None else {"value": value, "lease_s": lease_s}
        return await self.commands.errands()["command"](words)

    async def turn(self, after_s: float = 0.0) -> None:
        self.now_ns += round(after_s * S)
        await self.commands.turn()
        await self.commands.settle()
        if self.device.killed:
            raise Killed

    def at(self, point: str) -> float:
        return next(self.device.value[index] for index, name in self.device.names.items() if name == point)


@pytest.fixture
def gateway(make_plan: Callable[[str], Plan], tmp_path: Path) -> Gateway:
    return Gateway(make_plan(SITE), tmp_path)


@pytest.fixture
def one(gateway: Gateway) -> str:
    return next(iter(gateway.device.names.values()))


async def test_a_value_stands_for_its_time_and_goes_back_to_what_was_there(gateway: Gateway, one: str) -> None:
    answer = await gateway.ask(one, 40, 60)
    assert (answer["value"], answer["rest"], answer["quality"]) == (40, 7, "good")
    await gateway.turn(59)
    assert gateway.at(one) == 40
    assert gateway.commands.shown()["leases"][0]["left_s"] == 1
    await gateway.turn(1)
    assert gateway.at(one) == 7
    assert not gateway.commands.leases.all()
    entries = audit.entries(Path(gateway.plan.state_dir) / audit.FILE)
    assert [(entry["what"], entry["by"]) for entry in entries] == [
        ("command", "center:main kim"),
        ("command over", "center:main kim"),
    ]


async def test_a_renewed_lease_keeps_the_first_resting_value(gateway: Gateway, one: str) -> None:
    await gateway.ask(one, 40, 60)
    await gateway.turn(50)
    assert (await gateway.ask(one, 60, 60))["rest"] == 7
    await gateway.turn(59)
    assert gateway.at(one) == 60
    assert (await gateway.ask(one))["value"] == 7
    assert (await gateway.ask(one))["code"] == "CG-6132"


async def test_a_profile_may_say_what_a_point_rests_at(gateway: Gateway, one: str) -> None:
    link = gateway.plan.links[0]
    gateway.plan = replace(
        gateway.plan, links=(replace(link, points=tuple(replace(point, rest=100.0) for point in link.points)),)
    )
    gateway.start()
    assert (await gateway.ask(one, 40, 60))["rest"] == 100
    await gateway.turn(60)
    assert gateway.at(one) == 100


async def test_what_is_not_allowed_writes_nothing(gateway: Gateway, one: str) -> None:
    last = list(gateway.device.names.values())
    unwritable = next(name for name in last if name.endswith("8"))
    asked: tuple[tuple[str, Any, Any, str], ...] = (
        ("lamps.nothing", 1, 60, "CG-6120"),
        (unwritable, 1, 60, "CG-6122"),
        (one, 101, 60, "CG-6123"),
        (one, -1, 60, "CG-6123"),
        (one, 1, 0, "CG-6124"),
        (one, 1, LONGEST_S + 1, "CG-6124"),
        (one, math.nan, 60, "CG-6136"),
        (one, "1", 60, "CG-6136"),
        (one, True, 60, "CG-6136"),
        (one, 1, math.inf, "CG-6136"),
    )
    for point, value, lease_s, code in asked:
        assert (await gateway.ask(point, value, lease_s))["code"] == code
    gateway.is_maintained = True
    assert (await gateway.ask(one, 1, 60))["code"] == "CG-6125"
    gateway.is_maintained = False
    gateway.plan = replace(gateway.plan, commands=CommandRules())
    gateway.start()
    assert (await gateway.ask(one, 1, 60))["code"] == "CG-6121"
    assert gateway.device.writes == []


async def test_a_device_that_shows_what_cannot_be_written_takes_no_command(gateway: Gateway, one: str) -> None:
    gateway.device.value = dict.fromkeys(gateway.device.value, 250.0)
    assert (await gateway.ask(one, 40, 60))["code"] == "CG-6133"
    gateway.device.trouble = "down"
    assert (await gateway.ask(one, 40, 60))["code"] == "CG-6133"
    gateway.device.up = False
    assert (await gateway.ask(one, 40, 60))["code"] == "CG-6137"
    assert gateway.device.writes == []


async def test_a_command_that_comes_again_is_not_written_again(gateway: Gateway, one: str) -> None:
    both = await asyncio.gather(gateway.ask(one, 40, 60, id="a"), gateway.ask(one, 40, 60, id="a"))
    assert gateway.device.writes == [(one, 40)]
    assert both[1] == both[0] | {"again": True}
    assert (await gateway.ask(one, 50, 60, id="a"))["code"] == "CG-6130"


async def test_more_than_the_site_allows_a_minute_is_refused(gateway: Gateway, one: str) -> None:
    gateway.plan = replace(gateway.plan, commands=CommandRules(("lamps.*",), 2.0, LONGEST_S))
    gateway.start()
    assert [(await gateway.ask(one, value, 60)).get("code") for value in (1, 2, 3)] == [None, None, "CG-6126"]
    await gateway.turn(60)
    assert (await gateway.ask(one, 4, 60))["value"] == 4


async def test_nothing_is_written_that_the_disk_does_not_take(
    gateway: Gateway, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(leases_module.state, "write", full)
        assert (await gateway.ask(one, 40, 60))["code"] == "CG-6128"
    assert gateway.device.writes == []
    assert not gateway.commands.leases.all()
    await gateway.ask(one, 40, 60)
    with monkeypatch.context() as broken:
        broken.setattr(leases_module.state, "write", full)
        await gateway.turn(60)
        assert gateway.at(one) == 7, "a full disk keeps no lamp lit"
    await gateway.turn(1)
    assert json.loads((Path(gateway.plan.state_dir) / FILE).read_text())["leases"] == []


async def test_what_cannot_be_put_back_is_told_and_tried_until_it_is(gateway: Gateway, one: str) -> None:
    await gateway.ask(one, 40, 60)
    gateway.device.trouble = "deaf"
    await gateway.turn(60)
    assert f"{STUCK}|{one}" in gateway.standing
    for _ in range(4):
        await gateway.turn(60)
    gateway.device.trouble = ""
    await gateway.turn(60)
    assert gateway.at(one) == 7
    assert gateway.standing == {}
    whats = [entry["what"] for entry in audit.entries(Path(gateway.plan.state_dir) / audit.FILE)]
    assert whats == ["command", "command stuck", "command over"]


async def test_an_outcome_that_nobody_knows_is_undone(gateway: Gateway, one: str) -> None:
    gateway.device.trouble = "mute"
    answer = await gateway.ask(one, 40, 60)
    assert answer["code"] == "CG-6127"
    assert gateway.at(one) == 40
    gateway.device.trouble = ""
    await gateway.turn()
    assert gateway.at(one) == 7
    assert not gateway.commands.leases.all()


async def test_a_value_that_the_device_refuses_leaves_the_lease_before_it(gateway: Gateway, one: str) -> None:
    await gateway.ask(one, 40, 60)
    gateway.device.trouble = "refused"
    assert (await gateway.ask(one, 50, 600))["code"] == "CG-6127"
    gateway.device.trouble = ""
    await gateway.turn(60)
    assert gateway.at(one) == 7


async def test_a_technician_at_the_cabinet_ends_a_lease(gateway: Gateway, one: str) -> None:
    await gateway.ask(one, 40, 60)
    async with gateway.commands.by_hand(one) as took:
        await gateway.device.write(0, 90)
        took()
    await gateway.turn(60)
    assert gateway.device.value[0] == 90
    assert not gateway.commands.leases.all()


async def test_a_restart_goes_on_and_a_boot_ends(gateway: Gateway, one: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await gateway.ask(one, 40, 60)
    gateway.start()
    await gateway.turn(30)
    assert gateway.at(one) == 40
    monkeypatch.setattr(leases_module, "kernel_boot", lambda: "another")
    gateway.start()
    gateway.now_ns = 5 * S
    await gateway.turn()
    assert gateway.at(one) == 7


async def test_a_site_that_allows_it_no_longer_ends_it(gateway: Gateway, one: str) -> None:
    await gateway.ask(one, 40, 60)
    gateway.plan = replace(gateway.plan, commands=CommandRules())
    gateway.start()
    await gateway.turn()
    assert gateway.at(one) == 7


async def test_a_file_that_cannot_be_read_counts_as_none(
    gateway: Gateway, one: str, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("", "{", "[]", '{"boot": "x", "leases": [{"point": "a"}]}', '{"boot": 1, "leases": 3}'):
        (Path(gateway.plan.state_dir) / FILE).write_text(text)
        caplog.clear()
        gateway.start()
        assert "CG-6131" in caplog.text
    assert (await gateway.ask(one, 40, 60))["value"] == 40


async def test_a_stop_does_not_wait_for_leases_and_whoever_comes_next_has_the_file(gateway: Gateway, one: str) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.commands.run(stop))
    await gateway.ask(one, 40, 60)
    stop.set()
    await running
    old = gateway.commands
    gateway.start()
    assert (await old.errands()["command"]({"command": one, "value": 1, "lease_s": 60}))["code"] == "CG-6137"
    assert [lease.step for lease in gateway.commands.leases.all()] == [Step.HELD]


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_leases_come_back_as_they_were_put(tmp_path: Path) -> None:
    kept = Leases(tmp_path)
    held = Lease("a.b", 1.5, 0.1, 5, 9, "김", Step.HELD)
    pending = Lease("a.c", 1, 0, 5, 9, "")
    kept.put(held)
    kept.put(pending)
    found = Leases(tmp_path)
    found.restore()
    assert found.all() == (held, replace(pending, step=Step.FALLING))


STEP = st.one_of(
    st.tuples(
        st.just("set"),
        st.integers(0, 1),
        st.sampled_from([0.0, 20.0, 40.0, 100.0, 101.0]),
        st.sampled_from([1.0, 30.0, 600.0, 601.0]),
    ),
    st.tuples(st.just("release"), st.integers(0, 1), st.none(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 29, 61, 700]), st.none(), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none(), st.none()),
    st.tuples(st.just("boot"), st.none(), st.none(), st.none()),
    st.tuples(
        st.just("fault"),
        st.sampled_from(["", "", "refused", "deaf", "mute", "other", "down", "killed before", "killed after"]),
        st.none(),
        st.none(),
    ),
    st.tuples(st.just("disk"), st.booleans(), st.none(), st.none()),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=14))
def test_whatever_happens_a_device_is_under_a_living_lease_or_at_rest(
    make_plan: Callable[[str], Plan], steps: list[tuple[Any, ...]]
) -> None:
    real_write, real_boot = state.write, leases_module.kernel_boot
    is_full, was_full, boot = False, False, "boot 0"

    def write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
        if is_full:
            full()
        (folder / name).write_text(json.dumps(content))  # whole at once: the disk's part is tested with the state file

    async def play(gateway: Gateway) -> None:
        nonlocal is_full, was_full, boot
        names = list(gateway.device.names.values())
        for kind, a, b, c in [*steps, ("fault", "", None, None), ("disk", False, None, None)]:
            try:
                if kind == "set":
                    await gateway.ask(names[a], b, c)
                elif kind == "release":
                    await gateway.ask(names[a])
                elif kind == "wait":
                    await gateway.turn(a)
                elif kind == "fault":
                    gateway.device.trouble = a
                elif kind == "disk":
                    is_full, was_full = a, was_full or a
                elif kind in ("restart", "boot"):
                    boot = boot if kind == "restart" else boot + "'"
                    gateway.start()
            except Killed:
                gateway.device.trouble, gateway.device.killed = "", False
                gateway.start()
            if gateway.device.trouble == "":
                await gateway.turn()
                holds(gateway)
        for _ in range(3):
            await gateway.turn(LONGEST_S + 1)
        assert set(gateway.device.value.values()) == {7.0}
        assert gateway.standing == {}
        assert not gateway.commands.leases.all()
        assert json.loads((gateway.device.folder / FILE).read_text())["leases"] == []

    def holds(gateway: Gateway) -> None:
        assert gateway.device.unleased == []
        for index, name in gateway.device.names.items():
            lease, value = gateway.commands.leases.get(name), gateway.device.value[index]
            if lease is None:
                assert value == 7.0
            elif lease.step is Step.HELD:
                assert value == lease.value or (was_full and value == 7.0)  # its end was not kept
                assert lease.until_ns > gateway.now_ns
                assert 0 <= value <= 100
            else:
                assert name in gateway.commands._tries  # it is tried again

    leases_module.state.write, leases_module.kernel_boot = write, lambda: boot  # type: ignore[assignment]
    audit_append, audit.append = audit.append, lambda *_: ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / FILE).write_text('{"boot": "", "leases": []}')
            asyncio.run(play(Gateway(_plan(make_plan), Path(folder))))
    finally:
        leases_module.state.write, leases_module.kernel_boot = real_write, real_boot
        audit.append = audit_append


_PLANS: list[Plan] = []


def _plan(make_plan: Callable[[str], Plan]) -> Plan:
    if not _PLANS:
        _PLANS.append(make_plan(SITE))
    return _PLANS[0]

"""When systemd is fed: whatever ends is progress, what never ends is not."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.field.watchdog import PATIENCE_NS, Pulse, Watchdog
from gateway.field.writer import SpoolWriter
from gateway.notify import feed_every_s, notify
from gateway.spool.records import Health, Item
from gateway.spool.trouble import SpoolError

S = 1_000_000_000


def fed(pulses: Sequence[tuple[int, list[Pulse]]]) -> list[list[str]]:
    """At each (second, pulses): who is stuck."""
    dog = Watchdog()
    return [sorted(dog.stuck(seen, second * S)) for second, seen in pulses]


def test_work_that_ends_is_progress_however_slowly() -> None:
    assert fed([(t, [Pulse("link a", t // 50)]) for t in range(0, 1000, 10)]) == [[]] * 100


def test_work_that_never_ends_is_named_after_its_patience() -> None:
    late = fed([(t, [Pulse("link a", 7), Pulse("link b", t)]) for t in (0, 60, 61, 3600)])
    assert late == [[], [], ["link a"], ["link a"]]


def test_how_long_it_has_hung_is_told() -> None:
    dog = Watchdog()
    dog.stuck([Pulse("spool", 1)], 0)
    assert dog.stuck([Pulse("spool", 1)], 90 * S) == {"spool": 90.0}


def test_who_rests_is_not_stuck_until_long_after() -> None:
    hour = 3600
    rests = Pulse("link a", 3, rests_until_ns=hour * S)
    assert fed([(t, [rests]) for t in (0, 1800, hour, hour + 60, hour + 61)]) == [[], [], [], [], ["link a"]]


def test_a_link_of_many_slow_devices_has_more_time() -> None:
    slow = Pulse("link a", 1, patience_ns=200 * S)
    assert fed([(t, [slow]) for t in (0, 199, 201)]) == [[], [], ["link a"]]


def test_once_it_moves_again_it_is_fed_again() -> None:
    assert fed([(0, [Pulse("a", 1)]), (100, [Pulse("a", 1)]), (101, [Pulse("a", 2)]), (150, [Pulse("a", 2)])]) == [
        [], ["a"], [], []
    ]  # fmt: skip


def test_a_worker_that_a_reload_took_away_is_forgotten() -> None:
    assert fed([(0, [Pulse("a", 1)]), (10, []), (100, [Pulse("a", 1)])]) == [[], [], []]


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 15.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_it_is_fed_as_often_as_systemd_asks(environ: dict[str, str], every_s: float | None) -> None:
    assert feed_every_s(environ, 42) == every_s


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("WATCHDOG=1")


class Disk:
    """A spool whose commits do as they are told."""

    def __init__(self, commit: Any) -> None:
        self.append = commit


def writer(commit: Any) -> SpoolWriter:
    return SpoolWriter(Disk(commit), "catalog")  # type: ignore[arg-type]


ITEMS: list[tuple[str, Item]] = [("city", Health(1, {"version": "1"}))]


def test_a_full_disk_is_progress() -> None:
    def full(*_: object, **__: object) -> None:
        raise SpoolError("CG-2001", "no room", "공간 부족")

    spool = writer(full)
    spool.submit(ITEMS)
    spool.turn(5.0)
    first = spool.pulse().count
    with spool._ready:
        assert spool._ready.wait_for(lambda: spool.pulse().count > first, 5.0), "tried again, and counted"
    spool.close(0.0)


def test_a_commit_that_hangs_is_not() -> None:
    entered, released = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        entered.set()
        released.wait(30)

    spool, dog = writer(hang), Watchdog()
    assert spool.pulse().count != spool.pulse().count, "nothing to commit is well"
    spool.submit(ITEMS)
    assert entered.wait(5)
    dog.stuck([spool.pulse()], 0)
    assert list(dog.stuck([spool.pulse()], PATIENCE_NS + 1)) == ["spool"]
    released.set()
    assert spool.close()
    assert dog.stuck([spool.pulse()], PATIENCE_NS + 2) == {}


def test_a_field_half_that_hangs_says_so_once_and_is_fed_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.field import field

    said: list[str] = []
    now = [0]
    monkeypatch.setattr(field, "notify", said.append)
    monkeypatch.setattr(field, "boottime_ns", lambda: now[0])
    link = SimpleNamespace(pulse=lambda: Pulse("link bus1", 5))
    half: Any = SimpleNamespace(
        links={"bus1": link}, writer=SimpleNamespace(pulse=lambda: Pulse("spool", now[0])), _watchdog=Watchdog(),
        _is_stuck=False,
    )  # fmt: skip
    for second in (0, 30, 61, 62):
        now[0] = second * S
        field.Field._feed(half)
    assert said == ["WATCHDOG=1", "WATCHDOG=1", "STATUS=stuck: link bus1 (61 s)"]

"""A gateway without a clock of its own: 1970 at boot, synchronised later, set back, or cut off before it ever knew."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.field import clock
from gateway.field.field import Field
from gateway.site.plan import Plan
from gateway.site.upstream import Catalog
from gateway.spool import spool as spool_module
from gateway.spool.records import Event, Gap, Item, Lane, Phase, Severity, Values, Window, Windows
from gateway.spool.spool import Spool
from gateway.wire import pack

S = 1_000_000_000
HOUR_NS = 3600 * S
NOW_NS = 1_790_000_000 * S
CATALOG = Catalog("cab", (("dev.p", "dev", "p", "Cel", 0, 0.1),))
READ = Windows((Window(0, 5 * S, 65 * S, 60, 60, 1.0, 2.0, 1.5, 0.1, 1.0, 1.0, 64 * S, 1.5, 2.0, 0),))
BURST = Event(
    "water.burst", Phase.ONSET, Severity.MAJOR, "city", "zone-1", 70 * S, 69 * S, 8.0, "burst", "파손",
    "WM-1", "p", "곳", 37.5, 127.0
)  # fmt: skip
SITE = """
[[links]]
name = "l"
url = "tcp://127.0.0.1:1"
[[devices]]
name = "d"
profile = "water/tuf-2000m"
link = "l"
unit = 1
"""


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int, int | None], None]:
    """Set what the wall clock shows and the kernel's bound of its error in us, None where nothing disciplines it."""
    monkeypatch.setattr(clock, "RESTORED", (tmp_path / "restored",))
    monkeypatch.setattr(clock, "RTC", tmp_path / "rtc")

    def set_(wall_ns: int, maxerror_us: int | None) -> None:
        from_ns = clock.boottime_ns()
        monkeypatch.setattr(time, "time_ns", lambda: wall_ns + clock.boottime_ns() - from_ns)
        monkeypatch.setattr(clock, "_maxerror_us", lambda: maxerror_us)

    return set_


def taken(folder: Path, lane: Lane = Lane.SUMMARY) -> list[object]:
    reader = Spool.open(folder / "spool.db", role="reader")
    try:
        return [record.item for record in reader.take("center", lane, 10)]
    finally:
        reader.close()


def test_what_a_clock_shows_is_believed_or_not(at: Callable[[int, int | None], None], tmp_path: Path) -> None:
    at(20 * S, None)
    assert clock.known_utc_offset() is None
    at(NOW_NS, None)
    known = clock.known_utc_offset()
    assert known is not None
    assert known[1] == clock.UNKNOWN_NS
    at(NOW_NS, 1500)
    known = clock.known_utc_offset()
    assert known is not None
    assert known[1] == 1_500_000
    (tmp_path / "restored").touch()
    assert clock.known_utc_offset() is not None
    at(NOW_NS, None)
    assert clock.known_utc_offset() is None
    (tmp_path / "rtc" / "rtc0").mkdir(parents=True)
    assert clock.known_utc_offset() is not None


def test_records_of_1970_wait_and_are_dated_when_the_clock_is_set(
    at: Callable[[int, int | None], None], make_plan: Callable[[str], Plan], tmp_path: Path
) -> None:
    at(20 * S, None)
    plan = make_plan(SITE)
    field = Field(plan)
    try:
        spool = field.spool
        spool.append([("center", READ), ("center", BURST)], catalog=spool.put_catalog(CATALOG))
        folder = Path(plan.state_dir)
        assert not field._clock.enter(field.spool)
        assert taken(folder) == []
        assert taken(folder, Lane.ALARM) == []
        assert spool.boot_offset(spool.boot) is None
        at(NOW_NS, 2_000)
        assert field._clock.enter(field.spool)
        assert not field._clock.enter(field.spool)
        offset = spool.boot_offset(spool.boot)
        assert offset is not None
        assert taken(folder) == [READ]
        [record] = spool.take("center", Lane.ALARM, 10)
        event = pack.decode(*pack.encode(record, CATALOG, lambda boot: offset[0])).content
        assert abs(event.time_ns - (BURST.time_ns + offset[0])) <= 1_000_000  # type: ignore[union-attr]
    finally:
        field.spool.close()
        field._lock.release()


def test_a_clock_set_back_by_an_hour_moves_no_reading(
    at: Callable[[int, int | None], None], make_plan: Callable[[str], Plan]
) -> None:
    """Readings keep their CLOCK_BOOTTIME; what is sent from then on is dated by the new offset."""
    at(NOW_NS + HOUR_NS, 2_000)
    field = Field(make_plan(SITE))
    try:
        before = field.spool.boot_offset(field.spool.boot)
        field.spool.append([("center", READ)], catalog=field.spool.put_catalog(CATALOG))
        at(NOW_NS, 2_000)
        assert field._clock.enter(field.spool)
        after = field.spool.boot_offset(field.spool.boot)
        assert before is not None
        assert after is not None
        assert before[0] - after[0] == pytest.approx(HOUR_NS, abs=60 * S)
        assert field.spool.take("center", Lane.SUMMARY, 1)[0].item == READ
    finally:
        field.spool.close()
        field._lock.release()


def test_a_boot_that_never_knew_the_time_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records are named in a gap without wall time, kept aside, and its alarm is raised anew by the next boot."""
    path = tmp_path / "spool.db"
    spool = Spool.open(path)
    first = spool.boot
    spool.clock_unset()
    rows: list[tuple[str, Item]] = [("center", READ), ("center", BURST), ("center", Values(((0, 66 * S, 1.5, 0),)))]
    spool.append(rows, catalog=spool.put_catalog(CATALOG), standing=[BURST])
    assert spool.waiting("center", Lane.SUMMARY, 10) == 0
    spool.close()
    monkeypatch.setattr(spool_module, "kernel_boot", lambda: "the next")
    spool = Spool.open(path)
    try:
        spool.set_offset(NOW_NS, 1)
        assert spool.boot != first
        assert list(spool.standing()) == []
        assert spool.take("center", Lane.SUMMARY, 10) == spool.take("center", Lane.ALARM, 10) == []
        [record] = spool.take("center", Lane.DIAGNOSTIC, 10)
        gap = record.item
        assert isinstance(gap, Gap)
        assert (gap.reason, gap.from_boot, gap.to_boot) == ("clock", first, first)
        assert gap.entries == (((0,), 5 * S - 1, 65 * S),)
        assert set(gap.records) == {(int(Lane.SUMMARY), first, 0, 1), (int(Lane.ALARM), first, 0, 0)}
        offset = spool.boot_offset
        told = pack.decode(*pack.encode(record, CATALOG, lambda boot: (offset(boot) or (None,))[0])).content
        assert (told.from_offset_ns, told.to_offset_ns) == (None, None)  # type: ignore[union-attr]
    finally:
        spool.close()

"""Summaries merged by the sending half before they are sent: none lost, all declared, none that was tried touched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.site.upstream import Catalog
from gateway.spool.records import Gap, Health, Lane, Window, Windows
from gateway.spool.spool import START, Spool

CATALOG = Catalog("cab", tuple((f"dev.p{i}", "dev", f"p{i}", "Cel", 0, 0.1) for i in range(4)))
MINUTE = 60_000_000_000
TEN, HOUR = 600, 3600


def minute(k: int, channels: tuple[int, ...] = (0, 1), n: int = 60) -> Windows:
    end = (k + 1) * MINUTE
    return Windows(
        tuple(Window(c, end - MINUTE, end, n, 60, 1.0, 2.0 + k, 1.5, 0.1, 1.0, 1.2, end, 1.5, 1.9, 0) for c in channels)
    )


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Spool, Spool]]:
    writer = Spool.open(tmp_path / "s.db")
    writer.put_catalog(CATALOG)
    writer.set_offset(0, 1000)
    reader = Spool.open(tmp_path / "s.db", role="reader")
    yield writer, reader
    writer.close()
    reader.close()


def put(writer: Spool, *items: Windows) -> None:
    writer.append([("city", item) for item in items], catalog=CATALOG.id)


def test_steps_that_are_over_are_merged_and_declared(ends: tuple[Spool, Spool]) -> None:
    writer, reader = ends
    put(writer, *(minute(k) for k in range(25)))
    assert reader.thin("city", TEN, since=START, untried=START) == 18
    found = reader.since("city", 50, moment=START, step_s=TEN, tried=START)
    assert [len(one.item.rows) for one in found if isinstance(one.item, Windows)] == [2, 2]
    first = found[0].item
    assert isinstance(first, Windows)
    assert (first.rows[0].n, first.rows[0].expected, first.rows[0].max) == (600, 600, 11.0)
    assert (first.rows[0].start_ns, first.rows[0].end_ns) == (0, 10 * MINUTE)
    (gap,) = reader.take("city", Lane.DIAGNOSTIC, 5)
    assert gap.item == Gap("thinned to 10 min", (), records=((1, writer.boot, 0, 19),))
    assert [one.seq for one in found] == [25, 26]  # numbers run on


def test_every_reading_stays_and_every_number_is_there_or_declared(ends: tuple[Spool, Spool]) -> None:
    writer, reader = ends
    for k in range(0, 130, 7):
        put(writer, *(minute(j, (0, 1)) for j in range(k, min(k + 7, 130))))
        put(writer, *(minute(j, (2,), n=50) for j in range(k, min(k + 7, 130))))
        reader.thin("city", TEN if k < 70 else HOUR, since=START, untried=START)
    records = reader.take("city", Lane.SUMMARY, 1000)
    total = sum(row.n for one in records if isinstance(one.item, Windows) for row in one.item.rows)
    assert total == 130 * (60 + 60 + 50)
    declared = {
        number
        for one in reader.take("city", Lane.DIAGNOSTIC, 1000)
        if isinstance(one.item, Gap)
        for lane, _, first, last in one.item.records
        if lane == Lane.SUMMARY
        for number in range(first, last + 1)
    }
    here = {one.seq for one in records}
    assert not here & declared
    assert here | declared == set(range(max(here) + 1))


def test_what_may_have_been_tried_goes_out_as_it_is(ends: tuple[Spool, Spool]) -> None:
    writer, reader = ends
    put(writer, *(minute(k) for k in range(12)))
    newest = reader.latest("city")
    assert newest is not None
    tried, moment = newest
    assert moment == (tried[0], 12 * MINUTE)
    put(writer, *(minute(k) for k in range(12, 35)))
    reader.thin("city", TEN, since=START, untried=tried)
    found = reader.since("city", 50, moment=START, step_s=TEN, tried=tried)
    lengths = [one.item.rows[0].end_ns - one.item.rows[0].start_ns for one in found if isinstance(one.item, Windows)]
    assert lengths == [MINUTE] * 12 + [8 * MINUTE, 10 * MINUTE]


def test_history_stays_where_it_is(ends: tuple[Spool, Spool]) -> None:
    writer, reader = ends
    put(writer, *(minute(k) for k in range(100)))
    newest = reader.latest("city")
    assert newest is not None
    boot, t_ns = newest[1]
    since = (boot, t_ns - 15 * MINUTE)
    assert len(reader.since("city", 50, moment=since, step_s=0, tried=START)) == 15
    reader.thin("city", TEN, since=since, untried=START)
    assert [one.seq for one in reader.take("city", Lane.SUMMARY, 85)] == list(range(85))


def test_one_window_alone_is_not_declared(ends: tuple[Spool, Spool]) -> None:
    writer, reader = ends
    put(writer, minute(3), minute(25))
    assert reader.thin("city", TEN, since=START, untried=START) == 0
    assert [one.seq for one in reader.since("city", 5, moment=START, step_s=TEN, tried=START)] == [0]
    assert reader.take("city", Lane.DIAGNOSTIC, 5) == []


def test_the_sending_half_tells_of_itself(tmp_path: Path, ends: tuple[Spool, Spool]) -> None:
    _, reader = ends
    said = reader.tell("city", Health(7, {"byte_budget": "byte budget: windows to 10 min"}))
    assert said is not None
    (record,) = reader.take("city", Lane.DIAGNOSTIC, 5)
    assert record.item == Health(7, {"byte_budget": "byte budget: windows to 10 min"})
    assert reader.latest("city") is None
    empty = Spool.open(tmp_path / "empty.db")
    assert empty.tell("city", Health(7, {})) is None
    empty.close()

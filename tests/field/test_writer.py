"""The spool writer while the disk refuses: alarms and gaps are kept, the oldest summaries declared beyond a bound."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from gateway.field import writer as writer_module
from gateway.field.writer import SpoolWriter
from gateway.spool.records import Draft, Event, Gap, Item, Phase, Severity, Window, Windows
from gateway.spool.trouble import SpoolError

FULL = SpoolError("CG-2001", "no room left", "공간 부족")


def window(number: int) -> Windows:
    start = number * 10
    row = Window(0, start, start + 10, 5, 5, 1.0, 2.0, 1.5, 0.1, 1.0, 1.0, start + 9, 1.5, 2.0, 0)
    return Windows((row,))


def alarm(subject: str) -> Event:
    return Event("water.leak", Phase.ONSET, Severity.MAJOR, "city", subject, 1, 1, 1.0, "wet", "누수",
                 "a", "p", "곳", None, None)  # fmt: skip


class Disk:
    """A spool whose disk can be full, or broken in a way nobody thought of."""

    def __init__(self) -> None:
        self.refuses: Exception | None = None
        self.stored: list[tuple[str, Item]] = []
        self.coverage: dict[str, int] = {}
        self.drafts: list[Draft] = []
        self.tried = threading.Event()

    def append(
        self,
        items: Sequence[tuple[str, Item]],
        *,
        catalog: str,
        standing: Sequence[Event],
        coverage: Mapping[str, int],
        draft: Draft | None,
        learnt: Mapping[str, bytes],
    ) -> None:
        self.tried.set()
        if self.refuses is not None:
            raise self.refuses
        self.stored += items
        self.coverage = dict(coverage)
        if draft is not None:
            self.drafts.append(draft)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def writer(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpoolWriter]:
    monkeypatch.setattr(writer_module, "RETRY_S", (0.001,) * 5)
    made = SpoolWriter(disk, "c", {"old": 1})  # type: ignore[arg-type]
    yield made
    disk.refuses = None
    assert made.close()


def refused_once(writer: SpoolWriter, disk: Disk, bad: Exception) -> None:
    disk.refuses = bad
    writer.submit([("u", alarm("first"))])
    writer.turn(5)
    assert writer.fault is not None


def test_what_the_disk_refused_is_stored_in_order_once_it_takes_records_again(writer: SpoolWriter, disk: Disk) -> None:
    refused_once(writer, disk, FULL)
    writer.submit([("u", window(1))], coverage={"m": 19})
    writer.submit([], draft=Draft(coverage={"m": 20}))
    writer.submit([("u", window(2))], coverage={"m": 29}, draft=Draft(coverage={"m": 30}))
    assert writer.held == 3
    disk.refuses = None
    assert writer.close()
    assert disk.stored == [("u", alarm("first")), ("u", window(1)), ("u", window(2))]
    assert disk.coverage == {"old": 1, "m": 29}
    assert disk.drafts == [Draft(coverage={"m": 30})]
    assert (writer.held, writer.fault) == (0, None)


def test_beyond_the_bound_the_oldest_summaries_become_a_gap_and_alarms_and_gaps_stay(
    writer: SpoolWriter, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "HELD_AT_MOST", 4)
    refused_once(writer, disk, FULL)
    told = Gap("crash", (((0,), 1, 2),))
    for number in range(1, 6):
        writer.submit([("u", window(number)), *([("u", told)] if number == 2 else [])])
    writer.turn(5)
    writer.turn(5)
    disk.refuses = None
    assert writer.close()
    kinds = [item for _, item in disk.stored]
    assert kinds[:2] == [alarm("first"), told]
    assert kinds[2:4] == [window(4), window(5)]
    assert kinds[4:] == [Gap("disk", (((0,), 9, 40),))]


def test_the_same_trouble_is_said_once(writer: SpoolWriter, disk: Disk, caplog: Any) -> None:
    refused_once(writer, disk, FULL)
    for _ in range(3):
        writer.turn(5)
    assert [record.message for record in caplog.records if "CG-2001" in record.message] == [str(FULL)]


def test_a_failure_nobody_thought_of_does_not_end_the_writer(writer: SpoolWriter, disk: Disk) -> None:
    refused_once(writer, disk, RuntimeError("odd"))
    assert writer.fault is not None
    assert writer.fault.code == "CG-2008"
    disk.refuses = None
    assert writer.close()
    assert disk.stored == [("u", alarm("first"))]

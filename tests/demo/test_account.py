"""The account: counted at the two ends, and not to be fooled."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.center.store import Store
from gateway.demo import script
from gateway.demo.account import Account, settle
from gateway.sim.serial import StuckLoop
from gateway.sim.world import Incident, Sent, Signal
from gateway.spool.records import Lane, Phase, Severity
from gateway.wire.rows import EventRow, GapEntry, GapRow, Message, WindowRow

S = 1_000_000_000
BEGAN = 1000 * S


def ledger(**sent: Sequence[tuple[float, float]]) -> script.Ledger:
    """channel=((play seconds, value), ...) with `__` for the dot."""
    book = Sent()
    for name, rows in sent.items():
        channel = name.replace("__", ".")
        book.times[channel] = array("q", [BEGAN + round(t * S) for t, _ in rows])
        book.values[channel] = array("d", [v for _, v in rows])
    return script.Ledger(book, StuckLoop(), BEGAN)


def window(channel: str, start_s: float, n: int) -> WindowRow:
    start = BEGAN + round(start_s * S)
    return WindowRow(channel, "V", start, start + S, n, n, 0, 0, 0, 0, 0, 0, 0, 0)


def onset(code: str, subject: str, at_s: float) -> EventRow:
    at = BEGAN + round(at_s * S)
    return EventRow(
        code, Phase.ONSET, Severity.MAJOR, "city", subject, at, at, 1.0, "en", "ko", "", "", "", 1.0, 2.0, ()
    )


def account(tmp_path: Path, book: script.Ledger, *contents: object, scenes: Sequence[script.Scene] = ()) -> Account:
    async def fill() -> None:
        store = Store(tmp_path / "c.db")
        for seq, content in enumerate(contents):
            await store.put("g", Message("b", "center", Lane.SUMMARY, seq, 0, content), 10)  # type: ignore[arg-type]
        store.close()

    asyncio.run(fill())
    return settle(
        book, scenes, tmp_path / "c.db", began_ns=BEGAN, play_s=10, warm_s=0, bytes_up=100, children={}, replay=None
    )


def readings(count: int) -> list[tuple[float, float]]:
    return [(0.5 + i, 1.0) for i in range(count)]


def test_every_reading_in_a_window_is_a_clean_account(tmp_path: Path) -> None:
    found = account(tmp_path, ledger(d__a=readings(6)), (window("d.a", 0, 4),), (window("d.a", 4, 2),))
    assert (found.sent, found.received, found.lost, found.duplicates, found.clean) == (6, 6, 0, 0, True)
    assert found.bytes_per_reading == pytest.approx(100 / 6, abs=0.01)


def test_a_reading_in_no_window_and_no_gap_is_lost(tmp_path: Path) -> None:
    found = account(tmp_path, ledger(d__a=readings(6)), (window("d.a", 0, 5),))
    assert (found.lost, found.duplicates, found.clean) == (1, 0, False)


def test_a_declared_gap_accounts_for_what_lies_strictly_inside_it(tmp_path: Path) -> None:
    bounds = (BEGAN + round(2.5 * S), BEGAN + round(5.5 * S))  # readings at 3.5 and 4.5; 2.5 and 5.5 are the bounds
    gap = GapRow("crash", (GapEntry(("d.a",), *bounds),), "", "", 0, 0, ())
    found = account(tmp_path, ledger(d__a=readings(6)), (window("d.a", 0, 3),), (window("d.a", 5, 1),), gap)
    assert (found.declared_gap, found.lost, found.duplicates) == (2, 0, 0)


def test_what_is_counted_twice_is_a_duplicate_and_does_not_hide_a_loss_elsewhere(tmp_path: Path) -> None:
    book = ledger(d__a=readings(6), d__b=readings(6))
    found = account(tmp_path, book, (window("d.a", 0, 7), window("d.b", 0, 5)))
    assert (found.lost, found.duplicates) == (1, 1)


def test_the_same_window_stored_twice_is_a_duplicate(tmp_path: Path) -> None:
    found = account(tmp_path, ledger(d__a=readings(6)), (window("d.a", 0, 3),), (window("d.a", 0, 3),))
    assert found.duplicates == 1


def test_what_a_device_said_before_the_start_is_not_counted(tmp_path: Path) -> None:
    found = account(tmp_path, ledger(d__a=[(-1.0, 1.0), *readings(2)]), (window("d.a", 0, 2),))
    assert (found.sent, found.lost) == (2, 0)


def scene(hold_s: float = 2.0) -> script.Scene:
    incident = Incident("wet", 3, 9, {"d.a": Signal(1.0)})
    return script.Scene(incident, "water.leak", "d", script.held("d.a", lambda v: v != 0, hold_s), 10)


def test_alarms_are_missed_false_and_repeated(tmp_path: Path) -> None:
    book = ledger(d__a=[(i, float(i >= 3)) for i in range(10)])
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    silent = account(tmp_path / "1", book, scenes=[scene()])
    assert (silent.alarms_expected, silent.alarms_raised, silent.alarms_missed) == (1, 0, 1)
    events = (onset("water.leak", "d", 5), onset("water.leak", "d", 7), onset("air.pm25_warning", "x", 6))
    noisy = account(tmp_path / "2", book, *events, scenes=[scene()])
    assert (noisy.alarms_raised, noisy.alarms_missed, noisy.alarms_false) == (1, 0, 2)


def test_an_alarm_is_timed_from_the_reading_that_first_satisfied_its_rule() -> None:
    rows = [(0, 0.0), (3, 1.0), (4, 0.0), (5, 1.0), (6.9, 1.0), (7, 1.0), (8, 1.0)]
    assert scene().due_ns(ledger(d__a=rows)) == BEGAN + 7 * S
    assert scene().due_ns(ledger(d__a=rows[:5])) is None


def test_most_of_a_group_and_both_witnesses() -> None:
    book = ledger(d__a=[(1, 1.0)], d__b=[(2, 0.0), (3, 1.0)], d__c=[(2.5, 1.0)])
    assert script.most_of(["d.a", "d.b", "d.c"], 2)(book) == BEGAN + round(2.5 * S)
    assert script.most_of(["d.a", "d.b"], 3)(book) is None
    both = script.together(script.held("d.a", bool, 0), script.held("d.b", bool, 0))
    assert both(book) == BEGAN + 3 * S


def test_an_absence_is_timed_from_the_deadline_it_missed() -> None:
    book = ledger(d__a=[(1, 1.0), (2, 1.0), (9, 1.0)])
    assert script.silence("d.a", 3, 4)(book) == BEGAN + 6 * S


def test_only_scenes_that_fit_are_played() -> None:
    assert script.fitting(5) == []
    assert len(script.fitting(56)) == len(script.scenes()) >= 7
    assert {s.code for s in script.fitting(17)} < {s.code for s in script.scenes()}

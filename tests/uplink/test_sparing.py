"""What a center gets from a way that must be spared, and windows as columns, over real sockets."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.center import intake
from gateway.site.upstream import Catalog, Upstream
from gateway.spool.records import Event, Lane, Phase, Severity, Window, Windows
from gateway.spool.spool import Spool
from gateway.uplink import budget, sparing
from gateway.uplink.budget import Step, file_of
from gateway.wire import columnar
from gateway.wire.columnar_dictionary import Dictionaries
from gateway.wire.credentials import create
from tests.ports import free_port
from tests.uplink.test_uplink_delivery import center, rows, secure_to, sending, until, whole

CATALOG = Catalog("cab", tuple((f"dev.p{i}", "dev", f"p{i}", "Cel", 0, 0.1) for i in range(8)))
MINUTE = 60_000_000_000


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def event(subject: str) -> Event:
    return Event(
        "water.burst", Phase.ONSET, Severity.MAJOR, "city", subject, now_ns(), now_ns(), 8.0, "burst",
        "파손", "WM", "p", "곳", 37.5, 127.0
    )  # fmt: skip


def minutes(first: int, last: int, channels: int = 8) -> list[Windows]:
    """Windows of so many minutes ago to so many minutes ago."""
    base = now_ns()
    return [
        Windows(
            tuple(
                Window(
                    c, base - (k + 1) * MINUTE, base - k * MINUTE, 60, 60, 1.0, 2.5, 1.5, 0.1, 1.0, 1.2, 0, 1.5, 1.9, 0
                )
                for c in range(channels)
            )
        )
        for k in range(first, last, -1)
    ]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Spool]:
    create("cab", tmp_path / "gw", tmp_path / "keys")
    spool = Spool.open(tmp_path / "spool.db")
    spool.put_catalog(CATALOG)
    spool.set_offset(time.time_ns() - now_ns(), 1000)
    yield spool
    spool.close()


def put(spool: Spool, *items: Any) -> None:
    spool.append([("city", item) for item in items], catalog=CATALOG.id)


def in_step(folder: Path, step: Step) -> None:
    """A gateway that left off in this step, this month."""
    kept = {"month": time.strftime("%Y-%m"), "bytes": 1000, "step": int(step), "rates": {}}
    (folder / file_of("city")).write_text(json.dumps(kept))


def columns_to(folder: Path, port: int) -> Upstream:
    return replace(secure_to(folder, port), format="columnar")


async def test_columns_arrive_and_a_center_that_forgot_is_told_again(
    tmp_path: Path, writer: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    put(writer, *minutes(5, 0))
    async with center(tmp_path, port), sending(tmp_path, columns_to(tmp_path, port)):
        await until(lambda: not writer.depth())
        for name in list(columnar.KNOWN._known):
            del columnar.KNOWN._known[name]  # as after a restart
        put(writer, *minutes(9, 5), event("x"))
        await until(lambda: not writer.depth())
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT count(*), min(n), max(max) FROM window") == [(9 * 8, 60, 2.5)]
    assert rows(tmp_path, "SELECT count(*) FROM event") == [(1,)]
    assert "CG-4103" not in caplog.text
    assert not rows(tmp_path, "SELECT 1 FROM gap")


async def test_a_backlog_of_columns_survives_a_center_that_forgets_everything(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar.decode, "__defaults__", (Dictionaries(most=1),))
    port = free_port()
    put(writer, *(one for k in range(60, 0, -1) for one in minutes(k, k - 1, channels=1 + k % 5)))
    async with center(tmp_path, port), sending(tmp_path, columns_to(tmp_path, port)):
        await until(lambda: not writer.depth())
    assert whole(tmp_path)
    assert rows(tmp_path, "SELECT count(*) FROM message WHERE lane = 1") == [(60,)]
    assert not rows(tmp_path, "SELECT 1 FROM gap")


@pytest.mark.parametrize("count", [1, 5, 60])
async def test_a_center_without_columns_gets_senml(
    tmp_path: Path, writer: Spool, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    known = {path: formats for path, formats in intake.FORMATS.items() if path != columnar.PATH}
    monkeypatch.setattr(intake, "FORMATS", known)
    monkeypatch.setattr(columnar, "decode", no_such_kind)
    port = free_port()
    put(writer, *minutes(count, 0))
    async with center(tmp_path, port), sending(tmp_path, columns_to(tmp_path, port)):
        await until(lambda: not writer.depth())
    assert rows(tmp_path, "SELECT count(*) FROM window") == [(count * 8,)]
    assert not rows(tmp_path, "SELECT 1 FROM gap")


def no_such_kind(payload: bytes) -> None:
    """What a center says that does not know columns, of a pack in a bundle."""
    raise ValueError("unknown kind of message")


async def test_alarms_pass_where_nothing_else_may(tmp_path: Path, writer: Spool) -> None:
    in_step(tmp_path, Step.ALARMS)
    kept = json.loads((tmp_path / file_of("city")).read_text())
    (tmp_path / file_of("city")).write_text(json.dumps(kept | {"bytes": 1_000_000}))
    port = free_port()
    put(writer, *minutes(40, 0), event("x"))
    async with center(tmp_path, port), sending(tmp_path, replace(secure_to(tmp_path, port), monthly_mb=1.0)):
        await until(lambda: not writer.waiting("city", Lane.ALARM, 1))
        await until(lambda: bool(rows(tmp_path, "SELECT 1 FROM health")))
        put(writer, event("y"))
        await until(lambda: not writer.waiting("city", Lane.ALARM, 1))
    assert rows(tmp_path, "SELECT count(*) FROM event") == [(2,)]
    assert not rows(tmp_path, "SELECT 1 FROM window")
    assert writer.waiting("city", Lane.SUMMARY, 100) == 40
    assert rows(tmp_path, "SELECT 1 FROM health WHERE facts LIKE '%alarms and hellos only%'")


async def test_history_waits_and_the_present_goes_out(tmp_path: Path, writer: Spool) -> None:
    in_step(tmp_path, Step.HISTORY)
    port = free_port()
    put(writer, *minutes(100, 0))
    async with center(tmp_path, port), sending(tmp_path, replace(secure_to(tmp_path, port), monthly_mb=100.0)):
        await until(lambda: writer.waiting("city", Lane.SUMMARY, 200) == 85)
        put(writer, *minutes(0, -1))
        await until(lambda: writer.waiting("city", Lane.SUMMARY, 200) <= 85)
    assert rows(tmp_path, "SELECT count(*) FROM message WHERE lane = 1")[0][0] in (15, 16)


async def test_windows_of_ten_minutes_go_out_in_place_of_the_fine_ones(tmp_path: Path, writer: Spool) -> None:
    in_step(tmp_path, Step.MINUTES)
    port = free_port()
    writer.set_offset(-now_ns() + 1_800_000_000_000_000_000, 1000)  # this moment begins a step of the grid
    put(writer, *minutes(1, 0))
    upstream = replace(secure_to(tmp_path, port), monthly_mb=100.0)
    async with center(tmp_path, port), sending(tmp_path, upstream):
        await until(lambda: bool(rows(tmp_path, "SELECT 1 FROM window")))  # as it is: somebody may have tried it
        await until(lambda: not writer.waiting("city", Lane.SUMMARY, 1))
        put(writer, *minutes(0, -25))
        await until(lambda: len(rows(tmp_path, "SELECT 1 FROM window WHERE n = 600")) >= 8)
        await until(lambda: bool(rows(tmp_path, "SELECT 1 FROM gap_record")))
    assert rows(tmp_path, "SELECT DISTINCT reason FROM gap_record") == [("thinned to 10 min",)]
    fine = writer.take("city", Lane.SUMMARY, 50)
    assert all(
        one.item.rows[0].end_ns - one.item.rows[0].start_ns <= MINUTE for one in fine if isinstance(one.item, Windows)
    )


async def test_every_byte_is_counted_and_kept(tmp_path: Path, writer: Spool) -> None:
    port = free_port()
    put(writer, *minutes(3, 0), event("x"))
    upstream = replace(secure_to(tmp_path, port), monthly_mb=100.0)
    async with center(tmp_path, port), sending(tmp_path, upstream):
        await until(lambda: not writer.depth())
    small = json.loads((tmp_path / file_of("city")).read_text())["bytes"]
    assert 500 < small < 5_000
    put(writer, *minutes(90, 0))
    async with center(tmp_path, port), sending(tmp_path, upstream):
        await until(lambda: not writer.depth())
    assert 2_000 < json.loads((tmp_path / file_of("city")).read_text())["bytes"] - small < 40_000


def test_what_is_promised_grows_with_the_step() -> None:
    assert [budget.PROMISE_S.get(step, 90.0) for step in Step] == [90.0, 90.0, 900.0, 3600.0, 3600.0]
    assert sparing.PING_S > 1

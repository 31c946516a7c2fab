"""The spool as its two sides use it."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.site.upstream import Catalog
from gateway.spool import spool as spool_module
from gateway.spool.records import Draft, Event, Gap, Health, Lane, Phase, Severity, Values, Window, Windows
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError

CATALOG = Catalog("cab", tuple((f"dev.p{i}", "dev", f"p{i}", "Cel", 0, 0.1) for i in range(4)))


def windows(start: int = 0, channels: int = 4) -> Windows:
    return Windows(
        tuple(
            Window(i, start, start + 10, 5, 5, 1.0, 2.0, 1.5, 0.1, 1.0, 1.0, start + 9, 1.5, 2.0, 0)
            for i in range(channels)
        )
    )


def event(subject: str = "zone-1", phase: Phase = Phase.ONSET) -> Event:
    return Event(
        "water.burst", phase, Severity.MAJOR, "city", subject, 100, 90, 8.0, "burst", "파손",
        "WM-1", "p", "곳", 37.5, 127.0
    )  # fmt: skip


def opened(path: Path, **options: object) -> tuple[Spool, str]:
    spool = Spool.open(path, **options)  # type: ignore[arg-type]
    return spool, spool.put_catalog(CATALOG)


def test_what_goes_in_comes_out_in_order_until_acknowledged(tmp_path: Path) -> None:
    writer, catalog = opened(tmp_path / "s.db")
    first = writer.append([("a", windows(0)), ("a", event()), ("b", windows(0))], catalog=catalog)
    second = writer.append([("a", windows(10)), ("a", Health(5, {"ok": True}))], catalog=catalog)
    assert first == [("a", Lane.SUMMARY, 0), ("a", Lane.ALARM, 0), ("b", Lane.SUMMARY, 0)]
    assert second == [("a", Lane.SUMMARY, 1), ("a", Lane.DIAGNOSTIC, 0)]

    reader = Spool.open(tmp_path / "s.db", role="reader")
    records = reader.take("a", Lane.SUMMARY, 10)
    assert [r.seq for r in records] == [0, 1]
    assert records[0].item == windows(0)
    assert reader.catalog(records[0].catalog) == CATALOG
    assert reader.take("a", Lane.ALARM, 1)[0].item == event()
    reader.ack("a", Lane.SUMMARY, records[0].boot, [0])
    assert [r.seq for r in reader.take("a", Lane.SUMMARY, 10)] == [1]
    assert reader.depth()["b", Lane.SUMMARY][0] == 1
    assert reader.depth()["a", Lane.SUMMARY][2] == 20
    writer.close()
    reader.close()


def test_standing_alarms_and_coverage_go_with_the_records(tmp_path: Path) -> None:
    spool, catalog = opened(tmp_path / "s.db")
    spool.append(
        [("a", event("x"))], catalog=catalog, standing=[event("x"), event("y")], coverage={"dev.p0": 7, "dev.p1": 9}
    )
    spool.append([], catalog=catalog, standing=[event("x", Phase.CLEAR), event("y", Phase.UPDATE)])
    boot = spool.boot
    spool.close()
    again = Spool.open(tmp_path / "s.db")
    assert again.standing() == [event("y", Phase.UPDATE)]
    assert again.coverage() == (boot, {"dev.p0": 7, "dev.p1": 9})
    again.close()


def test_a_boot_lasts_as_long_as_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    spool, catalog = opened(path)
    spool.set_offset(1_700_000_000_000_000_000, 5)
    spool.append([("a", windows())], catalog=catalog)
    first = spool.boot
    assert len(bytes.fromhex(first)) == 8
    spool.close()

    spool, catalog = opened(path)
    assert spool.boot == first
    assert spool.append([("a", windows())], catalog=catalog)[0][2] == 1
    spool.close()

    monkeypatch.setattr(spool_module, "kernel_boot", lambda: "another")
    spool, catalog = opened(path)
    assert spool.boot != first
    assert spool.boot_offset(first) == (1_700_000_000_000_000_000, 5)
    assert spool.boot_offset(spool.boot) is None
    assert spool.append([("a", windows())], catalog=catalog)[0][2] == 0
    reader = Spool.open(path, role="reader")
    assert reader.boot == spool.boot
    assert [(r.boot == first, r.seq) for r in reader.take("a", Lane.SUMMARY, 9)] == [(True, 0), (True, 1), (False, 0)]
    reader.close()
    spool.close()


def test_a_clean_stop_is_remembered_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    for expected, clean in ((True, True), (True, False), (False, True), (True, False)):
        spool = Spool.open(path)
        assert spool.was_clean is expected
        if clean:
            spool.mark_clean()
        spool.close()


def test_the_reader_may_come_first(tmp_path: Path) -> None:
    reader = Spool.open(tmp_path / "s.db", role="reader")
    assert reader.boot == ""
    assert reader.take("a", Lane.ALARM, 1) == []
    writer, catalog = opened(tmp_path / "s.db")
    writer.append([("a", event())], catalog=catalog)
    assert len(reader.take("a", Lane.ALARM, 1)) == 1
    reader.close()
    writer.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough" * 200, b"SQLite format 3\0" + b"\xa5" * 8000]
)
def test_a_corrupt_file_is_put_aside_and_a_new_one_started(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(content)
    with pytest.raises(SpoolError, match="CG-2003"):
        Spool.open(path, role="reader")
    spool, catalog = opened(path)
    assert Path(spool.quarantined).read_bytes()[:100] == content[:100]
    assert ".corrupt-" in spool.quarantined
    spool.append([("a", windows())], catalog=catalog)
    assert len(spool.take("a", Lane.SUMMARY, 9)) == 1
    spool.close()


def test_a_file_that_breaks_while_running_is_replaced_and_the_append_stored(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    spool, catalog = opened(path)
    spool.set_offset(7, 1)
    reader = Spool.open(path, role="reader")
    side = sqlite3.connect(path)
    side.execute("DROP TABLE counter")
    side.close()
    assert spool.append([("a", windows())], catalog=catalog) == [("a", Lane.SUMMARY, 0)]
    assert spool.quarantined
    assert spool.boot_offset(spool.boot) == (7, 1)
    assert reader.moved()
    assert not spool.moved()
    reader.close()
    spool.close()


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Spool.open(path).close()
    side = sqlite3.connect(path)
    side.execute("PRAGMA user_version = 99")
    side.close()
    with pytest.raises(SpoolError, match="CG-2005") as refused:
        Spool.open(path)
    assert "새로운 버전" in str(refused.value)
    assert not list(tmp_path.glob("*.corrupt*"))


def test_an_undecodable_record_is_set_aside_and_declared(tmp_path: Path) -> None:
    spool, catalog = opened(tmp_path / "s.db")
    spool.append([("a", windows(k)) for k in range(3)], catalog=catalog)
    side = sqlite3.connect(tmp_path / "s.db")
    side.execute("UPDATE record SET blob = x'00ff' WHERE seq = 1")
    side.commit()
    side.close()
    assert [r.seq for r in spool.take("a", Lane.SUMMARY, 9)] == [0, 2]
    (gap,) = spool.take("a", Lane.DIAGNOSTIC, 9)
    assert gap.item == Gap("damaged", (), "", "", ((1, spool.boot, 1, 1),))
    spool.close()


def test_a_refused_record_is_declared_with_its_readings(tmp_path: Path) -> None:
    spool, catalog = opened(tmp_path / "s.db")
    spool.append([("a", windows(100))], catalog=catalog)
    spool.refuse("a", Lane.SUMMARY, spool.boot, 0, "4.13")
    assert spool.take("a", Lane.SUMMARY, 9) == []
    (gap,) = spool.take("a", Lane.DIAGNOSTIC, 9)
    assert gap.item == Gap("refused", (((0, 1, 2, 3), 99, 110),), "", "", ((1, spool.boot, 0, 0),))
    spool.refuse("a", Lane.DIAGNOSTIC, spool.boot, 0, "4.00")
    assert spool.depth() == {}
    spool.close()


def test_near_the_limit_the_oldest_summaries_make_room_and_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    spool, catalog = opened(path, limit_mb=0.3)
    sent = 3000
    for k in range(sent):
        spool.append([("a", windows(k * 10)), *([("a", event(f"z{k}"))] if k % 100 == 0 else [])], catalog=catalog)
    left = spool.take("a", Lane.SUMMARY, 10**6)
    gaps = [r.item for r in spool.take("a", Lane.DIAGNOSTIC, 10**6)]
    assert path.stat().st_size <= 0.3e6
    assert len(left) < sent
    assert [r.seq for r in left[:16]] == list(range(16)), "the oldest may be on their way"
    assert left[-1].seq == sent - 1
    declared = {seq for gap in gaps for _, _, first, last in gap.records for seq in range(first, last + 1)}
    assert declared | {r.seq for r in left} == set(range(sent))
    assert not declared & {r.seq for r in left}
    spans = {(start, end) for gap in gaps for _, start, end in gap.entries}
    assert all(gap.reason == "disk" for gap in gaps)
    assert sum(end - start - 1 for start, end in spans) == 10 * len(declared)
    assert len(spool.take("a", Lane.ALARM, 10**6)) == sent // 100
    spool.close()


def test_a_full_spool_of_alarms_refuses_with_a_message_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    spool, catalog = opened(tmp_path / "s.db", limit_mb=0.2)
    stored = 0
    with suppress(SpoolError):
        while True:
            spool.append([("a", event(f"zone {os.urandom(200).hex()}"))], catalog=catalog)
            stored += 1
    with pytest.raises(SpoolError, match="CG-2001"):
        spool.append([("a", event(f"zone {os.urandom(200).hex()}"))], catalog=catalog)
    records = spool.take("a", Lane.ALARM, 10**6)
    assert [r.seq for r in records] == list(range(stored))
    spool.ack("a", Lane.ALARM, spool.boot, [r.seq for r in records[:100]])
    assert spool.append([("a", event())], catalog=catalog) == [("a", Lane.ALARM, stored)]
    spool.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "s.db"
    blocked.mkdir()
    with pytest.raises(SpoolError, match="CG-2002"):
        Spool.open(blocked)


def test_an_unknown_catalog_is_a_mistake_of_ours(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "s.db")
    with pytest.raises(ValueError, match="catalog"):
        spool.append([("a", Values(()))], catalog="nope")
    spool.close()


def test_baselines_outlive_a_kill_and_a_clean_stop_but_not_a_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, catalog = opened(tmp_path / "s.db")
    assert writer.levels() == (0, {})
    writer.append([], catalog=catalog, draft=Draft((("a", windows(0)),), {"dev.p0": 9}, {"loop": 1.25}, 7))
    writer.append([], catalog=catalog, draft=Draft())
    writer.close()
    writer, _ = opened(tmp_path / "s.db")
    assert writer.levels() == (7, {"loop": 1.25})
    writer.close()
    monkeypatch.setattr(spool_module, "kernel_boot", lambda: "another")
    writer, _ = opened(tmp_path / "s.db")
    assert writer.levels() == (0, {})
    writer.close()


def test_a_full_disk_does_not_make_the_spool_drop_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, catalog = opened(tmp_path / "s.db", limit_mb=4)
    for k in range(200):
        writer.append([("a", windows(k * 10))], catalog=catalog)
    once = writer._append_once

    def full(*args: object) -> object:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(writer, "_append_once", full)
    with pytest.raises(SpoolError, match="CG-2001"):
        writer.append([("a", windows(9000))], catalog=catalog)
    monkeypatch.setattr(writer, "_append_once", once)
    writer.append([("a", windows(9000))], catalog=catalog)
    assert writer.depth()["a", Lane.SUMMARY][0] == 201
    assert ("a", Lane.DIAGNOSTIC) not in writer.depth()
    writer.close()


def test_a_draft_never_takes_coverage_back(tmp_path: Path) -> None:
    writer, catalog = opened(tmp_path / "s.db")
    writer.append([], catalog=catalog, draft=Draft((("a", windows(0)),), {"dev.p0": 9}))
    writer.append([], catalog=catalog, coverage={"dev.p0": 30})
    writer.close()
    writer, _ = opened(tmp_path / "s.db")
    assert writer.coverage()[1] == {"dev.p0": 30}
    writer.close()


def test_what_was_learnt_is_kept_with_the_events_it_belongs_to(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    catalog = spool.put_catalog(CATALOG)
    spool.append([("center", event())], catalog=catalog, standing=[event()], learnt={"watch/a": b"1", "watch/b": b"2"})
    spool.append([], catalog=catalog, learnt={"watch/a": b"3"})
    spool.close()
    spool = Spool.open(tmp_path / "spool.db")
    assert spool.learnt() == {"watch/a": b"3", "watch/b": b"2"}
    spool.forget(["watch/b"])
    assert spool.learnt() == {"watch/a": b"3"}
    spool.close()


def test_a_spool_of_an_older_release_is_brought_up_to_date(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db")
    catalog = spool.put_catalog(CATALOG)
    spool.append([("center", windows())], catalog=catalog)
    spool.close()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("DROP TABLE learnt")
        db.execute("DROP INDEX age")
        db.execute("ALTER TABLE record DROP COLUMN step")
        db.execute("ALTER TABLE record DROP COLUMN kin")
        db.execute("PRAGMA user_version=1")
    spool = Spool.open(tmp_path / "spool.db")
    assert spool.quarantined == ""
    assert spool.learnt() == {}
    assert len(spool.take("center", Lane.SUMMARY, 10)) == 1
    spool.close()

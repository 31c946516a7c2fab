"""A small outage, from the writer through thinning and the way back to a center; and what the account would notice."""

import asyncio
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.uplink_ends import drain
from benchmarks.uplink_kills import ROLES, committed, plan
from benchmarks.uplink_outage import MINUTE_NS, account, fill
from gateway.center import main as center_main
from gateway.wire.credentials import create
from tests.ports import begun, free_port

HOURS, CHANNELS = 3, 48


async def test_what_an_outage_held_back_arrives_whole_or_is_declared(tmp_path: Path) -> None:
    figures = await asyncio.to_thread(fill, tmp_path, HOURS, CHANNELS, 0.4)
    create("bench", tmp_path / "gw", tmp_path / "keys")
    port, stop, ready = free_port(), asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(
        center_main.serve(
            f"127.0.0.1:{port}", str(tmp_path / "center.db"), str(tmp_path / "keys"),
            insecure=False, stop=stop, ready=ready,
        )
    )  # fmt: skip
    await begun(serving, ready)
    drained = await drain(tmp_path, f"coap://127.0.0.1:{port}", 30.0)
    stop.set()
    await serving
    assert drained["left"] == 0
    with closing(sqlite3.connect(tmp_path / "center.db")) as db:
        found = account(db, HOURS, CHANNELS, figures["utc_ns"])
        assert found["undeclared_lost"] == found["twice"] == found["duplicates_dropped"] == 0
        assert found["in_coarser"] > 0, "the limit was met"
        assert found["own_windows"] + found["in_coarser"] + found["declared_lost"] == HOURS * 60 * CHANNELS
        db.execute("DELETE FROM window WHERE rowid = 5")
        assert account(db, HOURS, CHANNELS, figures["utc_ns"])["undeclared_lost"] > 0
    assert committed(tmp_path / "spool.db", tmp_path / "center.db")[1] == 0
    with closing(sqlite3.connect(tmp_path / "center.db")) as db:
        db.execute("DELETE FROM message WHERE lane = 1 AND seq = (SELECT max(seq) FROM message WHERE lane = 1)")
        db.commit()
    assert committed(tmp_path / "spool.db", tmp_path / "center.db")[1] == 1


def test_an_account_tells_windows_from_gaps_from_nothing() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(
            "CREATE TABLE window(gateway, channel, start_ns, end_ns, n);"
            "CREATE TABLE gap(channel, from_ns, to_ns); CREATE TABLE duplicate(n)"
        )
        minutes = [("bench", "d0.p", m * MINUTE_NS, (m + 1) * MINUTE_NS, 60) for m in (0, 1, 1)]
        db.executemany("INSERT INTO window VALUES(?, ?, ?, ?, ?)", minutes)
        db.execute("INSERT INTO gap VALUES('d0.p', ?, ?)", (2 * MINUTE_NS, 4 * MINUTE_NS))
        found = account(db, 0.1, 1, 0)
    assert (found["own_windows"], found["twice"], found["declared_lost"], found["undeclared_lost"]) == (3, 1, 2, 2)


@pytest.mark.parametrize("seed", range(3))
def test_kills_come_in_turn(seed: int) -> None:
    deeds = plan(seed, 30)
    assert {role: sum(deed.role == role for deed in deeds) for role in ROLES} == dict.fromkeys(ROLES, 10)
    assert all(a.at_s < b.at_s for a, b in pairwise(deeds))

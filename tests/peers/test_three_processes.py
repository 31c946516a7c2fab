"""Field half, sending half and center as three processes, with credentials from the command line."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from processes import FieldHalf, center, citygate

from gateway.sim.street import Street
from gateway.sim.world import Sent, Signal, World
from gateway.site.compile import load_plan
from tests.ports import free_port

pytestmark = pytest.mark.peers

SITE = """schema = 1
[gateway]
id = "cab-7"
[[upstreams]]
name = "city"
uri = "coap://127.0.0.1:{center}"
credentials = "credentials/city"
[[links]]
name = "cabinet"
url = "tcp://127.0.0.1:{port}"
[[devices]]
name = "meter"
profile = "streetlight/eastron-sdm120"
link = "cabinet"
unit = 1
period_s = 0.1
points.energy.period_s = 0.1
"""
CHANNELS = {"meter.voltage": 230.25, "meter.current": 12.5, "meter.power": 2875.0}


@pytest.fixture
def credentials(tmp_path: Path) -> None:
    """Both halves, as a technician makes them."""
    command = [sys.executable, "-m", "gateway.cli", "credentials", "new", "--gateway", "cab-7"]
    folders = ["--out-gateway", str(tmp_path / "credentials" / "city"), "--out-center", str(tmp_path / "intake")]
    subprocess.run([*command, *folders], check=True, capture_output=True)


@pytest.mark.usefixtures("credentials")
async def test_every_reading_arrives_once_under_oscore(tmp_path: Path, unused_port: int) -> None:
    listens, site, sent = free_port(), tmp_path / "site.toml", Sent()
    site.write_text(SITE.format(center=listens, port=unused_port), encoding="utf-8")
    world = World({name: Signal(value) for name, value in CHANNELS.items()})
    street = Street(load_plan(site), {}, world, sent, lambda: (time.clock_gettime_ns(time.CLOCK_BOOTTIME), 1.0))
    await street.start()
    try:
        await asyncio.to_thread(run, tmp_path, site, listens)
    finally:
        await street.close()

    with closing(sqlite3.connect(tmp_path / "center.db")) as db:
        first = dict(db.execute("SELECT channel, value FROM value WHERE gateway = 'cab-7'").fetchall())
        counted = dict(db.execute("SELECT channel, sum(n) FROM window GROUP BY channel").fetchall())
        worst = dict(db.execute("SELECT channel, max(abs(max - mean) + abs(min - mean)) FROM window GROUP BY channel"))
        means = dict(db.execute("SELECT channel, mean FROM window").fetchall())
        assert db.execute("SELECT * FROM duplicate").fetchall() == []
        assert db.execute("SELECT * FROM gap").fetchall() == []
    assert {name: first[name] for name in CHANNELS} == CHANNELS
    assert {name: means[name] for name in CHANNELS} == CHANNELS
    assert {worst[name] for name in CHANNELS} == {0.0}
    assert counted == {name: len(times) for name, times in sent.times.items()}
    assert min(counted.values()) > 3


def run(folder: Path, site: Path, listens: int) -> None:
    """Start the three, see first values committed, stop the first, see the spool emptied, stop the others."""
    files = ("--db", folder / "center.db", "--credentials", folder / "intake")
    with (
        center(folder / "center.log", listens, *files) as intake,
        citygate(folder / "uplink.log", "uplink", site) as uplink,
        FieldHalf(site) as field,
    ):
        field.until("first values are at the center", lambda: "is heard" in intake.said)
        field.until_judged()
        field.until_read(3)
        assert field.stop() == 0, field.said
        uplink.until("the spool is empty", lambda: not field.spooled("city"))
        assert uplink.stop() == 0, uplink.said
        assert intake.stop() == 0, intake.said

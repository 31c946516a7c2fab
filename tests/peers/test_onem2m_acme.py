"""The ACME CSE, a oneM2M platform that is not ours: what a gateway sends is there, once, and reads back.

It runs from an environment of its own (.venv-peers, made by `make test-peers`), headless, in memory, on loopback.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import shutil
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from processes import FieldHalf, Process, citygate

from gateway.sim.street import Street
from gateway.sim.world import Sent, Signal, World
from gateway.site.compile import load_plan
from gateway.site.upstream import Catalog, OneM2M, Upstream
from gateway.spool.records import Event, Gap, Health, Item, Lane, Phase, Severity, Values, Window, Windows
from gateway.spool.spool import Spool
from gateway.uplink.uplink import Uplink
from tests.ports import free_port

pytestmark = pytest.mark.peers

PROGRAM = Path(__file__).parents[2] / ".venv-peers" / "bin" / "acmecse"
PATIENCE_S = 20.0
CHANNELS = 8
CATALOG = Catalog("cab", tuple((f"dev{i % 2}.p{i}", f"dev{i % 2}", f"p{i}", "Cel", 0, 0.1) for i in range(CHANNELS)))
CONFIG = """
[basic.config]
cseType=IN
cseID=id-in
cseName=cse-in
adminID=CAdmin
secret=bench
databaseType=memory
baseDirectory={folder}
networkInterface=127.0.0.1
cseHost=127.0.0.1
httpPort={http}
logLevel=warning
consoleTheme=dark
consoleType=simple
[cse]
enableRemoteCSE=false
[coap]
enable=true
port={coap}
[textui]
startWithTUI=false
[webui]
enable=false
"""


class Cse:
    """A platform that may be killed and started again on the same ports."""

    def __init__(self, folder: Path, http: int) -> None:
        self.folder, self.http, self.coap = folder, http, free_port()
        (folder / "acme.ini").write_text(CONFIG.format(folder=folder, http=http, coap=self.coap))
        self._process: Process | None = None
        self._numbers = itertools.count()

    def start(self) -> None:
        folder = ["--config", "acme.ini", "--base-directory", str(self.folder)]
        self._process = Process([str(PROGRAM), *folder, "--headless"], self.folder / "acme.log")
        self._process.until("the platform answered", self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def get(self, path: str, originator: str = "CAdmin") -> dict[str, Any]:
        """A RETRIEVE by HTTP, which none of our code has a part in."""
        headers = {"X-M2M-Origin": originator, "X-M2M-RI": f"t{next(self._numbers)}", "X-M2M-RVI": "3"}
        headers["Accept"] = "application/json"
        url = f"http://127.0.0.1:{self.http}/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def instances(self) -> list[str]:
        """Paths of every contentInstance below the gateway's AE."""
        return sorted(self.get("cse-in/cab?fu=1&ty=4").get("m2m:uril", []))

    def content(self, path: str) -> Any:
        instance = self.get(path)["m2m:cin"]
        assert instance["cnf"] in ("application/senml+json:0", "application/json:0")
        return json.loads(instance["con"])

    def _answers(self) -> bool:
        try:
            self.get("cse-in")
        except OSError:
            return False
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", self.coap))
            except OSError:
                return True  # its CoAP side listens
        return False


@pytest.fixture
def cse(tmp_path: Path, unused_port: int) -> Iterator[Cse]:
    if not PROGRAM.exists():
        pytest.skip("the ACME CSE is not installed: make test-peers (or make .venv-peers/.ready) installs it")
    platform = Cse(tmp_path, unused_port)
    try:
        yield platform
    finally:
        platform.kill()


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def windows(k: int, channels: range = range(CHANNELS)) -> Windows:
    end = now_ns()
    stats = (60, 60, 1.0, 2.0 + k, 1.5, 0.1, 1.0, 1.2, end, 1.5, 1.9, 0)
    return Windows(tuple(Window(channel, end - 60 * 10**9, end, *stats) for channel in channels))


def event(subject: str, phase: Phase = Phase.ONSET) -> Event:
    samples = tuple((now_ns() - i * 10**9, 1.0 + i) for i in reversed(range(20)))
    return Event(
        "water.burst", phase, Severity.CRITICAL, "city", subject, now_ns(), now_ns() - 10**10, 8.0, "burst at dev0",
        "dev0 상수관 파손", "WM-7", "Pit 7", "7번 맨홀", 37.5, 127.0, ((0, samples),),
    )  # fmt: skip


def gap() -> Gap:
    end = now_ns()
    return Gap("crash", (((0, 3), end - 10**10, end),), records=((int(Lane.SUMMARY), "ab" * 8, 4, 9),))


def upstream(cse: Cse) -> Upstream:
    return Upstream("city", f"coap://127.0.0.1:{cse.coap}/cse-in", "", True, format="onem2m", onem2m=OneM2M())


def filled(path: Path, items: list[Item]) -> Spool:
    spool = Spool.open(path)
    append(spool, items)
    return spool


def append(spool: Spool, items: list[Item]) -> None:
    offset = time.time_ns() - now_ns()
    spool.set_offset(offset, 1_000_000)
    spool.append([("city", item) for item in items], catalog=spool.put_catalog(CATALOG))


def waiting(spool: Spool) -> int:
    return sum(spool.waiting("city", lane, 10_000) for lane in Lane)


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(so):
            await asyncio.sleep(0.02)


async def send_all(path: Path, cse: Cse, spool: Spool) -> None:
    uplink = Uplink("cab", path)
    try:
        assert await uplink.apply([upstream(cse)]) == []
        await until(lambda: not waiting(spool))
    finally:
        await uplink.close()


def test_what_is_sent_reads_back(cse: Cse, tmp_path: Path) -> None:
    cse.start()
    path = tmp_path / "spool.db"
    first = Values(tuple((channel, now_ns(), 20.0 + channel, 0) for channel in range(CHANNELS)))
    health = Health(now_ns(), {"version": "1", "insecure": "city", "uptime_s": 5.0})
    with closing(filled(path, [first, event("dev0"), gap(), health, windows(0), windows(1)])) as spool:
        boot = spool.boot
        asyncio.run(send_all(path, cse, spool))
    names = [name.removeprefix("cse-in/cab/") for name in cse.instances()]
    places = [f"dev{i % 2}/p{i}" for i in range(CHANNELS)]
    wanted = [f"{place}/{boot}-s-{seq}" for place in places for seq in range(3)]
    wanted += [f"alarms/{boot}-a-0", f"gaps/{boot}-d-0", f"gaps/{boot}-d-0-2", f"health/{boot}-d-1"]
    assert names == sorted(wanted)

    alarm = cse.content(f"cse-in/cab/alarms/{boot}-a-0")
    assert alarm["text"]["ko"] == "dev0 상수관 파손"
    assert (alarm["code"], alarm["severity"], alarm["asset"], alarm["latitude"]) == (
        "water.burst",
        "critical",
        "WM-7",
        37.5,
    )
    assert [value for _, value in alarm["evidence"]["dev0.p0"]][-1] == 1.0
    assert cse.content(f"cse-in/cab/gaps/{boot}-d-0")["channels"] == ["dev0.p0", "dev1.p3"]
    lost = {"lane": "summary", "boot": "ab" * 8, "first": 4, "last": 9}
    assert cse.content(f"cse-in/cab/gaps/{boot}-d-0-2")["records"] == lost
    facts = {one["n"]: one.get("v", one.get("vs")) for one in cse.content(f"cse-in/cab/health/{boot}-d-1")}
    assert facts == {"/version": "1", "/insecure": "city", "/uptime_s": 5}
    head, *rest = cse.content(f"cse-in/cab/dev1/p1/{boot}-s-2")
    assert (head["bn"], head["u"], head["v"]) == ("cab/dev1.p1", "Cel", 1.5)
    assert math.isclose(head["bt"], time.time(), abs_tol=60)
    assert {one["n"]: one["v"] for one in rest} == {
        "/min": 1, "/max": 3, "/last": 1.2, "/p95": 1.9, "/sd": 0.1, "/n": 60, "/duration": 60
    }  # fmt: skip
    latest = cse.get("cse-in/cab/dev1/p1/la")["m2m:cin"]
    assert latest["rn"] == f"{boot}-s-2"


def test_a_platform_that_lost_its_tree_gets_it_again(cse: Cse, tmp_path: Path) -> None:
    """Killed between two batches, and with an alarm raised while it was away."""
    path = tmp_path / "spool.db"

    async def story(spool: Spool) -> tuple[list[str], list[str]]:
        uplink = Uplink("cab", path)
        try:
            await uplink.apply([upstream(cse)])
            await until(lambda: not waiting(spool))
            before = cse.instances()
            cse.kill()
            append(spool, [windows(9), event("dev1"), gap()])
            await asyncio.sleep(0.5)  # so that it is tried in vain
            assert waiting(spool) == 3
            await asyncio.to_thread(cse.start)
            await until(lambda: not waiting(spool))
            return before, cse.instances()
        finally:
            await uplink.close()

    cse.start()
    with closing(filled(path, [windows(k) for k in range(5)])) as spool:
        before, after = asyncio.run(story(spool))
        boot = spool.boot
    places = [f"cse-in/cab/dev{i % 2}/p{i}" for i in range(CHANNELS)]
    assert before == sorted(f"{place}/{boot}-s-{seq}" for place in places for seq in range(5))
    alarm, gaps = f"cse-in/cab/alarms/{boot}-a-0", [f"cse-in/cab/gaps/{boot}-d-0", f"cse-in/cab/gaps/{boot}-d-0-2"]
    assert after == sorted([*(f"{place}/{boot}-s-5" for place in places), alarm, *gaps])


def test_what_is_sent_twice_is_there_once(cse: Cse, tmp_path: Path) -> None:
    """A gateway that was killed before it could note an acknowledgement: the same records again."""
    path, again = tmp_path / "spool.db", tmp_path / "again" / "spool.db"
    again.parent.mkdir()
    filled(path, [event("dev0"), *(windows(k) for k in range(3))]).close()
    shutil.copy(path, again)
    cse.start()
    for one in (path, again):
        with closing(Spool.open(one)) as spool:
            assert waiting(spool) == 4
            asyncio.run(send_all(one, cse, spool))
    assert len(cse.instances()) == 1 + 3 * CHANNELS


SITE = """schema = 1
[gateway]
id = "cab"
window_s = 1
[[upstreams]]
name = "city"
uri = "coap://127.0.0.1:{platform}/cse-in"
format = "onem2m"
insecure = true
summaries = [{{ roles = ["voltage", "power"] }}]
onem2m = {{ originator = "Ccab-7" }}
[[upstreams]]
name = "nobody"
uri = "coap://127.0.0.1:{nobody}"
role = "agency"
insecure = true
events = ["streetlight."]
summaries = ["current"]
[[links]]
name = "cabinet"
url = "tcp://127.0.0.1:{port}"
[[devices]]
name = "meter"
profile = "streetlight/eastron-sdm120"
link = "cabinet"
unit = 1
period_s = 0.1
points.current.upstreams = ["nobody"]
points.energy = {{ period_s = 0.1, upstreams = [] }}
"""
METER = {"meter.voltage": 230.25, "meter.current": 12.5, "meter.power": 2875.0}


async def test_three_processes_deliver_a_meters_windows(cse: Cse, tmp_path: Path, unused_port: int) -> None:
    """From a site file to the platform, while another upstream is dead: what each may have and nothing else."""
    port, nobody = free_port(), free_port()
    site, sent = tmp_path / "site.toml", Sent()
    site.write_text(SITE.format(platform=cse.coap, nobody=nobody, port=port), encoding="utf-8")
    world = World({name: Signal(value) for name, value in METER.items()})
    street = Street(load_plan(site), {}, world, sent, lambda: (now_ns(), 1.0))
    await street.start()
    try:
        await asyncio.to_thread(run, cse, tmp_path, site)
    finally:
        await street.close()

    found: dict[str, list[Any]] = {}
    for path in cse.instances():
        found.setdefault("/".join(path.split("/")[2:-1]), []).append(cse.content(path))
    assert {"meter/voltage", "meter/power", "health"} >= set(found) >= {"meter/voltage", "meter/power"}
    for point, value in (("voltage", 230.25), ("power", 2875.0)):
        counted = [{one["n"]: one["v"] for one in pack[1:]}.get("/n", 0) for pack in found[f"meter/{point}"]]
        assert {pack[0]["v"] for pack in found[f"meter/{point}"] if "v" in pack[0] and "n" not in pack[0]} == {value}
        assert sum(counted) == len(sent.times[f"meter.{point}"])


def run(cse: Cse, folder: Path, site: Path) -> None:
    cse.start()
    with citygate(folder / "uplink.log", "uplink", site) as uplink, FieldHalf(site) as field:
        field.until("first values are at the platform", lambda: "made cse-in/cab/meter" in uplink.said)
        field.until_judged()
        field.until_read(12)
        assert field.stop() == 0, field.said
        uplink.until("the spool is empty", lambda: not field.spooled("city"))
        assert field.spooled("nobody")
        assert uplink.stop() == 0, uplink.said

"""A whole field half and a Bluetooth daemon that comes and goes: what is said meanwhile, and that values come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import FieldHalf

from gateway.field.control import ask
from gateway.sim.bluez import Bluez
from gateway.sim.private_bus import private_bus
from gateway.spool.records import Gap
from gateway.tools import bus
from protocols.api import Quality

pytestmark = pytest.mark.peers
TAG, ROOM, PHONE = "CB:B8:33:4C:88:4F", "C4:7C:8D:00:00:01", "5A:00:00:00:53:77"
RUUVI = bytes.fromhex("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F")
ESS = {
    0x2A6E: (2506).to_bytes(2, "little"),
    0x2A6F: (5055).to_bytes(2, "little"),
    0x2A6D: (1013250).to_bytes(4, "little"),
}
SITE = f"""schema = 1
[gateway]
id = "bench"
window_s = 1
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:9"
insecure = true
[[links]]
name = "air"
url = "ble:hci0"
[[devices]]
name = "tag"
profile = "air/ruuvi-ruuvitag-df5"
link = "air"
address = "{TAG}"
[[devices]]
name = "room"
profile = "air/bluetooth-ess"
link = "air"
address = "{ROOM}"
period_s = 0.2
"""


@asynccontextmanager
async def on_the_air(bluez: Bluez) -> AsyncIterator[None]:
    """Both sensors speak for as long as this daemon runs."""

    async def play() -> None:
        number = 0
        while True:
            number += 1
            bluez.advertise(TAG, manufacturer={0x0499: RUUVI[:16] + number.to_bytes(2, "big") + RUUVI[18:]})
            bluez.offer(ROOM, ESS)
            bluez.advertise(ROOM, rssi=-50 - number % 30)
            await asyncio.sleep(0.06)  # below what a device may say at once

    task = asyncio.create_task(play())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_adapter_and_daemon_come_and_go_and_values_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE, encoding="utf-8")
    (tmp_path / "bus").mkdir()
    async with private_bus(tmp_path / "bus") as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        with FieldHalf(site) as field:

            def link() -> dict[str, Any]:
                return dict(ask(tmp_path / "state/field.sock", "health")["links"]["air"])

            async def until(what: str, so: Callable[[], object]) -> None:
                await asyncio.to_thread(field.until, what, so)

            async def until_told(code: str) -> None:
                await until(f"link down by {code}", lambda: not link()["up"] and code in str(link()["fault"]))
                channels = field.channels()
                assert {row["quality"] for row in channels.values()} == {int(Quality.LINK_DOWN)}
                assert all(row["value"] is None for row in channels.values())

            async def until_heard() -> None:
                def values() -> list[float | None]:
                    channels = field.channels()
                    return [
                        channels[name]["value"] for name in ("tag.temperature", "room.temperature", "room.humidity")
                    ]

                await until("values come", lambda: None not in values())
                assert values() == pytest.approx([24.3, 25.06, 50.55])

            await until("the socket is there", (tmp_path / "state/field.sock").exists)
            await until_told("CG-3050")
            async with Bluez(address) as bluez, on_the_air(bluez):
                await until_heard()
                bluez.unplug()
                await until_told("CG-3051")
                bluez.plug()
                await until_heard()
                bluez.drop(ROOM)
                before = link()["counters"]["gatt_reads"]
                await until("it is read again", lambda: link()["counters"]["gatt_reads"] >= before + 6)
            await until_told("CG-3050")
            async with Bluez(address) as bluez, on_the_air(bluez):
                await until_heard()
                bluez.advertise(PHONE)
                await until("a phone passes", lambda: link()["counters"]["foreign"])
                assert await asyncio.to_thread(bus.run, str(site), json=False) == 0
            assert link()["reconnects"] == 3
            said = capsys.readouterr().out.split("\n")
            assert said[0] == "air  up"
            assert said[1].startswith("  heard ")
            assert "foreign 1, " in said[1]
            assert "3 reconnects" in said[1]
            assert said[2] == "  errors: none"
            assert await asyncio.to_thread(field.stop) == 0, field.said
        reasons = [item.reason for _, item in field.spooled() if isinstance(item, Gap)]
        assert reasons[0] == "start"
        assert set(reasons[1:]) == {"link"}, "what was missed meanwhile is declared"

"""A street of phones past a whole field half: the one sensor that a site declares is heard, of nobody else anything is
kept."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import FieldHalf

from gateway.field.control import ask
from gateway.sim.bluez import Bluez
from gateway.sim.private_bus import private_bus
from gateway.spool.records import Windows

pytestmark = pytest.mark.peers
SENSOR = "CB:B8:33:4C:88:4F"
RUUVI = bytes.fromhex("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F")  # Ruuvi's own test vector of format 5
APPLE = 0x004C
PHONES = 4000
STAYS = 200  # phones that BlueZ still knows; those out of reach are forgotten
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
address = "{SENSOR}"
"""


def phone(chance: random.Random) -> str:
    """A resolvable private address (Core specification, vol 6, part B, 1.3.2.2), as phones change them."""
    octets = [0x40 | chance.randrange(64), *chance.randbytes(5)]
    return ":".join(f"{octet:02X}" for octet in octets)


def held_mb(pid: int) -> float:
    """Resident memory of a process that belongs to nobody else."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * 4096 / 1e6


class Street:
    """Phones that pass by, each with an address of its own, and one sensor that stays."""

    def __init__(self, bluez: Bluez) -> None:
        self._bluez = bluez
        self.seen: list[str] = []
        self.temperature = 4860  # 24.3 degrees in steps of 0.005

    async def __aenter__(self) -> Street:
        self._task = asyncio.create_task(self._play())
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _play(self) -> None:
        chance = random.Random(7)
        while True:
            for _ in range(10):
                self.seen.append(phone(chance))
                self._bluez.advertise(self.seen[-1], manufacturer={APPLE: chance.randbytes(20)})
                if len(self.seen) > STAYS:
                    self._bluez.forget(self.seen[-STAYS])
            number = len(self.seen) // 10 % 0x10000
            data = b"\x05" + self.temperature.to_bytes(2, "big") + RUUVI[3:16] + number.to_bytes(2, "big") + RUUVI[18:]
            self._bluez.advertise(SENSOR, manufacturer={0x0499: data})
            await self._bluez.settled()
            await asyncio.sleep(0.005)


async def test_phones_leave_no_trace_and_the_sensor_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE, encoding="utf-8")
    (tmp_path / "bus").mkdir()
    async with private_bus(tmp_path / "bus") as address, Bluez(address) as bluez:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        with FieldHalf(site) as field:

            def health() -> dict[str, Any]:
                return dict(ask(tmp_path / "state/field.sock", "health"))

            def counters() -> dict[str, int]:
                return dict(health()["links"]["air"]["counters"])

            def value() -> Any:
                return field.channels()["tag.temperature"]["value"]

            async def until(what: str, so: Callable[[], object]) -> None:
                await asyncio.to_thread(field.until, what, so)

            await until("the radio listens", field.links_up)
            async with Street(bluez) as street:
                await until("the sensor is heard", lambda: value() == 24.3)
                await asyncio.to_thread(field.until_judged)
                await until("a crowd has passed", lambda: counters()["foreign"] >= PHONES)
                before_mb, passed = held_mb(field.pid), counters()["foreign"]
                await until("as many again", lambda: counters()["foreign"] >= passed + PHONES)
                grown_mb = held_mb(field.pid) - before_mb
                street.temperature = 5000
                await until("the sensor is heard among them", lambda: value() == 25.0)
                assert counters()["dropped"] == 0
                shown = json.dumps([health(), ask(tmp_path / "state/field.sock", "live")])
            assert grown_mb < PHONES * 250e-6, "bytes a phone: less than its advert takes in memory"
            assert await asyncio.to_thread(field.stop) == 0, field.said
        windows = [item for _, item in field.spooled() if isinstance(item, Windows)]
        assert windows
        kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
        text, told = kept.upper(), (shown + field.said).upper()
        assert b"TAG.TEMPERATURE" in text
        for one in street.seen:
            bare = one.replace(":", "")
            assert one not in told
            assert bare not in told
            assert not any(form in text for form in (one.encode(), bare.encode()))
            assert bytes.fromhex(bare) not in kept

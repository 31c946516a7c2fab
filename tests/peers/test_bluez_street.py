"""A street of phones past a whole field half: the one sensor that a site declares is heard, of nobody else anything is
kept."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import FieldHalf

from gateway.field.control import ask
from gateway.sim.bluez import Bluez, private_bus
from gateway.spool.records import Windows

pytestmark = pytest.mark.peers
SENSOR = "CB:B8:33:4C:88:4F"
RUUVI = bytes.fromhex("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F")  # Ruuvi's own test vector of format 5
APPLE = 0x004C
PHONES = 3000
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


@asynccontextmanager
async def passing_by(bluez: Bluez, seen: list[str]) -> AsyncIterator[None]:
    chance = random.Random(7)

    async def play() -> None:
        while True:
            for _ in range(10):
                seen.append(phone(chance))
                bluez.advertise(seen[-1], manufacturer={APPLE: chance.randbytes(20)})
                if len(seen) > STAYS:
                    bluez.forget(seen[-STAYS])
            number = len(seen) // 10 % 0x10000
            bluez.advertise(SENSOR, manufacturer={0x0499: RUUVI[:16] + number.to_bytes(2, "big") + RUUVI[18:]})
            await asyncio.sleep(0.005)

    task = asyncio.create_task(play())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_phones_leave_no_trace_and_the_sensor_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, seen = tmp_path / "site.toml", list[str]()
    site.write_text(SITE, encoding="utf-8")
    (tmp_path / "bus").mkdir()
    async with private_bus(tmp_path / "bus") as address, Bluez(address) as bluez:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        with FieldHalf(site) as field:
            await asyncio.to_thread(field.until, "the radio listens", field.links_up)
            async with passing_by(bluez, seen):

                def health() -> dict[str, Any]:
                    return dict(ask(tmp_path / "state/field.sock", "health"))

                def enough() -> bool:
                    counters = health()["links"]["air"]["counters"]
                    return bool(counters["foreign"] >= PHONES and counters["decoded"] > 5)

                await asyncio.to_thread(field.until, "a crowd has passed", enough)
                shown = json.dumps([health(), ask(tmp_path / "state/field.sock", "live")])
            assert field.channels()["tag.temperature"]["value"] == 24.3
            await asyncio.to_thread(field.until_judged)
            assert await asyncio.to_thread(field.stop) == 0, field.said
        windows = [item for _, item in field.spooled() if isinstance(item, Windows)]
        assert windows
        kept = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
        text, told = kept.upper(), (shown + field.said).upper()
        assert b"TAG.TEMPERATURE" in text
        for one in seen:
            bare = one.replace(":", "")
            assert one not in told
            assert bare not in told
            assert not any(form in text for form in (one.encode(), bare.encode()))
            assert bytes.fromhex(bare) not in kept

"""What runs at the near end of a line: our uplink with a backlog and alarms, or a plain aiocoap client.

python -m benchmarks.uplink_ends uplink FOLDER URI SECONDS EVERY     drains FOLDER/spool.db, an alarm every EVERY s
python -m benchmarks.uplink_ends drain  FOLDER URI SECONDS           drains FOLDER/spool.db until nothing is left
python -m benchmarks.uplink_ends plain  FOLDER URI SECONDS           posts the same windows one by one

Each prints one JSON object. The backlog is made once with `fill`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiocoap

from gateway.site.upstream import Catalog, Upstream
from gateway.spool.records import Event, Lane, Phase, Record, Severity, Window, Windows
from gateway.spool.spool import Spool
from gateway.uplink import lanes
from gateway.uplink import uplink as module
from gateway.uplink.main import SWITCH_S
from gateway.uplink.parcel import Packed, Parcel
from gateway.uplink.uplink import Uplink
from gateway.uplink.way import Answer, Kind
from gateway.wire import pack

CHANNELS = 8
CATALOG = Catalog("bench", tuple((f"meter{i}.flow", f"meter{i}", "flow", "m3/h", 0, 0.01) for i in range(CHANNELS)))
BOOT = "00112233445566aa"
S = 1_000_000_000


def windows(number: int, dice: random.Random, channels: int = CHANNELS) -> Windows:
    """One minute of meters: a draw each, so that nothing deflates better than readings would."""
    end, rows = number * 60 * S, []
    for channel in range(channels):
        mean, sd = dice.gauss(12, 3), abs(dice.gauss(0.2, 0.1))
        low, high = mean - dice.uniform(1, 3) * sd, mean + dice.uniform(1, 3) * sd
        last, p50, p95 = dice.uniform(low, high), dice.gauss(mean, sd / 4), high - sd / 3
        rows.append(Window(channel, end - 60 * S, end, 60, 60, low, high, mean, sd, mean, last, end, p50, p95, 0))
    return Windows(tuple(rows))


def fill(path: Path, records: int) -> None:
    dice = random.Random(1)
    spool = Spool.open(path, limit_mb=512)
    spool.put_catalog(CATALOG)
    spool.set_offset(time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME), 1000)
    for first in range(0, records, 500):
        items = [windows(first + n, dice) for n in range(min(500, records - first))]
        spool.append([("center", item) for item in items], catalog=CATALOG.id)
    spool.close()


def alarm(number: int) -> Event:
    at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Event(
        "water.burst", Phase.ONSET, Severity.MAJOR, "city", f"zone-{number}", at, at, 8.0, "burst in the zone",
        "구역 파손", "WM-0412", "Sejong-daero 110", "세종대로 110", 37.5665, 126.978,
    )  # fmt: skip


class _Clocked(lanes.Lanes):
    """Notes when an answer has come to each alarm, and what else has."""

    confirmed_ms: list[float]
    stored = 0
    stored_bytes = 0
    first_s = last_s = 0.0

    async def _settle(self, sent: Parcel, answer: Answer, forget_at: int = 1) -> list[Packed]:
        if answer.kind is Kind.STORED:
            for one in sent.packed:
                if isinstance(one.record.item, Event):
                    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                    _Clocked.confirmed_ms.append((now - one.record.item.time_ns) / 1e6)
                else:
                    _Clocked.first_s = _Clocked.first_s or time.monotonic()
                    _Clocked.last_s = time.monotonic()
                    _Clocked.stored += 1
                    _Clocked.stored_bytes += len(one.pack)
        return await super()._settle(sent, answer, forget_at)


async def uplink(folder: Path, uri: str, seconds: float, every_s: float) -> dict[str, Any]:
    """Until the backlog is gone or the time is up."""
    _Clocked.confirmed_ms = []
    sys.setswitchinterval(SWITCH_S)
    vars(module)["Lanes"] = _Clocked
    upstream = Upstream("center", uri, str(folder / "gw"), False, ("",))
    writer = Spool.open(folder / "spool.db", limit_mb=512)
    sender = Uplink("bench", folder / "spool.db", limit_mb=512)
    began_s = time.monotonic()
    await sender.apply([upstream])
    raised: list[int] = []
    loop = asyncio.get_running_loop()
    while time.monotonic() < began_s + seconds and (len(raised) < 5 or writer.waiting("center", Lane.SUMMARY, 1)):
        await asyncio.sleep(every_s)
        event = alarm(len(raised))
        raised.append(event.time_ns)
        await loop.run_in_executor(None, _append, writer, event)
    stored, stored_bytes, spent_s = _Clocked.stored, _Clocked.stored_bytes, time.monotonic() - began_s
    give_up_s = time.monotonic() + 15
    while len(_Clocked.confirmed_ms) < len(raised) and time.monotonic() < give_up_s:  # noqa: ASYNC110, it only looks
        await asyncio.sleep(0.05)
    await sender.close()
    writer.close()
    return {
        "records": stored,
        "windows": stored * CHANNELS,
        "mb": stored_bytes / 1e6,
        "seconds": spent_s,
        "raised_ns": raised,
        "confirmed_ms": _Clocked.confirmed_ms,
    }


async def drain(folder: Path, uri: str, seconds: float) -> dict[str, Any]:
    """Until nothing waits, or the time is up."""
    sys.setswitchinterval(SWITCH_S)
    upstream = Upstream("center", uri, str(folder / "gw"), False, ("",))
    began_s = time.monotonic()
    sender = Uplink("bench", folder / "spool.db", limit_mb=512)
    looking = Spool.open(folder / "spool.db", role="reader", limit_mb=512)
    await sender.apply([upstream])
    loop = asyncio.get_running_loop()
    left = 1
    while left and time.monotonic() < began_s + seconds:
        await asyncio.sleep(0.2)
        left = await loop.run_in_executor(None, _left, looking)
    spent_s = time.monotonic() - began_s
    await sender.close()
    looking.close()
    return {"left": left, "seconds": round(spent_s, 1)}


def _left(spool: Spool) -> int:
    return sum(spool.waiting("center", lane, 1) for lane in Lane)


def _append(writer: Spool, event: Event) -> None:
    writer.append([("center", event)], catalog=CATALOG.id)


async def plain(uri: str, seconds: float) -> dict[str, Any]:
    """As the library comes: default time-outs, one message at a time, an answer before the next."""
    dice = random.Random(1)
    context = await aiocoap.Context.create_client_context()
    began_s = time.monotonic()
    stored = number = 0
    while time.monotonic() < began_s + seconds:
        item = windows(0, dice, 1)
        path, body = pack.encode(Record(BOOT, "plain", Lane.SUMMARY, number, CATALOG.id, item), CATALOG, lambda _: 0)
        message = aiocoap.Message(code=aiocoap.POST, uri=f"{uri}/{path}?g=plain", payload=body, content_format=112)
        try:
            response = await context.request(message).response
            stored += response.code == aiocoap.CHANGED
            number += 1
        except aiocoap.error.Error:
            continue
    spent_s = time.monotonic() - began_s
    await context.shutdown()
    return {"windows": stored, "seconds": spent_s}


def main(arguments: Sequence[str]) -> int:
    what, folder, uri, seconds, *more = arguments
    if what == "uplink":
        figures = asyncio.run(uplink(Path(folder), uri, float(seconds), float(more[0])))
    elif what == "drain":
        figures = asyncio.run(drain(Path(folder), uri, float(seconds)))
    else:
        figures = asyncio.run(plain(uri, float(seconds)))
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

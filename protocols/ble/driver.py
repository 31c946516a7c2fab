"""The BLE driver: adverts of declared devices as they come, GATT values as they are read or notified.

In: points of the devices near one adapter (`ble:hci0`). Out: batches. Addresses that no site declares are counted and
neither kept nor sent. bleak is imported when a link is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from protocols.api import Batch, Driver, Link, Reader, Tap
from protocols.ble.codec import decode
from protocols.ble.inbox import Inbox
from protocols.ble.operations import Hear, plan
from protocols.ble.points import Options, Value, check, check_link

if TYPE_CHECKING:
    from protocols.ble.radio import Radio


class AirReader:
    """All devices of one adapter."""

    def __init__(self, inbox: Inbox, radio: Radio) -> None:
        self._inbox, self._radio = inbox, radio

    @property
    def counters(self) -> Mapping[str, int]:
        return {**self._inbox.totals, **self._radio.counters}

    @property
    def tap(self) -> Tap | None:
        """Shown the adverts of declared devices."""
        return self._inbox.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._inbox.tap = tap

    def memory(self) -> Mapping[str, int]:
        boxes = self._inbox.boxes.values()
        return {box.op.device.name: box.decoder.counter for box in boxes if box.decoder.counter >= 0}

    def recall(self, memory: Mapping[str, int]) -> None:
        for box in self._inbox.boxes.values():
            known = memory.get(box.op.device.name, -1)
            if box.decoder.counter <= known and known >= 0:
                box.decoder.counter = known
                box.rows.clear()

    async def read(self, ops: Sequence[Hear], timeout_s: float) -> Batch:
        if not self._inbox.here.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._inbox.here.wait()
        batch = self._inbox.take()
        down = self._radio.failed()
        if down is not None and not len(batch.channel):
            raise down
        return batch


@asynccontextmanager
async def connect(link: Link, ops: Sequence[Hear]) -> AsyncIterator[Reader[Hear]]:
    """Raises LinkDown."""
    from protocols.ble.radio import Radio  # bleak and dbus_fast, only where a site names an adapter

    inbox = Inbox(ops)
    async with Radio(link.url.partition(":")[2], inbox) as radio:
        yield AirReader(inbox, radio)


DRIVER: Driver[Hear] = Driver(
    name="ble",
    point=Value,
    device=Options,
    plan=plan,
    connect=connect,
    listens=lambda device: True,
    urls=("ble",),
    decode=decode,
    check=check,
    check_link=check_link,
)

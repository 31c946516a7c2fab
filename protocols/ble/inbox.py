"""What has been heard and not yet read: a place of its own for every device, so that none can crowd out another.

In: adverts of declared addresses. Out: batches. Adverts of other addresses are counted and forgotten at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import numpy as np

from protocols.api import Batch, Tap
from protocols.ble.bthome import UUID
from protocols.ble.codec import COUNTERS, Decoder, Row
from protocols.ble.operations import Hear
from protocols.ble.points import Options, full_uuid
from protocols.ble.report import report

RATE_HZ = 20.0  # adverts a second of one device that are decoded; the shortest advertising interval is 20 ms
BURST = 40.0
KEPT = 64  # messages of one device nobody has read yet; the oldest goes first


class Box:
    """One device's decoder, allowance and messages."""

    def __init__(self, op: Hear) -> None:
        self.op = op
        self.decoder = Decoder(op.points)
        self.heard_ns = 0
        self._tokens, self._since_ns = BURST, 0
        self.rows: deque[tuple[int, Sequence[Row]]] = deque(maxlen=KEPT)
        options: Options = op.device.options
        self.company = options.company
        self.service = (
            full_uuid(f"{UUID:04x}" if options.format == "bthome" else options.uuid)
            if (options.format in ("bthome", "service"))
            else ""
        )

    def allows(self, time_ns: int) -> bool:
        """One more now? A bucket of `BURST`, filled at `RATE_HZ`."""
        self._tokens = min(BURST, self._tokens + (time_ns - self._since_ns) * 1e-9 * RATE_HZ)
        self._since_ns = time_ns
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class Inbox:
    def __init__(self, ops: Sequence[Hear]) -> None:
        self.boxes = {op.device.address.upper(): Box(op) for op in ops}
        self.counters = dict.fromkeys(("heard", "foreign", "throttled", "dropped"), 0)
        self.last_ns = 0  # anything at all, from anybody
        self.here = asyncio.Event()
        self.tap: Tap | None = None

    @property
    def totals(self) -> dict[str, int]:
        decoders = [box.decoder.counters for box in self.boxes.values()]
        return {**self.counters, **{name: sum(one[name] for one in decoders) for name in COUNTERS}}

    def advert(
        self, address: str, manufacturer: dict[int, bytes], service: dict[str, bytes], time_ns: int
    ) -> Box | None:
        """The box of a declared device; None for all others."""
        self.last_ns = time_ns
        box = self.boxes.get(address.upper())
        if box is None:
            self.counters["foreign"] += 1
            return None
        self.counters["heard"] += 1
        if self.tap is not None:
            self.tap(False, report(address, manufacturer, service), time_ns)
        box.heard_ns = time_ns
        data = service.get(box.service) if box.service else manufacturer.get(box.company or 0)
        if box.op.device.options.format != "gatt" and data is not None:
            self.payload(box, data, time_ns)
        return box

    def payload(self, box: Box, data: bytes, time_ns: int) -> None:
        if not box.allows(time_ns):
            self.counters["throttled"] += 1
            return
        self.put(box, box.decoder.push(data, time_ns), time_ns)

    def put(self, box: Box, rows: Sequence[Row], time_ns: int) -> None:
        if not rows:
            return
        self.counters["dropped"] += len(box.rows) == KEPT
        box.rows.append((time_ns, rows))
        self.here.set()

    def take(self) -> Batch:
        """All rows, those of one device in the order heard."""
        self.here.clear()
        rows = [
            (channel, at, value, quality)
            for box in self.boxes.values()
            for at, some in box.rows
            for channel, value, quality in some
        ]
        for box in self.boxes.values():
            box.rows.clear()
        if not rows:
            return Batch.empty()
        channel, at, value, quality = zip(*rows, strict=True)
        return Batch(
            np.array(channel, np.int32),
            np.array(at, np.int64),
            np.array(value, np.float64),
            np.array(quality, np.uint8),
        )

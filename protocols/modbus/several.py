"""Several connections to one address, used as one reader: a device stays on one of them, unless it is alone.

In: open readers. Out: what each returns, joined. One that goes down takes all down: the scheduler opens them together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from protocols.api import Batch, Device, Point, Tap, Written
from protocols.modbus.planner import ReadBlock
from protocols.modbus.tcp import TcpReader


class SeveralReaders:
    def __init__(self, readers: Sequence[TcpReader], ops: Sequence[ReadBlock]) -> None:
        self._readers = readers
        names = list(dict.fromkeys(op.device.name for op in ops))
        self._of_device = {name: readers[at % len(readers)] for at, name in enumerate(names)}
        alone = len(names) == 1
        self._of_op = {
            op: readers[at % len(readers)] if alone else self._of_device[op.device.name] for at, op in enumerate(ops)
        }

    @property
    def counters(self) -> Mapping[str, int]:
        total: Counter[str] = Counter()
        for reader in self._readers:
            total.update(reader.counters)
        return total

    @property
    def tap(self) -> Tap | None:
        return self._readers[0].tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        for reader in self._readers:
            reader.tap = tap

    async def read(self, ops: Sequence[ReadBlock], timeout_s: float) -> Batch:
        shares: dict[TcpReader, list[ReadBlock]] = {}
        for op in ops:
            shares.setdefault(self._of_op[op], []).append(op)
        if len(shares) == 1:
            (reader,) = shares
            return await reader.read(ops, timeout_s)
        reads = [asyncio.ensure_future(reader.read(share, timeout_s)) for reader, share in shares.items()]
        try:
            return Batch.join(await asyncio.gather(*reads))
        finally:
            for read in reads:
                read.cancel()
            await asyncio.gather(*reads, return_exceptions=True)

    async def write(self, point: Point, value: float, timeout_s: float) -> Written:
        return await self._reader_of(point.device).write(point, value, timeout_s)

    async def identify(self, device: Device, timeout_s: float) -> dict[str, str]:
        return await self._reader_of(device).identify(device, timeout_s)

    def learned(self) -> dict[str, dict[str, Any]]:
        return {name: facts for reader in self._readers for name, facts in reader.learned().items()}

    def _reader_of(self, device: Device) -> TcpReader:
        return self._of_device.get(device.name, self._readers[0])

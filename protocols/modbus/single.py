"""What a reader does one request at a time, the same over TCP and on a line: writes, identity. No sockets of its own.

In: the reader's own `_exchange`, `read` and what it has learned. Out: the optional parts of `protocols.api`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from protocols.api import Batch, Device, Point, Written
from protocols.modbus import exchange
from protocols.modbus.exchange import Reply, Shape
from protocols.modbus.learned import Learned
from protocols.modbus.planner import ReadBlock
from protocols.streams import OnStream, Stream


class SingleRequests(OnStream, ABC):
    """`Writer` and `Identifier` for a reader that can exchange one PDU."""

    _stream: Stream
    _counters: dict[str, int]
    _learned: dict[Any, Learned]

    @abstractmethod
    async def read(self, ops: Sequence[ReadBlock], timeout_s: float) -> Batch: ...

    @abstractmethod
    async def _exchange(self, device: Device, pdu: bytes, shape: Shape, *, timeout_s: float) -> Reply:
        """One request by itself, and what came of it."""

    @abstractmethod
    def _learned_of(self, device: Device) -> Learned: ...

    async def write(self, point: Point, value: float, timeout_s: float) -> Written:
        """Never twice: whether a write without an answer took effect nobody knows."""
        self._counters["writes"] += 1
        return await exchange.write(
            partial(self._exchange, timeout_s=timeout_s),
            lambda block: self.read([block], timeout_s),
            point,
            value,
            self._learned_of(point.device),
            self._stream.now_ns(),
        )

    async def ask(self, device: Device, pdu: bytes, shape: Shape, timeout_s: float) -> Reply:
        """One PDU to `device` and what came of it, for a person who asks: nothing is repeated. Raises LinkDown."""
        known = set(self._learned)
        try:
            return await self._exchange(device, pdu, shape, timeout_s=timeout_s)
        finally:
            for stranger in self._learned.keys() - known:  # asked in passing: it is no device of this link
                del self._learned[stranger]

    async def identify(self, device: Device, timeout_s: float) -> dict[str, str]:
        return await exchange.identify(partial(self._exchange, timeout_s=timeout_s), device)

    async def device_id(self, device: Device, timeout_s: float) -> dict[str, str]:
        """Function 43/14, whatever the profile says."""
        return await exchange.device_id(partial(self._exchange, timeout_s=timeout_s), device)

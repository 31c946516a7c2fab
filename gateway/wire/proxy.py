"""A bad line for UDP on one machine: loss, delay, duplication, reordering, a cut. Counts payload bytes each way.

In: datagrams to `listen` from any number of senders, each with its own socket towards `target`. Out: the same
datagrams, or what the line makes of them. For tests, the demo and benchmarks; never in the way of a real gateway.
"""

from __future__ import annotations

import asyncio
import random

Address = tuple[str, int]


class UdpProxy:
    """Set `cut`, `loss`, `delay_s`, `duplicate` and `reorder` (probabilities, each way) at any time."""

    def __init__(self, listen: Address, target: Address, *, seed: int = 0) -> None:
        self.listen = listen
        self.target = target
        self.cut = False
        self.loss = 0.0
        self.delay_s = 0.0
        self.duplicate = 0.0
        self.reorder = 0.0
        self.bytes_up = 0
        self.bytes_down = 0
        self.datagrams_up = 0
        self.datagrams_down = 0
        self._random = random.Random(seed)
        self._front: asyncio.DatagramTransport | None = None
        self._back: dict[Address, asyncio.DatagramTransport] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Port 0 in `listen` is replaced by the one that was found."""
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(lambda: _Front(self), local_addr=self.listen)
        self.listen = self._front.get_extra_info("sockname")[:2]

    async def stop(self) -> None:
        for task in self._connecting:
            task.cancel()
        for transport in (*self._back.values(), *([self._front] if self._front else [])):
            transport.close()
        self._back.clear()
        await asyncio.sleep(0)

    def up(self, data: bytes, sender: Address) -> None:
        """Every byte sent counts, lost ones too: that is what a SIM card pays for."""
        self.bytes_up += len(data)
        self.datagrams_up += 1
        if self.cut or self._random.random() < self.loss:
            return
        if sender in self._back:
            self._pass(self._back[sender], data, None)
        else:
            task = asyncio.get_running_loop().create_task(self._connect(sender, data))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def down(self, data: bytes, sender: Address) -> None:
        self.bytes_down += len(data)
        self.datagrams_down += 1
        if not self.cut and self._front and self._random.random() >= self.loss:
            self._pass(self._front, data, sender)

    async def _connect(self, sender: Address, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        back, _ = await loop.create_datagram_endpoint(lambda: _Back(self, sender), remote_addr=self.target)
        if sender in self._back:
            back.close()
        self._pass(self._back.setdefault(sender, back), data, None)

    def _pass(self, way: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
        for _ in range(1 + (self._random.random() < self.duplicate)):
            delay = self.delay_s + (self._random.uniform(0, 0.05) if self._random.random() < self.reorder else 0)
            if delay:
                asyncio.get_running_loop().call_later(delay, _send, way, data, to)
            else:
                _send(way, data, to)


def _send(way: asyncio.DatagramTransport, data: bytes, to: Address | None) -> None:
    if not way.is_closing():
        way.sendto(data, to)


class _Front(asyncio.DatagramProtocol):
    def __init__(self, proxy: UdpProxy) -> None:
        self._proxy = proxy

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._proxy.up(data, addr)


class _Back(asyncio.DatagramProtocol):
    def __init__(self, proxy: UdpProxy, sender: Address) -> None:
        self._proxy = proxy
        self._sender = sender

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._proxy.down(data, self._sender)

    def error_received(self, exc: Exception) -> None:
        """The target is not listening: to the sender the datagram is lost."""

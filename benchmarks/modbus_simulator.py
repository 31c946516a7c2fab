"""The fastest simulated Modbus TCP devices that Python gives, where there is no gcc: as `c/simulator.c`."""

from __future__ import annotations

import asyncio
import random
import struct
import sys

_HEAD = struct.Struct(">HHHBBHH")


class _Device(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) // 12 * 12
        self._rest = data[whole:]
        self._transport.write(b"".join(_answer(*ask) for ask in _HEAD.iter_unpack(data[:whole])))


def _answer(transaction: int, protocol: int, length: int, unit: int, function: int, address: int, count: int) -> bytes:
    base = 1000 + unit * 31 % 1000
    values = [base + (address + i) * 17 % 1000 for i in range(count)]
    values[0] += random.randrange(16)
    head = struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count)
    return head + struct.pack(f">{count}H", *values)


async def main(first: int, ports: int) -> None:
    loop = asyncio.get_running_loop()
    for port in range(first, first + ports):
        await loop.create_server(_Device, "127.0.0.1", port)
    over = asyncio.Event()
    loop.add_reader(0, over.set)  # standard input ends with its owner
    print("ready", flush=True)
    await over.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))

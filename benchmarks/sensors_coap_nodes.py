"""`python -m benchmarks.sensors_coap_nodes COUNT`: so many CoAP nodes on loopback ports, as light as Python can.

Prints the ports as JSON, then answers every GET with a SenML-CBOR pack until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import cbor2

from gateway.wire import coap

PACK = cbor2.dumps([{-2: "urn:dev:mac:0024befffe804ff1:", 0: "speed", 1: "km/h", 2: 51.5}])
_BODY = bytes((0xC1, 112, 0xFF)) + PACK  # Content-Format 112, then the payload


class Node(asyncio.DatagramProtocol):
    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        length = data[0] & 15
        head = bytes((0x40 | coap.ACK << 4 | length, 0x45)) + data[2 : 4 + length]
        self.transport.sendto(head + _BODY, addr)


async def main(count: int) -> None:
    loop = asyncio.get_running_loop()
    ports = []
    for _ in range(count):
        transport, _ = await loop.create_datagram_endpoint(Node, local_addr=("127.0.0.1", 0))
        ports.append(transport.get_extra_info("sockname")[1])
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

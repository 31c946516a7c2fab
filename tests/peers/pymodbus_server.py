"""pymodbus's own server with the device of register_map.py: `python pymodbus_server.py PORT`. Prints its port."""

from __future__ import annotations

import asyncio
import sys

from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

UNIT = 17
Types = ModbusClientMixin.DATATYPE


def words(value: float, kind: Types, *, low_first: bool = False, bytes_swapped: bool = False) -> list[int]:
    registers = ModbusClientMixin.convert_to_registers(value, kind, word_order="little" if low_first else "big")
    return [(r >> 8) | (r & 0xFF) << 8 for r in registers] if bytes_swapped else registers


def device() -> SimDevice:
    registers = DataType.REGISTERS
    swapped = words(230.2, Types.FLOAT32, bytes_swapped=True) + words(
        1.5e-3, Types.FLOAT32, low_first=True, bytes_swapped=True
    )
    holding = [
        SimData(0, values=36.625, datatype=DataType.FLOAT32),
        SimData(2, values=words(-607.597, Types.FLOAT32, low_first=True), datatype=registers),
        SimData(4, values=swapped, datatype=registers),
        SimData(8, values=-123456789, datatype=DataType.INT32),
        SimData(10, values=words(2000000001, Types.INT32, low_first=True), datatype=registers),
        SimData(12, values=-9876543210123, datatype=DataType.INT64),
        SimData(16, count=4, values=0, datatype=registers),
        SimData(20, values=[65534, 0x10000 - 127, 0x8002, 0xFFFF], datatype=registers),
    ]
    inputs = [SimData(100, values=1013.25, datatype=DataType.FLOAT32), SimData(102, values=65535, datatype=registers)]
    coils = [SimData(0, values=[False, False, False, True] + [False] * 12, datatype=DataType.BITS)]
    discrete = [SimData(0, values=[False] * 11 + [True] + [False] * 4, datatype=DataType.BITS)]
    return SimDevice(UNIT, (coils, discrete, holding, inputs))


async def main(port: int) -> None:
    server = ModbusTcpServer(device(), address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await server.serving


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

"""From a command at the center to its read-back: the center's tool (without the start of its Python), a center, a
sending half and a field half as processes, connected over loopback with OSCORE, and a simulated Modbus device that
pymodbus speaks for. The state of the gateway lies where TMPDIR is: each command is on disk before the device hears of
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    WriteSingleCoilRequest,
    WriteSingleCoilResponse,
)
from rich.console import Console
from rich.table import Table

from gateway.spool.trouble import Trouble
from gateway.tools import asking
from gateway.wire import coap, credentials

COMMANDS, COMMANDS_FULL = 300, 3000
RELAYS = 8
WARM = 16  # the first ones: imports, a new connection
START_S = 60.0
SITE = """schema = 1
[gateway]
id = "cab"
timezone = "Asia/Seoul"
state_dir = "state"
[agent]
commands = ["lamps.*"]
commands_a_minute = 600
[[links]]
name = "bus"
url = "tcp://127.0.0.1:{device}"
[[devices]]
name = "lamps"
profile = "streetlight/waveshare-relay8"
link = "bus"
unit = 1
[[upstreams]]
name = "main"
uri = "coap+tcp://127.0.0.1:{center}"
credentials = "ours"
agent = ["observe", "operate"]
"""


def run(full: bool) -> dict[str, float]:
    """{"command_p50_ms": ...}; a table for people."""
    with tempfile.TemporaryDirectory() as folder:
        took_ms, written = asyncio.run(_measured(Path(folder), COMMANDS_FULL if full else COMMANDS))
    p50, p90, p99 = np.percentile(took_ms, [50, 90, 99])
    table = Table("commands", "writes", "p50 ms", "p90 ms", "p99 ms", "max ms", title="a command and its read-back")
    numbers = (f"{value:.1f}" for value in (p50, p90, p99, max(took_ms)))
    table.add_row(str(len(took_ms)), str(written), *numbers)
    Console().print(table)
    return {"command_p50_ms": float(p50), "command_p99_ms": float(p99)}


class Relays:
    """Eight coils at unit 1."""

    def __init__(self) -> None:
        self.coils = [False] * RELAYS
        self.writes = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer, buffer = FramerSocket(DecodePDU(True)), b""
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                buffer += data
                while buffer:
                    used, request = framer.handleFrame(buffer, 0, 0)
                    if not used:
                        break
                    buffer = buffer[used:]
                    assert request is not None
                    reply = self._answer(request)
                    reply.dev_id, reply.transaction_id = request.dev_id, request.transaction_id
                    writer.write(framer.buildFrame(reply))
        writer.close()

    def _answer(self, request: object) -> ReadCoilsResponse | WriteSingleCoilResponse:
        if isinstance(request, WriteSingleCoilRequest):
            self.writes += 1
            self.coils[request.address] = request.bits[0]
            return WriteSingleCoilResponse(address=request.address, bits=request.bits[:1])
        assert isinstance(request, ReadCoilsRequest)
        return ReadCoilsResponse(bits=self.coils[request.address : request.address + request.count])


async def _measured(folder: Path, commands: int) -> tuple[list[float], int]:
    relays = Relays()
    device = await asyncio.start_server(relays.handle, "127.0.0.1", 0)
    took_ms: list[float] = []
    async with _gateway(folder, device.sockets[0].getsockname()[1]) as control:
        for number in range(-WARM, commands):
            relay, value = number % RELAYS, (number // RELAYS) % 2 ^ 1
            began_s = time.perf_counter()
            answer = await asyncio.to_thread(_command, control, f"lamps.relay{relay + 1}", value)
            took = (time.perf_counter() - began_s) * 1e3
            if answer["value"] != value or relays.coils[relay] is not bool(value):
                raise RuntimeError(f"relay {relay + 1} is not {value}: {answer}")
            if number >= 0:
                took_ms.append(took)
    device.close()
    if relays.writes != commands + WARM:
        raise RuntimeError(f"{relays.writes} writes for {commands + WARM} commands")
    return took_ms, relays.writes - WARM


def _command(control: str, point: str, value: float) -> dict[str, float]:
    body = {"point": point, "value": value, "lease_s": 900, "by": "benchmark"}
    answer = asking.ask("cab", "commands", method=coap.POST, body=body, control=control)
    if (refusal := answer.refusal()) is not None:
        raise refusal
    found: dict[str, float] = answer.body()
    return found


@asynccontextmanager
async def _gateway(folder: Path, device: int) -> AsyncIterator[str]:
    """A center, and a gateway whose relays have been read once. The center's control socket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        center = free.getsockname()[1]
    (folder / "site.toml").write_text(SITE.format(device=device, center=center))
    credentials.create("cab", folder / "ours", folder / "intake")
    control = str(folder / "c.sock")
    bind = f"127.0.0.1:{center}"
    verbs = (
        ("center", "--bind", bind, "--db", "center.db", "--credentials", "intake", "--control", control),
        ("field", "site.toml"),
        ("uplink", "site.toml"),
    )
    running: list[subprocess.Popen[bytes]] = []
    with (folder / "log").open("wb") as log:
        try:
            running.extend(_started(folder, verb, log) for verb in verbs)
            await asyncio.to_thread(_until_ready, control, folder / "log")
            yield control
        finally:
            for process in reversed(running):
                process.terminate()
            for process in running:
                await asyncio.to_thread(process.wait, 30)


def _started(folder: Path, verb: tuple[str, ...], log: BinaryIO) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "gateway.cli", *verb]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env=environment)


def _until_ready(control: str, log: Path) -> None:
    end_s = time.monotonic() + START_S
    for _ in itertools.count():
        with contextlib.suppress(Trouble):
            found = asking.ask("cab", "live", control=control)
            if found.good and any(one[0] is not None for one in found.body()["values"].values()):
                return
        if time.monotonic() > end_s:
            raise RuntimeError(f"the gateway did not come up: {log.read_text()[-2000:]}")
        time.sleep(0.1)

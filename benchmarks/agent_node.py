"""Firmware of a node while its power is cut: at every write of an update, four ways each, then at every write in a row.

Blocks come over UDP from the gateway's own port (`gateway.agent.nodes_port`) through aiocoap, as in the field. A node
is bricked if any start is of something else than the old or the new firmware, whole, or if its update does not end.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from benchmarks.agent_node_rig import KINDS, CutDisk, Maker, install, powered, survives
from gateway.agent.nodes_port import NodesPort
from gateway.node.boot import MOST_BOOTS
from gateway.node.over_coap import CoapFetch

BLOCKS, BLOCKS_FULL = 32, 96
REST = 300  # bytes of the last block


def run(full: bool) -> dict[str, float]:
    """{"bricked": ...}; a table for people."""
    with tempfile.TemporaryDirectory() as folder:
        rows, bricked = asyncio.run(_measured(Path(folder), BLOCKS_FULL if full else BLOCKS))
    table = Table("cut", "updates", "power cuts", "bricked", title="firmware of a node, its power cut")
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
    return {"bricked": float(bricked)}


async def _measured(folder: Path, blocks: int) -> tuple[list[tuple[str, int, int, int]], int]:
    maker = Maker(Ed25519PrivateKey.generate())
    old, new = os.urandom(9000), os.urandom(blocks * 1024 + REST)
    shelf: dict[tuple[str, ...], bytes] = {("f", "1", "m"): maker.manifest(new, 2), ("f", "1", "image"): new}

    def read(path: tuple[str, ...], offset: int, length: int) -> tuple[bytes, int, bytes] | None:
        found = shelf.get(path)
        return None if found is None else (found[offset : offset + length], len(found), b"1")

    port = await NodesPort.opened("127.0.0.1", 0, read)
    port.known.add("127.0.0.1")
    fetch = CoapFetch()
    uri = f"coap://127.0.0.1:{port.address[1]}/f/1/m"
    number = 0

    async def bricked(cuts: list[tuple[int, str]], *, is_fit: bool = True) -> bool:
        nonlocal number
        number += 1
        node = folder / str(number)
        install(node, old, 1)
        return bool(await survives(node, maker, fetch, cuts, old, new, uri, is_fit=is_fit))

    try:
        writes = await _writes(folder, maker, fetch, old, uri)
        rows = []
        for kind in KINDS:
            bad = [await bricked([(at, kind)]) for at in range(1, writes + 1)]
            rows.append((f"at each of {writes} writes, {kind}", len(bad), len(bad), sum(bad)))
        bad = [await bricked([(0, kind), (at, kind)]) for kind in KINDS for at in (1, 2)]
        rows.append(("at each write of a trial that succeeds", len(bad), len(bad), sum(bad)))
        trials = [[(0, kind)] * start + [(1, kind)] for kind in KINDS for start in range(1, MOST_BOOTS + 2)]
        bad = [await bricked(cuts, is_fit=False) for cuts in trials]
        rows.append(("at each write of a trial that fails", len(bad), len(bad), sum(bad)))
        for kind in KINDS:  # every power-on gets a little further than the one before
            cuts = [(at, kind) for at in range(1, writes + 1)]
            rows.append((f"at every power-on, {kind}", 1, len(cuts), int(await bricked(cuts))))
    finally:
        await fetch.close()
        port.close()
    return rows, sum(row[3] for row in rows)


async def _writes(folder: Path, maker: Maker, fetch: CoapFetch, old: bytes, uri: str) -> int:
    """Of the longest power-on of an update."""
    install(folder / "0", old, 1)
    disk = CutDisk(folder / "0")
    await powered(disk, maker, fetch, uri)
    return disk.writes

"""A node's file and a running node on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.node.main import Node
from gateway.node.settings import load
from tests.ports import begun, free_port

MAKER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SENSOR = '[[sensors]]\nname = "air"\nobject = 3303\nunit = "Cel"\nsource = "file"\npath = "air"\nrange = [-40, 85]\n'
FIRMWARE = '[firmware]\nvendor = "example.com"\nclass = "air node"\ntrust = ["maker.pub"]\nprobation_s = 1\n'


def written(folder: Path, node: str = "", rest: str = SENSOR, air: str = "21.5\n") -> Path:
    """A node's file with all that it names."""
    (folder / "maker.pub").write_bytes(
        MAKER_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "air").write_text(air)
    path = folder / "node.toml"
    bind = f'bind = "127.0.0.1:{free_port()}"'
    path.write_text(f'schema = 1\n[node]\nid = "node-7"\n{bind}\nperiod_s = 0.05\n{node}\n{rest}')
    return path


@asynccontextmanager
async def served(path: Path, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[tuple[Node, str]]:
    """The node, and its address. It may end by itself meanwhile."""
    node = Node(load(path), clock=clock)
    running = asyncio.ensure_future(node.run())
    try:
        await begun(running, node.ready)
        yield node, f"coap://127.0.0.1:{node.site.port}"
    finally:
        node.end()
        await running

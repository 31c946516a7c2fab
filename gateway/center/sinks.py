"""Which sink `--sink` means.

sqlite:FILE, or a plain path     one SQLite file
jsonl:FOLDER                     JSON lines
nats://HOST:PORT/NAME            NATS JetStream, for several centers side by side
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.center.lines import Lines
from gateway.center.sink import Sink
from gateway.center.store import Store

if TYPE_CHECKING:
    from gateway.center.jetstream import JetStream


async def open_sink(where: str) -> tuple[Sink, JetStream | None]:
    """The sink, and once more as what centers share where they do. Raises Trouble CG-4202, CG-4212, CG-4208."""
    if where.startswith(("nats://", "tls://")):
        from gateway.center.jetstream import JetStream  # only who needs it loads the client

        sink = await JetStream.open(where)
        return sink, sink
    if where.startswith("jsonl:"):
        return Lines(where.removeprefix("jsonl:")), None
    return Store(where.removeprefix("sqlite:")), None

"""The CoAP driver: nodes that are asked, and nodes that tell what changed.

In: a link `coap://host[:port]`, one node, and the resources of the profile. Out: batches. aiocoap is loaded when the
first link is opened, not before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from protocols.api import Driver, Link, Point, Reader
from protocols.coap.payload import parse
from protocols.coap.planner import Get, plan
from protocols.coap.points import Options, Resource, check, split


@asynccontextmanager
async def connect(link: Link, ops: Sequence[Get]) -> AsyncIterator[Reader[Get]]:
    """Raises LinkDown. A node where only some devices are observed is asked for all of them."""
    from protocols.coap.node import Node
    from protocols.coap.observe import ObserveReader
    from protocols.coap.poll import PollReader

    observed = all(op.options.mode == "observe" for op in ops)
    options = ops[0].options if ops else Options()
    async with (ObserveReader if observed else PollReader)(await Node.open(link, options), ops) as reader:
        yield reader


def decode(points: Sequence[Point], request: bytes, reply: bytes) -> Mapping[str, float]:
    """Both are CoAP datagrams. Raises ValueError."""
    import aiocoap
    from aiocoap import error

    try:
        asked = aiocoap.Message.decode(request) if request else None
        answer = aiocoap.Message.decode(reply)
    except (error.Error, UnicodeDecodeError) as bad:
        raise ValueError(f"no CoAP message: {bad}") from bad
    if asked is not None and asked.token != answer.token:
        raise ValueError("the answer has another token than the request")
    if asked is not None and answer.mtype is aiocoap.ACK and asked.mid != answer.mid:
        raise ValueError("the answer acknowledges another message")
    if not answer.code.is_successful():
        raise ValueError(f"the answer is {answer.code.dotted}")
    way = None if asked is None else (tuple(asked.opt.uri_path), tuple(asked.opt.uri_query))
    given = answer.opt.content_format
    parsed = parse(-1 if given is None else int(given), answer.payload)
    found: dict[str, float] = {}
    for point in points:
        if way in (None, split(point.spec.path)):
            reading = parsed(point.spec)[-1]
            factor, offset = point.units.get(reading.unit, (1.0, 0.0)) if reading.unit else (1.0, 0.0)
            found[point.name] = (reading.value * factor + offset) * point.scale + point.offset
    if not found:
        raise ValueError("no point of the profile reads this path")
    return found


DRIVER: Driver[Get] = Driver(
    name="coap",
    point=Resource,
    device=Options,
    plan=plan,
    connect=connect,
    listens=lambda device: device.options.mode == "observe",
    urls=("coap",),
    decode=decode,
    check=check,
    asks_first=True,
)

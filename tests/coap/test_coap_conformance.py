"""The CoAP driver keeps the rules of protocols.testing, asked and listened to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nodes
import pytest

from protocols.api import Device, Point
from protocols.coap.points import Options, Resource
from protocols.registry import driver
from protocols.testing import RULES, DriverCase, Rig, Rule

ASKED = Device("node", 0, Options())
HEARD = Device("node", 0, Options(mode="observe"))
PACK = json.dumps([{"bn": "urn:dev:mac:1:", "n": "speed", "v": 51.5}, {"n": "count", "v": 7}]).encode()


def points(device: Device) -> tuple[Point, ...]:
    return (
        Point(3, "speed", device, Resource("/traffic", record="speed"), 1.0),
        Point(4, "count", device, Resource("/traffic", record="count"), 1.0, scale=2.0),
    )


TEXTS = (Point(5, "level", ASKED, Resource("/3303/0/5700"), 1.0), Point(6, "on", ASKED, Resource("/3311/0/5850"), 1.0))


@asynccontextmanager
async def asked() -> AsyncIterator[Rig]:
    node = nodes.Node({"/3303/0/5700": nodes.text(21.5), "/3311/0/5850": nodes.text("true")})
    async with node.serve() as rig:
        yield rig


@asynccontextmanager
async def told() -> AsyncIterator[Rig]:
    node = nodes.Node({"/traffic": lambda: (110, PACK)}, max_age=1)
    async with node.serve() as rig:
        node.keep_telling("/traffic", 0.02)
        yield rig


CASES = (
    DriverCase("coap-poll", driver("coap"), TEXTS, {5: 21.5, 6: 1.0}, asked),
    DriverCase("coap-poll-pack", driver("coap"), points(ASKED), {3: 51.5, 4: 14.0}, told),
    DriverCase("coap-observe", driver("coap"), points(HEARD), {3: 51.5, 4: 14.0}, told),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_coap_keeps_the_rule(case: DriverCase, rule: Rule) -> None:
    await rule(case)

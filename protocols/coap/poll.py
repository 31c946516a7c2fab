"""Nodes that are asked: a GET a resource and period, a PUT where the profile declares a point writable.

In: operations of one link. Out: one row a channel. A node that does not answer costs one time-out a turn, however
many of its resources were due.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from protocols.api import Batch, Device, Point, Quality, Tap, Written
from protocols.clock import DeviceClock
from protocols.coap import linkformat
from protocols.coap.node import Answer, BadAnswer, NoAnswer, Node
from protocols.coap.payload import parse, tell
from protocols.coap.planner import READING_COUNTERS, Get, Meaning, Row, batch
from protocols.coap.senml import Malformed
from protocols.streams import now_ns

_LINK_FORMAT = 40
_DEVICE = {"manufacturer": "/3/0/0", "model": "/3/0/1", "serial": "/3/0/2", "firmware": "/3/0/3"}  # LwM2M Device


class PollReader:
    """An open node."""

    def __init__(self, node: Node, ops: Sequence[Get]) -> None:
        self._node = node
        self._own: Counter[str] = Counter(dict.fromkeys(READING_COUNTERS, 0))
        clocks = {op.device.name: DeviceClock() for op in ops}
        self._meaning = {op: Meaning(op, clocks[op.device.name], self._own) for op in ops}

    @property
    def counters(self) -> Mapping[str, int]:
        return {**self._node.counters, **self._own}

    @property
    def tap(self) -> Tap | None:
        return self._node.tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._node.tap = tap

    async def read(self, ops: Sequence[Get], timeout_s: float) -> Batch:
        rows: list[Row] = []
        is_silent = False
        for op in ops:
            if is_silent:
                rows += self._meaning[op].failed(Quality.NO_REPLY, now_ns())
                continue
            asked = await self._ask(op, timeout_s)
            rows += asked
            is_silent = asked[0][3] == Quality.NO_REPLY
        return batch(rows)

    async def _ask(self, op: Get, timeout_s: float) -> list[Row]:
        meaning = self._meaning[op]
        try:
            answer = await self._node.ask("GET", op.path, own_timeout_s(op.device, timeout_s), accept=op.accept)
        except NoAnswer:
            return meaning.failed(Quality.NO_REPLY, now_ns())
        except BadAnswer:
            return meaning.failed(Quality.BAD_REPLY, now_ns())
        return self._said(op, answer, latest=True)

    def _said(self, op: Get, answer: Answer, *, latest: bool) -> list[Row]:
        if not answer.is_good:
            self._node.counters["refused"] += 1
            return self._meaning[op].failed(Quality.REFUSED, answer.arrived_ns)
        return self._meaning[op].rows(answer.content_format, answer.payload, answer.arrived_ns, latest=latest)

    async def write(self, point: Point, value: float, timeout_s: float) -> Written:
        """A confirmable PUT, whose retransmissions the node knows by their message id, then a GET."""
        if point.writable is None:
            return Written(Quality.REFUSED, math.nan, now_ns(), "the profile does not declare this point writable")
        low, high = point.writable
        if not low <= value <= high:
            return Written(Quality.OUT_OF_RANGE, value, now_ns(), f"{low:g} to {high:g}")
        own_s = own_timeout_s(point.device, timeout_s)
        form, payload = tell(point.spec, (value - point.offset) / point.scale)
        try:
            put = await self._node.ask("PUT", point.spec.path, own_s, payload=payload, content_format=form)
        except NoAnswer:
            return Written(Quality.NO_REPLY, math.nan, now_ns(), "no answer: nobody knows whether it took effect")
        except BadAnswer as bad:
            return Written(Quality.BAD_REPLY, math.nan, now_ns(), str(bad))
        if not put.is_good:
            self._node.counters["refused"] += 1
            return Written(Quality.REFUSED, math.nan, put.arrived_ns, f"the node answered {put.dotted}")
        return await self._read_back(point, value, own_s)

    async def _read_back(self, point: Point, value: float, timeout_s: float) -> Written:
        try:
            answer = await self._node.ask("GET", point.spec.path, timeout_s)
            if not answer.is_good:
                return Written(Quality.BAD_REPLY, math.nan, answer.arrived_ns, f"reads back {answer.dotted}")
            found = parse(answer.content_format, answer.payload)(point.spec)[-1]
        except NoAnswer:
            return Written(Quality.NO_REPLY, math.nan, now_ns(), "taken, but it does not read back")
        except (BadAnswer, Malformed) as bad:
            return Written(Quality.BAD_REPLY, math.nan, now_ns(), f"taken, but reads back nonsense: {bad}")
        got = found.value * point.scale + point.offset
        if math.isclose(got, value, rel_tol=1e-6, abs_tol=1e-9):
            return Written(Quality.GOOD, got, now_ns())
        return Written(Quality.SUSPECT, got, now_ns(), f"reads back {got:g}")

    async def identify(self, device: Device, timeout_s: float) -> Mapping[str, str]:
        """What `/.well-known/core` lists, and who LwM2M's Device object says it is."""
        own_s = own_timeout_s(device, timeout_s)
        try:
            answer = await self._node.ask("GET", "/.well-known/core", own_s, accept=_LINK_FORMAT)
        except (NoAnswer, BadAnswer):
            return {}
        if not answer.is_good:
            return {}
        found = linkformat.links(answer.payload.decode(errors="replace"))
        said = {"resources": " ".join(found)} if found else {}
        if any(path in ("/3", "/3/0") or path.startswith("/3/0/") for path in found):
            for name, path in _DEVICE.items():
                said |= await self._device_text(name, path, own_s)
        return said

    async def _device_text(self, name: str, path: str, timeout_s: float) -> dict[str, str]:
        try:
            answer = await self._node.ask("GET", path, timeout_s, accept=0)
        except (NoAnswer, BadAnswer):
            return {}
        text = answer.payload[:200].decode(errors="replace").strip()
        return {name: text} if answer.is_good and answer.content_format in (-1, 0) and text else {}

    async def __aenter__(self) -> PollReader:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await asyncio.shield(self._node.close())


def own_timeout_s(device: Device, timeout_s: float) -> float:
    own_ms = device.options.timeout_ms
    return timeout_s if own_ms is None else own_ms / 1000

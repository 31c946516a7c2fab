"""Simulated serial devices: binary frames (streamed or on request) and ASCII lines, and raw loop waveforms."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from gateway.sim.image import Frame, request_bytes
from gateway.sim.line import PtyLine
from gateway.sim.modbus import Now
from gateway.sim.world import Sent, World
from protocols.api import Point

CHUNK_S = 0.02  # lines of a waveform leave the port in bursts of so long


async def stream_frames(line: PtyLine, points: Sequence[Point], world: World, sent: Sent, now: Now) -> None:
    """A device that speaks by itself every period; each frame leaves when its last byte would have."""
    device = points[0].device
    frame, period_s = Frame(device.options, points, device.unit), min(point.period_s for point in points)
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += period_s
        await asyncio.sleep(due - loop.time())
        _, at_s = now()
        if world.alive(device.name, at_s):
            _put_frame(line, frame, device.name, world, sent, now)


class _Asked:
    """One device of a line: what it hears and what it answers. One with start-up commands answers its request once it
    has heard them all, and forgets them without power."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.device = points[0].device
        options = self.device.options
        self.frame, self.request = Frame(options, points, self.device.unit), request_bytes(options, self.device.unit)
        self.reply_bytes = options.longest
        self._commands = [(bytes.fromhex(one.send), bytes.fromhex(one.answer)) for one in options.commands]
        self._heard: set[bytes] = set()

    @property
    def is_started(self) -> bool:
        return all(command in self._heard for command, _ in self._commands)

    def power_off(self) -> None:
        self._heard.clear()

    def command_in(self, data: bytes) -> tuple[int, bytes] | None:
        """(where the first start-up command in `data` ends, its answer)."""
        found = [(data.find(send) + len(send), send, answer) for send, answer in self._commands if send in data]
        if not found:
            return None
        end, send, answer = min(found)
        self._heard.add(send)
        return end, answer


async def answer_frames(line: PtyLine, points: Sequence[Point], world: World, sent: Sent, now: Now) -> None:
    """Devices that answer their request bytes with one frame, any number on one line."""
    by_device: dict[str, list[Point]] = {}
    for point in points:
        by_device.setdefault(point.device.name, []).append(point)
    devices = [_Asked(group) for group in by_device.values()]
    buffer = b""
    while True:
        buffer = (buffer + await line.receive())[-4096:]
        for one in devices:
            alive = world.alive(one.device.name, now()[1])
            if not alive:
                one.power_off()
            while alive and (command := one.command_in(buffer)):
                buffer = buffer[command[0] :]
                line.put(command[1])
        asked = next((one for one in devices if one.request in buffer), None)
        if asked is None:
            continue
        buffer = b""
        await asyncio.sleep((len(asked.request) + asked.reply_bytes) * line.char_s)
        if world.alive(asked.device.name, now()[1]) and asked.is_started:
            _put_frame(line, asked.frame, asked.device.name, world, sent, now)


def _put_frame(line: PtyLine, frame: Frame, device: str, world: World, sent: Sent, now: Now) -> None:
    time_ns, at_s = now()
    data, told = frame.build(lambda point: world.value(f"{device}.{point.name}", at_s), at_s)
    if line.put(data):
        sent.wire_bytes += len(data)
        for name, value in told.items():
            sent.add(f"{device}.{name}", time_ns, value)


class LoopTraffic:
    """Vehicles over the loops of one lane: -dL/L in percent, one column a loop, `rate_hz` samples a second.

    A vehicle is a raised cosine edge, a plateau and an edge, `length / speed` long, and reaches the next loop after
    `spacing / speed`. Noise is 0.4 % of a car's signal.
    """

    def __init__(self, loops: int, rate_hz: float, spacing_m: float, seed: int = 7) -> None:
        self._loops, self._rate, self._spacing = loops, rate_hz, spacing_m
        self._random = np.random.default_rng(seed)
        self._vehicles: list[tuple[float, float, float, float]] = []  # nose time, speed m/s, length m, height %
        self._next_s = 1.0
        self.log: list[tuple[float, float, float, float]] = []  # every vehicle ever, in the same form

    def samples(self, first: int, count: int, closed: bool = False) -> np.typing.NDArray[np.float64]:
        """Samples [count, loops] from sample number `first`; no new vehicle comes while the lane is `closed`."""
        times = (first + np.arange(count)) / self._rate
        while self._next_s < times[-1] + 5.0:
            if not closed:
                speed = float(self._random.uniform(8.0, 17.0))
                self._vehicles.append(
                    (
                        self._next_s,
                        speed,
                        float(self._random.uniform(3.8, 9.0)),
                        float(self._random.uniform(2.0, 4.5)),
                    )
                )
                self.log.append(self._vehicles[-1])
            self._next_s += float(self._random.uniform(1.6, 4.0))
        out = self._random.normal(0.0, 0.01, (count, self._loops))
        for nose, speed, length, height in self._vehicles:
            for loop in range(self._loops):
                position = (times - nose) * speed - loop * self._spacing  # metres of the nose past the loop's edge
                inside = np.clip(position, 0.0, 2.0) / 2.0 - np.clip(position - length, 0.0, 2.0) / 2.0
                out[:, loop] += height * (1.0 - np.cos(np.pi * inside)) / 2.0
        horizon = times[0] - 20.0
        self._vehicles = [v for v in self._vehicles if v[0] > horizon]
        return out


class StuckLoop:
    """When each loop was held on: (loop, first sample, CLOCK_BOOTTIME ns of the chunk that held sample n)."""

    def __init__(self) -> None:
        self.first_sample: dict[str, int] = {}
        self.chunk_ends: list[tuple[int, int]] = []  # (samples sent so far, time ns just before the write)

    def time_of(self, sample: int) -> int | None:
        """When the chunk that carried `sample` left."""
        return next((time_ns for upto, time_ns in self.chunk_ends if upto > sample), None)


async def stream_loops(
    line: PtyLine,
    points: Sequence[Point],
    spacing_m: float,
    world: World,
    sent: Sent,
    now: Now,
    stuck: StuckLoop,
) -> None:
    """Raw loop samples as lines, on the sample clock: what a slow turn held up follows at once."""
    device = points[0].device
    options = device.options
    waves = sorted((p for p in points), key=lambda p: p.spec.field)
    traffic = LoopTraffic(len(waves), options.rate_hz, spacing_m)
    loop = asyncio.get_running_loop()
    begun, number = loop.time(), 0
    while True:
        await asyncio.sleep(max(0.0, begun + number / options.rate_hz + CHUNK_S - loop.time()))
        due = int((loop.time() - begun) * options.rate_hz) - number
        if due <= 0:
            continue
        _, at_s = now()
        names = [f"{device.name}.{p.name}" for p in waves]
        held = [world.incident(name, at_s) is not None for name in names]
        # the lane empties before a loop is stuck: the fault, not a vehicle, is what holds it
        closed = any(world.incident(name, at_s + 9.0) is not None for name in names) or any(held)
        values = traffic.samples(number, due, closed)
        for column, (name, on) in enumerate(zip(names, held, strict=True)):
            if on:
                stuck.first_sample.setdefault(name, number)
                values[:, column] += world.value(name, at_s)
        values = np.round(values, 4)
        end = options.terminator
        text = "".join(
            options.prefix + options.separator.join(f"{v:.4f}" for v in row) + end for row in values.tolist()
        )
        data = text.encode("ascii")
        time_ns, _ = now()
        number += due
        stuck.chunk_ends.append((number, time_ns))
        if line.put(data):
            sent.wire_bytes += len(data)
            sent.samples += values.size

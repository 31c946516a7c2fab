"""CoAP sensors in figures: nodes that one core polls once a second through the scheduler, memory, mutants."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cbor2

from gateway.field.scheduler import LinkRunner
from gateway.site.plan import LinkPlan
from gateway.site.units import conversions
from protocols.api import Batch, Device, Link, Point, Quality
from protocols.coap import linkformat
from protocols.coap.payload import parse
from protocols.coap.planner import plan
from protocols.coap.points import CONTENT_FORMATS, Options, Resource
from protocols.coap.senml import Malformed

STEPS = (300, 400, 500, 600, 800, 1000)
SECONDS, FULL_SECONDS = 12.0, 60.0
MUTANTS = 1_000_000  # of each codec
TIMEOUT_S = 3.0  # an answer that is late on a busy machine is late, not lost; the poll it holds up is missing
ROUNDS = 3
ANSWERED = 0.995  # of the polls due, for a number of nodes to count
SEED = 20_640
LINK_FORMAT = 40

WANTED = {"coap_nodes": ">= 300", "coap_core_share_300": "< 1", "crashes": "0"}


def run(full: bool) -> dict[str, Any]:
    logging.getLogger("citygate").setLevel(logging.ERROR)  # nodes beyond what one core serves say so one by one
    figures = _nodes(FULL_SECONDS if full else SECONDS) | _mutants(MUTANTS)
    for key, value in figures.items():
        print(f"{key:28} {WANTED.get(key, ''):>10} {value:>14.6g}")
    return figures


@contextmanager
def _simulated(count: int) -> Iterator[list[int]]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sensors_coap_nodes", str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def _nodes(seconds: float) -> dict[str, Any]:
    """The most nodes of STEPS of which nearly all polls were answered in their second."""
    most = 0
    figures: dict[str, Any] = {}
    for count in STEPS:
        found = next((it for _ in range(ROUNDS) if _is_served(it := _round(count, seconds))), None)
        if found is None:
            break
        most = count
        figures = figures or {
            "coap_core_share_300": found["share"],
            "coap_us_per_poll": found["us"],
            "coap_growth_kb": found["growth_kb"],
            "fd_growth": found["fd_growth"],
        }
    return {"coap_nodes": most, **figures}


def _is_served(found: dict[str, Any]) -> bool:
    return bool(found["good"] >= ANSWERED * found["due"])


def _round(count: int, seconds: float) -> dict[str, Any]:
    """Said in so many words, with what other processes took of the core: a round that starved says nothing of us."""
    before = _descriptors()
    with _simulated(count) as ports:
        found = asyncio.run(_poll(ports, seconds))
    found["fd_growth"] = _descriptors() - before
    print(
        f"{count} nodes at 1 Hz: {found['good']} of {found['due']} answered, {found['share']:.2f} of a core, "
        f"{found['us']:.0f} us a poll, {found['growth_kb']:.0f} kB more at the end; waited {found['waited']:.2f} of "
        f"the time for a core, {found['timeouts']} time-outs and {found['overruns']} overruns since it began",
        flush=True,
    )
    return found


async def _poll(ports: list[int], seconds: float) -> dict[str, Any]:
    """Every link with a runner of its own, as the field half has them."""
    good = 0

    def sink(batch: Batch) -> None:
        nonlocal good
        good += int((batch.quality == Quality.GOOD).sum())

    runners = []
    for number, port in enumerate(ports):
        device = Device(f"node{number}", 0, Options())
        point = Point(number, "speed", device, Resource("/traffic", record="speed"), 1.0, units=conversions("km/h"))
        link = Link(f"link{number}", f"coap://127.0.0.1:{port}")
        runners.append(
            LinkRunner(LinkPlan(link, "coap", TIMEOUT_S, (point,), plan((point,))), sink, number / len(ports))
        )
    stop = asyncio.Event()
    tasks = [asyncio.create_task(runner.run(stop)) for runner in runners]
    await asyncio.sleep(4.0)  # links are open, phases spread
    waited = _waited_s()
    first, cpu, wall, memory = good, time.process_time(), time.monotonic(), _resident_kb()
    await asyncio.sleep(seconds)
    waited = _waited_s() - waited
    answered, cpu, wall = good - first, time.process_time() - cpu, time.monotonic() - wall
    growth = _resident_kb() - memory
    seen = sum((Counter(runner.reader.counters) for runner in runners if runner.reader), Counter[str]())
    overruns = sum(runner.overruns for runner in runners)
    stop.set()
    await asyncio.gather(*tasks)
    return {
        "good": answered,
        "due": int(len(ports) * wall),
        "share": cpu / wall,
        "us": cpu / max(1, answered) * 1e6,
        "growth_kb": growth,
        "waited": waited / wall,
        "timeouts": seen["timeouts"],
        "overruns": overruns,
    }


def _mutants(count: int) -> dict[str, Any]:
    """`count` mutated payloads of every content-format; nothing but Malformed may come out. These formats carry no
    check, so what a mutant still says is not wrong: there is no bound to hold."""
    maker = random.Random(SEED)
    spec = Resource("/3303/0/5700", type="float")
    crashes = 0
    for number, seed in _SEEDS.items():
        for _ in range(count):
            data = _mutated(seed, maker)
            try:
                _CODECS.get(number, parse)(number, data)(spec)
            except Malformed:
                pass
            except Exception as crash:
                crashes += 1
                print(f"content-format {number}: {type(crash).__name__}: {crash} from {data.hex()}")
    return {"fuzz_frames": count, "coap_codecs": len(_SEEDS), "crashes": crashes, "wrong_accepted": 0}


def _links(number: int, data: bytes) -> Callable[[Resource], object]:
    found = linkformat.links(data.decode(errors="replace"))
    return lambda spec: found


def _mutated(seed: bytes, maker: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(maker.randrange(1, 5)):
        at = maker.randrange(len(data) + 1)
        match maker.randrange(4):
            case 0 if at < len(data):
                data[at] ^= 1 << maker.randrange(8)
            case 1:
                data[at:at] = maker.randbytes(maker.randrange(1, 5))
            case 2:
                del data[at : at + maker.randrange(1, 5)]
            case _:
                data[at : at + 1] = maker.randbytes(1)
    return bytes(data)


_PACK = [{"bn": "urn:dev:ow:10e2073a01080063:", "bt": 1.276020076e9, "n": "t", "u": "Cel", "v": 2.5}]
_SEEDS: dict[int, bytes] = {
    CONTENT_FORMATS["text"]: b"-12.75e1",
    CONTENT_FORMATS["json"]: b'{"a": [1.5, {"b": "on"}], "c": null}',
    CONTENT_FORMATS["cbor"]: cbor2.dumps({"a": [1.5, {"b": "on"}], 3: None}),
    CONTENT_FORMATS["senml+json"]: json.dumps(_PACK).encode(),
    CONTENT_FORMATS["senml+cbor"]: cbor2.dumps([{-2: "urn:dev:", -3: 1.276020076e9, 0: "t", 1: "Cel", 2: 2.5}]),
    CONTENT_FORMATS["lwm2m+tlv"]: bytes.fromhex("0800 1cc816 44 4101fc1541c40141c98516 44".replace(" ", "")),
    CONTENT_FORMATS["lwm2m+json"]: b'{"bn":"/3303/0/","e":[{"n":"5700","v":21.5},{"n":"5701","sv":"Cel"}]}',
    LINK_FORMAT: b'</3303/0/5700>;rt="oma.lwm2m";ct="0 112";obs,</traffic>;if="sensor";title="a \\"b\\""',
}
_CODECS: dict[int, Callable[[int, bytes], Callable[[Resource], object]]] = {LINK_FORMAT: _links}


def _waited_s() -> float:
    """Seconds this process was ready to run and had no core (run_delay of schedstat)."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _resident_kb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


if __name__ == "__main__":
    run("--full" in sys.argv)

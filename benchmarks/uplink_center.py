"""How many packs a second a center commits on one core, and what its memory does.

A center process on one core, senders on another: eight gateways with OSCORE, packs of eight windows with nine
statistics. Datagrams carry as many packs as fit in 1,000 bytes (`datagrams_per_s`) or one each
(`single_datagrams_per_s`); over TCP bundles of 100. Memory is read after a tenth of the packs (of one window, to spare
the disk) and at the end.

python -m benchmarks.uplink_center HOW FOLDER PORT PACKS     is the senders' side
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.uplink_ends import BOOT, CATALOG, windows
from gateway.site.upstream import Upstream
from gateway.spool.records import Lane, Record
from gateway.uplink.link import Link
from gateway.uplink.way import Kind, Way
from gateway.wire import bundle, coap, pack, secure
from gateway.wire.coap import Message
from gateway.wire.credentials import SecurityContext, create

GATEWAYS = 8
SEVERAL = 11  # packs that deflate to less than 1,000 bytes
BUNDLE = 100
PACKS, FULL_PACKS = 12_000, 60_000
MEMORY_PACKS, FULL_MEMORY_PACKS = 100_000, 1_000_000
KINDS = 200  # packs made anew; the others are these under another boot

Body = tuple[str, int, bytes, int]  # path, content-format, payload, packs


def run(*, full: bool) -> dict[str, Any]:
    packs = FULL_PACKS if full else PACKS
    figures: dict[str, Any] = {}
    for how, count in (("datagrams", packs), ("single", packs // 4), ("tcp", packs)):
        got = _round(how, count)
        key = {"datagrams": "datagrams_per_s", "single": "single_datagrams_per_s", "tcp": "tcp_per_s"}[how]
        figures[key] = round(got["packs"] / got["seconds"])
        figures[key.replace("_per_s", "_cpu_us")] = round(got["cpu_us"])
        print(f"center, {how}: {figures[key]} packs/s, {got['cpu_us']:.0f} us of its core a pack", flush=True)
    got = _round("memory", FULL_MEMORY_PACKS if full else MEMORY_PACKS)
    figures["rss_growth_mb"] = round(got["growth_mb"], 1)
    figures["rss_packs"] = got["packs"]
    print(f"center: memory grew by {got['growth_mb']:.1f} MB over {got['packs']} packs", flush=True)
    return figures


def _round(how: str, packs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="citygate-center-") as name:
        folder = Path(name)
        for number in range(GATEWAYS):
            create(f"gw{number}", folder / f"gw{number}", folder / "keys")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        center = _started(folder, port)
        try:
            cpu_s = _cpu_s(center.pid)
            command = [sys.executable, "-m", "benchmarks.uplink_center", how, name, str(port), str(packs)]
            with subprocess.Popen(_on_core(1, command), stdout=subprocess.PIPE, text=True) as senders:
                assert senders.stdout
                at_tenth_mb = 0.0
                figures: dict[str, Any] = {}
                for line in senders.stdout:
                    if line.startswith("{"):
                        figures = json.loads(line)
                    elif not at_tenth_mb:
                        at_tenth_mb = _rss_mb(center.pid)
            figures["cpu_us"] = (_cpu_s(center.pid) - cpu_s) / packs * 1e6
            figures["growth_mb"] = _rss_mb(center.pid) - at_tenth_mb
            return figures
        finally:
            center.terminate()
            center.wait()


def _started(folder: Path, port: int) -> subprocess.Popen[bytes]:
    log = folder / "center.log"
    command = [sys.executable, "-m", "gateway.cli", "center", "--bind", f"127.0.0.1:{port}"]
    command += ["--db", str(folder / "center.db"), "--credentials", str(folder / "keys")]
    with log.open("wb") as out:
        center = subprocess.Popen(_on_core(0, command), stdout=out, stderr=subprocess.STDOUT)
    give_up_s = time.monotonic() + 20
    while "ready" not in log.read_text():
        if center.poll() is not None or time.monotonic() > give_up_s:
            raise RuntimeError(f"the center did not start:\n{log.read_text()}")
        time.sleep(0.05)
    return center


def _on_core(core: int, command: list[str]) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[min(core, len(cores) - 1)]), *command]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000


# -- the senders


def bodies(how: str, packs: int) -> Iterator[Body]:
    dice = random.Random(2)
    channels = 1 if how == "memory" else 8
    made = []
    for number in range(KINDS):
        record = Record(BOOT, "center", Lane.SUMMARY, number, CATALOG.id, windows(number, dice, channels))
        made.append(pack.encode(record, CATALOG, lambda _: 0))
    old = bytes.fromhex(BOOT)
    size = {"datagrams": SEVERAL, "single": 1}.get(how, BUNDLE)
    for first in range(0, packs, KINDS):
        boot = dice.randbytes(8)
        fresh = [(kind, body.replace(old, boot)) for kind, body in made[: packs - first]]
        for at in range(0, len(fresh), size):
            part = fresh[at : at + size]
            if how == "single":
                yield "w", 112, part[0][1], 1
            else:
                yield bundle.PATH, bundle.DEFLATED, bundle.encode(part, 60), len(part)


async def _send(how: str, folder: Path, port: int, packs: int) -> dict[str, Any]:
    waiting = bodies(how, packs) if how == "memory" else iter(list(bodies(how, packs)))
    done = 0

    def stored(count: int) -> None:
        nonlocal done
        if done < packs // 10 <= done + count:
            print("a tenth", flush=True)
        done += count

    began_s = time.monotonic()
    one = _datagrams if how in ("datagrams", "single") else _stream
    await asyncio.gather(*(one(folder / f"gw{n}", port, waiting, stored) for n in range(GATEWAYS)))
    return {"packs": done, "seconds": time.monotonic() - began_s}


async def _datagrams(keys: Path, port: int, waiting: Iterator[Body], stored: Any) -> None:
    loop = asyncio.get_running_loop()
    context = SecurityContext(keys)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", port))
        mid = 0
        echo: tuple[tuple[int, bytes], ...] = ()
        for path, content_format, body, count in waiting:
            while True:
                mid = mid + 1 & 0xFFFF
                options = ((coap.URI_PATH, path.encode()), (coap.CONTENT_FORMAT, coap.uint(content_format)), *echo)
                outer, identifiers = secure.protect_request(context, Message(coap.POST, options, body, b"t", mid=mid))
                sock.send(coap.to_datagram(outer))
                answer = coap.from_datagram(await loop.sock_recv(sock, 2000))
                while answer.code == coap.EMPTY:  # acknowledged first
                    answer = coap.from_datagram(await loop.sock_recv(sock, 2000))
                inner = secure.open_response(context, answer, identifiers)
                if inner.code == coap.CHANGED:
                    break
                fresh = inner.first(coap.ECHO)
                assert fresh is not None, inner
                echo = ((coap.ECHO, fresh),)
            echo = ()
            stored(count)
    context.close()


async def _stream(keys: Path, port: int, waiting: Iterator[Body], stored: Any) -> None:
    context = SecurityContext(keys)
    way = Way(Upstream("center", f"coap+tcp://127.0.0.1:{port}", str(keys), False, ("",)), keys.name, context)
    link = await Link.open(way)

    async def one_by_one() -> None:
        for path, content_format, body, count in waiting:
            answer = await link.deliver(path, content_format, body)
            assert answer.kind is Kind.STORED, answer
            assert not answer.payload, answer
            stored(count)

    await asyncio.gather(*(one_by_one() for _ in range(2)))
    link.close()
    context.close()


def main(arguments: Sequence[str]) -> int:
    how, folder, port, packs = arguments
    print(json.dumps(asyncio.run(_send(how, Path(folder), int(port), int(packs)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

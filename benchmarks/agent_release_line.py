"""A release over a bad line: 20 MB from a real center, 100 ms there and back, 5 % of the packets lost, cut ten times.

Out: the share of bytes that were asked for again after a cut, beyond what TCP itself resends. The line is two network
namespaces joined by a relay (uplink_line.py), so TCP meets delay and loss as it does on a street; a cut is the
gateway's own connection torn down with all that was under way. Without root the line is loopback, with the cuts alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import uplink_line
from gateway.agent.desk import Desk
from gateway.agent.download import Download
from gateway.agent.fetching import Fetching
from gateway.agent.line import Line
from gateway.agent.lines import Lines
from gateway.agent.resource import Role
from gateway.agent.tree import Tree
from gateway.wire.credentials import SecurityContext, create

SIZE = 20_000_000
CUTS = 10
DELAY_S, LOSS = 0.05, 0.05
PATIENCE_S = 900.0


@dataclass(frozen=True)
class Fetched:
    line: str
    seconds: float
    cuts: int
    asked: int
    resent_share: float
    whole: bool


def run(folder: Path, size: int = SIZE) -> Fetched:
    """Raises RuntimeError where the gateway's end came to no end."""
    create("cab-7", folder / "gateway", folder / "center")
    body = random.Random(7).randbytes(size)
    (folder / "files").mkdir()
    (folder / "files/image").write_bytes(body)
    lacks = uplink_line.Line.missing()
    host = "127.0.0.1" if lacks else uplink_line.FAR
    center = [sys.executable, "-m", "gateway.cli", "center", "--bind", f"{host}:5693", "--db", str(folder / "db"),
              "--credentials", str(folder / "center"), "--files", str(folder / "files")]  # fmt: skip
    near = [sys.executable, "-m", "benchmarks.agent_release_line", str(folder), f"{host}:5693", str(size),
            hashlib.sha256(body).hexdigest()]  # fmt: skip
    with ExitStack() as stack, (folder / "log").open("w") as log:
        if lacks:
            print(f"  the line is loopback: {lacks} is missing")
            at_center = subprocess.Popen(center, stdout=log, stderr=log, text=True)
        else:
            line = stack.enter_context(uplink_line.Line(DELAY_S, LOSS))
            at_center = line.far(center, log)
        stack.callback(at_center.wait)
        stack.callback(at_center.terminate)
        if lacks:
            gateway = subprocess.Popen(near, stdout=subprocess.PIPE, stderr=log, text=True)
        else:
            gateway = line.near(near, subprocess.PIPE)
        stack.callback(gateway.kill)
        out, _ = gateway.communicate(timeout=PATIENCE_S)
        if gateway.returncode:
            raise RuntimeError(f"the gateway's end failed: {out[-2000:]}")
    said = json.loads(out.strip().splitlines()[-1])
    whole = (folder / "part").read_bytes() == body
    how = "loopback" if lacks else f"{2000 * DELAY_S:.0f} ms, {100 * LOSS:.0f} % lost"
    return Fetched(how, said["seconds"], said["cuts"], said["asked"], (said["asked"] - size) / size, whole)


async def near(folder: Path, address: str, size: int, sha256: str) -> dict[str, Any]:
    """The gateway's end."""
    context = SecurityContext(folder / "gateway")
    tree = Tree(())

    async def where() -> str:
        return address

    line = Line("center", context, where, lambda: Desk("center", frozenset(Role), context, lambda: tree))
    keeping = asyncio.ensure_future(line.run())
    await line.up.wait()
    chance = random.Random(11)
    cuts = sorted(chance.randrange(size // 50, size - size // 50) for _ in range(CUTS))
    done = 0

    def said(arrived: int) -> None:
        nonlocal done
        if cuts and arrived >= cuts[0]:
            cuts.pop(0)
            done += 1
            stream = line._stream
            assert stream is not None
            stream.abort()

    begun_s = time.monotonic()
    download = Download(folder / "part", size, sha256)
    await download.run(Fetching(Lines([line]).one), "image", said=said)
    keeping.cancel()
    context.close()
    return {"seconds": round(time.monotonic() - begun_s, 1), "cuts": done, "asked": download.asked}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(near(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))))

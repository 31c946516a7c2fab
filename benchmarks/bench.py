"""The technician's bench: the worst search of a line, identification, suggestions, check of 1,000 profiles, start-up.

profiles, unproven      of the library
scan_worst_ratio        a line on which nobody answers: 4 baud rates x 3 parities x 247 addresses, by what the
                        time-outs must take. On a real pseudo terminal with time-outs of 10 ms (--full: 100 ms, the
                        default), the worst case of the default reckoned and printed
scan_found_of           devices found of those hidden at every setting (simulated UARTs, a clock of their own)
identify_first          captures whose profile comes out first, values moved within range
suggest_first           random encodings whose first suggestion gives all three displays; suggest_holds: a fourth too
check_1000_s            `citygate check` of 1,000 profiles
help_ms, read_ms        start-up: `citygate --help`, and `citygate read` until its first request is on the line; the
                        best of some, as a busy machine only adds
"""

from __future__ import annotations

import asyncio
import os
import pty
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench_identify import identify_first, library
from benchmarks.bench_suggest import suggest_first
from gateway.bench.scan import TIMEOUT_S, LineScan, settings_of, worst_s
from gateway.sim.bus import Bus, Slave
from gateway.sim.uart import Setting
from gateway.site.library import installed
from protocols.api import Device, Link, Point
from protocols.modbus.points import Options, Register
from protocols.testing import FakeStream

UNITS = tuple(range(1, 248))
SHORT_TIMEOUT_S = 0.01
CHECKED = 1000
STARTS = 7


def run(*, full: bool = False) -> dict[str, Any]:
    profiles = library()
    ratio = worst_scan(TIMEOUT_S if full else SHORT_TIMEOUT_S)
    found = found_of(48 if full else 24)
    identified, captures = identify_first(profiles, 10 if full else 4)
    print(f"identify: {captures} captures, {identified:.1%} right first", flush=True)
    suggested, holds = suggest_first(1000)
    with tempfile.TemporaryDirectory(prefix="citygate-bench-") as folder:
        checked_s = check_many(Path(folder))
        help_ms, read_ms, loaded = starts(Path(folder))
    return {
        "profiles": len(profiles),
        "unproven": sum(profile.unproven for profile in profiles),
        "scan_worst_ratio": round(ratio, 3),
        "scan_worst_s": round(worst_s(settings_of(), UNITS), 1),
        "scan_found_of": round(found, 4),
        "identify_first": round(identified, 4),
        "suggest_first": round(suggested, 4),
        "suggest_holds": round(holds, 4),
        "check_1000_s": round(checked_s, 2),
        "help_ms": round(help_ms, 1),
        "read_ms": round(read_ms, 1),
        "read_loads": loaded,
    }


def worst_scan(timeout_s: float) -> float:
    """Seconds of a search in which nobody answers, by what its time-outs, requests and listening must take."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)

    @asynccontextmanager
    async def opened(link: Link) -> AsyncIterator[Any]:
        from dataclasses import replace

        from protocols.streams import open_stream

        os.set_blocking(master, False)
        with_no_parity = replace(link, parity="N")  # a pty refuses any other
        async with open_stream(with_no_parity) as stream:
            asyncio.get_running_loop().add_reader(master, _drain, master)
            try:
                yield stream
            finally:
                asyncio.get_running_loop().remove_reader(master)

    settings = settings_of()
    scan = LineScan(f"serial:{path}", settings, UNITS, timeout_s=timeout_s, opened=opened)
    begun = time.monotonic()
    report = asyncio.run(scan.run())
    took_s, least_s = time.monotonic() - begun, worst_s(settings, UNITS, timeout_s)
    os.close(master)
    os.close(slave)
    print(
        f"scan: {report.requests} requests without an answer in {took_s:.1f} s, time-outs of {timeout_s * 1000:.0f} ms "
        f"take {least_s:.1f} s; with the default of {TIMEOUT_S * 1000:.0f} ms {worst_s(settings, UNITS):.0f} s",
        flush=True,
    )
    return took_s / least_s


def _drain(fd: int) -> None:
    try:
        os.read(fd, 4096)
    except OSError:
        return


def found_of(lines: int) -> float:
    """Lines with 1 to 4 devices at one random setting: the part of the devices that is found."""
    chance, hidden, found = random.Random(5), 0, 0
    for _ in range(lines):
        setting = chance.choice(settings_of())
        units = chance.sample(UNITS, chance.randrange(1, 5))
        bus = Bus([_slave(unit, Setting(setting.baud, setting.parity)) for unit in units], seed=chance.randrange(1000))
        now_ns = [1_000_000_000]

        @asynccontextmanager
        async def opened(link: Link, bus: Bus = bus, now_ns: list[int] = now_ns) -> AsyncIterator[Any]:
            stream = FakeStream(bus.peer(Setting(link.baud, link.parity, link.stop_bits)), now_ns[0])
            yield stream
            now_ns[0] = stream.now_ns()

        report = asyncio.run(LineScan("serial:/dev/none", settings_of(), UNITS, opened=opened).run())
        right = {one.unit for one in report.found if one.setting == setting}
        hidden, found = hidden + len(units), found + len(right.intersection(units))
    return found / hidden


def _slave(unit: int, setting: Setting) -> Slave:
    point = Point(0, "p", Device("d", unit, Options()), Register(3, 0), 1.0)
    return Slave(unit, [point], lambda _: float(unit), setting)


def check_many(folder: Path) -> float:
    """The library over and over until there are 1,000; each copy is another file with another name."""
    shelf = folder / "profiles"
    paths = sorted(installed().rglob("*.toml"))
    for number in range(CHECKED):
        path = paths[number % len(paths)]
        copy = shelf / path.parent.name / (path.name if number < len(paths) else f"{path.stem}-{number}.toml")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "check", str(shelf)], capture_output=True, text=True, check=False
    )
    took_s = time.monotonic() - begun
    print(f"check: {CHECKED} profiles in {took_s:.2f} s, exit code {done.returncode}", flush=True)
    return took_s


def starts(folder: Path) -> tuple[float, float, list[str]]:
    """(best ms of --help, best ms of read until the first byte is on the line, heavy modules that read loads). Byte
    code is kept as an installed package has it."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environ |= {"PYTHONPYCACHEPREFIX": str(folder / "pyc"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "gateway.cli"]
    helps = []
    for _ in range(STARTS):
        begun = time.monotonic()
        subprocess.run([*command, "--help"], stdout=subprocess.DEVNULL, check=True, env=environ)
        helps.append(time.monotonic() - begun)
    reads = [_read_start(command, environ) for _ in range(STARTS)]
    return 1000 * min(helps[1:]), 1000 * min(reads[1:]), _loaded(environ)


def _read_start(command: list[str], environ: dict[str, str]) -> float:
    """Seconds until the first byte of the request of `citygate read` is on a pseudo terminal."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    line = ["read", "--profile", "water/tuf-2000m", "--link", os.ttyname(slave)]
    begun = time.monotonic()
    reading = subprocess.Popen([*command, *line], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    select.select([master], [], [], 10.0)
    took_s = time.monotonic() - begun
    reading.terminate()
    reading.wait()
    os.close(master)
    os.close(slave)
    return took_s


def _loaded(environ: dict[str, str]) -> list[str]:
    """Which heavy packages a read of a Modbus device imports."""
    code = (
        "import sys; sys.argv = ['citygate', 'read', '--profile', 'water/tuf-2000m', '--link', '/dev/none']\n"
        "from gateway.cli import main\nmain(sys.argv[1:])\n"
        "print(' '.join(n for n in ('numba', 'scipy', 'rich', 'aiocoap', 'bleak', 'nats') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False)
    return done.stdout.split()

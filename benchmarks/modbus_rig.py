"""What the Modbus benchmark stands on: C programs built at run time, simulated devices, sites, contestants.

In: counts and folders. Out: ports that answer, sites on disk, figures of subprocesses. It measures nothing itself.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from protocols.api import Device, Point
from protocols.modbus.points import Options, Register

SOURCES = Path(__file__).parent / "c"
UNITS, REGISTERS = 50, 20
DEPTH = 16

_PROFILE_HEAD = """schema = 1
[device]
family = "other"
vendor = "bench"
model = "block"
name = {{ en = "Block of registers" }}
protocol = "modbus"
source = "benchmarks/modbus_rig.py"
period_s = {period_s}
[modbus]
{options}
"""
_POINT = """[[points]]
name = "r{i}"
function = 3
address = {i}
range = [0, 60000]
filter = "hampel"
"""
_SITE_HEAD = """schema = 1
[gateway]
id = "bench"
profiles = ["profiles"]
spool_limit_mb = 256
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:9"
insecure = true
"""
_LINK = """[[links]]
name = "{name}"
url = "{url}"
{line}
"""
_DEVICE = """[[devices]]
name = "d{number}"
profile = "other/bench-block"
link = "{link}"
unit = {unit}
"""


def build(name: str, *flags: str) -> Path | None:
    """The program made from `c/NAME.c`, built once a source; None without gcc or what the source needs."""
    source = SOURCES / f"{name}.c"
    if shutil.which("gcc") is None:
        return None
    folder = Path(tempfile.gettempdir()) / f"citygate-bench-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    program = folder / name
    if not program.exists():
        folder.mkdir(exist_ok=True)
        made = subprocess.run(["gcc", "-O2", "-o", str(program), str(source), *flags], capture_output=True, check=False)
        if made.returncode:
            return None
    return program


def libmodbus_client() -> Path | None:
    """The loop on libmodbus; None where gcc or libmodbus-dev is missing."""
    return build("client", "-I/usr/include/modbus", "-lmodbus")


@contextmanager
def simulator(ports: int) -> Iterator[int]:
    """Devices on `ports` consecutive ports of loopback, in a process of their own. Gives the first port."""
    program = build("simulator")
    command = [str(program)] if program else [sys.executable, "-m", "benchmarks.modbus_simulator"]
    for _ in range(20):
        first = random.randrange(20_000, 32_000 - ports)
        process = subprocess.Popen(
            [*command, str(first), str(ports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() == b"ready":
                yield first
                return
        finally:
            process.stdin.close()
            process.stdout.close()
            process.wait(10)
    raise SystemExit("no free range of ports for the simulated devices")


def contestant(name: str, *words: object, keep: int | None = None) -> dict[str, Any]:
    """Figures of one contestant, in a process of its own that inherits the descriptor `keep`."""
    command = [sys.executable, "-m", "benchmarks.modbus_contestants", name, *map(str, words)]
    kept = () if keep is None else (keep,)
    done = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=kept)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(f"{name} gave no figures:\n{done.stdout}\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def block_points(units: int, registers: int, period_s: float) -> list[Point]:
    """`registers` holding registers of each of `units` units, from address 0."""
    devices = [Device(f"d{unit}", unit, Options(depth=DEPTH)) for unit in range(1, units + 1)]
    return [
        Point(number * registers + i, f"{device.name}.r{i}", device, Register(3, i), period_s)
        for number, device in enumerate(devices)
        for i in range(registers)
    ]


def write_site(
    folder: Path,
    *,
    links: list[tuple[str, str]],
    devices: list[tuple[str, int]],
    registers: int,
    period_s: float,
    options: str = f"depth = {DEPTH}",
) -> Path:
    """A site of equal devices: `links` are (url, further keys), `devices` (link, unit); links are called l0, l1 ..."""
    profile = folder / "profiles" / "other" / "bench-block.toml"
    profile.parent.mkdir(parents=True)
    head = _PROFILE_HEAD.format(period_s=period_s, options=options)
    profile.write_text(head + "".join(_POINT.format(i=i) for i in range(registers)), encoding="utf-8")
    text = _SITE_HEAD
    text += "".join(_LINK.format(name=f"l{i}", url=url, line=line) for i, (url, line) in enumerate(links))
    text += "".join(_DEVICE.format(number=i, link=link, unit=unit) for i, (link, unit) in enumerate(devices))
    site = folder / "site.toml"
    site.write_text(text, encoding="utf-8")
    return site

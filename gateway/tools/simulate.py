"""`citygate simulate PROFILE`: that device on a pseudo terminal, a TCP port or a CoAP port, with values and faults to
choose, until Ctrl-C. For training, for trying a site before the device is there, and for a second pair of eyes on a
profile. What it makes (the port's link and its settings file) it takes away again.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.bench.findings import finding, not_asked
from gateway.bench.lending import profile_called
from gateway.bench.way import Unreachable
from gateway.sim.bus import CRC, EXCEPTION, FAULTS, LATE
from gateway.sim.play import Course, Faulty, on_ble, on_coap, on_pty, on_tcp
from gateway.sim.uart import Setting
from gateway.site.faults import guess
from gateway.site.profile import DeviceProfile
from gateway.tools.read import refused

BEACON = "A4:C1:38:00:00:01"  # where no address is given
ADDRESS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Play:
    """What a person asked for. `on`: pty, pty:PATH, tcp:PORT, coap:PORT, ble, ble:ADDRESS, "" for what the profile
    speaks."""

    profile: str
    on: str = ""
    units: tuple[int, ...] = (1,)
    sets: tuple[str, ...] = ()
    fault: str = ""
    fault_rate: float = 1.0
    noise: float = 0.0
    baud: int = 0
    parity: str = ""
    echo: bool = False
    seconds: float = 0.0
    folders: tuple[str, ...] = ()
    seed: int = 1


def run(play: Play, *, json: bool) -> int:
    """0 after Ctrl-C or `seconds`, 2 where it cannot play."""
    try:
        profile = profile_called(play.profile, play.folders)
        given = _given(profile, play.sets)
        _check(profile, play)
        asyncio.run(_played(profile, play, given, json))
    except Unreachable as no:
        return refused(no.finding, json=json)
    except OSError as no:
        hint = "choose another port or path / 다른 포트나 경로를 지정하십시오"
        return refused(not_asked(play.on or play.profile, str(no.strerror or no), hint), json=json)
    return 0


def _given(profile: DeviceProfile, sets: Sequence[str]) -> dict[str, float]:
    known = [point.name for point in profile.points if point.spec is not None]
    given = {}
    for one in sets:
        name, _, value = one.partition("=")
        if name not in known:
            raise Unreachable(finding("CG-5110", name=name + guess(name, known).en, known=", ".join(known)))
        try:
            given[name] = float(value)
        except ValueError as bad:
            why = finding("CG-5111", what=f"--set {one}", why="write POINT=VALUE", verb="simulate")
            raise Unreachable(why) from bad
    return given


def _check(profile: DeviceProfile, play: Play) -> None:
    kind = profile.driver.name
    way = play.on.partition(":")[0] or _usual(profile)
    ways = {"modbus": ("pty", "tcp"), "serial": ("pty",), "coap": ("coap",), "ble": ("ble",)}[kind]
    if way not in ways:
        raise Unreachable(finding("CG-5111", what=f"--on {play.on}", why=f"{kind}: {', '.join(ways)}", verb="simulate"))
    port = play.on.partition(":")[2]
    if way == "ble":
        if port and not ADDRESS.fullmatch(port):
            why = "an address is six pairs, as A4:C1:38:12:34:56"
            raise Unreachable(finding("CG-5111", what=f"--on {play.on}", why=why, verb="simulate"))
    elif way != "pty" and port and not (port.isdecimal() and int(port) < 65_536):
        why = f"write {way}:PORT, a number up to 65535; it listens on this machine alone"
        raise Unreachable(finding("CG-5111", what=f"--on {play.on}", why=why, verb="simulate"))
    impossible = {
        "coap": (CRC, LATE, EXCEPTION),
        "ble": (CRC, LATE, EXCEPTION),
        "serial": (LATE, EXCEPTION),
        "modbus": (),
    }[kind]
    if way == "tcp" and play.fault == CRC:
        impossible = (CRC,)
    if play.fault in impossible:
        can = ", ".join(one for one in FAULTS if one not in impossible)
        raise Unreachable(finding("CG-5111", what=f"--fault {play.fault}", why=f"{way} has {can}", verb="simulate"))


def _usual(profile: DeviceProfile) -> str:
    return {"coap": "coap", "ble": "ble"}.get(profile.driver.name, "pty")


async def _played(profile: DeviceProfile, play: Play, given: dict[str, float], json: bool) -> None:
    courses = [(unit, Course(profile, given, play.noise, play.seed + number)) for number, unit in enumerate(play.units)]
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with _on(profile, play, courses) as (url, setting):
        line = {"baud": setting.baud, "parity": setting.parity} if setting else {}
        if json:
            print(jsonlib.dumps({"profile": profile.name, "url": url, "units": list(play.units), **line}), flush=True)
        else:
            print("\n".join(_told(profile, play, url, setting)), flush=True)
        try:
            async with asyncio.timeout(play.seconds or None):
                await over.wait()
        except TimeoutError:
            return


@asynccontextmanager
async def _on(
    profile: DeviceProfile, play: Play, courses: list[tuple[int, Course]]
) -> AsyncIterator[tuple[str, Setting | None]]:
    way, _, where = play.on.partition(":")
    faulty = Faulty(play.fault, play.fault_rate)
    match way or _usual(profile):
        case "tcp":
            async with on_tcp(profile, courses, int(where or 0), faulty) as port:
                yield f"tcp://127.0.0.1:{port}", None
        case "ble":
            with tempfile.TemporaryDirectory(prefix="citygate-ble-") as folder:
                address = (where or BEACON).upper()
                async with on_ble(profile, courses[0][1], address, b"", faulty, Path(folder)) as bus:
                    yield bus, None
        case "coap":
            async with on_coap(profile, courses[0][1], int(where or 5683), faulty) as url:
                yield url, None
        case _:
            line = profile.link
            setting = Setting(play.baud or line.baud or 9600, play.parity or line.parity or "N", line.stop_bits or 1)
            async with on_pty(profile, courses, setting, faulty, where, play.echo) as path:
                yield f"serial:{path}", setting


def _told(profile: DeviceProfile, play: Play, url: str, setting: Setting | None) -> list[str]:
    units = ", ".join(map(str, play.units))
    line = f"  {setting.baud} 8{setting.parity}{setting.stop_bits}" if setting else ""
    fault = f"  fault: {play.fault} ({play.fault_rate:.0%})" if play.fault else ""
    if profile.driver.name == "ble":
        address = (play.on.partition(":")[2] or BEACON).upper()
        return [
            f"{profile.name}  {address}  {url}{fault}",
            f"  export DBUS_SYSTEM_BUS_ADDRESS={url}",
            f"  citygate read --profile {profile.name} --link ble:hci0 --address {address}",
            "  Ctrl-C ends it / Ctrl-C 로 끝냅니다",
        ]
    unit = f" --unit {play.units[0]}" if profile.driver.name in ("modbus", "serial") else ""
    return [
        f"{profile.name}  unit {units}  {url}{line}{fault}",
        f"  citygate read --profile {profile.name} --link {url}{unit}",
        "  Ctrl-C ends it / Ctrl-C 로 끝냅니다",
    ]

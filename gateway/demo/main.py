"""`citygate demo`: devices, proxy and the three real processes; incidents by the clock; the account at the end.

    simulated devices --pty, TCP, CoAP--> citygate field --spool--> citygate uplink --CoAP, OSCORE--> proxy --> center

The proxy is where the way is cut and where every byte towards the center is counted.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from gateway.demo import block, script
from gateway.demo.account import Account, Intake, settle
from gateway.demo.processes import Child
from gateway.demo.replay import PERIOD_S, PROFILE, ReplayError, ReplayWorld, Series, read_series
from gateway.demo.screen import Screen
from gateway.sim.line import PtyLine
from gateway.sim.private_bus import is_possible
from gateway.sim.street import Street
from gateway.sim.world import Sent, World
from gateway.site.compile import load_plan
from gateway.wire.credentials import create
from gateway.wire.proxy import UdpProxy

SHORTEST_S = 10.0
DRAIN_S = 12.0  # how long the last records may take after the play
SYSTEM_BUS = "DBUS_SYSTEM_BUS_ADDRESS"
LOOK_S = 0.25
SERIAL_BAUD = {"waterbus": 9600, "airport": 9600, "loopport": 115200}


class DemoError(RuntimeError):
    """The demo cannot go on; the message is for a person."""


def run(seconds: float, *, json: bool, replay: str | None, keep: str | None) -> int:
    """Exit code 0 when the account is clean, 1 when something was lost, doubled, missed or invented."""
    try:
        series = read_series(Path(replay)) if replay else None
    except ReplayError as bad:
        print(bad, file=sys.stderr)
        return 2
    if seconds < SHORTEST_S:
        print(
            f"--seconds {seconds:g} is too short for anything to happen: at least {SHORTEST_S:g} / "
            f"재생 시간이 너무 짧습니다: {SHORTEST_S:g}초 이상 [CG-5007]",
            file=sys.stderr,
        )
        return 2
    screen = Screen(quiet=json)
    try:
        with _folder(keep) as folder:
            account = asyncio.run(_play(folder, seconds, series, screen))
    except DemoError as bad:
        print(bad, file=sys.stderr)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted: everything that was started has been ended", file=sys.stderr)
        return 130
    screen.account(account)
    if json:
        print(jsonlib.dumps(asdict(account)))
    return 0 if account.clean else 1


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep:
        path = Path(keep).resolve()
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DemoError(f"{keep} is not empty: name a new folder for --keep / 빈 폴더를 지정하십시오 [CG-5004]")
        yield path
    else:
        with tempfile.TemporaryDirectory(prefix="citygate-demo-") as name:
            yield Path(name)


def _warm(screen: Screen) -> float:
    """Compile or load the kernels once, in a process of its own: the field half then finds them in the cache."""
    import subprocess

    begun = time.monotonic()
    screen.say("warming the kernels (the first time takes a while) ...")
    command = "from gateway.field.judge import warm; warm()"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"the kernels cannot be compiled:\n{done.stderr.strip()} [CG-5002]")
    return time.monotonic() - begun


async def _play(folder: Path, seconds: float, series: Series | None, screen: Screen) -> Account:
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal or a kill cleans up as Ctrl-C does
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    warm_s = await asyncio.to_thread(_warm, screen)
    screen.say(f"warm_s {warm_s:.1f}")
    async with AsyncExitStack() as stack:
        return await Stage(folder, seconds, series, screen, warm_s).play(stack)


class Stage:
    """One run of the demo."""

    def __init__(self, folder: Path, seconds: float, series: Series | None, screen: Screen, warm_s: float) -> None:
        self.folder, self.screen, self.warm_s = folder, screen, warm_s
        self.play_s = seconds - min(4.0, 0.1 * seconds)
        self.scenes = script.fitting(self.play_s)
        self.series = series
        self.began_ns = 0
        self.sent = Sent()
        self.replay_sent = Sent()
        tcp = [block.free_port() for _ in range(3)]
        lane = block.free_port(datagram=True)
        self.ports = {"cabinet": tcp[0], "lamps": tcp[1], "replay": tcp[2], "lane": lane}
        (folder / "log").mkdir()

    def now(self) -> tuple[int, float]:
        time_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return time_ns, (time_ns - self.began_ns) / 1e9 if self.began_ns else 0.0

    async def play(self, stack: AsyncExitStack) -> Account:
        lines = {name: PtyLine(baud) for name, baud in SERIAL_BAUD.items()}
        center_port = block.free_port(datagram=True)
        proxy = UdpProxy(("127.0.0.1", 0), ("127.0.0.1", center_port))
        await proxy.start()
        stack.push_async_callback(proxy.stop)
        self.ports["uplink"] = proxy.listen[1]
        site = self._write(lines)
        plan = load_plan(site)
        world = World(script.courses(), [scene.incident for scene in self.scenes])
        bus = self.folder / "bus"
        bus.mkdir()
        street = Street(plan, lines, world, self.sent, self.now, bus)
        if self.series is not None:
            street.replace("replay", ReplayWorld(self.series), self.replay_sent)
        await street.start()
        stack.push_async_callback(street.close)
        if street.bus_address:  # the field half hears a daemon that nobody else is on
            os.environ[SYSTEM_BUS] = street.bus_address
            stack.callback(os.environ.pop, SYSTEM_BUS, None)
        children = self._children(site, center_port)
        for child in children.values():
            stack.callback(child.end, signal.SIGKILL)
        center, field, uplink = children["center"], children["field"], children["uplink"]
        center.start()
        await self._until_listening(center)
        self.began_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        field.start()
        uplink.start()
        intake = Intake(self.folder / "center.db")
        await self._watch(children, proxy, intake)
        street.hush()
        await asyncio.sleep(0.1)
        stopped = await asyncio.to_thread(field.end)
        if stopped != 0:
            raise DemoError(f"the field half ended with {stopped}:\n{field.last_words()}")
        await self._drain(intake, children)
        for child in (uplink, center):
            await asyncio.to_thread(child.end)
        ledger = script.Ledger(self.sent, street.stuck, self.began_ns)
        return settle(
            ledger,
            self.scenes,
            self.folder / "center.db",
            began_ns=self.began_ns,
            play_s=self.play_s,
            warm_s=self.warm_s,
            bytes_up=proxy.bytes_up,
            children=children,
            replay=(self.replay_sent, self.series) if self.series is not None else None,
        )

    def _write(self, lines: dict[str, PtyLine]) -> Path:
        create("demo-block", self.folder / "credentials" / "gateway", self.folder / "intake")
        replay = ""
        if self.series is not None:
            profile = self.folder / "profiles" / "other" / "replayed-series.toml"
            profile.parent.mkdir(parents=True)
            profile.write_text(PROFILE, encoding="utf-8")
            replay = block.REPLAY.format(port=self.ports["replay"], period_s=PERIOD_S)
        (self.folder / "profiles").mkdir(exist_ok=True)
        if is_possible():
            replay = block.BEACON + replay
        else:
            self.screen.say("no dbus-daemon here: the Bluetooth sensor is left out / 블루투스 센서는 생략합니다")
        return block.write_site(self.folder, self.ports, {n: line.path for n, line in lines.items()}, replay)

    def _children(self, site: Path, center_port: int) -> dict[str, Child]:
        log = self.folder / "log"
        center = ["center", "--bind", f"127.0.0.1:{center_port}", "--db", str(self.folder / "center.db")]
        commands = {
            "center": [*center, "--credentials", str(self.folder / "intake")],
            "field": ["field", str(site)],
            "uplink": ["uplink", str(site)],
        }
        return {role: Child(role, command, log / f"{role}.log") for role, command in commands.items()}

    async def _until_listening(self, center: Child) -> None:
        """The center is up when its database is there; a center that ended says why."""
        for _ in range(100):
            if (self.folder / "center.db").exists() and "listening" in center.last_words(50):
                return
            if not center.running:
                raise DemoError(f"the center did not start:\n{center.last_words()}")
            await asyncio.sleep(0.05)
        raise DemoError(f"the center is not listening after 5 s:\n{center.last_words()}")

    async def _watch(self, children: dict[str, Child], proxy: UdpProxy, intake: Intake) -> None:
        """The play: cut, kill, and a look every quarter of a second."""
        long_enough = self.play_s >= script.CUT_S[1] + 4
        kill_due = self.play_s >= script.KILL_S + 6
        incidents = [(s.incident.name, s.incident.start_s, s.incident.end_s) for s in self.scenes]
        if long_enough:
            incidents.append(("the way to the center is cut", *script.CUT_S))
        socket = self.folder / "state" / "field.sock"
        screen_state = self.screen.open(socket, intake, self.began_ns, self.play_s, incidents)
        with screen_state:
            while (at_s := self.now()[1]) < self.play_s:
                cut = long_enough and script.CUT_S[0] <= at_s < script.CUT_S[1]
                if cut != proxy.cut:
                    proxy.cut = cut
                    self.screen.note(at_s, "the way to the center is cut" if cut else "the way is open again")
                if kill_due and at_s >= script.KILL_S:
                    kill_due = False
                    await asyncio.to_thread(children["field"].end, signal.SIGKILL)
                    children["field"].start()
                    self.screen.note(at_s, "field half killed with SIGKILL, and started again")
                for child in children.values():
                    child.sample()
                    if not child.running:
                        raise DemoError(f"{child.role} ended by itself:\n{child.last_words()}")
                await asyncio.to_thread(self.screen.refresh, at_s, proxy.bytes_up)
                await asyncio.sleep(LOOK_S)

    async def _drain(self, intake: Intake, children: dict[str, Child]) -> None:
        """Wait until the spool is empty: everything committed has been acknowledged."""
        spool = self.folder / "state" / "spool.db"
        deadline = time.monotonic() + DRAIN_S
        while await asyncio.to_thread(intake.waiting, spool):
            children["uplink"].sample()
            if time.monotonic() > deadline:
                self.screen.say("the spool is not empty: what is left counts as lost")
                return
            await asyncio.sleep(0.05)


def environment_note() -> str:
    """Cores and load, for the account: a busy machine explains slow alarms."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"

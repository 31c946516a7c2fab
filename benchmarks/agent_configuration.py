"""A configuration change under SIGKILL, at every transition and at random moments, and what it costs a link that it
does not touch.

Real field halves as processes, each with two simulated Modbus devices behind TCP (a process for itself, so that they
answer in time): `steady` is polled ten times a second and in no configuration different; the other link's device,
its name and its profile are new in each one. After each kill the process is started again, and has to run the old
configuration or the new one, whole (its plan is asked for over the control socket), and to end kept or reverted by
itself. Every third configuration is a bad one: its device falls silent as soon as it is on trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.agent import bundle
from gateway.agent.configuration import put
from gateway.field.control import request
from gateway.site import generations
from gateway.site.generations import KEPT, RECEIVED, REVERTED, TRIAL, VALIDATED
from gateway.spool.records import Gap, Lane
from gateway.spool.spool import Spool

STATES = (RECEIVED, VALIDATED, TRIAL, KEPT, REVERTED)
RANDOM, RANDOM_FULL = 20, 200
EACH, EACH_FULL = 2, 6  # kills at each transition
RIGS = 3  # gateways at once, each of its own
SWAPS, SWAPS_FULL = 8, 30
PROBATION_S, MARGIN_S = 5.0, 40.0
START_S = 60.0
PERIOD_S = 0.1
BAD_EVERY = 3
SITE = """schema = 1
[gateway]
id = "cab"
timezone = "Asia/Seoul"
state_dir = "state"
[agent]
probation_s = {probation:g}
[[links]]
name = "steady"
url = "tcp://127.0.0.1:{steady}"
[[links]]
name = "moving"
url = "tcp://127.0.0.1:{moving}"
[[devices]]
name = "steady"
profile = "streetlight/waveshare-relay8"
link = "steady"
unit = 1
period_s = {period:g}
[[devices]]
name = "r{number}"
profile = "streetlight/kill"
link = "moving"
unit = 1
[[upstreams]]
name = "nobody"
uri = "coap://127.0.0.1:9"
insecure = true
"""
PROFILE = """schema = 1
[device]
family = "streetlight"
vendor = "benchmark"
model = "kill"
name = {{ en = "Kill", ko = "킬" }}
protocol = "modbus"
source = "made for the benchmark"
period_s = 0.5
[modbus]
max_registers = 1
[[points]]
name = "relay"
label = {{ en = "R{number}", ko = "R{number}" }}
function = 1
address = 0
kind = "state"
range = [0, 1]
"""


def run(full: bool) -> dict[str, float]:
    """{"broken", "stuck", "polls_missed"}; tables for people."""
    rounds: list[str] = [state for state in STATES for _ in range(EACH_FULL if full else EACH)]
    rounds += [""] * (RANDOM_FULL if full else RANDOM)
    random.Random(8).shuffle(rounds)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(RIGS) as pool:
        jobs = [pool.submit(_killed, Path(folder) / str(rig), rounds[rig::RIGS], rig) for rig in range(RIGS)]
        tallies = [job.result() for job in jobs]
        swaps = _swapped(Path(folder) / "swaps", SWAPS_FULL if full else SWAPS)
    tally = Tally()
    for one in tallies:
        tally.add(one)
    tally.show()
    swaps.show()
    return {"broken": tally.broken, "stuck": tally.stuck, "polls_missed": swaps.missed}


@dataclass
class Tally:
    """Kills by the state that the record was in, and what came of them."""

    kills: Counter[str] = field(default_factory=Counter)
    old: int = 0
    new: int = 0
    broken: int = 0
    stuck: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    def add(self, other: Tally) -> None:
        self.kills += other.kills
        self.ends += other.ends
        self.old, self.new = self.old + other.old, self.new + other.new
        self.broken, self.stuck = self.broken + other.broken, self.stuck + other.stuck
        self.words += other.words
        self.slowest_s = max(self.slowest_s, other.slowest_s)

    def show(self) -> None:
        table = Table("killed in", "times", title=f"{sum(self.kills.values())} SIGKILLs of a configuration change")
        for state, times in sorted(self.kills.items()):
            table.add_row(state, str(times))
        Console().print(table)
        ends = ", ".join(f"{count} {state}" for state, count in sorted(self.ends.items()))
        print(f"after the start: {self.old} ran the old plan, {self.new} the new one; then {ends}")
        print(f"the slowest end came after {self.slowest_s:.1f} s; broken {self.broken}, stuck {self.stuck}")
        for words in self.words[:10]:
            print(f"  {words}")


# -- a gateway and its devices


class Rig:
    """One gateway in `folder`, its devices, and the configurations it is given."""

    def __init__(self, folder: Path, devices: Devices) -> None:
        folder.mkdir(parents=True)
        self.folder, self.devices = folder, devices
        self.site, self.state = folder / "site.toml", folder / "state"
        self.socket = self.state / "field.sock"
        self.number = 0
        for name, content in self.files(0).items():
            path = folder / name.replace("profiles/", "own/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.site.write_text(self.site.read_text().replace("state_dir", 'profiles = ["own"]\nstate_dir'))
        self.process: subprocess.Popen[bytes] | None = None

    def files(self, number: int) -> dict[str, bytes]:
        ports = {"steady": self.devices.ports[0], "moving": self.devices.ports[1]}
        site = SITE.format(number=number, probation=PROBATION_S, period=PERIOD_S, **ports)
        return {"site.toml": site.encode(), "profiles/streetlight/kill.toml": PROFILE.format(number=number).encode()}

    def start(self) -> None:
        words = [sys.executable, "-m", "gateway.cli", "field", str(self.site)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log, env=environment)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def asked(self, words: dict[str, Any], within_s: float) -> Any:
        return request(self.socket, words, within_s)

    def apply(self) -> Any:
        """The next configuration is asked for. What the field half answers; None where it was killed before."""
        self.number += 1
        one = bundle.packed(bundle.Bundle(("cab",), 0, "", self.files(self.number)))
        with contextlib.suppress(OSError, ValueError):
            return self.asked({"configure": put(self.state, one), "by": "benchmark", "local": True}, 60.0)
        return None

    def running(self) -> set[int] | None:
        """Numbers of the configurations that the running plan shows traces of; None while nobody answers."""
        with contextlib.suppress(OSError, ValueError):
            channels = self.asked({"get": "live"}, 5.0)["channels"]
            moving = [one for one in channels if not one["name"].startswith("steady.")]
            names = {int(one["name"].partition(".")[0][1:]) for one in moving}
            return names | {int(one["label"]["en"][1:]) for one in moving}
        return None

    def number_of(self, generation: int) -> int:
        """The configuration in a generation."""
        text = (generations.folder_of(self.state, generation) / generations.SITE).read_text()
        return int(text.partition('name = "r')[2].partition('"')[0])

    def until(self, holds: Callable[[], bool], within_s: float, every_s: float = 0.1) -> bool:
        end_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > end_s:
                return False
            time.sleep(every_s)
        return True

    def is_well(self) -> bool:
        """Every channel is good."""
        with contextlib.suppress(OSError, ValueError):
            channels = self.asked({"get": "live"}, 5.0)["channels"]
            return bool(channels) and all(one["quality"] == 0 and one["age_s"] is not None for one in channels)
        return False

    def is_settled(self) -> bool:
        return generations.read(self.state).state in (KEPT, REVERTED)

    def last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-1500:]


class Devices:
    """Two Modbus TCP servers in a process of their own: coils; the second one can be silenced."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.is_mute: Synchronized[int] = context.Value("i", 0)
        ours, theirs = context.Pipe()
        self._pipe = ours
        self._process = context.Process(target=_serve, args=(theirs, self.is_mute), daemon=True)
        self._process.start()
        self.ports: tuple[int, int] = ours.recv()

    def times_s(self) -> list[float]:
        """When the first device was asked, since the last call; by CLOCK_MONOTONIC."""
        self._pipe.send("times")
        found: list[float] = self._pipe.recv()
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Any, is_mute: Synchronized[int]) -> None:
    asyncio.run(_answered(pipe, is_mute))


async def _answered(pipe: Any, is_mute: Synchronized[int]) -> None:
    times: list[float] = []

    def handler(which: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    transaction, protocol, size = struct.unpack(">HHH", await reader.readexactly(6))
                    body = await reader.readexactly(size)
                    if which == 0 and body[1] == 1:
                        times.append(time.monotonic())
                    if which == 1 and is_mute.value:
                        continue
                    answer = bytes((body[0], 1, 1, 0)) if body[1] == 1 else bytes((body[0], body[1] | 0x80, 1))
                    writer.write(struct.pack(">HHH", transaction, protocol, len(answer)) + answer)
            writer.close()

        return handle

    servers = [await asyncio.start_server(handler(which), "127.0.0.1", 0) for which in range(2)]
    pipe.send(tuple(server.sockets[0].getsockname()[1] for server in servers))

    def told() -> None:
        pipe.recv()
        pipe.send(list(times))
        times.clear()

    asyncio.get_running_loop().add_reader(pipe.fileno(), told)
    await asyncio.Event().wait()


@contextmanager
def _rig(folder: Path) -> Iterator[Rig]:
    devices = Devices()
    rig = Rig(folder, devices)
    try:
        rig.start()
        if not rig.until(lambda: rig.is_well() and rig.is_settled(), START_S):
            raise RuntimeError(f"the gateway did not come up: {rig.last_words()}")
        yield rig
    finally:
        rig.stop()
        devices.close()


# -- kills


def _killed(folder: Path, rounds: list[str], seed: int) -> Tally:
    tally, chance = Tally(), random.Random(seed)
    with _rig(folder) as rig:
        for target in rounds:
            _one(rig, target, chance, tally)
    return tally


def _one(rig: Rig, target: str, chance: random.Random, tally: Tally) -> None:
    """One change and one kill in it; the rig is well again at the end."""
    if not rig.until(rig.is_well, START_S):
        tally.stuck += 1
        tally.words.append(f"not well before {rig.number + 1}: {rig.last_words()[-300:]}")
    old = rig.number_of(generations.read(rig.state).current)
    new = rig.number + 1
    is_bad = target == REVERTED or (not target and new % BAD_EVERY == 0)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(rig.apply)
        moment_s = time.monotonic() + chance.uniform(0.0, PROBATION_S + 1.0)
        end_s = time.monotonic() + PROBATION_S + MARGIN_S
        while time.monotonic() < end_s:
            record = generations.read(rig.state)
            is_ours = record.last > 0 and (record.candidate or record.state in (KEPT, REVERTED))
            if record.state == TRIAL and is_bad:
                rig.devices.is_mute.value = 1
            begun = rig.number == new and (record.candidate > 0 or asking.done())
            if target and begun and is_ours and record.state == target:
                break
            if not target and time.monotonic() >= moment_s:
                break
            time.sleep(0.0005)
        else:
            tally.stuck += 1
            tally.words.append(f"{target or 'an end'} of {new} never came: {record}")
        rig.kill()
        asking.result()
    rig.devices.is_mute.value = 0
    tally.kills[generations.read(rig.state).state] += 1
    rig.start()
    _check(rig, old, new, tally)


def _check(rig: Rig, old: int, new: int, tally: Tally) -> None:
    began_s = time.monotonic()
    found: set[int] | None = None

    def answers() -> bool:
        nonlocal found
        found = rig.running()
        return found is not None or (rig.process is not None and rig.process.poll() is not None)

    if not rig.until(answers, START_S) or found is None:
        tally.broken += 1
        tally.words.append(f"{new}: does not run after a kill: {rig.last_words()[-500:]}")
        rig.stop()
        rig.start()
        return
    if found not in ({old}, {new}):
        tally.broken += 1
        tally.words.append(f"{new}: runs {found}, neither {old} nor {new}")
    tally.old, tally.new = tally.old + (found == {old}), tally.new + (found == {new})
    try:
        raw = json.loads((rig.state / generations.FOLDER / generations.RECORD).read_text())
        is_of_table = raw["state"] in generations.FOLLOWS
    except (OSError, ValueError, KeyError):
        is_of_table = False
    if not is_of_table:
        tally.broken += 1
        tally.words.append(f"{new}: the record is none")
    if not rig.until(rig.is_settled, PROBATION_S + MARGIN_S):
        tally.stuck += 1
        tally.words.append(f"{new}: never ended: {generations.read(rig.state)}")
        return
    tally.slowest_s = max(tally.slowest_s, time.monotonic() - began_s)
    record = generations.read(rig.state)
    tally.ends[record.state] += 1
    kept = rig.number_of(record.current)
    if not rig.until(lambda: rig.running() == {kept}, 10.0) or kept not in (old, new):
        tally.broken += 1
        tally.words.append(f"{new}: {record.state}, {kept} is in the record, {rig.running()} runs")


# -- what it costs others


@dataclass
class Swaps:
    """Of the untouched link: polls that did not come, while nothing and while everything else was changed."""

    swaps: int
    reverted: int
    polls: int
    missed: int
    worst_s: float
    quiet_polls: int
    quiet_missed: int
    quiet_worst_s: float
    overruns: int
    unread: int
    gaps: int

    def show(self) -> None:
        table = Table("", "polls", "missed", "longest pause", title=f"a link polled every {PERIOD_S * 1e3:g} ms")
        quiet = (str(self.quiet_polls), str(self.quiet_missed), f"{self.quiet_worst_s * 1e3:.0f} ms")
        table.add_row("nothing is changed", *quiet)
        changed = (str(self.polls), str(self.missed), f"{self.worst_s * 1e3:.0f} ms")
        table.add_row(f"{self.swaps} changes around it, {self.reverted} taken back", *changed)
        Console().print(table)
        print(f"asked and not among the readings: {self.unread}; gaps told: {self.gaps}; overruns: {self.overruns}")


def _swapped(folder: Path, swaps: int) -> Swaps:
    with _rig(folder) as rig:
        time.sleep(6.0)  # kernels
        rig.devices.times_s()
        time.sleep(15.0)
        quiet = _pauses(rig.devices.times_s())
        before, times_before = _readings(rig), len(rig.devices.times_s())
        times: list[float] = []
        reverted = 0
        for number in range(swaps):
            is_bad = number % BAD_EVERY == BAD_EVERY - 1
            if not rig.until(rig.is_well, START_S):
                raise RuntimeError(f"not well: {rig.last_words()}")
            answer = rig.apply()
            if not isinstance(answer, dict) or answer.get("state") != TRIAL:
                raise RuntimeError(f"not on trial: {answer}")
            rig.devices.is_mute.value = int(is_bad)
            if not rig.until(rig.is_settled, PROBATION_S + MARGIN_S):
                raise RuntimeError("a trial without an end")
            reverted += generations.read(rig.state).state == REVERTED
            rig.devices.is_mute.value = 0
            time.sleep(1.0)  # the swap back
            times += rig.devices.times_s()
        time.sleep(1.0)
        times += rig.devices.times_s()
        after = _readings(rig)
        overruns = rig.asked({"get": "health"}, 5.0)["links"]["steady"]["overruns"]
        rig.stop()
        unread = len(times) + times_before - (after - before)
        gaps = _gaps(rig.state)
    polls, missed, worst_s = _pauses(times)
    return Swaps(swaps, reverted, polls, missed, worst_s, *quiet, overruns, max(0, unread), gaps)


def _readings(rig: Rig) -> int:
    channels = rig.asked({"get": "live"}, 5.0)["channels"]
    return int(next(one["readings"] for one in channels if one["name"] == "steady.relay1"))


def _pauses(times: list[float]) -> tuple[int, int, float]:
    """Polls; those that did not come in a pause of more than one and a half periods; the longest pause, s."""
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    missed = sum(max(1, round(pause / PERIOD_S) - 1) for pause in pauses if pause > 1.5 * PERIOD_S)
    return len(times), missed, max(pauses, default=0.0)


def _gaps(state: Path) -> int:
    """Entries of gaps that name channels of the untouched link (the first eight of any plan here)."""
    spool = Spool.open(state / "spool.db", role="reader")
    try:
        found = [record.item for lane in Lane for _, record in spool.newest("nobody", lane, 100_000)]
    finally:
        spool.close()
    gaps = [item for item in found if isinstance(item, Gap)]
    return sum(any(channel < 8 for channel in entry[0]) for gap in gaps for entry in gap.entries)

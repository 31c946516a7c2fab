"""Kills at random moments: plays of the demo's block in which field, uplink and center die by SIGKILL again and again.

Each round is seeded: three to six kills of any process (now and then a second one before the first restart has found
its feet, now and then SIGTERM instead), up to two cuts of the way. The account is the demo's: what the devices sent
against what the center stored. `python -m benchmarks.chaos SEED ...` plays single rounds and keeps their folders.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from gateway.demo import account, script
from gateway.demo.account import Account, Intake
from gateway.demo.main import Stage
from gateway.demo.processes import Child
from gateway.demo.screen import Screen
from gateway.demo.script import Scene, held, together
from gateway.sim.world import Incident, Signal
from gateway.spool.records import Phase
from gateway.wire.proxy import UdpProxy

ROUNDS, FULL_ROUNDS = 5, 40
PLAY_S = 24.0
QUIET_S = 2.5  # no kills so shortly before the end
LOOK_S = 0.02
DRAIN_S = 30.0
UP_S = 3.0  # an alarm is due so long after the last restart, its own hold besides
ROLES = ("field", "field", "uplink", "center")


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done to the play at `at_s`: a signal to a role, or the way cut (`role` way) for `for_s`."""

    at_s: float
    role: str
    number: signal.Signals = signal.SIGKILL
    for_s: float = 0.0

    def said(self, at_s: float) -> str:
        return f"{at_s:.2f} {self.role} {f'cut {self.for_s:.1f} s' if self.role == 'way' else self.number.name}"


@dataclass(slots=True)
class Outcome:
    """One round."""

    seed: int
    lost: int
    duplicates: int
    alarms_missed: int
    alarms_false: int
    kills: int
    readings: int
    declared_gap: int
    drain_s: float
    odd: list[str] = field(default_factory=list)  # what no figure says: ended by itself, traceback, stuck
    deeds: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicates or self.alarms_missed or self.alarms_false or self.odd)


def deeds(seed: int) -> list[Deed]:
    """The plan of a round."""
    dice = random.Random(seed)
    done: list[Deed] = []
    early = dice.random() < 0.3  # before there is a first commit, a first draft, a first acknowledgement
    for _ in range(dice.randint(2, 4)):
        at_s, role = dice.uniform(0.05, 4.0 if early else PLAY_S - QUIET_S), dice.choice(ROLES)
        kind = signal.SIGKILL if dice.random() < 0.8 else signal.SIGTERM
        done.append(Deed(at_s, role, kind))
        if dice.random() < 0.4:
            done.append(Deed(min(at_s + dice.uniform(0.05, 2.0), PLAY_S - QUIET_S), role))
    cuts = dice.randint(0, 2)
    done += [Deed(dice.uniform(0.0, PLAY_S - 6.0), "way", for_s=dice.uniform(1.0, 5.0)) for _ in range(cuts)]
    return sorted(done, key=lambda deed: deed.at_s)


def scenes() -> list[Scene]:
    """Abnormalities that stand for long, so that each must be raised once and end once whatever is killed."""
    dark = {f"dali.lamp{n}_failure": Signal(1.0) for n in range(script.LAMPS)}
    burst = {"flow.flow": Signal(96.0, 0.6), "pressure.pressure": Signal(1.9, 0.01)}
    return [
        Scene(Incident("device dies and returns", 9, 18.5, dead=("feeder2",)), "health.device_silent", "feeder2",
              script.silence("feeder2.voltage", 9, script.SILENT_S), script.SILENT_S),
        Scene(Incident("loop stuck on", 10, 21, {"loops.loop2": Signal(3.1, 0.0)}), "traffic.loop_stuck", "loops.loop2",
              script.stuck("loops.loop2", 500.0, script.STUCK_S), script.STUCK_S),
        Scene(Incident("wet leak rope", 2, 9, {"rope.leak": Signal(1.0)}), "water.leak", "rope",
              held("rope.leak", bool, script.LEAK_HOLD_S), script.LEAK_HOLD_S),
        Scene(Incident("lamp group out", 6, 16, dark), "streetlight.group_outage", "F1",
              script.most_of(list(dark), round(script.GROUP_SHARE * script.LAMPS + 0.49)), 1.0),
        Scene(Incident("pipe burst", 4, 15, burst), "water.burst", "dma-3",
              together(held("flow.flow", lambda v: v >= script.BURST_FLOW, script.BURST_HOLD_S),
                       held("pressure.pressure", lambda v: v <= script.BURST_PRESSURE, script.BURST_HOLD_S)),
              script.BURST_HOLD_S),
        Scene(Incident("meter fault", 5, 13, {"flow.error": Signal(1.0)}), "water.meter_fault", "flow",
              held("flow.error", bool, script.METER_HOLD_S), script.METER_HOLD_S),
        Scene(Incident("PM2.5 episode", 2, 13, {"air.pm25": Signal(112.0, 1.5)}), "air.pm25_advisory", "air",
              held("air.pm25", lambda v: v >= script.AIR_LIMIT, script.AIR_HOLD_S), script.AIR_HOLD_S),
    ]  # fmt: skip


class Rough(Stage):
    """A stage where processes die."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, PLAY_S, None, Screen(quiet=True), 0.0)
        self.play_s = PLAY_S
        self.scenes = scenes()
        self.plan = deeds(seed)
        self.done: list[tuple[float, Deed]] = []
        self.odd: list[str] = []
        self.counted_from_ns = 0  # readings before the spool knew of anything are nobody's to lose
        self.drain_s = 0.0

    async def _watch(self, children: dict[str, Child], proxy: UdpProxy, intake: Intake) -> None:
        waiting, cut_until = list(self.plan), 0.0
        self.counted_from_ns = self.began_ns
        while (at_s := self.now()[1]) < self.play_s:
            while waiting and waiting[0].at_s <= at_s:
                deed = waiting.pop(0)
                self.done.append((at_s, deed))
                if deed.role == "way":
                    cut_until = max(cut_until, at_s + deed.for_s)
                else:
                    await self._end(children[deed.role], deed.number)
            proxy.cut = at_s < cut_until
            for child in children.values():
                child.sample()
                if not child.running:
                    self.odd.append(f"{child.role} ended by itself at {at_s:.2f} s")
                    child.start()
            await asyncio.sleep(LOOK_S)
        proxy.cut = False

    async def _end(self, child: Child, number: signal.Signals) -> None:
        code = await asyncio.to_thread(child.end, number)
        if number == signal.SIGTERM and code not in (0, -signal.SIGTERM):
            self.odd.append(f"{child.role} ended with {code} after SIGTERM")
        spool = self.folder / "state" / "spool.db"
        if child.role == "field" and not (spool.exists() and account._query(spool, "SELECT boot FROM coverage")):
            self.counted_from_ns = self.now()[0]
        child.start()

    async def _drain(self, intake: Intake, children: dict[str, Child]) -> None:
        began, spool = time.monotonic(), self.folder / "state" / "spool.db"
        while await asyncio.to_thread(intake.waiting, spool):
            if time.monotonic() - began > DRAIN_S:
                self.odd.append("the spool did not drain")
                break
            await asyncio.sleep(0.05)
        self.drain_s = round(time.monotonic() - began, 1)


def one(seed: int, folder: Path) -> Outcome:
    """Play a round in an empty folder."""
    stage = Rough(folder, seed)
    settled = asyncio.run(_play(stage))
    tally = account._tally(_ours(stage), folder / "center.db")
    alarms = _alarms(stage, Intake(folder / "center.db"))
    return Outcome(
        seed=seed,
        lost=tally["lost"],
        duplicates=tally["duplicates"],
        alarms_missed=alarms["missed"],
        alarms_false=alarms["false"],
        kills=sum(deed.number == signal.SIGKILL and deed.role != "way" for _, deed in stage.done),
        readings=settled.readings,
        declared_gap=tally["gap"],
        drain_s=stage.drain_s,
        odd=[*stage.odd, *_said(folder / "log")],
        deeds=[deed.said(at_s) for at_s, deed in stage.done],
    )


async def _play(stage: Rough) -> Account:
    async with AsyncExitStack() as stack:
        return await stage.play(stack)


def _ours(stage: Rough) -> Mapping[str, list[int]]:
    return {name: [t for t in times if t >= stage.counted_from_ns] for name, times in stage.sent.times.items()}


def _alarms(stage: Rough, intake: Intake) -> Counter[str]:
    """Onsets and clears by key against what had to come. In between kills an alarm may end late, never twice."""
    events = intake.alarms()
    wrong: Counter[str] = Counter()
    onsets = Counter((e["code"], e["subject"]) for e in events if e["phase"] == Phase.ONSET)
    clears = Counter((e["code"], e["subject"]) for e in events if e["phase"] == Phase.CLEAR)
    restarts = [at_s for at_s, deed in stage.done if deed.role == "field"]
    for scene in stage.scenes:
        key, incident = (scene.code, scene.subject), scene.incident
        due = _stands_long_enough(incident.start_s, incident.end_s, scene.settled_s, restarts)
        ended = _stands_long_enough(incident.end_s, stage.play_s, scene.settled_s, restarts)
        raised, cleared = onsets.pop(key, 0), clears.pop(key, 0)
        if due and not raised:
            wrong["missed"] += 1
            stage.odd.append(f"{key} was not raised")
        if raised > 1:
            wrong["false"] += raised - 1
            stage.odd.append(f"{key} was raised {raised} times")
        if cleared > raised or (raised and ended and not cleared):
            stage.odd.append(f"{key} was raised {raised} times and cleared {cleared} times")
    for key, count in onsets.items():
        wrong["false"] += count
        stage.odd.append(f"{key} was raised {count} times for nothing")
    return wrong


def _stands_long_enough(start_s: float, end_s: float, hold_s: float, restarts: list[float]) -> bool:
    """Whether between two restarts there was time to see what began at `start_s` and ended at `end_s`."""
    marks = [start_s, *(at_s for at_s in restarts if start_s < at_s < end_s), end_s]
    return any(after - before > hold_s + UP_S for before, after in pairwise(marks))


def _said(log: Path) -> list[str]:
    """Lines no process should write whatever is killed around it."""
    return [
        f"{path.stem}: {line.strip()}"
        for path in sorted(log.glob("*.log"))
        for line in path.read_text(errors="replace").splitlines()
        if any(sign in line for sign in ("Traceback", "Error:", "Exception", "CG-4103", "CG-4102", "CG-4105", "CG-2"))
    ]


def run(*, full: bool) -> dict[str, Any]:
    from gateway.field.judge import warm

    warm()
    count = FULL_ROUNDS if full else ROUNDS
    outcomes = []
    for seed in range(count):
        with tempfile.TemporaryDirectory(prefix="citygate-chaos-") as folder:
            outcomes.append(one(seed, Path(folder)))
        print(_line(outcomes[-1]), flush=True)
    keys = ("lost", "duplicates", "alarms_missed", "alarms_false", "kills", "readings", "declared_gap")
    return {
        "rounds": count,
        **{key: sum(getattr(o, key) for o in outcomes) for key in keys},
        "unclean_seeds": [o.seed for o in outcomes if not o.clean],
        "worst_drain_s": max(o.drain_s for o in outcomes),
    }


def _line(outcome: Outcome) -> str:
    return json.dumps({key: value for key, value in asdict(outcome).items() if key != "deeds" or not outcome.clean})


def main(seeds: list[str]) -> int:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    unclean = 0
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix=f"citygate-chaos-{seed}-"))
        outcome = one(int(seed), folder)
        unclean += not outcome.clean
        print(_line(outcome), folder, flush=True)
    return 1 if unclean else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

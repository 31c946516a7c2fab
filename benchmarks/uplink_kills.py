"""kill -9 by the hundred: the demo's block with field, uplink and center killed in turn at random moments.

Rounds of 25 kills, each seeded; pauses between them are short (a process dies while it starts) or some seconds (it
dies at work). Afterwards, from the two files that are left: `committed_lost`, numbers that the spool gave out and the
center neither has nor knows a gap for; `duplicates`, readings counted twice; `lost`, readings of devices that are
neither in a window nor in a declared gap; `unopened`, spools or databases put aside or refused.

python -m benchmarks.uplink_kills KILLS [SEED]
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks import chaos
from benchmarks.chaos import Deed, Rough
from gateway.demo import account
from gateway.demo.account import Intake
from gateway.demo.processes import Child
from gateway.wire.proxy import UdpProxy

KILLS, FULL_KILLS = 100, 1000
A_ROUND = 25
ROLES = ("field", "uplink", "center")
AT_WORK = 0.35  # of the pauses are long
SHORT_S, LONG_S = (0.05, 2.0), (3.0, 6.0)
LAST_S = 6.0  # after the last kill, and
SETTLED_S = 60.0  # at most until the last life has got to its first window
UNOPENED = ("CG-2003", "CG-2004", "CG-4202", "CG-4001", "CG-4002")


def plan(seed: int, kills: int) -> list[Deed]:
    """In turn, beginning with any of them."""
    dice, at_s, done = random.Random(seed), 0.0, []
    roles = cycle(ROLES)
    for _ in range(dice.randrange(len(ROLES))):
        next(roles)
    for _ in range(kills):
        at_s += dice.uniform(*(LONG_S if dice.random() < AT_WORK else SHORT_S))
        done.append(Deed(at_s, next(roles), signal.SIGKILL))
    return done


class Killed(Rough):
    """A stage on which processes are killed one after the other."""

    def __init__(self, folder: Path, seed: int, kills: int) -> None:
        super().__init__(folder, seed)
        self.plan = plan(seed, kills)
        self.play_s = max(chaos.PLAY_S, self.plan[-1].at_s + LAST_S)

    async def _watch(self, children: dict[str, Child], proxy: UdpProxy, intake: Intake) -> None:
        """Then until the last life has judged something: what it heard before is only declared by a next one."""
        await super()._watch(children, proxy, intake)
        killed_ns = self.began_ns + round(max(at_s for at_s, deed in self.done if deed.role == "field") * 1e9)
        killed_ns += time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        give_up_s = time.monotonic() + SETTLED_S
        while time.monotonic() < give_up_s:
            found = account._query(self.folder / "center.db", "SELECT max(end_ns) AS t FROM window")
            if found and (found[0]["t"] or 0) > killed_ns:
                break
            await asyncio.sleep(0.2)
        else:
            self.odd.append("no window after the last kill")
        self.play_s = self.now()[1]


def round_of(folder: Path, seed: int, kills: int) -> dict[str, Any]:
    """Play one in an empty folder."""
    stage = Killed(folder, seed, kills)
    settled = asyncio.run(chaos._play(stage))
    tally = account._tally(chaos._ours(stage), folder / "center.db")
    alarms = chaos._alarms(stage, Intake(folder / "center.db"))
    said = chaos._said(folder / "log")
    spool = folder / "state" / "spool.db"
    return {
        "seed": seed,
        "kills": sum(deed.number == signal.SIGKILL for _, deed in stage.done),
        "committed": committed(spool, folder / "center.db")[0],
        "committed_lost": committed(spool, folder / "center.db")[1],
        "lost": tally["lost"],
        "duplicates": tally["duplicates"],
        "unopened": len([*spool.parent.glob("*.corrupt*")]) + sum(any(c in line for c in UNOPENED) for line in said),
        "alarms_missed": alarms["missed"],
        "alarms_false": alarms["false"],
        "readings": settled.readings,
        "drain_s": stage.drain_s,
        "odd": [*stage.odd, *said],
    }


def committed(spool: Path, center: Path) -> tuple[int, int]:
    """Numbers that the spool gave out, and how many of them the center neither has nor was told the loss of."""
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        counters = db.execute(
            "SELECT b.id, c.upstream, c.lane, c.next FROM counter c JOIN boot b ON b.n = c.boot"
        ).fetchall()
    given = missing = 0
    with closing(sqlite3.connect(f"file:{center}?mode=ro", uri=True)) as db:
        for boot, upstream, lane, count in counters:
            key = (boot, upstream, lane)
            there = {row[0] for row in db.execute(
                "SELECT seq FROM message WHERE boot = ? AND upstream = ? AND lane = ?", key)}  # fmt: skip
            for first, last in db.execute(
                "SELECT first, last FROM gap_record WHERE boot = ? AND upstream = ? AND lane = ?", key
            ):
                there.update(range(first, last + 1))
            given += count
            missing += len(set(range(count)) - there)
    return given, missing


def run(*, full: bool, kills: int = 0) -> dict[str, Any]:
    """committed_lost, duplicates, lost, unopened over 100 kills, or 1,000."""
    from gateway.field.judge import warm

    warm()
    left, seed = kills or (FULL_KILLS if full else KILLS), 0
    total: dict[str, Any] = {}
    began_s = time.monotonic()
    while left > 0:
        with tempfile.TemporaryDirectory(prefix="citygate-kills-") as folder:
            one = round_of(Path(folder), seed, min(A_ROUND, left))
        print(json.dumps(one), flush=True)
        for key, value in one.items():
            if key not in ("seed", "odd", "drain_s"):
                total[key] = total.get(key, 0) + value
        left, seed = left - min(A_ROUND, left), seed + 1
    return {**total, "seconds": round(time.monotonic() - began_s)}


def main(arguments: list[str]) -> int:
    if len(arguments) > 1:
        from gateway.field.judge import warm

        warm()
        folder = Path(tempfile.mkdtemp(prefix=f"citygate-kills-{arguments[1]}-"))
        print(json.dumps(round_of(folder, int(arguments[1]), int(arguments[0]))), folder)
        return 0
    print(json.dumps(run(full=False, kills=int(arguments[0]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

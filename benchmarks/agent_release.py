"""Releases: killed at every moment, and fetched over a bad line that is cut."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import agent_release_kills, agent_release_line

KILLS, KILLS_FULL = 200, 1000


def run(full: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="citygate-release-") as folder:
        killed = agent_release_kills.run(Path(folder), KILLS_FULL if full else KILLS)
    print(
        f"  {killed.releases} releases, {killed.kills} SIGKILLs ({killed.at_transitions} at transitions): "
        f"{killed.kept} kept, {killed.back} back, {killed.broken} broken, {killed.stuck} stuck",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="citygate-release-") as folder:
        fetched = agent_release_line.run(Path(folder))
    print(
        f"  20 MB, {fetched.line}, {fetched.cuts} cuts: {fetched.seconds:.0f} s, {fetched.asked} bytes asked for, "
        f"{100 * fetched.resent_share:.2f} % again{'' if fetched.whole else ', NOT WHOLE'}",
        flush=True,
    )
    broken = killed.broken + (not fetched.whole)
    return {"broken": broken, "stuck": killed.stuck, "resent_share": fetched.resent_share}

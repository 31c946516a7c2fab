"""Which firmware a node starts: what is kept, in; what is kept then and a slot's name, out. Decides, starts nothing.

Boots are counted on trial only, each before it begins: a firmware that dies, hangs or cuts the power in MOST_BOOTS
starts without having confirmed itself is given up for the one before. A slot whose bytes are not those that were
proven is not started. What is left in the end is the installed package, which no update writes to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.node.disk import Disk
from gateway.node.state import BASE, Event, Image, Kept, Phase, Result, failed

MOST_BOOTS = 3
TRIALS_AT_MOST = 2  # times the probation, until a trial that is never well is given up

# what the launcher and the firmware it starts agree on
RESTART, UNFIT = 75, 76  # exit codes: start anew, there may be something to try; the trial has failed
PARENT, SLOT = "CITYGATE_NODE_PARENT", "CITYGATE_NODE_SLOT"  # in the environment: who started it, and from where
STATE_DIR, PROBATION_S = "node-state", 60.0  # of a node's file that does not say

Intact = Callable[[str, Image], bool]


def choose(kept: Kept, intact: Intact, most_boots: int = MOST_BOOTS) -> tuple[Kept, str]:
    """What to keep before the start, and what to start: "base", "a" or "b"."""
    if kept.phase is Phase.TRIAL:
        if kept.boots < most_boots and _starts(kept, kept.candidate, intact):
            return replace(kept, boots=kept.boots + 1), kept.candidate
        kept = reverted(kept)
    return kept, kept.active if _starts(kept, kept.active, intact) else BASE


def reverted(kept: Kept) -> Kept:
    """The trial has failed."""
    return failed(kept, Result.FAILED, Event.REVERTED)


def intact(disk: Disk) -> Intact:
    """Whether a slot's file still is what was proven when it came."""

    def look(slot: str, image: Image) -> bool:
        try:
            return disk.size(file_of(slot)) == image.size and disk.sha256(file_of(slot)) == image.sha256
        except OSError:
            return False

    return look


def file_of(slot: str) -> str:
    return f"{slot}.image"


def _starts(kept: Kept, slot: str, intact: Intact) -> bool:
    image = kept.slots.get(slot)
    return image is not None and intact(slot, image)

"""What a node knows of its firmware, and the one table of how that changes. No files here but `load` and `save`.

    Idle ──told──▶ Downloading ──accepted──▶ Downloading ──whole──▶ Downloaded ──update──▶ Trial ──confirmed──▶ Idle
                        │ failed, cancelled                 │ failed, cancelled               │ reverted
                        ▼                                   ▼                                 ▼
                       Idle                                Idle                              Idle

Phases and results are those of LwM2M object 5 (State 5/0/3, Update Result 5/0/5; OMA LwM2M 1.2, annex E.6); a trial is
its Updating. The file has all of it, so that one rename takes a node from one line of the table to the next.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

from gateway.node.disk import Disk

FILE = "firmware.json"
BASE = "base"  # the package that is installed, which no update touches
SLOTS = ("a", "b")


class Phase(IntEnum):
    IDLE, DOWNLOADING, DOWNLOADED, TRIAL = range(4)


class Result(IntEnum):
    NONE = 0
    SUCCESS = 1
    NO_ROOM = 2
    CONNECTION_LOST = 4
    BAD_DIGEST = 5
    BAD_PACKAGE = 6  # signature, class, sequence number, or no manifest at all
    BAD_URI = 7
    FAILED = 8
    BAD_PROTOCOL = 9
    CANCELLED = 10


class Event(Enum):
    TOLD = "told"
    ACCEPTED = "accepted"
    WHOLE = "whole"
    UPDATE = "update"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    FAILED = "failed"
    CANCELLED = "cancelled"


TABLE: Mapping[tuple[Phase, Event], Phase] = MappingProxyType(
    {
        (Phase.IDLE, Event.TOLD): Phase.DOWNLOADING,
        (Phase.IDLE, Event.CANCELLED): Phase.IDLE,
        (Phase.DOWNLOADING, Event.ACCEPTED): Phase.DOWNLOADING,
        (Phase.DOWNLOADING, Event.WHOLE): Phase.DOWNLOADED,
        (Phase.DOWNLOADING, Event.FAILED): Phase.IDLE,
        (Phase.DOWNLOADING, Event.CANCELLED): Phase.IDLE,
        (Phase.DOWNLOADED, Event.UPDATE): Phase.TRIAL,
        (Phase.DOWNLOADED, Event.FAILED): Phase.IDLE,
        (Phase.DOWNLOADED, Event.CANCELLED): Phase.IDLE,
        (Phase.TRIAL, Event.CONFIRMED): Phase.IDLE,
        (Phase.TRIAL, Event.REVERTED): Phase.IDLE,
    }
)


class NotNow(Exception):
    """The table has no line for this."""


@dataclass(frozen=True, slots=True)
class Image:
    """What lies whole and proven in a slot. `sha256` in hexadecimal."""

    sha256: str
    size: int
    sequence: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """`active` runs unless there is a trial of `candidate`. `sequence` is that of the last firmware that was confirmed.
    `boots`: starts of this trial; `good`: sensors that read well before it."""

    phase: Phase = Phase.IDLE
    result: Result = Result.NONE
    uri: str = ""
    manifest: bytes = field(default=b"", repr=False)
    active: str = BASE
    candidate: str = ""
    slots: Mapping[str, Image] = field(default_factory=dict)
    sequence: int = 0
    boots: int = 0
    good: int = 0

    @property
    def free_slot(self) -> str:
        return "b" if self.active == "a" else "a"


def after(kept: Kept, event: Event, **changes: Any) -> Kept:
    """What is kept after `event`. Raises NotNow."""
    phase = TABLE.get((kept.phase, event))
    if phase is None:
        raise NotNow(f"{event.value} while {kept.phase.name.lower()}")
    return replace(kept, phase=phase, **changes)


def told(kept: Kept, uri: str) -> Kept:
    return after(kept, Event.TOLD, result=Result.NONE, uri=uri, manifest=b"", candidate="")


def accepted(kept: Kept, manifest: bytes) -> Kept:
    """The free slot is given up before its first byte is overwritten."""
    slot = kept.free_slot
    rest = {name: image for name, image in kept.slots.items() if name != slot}
    return after(kept, Event.ACCEPTED, manifest=manifest, candidate=slot, slots=rest)


def whole(kept: Kept, image: Image) -> Kept:
    return after(kept, Event.WHOLE, slots={**kept.slots, kept.candidate: image})


def failed(kept: Kept, result: Result, event: Event = Event.FAILED) -> Kept:
    """The update ends here; what runs is what ran."""
    return after(kept, event, result=result, manifest=b"", candidate="", boots=0)


def confirmed(kept: Kept) -> Kept:
    sequence = kept.slots[kept.candidate].sequence
    done = after(kept, Event.CONFIRMED, result=Result.SUCCESS, active=kept.candidate, sequence=sequence)
    return replace(done, manifest=b"", candidate="", boots=0)


def load(disk: Disk) -> Kept:
    """What the file holds; that of a fresh node where there is none, or one that somebody damaged: the package that is
    installed always runs. Raises OSError."""
    data = disk.read(FILE)
    if data is None:
        return Kept()
    try:
        found = json.loads(data)
        return Kept(
            Phase(found["phase"]),
            Result(found["result"]),
            str(found["uri"]),
            base64.b64decode(found["manifest"], validate=True),
            str(found["active"]),
            str(found["candidate"]),
            {name: _image(image) for name, image in found["slots"].items() if name in SLOTS},
            int(found["sequence"]),
            int(found["boots"]),
            int(found["good"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Kept(result=Result.FAILED)


def _image(found: Mapping[str, Any]) -> Image:
    return Image(str(found["sha256"]), int(found["size"]), int(found["sequence"]), str(found["version"]))


def save(disk: Disk, kept: Kept) -> None:
    """Raises OSError; then the old file is there."""
    content = {
        "phase": int(kept.phase),
        "result": int(kept.result),
        "uri": kept.uri,
        "manifest": base64.b64encode(kept.manifest).decode(),
        "active": kept.active,
        "candidate": kept.candidate,
        "slots": {name: asdict(image) for name, image in kept.slots.items()},
        "sequence": kept.sequence,
        "boots": kept.boots,
        "good": kept.good,
    }
    disk.replace(FILE, json.dumps(content, indent=1).encode())

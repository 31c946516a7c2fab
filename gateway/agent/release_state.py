"""How far a release has come: the states, what leads from one to another, and the record that outlives a power cut.

                  ASKED            ARRIVED          UNPACKED        SWITCHED        GOOD
    Idle ─────────────▶ Downloading ─────▶ Downloaded ─────▶ Staged ─────▶ Trial ─────────▶ Committed
    (Committed,           │ REFUSED            │ REFUSED        │ REFUSED    │ BAD
     RolledBack           ▼                    ▼                ▼            ▼
     likewise)           Idle                 Idle             Idle        RolledBack

A step is on disk before anything is done that rests on it. What is in use is never read from here: the link
/opt/citygate/current and the trial of the switch say that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from gateway.wire import state

FILE = "release.json"


class State(Enum):
    IDLE = "idle"
    DOWNLOADING = "downloading"
    DOWNLOADED = "downloaded"
    STAGED = "staged"
    TRIAL = "trial"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"


class Step(Enum):
    ASKED = "asked"  # a center asks for a release
    FOUND = "found"  # ... that lies on this box already
    ARRIVED = "arrived"  # all of the image is here and proven
    UNPACKED = "unpacked"  # it lies beside the running one, on disk
    SWITCHED = "switched"  # the switch has put it in place, on trial
    GOOD = "good"  # it is in use for good
    BAD = "bad"  # the release before is in use again
    REFUSED = "refused"  # nothing was changed


RESTING = (State.IDLE, State.COMMITTED, State.ROLLED_BACK)

TABLE: dict[tuple[State, Step], State] = {
    **{(state, Step.ASKED): State.DOWNLOADING for state in RESTING},
    **{(state, Step.FOUND): State.STAGED for state in RESTING},
    (State.DOWNLOADING, Step.ARRIVED): State.DOWNLOADED,
    (State.DOWNLOADED, Step.UNPACKED): State.STAGED,
    (State.STAGED, Step.SWITCHED): State.TRIAL,
    (State.STAGED, Step.BAD): State.ROLLED_BACK,
    (State.TRIAL, Step.GOOD): State.COMMITTED,
    (State.TRIAL, Step.BAD): State.ROLLED_BACK,
    **{(state, Step.REFUSED): State.IDLE for state in (State.DOWNLOADING, State.DOWNLOADED, State.STAGED)},
}


@dataclass(frozen=True, slots=True)
class Record:
    """`request`: the id under which the switch is asked. `good`: points that were good before the switch."""

    state: State = State.IDLE
    name: str = ""
    by: str = ""
    since_utc: str = ""
    target: str = ""  # of the signed metadata
    sha256: str = ""
    length: int = 0
    unpacked: int = 0
    older: bool = False
    request: str = ""
    good: int = 0
    tries: int = 0  # requests to the switch, or downloads that came damaged
    code: str = ""  # why it was refused or went back
    error: str = ""
    error_ko: str = ""


class NoSuchStep(Exception):
    """The table has no way from this state by this step."""


class Machine:
    """The record in a folder. Made anew, it goes on where the last one was."""

    def __init__(self, folder: Path, *, utc: Callable[[], str] = lambda: "") -> None:
        """A record that cannot be read begins anew as Idle: nothing rests on it but work under way. Raises OSError."""
        self._folder = folder
        self._utc = utc
        self.record = _read(folder / FILE)

    def step(self, step: Step, **changes: Any) -> Record:
        """The next record, on disk when this returns. Raises NoSuchStep, OSError; then nothing has changed."""
        following = TABLE.get((self.record.state, step))
        if following is None:
            raise NoSuchStep(f"no {step.value} while {self.record.state.value}")
        return self._keep(replace(self.record, state=following, since_utc=self._utc(), **changes))

    def note(self, **changes: Any) -> Record:
        """Another record of the same state, on disk. Raises OSError."""
        return self._keep(replace(self.record, **changes))

    def _keep(self, record: Record) -> Record:
        state.write(self._folder, FILE, {**asdict(record), "state": record.state.value})
        self.record = record
        return record


def _read(path: Path) -> Record:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kinds = {field.name: type(field.default) for field in fields(Record) if field.name != "state"}
        known = {name: found[name] for name, kind in kinds.items() if isinstance(found.get(name), kind)}
        return Record(state=State(found["state"]), **known)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Record()

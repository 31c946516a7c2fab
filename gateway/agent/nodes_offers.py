"""Updates of nodes as a gateway keeps them: one a node, in a file that is replaced by each change."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gateway.wire import state

FILE = "offers.json"

log = logging.getLogger("citygate.agent")


class Step(Enum):
    FETCHING = "fetching"  # from the center
    OFFERING = "offering"  # it is here; the node is to be told
    FOLLOWING = "following"  # the node was told
    DONE = "done"
    FAILED = "failed"


ENDED = (Step.DONE, Step.FAILED)


@dataclass(frozen=True, slots=True)
class Offer:
    """One update of one node. `manifest`: its digest, "" until it is here; `result`: the node's 5/0/5."""

    node: str
    name: str
    by: str
    upstream: str
    begun_s: float
    step: Step = Step.FETCHING
    manifest: str = ""
    image: str = ""
    uri: str = ""
    sequence: int = 0
    result: int = 0
    why: str = ""

    def told(self) -> dict[str, Any]:
        return asdict(self) | {"step": self.step.value}


def load(folder: Path) -> dict[str, Offer]:
    """What was under way; a file that was damaged is as good as none, because a center can wish again."""
    try:
        found: Mapping[str, Any] = json.loads((folder / FILE).read_text())
        return {name: Offer(**{**one, "step": Step(one["step"])}) for name, one in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as bad:
        log.error("CG-6209 %s cannot be read, updates of nodes are forgotten: %s", folder / FILE, bad)
        return {}


def save(folder: Path, offers: Mapping[str, Offer]) -> None:
    state.write(folder, FILE, {name: offer.told() for name, offer in offers.items()})

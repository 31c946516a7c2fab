"""What readers must not believe again (a counter that only rises), kept in the spool over a restart, by link."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.field.scheduler import LinkRunner
from gateway.field.writer import SpoolWriter

PREFIX = "link/"


class Remembered:
    """Of the links of one plan; those of `fresh` begin with what `learnt` holds of them."""

    def __init__(self, links: Mapping[str, LinkRunner], learnt: Mapping[str, bytes], fresh: set[str]) -> None:
        self._links = links
        for name in fresh:
            links[name].memory = _memory(learnt.get(f"{PREFIX}{name}", b""))
        self._told = {name: dict(runner.memory) for name, runner in links.items()}

    def keep(self, writer: SpoolWriter) -> None:
        """What has changed goes to the spool."""
        now = {name: dict(runner.remembered()) for name, runner in self._links.items()}
        changed = {name: one for name, one in now.items() if one != self._told.get(name, {})}
        if changed:
            self._told = now
            writer.submit((), learnt={f"{PREFIX}{name}": json.dumps(one).encode() for name, one in changed.items()})


def _memory(blob: bytes) -> dict[str, int]:
    """Counters by device, as `_remember` kept them."""
    try:
        found = json.loads(blob) if blob else {}
        return {str(name): int(count) for name, count in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}

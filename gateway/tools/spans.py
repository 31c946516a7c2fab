"""Lengths of time as people type them: `45m`, `1h30m`, `60s`, `90` (seconds)."""

from __future__ import annotations

import re

_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds(text: str) -> float:
    """Raises ValueError on anything else."""
    found = _SPAN.fullmatch(text.strip().lower().replace(" ", ""))
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is no length of time: write 45m, 1h30m or 60s")
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest

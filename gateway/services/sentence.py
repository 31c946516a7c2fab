"""What each event code says to people: severity, cause, and one sentence in English and Korean for onset and end.

`cause` separates a broken instrument ("sensor") or line ("link") from an abnormal city ("city"): the center sends a
technician to the first and the water works or the police to the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.spool.records import Phase, Severity


@dataclass(frozen=True, slots=True)
class Word:
    severity: Severity
    cause: str
    onset_en: str
    onset_ko: str
    clear_en: str
    clear_ko: str


def say(word: Word, phase: Phase, subject: str, numbers: Mapping[str, float | str]) -> tuple[str, str]:
    """The sentence of `word` in English and Korean."""
    clear = phase is Phase.CLEAR
    return (
        (word.clear_en if clear else word.onset_en).format(subject=subject, **numbers),
        (word.clear_ko if clear else word.onset_ko).format(subject=subject, **numbers),
    )


def duration(seconds: float) -> str:
    """`2 h`, `5 min`, `6 s`: the same in both languages."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"

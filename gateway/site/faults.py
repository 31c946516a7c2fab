"""What is wrong with a configuration file, in words a technician can act on, in English and Korean.

In: a code of the table below, a place and the facts. Out: `Fault`s, rendered as text or JSON. Reads no files.
Codes can be read over the phone and are listed in docs/errors.md; a code never changes its meaning.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, NamedTuple

from gateway.site.messages import MESSAGES


class Severity(Enum):
    FAULT = "fault"  # the file cannot be used
    WARNING = "warning"  # it can, and somebody should know
    NOTE = "note"  # it can, and more could be done


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at one place. `where` names the key as a person would: `point "flow".type`."""

    code: str
    file: str
    line: int  # 0 where the file itself is the trouble
    where: str
    words_en: str
    words_ko: str
    next_en: str
    next_ko: str
    severity: Severity = Severity.FAULT

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"severity": self.severity.value}


class Place(NamedTuple):
    """A key in a file."""

    file: str
    line: int
    where: str


class Faults(Exception):  # a list of faults, not one error
    """Every fault of a set of files, warnings included."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = unique(faults)
        super().__init__(render(self.faults, "en"))

    def text(self, lang: str | None = None) -> str:
        return render(self.faults, lang)


def fault(code: str, place: Place, **facts: object) -> Fault:
    """The fault `code` at `place`; `facts` fill the placeholders of its message."""
    message = MESSAGES[code]
    en = {key: _words(value, 0) for key, value in facts.items()}
    ko = {key: _words(value, 1) for key, value in facts.items()}
    return Fault(
        code,
        place.file,
        place.line,
        place.where,
        message.words_en.format_map(en),
        message.words_ko.format_map(ko),
        message.next_en.format_map(en),
        message.next_ko.format_map(ko),
        Severity.WARNING if message.warning else Severity.NOTE if message.note else Severity.FAULT,
    )


class Both(NamedTuple):
    """A fact that reads differently in the two languages."""

    en: str
    ko: str


NOTHING = Both("", "")


def guess(word: object, valid: Iterable[str]) -> Both:
    """`, did you mean "uint16"?`: the nearest valid value, or nothing where none is near."""
    near = nearest(str(word), valid)
    return Both(f', did you mean "{near}"?', f'. "{near}" 아닙니까?') if near else NOTHING


def nearest(word: str, valid: Iterable[str]) -> str:
    """The valid value most like `word`, "" where none is. Case is not what people get wrong on purpose."""
    by_fold = {value.casefold(): value for value in valid}
    found = difflib.get_close_matches(word.casefold(), list(by_fold), 1, 0.5)
    return by_fold[found[0]] if found else ""


def listed(values: Iterable[str]) -> str | Both:
    return ", ".join(f'"{value}"' for value in values) or Both("(there is none yet)", "(아직 없음)")


def language(lang: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """`ko` or `en`: the argument, else the first of LC_ALL, LC_MESSAGES and LANG that is set."""
    named = lang or next((environ[key] for key in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(key)), "")
    return "ko" if named.lower().startswith("ko") else "en"


def render(faults: Sequence[Fault], lang: str | None = None) -> str:
    """Two lines a fault: what and where, then what to do."""
    return "\n".join(line for one in faults for line in _lines(one, language(lang)))


def unique(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Each fault once (a profile may serve many devices), by file and line."""
    return tuple(sorted(dict.fromkeys(faults), key=lambda one: (one.file, one.line, one.code)))


def failures(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Those that keep a file from being used."""
    return tuple(one for one in faults if one.severity is Severity.FAULT)


_MARKS = {Severity.FAULT: ("", ""), Severity.WARNING: ("warning: ", "주의: "), Severity.NOTE: ("note: ", "참고: ")}


def _lines(one: Fault, lang: str) -> tuple[str, str]:
    korean = lang == "ko"
    place = f"{one.file}:{one.line}" if one.line else one.file
    subject = f"{one.where}: " if one.where else ""
    note = _MARKS[one.severity][korean]
    words, todo = (one.words_ko, one.next_ko) if korean else (one.words_en, one.next_en)
    return f"{place}: {note}{subject}{words} [{one.code}]", f"    -> {todo}"


def _words(value: object, which: int) -> str:
    if isinstance(value, Both):
        return value[which]
    return f"{value:g}" if isinstance(value, float) else str(value)

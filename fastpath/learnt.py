"""What channels and conditions have learnt, as bytes: kept over a restart, taken back only where they fit.

    blob    tag (8 bytes), the times' offset to UTC in ns (i64), then whole columns of the state as they lie in memory

The tag is a hash of where everything lies, of the constants it was learnt under, and of what the channel or condition
was told to do: another release, another filter, another detector or another period begin anew. Times are moved to the
clock of the chain that takes them back. Open windows and evidence are not learnt. Nothing is raised for bytes that do
not fit.
"""

from __future__ import annotations

import hashlib
import struct
from types import ModuleType

import numpy as np

from fastpath import (
    condition,
    course,
    cusum,
    detect,
    detectors,
    drift,
    filter,
    habit,
    layout,
    level,
    missing,
    novelty,
    season,
    spike,
    stuck,
    variance,
)
from fastpath.columns import I8
from fastpath.layout import NEVER, Settings, State

VERSION = 1  # to be raised where code changes what a state means and no constant shows it
HEAD = struct.Struct("<8sq")
CHANNEL = slice(layout.SEEN, layout.FILTER + layout.FILTER_WORDS)
TIMES = (layout.SEEN, layout.LAST_NS)
MODULES = (
    condition, course, cusum, detect, detectors, drift, filter, habit, layout, level, missing, novelty, season, spike,
    stuck, variance,
)  # fmt: skip


def constants_of(modules: tuple[ModuleType, ...]) -> str:
    """Every constant of the modules, in words: names in capitals with their numbers."""
    found = (
        f"{module.__name__}.{name}={value!r}"
        for module in modules
        for name, value in sorted(vars(module).items())
        if name.isupper() and isinstance(value, int | float | tuple | np.ndarray)
    )
    return ";".join(found)


CODE = f"{VERSION};{constants_of(MODULES)}"


def _tag(told: object) -> bytes:
    return hashlib.sha256(f"{CODE};{told!r}".encode()).digest()[:8]


def _channel_tag(settings: Settings, c: int) -> bytes:
    whole = settings.whole[c, [layout.KIND, layout.FILTERED, layout.DETECTOR, layout.PERIOD, layout.SETTLE]]
    return _tag(("channel", whole.tolist(), settings.number[c, layout.BAND], settings.tuning[c].tolist()))


def _condition_tag(settings: Settings, j: int) -> bytes:
    return _tag(("condition", settings.rule_whole[j].tolist(), settings.rule_number[j].tolist()))


def _body(blob: bytes, tag: bytes, size: int) -> tuple[int, I8] | None:
    """The offset and the words of a blob; None where it does not fit."""
    if len(blob) != HEAD.size + 8 * size:
        return None
    found, align = HEAD.unpack_from(blob)
    return (align, np.frombuffer(blob, np.int64, offset=HEAD.size).copy()) if found == tag else None


def _moved(time_ns: int, offset_ns: int) -> int:
    return time_ns if time_ns == NEVER else min(max(time_ns + offset_ns, -layout.FAR_NS), layout.FAR_NS)


def channel_bytes(settings: Settings, state: State, align: int, c: int) -> bytes:
    """What channel c has learnt. `align` is what its times lack to UTC."""
    row: bytes = state.whole[c, CHANNEL].tobytes() + state.detector[c].tobytes()
    return HEAD.pack(_channel_tag(settings, c), align) + row


def restore_channel(settings: Settings, state: State, align: int, c: int, blob: bytes) -> bool:
    """Take `blob` into channel c; False, and nothing changed, where it does not fit."""
    size = CHANNEL.stop - CHANNEL.start
    body = _body(blob, _channel_tag(settings, c), size + state.detector.shape[1])
    if body is None:
        return False
    was, words = body
    numbers = words[size:].view(np.float64)
    gathered = state.whole[c, layout.GATHERED]
    if np.isnan(numbers).any():
        return False
    state.whole[c, CHANNEL] = words[:size]
    state.whole[c, layout.GATHERED] = gathered
    state.detector[c] = numbers
    debounced = (filter.OTHER_NS,) if settings.whole[c, layout.FILTERED] == filter.DEBOUNCE else ()
    for word in (*TIMES, *debounced):
        state.whole[c, word] = _moved(int(state.whole[c, word]), was - align)
    return True


def condition_bytes(settings: Settings, state: State, align: int, j: int) -> bytes:
    """Where condition j stands: met or not, and the run it is in."""
    row: bytes = state.rule[j].tobytes()
    return HEAD.pack(_condition_tag(settings, j), align) + row


def restore_condition(settings: Settings, state: State, align: int, j: int, blob: bytes) -> bool:
    """Take `blob` into condition j; False, and nothing changed, where it does not fit."""
    body = _body(blob, _condition_tag(settings, j), state.rule.shape[1])
    if body is None:
        return False
    was, words = body
    state.rule[j] = words
    state.rule[j, condition.SINCE] = _moved(int(words[condition.SINCE]), was - align)
    return True

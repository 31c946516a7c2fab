"""What a watch has learnt, to CBOR and back. In: a watch and its LEARNT attributes. Out: bytes. Never a file.

Numbers, strings, bytes, None, arrays, lists, tuples, dicts, sets, deques and instances of the dataclasses in PARTS are
carried; anything else is a TypeError at once, not a surprise after a restart. What does not fit the watch that is to
take it back (other columns, another release) is refused whole: the watch stays as it was made.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import cbor2
import numpy as np

from gateway.services.watch import Learning

_ARRAY, _PART, _TUPLE, _SET, _DEQUE, _DICT = "a", "p", "t", "s", "d", "m"
Parts = Mapping[str, type]


def remember(watch: Learning) -> bytes:
    """Compressed CBOR of {attribute: value}."""
    parts = _parts(watch)
    return zlib.compress(cbor2.dumps({name: _frozen(getattr(watch, name), parts) for name in watch.LEARNT}), 6)


def recall(watch: Learning, blob: bytes) -> bool:
    """Give `watch` what one like it had learnt. False, and nothing changed, where the blob does not fit."""
    parts = _parts(watch)
    try:
        kept = cbor2.loads(zlib.decompress(blob))
        if set(kept) != set(watch.LEARNT):
            return False
        values = {name: _thawed(value, parts) for name, value in kept.items()}
    except (zlib.error, cbor2.CBORDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return False
    if not all(_alike(getattr(watch, name), value) for name, value in values.items()):
        return False
    for name, value in values.items():
        setattr(watch, name, value)
    return True


def _parts(watch: Learning) -> Parts:
    return {part.__name__: part for part in watch.PARTS}


def _alike(made: object, kept: object) -> bool:
    """Whether an attribute just made could have held this: of one kind, arrays of one shape and dtype."""
    if made is None or kept is None:
        return not isinstance(made, np.ndarray)
    if isinstance(made, np.ndarray):
        return isinstance(kept, np.ndarray) and made.dtype == kept.dtype and made.shape == kept.shape
    if isinstance(made, (list, tuple)):
        ours = [item for item in made if isinstance(item, np.ndarray)]
        return type(kept) is type(made) and (not ours or (len(kept) == len(made) and all(map(_alike, made, kept))))
    plain = (int, float, str)
    return isinstance(kept, plain) if isinstance(made, plain) else type(kept) is type(made)


def _frozen(value: Any, parts: Parts) -> Any:
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return [_ARRAY, value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]
    if is_dataclass(value) and type(value).__name__ in parts:
        return [
            _PART,
            type(value).__name__,
            {one.name: _frozen(getattr(value, one.name), parts) for one in fields(value)},
        ]
    if isinstance(value, dict):
        return [_DICT, [[_frozen(key, parts), _frozen(item, parts)] for key, item in value.items()]]
    for kind, mark in ((tuple, _TUPLE), (set, _SET)):
        if isinstance(value, kind):
            return [mark, [_frozen(item, parts) for item in value]]
    if isinstance(value, deque):
        return [_DEQUE, [_frozen(item, parts) for item in value], value.maxlen]
    if isinstance(value, list):
        return ["l", [_frozen(item, parts) for item in value]]
    raise TypeError(f"a watch cannot keep a {type(value).__name__}")


def _thawed(value: Any, parts: Parts) -> Any:
    if not isinstance(value, list):
        return value
    mark, *rest = value
    if mark == _ARRAY:
        dtype, shape, raw = rest
        return np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()
    if mark == _PART:
        name, known = rest
        made: Any = object.__new__(parts[name])
        names = {one.name for one in fields(parts[name])}
        if names != set(known):
            raise ValueError(f"{name} has other fields")
        for one, item in known.items():
            object.__setattr__(made, one, _thawed(item, parts))
        return made
    if mark == _DICT:
        return {_thawed(key, parts): _thawed(item, parts) for key, item in rest[0]}
    items = [_thawed(item, parts) for item in rest[0]]
    if mark == _DEQUE:
        return deque(items, rest[1])
    return {_TUPLE: tuple, _SET: set, "l": list}[mark](items)

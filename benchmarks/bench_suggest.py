"""Suggestions: random encodings, three values read off the display, and whether the first suggestion gives them all.

`suggest_holds` is stricter: whether the first suggestion also gives a fourth reading that it was not shown.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from gateway.bench.suggest import ORDERS, SCALES, TYPES, Encoding, Look, suggest
from gateway.sim.image import reorder, to_bytes
from protocols.modbus.points import WORDS

AROUND = 8  # registers read before and behind the place


class Case(NamedTuple):
    truth: Encoding
    guess: int  # the address that the technician has
    looks: tuple[Look, ...]


def suggest_first(cases: int, seed: int = 1) -> tuple[float, float]:
    """(share of first suggestions that agree with all three displays, with a fourth reading too)."""
    chance, right, holds = random.Random(seed), 0, 0
    for _ in range(cases):
        case = drawn(chance)
        shown, unseen = case.looks[:3], case.looks[3]
        found = suggest(shown, case.truth.function, case.guess)
        if found and agrees(found[0], shown):
            right += 1
            holds += agrees(found[0], [unseen])
        else:
            print(f"suggest: {case.truth} at {case.guess} was not found", flush=True)
    return right / cases, holds / cases


def agrees(one: Encoding, looks: Sequence[Look]) -> bool:
    return all(abs(one.value(look.address, look.data) - look.shown) <= look.tolerance for look in looks)


def drawn(chance: random.Random) -> Case:
    """A random encoding and four readings of it: the value moves, its neighbours are noise or zero."""
    kind = chance.choice(TYPES)
    order = chance.choice(ORDERS if WORDS[kind] > 1 else ("ABCD", "BADC"))
    scale = chance.choice(SCALES[:4]) if "float" not in kind else 1.0
    address = chance.randrange(20, 60_000)
    truth = Encoding(chance.choice((3, 4)), address, kind, order, scale)
    start, span = address - AROUND, WORDS[kind]
    digits = chance.choice((0, 1, 2, 3)) if scale == 1.0 and "float" in kind else len(f"{scale:g}".partition(".")[2])
    raw = _raw(kind, chance)
    looks = []
    quiet = chance.random() < 0.5
    for _ in range(4):
        raw = _moved(kind, raw, chance)
        data = (
            bytearray(b"\0" * (4 * AROUND + 2 * span)) if quiet else bytearray(chance.randbytes(4 * AROUND + 2 * span))
        )
        value = to_bytes(kind, raw)
        placed = reorder(value.rjust(2, b"\0"), order)
        data[2 * AROUND : 2 * AROUND + 2 * span] = placed
        shown = round(truth.value(start, bytes(data)), digits)
        looks.append(Look(start, bytes(data), shown, digits))
    return Case(truth, address + chance.choice((-1, 0, 1)), tuple(looks))


def _raw(kind: str, chance: random.Random) -> float:
    if "float" in kind:
        return (
            chance.uniform(-500.0, 500.0)
            if kind == "float16"
            else chance.uniform(-1.0, 1.0) * 10 ** chance.randrange(1, 6)
        )
    most = {"uint8": 250, "int8": 120, "bcd16": 9_000, "int16": 30_000, "uint16": 60_000}.get(kind, 10**7)
    low = -most if kind.startswith("int") else 0
    return chance.randint(low, most)


def _moved(kind: str, raw: float, chance: random.Random) -> float:
    if "float" in kind:
        return raw * (1 + chance.uniform(-0.02, 0.02))
    step = chance.randint(-4, 5)
    low = {"int8": -128, "int16": -32_768}.get(kind, -(10**9)) if kind.startswith("int") else 0
    most = {"uint8": 255, "int8": 127, "bcd16": 9_999, "int16": 32_767, "uint16": 65_535}.get(kind, 10**8 - 1)
    return min(most, max(low, raw + step))

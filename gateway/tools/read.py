"""`citygate read DEVICE`: request, reply, raw, decoded, scaled, unit, range and verdict of every point, side by side.

A device of a site (through the running field half, else on the line itself), or a profile on a link. `--suggest`
tries other types, orders, addresses and scales against the numbers on the device's display and prints the TOML.
Never writes to a device.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gateway.bench.findings import Finding, finding
from gateway.bench.way import Unreachable, Wanted, Way, way_to

if TYPE_CHECKING:
    from gateway.bench.suggest import Encoding

WIDTH = 80
AROUND = 6  # registers read before and behind a point for suggestions
SHOWN = 5  # suggestions


def run(wanted: Wanted, suggest: str, *, every_s: float, json: bool) -> int:
    """0 where every point is well (or a suggestion fits), 1 where not, 2 where nobody could be asked."""
    try:
        return asyncio.run(_suggested(wanted, suggest, every_s, json) if suggest else _read(wanted, json))
    except Unreachable as no:
        return refused(no.finding, json=json)


def refused(why: Finding, *, json: bool) -> int:
    if json:
        print(jsonlib.dumps({"error": why.as_json()}, ensure_ascii=False))
    print("\n".join(why.lines()), file=sys.stderr)
    return 2


async def _read(wanted: Wanted, json: bool) -> int:
    async with way_to(wanted) as way:
        facts = await way.look()
    if json:
        print(jsonlib.dumps(facts, ensure_ascii=False))
    else:
        print("\n".join(page(facts)))
    silent = [one for one in facts["points"] if one["verdict"] == "no reply"]
    if facts["points"] and len(silent) == len(facts["points"]) and not json:
        why = f"{facts['device'] or facts['profile']} unit {facts['unit']}"
        print("\n".join(finding("CG-5115", device=why, why="no reply").lines()), file=sys.stderr)
    return 0 if all(one["verdict"] in ("ok", "not available") for one in facts["points"]) else 1


def page(facts: dict[str, Any]) -> Iterator[str]:
    """What was read, within 80 columns."""
    through = ", through the field half" if facts["through"] else ""
    yield f"{facts['device'] or facts['profile']}  unit {facts['unit']}  {facts['url']}{through}"
    for one in facts["exchanges"]:
        yield from _wrapped(one["request"], "> ")
        yield from _wrapped(one["reply"], "< ")
        took = f"{one['ms']:.0f} ms" if one["ms"] is not None else ""
        if one["says"] or took:
            yield "  " + ", ".join(word for word in (took, one["says"]) if word)
    yield f"{'point':16}{'raw':12}{'decoded':>10} {'value':>9} {'unit':6}{'range':13}verdict"
    for one in facts["points"]:
        decoded, value = ("-" if one[key] is None else f"{one[key]:.6g}" for key in ("decoded", "value"))
        ends = "" if one["low"] is None and one["high"] is None else f"{_end(one['low'])}..{_end(one['high'])}"
        verdict = one["verdict"] + (f" ({one['word']})" if one["word"] else "")
        yield (
            f"{_cut(one['point'], 15):16}{_cut(one['raw'], 11):12}{decoded:>10} {value:>9} "
            f"{_cut(one['unit'], 5):6}{_cut(ends, 12):13}{_cut(verdict, 12)}"
        )


def _end(end: float | None) -> str:
    return "" if end is None else f"{end:g}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "~"


def _wrapped(data: str, mark: str) -> Iterator[str]:
    room = (WIDTH - len(mark)) // 3 * 3
    for at in range(0, len(data), room):
        yield mark + data[at : at + room].strip()


# ---- suggestions


async def _suggested(wanted: Wanted, asked: str, every_s: float, json: bool) -> int:
    from gateway.bench.suggest import suggest, typed

    name, _, shown = asked.partition("=")
    try:
        displays = [typed(one) for one in shown.split(",") if one.strip()] if shown else []
    except ValueError as bad:
        raise Unreachable(finding("CG-5111", what="--suggest", why=bad, verb="read")) from bad
    async with way_to(wanted) as way:
        function, address, kind, order, scale = await _thought(way, name)
        looks = []
        if displays:
            for number, (value, digits) in enumerate(displays[:3]):
                if number and every_s:
                    _say(f"next reading in {every_s:g} s", json)
                    await asyncio.sleep(every_s)
                looks.append(await _look(way, function, address, value, digits))
        else:
            while len(looks) < 3 and (line := await asyncio.to_thread(_prompt, len(looks) + 1)):
                looks.append(await _look(way, function, address, *typed(line)))
    if not looks:
        raise Unreachable(finding("CG-5111", what="--suggest", why="write POINT=23.4", verb="read"))
    found = suggest(looks, function, address, kind, order, scale)
    shown = ", ".join(f"{look.shown:.{look.digits}f}" for look in looks)
    if json:
        told = [_suggestion(one, name) for one in found[:SHOWN]]
        print(jsonlib.dumps({"point": name, "shown": shown, "suggestions": told}))
    elif found:
        print("\n".join(_told(found, name, shown, len(looks))))
    else:
        print("\n".join(finding("CG-5113", shown=shown).lines()), file=sys.stderr)
    return 0 if found else 1


def _suggestion(one: Encoding, name: str) -> dict[str, Any]:
    return {
        "function": one.function,
        "address": one.address,
        "type": one.type,
        "order": one.order,
        "scale": one.scale,
        "toml": one.toml(_point_name(name)),
    }


def _point_name(name: str) -> str:
    return name if name[:1].isalpha() else "value"


def _told(found: Sequence[Encoding], name: str, shown: str, looks: int) -> Iterator[str]:
    others = found[1:SHOWN]
    also = f"{len(found) - 1} other{'s do' if len(found) > 2 else ' does'} too" if others else "nothing else does"
    yield f"# gives {shown}; {also}"
    yield found[0].toml(_point_name(name))
    for one in others:
        yield f"# or address {one.address} {one.type} {one.order} scale {one.scale:g}"
    if others and looks < 3:
        yield "# read the display again when it has changed: --suggest POINT asks up to three times"


def _prompt(number: int) -> str:
    try:
        return input(f"display shows ({number} of 3, Enter ends) / 표시 값: ").strip()
    except EOFError:
        return ""


def _say(words: str, json: bool) -> None:
    print(words, file=sys.stderr if json else sys.stdout, flush=True)


async def _thought(way: Way, name: str) -> tuple[int, int, str, str, float]:
    """Where to look and what was thought so far: a point's own encoding, or FUNCTION:ADDRESS."""
    function, colon, address = name.partition(":")
    if colon and function in ("3", "4") and address.isdecimal():
        return int(function), int(address), "uint16", "ABCD", 1.0
    facts = await way.look()
    row = next((one for one in facts["points"] if one["point"] == name), None)
    if row is None:
        known = ", ".join(one["point"] for one in facts["points"])
        raise Unreachable(finding("CG-5110", name=name, known=f"{known}; or 3:ADDRESS, 4:ADDRESS"))
    words = row["where"].split()  # FC3 8 int32 CDAB
    if len(words) < 3 or words[0] not in ("FC3", "FC4"):
        raise Unreachable(finding("CG-5111", what=name, why="not in registers of its own", verb="read"))
    decoded, value = row["decoded"], row["value"]
    scale = value / decoded if decoded and value else 1.0
    order = words[3] if len(words) > 3 and words[3].isupper() else "ABCD"
    return int(words[0][2]), int(words[1]), words[2], order, float(f"{scale:.6g}")


async def _look(way: Way, function: int, address: int, value: float, digits: int) -> Any:
    """Registers around a place: as many as the device lets be read at once."""
    from gateway.bench.suggest import Look
    from protocols.modbus.codec import read_request

    for before, behind in ((AROUND, AROUND + 4), (1, 5), (1, 3), (0, 4), (0, 2), (0, 1)):
        start = max(0, address - before)
        count = address + behind - start
        said = await way.ask(read_request(function, start, count))
        if said.is_answer:
            return Look(start, said.pdu[2:], value, digits)
    raise Unreachable(finding("CG-5115", device=f"register {address}", why="it does not answer or refuses the read"))

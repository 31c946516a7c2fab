"""A profile that may be used, and what a careful reader of it would still doubt. Pure; nothing here is a fault.

What a capture shows is not doubted: an exchange that decodes to the value somebody read settles address and order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.site.cross import share_of
from gateway.site.document import Document
from gateway.site.faults import Both, Fault, listed
from gateway.site.lines import Path
from gateway.site.plan import Kind
from gateway.site.profile import DeviceProfile, ProfilePoint, driver_points
from gateway.site.reach import reach
from gateway.site.roles import ROLES
from gateway.site.units import conversions
from gateway.site.unlike import check_unlike
from protocols.api import Link, PlanError

FEWEST_STEPS = 20  # counts across a range: fewer is no measurement
PREFIXES = {1: (1, 9999), 2: (10001, 19999), 3: (40001, 49999), 4: (30001, 39999)}  # as manuals write them
HALVES = (("_high", "_low"), ("_hi", "_lo"), ("_msw", "_lsw"), ("_h", "_l"))
SOME = 3  # values from 1 on, before that is odd

# No device in a street goes beyond: (unit, lowest, highest). Wide on purpose: raw counts taken for values are 10 or
# 100 times too large, not a little.
PLAUSIBLE: dict[str, tuple[str, float, float]] = {
    "temperature": ("Cel", -100, 200),
    "humidity": ("%RH", -1, 110),
    "co2": ("ppm", 0, 200_000),
    "level": ("m", -200, 1000),
    "flow": ("m3/h", -200_000, 200_000),
    "pressure": ("bar", -10, 1000),
    "voltage": ("V", -1000, 1500),
    "current": ("A", -10_000, 10_000),
    "leakage": ("A", 0, 100),
    "lamp_level": ("/100", 0, 110),
    "signal_quality": ("/100", 0, 110),
    "occupancy": ("/100", 0, 110),
    "speed": ("km/h", -400, 400),
    "length": ("m", 0, 100),
    "illuminance": ("lx", 0, 250_000),
}


def lint(profile: DeviceProfile) -> list[Fault]:
    """Warnings and notes on a profile without faults."""
    whole = profile.document
    assert whole is not None, "profiles that were read have their document"
    doc = Document(whole.file, whole.data, whole.lines, whole.doc)
    at = {str(table.get("name")): path for path, table in reversed(list(doc.tables("points")))}
    proven = {name for capture in profile.captures for name in capture.values}
    read = [point for point in profile.points if not point.derived]
    _check_proof(doc, profile, read, proven)
    _check_captures(doc, profile)
    if profile.driver.name == "modbus":
        _check_bases(doc, at, read, proven)
        _check_same(doc, at, read)
        _check_halves(doc, at, read)
    for point in read:
        _check_point(doc, at[point.name], point, proven)
    check_unlike(doc, profile, at, read)
    _check_line(doc, profile)
    return doc.faults


def _check_proof(doc: Document, profile: DeviceProfile, read: Sequence[ProfilePoint], proven: set[str]) -> None:
    """Of a profile with some capture: which points none of them shows."""
    rest = [point.name for point in read if point.name not in proven]
    if proven and rest:
        names = listed(rest[:8])
        shown = Both(*(f"{words}{' ...' if len(rest) > 8 else ''}" for words in (names, names)))
        doc.add("CG-1090", ("captures",), proven=len(read) - len(rest), all=len(read), names=shown)


def _check_captures(doc: Document, profile: DeviceProfile) -> None:
    first: dict[tuple[str, str], int] = {}
    for index, capture in enumerate(profile.captures):
        key = ("".join(capture.request.split()).lower(), "".join(capture.reply.split()).lower())
        if first.setdefault(key, index) != index:
            doc.add("CG-1094", ("captures", index), other=first[key] + 1)


def _check_bases(doc: Document, at: dict[str, Path], read: Sequence[ProfilePoint], proven: set[str]) -> None:
    """Addresses that look as if they counted from 1, where no capture of the same table of registers says otherwise."""
    for function in (1, 2, 3, 4):
        points = [point for point in read if point.spec.function == function]
        if not points or any(point.name in proven for point in points):
            continue
        low, high = PREFIXES[function]
        for point in points if function > 1 else ():
            if low <= point.spec.address <= high:
                less = point.spec.address - low
                words = Both(
                    f"{point.spec.address} looks like a manual's {low} for its first register: address = {less}?",
                    f"{point.spec.address}은(는) 설명서 표기({low}부터)로 보입니다. address = {less} 아닙니까?",
                )
                doc.add("CG-1091", (*at[point.name], "address"), words=words)
        addresses = sorted({point.spec.address for point in points})
        wide = [point.spec.address for point in points if point.spec.span > 1]
        named = (*at[points[0].name], "address")
        if len(wide) >= 2 and all(one % 2 for one in wide) and addresses[0] == 1:
            words = Both(
                "all values of two registers begin at odd addresses, the first at 1: does the manual count from 1?",
                "두 레지스터 값이 모두 홀수 주소에서 시작하고 첫 주소가 1입니다. 설명서가 1부터 세지 않습니까?",
            )
            doc.add("CG-1091", named, words=words)
        elif len(addresses) >= SOME and addresses == list(range(1, len(addresses) + 1)) and not wide:
            words = Both(
                "the addresses are 1, 2, 3 ... and none is 0: does the manual count from 1?",
                "주소가 1, 2, 3 ...이고 0이 없습니다. 설명서가 1부터 세지 않습니까?",
            )
            doc.add("CG-1091", named, words=words)


def _check_same(doc: Document, at: dict[str, Path], read: Sequence[ProfilePoint]) -> None:
    """One register as two numbers; parts of it (bits, masks, bytes) are meant."""
    first: dict[tuple[Any, ...], ProfilePoint] = {}
    for point in read:
        spec = point.spec
        is_byte = "8" in spec.type
        part: tuple[Any, ...] = ("whole",)
        if spec.bit is not None or spec.mask is not None or is_byte:
            part = (spec.bit, spec.mask, spec.shift, *((spec.type, spec.order) if is_byte else ()))
        other = first.setdefault((spec.function, spec.address, *part), point)
        if other is point:
            continue
        first_type, second_type = ("a bit", "a bit") if spec.is_coil else (other.spec.type, spec.type)
        words = Both(
            f'"{other.name}" reads address {spec.address}, too ({first_type} there, {second_type} here)',
            f'"{other.name}"도 주소 {spec.address}을(를) 읽습니다(거기서는 {first_type}, 여기서는 {second_type})',
        )
        doc.add("CG-1093", (*at[point.name], "address"), words=words)


def _check_halves(doc: Document, at: dict[str, Path], read: Sequence[ProfilePoint]) -> None:
    """A value of two registers taken for two values."""
    by_name = {point.name: point for point in read}
    for high, low in HALVES:
        for point in read:
            stem = point.name.removesuffix(high)
            other = by_name.get(stem + low) if stem != point.name else None
            if other is None or other.spec.function != point.spec.function or point.spec.is_coil:
                continue
            if abs(other.spec.address - point.spec.address) == 1 and point.spec.span == other.spec.span == 1:
                order = "ABCD" if point.spec.address < other.spec.address else "CDAB"
                start = min(point.spec.address, other.spec.address)
                one = f'address = {start}, type = "uint32", order = "{order}"'
                words = Both(
                    f'with "{other.name}" it looks like the halves of one value: {one}?',
                    f'"{other.name}"와(과) 한 값의 반쪽으로 보입니다. {one} 아닙니까?',
                )
                doc.add("CG-1093", (*at[point.name], "address"), words=words)


def _check_point(doc: Document, path: Path, point: ProfilePoint, proven: set[str]) -> None:
    table = _table(doc, path)
    has_range = not math.isinf(point.low)
    kind = str(getattr(point.spec, "type", ""))
    if (
        kind.startswith("float")
        and kind != "float"
        and not has_range
        and point.kind is not Kind.WAVEFORM
        and point.name not in proven
    ):
        doc.add("CG-1095", path)
    is_switch = "enum" in table or point.kind is Kind.STATE or getattr(point.spec, "is_coil", False)
    if point.writable and not has_range and not is_switch:
        doc.add("CG-1098", (*path, "writable"))
    for words in _scale_doubts(table, point):
        doc.add("CG-1096", (*path, "scale" if "scale" in table else "range"), words=words)
    _check_plausible(doc, path, point)
    _check_name(doc, path, point)
    span = reach(point.spec)
    if span is not None:
        ends = sorted((span.least * point.scale + point.offset, span.most * point.scale + point.offset))
        for number, word in point.words:
            if not ends[0] <= number <= ends[1]:
                facts = {"type": span.name, "least": ends[0], "most": ends[1]}
                doc.add("CG-1099", (*path, "enum", word), word=word, value=number, **facts)


def _scale_doubts(table: dict[str, Any], point: ProfilePoint) -> Iterator[Both]:
    span = reach(point.spec)
    if span is None or span.most <= 1:
        return
    one = abs(point.scale)
    said = table.get("resolution")
    if isinstance(said, (int, float)) and 0 < said < one * 0.999:
        yield Both(
            f"the smallest change is said to be {said:g}, but one count is {one:g}",
            f"최소 변화량은 {said:g}인데 1카운트는 {one:g}입니다",
        )
    steps = (point.high - point.low) / one
    if one > 1 and steps < FEWEST_STEPS and not point.words:
        yield Both(
            f"one count is {one:g}: only {steps:.0f} steps from {point.low:g} to {point.high:g}",
            f"1카운트가 {one:g}이라 {point.low:g}에서 {point.high:g}까지 {steps:.0f}단계뿐입니다",
        )


def _check_plausible(doc: Document, path: Path, point: ProfilePoint) -> None:
    unit, least, most = PLAUSIBLE.get(point.role, ("", 0.0, 0.0))
    if not unit or point.unit not in conversions(unit) or math.isinf(point.low):
        return
    factor, offset = conversions(unit)[point.unit]
    ends = sorted(((least - offset) / factor, (most - offset) / factor))
    if point.low < ends[0] or point.high > ends[1]:
        spans: tuple[Any, ...] = (point.low, point.high, point.unit, point.role, ROLES[point.role][2], *ends)
        words = Both(
            'a range of [{:g}, {:g}] {} is not plausible for "{}" ({}): expected within [{:g}, {:g}]'.format(*spans),
            '역할 "{3}"에 [{0:g}, {1:g}] {2} 범위는 지나칩니다. 예상 범위: [{5:g}, {6:g}]'.format(*spans),
        )
        doc.add("CG-1097", (*path, "range"), words=words)


def _check_name(doc: Document, path: Path, point: ProfilePoint) -> None:
    """A point called by another role's name than it has: copied from the point above, and half of it changed."""
    named = ROLES.get(point.name)
    if named and point.role in ROLES and point.name not in point.role and point.unit in named[1]:
        words = Both(
            f'called "{point.name}", which is a role, too, and has the role "{point.role}"',
            f'이름은 "{point.name}"인데 역할은 "{point.role}"입니다',
        )
        doc.add("CG-1097", (*path, "role"), words=words)


def _check_line(doc: Document, profile: DeviceProfile) -> None:
    """What this device alone makes of a serial line, as its vendor ships it."""
    if not any(url.startswith("serial") for url in profile.driver.urls):
        return
    said = profile.link
    link = Link(
        "line", "serial:/dev/ttyUSB0", baud=said.baud or 9600, parity=said.parity or "N", stop_bits=said.stop_bits or 1
    )
    device = profile.as_device()
    if profile.driver.listens(device):
        return
    try:
        ops = profile.driver.plan(driver_points(dict(enumerate(profile.points)), device))
    except PlanError:
        return
    share = sum(share_of(op, link) for op in ops)
    if share > 1:
        path: Path = ("link", "baud") if said.baud else ("device", "period_s")
        doc.add("CG-1092", path, baud=link.baud, share=round(100 * share))


def _table(doc: Document, path: Path) -> dict[str, Any]:
    tables = dict(doc.tables("points"))
    return tables.get(path, {})

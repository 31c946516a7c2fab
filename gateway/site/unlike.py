"""What does not agree with the rest of its own profile: a range with its capture, a point with its neighbours. Pure.

In: a profile without faults. Out: warnings in the profile's document. What a capture proves is not held against the
points beside it, but a proven value outside the range is: it would be marked in the field as it is marked here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from gateway.site.document import Document
from gateway.site.faults import Both
from gateway.site.lines import Path
from gateway.site.plan import Kind
from gateway.site.profile import DeviceProfile, ProfilePoint
from gateway.site.reach import reach

BAUDS = frozenset((
    300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 76800, 115200, 125000, 128000, 153600, 187500,
    230400, 250000, 256000, 460800, 500000, 576000, 921600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
))  # fmt: skip
COUNTING = ("energy", "volume_total", "vehicle_count")
MANY = 3  # points that agree, before one that does not is odd


def check_unlike(doc: Document, profile: DeviceProfile, at: Mapping[str, Path], read: Sequence[ProfilePoint]) -> None:
    """Adds CG-1110 to CG-1116 to `doc`. `at`: where each point is written; `read`: the points that are not derived."""
    _check_captured(doc, profile, read)
    baud = profile.link.baud
    if baud and baud not in BAUDS:
        near = min(BAUDS, key=lambda one: abs(math.log(one / baud)))
        if baud % 10 == 0 and baud // 10 in BAUDS:  # a digit too many
            near = baud // 10
        doc.add("CG-1111", ("link", "baud"), baud=baud, near=near)
    for point in read:
        if point.role in COUNTING and point.kind is Kind.GAUGE:
            doc.add("CG-1112", (*at[point.name], "role"), role=point.role)
        _check_nan(doc, at[point.name], point)
        _check_rollover(doc, at[point.name], point)
    if profile.driver.name == "modbus":
        registers = [point for point in read if not point.spec.is_coil]
        for point in registers:
            if point.spec.span == 1 and point.spec.order == "CDAB":
                doc.add("CG-1113", (*at[point.name], "order"), type=point.spec.type)
        proven = {name for capture in profile.captures for name in capture.values}
        _check_neighbours(doc, at, registers, proven)


def _check_captured(doc: Document, profile: DeviceProfile, read: Sequence[ProfilePoint]) -> None:
    ranges = {point.name: (point.low, point.high, point.unit) for point in read}
    for index, capture in enumerate(profile.captures):
        for name, value in capture.values.items():
            low, high, unit = ranges.get(name, (value, value, ""))
            if not low <= value <= high:
                facts = {"value": value, "unit": unit, "low": low, "high": high}
                doc.add("CG-1110", ("captures", index, "values", name), name=name, **facts)


def _check_nan(doc: Document, path: Path, point: ProfilePoint) -> None:
    """65535 for "not available" in a signed register is -1: a believable reading is dropped, the real mark is kept."""
    span = reach(point.spec)
    if span is None or span.least >= 0 or getattr(point.spec, "mask", None) is not None:
        return
    for raw in getattr(point.spec, "nan", ()):
        meant = raw - 2 * (span.most + 1) if raw > span.most else raw
        value = meant * point.scale + point.offset
        if raw > span.most and not math.isinf(point.low) and point.low <= value <= point.high:
            facts = {"raw": raw, "type": span.name, "meant": int(meant), "value": value, "unit": point.unit}
            doc.add("CG-1115", (*path, "nan"), most=int(span.most), **facts)


def _check_rollover(doc: Document, path: Path, point: ProfilePoint) -> None:
    span = reach(point.spec)
    if span is None or math.isinf(point.rollover):
        return
    highest = max(span.least * point.scale, span.most * point.scale) + point.offset
    if point.rollover > highest + 1.5 * abs(point.scale):
        doc.add("CG-1116", (*path, "rollover"), rollover=point.rollover, type=span.name, most=highest)


def _check_neighbours(
    doc: Document, at: Mapping[str, Path], registers: Sequence[ProfilePoint], proven: set[str]
) -> None:
    """One point with another word order than all others of its size, or another function amid their addresses."""
    wide = [point for point in registers if point.spec.span > 1 and not point.spec.type.startswith(("bcd", "date"))]
    odd = _odd_one(wide, lambda point: point.spec.order)
    if odd is not None and odd[0].name not in proven:
        point, usual = odd
        words = Both(
            f'order = "{point.spec.order}", where all other values of several registers have "{usual}"',
            f'order = "{point.spec.order}"입니다. 여러 레지스터를 쓰는 다른 값은 모두 "{usual}"입니다',
        )
        doc.add("CG-1114", (*at[point.name], "order"), words=words)
    odd = _odd_one(registers, lambda point: point.spec.function)
    if odd is not None and odd[0].name not in proven:
        point, usual = odd
        others = [one.spec.address for one in registers if one is not point]
        if min(others) < point.spec.address < max(others) and point.spec.address not in others:
            words = Both(
                f"function = {point.spec.function}, where all others, before and behind it, have {usual}",
                f"function = {point.spec.function}입니다. 앞뒤의 다른 포인트는 모두 {usual}입니다",
            )
            doc.add("CG-1114", (*at[point.name], "function"), words=words)
    for function in (3, 4):
        pairs = [point for point in wide if point.spec.function == function and point.spec.span == 2]
        odd = _odd_one(pairs, lambda point: point.spec.address % 2)
        if odd is not None and odd[0].name not in proven:
            point, rest = odd
            words = Both(
                f"address = {point.spec.address}, where all other values of two registers begin at "
                f"{'odd' if rest else 'even'} addresses",
                f"address = {point.spec.address}입니다. 두 레지스터를 쓰는 다른 값은 모두 "
                f"{'홀수' if rest else '짝수'} 주소에서 시작합니다",
            )
            doc.add("CG-1114", (*at[point.name], "address"), words=words)
    for point, usual in _other_scale(registers):
        if point.name in proven:
            continue
        words = Both(
            f"scale = {point.scale:g}, where all others of its unit, type and range have {usual:g}",
            f"scale = {point.scale:g}입니다. 단위, 형식, 범위가 같은 다른 포인트는 모두 {usual:g}입니다",
        )
        doc.add("CG-1114", (*at[point.name], "scale"), words=words)
    for point, wide_type in _between_wide(registers):
        if point.name in proven:
            continue
        words = Both(
            f"{point.spec.type} in a row of {wide_type}, and nothing reads the register behind it: "
            f'type = "{wide_type}"?',
            f"{wide_type}이(가) 이어지는 곳의 {point.spec.type}이고 뒤 레지스터를 읽는 포인트가 없습니다. "
            f'type = "{wide_type}" 아닙니까?',
        )
        doc.add("CG-1114", (*at[point.name], "type"), words=words)


def _odd_one(points: Sequence[ProfilePoint], key: Callable[[ProfilePoint], Any]) -> tuple[ProfilePoint, Any] | None:
    """The one point whose key is another than that of at least `MANY` others, which agree; and their key."""
    counted = Counter(key(point) for point in points)
    if len(counted) != 2 or len(points) <= MANY or min(counted.values()) != 1:
        return None
    (usual, _), (rare, _) = counted.most_common()
    return next(point for point in points if key(point) == rare), usual


def _other_scale(registers: Sequence[ProfilePoint]) -> Iterator[tuple[ProfilePoint, float]]:
    """One point ten, a hundred or a thousand times off at least two others that mean the same; and their scale."""
    alike: dict[tuple[Any, ...], list[ProfilePoint]] = {}
    for point in registers:
        if point.unit and not math.isinf(point.low) and point.spec.bit is None and point.spec.mask is None:
            alike.setdefault((point.unit, point.spec.type, point.low, point.high), []).append(point)
    for points in alike.values():
        counted = Counter(point.scale for point in points)
        if len(counted) == 2 and len(points) > 2 and min(counted.values()) == 1:
            (usual, _), (rare, _) = counted.most_common()
            times = abs(math.log10(abs(rare / usual)))
            if times > 0.9 and abs(times - round(times)) < 1e-6:
                yield next(point for point in points if point.scale == rare), usual


def _between_wide(registers: Sequence[ProfilePoint]) -> Iterator[tuple[ProfilePoint, str]]:
    """A value of one register amid those of two, whose place has room for one of theirs; and their type."""
    plain = {
        (point.spec.function, point.spec.address): point
        for point in registers
        if point.spec.bit is None and point.spec.mask is None
    }
    for (function, address), point in plain.items():
        if point.spec.type not in ("int16", "uint16") or (function, address + 1) in plain:
            continue
        around = [plain.get((function, address + step)) for step in (-4, -2, 2, 4)]
        for one, other in pairwise(around):
            if one and other and one.spec.span == other.spec.span == 2 and one.spec.type == other.spec.type:
                yield point, one.spec.type
                break

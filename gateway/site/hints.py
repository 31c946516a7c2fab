"""A capture that does not decode to what it means: which one change of the point would make it. Pure.

Tries what people get wrong, one or two things at a time: function, address by one or by the manual's prefix, word and
byte order, sign and width, scale; in serial frames the offset by a few bytes. Says nothing where none of them gives the
value, nor of a 0, which too much would give.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from gateway.site.faults import NOTHING, Both
from gateway.site.profile import Capture, DeviceProfile, ProfilePoint, driver_points
from protocols.modbus.points import Register
from protocols.serial.points import Field

CLOSE = 1e-6
SCALES = (0.1, 0.01, 0.001, 0.0001, 1.0, 10.0, 100.0, 1000.0)
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
TYPES = ("uint16", "int16", "uint32", "int32", "float32", "bcd16", "bcd32", "uint64", "int64", "float64", "mod10k32",
         "mod10k64")  # fmt: skip
PREFIXES = (40001, 30001, 10001)


def hint(profile: DeviceProfile, name: str, capture: Capture, want: float) -> Both:
    """`; order = "CDAB" would give it`, or nothing."""
    point = next((one for one in profile.points if one.name == name), None)
    if point is None or want == 0 or not isinstance(point.spec, (Register, Field)):
        return NOTHING
    for words, other in _changes(point) if isinstance(point.spec, Register) else _in_frame(point, profile):
        if _gives(profile, other, capture, want):
            return Both(f"; {words} would give it", f". {words}(이)면 맞습니다")
    return NOTHING


def _gives(profile: DeviceProfile, point: ProfilePoint, capture: Capture, want: float) -> bool:
    points = driver_points({0: point}, profile.as_device())
    try:
        got = profile.driver.decode(points, bytes.fromhex(capture.request), bytes.fromhex(capture.reply))
    except ValueError:
        return False
    return math.isclose(got.get(point.name, math.nan), want, rel_tol=CLOSE, abs_tol=1e-9)


def _changes(point: ProfilePoint) -> Iterator[tuple[str, ProfilePoint]]:
    """The nearest mistakes first: those of one key, then a type with its order, then an address with them."""
    spec: Register = point.spec
    is_part = spec.bit is not None or spec.mask is not None  # of one register: its type is settled
    types = () if is_part else tuple(kind for kind in TYPES if kind != spec.type)
    one_key = [
        *(("order", order) for order in ORDERS if order != spec.order),
        *(("function", function) for function in (3, 4, 1, 2) if function != spec.function),
        *(("address", address) for address in _addresses(spec.address)),
        *(("type", kind) for kind in types),
        *(("scale_factor", address) for address in _addresses(spec.scale_factor or 0) if spec.scale_factor is not None),
    ]
    if spec.is_coil:
        one_key = [(key, value) for key, value in one_key if key in ("function", "address")]
    for key, value in one_key:
        yield _said(key, value), _with(point, **{key: value})
    for scale in SCALES:
        if scale != point.scale:
            yield f"scale = {scale:g}", replace(point, scale=scale)
    if point.offset:
        yield f"offset = {-point.offset:g}", replace(point, offset=-point.offset)
    if spec.is_coil:
        return
    for kind in types:
        for order in ORDERS[1:]:
            yield f'type = "{kind}" and order = "{order}"', _with(point, type=kind, order=order)
    for address in _addresses(spec.address):
        for order in ORDERS:
            yield f'address = {address} and order = "{order}"', _with(point, address=address, order=order)
        for kind in types:
            yield f'address = {address} and type = "{kind}"', _with(point, address=address, type=kind)
    for scale in SCALES:
        for kind in types:
            yield f'type = "{kind}" and scale = {scale:g}', replace(_with(point, type=kind), scale=scale)


def _in_frame(point: ProfilePoint, profile: DeviceProfile) -> Iterator[tuple[str, ProfilePoint]]:
    """The same for a value in a serial frame or line."""
    spec: Field = point.spec
    other = "little" if spec.order == "big" else "big"
    yield _said("order", other), _with(point, order=other)
    places = (("offset", spec.offset, math.inf), ("field", spec.field, profile.options.fields or 0))
    for step in (1, -1, 2, -2, 3, -3, 4, -4):
        for key, said, end in places:
            if said is not None and 0 <= said + step < end:
                yield _said(key, said + step), _with(point, **{key: said + step})
    for scale in SCALES:
        if scale != point.scale:
            yield f"scale = {scale:g}", replace(point, scale=scale)
    for kind in ("uint8", "int8", "uint16", "int16", "uint24", "uint32", "int32", "float32"):
        if kind != spec.type:
            yield _said("type", kind), _with(point, type=kind)


def _addresses(said: int) -> list[int]:
    near = [said - 1, said + 1, *(said - prefix for prefix in PREFIXES), said - 2, said + 2]
    return [address for address in near if 0 <= address <= 0xFFFF]


def _said(key: str, value: str | int) -> str:
    return f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"


def _with(point: ProfilePoint, **changed: object) -> ProfilePoint:
    return replace(point, spec=replace(point.spec, **changed))

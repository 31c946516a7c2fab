"""What an importer finds in another system's file: devices with points and a way to them, and what stays behind.

Data only: plain words of profile keys. Names are still the other system's; writer.py makes them valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.site.faults import Both
from gateway.site.units import UNITS, spelled
from gateway.spool.trouble import Trouble

BITS = {"uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "uint32": 32, "int32": 32, "uint64": 64, "int64": 64}
TURNED = {"ABCD": "CDAB", "CDAB": "ABCD", "BADC": "DCBA", "DCBA": "BADC"}  # the same bytes, words the other way round


@dataclass(frozen=True, slots=True)
class Left:
    """Something that did not carry over. `where`: a path in the file; `what`: as it stands there."""

    where: str
    what: str
    why: Both


@dataclass(slots=True)
class Found:
    """One value. `keys` are those of a point in a profile, the driver's included, less `name`."""

    name: str
    where: str
    keys: dict[str, Any]
    comment: str = ""


@dataclass(slots=True)
class FoundDevice:
    """One device. `line` is the profile's `[link]`, `options` its `[modbus]` or `[coap]`; `url` "" where the file does
    not say how it is reached."""

    vendor: str
    model: str
    label: str
    protocol: str
    where: str
    points: list[Found] = field(default_factory=list)
    line: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    period_s: float = 0.0
    url: str = ""
    unit: int = 1
    timeout_s: float = 0.0
    caveats: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Imported:
    """All that one file gives."""

    format: str
    devices: list[FoundDevice] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def leave(self, where: str, what: object, why: Both) -> None:
        self.left.append(Left(where, str(what)[:120], why))


Importer = Callable[[Any], Imported]


class Unusable(Trouble):
    """CG-517x: nothing of the file can be imported."""


def number(value: object) -> float | int | None:
    """A finite number as it stands or in quotes ("0x10", "0.1"); None for all else, true and false included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        value = _parsed(value.strip())
    if value is None or isinstance(value, int):
        return None if value is None or abs(value) > 2**64 else value
    return value if math.isfinite(value) else None


def _parsed(text: str) -> float | int | None:
    for read in (lambda: int(text, 0), lambda: int(text), lambda: float(text)):
        try:
            return read()
        except ValueError:
            continue
    return None


def whole(value: object) -> int | None:
    """The same where it is a whole number."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def yes(value: object) -> bool:
    """true, and "true" or "yes" in quotes."""
    return value is True or (isinstance(value, str) and value.strip().lower() in ("true", "yes", "on", "1"))


def text(value: object) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


def table(value: object) -> dict[str, Any]:
    return {str(key): one for key, one in value.items()} if isinstance(value, dict) else {}


def tables(value: object) -> list[dict[str, Any]]:
    """The tables of a list; one table alone counts as a list of one."""
    found = value if isinstance(value, list) else [value]
    return [table(one) for one in found if isinstance(one, dict)]


_UNITS = {
    "celsius": "Cel", "degreecelsius": "Cel", "degree_celsius": "Cel", "degreescelsius": "Cel",
    "deg_c": "Cel", "kelvin": "K", "volt": "V", "volts": "V",
    "ampere": "A", "amps": "A", "amp": "A", "watt": "W", "watts": "W", "kilowatt": "kW", "kilowatthour": "kWh",
    "hertz": "Hz", "bars": "bar", "pascal": "Pa", "second": "s", "seconds": "s", "sec": "s", "minutes": "min",
    "hours": "h", "hour": "h", "hr": "h", "lux": "lx", "metre": "m", "meter": "m", "millimeter": "mm", "litre": "l",
    "liter": "l", "ohm": "Ohm", "kvarh": "kvarh", "kvar": "kvar", "ppm": "ppm", "lpm": "l/min", "m3h": "m3/h",
    "%": "/100", "percent": "/100", "degc": "Cel", "°c": "Cel", "c": "Cel", "m³": "m3", "l/m": "l/min", "var": "var",
    "kmh": "km/h", "ug/m³": "ug/m3", "µg/m³": "ug/m3", "w/m²": "W/m2", "dbm": "dBm", "rpm": "1/min",
}  # fmt: skip


def unit_of(said: object) -> str | None:
    """The SenML name of a unit as others write it; None where there is none. "%" of others is per cent."""
    name = text(said)
    if not name or name in ("none", "None", "N/A", "-"):
        return ""
    plain = name.rsplit(":", 1)[-1].rsplit("/", 1)[-1] if "://" in name or name.startswith(("om", "qudt")) else name
    known = _UNITS.get("".join(plain.casefold().split()))
    if known:
        return known
    if plain in UNITS:
        return plain
    return spelled(plain) or None

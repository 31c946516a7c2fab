"""Units a profile may name: the SenML registry's own, its secondary units, and a few the field uses besides. Data.

A unit outside the registry must be converted for a SenML pack: base value = value * factor + offset.
Secondary units may be sent as they are only in packs that say `bver` 26 (RFC 8798, RFC 9100).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple


class Unit(NamedTuple):
    """`name` in the unit `base` of the main registry: base value = value * factor + offset."""

    name: str
    base: str
    factor: float
    offset: float
    source: str  # where the name is registered; FIELD for none


FIELD = "not registered"
NO_UNIT = ""  # codes, bits and words of flags

# RFC 8428, section 12.1, and later entries of the IANA registry "SenML Units"
REGISTERED = {
    "RFC 8428": (
        "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s "
        "l/s W/m2 cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m"
    ),
    "RFC 8798": "B VA VAs var vars J/m kg/m3 deg",
    "ISO 7027-1:2016": "NTU",
}

# IANA registry "Secondary Units": RFC 8798, section 3, and those OMA's and CoRE's experts added
_SECONDARY: tuple[tuple[str, str, float, float, str], ...] = (
    ("ms", "s", 1e-3, 0, "RFC 8798"),
    ("min", "s", 60, 0, "RFC 8798"),
    ("h", "s", 3600, 0, "RFC 8798"),
    ("MHz", "Hz", 1e6, 0, "RFC 8798"),
    ("kW", "W", 1e3, 0, "RFC 8798"),
    ("kVA", "VA", 1e3, 0, "RFC 8798"),
    ("kvar", "var", 1e3, 0, "RFC 8798"),
    ("Ah", "C", 3600, 0, "RFC 8798"),
    ("Wh", "J", 3600, 0, "RFC 8798"),
    ("kWh", "J", 3.6e6, 0, "RFC 8798"),
    ("varh", "vars", 3600, 0, "RFC 8798"),
    ("kvarh", "vars", 3.6e6, 0, "RFC 8798"),
    ("kVAh", "VAs", 3.6e6, 0, "RFC 8798"),
    ("Wh/km", "J/m", 3.6, 0, "RFC 8798"),
    ("KiB", "B", 1024, 0, "RFC 8798"),
    ("GB", "B", 1e9, 0, "RFC 8798"),
    ("Mbit/s", "bit/s", 1e6, 0, "RFC 8798"),
    ("B/s", "bit/s", 8, 0, "RFC 8798"),
    ("MB/s", "bit/s", 8e6, 0, "RFC 8798"),
    ("mV", "V", 1e-3, 0, "RFC 8798"),
    ("mA", "A", 1e-3, 0, "RFC 8798"),
    ("dBm", "dBW", 1, -30, "RFC 8798"),
    ("ug/m3", "kg/m3", 1e-9, 0, "RFC 8798"),
    ("mm/h", "m/s", 1 / 3.6e6, 0, "RFC 8798"),
    ("m/h", "m/s", 1 / 3600, 0, "RFC 8798"),
    ("ppm", "/", 1e-6, 0, "RFC 8798"),
    ("/100", "/", 1e-2, 0, "RFC 8798"),
    ("/1000", "/", 1e-3, 0, "RFC 8798"),
    ("hPa", "Pa", 100, 0, "RFC 8798"),
    ("mm", "m", 1e-3, 0, "RFC 8798"),
    ("cm", "m", 1e-2, 0, "RFC 8798"),
    ("km", "m", 1e3, 0, "RFC 8798"),
    ("km/h", "m/s", 1 / 3.6, 0, "RFC 8798"),
    ("ppb", "/", 1e-9, 0, "CoRE-1"),
    ("ppt", "/", 1e-12, 0, "CoRE-1"),
    ("VAh", "VAs", 3600, 0, "CoRE-1"),
    ("mg/l", "kg/m3", 1e-3, 0, "CoRE-1"),
    ("ug/l", "kg/m3", 1e-6, 0, "CoRE-1"),
    ("g/l", "kg/m3", 1, 0, "CoRE-1"),
)

# Units on the displays of field devices that no registry has: kept as shown, converted for the pack
_FIELD: tuple[tuple[str, str, float, float, str], ...] = (
    ("m3/h", "m3/s", 1 / 3600, 0, FIELD),
    ("l/min", "m3/s", 1 / 60000, 0, FIELD),
    ("l/h", "m3/s", 1 / 3.6e6, 0, FIELD),
    ("bar", "Pa", 1e5, 0, FIELD),
    ("mbar", "Pa", 100, 0, FIELD),
    ("kPa", "Pa", 1e3, 0, FIELD),
    ("MPa", "Pa", 1e6, 0, FIELD),
    ("uA", "A", 1e-6, 0, FIELD),
    ("uS/cm", "S/m", 1e-4, 0, FIELD),
)

UNITS: dict[str, Unit] = {
    name: Unit(name, name, 1.0, 0.0, source) for source, names in REGISTERED.items() for name in names.split()
}
UNITS |= {row[0]: Unit(*row) for row in _SECONDARY + _FIELD}


# What labels and manuals print, folded by `spelled`
_SPELLINGS = {
    "°c": "Cel",
    "degc": "Cel",
    "celsius": "Cel",
    "°": "deg",
    "ω": "Ohm",
    "cmh": "m3/h",
    "lpm": "l/min",
    "lps": "l/s",
    "rh": "%RH",
    "%rh": "%RH",
    "%r.h.": "%RH",
    "percent": "/100",
    "pct": "/100",
    "pcs": "count",
}


def spelled(name: str) -> str:
    """The unit meant by a label's spelling of it ("℃", "m³/h", "µg/m³"); "" where that is not plain."""
    plain = unicodedata.normalize("NFKC", name).replace("μ", "u").replace("^", "").replace(" ", "")
    return next((unit for unit in (_SPELLINGS.get(plain.lower(), ""), plain) if unit in UNITS and unit != name), "")


# Units of the registry that measure one thing: value in the first * factor + offset = value in the second
_SAME: tuple[tuple[str, str, float, float], ...] = (
    ("K", "Cel", 1.0, -273.15),
    ("g", "kg", 1e-3, 0.0),
    ("l", "m3", 1e-3, 0.0),
    ("l/s", "m3/s", 1e-3, 0.0),
    ("1/min", "1/s", 1 / 60, 0.0),
    ("%", "/", 1.0, 0.0),  # "%" of RFC 8428 is a ratio
    ("count", "/", 1.0, 0.0),
)


@cache
def conversions(unit: str) -> Mapping[str, tuple[float, float]]:
    """(factor, offset) from every unit that measures the same: value in `unit` = value * factor + offset. A code
    (unit "") takes ratios and counts as they are."""
    if unit == NO_UNIT:
        return {"/": (1.0, 0.0), "count": (1.0, 0.0)}
    if unit not in UNITS:
        return {}
    ours = UNITS[unit]
    ways = {ours.base: (1.0, 0.0)}  # from a base to ours
    for first, second, factor, offset in _SAME:
        if second == ours.base:
            ways[first] = (factor, offset)
        elif first == ours.base:
            ways[second] = (1 / factor, -offset / factor)
    return {
        name: (
            theirs.factor * ways[theirs.base][0] / ours.factor,
            (theirs.offset * ways[theirs.base][0] + ways[theirs.base][1] - ours.offset) / ours.factor,
        )
        for name, theirs in UNITS.items()
        if theirs.base in ways
    }


def is_known(name: str) -> bool:
    return name == NO_UNIT or name in UNITS


def is_secondary(name: str) -> bool:
    """Registered, but only for packs with `bver` 26."""
    return name in UNITS and UNITS[name].base != name and UNITS[name].source != FIELD

"""What a simulated device shows where nobody says: a value for every point of a profile, as it might be. Seeded.

In: a profile's points. Out: values that the encoding can carry and the profile believes in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping

from gateway.site.plan import Kind
from gateway.site.profile import DeviceProfile, Probe, ProfilePoint
from gateway.site.reach import reach

USUAL = (0.5, 100.0)  # where a profile gives no range
COUNTED = (10.0, 50_000.0)


def values_of(profile: DeviceProfile, given: Mapping[str, float] | None = None, seed: int = 1) -> dict[str, float]:
    """A value for every point that is read: `given`, then what the probes ask for, then something believable."""
    chance = random.Random(seed)
    wanted = {probe.point: probe.equals[0] for probe in profile.probes if probe.point and probe.equals}
    return {
        point.name: {**wanted, **(given or {})}.get(point.name, _believable(point, chance))
        for point in profile.points
        if point.spec is not None
    }


def texts_of(probes: Iterable[Probe]) -> dict[str, str]:
    """What the device must say of itself for its own probes to know it."""
    return {probe.identity: example(probe.matches) for probe in probes if probe.identity}


def example(pattern: str) -> str:
    """A text that a simple pattern matches: its first branch, without anchors, a letter or a digit for each class."""
    text = re.sub(r"\(\?[a-z]+\)", "", pattern.split("|")[0])
    for old, new in ((r"\\d|\[0-9\]", "1"), (r"\\w|\[A-Za-z\]|\[A-Z\]", "A"), (r"\\s", " "), (r"\[(.)[^\]]*\]", r"\1")):
        text = re.sub(old, new, text)
    text = re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[()^$?]|(?<!\\)\.?[*+]|\{\d+(,\d*)?\}", "", text))
    return text if re.search(pattern, text) else ""


def _believable(point: ProfilePoint, chance: random.Random) -> float:
    if point.words:
        return float(chance.choice(point.words)[0])
    low, high = COUNTED if point.kind is Kind.COUNTER else USUAL
    span = reach(point.spec)
    if span is not None and (span.least, span.most) == (0, 1):
        return float(chance.randrange(2))
    if point.low > float("-inf") and point.high < float("inf"):
        middle, half = (point.low + point.high) / 2, (point.high - point.low) / 2
        low, high = middle - 0.8 * half, middle + 0.8 * half
    if span is not None:
        ends = sorted((span.least * point.scale + point.offset, span.most * point.scale + point.offset))
        low, high = max(low, ends[0]), min(high, ends[1])
    low, high = max(low, point.low), min(high, point.high)
    return chance.uniform(low, high) if low < high else low

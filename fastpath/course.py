"""The usual course of the day and the week: time in, the value this channel usually has then out.

Twenty-four hourly levels, joined by straight lines, and twenty-one offsets for the eight-hour parts of a week. Each is
learnt once a visit from the mean over it, so the rate of readings does not matter. Times are UTC: what repeats with the
local day repeats with the UTC day, but for the hour that summer time moves, which is learnt anew.
"""

from __future__ import annotations

import math

from fastpath.columns import F8
from fastpath.habit import SCALE
from fastpath.jit import inner
from fastpath.spike import END

HOUR, HOUR_SUM, HOUR_HELD, VISITS, PART, PART_SUM, PART_HELD, READ = range(END, END + 8)
LEVELS = END + 8
OFFSETS = LEVELS + 24
COLUMNS = OFFSETS + 21

HOUR_S = 3600.0
PART_S = 28800.0
DAY_MEMORY = 1.0 / 8.0  # of a level, a visit
WEEK_MEMORY = 1.0 / 4.0
CLIP = 8.0
ENOUGH = 48  # hours visited before the first verdict


@inner
def begin(d: F8, c: int, now_s: float, x: float) -> None:
    for k in range(24):
        d[c, LEVELS + k] = x
    d[c, HOUR] = math.floor(now_s / HOUR_S)
    d[c, PART] = math.floor(now_s / PART_S)
    d[c, READ] = x


@inner
def usual(d: F8, c: int, now_s: float) -> float:
    """The value expected at `now_s` (seconds UTC), less what the level around it has moved since."""
    place = now_s / HOUR_S - 0.5
    hour = math.floor(place)
    share = place - hour
    here = d[c, LEVELS + int(hour % 24.0)]
    there = d[c, LEVELS + int((hour + 1.0) % 24.0)]
    return float(here + share * (there - here) + d[c, OFFSETS + int(math.floor(now_s / PART_S) % 21.0)])


@inner
def learn(d: F8, c: int, now_s: float, x: float) -> None:
    """Take x; an hour or a part of the week that is over is taken into the course."""
    d[c, READ] = x
    hour = math.floor(now_s / HOUR_S)
    if hour != d[c, HOUR]:
        if d[c, HOUR_HELD] > 0.0:
            place = LEVELS + int(d[c, HOUR] % 24.0)
            d[c, VISITS] += 1.0
            laps = math.floor((d[c, VISITS] - 1.0) / 24.0)
            off = d[c, HOUR_SUM] / d[c, HOUR_HELD] - d[c, place]
            if laps >= 2.0:
                off = min(max(off, -CLIP * d[c, SCALE]), CLIP * d[c, SCALE])
            d[c, place] += max(DAY_MEMORY, 1.0 / (laps + 1.0)) * off
        d[c, HOUR] = hour
        d[c, HOUR_SUM] = 0.0
        d[c, HOUR_HELD] = 0.0
    part = math.floor(now_s / PART_S)
    if part != d[c, PART]:
        if d[c, PART_HELD] > 0.0 and d[c, VISITS] >= ENOUGH:
            place = OFFSETS + int(d[c, PART] % 21.0)
            off = d[c, PART_SUM] / d[c, PART_HELD] - d[c, place]
            off = min(max(off, -CLIP * d[c, SCALE]), CLIP * d[c, SCALE])
            d[c, place] += WEEK_MEMORY * off
        d[c, PART] = part
        d[c, PART_SUM] = 0.0
        d[c, PART_HELD] = 0.0
    offset = d[c, OFFSETS + int(part % 21.0)]
    d[c, HOUR_SUM] += x - offset
    d[c, HOUR_HELD] += 1.0
    d[c, PART_SUM] += x - usual(d, c, now_s) + offset
    d[c, PART_HELD] += 1.0

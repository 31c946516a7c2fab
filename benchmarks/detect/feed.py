"""Recorded rows through the production judge. In: a site and its profiles as TOML, rows in order. Out: verdicts.

The site is compiled as any other; nothing is ever connected. What a benchmark knows of its data set it must say in
the site or a profile, as a technician would.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.field.judge import Judge, Verdict
from gateway.site.compile import load_plan
from gateway.site.plan import Plan
from protocols.api import Batch, Quality


def compiled(site: str, profiles: Mapping[str, str]) -> Plan:
    """`profiles`: `family/vendor-model` -> TOML. The site's [gateway] must name `profiles = ["profiles"]`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in profiles.items():
            path = Path(folder, "profiles", f"{name}.toml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        file = Path(folder, "site.toml")
        file.write_text(site, encoding="utf-8")
        return load_plan(file)


Alarm = tuple[int, str, str]  # row at which it was known, kind, subject


class Feed:
    """A judge over `plan` that is given columns row by row. `columns` are channel names; times are UTC ns."""

    def __init__(self, plan: Plan, columns: Sequence[str], start_ns: int) -> None:
        rows = {channel.name: channel.index for channel in plan.channels}
        self.plan = plan
        self.judge = Judge(plan, start_ns, 0, [])
        self._channel = np.array([rows[name] for name in columns], np.int32)

    def row(self, time_ns: int, values: NDArray[np.float64]) -> Verdict:
        """f64[columns] read at `time_ns`; NaN is a device that did not answer."""
        missing = ~np.isfinite(values)
        quality = np.where(missing, int(Quality.NO_REPLY), int(Quality.GOOD)).astype(np.uint8)
        times = np.full(len(values), time_ns, np.int64)
        return self.judge.push(Batch(self._channel, times, values.astype(np.float64), quality))


def judged_and_written(
    judged: Callable[[int | None], list[Alarm]], rows: int, out: Path, header: tuple[str, str, str]
) -> tuple[list[Alarm], dict[str, Any]]:
    """The alarms of a whole set, written to `out`, and what is told of them. `judged(rows)` runs a set up to that row;
    its first half is run once more by itself, to show that nothing later changes what was said earlier."""
    begun = time.perf_counter()
    alarms = judged(None)
    seconds = time.perf_counter() - begun
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(alarms)
    figures: dict[str, Any] = {
        "rows": rows,
        "seconds": round(seconds, 3),
        "alarms": len(alarms),
        "prefix_unchanged": judged(rows // 2) == [alarm for alarm in alarms if alarm[0] < rows // 2],
    }
    return alarms, figures


def told(figures: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The table for people, unless JSON is asked for."""
    if not args.json:
        for name, figure in figures.items():
            print(f"{name:18} {figure}")
    return figures


def utc_ns(text: str) -> int:
    """`2024-03-10T00:00:00Z` in ns since 1970; a time without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000

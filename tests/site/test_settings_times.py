"""Times in a site file: TOML's own or text, always with their offset where they are moments."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from gateway.site.site import parse_site

SITE = """schema = 1
[gateway]
id = "g"
[services.streetlight]
planned_work = [{{ start = {start}, end = 2024-10-11T20:30:00+09:00 }}]
dim_schedule = [{{ start = {hour}, end = "05:00", level = 50 }}]
"""


def written(folder: Path, start: str, hour: str) -> Path:
    path = folder / "site.toml"
    path.write_text(SITE.format(start=start, hour=hour), encoding="utf-8")
    return path


@pytest.mark.parametrize("start", ["2024-10-11T09:30:00Z", '"2024-10-11T09:30:00Z"', "2024-10-11T18:30:00+09:00"])
@pytest.mark.parametrize("hour", ["22:30:00", '"22:30"'])
def test_times_are_taken_as_toml_has_them_and_as_text(tmp_path: Path, start: str, hour: str) -> None:
    site, _ = parse_site(written(tmp_path, start, hour))
    assert site is not None
    [work], [step] = site.services.streetlight.planned_work, site.services.streetlight.dim_schedule
    assert work.start == datetime(2024, 10, 11, 9, 30, tzinfo=UTC)
    assert work.end == datetime(2024, 10, 11, 11, 30, tzinfo=UTC)
    assert step.start == time(22, 30)


@pytest.mark.parametrize(
    ("start", "hour", "where"),
    [
        ("2024-10-11T09:30:00", '"22:30"', "planned_work"),  # whose time would that be?
        ('"tomorrow"', '"22:30"', "planned_work"),
        ("2024-10-11", '"22:30"', "planned_work"),
        ("2024-10-11T09:30:00Z", '"half past ten"', "dim_schedule"),
        ("2024-10-11T09:30:00Z", "2230", "dim_schedule"),
    ],
)
def test_what_is_no_time_is_a_fault_at_its_line(tmp_path: Path, start: str, hour: str, where: str) -> None:
    site, faults = parse_site(written(tmp_path, start, hour))
    assert site is None
    assert any(where in fault.where and fault.line in (5, 6) for fault in faults)

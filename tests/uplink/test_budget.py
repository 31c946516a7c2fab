"""What a month's bytes allow: counting over restarts, forecasting, steps, months and clocks that are wrong."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.uplink.budget import Budget, Step, file_of, trusted_local

MB = 1_000_000
DAY = 86_400.0


@dataclass
class Clocks:
    """`at_s`: both the even clock and, while `good`, what the wall shows."""

    at_s: float
    good: bool = True

    def even(self) -> float:
        return self.at_s

    def local(self) -> time.struct_time | None:
        return time.localtime(self.at_s) if self.good else None


def first_of(month: int, *, year: int = 2026, day: int = 1) -> float:
    return time.mktime((year, month, day, 0, 0, 0, 0, 1, -1))


def opened(folder: Path, clocks: Clocks, monthly_mb: float = 10.0) -> Budget:
    return Budget(folder, "city", monthly_mb, local=clocks.local, even=clocks.even)


def go_on(budget: Budget, clocks: Clocks, hours: float, bytes_a_day: float) -> list[Step]:
    """Steps taken, while so much is sent."""
    taken = []
    for _ in range(int(hours * 6)):
        clocks.at_s += 600
        budget.carried(round(bytes_a_day / 144))
        if budget.look():
            taken.append(budget.step)
    return taken


def test_the_count_survives_a_stop_exactly_and_a_kill_never_too_low(tmp_path: Path) -> None:
    clocks = Clocks(first_of(6))
    budget = opened(tmp_path, clocks)
    budget.carried(123_456)
    budget.close()
    again = opened(tmp_path, clocks)
    assert again.used == 123_456
    for _ in range(50):
        again.carried(1_000)
    after_kill = opened(tmp_path, clocks)  # `again` was never closed
    assert 173_456 <= after_kill.used <= 173_456 + 10_000


def test_a_count_that_cannot_be_read_begins_anew_and_one_that_cannot_be_written_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / file_of("city")).write_text("{")
    budget = opened(tmp_path / "gone", Clocks(first_of(6)))
    budget.carried(5 * MB)
    budget.carried(4 * MB)
    assert budget.used == 9 * MB
    assert caplog.text.count("CG-4120") == 1
    assert opened(tmp_path, Clocks(first_of(6))).used == 0


def test_what_fits_is_sent_whole(tmp_path: Path) -> None:
    clocks = Clocks(first_of(6))
    budget = opened(tmp_path, clocks)
    assert go_on(budget, clocks, 48, 0.2 * MB) == []
    forecast = budget.forecast()
    assert forecast is not None
    assert forecast == pytest.approx(30 * 0.2 * MB, rel=0.03)


def test_too_much_tightens_step_by_step_and_the_budget_is_kept(tmp_path: Path) -> None:
    """Each step really saves what its rate says; alarms alone take 20 kB a day."""
    clocks = Clocks(first_of(6))
    budget = opened(tmp_path, clocks)
    rates = {Step.FULL: 3.0, Step.HISTORY: 3.0, Step.MINUTES: 0.6, Step.HOURS: 0.15, Step.ALARMS: 0.02}
    seen = []
    for _ in range(30 * 24 - 2):
        if taken := go_on(budget, clocks, 1, rates[budget.step] * MB):
            seen += taken
    assert seen[:2] == [Step.HISTORY, Step.MINUTES]
    assert Step.HOURS in seen
    assert budget.used <= 10 * MB
    assert budget.used >= 7 * MB  # not spared for nothing


def test_a_milder_step_comes_back_when_it_fits(tmp_path: Path) -> None:
    clocks = Clocks(first_of(6))
    budget = opened(tmp_path, clocks)
    busy = {Step.FULL: 2.0, Step.HISTORY: 2.0, Step.MINUTES: 0.5, Step.HOURS: 0.15, Step.ALARMS: 0.02}
    for _ in range(24):
        go_on(budget, clocks, 0.5, busy[budget.step] * MB)
    assert budget.step >= Step.MINUTES
    for _ in range(12 * 24):
        go_on(budget, clocks, 1, busy[budget.step] / 20 * MB)
    assert budget.step <= Step.HISTORY


def test_a_backlog_may_not_eat_the_month(tmp_path: Path) -> None:
    clocks = Clocks(first_of(6))
    budget = opened(tmp_path, clocks)
    go_on(budget, clocks, 24, 0.1 * MB)
    budget.carried(2 * MB, live=False)
    clocks.at_s += 10
    assert budget.look()
    assert budget.step is Step.HISTORY
    assert go_on(budget, clocks, 24, 0.1 * MB) == []  # the rate is what it was: nothing more is left out
    assert go_on(budget, clocks, 9 * 24, 0.1 * MB) == [Step.FULL]  # the calendar has caught up


def test_the_end_of_the_budget_leaves_alarms_until_the_month_ends(tmp_path: Path) -> None:
    clocks = Clocks(first_of(6, day=29))
    budget = opened(tmp_path, clocks)
    budget.carried(int(9.9 * MB))
    clocks.at_s += 10
    assert budget.look()
    assert budget.step is Step.ALARMS
    budget.close()
    again = opened(tmp_path, clocks)
    assert again.step is Step.ALARMS
    clocks.at_s = first_of(7) + 5
    assert again.look()
    assert (again.step, again.month) == (Step.FULL, "2026-07")
    assert again.used == 0


def test_a_clock_that_cannot_be_trusted_counts_and_never_resets(tmp_path: Path) -> None:
    clocks = Clocks(first_of(6, day=20))
    budget = opened(tmp_path, clocks)
    budget.carried(4 * MB)
    go_on(budget, clocks, 1, 0)
    clocks.good = False
    clocks.at_s += 40 * DAY
    assert not budget.look()
    assert budget.used == 4 * MB
    assert budget.forecast() is None
    budget.carried(6 * MB)
    clocks.at_s += 10
    assert budget.look()
    assert budget.step is Step.ALARMS  # the limit holds without a calendar


def test_a_clock_set_back_keeps_the_bytes(tmp_path: Path) -> None:
    clocks = Clocks(first_of(8))
    budget = opened(tmp_path, clocks)
    budget.carried(3 * MB)
    go_on(budget, clocks, 0.5, 0)
    earlier = Clocks(first_of(6))
    again = opened(tmp_path, earlier)
    again.used = max(again.used, 3 * MB)
    earlier.at_s += 10
    again.look()
    assert again.month == "2026-06"
    assert again.used >= 3 * MB


def test_local_time_is_trusted_with_a_good_clock_only() -> None:
    assert trusted_local(None, 0) is None
    assert trusted_local((0, 3_600 * 10**9), 0) is None
    seoul = trusted_local((0, 10**7), 1_780_239_600, "Asia/Seoul")
    assert seoul is not None
    assert (seoul.tm_mon, seoul.tm_mday, seoul.tm_hour) == (6, 1, 0)
    assert trusted_local((0, -1), 1_780_000_000) is None
    here = trusted_local((0, 10**7), 1_780_000_000)
    assert here is not None
    assert here[:6] == time.localtime(1_780_000_000)[:6]


def test_facts_say_step_use_and_forecast(tmp_path: Path) -> None:
    clocks = Clocks(first_of(6))
    budget = opened(tmp_path, clocks)
    assert "byte_budget_forecast_mb" not in budget.facts()
    go_on(budget, clocks, 6, 0.1 * MB)
    facts = budget.facts()
    assert facts["byte_budget"] == "byte budget: everything is sent"
    assert facts["byte_budget_mb"] == 10
    assert facts["byte_budget_forecast_mb"] == pytest.approx(3.0, rel=0.1)
    budget.close()
    assert json.loads((tmp_path / file_of("city")).read_text())["forecast"] == pytest.approx(3 * MB, rel=0.1)


@pytest.mark.parametrize(("month", "days"), [(1, 31), (2, 28), (6, 30), (12, 31)])
def test_months_are_as_long_as_they_are(tmp_path: Path, month: int, days: int) -> None:
    clocks = Clocks(first_of(month))
    budget = opened(tmp_path, clocks, 100.0)
    go_on(budget, clocks, 24, 1.0 * MB)
    forecast = budget.forecast()
    assert forecast is not None
    assert forecast == pytest.approx(days * MB, rel=0.02)

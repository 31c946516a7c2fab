"""What waits, counted without reading it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.site.upstream import Catalog
from gateway.spool.records import Health, Lane
from gateway.spool.spool import Spool
from gateway.spool.trouble import SpoolError
from gateway.spool.waits import waits


def test_counts_and_the_age_of_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool.open(path, role="writer", limit_mb=4)
    spool.clock_unset()
    spool.append(
        [("center", Health(at, {"ok": True})) for at in (50, 60)], catalog=spool.put_catalog(Catalog("gw", ()))
    )
    ((lane, one),) = waits(path).items()
    assert lane == ("center", Lane.DIAGNOSTIC)
    assert (one.records, one.oldest_utc_ns) == (2, None)
    spool.set_offset(1000, 1)
    assert waits(path)["center", Lane.DIAGNOSTIC].oldest_utc_ns == 1050
    spool.close()


def test_no_spool_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SpoolError):
        waits(tmp_path / "none.db")

"""Identification of devices simulated from the library's own profiles."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.bench_identify import first_right, library, played
from gateway.bench.identify import identify_modbus
from gateway.site.profile import DeviceProfile

PROFILES = library()
MODBUS = [profile for profile in PROFILES if profile.driver.name == "modbus"]


@pytest.mark.parametrize("profile", MODBUS, ids=lambda p: p.name)
def test_a_device_that_answers_its_whole_map_is_known(profile: DeviceProfile) -> None:
    line = (profile.link.baud or 9600, profile.link.parity or "N")
    fits = asyncio.run(identify_modbus(played(profile, seed=5), 1, PROFILES, line=line))
    assert fits
    assert first_right(fits, profile)


def test_a_device_that_refuses_everything_fits_nothing() -> None:
    from gateway.field.asking import Said
    from protocols.api import Quality

    async def ask(unit: int, pdu: bytes) -> Said:
        return Said(Quality.REFUSED, bytes((pdu[0] | 0x80, 2)))

    assert asyncio.run(identify_modbus(ask, 1, PROFILES)) == []

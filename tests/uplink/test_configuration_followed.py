"""The half that sends goes over to the configuration that the other half uses, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.site import generations
from gateway.site.generations import REVERTED, TRIAL, Record
from gateway.uplink import main


def test_another_one_in_use_is_read_again_and_an_edited_file_only_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, state = tmp_path / "site.toml", tmp_path / "state"
    site.write_text('[gateway]\nid = "cab"\n')
    base = generations.base_of(site)
    generations.put(state, 1, {"site.toml": b"# 1"})
    monkeypatch.setattr(main, "FOLLOW_S", 0.001)

    def edit() -> None:
        site.write_text('[gateway]\nid = "cab"\n# edited\n')

    async def work() -> None:
        reload = asyncio.Event()

        async def read_again() -> None:
            async with asyncio.timeout(5):
                await reload.wait()
            reload.clear()

        following = asyncio.create_task(main._follow(str(site), site, reload))
        generations.write(state, Record(state=TRIAL, candidate=1, last=1, base=base))
        await read_again()
        generations.write(state, Record(state=REVERTED, last=1, base=base))  # to the named file: nothing was kept yet
        await read_again()
        edit()
        generations.write(state, Record(state=TRIAL, candidate=1, last=1, base=base))
        await asyncio.sleep(0.03)
        assert not reload.is_set()
        following.cancel()

    asyncio.run(work())

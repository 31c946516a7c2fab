"""What the sending half says of its ways, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.spool import ways


def test_what_is_told_is_known_until_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = tmp_path / "spool.db"

    async def play() -> None:
        listener, teller = ways.Listener(spool), ways.Teller(spool)
        assert listener.ways() is None
        teller.tell({"a": {"state": "stored", "open": True, "heard_s": 1.0}, "b": {"state": "dead", "heard_s": None}})
        async with asyncio.timeout(5):
            while (known := listener.ways()) is None:
                await asyncio.sleep(0)
        assert known["a"]["heard_s"] == pytest.approx(1.0, abs=0.5)
        assert known["b"]["heard_s"] is None
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            for nonsense in (b"{", b"[]", b'{"a": 1}', b"\xff"):
                stranger.sendto(nonsense, ways.address(spool))
        await asyncio.sleep(0.01)
        assert listener.ways() is not None
        monkeypatch.setattr(ways, "OLD_S", 0.0)
        assert listener.ways() is None
        teller.close()
        listener.close()

    asyncio.run(play())


def test_nobody_listening_is_no_trouble(tmp_path: Path) -> None:
    teller = ways.Teller(tmp_path / "spool.db")
    teller.tell({"a": {}})
    teller.close()

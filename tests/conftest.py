"""What many tests need: a compiled plan from a few lines of TOML, and a loop whose clock runs only when all wait."""

from __future__ import annotations

import asyncio
import selectors
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from gateway.site.compile import load_plan
from gateway.site.plan import Plan

settings.register_profile("citygate", deadline=None)  # a slow machine is no failure
settings.load_profile("citygate")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)

HEAD = """
schema = 1
[gateway]
id = "cab-7"
name = { en = "Cabinet 7", ko = "7번 분전함" }
asset = "CAB-7"
zone = "z1"
latitude = 37.5
longitude = 127.0
window_s = 60
[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:5683"
insecure = true
"""


@pytest.fixture
def make_plan(tmp_path: Path) -> Callable[[str], Plan]:
    """Compile HEAD and the given links, devices and services."""

    def make(text: str) -> Plan:
        site = tmp_path / "site.toml"
        site.write_text(HEAD + text, encoding="utf-8")
        return load_plan(site)

    return make


class _Selector(selectors.SelectSelector):
    """Where every task waits for a timer, the clock jumps to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def time_ns(self) -> int:
        return round(self._virtual.now * 1e9)


@pytest.fixture
def run_virtually() -> Callable[[Callable[[VirtualLoop], Coroutine[Any, Any, Any]]], Any]:
    """Run a coroutine function, given its loop, on virtual time."""

    def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
        loop = VirtualLoop()
        try:
            return loop.run_until_complete(main(loop))
        finally:
            loop.close()

    return run

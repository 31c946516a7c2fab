"""The C programs beside these tests, compiled; where something is missing, every test fails with the apt line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from needs import advice

from tests.ports import free_port

HERE = Path(__file__).parent
FIRST_TERMINAL = 48


@pytest.fixture(scope="session", autouse=True)
def _peers_are_here() -> None:
    if text := advice():
        pytest.fail(text, pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def _terminals_of_our_own() -> Iterator[None]:
    """Numbers of pseudo terminals are used again at once, the lowest first: another gateway on this machine that still
    tries to open the one it lost would take bytes out of ours. Hold the low numbers, and tests get high ones."""
    held: list[int] = []
    while len(held) < 2 * FIRST_TERMINAL:
        held += os.openpty()
        if int(os.ttyname(held[-1]).rpartition("/")[2]) >= FIRST_TERMINAL:
            break
    yield
    for descriptor in held:
        os.close(descriptor)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """`modbus_server` or `modbus_reader` -> path of the program."""
    folder = tmp_path_factory.mktemp("bin")

    def program(name: str) -> str:
        out = folder / name
        if not out.exists():
            # libmodbus's own macros narrow integers without a cast
            flags = ["-Wall", "-Werror", "-Wno-overflow"]
            subprocess.run(["gcc", *flags, "-o", str(out), str(HERE / f"{name}.c"), "-lmodbus"], check=True)
        return str(out)

    return program


@pytest.fixture
def unused_port() -> int:
    return free_port()

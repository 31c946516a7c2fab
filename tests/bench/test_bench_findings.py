"""What the bench says fits a technician's terminal and names a next step in both languages."""

from __future__ import annotations

import re
import string
import subprocess
import sys

import pytest

from gateway.bench.findings import WORDS, columns, finding


@pytest.mark.parametrize("code", WORDS)
def test_every_finding_fits_80_columns_and_says_what_next(code: str) -> None:
    blanks = {name for words in WORDS[code] for _, name, _, _ in string.Formatter().parse(words) if name}
    found = finding(code, **dict.fromkeys(blanks, 7))
    lines = found.lines()
    assert all(columns(line) <= 80 for line in lines)
    assert lines[0].startswith(f"{code} ")
    assert found.next_en
    assert re.search("[가-힣]", found.ko)
    assert re.search("[가-힣]", found.next_ko)


def test_a_read_loads_nothing_heavy() -> None:
    """No numba, no screen, no radio: a technician waits for the device, not for Python."""
    code = (
        "import sys; from gateway.cli import main\n"
        "main(['read', '--profile', 'water/tuf-2000m', '--link', '/dev/none'])\n"
        "print([n for n in ('numba', 'scipy', 'rich', 'aiocoap', 'bleak', 'nats', 'fastpath') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_at_all() -> None:
    code = (
        "import sys; from gateway.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', [n for n in ('numpy', 'pydantic', 'asyncio', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"

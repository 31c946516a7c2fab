"""Where compiled kernels are kept, and that a place that cannot be written stops nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastpath import jit

ROOT = Path(__file__).parents[2]


def test_the_cache_has_the_name_of_its_sources(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    before = jit.sources_hash(tmp_path)
    (tmp_path / "a.py").write_text("x = 2")
    after = jit.sources_hash(tmp_path)
    (tmp_path / "b.txt").write_text("not a source")
    assert before != after == jit.sources_hash(tmp_path)


def test_the_base_is_the_operators_then_the_users(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/var/cache/citygate")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/kim/.cache")
    assert jit.cache_base() == Path("/var/cache/citygate")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert jit.cache_base() == Path("/home/kim/.cache/citygate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert jit.cache_base() == Path.home() / ".cache" / "citygate" / "numba"


def test_a_place_that_cannot_be_written_is_no_place(tmp_path):
    (tmp_path / "file").write_text("")
    assert jit.usable_cache(tmp_path / "file", "abc") is None
    assert jit.usable_cache(None, "abc") is None
    assert jit.usable_cache(tmp_path / "new", "abc") == tmp_path / "new" / "abc"


@pytest.mark.parametrize("disabled", ["0", "1"])
def test_kernels_run_without_a_cache(tmp_path, disabled):
    """In a process of its own: the choice is made at import."""
    (tmp_path / "file").write_text("")
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file"), "NUMBA_DISABLE_JIT": disabled}
    code = (
        "import numpy as np; from fastpath import jit, sketch; s = sketch.empty(1); "
        "print(jit.CACHE_DIR, sketch.quantiles(s, 0, np.ones(1)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["None", "[nan]"], done.stderr

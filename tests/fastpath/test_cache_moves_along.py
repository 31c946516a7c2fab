"""A release that lies elsewhere with the same kernels compiles nothing: the cache follows sources, not their path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

JIT = Path(__file__).parents[2] / "fastpath/jit.py"
KERNEL = """from fastpath.jit import kernel
@kernel
def twice(x):
    return x + x
"""
ASK = "from fastpath.k import twice; twice(1.5); print(sum(twice.stats.cache_hits.values()))"


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="nothing is compiled")
def test_the_same_kernels_elsewhere_are_found_in_the_cache(tmp_path: Path) -> None:
    hits = []
    for release in ("0.1.0", "0.2.0"):
        package = tmp_path / release / "fastpath"
        package.mkdir(parents=True)
        shutil.copy(JIT, package / "jit.py")
        (package / "__init__.py").write_text("")
        (package / "k.py").write_text(KERNEL)
        environ = {**os.environ, "PYTHONPATH": str(tmp_path / release), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=environ, cwd=tmp_path / release, capture_output=True, text=True, check=True
        )
        hits.append(int(done.stdout))
    assert hits == [0, 1]

"""Compile flags in, decorators out: the one place that knows how kernels are compiled and where they are
cached.

`kernel` marks what Python calls (compiled once, kept on disk); `inner` marks what only kernels call; `outlined` the
same for what few readings need, so that it does not swell the loop of the others (cold start 20 s -> 12 s). None
allows `nnan` or `ninf`: NaN means missing and must stay NaN.

numba does not notice when an inner function of another file changes under a cached kernel. So the cache
lives in a folder named after a hash of every source file here: `<base>/<hash>`, base being
$NUMBA_CACHE_DIR, else $XDG_CACHE_HOME/citygate, else ~/.cache/citygate/numba. Where the sources lie is no part
of it, so a release that is unpacked elsewhere with the same kernels compiles nothing. Where no such folder can be
written, kernels compile at every start instead of failing. Old folders are never removed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import UserProvidedCacheLocator

# Without reference counts: kernels allocate nothing, and counting whoever touches a column of a tuple costs more than
# the work done on it (window summary and gate: 240 ns a sample with, 60 without).
FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
INNER: dict[str, Any] = FLAGS | {"forceinline": True}  # of what every reading passes: called, it costs 50 ns more


def sources_hash(folder: Path) -> str:
    """One name for the present state of all Python files of `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_base() -> Path | None:
    """Where caches may live; None without a home."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "citygate"
    try:
        return Path.home() / ".cache" / "citygate" / "numba"
    except RuntimeError:
        return None


def usable_cache(base: Path | None, name: str) -> Path | None:
    """`base/name`, made if need be; None where nothing can be written."""
    if base is None:
        return None
    folder = base.absolute() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


class SourcesCache(UserProvidedCacheLocator):  # type: ignore[misc]  # numba ships no types
    """numba's cache in CACHE_DIR, under the package's name instead of a hash of the path that the package lies at."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        return Path(py_file).parent.name


CACHE_DIR = usable_cache(cache_base(), sources_hash(Path(__file__).parent))
if CACHE_DIR is not None:
    numba.config.CACHE_DIR = str(CACHE_DIR)
    numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.{SourcesCache.__name__}"


def kernel(function: Callable[..., Any]) -> Any:
    """Compile what Python calls. With NUMBA_DISABLE_JIT it runs as plain Python under the same rules of
    arithmetic."""
    if numba.config.DISABLE_JIT:
        return np.errstate(all="ignore")(function)
    return numba.njit(**FLAGS, cache=CACHE_DIR is not None)(function)


def inner(function: Callable[..., Any]) -> Any:
    """Compile what only kernels call; it becomes part of the kernel, so it has no cache of its own."""
    return numba.njit(**INNER)(function)


def outlined(function: Callable[..., Any]) -> Any:
    """Compile what only kernels call, and call it."""
    return numba.njit(**FLAGS)(function)

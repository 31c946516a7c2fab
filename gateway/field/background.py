"""Long work in a thread of its own, as a future of the running loop. A process may end before the work does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_threads: list[threading.Thread] = []


def in_background(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """The future of what `work` returns or raises."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def done(result: T | None, bad: BaseException | None) -> None:
        if future.cancelled():
            return
        if bad is not None:
            future.set_exception(bad)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, bad = None, None
        try:
            result = work()
        except BaseException as raised:
            bad = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(done, result, bad)

    thread = threading.Thread(target=run, name=name, daemon=True)
    _threads.append(thread)
    thread.start()
    return future


def leave(code: int) -> None:
    """End the process here where such work still runs: a compiler that is torn down under its own thread hangs. All
    that matters must be on disk."""
    if any(thread.is_alive() for thread in _threads):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

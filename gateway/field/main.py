"""`citygate field SITE.toml`: the whole field half as one process.

SIGHUP reads the site again and keeps the old one if anything is wrong with it; SIGTERM and Ctrl-C finish the readings
in flight, close the windows and commit.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from gateway.field.background import leave
from gateway.field.clock import process_start_ns
from gateway.field.configuration import Configuration
from gateway.field.field import TICK_S, Field
from gateway.field.ongoing import Ongoing
from gateway.notify import notify
from gateway.site.faults import Faults
from gateway.site.plan import Plan
from gateway.spool import tail
from gateway.spool.trouble import SpoolError

log = logging.getLogger("citygate.field")


def run(site: str, *, record: str | None = None) -> int:
    """The process: exit code 0 after a clean stop, 1 for a broken site, 2 for a spool that cannot be opened."""
    tail.keep()
    try:
        configuration = Configuration(site)
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    except SpoolError as refused:
        print(refused, file=sys.stderr)
        return 2
    try:
        asyncio.run(_serve(site, configuration, record))
    except SpoolError as refused:
        print(refused, file=sys.stderr)
        return 2
    leave(0)
    return 0


async def _serve(site: str, configuration: Configuration, record: str | None) -> None:
    loop = asyncio.get_running_loop()
    over, changed, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    configuration.changed = changed.set
    since_ns = process_start_ns()

    def end() -> None:
        """Of the process: a plan that ends for the next one is nothing that systemd may hear of."""
        notify("STOPPING=1")
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    reading = asyncio.create_task(_read_again(site, configuration, again), name="reload")
    writing = asyncio.create_task(configuration.write_again(), name="record")
    ongoing = Ongoing()
    before: Field | None = None
    plan = configuration.plan

    def following() -> Plan | None:
        """Links go on for this plan, whatever is asked for while the old one ends: that is the turn after it."""
        nonlocal plan
        changed.clear()
        plan = configuration.plan
        return None if over.is_set() else plan

    while not over.is_set():
        field = Field(plan, since_ns, record, ongoing=ongoing, before=before, errands=configuration.errands())
        stop = asyncio.Event()
        since_ns = 0
        field.following = following
        watcher = asyncio.create_task(_first_of((over, changed), stop))
        configuration.runs(field)
        judging = asyncio.create_task(_judge(configuration, field), name="probation")
        await field.run(stop)
        watcher.cancel()
        judging.cancel()
        before = field
    await ongoing.end()
    reading.cancel()
    writing.cancel()


async def _judge(configuration: Configuration, field: Field) -> None:
    """What is on trial is kept or taken back; a file that nobody has kept yet becomes a generation."""
    try:
        await asyncio.sleep(TICK_S)
        await configuration.adopt()
        await configuration.judge(field)
    except Exception:
        log.exception("the trial of a configuration has ended badly")


async def _read_again(site: str, configuration: Configuration, again: asyncio.Event) -> None:
    """SIGHUP."""
    while True:
        await again.wait()
        again.clear()
        notify("RELOADING=1")
        if await configuration.edited():
            log.info("configuration read again: %s", site)
            notify("READY=1\nSTATUS=polling")
        else:
            notify("READY=1\nSTATUS=polling; last reload refused")


async def _first_of(events: Sequence[asyncio.Event], stop: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
    finally:
        for wait in waits:
            wait.cancel()

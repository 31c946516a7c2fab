"""`citygate uplink SITE.toml`: a process that sends what the spool holds. SIGHUP reads the site again; a broken file
changes nothing. systemd's watchdog is fed while the loop lives and the spool answers. Logs to stderr, one line a change
of state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from gateway.notify import feed_every_s, notify
from gateway.site import generations
from gateway.site.faults import Faults
from gateway.site.site import Site, load_site
from gateway.spool import tail
from gateway.spool.spool import FILE
from gateway.spool.trouble import SpoolError, Trouble
from gateway.uplink.agent import Agent
from gateway.uplink.uplink import Uplink

FOLLOW_S = 0.5
SWITCH_S = 0.001  # an alarm must not wait 5 ms for the thread that reads the spool

log = logging.getLogger("citygate.uplink")


def run(site: str) -> int:
    """0 after a clean stop, 1 for a site file with faults, 2 where the spool or every upstream cannot be used."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    tail.keep()
    sys.setswitchinterval(SWITCH_S)
    try:
        used = generations.file_of(site)  # before it is read: another one since then is followed
        return asyncio.run(_serve(site, load_site(site), used))
    except Faults as bad:
        print(bad.text(), file=sys.stderr)
        return 1
    except Trouble as bad:
        print(bad, file=sys.stderr)
        return 2


async def _serve(path: str, site: Site, used: Path) -> int:
    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    uplink = Uplink(
        site.gateway.id,
        Path(site.state_dir) / FILE,
        limit_mb=site.gateway.spool_limit_mb,
        timezone=site.gateway.timezone,
    )
    feeding = loop.create_task(_feed(uplink), name="watchdog")
    following = loop.create_task(_follow(path, used, reload), name="configuration")
    agent = Agent(uplink)
    try:
        faults = await uplink.apply(site.upstreams)
        if faults and len(faults) == len(site.upstreams):
            return 2  # each was logged with its reason
        await asyncio.to_thread(generations.tell_sending, site.state_dir, generations.number_of(used))
        log.info("ready: sending to %s", ", ".join(u.name for u in site.upstreams) or "nobody")
        notify("READY=1\nSTATUS=sending")
        agent.begin(site)
        while not stop.is_set():
            await uplink.until(stop, reload)
            if reload.is_set():
                reload.clear()
                await _reload(uplink, agent, path)
    finally:
        notify("STOPPING=1")
        feeding.cancel()
        following.cancel()
        await agent.close()
        await uplink.close()
    log.info("stopped")
    return 0


async def _feed(uplink: Uplink) -> None:
    """A spool that refuses has answered too: no restart mends a disk. One that never answers ends in a kill."""
    every_s = feed_every_s(os.environ, os.getpid())
    while every_s is not None:
        with contextlib.suppress(SpoolError):  # told where records are read
            await uplink.look()
        notify("WATCHDOG=1")
        await asyncio.sleep(every_s)


async def _follow(path: str, used: Path, reload: asyncio.Event) -> None:
    """The half that polls decides which configuration is in use: read again when it is another."""
    state = generations.state_dir_of(path)
    mark = (0, 0)
    while state is not None:
        await asyncio.sleep(FOLLOW_S)
        with contextlib.suppress(OSError):
            found = (state / generations.FOLDER / generations.RECORD).stat()
            if mark == (now := (found.st_mtime_ns, found.st_ino)):  # two may be written within one tick of the clock
                continue
            mark = now
            file = await asyncio.to_thread(generations.file_of, path)
            if file != used and (file != Path(path) or not generations.read(state).in_use):
                used = file
                reload.set()


async def _reload(uplink: Uplink, agent: Agent, path: str) -> None:
    notify("RELOADING=1")
    used = await asyncio.to_thread(generations.file_of, path)
    try:
        site = await asyncio.to_thread(load_site, path)
    except Faults as bad:
        log.error("%s was not taken over, the old configuration goes on:\n%s", path, bad.text())
        notify("READY=1\nSTATUS=sending; last reload refused")
        return
    await agent.leave(site.upstreams)
    await uplink.apply(site.upstreams)
    await agent.apply(site)
    await asyncio.to_thread(generations.tell_sending, site.state_dir, generations.number_of(used))
    notify("READY=1\nSTATUS=sending")
    log.info("reloaded: sending to %s", ", ".join(u.name for u in site.upstreams) or "nobody")

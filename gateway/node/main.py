"""`citygate node CONFIG.toml`, the part that measures and serves: sensors in, CoAP out, firmware downloaded meanwhile.

It runs from the package or from a slot's image, started by `launcher.py`, which decides what runs. Ends with RESTART
where an update is to be tried, and with UNFIT where it is on trial and cannot do what its predecessor did.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import aiocoap

from gateway import VERSION
from gateway.node import boot, objects
from gateway.node.disk import Disk, no_folder
from gateway.node.firmware import Demands, Firmware
from gateway.node.objects import Value
from gateway.node.over_coap import CoapFetch
from gateway.node.pull import Refusal
from gateway.node.server import Acts, Declined, Door, Server
from gateway.node.settings import NodeSite, load
from gateway.node.sources import reader
from gateway.node.state import BASE, NotNow, Phase
from gateway.notify import feed_every_s, notify
from gateway.site.faults import Faults
from gateway.spool.trouble import Trouble
from gateway.wire.credentials import SecurityContext

ANEW_EVERY = 6  # rounds: observers hear from a node that has nothing new, before what they know is stale
STALE_ROUNDS = 8

log = logging.getLogger("citygate.node")


def check(path: str) -> int:
    """0 for a file that a node can be started with, 1 for one with faults, which are printed."""
    try:
        load(path)
    except Faults as bad:
        print(bad.text(), file=sys.stderr)
        return 1
    return 0


def run(path: str) -> int:
    """0 after a clean stop, 1 for a file with faults, 2 where it cannot start, RESTART, UNFIT."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO, stream=sys.stderr)
    for chatty in ("aiocoap", "coap", "coap-server", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.ERROR)  # a warning for every datagram that is none
    try:
        return asyncio.run(Node(load(path)).run())
    except Faults as bad:
        print(bad.text(), file=sys.stderr)
        return 1
    except Trouble as bad:
        print(bad, file=sys.stderr)
        return 2


class Node:
    """One node. `clock`: seconds that only go forward."""

    def __init__(self, site: NodeSite, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises Trouble."""
        self.site, self._clock = site, clock
        self._read = {sensor: reader(sensor) for sensor in site.sensors}
        self._values: dict[str, Value] = {}
        self.ready, self._stop = asyncio.Event(), asyncio.Event()
        self._code = 0
        self._fetch = CoapFetch()
        self.firmware: Firmware | None = None
        if site.updates is not None:
            wanted = site.updates
            demands = Demands(wanted.vendor, wanted.kind, wanted.trust, wanted.limit_bytes, wanted.automatic)
            try:
                disk = Disk(site.node.state_dir)
            except OSError as bad:
                raise no_folder(site.node.state_dir, bad) from bad
            try:
                self.firmware = Firmware(disk, demands, self._fetch)
            except OSError as bad:  # a card that dies is no reason not to measure
                log.error("CG-6209 the state of the firmware cannot be read, no update is taken: %s", bad.strerror)
        door = Door(bool(site.node.credentials), site.node.insecure)
        self.measure()
        resources = [*self.values(), *objects.SOMETIMES, *(sensor.where for sensor in site.sensors)]
        max_age_s = max(1, round(STALE_ROUNDS * site.node.period_s))
        self.server = Server(resources, self.values, self._acts(), door, max_age_s)

    @property
    def good(self) -> int:
        """Sensors that read well."""
        return sum(sensor.where in self._values for sensor in self.site.sensors)

    def values(self) -> dict[str, Value]:
        slot = os.environ.get(boot.SLOT, BASE)
        running = objects.version_of(self.firmware.kept, slot) if self.firmware else ""
        every = objects.device(self.site.node, running or VERSION, self.good == len(self.site.sensors))
        every |= objects.connectivity()
        if self.firmware is not None and self.site.updates is not None:
            every |= objects.firmware(self.firmware.kept, slot, self.site.updates.automatic)
        return every | self._values

    def measure(self) -> None:
        """One round of all sensors; blocks while they measure."""
        now_s = time.time()
        found = {sensor: read(now_s) for sensor, read in self._read.items()}
        self._values = {sensor.where: Value(value, sensor.unit) for sensor, value in found.items() if value is not None}

    async def run(self) -> int:
        """Until it is told to end; the exit code. Raises Trouble."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_heard)
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError):  # a thread has no signals
                loop.add_signal_handler(number, self.end)
        keys = [SecurityContext(folder) for folder in self.site.node.credentials]
        try:
            await self._start(keys)
            log.info("ready: serving at %s", self.site.node.bind)
            notify("READY=1\nSTATUS=measuring")
            self.ready.set()
            work = [loop.create_task(self._rounds(), name="rounds")]
            if self.firmware is not None:
                work.append(loop.create_task(self.firmware.run(lambda: self.good), name="firmware"))
                work.append(loop.create_task(self._restarted(), name="restart"))
            ended = loop.create_task(self._stop.wait())
            done, _ = await asyncio.wait([*work, ended], return_when=asyncio.FIRST_COMPLETED)
            for task in (*work, ended):
                task.cancel()
            await asyncio.gather(*work, ended, return_exceptions=True)
            for task in done:
                task.result()  # a mistake of ours ends the process, and systemd starts it again
        finally:
            notify("STOPPING=1")
            await self._fetch.close()
            await self.server.close()
            for key in keys:
                key.close()
        return self._code

    async def over(self) -> int:
        """The exit code, when it is known."""
        await self._stop.wait()
        return self._code

    def end(self, code: int = 0) -> None:
        self._code = code
        self._stop.set()

    async def _start(self, keys: list[SecurityContext]) -> None:
        try:
            await self.server.start(self.site.host, self.site.port, keys)
        except (OSError, aiocoap.error.Error) as bad:
            raise Trouble(
                "CG-6210",
                f"{self.site.node.bind} cannot be listened at ({getattr(bad, 'strerror', None) or bad})",
                f"{self.site.node.bind} 에서 수신할 수 없습니다 ({getattr(bad, 'strerror', None) or bad})",
                next_en="Choose another address or port (bind), or end the program that has it",
                next_ko="다른 주소나 포트(bind)를 지정하거나 사용 중인 프로그램을 종료하십시오",
            ) from bad
        if self.firmware is not None:
            self.firmware.changed = self.server.tell

    async def _rounds(self) -> None:
        """Measure, tell, feed the watchdog, and on trial decide."""
        loop = asyncio.get_running_loop()
        trial = _Trial(self.firmware, self.site.updates.probation_s, self._clock()) if self.site.updates else None
        due, number = loop.time(), 0
        feed = feed_every_s(os.environ, os.getpid()) is not None
        while not self._stop.is_set() and _has_parent():
            await asyncio.to_thread(self.measure)
            self.server.tell(anyway=number % ANEW_EVERY == 0)
            if feed:
                notify("WATCHDOG=1")
            if trial is not None and (fit := trial.looked(self.good, self._clock())) is False:
                log.error("CG-6211 the firmware on trial reads fewer sensors than the one before")
                self.end(boot.UNFIT)
                return
            due, number = max(due + self.site.node.period_s, loop.time()), number + 1
            wait_s = due - loop.time()
            await asyncio.sleep(min(wait_s, trial.look_again_s) if trial is not None and fit is None else wait_s)
        self._stop.set()

    async def _restarted(self) -> None:
        assert self.firmware is not None
        await self.firmware.restart.wait()
        self.end(boot.RESTART)

    def _acts(self) -> Acts:
        if self.firmware is None:
            return {(int(aiocoap.POST), "3/0/4"): lambda _: self.end(boot.RESTART)}
        firmware = self.firmware

        def declining(act: Callable[[str], None]) -> Callable[[str], None]:
            def guarded(text: str) -> None:
                try:
                    act(text)
                except NotNow as no:
                    raise Declined(aiocoap.Code.METHOD_NOT_ALLOWED, str(no)) from no
                except Refusal as no:
                    raise Declined(aiocoap.BAD_REQUEST, str(no)) from no
                except OSError as bad:
                    raise Declined(aiocoap.INTERNAL_SERVER_ERROR, f"CG-6209 {bad.strerror}") from bad

            return guarded

        return {
            (int(aiocoap.POST), "3/0/4"): lambda _: self.end(boot.RESTART),
            (int(aiocoap.PUT), "5/0/1"): declining(firmware.told),
            (int(aiocoap.POST), "5/0/2"): declining(lambda _: firmware.update(self.good)),
            (int(aiocoap.POST), "5/0/10"): declining(lambda _: firmware.cancel()),
        }


def _heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Options that are not UTF-8 raise inside aiocoap's socket callback; a stranger's datagram is no error of ours."""
    if isinstance(context.get("exception"), UnicodeDecodeError):
        log.debug("a datagram was not understood")
    else:
        loop.default_exception_handler(context)


class _Trial:
    """Whether a firmware on trial does what the one before it did: for a whole probation, without a break."""

    def __init__(self, firmware: Firmware | None, probation_s: float, now_s: float) -> None:
        self._firmware, self._probation_s, self._begun_s = firmware, probation_s, now_s
        self._well_since_s: float | None = None

    @property
    def look_again_s(self) -> float:
        return self._probation_s / 4

    def looked(self, good: int, now_s: float) -> bool | None:
        """True: confirmed, or not on trial at all; False: unfit; None: not known yet. Raises OSError."""
        if self._firmware is None or not self._firmware.on_trial or self._firmware.phase is not Phase.TRIAL:
            return True
        if good < self._firmware.kept.good:
            self._well_since_s = None
        elif self._well_since_s is None:
            self._well_since_s = now_s
        if self._well_since_s is not None and now_s - self._well_since_s >= self._probation_s:
            self._firmware.confirm()
            return True
        return False if now_s - self._begun_s > boot.TRIALS_AT_MOST * self._probation_s else None


def _has_parent() -> bool:
    """A node whose launcher was killed ends too: two must not write one state."""
    parent = os.environ.get(boot.PARENT)
    return parent is None or os.getppid() == int(parent)

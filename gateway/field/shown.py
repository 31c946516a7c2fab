"""What the field half shows of itself: live values and alarms, health, and what each center must know of the box.

Only reads; nothing here asks a device or the network.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway import VERSION
from gateway.field.clock import BootClock, boottime_ns, utc_offset
from gateway.field.engine import Engine
from gateway.field.scheduler import LinkRunner
from gateway.field.work import Work
from gateway.field.writer import SpoolWriter
from gateway.site.plan import Plan
from gateway.site.upstream import AGENCY, Upstream
from gateway.spool.trouble import SpoolError
from gateway.spool.waits import Waiting, waits
from gateway.spool.ways import Listener


class Shown:
    """Of one running plan. `ways`: where the sending half tells how its ways to the centers are, once it is open."""

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        links: Mapping[str, LinkRunner],
        work: Work,
        writer: SpoolWriter,
        spool: Path,
        clock: BootClock,
        started_ns: int,
    ) -> None:
        self._plan, self._engine, self._links, self._work = plan, engine, links, work
        self._writer, self._path, self._clock, self._started_ns = writer, spool, clock, started_ns
        self.ways: Listener | None = None

    def depth(self) -> dict[str, int]:
        """Records waiting, by upstream and lane. Not from the event loop: it reads the disk."""
        return {lane: one.records for lane, one in self._waiting().items()}

    def _waiting(self) -> dict[str, Waiting]:
        try:
            return {f"{u}/{lane.name.lower()}": one for (u, lane), one in waits(self._path).items()}
        except SpoolError:
            return {}

    def _oldest_s(self, waiting: Mapping[str, Waiting]) -> float | None:
        """Age of the oldest record that waits, as far as the clock can tell."""
        known = [one.oldest_utc_ns for one in waiting.values() if one.oldest_utc_ns is not None]
        if not known or not self._clock.is_set:
            return None
        return max(0.0, round((boottime_ns() + self._clock.offset_ns - min(known)) / 1e9, 1))

    def facts(self, upstream: Upstream, waiting: Mapping[str, int]) -> dict[str, str | int | float]:
        """What `upstream` must know of the box itself, as short as it can be said."""
        seen = self._engine.devices_of(upstream)
        links = {self._plan.device(name).link for name in seen}
        down = [name for name in links if name in self._links and not self._links[name].up]
        quarantined = [name for runner in self._links.values() for name in runner.quarantined]
        facts: dict[str, str | int | float] = {
            "version": VERSION,
            "mode": self._plan.mode,
            "uptime_s": round((boottime_ns() - self._started_ns) / 1e9),
            "clock_uncertainty_s": round(self._clock.uncertainty_ns / 1e9, 3),
            "links": len(links),
            "links_down": len(down),
            "devices_quarantined": len(seen.intersection(quarantined)),
            "devices_silent": len(seen.intersection(self._engine.silent)),
            "overruns": sum(self._links[name].overruns for name in links if name in self._links),
            "commits_refused": self._writer.refused,
        }
        if upstream.role == AGENCY:  # who else is told, and how much waits for them, is not an agency's business
            own = f"{upstream.name}/"
            facts["spool_records"] = sum(count for lane, count in waiting.items() if lane.startswith(own))
            return facts | ({"insecure": upstream.name} if upstream.insecure else {})
        facts["spool_records"] = sum(waiting.values())
        insecure = [u.name for u in self._plan.upstreams if u.insecure]
        return facts | ({"insecure": ", ".join(insecure)} if insecure else {})

    def live(self) -> dict[str, Any]:
        """Latest value of every channel and the alarms that stand."""
        engine, now_ns = self._engine, boottime_ns()
        return {
            "gateway": self._plan.gateway,
            "boottime_ns": now_ns,
            "channels": [
                {
                    "name": channel.name,
                    "unit": channel.unit,
                    "label": {"en": channel.label_en, "ko": channel.label_ko},
                    "unproven": channel.unproven,
                    "word": dict(channel.words).get(round(value), "") if channel.words and value == value else "",
                    "value": None if math.isnan(value) else value,
                    "quality": quality,
                    "age_s": round((now_ns - last_ns) / 1e9, 3) if last_ns else None,
                    "readings": readings,
                }
                for channel, value, quality, last_ns, readings in zip(
                    self._plan.channels,
                    engine.last_value.tolist(),
                    engine.last_quality.tolist(),
                    engine.last_ns.tolist(),
                    engine.readings.tolist(),
                    strict=True,
                )
            ],
            "alarms": [
                {
                    "code": e.code,
                    "subject": e.subject,
                    "since_ns": e.onset_ns,
                    "en": e.text_en,
                    "ko": e.text_ko,
                }
                for e in engine.standing.values()
            ],
        }

    async def health(self) -> dict[str, Any]:
        """Links, devices, spool."""
        waiting = await asyncio.to_thread(self._waiting)
        return {
            "gateway": self._plan.gateway,
            "mode": self._plan.mode,
            "upstreams": {
                u.name: {"role": u.role, "uri": u.uri, "format": u.format, "insecure": u.insecure}
                for u in self._plan.upstreams
            },
            "ways": self.ways.ways() if self.ways is not None else None,
            "uptime_s": round((boottime_ns() - self._started_ns) / 1e9, 1),
            "clock": {"uncertainty_s": utc_offset()[1] / 1e9, "is_set": self._clock.is_set},
            "readings": int(self._engine.readings[self._engine.counted].sum()),
            "events": self._engine.events,
            "links": {
                name: {
                    "up": runner.up,
                    "fault": None if runner.fault is None else f"{runner.fault} [{runner.fault.code}]",
                    "polls": runner.polls,
                    "overruns": runner.overruns,
                    "reconnects": runner.reconnects,
                    "quarantined": runner.quarantined,
                    "planned": round(runner.planned, 4),
                    "used": round(runner.used, 4),
                    "devices": runner.learned(),
                    "identity": runner.identity,
                    "counters": dict(runner.reader.counters) if runner.reader is not None else {},
                }
                for name, runner in self._links.items()
            },
            "silent": self._engine.silent,
            **self._work.shown(),
            "spool": {
                "depth": {lane: one.records for lane, one in waiting.items()},
                "oldest_s": self._oldest_s(waiting),
                "commits": self._writer.commits,
                "refused": self._writer.refused,
                "held": self._writer.held,
                "fault": None if self._writer.fault is None else str(self._writer.fault),
            },
            "insecure": [u.name for u in self._plan.upstreams if u.insecure],
            "version": VERSION,
        }

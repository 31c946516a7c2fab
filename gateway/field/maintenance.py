"""Somebody works on a device: its alarms are held for a time, and come back by themselves when it is over.

In: windows of time (one a device, or one for the whole site), events on their way out. Out: the events that may pass,
the alarms that are held, and, when a window ends, what still stands. Values flow on: their quality is about the
reading; that somebody was at work is told by `health.maintenance` around them. No device, no network; one file in the
state folder, replaced as a whole, so that a restart goes on with what it finds.

Time runs on CLOCK_BOOTTIME. A window that outlives the boot goes on by UTC where the clock is known; where it is not,
with what was left when it was last written.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.services.rules import event
from gateway.services.sentence import duration
from gateway.site.plan import Plan
from gateway.spool.records import Event, Phase, from_blob, to_blob
from gateway.spool.spool import kernel_boot
from gateway.wire import state

log = logging.getLogger("citygate.field")

FILE = "maintenance.json"
CODE = "health.maintenance"
LONGEST_S = 8 * 3600.0  # a working day: what is longer was forgotten, and a forgotten window hides a burst
SHORTEST_S = 10.0

DevicesOf = Callable[[Event], frozenset[str]]  # the devices that an event is about


@dataclass(frozen=True, slots=True)
class Window:
    """`device` "" is the whole site. Times are CLOCK_BOOTTIME ns."""

    device: str
    since_ns: int
    until_ns: int
    why: str
    by: str
    held: int = 0  # alarms held so far, those that are over included


@dataclass(slots=True)
class Maintenance:
    """`changed` is True while the file is older than what is known."""

    plan: Plan
    windows: dict[str, Window] = field(default_factory=dict)
    held: dict[str, Event] = field(default_factory=dict)
    changed: bool = False

    # -- what a person does

    def on(self, device: str, for_s: float, why: str, by: str, now_ns: int) -> list[Event]:
        """Begin or prolong a window; `health.maintenance` where it begins. Raises ValueError with the reason."""
        if device and device not in {one.name for one in self.plan.devices}:
            raise ValueError(f"no device is called {device}")
        if not SHORTEST_S <= for_s <= LONGEST_S:
            raise ValueError(f"a window is {duration(SHORTEST_S)} to {duration(LONGEST_S)} long, not {for_s:g} s")
        until_ns = now_ns + round(for_s * 1e9)
        before = self.windows.get(device)
        self.changed = True
        if before is not None:
            self.windows[device] = replace(before, until_ns=until_ns, why=why or before.why, by=by)
            return []
        window = self.windows[device] = Window(device, now_ns, until_ns, why, by)
        return [self._told(window, Phase.ONSET, now_ns)]

    def off(self, device: str, now_ns: int) -> list[Event]:
        """End a window now. Raises ValueError where there is none."""
        if device not in self.windows:
            raise ValueError(f"{device or 'the site'} is not under maintenance")
        return self._end([self.windows[device]], now_ns)

    # -- what passes

    def passing(self, events: Sequence[Event], standing: Mapping[str, Event], devices_of: DevicesOf) -> list[Event]:
        """`events` without those that are held. The end of an alarm that was told before passes."""
        if not self.windows and not self.held:
            return list(events)
        passed: list[Event] = []
        for one in events:
            if one.key in self.held:
                self._go_on(one)
            elif one.phase is Phase.ONSET and one.key not in standing and (window := self._of(one, devices_of)):
                self.held[one.key] = one
                self.windows[window.device] = replace(window, held=window.held + 1)
                self.changed = True
                log.info("%s %s is held: maintenance", one.code, one.subject)
            else:
                passed.append(one)
        return passed

    def due(self, now_ns: int) -> list[Event]:
        """What windows whose time is over bring: their end, and the alarms that still stand."""
        over = [window for window in self.windows.values() if window.until_ns <= now_ns]
        return self._end(over, now_ns) if over else []

    def is_on(self, device: str) -> bool:
        return device in self.windows or "" in self.windows

    def _of(self, one: Event, devices_of: DevicesOf) -> Window | None:
        """The window that holds an event: of the whole site, or of a device that it rests on."""
        if one.code == CODE or one.code.startswith("health.push_test"):
            return None
        if site := self.windows.get(""):
            return site
        about = devices_of(one)
        known = [self.windows[name] for name in sorted(about) if name in self.windows]
        if not known:
            return None
        rests_on_it = bool(one.evidence) or len(known) == len(about)
        return known[0] if rests_on_it else None

    def _go_on(self, one: Event) -> None:
        if one.phase is Phase.CLEAR:
            del self.held[one.key]
            self.changed = True
            log.info("%s %s is over, it was held", one.code, one.subject)

    def _end(self, over: Sequence[Window], now_ns: int) -> list[Event]:
        for window in over:
            del self.windows[window.device]
        self.changed = True
        back, self.held = list(self.held.values()), {}  # what another window holds, it holds again as they pass
        return [*(self._told(window, Phase.CLEAR, now_ns, len(back)) for window in over), *back]

    def _told(self, window: Window, phase: Phase, now_ns: int, stands: int = 0) -> Event:
        minutes = (window.until_ns - window.since_ns) / 60e9
        place = self.plan.device(window.device).place if window.device else self.plan.place
        return event(
            CODE,
            phase,
            window.device or self.plan.gateway,
            place,
            time_ns=now_ns,
            onset_ns=window.since_ns,
            numbers={
                "minutes": minutes,
                "by": window.by or "-",
                "why": f" ({window.why})" if window.why else "",
                "held": window.held,
                "stands": stands,
            },
        )

    # -- what a restart finds

    def restore(self, folder: Path, standing: Iterable[Event], now_ns: int, utc_offset_ns: int | None) -> list[Event]:
        """Go on with what the one before left; ends of windows that are told but not known. A file that cannot be read
        counts as none: alarms are then told rather than held."""
        try:
            found = json.loads((folder / FILE).read_text())
            is_same = found["boot"] == kernel_boot()
            self.windows = {one["device"]: _window(one, is_same, now_ns, utc_offset_ns) for one in found["windows"]}
            items = [from_blob(base64.b64decode(blob)) for blob in found["held"]]
            move_ns = _move_ns(found, utc_offset_ns)
            self.held = {one.key: _moved(one, move_ns, now_ns) for one in items if isinstance(one, Event)}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as bad:
            self.windows, self.held = {}, {}
            log.error("CG-5141 %s cannot be read (%s): no alarm is held", folder / FILE, bad)
        names = {one.name for one in self.plan.devices}
        self.windows = {name: window for name, window in self.windows.items() if not name or name in names}
        known = {window.device or self.plan.gateway for window in self.windows.values()}
        orphans = [one for one in standing if one.code == CODE and one.subject not in known]
        return [
            replace(
                one,
                phase=Phase.CLEAR,
                time_ns=now_ns,
                text_en=f"{one.subject}: maintenance is over",
                text_ko=f"{one.subject} 점검 종료",
                place_en="",
                place_ko="",
                latitude=None,
                longitude=None,
            )
            for one in orphans
        ]

    @staticmethod
    def write(folder: Path, content: dict[str, Any]) -> None:
        """Raises OSError; then the file before it stays."""
        state.write(folder, FILE, content)

    def content(self, now_ns: int, utc_offset_ns: int | None) -> dict[str, Any]:
        """What the file holds."""
        return {
            "boot": kernel_boot(),
            "utc_offset_ns": utc_offset_ns,
            "windows": [
                {
                    "device": window.device,
                    "since_ns": window.since_ns,
                    "until_ns": window.until_ns,
                    "until_utc_ns": None if utc_offset_ns is None else window.until_ns + utc_offset_ns,
                    "left_ns": window.until_ns - now_ns,
                    "why": window.why,
                    "by": window.by,
                    "held": window.held,
                }
                for window in self.windows.values()
            ],
            "held": [base64.b64encode(to_blob(one)).decode() for one in self.held.values()],
        }

    def shown(self, now_ns: int) -> dict[str, Any]:
        """For the control socket."""
        return {
            "windows": [
                {
                    "device": window.device,
                    "left_s": round((window.until_ns - now_ns) / 1e9),
                    "why": window.why,
                    "by": window.by,
                    "held": window.held,
                }
                for window in self.windows.values()
            ],
            "held": [
                {"code": one.code, "subject": one.subject, "en": one.text_en, "ko": one.text_ko}
                for one in self.held.values()
            ],
        }


def _move_ns(found: Mapping[str, Any], utc_offset_ns: int | None) -> int | None:
    """What times of the file are moved by to be of this boot's clock; None where nobody knows."""
    if found["boot"] == kernel_boot():
        return 0
    then_ns = found["utc_offset_ns"]
    return None if then_ns is None or utc_offset_ns is None else int(then_ns) - utc_offset_ns


def _moved(one: Event, move_ns: int | None, now_ns: int) -> Event:
    """An alarm whose time nobody knows is of now; its readings are then left out."""
    if not move_ns:
        return one if move_ns == 0 else replace(one, time_ns=now_ns, onset_ns=now_ns, evidence=())
    evidence = tuple((channel, tuple((at + move_ns, value) for at, value in rows)) for channel, rows in one.evidence)
    return replace(one, time_ns=one.time_ns + move_ns, onset_ns=one.onset_ns + move_ns, evidence=evidence)


def _window(told: Mapping[str, Any], is_same_boot: bool, now_ns: int, utc_offset_ns: int | None) -> Window:
    since_ns, until_ns, left_ns = int(told["since_ns"]), int(told["until_ns"]), int(told["left_ns"])
    if not is_same_boot:
        utc_ns = told["until_utc_ns"]
        if utc_offset_ns is not None and utc_ns is not None:
            left_ns = min(left_ns, int(utc_ns) - utc_offset_ns - now_ns)
        since_ns, until_ns = now_ns, now_ns + left_ns
    until_ns = min(until_ns, now_ns + round(LONGEST_S * 1e9))
    return Window(str(told["device"]), since_ns, until_ns, str(told["why"]), str(told["by"]), int(told["held"]))

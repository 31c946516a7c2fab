"""Devices that stopped talking: a deadline a device, moved by every good reading, one event when it passes.

A device is silent after `silent_s` without any reading; a link that is down as a whole is ONE event and holds back
those of its devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.services.rules import event
from gateway.site.plan import Plan
from gateway.spool.records import Event, Phase


class Silence:
    def __init__(self, plan: Plan, now_ns: int) -> None:
        self._devices = plan.devices
        self._gateway_place = plan.place
        self._limit_ns = [round(device.silent_s * 1e9) for device in plan.devices]
        self._last_ns = [now_ns] * len(plan.devices)
        self._silent: set[int] = set()  # past their deadline
        self._reported: set[int] = set()  # with an alarm of their own
        self._links_down: set[str] = set()
        self._row = {device.name: i for i, device in enumerate(plan.devices)}

    def heard(self, device: int, time_ns: int) -> list[Event]:
        """A good reading of `device`."""
        self._last_ns[device] = max(self._last_ns[device], time_ns)
        events: list[Event] = []
        link = self._devices[device].link
        if link in self._links_down:
            self._links_down.discard(link)
            events.append(
                event(
                    "health.link_down",
                    Phase.CLEAR,
                    link,
                    self._gateway_place,
                    time_ns=time_ns,
                    onset_ns=time_ns,
                )
            )
            self._wait_for_the_others(link, time_ns)
        self._silent.discard(device)
        if device in self._reported:
            self._reported.discard(device)
            events.append(self._event(device, Phase.CLEAR, time_ns, time_ns))
        return events

    def _wait_for_the_others(self, link: str, time_ns: int) -> None:
        """The link is back: devices it held back, and that stay silent, are missed after their own time."""
        for i in self._silent - self._reported:
            if self._devices[i].link == link:
                self._last_ns[i] = max(self._last_ns[i], time_ns)
        self._silent -= {i for i in self._silent - self._reported if self._devices[i].link == link}

    def next_deadline_ns(self) -> int | None:
        """When the next device that still talks would be missed."""
        due = [self._last_ns[i] + self._limit_ns[i] for i in range(len(self._devices)) if i not in self._silent]
        return min(due, default=None)

    def overdue(self, now_ns: int, link_is_down: Callable[[str], bool]) -> list[Event]:
        """Devices whose deadline has passed. `time_ns` of the event is the deadline."""
        events: list[Event] = []
        for i, device in enumerate(self._devices):
            deadline = self._last_ns[i] + self._limit_ns[i]
            if i in self._silent or now_ns < deadline:
                continue
            self._silent.add(i)
            if not link_is_down(device.link):
                self._reported.add(i)
                events.append(self._event(i, Phase.ONSET, deadline, self._last_ns[i]))
            elif device.link not in self._links_down:
                self._links_down.add(device.link)
                events.append(
                    event(
                        "health.link_down",
                        Phase.ONSET,
                        device.link,
                        self._gateway_place,
                        time_ns=deadline,
                        onset_ns=self._last_ns[i],
                    )
                )
        return events

    def _event(self, i: int, phase: Phase, time_ns: int, onset_ns: int) -> Event:
        device = self._devices[i]
        return event(
            "health.device_silent",
            phase,
            device.name,
            device.place,
            time_ns=time_ns,
            onset_ns=onset_ns,
            numbers={"seconds": device.silent_s},
        )

    def is_silent(self, device: int) -> bool:
        return device in self._silent

    def silent(self) -> Iterable[str]:
        return (self._devices[i].name for i in self._silent)

    def restore(self, standing: Sequence[Event]) -> None:
        """Alarms that stood before a restart: their devices count as silent until they are heard."""
        for old in standing:
            if old.code == "health.device_silent" and old.subject in self._row:
                self._silent.add(self._row[old.subject])
                self._reported.add(self._row[old.subject])
            if old.code == "health.link_down":
                self._links_down.add(old.subject)
                self._silent.update(i for i, d in enumerate(self._devices) if d.link == old.subject)

"""A serial line searched for Modbus devices: every setting, every address, in bounded time, by reads alone.

In: how to open the line, which settings and addresses. Out: what was found as it is found (`tell`), and a `LineReport`.
Each setting is first asked for the addresses that devices leave the factory with, then, the settings that answered
first, for the rest. A setting at which devices answer ends the search of others unless it is `thorough`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.bench.findings import Finding, finding
from gateway.bench.line import exchange, open_line, overhear, shortest_s
from gateway.bench.line_verdict import Address, Listened, Sound, diagnosed, listened, settle
from protocols.api import Link, LinkDown
from protocols.modbus.codec import rtu_request
from protocols.streams import Stream

FIRST_UNITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 32, 97, 100, 247)
CLOSER = ((3, 0, 1), (3, 0, 2), (4, 0, 2), (3, 0, 8), (3, 0, 1), (4, 0, 2), (3, 0, 2), (3, 0, 8))
"""What an address that said anything is asked then: two devices in step may give the same answer to one of them."""
GIVE_UP_NOISE = 8  # addresses in a row that are only noise: nothing can be read at this setting
UNASKED_S = 0.25
TIMEOUT_S = 0.1
IMPOSSIBLE = "CG-3009"  # a setting that the port does not have
BAUDS, PARITIES = (9600, 19200, 38400, 115200), ("N", "E", "O")


@dataclass(frozen=True, slots=True)
class Setting:
    baud: int
    parity: str

    def __str__(self) -> str:
        return f"{self.baud} 8{self.parity}1"

    def link(self, url: str) -> Link:
        return Link("scan", url, baud=self.baud, parity=self.parity)


@dataclass(frozen=True, slots=True)
class Found:
    """One address that said something."""

    setting: Setting
    unit: int
    what: Address
    is_certain: bool
    says: str
    ms: float

    def as_json(self) -> dict[str, Any]:
        return {
            "baud": self.setting.baud,
            "parity": self.setting.parity,
            "unit": self.unit,
            "what": self.what.value,
            "certain": self.is_certain,
            "says": self.says,
            "ms": round(self.ms, 1) if self.ms == self.ms else None,
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """After so many of all first requests; `left_s` where nobody else answers."""

    setting: Setting
    unit: int
    done: int
    total: int
    left_s: float


@dataclass(slots=True)
class LineReport:
    url: str
    found: list[Found] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    requests: int = 0
    untried: int = 0
    seconds: float = 0.0
    timeouts_s: float = 0.0  # what the time-outs of silent addresses, and listening, took at least

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "found": [one.as_json() for one in self.found],
            "findings": [one.as_json() for one in self.findings],
            "requests": self.requests,
            "untried": self.untried,
            "seconds": round(self.seconds, 3),
            "timeouts_s": round(self.timeouts_s, 3),
        }


Open = Callable[[Link], AbstractAsyncContextManager[Stream]]
Tell = Callable[[Progress | Found], None]


def settings_of(bauds: Sequence[int] = BAUDS, parities: Sequence[str] = PARITIES) -> list[Setting]:
    return [Setting(baud, parity) for baud in bauds for parity in parities]


def worst_s(settings: Sequence[Setting], units: Sequence[int], timeout_s: float = TIMEOUT_S) -> float:
    """What the search takes where nobody answers."""
    probe = _probe(1)
    listening = 2 * UNASKED_S * len(settings)
    return listening + sum(len(units) * shortest_s(one.link("serial:"), probe, timeout_s) for one in settings)


class LineScan:
    """One search. `run` once."""

    def __init__(
        self,
        url: str,
        settings: Sequence[Setting],
        units: Sequence[int],
        *,
        timeout_s: float = TIMEOUT_S,
        within_s: float = float("inf"),
        thorough: bool = False,
        opened: Open = open_line,
        tell: Tell = lambda news: None,
    ) -> None:
        self._settings, self._units = list(settings), list(units)
        self._timeout_s, self._within_s, self._thorough = timeout_s, within_s, thorough
        self._opened, self._tell = opened, tell
        self._begun_ns = 0
        self._sounds: dict[Setting, list[Listened]] = {one: [] for one in settings}
        self._unasked: dict[Setting, bytes] = dict.fromkeys(settings, b"")
        self._unreadable: set[Setting] = set()
        self._unclear: list[Found] = []
        self._done = 0
        self.report = LineReport(url)

    async def run(self) -> LineReport:
        """Raises LinkDown where the port cannot be opened; what was found before stands in `report`."""
        first = [unit for unit in FIRST_UNITS if unit in self._units]
        rest = [unit for unit in self._units if unit not in first]
        asked: list[tuple[Setting, list[int]]] = []
        try:
            for setting in self._settings:
                if not await self._some(setting, first):
                    break
                asked.append((setting, first))
            answering = {one.setting for one in self.report.found}
            order = sorted(self._settings, key=lambda one: one not in answering)
            for setting in order:
                worth_it = setting in answering or not answering or self._thorough
                if rest and worth_it and setting not in self._unreadable:
                    if not await self._some(setting, rest):
                        break
                    answering |= {one.setting for one in self.report.found}
        finally:
            self._conclude()
        return self.report

    async def _some(self, setting: Setting, units: Sequence[int]) -> bool:
        """Ask `units` at one setting; False when the time is up."""
        if not units:
            return True
        try:
            return await self._at(setting, units)
        except LinkDown as down:
            if down.code != IMPOSSIBLE:
                raise
        self._done += len(units)  # this port cannot be set so
        return True

    async def _at(self, setting: Setting, units: Sequence[int]) -> bool:
        report, noise = self.report, 0
        async with self._opened(setting.link(report.url)) as stream:
            self._begun_ns = self._begun_ns or stream.now_ns()
            self._unasked[setting] += await overhear(stream, UNASKED_S)
            report.timeouts_s += UNASKED_S
            for unit in units:
                report.seconds = (stream.now_ns() - self._begun_ns) / 1e9
                if report.seconds > self._within_s:
                    return False
                one = await self._ask(stream, setting, _probe(unit))
                self._done += 1
                noise = noise + 1 if one.sound is Sound.NOISE else 0
                if one.sound not in (Sound.NOTHING, Sound.FOREIGN):
                    await self._look_closer(stream, setting, unit, one)
                left = len(self._settings) * len(self._units) - self._done
                one_s = shortest_s(setting.link(report.url), _probe(unit), self._timeout_s)
                self._tell(Progress(setting, unit, self._done, self._done + left, left * one_s))
                if noise >= GIVE_UP_NOISE:
                    self._unreadable.add(setting)
                    break
            report.seconds = (stream.now_ns() - self._begun_ns) / 1e9
        return True

    async def _ask(self, stream: Stream, setting: Setting, request: bytes) -> Listened:
        link = setting.link(self.report.url)
        one = listened(await exchange(stream, link, request, self._timeout_s))
        self._sounds[setting].append(one)
        self.report.requests += 1
        if one.sound is Sound.NOTHING:
            self.report.timeouts_s += shortest_s(link, request, self._timeout_s)
        return one

    async def _look_closer(self, stream: Stream, setting: Setting, unit: int, first: Listened) -> None:
        tries = [first]
        for function, address, count in CLOSER:
            tries.append(await self._ask(stream, setting, rtu_request(unit, function, address, count)))
        what, is_certain = settle(tries)
        if any(one.sound in (Sound.GARBLED, Sound.NOISE) for one in tries) and what is not Address.UNREADABLE:
            for function, address, count in CLOSER:  # some spoilt answers: twice as many tell errors from two devices
                tries.append(await self._ask(stream, setting, rtu_request(unit, function, address, count)))
            what, is_certain = settle(tries)
        best = next((one for one in tries if one.frame), first)
        found = Found(setting, unit, what, is_certain, _said(best), best.after_s * 1000)
        if what is Address.UNREADABLE:
            self._unclear.append(found)
        if what in (Address.NOBODY, Address.UNREADABLE):
            return
        self.report.found.append(found)
        self._tell(found)

    def _garbled_alone(self, setting: Setting) -> list[Found]:
        """What cannot be read at an address or two of a line that is still otherwise: no noise does that."""
        unclear = [one for one in self._unclear if one.setting == setting]
        still = sum(one.sound is Sound.NOTHING for one in self._sounds[setting])
        return [replace(one, what=Address.DOUBLED) for one in unclear] if len(unclear) <= 2 < still else []

    def _conclude(self) -> None:
        report = self.report
        for setting in self._settings:
            for one in self._garbled_alone(setting):
                report.found.append(one)
                self._tell(one)
        planned = len(self._settings) * len(self._units)
        for setting in {one.setting: None for one in report.found} or dict.fromkeys(self._settings):
            addresses = [(f.unit, f.what, f.is_certain) for f in report.found if f.setting == setting]
            found = diagnosed(addresses, self._sounds[setting], self._unasked[setting])
            report.findings += [one for one in found if one not in report.findings]
        if not report.found:
            report.findings = list(_gravest(report.findings))
        elif any(one.what is not Address.DOUBLED for one in report.found):
            report.findings = [one for one in report.findings if one.code not in ("CG-5100", "CG-5101")]
        if report.seconds > self._within_s:
            report.untried = planned - self._done
            report.findings.append(finding("CG-5107", untried=report.untried, total=planned))


def _gravest(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Where nothing was found: what says most, once."""
    for code in ("CG-5106", "CG-5103", "CG-5102", "CG-5101", "CG-5100"):
        if first := next((one for one in findings if one.code == code), None):
            yield first
            return


def _probe(unit: int) -> bytes:
    """The read that every device answers, with a value or a refusal: one holding register, the first."""
    return rtu_request(unit, 3, 0, 1)


def _said(one: Listened) -> str:
    if one.sound is Sound.REFUSAL:
        return f"exception {one.frame[2]}"
    if one.sound is Sound.ANSWER:
        return f"holding register 0 = {int.from_bytes(one.frame[3:5], 'big')}"
    return one.body.hex(" ").upper()

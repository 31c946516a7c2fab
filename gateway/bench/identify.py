"""Which profiles fit what a device answers, the best first. Pure but for `ask`, which only reads.

In: profiles, and how to ask (Modbus), or exchanges that were heard (any protocol). Out: `Fit`s with their reasons.

    probes        what tells the device from others decides: matched, or out
    refusals      a device that has a profile's registers does not refuse them
    values        in range, finite, not all zero (plausible.py), in bits
    two readings  a counter does not fall
    coverage      of two that fit, the one that explains more of what is there

Requests that several profiles share are made once. A control question, for a register that no device has, tells whether
answering means anything: some gateways answer every address with 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.bench.plausible import bits, moved, nothing_there
from gateway.field.asking import Ask, Said, identity_of
from gateway.site.profile import DeviceProfile, driver_points
from protocols.api import Device, Point, Quality
from protocols.modbus.codec import Decoder, byte_count, read_request
from protocols.modbus.identity import text_of
from protocols.modbus.points import Options

PROBE_MATCHED, PROBE_FAILED = 24.0, -60.0
ANSWERED, REFUSED, SILENT = 6.0, -10.0, -4.0  # the first for the whole map
DECODED = 12.0  # a frame whose check or fixed bytes are right, an advert of the right company
FACTORY_LINE = 2.0  # it answers at the baud rate and parity that the profile says it is shipped with
CONTROL = read_request(3, 64_999, 1)
MOST_REQUESTS = 400


@dataclass(slots=True)
class Fit:
    """How a profile fits. `is_out`: it cannot be this device."""

    profile: DeviceProfile
    score: float = 0.0
    is_out: bool = False
    values: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def add(self, points: float, reason: str = "") -> None:
        self.score += points
        if reason:
            self.reasons.append(reason)

    def as_json(self) -> dict[str, Any]:
        return {
            "profile": self.profile.name,
            "score": round(self.score, 1),
            "reasons": self.reasons,
            "unproven": self.profile.unproven,
            "values": {name: value for name, value in self.values.items() if math.isfinite(value)},
        }


def ranked(fits: Iterable[Fit]) -> list[Fit]:
    """The best first; those that cannot be, and those that nothing speaks for, left out."""
    good = [fit for fit in fits if not fit.is_out and fit.score > 0]
    return sorted(good, key=lambda fit: (-fit.score, bool(fit.profile.extends), fit.profile.name))


# ---- Modbus: asked


class Conversation:
    """One unit asked, every request once."""

    def __init__(self, ask: Ask, unit: int, told: Callable[[int], None] = lambda requests: None) -> None:
        self._ask, self.unit, self._told = ask, unit, told
        self._said: dict[bytes, Said] = {}
        self.requests = 0
        self._identity: dict[str, str] | None = None

    async def say(self, pdu: bytes, again: bool = False) -> Said:
        if pdu in self._said and not again:
            return self._said[pdu]
        if self.requests >= MOST_REQUESTS:
            return Said(Quality.NOT_POLLED, b"")
        self.requests += 1
        self._told(self.requests)
        said = await self._ask(self.unit, pdu)
        if not again:
            self._said[pdu] = said
        return said

    async def identity(self) -> dict[str, str]:
        """What function 43/14 tells; asked once."""
        if self._identity is None:

            async def ask(unit: int, pdu: bytes) -> Said:
                return await self.say(pdu)

            self._identity = await identity_of(ask, self.unit)
        return self._identity


async def identify_modbus(
    ask: Ask,
    unit: int,
    profiles: Sequence[DeviceProfile],
    told: Callable[[int], None] = lambda requests: None,
    line: tuple[int, str] | None = None,
) -> list[Fit]:
    """Modbus profiles that fit what `unit` answers. `line`: baud and parity it answers at, where it is on a serial
    line; devices mostly stay at what they left the factory with. Raises what `ask` raises (LinkDown)."""
    talk = Conversation(ask, unit, told)
    refuses = not (await talk.say(CONTROL)).is_answer
    fits = [await _fit_modbus(talk, profile, refuses) for profile in profiles if profile.driver.name == "modbus"]
    for fit in fits:
        shipped = fit.profile.link
        if line is not None and shipped.baud == line[0] and shipped.parity in (None, line[1]):
            fit.add(FACTORY_LINE)
    best = ranked(fits)[:3]
    for fit in best:
        await _second_look(talk, fit)
    return ranked(fits)


async def _fit_modbus(talk: Conversation, profile: DeviceProfile, refuses: bool) -> Fit:
    fit = Fit(profile)
    device = profile.as_device(unit=talk.unit)
    if profile.probes and not await _probe(talk, fit, device):
        return fit
    answered = refused = 0
    numbered = dict(enumerate(profile.points))
    for op in profile.driver.plan(driver_points(numbered, device)):
        said = await talk.say(read_request(op.function, op.address, op.count))
        if said.is_answer:
            answered += 1
            values, _ = op.decoder.decode(said.pdu[2:])
            fit.values |= {numbered[channel].name: float(v) for channel, v in zip(op.channels, values, strict=True)}
        elif said.exception:
            refused += 1
            fit.add(REFUSED)
        else:
            fit.add(SILENT)
        if refused > 2 and not answered:
            break
    if not answered:
        fit.is_out = True
        return fit
    fit.add(ANSWERED if refuses else 0.0)
    judge(fit)
    fit.reasons.append(f"{answered} of {answered + refused} reads answered")
    return fit


async def _probe(talk: Conversation, fit: Fit, device: Device) -> bool:
    """Whether every probe that the device answers is passed; one that it does not answer proves nothing."""
    options: Options = device.options
    for probe in fit.profile.probes:
        if probe.identity:
            said = await _text(talk, options, probe.identity)
            if said is None:
                continue
            if re.search(probe.matches, said) is None:
                fit.is_out = True
                return False
            fit.add(PROBE_MATCHED, f'{probe.identity} is "{said}"')
            continue
        point = fit.profile.point(probe.point)
        value = await _value(talk, point, device)
        if math.isnan(value):
            continue
        if not any(math.isclose(value, wanted, rel_tol=1e-6, abs_tol=1e-9) for wanted in probe.equals):
            fit.is_out = True
            return False
        fit.add(PROBE_MATCHED, f"{probe.point} is {value:g}")
    return True


async def _text(talk: Conversation, options: Options, name: str) -> str | None:
    for text in options.identity:
        if text.name == name:
            said = await talk.say(read_request(text.function, text.address, text.registers))
            return text_of(said.pdu[2:], text) if said.is_answer else None
    return (await talk.identity()).get(name) if options.device_id else None


async def _value(talk: Conversation, point: Any, device: Device) -> float:
    [read] = driver_points({0: point}, device)
    first, count = read.spec.first, read.spec.beyond - read.spec.first
    said = await talk.say(read_request(read.spec.function, first, count))
    if not said.is_answer or len(said.pdu) != 2 + byte_count(read.spec.function, count):
        return math.nan
    values, _ = Decoder([read], read.spec.function, first).decode(said.pdu[2:])
    return float(values[0])


async def _second_look(talk: Conversation, fit: Fit) -> None:
    """Read again what counts: two readings tell a counter from noise."""
    device = fit.profile.as_device(unit=talk.unit)
    numbered = dict(enumerate(fit.profile.points))
    for op in fit.profile.driver.plan(driver_points(numbered, device))[:4]:
        said = await talk.say(read_request(op.function, op.address, op.count), again=True)
        if not said.is_answer:
            continue
        values, _ = op.decoder.decode(said.pdu[2:])
        for channel, value in zip(op.channels, values.tolist(), strict=True):
            point = numbered[channel]
            fit.add(moved(point, fit.values.get(point.name, math.nan), value, 0.0))


# ---- any protocol: heard


def fit_heard(profile: DeviceProfile, heard: Sequence[tuple[bytes, bytes]]) -> Fit:
    """How a profile explains exchanges (request, reply) as its driver's `decode` takes them: datagrams, frames,
    adverts, Modbus with its check. A reply that does not decode speaks against it."""
    fit = Fit(profile)
    points = driver_points(dict(enumerate(profile.points)), profile.as_device())
    explained = 0
    for request, reply in heard:
        try:
            values = profile.driver.decode(points, request, reply)
        except ValueError:
            fit.add(REFUSED)
            continue
        if not values:
            continue
        explained += 1
        fit.values |= values
        fit.add(DECODED + strictness(profile, request, points))
    if not explained:
        fit.is_out = True
        return fit
    judge(fit)
    fit.add(6.0 * len(fit.values) / max(1, len(points)), f"{len(fit.values)} of {len(points)} points")
    return fit


def strictness(profile: DeviceProfile, request: bytes, points: Sequence[Point]) -> float:
    """Bits that a message must carry to be taken for this profile's: fixed bytes, a check, its own request."""
    options = profile.options
    total = 2.0 * len(request) if request else 0.0
    total += 8.0 * len(getattr(options, "fixed", ()) or ())
    start = getattr(options, "start", "") or getattr(options, "prefix", "")
    total += 4.0 * len(start if isinstance(start, bytes) else str(start)) / 2
    check = getattr(options, "check", None)
    total += 8.0 if check is not None and check != "none" else 0.0
    return min(total, 40.0) / 4


def judge(fit: Fit) -> None:
    """Add what the values say."""
    named = {point.name: point for point in fit.profile.points}
    known = {name: value for name, value in fit.values.items() if name in named}
    if nothing_there(list(known.values())):
        fit.add(-1.0, "every value reads zero or not available")
    wrong = []
    for name, value in known.items():
        fit.add(bits(named[name], value))
        if not math.isnan(value) and not named[name].low <= value <= named[name].high:
            wrong.append(name)
    if wrong:
        fit.reasons.append(f"out of range: {', '.join(wrong[:4])}")


def family_of(profile: DeviceProfile, extends: Mapping[str, str] | None = None) -> str:
    """The parent of a variant, or itself: variants of one parent count as one device."""
    return (extends or {}).get(profile.name, profile.extends) or profile.name

"""Gateways that break their promise: what was heard and when in, alarms out. No sockets, no files, no clock of its own.

A gateway is silent when twice the promised time went by. It must then have gone between the last message and the time
at which the next was due. Gateways whose spans have a moment in common, and that share a line or a mains feeder (or do
not say what they share), were lost together: they are ONE incident, raised with the first, changed as others join or
come back, ended when the last one is heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.spool.records import Phase, Severity
from gateway.wire.rows import EventRow

CODE = "center.gateway_silent"
PATIENCE = 2.0  # times what was promised
UPDATE_S = 10.0  # at most one change of an incident in so long
NAMED = 8  # gateways in the words; all of them in the evidence
EVIDENCE = 1000
MAJOR = 10  # gateways; fewer are minor


@dataclass(slots=True)
class _Gateway:
    heard_s: float
    next_s: float
    shares: frozenset[str]
    incident: Incident | None = None


@dataclass(slots=True, eq=False)
class Incident:
    """Gateways lost together, at some moment of [from_s, to_s]. `changed`: since `said_s`."""

    subject: str
    from_s: float
    to_s: float
    shares: frozenset[str]
    gone: dict[str, float] = field(default_factory=dict)  # gateway -> last heard
    most: int = 0
    said_s: float = 0.0
    phase: Phase | None = None
    changed: bool = True


class Silence:
    """Times are seconds of any clock that only runs forward."""

    def __init__(self) -> None:
        self._gateways: dict[str, _Gateway] = {}
        self._incidents: list[Incident] = []

    def heard(self, name: str, next_s: float, shares: Iterable[str], now_s: float) -> str:
        """The subject of the incident that it was silent in until now, or ""."""
        known = self._gateways.get(name)
        if known is None:
            if next_s > 0:
                self._gateways[name] = _Gateway(now_s, next_s, frozenset(shares))
            return ""
        known.heard_s = now_s
        known.next_s = next_s or known.next_s
        known.shares = frozenset(shares) or known.shares
        incident, known.incident = known.incident, None
        if incident is None:
            return ""
        del incident.gone[name]
        incident.changed = True
        return incident.subject

    def restore(self, name: str, next_s: float, shares: Iterable[str], subject: str, now_s: float) -> None:
        """As an earlier center left it: with its incident, or with all the time it was promised."""
        if next_s <= 0:
            return
        one = self._gateways[name] = _Gateway(now_s, next_s, frozenset(shares))
        if subject:
            incident = next((i for i in self._incidents if i.subject == subject), None)
            if incident is None:
                incident = Incident(subject, now_s, now_s, one.shares, phase=Phase.ONSET, changed=False, said_s=now_s)
                self._incidents.append(incident)
            self._join(name, one, incident)
            incident.changed = False

    def check(self, now_s: float) -> tuple[dict[str, str], list[tuple[Incident, Phase]]]:
        """(gateway -> subject for those that fell silent, incidents to tell of)."""
        fallen = {}
        for name, one in self._gateways.items():
            if one.incident is None and now_s > one.heard_s + PATIENCE * one.next_s:
                incident = self._incident(name, one)
                self._join(name, one, incident)
                fallen[name] = incident.subject
        return fallen, self._news(now_s)

    def _incident(self, name: str, one: _Gateway) -> Incident:
        until_s = one.heard_s + one.next_s
        for incident in self._incidents:
            if incident.subject == name:
                return incident  # it stands under this name already
            together = not incident.shares or not one.shares or incident.shares & one.shares
            if incident.gone and together and one.heard_s <= incident.to_s and until_s >= incident.from_s:
                incident.from_s, incident.to_s = max(incident.from_s, one.heard_s), min(incident.to_s, until_s)
                incident.shares = incident.shares & one.shares if incident.shares and one.shares else incident.shares
                return incident
        incident = Incident(name, one.heard_s, until_s, one.shares)
        self._incidents.append(incident)
        return incident

    def _join(self, name: str, one: _Gateway, incident: Incident) -> None:
        one.incident = incident
        incident.gone[name] = one.heard_s
        incident.most = max(incident.most, len(incident.gone))
        incident.changed = True

    def _news(self, now_s: float) -> list[tuple[Incident, Phase]]:
        told: list[tuple[Incident, Phase]] = []
        for incident in self._incidents:
            if not incident.changed:
                continue
            if incident.phase is None:
                phase = Phase.ONSET
            elif not incident.gone:
                phase = Phase.CLEAR
            elif now_s >= incident.said_s + UPDATE_S:
                phase = Phase.UPDATE
            else:
                continue
            incident.phase, incident.said_s, incident.changed = phase, now_s, False
            told.append((incident, phase))
        self._incidents = [i for i in self._incidents if i.gone or i.phase is not Phase.CLEAR]
        return told


def event(incident: Incident, phase: Phase, now_s: float, now_ns: int, promises: Mapping[str, float]) -> EventRow:
    """The alarm of the center itself. `promises`: seconds, by gateway."""
    names = sorted(incident.gone)
    count = incident.most if phase is Phase.CLEAR else len(names)
    shared = ", ".join(sorted(incident.shares))
    listed = ", ".join(names[:NAMED]) + (" ..." if len(names) > NAMED else "")
    via_en, via_ko = (f" on {shared}", f" ({shared})") if shared and count > 1 else ("", "")
    if phase is Phase.CLEAR:
        en = f"heard again: {count} gateways{via_en}" if count > 1 else f"heard again: {incident.subject}"
        ko = f"통신 복구: 게이트웨이 {count}대{via_ko}" if count > 1 else f"통신 복구: {incident.subject}"
    elif count > 1:
        en = f"{count} gateways{via_en} fell silent together: {listed}"
        ko = f"게이트웨이 {count}대{via_ko} 동시 통신 두절: {listed}"
    else:
        en, ko = f"gateway {listed} is silent", f"게이트웨이 {listed} 통신 두절"

    def utc_ns(at_s: float) -> int:
        return now_ns - round((now_s - at_s) * 1e9)

    return EventRow(
        code=CODE, phase=phase, severity=Severity.MAJOR if incident.most >= MAJOR else Severity.MINOR, cause="link",
        subject=incident.subject, time_ns=now_ns, onset_ns=utc_ns(incident.from_s), score=float(count),
        text_en=en, text_ko=ko, asset=shared, place_en="", place_ko="", latitude=None, longitude=None,
        evidence=tuple(
            (name, ((utc_ns(incident.gone[name]), promises.get(name, 0.0)),)) for name in names[:EVIDENCE]
        ),
    )  # fmt: skip

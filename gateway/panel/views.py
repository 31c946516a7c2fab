"""What the field half says of itself, as a person must see it: good, degraded, dead or in maintenance, why, and what to
do next. Pure: dictionaries in, dictionaries out, words in English and Korean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GOOD, DEGRADED, DEAD, MAINTENANCE = "good", "degraded", "dead", "maintenance"
NOTHING = {"en": "", "ko": ""}
LATE_S = 30.0  # a record that waits so long, or
SHUT_S = 180.0  # a center that stored nothing for so long, is worth a look
UNSURE_S = 5.0  # of a clock
OVERRUN = 1.0  # share of a line's time

_MET = {
    "stored": ("stores what is sent", "정상 저장"),
    "refused": ("refuses messages (CG-4103)", "메시지를 거부함 (CG-4103)"),
    "stranger": ("does not accept our credentials (CG-4102)", "자격 증명을 인정하지 않음 (CG-4102)"),
    "busy": ("cannot store now (CG-4104)", "지금은 저장할 수 없음 (CG-4104)"),
    "odd": ("answers what no center answers (CG-4105)", "센터가 아닌 응답 (CG-4105)"),
    "dead": ("cannot be reached (CG-4101)", "연결할 수 없음 (CG-4101)"),
}


def nobody(at_ms: int, up: bool) -> dict[str, Any]:
    """Nothing is known yet."""
    return {
        "at_ms": at_ms, "up": up, "gateway": "", "version": "", "mode": "", "uptime_s": None, "alarms": 0,
        "clock": {"is_set": None, "uncertainty_s": None, "state": DEAD},
        "spool": {"records": 0, "held": 0, "refused": 0, "fault": None, "oldest_s": None, "state": DEAD},
        "links": [], "devices": [], "upstreams": [], "maintenance": {"windows": [], "held": []},
    }  # fmt: skip


def cabinet(
    health: Mapping[str, Any], first: Mapping[str, Any], standing: Sequence[str], at_ms: int, up: bool
) -> dict[str, Any]:
    """The whole cabinet at a glance. `standing`: keys of the alarms that stand."""
    windows = health["maintenance"]["windows"]
    worked_on = {window["device"] for window in windows}
    links = health["links"]
    line_of = {device["name"]: device["link"] for device in first.get("devices", ())}
    return {
        "at_ms": at_ms,
        "up": up,
        "gateway": health["gateway"],
        "version": health["version"],
        "mode": health["mode"],
        "uptime_s": health["uptime_s"],
        "clock": _clock(health["clock"]),
        "spool": _spool(health["spool"]),
        "links": [{"name": name, **_link(link, "" in worked_on)} for name, link in links.items()],
        "devices": [
            {"name": name, **_device(name, links.get(line, {}), health["silent"], worked_on, standing)}
            for name, line in line_of.items()
        ],
        "upstreams": [_upstream(name, one, health) for name, one in health["upstreams"].items()],
        "maintenance": health["maintenance"],
        "alarms": len(standing),
    }


def _clock(clock: Mapping[str, Any]) -> dict[str, Any]:
    unsure = clock["uncertainty_s"]
    state = GOOD if clock["is_set"] and unsure <= UNSURE_S else DEGRADED if clock["is_set"] else DEAD
    return {"is_set": clock["is_set"], "uncertainty_s": unsure, "state": state}


def _spool(spool: Mapping[str, Any]) -> dict[str, Any]:
    oldest_s = spool.get("oldest_s")
    late = oldest_s is not None and oldest_s > LATE_S
    state = DEAD if spool["fault"] else DEGRADED if spool["held"] or late else GOOD
    return {
        "records": sum(spool["depth"].values()),
        "held": spool["held"],
        "refused": spool["refused"],
        "fault": spool["fault"],
        "oldest_s": oldest_s,
        "state": state,
    }


def _link(link: Mapping[str, Any], everything: bool) -> dict[str, Any]:
    if not link["up"]:
        fault = link["fault"] or ""
        return _is(MAINTENANCE if everything else DEAD, fault or "not open yet", fault or "아직 열리지 않음")
    quarantined = link["quarantined"]
    if everything:
        return _is(MAINTENANCE, "the site is in maintenance", "점검 중")
    if quarantined:
        names = ", ".join(quarantined)
        return _is(DEGRADED, f"asked less often: {names}", f"응답이 없어 드물게 조회: {names}")
    if link["used"] > OVERRUN:
        return _is(DEGRADED, f"busy {link['used']:.0%} of the time", f"사용률 {link['used']:.0%}")
    return _is(GOOD, f"busy {link['used']:.0%} of the time", f"사용률 {link['used']:.0%}")


def _device(
    name: str, link: Mapping[str, Any], silent: Sequence[str], worked_on: set[str], standing: Sequence[str]
) -> dict[str, Any]:
    quarantined = name in link.get("quarantined", ())
    quiet = name in silent
    said = {"next": NOTHING, "quarantined": quarantined, "silent": quiet}
    if name in worked_on or "" in worked_on:
        return said | _is(MAINTENANCE, "maintenance: alarms are held", "점검 중: 경보 보류")
    if not link.get("up"):
        why = link.get("fault") or "its line is not open"
        return said | _is(DEAD, why, link.get("fault") or "회선이 열리지 않음") | _next(
            "Look at the adapter and its cable; citygate bus names the fault",
            "어댑터와 케이블을 확인하십시오. citygate bus 로 원인을 볼 수 있습니다",
        )  # fmt: skip
    if quiet or quarantined:
        return said | _is(DEAD, "does not answer", "응답 없음") | _next(
            "Check its power, address and A/B wires, then read it here",
            "전원, 주소, A/B 결선을 확인한 뒤 여기서 읽어 보십시오",
        )  # fmt: skip
    own = [key for key in standing if key.partition("|")[2] in (name, *_points(name, standing))]
    if own:
        codes = ", ".join(sorted({key.partition("|")[0] for key in own}))
        return said | _is(DEGRADED, f"alarm: {codes}", f"경보: {codes}")
    return said | _is(GOOD, "answers", "정상 응답")


def _points(name: str, standing: Sequence[str]) -> list[str]:
    subjects = (key.partition("|")[2] for key in standing)
    return [subject for subject in subjects if subject.startswith(f"{name}.")]


def _upstream(name: str, one: Mapping[str, Any], health: Mapping[str, Any]) -> dict[str, Any]:
    waiting = sum(n for lane, n in health["spool"]["depth"].items() if lane.rpartition("/")[0] == name)
    ways = health.get("ways")
    way = (ways or {}).get(name)
    said = {
        "name": name,
        "role": one["role"],
        "uri": one["uri"],
        "insecure": one["insecure"],
        "waiting": waiting,
        "heard_s": way and way.get("heard_s"),
        "round_trip_ms": way and way.get("round_trip_ms"),
    }
    if ways is None:
        return said | _is(
            DEAD,
            "the sending half does not run: everything is kept",
            "전송 프로세스가 실행되지 않음: 모두 보관 중",
        )
    if way is None:
        return said | _is(
            DEAD, "not served: see the log of citygate-uplink", "제공되지 않음: citygate-uplink 로그 확인"
        )
    met, open_ = way.get("state", ""), way.get("open", False)
    en, ko = _MET.get(met, (met, met))
    if not open_ or met in ("dead", "stranger"):
        if met == "stored":
            en, ko = _MET["dead"]
        return said | _is(DEAD, f"{en}: everything is kept", f"{ko}: 모두 보관 중")
    heard_s = way.get("heard_s")
    if met != "stored" or heard_s is None or heard_s > SHUT_S:
        if met == "stored":
            en, ko = "nothing stored lately", "최근 저장된 메시지 없음"
        return said | _is(DEGRADED, en, ko)
    if one["insecure"]:
        return said | _is(DEGRADED, "insecure: anybody on the way can read and alter", "보안 없음: 도청과 변조 가능")
    return said | _is(GOOD, en, ko)


def _is(state: str, en: str, ko: str) -> dict[str, Any]:
    return {"state": state, "why": {"en": en, "ko": ko}}


def _next(en: str, ko: str) -> dict[str, Any]:
    return {"next": {"en": en, "ko": ko}}


def bus(health: Mapping[str, Any]) -> dict[str, Any]:
    """Each line: time planned and used, counters, what was learned of its devices."""
    return {"links": [{"name": name, **link} for name, link in health.get("links", {}).items()]}

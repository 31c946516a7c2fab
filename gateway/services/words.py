"""What each event code says to people: severity, cause, and one sentence in English and Korean for onset and end.

`cause` separates a broken instrument ("sensor") or line ("link") from an abnormal city ("city"): the center sends a
technician to the first and the water works or the police to the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.spool.records import Phase, Severity


@dataclass(frozen=True, slots=True)
class Word:
    severity: Severity
    cause: str
    onset_en: str
    onset_ko: str
    clear_en: str
    clear_ko: str


WORDS: dict[str, Word] = {
    "water.burst": Word(
        Severity.CRITICAL,
        "city",
        "Pipe burst suspected at {subject}: flow {flow:.1f} above {flow_limit:.1f} while pressure {pressure:.2f} "
        "is below {pressure_limit:.2f}",
        "{subject} 관로 파열 의심: 유량 {flow:.1f} (기준 {flow_limit:.1f} 초과), "
        "압력 {pressure:.2f} (기준 {pressure_limit:.2f} 미만)",
        "Flow or pressure at {subject} is back within limits",
        "{subject} 유량·압력 정상 회복",
    ),
    "water.leak": Word(
        Severity.CRITICAL,
        "city",
        "Water detected by the sensing cable {subject}{where_en}",
        "{subject} 누수 감지 케이블에 물 감지{where_ko}",
        "Sensing cable {subject} is dry again",
        "{subject} 누수 감지 케이블 건조 상태 회복",
    ),
    "water.cable_break": Word(
        Severity.MAJOR,
        "sensor",
        "Sensing cable {subject} is broken: water would not be seen",
        "{subject} 누수 감지 케이블 단선: 누수를 감지할 수 없음",
        "Sensing cable {subject} is whole again",
        "{subject} 누수 감지 케이블 복구",
    ),
    "water.meter_fault": Word(
        Severity.MAJOR,
        "sensor",
        "Meter {subject} reports an error (code {value:.0f}): its values are not to be trusted",
        "{subject} 계측기 오류 보고 (코드 {value:.0f}): 측정값을 신뢰할 수 없음",
        "Meter {subject} reports no error any more",
        "{subject} 계측기 오류 해제",
    ),
    "streetlight.lamp_out": Word(
        Severity.MINOR,
        "city",
        "Lamp {subject} has failed",
        "{subject} 가로등 소등 고장",
        "Lamp {subject} burns again",
        "{subject} 가로등 정상 점등",
    ),
    "streetlight.group_outage": Word(
        Severity.MAJOR,
        "city",
        "{failed:.0f} of {lamps:.0f} lamps of group {subject} failed together: supply or cable, not lamps",
        "{subject} 그룹 가로등 {lamps:.0f}개 중 {failed:.0f}개 동시 소등: 램프가 아닌 전원·케이블 점검 필요",
        "Lamps of group {subject} burn again",
        "{subject} 그룹 가로등 정상 점등",
    ),
    "air.pm25_advisory": Word(
        Severity.MAJOR,
        "city",
        "PM2.5 advisory level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 초미세먼지(PM2.5) 주의보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM2.5 at {subject} fell below the advisory's clear level: {value:.0f} ug/m3",
        "{subject} 초미세먼지(PM2.5) 주의보 해제 수준: {value:.0f} ㎍/㎥",
    ),
    "air.pm25_warning": Word(
        Severity.CRITICAL,
        "city",
        "PM2.5 warning level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 초미세먼지(PM2.5) 경보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM2.5 at {subject} fell below the warning's clear level: {value:.0f} ug/m3",
        "{subject} 초미세먼지(PM2.5) 경보 해제 수준: {value:.0f} ㎍/㎥",
    ),
    "air.pm10_advisory": Word(
        Severity.MAJOR,
        "city",
        "PM10 advisory level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 미세먼지(PM10) 주의보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM10 at {subject} fell below the advisory's clear level: {value:.0f} ug/m3",
        "{subject} 미세먼지(PM10) 주의보 해제 수준: {value:.0f} ㎍/㎥",
    ),
    "air.pm10_warning": Word(
        Severity.CRITICAL,
        "city",
        "PM10 warning level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 미세먼지(PM10) 경보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM10 at {subject} fell below the warning's clear level: {value:.0f} ug/m3",
        "{subject} 미세먼지(PM10) 경보 해제 수준: {value:.0f} ㎍/㎥",
    ),
    "traffic.loop_stuck": Word(
        Severity.MAJOR,
        "sensor",
        "Loop {subject} has reported presence for {seconds:.0f} s without a break: locked on",
        "{subject} 루프 검지기가 {seconds:.0f}초간 연속 점유 보고: 고착 고장",
        "Loop {subject} detects vehicles again",
        "{subject} 루프 검지기 정상 동작",
    ),
    "health.device_silent": Word(
        Severity.MAJOR,
        "sensor",
        "Device {subject} has not answered for {seconds:.0f} s",
        "{subject} 장치 {seconds:.0f}초간 무응답",
        "Device {subject} answers again",
        "{subject} 장치 응답 재개",
    ),
    "health.link_down": Word(
        Severity.MAJOR,
        "link",
        "Link {subject} is down: none of its devices can be reached",
        "{subject} 통신선 두절: 연결된 모든 장치에 접근 불가",
        "Link {subject} is back",
        "{subject} 통신선 복구",
    ),
    "anomaly.level": Word(
        Severity.MINOR,
        "city",
        "{subject} left its usual course: {value:.4g} where {expected:.4g} was expected",
        "{subject} 평소 범위를 벗어남: 예상 {expected:.4g}, 측정 {value:.4g}",
        "{subject} is back on a usual course",
        "{subject} 평소 범위로 회복",
    ),
}


def say(word: Word, phase: Phase, subject: str, numbers: Mapping[str, float | str]) -> tuple[str, str]:
    """The sentence of `word` in English and Korean."""
    clear = phase is Phase.CLEAR
    return (
        (word.clear_en if clear else word.onset_en).format(subject=subject, **numbers),
        (word.clear_ko if clear else word.onset_ko).format(subject=subject, **numbers),
    )


def duration(seconds: float) -> str:
    """`2 h`, `5 min`, `6 s`: the same in both languages."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"

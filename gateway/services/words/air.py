"""The sentences of air quality stations."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity


def _sensor(severity: Severity, onset_en: str, onset_ko: str) -> Word:
    return Word(
        severity,
        "sensor",
        onset_en,
        onset_ko,
        "{subject} measures as usual again",
        "{subject} 측정값 정상 회복",
    )


WORDS = {
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
    "air.fire": Word(
        Severity.CRITICAL,
        "city",
        "Smoke over {subject}: PM2.5 {pm25:+.0f} and PM10 {pm10:+.0f} ug/m3 against the other stations, for {hours}",
        "{subject} 연기 감지(화재 의심): 주변 측정소 대비 PM2.5 {pm25:+.0f}, PM10 {pm10:+.0f} ㎍/㎥, {hours}간",
        "The smoke over {subject} is gone",
        "{subject} 연기 해소",
    ),
    "air.dust": Word(
        Severity.MINOR,
        "city",
        "Coarse dust over {subject}: PM10 {pm10:+.0f} ug/m3 against the other stations for {hours}, PM2.5 only "
        "{pm25:+.0f}",
        "{subject} 비산먼지 감지: 주변 측정소 대비 PM10 {pm10:+.0f} ㎍/㎥, {hours}간 (PM2.5는 {pm25:+.0f})",
        "The dust over {subject} is gone",
        "{subject} 비산먼지 해소",
    ),
    "air.stuck": _sensor(
        Severity.MAJOR,
        "{subject} has shown the same value ({value:.4g}) for {hours} while its neighbours moved: stuck",
        "{subject} {hours}간 같은 값({value:.4g})만 표시, 주변 측정소는 변동: 값 고착",
    ),
    "air.dropout": _sensor(
        Severity.MAJOR,
        "{subject} has delivered no value for {hours}",
        "{subject} {hours}간 측정값 없음: 결측",
    ),
    "air.noisy": _sensor(
        Severity.MINOR,
        "{subject} scatters {size:.0f} times as much as usual for {hours}",
        "{subject} {hours}간 평소의 {size:.0f}배로 흔들림: 잡음 과다",
    ),
    "air.spikes": _sensor(
        Severity.MINOR,
        "{subject} had {size:.0f} single values far off the rest within {hours}",
        "{subject} {hours} 동안 동떨어진 단발 값 {size:.0f}회: 튐 현상",
    ),
    "air.clogged": _sensor(
        Severity.MAJOR,
        "Both dust values of {subject} sank against the other stations, to {percent:.0f} % of what was usual: "
        "inlet or fan blocked",
        "{subject} PM2.5·PM10이 함께 주변 대비 평소의 {percent:.0f} %로 저하: 흡입구·팬 막힘 의심",
    ),
    "air.swapped_units": _sensor(
        Severity.MAJOR,
        "{subject} fits its neighbours only when read in {unit}, for {hours}: unit changed",
        "{subject} {hours}간 {unit} 단위로 읽어야 주변과 일치: 단위 변경 의심",
    ),
    "air.offset": _sensor(
        Severity.MAJOR,
        "{subject} jumped by {shift} against its neighbours and stayed there for {hours}",
        "{subject} 주변 대비 {shift} 급변 후 {hours}간 지속: 영점 이상",
    ),
    "air.drift": _sensor(
        Severity.MINOR,
        "{subject} has crept {shift} away from its neighbours",
        "{subject} 주변 대비 {shift} 서서히 벗어남: 드리프트",
    ),
}

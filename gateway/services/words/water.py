"""The sentences of water zones and their instruments."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
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
}

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
    "water.leak_candidate": Word(
        Severity.MAJOR,
        "city",
        "Leak growing in zone {subject}: pressures moved within {hours} in a way its flows do not explain ({moved}); "
        "net inflow {inflow} against the week before",
        "{subject} 구역 누수 진행 의심: 유량으로 설명되지 않는 압력 변화가 {hours} 내 발생 ({moved}), "
        "순유입량 전주 대비 {inflow}",
        "The pressures of zone {subject} are back to what they were before the leak",
        "{subject} 구역 압력이 누수 이전 상태로 회복",
    ),
    "water.burst_suspected": Word(
        Severity.CRITICAL,
        "city",
        "Pipe burst suspected in zone {subject}: within {hours} pressures jumped in a way its flows do not explain "
        "({moved}); net inflow {inflow} against the week before",
        "{subject} 구역 관로 파열 의심: {hours} 내 유량으로 설명되지 않는 압력 급변 ({moved}), "
        "순유입량 전주 대비 {inflow}",
        "The pressures of zone {subject} are back to what they were before the burst",
        "{subject} 구역 압력이 파열 이전 상태로 회복",
    ),
    "water.sensor_stuck": Word(
        Severity.MINOR,
        "sensor",
        "{subject} has shown one and the same value for {hours}: stuck",
        "{subject} 측정값이 {hours} 동안 변하지 않음: 고착",
        "{subject} agrees with the other instruments of its zone again",
        "{subject} 측정값 정상 회복 (구역 내 다른 계측기와 일치)",
    ),
    "water.sensor_dropout": Word(
        Severity.MINOR,
        "sensor",
        "{subject} has given no value for {hours} while its zone is read",
        "{subject} 값이 {hours} 동안 수신되지 않음 (구역 내 다른 계측기는 정상)",
        "{subject} agrees with the other instruments of its zone again",
        "{subject} 측정값 정상 회복 (구역 내 다른 계측기와 일치)",
    ),
    "water.sensor_noisy": Word(
        Severity.MINOR,
        "sensor",
        "{subject} scatters far more than usual from reading to reading",
        "{subject} 측정값의 흔들림이 평소보다 크게 증가",
        "{subject} agrees with the other instruments of its zone again",
        "{subject} 측정값 정상 회복 (구역 내 다른 계측기와 일치)",
    ),
    "water.sensor_spikes": Word(
        Severity.MINOR,
        "sensor",
        "{subject} shows single values far off its neighbours in time",
        "{subject} 측정값에 순간적인 이상치 반복",
        "{subject} agrees with the other instruments of its zone again",
        "{subject} 측정값 정상 회복 (구역 내 다른 계측기와 일치)",
    ),
    "water.sensor_offset": Word(
        Severity.MINOR,
        "sensor",
        "{subject} jumped by {size} while the other instruments of its zone did not",
        "{subject} 측정값이 {size} 급변 (구역 내 다른 계측기는 변화 없음)",
        "{subject} agrees with the other instruments of its zone again",
        "{subject} 측정값 정상 회복 (구역 내 다른 계측기와 일치)",
    ),
    "water.sensor_drift": Word(
        Severity.MINOR,
        "sensor",
        "{subject} drifts away from what the other instruments of its zone say ({size} within {hours})",
        "{subject} 측정값이 구역 내 다른 계측기와 점차 어긋남 ({hours} 동안 {size})",
        "{subject} agrees with the other instruments of its zone again",
        "{subject} 측정값 정상 회복 (구역 내 다른 계측기와 일치)",
    ),
    "water.night_flow": Word(
        Severity.MAJOR,
        "city",
        "Leak suspected in zone {subject}: its lowest flow at night is {night}, usually {usual} ({rise})",
        "{subject} 구역 누수 의심: 야간최소유량 {night}, 평소 {usual} ({rise}), 여러 밤 지속",
        "The lowest flow at night of zone {subject} is ordinary again ({night})",
        "{subject} 구역 야간최소유량 정상 회복 ({night})",
    ),
    "water.backflow": Word(
        Severity.MAJOR,
        "city",
        "Water flows backwards at {subject}: {flow} for {hours}",
        "{subject} 역류: {flow}, {hours} 지속",
        "Water at {subject} flows forwards again",
        "{subject} 역류 해소",
    ),
}

"""The sentences of the detectors of single channels."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
    "anomaly.level": Word(
        Severity.MINOR,
        "city",
        "{subject} left its usual course: {value:.4g} where {expected:.4g} was expected",
        "{subject} 평소 범위를 벗어남: 예상 {expected:.4g}, 측정 {value:.4g}",
        "{subject} is back on a usual course",
        "{subject} 평소 범위로 회복",
    ),
    "anomaly.spike": Word(
        Severity.MINOR,
        "sensor",
        "{subject} read {value:.4g} once where {expected:.4g} was expected",
        "{subject} 순간 이상값: 예상 {expected:.4g}, 측정 {value:.4g}",
        "{subject} reads usual values again",
        "{subject} 정상값으로 회복",
    ),
    "anomaly.drift": Word(
        Severity.MINOR,
        "sensor",
        "{subject} has been drifting: {value:.4g}, long around {expected:.4g}",
        "{subject} 서서히 변함: 장기 평균 {expected:.4g}, 측정 {value:.4g}",
        "{subject} drifts no further",
        "{subject} 변화 멈춤",
    ),
    "anomaly.variance": Word(
        Severity.MINOR,
        "sensor",
        "{subject} is noisier or calmer than usual, at {value:.4g}",
        "{subject} 변동 폭이 평소와 다름: 측정 {value:.4g}",
        "{subject} varies as usual again",
        "{subject} 변동 폭 정상으로 회복",
    ),
    "anomaly.stuck": Word(
        Severity.MINOR,
        "sensor",
        "{subject} has stood at {value:.4g} for longer than ever",
        "{subject} 값이 {value:.4g}에 오래 멈춰 있음",
        "{subject} moves again",
        "{subject} 다시 변함",
    ),
    "anomaly.missing": Word(
        Severity.MINOR,
        "sensor",
        "{subject} misses more readings than usual",
        "{subject} 누락된 측정이 평소보다 많음",
        "{subject} is read as usual again",
        "{subject} 측정 정상으로 회복",
    ),
    "anomaly.seasonal": Word(
        Severity.MINOR,
        "city",
        "{subject} is {value:.4g} where {expected:.4g} is usual at this hour",
        "{subject} 이 시간대 평소와 다름: 예상 {expected:.4g}, 측정 {value:.4g}",
        "{subject} is as usual for this hour again",
        "{subject} 시간대별 평소 값으로 회복",
    ),
}

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
}

"""The sentences of traffic loops and stations."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
    "traffic.loop_stuck": Word(
        Severity.MAJOR,
        "sensor",
        "Loop {subject} has reported presence for {seconds:.0f} s without a break: locked on",
        "{subject} 루프 검지기가 {seconds:.0f}초간 연속 점유 보고: 고착 고장",
        "Loop {subject} detects vehicles again",
        "{subject} 루프 검지기 정상 동작",
    ),
}

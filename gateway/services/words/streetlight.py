"""The sentences of streetlights and their cabinets."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
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
}

"""The sentences of machines whose gauges are judged together."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
    "machine.joint": Word(
        Severity.MAJOR,
        "city",
        "{subject} does not run as usual: its gauges together score {score:.0f} (limit {limit:.0f}); "
        "{first} {first_value:.4g} (usually {first_usual:.4g}) makes up {first_share:.0f} % of it, "
        "{second} {second_value:.4g} (usually {second_usual:.4g}) {second_share:.0f} %",
        "{subject} 평소와 다른 운전 상태: 계측값 종합 점수 {score:.0f} (기준 {limit:.0f}), "
        "{first} {first_value:.4g} (평소 {first_usual:.4g}) 기여 {first_share:.0f} %, "
        "{second} {second_value:.4g} (평소 {second_usual:.4g}) 기여 {second_share:.0f} %",
        "{subject} {how_en}",
        "{subject} {how_ko}",
    ),
}

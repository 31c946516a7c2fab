"""The sentences of streetlights and their cabinets."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
    "streetlight.lamp_out": Word(
        Severity.MINOR,
        "city",
        "Lamp {subject} has failed ({evidence})",
        "{subject} 가로등 소등 고장 ({evidence})",
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
    "streetlight.cable_theft": Word(
        Severity.MAJOR,
        "city",
        "The last {failed:.0f} of {lamps:.0f} lamps of feeder {subject} are without supply, the others work "
        "({evidence} left): cable cut or stolen",
        "{subject} 회로 말단 가로등 {lamps:.0f}개 중 {failed:.0f}개 전원 상실, 나머지는 정상 (잔류 전류 {evidence}): "
        "케이블 절단·도난 의심",
        "The far lamps of feeder {subject} are supplied again",
        "{subject} 회로 말단 가로등 전원 복구",
    ),
    "streetlight.contactor_stuck": Word(
        Severity.MAJOR,
        "city",
        "{lit:.0f} of {lamps:.0f} lamps of feeder {subject} burn where {commanded:.0f} are commanded on: "
        "the contactor does not switch",
        "{subject} 회로 가로등 {lamps:.0f}개 중 점등 명령 {commanded:.0f}개, 실제 점등 {lit:.0f}개: 접촉기 고착",
        "The contactor of feeder {subject} switches again",
        "{subject} 회로 접촉기 정상 동작",
    ),
    "streetlight.day_burner": Word(
        Severity.MINOR,
        "city",
        "Lamp {subject} burns though commanded off ({watts:.1f} W)",
        "{subject} 가로등 소등 명령 중 점등 ({watts:.1f} W)",
        "Lamp {subject} is off again",
        "{subject} 가로등 정상 소등",
    ),
    "streetlight.cycling": Word(
        Severity.MINOR,
        "city",
        "Lamp {subject} keeps going out and restarting ({restarts:.0f} times within 3 h)",
        "{subject} 가로등 반복 점멸 (3시간 내 {restarts:.0f}회)",
        "Lamp {subject} burns steadily again",
        "{subject} 가로등 안정 점등",
    ),
    "streetlight.power_drift": Word(
        Severity.MINOR,
        "city",
        "Power of lamp {subject} has crept by {change:+.0f} % at the same level ({watts:.1f} W at {level:.0f} %, "
        "after {burnt_h:.0f} h of burning)",
        "{subject} 가로등 동일 밝기 소비전력 {change:+.0f} % 서서히 변화 (밝기 {level:.0f} %에서 {watts:.1f} W, "
        "점등 {burnt_h:.0f}시간)",
        "Power of lamp {subject} is steady at {watts:.1f} W",
        "{subject} 가로등 소비전력 정상 ({watts:.1f} W)",
    ),
    "streetlight.door_open": Word(
        Severity.MAJOR,
        "city",
        "The door of cabinet {subject} has been open for {minutes:.0f} min without announced work",
        "{subject} 분전함 문 {minutes:.0f}분간 열림 (예정 작업 없음)",
        "The door of cabinet {subject} is closed, after {minutes:.0f} min",
        "{subject} 분전함 문 닫힘 ({minutes:.0f}분 후)",
    ),
    "streetlight.earth_leakage": Word(
        Severity.MAJOR,
        "city",
        "Earth leakage of cabinet {subject} is {leak_ma:.0f} mA, above {limit_ma:.0f} mA for {minutes:.0f} min: "
        "more than rain or switching causes",
        "{subject} 분전함 누설전류 {leak_ma:.0f} mA, {minutes:.0f}분간 {limit_ma:.0f} mA 초과: 강우·개폐 영향 이상",
        "Earth leakage of cabinet {subject} is normal, {leak_ma:.0f} mA",
        "{subject} 분전함 누설전류 정상 ({leak_ma:.0f} mA)",
    ),
    "streetlight.photocell_fault": Word(
        Severity.MINOR,
        "sensor",
        "The photocell of cabinet {subject} contradicts the sun: {lux:.0f} lx at {elevation:.0f} degrees, "
        "where {least:.0f} to {most:.0f} lx are possible",
        "{subject} 분전함 조도센서 이상: 태양고도 {elevation:.0f}도에서 {lux:.0f} lx "
        "(가능 범위 {least:.0f}~{most:.0f} lx)",
        "The photocell of cabinet {subject} agrees with the sun again ({lux:.0f} lx)",
        "{subject} 분전함 조도센서 정상 ({lux:.0f} lx)",
    ),
    "streetlight.meter_fault": Word(
        Severity.MINOR,
        "sensor",
        "The meter of cabinet {subject} contradicts its feeders or itself (shown / due: {evidence})",
        "{subject} 분전함 계량기 불일치 (표시값 / 기대값: {evidence})",
        "The meter of cabinet {subject} agrees with its feeders again",
        "{subject} 분전함 계량기 정상",
    ),
}

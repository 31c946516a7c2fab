"""The sentences of traffic loops and stations."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
    "traffic.loop_stuck": Word(
        Severity.MAJOR,
        "sensor",
        "Loop {subject} jumped to presence within one sample and has not moved for {seconds:.0f} s, as no vehicle "
        "does: stuck on",
        "{subject} 루프 신호가 한 샘플 만에 점유로 뛴 뒤 {seconds:.0f}초간 변화 없음(차량의 움직임이 아님): 고착",
        "Loop {subject} detects vehicles again",
        "{subject} 루프 검지기 정상 동작",
    ),
    "traffic.loop_chatter": Word(
        Severity.MAJOR,
        "sensor",
        "Loop {subject} chatters: its signal jumped again and again within {seconds:.1f} s, faster than any vehicle: "
        "check splices and lead-in cable",
        "{subject} 루프 채터링: {seconds:.1f}초 동안 차량보다 빠르게 신호가 반복해서 뜀, 접속부·인입선 점검 필요",
        "Loop {subject} has settled",
        "{subject} 루프 신호 안정 회복",
    ),
    "traffic.loop_open": Word(
        Severity.MAJOR,
        "sensor",
        "Loop {subject} is open: its signal fell far below that of an empty loop, the wire is broken or loose",
        "{subject} 루프 단선: 신호가 빈 루프보다 훨씬 낮음, 루프선 단선 또는 접촉 불량",
        "Loop {subject} is closed again",
        "{subject} 루프 단선 복구",
    ),
    "traffic.wrong_way": Word(
        Severity.CRITICAL,
        "city",
        "Vehicle against the direction of the lane at {subject}: {kmh:.0f} km/h, {length:.1f} m long, seen by the "
        "trailing loop first",
        "{subject} 역주행 차량: {kmh:.0f} km/h, 길이 {length:.1f} m, 뒤쪽 루프가 먼저 검지",
        "No further vehicle against the direction of the lane at {subject} for {seconds:.0f} s",
        "{subject} {seconds:.0f}초간 추가 역주행 없음",
    ),
    "traffic.detector_chatter": Word(
        Severity.MAJOR,
        "sensor",
        "Detector {subject} counted {vehicles:.0f} vehicles in 30 s, more than a lane can carry: it chatters",
        "{subject} 검지기 30초간 {vehicles:.0f}대 검지, 한 차로가 처리할 수 있는 수를 초과: 채터링",
        "Detector {subject} counts as a lane can carry again",
        "{subject} 검지기 정상 계수 회복",
    ),
    "traffic.detector_locked_on": Word(
        Severity.MAJOR,
        "sensor",
        "Detector {subject} has reported 100 % occupancy for {minutes:.0f} min: locked on",
        "{subject} 검지기 {minutes:.0f}분간 점유율 100 % 보고: 고착 고장",
        "Detector {subject} is free again",
        "{subject} 검지기 점유 해제",
    ),
    "traffic.detector_no_hits": Word(
        Severity.MAJOR,
        "sensor",
        "Detector {subject} has seen no vehicle for {hours:.1f} h: it is dead, or the lane is closed",
        "{subject} 검지기 {hours:.1f}시간 동안 차량 미검지: 고장 또는 차로 폐쇄",
        "Detector {subject} sees vehicles again",
        "{subject} 검지기 차량 검지 재개",
    ),
    "traffic.detector_no_change": Word(
        Severity.MAJOR,
        "sensor",
        "Detector {subject} has reported the same {volume:.0f} vehicles an interval for {hours:.0f} h: "
        "its output is frozen",
        "{subject} 검지기 {hours:.0f}시간 동안 같은 값({volume:.0f}대) 반복: 출력 고정",
        "The counts of detector {subject} change again",
        "{subject} 검지기 값 변화 재개",
    ),
    "traffic.detector_open": Word(
        Severity.MAJOR,
        "sensor",
        "Detector {subject} reports an open loop",
        "{subject} 검지기 루프 단선 보고",
        "Detector {subject} reports its loop whole again",
        "{subject} 검지기 루프 단선 해제",
    ),
    "traffic.detector_short": Word(
        Severity.MAJOR,
        "sensor",
        "Detector {subject} reports a shorted loop",
        "{subject} 검지기 루프 단락 보고",
        "Detector {subject} reports its loop free of shorts again",
        "{subject} 검지기 루프 단락 해제",
    ),
    "traffic.detector_fault": Word(
        Severity.MAJOR,
        "sensor",
        "Detector {subject} reports that it is out of order",
        "{subject} 검지기 자체 고장 보고",
        "Detector {subject} reports that it is well",
        "{subject} 검지기 자체 고장 해제",
    ),
    "traffic.pair_mismatch": Word(
        Severity.MINOR,
        "sensor",
        "Detectors {subject} and {other} of one lane counted {first:.0f} and {second:.0f} vehicles in {minutes:.0f} "
        "min: one of them misses or doubles",
        "같은 차로의 {subject}·{other} 검지기 {minutes:.0f}분간 {first:.0f}대·{second:.0f}대로 불일치: "
        "누락 또는 중복 계수",
        "Detectors {subject} and {other} agree again: {first:.0f} and {second:.0f} vehicles",
        "{subject}·{other} 검지기 계수 일치 회복 ({first:.0f}대·{second:.0f}대)",
    ),
    "traffic.incident": Word(
        Severity.CRITICAL,
        "city",
        "Incident suspected on {subject}: occupancy {up:.0f} % at {upstream}, {down:.0f} % at {downstream} behind it",
        "{subject} 구간 돌발 상황 의심: 점유율 상류 {upstream} {up:.0f} %, 하류 {downstream} {down:.0f} %",
        "Occupancy on {subject} is even again: {up:.0f} % at {upstream}, {down:.0f} % at {downstream}",
        "{subject} 구간 점유율 차이 해소: {upstream} {up:.0f} %, {downstream} {down:.0f} %",
    ),
}

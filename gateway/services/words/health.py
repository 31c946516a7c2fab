"""The sentences of the gateway, its links and devices."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
    "health.device_silent": Word(
        Severity.MAJOR,
        "sensor",
        "Device {subject} has not answered for {seconds:.0f} s",
        "{subject} 장치 {seconds:.0f}초간 무응답",
        "Device {subject} answers again",
        "{subject} 장치 응답 재개",
    ),
    "health.link_down": Word(
        Severity.MAJOR,
        "link",
        "Link {subject} is down: none of its devices can be reached",
        "{subject} 통신선 두절: 연결된 모든 장치에 접근 불가",
        "Link {subject} is back",
        "{subject} 통신선 복구",
    ),
    "health.maintenance": Word(
        Severity.NOTICE,
        "sensor",
        "{subject}: maintenance by {by} for {minutes:.0f} min{why}, alarms are held",
        "{subject} 점검 시작: {by}, {minutes:.0f}분{why}, 경보 보류",
        "{subject}: maintenance is over, {held} alarms were held, {stands} still stand",
        "{subject} 점검 종료: 보류 경보 {held}건, 지속 중 {stands}건",
    ),
    "health.push_test": Word(
        Severity.NOTICE,
        "link",
        "{subject}: test message {nonce}, nothing is wrong",
        "{subject} 전송 시험 {nonce}: 이상 없음",
        "{subject}: end of test message {nonce}",
        "{subject} 전송 시험 {nonce} 종료",
    ),
    "health.command_stuck": Word(
        Severity.MAJOR,
        "link",
        "{subject} could not be put back to {rest:g} after a command ({why}); it is tried until it reads back",
        "{subject} 명령 종료 후 {rest:g}(으)로 복귀 실패 ({why}), 재시도 중",
        "{subject} is under control again",
        "{subject} 명령 상태 정상화",
    ),
}

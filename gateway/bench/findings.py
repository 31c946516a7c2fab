"""What the bench says of a line or a device: a code, what it means, what to try next, in English and Korean. Pure."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple


class Finding(NamedTuple):
    code: str
    en: str
    ko: str
    next_en: str
    next_ko: str

    def lines(self) -> list[str]:
        """For a terminal of 80 columns, both languages."""
        parts = (f"{self.code} {self.en}", f"  -> {self.next_en}", f"  {self.ko}", f"  -> {self.next_ko}")
        return [line for part in parts for line in wrapped(part)]

    def as_json(self) -> dict[str, str]:
        return self._asdict()


def wrapped(text: str, width: int = 80) -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces; Korean letters take two."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    lines, line = [], indent
    for word in text.split():
        longer = f"{line} {word}" if line.strip() else line + word
        if columns(longer) > width and line.strip():
            lines.append(line)
            line = f"{indent}   {word}"
        else:
            line = longer
    return [*lines, line]


def columns(text: str) -> int:
    """What `text` takes of a terminal's line."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def finding(code: str, **facts: object) -> Finding:
    """The finding `code` with its blanks filled in."""
    return Finding(code, *(words.format(**facts) for words in WORDS[code]))


def not_asked(where: str, why: str, hint: str) -> Finding:
    """What cannot be reached at all. `hint`: what to do, English and Korean with " / " between, as drivers give it."""
    english, _, korean = hint.partition(" / ")
    return finding("CG-5109", where=where, why=why, hint_en=english, hint_ko=korean or english)


WORDS: dict[str, tuple[str, str, str, str]] = {
    "CG-5100": (
        "nothing at all answers, and the line is still",
        "아무 응답도 없고 회선이 조용합니다",
        "swap A and B; check the device's power, the adapter's port and that its protocol is Modbus RTU; "
        "then --units 1-247 --thorough",
        "A와 B를 바꾸고 장치 전원, 어댑터 포트, Modbus RTU 설정을 확인한 뒤 --units 1-247 --thorough 로 다시 하십시오",
    ),
    "CG-5101": (
        "the adapter hears only itself (echo); no device answers",
        "어댑터가 자신의 송신만 수신합니다(에코). 응답하는 장치가 없습니다",
        "the adapter and its wiring up to the terminals work: swap A and B, check the device's power; "
        "an echo is no harm, a switch on the adapter may turn it off",
        "어댑터는 정상입니다. A와 B를 바꾸고 장치 전원을 확인하십시오. 에코 자체는 문제가 없습니다",
    ),
    "CG-5102": (
        "{bytes} bytes that mean nothing: noise, or somebody at another baud rate",
        "의미 없는 {bytes}바이트 수신: 잡음이거나 통신 속도가 다릅니다",
        "try the other rates (--baud 2400,4800,57600); where it stays: bias resistors, the common wire (GND), "
        "a device that speaks by itself (citygate identify)",
        "다른 속도를 시도하고(--baud 2400,4800,57600), 계속되면 바이어스 저항, 공통선(GND), "
        "스스로 송신하는 장치(citygate identify)를 확인하십시오",
    ),
    "CG-5103": (
        "answers of {units} come with wrong CRCs now and then",
        "장치 {units}의 응답에 가끔 CRC 오류가 있습니다",
        "120 ohm at both ends of the line and nowhere else; shield at one end; away from drives and mains; "
        "or a lower baud rate",
        "종단저항 120옴은 회선 양 끝에만, 실드는 한쪽만 접지하고 전력선과 분리하거나 속도를 낮추십시오",
    ),
    "CG-5104": (
        "two devices have address {unit}: their answers garble each other",
        "주소 {unit}을(를) 쓰는 장치가 둘입니다: 응답이 서로 깨집니다",
        "unplug one of them, give the other another address, then scan again",
        "하나를 분리하고 다른 하나의 주소를 바꾼 뒤 다시 검색하십시오",
    ),
    "CG-5105": (
        "answers of address {unit} are garbled: most likely two devices have this address",
        "주소 {unit}의 응답이 깨집니다: 같은 주소의 장치가 둘인 것으로 보입니다",
        "unplug one device and scan again; if only one is connected: 120 ohm at both ends, GND, stop bits",
        "장치 하나를 분리하고 다시 검색하십시오. 하나뿐이면 종단저항 120옴, GND, 정지 비트를 확인하십시오",
    ),
    "CG-5106": (
        "somebody else talks on this line: another master, or citygate itself",
        "이 회선에서 다른 마스터가 통신하고 있습니다",
        "a line has one master: unplug the other, or ask through the field half (--site)",
        "회선의 마스터는 하나여야 합니다. 다른 마스터를 분리하거나 --site 로 필드 프로세스를 통해 검색하십시오",
    ),
    "CG-5107": (
        "the time is up: {untried} of {total} requests were not made",
        "시간이 다 되어 {total}개 중 {untried}개를 시도하지 못했습니다",
        "give more time (--within S), or fewer rates, parities or units",
        "--within 을 늘리거나 속도, 패리티, 주소 범위를 줄이십시오",
    ),
    "CG-5108": (
        "this machine has no serial port",
        "이 장비에 시리얼 포트가 없습니다",
        "plug the adapter in (ls -l /dev/serial/by-id), or name a target: tcp://HOST, coap://HOST, ble:hci0",
        "어댑터를 꽂고 ls -l /dev/serial/by-id 로 확인하거나 tcp://HOST, coap://HOST, ble:hci0 를 지정하십시오",
    ),
    "CG-5109": (
        "{where} cannot be asked: {why}",
        "{where} 에 요청할 수 없습니다: {why}",
        "{hint_en}",
        "조치: {hint_ko}",
    ),
    "CG-5110": (
        "nothing is called {name}",
        "{name} 은(는) 없습니다",
        "there are: {known}",
        "있는 이름: {known}",
    ),
    "CG-5111": (
        "{what} cannot be used: {why}",
        "{what} 을(를) 쓸 수 없습니다: {why}",
        "citygate {verb} --help shows an example",
        "citygate {verb} --help 의 예를 보십시오",
    ),
    "CG-5112": (
        "no profile fits what answers",
        "응답에 맞는 프로파일이 없습니다",
        "citygate profile new begins one, citygate read --suggest finds types and addresses from the display",
        "citygate profile new 로 새로 만들고 citygate read --suggest 로 표시 값에 맞는 형식을 찾으십시오",
    ),
    "CG-5113": (
        "no encoding in reach gives {shown}",
        "표시 값 {shown}에 맞는 형식이 없습니다",
        "read the display and the registers at the same moment; look at other addresses: --suggest 3:ADDRESS=VALUE",
        "표시 값과 레지스터를 같은 순간에 읽고 다른 주소도 시도하십시오: --suggest 3:ADDRESS=VALUE",
    ),
    "CG-5114": (
        "{point} did not do what was expected ({what}) within {seconds} s",
        "{point} 이(가) {seconds}초 안에 기대한 대로({what}) 변하지 않았습니다",
        "look at the value while you do it again; check the sensor's wiring and that it is this one",
        "다시 시험하면서 값을 보고 센서 배선과 해당 센서가 맞는지 확인하십시오",
    ),
    "CG-5115": (
        "{device} does not answer: {why}",
        "{device} 이(가) 응답하지 않습니다: {why}",
        "citygate scan shows what is on its line",
        "citygate scan 으로 회선을 확인하십시오",
    ),
    "CG-5116": (
        "answers of address {unit} are garbled now and then, those of {others} are not: two devices with this address, "
        "or a bad branch of the line",
        "주소 {unit}의 응답만 가끔 깨집니다({others}은(는) 정상): 같은 주소의 장치가 둘이거나 지선 불량입니다",
        "unplug one device with this address and scan again; else look at the wiring of its branch",
        "이 주소의 장치 하나를 분리하고 다시 검색하고, 계속되면 해당 지선 배선을 확인하십시오",
    ),
    "CG-5117": (
        "{where}: nothing answers",
        "{where}: 응답이 없습니다",
        "check the address, the device's power and the network",
        "주소, 장치 전원, 네트워크를 확인하십시오",
    ),
}

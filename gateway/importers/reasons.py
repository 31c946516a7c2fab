"""Why something of another system's file did not carry over, in English and Korean. Data only."""

from __future__ import annotations

from gateway.site.faults import Both

THEIRS = Both("a matter of the other system, not of the device", "장치가 아니라 원래 시스템에서만 쓰는 항목입니다")
UNREAD_TAG = Both(
    "a secret, or another file, which is not read here: import that file by itself",
    "여기서 읽지 않는 비밀 값이나 다른 파일입니다. 그 파일을 따로 가져오십시오",
)
NO_UNIT = Both("no unit of SenML's registry has this name", "SenML 등록 단위에 없는 이름입니다")
NO_TYPE = Both("an encoding that no register type here has", "지원하지 않는 데이터 형식입니다")
NO_ADDRESS = Both("no address from 0 to 65535", "0~65535 범위의 주소가 없습니다")
NO_ORDER = Both("a byte order that does not fit the width", "폭에 맞지 않는 바이트 순서입니다")
GAPS = Both("its registers do not follow each other", "레지스터가 연속되지 않습니다")
OMITTED = Both("omitted there too", "원래 설정에서도 제외된 항목입니다")
NO_TABLE = Both("not one of coils, discrete inputs, holding or input registers", "알 수 없는 레지스터 종류입니다")
NO_LIMITS = Both(
    "written there without limits: it is read only here until `writable = [low, high]` is added",
    "쓰기 한계가 없어 읽기 전용으로 가져왔습니다. writable = [하한, 상한]을 추가하십시오",
)
IDENTITY = Both(
    "a text: read once when the link comes up, as identity, not as a point",
    "문자열은 포인트가 아니라 연결 시 한 번 읽는 identity로 옮겼습니다",
)
TEXT_LEFT = Both("a text that cannot be read as identity", "identity로 읽을 수 없는 문자열입니다")
MANY_VALUES = Both("several values at once that cannot be told apart", "여러 값이 묶여 있어 나눌 수 없습니다")
PLATFORM = Both(
    "several registers that are controlled together: import the values you need as points by hand",
    "여러 레지스터를 함께 제어하는 항목입니다. 필요한 값만 직접 포인트로 추가하십시오",
)
ONLY_WRITTEN = Both("only written there; it is read here", "원래는 쓰기 전용입니다. 여기서는 읽습니다")
CLAMPED = Both(
    "values beyond were cut there; here they are marked out of range",
    "원래는 범위 밖의 값을 잘랐지만 여기서는 범위 밖으로 표시합니다",
)
NOT_LINEAR = Both("not a matter of scale and offset", "scale과 offset으로 나타낼 수 없습니다")
NO_FORM = Both("no form by which Modbus or CoAP could read it", "Modbus나 CoAP로 읽을 수 있는 form이 없습니다")
NO_ACTION = Both("actions and events are not read", "동작(action)과 이벤트는 가져오지 않습니다")
NO_SHAPE = Both("lists are not taken apart", "배열은 나누지 않습니다")
NO_LINK = Both("no link here has this way", "지원하지 않는 연결 방식입니다")
SECURED = Both(
    "secured there by DTLS; here by OSCORE: write `credentials` in the link",
    "원래는 DTLS를 쓰지만 여기서는 OSCORE입니다. 링크에 credentials를 쓰십시오",
)
BASE_ONE = Both(
    "counted from 1 there (its default): each address here is one less, as on the wire. Read one value to be sure",
    "원래 주소는 1부터 셉니다(기본값). 전송 주소로 1씩 줄였습니다. 값 하나를 읽어 확인하십시오",
)
BASE_ZERO = Both(
    "an address 0 is in use, so they count from 0 and were taken as they are",
    "주소 0이 쓰이므로 0부터 세는 것으로 보고 그대로 가져왔습니다",
)
BASE_PREFIX = Both(
    "written as 4xxxx, 3xxxx or 1xxxx: the prefix was taken off and they count from 1",
    "4xxxx, 3xxxx, 1xxxx 표기입니다. 앞자리를 떼고 1부터 세는 주소로 보았습니다",
)
DESCENDING = Both("addresses stand low word first: order turned", "주소가 하위 워드부터 적혀 있어 순서를 바꿨습니다")
FLOAT_TWO = Both(
    "deprecated alias there: an unsigned integer, not a float", "실수가 아니라 부호 없는 정수의 옛 이름입니다"
)
NO_FLOAT = Both(
    "one register is hardly a float, and the file does not say what it holds: taken for a signed integer without a "
    "scale. Compare one value with the device's display",
    "레지스터 하나에 실수가 들어가기 어렵고 파일에 형식이 없어 부호 있는 정수(scale 없음)로 보았습니다. "
    "장치 표시값과 비교하십시오",
)
TWICE = Both("stands in the file twice", "파일에 두 번 적혀 있습니다")
NO_BAUD = Both("the line settings are not in the file", "파일에 회선 설정이 없습니다")
NO_POINT = Both("it has no point that could be read", "읽을 수 있는 포인트가 없습니다")
NOT_A_NUMBER = Both("not a number", "숫자가 아닙니다")

"""The messages of CG-1xxx (configuration files) and CG-4001, in English and Korean. Data only.

Placeholders in braces are facts supplied by the check that found the fault. docs/errors.md explains each code.
"""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """What is wrong and what to do next, in both languages."""

    words_en: str
    words_ko: str
    next_en: str
    next_ko: str
    warning: bool = False
    note: bool = False  # worth knowing, nothing to act on


MESSAGES: dict[str, Message] = {
    # the file as such
    "CG-1001": Message(
        "cannot be read: {why}",
        "읽을 수 없습니다: {why}",
        "check the path and the permissions",
        "경로와 권한을 확인하십시오",
    ),
    "CG-1002": Message(
        "broken TOML at column {column}: {what}",
        "TOML 문법 오류, {column}번째 칸: {what}",
        "{cause}",
        "{cause}",
    ),
    "CG-1003": Message(
        'unknown key "{key}"{guess}',
        '알 수 없는 키 "{key}"{guess}',
        "correct the key or remove it; keys known here: {known}",
        "키를 고치거나 지우십시오. 여기서 쓸 수 있는 키: {known}",
    ),
    "CG-1004": Message(
        'the key "{key}" is missing',
        '키 "{key}"이(가) 없습니다',
        "add it to this table; docs/{doc} describes every key",
        "이 표에 추가하십시오. 모든 키는 docs/{doc}에 있습니다",
    ),
    "CG-1005": Message(
        "is {got}, must be {must}",
        "{got}이(가) 쓰여 있습니다. 필요한 형식: {must}",
        "write {example}",
        "{example} 형식으로 쓰십시오",
    ),
    "CG-1006": Message(
        "this file describes neither a site nor a device",
        "사이트 파일도 장치 프로파일도 아닙니다",
        "a site file has a [gateway] table, a profile a [device] table",
        "사이트 파일에는 [gateway], 프로파일에는 [device] 표가 있어야 합니다",
    ),
    "CG-1007": Message(
        "{value} is outside what is possible: {must}",
        "{value}은(는) 쓸 수 없는 값입니다: {must}",
        "write a value that is {must}",
        "{must} 조건에 맞는 값을 쓰십시오",
    ),
    "CG-1008": Message(
        'the name "{value}" is not well formed',
        '이름 "{value}"의 형식이 맞지 않습니다',
        "{rule_en}",
        "{rule_ko}",
    ),
    "CG-1009": Message(
        "schema {value} is not known to this version",
        "schema {value}은(는) 이 버전이 모르는 형식입니다",
        "write schema = 1, or update citygate",
        "schema = 1로 쓰거나 citygate를 업데이트하십시오",
    ),
    "CG-1010": Message(
        '"{name}" is already used on line {first}',
        '"{name}"은(는) {first}번째 줄에서 이미 쓰였습니다',
        "give one of the two another name",
        "둘 중 하나의 이름을 바꾸십시오",
    ),
    "CG-1011": Message(
        "{words}",
        "값이 맞지 않습니다: {words}",
        "correct this value; docs/{doc} describes every key",
        "이 값을 고치십시오. 모든 키는 docs/{doc}에 있습니다",
    ),
    "CG-1012": Message(
        'unknown "{value}"{guess}',
        '알 수 없는 값 "{value}"{guess}',
        "write one of {allowed}",
        "다음 중 하나를 쓰십시오: {allowed}",
    ),
    # profiles
    "CG-1020": Message(
        'unknown protocol "{value}"{guess}',
        '알 수 없는 프로토콜 "{value}"{guess}',
        "write one of {allowed}",
        "다음 중 하나를 쓰십시오: {allowed}",
    ),
    "CG-1021": Message(
        'unknown unit "{value}"{guess}',
        '알 수 없는 단위 "{value}"{guess}',
        'use a name of the SenML registry (docs/profiles.md lists them), or "" for codes and bits',
        'SenML 등록 단위(docs/profiles.md 목록)를 쓰고, 코드나 비트는 ""로 두십시오',
    ),
    "CG-1022": Message(
        'unknown role "{value}"{guess}',
        '알 수 없는 역할 "{value}"{guess}',
        "write one of {allowed}, or leave the role out",
        "다음 중 하나를 쓰거나 role을 지우십시오: {allowed}",
    ),
    "CG-1023": Message(
        'the unit "{unit}" does not fit the role "{role}" ({meaning}){guess}',
        '단위 "{unit}"은(는) 역할 "{role}"에 맞지 않습니다{guess}',
        "use one of {allowed} and set scale to match, or take the role away",
        "다음 단위 중 하나와 그에 맞는 scale을 쓰거나 role을 지우십시오: {allowed}",
    ),
    "CG-1024": Message(
        "the lower end {low} is not below the upper end {high}",
        "하한 {low}이(가) 상한 {high}보다 작지 않습니다",
        "write range = [lowest, highest]",
        "range = [최솟값, 최댓값] 순서로 쓰십시오",
    ),
    "CG-1025": Message(
        "[{low}, {high}] goes beyond what {type} with this scale and offset can show: [{least}, {most}]",
        "[{low}, {high}] 범위가 {type}과 이 scale, offset의 한계 [{least}, {most}]를 벗어납니다",
        "check the type (signed?) and the scale against the manual, or narrow the range",
        "설명서에서 type(부호 여부)과 scale을 확인하거나 range를 줄이십시오",
    ),
    "CG-1026": Message(
        "a scale of 0 makes every reading the same",
        "scale이 0이면 모든 값이 같아집니다",
        "write the factor from the raw number to the unit, 1.0 where there is none",
        "원시값에 곱할 계수를 쓰십시오. 없으면 1.0입니다",
    ),
    "CG-1027": Message(
        "{words}",
        "프로토콜과 맞지 않습니다: {words}",
        "compare with the device's manual; docs/profiles.md explains the keys of each protocol",
        "장치 설명서와 비교하십시오. 프로토콜별 키는 docs/profiles.md에 있습니다",
    ),
    "CG-1028": Message(
        '"{value}" is not a point of this device{guess}',
        '"{value}"은(는) 이 장치의 포인트가 아닙니다{guess}',
        "name points that are read from the device: {known}",
        "장치에서 읽는 포인트를 쓰십시오: {known}",
    ),
    "CG-1029": Message(
        'a derived point is computed, it cannot also have "{key}"',
        '계산되는 포인트(derived)에는 "{key}"을(를) 쓸 수 없습니다',
        "remove the key, or remove derived and read the point from the device",
        "이 키를 지우거나, derived를 지우고 장치에서 직접 읽으십시오",
    ),
    "CG-1030": Message(
        "the capture decodes to {got}, the profile says {want}{hint}",
        "캡처를 해석하면 {got}인데 프로파일에는 {want}(으)로 되어 있습니다{hint}",
        "check address, type, word order, scale and offset against the manual; then the capture itself",
        "설명서에서 주소, type, 워드 순서, scale, offset을 확인하고, 그다음 캡처를 확인하십시오",
    ),
    "CG-1031": Message(
        "the capture cannot be decoded: {why}",
        "캡처를 해석할 수 없습니다: {why}",
        "give request and reply as whole frames in hexadecimal, checksums included",
        "request와 reply를 체크섬까지 포함한 전체 프레임(16진수)으로 쓰십시오",
    ),
    "CG-1032": Message(
        "unproven: no capture shows that the decoding is right",
        "검증되지 않음: 해석이 맞는지 보여 주는 캡처가 없습니다",
        "add a [[captures]] with request, reply and values from a real device or the manual",
        "실제 장치나 설명서의 request, reply, values로 [[captures]]를 추가하십시오",
        warning=True,
    ),
    "CG-1033": Message(
        'the role "{role}" needs kind = "{kind}"',
        '역할 "{role}"에는 kind = "{kind}"이(가) 필요합니다',
        'write kind = "{kind}", or take the role away',
        'kind = "{kind}"(으)로 쓰거나 role을 지우십시오',
    ),
    "CG-1034": Message(
        "the profile has no point",
        "프로파일에 포인트가 없습니다",
        "add at least one [[points]] table",
        "[[points]] 표를 하나 이상 추가하십시오",
    ),
    "CG-1035": Message(
        'the registry\'s "%" is a ratio from 0 to 1, not per cent (RFC 8428, 12.1)',
        '등록 단위 "%"는 백분율이 아니라 0~1의 비율입니다(RFC 8428, 12.1)',
        'write unit = "/100" for values from 0 to 100, "/" for a ratio',
        '0~100 값이면 unit = "/100", 비율이면 "/"로 쓰십시오',
        warning=True,
    ),
    "CG-1039": Message(
        "rest {value} cannot be written to the point",
        "rest {value}은(는) 이 포인트에 쓸 수 없는 값입니다",
        "write a value within writable and range, or take rest away: a command then goes back to what was there before",
        "writable과 range 안의 값을 쓰거나 rest를 지우십시오. 지우면 명령 이전 값으로 돌아갑니다",
    ),
    # sites
    "CG-1036": Message(
        'there is no profile "{value}" to extend{guess}',
        '확장할 프로파일 "{value}"이(가) 없습니다{guess}',
        "name a profile of the library, or one beside this file, as family/vendor-model",
        "라이브러리나 이 파일 옆 폴더의 프로파일을 family/vendor-model 형식으로 쓰십시오",
    ),
    "CG-1037": Message(
        '"{value}" itself extends "{base}": variants are one level deep',
        '"{value}"도 "{base}"을(를) 확장합니다. 변형은 한 단계만 됩니다',
        'extend "{base}" and write here what differs from it',
        '"{base}"을(를) 확장하고 다른 점을 여기에 쓰십시오',
    ),
    "CG-1038": Message(
        "a probe is either a text (identity and matches) or a point (point and equals)",
        "probe는 문자열(identity와 matches) 또는 포인트(point와 equals) 중 하나여야 합니다",
        'write identity = "product" with matches = "SDM120.*", or point = "type" with equals = [112]',
        'identity = "product"와 matches = "SDM120.*", 또는 point = "type"과 equals = [112]를 함께 쓰십시오',
    ),
    "CG-1040": Message(
        'unknown profile "{value}"{guess}',
        '알 수 없는 프로파일 "{value}"{guess}',
        "searched {folders}; profiles of a site go into a folder named by gateway.profiles",
        "찾은 곳: {folders}. 사이트 전용 프로파일은 gateway.profiles 폴더에 두십시오",
    ),
    "CG-1041": Message(
        'unit {unit} on link "{link}" is already "{other}" (line {first})',
        '링크 "{link}"의 주소 {unit}은(는) 이미 "{other}"({first}번째 줄)가 쓰고 있습니다',
        "two devices with one address garble each other: give one of them another address, on the device too",
        "주소가 같으면 응답이 섞입니다. 장치와 파일에서 한쪽 주소를 바꾸십시오",
    ),
    "CG-1042": Message(
        '"{url}" is the same port as link "{other}" (line {first}): {port}',
        '"{url}"은(는) 링크 "{other}"({first}번째 줄)와 같은 포트입니다: {port}',
        "put the devices of both on one link",
        "두 링크의 장치를 한 링크로 합치십시오",
    ),
    "CG-1043": Message(
        'unknown link "{value}"{guess}',
        '알 수 없는 링크 "{value}"{guess}',
        "name a [[links]] of this file: {allowed}",
        "이 파일의 [[links]] 중 하나를 쓰십시오: {allowed}",
    ),
    "CG-1044": Message(
        'the protocol {driver} of profile "{profile}" cannot use "{url}"',
        '프로파일 "{profile}"의 프로토콜 {driver}은(는) "{url}"을(를) 쓸 수 없습니다',
        "use a link with one of {allowed}",
        "다음 주소 형식의 링크를 쓰십시오: {allowed}",
    ),
    "CG-1045": Message(
        "its devices disagree about {key}: {votes}",
        "연결된 장치들의 {key} 기본값이 서로 다릅니다: {votes}",
        "set all devices of the line to one value and write {key} in this link",
        "모든 장치를 같은 값으로 설정하고 이 링크에 {key}을(를) 쓰십시오",
    ),
    "CG-1046": Message(
        '"{device}" speaks by itself and needs the line alone, but "{other}" (line {first}) is on it too',
        '"{device}"은(는) 스스로 송신하는 장치인데 같은 회선에 "{other}"({first}번째 줄)도 있습니다',
        "give each its own port and link",
        "각각 다른 포트와 링크에 연결하십시오",
    ),
    "CG-1047": Message(
        'unknown upstream "{value}"{guess}',
        '알 수 없는 상위 시스템 "{value}"{guess}',
        "name an [[upstreams]] of this file: {allowed}",
        "이 파일의 [[upstreams]] 중 하나를 쓰십시오: {allowed}",
    ),
    "CG-1048": Message(
        "insecure = true: values and alarms travel unencrypted and can be forged",
        "insecure = true: 값과 알람이 암호화되지 않고 전송되며 위조될 수 있습니다",
        "for use outside a test bench make credentials: citygate credentials new",
        "시험 환경이 아니면 인증 정보를 만드십시오: citygate credentials new",
        warning=True,
    ),
    "CG-1049": Message(
        'profile "{profile}" has no point "{value}"{guess}',
        '프로파일 "{profile}"에는 포인트 "{value}"이(가) 없습니다{guess}',
        "override one of its points: {known}",
        "있는 포인트만 바꿀 수 있습니다: {known}",
    ),
    "CG-1050": Message(
        "the schedule needs {share} % of the line's time; most by {points}",
        "폴링 일정에 회선 시간의 {share} %가 필요합니다. 가장 큰 것: {points}",
        "raise period_s of these points, raise the baud rate, or split the line",
        "이 포인트들의 period_s를 늘리거나, 통신 속도를 높이거나, 회선을 나누십시오",
    ),
    "CG-1051": Message(
        'the link carries {driver}, but "{device}" speaks {other}',
        '이 링크는 {driver}용인데 "{device}"은(는) {other} 장치입니다',
        "put devices of one protocol on a link",
        "한 링크에는 같은 프로토콜의 장치만 연결하십시오",
    ),
    "CG-1052": Message(
        '"{value}" is not an address of a link{guess}',
        '"{value}"은(는) 링크 주소 형식이 아닙니다{guess}',
        "write tcp://host:port, rtu+tcp://host:port (ports 1 to 65535) or serial:/dev/name; ascii+tcp:// and ascii: "
        "for Modbus ASCII; coap://host:port for a CoAP node",
        "tcp://호스트:포트, rtu+tcp://호스트:포트(포트 1~65535) 또는 serial:/dev/이름 형식으로 쓰십시오. "
        "Modbus ASCII는 ascii+tcp://, ascii:, CoAP 노드는 coap://호스트:포트 입니다",
    ),
    "CG-1053": Message(
        'the derived point "{derived}" needs "{value}", which this site disables',
        '계산 포인트 "{derived}"에 필요한 "{value}"을(를) 이 사이트에서 껐습니다',
        'enable "{value}", or disable "{derived}" too',
        '"{value}"을(를) 켜거나 "{derived}"도 끄십시오',
    ),
    "CG-1054": Message(
        "the site has no upstream: everything is kept here and nothing is sent",
        "상위 시스템이 없습니다. 모든 값이 여기에만 저장되고 전송되지 않습니다",
        "add an [[upstreams]] table with the center's address",
        "센터 주소를 적은 [[upstreams]] 표를 추가하십시오",
        warning=True,
    ),
    "CG-1055": Message(
        "no device uses this link",
        "이 링크를 쓰는 장치가 없습니다",
        "remove the link, or name it in a device",
        "링크를 지우거나 장치에서 이 링크를 지정하십시오",
        warning=True,
    ),
    "CG-1056": Message(
        '"{value}" is not an address of an upstream',
        '"{value}"은(는) 상위 시스템 주소 형식이 아닙니다',
        "write coap://host:port (ports 1 to 65535), or coap+tcp://host:port where no UDP passes; coaps is not spoken, "
        "OSCORE secures both",
        "coap://호스트:포트(포트 1~65535), UDP가 막힌 망이면 coap+tcp://호스트:포트 형식으로 쓰십시오. "
        "coaps는 쓰지 않습니다(보안은 OSCORE)",
    ),
    "CG-1057": Message(
        "the upstream is neither secured nor declared insecure",
        "상위 시스템에 인증 정보가 없고 insecure 선언도 없습니다",
        'write credentials = "credentials/{name}" (citygate credentials new makes the folder), '
        "or insecure = true on a test bench",
        'credentials = "credentials/{name}"을(를) 쓰거나(citygate credentials new로 생성) '
        "시험 환경이면 insecure = true로 쓰십시오",
    ),
    "CG-1058": Message(
        "{words}",
        "이 링크에서 쓸 수 없는 장치 주소: {words}",
        "write the unit address that is set on the device",
        "장치에 설정된 주소(unit)를 쓰십시오",
    ),
    "CG-1059": Message(
        "{value} is not above {clear} = {low}: the alarm would come and go without end",
        "{value}이(가) {clear} = {low}보다 크지 않습니다. 알람이 끝없이 발생과 해제를 반복합니다",
        "a level is cleared below the one that raises it: raise this value, or write a lower {clear}",
        "해제 기준은 발생 기준보다 낮아야 합니다. 이 값을 높이거나 {clear} 값을 낮추십시오",
    ),
    "CG-1060": Message(
        "the path {value} is too long for a socket: {size} bytes, at most {most}",
        "소켓을 만들기에 경로 {value}이(가) 너무 깁니다: {size}바이트, 최대 {most}바이트",
        "name a shorter state_dir, as /var/lib/citygate",
        "/var/lib/citygate처럼 짧은 state_dir를 지정하십시오",
    ),
    "CG-1061": Message(
        '"{value}" is no time zone{guess}',
        '"{value}"은(는) 알려진 시간대가 아닙니다{guess}',
        "write an IANA name, as Asia/Seoul; services tell night from day by it",
        "Asia/Seoul처럼 IANA 시간대 이름을 쓰십시오. 서비스가 밤낮을 구분하는 데 씁니다",
    ),
    "CG-1066": Message(
        '`address` "{value}" is for Bluetooth devices; the link is {link}',
        'address "{value}"은(는) 블루투스 장치에만 씁니다. 링크는 {link}입니다',
        "take `address` out, or put the device on a ble: link; a number on the line is `unit`",
        "address를 지우거나 ble: 링크에 연결하십시오. 회선의 장치 번호는 unit입니다",
    ),
    "CG-1067": Message(
        '"{value}" is no Bluetooth address of device "{device}"',
        '"{value}"은(는) 장치 "{device}"의 블루투스 주소가 아닙니다',
        'write the address printed on the device: address = "AA:BB:CC:DD:EE:FF"',
        '장치에 표시된 주소를 쓰십시오: address = "AA:BB:CC:DD:EE:FF"',
    ),
    "CG-1068": Message(
        'address {address} is already "{other}" (line {first})',
        '주소 {address}은(는) 이미 "{other}"({first}번째 줄)가 쓰고 있습니다',
        "a Bluetooth address belongs to one device: correct one of them",
        "블루투스 주소는 장치마다 다릅니다. 한쪽을 고치십시오",
    ),
    "CG-1069": Message(
        'the key file "{file}" cannot be used ({why})',
        '키 파일 "{file}"을(를) 사용할 수 없습니다 ({why})',
        "the path counts from the site file; the file holds the device's key in hexadecimal, readable to citygate",
        "경로는 사이트 파일 기준입니다. 파일에는 장치 키를 16진수로 쓰고 citygate가 읽을 수 있게 하십시오",
    ),
    # who gets what
    "CG-1080": Message(
        'the site says mode "{value}", its upstreams make it "{mode}"',
        '사이트에는 mode "{value}"(으)로 되어 있지만 상위 시스템 구성은 "{mode}"입니다',
        "local has no upstream, agency only upstreams with role agency, center at least one other; correct one of them",
        "local은 상위 시스템이 없고, agency는 role이 agency인 것만, center는 그 밖의 것이 하나 이상입니다. "
        "한쪽을 고치십시오",
    ),
    "CG-1081": Message(
        "a oneM2M platform does not speak OSCORE: everything would travel unencrypted",
        "oneM2M 플랫폼은 OSCORE를 쓰지 않습니다. 모든 값이 암호화되지 않고 전송됩니다",
        "say so with insecure = true, and take a way of its own there (VPN, private APN)",
        "insecure = true로 명시하고 VPN이나 전용 APN으로 연결하십시오",
    ),
    "CG-1082": Message(
        '"{value}" is no address of a oneM2M platform',
        '"{value}"은(는) oneM2M 플랫폼 주소 형식이 아닙니다',
        "write coap://host:port/name-of-the-CSEBase, as coap://mobius.example:5683/Mobius",
        "coap://호스트:포트/CSEBase 이름 형식으로 쓰십시오. 예: coap://mobius.example:5683/Mobius",
    ),
    "CG-1083": Message(
        "no upstream takes these events: {codes}",
        "이 이벤트를 받는 상위 시스템이 없습니다: {codes}",
        "add their codes to the events of an upstream, or name them in gateway.local_events if they shall stay here",
        "상위 시스템의 events에 추가하거나, 여기에만 두려면 gateway.local_events에 적으십시오",
        warning=True,
    ),
    "CG-1084": Message(
        "summaries of {channels} go to no upstream",
        "{channels}의 요약을 받는 상위 시스템이 없습니다",
        "name an upstream here, or write upstreams = [] if they shall stay here",
        "여기에 상위 시스템을 지정하거나, 여기에만 두려면 upstreams = []로 쓰십시오",
        warning=True,
    ),
    "CG-1085": Message(
        "gets nothing: no event and no summary of this site is for it",
        "보내는 것이 없습니다. 이 사이트의 이벤트도 요약도 해당하지 않습니다",
        "give it events or summaries, or remove it",
        "events나 summaries를 지정하거나 지우십시오",
        warning=True,
    ),
    "CG-1086": Message(
        'no {kind} is called "{value}"{guess}',
        '"{value}"(이)라는 {kind}이(가) 없습니다{guess}',
        "write one of {allowed}",
        "다음 중 하나를 쓰십시오: {allowed}",
    ),
    "CG-1087": Message(
        "monthly_mb is not kept towards a oneM2M platform",
        "oneM2M 플랫폼에는 monthly_mb가 적용되지 않습니다",
        "remove it; to send less, name what shall go there in summaries, or raise window_s",
        "지우십시오. 전송량을 줄이려면 summaries로 대상을 지정하거나 window_s를 늘리십시오",
    ),
    "CG-1088": Message(
        'the same credentials as upstream "{other}" (line {first}): each of the two can read what goes to the other',
        '상위 시스템 "{other}"({first}번째 줄)와 같은 인증 정보입니다. 서로 상대에게 가는 내용을 읽을 수 있습니다',
        'write a folder of its own, as credentials = "credentials/{name}" (citygate credentials new makes it)',
        '별도 폴더를 쓰십시오. 예: credentials = "credentials/{name}"(citygate credentials new로 생성)',
        warning=True,
    ),
    # lint: what the schema allows and a careful reader would doubt
    "CG-1090": Message(
        "the captures prove {proven} of {all} points; not yet: {names}",
        "캡처로 검증된 포인트는 {all}개 중 {proven}개입니다. 남은 것: {names}",
        "add captures of the others when the device is at hand",
        "장치가 있을 때 나머지 포인트의 캡처도 추가하십시오",
        note=True,
    ),
    "CG-1091": Message(
        "{words}",
        "주소 기준이 의심됩니다: {words}",
        "addresses are those on the wire, from 0; read one value whose size you know, or add a capture",
        "주소는 0부터 세는 전송 주소입니다. 크기를 아는 값을 하나 읽어 보거나 캡처를 추가하십시오",
        warning=True,
    ),
    "CG-1092": Message(
        "at {baud} baud these periods need {share} % of a line's time, for this device alone",
        "{baud} baud에서 이 장치만으로 회선 시간의 {share} %가 필요합니다",
        "raise period_s of the device or of points that change slowly, or correct the baud rate",
        "장치나 천천히 변하는 포인트의 period_s를 늘리거나 baud를 고치십시오",
        warning=True,
    ),
    "CG-1093": Message(
        "{words}",
        "같은 레지스터를 두 번 읽습니다: {words}",
        "compare both with the manual; keep one, or give each its bit or mask",
        "설명서와 비교해 하나만 두거나 각각 bit 또는 mask를 쓰십시오",
        warning=True,
    ),
    "CG-1094": Message(
        "the same exchange as capture {other}",
        "캡처 {other}와(과) 같은 요청과 응답입니다",
        "put the values of both into one capture, or replace one with another reading",
        "두 캡처의 값을 하나로 합치거나, 하나를 다른 측정값으로 바꾸십시오",
        warning=True,
    ),
    "CG-1095": Message(
        "a float without a range: whatever arrives is believed, words in the wrong order included",
        "range가 없는 실수입니다. 워드 순서가 틀린 값도 그대로 믿게 됩니다",
        "write range = [lowest, highest] of the manual",
        "설명서의 range = [최솟값, 최댓값]을 쓰십시오",
        note=True,
    ),
    "CG-1096": Message(
        "{words}",
        "scale과 맞지 않습니다: {words}",
        "compare scale with the manual's unit of one count; is it the inverse (10 for 0.1)?",
        "설명서의 1카운트 단위와 scale을 비교하십시오. 역수(0.1 대신 10)는 아닙니까?",
        warning=True,
    ),
    "CG-1097": Message(
        "{words}",
        "역할과 맞지 않아 보입니다: {words}",
        "is the range in raw counts, before scale? Is the role right? The range is in the point's unit",
        "scale을 곱하기 전의 값은 아닙니까? 역할은 맞습니까? range는 포인트의 단위로 씁니다",
        warning=True,
    ),
    "CG-1098": Message(
        "writable, and without a range: what is read back is not judged",
        "쓸 수 있는데 range가 없어 되읽은 값을 판정하지 못합니다",
        "write range = [lowest, highest] too; writing never goes beyond it",
        "range = [최솟값, 최댓값]도 쓰십시오. 쓰기는 그 범위를 넘지 않습니다",
        warning=True,
    ),
    "CG-1099": Message(
        '"{word}" = {value} can never be read: {type} with this scale and offset shows [{least}, {most}]',
        '"{word}" = {value}은(는) 읽힐 수 없는 값입니다. {type}의 한계: [{least}, {most}]',
        "correct the number or the type",
        "숫자나 type을 고치십시오",
        warning=True,
    ),
    "CG-1110": Message(
        'the capture shows {value} {unit}, outside the range [{low}, {high}] of "{name}"',
        '캡처의 값 {value} {unit}이(가) "{name}"의 range [{low}, {high}]를 벗어납니다',
        "correct the range (a digit too few?), or scale and value together against the manual",
        "range의 자릿수를 확인하고, 설명서와 scale 및 값을 함께 비교하십시오",
        warning=True,
    ),
    "CG-1111": Message(
        "{baud} baud is not a usual rate; {near}?",
        "{baud} baud는 흔히 쓰는 속도가 아닙니다. {near} 아닙니까?",
        "compare with the manual's list of rates; serial ports often cannot make others",
        "설명서의 통신 속도와 비교하십시오. 다른 속도는 시리얼 포트가 지원하지 않을 수 있습니다",
        warning=True,
    ),
    "CG-1112": Message(
        'the role "{role}" counts on, and the kind is "gauge"',
        '역할 "{role}"은(는) 누적값인데 kind가 "gauge"입니다',
        'write kind = "counter": summaries then say how much was added, over a rollover, too',
        'kind = "counter"로 쓰십시오. 그래야 요약이 증가량을 나타내고 롤오버도 처리합니다',
        warning=True,
    ),
    "CG-1113": Message(
        'order = "CDAB" changes nothing in {type}, which is one register',
        '레지스터 하나인 {type}에는 order = "CDAB"가 영향을 주지 않습니다',
        "is the type right (32 bits?); if so remove order; for swapped bytes write BADC",
        "type이 맞는지(32비트?) 확인하십시오. 맞으면 order를 지우고, 바이트가 바뀐 값이면 BADC로 쓰십시오",
        warning=True,
    ),
    "CG-1114": Message(
        "unlike its neighbours: {words}",
        "이웃 포인트와 다릅니다: {words}",
        "compare with the manual; a capture of this point settles it",
        "설명서와 비교하십시오. 이 포인트의 캡처가 있으면 확인됩니다",
        warning=True,
    ),
    "CG-1115": Message(
        "nan {raw} of {type} is {meant}, which means {value} {unit}: a believable reading",
        "{type}의 nan {raw}은(는) {meant}이고 {value} {unit}에 해당하는 정상 범위의 값입니다",
        "compare with the manual: signed values mostly have {most} or its negative for this; or the type is unsigned",
        "설명서와 비교하십시오. 부호 있는 값은 보통 {most} 또는 그 음수를 씁니다. 아니면 부호 없는 type입니다",
        warning=True,
    ),
    "CG-1116": Message(
        "rollover {rollover} is never reached: {type} with this scale and offset ends at {most}",
        "rollover {rollover}에는 도달할 수 없습니다. 이 scale과 offset의 {type}은(는) {most}까지입니다",
        "give rollover in the point's unit, after scale; else each new start adds what was never counted",
        "rollover는 scale을 적용한 포인트 단위로 쓰십시오. 아니면 0으로 돌아갈 때마다 없던 양이 더해집니다",
        warning=True,
    ),
    # credentials, checked together with the site that names them
    "CG-4001": Message(
        'there is no OSCORE context in "{folder}"',
        '"{folder}"에 OSCORE 컨텍스트가 없습니다',
        "make one with: citygate credentials new; then give the center its half",
        "citygate credentials new로 만들고 센터에 짝이 되는 파일을 전달하십시오",
    ),
    # the file of a node
    "CG-6220": Message(
        '"{value}" is no address to listen at',
        '"{value}"은(는) 수신 주소가 아닙니다',
        'write bind = "0.0.0.0:5683" or "[::]:5683": an IP address and a port',
        'bind = "0.0.0.0:5683" 또는 "[::]:5683"처럼 IP 주소와 포트를 쓰십시오',
    ),
    "CG-6221": Message(
        'the pattern "{value}" cannot be used: {why}',
        '패턴 "{value}"을(를) 쓸 수 없습니다: {why}',
        "write a regular expression with at most one group, which is the number",
        "숫자를 나타내는 그룹이 최대 하나인 정규식을 쓰십시오",
    ),
    "CG-6222": Message(
        "the resource {resource} is taken ({why})",
        "리소스 {resource}은(는) 이미 쓰입니다 ({why})",
        "give this sensor another object, instance or resource; objects below 10 are the node's own",
        "다른 object, instance, resource를 쓰십시오. 10 미만의 object는 노드 자체의 것입니다",
    ),
    "CG-6223": Message(
        'the key in "{value}" cannot be used: {why}',
        '"{value}"의 키를 쓸 수 없습니다: {why}',
        "name a file with an Ed25519 public key in PEM (citygate firmware keygen makes one)",
        "Ed25519 공개 키(PEM) 파일을 지정하십시오 (citygate firmware keygen으로 생성)",
    ),
}

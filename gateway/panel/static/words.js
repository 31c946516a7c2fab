// Every word that the pages say, in Korean and English. What the gateway says comes with both languages already.
const WORDS = {
  signIn: ["로그인", "Sign in"], signOut: ["로그아웃", "Sign out"], token: ["초대 코드", "Invitation"],
  howToSignIn: ["현장 게이트웨이에서 citygate panel invite 를 실행해 나온 QR 코드를 찍거나 코드를 입력하십시오.",
    "Scan the code that citygate panel invite shows on the gateway, or type it here."],
  noPanel: ["패널에 연결할 수 없습니다.", "The panel does not answer."],
  skip: ["본문으로", "Skip to the page"], pages: ["화면", "Pages"],
  cabinet: ["제어함", "Cabinet"], alarms: ["경보", "Alarms"], bus: ["회선", "Bus"], commission: ["시운전", "Commission"],
  device: ["장치", "Device"], devices: ["장치", "Devices"], links: ["회선", "Lines"], upstreams: ["센터", "Centers"],
  clock: ["시계", "Clock"], spool: ["보관", "Kept records"], point: ["포인트", "Point"], points: ["포인트", "Points"],
  light: ["밝게", "Light"], dark: ["어둡게", "Dark"], other: ["English", "한국어"],
  good: ["정상", "good"], degraded: ["저하", "degraded"], dead: ["불능", "dead"], maintenance: ["점검 중", "maintenance"],
  fieldGone: ["필드 프로세스가 응답하지 않습니다. 마지막 값을 표시합니다.", "The field half does not answer. Values are the last known."],
  panelGone: ["패널과 연결이 끊겼습니다. 다시 연결하는 중입니다.", "No connection to the panel. Trying again."],
  fieldBack: ["필드 프로세스가 다시 응답합니다.", "The field half answers again."],
  allWell: ["모두 정상", "All is well"], loading: ["불러오는 중", "Loading"],
  nAlarms: ["경보 {n}건", "alarms: {n}"], nDead: ["불능 {n}개", "dead: {n}"], nWork: ["점검 중 {n}개", "in maintenance: {n}"],
  nDegraded: ["저하 {n}개", "degraded: {n}"],
  noAlarms: ["경보가 없습니다.", "No alarm stands."], noPast: ["지난 경보가 없습니다.", "None yet."],
  noUpstreams: ["전송하지 않는 단독 운영입니다.", "Stands alone: nothing is sent."],
  standing: ["현재 경보", "Alarms that stand"], past: ["지난 경보", "Earlier"], since: ["발생", "since"], ended: ["해제", "ended"],
  began: ["발생", "began"], acknowledged: ["확인", "acknowledged"], acknowledge: ["확인", "Acknowledge"], note: ["메모", "Note"],
  acknowledgedBy: ["{by} 확인", "acknowledged by {by}"],
  critical: ["심각", "critical"], major: ["주요", "major"], minor: ["경미", "minor"], notice: ["알림", "notice"],
  city: ["도시 이상", "the city is abnormal"], sensor: ["센서 고장", "the sensor is broken"], link: ["통신 장애", "the line is broken"],
  clockSet: ["동기화됨, 오차 {x} 이내", "set, within {x}"], clockUnset: ["설정되지 않음: 기록은 시각을 알 때까지 보관", "not set: records wait until it is"],
  waiting: ["대기 {n}건", "{n} waiting"], nothingWaits: ["대기 없음", "nothing waits"], oldest: ["가장 오래된 것 {x} 전", "the oldest {x} ago"],
  heldBack: ["디스크에 쓰지 못한 {n}건", "{n} not on disk"], heard: ["마지막 저장 {x} 전", "last stored {x} ago"],
  roundTrip: ["왕복 {x} ms", "round trip {x} ms"], insecure: ["보안 없음", "insecure"], agency: ["기관", "agency"],
  find: ["장치 찾기", "Find a device"], none: ["없음", "none"], noDevice: ["이런 장치가 없습니다.", "There is no such device."],
  profile: ["프로파일", "Profile"], place: ["위치", "Place"], line: ["회선", "Line"], asset: ["자산 번호", "Asset"],
  raw: ["측정값", "raw"], filtered: ["필터 후", "filtered"], usual: ["평소 범위", "usual range"], value: ["값", "Value"],
  quality: ["품질", "Quality"], age: ["경과", "Age"], curve: ["{name} 곡선, 지금 {value}", "Curve of {name}, now {value}"],
  unproven: ["검증되지 않은 프로파일", "unproven profile"], nextStep: ["다음 조치", "What to do"],
  q0: ["정상", "good"], q32: ["의심", "suspect"], q64: ["범위 밖", "out of range"], q128: ["장치가 값 없음으로 응답", "the device has no value"],
  q160: ["응답 없음", "no reply"], q161: ["깨진 응답", "bad reply"], q162: ["장치가 거부", "refused"], q192: ["회선 끊김", "line down"], q224: ["조회하지 않음", "not polled"],
  readBytes: ["지금 읽기 (바이트)", "Read now, with bytes"], request: ["요청", "Request"], reply: ["응답", "Reply"], range: ["범위", "Range"],
  decoded: ["해석", "decoded"], verdict: ["판정", "Verdict"], reading: ["읽는 중", "Reading"],
  startWork: ["점검 시작", "Begin maintenance"], endWork: ["점검 끝", "End maintenance"], minutes: ["분", "minutes"], why: ["사유", "Reason"],
  workLeft: ["{x} 남음, {by}", "{x} left, {by}"], command: ["제어", "Command"], send: ["보내기", "Send"], forMinutes: ["유지 시간(분)", "For (minutes)"],
  commandDone: ["적용됨, 읽은 값 {x}", "done, reads back {x}"], done: ["완료", "Done"], mayLook: ["조회만 할 수 있습니다.", "You may look only."],
  evidence: ["발생 전후 측정값", "Readings around its onset"], neighbours: ["같은 시각의 이웃", "Neighbours at the same time"], noNeighbours: ["비교할 이웃이 없습니다.", "No neighbours to compare."],
  noAlarm: ["이 경보는 더 이상 없습니다.", "This alarm is not known any more."], noEvidence: ["함께 온 측정값이 없습니다.", "It came without readings."],
  planned: ["계획", "planned"], used: ["사용", "used"], polls: ["조회", "polls"], overruns: ["지연", "overruns"], reconnects: ["재연결", "reconnects"],
  errors: ["오류", "Errors"], noErrors: ["오류 없음", "No errors"], quarantined: ["응답이 없어 드물게 조회", "asked less often"], answersIn: ["응답 {x} ms", "answers in {x} ms"],
  timeout: ["제한 {x} ms", "time-out {x} ms"], misses: ["연속 무응답 {n}", "{n} time-outs in a row"], up: ["열림", "open"], down: ["닫힘", "closed"],
  pickDevice: ["장치를 고르십시오.", "Choose a device."], stepRead: ["읽기", "Read"], stepDisplay: ["표시기와 비교", "Compare with the display"],
  stepProve: ["실제로 확인", "Prove physically"], stepPush: ["센터까지 확인", "Push test"], stepSign: ["서명", "Sign"],
  foundFirst: ["작업 전 상태 기록", "Note the state as found"], foundDone: ["작업 전 상태를 기록했습니다.", "The state as found is noted."],
  shows: ["표시기 값", "The display shows"], difference: ["차이", "Difference"], whatToDo: ["무엇을 하십니까?", "What do you do to it?"],
  begin: ["시작", "Begin"], again: ["다시", "Again"], waitFor: ["{what} 을(를) 기다립니다", "Waiting: {what}"], secondsLeft: ["{n}초 남음", "{n} s left"],
  rises: ["{p} 증가", "{p} rises"], falls: ["{p} 감소", "{p} falls"], moves: ["{p} 변화", "{p} moves"],
  pass: ["적합", "PASS"], fail: ["부적합", "FAIL"], skipStep: ["건너뛰기", "Skip"], next: ["다음", "Next"], back: ["이전", "Back"],
  technician: ["작업자", "Technician"], serial: ["제조번호", "Serial number"], notes: ["비고", "Notes"], sign: ["서명하고 기록", "Sign and record"],
  signing: ["20초 동안 회선을 관찰하고 센터까지 시험합니다.", "The line is watched for 20 s and the way to the center is tried."],
  print: ["인쇄용 기록 열기", "Open the record to print"], records: ["기록", "Records"], noRecords: ["아직 기록이 없습니다.", "No records yet."],
  acknowledgedIn: ["{x}초 만에 확인", "acknowledged in {x} s"], notAcknowledged: ["확인 응답 없음", "not acknowledged"], tryPush: ["센터까지 시험", "Test the way to the center"],
  standsAlone: ["전송하지 않는 제어함입니다.", "This cabinet sends nothing."], seconds: ["초", "s"], ago: ["{x} 전", "{x} ago"], signedInAs: ["{by}, {role}", "{by}, {role}"],
  code: ["코드", "Code"], observe: ["조회", "may look"], operate: ["조작", "may operate"], more: ["{n}개 더 보기", "Show {n} more"],
};

const stored = localStorage.getItem("language");
let now = stored === "ko" || stored === "en" ? stored : (navigator.language || "ko").startsWith("ko") ? "ko" : "en";

export const language = () => now;

export function speak(tongue) {
  now = tongue;
  localStorage.setItem("language", tongue);
}

// A word by its key, with {x} filled in.
export function say(key, filled = {}) {
  const both = WORDS[key];
  const text = both ? both[now === "ko" ? 0 : 1] : key;
  return text.replace(/\{(\w+)\}/g, (_, name) => (name in filled ? String(filled[name]) : ""));
}

// Of {en, ko}, as the gateway says things.
export const both = (said) => (said ? (now === "ko" ? said.ko || said.en : said.en || said.ko) : "") || "";

export function number(x, digits = 6) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  const size = Math.abs(x);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return x.toExponential(3);
  return Number(x.toPrecision(digits)).toLocaleString(now === "ko" ? "ko-KR" : "en-GB", { maximumFractionDigits: 6 });
}

const UNITS = { Cel: "°C", "%RH": "%RH", "/100": "%", "ug/m3": "µg/m³", "m3/h": "m³/h", "m3": "m³", "count": "", "/": "", "l/s": "L/s" };
export const unit = (name) => (name in UNITS ? UNITS[name] : name);

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const ko = now === "ko";
  if (s < 60) return ko ? `${s}초` : `${s} s`;
  if (s < 3600) return ko ? `${Math.floor(s / 60)}분` : `${Math.floor(s / 60)} min`;
  if (s < 86400) return ko ? `${Math.floor(s / 3600)}시간 ${Math.floor((s % 3600) / 60)}분` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return ko ? `${Math.floor(s / 86400)}일` : `${Math.floor(s / 86400)} d`;
}

export function clockTime(ms, withDate = false) {
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  if (withDate) Object.assign(options, { month: "2-digit", day: "2-digit" });
  return new Date(ms).toLocaleString(now === "ko" ? "ko-KR" : "en-GB", options);
}

"""The printed page of a commissioning record: A4, Korean and English side by side, no scripts, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
@page { size: A4; margin: 15mm }
body { font: 10pt/1.35 "Noto Sans KR", "Malgun Gothic", sans-serif; color: #000; max-width: 180mm; margin: 5mm auto }
h1 { font-size: 15pt; margin: 0 0 2mm } h2 { font-size: 11pt; margin: 5mm 0 1mm; border-bottom: 1px solid #000 }
table { border-collapse: collapse; width: 100% } td, th { border: 1px solid #999; padding: 1mm 2mm; text-align: left }
th { background: #eee; font-weight: 600 } .n { text-align: right; font-variant-numeric: tabular-nums }
.pass { font-weight: 700 } .fail { font-weight: 700; background: #000; color: #fff }
code { font: 8pt monospace; word-break: break-all } .sign td { height: 14mm }
"""


def body(record: Mapping[str, Any], signer: str, mark: str, signature: str) -> str:
    """The page with `@RECORD@` where the JSON goes."""
    device, gateway = record["device"], record["gateway"]
    title = f"시운전 기록 / Commissioning record: {device['name']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _pairs(
            [
                ("결과 / Result", "적합 PASS" if record["passed"] else "부적합 FAIL"),
                ("일시 / Time (UTC)", record["utc"]),
                ("작업자 / By", record["by"]),
                ("게이트웨이 / Gateway", f"{gateway['id']}, citygate {gateway['version']}"),
                ("장치 / Device", f"{device['name']} ({device['profile']})"),
                ("프로파일 검증 / Profile", "미검증 unproven" if device["unproven"] else "검증됨 proven"),
                ("위치 / Place", " / ".join(filter(None, (device["place_ko"], device["place_en"], device["asset"])))),
                ("링크, 주소 / Link, address", f"{device['link']}, {device['address']}"),
                ("식별 / Identity", ", ".join(f"{k} {v}" for k, v in record["identity"].items())),
                ("비고 / Notes", record["notes"]),
            ]
        ),
        _readings("작업 전 상태 / As found", record["as_found"]),
        _readings("작업 후 상태 / As left", record["as_left"]),
        _displays(record["displays"]),
        _line(record["line"]),
        _pushed(record["push"]),
        _table("사진 / Photos", ("파일 / File", "SHA-256"), ((one["file"], one["sha256"]) for one in record["photos"])),
        "<h2>서명 / Signature</h2>",
        _pairs(
            [
                ("서명자 / Signed by", signer),
                ("열쇠 지문 / Key fingerprint", mark),
                ("Ed25519", signature),
                ("감사 기록 / Audit", f"{record['audit']['entries']} entries, {record['audit']['last']}"),
            ]
        ),
        '<table class="sign"><tr><th>작업자 / Technician</th><td></td><th>확인자 / Witness</th><td></td></tr></table>',
    ]
    head = f'<!doctype html>\n<html lang="ko"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    inside = "\n".join(filter(None, parts)).replace("@RECORD@", "@\u200bRECORD@")
    return f"{head}<style>{STYLE}</style></head><body>\n{inside}\n@RECORD@\n</body></html>\n"


def _readings(title: str, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return f"<h2>{escape(title)}</h2><p>측정하지 않음 / not taken</p>"
    rows = ((one["point"], _number(one["value"]), one["unit"], one["quality"]) for one in found["points"])
    heads = ("포인트 / Point", "값 / Value", "단위 / Unit", "품질 / Quality")
    return _table(f"{title} ({found['utc']})", heads, rows)


def _displays(displays: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        (one["point"], one["displayed"], _number(one["read"]), _number(one["difference"]), _verdict(one["passed"]))
        for one in displays
    )
    heads = ("포인트 / Point", "표시값 / Display", "읽은 값 / Read", "차이 / Difference", "판정 / Verdict")
    return _table("표시값 비교 / Display comparison", heads, rows)


def _line(line: Mapping[str, Any]) -> str:
    errors = ", ".join(f"{name} {count}" for name, count in line["errors"].items()) or "없음 none"
    rate = "-" if line["error_rate"] is None else f"{line['error_rate']:.2%}"
    return "<h2>통신 품질 / Line</h2>" + _pairs(
        [
            ("관찰 시간 / Watched", f"{line['seconds']:g} s"),
            ("요청 / Requests", str(line["requests"])),
            ("오류 / Errors", f"{errors} ({rate})"),
            ("신호 / Signal", ", ".join(f"{name} {value}" for name, value in line["signal"].items()) or "-"),
        ]
    )


def _pushed(pushed: Mapping[str, Mapping[str, Any]]) -> str:
    rows = (
        (name, _verdict(one["state"] == "acknowledged"), "-" if one["seconds"] is None else f"{one['seconds']:.3f} s")
        for name, one in pushed.items()
    )
    return _table("전송 시험 / Push test", ("업스트림 / Upstream", "판정 / Verdict", "시간 / Time"), rows)


def _verdict(passed: bool | None) -> str:
    return "-" if passed is None else "적합 PASS" if passed else "부적합 FAIL"


def _number(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, (int, float)) else "-"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    found = [f"<tr>{''.join(_cell(one) for one in row)}</tr>" for row in rows]
    if not found:
        return ""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    return f"<h2>{escape(title)}</h2><table><tr>{head}</tr>\n" + "\n".join(found) + "</table>"


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    rows = (f"<tr><th>{escape(name)}</th>{_cell(value)}</tr>" for name, value in pairs if value)
    return f"<table>{''.join(rows)}</table>"


def _cell(value: Any) -> str:
    text = str(value)
    kind = ' class="pass"' if text.endswith("PASS") else ' class="fail"' if text.endswith("FAIL") else ""
    long = len(text) > 50 and " " not in text
    return f"<td{kind}>{'<code>' if long else ''}{escape(text)}{'</code>' if long else ''}</td>"

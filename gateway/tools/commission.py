"""`citygate commission SITE DEVICE --by NAME`: what a technician found and left, signed, in one file to print and keep.

    --found     before the work: the readings as they are, noted in DEVICE.found.json
    (nothing)   after it: readings, error rates, display comparison, push test; signed
    --verify    whether such a file is as it was signed

Reads over the control socket of the field half. The key is the gateway's own, made once in its state folder, or the
technician's (--key, 32 bytes in hexadecimal or a PEM file).
"""

from __future__ import annotations

import contextlib
import hashlib
import json as jsonlib
import math
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.bench import sheet
from gateway.field.control import ask, request
from gateway.site.compile import load_plan
from gateway.site.faults import Faults
from gateway.site.plan import Plan, SiteDevice
from gateway.spool import audit
from gateway.spool.trouble import Trouble
from gateway.tools.running import asked
from gateway.wire import state
from protocols.api import Quality

KEY_FILE = "commission.json"
ASKED = ("requests", "frames", "heard", "notifications")  # counters of what was asked or came
WRONG = ("timeouts", "bad_replies", "refused", "crc_errors", "malformed", "late", "foreign", "resyncs", "throttled")
PUSH_WITHIN_S = 30.0


def found(site: str, device: str, *, out: str) -> int:
    """Note the readings before the work."""
    code, facts = _facts(site, device)
    if code:
        return code
    path = Path(out or ".") / f"{device}.found.json"
    if path.exists():
        return _told("CG-5165", f"{path} is there already: noted before", f"{path} 파일이 이미 있습니다")
    return _write(path, jsonlib.dumps(facts["now"], ensure_ascii=False, indent=1), f"{path}: as found / 작업 전 상태")


def run(
    site: str,
    device: str,
    *,
    by: str,
    displays: Sequence[str],
    photos: Sequence[str],
    serial: str,
    notes: str,
    watch_s: float,
    push: bool,
    key: str,
    out: str,
    json: bool,
) -> int:
    """0 passed and written, 1 written but something failed, or not written; 2 no field half answers."""
    try:
        plan = load_plan(site)
        one = plan.device(device)
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    except StopIteration:
        names = ", ".join(d.name for d in plan.devices)
        return _told("CG-5160", f"no device is called {device}: {names}", f"{device} 장치가 없습니다: {names}")
    try:
        typed = _typed(plan, one, displays)
        seen = [_photo(name) for name in photos]
        private = _key(plan, key)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    code, before = _facts(site, device, one.link)
    if code:
        return code
    _wait(watch_s)
    code, after = _facts(site, device, one.link)
    if code:
        return code
    pushed: dict[str, Any] = {}
    if push and plan.upstreams:
        code, answer = asked(
            site,
            lambda socket: request(socket, {"push": "", "within_s": PUSH_WITHIN_S, "by": by}, PUSH_WITHIN_S + 15.0),
        )
        if code:
            return code
        states = {u.name: {"state": answer.get("error", ""), "seconds": None} for u in plan.upstreams}
        pushed = answer.get("upstreams", states)
    compared = [_compare(point, text, after["now"]) for point, text in typed.items()]
    folder = Path(out or ".")
    noted, name = folder / f"{device}.found.json", f"{device}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    record = {
        "format": sheet.FORMAT,
        "utc": _utc(),
        "by": by,
        "gateway": {"id": plan.gateway, "version": after["version"], "site_sha256": _sha256(Path(site).read_bytes())},
        "device": _about(plan, one),
        "identity": {**after["identity"], **({"serial": serial} if serial else {})},
        "as_found": _as_found(noted),
        "as_left": after["now"],
        "displays": compared,
        "line": _line(before, after, watch_s),
        "push": pushed,
        "photos": seen,
        "notes": notes,
        "carried": after["carried"],
        "audit": _audit(plan.state_dir),
        "passed": _passed(after["now"], compared, pushed),
    }
    document = sheet.signed(record, private, by if key else f"gateway {plan.gateway}")
    path = folder / f"{name}.html"
    failed = _write(path, sheet.page(document), "")
    if failed:
        return failed
    with contextlib.suppress(OSError):  # it is this record's, and not the next one's
        noted.rename(folder / f"{name}.found.json")
    if json:
        print(jsonlib.dumps({"file": str(path), **document}, ensure_ascii=False))
    else:
        mark = sheet.fingerprint(bytes.fromhex(document["public_key"]))
        print(f"{'적합 PASS' if record['passed'] else '부적합 FAIL'}  {path}")
        print(f"  signed with {mark}; open it in a browser to print / 브라우저에서 열어 인쇄하십시오")
        for line in _failures(record):
            print("  " + line)
    return 0 if record["passed"] else 1


def verify(path: str, *, signer: str, json: bool) -> int:
    """0 where the file is as it was signed (and by `signer`, where a fingerprint is given), else 1."""
    try:
        checked = sheet.verify(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as bad:
        return _told("CG-5163", f"{path}: {bad}", f"{path}: 시운전 기록이 아니거나 읽을 수 없습니다")
    fault = checked.fault
    if not fault and signer and signer != checked.fingerprint:
        fault = f"signed by another key: {checked.fingerprint}"
    if json:
        print(jsonlib.dumps({"fault": fault, "fingerprint": checked.fingerprint, "record": checked.record}))
    elif not fault:
        record = checked.record
        print(f"OK {record['device']['name']}, {record['utc']}, by {record['by']}, key {checked.fingerprint}")
    if fault and not json:
        return _told("CG-5162", f"{path}: {fault}", f"{path}: 서명이 맞지 않거나 내용이 바뀌었습니다")
    return 1 if fault else 0


# -- what the field half tells


def _facts(site: str, device: str, link: str = "") -> tuple[int, dict[str, Any]]:
    """What is known of a device now, with the counters of its `link`."""
    code, answers = asked(site, lambda socket: [ask(socket, what) for what in ("live", "health")])
    if code:
        return code, {}
    live, health = answers
    points = [
        {
            "point": channel["name"].partition(".")[2],
            "value": channel["value"],
            "unit": channel["unit"],
            "quality": Quality(channel["quality"]).name.lower(),
            "age_s": channel["age_s"],
        }
        for channel in live["channels"]
        if channel["name"].partition(".")[0] == device
    ]
    if not points:
        return _told("CG-5160", f"no device is called {device}", f"{device} 장치가 없습니다"), {}
    line = health["links"].get(link, {"counters": {}, "devices": {}, "identity": {}})
    carried = {name: facts for name, facts in health["carried"]["counters"].items() if name.partition(".")[0] == device}
    return 0, {
        "now": {"utc": _utc(), "points": points},
        "counters": line["counters"],
        "learned": line["devices"].get(device, {}),
        "identity": line["identity"].get(device, {}),
        "version": health["version"],
        "carried": carried,
    }


def _line(before: Mapping[str, Any], after: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What the device's line did between two looks at it."""
    more = {name: count - before["counters"].get(name, 0) for name, count in after["counters"].items()}
    asked_for = sum(more.get(name, 0) for name in ASKED)
    errors = {name: more[name] for name in WRONG if more.get(name)}
    learned = after["learned"]
    names = ("answer_ms", "timeout_ms", "misses")
    return {
        "seconds": seconds,
        "requests": asked_for,
        "errors": errors,
        "error_rate": sum(errors.values()) / asked_for if asked_for else None,
        "signal": {name: learned[name] for name in names if learned.get(name) is not None},
    }


# -- what the person tells


def _typed(plan: Plan, device: SiteDevice, displays: Sequence[str]) -> dict[str, str]:
    points = {plan.channels[index].point for index in device.channels}
    found: dict[str, str] = {}
    for text in displays:
        point, equals, shown = text.partition("=")
        if not equals or point not in points or not re.fullmatch(r"[-+]?\d+([.,]\d+)?", shown.strip()):
            raise Trouble(
                "CG-5161",
                f"--display {text}: write POINT=VALUE as the display shows it; points: {', '.join(sorted(points))}",
                f"--display {text}: 포인트=표시값 형식으로 쓰십시오. 포인트: {', '.join(sorted(points))}",
            )
        found[point] = shown.strip().replace(",", ".")
    return found


def _compare(point: str, shown: str, now: Mapping[str, Any]) -> dict[str, Any]:
    """The display against the reading: equal to half of the display's last digit, and 1 % where the value moves."""
    read = next(one["value"] for one in now["points"] if one["point"] == point)
    digits = len(shown.partition(".")[2])
    tolerance = max(0.5 * 10.0**-digits, 0.01 * abs(float(shown)))
    difference = None if read is None else read - float(shown)
    passed = difference is not None and math.fabs(difference) <= tolerance * (1 + 1e-9)
    return {
        "point": point,
        "displayed": shown,
        "read": read,
        "difference": difference,
        "tolerance": tolerance,
        "passed": passed,
    }


def _photo(name: str) -> dict[str, Any]:
    try:
        data = Path(name).read_bytes()
    except OSError as missing:
        raise Trouble(
            "CG-5161",
            f"--photo {name} cannot be read ({missing.strerror})",
            f"--photo {name} 파일을 읽을 수 없습니다 ({missing.strerror})",
        ) from missing
    return {"file": Path(name).name, "sha256": _sha256(data), "bytes": len(data)}


def _passed(now: Mapping[str, Any], compared: Sequence[Mapping[str, Any]], pushed: Mapping[str, Any]) -> bool:
    reads = all(one["quality"] in ("good", "suspect") for one in now["points"])
    told = all(one["state"] == "acknowledged" for one in pushed.values())
    return reads and told and all(one["passed"] for one in compared)


def _failures(record: Mapping[str, Any]) -> list[str]:
    bad = [
        f"{one['point']}: {one['quality']}"
        for one in record["as_left"]["points"]
        if one["quality"] not in ("good", "suspect")
    ]
    bad += [
        f"{one['point']}: the display shows {one['displayed']}, read {one['read']}"
        for one in record["displays"]
        if not one["passed"]
    ]
    return bad + [f"{name}: {one['state']}" for name, one in record["push"].items() if one["state"] != "acknowledged"]


def _about(plan: Plan, device: SiteDevice) -> dict[str, Any]:
    place = device.place
    return {
        "name": device.name,
        "profile": device.profile,
        "unproven": any(plan.channels[index].unproven for index in device.channels),
        "link": device.link,
        "address": device.protocol.address or str(device.protocol.unit),
        "asset": place.asset,
        "place_en": place.name_en,
        "place_ko": place.name_ko,
        "latitude": place.latitude,
        "longitude": place.longitude,
    }


def _as_found(path: Path) -> dict[str, Any] | None:
    try:
        noted = jsonlib.loads(path.read_text(encoding="utf-8"))
        return {"utc": str(noted["utc"]), "points": list(noted["points"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _audit(state_dir: str) -> dict[str, Any]:
    try:
        checked = audit.verify(Path(state_dir) / audit.FILE)
    except OSError:
        return {"entries": 0, "last": "", "faults": 0}
    return {"entries": checked.entries, "last": checked.last, "faults": len(checked.faults)}


# -- keys and files


def _key(plan: Plan, given: str) -> bytes:
    """32 bytes. Raises Trouble."""
    path = Path(given) if given else Path(plan.state_dir) / KEY_FILE
    try:
        if given:
            return _private(path.read_bytes())
        if not path.exists():
            state.write(path.parent, path.name, {"key": os.urandom(32).hex()})
        return bytes.fromhex(jsonlib.loads(path.read_text())["key"])
    except (OSError, ValueError, KeyError, TypeError) as bad:
        raise Trouble(
            "CG-5164",
            f"the key {path} cannot be used ({bad})",
            f"{path} 키를 사용할 수 없습니다 ({bad})",
            next_en="Run this as the user of citygate field, or give --key FILE with an Ed25519 key of your own",
            next_ko="citygate field 와 같은 사용자로 실행하거나 --key 로 Ed25519 키를 지정하십시오",
        ) from bad


def _private(data: bytes) -> bytes:
    if b"-----BEGIN" not in data:
        key = bytes.fromhex(data.decode("ascii").strip())
        if len(key) != 32:
            raise ValueError(f"an Ed25519 key has 32 bytes, not {len(key)}")
        return key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    loaded = load_pem_private_key(data, None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return loaded.private_bytes_raw()


def _write(path: Path, text: str, words: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as refused:
        return _told("CG-5165", f"{path} cannot be written ({refused.strerror})", f"{path}을(를) 쓸 수 없습니다")
    if words:
        print(words)
    return 0


def _wait(seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if sys.stderr.isatty():
            print(f"\rwatching the line, {left_s:3.0f} s left ", end="", file=sys.stderr, flush=True)
        time.sleep(min(0.5, left_s))
    if sys.stderr.isatty():
        print(file=sys.stderr)


NEXT = {
    "CG-5160": ("citygate status names the devices", "citygate status 로 장치 이름을 확인하십시오"),
    "CG-5162": (
        "Ask the gateway's owner for the key's fingerprint and the technician for the original file",
        "키 지문과 원본 파일을 확인하십시오",
    ),
    "CG-5163": ("Give a file that citygate commission wrote", "citygate commission 이 만든 파일을 지정하십시오"),
    "CG-5165": (
        "Name another folder with --out, or remove the file that is there",
        "--out 으로 다른 폴더를 지정하거나 있는 파일을 지우십시오",
    ),
}


def _told(code: str, en: str, ko: str) -> int:
    next_en, next_ko = NEXT[code]
    print(Trouble(code, en, ko, next_en=next_en, next_ko=next_ko), file=sys.stderr)
    return 1


def _utc() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

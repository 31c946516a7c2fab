"""`citygate import FILE`: what people already have, as profiles, and what of it did not carry over. Opens no device.

A profile is written only where `citygate check` would take it: points that it refuses are left out, and named with its
own words. Nothing that is there is written over, and nothing is written where one file could not be.
"""

from __future__ import annotations

import json as jsonlib
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.importers import reasons
from gateway.importers.documents import format_of, parse, read_text
from gateway.importers.edgex import edgex
from gateway.importers.homeassistant import homeassistant
from gateway.importers.model import Found, FoundDevice, Imported, Importer, Left, Unusable
from gateway.importers.telegraf import telegraf
from gateway.importers.thing import thing
from gateway.importers.writer import Written, profile_text, profiles, site_text
from gateway.site.check import check_profile
from gateway.site.faults import Both, Fault, failures, language, render

IMPORTERS: dict[str, Importer] = {
    "telegraf": telegraf,
    "homeassistant": homeassistant,
    "edgex": edgex,
    "thing": thing,
}
SHOWN = 12  # places of one reason, on paper; all of them in JSON
SOFT = ("unit", "range", "writable", "enum", "nan", "mask", "period_s", "kind", "words")  # a point is one without them


def run(file: str, format: str = "", out: str = "profiles", family: str = "other", *, json: bool = False) -> int:
    """Write the profiles of `file` below `out`; 0, also where something did not carry over; 1 where nothing did, or
    a profile has to be mended; 2 where a file cannot be read or written."""
    korean = language() == "ko"
    try:
        text = read_text(file)
        chosen = format or format_of(file, text)
        found = IMPORTERS[chosen](parse(file, text, chosen))
        written = made(found, file, family)
        faults = _stored(written, found, file, Path(out))
    except Unusable as bad:
        if json:
            print(
                jsonlib.dumps(
                    {"ok": False, "code": bad.code, "error": {"en": bad.en, "ko": bad.ko}}, ensure_ascii=False
                )
            )
        else:
            print(f"{bad.ko if korean else bad.en} [{bad.code}]", file=sys.stderr)
        return 1 if bad.code == "CG-5173" else 2
    if json:
        print(jsonlib.dumps(_facts(file, found, written, faults, out), ensure_ascii=False))
    else:
        _told(found, written, faults, out, korean=korean)
    return 1 if failures(faults) else 0


def made(found: Imported, file: str, family: str) -> list[Written]:
    """The profiles of what was found, less what `citygate check` refuses. Raises Unusable (CG-5173) for none."""
    source = f"{found.format}: {Path(file).name}"
    for device in found.devices:
        _said_once(found, device)
        _proved(found, device, source, family)
    usable = [device for device in found.devices if device.points]
    if not usable:
        why = f" ({found.left[0].where}: {found.left[0].what}: {found.left[0].why.en})" if found.left else ""
        raise Unusable(
            "CG-5173",
            f"{file} holds nothing that could be read from a device{why}",
            f"{file}: 장치에서 읽을 수 있는 항목이 없습니다",
            next_en=f"It was taken for {found.format}; say what it is with --from",
            next_ko=f"{found.format} 형식으로 보았습니다. 아니면 --from으로 지정하십시오",
        )
    return profiles(usable, family)


def _said_once(found: Imported, device: FoundDevice) -> None:
    kept: list[Found] = []
    for point in device.points:
        if any((point.name, point.keys) == (one.name, one.keys) for one in kept):
            found.leave(point.where, point.name, reasons.TWICE)
        else:
            kept.append(point)
    device.points = kept


def _proved(found: Imported, device: FoundDevice, source: str, family: str) -> None:
    """Take keys and points out of `device` until what is left is a profile, or what is wrong is none of a point."""
    for _ in range(3):
        if not device.points:
            return
        (one,) = profiles([device], family)
        named = dict(zip(one.names, device.points, strict=True))
        bad: dict[str, list[tuple[str, Fault]]] = {}
        for fault in failures(_checked(profile_text(one, source))):
            line = re.match(r"link\.(\w+)", fault.where)
            if line and line[1] in device.line:
                why = Both(f"{fault.words_en} [{fault.code}]", f"{fault.words_ko} [{fault.code}]")
                found.leave(device.where, f"{line[1]} = {device.line.pop(line[1])}", why)
            match = re.match(r'point "([^"]+)"\.?(\w*)', fault.where)
            if match and match[1] in named:
                bad.setdefault(match[1], []).append((match[2], fault))
        if not bad:
            return
        for name, faults in bad.items():
            _take_out(found, device, named[name], faults)


def _take_out(found: Imported, device: FoundDevice, point: Found, faults: Sequence[tuple[str, Fault]]) -> None:
    for key, fault in faults:
        why = Both(f"{fault.words_en} [{fault.code}]", f"{fault.words_ko} [{fault.code}]")
        if key in SOFT and key in point.keys:
            found.leave(point.where, f"{key} = {point.keys.pop(key)}", why)
        elif point in device.points and key not in SOFT:
            found.leave(point.where, point.name, why)
            device.points.remove(point)


def _checked(text: str) -> list[Fault]:
    with tempfile.TemporaryDirectory(prefix="citygate-import-") as folder:
        path = Path(folder) / "profile.toml"
        path.write_text(text, encoding="utf-8")
        return check_profile(path)


def _stored(written: Sequence[Written], found: Imported, file: str, out: Path) -> list[Fault]:
    """Write all or nothing. The faults and warnings of what was written."""
    source = f"{found.format}: {Path(file).name}"
    paths = [out / f"{one.name}.toml" for one in written]
    there = next((path for path in paths if path.exists()), None)
    if there is not None:
        raise _unwritable(there, Both("it is there already", "이미 있는 파일입니다"))
    done: list[Path] = []
    try:
        for path, one in zip(paths, written, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            done.append(path)
            path.write_text(profile_text(one, source), encoding="utf-8")
    except OSError as bad:
        for path in done:
            path.unlink(missing_ok=True)
        raise _unwritable(path, Both(str(bad.strerror), str(bad.strerror))) from bad
    return [fault for path in paths for fault in check_profile(path)]


def _unwritable(path: Path, why: Both) -> Unusable:
    return Unusable(
        "CG-5174",
        f"{path} cannot be written: {why.en}",
        f"{path} 을(를) 쓸 수 없습니다: {why.ko}",
        next_en="Name another folder with --out, or remove the file; nothing was written",
        next_ko="--out으로 다른 폴더를 지정하거나 그 파일을 지우십시오. 쓰인 것은 없습니다",
    )


def _facts(file: str, found: Imported, written: Sequence[Written], faults: Sequence[Fault], out: str) -> dict[str, Any]:
    return {
        "ok": not failures(faults),
        "file": file,
        "format": found.format,
        "profiles": [
            {
                "name": one.name,
                "file": str(Path(out) / f"{one.name}.toml"),
                "protocol": one.device.protocol,
                "points": one.names,
                "devices": len(one.users),
            }
            for one in written
        ],
        "left": [
            {"where": one.where, "what": one.what, "why": {"en": one.why.en, "ko": one.why.ko}} for one in found.left
        ],
        "faults": [fault.as_json() for fault in faults],
        "site": site_text(written),
    }


def _told(found: Imported, written: Sequence[Written], faults: Sequence[Fault], out: str, *, korean: bool) -> None:
    for one in written:
        units = f", {len(one.users)} devices" if len(one.users) > 1 else ""
        print(f"{Path(out) / f'{one.name}.toml'}  {one.device.protocol}, {len(one.names)} points{units}")
    told = {"CG-1032"} if not failures(faults) else set()  # that it is unproven is said below
    rest = [fault for fault in faults if fault.code not in told]
    if rest:
        print("\n" + ("고칠 곳:" if korean else "to be mended or looked at:"))
        print(render(rest))
    if found.left:
        print("\n" + ("가져오지 못했거나 확인할 항목:" if korean else "did not carry over, or should be looked at:"))
        for line in _reasons(found.left, korean=korean):
            print(f"  {line}")
    print("\n" + ("사이트 파일에 넣을 내용:" if korean else "for the site file:") + "\n")
    print(site_text(written))
    print(
        "캡처가 없어 검증되지 않은 프로파일입니다. 장치의 값과 비교하고 [[captures]]를 추가하십시오."
        if korean
        else "No capture proves it: unproven. Compare with the device's display, then add a [[captures]] "
        "(docs/importing.md)."
    )


def _reasons(left: Sequence[Left], *, korean: bool) -> list[str]:
    """What was left by reason: "unit of the registry: sensors[3] (°F), ..."."""
    by_reason: dict[Both, list[Left]] = {}
    for one in left:
        by_reason.setdefault(one.why, []).append(one)
    lines = []
    for why, every in sorted(by_reason.items(), key=lambda pair: pair[0] is reasons.THEIRS):
        lines.append(why.ko if korean else why.en)
        lines += [f"    {one.where}: {one.what}" for one in every[:SHOWN]]
        if len(every) > SHOWN:
            lines.append(f"    ... {len(every) - SHOWN} {'개 더 (--json)' if korean else 'more (--json names all)'}")
    return lines

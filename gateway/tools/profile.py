"""`citygate profile list|search|show|new|test`: the profiles that a site can name, and the proof of each.

Reads the library (a site's own folders, /etc/citygate/profiles, what is installed); `new` writes one file, never over
another. Opens no device.
"""

from __future__ import annotations

import json as jsonlib
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.site.check import CLOSE, decode
from gateway.site.faults import failures, guess, language, render
from gateway.site.library import Library
from gateway.site.profile import Capture, DeviceProfile, read_profile
from gateway.spool.trouble import Trouble
from gateway.tools.skeleton import skeleton

WIDTH = 80


def list_profiles(folders: Sequence[str], family: str, protocol: str, *, json: bool) -> int:
    """Every profile that can be named. 1 where one of them cannot be used."""
    found, broken = _all(folders)
    chosen = [p for p in found if family in ("", p.identity.family) and protocol in ("", p.driver.name)]
    return _told(chosen, broken, json=json)


def search(words: Sequence[str], folders: Sequence[str], *, json: bool) -> int:
    """Profiles in which every word occurs, the best first. 1 where there is none."""
    found, broken = _all(folders)
    ranked = sorted(((rank, p.name, p) for p in found if (rank := _rank(p, words))), reverse=True, key=lambda r: r[:1])
    if not ranked and not json:
        known = sorted({word.lower() for p in found for word in (p.identity.vendor, p.identity.model)})
        print(f"no profile has {' and '.join(words)}{guess(' '.join(words).lower(), known)}", file=sys.stderr)
        print("  next: citygate profile new, docs/adding-a-device.md [CG-5020]", file=sys.stderr)
        return 1
    _told([p for _, _, p in ranked], broken, json=json)
    return 0 if ranked else 1


def show(name: str, folders: Sequence[str], *, json: bool) -> int:
    """One profile, in full."""
    profile = _named(name, folders)
    if profile is None:
        return 1
    if json:
        print(
            jsonlib.dumps(_facts(profile) | {"points": [_point_facts(p) for p in profile.points]}, ensure_ascii=False)
        )
        return 0
    print("\n".join(_page(profile)))
    return 0


def test(name: str, folders: Sequence[str], *, json: bool) -> int:
    """Decode every capture of a profile. 0 where all mean what they say, 1 where one does not or there is none."""
    profile = _named(name, folders)
    if profile is None:
        return 1
    results = [_tried(profile, capture) for capture in profile.captures]
    proven = bool(results) and all(one["ok"] for one in results) and not profile.unproven
    if json:
        print(jsonlib.dumps({"profile": profile.name, "proven": proven, "captures": results}, ensure_ascii=False))
        return 0 if proven else 1
    for number, one in enumerate(results, 1):
        print(f"capture {number}: {'PASS' if one['ok'] else 'FAIL'}  {one['source']}")
        print(_wrapped(one["request"], "  > ") + _wrapped(one["reply"], "  < "), end="")
        if one["error"]:
            print(f"  {one['error']}")
        for value in one["values"]:
            sign = "=" if value["ok"] else "not"
            print(f"  {value['point']:20} {_number(value['got'])} {sign} {_number(value['want'])} {value['unit']}")
    print(f"{profile.name}: {'proven' if proven else 'unproven'}")
    return 0 if proven else 1


def new(name: str, protocol: str, out: str) -> int:
    """Write a profile to be filled in; 2 where there already is one, or the name is none."""
    family, _, model = name.partition("/")
    if not model or "/" in model or family not in ("water", "streetlight", "air", "traffic", "other"):
        print(
            Trouble(
                "CG-5021",
                f"{name} is no name of a profile",
                f"{name} 은(는) 프로파일 이름 형식이 아닙니다",
                next_en="Write FAMILY/VENDOR-MODEL, the family one of water, streetlight, air, traffic, other",
                next_ko="FAMILY/VENDOR-MODEL 형식으로 쓰십시오. FAMILY: water, streetlight, air, traffic, other",
            ),
            file=sys.stderr,
        )
        return 2
    path = Path(out) / f"{name}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(skeleton(family, model, protocol))
    except OSError as bad:
        print(
            Trouble(
                "CG-5022",
                f"{path} cannot be written: {bad.strerror}",
                f"{path} 을(를) 쓸 수 없습니다: {bad.strerror}",
                next_en="Name another folder with --out, or remove the file that is there",
                next_ko="--out으로 다른 폴더를 지정하거나 있는 파일을 지우십시오",
            ),
            file=sys.stderr,
        )
        return 2
    print(f"{path}\n  fill it in, then: citygate check {path}\n  값을 채운 뒤: citygate check {path}")
    return 0


def _all(folders: Sequence[str]) -> tuple[list[DeviceProfile], list[str]]:
    found, broken = [], []
    library = Library.of(folders)
    for name in library.names():
        path = library.find(name)
        profile = read_profile(path, name)[0] if path else None
        if profile is None:
            broken.append(name)
        else:
            found.append(profile)
    return found, broken


def _named(name: str, folders: Sequence[str]) -> DeviceProfile | None:
    """The profile of this name or in this file; None with the reason on stderr."""
    library = Library.of(folders)
    path = Path(name) if name.endswith(".toml") else library.find(name)
    if path is None:
        print(f"there is no profile {name}{guess(name, library.names())} [CG-5023]", file=sys.stderr)
        print("  next: citygate profile search WORD", file=sys.stderr)
        return None
    profile, faults = read_profile(path, "" if name.endswith(".toml") else name)
    if profile is None:
        print(render(failures(faults)), file=sys.stderr)
    return profile


def _rank(profile: DeviceProfile, words: Sequence[str]) -> int:
    """How well the words fit: those of the label count more than those of a point. 0 where one occurs nowhere."""
    said = profile.identity
    label = f"{profile.name} {said.vendor} {said.model} {said.name.en} {said.name.ko}".lower()
    rest = " ".join(
        (said.family, profile.driver.name, *(f"{p.name} {p.label_en} {p.label_ko} {p.role}" for p in profile.points))
    ).lower()
    ranks = [3 if word.lower() in label else int(word.lower() in rest) for word in words]
    return sum(ranks) if all(ranks) else 0


def _told(profiles: Sequence[DeviceProfile], broken: Sequence[str], *, json: bool) -> int:
    if json:
        print(jsonlib.dumps({"profiles": [_facts(p) for p in profiles], "broken": list(broken)}, ensure_ascii=False))
        return 1 if broken else 0
    korean = language(None) == "ko"
    wide = max((len(p.name) for p in profiles), default=0)
    for p in profiles:
        name = p.identity.name.ko if korean and p.identity.name.ko else p.identity.name.en
        proof = "unproven" if p.unproven else f"{len(p.captures)} captures"
        print(f"{p.name:{wide}}  {p.driver.name:6}  {len(p.points):3} points  {proof:11}  {name}")
    unproven = sum(p.unproven for p in profiles)
    print(f"{len(profiles)} profiles, {unproven} unproven")
    for name in broken:
        print(f"{name} cannot be used: citygate check says why", file=sys.stderr)
    return 1 if broken else 0


def _facts(p: DeviceProfile) -> dict[str, Any]:
    said = p.identity
    return {
        "name": p.name,
        "file": p.file,
        "family": said.family,
        "vendor": said.vendor,
        "model": said.model,
        "label": {"en": said.name.en, "ko": said.name.ko},
        "protocol": p.driver.name,
        "points": len(p.points),
        "captures": len(p.captures),
        "unproven": p.unproven,
        "extends": p.extends,
        "firmware": list(said.firmware),
        "source": said.source,
        "caveats": list(said.caveats),
        "certification": said.certification,
    }


def _point_facts(p: Any) -> dict[str, Any]:
    return {
        "name": p.name,
        "label": {"en": p.label_en, "ko": p.label_ko},
        "unit": p.unit,
        "range": [None if math.isinf(end) else end for end in (p.low, p.high)],
        "period_s": p.period_s,
        "kind": p.kind.name.lower(),
        "role": p.role,
        "derived": p.derived,
        "writable": list(p.writable) if p.writable else None,
    }


def _page(p: DeviceProfile) -> Iterator[str]:
    said = p.identity
    yield f"{p.name}{'  UNPROVEN: no capture shows that the decoding is right' if p.unproven else ''}"
    yield f"  {said.name.en}" + (f" / {said.name.ko}" if said.name.ko else "")
    yield f"  {said.vendor} {said.model}, {p.driver.name}" + (f", a variant of {p.extends}" if p.extends else "")
    yield f"  source: {said.source}"
    if said.firmware:
        yield f"  seen with firmware {', '.join(said.firmware)}"
    if said.certification:
        yield f"  certification: {said.certification}"
    line = {key: value for key, value in p.link.model_dump().items() if value is not None}
    if line:
        yield "  line: " + ", ".join(f"{key} {value}" for key, value in line.items())
    for caveat in said.caveats:
        yield f"  note: {caveat}"
    for point in p.points:
        ends = "" if math.isinf(point.low) and math.isinf(point.high) else f"{point.low:g} to {point.high:g} "
        what = f"computed from {', '.join(point.source)}" if point.derived else f"{ends}{point.unit}".strip()
        role = f"  [{point.role}]" if point.role else ""
        yield f"  {point.name:20} {what:28} every {point.period_s:g} s{role}"
    for capture in p.captures:
        yield f"  capture: {capture.source}"


def _tried(profile: DeviceProfile, capture: Capture) -> dict[str, Any]:
    request, reply = (" ".join(text.upper().split()) for text in (capture.request, capture.reply))
    told: dict[str, Any] = {"source": capture.source, "request": request, "reply": reply, "error": "", "values": []}
    try:
        got = decode(profile, bytes.fromhex(capture.request), bytes.fromhex(capture.reply))
    except ValueError as bad:
        return told | {"ok": False, "error": str(bad)}
    for name, want in capture.values.items():
        value = got.get(name, math.nan)
        ok = math.isclose(value, want, rel_tol=CLOSE, abs_tol=1e-9)
        shown = None if math.isnan(value) else value
        told["values"].append({"point": name, "got": shown, "want": want, "unit": profile.point(name).unit, "ok": ok})
    return told | {"ok": all(value["ok"] for value in told["values"])}


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.9g}"


def _wrapped(data: str, mark: str) -> str:
    room = (WIDTH - len(mark)) // 3 * 3
    return "".join(f"{mark}{data[at : at + room].strip()}\n" for at in range(0, len(data), room))

"""`citygate replay FILE.csv`: recorded raw readings through the production judge, and every verdict with its sentence.

Two shapes of file: wide, `timestamp,POINT,POINT,...`, one row a moment; long, `timestamp,channel,value`, one row a
reading, as `citygate field --record` writes it. The same readings at the same times lead to the same verdicts as in the
running gateway.
"""

from __future__ import annotations

import csv
import json as jsonlib
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gateway.site.compile import load_plan
from gateway.site.faults import Faults, nearest
from gateway.site.plan import Kind, Plan
from gateway.spool.records import Event, Phase
from gateway.spool.trouble import Trouble
from protocols.api import Batch, Quality

SAMPLES = 512  # of waveforms handed over at once; anything else moment by moment, as it was read
TIMES = ("timestamp", "time", "datetime")
NO_ANSWER = int(Quality.NO_REPLY)
S = 1_000_000_000
MARKS = {Phase.ONSET: "!!", Phase.UPDATE: "..", Phase.CLEAR: "ok"}

SITE = """\
schema = 1
[gateway]
id = "replay"
timezone = "{timezone}"
{folder}
[[links]]
name = "link"
url = "{url}"
[[devices]]
name = "{device}"
profile = "{profile}"
link = "link"
unit = 1
{period}
"""
URLS = {"tcp": "tcp://127.0.0.1:502", "serial": "serial:/dev/null"}


@dataclass(frozen=True, slots=True)
class Reading:
    channel: int
    time_ns: int
    value: float  # NaN: the device did not answer
    quality: int


class Unreadable(ValueError):
    """A recording that cannot be replayed; the message says where."""


def run(
    file: str, *, profile: str, site: str, device: str, period_s: float | None, timezone: str, vehicles: str, json: bool
) -> int:  # fmt: skip
    """Exit code 0; 1 for faults of site or profile, 2 for a recording that cannot be read or a file that cannot be
    written."""
    try:
        plan = load_plan(site) if site else _plan(profile, device, period_s, timezone)
    except Faults as faults:
        print(faults.text(), file=sys.stderr)
        return 1
    try:
        with _vehicles(vehicles) as passed:
            tally = _replay(plan, readings(Path(file), plan), passed, json=json)
    except Unreadable as bad:
        print(_trouble(file, str(bad)), file=sys.stderr)
        return 2
    if json:
        print(jsonlib.dumps(tally))
    else:
        print(
            f"{tally['readings']} readings of {tally['channels']} channels over {tally['hours']:.1f} h: "
            f"{tally['onsets']} alarms, {tally['standing']} stand at the end, {tally['windows']} windows"
        )
    return 0


def _plan(profile: str, device: str, period_s: float | None, timezone: str) -> Plan:
    """A site of one device. `profile` is a name of the library, or a file."""
    folder = ""
    path = Path(profile)
    if path.suffix == ".toml" and path.is_file():
        folder = f"profiles = [{jsonlib.dumps(str(path.absolute().parent.parent))}]"
        profile = f"{path.absolute().parent.name}/{path.stem}"
    period = f"period_s = {period_s}" if period_s else ""
    with tempfile.TemporaryDirectory() as there:
        file = Path(there, "site.toml")
        for url in URLS.values():
            words = SITE.format(
                timezone=timezone, folder=folder, url=url, device=device, profile=profile, period=period
            )
            file.write_text(words, encoding="utf-8")
            try:
                return load_plan(file)
            except Faults as bad:
                faults = bad
                if not any(fault.code == "CG-1044" for fault in bad.faults):
                    raise
    raise faults


def readings(path: Path, plan: Plan) -> Iterator[Reading]:
    """The file's readings in order. Raises Unreadable with the line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            parse = _long if header[1:3] == ["channel", "value"] else _wide
            yield from parse(rows, header, plan)
    except (OSError, UnicodeDecodeError, csv.Error) as bad:
        raise Unreadable(getattr(bad, "strerror", None) or str(bad)) from bad


def _wide(rows: Any, header: Sequence[str], plan: Plan) -> Iterator[Reading]:
    at = _time_column(header)
    columns = [(place, _channel(name, plan)) for place, name in enumerate(header) if place != at and name]
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise Unreadable(f"line {rows.line_num}: {len(row)} columns, the header has {len(header)}")
        time_ns = _time_ns(row[at], rows.line_num)
        for place, channel in columns:
            yield _reading(channel, time_ns, row[place], rows.line_num)


def _long(rows: Any, header: Sequence[str], plan: Plan) -> Iterator[Reading]:
    at = _time_column(header)
    graded = header.index("quality") if "quality" in header else None
    known: dict[str, int] = {}
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise Unreadable(f"line {rows.line_num}: {len(row)} columns, the header has {len(header)}")
        name = row[1].strip()
        if name not in known:
            known[name] = _channel(name, plan)
        one = _reading(known[name], _time_ns(row[at], rows.line_num), row[2], rows.line_num)
        if graded is not None and row[graded].strip():
            one = Reading(one.channel, one.time_ns, one.value, int(_number(row[graded], rows.line_num)) & 0xFF)
        yield one


def _time_column(header: Sequence[str]) -> int:
    for place, name in enumerate(header):
        if name.lower() in TIMES:
            return place
    raise Unreadable(f"no column `timestamp` in the header {header[:6]}")


def _channel(name: str, plan: Plan) -> int:
    """`device.point`, or `point` where one device has it."""
    fitting = [c.index for c in plan.channels if not c.derived and name in (c.name, c.point)]
    exact = [index for index in fitting if plan.channels[index].name == name]
    if len(fitting) == 1 or exact:
        return (exact or fitting)[0]
    valid = [c.name for c in plan.channels if not c.derived]
    if fitting:
        raise Unreadable(f'the column "{name}" fits {len(fitting)} devices: write device.point')
    near = nearest(name, [*valid, *(c.point for c in plan.channels)])
    raise Unreadable(f'no point is called "{name}"{f", did you mean {near}?" if near else ""}')


def _reading(channel: int, time_ns: int, word: str, line: int) -> Reading:
    value = _number(word, line) if word.strip() else math.nan
    return Reading(channel, time_ns, value, 0 if math.isfinite(value) else NO_ANSWER)


def _number(word: str, line: int) -> float:
    try:
        return float(word)
    except ValueError:
        raise Unreadable(f'line {line}: "{word}" is no number') from None


def _time_ns(word: str, line: int) -> int:
    """Seconds since 1970, or ISO 8601; without a zone it is UTC."""
    seconds, _, part = word.strip().partition(".")
    if seconds.isdigit() and (part.isdigit() or not part):
        return int(seconds) * S + int(part.ljust(9, "0")[:9])
    try:
        moment = datetime.fromisoformat(word.strip())
    except ValueError:
        raise Unreadable(f'line {line}: "{word}" is no time: write 2026-05-01T08:00:00Z') from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * S + moment.microsecond * 1000


@contextmanager
def _vehicles(path: str) -> Iterator[TextIO | None]:
    """The file that vehicles go to; None where nobody asked."""
    if not path:
        yield None
        return
    try:
        file = open(path, "w", encoding="utf-8")  # noqa: SIM115
    except OSError as bad:
        raise Unreadable(f"{path}: {bad.strerror}") from bad
    with file:
        file.write("loop,on,off,speed_kmh,length_m\n")
        yield file


def _replay(plan: Plan, rows: Iterator[Reading], passed: TextIO | None, *, json: bool) -> dict[str, Any]:
    from gateway.field.judge import Judge

    judge: Judge | None = None
    standing: dict[str, Event] = {}
    tally: dict[str, Any] = dict.fromkeys(
        ("readings", "channels", "hours", "onsets", "windows", "standing", "vehicles"), 0
    )
    seen: set[int] = set()
    first_ns = last_ns = 0

    def tell(verdict: Any) -> None:
        tally["windows"] += len(verdict.windows)
        for event in verdict.events:
            if event.phase is Phase.CLEAR:
                standing.pop(event.key, None)
            elif event.phase is Phase.ONSET:
                tally["onsets"] += 1
                standing[event.key] = event
            print(jsonlib.dumps(_as_json(event, plan)) if json else _line(event))
        tally["vehicles"] += len(verdict.vehicles)
        for one in verdict.vehicles if passed else ():
            measured = ",".join("" if math.isnan(x) else f"{x:.2f}" for x in (one.speed_kmh, one.length_m))
            name = plan.channels[one.channel].name
            print(f"{name},{_stamp(one.on_ns)},{_stamp(one.off_ns)},{measured}", file=passed)

    waves = any(channel.kind is Kind.WAVEFORM for channel in plan.channels)
    for chunk in _chunks(rows, SAMPLES if waves else 1):
        if judge is None:
            first_ns = chunk[0].time_ns
            judge = Judge(plan, first_ns, 0, [])
        tell(judge.push(_batch(chunk)))
        last_ns = max(last_ns, max(one.time_ns for one in chunk))
        tally["readings"] += len(chunk)
        seen.update(one.channel for one in chunk)
    if judge is not None:
        longest_s = max(channel.window_s for channel in plan.channels)
        tell(judge.due(last_ns + round(longest_s * S)))
    tally.update(channels=len(seen), hours=(last_ns - first_ns) / S / 3600, standing=len(standing))
    return tally


def _chunks(rows: Iterator[Reading], least: int) -> Iterator[list[Reading]]:
    chunk: list[Reading] = []
    for row in rows:
        if len(chunk) >= least and row.time_ns != chunk[-1].time_ns:  # samples of one moment stay together
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def _batch(chunk: Sequence[Reading]) -> Batch:
    return Batch(
        np.array([one.channel for one in chunk], np.int32),
        np.array([one.time_ns for one in chunk], np.int64),
        np.array([one.value for one in chunk], np.float64),
        np.array([one.quality for one in chunk], np.uint8),
    )


def _stamp(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / S, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(event: Event) -> str:
    head = f"{_stamp(event.time_ns)}  {MARKS[event.phase]} {event.code:28} {event.cause:6}"
    return f"{head} {event.text_en} / {event.text_ko}"


def _as_json(event: Event, plan: Plan) -> dict[str, Any]:
    return {
        "time": _stamp(event.time_ns),
        "since": _stamp(event.onset_ns),
        "code": event.code,
        "phase": event.phase.name.lower(),
        "severity": event.severity.name.lower(),
        "cause": event.cause,
        "subject": event.subject,
        "score": event.score if math.isfinite(event.score) else None,
        "en": event.text_en,
        "ko": event.text_ko,
        "evidence": {plan.channels[channel].name: rows for channel, rows in event.evidence},
    }


def _trouble(file: str, why: str) -> Trouble:
    return Trouble(
        "CG-5003",
        f"the recording {file} cannot be replayed ({why})",
        f"기록 파일 {file}을(를) 재생할 수 없습니다 ({why})",
        next_en="Give a CSV file with `timestamp` and a column a point, or `timestamp,channel,value`",
        next_ko="`timestamp` 열과 포인트별 열이 있는 CSV, 또는 `timestamp,channel,value` 형식의 CSV를 지정하십시오",
    )

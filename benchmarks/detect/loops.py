"""Recorded waveforms of inductive loops through the production judge: vehicles and faults, as CSV.

What the recording's header says (rate, pairs, lanes, loop lengths) goes into a site and a profile, as a technician
would write it. Samples come in bursts of 50 ms, as a serial line hands them over. With every run, a first part of the
recording is run by itself: what was known by then must be the same."""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect.feed import compiled
from gateway.field.judge import Judge
from gateway.site.plan import Kind, Plan
from gateway.spool.records import Phase
from protocols.api import Batch

BURST_S = 0.05
PREFIX = 0.4
KINDS = {"traffic.loop_stuck": "stuck_on", "traffic.loop_chatter": "chatter", "traffic.loop_open": "open"}
S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Recording:
    """samples f64[n, loops] in percent; pairs f64[k, 4]: lead, trail, spacing_m, loop_len_m."""

    rate_hz: float
    samples: NDArray[np.float64]
    pairs: NDArray[np.float64]
    lane: NDArray[np.int64]
    loop_len_m: NDArray[np.float64]


@dataclass(slots=True)
class Found:
    """Vehicles (loop, on_s, off_s, km/h, m) and faults (loop, start_s, end_s, kind), in the order they were known, with
    the sample at which they were."""

    vehicles: list[tuple[int, float, float, float, float]] = field(default_factory=list)
    faults: list[tuple[int, float, str]] = field(default_factory=list)
    ends: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    known: list[int] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FILE.npz", help="a recording of loop waveforms")
    parser.add_argument("--vehicles", type=Path, required=True, metavar="V.csv", help="vehicles, written here")
    parser.add_argument("--faults", type=Path, metavar="F.csv", help="loops out of order, written here")


def read(path: Path) -> Recording:
    """The recording without its truth."""
    data: Mapping[str, Any] = np.load(path)
    return Recording(
        rate_hz=float(data["rate_hz"]),
        samples=data["delta_l"] * float(data["scale"]),
        pairs=np.asarray(data["pairs"], np.float64).reshape(-1, 4),
        lane=np.asarray(data["lane"], np.int64),
        loop_len_m=np.asarray(data["loop_len_m"], np.float64),
    )


def profile(recording: Recording) -> str:
    """The loop card as a device profile."""
    loops = recording.samples.shape[1]
    points = [
        f'[[points]]\nname = "loop{c}"\nunit = "/100"\nfield = {c}\ntype = "float32"\nkind = "waveform"\nrole = "loop"'
        for c in range(loops)
    ]
    points += [
        f'[[points]]\nname = "speed{k}"\nunit = "km/h"\nrange = [0, 300]\nrole = "speed"\nperiod_s = 30\n'
        f'derived = {{ what = "speed", from = ["loop{int(lead)}", "loop{int(trail)}"] }}'
        for k, (lead, trail, *_) in enumerate(recording.pairs)
    ]
    head = f"""
schema = 1
[device]
family = "traffic"
vendor = "recorded"
model = "loops"
name = {{ en = "Recorded loops", ko = "기록된 루프" }}
protocol = "serial"
source = "the recording's own header"
period_s = {1.0 / recording.rate_hz!r}
silent_s = 3.0
[link]
baud = 921600
[serial]
mode = "stream"
frame = "lines"
prefix = "A[0]>"
separator = ","
fields = {loops}
rate_hz = {recording.rate_hz!r}
"""
    capture = '[[captures]]\nreply = {reply}\nvalues = {{ {values} }}\nsource = "computed"'
    line = "A[0]>" + ",".join(["0.5"] * loops) + "\n"
    reply = json.dumps(" ".join(f"{byte:02X}" for byte in line.encode()))
    values = ", ".join(f"loop{c} = 0.5" for c in range(loops))
    return "\n".join([head, *points, capture.format(reply=reply, values=values)])


def site(recording: Recording) -> str:
    """The place: lanes, lengths and distances."""
    places = [
        f"[devices.points.loop{c}]\noptions = {{ lane = {lane}, loop_len_m = {length!r} }}"
        for c, (lane, length) in enumerate(zip(recording.lane.tolist(), recording.loop_len_m.tolist(), strict=True))
    ]
    places += [
        f"[devices.points.speed{k}]\noptions = {{ spacing_m = {spacing!r} }}"
        for k, (_, _, spacing, _) in enumerate(recording.pairs.tolist())
    ]
    return "\n".join(
        [
            'schema = 1\n[gateway]\nid = "gw"\nprofiles = ["profiles"]',
            '[[links]]\nname = "card"\nurl = "serial:/dev/null"',
            '[[devices]]\nname = "card"\nprofile = "traffic/recorded-loops"\nlink = "card"',
            *places,
        ]
    )


def detect(plan: Plan, recording: Recording, upto: int) -> Found:
    """The first `upto` samples through a new judge, burst by burst."""
    judge = Judge(plan, 0, 0, [])
    waves = [channel.index for channel in plan.channels if channel.kind is Kind.WAVEFORM]
    loop_of = {channel: loop for loop, channel in enumerate(waves)}
    names = {plan.channels[channel].name: loop for channel, loop in loop_of.items()}
    loops = len(loop_of)
    burst = max(1, round(BURST_S * recording.rate_hz))
    found = Found()
    for at in range(0, upto, burst):
        part = recording.samples[at : min(at + burst, upto)]
        times = np.round((at + np.arange(len(part))) * (S / recording.rate_hz)).astype(np.int64)
        verdict = judge.push(
            Batch(
                np.tile(np.array(waves, np.int32), len(part)),
                np.repeat(times, loops),
                part.reshape(-1).copy(),
                np.zeros(part.size, np.uint8),
            )
        )
        for v in verdict.vehicles:
            found.vehicles.append((loop_of[v.channel], v.on_ns / S, v.off_ns / S, v.speed_kmh, v.length_m))
            found.known.append(at + len(part))
        for event in verdict.events:
            if event.code in KINDS and event.phase is not Phase.UPDATE:
                key = (names[event.subject], KINDS[event.code])
                if event.phase is Phase.ONSET:
                    found.faults.append((key[0], event.onset_ns / S, key[1]))
                else:
                    found.ends.setdefault(key, []).append(event.onset_ns / S)
    return found


def write(found: Found, vehicles: Path, faults: Path | None) -> None:
    """Both files; a value that is not known stays empty."""

    def text(value: float, digits: int) -> str:
        return f"{value:.{digits}f}" if value == value else ""

    with vehicles.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("loop", "on_s", "off_s", "speed_kmh", "length_m"))
        for loop, on, off, speed, length in found.vehicles:
            out.writerow((loop, text(on, 4), text(off, 4), text(speed, 2), text(length, 2)))
    if faults is None:
        return
    ends = {key: list(times) for key, times in found.ends.items()}
    with faults.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("loop", "start_s", "end_s", "kind"))
        for loop, start, kind in found.faults:
            later = [end for end in ends.get((loop, kind), []) if end >= start]
            out.writerow((loop, text(start, 3), text(later[0] if later else np.nan, 3), kind))


def run(args: argparse.Namespace) -> dict[str, Any]:
    recording = read(args.data)
    plan = compiled(site(recording), {"traffic/recorded-loops": profile(recording)})
    rows, loops = recording.samples.shape
    detect(plan, recording, round(recording.rate_hz))  # kernels compiled
    begun = time.perf_counter()
    found = detect(plan, recording, rows)
    seconds = time.perf_counter() - begun
    upto = round(PREFIX * rows)
    first = detect(plan, recording, upto)
    burst = max(1, round(BURST_S * recording.rate_hz))
    known = sum(at <= upto // burst * burst for at in found.known)
    figures = {
        "rows": rows,
        "loops": loops,
        "seconds": round(seconds, 2),
        "core_share": round(seconds / (rows / recording.rate_hz), 5),
        "ns_per_sample": round(seconds / recording.samples.size * 1e9, 1),
        "vehicles": len(found.vehicles),
        "faults": len(found.faults),
        "prefix_unchanged": first.vehicles[:known] == found.vehicles[:known],
    }
    write(found, args.vehicles, args.faults)
    for name, value in figures.items():
        print(f"{name:18} {value}")
    return figures

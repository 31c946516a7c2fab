"""Power cuts: a writer on a file system of its own is frozen at a random moment, the image is copied as the disk had
it, and what the copy holds after the journal is replayed is held against what the writer had called committed.

The writer appends summaries and alarms to a spool and takes OSCORE numbers, and says each on a pipe only after the
call has returned. The model loses everything that was in the page cache; a card's own cache is not part of it. Needs
root and a loop device.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.site.upstream import Catalog
from gateway.spool.records import Event, Lane, Phase, Severity, Window, Windows
from gateway.spool.spool import Spool
from gateway.wire import state

ROUNDS, FULL_ROUNDS = 20, 40
IMAGE_MB = 24
LONGEST_S = 0.8  # from the writer's first word to the cut
STILL_S = 0.005  # between two looks at the block counters
CATALOG = Catalog("cut", tuple((f"d.p{i}", "d", f"p{i}", "Cel", 0, 0.1) for i in range(8)))


def write(folder: Path) -> None:
    """The writer's process: until it is killed."""
    spool = Spool.open(folder / "spool.db", limit_mb=8)
    catalog = spool.put_catalog(CATALOG)
    sequence = state.Sequence(folder, own=True)
    number, moment = sequence.first, 0
    while True:
        moment += 1
        rows = Windows(tuple(Window(i, moment, moment + 1, 1, 1, 1, 1, 1, 0, 1, 1, moment, 1, 1, 0) for i in range(8)))
        alarm = Event("cut.alarm", Phase.ONSET, Severity.MAJOR, "city", f"s{moment % 5}", moment, moment, 1.0, "", "",
                      "", "", "", None, None)  # fmt: skip
        for _, lane, seq in spool.append([("up", rows), ("up", alarm)], catalog=catalog, standing=[alarm]):
            os.write(1, f"{spool.boot} {int(lane)} {seq}\n".encode())
        for _ in range(7):
            sequence.used(number)
            os.write(1, f"oscore {number}\n".encode())
            number += 1


@contextmanager
def mounted(image: Path, point: Path) -> Iterator[str]:
    """The image on `point`; the name of its loop device."""
    device = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        subprocess.run(["mount", "-t", "ext4", device, str(point)], check=True)
        try:
            yield device.rpartition("/")[2]
        finally:
            subprocess.run(["umount", str(point)], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def _heard(writer: subprocess.Popen[bytes], until: float) -> bytes:
    """What the writer says until then."""
    assert writer.stdout is not None
    said = b""
    while (left := until - time.monotonic()) > 0:
        if select.select([writer.stdout], [], [], left)[0]:
            more = os.read(writer.stdout.fileno(), 65536)
            if not more:
                break
            said += more
    return said


def _cut(image: Path, copy: Path, point: Path, chance: random.Random) -> list[str]:
    """One writer's life; the lines it had said when the power went."""
    with mounted(image, point) as device:
        folder = point / "state"
        folder.mkdir(exist_ok=True)
        if not (folder / state.FILE).exists():
            state.write(folder, state.FILE, {"next": 0, "machine": ""})
            os.sync()
        writer = subprocess.Popen([sys.executable, "-m", "benchmarks.powercut", str(folder)], stdout=subprocess.PIPE)
        try:
            assert writer.stdout is not None
            select.select([writer.stdout], [], [], 20.0)
            said = _heard(writer, time.monotonic() + chance.uniform(0.02, LONGEST_S))
            counters = Path(f"/sys/block/{device}/stat")
            for _ in range(200):  # a copy is a disk's state only while nothing is written to it
                os.kill(writer.pid, signal.SIGSTOP)
                before = counters.read_text()
                time.sleep(STILL_S)
                said += _heard(writer, time.monotonic() + STILL_S)
                if counters.read_text() == before:
                    shutil.copyfile(image, copy)
                    if counters.read_text() == before:
                        break
                os.kill(writer.pid, signal.SIGCONT)
                time.sleep(chance.uniform(0.001, 0.01))
            else:
                raise RuntimeError("the block device never stood still")
            said += _heard(writer, time.monotonic() + 0.01)
        finally:
            writer.kill()
            writer.wait()
    lines = said.decode().split("\n")
    return lines[:-1]


def _missing(folder: Path, lines: list[str]) -> tuple[int, int, int]:
    """(acknowledged records that are gone, OSCORE numbers that would be used again, spools that did not open)."""
    numbers = [int(line.split()[1]) for line in lines if line.startswith("oscore")]
    told = {tuple(line.split()) for line in lines if not line.startswith("oscore")}
    sequence = state.Sequence(folder, own=True)
    reused = sum(number >= sequence.first for number in numbers)
    sequence.close()
    spool = Spool.open(folder / "spool.db", limit_mb=8)
    stored = {
        (record.boot, str(int(lane)), str(record.seq))
        for lane in (Lane.ALARM, Lane.SUMMARY)
        for record in spool.take("up", lane, 10_000_000)
    }
    unopened = int(bool(spool.quarantined))
    spool.close()
    return len(told - stored), reused, unopened


def run(*, full: bool = False) -> dict[str, object]:
    if os.geteuid() or not shutil.which("losetup") or not shutil.which("mkfs.ext4"):
        raise SystemExit("power cuts need root, losetup and mkfs.ext4")
    rounds = FULL_ROUNDS if full else ROUNDS
    chance = random.Random(20261)
    figures: dict[str, int] = {
        "rounds": 0,
        "acknowledged": 0,
        "acknowledged_lost": 0,
        "oscore_reused": 0,
        "unopened": 0,
    }
    with tempfile.TemporaryDirectory(prefix="citygate-cut-") as name:
        there = Path(name)
        image, copy, point = there / "disk", there / "copy", there / "mount"
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(IMAGE_MB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        for number in range(rounds):
            lines = _cut(image, copy, point, chance)
            with mounted(copy, point):
                lost, reused, unopened = _missing(point / "state", lines)
            os.replace(copy, image)  # life goes on from what the cut left
            told = sum(not line.startswith("oscore") for line in lines)
            figures["rounds"] += 1
            figures["acknowledged"] += told
            figures["acknowledged_lost"] += lost
            figures["oscore_reused"] += reused
            figures["unopened"] += unopened
            print(
                f"round {number + 1:3}: {told:5} records acknowledged, {lost} lost, {reused} numbers used again",
                flush=True,
            )
            if told and (number + 1) % 8 == 0:
                _start_anew(image, point)
    return {**figures}


def _start_anew(image: Path, point: Path) -> None:
    """Room for the next lives: an empty spool, the numbers go on."""
    with mounted(image, point):
        for path in (point / "state").glob("spool.db*"):
            path.unlink()
        os.sync()


if __name__ == "__main__":
    write(Path(sys.argv[1]))

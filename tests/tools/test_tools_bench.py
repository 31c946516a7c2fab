"""The bench's commands against a device at play on a loopback port."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.bench.lending import profile_called
from gateway.cli import main
from gateway.sim.play import Course, Faulty, on_tcp

FLOW = {"flow": 23.5, "velocity": 1.25, "error": 0.0}


@contextmanager
def device(**given: float) -> Iterator[str]:
    """A flow meter on a port of its own, in a thread of its own."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    port: list[int] = []

    async def play() -> None:
        profile = profile_called("water/tuf-2000m")
        async with on_tcp(profile, [(5, Course(profile, {**FLOW, **given}))], 0, Faulty()) as number:
            port.append(number)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(play(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield f"tcp://127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def test_read_shows_bytes_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    with device() as url:
        assert main(["read", "--profile", "water/tuf-2000m", "--link", url, "--unit", "5"]) == 0
    shown = capsys.readouterr().out
    assert "00 00 41 BC" in shown
    assert "23.5 m3/h" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_read_tells_a_value_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    with device(flow=2500.0) as url:
        assert main(["read", "--profile", "water/tuf-2000m", "--link", url, "--unit", "5", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert {row["point"]: row["verdict"] for row in facts["points"]}["flow"] == "out of range"


def test_suggest_prints_the_toml(capsys: pytest.CaptureFixture[str]) -> None:
    with device() as url:
        line = ["read", "--profile", "water/tuf-2000m", "--link", url, "--unit", "5"]
        assert main([*line, "--suggest", "3:1=23.5", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert main([*line, "--suggest", "flow=99.9"]) == 1
    best = told["suggestions"][0]
    assert best["type"] == "float32"
    assert 'type = "float32"' in best["toml"]
    assert "CG-5113" in capsys.readouterr().err


def test_identify_names_the_profile(capsys: pytest.CaptureFixture[str]) -> None:
    with device() as url:
        assert main(["identify", url, "--unit", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fits"][0]["profile"] == "water/tuf-2000m"


def test_watch_passes_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with device() as url:
        line = ["watch", "--profile", "water/tuf-2000m", "--link", url, "--unit", "5", "--every", "0.01"]
        assert main([*line, "--expect", "flow>30", "--within", "0.03", "--json"]) == 1
        told = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
        assert told[-1]["state"] == "waiting"
        assert main([*line, "--expect", "leak"]) == 2
    assert "CG-5111" in capsys.readouterr().err


def test_scan_of_a_host_names_its_units(capsys: pytest.CaptureFixture[str]) -> None:
    with device() as url:
        assert main(["scan", url, "--units", "5", "--json"]) == 0
    [target] = json.loads(capsys.readouterr().out)["targets"]
    assert [one["unit"] for one in target["found"]] == [5]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["read", "--profile", "water/tuf-2000m", "--link", "/dev/none-such"], "CG-5109"),
        (["read", "--profile", "water/none-such", "--link", "/dev/none-such"], "CG-5111"),
        (["scan", "nonsense:1"], "CG-5111"),
        (["simulate", "water/tuf-2000m", "--set", "flwo=1"], "CG-5110"),
        (["simulate", "air/ruuvi-ruuvitag-df5", "--on", "tcp:0"], "CG-5111"),
        (["simulate", "air/ruuvi-ruuvitag-df5", "--on", "ble:zz"], "CG-5111"),
        (["simulate", "water/tuf-2000m", "--on", "tcp:0", "--fault", "crc"], "CG-5111"),
    ],
)
def test_wrong_use_is_told_in_both_languages(line: list[str], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line) == 2
    told = capsys.readouterr().err
    assert code in told
    assert any("가" <= letter <= "힣" for letter in told)


def test_a_simulation_ends_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "water/tuf-2000m", "--on", "tcp:0", "--seconds", "0.05", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["url"].startswith("tcp://127.0.0.1:")

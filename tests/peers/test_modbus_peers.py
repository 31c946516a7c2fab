"""`citygate field` against Modbus devices nobody here wrote: pymodbus's server, and libmodbus over TCP and RTU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from crossed_line import CrossedLine
from processes import FieldHalf, Peer
from register_map import ABSENT, expected, write_site

from gateway.spool.records import Event, Gap, Phase, Values, Windows
from protocols.api import Quality

pytestmark = pytest.mark.peers

PYMODBUS = Path(__file__).parent / "pymodbus_server.py"
FAILED = (Quality.NO_REPLY, Quality.LINK_DOWN, Quality.NOT_POLLED)
Program = Callable[[str], str]


def read_and_stopped(field: FieldHalf) -> None:
    """Let it read everything a few times, judge, and stop it as systemd would."""
    field.until("every channel was read", lambda: expected().keys() <= good(field))
    field.until_judged()
    field.until_read(3)
    assert field.stop() == 0, field.said


def good(field: FieldHalf) -> set[str]:
    return {name for name, row in field.channels().items() if row["quality"] == Quality.GOOD}


def quality(field: FieldHalf, channel: str) -> int | None:
    row = field.channels().get(channel)
    return row["quality"] if row else None


def assert_spool_equals_device(field: FieldHalf) -> None:
    """First values and windows in the spool say what the device holds, no more and no less."""
    names, items = field.names(), [item for _, item in field.spooled()]
    first = {names[c]: (value, q) for item in items if isinstance(item, Values) for c, _, value, q in item.rows}
    assert first == {name: (pytest.approx(value, rel=1e-12), Quality.GOOD) for name, value in expected().items()}

    windows = {names[row.channel]: row for item in items if isinstance(item, Windows) for row in item.rows}
    assert windows.keys() == {*expected(), f"dev.{ABSENT}"}
    absent = windows.pop(f"dev.{ABSENT}")
    assert (absent.n, absent.quality) == (0, Quality.SENTINEL)
    for name, row in windows.items():
        assert row.n >= 3, name
        seen = (row.min, row.max, row.mean, row.first, row.last, row.sd)
        value = expected()[name]
        assert seen == pytest.approx((value, value, value, value, value, 0.0), rel=1e-9, abs=1e-9), name
    assert not [item for item in items if isinstance(item, (Event, Gap))]


def assert_survives_its_peer(field: FieldHalf, peer: Peer, again: Callable[[], Peer]) -> None:
    """The peer is killed while it is polled and comes back: rows fail, an alarm stands, and both recover."""
    channel = "dev.float_abcd"
    with peer:
        field.until("every channel was read", lambda: expected().keys() <= good(field))
        field.until_judged()
    field.until("rows fail", lambda: (quality(field, channel) or 0) in FAILED)
    raised = field.until("the device is missed", field.alarms)
    with again():
        field.until("every channel is read again", lambda: expected().keys() <= good(field))
        field.until("the alarm is cleared", lambda: not field.alarms())
        field.until_read(2)
        assert field.stop() == 0, field.said

    events = [item for _, item in field.spooled() if isinstance(item, Event)]
    assert [(event.code, event.phase) for event in events] == [(raised[0], Phase.ONSET), (raised[0], Phase.CLEAR)]
    names = field.names()
    rows = [row for _, item in field.spooled() if isinstance(item, Windows) for row in item.rows]
    window = next(row for row in rows if names[row.channel] == channel)
    assert 3 <= window.n < window.expected
    assert (window.min, window.max) == (expected()[channel], expected()[channel])


def pymodbus(log: Path, port: int = 0) -> Peer:
    return Peer([sys.executable, str(PYMODBUS), str(port)], log)


def test_pymodbus_server_is_read_as_it_serves(tmp_path: Path) -> None:
    with (
        pymodbus(tmp_path / "peer.log") as peer,
        FieldHalf(write_site(tmp_path, f"tcp://127.0.0.1:{peer.port}")) as field,
    ):
        read_and_stopped(field)
        assert_spool_equals_device(field)


def test_a_value_written_from_the_command_line_reaches_pymodbus_and_others_are_refused(tmp_path: Path) -> None:
    def write(point: str, value: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway.cli", "write", str(tmp_path / "site.toml"), point, value]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with pymodbus(tmp_path / "peer.log") as peer:
        site = write_site(tmp_path, f"tcp://127.0.0.1:{peer.port}")
        assert (write("dev.level", "42.5").returncode, site.name) == (2, "site.toml")  # no field half answers yet
        with FieldHalf(site) as field:
            field.until("every channel was read", lambda: expected().keys() <= good(field))
            done = write("dev.level", "42.5")
            assert (done.returncode, done.stdout) == (0, "dev.level = 42.5, read back\n"), done.stderr
            field.until("the poll sees it", lambda: field.channels()["dev.level"]["value"] == pytest.approx(42.5))
            for point, value in (("dev.level", "6001"), ("dev.temperature", "1"), ("dev.none", "1")):
                refused = write(point, value)
                assert (refused.returncode, "CG-5008" in refused.stderr) == (1, True), refused.stderr
            assert field.channels()["dev.level"]["value"] == pytest.approx(42.5)
            assert field.stop() == 0


def test_libmodbus_server_on_tcp_is_read_as_it_serves(tmp_path: Path, compiled: Program) -> None:
    with (
        Peer([compiled("modbus_server"), "tcp", "0"], tmp_path / "peer.log") as peer,
        FieldHalf(write_site(tmp_path, f"tcp://127.0.0.1:{peer.port}")) as field,
    ):
        read_and_stopped(field)
        assert_spool_equals_device(field)


def test_libmodbus_server_on_a_serial_line_is_read_as_it_serves(tmp_path: Path, compiled: Program) -> None:
    with (
        CrossedLine() as line,
        Peer([compiled("modbus_server"), "rtu", line.theirs], tmp_path / "peer.log"),
        FieldHalf(write_site(tmp_path, f"serial:{line.ours}", "baud = 115200\ntimeout_s = 5")) as field,
    ):
        read_and_stopped(field)
        assert_spool_equals_device(field)


def test_a_pymodbus_server_that_dies_and_returns(tmp_path: Path) -> None:
    peer = pymodbus(tmp_path / "peer.log")
    with FieldHalf(write_site(tmp_path, f"tcp://127.0.0.1:{peer.port}")) as field:
        assert_survives_its_peer(field, peer, lambda: pymodbus(tmp_path / "again.log", peer.port))


def test_a_libmodbus_device_on_a_serial_line_that_dies_and_returns(tmp_path: Path, compiled: Program) -> None:
    with CrossedLine() as line:
        command = [compiled("modbus_server"), "rtu", line.theirs]
        peer = Peer(command, tmp_path / "peer.log")
        site = write_site(tmp_path, f"serial:{line.ours}", "baud = 115200\ntimeout_s = 0.5")
        with FieldHalf(site) as field:
            assert_survives_its_peer(field, peer, lambda: Peer(command, tmp_path / "again.log"))

"""What the demo shows: on a terminal a live picture, elsewhere a line a change; at the end one page of account."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.demo.account import Account, Intake
from gateway.field.control import ask

BARS = "▁▂▃▄▅▆▇█"
HISTORY = 24
SHOWN = (
    "meter.voltage", "meter.power", "flow.flow", "pressure.pressure", "rope.leak", "air.pm25", "dali.lamp0_failure",
    "loops.volume1", "loops.occupancy2", "loops.speed", "replay.value",
)  # fmt: skip


def sparkline(values: deque[float]) -> str:
    """The last values as bars between their own extremes."""
    known = [v for v in values if v == v]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = high - low or 1.0
    return "".join(" " if v != v else BARS[int((v - low) / span * (len(BARS) - 1))] for v in values)


class Screen:
    """`quiet` keeps stdout for the one line of JSON; progress then goes to stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=quiet)
        self._live: Live | None = None
        self._socket: Path | None = None
        self._intake: Intake | None = None
        self._history: dict[str, deque[float]] = {}
        self._notes: deque[str] = deque(maxlen=4)
        self._seen = 0
        self._began_ns = 0
        self._play_s = 0.0
        self._incidents: Sequence[tuple[str, float, float]] = ()
        self._utc_offset_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def say(self, words: str) -> None:
        self._console.print(words)

    def note(self, at_s: float, words: str) -> None:
        """Something the demo itself did."""
        line = f"{at_s:5.1f} s  {words}"
        self._notes.append(line)
        if self._live is None:
            self._console.print(line, style="yellow")

    @contextmanager
    def open(
        self,
        socket: Path,
        intake: Intake,
        began_ns: int,
        play_s: float,
        incidents: Sequence[tuple[str, float, float]],
    ) -> Iterator[None]:
        self._socket, self._intake, self._began_ns, self._play_s = socket, intake, began_ns, play_s
        self._incidents = incidents
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=4, transient=True) as self._live:
            yield
        self._live = None

    def refresh(self, at_s: float, bytes_up: int) -> None:
        """Ask the field half and the center, and draw. A half that does not answer is drawn as such."""
        assert self._socket is not None
        assert self._intake is not None
        alarms = self._intake.alarms()
        if self._live is None:
            for alarm in alarms[self._seen :]:
                phase = ("onset", "update", "clear")[alarm["phase"]]
                words = f"{at_s:5.1f} s  {phase:5} {alarm['text_ko']}\n               {alarm['text_en']}"
                self._console.print(words, soft_wrap=True)
            self._seen = len(alarms)
            return
        live = health = None
        with suppress(OSError, ValueError):  # killed, or not up yet: the picture says so
            live, health = ask(self._socket, "live", 0.5), ask(self._socket, "health", 0.5)
        self._live.update(self._picture(at_s, bytes_up, live, health, alarms))

    def _picture(self, at_s: float, bytes_up: int, live: Any, health: Any, alarms: list[dict[str, Any]]) -> Group:
        depth = sum(health["spool"]["depth"].values()) if health else "?"
        readings = health["readings"] if health else "?"
        playing = ", ".join(name for name, start, end in self._incidents if start <= at_s < end) or "nothing"
        head = Text(
            f" citygate demo  {at_s:5.1f} / {self._play_s:.0f} s   readings {readings}   "
            f"spool depth {depth}   bytes up {bytes_up}",
            style="reverse",
        )
        now = Text(f" now playing: {playing}", style="bold yellow")
        values = Table("channel", "", "value", "unit", "quality", expand=True)
        for channel in live["channels"] if live else ():
            if channel["name"] in SHOWN:
                value = channel["value"] if channel["value"] is not None else float("nan")
                history = self._history.setdefault(channel["name"], deque(maxlen=HISTORY))
                history.append(value)
                state = "good" if channel["quality"] == 0 else f"[red]{channel['quality']}[/]"
                values.add_row(channel["name"], sparkline(history), f"{value:.5g}", channel["unit"], state)
        if live is None:
            values.add_row("the field half does not answer", "", "", "", "")
        table = Table("", "alarm at the center", "at s", "took", expand=True)
        for alarm in alarms[-8:]:
            sign = "[bold red]●[/]" if alarm["phase"] == 0 else "[green]○[/]"
            committed_ns = alarm["committed_boottime_ns"] or self._began_ns
            # from the reading that satisfied the rule, as the gateway received it, to the center's commit
            took_ms = (committed_ns - alarm["time_ns"] + self._utc_offset_ns) / 1e6
            at_s = (committed_ns - self._began_ns) / 1e9
            words = f"{alarm['text_ko']}\n[dim]{alarm['text_en']}[/]"
            table.add_row(sign, words, f"{at_s:.1f}", f"{took_ms:.0f} ms")
        return Group(head, now, values, table, Text("\n".join(self._notes), style="yellow"))

    def account(self, account: Account) -> None:
        """The page at the end."""
        table = Table(title="account", show_header=False)
        rows: list[tuple[str, str]] = [
            ("readings the devices sent", f"{account.readings}"),
            ("  in windows at the center", f"{account.received}"),
            ("  in gaps the gateway declared (the kill)", f"{account.declared_gap}"),
            ("  lost without a word / doubled", f"{account.lost} / {account.duplicates}"),
            ("summaries", f"{account.summaries}"),
            ("alarms expected / raised / missed / false",
             f"{account.alarms_expected} / {account.alarms_raised} / {account.alarms_missed} / {account.alarms_false}"),
            ("alarm latency p50 / p99", _ms(account.alarm_latency_ms)),
            ("alarms during cut or kill p50 / p99", _ms(account.alarm_latency_cut_ms)),
            ("bytes up / raw bytes on the wires", f"{account.bytes_up} / {account.bytes_raw}"),
            ("bytes up a reading", f"{account.bytes_per_reading}"),
            ("first values acknowledged after", f"{account.first_ack_s} s"),
            ("cpu s", ", ".join(f"{role} {s}" for role, s in account.cpu_s.items())),
            ("rss MB", ", ".join(f"{role} {mb}" for role, mb in account.rss_mb.items())),
        ]  # fmt: skip
        for name, value in rows:
            table.add_row(name, value)
        self._console.print(table)
        for alarm in account.alarms:
            name = alarm["incident"] or "FALSE ALARM"
            took = "not raised" if not alarm["raised"] else ""
            if alarm["latency_ms"] is not None:
                took = f"{alarm['latency_ms']:.1f} ms"
            why = "  (the way was cut or the field half killed: it waited)" if alarm["interrupted"] else ""
            words = f"  {alarm['text_en']}" if alarm["incident"] is None else ""
            self._console.print(f"  {name:26} {alarm['code']:26} {took}{why}{words}", soft_wrap=True)
        if account.replay is not None:
            replay = account.replay
            self._console.print(f"replayed {replay['rows']} of {replay['of']} rows: {len(replay['alarms'])} alarms")
            for alarm in replay["alarms"]:
                self._console.print(f"  {alarm['timestamp']}  {alarm['text_ko']} / {alarm['text_en']}")
        self._console.print("[green]clean[/]" if account.clean else "[bold red]NOT clean[/]")
        if not self._console.is_terminal:
            sys.stdout.flush()


def _ms(latency: dict[str, float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.1f} ms" for value in latency.values())

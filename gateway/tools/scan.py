"""`citygate scan [TARGET ...]`: what is on a line, behind a host, on the network or in the air. Read-only.

Without a target: the serial ports of this machine are named and searched. A line that a running field half
holds is searched through it, at the setting it runs at.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.bench.findings import Finding, finding, not_asked
from gateway.bench.held import holder_of
from gateway.bench.lending import url_of
from gateway.bench.ports import serial_ports
from gateway.bench.scan import BAUDS, PARITIES, TIMEOUT_S, Found, LineReport, LineScan, Progress, settings_of, worst_s
from gateway.bench.way import Unreachable, site_file, socket_of
from gateway.tools.read import refused
from protocols.api import LinkDown

HELD = "CG-3004"  # another program has the port


@dataclass(frozen=True, slots=True)
class Search:
    """What a person asked for."""

    targets: tuple[str, ...] = ()
    site: str = ""
    link: str = ""
    bauds: tuple[int, ...] = BAUDS
    parities: tuple[str, ...] = PARITIES
    units: tuple[int, ...] = tuple(range(1, 248))
    timeout_s: float = TIMEOUT_S
    within_s: float = float("inf")
    thorough: bool = False
    seconds: float = 10.0


def ranges(text: str, low: int = 0, high: int = 255) -> tuple[int, ...]:
    """`1-16,32` as numbers. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        found += range(int(first), int(last if dash else first) + 1)
    if not found or not all(low <= one <= high for one in found):
        raise ValueError(f"{text}: {low} to {high}")
    return tuple(dict.fromkeys(found))


def run(search: Search, *, json: bool) -> int:
    """0 where something was found and nothing is wrong, 1 where not, 2 where nothing could be searched."""
    try:
        return asyncio.run(_run(search, json))
    except Unreachable as no:
        return refused(no.finding, json=json)


async def _run(search: Search, json: bool) -> int:
    show = Screen(json)
    if search.link:
        return show.done([await _through_service(search, show)])
    targets = [url_of(one) for one in search.targets]
    if not targets:
        ports = serial_ports()
        for port in ports:
            show.say(f"{port.path}  {port.words}")
        if not ports:
            raise Unreachable(finding("CG-5108"))
        targets = [f"serial:{port.path}" for port in ports]
    return show.done([await _target(url, search, show) for url in targets])


async def _target(url: str, search: Search, show: Screen) -> dict[str, Any]:
    from gateway.bench import elsewhere

    scheme = url.partition(":")[0]
    try:
        if scheme in ("serial", "rtu+tcp"):
            return await _line(url, search, show)
        if scheme == "tcp":
            units = search.units if len(search.units) < 247 else elsewhere.TCP_UNITS
            found = await elsewhere.scan_host(url, units, show.neighbour)
        elif scheme == "coap":
            from gateway.bench.coap_nodes import scan_coap

            found = await scan_coap(url, show.neighbour)
        elif scheme == "ble":
            show.say(f"listening for {search.seconds:g} s")
            found = await elsewhere.scan_air(url.partition(":")[2] or "hci0", search.seconds, show.neighbour)
        else:
            why = "write a port, tcp://HOST, rtu+tcp://HOST:PORT, coap://HOST, coap:// or ble:hci0"
            raise Unreachable(finding("CG-5111", what=url, why=why, verb="scan"))
    except LinkDown as down:
        held = await asyncio.to_thread(holder_of, url, search.site) if down.code == HELD else None
        if held is not None:
            site, link = held
            show.say(f"{url}: held by the field half of {site}; asking through it")
            return await _through_service(replace(search, site=site, link=link), show)
        return _failed(url, f"{down} [{down.code}]", down.hint, show)
    except OSError as no:
        return _failed(
            url, str(no.strerror or no), "check the address and the network / 주소와 네트워크를 확인하십시오", show
        )
    if not found:
        nobody = finding("CG-5117", where=url)
        show.finding(nobody)
        return {"url": url, "found": [], "findings": [nobody.as_json()], "failed": True}
    return {"url": url, "found": [one.as_json() for one in found], "findings": []}


def _failed(url: str, why: str, hint: str, show: Screen) -> dict[str, Any]:
    if f"[{HELD}]" in why:
        hint = (
            "citygate field may hold it: citygate scan --site SITE.toml --link NAME asks through it / "
            "citygate field 가 사용 중일 수 있습니다: citygate scan --site SITE.toml --link NAME 으로 요청하십시오"
        )
    wrong = not_asked(url, why, hint)
    show.finding(wrong)
    return {"url": url, "found": [], "findings": [wrong.as_json()], "failed": True}


async def _line(url: str, search: Search, show: Screen) -> dict[str, Any]:
    settings = settings_of(search.bauds, search.parities)
    units = [unit for unit in search.units if 1 <= unit <= 247]
    longest = min(worst_s(settings, units, search.timeout_s), search.within_s)
    show.say(f"{url}: {len(settings)} settings x {len(units)} addresses, {longest:.0f} s at most; Ctrl-C ends it")
    scan = LineScan(
        url,
        settings,
        units,
        timeout_s=search.timeout_s,
        within_s=search.within_s,
        thorough=search.thorough,
        tell=show.tell,
    )
    try:
        report = await scan.run()
    except asyncio.CancelledError:
        show.report(scan.report)
        raise
    show.report(report)
    return report.as_json()


async def _through_service(search: Search, show: Screen) -> dict[str, Any]:
    """Every address, at the setting that the field half runs the line at; between its polls."""
    from gateway.bench.line import Heard
    from gateway.bench.line_verdict import Address, listened, settle
    from gateway.field.control import request
    from protocols.modbus.codec import read_request, rtu_request

    site = site_file(search.site)
    socket = socket_of(site)
    if socket is None:
        raise Unreachable(not_asked(str(site), "no such site file", "name it with --site / --site 로 지정하십시오"))

    async def asked(words: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await asyncio.to_thread(request, socket, words, 20.0)
        except (OSError, ValueError) as no:
            hint = (
                "start citygate field, or name the port instead of --link / "
                "citygate field 를 시작하거나 --link 대신 포트를 지정하십시오"
            )
            raise Unreachable(not_asked(str(socket), str(no), hint)) from no
        if "error" in answer:
            known = ", ".join(answer.get("known", ()))
            raise Unreachable(
                finding("CG-5110", name=search.link, known=known)
                if known
                else not_asked(search.link, answer["error"], answer.get("hint", ""))
            )
        return answer

    line = (await asked({"lines": True}))["lines"].get(search.link)
    if line is None:
        known = ", ".join((await asked({"lines": True}))["lines"])
        raise Unreachable(finding("CG-5110", name=search.link, known=known))
    show.say(f"{search.link}: {line['url']} {line['baud']} 8{line['parity']}{line['stop_bits']}, between its polls")
    found: list[dict[str, Any]] = []
    wrong: list[Finding] = []
    for unit in [one for one in search.units if 1 <= one <= 247]:
        words = {"exchange": search.link, "unit": unit, "pdu": read_request(3, 0, 1).hex(), "timeout_s": 4 * TIMEOUT_S}
        answer = await asked(words)
        what = Address.DEVICE if answer["pdu"] else Address.NOBODY
        if answer["heard"] and not answer["pdu"]:
            asking = rtu_request(unit, 3, 0, 1)
            heard = [answer] + [await asked(words) for _ in range(4)]
            tries = [listened(Heard(asking, bytes.fromhex(one["heard"]), float("nan"))) for one in heard]
            what, is_certain = settle(tries)
            if what is Address.ERRORS:
                others = ", ".join(str(one["unit"]) for one in found) or "-"
                wrong.append(finding("CG-5116", unit=unit, others=others))
            if what is Address.DOUBLED:
                wrong.append(finding("CG-5104" if is_certain else "CG-5105", unit=unit))
        if what is not Address.NOBODY:
            name = line["units"].get(str(unit), "")
            found.append({"unit": unit, "what": what.value, "device": name})
            show.say(f"  unit {unit:3}  {what.value}  {name or 'not in the site file'}")
    for one in wrong:
        show.finding(one)
    return {"url": line["url"], "link": search.link, "found": found, "findings": [one.as_json() for one in wrong]}


class Screen:
    """What a person sees while it goes on; JSON alone where that was asked for."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._is_live = not json and sys.stderr.isatty()
        self._shown = 0

    def say(self, words: str) -> None:
        if not self._json:
            self._clear()
            print(words, flush=True)

    def tell(self, news: Progress | Found) -> None:
        if isinstance(news, Found):
            at = f"{news.setting}  unit {news.unit:3}  {news.what.value}"
            self.say(f"  {at}  {news.says[: 60 - len(at) + 16]}")
        elif self._is_live:
            line = f"  {news.setting} unit {news.unit}  {news.done}/{news.total}, {news.left_s:.0f} s left"
            self._shown = len(line)
            print(f"\r{line:<{self._shown}}", end="", file=sys.stderr, flush=True)

    def neighbour(self, news: Any) -> None:
        self.say(f"  {news.where}  {news.says}"[:400])

    def finding(self, one: Finding) -> None:
        self.say("\n".join(one.lines()))

    def report(self, report: LineReport) -> None:
        for one in report.findings:
            self.finding(one)
        units = [str(one.unit) for one in report.found]
        more = f"; next: citygate identify {report.url} --unit {units[0]}" if units else ""
        self.say(f"{len(units)} found by {report.requests} requests in {report.seconds:.1f} s{more}")

    def _clear(self) -> None:
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0

    def done(self, results: Sequence[dict[str, Any]]) -> int:
        if self._json:
            print(jsonlib.dumps({"targets": list(results)}, ensure_ascii=False))
        if all(one.get("failed") for one in results):
            return 2
        wrong = any(one["findings"] for one in results)
        return 1 if wrong or not any(one["found"] for one in results) else 0

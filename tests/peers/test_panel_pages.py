"""The panel as a person sees it: Debian's Chromium before a simulated cabinet, with real processes behind it."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from panel_rig import Cabinet, cabinet, chromium

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
SHOTS = HERE.parents[1] / "build" / "panel"
WIDTHS = (360, 768, 1280)
PAGES = {"cabinet": "#/", "device": "#/device/meter1", "alarms": "#/alarms", "bus": "#/bus",
         "commission": "#/commission/meter1"}  # fmt: skip
LEAK = "water.leak|rope"
FIRST_VIEW_KB, PANEL_MB = 150, 60
SOAK_S = 30.0


@pytest.fixture(scope="module")
def cab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cabinet]:
    with cabinet(tmp_path_factory.mktemp("panel")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture
def page(cab: Cabinet, browser: Any) -> Iterator[Any]:
    """A phone, signed in. What is asked of another host, and what a page complains of, is noted in it."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 360, "height": 760}, locale="ko-KR")
    made = context.new_page()
    made.asked, made.complaints = [], []
    made.on("request", lambda request: made.asked.append(request.url))
    made.on("pageerror", lambda bad: made.complaints.append(str(bad)))
    made.on("console", lambda said: made.complaints.append(said.text) if said.type == "error" else None)
    made.goto(cab.invite())
    made.wait_for_selector(".verdict")
    yield made
    assert [url for url in made.asked if not url.startswith(cab.url)] == []
    context.close()


def until(what: str, so: Callable[[], Any], within_s: float = 20.0) -> Any:
    give_up = time.monotonic() + within_s
    while not (found := so()):
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.02)
    return found


def shows(page: Any, so: str) -> None:
    """The page's policy forbids playwright's own waiting, which evaluates text."""
    until(so, lambda: page.evaluate(f"() => {so}"))


def go(page: Any, cab: Cabinet, where: str) -> None:
    page.goto(f"{cab.url}/{where}")
    page.wait_for_selector("main h1", state="attached")


def test_the_first_view_is_small_and_an_invitation_is_good_once(cab: Cabinet, browser: Any) -> None:
    link = cab.invite("observe")
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    sizes: list[int] = []
    page.on(
        "requestfinished",
        lambda request: sizes.append(sum(request.sizes()[k] for k in ("responseHeadersSize", "responseBodySize"))),
    )
    page.goto(link)
    page.wait_for_selector(".devices li")
    assert sum(sizes) < FIRST_VIEW_KB * 1000
    again = browser.new_context(ignore_https_errors=True).new_page()
    again.goto(link)
    shows(again, "document.getElementById('told').textContent.includes('CG-6310')")
    page.goto(f"{cab.url}/#/device/meter1")
    page.wait_for_selector(".point")
    assert not page.query_selector("form")  # who may look only is offered nothing to do
    again.context.close()
    context.close()


def test_names_with_markup_are_text(cab: Cabinet, page: Any) -> None:
    go(page, cab, "#/device/rope")
    assert "<img src=x onerror=alert(1)>" in page.inner_text("main")
    assert page.query_selector("main img") is None


def test_an_alarm_appears_within_a_second_and_is_acknowledged(cab: Cabinet, page: Any) -> None:
    page.evaluate("""() => new MutationObserver(() => {
        if (!window.seen && document.querySelector('.alarm')) window.seen = Date.now();
    }).observe(document.body, {subtree: true, childList: true})""")
    cab.rope.words[0] = 1
    page.wait_for_selector(".alarm")
    event = next(
        one for one in page.evaluate("() => fetch('/api/alarms').then(a => a.json())")["standing"] if one["key"] == LEAK
    )
    assert page.evaluate("() => window.seen") - event["at_ms"] < 1000
    page.click(".alarm a")
    page.wait_for_selector("h1.sentence")
    page.wait_for_selector(".curves canvas")
    page.fill("#note", "밸브 잠금")
    page.click("form button.main")
    shows(page, "document.querySelector('main').textContent.includes('Kim 확인')")
    cab.rope.words[0] = 0
    shows(page, "document.querySelector('main .badge').dataset.state === 'good'")


def test_an_uplink_that_is_cut_shows_and_comes_back(cab: Cabinet, page: Any) -> None:
    state = "() => [...document.querySelectorAll('.lines .badge')][0]?.dataset.state"
    until("the center stores", lambda: page.evaluate(state) == "good", 60)
    cab.processes["center"].kill()
    cab.rope.words[0] = 2  # something to send
    until("the cut shows", lambda: page.evaluate(state) == "dead", 30)
    cab.rope.words[0] = 0
    cab.start_center()
    until("it is back", lambda: page.evaluate(state) == "good", 60)


def test_a_field_half_that_is_killed_shows_and_the_page_recovers_by_itself(cab: Cabinet, page: Any) -> None:
    go(page, cab, "#/device/meter1")
    page.wait_for_selector(".point canvas")
    cab.processes["field"].kill()
    page.wait_for_selector("#lost:not([hidden])")
    cab.start_field()
    page.wait_for_selector("#lost[hidden]", state="attached")
    value = "() => document.querySelector('.point .value').textContent"
    cab.meters.words.update({1: 0x4248, 0: 0})  # 50.0
    until("values go on", lambda: page.evaluate(value).startswith("50"))
    assert page.complaints == [] or all("503" in one or "ERR_" in one for one in page.complaints)


def test_a_whole_commissioning_ends_in_the_record_to_print(cab: Cabinet, page: Any) -> None:
    until("the center stores", lambda: page.evaluate("() => fetch('/api/me').then(a => a.ok)"))
    go(page, cab, "#/commission/meter1")
    page.wait_for_selector(".big[data-state=good]")
    page.click("form button.main")
    shows(page, "document.querySelector('form [role=status]').textContent !== ''")
    page.click(".buttons .main")
    page.wait_for_selector(".compare")
    page.fill(".compare input >> nth=0", "50")
    page.wait_for_selector(".compare .mark .badge[data-state=good]")
    page.click(".buttons .main")
    page.wait_for_selector("#prove-what")
    page.click(".buttons .main >> nth=0")
    cab.meters.words.update({1: 0x42C8, 0: 0})  # 100.0: somebody opened a tap
    page.wait_for_selector(".proof .big[data-state=good]")
    page.click(".buttons .main >> nth=1")
    page.click("form button.main")
    page.wait_for_selector(".big[data-state=good]", timeout=45_000)
    page.click(".buttons .main")
    page.wait_for_selector("form input")
    page.fill("form input >> nth=1", "SN-1")
    page.click("form button.main")
    page.wait_for_selector("a.button", timeout=90_000)
    with page.context.expect_page() as opened:
        page.click("a.button")
    printed = opened.value
    printed.wait_for_load_state()
    assert "meter1" in printed.inner_text("body")
    assert "SN-1" in printed.inner_text("body")


def test_no_serious_fault_for_those_who_cannot_see_or_point(cab: Cabinet, page: Any) -> None:
    """axe-core on every page, in both themes; injected behind the page's policy by the debugger."""
    rules = (HERE / "axe.min.js").read_text(encoding="utf-8")
    for theme in ("light", "dark"):
        page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
        for where in (*PAGES.values(), f"#/alarm/{LEAK}"):
            go(page, cab, where)
            page.reload()
            page.wait_for_selector("main h1", state="attached")
            page.evaluate(rules)
            found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
            serious = [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found
                       if one["impact"] in ("serious", "critical")]  # fmt: skip
            assert serious == [], (theme, where)


def test_the_keyboard_reaches_everything(cab: Cabinet, page: Any) -> None:
    page.reload()
    page.wait_for_selector(".devices li")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate("() => document.activeElement.getAttribute('href') || document.activeElement.textContent")
        )
    assert {"#/alarms", "#/bus", "#/commission", "#/device/rope", "#/device/meter1"} <= seen


def test_pages_fit_their_screens_in_both_languages_and_themes(cab: Cabinet, page: Any) -> None:
    """Nothing is cut off sideways; the pictures are build output, to be looked at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    cab.rope.words[0] = 1
    shows(page, "!document.querySelector('#count:empty')")
    for language in ("ko", "en"):
        for theme in ("light", "dark"):
            page.evaluate(
                "([l, t]) => { localStorage.setItem('language', l); localStorage.setItem('theme', t) }",
                [language, theme],
            )
            for name, where in {**PAGES, "alarm": f"#/alarm/{LEAK}"}.items():
                go(page, cab, where)
                page.reload()
                page.wait_for_selector("main h1", state="attached")
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 800})
                    page.wait_for_timeout(120)
                    assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (name, width, language)
                    page.screenshot(path=str(SHOTS / f"{name}-{width}-{language}-{theme}.png"), full_page=True)
    cab.rope.words[0] = 0


def test_a_thousand_slow_clients_are_let_go_and_the_field_half_notices_nothing(cab: Cabinet, page: Any) -> None:
    context = ssl._create_unverified_context()
    host, port = "127.0.0.1", int(cab.url.rpartition(":")[2])
    before = cab.processes["field"].channels()["meter1.flow"]["readings"]  # type: ignore[attr-defined]
    slow: list[socket.socket] = []
    for number in range(1000):
        try:
            plain = socket.create_connection((host, port), 2)
            if number % 10 == 0:
                plain = context.wrap_socket(plain)
                plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            slow.append(plain)
        except OSError:
            continue
    shows(page, "document.querySelector('#lost').hidden")
    rss = cab.rss_mb()
    for one in slow:
        one.close()
    assert rss < PANEL_MB
    until("it lets in again", lambda: page.evaluate("() => fetch('/api/me').then(a => a.ok).catch(() => false)"), 30)
    field = cab.processes["field"]
    until("readings go on", lambda: field.channels()["meter1.flow"]["readings"] > before, 5)  # type: ignore[attr-defined]


def test_five_hundred_points_stay_as_small_as_they_began(tmp_path: Path, browser: Any) -> None:
    with cabinet(tmp_path, meters=84, with_center=False) as cab:
        context = browser.new_context(ignore_https_errors=True, viewport={"width": 360, "height": 760})
        page = context.new_page()
        page.goto(cab.invite())
        page.wait_for_selector(".devices li >> nth=83")
        debug = context.new_cdp_session(page)

        def heap_mb() -> float:
            debug.send("HeapProfiler.collectGarbage")
            return float(page.evaluate("() => performance.memory.usedJSHeapSize")) / 1e6

        page.wait_for_timeout(5000)
        nodes, heap = page.evaluate("() => document.querySelectorAll('*').length"), heap_mb()
        rows = """() => fetch('/api/history?device=meter84').then(a => a.json())
            .then(a => Object.values(a.channels)[0].t.length)"""
        before = page.evaluate(rows)
        page.wait_for_timeout(SOAK_S * 1000)
        assert page.evaluate(rows) - before > SOAK_S * 0.8
        assert page.evaluate("() => document.querySelectorAll('*').length") <= nodes + 10
        assert heap_mb() < heap + 2.0
        assert cab.rss_mb() < PANEL_MB
        context.close()

"""Who may have what, and what is refused: the application without a network."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from panel_asgi import Panel

from gateway.panel import guard
from gateway.panel.feed import VIEWERS, Viewer

POSTS = ("acknowledge", "maintenance", "read", "command", "push-test", "commission/found", "commission/sign")
GETS = ("/api/me", "/api/stream", "/api/history?device=x", "/api/alarms", "/api/bus", "/api/commission/files",
        "/api/commission/file/a.html", "/metrics", "/health", "/static/index.html")  # fmt: skip


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    return Panel(tmp_path)


def test_without_a_session_there_is_the_page_to_sign_in_and_nothing_else(panel: Panel) -> None:
    assert panel.get("/").headers["location"] == "/sign-in"
    assert panel.get("/sign-in").status == 200
    for path in GETS:
        assert panel.get(path, source=path).status == 401, path
    for name in POSTS:
        assert panel.post(f"/api/{name}", {}, source=name).status == 401, name
    for token in ("", "x", "ü" * 300):
        panel.session = token
        assert panel.get("/api/me", source=token).status == 401


def test_a_token_signs_in_once_and_a_forged_one_never(panel: Panel) -> None:
    token = panel.tokens.invite("observe", 600, "Kim")
    for wrong in ("", "forged", token[:-1]):
        assert panel.post("/api/sign-in", {"token": wrong}).status == 401
    answer = panel.post("/api/sign-in", {"token": token})
    cookie = answer.headers["set-cookie"]
    assert answer.status == 204
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert panel.post("/api/sign-in", {"token": token}).status == 401
    panel.session = cookie.partition("=")[2].partition(";")[0]
    assert panel.get("/api/me").json()["role"] == "observe"
    assert panel.post("/api/sign-out", {}).status == 204
    assert panel.get("/api/me").status == 401


def test_over_tls_the_cookie_is_the_hosts_own(tmp_path: Path) -> None:
    panel = Panel(tmp_path, secure=True)
    answer = panel.post("/api/sign-in", {"token": panel.tokens.invite("observe", 600, "")})
    assert answer.headers["set-cookie"].startswith("__Host-citygate=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


def test_guessing_is_slow(panel: Panel) -> None:
    codes = [panel.post("/api/sign-in", {"token": str(n)}).status for n in range(15)]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert panel.post("/api/sign-in", {"token": "x"}, source="10.0.0.3").status == 401


def test_who_may_only_look_changes_nothing(panel: Panel) -> None:
    panel.sign_in("observe")
    for name in POSTS:
        assert panel.post(f"/api/{name}", {"device": "x"}).json()["code"] == "CG-6311", name


def test_another_sites_request_is_refused(panel: Panel) -> None:
    panel.sign_in()
    ours: dict[str, str] = {"origin": "http://cab:8443"}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"x-citygate": ""},
        {"content-type": "text/plain"},
        {"sec-fetch-site": "cross-site"},
    ):
        assert panel.post("/api/maintenance", {"device": ""}, headers=headers).json()["code"] == "CG-6303", headers
    assert panel.post("/api/maintenance", {"device": "", "for_s": 60}, headers=ours).json()["code"] == "CG-6305"


def test_names_that_are_not_the_panels_are_refused_where_it_knows_its_own(tmp_path: Path) -> None:
    panel = Panel(tmp_path, hosts=frozenset(("cab",)))
    assert panel.get("/sign-in").status == 200
    assert panel.get("/sign-in", headers={"host": "rebound.example"}).status == 421


BAD_BODIES = [b"", b"[", b"[]", b"1", b"\xff", b'{"device": 1}', b'{"device": "' + b"x" * 400 + b'"}', b"[" * 10_000,
              b'{"device": "x", "for_s": "1"}', b'{"device": "x", "for_s": true}']  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_body_that_is_none_is_refused_in_words(panel: Panel, body: bytes) -> None:
    answer = panel.sign_in().post("/api/maintenance", body)
    assert (answer.status, answer.json()["code"]) == (400, "CG-6306")
    assert answer.json()["error_ko"]


def test_a_body_without_end_is_cut_off(panel: Panel) -> None:
    assert panel.sign_in().post("/api/maintenance", b"x" * (guard.LONGEST_BODY + 1)).status != 200
    said = panel.post("/api/maintenance", b"{}", headers={"content-length": "99999999"})
    assert said.json()["code"] == "CG-6304"


def test_every_answer_tells_the_browser_to_stay_here(panel: Panel) -> None:
    for answer in (
        panel.get("/sign-in"),
        panel.get("/none"),
        panel.post("/api/me", {}, headers={"origin": "http://x"}),
    ):
        assert answer.headers["content-security-policy"] == guard.POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in guard.POLICY


def test_paths_lead_nowhere_else(panel: Panel) -> None:
    panel.sign_in()
    record = "/api/commission/file"
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/app.py", f"{record}/..%2ftokens.json",
                 f"{record}/../tokens.json", f"{record}/key.hex", "/api/nothing"):  # fmt: skip
        assert panel.get(path).status == 404, path


FIRST = {
    "gateway": "cab", "mode": "local", "timezone": "Asia/Seoul", "at_ms": 1, "standing": [], "past": [],
    "acknowledged": {},
    "channels": [{"name": f"{d}.x", "device": d, "point": "x", "unit": "m"} for d in ("a", "b")],
    "devices": [{"name": "a", "link": "bus", "channels": [0]}, {"name": "b", "link": "bus", "channels": [1]}],
}  # fmt: skip
HEALTH: dict[str, Any] = {
    "gateway": "cab", "version": "1", "mode": "center", "uptime_s": 5.0, "readings": 7, "events": 1,
    "clock": {"is_set": True, "uncertainty_s": 0.01}, "silent": ["b"],
    "spool": {"depth": {"c/alarm": 2}, "oldest_s": 1.0, "held": 0, "refused": 0, "fault": None},
    "links": {"bus": {"up": True, "fault": None, "used": 0.2, "planned": 0.1, "polls": 3, "overruns": 0,
                      "reconnects": 1, "quarantined": ["b"], "counters": {"timeouts": 4}, "devices": {},
                      "identity": {}}},
    "upstreams": {"c": {"role": "center", "uri": "coap://c", "insecure": False, "format": "senml"}},
    "ways": {"c": {"state": "stored", "open": True, "heard_s": 2.0, "round_trip_ms": 9.0}},
    "maintenance": {"windows": [], "held": []},
}  # fmt: skip
ALARM = {"key": "water.leak|a", "code": "water.leak", "phase": "onset", "severity": "major", "cause": "city",
         "en": "leak", "evidence": [[0, [[1, 0.0]]]]}  # fmt: skip


def told(panel: Panel, *lines: Any) -> None:
    for line in lines:
        panel.feed._take(line, json.dumps(line).encode())


def test_what_the_field_half_tells_is_what_pages_show(panel: Panel) -> None:
    told(
        panel,
        FIRST,
        {"health": HEALTH},
        {"at_ms": 2, "rows": [[0, 1.5, 1.4, 0, 2000], [1, None, None, 160, 2000]]},
        {"at_ms": 2, "bands": [[0, 1.0, 2.0]]},
        {"event": ALARM},
    )
    cabinet = panel.feed.cabinet()
    states = {one["name"]: one["state"] for one in (*cabinet["links"], *cabinet["devices"], *cabinet["upstreams"])}
    assert states == {"bus": "degraded", "a": "degraded", "b": "dead", "c": "good"}
    assert cabinet["alarms"] == 1
    panel.sign_in("observe")
    assert panel.get("/api/history?device=a").json()["channels"]["0"] == {"t": [2000], "v": [1.5], "k": [1.4], "q": [0]}
    assert panel.get("/api/history?device=c").status == 404
    assert panel.get("/api/alarms").json()["standing"] == [ALARM]
    assert panel.get("/api/bus").json()["links"][0]["name"] == "bus"
    metrics = panel.get("/metrics").body.decode()
    assert 'citygate_value{device="a",point="x",unit="m"} 1.5' in metrics
    assert 'citygate_device_state{device="b",state="dead"} 1.0' in metrics
    assert 'citygate_link_counts_total{kind="timeouts",link="bus"} 4.0' in metrics
    assert panel.get("/health").json()["state"] == "dead"
    told(panel, {"event": {**ALARM, "phase": "update", "en": "more readings", "evidence": [[0, [[2, 1.0]]]]}})
    (stands,) = panel.get("/api/alarms").json()["standing"]
    assert (stands["en"], stands["evidence"]) == ("leak", [[0, [[1, 0.0]]], [0, [[2, 1.0]]]])
    told(panel, {"event": {**ALARM, "phase": "clear"}})
    assert panel.get("/api/alarms").json()["standing"] == []


def test_a_program_reads_metrics_and_nothing_else(panel: Panel) -> None:
    token = panel.tokens.invite("metrics", 600, "prometheus")
    bearer = {"authorization": f"Bearer {token}"}
    assert panel.get("/metrics", headers=bearer).status == 200
    assert panel.get("/health", headers=bearer).json()["state"] == "dead"
    for path in ("/api/me", "/api/alarms", "/static/index.html"):
        assert panel.get(path, headers=bearer).status == 401
    assert panel.post("/api/sign-in", {"token": token}).status == 401
    assert panel.get("/metrics", headers={"authorization": "Bearer x"}).status == 401


@pytest.mark.parametrize(
    ("way", "state"),
    [
        ({"state": "stored", "open": True, "heard_s": 3.0}, "good"),
        ({"state": "stored", "open": True, "heard_s": 999.0}, "degraded"),
        ({"state": "busy", "open": True, "heard_s": 3.0}, "degraded"),
        ({"state": "stored", "open": False, "heard_s": 3.0}, "dead"),
        ({"state": "stranger", "open": True, "heard_s": None}, "dead"),
        ({}, "dead"),
    ],
)
def test_a_way_is_as_good_as_what_it_met(panel: Panel, way: dict[str, Any], state: str) -> None:
    told(panel, FIRST, {"health": {**HEALTH, "ways": {"c": way}}})
    (one,) = panel.feed.cabinet()["upstreams"]
    assert one["state"] == state
    assert one["why"]["ko"]
    told(panel, {"health": {**HEALTH, "ways": None}})
    assert panel.feed.cabinet()["upstreams"][0]["state"] == "dead"


def test_a_stream_begins_whole_and_goes_on_and_a_slow_viewer_begins_anew(panel: Panel) -> None:
    told(panel, FIRST)

    async def play() -> None:
        stream = panel.feed.stream("a")
        assert json.loads((await anext(stream)).decode().partition("data: ")[2])["channels"] == FIRST["channels"]
        told(
            panel,
            {"at_ms": 2, "rows": [[0, 1.0, 1.0, 0, 5], [1, 2.0, 2.0, 0, 5]]},
            {"at_ms": 3, "rows": [[1, 2, 2, 0, 6]]},
        )
        rows = await anext(stream)
        assert rows == b'event: rows\ndata: {"at_ms":2,"rows":[[0,1.0,1.0,0,5]]}\n\n'
        for _ in range(400):
            told(panel, {"acknowledged": {}})
        assert [one async for one in stream][-1:] in ([], [b"event: acknowledged\ndata: {}\n\n"])
        assert not panel.feed.viewers

    asyncio.run(play())


def test_pages_beyond_the_limit_are_refused(panel: Panel) -> None:
    panel.sign_in()
    panel.feed._viewers.update(Viewer("none") for _ in range(VIEWERS))
    assert panel.get("/api/stream").json()["code"] == "CG-6312"


def test_a_field_half_that_goes_is_told_and_comes_back_with_its_curves(panel: Panel) -> None:
    told(panel, FIRST, {"health": HEALTH}, {"at_ms": 2, "rows": [[0, 1.5, 1.4, 0, 2000]]})
    panel.feed._is_up(False)
    assert panel.get("/sign-in").status == 200
    assert not panel.feed.cabinet()["up"]
    told(panel, FIRST)
    history = panel.feed.history("a")
    assert history
    assert history["channels"][0]["t"] == [2000]
    told(panel, {**FIRST, "channels": FIRST["channels"][:1], "devices": FIRST["devices"][:1]})
    history = panel.feed.history("a")
    assert history
    assert history["channels"][0]["t"] == []


def test_the_dashboard_asks_for_metrics_that_there_are(panel: Panel) -> None:
    told(panel, FIRST, {"health": HEALTH}, {"at_ms": 2, "rows": [[0, 1.5, 1.4, 0, 2000]]}, {"event": ALARM})
    known = set(re.findall(r"^(citygate_\w+)", panel.sign_in().get("/metrics").body.decode(), re.M))
    docs = Path(__file__).parents[2] / "docs"
    asked = set(
        re.findall(r"citygate_\w+", json.dumps(json.loads((docs / "grafana-citygate.json").read_text())["panels"]))
    )
    assert asked <= known
    explained = set(re.findall(r"`(citygate_\w+)`", (docs / "panel.md").read_text()))
    assert explained <= known

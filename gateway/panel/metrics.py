"""What the panel knows, for Prometheus, and one JSON document for other monitoring. Pure: a feed in, text out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from gateway.panel.feed import Feed

STATES = ("good", "degraded", "dead", "maintenance")


def text(feed: Feed) -> bytes:
    """The exposition format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Cabinet(feed))
    return generate_latest(registry)


class _Cabinet(Collector):
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def collect(self) -> Iterator[Metric]:
        feed = self._feed
        now, health = feed.cabinet(), feed.health
        yield _one("citygate_up", "1 while the field half answers", float(feed.up))
        if not health:
            return
        yield _one("citygate_uptime_seconds", "of the field half", now["uptime_s"])
        yield _one("citygate_clock_set", "1 once the time is known", float(bool(now["clock"]["is_set"])))
        yield _one("citygate_clock_uncertainty_seconds", "how far the clock may be off", now["clock"]["uncertainty_s"])
        yield _one("citygate_spool_records", "records that wait for a center", now["spool"]["records"])
        yield _one("citygate_spool_held", "records that the disk does not take", now["spool"]["held"])
        yield _one("citygate_spool_oldest_seconds", "age of the oldest record", now["spool"]["oldest_s"] or 0.0)
        yield _total("citygate_readings", "readings taken", health["readings"])
        yield _total("citygate_events", "events raised", health["events"])
        for kind in ("link", "device", "upstream"):
            family = GaugeMetricFamily(f"citygate_{kind}_state", "1 for the state it is in", labels=[kind, "state"])
            for one in now[f"{kind}s"]:
                for state in STATES:
                    family.add_metric([one["name"], state], float(one["state"] == state))
            yield family
        yield from self._links(health["links"])
        yield from self._upstreams(now["upstreams"])
        alarms = GaugeMetricFamily("citygate_alarms", "alarms that stand", labels=["code", "severity", "cause"])
        for labels, count in Counter((e["code"], e["severity"], e["cause"]) for e in feed.standing.values()).items():
            alarms.add_metric(list(labels), count)
        yield alarms
        yield from self._channels()

    def _links(self, links: dict[str, Any]) -> Iterator[Metric]:
        used = GaugeMetricFamily("citygate_link_used_ratio", "share of a line's time that is used", labels=["link"])
        overruns = CounterMetricFamily("citygate_link_overruns", "polls that came too late", labels=["link"])
        counts = CounterMetricFamily("citygate_link_counts", "what drivers count", labels=["link", "kind"])
        for name, link in links.items():
            used.add_metric([name], link["used"])
            overruns.add_metric([name], link["overruns"])
            for kind, count in link["counters"].items():
                counts.add_metric([name, kind], count)
        yield from (used, overruns, counts)

    def _upstreams(self, upstreams: list[dict[str, Any]]) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("citygate_upstream_waiting_records", "records that wait", labels=["upstream"])
        heard = GaugeMetricFamily("citygate_upstream_heard_seconds", "since one was stored", labels=["upstream"])
        for one in upstreams:
            waiting.add_metric([one["name"]], one["waiting"])
            if one["heard_s"] is not None:
                heard.add_metric([one["name"]], one["heard_s"])
        yield from (waiting, heard)

    def _channels(self) -> Iterator[Metric]:
        value = GaugeMetricFamily("citygate_value", "latest reading", labels=["device", "point", "unit"])
        quality = GaugeMetricFamily("citygate_quality", "its quality, 0 is good", labels=["device", "point"])
        for channel, row in self._feed.rows.items():
            of = self._feed.first["channels"][channel]
            if row[1] is not None:
                value.add_metric([of["device"], of["point"], of["unit"]], row[1])
            quality.add_metric([of["device"], of["point"]], row[3])
        yield from (value, quality)


def health(feed: Feed) -> dict[str, Any]:
    """`state` is the worst of what the cabinet is made of."""
    now = feed.cabinet()
    parts = [now["clock"], now["spool"], *now["links"], *now["devices"], *now["upstreams"]]
    states = {one["state"] for one in parts}
    worst = "dead" if not feed.up else next((s for s in ("dead", "degraded", "maintenance") if s in states), "good")
    return {"state": worst, **now}


def _one(name: str, words: str, value: float | None) -> Metric:
    return GaugeMetricFamily(name, words, value=math.nan if value is None else value)


def _total(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=value)

"""What upstreams with a monthly byte budget have used of it, from the files that the sending half keeps. Reads only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.site.site import load_site
from gateway.uplink.budget import WORDS, Step, file_of


def months(site: str) -> dict[str, dict[str, Any]]:
    """By upstream with a budget: month, budget_mb, used_mb (never too little), forecast_mb (None while unknown), step,
    sends. The site is sound."""
    loaded = load_site(site)
    found = {}
    for upstream in loaded.upstreams:
        if upstream.monthly_mb:
            kept = _kept(Path(loaded.state_dir) / file_of(upstream.name))
            step = Step(kept.get("step", 0))
            forecast = kept.get("forecast")
            found[upstream.name] = {
                "month": kept.get("month", ""),
                "budget_mb": upstream.monthly_mb,
                "used_mb": round(kept.get("bytes", 0) / 1e6, 3),
                "forecast_mb": None if forecast is None else round(forecast / 1e6, 3),
                "step": int(step),
                "sends": WORDS[step][0],
            }
    return found


def line(upstream: str, one: dict[str, Any]) -> str:
    """For a person."""
    forecast = "not known yet" if one["forecast_mb"] is None else f"{one['forecast_mb']:.1f} MB"
    month = one["month"] or "this month"
    used = f"{one['used_mb']:.1f} of {one['budget_mb']:g} MB used in {month}"
    return f"{upstream}: {used}, forecast {forecast}: {one['sends']}"


def _kept(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        Step(found["step"])
        return {
            "month": str(found["month"]), "bytes": int(found["bytes"]), "step": found["step"],
            "forecast": None if found.get("forecast") is None else float(found["forecast"]),
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return {}

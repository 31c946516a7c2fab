"""What `citygate status` says of a SIM card's month."""

import json
from pathlib import Path

from gateway.tools.months import line, months

SITE = """
schema = 1
[gateway]
id = "cab-07"
state_dir = "{state}"

[[upstreams]]
name = "city"
uri = "coap://127.0.0.1:5683"
insecure = true
monthly_mb = 30

[[upstreams]]
name = "free"
uri = "coap://127.0.0.1:5684"
insecure = true
"""


def test_use_forecast_and_step_are_shown(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(state=tmp_path))
    assert months(str(site))["city"]["forecast_mb"] is None
    kept = {"month": "2026-11", "bytes": 12_300_000, "step": 2, "forecast": 29_000_000.0, "rates": {}}
    (tmp_path / "budget-city.json").write_text(json.dumps(kept))
    found = months(str(site))
    assert list(found) == ["city"]
    assert line("city", found["city"]) == ("city: 12.3 of 30 MB used in 2026-11, forecast 29.0 MB: windows to 10 min")
    (tmp_path / "budget-city.json").write_text("[1]")
    assert line("city", months(str(site))["city"]).startswith("city: 0.0 of 30 MB used in this month")

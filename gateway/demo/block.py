"""The block's folder: its site file, credentials and ptys. Everything the three processes read is a real file here."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from gateway.demo import script

SITE = """\
# The city block of `citygate demo`. Durations marked SHORT are shorter than production's: a minute shows them.
schema = 1

[gateway]
id = "demo-block"
name = {{ en = "Demo block", ko = "시연 구역" }}
asset = "CAB-0001"
zone = "dma-3"
latitude = 37.5665
longitude = 126.978
state_dir = "state"
profiles = ["profiles"]

[[upstreams]]
name = "center"
uri = "coap://127.0.0.1:{uplink_port}"
credentials = "credentials/gateway"

[[links]]
name = "cabinet"
url = "tcp://127.0.0.1:{meter_port}"

[[links]]
name = "lamps"
url = "tcp://127.0.0.1:{lamp_port}"

[[links]]
name = "waterbus"
url = "serial:{water_pty}"
timeout_s = 0.25

[[links]]
name = "airport"
url = "serial:{air_pty}"

[[links]]
name = "loopport"
url = "serial:{loop_pty}"

[[links]]
name = "lane"
url = "coap://127.0.0.1:{lane_port}"

[[devices]]
name = "meter"
profile = "streetlight/eastron-sdm120"
link = "cabinet"
unit = 1
period_s = 0.05
place = {{ en = "Cabinet, Sejong-daero 110", ko = "세종대로 110 분전함" }}

[[devices]]
name = "feeder1"
profile = "streetlight/eastron-sdm120"
link = "cabinet"
unit = 2
period_s = 0.05
place = {{ en = "Feeder F1, Sejong-daero", ko = "세종대로 F1 분기" }}

[[devices]]
name = "feeder2"
profile = "streetlight/eastron-sdm120"
link = "cabinet"
unit = 3
period_s = 0.05
place = {{ en = "Feeder F2, Sejong-daero", ko = "세종대로 F2 분기" }}

[[devices]]
name = "dali"
profile = "streetlight/intesis-dali-modbus"
link = "lamps"
unit = 1
period_s = 0.25
group = "F1"
place = {{ en = "Feeder F1, Sejong-daero", ko = "세종대로 F1 분기" }}

[[devices]]
name = "flow"
profile = "water/tuf-2000m"
link = "waterbus"
unit = 1
period_s = 0.5
asset = "WTR-FM-031"
place = {{ en = "Chamber 31", ko = "31번 유량계실" }}

[[devices]]
name = "rope"
profile = "water/rle-ld5000"
link = "waterbus"
unit = 2
period_s = 0.75
silent_s = {silent_s}
asset = "WTR-LR-007"
place = {{ en = "Pump room B2", ko = "지하 2층 펌프실" }}

[[devices]]
name = "pressure"
profile = "water/keller-30x"
link = "waterbus"
unit = 3
period_s = 0.5
asset = "WTR-PT-012"
place = {{ en = "Chamber 31", ko = "31번 유량계실" }}

[[devices]]
name = "air"
profile = "air/plantower-pms5003"
link = "airport"
period_s = 1.0
asset = "AIR-0102"
place = {{ en = "Bus stop 102", ko = "102번 버스정류장" }}

[[devices]]
name = "loops"
profile = "traffic/raw-loop-stream"
link = "loopport"
asset = "TRF-L-0440"
place = {{ en = "Lane 1, northbound", ko = "북행 1차로" }}
options = {{ spacing_m = 4.5 }}

[[devices]]
name = "lane"
profile = "traffic/generic-senml-lane"
link = "lane"
period_s = 1.0
asset = "TRF-N-0441"
place = {{ en = "Lane 2, northbound", ko = "북행 2차로" }}
{replay}
[services.water]
burst_flow = {burst_flow}
burst_pressure = {burst_pressure}
burst_hold_s = {burst_hold_s}        # SHORT: 120 in production
leak_hold_s = {leak_hold_s}
meter_error_hold_s = {meter_hold_s}  # SHORT: 60 in production

[services.streetlight]
group_share = {group_share}

[services.air]
hold_s = {air_hold_s}                # SHORT: the ordinance's two hours

[services.traffic]
stuck_on_s = {stuck_s}               # SHORT: 120 in production
interval_s = 5                       # SHORT: 30 in production
"""

BEACON = """
[[links]]
name = "bluetooth"
url = "ble:hci0"

[[devices]]
name = "shade"
profile = "air/pvvx-lywsd03mmc"
link = "bluetooth"
address = "A4:C1:38:5E:00:17"
period_s = 1.0
asset = "AIR-0103"
place = { en = "Shade tree, plaza", ko = "광장 그늘목" }
"""

REPLAY = """
[[links]]
name = "replay"
url = "tcp://127.0.0.1:{port}"

[[devices]]
name = "replay"
profile = "other/replayed-series"
link = "replay"
unit = 1
period_s = {period_s}
"""


def free_port(*, datagram: bool = False) -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_site(folder: Path, ports: Mapping[str, int], ptys: Mapping[str, str], replay: str = "") -> Path:
    """The site file of this run."""
    path = folder / "site.toml"
    text = SITE.format(
        uplink_port=ports["uplink"],
        meter_port=ports["cabinet"],
        lamp_port=ports["lamps"],
        lane_port=ports["lane"],
        water_pty=ptys["waterbus"],
        air_pty=ptys["airport"],
        loop_pty=ptys["loopport"],
        silent_s=script.SILENT_S,
        burst_flow=script.BURST_FLOW,
        burst_pressure=script.BURST_PRESSURE,
        burst_hold_s=script.BURST_HOLD_S,
        leak_hold_s=script.LEAK_HOLD_S,
        meter_hold_s=script.METER_HOLD_S,
        group_share=script.GROUP_SHARE,
        air_hold_s=script.AIR_HOLD_S,
        stuck_s=script.STUCK_S,
        replay=replay,
    )
    path.write_text(text, encoding="utf-8")
    return path

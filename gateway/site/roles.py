"""The words by which services know a point, whatever its device calls it: role -> (family, units it may have, meaning).

An empty unit list means any unit. A point without a role is polled, filtered, summarised and watched by its detector,
but no service judges it.
"""

from __future__ import annotations

ROLES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "flow": ("water", ("m3/h", "m3/s", "l/s", "l/min", "l/h"), "volume flow in a pipe"),
    "pressure": ("water", ("bar", "hPa", "Pa", "kPa", "MPa", "m"), "pressure in a pipe"),
    "level": ("water", ("m", "mm", "cm", "%", "/100"), "water level in a tank, manhole or channel"),
    "volume_total": ("water", ("m3", "l"), "totalised volume"),
    "leak": ("water", ("", "/"), "1 where water is detected"),
    "leak_distance": ("water", ("m",), "distance of the water along a sensing cable"),
    "cable_break": ("water", ("", "/"), "1 where a sensing cable is broken"),
    "meter_error": ("water", ("", "/", "count"), "error word of a meter, 0 when it is well"),
    "signal_quality": ("water", ("%", "/100", "/"), "quality of a meter's own measurement"),
    "lamp_failure": ("streetlight", ("", "/"), "1 where a lamp reports failure"),
    "lamp_level": ("streetlight", ("%", "/100"), "commanded or actual dim level of a lamp"),
    "lamp_power": ("streetlight", ("W",), "active power of one lamp, read by its own node"),
    "voltage": ("streetlight", ("V",), "supply voltage"),
    "current": ("streetlight", ("A", "mA"), "current"),
    "power": ("streetlight", ("W", "kW"), "active power"),
    "energy": ("streetlight", ("kWh", "Wh", "J"), "active energy, counting"),
    "leakage": ("streetlight", ("mA", "A"), "earth leakage (residual) current"),
    "illuminance": ("streetlight", ("lx",), "light that a photocell sees"),
    "door": ("streetlight", ("", "/"), "1 where a cabinet door is open"),
    "pm1": ("air", ("ug/m3",), "PM1.0 mass concentration"),
    "pm25": ("air", ("ug/m3",), "PM2.5 mass concentration"),
    "pm10": ("air", ("ug/m3",), "PM10 mass concentration"),
    "temperature": ("air", ("Cel", "K"), "air temperature"),
    "humidity": ("air", ("%RH",), "relative humidity"),
    "no2": ("air", ("ug/m3", "ppb", "ppm"), "nitrogen dioxide"),
    "o3": ("air", ("ug/m3", "ppb", "ppm"), "ozone"),
    "so2": ("air", ("ug/m3", "ppb", "ppm"), "sulphur dioxide"),
    "co": ("air", ("ug/m3", "ppb", "ppm"), "carbon monoxide"),
    "co2": ("air", ("ppm",), "carbon dioxide"),
    "loop": ("traffic", ("%", "/100"), "raw inductive loop, -dL/L: a waveform for the loop kernel"),
    "volume": ("traffic", ("count",), "vehicles in an interval"),
    "occupancy": ("traffic", ("/100", "%"), "share of time a loop is occupied"),
    "speed": ("traffic", ("km/h", "m/s"), "vehicle speed"),
    "length": ("traffic", ("m",), "vehicle length, bumper to bumper"),
    "vehicle_count": ("traffic", ("count",), "vehicles counted so far, counting on"),
    "loop_open": ("traffic", ("", "/"), "1 where a detector reports an open loop"),
    "loop_short": ("traffic", ("", "/"), "1 where a detector reports a shorted loop"),
    "detector_fault": ("traffic", ("", "/"), "1 where a detector reports itself out of order"),
}

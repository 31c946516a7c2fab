"""What humidity adds to dust that is measured by its light. In: readings and humidity of stations. Out: dry values.

Fine particles take up water and scatter more light, the more so the nearer the air is to saturation; coarse ones
hardly do. The reading of fine dust is its dry mass times 1 + a * h^2 / (1 - h) with h the relative humidity
(Laulainen 1993, PNL-8720; Chakrabarti et al. 2004, doi 10.1016/j.atmosenv.2004.03.007, a = 0.25 in Los Angeles). Above
95 % the swelling of real particles levels off and a humidity sensor says nothing more: there h stays at 0.95.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
MOST_HUMID = 0.95
FINE_SHARE = 0.6  # of PM10, where a station measures no PM2.5


def swelling(humidity: Values, growth: Values | float) -> Values:
    """Factor by which fine dust reads too high, 1 where the humidity (%RH) is unknown. Any shape."""
    h = np.clip(np.where(np.isfinite(humidity), humidity, 0.0) / 100.0, 0.0, MOST_HUMID)
    return np.asarray(1.0 + growth * h * h / (1.0 - h))


def dried(pm25: Values, pm10: Values, factor: Values, share: Values) -> tuple[Values, Values]:
    """Dry (PM2.5, PM10) in ug/m3. What PM2.5 reads too much, PM10 does too; `share` is that of PM2.5 in the reading of
    PM10 of late, FINE_SHARE of the dry one where it is not known (NaN)."""
    usual = FINE_SHARE * factor / (1.0 + FINE_SHARE * (factor - 1.0))
    fine = np.where(np.isfinite(share), np.minimum(share, 1.0), usual)
    return pm25 / factor, pm10 * (1.0 - fine * (1.0 - 1.0 / factor))

"""Arrays of any make in, columns a kernel takes out: right dtype, contiguous, writable, native byte order.

Other layouts would each cost another compilation. Nothing is copied that already fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
U1 = NDArray[np.uint8]

LARGEST = 1.7976931348623157e308  # sums saturate here: state stays finite


def column(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """`values` as one column of `dtype`. Raises ValueError when it is not one-dimensional."""
    if (
        type(values) is not np.ndarray
        or values.dtype != dtype
        or not values.flags.c_contiguous
        or not values.flags.writeable
    ):
        values = np.array(values, dtype, order="C")
    if values.ndim != 1:
        raise ValueError(f"a column has one dimension, not {values.ndim}")
    fitting: NDArray[Any] = values
    return fitting

"""What every loader gives back, and in which form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._base import require

if TYPE_CHECKING:
    from sklearn.utils import Bunch

NOT_STATED = "not stated by the source"


def make_bunch(data: NDArray[Any], target: NDArray[Any], **more: Any) -> Bunch:
    """Return a Bunch that meets the contract of this module."""
    from sklearn.utils import Bunch

    kind = np.int64 if target.dtype.kind in "iub" else np.float64
    return Bunch(data=data, target=target.astype(kind), frame=None, **more)


def as_asked(bunch: Bunch, *, return_X_y: bool, as_frame: bool) -> Bunch | tuple[Any, Any]:
    """Give the Bunch in the form that the caller asked for."""
    if as_frame:
        pandas = require("pandas", extra="pandas")
        bunch.data = pandas.DataFrame(bunch.data, columns=bunch.feature_names)
        bunch.target = pandas.Series(bunch.target, name="target")
        bunch.frame = bunch.data.assign(target=bunch.target)
    return (bunch.data, bunch.target) if return_X_y else bunch

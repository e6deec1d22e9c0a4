"""Are two figures the same: by what they say, and roughly as pictures."""

import base64
import binascii
import io
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .._base import InputError

PICTURE_TOLERANCE = 0.15
"""Two pictures at most this far apart (`compare_pictures`) count as the same."""

_COARSE = (32, 18)  # cells across and down: one is 36 pixels wide at the style's size, several letters
_DECIMAL = re.compile(r"[-+−]?\d+\.\d+(?:[eE][-+−]?\d+)?|[-+−]?\d+[eE][-+−]?\d+")

Floats = NDArray[np.float64]

# How far apart two numbers look on an axis is measured in these.
_SCALES: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda v: v,
    "log": np.log10,
    "symlog": np.arcsinh,
    "asinh": np.arcsinh,
    "logit": lambda v: np.log10(v / (1 - v)),
}


class _Ruler(NamedTuple):
    """An axis to measure differences by."""

    scale: str
    limits: list[float]

    def apart(self, a: Floats, b: Floats) -> Floats:
        """Return the distances between `a` and `b` as parts of the axis; infinite where one is not a number."""
        measure = _SCALES.get(self.scale, _SCALES["linear"])
        with np.errstate(all="ignore"):
            low, high = measure(np.asarray(self.limits, dtype=float))
            distance = np.abs(measure(a) - measure(b)) / (abs(high - low) or 1.0)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))


_PAGE = _Ruler("linear", [0.0, 1.0])


def compare_figure_data(a: Mapping[str, Any], b: Mapping[str, Any], *, rtol: float = 1e-3) -> list[str]:
    """List how figure `b` differs from figure `a` in what it says.

    Parameters
    ----------
    a, b : dict
        What was expected and what came: from `figure_data`, or read back from JSON.
    rtol : float
        Positions may differ by this part of their axis' length in `a` (of a logarithmic axis: of its decades), shades
        by this part of their colour scale, decimal numbers inside texts by this part of themselves. All
        else, whole numbers in texts too, must be equal.

    Returns
    -------
    list of str
        One line for each difference; empty if there is none.

    Raises
    ------
    InputError
        If `a` or `b` is no figure data, or `rtol` is not a number ≥ 0.

    Examples
    --------
    >>> from inferkit.plots import figure_data
    >>> from matplotlib import pyplot as plt
    >>> fig, ax = plt.subplots()
    >>> line, = ax.plot([0, 1, 2], [0, 50, 100], label="accuracy")
    >>> before = figure_data(fig)
    >>> line.set_ydata([0, 51, 100])
    >>> compare_figure_data(before, figure_data(fig))
    ["axes[0].artists[0] (line 'accuracy').y: 1 of 3 values moved, by up to 0.91 % of the axis (50.0 became 51.0)"]
    >>> plt.close(fig)
    """
    for name, data in (("a", a), ("b", b)):
        if not (isinstance(data, Mapping) and {"axes", "artists", "size"} <= data.keys()):
            raise InputError(f"{name}: expected the dict that figure_data(fig) returns, got {_short(data)}")
    if not (isinstance(rtol, int | float) and 0 <= rtol < math.inf):
        raise InputError(f"rtol: expected a number ≥ 0, got {rtol!r}; 1e-3 is a thousandth of the axis")
    return _differences(a, b, "", float(rtol), {})


def _differences(a: Any, b: Any, where: str, rtol: float, rulers: Mapping[str, _Ruler]) -> list[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return _in_mappings(a, b, where, rtol, {**rulers, **_rulers(a)})
    key = where.rpartition(".")[2]
    if key in _MEASURED and isinstance(a, list) and isinstance(b, list):
        return _in_numbers(a, b, where, rtol, rulers.get(key, _PAGE))
    if isinstance(a, list) and isinstance(b, list):
        return _in_lists(a, b, where, rtol, rulers)
    same = _same_text(a, b, rtol) if isinstance(a, str) and isinstance(b, str) else a == b
    return [] if same else [f"{where}: {_short(a)} became {_short(b)}"]


_MEASURED = {"x", "y", "xlim", "ylim", "values", "clim"}


def _rulers(a: Mapping[str, Any]) -> dict[str, _Ruler]:
    """Return what the numbers in a part of a figure are measured by."""
    rulers = {}
    for axis in "xy":
        if f"{axis}lim" in a:
            rulers[axis] = rulers[f"{axis}lim"] = _Ruler(a[f"{axis}scale"], a[f"{axis}lim"])
    if "clim" in a:
        rulers["values"] = rulers["clim"] = _Ruler("linear", a["clim"])
    return rulers


def _in_mappings(
    a: Mapping[str, Any], b: Mapping[str, Any], where: str, rtol: float, rulers: Mapping[str, _Ruler]
) -> list[str]:
    found = []
    for key in dict.fromkeys([*a, *b]):
        inner = f"{where}.{key}" if where else key
        found += _differences(a.get(key), b.get(key), inner, rtol, rulers)
    return found


def _in_lists(a: list[Any], b: list[Any], where: str, rtol: float, rulers: Mapping[str, _Ruler]) -> list[str]:
    if len(a) != len(b):
        return [f"{where}: {len(a)} became {len(b)}: {_names(a)} became {_names(b)}"]
    found = []
    for place, (one, other) in enumerate(zip(a, b, strict=True)):
        found += _differences(one, other, f"{where}[{place}]{_name(one)}", rtol, rulers)
    return found


def _in_numbers(a: list[Any], b: list[Any], where: str, rtol: float, ruler: _Ruler) -> list[str]:
    if len(a) != len(b):
        return [f"{where}: {len(a)} values became {len(b)}"]
    apart = ruler.apart(np.array(a, dtype=float), np.array(b, dtype=float))
    moved = int((apart > rtol).sum())
    if not moved:
        return []
    worst = int(np.argmax(apart))
    return [
        f"{where}: {moved} of {len(a)} values moved, by up to {100 * apart[worst]:.2g} % of the axis "
        f"({a[worst]} became {b[worst]})"
    ]


def _same_text(a: str, b: str, rtol: float) -> bool:
    """Compare texts; decimals in them may jitter (0.9731 and 0.9732), counts and names may not."""
    if a == b:
        return True
    if _DECIMAL.sub("#", a) != _DECIMAL.sub("#", b):
        return False
    pairs = zip(_DECIMAL.findall(a), _DECIMAL.findall(b), strict=True)
    return all(math.isclose(_float(one), _float(other), rel_tol=rtol) for one, other in pairs)


def _float(number: str) -> float:
    return float(number.replace("−", "-"))


def _name(part: Any) -> str:
    """Return how a reader would call a part of a figure."""
    if not isinstance(part, Mapping) or "kind" not in part:
        return ""
    name = part.get("label") or part.get("text") or ""
    return f" ({part['kind']} {name!r})" if name else f" ({part['kind']})"


def _names(parts: list[Any]) -> str:
    return (
        ", ".join(_name(part).strip(" ()") or _short(part) for part in parts[:6]) + ", ..." * (len(parts) > 6) or "none"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def compare_pictures(png_a: bytes | str, png_b: bytes | str) -> float:
    """Return how far two pictures are apart at arm's length: 0 the same, 1 no ink in common.

    Both are averaged over 32 × 18 cells, and their ink (what is not white) is compared cell by cell: the sum of the
    differences over the sum of the larger values. Other letter shapes, or a pixel's shift, stay below
    `PICTURE_TOLERANCE`; a blank picture, inverted colours or another figure lie well above it. Small changes of
    a curve are not seen: use `compare_figure_data` for these.

    Parameters
    ----------
    png_a, png_b : bytes or str
        PNG files as bytes, or in base64, as a notebook keeps them. Their sizes may differ.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    InputError
        If one of them is not a picture.

    References
    ----------
    The measure is the weighted Jaccard distance: M. Ružička, "Anwendung mathematisch-statistischer Methoden in der
    Geobotanik", Biológia 13 (1958), 647–661.

    Examples
    --------
    >>> white, black = io.BytesIO(), io.BytesIO()
    >>> Image.new("L", (320, 180), 255).save(white, "PNG")
    >>> Image.new("L", (320, 180), 0).save(black, "PNG")
    >>> compare_pictures(white.getvalue(), white.getvalue()), compare_pictures(white.getvalue(), black.getvalue())
    (0.0, 1.0)
    """
    a, b = _ink(png_a, "png_a"), _ink(png_b, "png_b")
    together = float(np.maximum(a, b).sum())
    return float(np.abs(a - b).sum()) / together if together else 0.0


def _ink(png: bytes | str, name: str) -> Floats:
    """Return a picture's ink, 0 to 1, for each cell and colour."""
    try:
        content = base64.b64decode(png, validate=False) if isinstance(png, str) else png
        with Image.open(io.BytesIO(content)) as picture:
            paper = Image.new("RGBA", picture.size, "white")
            page = Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")
    except (UnidentifiedImageError, binascii.Error, OSError, SyntaxError, TypeError, ValueError) as error:
        raise InputError(f"{name}: expected a PNG file as bytes or in base64, got {_short(png)}") from error
    return 1.0 - np.asarray(page.resize(_COARSE, Image.Resampling.BOX), dtype=float) / 255.0

"""The figures: layers under the roof, and threads against Amdahl."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plots import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._roofline import LayerPoint, Roofline
    from ._sweep import ThreadSweep

_TYPES = {"float32": "blue", "int8": "orange"}
_LABELS = 5  # layers that are named: those that take longest
_CROWD = 0.6  # two names nearer than this many powers of ten would run into each other


def draw(found: Roofline, ax: Axes | None) -> Axes:
    """Draw the roofs of the types that the model computes in, and its layers.

    Parameters
    ----------
    found : Roofline
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    computing = [one for one in found.layers if one.operations]
    x = np.geomspace(*_span(found, computing), 200)
    for dtype in dict.fromkeys(one.dtype for one in computing):
        _roofs(ax, found, dtype, x)
        own = [one for one in computing if one.dtype == dtype]
        ax.scatter(
            [one.intensity for one in own], [one.gflops for one in own], s=[_area(one, found) for one in own],
            color=COLOURS[_TYPES.get(dtype, "blue")], alpha=0.75, zorder=3, label=dtype,
        )  # fmt: skip
    _label(ax, sorted(computing, key=lambda layer: -layer.time_us)[:_LABELS])
    ax.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s", xlim=(x[0], x[-1]))
    return ax


def _label(ax: Axes, layers: list[LayerPoint]) -> None:
    """Name layers below their points, one beneath the other where they crowd."""
    depth, before = 0, -math.inf
    for one in sorted(layers, key=lambda layer: layer.intensity):
        place = math.log10(one.intensity)
        depth, before = (depth + 1 if place - before < _CROWD else 0), place
        ax.annotate(
            one.name, (one.intensity, one.gflops), (0, -34 - 26 * depth), textcoords="offset points", ha="center",
            va="top", size="small", arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 1},
        )  # fmt: skip


def _span(found: Roofline, layers: list[LayerPoint]) -> tuple[float, float]:
    """Return the ends of the axis: all layers, and the knee of each roof."""
    knees = [found.peaks.ridge(one.dtype, level) for one in layers for level in (one.level, "DRAM")]
    values = [one.intensity for one in layers] + knees
    return (min(values) / 3, max(values) * 4) if values else (0.1, 100.0)


def _roofs(ax: Axes, found: Roofline, dtype: str, x: Any) -> None:
    """Draw the roof of each level of memory for one type, named on its slope."""
    peaks, colour = found.peaks, COLOURS[_TYPES.get(dtype, "blue")]
    for level in peaks.levels:
        y = [peaks.roof(value, dtype, level) for value in x]
        ax.plot(x, y, color=colour, lw=1.2, alpha=0.6)
        if dtype == "float32" or "float32" not in {one.dtype for one in found.layers}:
            ax.annotate(
                level, (x[0], y[0]), (3, 3), textcoords="offset points", size="small", color=colour, va="bottom"
            )
    ax.annotate(
        f"{dtype}: {peaks.gflops(dtype):.0f} GFLOP/s", (x[-1], peaks.gflops(dtype)), (-4, 4),
        textcoords="offset points", ha="right", size="small", color=colour,
    )  # fmt: skip


def _area(one: LayerPoint, found: Roofline) -> float:
    """Return a marker's area: the layer's share of the time."""
    return 30 + 900 * one.time_us / found.sum_us


def draw_sweep(found: ThreadSweep, ax: Axes | None) -> Axes:
    """Draw the speed-up against threads.

    Parameters
    ----------
    found : ThreadSweep
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax)
    gain = found.speedup
    value, low, high = (np.array([getattr(gain[n], end) for n in found.threads]) for end in ("value", "low", "high"))
    ax.errorbar(found.threads, value, [value - low, high - value], marker="o", color=COLOURS["blue"], capsize=4)
    base = found.threads[0]
    ax.plot(found.threads, np.array(found.threads) / base, "--", color="0.45")
    ax.annotate("if nothing held it back", (found.threads[-1], found.threads[-1] / base), (-6, 0),
                textcoords="offset points", ha="right", va="bottom", color="0.35")  # fmt: skip
    if len(found.threads) > 1:
        ax.axvline(found.cores, color=COLOURS["orange"], lw=1)
        ax.annotate(f"{found.cores:g} cores", (found.cores, 0), (4, 6), textcoords="offset points",
                    xycoords=("data", "axes fraction"), color=COLOURS["orange"])  # fmt: skip
    ax.set(xlabel="threads", ylabel=f"times as fast as on {base}", ylim=(0, None))
    ax.set_xticks(found.threads, [str(n) for n in found.threads])
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    axes: Axes = plt.subplots()[1]
    return axes

"""The reliability diagram: what was promised against what came true."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._base import InputError, wilson
from ._bins import Bin
from ._calibration import CalibrationResult, Method, calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = "#767676"
_STRIP = 0.2  # height of the strip that shows where the rows are, as a part of the diagram's


def reliability_diagram(
    y_true: npt.ArrayLike,
    p: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    *,
    ax: "Axes | None" = None,
    method: Method = "ece",
    n_bins: int = 10,
    labels: Sequence[Any] | None = None,
    random_state: int | np.random.Generator | None = 0,
) -> "Figure":
    """Draw the share that came true against the probability that was given, for one model or several.

    A dot stands for the rows of a bin, with the 95 % interval of their share (Wilson 1927). Dots on the diagonal are
    calibrated; below it a model is too sure of itself. Above the diagram stands where the rows are. Each model's error
    is written in, beside what a calibrated model would score on so many rows.

    Parameters
    ----------
    y_true : array-like, shape (n,)
        The true labels.
    p : array-like, shape (n, n_labels) or (n,), or dict of str to such
        Probabilities of one model, or of several by name (five at most).
    ax : matplotlib.axes.Axes, optional
        Where to draw. By default a new figure of three quarters of a slide, in the course's style.
    method : {"ece", "adaptive", "classwise"}
        As in `calibration_error`. With ``"classwise"`` and more than two labels the curves of all labels are pooled.
    n_bins : int, default=10
    labels : sequence, optional
        What the columns of `p` stand for. By default 0, 1, 2, ...
    random_state : int, numpy.random.Generator or None, default=0

    Returns
    -------
    matplotlib.figure.Figure
        `inferkit.plots.show` shows it with its alt text.

    Raises
    ------
    InputError
        As `calibration_error` does, or if there is no model, or more than five.

    References
    ----------
    M. H. DeGroot and S. E. Fienberg, "The Comparison and Evaluation of Forecasters", The Statistician 32, 1983.

    Examples
    --------
    >>> fig = reliability_diagram([1] * 6 + [0] * 4, [0.9] * 10)
    >>> fig.axes[0].get_xlabel()
    'probability given'
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from ..plots import COLOURS, slide_size, use_style

    models = dict(p) if isinstance(p, Mapping) else {"": p}
    if not 0 < len(models) <= len(COLOURS):
        raise InputError(f"p: expected the probabilities of 1 to {len(COLOURS)} models, got {len(models)}")
    results = {
        name: calibration_error(y_true, rows, method=method, n_bins=n_bins, labels=labels, random_state=random_state)
        for name, rows in models.items()
    }
    if ax is not None:
        return _draw(ax, results)
    with rc_context():  # the style is this figure's; the reader's own stays as it was
        use_style()
        return _draw(Figure(figsize=slide_size(width=0.75), layout="constrained").add_subplot(), results)


def _draw(ax: "Axes", results: Mapping[str, CalibrationResult]) -> "Figure":
    from ..plots import COLOURS

    ax.plot([0, 1], [0, 1], color=_GREY, lw=1.5, ls=(0, (4, 3)), zorder=1)
    strip = _strip(ax)
    colours = dict(zip(results, cycle(COLOURS.values()), strict=False))
    for place, (name, result) in enumerate(results.items()):
        _draw_model(ax, result, colours[name])
        _draw_rows(strip, result, colours[name])
        words = "\n".join([name, *_words(result)] if name else _words(result))
        ax.text(1.06, 1 - 0.25 * place, words, transform=ax.transAxes, va="top", color=colours[name])
    ticks, written = [0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"]
    ax.set_xticks(ticks, written)
    ax.set_yticks(ticks, written)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability given", ylabel="share that came true")
    return ax.get_figure(root=True)  # type: ignore[return-value]


def _words(result: CalibrationResult) -> list[str]:
    return [f"error {result.value:.3f}", f"(by chance {result.reference:.3f})"]


def _strip(ax: "Axes") -> "Axes":
    """Return a narrow diagram above `ax` with the same abscissa."""
    strip = ax.inset_axes((0, 1.04, 1, _STRIP))
    strip.set(xlim=(0, 1), xticks=[], yticks=[], ylabel="rows")
    strip.yaxis.label.set(rotation=0, ha="right", va="center")
    strip.spines["left"].set_visible(False)
    return strip


def _pooled(result: CalibrationResult) -> list[Bin]:
    """Return one bin for each place: the curves of several labels added up."""
    places = sorted({(one.low, one.high) for one in result.bins})
    together = []
    for low, high in places:
        parts = [one for one in result.bins if (one.low, one.high) == (low, high)]
        n = [one.n for one in parts]
        mean_p, share = (
            float(np.average([getattr(one, key) for one in parts], weights=n)) for key in ("mean_p", "share")
        )
        together.append(Bin(low, high, sum(n), mean_p, share))
    return together


def _draw_model(ax: "Axes", result: CalibrationResult, colour: str) -> None:
    bins = _pooled(result)
    x, y, n = (np.array([getattr(one, key) for one in bins]) for key in ("mean_p", "share", "n"))
    low, high = wilson(y * n, n)
    bars = np.clip([y - low, high - y], 0, None)
    ax.plot(x, y, color=colour, lw=1.5, alpha=0.5, zorder=2)
    ax.errorbar(x, y, yerr=bars, color=colour, fmt="o", ms=8, elinewidth=2, zorder=3, clip_on=False)


def _draw_rows(strip: "Axes", result: CalibrationResult, colour: str) -> None:
    """Draw how many rows each bin holds, as an outline that is filled faintly: several models lie over each other."""
    bins = _pooled(result)
    total = sum(one.n for one in bins)
    edges = sorted({end for one in bins for end in (one.low, one.high)})
    held = {one.low: one.n / total for one in bins}
    heights = [held.get(low, 0.0) for low in edges[:-1]]
    strip.stairs(heights, edges, color=colour, fill=True, alpha=0.25)
    strip.stairs(heights, edges, color=colour, lw=2)

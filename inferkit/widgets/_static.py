"""A picture of the pad, for pages where no kernel runs. It holds answers and no times."""

import base64
from collections.abc import Mapping
from html import escape
from io import BytesIO
from itertools import pairwise
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferkit.datasets import picture_from_drawing

from ._answers import Answer, ask

INK, TEXT, MUTED, LINE, BAR, TRACK, ACCENT, BAD = (
    "#111111", "#1f1f1f", "#5b6168", "#80868d", "#8b939b", "#eef0f2", "#1558b0", "#b3261e",
)  # fmt: skip
HEIGHT, LEFT, CARD, MARGIN = 356, 272, 204, 12  # pixels; the same proportions as pad.css
DPI = 144


def still(predictors: Mapping[str, Any], drawing: NDArray[np.uint8]) -> dict[str, str]:
    """Return a picture of the pad as a MIME bundle: ``image/png``, and ``text/html`` with its alt text.

    JupyterLab gives a plain PNG output no alt text, and prefers HTML to it.

    Parameters
    ----------
    predictors : mapping of str to object
        They answer once each.
    drawing : ndarray of uint8, shape (32, 32)
        A blank one is replaced by an example, a 7.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> sorted(still({}, np.zeros((32, 32), np.uint8)))
    ['image/png', 'text/html']
    """
    shown = drawing if drawing.any() else example()
    picture = np.asarray(picture_from_drawing(shown), np.float32)
    answers = [ask(name, predictor, picture) for name, predictor in predictors.items()]
    data = base64.b64encode(_png(shown, picture, answers)).decode()
    width = LEFT + MARGIN * 2 + CARD * len(answers)
    alt = escape(_alt(answers), quote=True)
    style = "max-width: 100%; height: auto"
    html = f'<img alt="{alt}" width="{width}" style="{style}" src="data:image/png;base64,{data}">'
    return {"image/png": data, "text/html": html}


def example() -> NDArray[np.uint8]:
    """Return a drawing of a 7, shape (32, 32), made of straight strokes.

    Returns
    -------
    ndarray of uint8, shape (32, 32)

    Examples
    --------
    >>> example().shape, int(example().max())
    ((32, 32), 255)
    """
    y, x = np.mgrid[:32, :32] + 0.5
    corners = np.array([(8.5, 6.0), (23.5, 6.0), (19.0, 14.0), (14.0, 26.5)])
    distance = np.min([_distance(x, y, a, b) for a, b in pairwise(corners)], axis=0)
    return np.asarray(np.round(255 * np.clip(2.1 - distance, 0, 1)), np.uint8)


def _distance(
    x: NDArray[np.float64], y: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far each point lies from the segment between `a` and `b`."""
    dx, dy = b - a
    along = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.asarray(np.hypot(x - a[0] - along * dx, y - a[1] - along * dy))


def _alt(answers: list[Answer]) -> str:
    said = [f"{a.name} failed" if a.error is not None else f"{a.name} reads {a.label}" for a in answers]
    return ". ".join(["A pad with a drawn digit, as a still picture", *said]) + "."


def _png(drawing: NDArray[np.uint8], picture: NDArray[np.float32], answers: list[Answer]) -> bytes:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width = LEFT + MARGIN * 2 + CARD * len(answers)
    with mpl.rc_context():
        mpl.rcdefaults()  # the reader's own style shall not change the bytes
        mpl.rcParams["font.family"] = "DejaVu Sans"  # matplotlib brings it along
        mpl.rcParams["text.hinting"] = "none"
        figure = Figure(figsize=(width / 100, HEIGHT / 100), dpi=DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(HEIGHT, 0))
        axes.axis("off")
        _draw_paper(axes, drawing, picture)
        for i, answer in enumerate(answers):
            _draw_card(axes, LEFT + MARGIN + CARD * i + 28, answer)
        return few_colours(figure)


def few_colours(figure: Any) -> bytes:
    """Return the figure as a PNG of 64 colours: it has hardly more, and takes a fifth of the bytes."""
    from PIL import Image  # matplotlib brings it along

    full, small = BytesIO(), BytesIO()
    figure.savefig(full, format="png")
    image = Image.open(full).convert("RGB").quantize(64, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(small, format="PNG", optimize=True)
    return small.getvalue()


def _draw_paper(axes: Any, drawing: NDArray[np.uint8], picture: NDArray[np.float32]) -> None:
    # Enlarged smoothly, the drawing has soft edges; a narrower range of greys makes them firm again.
    shown = ((drawing / 255, 4, LEFT - 4, LINE, "bicubic", 0.3), (picture / 16, 284, 64, "#d5d9de", "nearest", 0.0))
    for image, top, size, edge, interpolation, cut in shown:
        box = (MARGIN, MARGIN + size, top + size, top)
        style = {"cmap": "Greys", "vmin": cut, "vmax": 1 - cut, "interpolation": interpolation}
        axes.imshow(image, extent=box, aspect="auto", **style)
        axes.add_patch(_rectangle(MARGIN, top, size, size, facecolor="none", edgecolor=edge))
    axes.text(MARGIN + 74, 316, "what the model sees\n(run the cell to draw)", size=8.5, color=MUTED, va="center")


def _draw_card(axes: Any, left: float, answer: Answer) -> None:
    width = CARD - 28
    axes.plot([left, left + width], [5, 5], color=INK, linewidth=1.4)
    axes.text(left, 21, _short(answer.name, 22), size=10, weight="bold", color=TEXT, va="center", parse_math=False)
    if answer.error is not None:
        message = fill(_short(answer.error, 200), 28)
        axes.text(left, 60, message, size=8.5, color=BAD, va="top", linespacing=1.4, parse_math=False)
        return
    label = str(answer.label)
    size = 44 if len(label) <= 2 else 18
    axes.text(left, 96, _short(label, 12), size=size, color=INK, va="baseline", parse_math=False)
    axes.text(left + width, 96, f"{answer.probability:.1%}".replace("%", " %"), size=12, color=MUTED, ha="right")
    best = int(answer.probabilities.argmax())
    for i, (label, p) in enumerate(zip(answer.labels, answer.probabilities, strict=True)):
        _draw_bar(axes, left, 122 + 200 / len(answer.labels) * i, str(label), float(p), i == best)


def _draw_bar(axes: Any, left: float, y: float, label: str, p: float, best: bool) -> None:
    colour, weight = (ACCENT, "bold") if best else (TEXT, "normal")
    length = CARD - 28 - 20 - 30
    axes.text(left, y, _short(label, 4), size=9.5, color=colour, weight=weight, va="center_baseline", parse_math=False)
    axes.add_patch(_rectangle(left + 20, y - 6, length, 11, facecolor=TRACK))
    axes.add_patch(_rectangle(left + 20, y - 6, length * p, 11, facecolor=ACCENT if best else BAR))
    if p >= 0.005:
        axes.text(
            left + CARD - 28, y, f"{100 * p:.0f}", size=9, color=colour if best else MUTED, ha="right",
            va="center_baseline",
        )  # fmt: skip


def _rectangle(x: float, y: float, width: float, height: float, **style: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, **style)


def _short(text: str, longest: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"

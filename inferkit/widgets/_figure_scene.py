"""From the parts of a live figure to marks in pixels: one layout for the browser's drawing and the still picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._figure_axes import Axis, Limits, Scale, limits_of, ticks_of
from ._figure_labels import ROW, SIZE, Label, broken, place_inside, spread, text_width
from ._figure_parts import Part, coloured

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]

WIDTH = 760  # pixels, where nothing else is known
NARROWEST, WIDEST = 220, 1200
TICK_SIZE = 15.0
MOST_TICKS = 11
EDGE = 0.88  # a curve that ends right of this part of the plot is named beside it
LOW = 0.15  # a curve whose both ends lie below this part of its height is a hump
INK_EVERY = 5.0  # pixels
GAP = 3.0  # between labels beside the plot
_LAYERS = ("band", "bars", "line", "curve", "points")


@dataclass(frozen=True)
class Frame:
    """What holds for a live figure whatever its sliders say."""

    x: Axis
    y: Axis
    height: int = 360


@dataclass(frozen=True)
class Hold:
    """What rests while a slider moves: limits, the room for labels, and where the labels inside stand."""

    x: Limits | None = None
    y: Limits | None = None
    left: float = 0.0
    right: float = 0.0
    places: Mapping[str, int] = field(default_factory=dict)


class Mark(NamedTuple):
    """One thing to draw: a ``line``, an ``area``, ``dots`` or a ``text``, at places in pixels.

    The role says how it looks: the browser has a class for it, the still picture a style.
    """

    shape: str
    role: str
    colour: str
    places: Sequence[Floats]
    text: str = ""
    anchor: str = "start"


@dataclass(frozen=True, eq=False)
class Scene:
    """Marks behind the plot, inside it (cut at its edges) and before it; and what rests for the next scene."""

    width: int
    height: int
    box: Box
    back: list[Mark]
    inside: list[Mark]
    front: list[Mark]
    hold: Hold


def scene_of(parts: Sequence[Part], frame: Frame, *, width: int = WIDTH, hold: Hold | None = None) -> Scene:
    """Lay parts out.

    Parameters
    ----------
    parts : sequence of Part
        At least one has points.
    frame : Frame
    width : int, default=760
        Pixels; what is not between 220 and 1,200 is taken for the nearer of them.
    hold : Hold, optional
        Of the scene before, if things shall rest.

    Returns
    -------
    Scene

    Raises
    ------
    InputError
        If a number cannot stand on a logarithmic axis.

    Examples
    --------
    >>> from ._figure_axes import make_axis
    >>> from ._figure_parts import curve
    >>> frame = Frame(make_axis("x", "time, s"), make_axis("y", "speed, m/s"))
    >>> [mark.role for mark in scene_of([curve([0, 1], [0, 1])], frame).inside]
    ['curve']
    """
    before = hold or Hold()
    width = int(min(max(width, NARROWEST), WIDEST))
    height = int(min(frame.height, max(260, 0.75 * width)))
    drawn = sorted(((p, c) for p, c in coloured(parts) if p.size), key=lambda pair: _LAYERS.index(pair[0].kind))
    limits = _limits(drawn, frame, before)
    aside = [_is_aside(part, Scale(limits[0], 0, 1, frame.x.log)) for part, _ in drawn]
    ticks = ticks_of(frame.y, limits[1], max(2, (height - 80) // 38))
    left = max(before.left, 14 + max((text_width(t, TICK_SIZE) for _, t in ticks), default=0))
    right = max(before.right, _room_beside(drawn, aside, width))
    captions = broken(frame.x.label, width - 20), broken(frame.y.label, width - 20)
    box = (left, 14 + ROW * len(captions[1]), width - right, height - 34 - ROW * len(captions[0]))
    x, y = Scale(limits[0], box[0], box[2], frame.x.log), Scale(limits[1], box[3], box[1], frame.y.log)
    inside = [mark for part, colour in drawn for mark in _marks(part, colour, x, y, box)]
    labels = [_label(p, c, x, y, box, is_aside) for (p, c), is_aside in zip(drawn, aside, strict=True)]
    front, places = _labels(_once(labels), box, width, height, _ink(inside), before.places)
    back = [*_y_axis(captions[1], ticks, y, box), *_x_axis(frame.x, captions[0], limits[0], x, box, width)]
    return Scene(width, height, box, back, inside, front, Hold(*limits, left, right, places))


# ---- Limits and room ----


def _limits(drawn: Sequence[tuple[Part, str]], frame: Frame, hold: Hold) -> tuple[Limits, Limits]:
    for part, _ in drawn:
        name = f"{part.kind} {part.label!r}" if part.label else part.kind
        for axis, values in ((frame.x, _xs(part)), (frame.y, _ys(part, frame.y.log))):
            axis.check(values, name)
    xs = np.concatenate([_xs(part) for part, _ in drawn])
    ys = np.concatenate([_ys(part, frame.y.log) for part, _ in drawn])
    only_points = all(part.kind in ("points", "line") for part, _ in drawn)
    crowned = any(part.label and _is_crowned(part) for part, _ in drawn)
    return (
        limits_of(frame.x, _some(xs, frame.x.log), hold.x, margin=0.04 if only_points else 0.0),
        limits_of(frame.y, _some(ys, frame.y.log), hold.y, margin=0.1 if crowned else 0.04),
    )


def _some(values: Floats, log: bool) -> Floats:
    return values if len(values) else np.array([1.0, 10.0] if log else [0.0, 1.0])  # nothing but lines across


def _xs(part: Part) -> Floats:
    if part.kind == "bars" or part.across:
        return np.concatenate([part.x, part.low, part.high])
    return part.x


def _ys(part: Part, log: bool) -> Floats:
    if part.kind == "bars":
        return part.y if log else np.append(part.y, 0.0)
    return np.concatenate([part.y, part.low, part.high]) if not part.across else part.y


def _is_crowned(part: Part) -> bool:
    """Tell whether the label stands above the part's top: bars, and curves that are humps."""
    if part.kind == "bars" or part.at == "top":
        return True
    y = part.y if part.kind == "curve" else part.high
    if part.kind not in ("curve", "band") or part.at == "end" or len(y) < 3:
        return False
    lowest, span = y.min(), np.ptp(y)
    return bool(span > 0 and max(y[0], y[-1]) < lowest + LOW * span)


def _is_aside(part: Part, share: Scale) -> bool:
    """Tell whether the label stands beside the plot: of a level line, and of what ends near the right edge."""
    if part.kind == "line":
        return bool(len(part.y))
    return not _is_crowned(part) and bool(share(part.x.max()) >= EDGE)


def _room_beside(drawn: Sequence[tuple[Part, str]], aside: Sequence[bool], width: int) -> float:
    names = [line for (part, _), is_aside in zip(drawn, aside, strict=True) if is_aside and part.label
             for line in _broken(part.label, width)]  # fmt: skip
    return max((text_width(name, bold=True) + 20 for name in names), default=18.0)


def _broken(label: str, width: int) -> tuple[str, ...]:
    return broken(label, min(180.0, 0.28 * width))


# ---- Marks ----


def _marks(part: Part, colour: str, x: Scale, y: Scale, box: Box) -> list[Mark]:
    if part.kind == "curve":
        role = "thin" if part.thin else "curve"
        return [Mark("line", f"{role} dashed" if part.dashed else role, colour, [_at(x(part.x), y(part.y))])]
    if part.kind == "band":
        along = x(part.x)
        outline = np.concatenate([_at(along, y(part.low)), _at(along, y(part.high))[::-1]])
        return [Mark("area", "band", colour, [outline])]
    if part.kind == "bars":
        return [Mark("area", "bar", colour, _rectangles(part, x, y, box))]
    if part.kind == "line":
        ends = [(x(part.x[0]), box[1]), (x(part.x[0]), box[3])] if len(part.x) else [
            (box[0], y(part.y[0])), (box[2], y(part.y[0]))]  # fmt: skip
        return [Mark("line", "rule dashed" if part.dashed else "rule", colour, [np.array(ends, np.float64)])]
    dots = Mark("dots", "ring" if part.hollow else "dot", colour, [_at(x(part.x), y(part.y))])
    return [Mark("line", "error", colour, _error_bars(part, x, y)), dots] if len(part.low) else [dots]


def _at(x: Floats, y: Floats) -> Floats:
    return np.column_stack([x, y])


def _rectangles(part: Part, x: Scale, y: Scale, box: Box) -> list[Floats]:
    floor = np.full(part.size, box[3]) if y.log else y(np.zeros(part.size))
    low, high, top = x(part.low), x(part.high), y(part.y)
    corners = np.stack([_at(low, floor), _at(low, top), _at(high, top), _at(high, floor)], axis=1)
    return list(corners)


def _error_bars(part: Part, x: Scale, y: Scale) -> list[Floats]:
    if part.across:
        ends = np.stack([_at(x(part.low), y(part.y)), _at(x(part.high), y(part.y))], axis=1)
    else:
        ends = np.stack([_at(x(part.x), y(part.low)), _at(x(part.x), y(part.high))], axis=1)
    return list(ends)


def _ink(marks: Sequence[Mark]) -> Floats:
    """Return points all along what is drawn, so that labels can keep off it."""
    found = [np.empty((0, 2))]
    for mark in marks:
        if mark.shape == "dots":
            found += [mark.places[0] + np.array((dx, dy)) for dx in (-4, 4) for dy in (-4, 4)]
        elif mark.role != "band":
            found += [_walk(line) for line in mark.places]
    return np.concatenate(found)


def _walk(line: Floats) -> Floats:
    """Return points on a line at about equal distances."""
    way = np.append(0.0, np.cumsum(np.hypot(*np.diff(line, axis=0).T)))
    steps = np.linspace(0, way[-1], int(min(max(way[-1] / INK_EVERY, 2), 1000)))
    return _at(np.interp(steps, way, line[:, 0]), np.interp(steps, way, line[:, 1]))


# ---- Labels ----


def _label(part: Part, colour: str, x: Scale, y: Scale, box: Box, aside: bool) -> Label | None:
    if not part.label:
        return None
    width = box[2] - box[0]
    if part.kind == "line":
        where = (box[2], float(y(part.y[0])), "side") if aside else (float(x(part.x[0])), box[1] + 2, "upright")
    else:
        heights = part.y if len(part.y) else part.high if _is_crowned(part) else (part.low + part.high) / 2
        places = _at(x(part.x), y(heights))
        seen = places[(places[:, 1] >= box[1] - 1) & (places[:, 1] <= box[3] + 1)]
        places = seen if len(seen) else places
        px, py = places[places[:, 1].argmin()] if _is_crowned(part) else places[places[:, 0].argmax()]
        where = (float(px), float(np.clip(py, box[1], box[3])), "side" if aside else _inner(part))
    return Label(_broken(part.label, int(width / 0.7)), colour, *where)


def _inner(part: Part) -> str:
    return "top" if _is_crowned(part) else "end"


def _once(labels: Sequence[Label | None]) -> list[Label]:
    """Return the labels, each text once: a curve and its band may share one."""
    return list({label.name: label for label in reversed(labels) if label is not None}.values())[::-1]


def _labels(
    labels: Sequence[Label], box: Box, width: int, height: int, ink: Floats, before: Mapping[str, int]
) -> tuple[list[Mark], dict[str, int]]:
    beside = [label for label in labels if label.at == "side"]
    middles = spread([each.y for each in beside], [each.height + GAP for each in beside], 0, height - 20)
    marks = [mark for label, middle in zip(beside, middles, strict=True) for mark in _beside(label, middle, box)]
    within = sorted((label for label in labels if label.at != "side"), key=lambda label: label.at == "upright")
    found = place_inside(within, box, ink, before)
    for label, (left, first, _) in zip(within, found, strict=True):
        marks += _lines(label, left, first)
    return marks, {label.name: place for label, (*_, place) in zip(within, found, strict=True)}


def _beside(label: Label, middle: float, box: Box) -> list[Mark]:
    lines = _lines(label, box[2] + 14, middle - (label.height - ROW) / 2)
    if abs(middle - label.y) < 3:
        return lines
    return [Mark("line", "leader", "", [np.array([(box[2] + 2, label.y), (box[2] + 11, middle)])]), *lines]


def _lines(label: Label, left: float, first: float) -> list[Mark]:
    return [
        Mark("text", "label", label.colour, [np.array([(left, first + i * ROW + 5.5)])], line)
        for i, line in enumerate(label.lines)
    ]


# ---- Axes ----


def _y_axis(caption: Sequence[str], ticks: Sequence[tuple[float, str]], y: Scale, box: Box) -> list[Mark]:
    marks = [_text("caption", (max(0.0, box[0] - 40), 16 + i * ROW), line, "start") for i, line in enumerate(caption)]
    for value, shown in ticks:
        height = float(y(value))
        marks.append(_straight("grid", (box[0], height), (box[2], height)))
        marks.append(_text("tick", (box[0] - 8, height + 5), shown, "end"))
    return marks


def _x_axis(axis: Axis, caption: Sequence[str], limits: Limits, x: Scale, box: Box, width: int) -> list[Mark]:
    marks = [_straight("axis", (box[0], box[3]), (box[2], box[3]))]
    for value, shown in _fitting(axis, limits, x, width):
        place = float(x(value))
        marks.append(_straight("axis", (place, box[3]), (place, box[3] + 5)))
        marks.append(_centred("tick", place, box[3] + 21, shown, width))
    middle = (box[0] + box[2]) / 2
    return marks + [_centred("caption", middle, box[3] + 46 + i * ROW, line, width) for i, line in enumerate(caption)]


def _centred(role: str, x: float, y: float, shown: str, width: int) -> Mark:
    """Return a text with its middle at `x`, or as near as it is whole."""
    half = text_width(shown, TICK_SIZE if role == "tick" else SIZE) / 2
    return _text(role, (max(half, min(x, width - half)), y), shown, "middle")


def _fitting(axis: Axis, limits: Limits, x: Scale, width: int) -> list[tuple[float, str]]:
    """Return as many ticks as their texts leave room for; every second or third if need be."""
    for most in range(MOST_TICKS, 3, -1):
        ticks = ticks_of(axis, limits, most)
        if _are_apart(ticks, x, width):
            return ticks
    every = next(k for k in range(1, len(ticks) + 1) if _are_apart(ticks[::k], x, width))
    return ticks[::every]


def _are_apart(ticks: Sequence[tuple[float, str]], x: Scale, width: int) -> bool:
    """Tell whether texts keep apart where `_centred` puts them: the last one is moved in if it would be cut off."""
    widths = np.array([text_width(t, TICK_SIZE) for _, t in ticks])
    places = np.clip(x([value for value, _ in ticks]), widths / 2, width - widths / 2)
    return bool((np.diff(places) >= (widths[1:] + widths[:-1]) / 2 + 10).all())


def _straight(role: str, start: tuple[float, float], end: tuple[float, float]) -> Mark:
    return Mark("line", role, "", [np.array([start, end])])


def _text(role: str, at: tuple[float, float], shown: str, anchor: str) -> Mark:
    return Mark("text", role, "", [np.array([at])], shown, anchor)


# ---- For the browser ----


def elements(marks: Sequence[Mark]) -> list[list[Any]]:
    """Return marks as SVG elements that JSON can carry: tag, attributes, text.

    Parameters
    ----------
    marks : sequence of Mark

    Returns
    -------
    list of [str, dict, str]

    Examples
    --------
    >>> elements([Mark("line", "curve", "blue", [np.array([(0, 1), (2, 3)])])])
    [['path', {'class': 'ik-curve ik-blue', 'd': 'M0,1 2,3'}, '']]
    """
    return [_element(mark) for mark in marks]


_RADIUS = {"dot": 4.5, "ring": 5.0}


def _element(mark: Mark) -> list[Any]:
    roles = " ".join(f"ik-{word}" for word in (*mark.role.split(), mark.colour) if word)
    if mark.shape == "text":
        ((x, y),) = mark.places[0].tolist()
        return ["text", {"class": roles, "x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": mark.anchor}, mark.text]
    if mark.shape == "dots":
        r = _RADIUS[mark.role]
        arcs = f"a{r},{r} 0 1 0 {2 * r:g},0a{r},{r} 0 1 0 {-2 * r:g},0"
        return [
            "path",
            {"class": roles, "d": "".join(f"M{x - r:.1f},{y:.1f}{arcs}" for x, y in mark.places[0].tolist())},
            "",
        ]
    close = "Z" if mark.shape == "area" else ""
    return ["path", {"class": roles, "d": "".join(f"M{_path(line)}{close}" for line in mark.places)}, ""]


def _path(line: Floats) -> str:
    return " ".join(f"{x:.5g},{y:.5g}" for x, y in np.round(line, 1).tolist())

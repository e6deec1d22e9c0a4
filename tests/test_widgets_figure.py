"""The live figure without a browser: parts and controls at the door, axes that rest, labels apart, the newest value."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from io import BytesIO
from itertools import combinations, pairwise
from threading import Event, Semaphore, current_thread, enumerate, main_thread
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import traitlets
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.isotonic import IsotonicRegression

from inferkit import InputError, MissingExtraError, widgets
from inferkit.plots import COLOURS
from inferkit.widgets import LiveFigure, band, bars, curve, line, points, text
from inferkit.widgets._figure_axes import Axis, Scale, limits_of, make_axis, ticks_of
from inferkit.widgets._figure_controls import check_arguments, controls_of, log_grid, starting
from inferkit.widgets._figure_labels import Label, place_inside, spread, text_width
from inferkit.widgets._figure_parts import Part, coloured, parts_of
from inferkit.widgets._figure_pulse import AT_MOST_S, AWAY_S, Buttons, Pulse
from inferkit.widgets._figure_scene import Frame, Mark, Scene, elements, scene_of

FRAME = Frame(make_axis("x", "dose, mg"), make_axis("y", "effect, %"))
AXES = {"alt": "A line.", "xlabel": "dose, mg", "ylabel": "effect, %"}


def slope(factor: float) -> list[Part]:
    return [curve([0, 1, 2], [0, factor, 2 * factor], label="effect"), text("at the end", f"{2 * factor:g} %")]


def figure(function: Callable[..., Any] = slope, controls: Any = None, **more: Any) -> LiveFigure:
    return LiveFigure(function, controls or {"factor": (0, 10)}, **{**AXES, **more})


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Hold every test to leaving no thread behind."""
    yield
    deadline = monotonic() + 20
    while threads() and monotonic() < deadline:
        sleep(0.01)
    assert threads() == []


def threads() -> list[str]:
    return [thread.name for thread in enumerate() if thread.name.startswith("inferkit-figure")]


def from_browser(live: LiveFigure, asked: int, **values: Any) -> None:
    """Send values as the browser does: through JSON."""
    live.set_state({"_values": json.loads(json.dumps({**live._values, **values})), "_asked": asked})


# ---- Parts ----


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: curve([1, 2], [1]), "expected as many values of each, got 2 x, 1 y"),
        (lambda: curve([], []), r"x: expected a row of one number or more, got an array of shape \(0,\)"),
        (lambda: curve([[1]], [[1]]), r"x: expected a row of one number or more, got an array of shape \(1, 1\)"),
        (lambda: curve([1, 2, 3], [1, np.nan, 3]), "y: expected finite numbers, got nan at place 1; leave it out"),
        (lambda: curve([1, np.inf], [1, 2]), "x: expected finite numbers, got inf at place 1"),
        (lambda: curve([1, 2], [1, 1e200]), "y: expected finite numbers, got 1e"),
        (lambda: curve(["a"], [1]), r"x: expected numbers, got \['a'\]"),
        (lambda: curve(range(4001), range(4001)), r"at most 2,000 points, got 4,001; give fewer: x\[::3\]"),
        (lambda: curve([1], [1], colour="red"), "colour: expected one of blue, orange, .* got 'red'"),
        (lambda: curve([1], [1], label=3), "label: expected a text of at most 60 characters, got 3"),
        (lambda: curve([1], [1], label="x" * 61), "label: expected a text of at most 60 characters"),
        (lambda: curve([1], [1], at="left"), "at: expected one of end, top, got 'left'"),
        (lambda: band([1, 2], [1, 3], [2, 2]), "expected low ≤ high, got 3 above 2 at place 1; are they exchanged"),
        (lambda: points([1], [1], low=[0]), "expected both ends of the error bars or neither"),
        (lambda: points([1], [1], low=[2], high=[0]), "expected low ≤ high"),
        (lambda: points([1, 2], [1, 2], low=[0], high=[3]), "expected as many values of each"),
        (lambda: bars([1, 2, 3, 4], [1, 2]), "expected 2 places or 3 edges, got 4"),
        (lambda: bars([2, 1], [1, 2]), "expected places that rise from bar to bar"),
        (lambda: line(), "expected one place, x=... for an upright line or y=... for a level one"),
        (lambda: line(x=1, y=1), "expected one place"),
        (lambda: line(x=[1, 2]), "x: expected one number, got 2"),
        (lambda: line(y=float("nan")), "y: expected finite numbers"),
        (lambda: text("", 1), "expected what the number is"),
        (lambda: parts_of(3), "expected a list of parts such as .* got int; end the function with: return"),
        (lambda: parts_of(None), "got NoneType"),
        (lambda: parts_of([curve([1], [1]), ([1], [2])]), "got tuple"),
        (lambda: parts_of([text("n", 3)]), "expected something to draw, got none"),
        (lambda: parts_of([]), "expected something to draw, got none"),
        (lambda: parts_of([curve(range(2000), range(2000))] * 6), r"at most 10,000 points in all, got 12,000"),
    ],
)
def test_what_cannot_be_drawn_is_refused_where_it_is_made(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        make()


def test_parts_take_colours_in_turn_and_one_label_has_one_colour() -> None:
    one, two, three = (curve([1], [1], label=label) for label in ("a", "b", ""))
    shade, shared = band([1], [0], [2]), points([1], [1], label="a")
    rule, chosen, said = line(x=1), curve([1], [1], colour="pink"), text("n", 3)
    found = coloured([one, shade, said, rule, two, chosen, three, shared])
    assert [name for _, name in found] == ["blue", "blue", "black", "black", "orange", "pink", "green", "blue"]


def test_a_histogram_is_made_from_edges_and_bars_from_middles() -> None:
    counts, edges = np.histogram([1, 1, 2, 5], bins=[0, 2, 3, 10])
    histogram = bars(edges, counts)
    assert (histogram.low.tolist(), histogram.high.tolist()) == ([0, 2, 3], [2, 3, 10])
    places = bars([1, 2, 4], [5, 6, 7])
    np.testing.assert_allclose([places.low, places.high], [[0.6, 1.6, 3.6], [1.4, 2.4, 4.4]])
    assert bars([3], [1]).high[0] - bars([3], [1]).low[0] == pytest.approx(0.8)


def test_a_part_keeps_a_copy() -> None:
    x = np.array([1.0, 2.0])
    part = curve(x, x)
    x[:] = 9
    assert part.x.tolist() == part.y.tolist() == [1, 2]


# ---- Controls ----


@pytest.mark.parametrize(
    ("spec", "kind", "first", "last", "start"),
    [
        ((0, 1), "slider", 0.0, 1.0, 0.5),
        ((0.1, 10, "log"), "slider", 0.1, 10.0, 1.0),
        (range(1, 51), "slider", 1, 50, 26),
        (range(50, 0, -10), "slider", 10, 50, 30),
        ([10, 30, 100], "slider", 10, 100, 10),
        ([0.5, np.float64(1.5)], "slider", 0.5, 1.5, 0.5),
        (["split", "naive"], "choice", "split", "naive", "split"),
        (True, "switch", False, True, True),
    ],
)
def test_each_specification_has_its_control(spec: Any, kind: str, first: Any, last: Any, start: Any) -> None:
    (control,) = controls_of({"prior_width": spec})
    assert (control.kind, control.label) == (kind, "prior width")
    assert [(value, type(value)) for value in (control.stops[0], control.stops[-1], control.start)] == [
        (value, type(value)) for value in (first, last, start)
    ]
    for stop in control.stops:  # a browser knows no 1.0
        sent = int(stop) if isinstance(stop, float) and stop == int(stop) else stop
        back = control.value(json.loads(json.dumps(sent)))
        assert (back, type(back)) == (stop, type(stop))


@pytest.mark.parametrize(
    ("controls", "more", "match"),
    [
        ({}, {}, "controls: expected 1 to 8 by name"),
        ([("a", (0, 1))], {}, "controls: expected 1 to 8 by name"),
        ({str(f"c{i}"): (0, 1) for i in range(9)}, {}, "expected 1 to 8"),
        ({"a b": (0, 1)}, {}, "expected names of the function's arguments, got 'a b'"),
        ({"a": (1, 0)}, {}, r"control 'a': expected low < high, got \(1, 0\)"),
        ({"a": (0, 1, 0.1)}, {}, r"expected low < high, got \(0, 1, 0.1\); give .*range"),
        ({"a": (0,)}, {}, "expected low < high"),
        ({"a": (True, 3)}, {}, "expected low < high"),
        ({"a": (0, float("inf"))}, {}, "expected low < high"),
        ({"a": (0, 1, "log")}, {}, "expected 0 < low on a logarithmic slider, got 0"),
        ({"a": [1, 1]}, {}, "expected 2 or more rising numbers, or different texts"),
        ({"a": ["x", "x"]}, {}, "expected 2 or more rising numbers, or different texts"),
        ({"a": [1, "x"]}, {}, "expected 2 or more rising numbers"),
        ({"a": ["x"]}, {}, "expected 2 or more rising numbers"),
        ({"a": [1, float("nan")]}, {}, "expected 2 or more rising numbers"),
        ({"a": range(5, 6)}, {}, "expected 2 to 1,000 numbers in the range, got 1"),
        ({"a": range(5000)}, {}, r"got 5,000; give it a step: range\(0, 5000, 50\)"),
        ({"a": 3}, {}, r"control 'a': got 3; give \(low, high\)"),
        ({"a": "text"}, {}, "control 'a': got 'text'"),
        ({"a": (0, 1)}, {"start": {"b": 1}}, r"start: expected names of controls \(a\), got \['b'\]"),
        ({"a": (0, 1)}, {"labels": {"b": "B"}}, "labels: expected names of controls"),
        ({"a": (0, 1)}, {"labels": {"a": ""}}, "labels: expected a text for 'a'"),
        ({"a": (0, 1)}, {"start": {"a": 2}}, "a: expected a number from 0.0 to 1.0, got 2"),
        ({"a": (0, 1)}, {"start": {"a": float("nan")}}, "a: expected a number from 0.0 to 1.0, got nan"),
        ({"a": (0, 1)}, {"start": {"a": True}}, "a: expected a number"),
        ({"a": (0, 1)}, {"start": {"a": [0.5, 0.6]}}, "a: expected a number"),
        ({"a": (0, 1)}, {"start": {"a": np.array([0.5, 0.6])}}, "a: expected a number"),
        ({"a": [1, 3]}, {"start": {"a": 2}}, "a: expected one of 1, 3, got 2"),
        ({"a": range(100)}, {"start": {"a": 0.5}}, "a: expected a number from 0 to 99 that is a stop"),
        ({"a": True}, {"start": {"a": 1}}, "a: expected one of False, True, got 1"),
    ],
)
def test_a_wrong_control_is_refused_at_the_door(controls: Any, more: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        controls_of(controls, **more)


def test_a_start_between_two_stops_becomes_one() -> None:
    (control,) = controls_of({"a": (0, 1)}, start={"a": 0.123})
    assert control.start == 0.123
    assert 0.123 in control.stops
    assert list(control.stops) == sorted(control.stops)
    assert control.value(0.4567) == 0.4567


@given(st.floats(1e-9, 1e9), st.floats(1.001, 1e6))
def test_a_logarithmic_slider_rises_evenly_from_one_limit_to_the_other(low: float, factor: float) -> None:
    high = low * factor
    stops = log_grid(low, high)
    assert (stops[0], stops[-1]) == (low, high)
    assert all(a < b for a, b in pairwise(stops))
    assert len(stops) <= 503
    if factor > 3:
        assert max(b / a for a, b in pairwise(stops)) < 1.2


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (3, "expected a function of the controls' values, got int"),
        (lambda other: [], r"expected a function that takes factor, got one of \(other\)"),
        (lambda: [], "name the controls as its arguments"),
        (lambda factor, other: [], "missing a required argument: 'other'"),
    ],
)
def test_a_function_of_other_arguments_is_refused(function: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_arguments(function, ["factor"])


def test_a_function_with_defaults_or_any_arguments_is_taken() -> None:
    for function in (lambda factor, other=1: [], lambda **values: [], print):
        check_arguments(function, ["factor"] if function is not print else ["sep"])


# ---- Axes ----

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20).map(np.array)
positive = st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=20).map(np.array)


@given(values, st.lists(values, max_size=3), st.sampled_from([0.0, 0.04, 0.1]))
def test_limits_hold_all_values_and_only_widen(first: Any, later: list[Any], margin: float) -> None:
    held = limits_of(Axis("y"), first, margin=margin)
    assert held[0] < held[1]
    assert held[0] <= first.min() <= first.max() <= held[1]
    for more in later:
        wider = limits_of(Axis("y"), more, held, margin=margin)
        assert wider[0] <= min(held[0], more.min())
        assert wider[1] >= max(held[1], more.max())
        if held[0] <= more.min() and more.max() <= held[1]:
            assert wider == held
        held = wider


@given(positive, st.sampled_from([0.0, 0.04]))
def test_logarithmic_limits_hold_all_values_and_stay_above_0(data: Any, margin: float) -> None:
    low, high = limits_of(Axis("y", log=True), data, margin=margin)
    assert 0 < low <= data.min() * (1 + 1e-9)
    assert data.max() * (1 - 1e-9) <= high
    assert low < high


def test_limits_that_were_given_are_kept_and_what_cannot_be_negative_starts_at_0() -> None:
    data = np.array([0.01, 0.93])
    assert limits_of(Axis("y", 0.0, 2.0), data) == (0.0, 2.0)
    assert limits_of(Axis("y", 0.5), data, margin=0.04) == (0.5, 1.0)
    assert limits_of(Axis("y"), data, margin=0.04) == (0.0, 1.0)
    assert limits_of(Axis("y"), -data, margin=0.04) == (-1.0, 0.0)
    assert limits_of(Axis("y"), np.array([0.01, 0.99])) == (0.0, 1.0)  # a tick is close
    assert limits_of(Axis("y"), np.array([0.13, 0.87])) == (0.13, 0.87)
    assert limits_of(Axis("y", log=True), np.array([3.0, 700.0]), margin=0.04) == (2.0, 1000.0)
    assert limits_of(Axis("y", names=("a", "b", "c")), data) == (-0.5, 2.5)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 12))
def test_ticks_lie_inside_rise_and_say_their_value(low: float, span: float, most: int) -> None:
    high = low + span
    assume(span > 1e-6 * max(abs(low), abs(high)))
    ticks = ticks_of(Axis("x"), (low, high), most)
    assert len(ticks) <= most
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value, _ in ticks)
    assert all(a < b for (a, _), (b, _) in pairwise(ticks))
    for value, shown in ticks:
        assert float(shown.replace(",", "").replace("−", "-")) == pytest.approx(value, rel=1e-5, abs=1e-6 * span)
    assert len({shown for _, shown in ticks}) == len(ticks) or span < 1e-5 * abs(high)


@given(st.floats(-9, 8), st.floats(0.5, 12), st.integers(3, 12))
def test_logarithmic_ticks_lie_inside_rise_and_are_no_more_than_fit(low: float, decades: float, most: int) -> None:
    limits = (10.0**low, 10.0 ** (low + decades))
    ticks = ticks_of(Axis("x", log=True), limits, most)
    assert 1 <= len(ticks) <= most
    assert all(limits[0] * 0.999 <= value <= limits[1] * 1.001 for value, _ in ticks)
    assert len({shown for _, shown in ticks}) == len(ticks)
    if decades >= 3:
        ratios = [b / a for (a, _), (b, _) in pairwise(ticks)]
        assert max(ratios, default=1) / min(ratios, default=1) < 11


def test_ticks_of_a_logarithmic_axis_are_powers_with_2_and_5_where_there_is_room() -> None:
    axis = Axis("x", log=True)
    assert [t for _, t in ticks_of(axis, (0.02, 3), 9)] == ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]
    assert [t for _, t in ticks_of(axis, (1e-6, 1e6), 5)] == ["10⁻⁶", "0.001", "1", "1,000", "10⁶"]
    assert ticks_of(axis, (20, 30), 5)[0] == (20.0, "20")  # less than two of them: as on a linear axis


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"xlabel": " "}, 'xlabel: expected what the axis shows and its unit, as in "dose, mg"'),
        ({"ylabel": None}, "ylabel: expected what the axis shows"),
        ({"xscale": "square"}, "xscale: expected linear or log, got 'square'"),
        ({"xlim": (2, 1)}, r"xlim: expected low < high, got \(2, 1\)"),
        ({"xlim": 3}, r"xlim: expected \(low, high\), each a finite number or None, got 3"),
        ({"xlim": (0, float("nan"))}, "xlim: expected .low, high., each a finite number"),
        ({"ylim": (0, 1), "yscale": "log"}, "ylim: expected limits above 0 on a logarithmic axis"),
        ({"ylim": (-1, 1), "yscale": "log"}, "ylim: expected 0 < low < high"),
        ({"xnames": "abc"}, "xnames: expected texts for the places 0, 1, 2"),
        ({"xscale": "log"}, "curve 'effect': expected values above 0 on the logarithmic axis 'dose, mg', got 0"),
        ({"alt": ""}, "alt: expected a text or a callable"),
        ({"alt": "{slope}"}, r"alt: expected fields among {factor}, {at the end}, got '{slope}'"),
        ({"alt": "{"}, "alt: expected fields among"),
        ({"alt": lambda parts, factor: None}, "alt: expected a text that says what the figure shows, got None"),
        ({"title": 3}, "title: expected a text, got 3"),
        ({"height": 100}, "height: expected 200 to 800 pixels, got 100"),
        ({"height": 300.5}, "height: expected 200 to 800 pixels, got 300.5"),
    ],
)
def test_what_is_said_about_the_figure_is_checked_at_the_door(more: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        figure(**more)


def test_a_scale_meets_its_ends_and_goes_evenly() -> None:
    scale = Scale((0.1, 1000), 50, 450, log=True)
    np.testing.assert_allclose(scale(np.array([0.1, 1, 10, 100, 1000])), [50, 150, 250, 350, 450])
    np.testing.assert_allclose(Scale((-1, 1), 300, 100)(np.array([-1, 0, 1])), [300, 200, 100])
    assert abs(float(Scale((0, 1), 0, 100)(1e50))) <= 20_000


# ---- Labels ----


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(15, 60)), max_size=6))
def test_labels_beside_the_plot_are_moved_apart_as_little_as_can_be(wanted: list[tuple[float, float]]) -> None:
    """Held against scikit-learn's isotonic regression."""
    places, heights = [p for p, _ in wanted], [h for _, h in wanted]
    found = spread(places, heights, -1e6, 1e6)
    order = np.argsort(places, kind="stable")
    for i, j in pairwise(order):
        assert found[j] - found[i] >= (heights[i] + heights[j]) / 2 - 1e-6
    if not wanted:
        return
    sizes = np.array(heights)[order]
    offsets = np.append(0, np.cumsum((sizes[1:] + sizes[:-1]) / 2))
    best = IsotonicRegression().fit_transform(np.arange(len(order)), np.array(places)[order] - offsets) + offsets
    np.testing.assert_allclose(np.array(found)[order], best, atol=1e-6)


@given(st.lists(st.floats(-50, 450), min_size=1, max_size=10))
def test_labels_beside_the_plot_stay_on_the_page(places: list[float]) -> None:
    found = sorted(spread(places, [20.0] * len(places), 0, 300))
    assert found[0] >= 10 - 1e-9
    assert found[-1] <= 290 + 1e-9
    assert all(b - a >= 20 - 1e-9 for a, b in pairwise(found))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(120, 600), st.floats(120, 280), st.sampled_from(["top", "end"])), max_size=5))
def test_labels_inside_the_plot_never_lie_on_each_other(anchors: list[tuple[float, float, str]]) -> None:
    labels = [Label((f"curve {i}",), "blue", x, y, at) for i, (x, y, at) in list_with_places(anchors)]
    found = place_inside(labels, (0, 0, 760, 400), np.empty((0, 2)), {})
    boxes = [(x, y - 10, x + label.width, y + 10) for label, (x, y, _) in zip(labels, found, strict=True)]
    for a, b in combinations(boxes, 2):
        assert min(a[2], b[2]) - max(a[0], b[0]) < 1e-6 or min(a[3], b[3]) - max(a[1], b[1]) < 1e-6
    for box in boxes:
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= 760
        assert box[3] <= 400


def list_with_places(items: list[Any]) -> list[tuple[int, Any]]:
    return list(zip(range(len(items)), items, strict=True))


def test_a_label_keeps_off_the_ink_and_keeps_its_place() -> None:
    label = Label(("here",), "blue", 300, 200, "end")
    box, dots = (0.0, 0.0, 600.0, 400.0), np.column_stack([np.arange(300, 360), np.full(60, 200.0)])
    (free,) = place_inside([label], box, np.empty((0, 2)), {})
    (off,) = place_inside([label], box, dots, {})
    assert free[2] == 0
    assert off[2] != 0
    (kept,) = place_inside([label], box, np.empty((0, 2)), {"here": off[2]})
    assert kept == off


def test_a_label_stays_near_what_it_names_where_all_is_a_little_crowded() -> None:
    x, y = np.meshgrid(np.arange(200, 400, 12), np.arange(130, 270, 12))
    dots = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    ((_, height, _),) = place_inside([Label(("here",), "blue", 300, 200, "top")], (0, 0, 600, 400), dots, {})
    assert abs(height - 200) < 40


# ---- The scene ----


def marks(scene: Scene, role: str) -> list[Mark]:
    return [mark for mark in (*scene.back, *scene.inside, *scene.front) if mark.role.split()[0] == role]


def texts(scene: Scene, role: str) -> list[str]:
    return [mark.text for mark in marks(scene, role)]


@pytest.mark.parametrize("log", [False, True])
def test_what_is_drawn_can_be_read_back(log: bool) -> None:
    """Pixels of the ticks give the scale; the curve's pixels through it give the data."""
    frame = Frame(make_axis("x", "t"), make_axis("y", "v", scale="log" if log else "linear"))
    x, y = np.linspace(0, 5, 40), np.geomspace(2, 700, 40)
    scene = scene_of([curve(x, y)], frame)
    ticks = [(float(m.text.replace(",", "")), m.places[0][0, 1] - 5) for m in marks(scene, "tick") if m.anchor == "end"]
    (low, low_y), *_, (high, high_y) = ticks
    forward, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    drawn = marks(scene, "curve")[0].places[0]
    share = (drawn[:, 1] - low_y) / (high_y - low_y)
    np.testing.assert_allclose(back(forward(low) + share * (forward(high) - forward(low))), y, rtol=1e-9)
    ((tag, attributes, _),) = elements(marks(scene, "curve"))
    pixels = [tuple(map(float, pair.split(","))) for pair in attributes["d"][1:].split()]
    assert tag == "path"
    np.testing.assert_allclose(pixels, drawn, atol=0.0501)


def test_bars_stand_on_0_and_error_bars_end_where_they_should() -> None:
    scene = scene_of([bars([1, 2], [3, -4]), points([1, 2], [1, 2], low=[0, 1], high=[2, 4])], FRAME)
    zero = next(m.places[0][0, 1] for m in marks(scene, "grid") if m is not None and _height(scene, m) == 0.0)
    for outline in marks(scene, "bar")[0].places:
        assert zero in outline[:, 1]
    (errors,) = marks(scene, "error")
    (dots,) = marks(scene, "dot")
    per_unit = (errors.places[0][0, 1] - errors.places[0][1, 1]) / 2
    assert [line[0, 0] for line in errors.places] == dots.places[0][:, 0].tolist()
    np.testing.assert_allclose(errors.places[1][0, 1] - errors.places[1][1, 1], 3 * per_unit)
    np.testing.assert_allclose(dots.places[0][0, 1], errors.places[0][0, 1] - per_unit)
    assert scene_of([bars([1, 2], [5, 6])], FRAME).hold.y == (0.0, 7.0)
    across = scene_of([points([1, 2], [1, 2], low=[0, 1], high=[2, 4], across=True)], FRAME)
    assert np.ptp(marks(across, "error")[0].places[0][:, 1]) == 0


def _height(scene: Scene, grid: Mark) -> float:
    y = grid.places[0][0, 1]
    shown = min((m for m in marks(scene, "tick") if m.anchor == "end"), key=lambda m: abs(m.places[0][0, 1] - 5 - y))
    return float(shown.text.replace("−", "-"))


def test_labels_stand_at_what_they_name() -> None:
    x = np.linspace(0, 1, 101)
    hump = np.exp(-((x - 0.3) ** 2) / 0.005)
    scene = scene_of(
        [curve(x, hump, label="hump"), curve(x, x, label="rising"), curve(x[:50], x[:50], label="short"),
         line(y=0.5, label="level"), line(x=0.7, label="upright")], FRAME,
    )  # fmt: skip
    at = {m.text: m.places[0][0] for m in marks(scene, "label")}
    left, top, right, _ = scene.box
    across = right - left
    assert abs(at["hump"][0] + 20 - (left + 0.3 * across)) < 40
    assert at["hump"][1] < top + 60
    for beside in ("rising", "level"):
        assert at[beside][0] > right
    assert left + 0.4 * across < at["short"][0] < left + 0.7 * across
    assert abs(at["upright"][0] - (left + 0.7 * across)) < 80
    assert at["rising"][1] < at["level"][1]


def test_labels_that_end_in_one_place_are_apart_with_a_line_to_each() -> None:
    scene = scene_of([curve([0, 1], [0, 1], label="a"), curve([0, 1], [1, 1.001], label="b")], FRAME)
    heights = sorted(m.places[0][0, 1] for m in marks(scene, "label"))
    assert heights[1] - heights[0] >= 20
    assert len(marks(scene, "leader")) == 2


def test_a_text_is_written_once_and_a_part_without_label_has_none() -> None:
    scene = scene_of([curve([0, 1], [0, 1], label="a"), band([0, 1], [0, 0], [1, 2], label="a"), line(x=0.5)], FRAME)
    assert texts(scene, "label") == ["a"]


def test_axes_say_what_they_show_and_names_stand_in_for_numbers() -> None:
    frame = Frame(make_axis("x", "clinic", names=["north", "south"]), make_axis("y", "effect, mg"))
    scene = scene_of([points([0, 1], [1, 2])], frame)
    assert texts(scene, "caption") == ["effect, mg", "clinic"]
    assert texts(scene, "tick")[-2:] == ["north", "south"]
    numbers = scene_of([curve([0, 1000], [1, 2])], FRAME, width=500)
    assert texts(numbers, "tick")[-6:] == ["0", "200", "400", "600", "800", "1,000"]
    many = [f"a clinic with a long name {i}" for i in range(12)]
    crowded = scene_of([points([0], [1])], Frame(make_axis("x", "clinic", names=many), frame.y), width=400)
    assert texts(crowded, "tick")[-1] in many  # some of them: there is no room for all
    assert 1 <= len([name for name in texts(crowded, "tick") if name in many]) < 12


@settings(max_examples=40, deadline=None)
@given(st.integers(280, 1200), st.floats(1e-3, 1e5), st.integers(0, 3))
@example(426, 98040.0, 0)  # the last number is moved in, towards the one before it
def test_letters_fit_into_every_width(width: int, size: float, labels: int) -> None:
    frame = Frame(make_axis("x", "a long name of what is shown across, in its unit"), make_axis("y", "effect, %"))
    many = [curve([0, size], [size, size * k], label=f"curve number {k}") for k in range(1, labels + 1)]
    scene = scene_of([curve([0, size], [0, size]), *many], frame, width=width)
    left, _, right, bottom = scene.box
    assert right - left > 0.25 * width
    assert 0 < bottom < scene.height
    shown = [m for m in marks(scene, "tick") if m.anchor == "middle"]
    for a, b in pairwise(shown):
        assert b.places[0][0, 0] - a.places[0][0, 0] > (text_width(a.text, 15) + text_width(b.text, 15)) / 2
    assert len(shown) >= 2
    for mark in (*scene.back, *scene.front):
        if mark.shape == "text" and mark.anchor == "middle":
            half = text_width(mark.text, 15 if mark.role == "tick" else 16) / 2
            assert half - 1e-6 <= mark.places[0][0, 0] <= width - half + 1e-6
        elif mark.shape == "text":
            assert 0 <= mark.places[0][0, 0] <= width


# ---- The widget ----


def test_the_function_gets_the_types_that_were_asked_for_whatever_the_browser_sends() -> None:
    seen: list[dict[str, Any]] = []

    def function(**given_: Any) -> Part:
        seen.append(given_)
        return curve([0, 1], [0, 1])

    live = figure(function, {"n": range(1, 9), "p": (0, 1), "how": ["a", "b"], "log": False})
    assert seen == [{"n": 5, "p": 0.5, "how": "a", "log": False}]
    from_browser(live, 1, n=7, p=1, how="b", log=True)
    assert live.error is None
    assert [(type(v), v) for v in seen[-1].values()] == [(int, 7), (float, 1.0), (str, "b"), (bool, True)]
    assert live.value == seen[-1]


def test_axes_rest_while_a_slider_moves_and_reset_starts_afresh() -> None:
    live = figure(start={"factor": 5})
    low, ticks = ylim(live), tick_texts(live)
    live.set(factor=1)
    assert live.parts[0].y.tolist() == [0, 1, 2]
    assert (ylim(live), tick_texts(live)) == (low, ticks)
    live.set(factor=10)
    _ = live.parts
    high = ylim(live)
    assert high[1] > low[1]
    live.set(factor=5)
    _ = live.parts
    assert ylim(live) == high  # it has widened, and does not come back
    live.reset()
    assert live.parts[0].y.tolist() == [0, 5, 10]
    assert ylim(live) == low
    live.set(factor=10)
    _ = live.parts
    live.set_state({"_resets": live._resets + 1, "_values": {"factor": 5}, "_asked": 7})  # the button
    assert live.value == {"factor": 5.0}
    _ = live.parts
    assert ylim(live) == low
    live.set(factor=1)
    _ = live.parts
    assert ylim(live) == low  # and rest again


def ylim(live: LiveFigure) -> Any:
    return live._scene.hold.y


def tick_texts(live: LiveFigure) -> list[str]:
    return [text for tag, _, text in live._reply["back"] if tag == "text"]


def test_a_failure_is_told_and_the_old_figure_stays_marked() -> None:
    def function(factor: float) -> list[Part]:
        if factor > 9:
            raise SystemExit("bye")
        if factor > 8:
            return [curve([0, 1], [0, float("nan")])]
        if factor > 7:
            raise ValueError("<b>too much</b>")
        return slope(factor)

    live = figure(function, start={"factor": 2})
    before = live._reply["inside"]
    for factor, told in (
        (7.5, "ValueError: <b>too much</b>"),
        (8.5, "InputError: y: expected finite"),
        (9.5, "SystemExit: bye"),
    ):
        from_browser(live, int(factor * 10), factor=factor)
        assert str(live.error).startswith(told)
        assert live._reply["error"] == live.error
        assert live._reply["asked"] == int(factor * 10)
        assert live._reply["old"] == "factor 2"
        assert live._reply["inside"] == before
        assert live.parts[0].y.tolist() == [0, 2, 4]
    from_browser(live, 99, factor=3)
    assert live.error is None
    assert (live._reply["error"], live._reply["old"]) == (None, "")
    assert live._reply["texts"] == [("at the end", "6 %")]


def test_what_fails_first_is_raised_where_the_figure_is_made() -> None:
    def function(factor: float) -> list[Part]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        figure(function)


def test_the_alt_text_follows_controls_and_numbers() -> None:
    live = figure(alt="With {factor}: {at the end}, {{so}}.", start={"factor": 2})
    assert live.alt == live._reply["alt"] == "With 2: 4 %, {so}."
    live.set(factor=3)
    assert live.alt == "With 3: 6 %, {so}."
    called = figure(alt=lambda parts, factor: f"{parts[0].y.max():g} at {factor:g}", start={"factor": 2})
    assert called.alt == "4 at 2"


class Gate:
    """A function that waits at each call but the first until it is let through, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.entered, self.go = Semaphore(0), Semaphore(1)

    def __call__(self, factor: float) -> list[Part]:
        self.asked.append(factor)
        self.entered.release()
        assert self.go.acquire(timeout=30)
        return slope(factor)


def test_what_is_overtaken_is_never_drawn() -> None:
    gate = Gate()
    live = figure(gate)
    assert gate.entered.acquire(timeout=30)
    from_browser(live, 1, factor=1)
    assert gate.entered.acquire(timeout=30)
    for i in range(2, 200):
        from_browser(live, i, factor=i % 10)  # were it to wait for the function, it would wait here for ever
    assert len(threads()) == 1
    gate.go.release(2)
    assert live.parts[0].y[-1] == 2 * (199 % 10)
    assert gate.asked == [5, 1, 199 % 10]
    assert live._reply["asked"] == 199


def test_closing_drops_what_waits_and_shows_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(LiveFigure, "_send", lambda self, msg, buffers=None: sent.append(msg))
    gate = Gate()
    live = figure(gate)
    from_browser(live, 1, factor=1)
    assert gate.entered.acquire(timeout=30)
    assert gate.entered.acquire(timeout=30)
    from_browser(live, 2, factor=2)
    live.close()
    sent.clear()
    gate.go.release(5)
    while threads():
        sleep(0.001)
    assert gate.asked == [5, 1]
    assert sent == []


def test_another_width_is_laid_out_anew_without_the_function() -> None:
    calls: list[float] = []

    def function(factor: float) -> list[Part]:
        calls.append(factor)
        return slope(factor)

    live = figure(function)
    for factor in (10, 5):
        live.set(factor=factor)
        _ = live.parts
    calls.clear()
    limits, serial = ylim(live), live._reply["serial"]
    live.set_state({"_width": 400})
    assert live._reply["size"][0] == 400
    assert live._reply["serial"] == serial + 1
    assert ylim(live) == limits
    live.set(factor=2)
    _ = live.parts
    assert live._reply["size"][0] == 400
    assert calls == [2.0]
    for wild, width in ((-5, 220), (10**9, 1200)):
        live.set_state({"_width": wild})
        assert live._reply["size"][0] == width


@pytest.mark.parametrize("wrong", [{"factor": 11}, {"factor": None}, {"factor": "5"}, {"other": 1}, {}])
def test_other_values_from_a_browser_are_refused(wrong: dict[str, Any]) -> None:
    live = figure()
    with pytest.raises(traitlets.TraitError, match="expected"):
        live.set_state({"_values": wrong, "_asked": 1})
    assert live.value == {"factor": 5.0}


def test_python_sets_by_name_and_calls_anew() -> None:
    unit = ["%"]
    live = figure(lambda factor: [*slope(factor), text("unit", unit[0])])
    live.set(factor=0.123)
    assert live.parts[0].y[-1] == 0.246
    unit[0] = "mg"
    live.set()
    assert live.parts[-1].words == "mg"
    with pytest.raises(InputError, match=r"factor: expected a number from 0\.0 to 10\.0, got 11"):
        live.set(factor=11)
    with pytest.raises(InputError, match="expected values for factor, got factor, size"):
        live.set(size=1)
    assert repr(live) == "LiveFigure(factor=0.123)"
    assert starting(live._made) == {"factor": 5.0}


def test_what_the_browser_gets_is_plain() -> None:
    def function(n: int) -> list[Part]:
        drawn = [bars([0, 1], [n, 2]), band([0, 1], [0, 0], [1, 1]), points([0], [np.float32(1)])]
        return [*drawn, text("n", np.int64(n))]

    live = figure(function, {"n": range(1, 5)}, xnames=["a", "b"])
    told = json.loads(json.dumps(live._reply, allow_nan=False))
    assert told["texts"] == [["n", "3"]]
    assert {tag for tag, *_ in (*told["back"], *told["inside"], *told["front"])} == {"path", "text"}


# ---- Ticks ----


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def from_page(live: LiveFigure, **content: Any) -> None:
    """Send a message as the page does."""
    live._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})


def ticking(function: Callable[..., Any] = slope, every: float = 0.5, **more: Any) -> tuple[LiveFigure, Clock]:
    live, clock = figure(function, every=every, **more), Clock()
    live._pulse = Pulse(every, clock=clock)
    return live, clock


@pytest.mark.parametrize("every", [0, 0.05, 61, -1, float("nan"), "1", True])
def test_a_tick_that_is_no_time_is_refused(every: Any) -> None:
    with pytest.raises(InputError, match=r"every: expected 0\.1 to 60 seconds, or None, got"):
        figure(every=every)


def test_it_is_made_at_rest_and_each_beat_calls_the_function_once() -> None:
    calls: list[float] = []
    live, clock = ticking(lambda factor: [calls.append(factor), *slope(factor)][1:], start={"factor": 2})
    from_page(live, beat="page")
    _ = live.parts
    assert (calls, live.running) == ([2.0], False)
    from_page(live, run=True)
    assert live.running
    for tick in range(1, 5):
        from_page(live, beat="page")
        _ = live.parts
        assert live._reply["ticks"] == tick
        assert live._reply["asked"] == 0
        clock.now += 0.5
    live.set(factor=3)
    _ = live.parts
    assert live._reply["ticks"] == 4  # an answer to a control is none to a tick
    from_page(live, run=False)
    from_page(live, beat="page")
    _ = live.parts
    assert not live.running
    assert calls == [2.0] * 5 + [3.0]


def test_a_figure_without_ticks_does_not_run() -> None:
    live = figure()
    from_page(live, run=True)
    assert not live._running


def test_ticks_do_not_pile_up_and_a_control_overtakes_them() -> None:
    gate = Gate()
    live, clock = ticking(gate)
    from_page(live, run=True)
    assert gate.entered.acquire(timeout=30)
    from_page(live, beat="page")
    assert gate.entered.acquire(timeout=30)
    for _ in range(50):  # an impatient page
        clock.now += 0.5
        from_page(live, beat="page")
    from_browser(live, 7, factor=1)
    gate.go.release(60)
    assert live.parts[0].y[-1] == 2
    assert gate.asked == [5, 5, 1]
    assert live._reply["ticks"] == 51  # it answers all that came before
    assert live._reply["asked"] == 7


def test_a_failure_does_not_end_a_run() -> None:
    fails = [False]

    def function(factor: float) -> list[Part]:
        if fails[0]:
            raise ConnectionError("no server")
        return slope(factor)

    live, clock = ticking(function)
    from_page(live, run=True)
    for fails[0], told in ((True, "ConnectionError: no server"), (False, None)):
        clock.now += 0.5
        from_page(live, beat="page")
        assert live.error == told
        assert live.running


def test_beats_of_one_page_that_were_held_up_and_arrive_together_are_each_answered() -> None:
    live, clock = ticking()
    from_page(live, run=True)
    for tick in (1, 2, 3):
        from_page(live, beat="page")
        _ = live.parts
        assert live._reply["ticks"] == tick
        clock.now += 0.001


def test_two_pages_share_the_ticks() -> None:
    live, clock = ticking()
    from_page(live, run=True)
    for _ in range(3):
        from_page(live, beat="one")
        clock.now += 0.2
        from_page(live, beat="two")
        clock.now += 0.3
    _ = live.parts
    assert live._reply["ticks"] == 3


def test_a_page_that_was_hidden_goes_on_and_one_that_comes_late_finds_it_stopped() -> None:
    live, clock = ticking()
    from_page(live, run=True)
    from_page(live, beat="one")
    clock.now += AWAY_S - 1
    from_page(live, beat="two")  # a second page, while the first is there
    clock.now += 300
    assert not live.running
    from_page(live, beat="one")
    assert live.running
    clock.now += AWAY_S + 1
    from_page(live, beat="three")  # the notebook was opened anew
    assert not live._running
    from_page(live, run=True)
    from_page(live, beat="three")
    assert live.running


def test_a_run_that_nobody_stops_comes_to_rest_and_can_be_started_again() -> None:
    live, clock = ticking(every=60)
    from_page(live, run=True)
    beats = 0
    while live._running and beats < 100:
        from_page(live, beat="page")
        clock.now += 60
        beats += 1
    assert beats == AT_MOST_S / 60 + 2  # at the last instant still, and the one after ends it
    from_page(live, run=True)
    from_page(live, beat="page")
    assert live.running
    live.stop()
    assert not live.running


def test_start_right_after_stop_ticks_at_once() -> None:
    live, _ = ticking()
    for tick, page in ((1, "one"), (2, "two")):
        from_page(live, run=True)
        from_page(live, beat=page)
        from_page(live, run=False)
        _ = live.parts
        assert live._reply["ticks"] == tick


def test_a_closed_figure_takes_no_beat() -> None:
    calls: list[float] = []
    live, _ = ticking(lambda factor: [calls.append(factor), *slope(factor)][1:])
    from_page(live, run=True)
    live.close()
    live._on_message(live, {"beat": "page"}, [])
    assert calls == [5.0]


# ---- Buttons ----


@pytest.mark.parametrize(
    ("buttons", "match"),
    [
        (["go"], "expected up to 4 functions by name"),
        ({str(i): print for i in range(5)}, "expected up to 4 functions by name"),
        ({"": print}, "expected names of up to 40 characters, got ''"),
        ({3: print}, "expected names of up to 40 characters, got 3"),
        ({"x" * 41: print}, "expected names of up to 40 characters"),
        ({"go": 3}, "expected a function for 'go', got int"),
    ],
)
def test_buttons_that_cannot_be_pressed_are_refused(buttons: Any, match: str) -> None:
    with pytest.raises(InputError, match=f"buttons: {match}"):
        figure(buttons=buttons)


def test_a_press_works_on_a_thread_of_its_own_while_the_figure_goes_on() -> None:
    entered, go, seen = Event(), Event(), []

    def overload() -> None:
        seen.append(current_thread())
        entered.set()
        assert go.wait(30)

    live = figure(lambda factor: [*slope(factor), text("overloads", len(seen))], buttons={"Overload": overload})
    from_page(live, press="Overload")
    assert entered.wait(30)
    assert live._pressed == {"busy": "Overload", "error": ""}
    live.set(factor=1)
    assert live.parts[0].y[-1] == 2  # the figure does not wait for it
    from_page(live, press="Overload")
    live.press("Overload")
    go.set()
    assert live._pushed.wait(30)
    assert len(seen) == 1  # a press on a button at work is none
    assert seen[0] is not main_thread()
    assert live._pressed == {"busy": "", "error": ""}
    live.press("Overload")
    assert live._pushed.wait(30)
    assert live.parts[-1].words == "2"  # the function was called anew
    from_page(live, press="no such")
    with pytest.raises(InputError, match=r"press: expected one of \['Overload'\], got 'no such'"):
        live.press("no such")


def test_a_button_that_fails_is_told_until_the_next_press() -> None:
    fails = [True]

    def restart() -> None:
        if fails[0]:
            raise SystemExit("<b>bye</b>")

    live = figure(buttons={"Restart": restart})
    live.press("Restart")
    assert live._pushed.wait(30)
    assert live._pressed == {"busy": "", "error": "Restart: SystemExit: <b>bye</b>"}
    assert live.error is None  # the figure is right
    fails[0] = False
    live.press("Restart")
    assert live._pushed.wait(30)
    assert live._pressed["error"] == ""


def test_buttons_come_back_even_if_nobody_can_be_told() -> None:
    def tell(busy: str, error: str) -> None:
        if not busy:
            raise ConnectionError("closed")

    count: list[int] = []
    buttons = Buttons({"go": lambda: count.append(1)}, tell)
    for _ in range(2):
        assert buttons.press("go")
        assert buttons.wait(30)
    assert len(count) == 2


def test_closing_takes_no_press_any_more() -> None:
    count: list[int] = []
    live = figure(buttons={"go": lambda: count.append(1)})
    live.close()
    live._pushed.press("go")
    assert not live._pushed.wait(1)
    assert count == []


# ---- At rest ----


def test_the_output_holds_the_widget_and_a_picture_with_its_alt_text() -> None:
    evil = '"><script>alert(1)</script>'
    live = figure(
        lambda factor: [curve([0, 1], [0, factor], label=evil), text(evil, evil)],
        alt=evil, title=evil, xlabel=evil, labels={"factor": evil},
    )  # fmt: skip
    data, _ = live._repr_mimebundle_()
    assert set(data) == {"text/plain", "application/vnd.jupyter.widget-view+json", "text/html"}
    html = data["text/html"]
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 5
    assert 'alt="&quot;&gt;&lt;script' in html
    assert live._repr_mimebundle_()[0]["text/html"] == html


def test_the_picture_at_rest_shows_the_curve_where_it_is() -> None:
    live = figure(lambda factor: [curve([0, 1], [0, 1], colour="blue"), line(x=0.5)], start={"factor": 2})
    html = live._repr_mimebundle_()[0]["text/html"]
    assert "factor 2" in html
    picture = Image.open(BytesIO(base64.b64decode(re.findall(r"base64,([^\"]*)", html)[0]))).convert("RGB")
    pixels = np.asarray(picture, int)
    blue = np.argwhere(np.abs(pixels - (0, 0x72, 0xB2)).sum(axis=2) < 60)
    assert len(blue) > 500
    scale = picture.width / 760
    left, top, right, bottom = (side * scale for side in live._scene.box)
    share_x, share_y = (blue[:, 1] - left) / (right - left), (bottom - blue[:, 0]) / (bottom - top)
    drawn = np.array(live._scene.inside[1].places[0])
    ends = (live._scene.box[3] - drawn[:, 1]) / (live._scene.box[3] - live._scene.box[1])
    np.testing.assert_allclose(share_y, ends[0] + share_x * (ends[1] - ends[0]), atol=0.03)


# ---- The package ----

_COLOUR = re.compile(r"--ik-(\w+(?:-text)?): (#[0-9a-f]{6});")


def luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(a: str, b: str) -> float:
    light, dark = sorted([luminance(a), luminance(b)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_is_the_figures_own_and_stands_out_in_light_and_dark() -> None:
    style = files(widgets).joinpath("figure.css").read_text("utf-8")
    light, dark = (dict(_COLOUR.findall(block)) for block in re.findall(r"\{[^}]*--ik-blue-text[^}]*\}", style)[:2])
    assert {name: light[name] for name in COLOURS} == COLOURS
    for colours, paper in ((light, "#ffffff"), (dark, "#111111")):
        assert set(colours) == {*COLOURS, *(f"{name}-text" for name in COLOURS)}
        assert {n: c for n, c in colours.items() if contrast(c, paper) < (4.5 if n.endswith("-text") else 3)} == {}


def test_the_view_travels_with_the_package_and_puts_no_text_into_html() -> None:
    script = str(LiveFigure._esm)
    for name in ("parts.js", "controls.js", "figure.js"):
        assert files(widgets).joinpath(name).read_text("utf-8") in script
    for borrowed in ("const MAKERS", "function makePost", "function described"):
        assert script.count(borrowed) == 1
    assert script.count("export default") == script.count("function render(") == 1
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script
    assert re.findall(r"\w+://[^\"]*", script) == ["http://www.w3.org/2000/svg"]


def test_importing_the_module_brings_in_neither_a_widget_framework_nor_matplotlib() -> None:
    heavy = ("anywidget", "matplotlib")
    code = f"import sys, inferkit.widgets as w; print([m in sys.modules for m in {heavy}], 'curve' in dir(w))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[False,", "False]", "True"]


def test_without_anywidget_parts_are_made_and_the_figure_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    assert widgets.__getattr__("curve") is curve
    with pytest.raises(MissingExtraError, match='pip install "anywidget>='):
        _ = widgets.__getattr__("LiveFigure")

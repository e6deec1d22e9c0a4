"""What lesson 12 does by hand, held against the library and against what must be so; its figures and its verdicts."""

import ast
from dataclasses import replace
from itertools import pairwise
from math import comb
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from scipy.stats import binomtest

from inferkit import course, plots
from inferkit.benchmark import Entry, Ledger, wilson_interval
from inferkit.datasets import load_signs
from inferkit.models import load_reference
from inferkit.optimize import cascade, read_layers
from inferkit.predictor import ArraySpec, Predictor, Temper
from inferkit.widgets import curve, text
from inferkit.widgets import points as dots
from notebooks.source import SOURCES, read, solution, tags

SOURCE = SOURCES / "12_accuracy_against_speed.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]
EXERCISES = solution(read(SOURCES / "exercises" / SOURCE.name)).cells
SHARED = {
    "np": np, "plt": plt, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS, "course": course,
    "read_layers": read_layers, "comb": comb, "binomtest": binomtest,
}  # fmt: skip


def cell_with(words: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if words in cell.source]
    return found


def run(*texts: str, **names: Any) -> dict[str, Any]:
    """Run the cells with these texts; return what they leave behind."""
    space = SHARED | names
    for words in texts:
        exec(cell_with(words), space)
    return space


def definition(name: str, cells: Any = None, **names: Any) -> Any:
    """Return one function of the lesson, or of other cells, without what else stands in its cell."""
    (node,) = [
        node
        for cell in cells or CODE
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    space = SHARED | names
    exec(ast.unparse(node), space)
    return space[name]


def probabilities(rng: np.random.Generator, n: int, classes: int = 4) -> Any:
    return rng.dirichlet(np.full(classes, 0.4), n)


seeds = st.integers(0, 999)

# -- width ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def width() -> dict[str, Any]:
    return run("def by_hand(width)")


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_the_work_and_the_weights_are_those_of_the_files(width, alpha):
    layers = read_layers(load_reference(f"signs-mobilenet-{100 * alpha:.0f}"))
    each, mixed, weights = width["by_hand"](alpha)
    assert each == sum(layer.macs for layer in layers if layer.op == "DEPTHWISE_CONV_2D")
    assert each + mixed == sum(layer.macs for layer in layers)
    assert weights == sum(layer.weights.size for layer in layers if layer.weights)


@given(doublings=st.integers(1, 4))
def test_filters_follow_the_width_and_mixing_its_square(width, doublings):
    alpha = 2**doublings  # no channel is rounded
    (each, mixed, _), (each_wide, mixed_wide, _) = width["by_hand"](1), width["by_hand"](alpha)
    fixed, dense = 27 * 16 * 32**2, 12 * 256  # what comes before and after the blocks has one narrow side
    assert each_wide == alpha * each
    assert mixed_wide - alpha * (fixed + dense) == alpha**2 * (mixed - fixed - dense)


@given(channels=st.integers(1, 512), alpha=st.floats(0.1, 2))
def test_channels_are_multiples_of_eight_and_near_what_was_asked(width, channels, alpha):
    thin = width["thin"](channels, alpha)
    assert thin % 8 == 0 < thin
    assert abs(thin - channels * alpha) <= 4 or thin == 8


# -- teacher and student ----------------------------------------------------------------------


@given(seed=seeds, T=st.floats(0.2, 20))
def test_softening_is_the_librarys_and_keeps_the_order(seed, T):
    p = probabilities(np.random.default_rng(seed), 5)
    soft = definition("soften")(p, T)
    np.testing.assert_allclose(soft, Temper(T)(p), atol=1e-6)
    np.testing.assert_allclose(soft.sum(axis=1), 1)
    np.testing.assert_array_equal(soft.argmax(axis=1), p.argmax(axis=1))
    top = p.max(axis=1) - soft.max(axis=1)
    assert (top >= -1e-9).all() if T >= 1 else (top <= 1e-9).all()


paired = definition("paired")


@given(seed=seeds, n=st.integers(5, 300), good=st.floats(0, 1), other=st.floats(0, 1))
def test_pairs_are_counted_as_scipy_tests_them(seed, n, good, other):
    rng = np.random.default_rng(seed)
    a, b = rng.random(n) < good, rng.random(n) < other
    only, chance, gap, ends = paired(a, b)
    assert gap == pytest.approx(100 * (a.mean() - b.mean()))
    assert chance == pytest.approx(binomtest(int(only[0]), int(only.sum())).pvalue if only.sum() else 1)
    assert ends[0] <= gap + 1e-9
    assert gap - 1e-9 <= ends[1]
    back, same, minus, turned = paired(b, a)
    assert (back[::-1] == only).all()
    assert same == pytest.approx(chance)
    assert minus == pytest.approx(-gap)
    np.testing.assert_allclose(turned[::-1], -ends, atol=0.15 * max(1, np.ptp(ends)))


def test_the_interval_holds_the_true_difference_nineteen_times_in_twenty():
    rng, held = np.random.default_rng(2), 0
    for _ in range(300):
        kind = rng.choice(3, 600, p=[0.06, 0.04, 0.9])
        held += np.prod(np.sign(paired(kind == 0, kind == 1, n=2000)[3] - 2)) <= 0
    assert 0.9 < held / 300 < 0.99


# -- cascade ----------------------------------------------------------------------------------

in_doubt = definition("in_doubt")


def reader(p: Any) -> Predictor:
    """Return a predictor that looks row i up in the i-th row of p."""
    labels = [f"k{j}" for j in range(p.shape[1])]
    return Predictor(lambda X: p[X[:, 0].astype(int)], signature=ArraySpec((1,)), labels=labels)


@given(seed=seeds, threshold=st.floats(0, 1))
def test_the_cascade_by_hand_is_the_librarys(seed, threshold):
    rng = np.random.default_rng(seed)
    p, q = probabilities(rng, 20), probabilities(rng, 20)
    theirs = cascade([reader(p), reader(q)], threshold)
    answers, up = in_doubt(p, q, threshold)
    rows = np.arange(20.0)[:, None]
    np.testing.assert_array_equal(theirs.predict(rows), np.array(theirs.labels)[answers])
    assert theirs.counts == (20 - up.sum(), up.sum())


def test_exactly_as_sure_as_the_threshold_is_sure_enough():
    p, q = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]), np.array([[0.0, 1.0, 0.0]] * 2)
    answers, up = in_doubt(p, q, 0.5)
    assert answers.tolist() == [0, 2]
    assert not up.any()
    assert cascade([reader(p), reader(q)], 0.5).predict(np.arange(2.0)[:, None]).tolist() == ["k0", "k2"]


@given(seed=seeds)
def test_no_lower_threshold_is_as_good(seed):
    rng, levels = np.random.default_rng(seed), np.linspace(0.2, 1, 17)
    p, q, y = probabilities(rng, 60), probabilities(rng, 60), rng.integers(0, 4, 60)
    found = definition("least", levels=levels, in_doubt=in_doubt)(p, q, y)
    goal = (q.argmax(axis=1) == y).mean()
    assert (in_doubt(p, q, found)[0] == y).mean() >= goal or found == 1
    assert all((in_doubt(p, q, t)[0] == y).mean() < goal for t in levels[levels < found])


usual_us = definition("usual_us", timed=4)


def test_the_usual_time_forgets_a_busy_round_and_keeps_what_a_picture_costs():
    calm = np.tile([10_000, 10_000, 10_000, 90_000], (10, 1))
    busy = calm.copy()
    busy[3] *= 50
    for ns in (calm, busy):
        assert usual_us(SimpleNamespace(samples_ns=ns.ravel())) == pytest.approx(30)
    assert definition("expected")(10, 0.25, 80) == 30


def test_dusk_is_dark_and_the_same_every_time():
    pictures = load_signs().images[:24]
    unsure = {"ask": lambda reader, X: np.full((len(X), 4), 0.25), "small": None, "large": None, "threshold": 0.9}
    space = run("def at_dusk(", X=pictures, in_doubt=in_doubt, up=np.ones(1), **unsure)
    dusk = space["dusk"]
    assert dusk.shape == pictures.shape
    assert dusk.dtype == np.uint8
    assert 0.1 * pictures.mean() < dusk.mean() < 0.4 * pictures.mean()
    np.testing.assert_array_equal(dusk, space["at_dusk"](pictures))


def test_asking_in_parts_gives_what_asking_at_once_gives():
    p, seen = probabilities(np.random.default_rng(3), 50), []

    def some(X):
        seen.append(len(X))
        return p[X]

    np.testing.assert_array_equal(definition("ask")(SimpleNamespace(predict_proba=some), np.arange(50), 24), p)
    assert seen == [24, 24, 2]


def test_the_exit_is_asked_in_parts():
    (p, q), seen = (probabilities(np.random.default_rng(k), 60) for k in (1, 2)), []

    def stem(X):
        seen.append(len(X))
        places = np.round(255 * X[:, 0]).astype(int)
        return {"probabilities": p[places], "features": places}

    found = definition("halfway", stem=stem, rest=lambda places: q[places])(np.arange(60)[:, None])
    np.testing.assert_array_equal(found[0], p)
    np.testing.assert_array_equal(found[1], q)
    assert max(seen) < 60 == sum(seen)


# -- the ledger and its front -----------------------------------------------------------------

POINT = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
beats = definition("beats")


def named(raw: Any) -> dict[str, tuple[float, ...]]:
    return {f"w{k}": (float(t), 50.0 + r, 50.0 + r - a, 50.0 + r + b) for k, (t, r, a, b) in enumerate(raw)}


@given(st.lists(POINT, min_size=1, max_size=12), st.booleans())
def test_the_front_is_the_librarys(raw, surely):
    points = named(raw)
    ours = definition("not_beaten", beats=beats)(points, surely)
    ends = (2, 3) if surely else (1, 1)
    entries = [
        Entry(n, p50_ms=p[0], accuracy=p[1] / 100, accuracy_low=p[ends[0]] / 100, accuracy_high=p[ends[1]] / 100)
        for n, p in points.items()
    ]
    assert ours == [entry.name for entry in Ledger(entries).pareto()]


@given(st.lists(POINT, min_size=1, max_size=12))
def test_the_line_goes_through_the_front_and_over_nobody(raw):
    points = named(raw)
    line = definition("corners")([p[:2] for p in points.values()], 10.0)
    front = definition("not_beaten", beats=beats)(points)
    assert {points[name][:2] for name in front} <= set(line)
    assert line[-1][0] == 10
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(line))
    for took, right, *_ in points.values():
        assert right <= max((y for x, y in line if x <= took), default=-1)


def test_the_cost_is_time_over_right_answers_from_end_to_end():
    cost = definition("cost", points={"a": (10.0, 90.0, 0, 0), "b": (11.0, 94.0, 0, 0), "c": (50.0, 98.0, 0, 0)})
    assert cost(["a", "b", "c"]) == "5.0 µs a point"
    assert cost(["b"]) == "nothing to pay"


def test_a_row_gets_the_accuracy_of_its_own_network():
    hits = {"cnn": np.arange(100) < 98, "student": np.arange(100) < 95}
    space = {"hits": hits, "y": range(100), "wilson_interval": wilson_interval, "replace": replace}
    row = definition("judged_row", **space)(Entry("signs, student", p50_ms=0.5))
    assert (row.accuracy, row.n_test, row.p50_ms) == (0.95, 100, 0.5)
    assert (row.accuracy_low, row.accuracy_high) == wilson_interval(95, 100)


def mine(*rows: Entry) -> dict[str, Entry]:
    found = definition("mine", here="me", y=range(1152), files={"cnn": "cnn"}, hashes={"signs-cnn": "a" * 64})
    return found(Ledger(rows))


def test_the_ledger_gives_only_rows_of_this_machine_these_pictures_and_this_file():
    plain = {"machine_id": "me", "model_sha256": "a" * 64, "n_test": 1152, "accuracy": 0.9, "p50_ms": 1}
    good = Entry("signs, cnn", **plain)
    assert mine(good) == {"cnn": good}
    for change in ({"machine_id": "you"}, {"model_sha256": "b" * 64}, {"n_test": 576}):
        assert mine(Entry("signs, cnn", **plain | change)) == {}
    assert mine(Entry("signs, other", **plain)) == {}
    assert mine() == {}


def test_of_two_rows_the_newer_counts():
    plain = {"machine_id": "me", "model_sha256": "a" * 64, "n_test": 1152, "p50_ms": 1}
    old = Entry("signs, cnn", **plain, threads=2, measured_at="2025-01-01T00:00:00Z")
    new = Entry("signs, cnn", **plain, threads=1, measured_at="2025-01-02T00:00:00Z")
    assert mine(new, old) == mine(old, new) == {"cnn": new}


@given(st.lists(POINT, min_size=1, max_size=9), st.integers(0, 12), st.integers(48, 60))
def test_what_is_chosen_keeps_both_limits_and_nothing_else_is_quicker(raw, deadline, wanted):
    points = named(raw)
    rows = {n: SimpleNamespace(p99_ms=(p[0] + 1) / 1000, accuracy_low=p[2] / 100) for n, p in points.items()}
    chosen = definition("choose")(rows, points, deadline, wanted / 100)
    fits = {n for n, p in points.items() if p[0] + 1 <= deadline and p[2] / 100 >= wanted / 100}
    assert (chosen == "none") == (not fits)
    assert not fits or (chosen in fits and points[chosen][0] == min(points[n][0] for n in fits))


# -- figures ----------------------------------------------------------------------------------

POINTS = {
    "student": (24.0, 94.0, 92.5, 95.2), "cascade": (40.0, 98.0, 97.0, 98.6), "cnn": (56.0, 98.5, 97.6, 99.1),
    "width 0.5": (66.0, 96.0, 94.7, 97.0), "width 1": (155.0, 98.4, 97.5, 99.0),
}  # fmt: skip
DIAL = np.array([24.0, 40, 179]), np.array([94.0, 98, 98.4])


@pytest.fixture
def draw():
    plots.use_style()
    cells = ("def corners(", "PLACES = [", "def label_points(", "def box_at(", "def draw_way(", "def poster(")
    space = run(*cells, "def name_axes(", "def with_words(")

    def drawn(kept, dial=DIAL, guess=None, fronts=(["student", "cascade", "cnn"], ["student", "cnn"])):
        return space["with_words"](space["poster"](POINTS, kept, fronts, dial), POINTS, guess)

    yield drawn
    plt.close("all")


def test_the_poster_has_every_way_at_its_place_rings_for_the_beaten_and_the_guess(draw):
    (ax,) = draw({"student", "cascade", "cnn", "width 1"}, guess=(30.0, 98.4)).axes
    drawn = {line.get_label().removeprefix("_"): line for line in ax.lines}
    for name, point in POINTS.items():
        assert drawn[name].get_xydata().tolist() == [list(point[:2])]
        is_ring = to_hex(drawn[name].get_markerfacecolor()) == "#ffffff"
        assert is_ring == (name == "width 0.5")
    assert drawn["guess"].get_xydata().tolist() == [[30, 98.4]]
    bars = sorted(tuple(bar.get_segments()[0][:, 1]) for bar in ax.collections)
    assert bars == sorted(point[2:] for point in POINTS.values())
    assert ax.get_xscale() == "log"
    assert {note.get_text() for note in ax.texts} == {*POINTS, "your guess"}
    end = ax.get_xlim()[1]
    assert drawn["front -"].get_xydata().tolist() == [[24, 94], [40, 94], [40, 98], [56, 98], [56, 98.5], [end, 98.5]]
    assert drawn["front --"].get_xydata().tolist() == [[24, 94], [56, 94], [56, 98.5], [end, 98.5]]


def test_labels_do_not_cover_each_other(draw):
    fig = draw(set(POINTS))
    fig.canvas.draw()
    boxes = [note.get_window_extent() for note in fig.axes[0].texts]
    assert len(boxes) == len(POINTS)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_another_time_is_another_poster(draw):
    frozen = plots.figure_data(draw(set(POINTS)))
    assert plots.compare_figure_data(frozen, plots.figure_data(draw(set(POINTS)))) == []
    slower = DIAL[0] * 1.1, DIAL[1]
    assert plots.compare_figure_data(frozen, plots.figure_data(draw(set(POINTS), slower))) != []
    other = ["student", "cnn"], ["student", "cnn"]
    assert plots.compare_figure_data(frozen, plots.figure_data(draw(set(POINTS), fronts=other))) != []


def test_the_dial_marks_its_thresholds_on_the_curve():
    plots.use_style()
    levels, shares = np.linspace(0, 1, 101), np.linspace(0, 50, 101)
    fig, ax = definition("dial_figure")(levels, shares, 90 + shares / 10, {"large": 95.0}, (20, 93))
    marks = [
        line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() in "oD" and len(line.get_xdata()) == 1
    ]
    np.testing.assert_allclose(marks, [[25, 92.5], [45, 94.5], [49.5, 94.95], [20, 93]])
    assert {"large", "0.5", "0.9", "0.99"} == {note.get_text() for note in ax.texts}
    plt.close(fig)


def test_the_opening_says_what_both_networks_read():
    plots.use_style()
    p, q = np.eye(3)[[0, 1]], np.eye(3)[[2, 1]]
    draw = definition("opening_figure", names=np.array(["stop", "left", "right"]))
    fig = draw(np.zeros((2, 32, 32, 3)), {"hard": 0, "easy": 1}, {"small": p, "large": q})
    said = [ax.get_xlabel() for ax in fig.axes]
    assert said == ["small: stop, 100%\nlarge: right, 100%", "small: left, 100%\nlarge: left, 100%"]
    plt.close(fig)


# -- why, and verdicts ------------------------------------------------------------------------


def test_bytes_are_counted_once_for_what_goes_in_comes_out_or_is_a_weight():
    space = run("def kind_of(layer)")
    layers = [one for one in read_layers(load_reference("signs-cnn")) if one.op == "CONV_2D"]
    first = layers[0]
    assert space["kind_of"](first) == "ordinary"
    into, out = 32 * 32 * 3, int(np.prod(first.output.shape[1:]))
    assert space["moved"](first) == 4 * (into + out + 16 * 5 * 5 * 3)
    assert first.macs == out * 75


def verdicts(work: dict[str, int], front: list[str], points: Any = POINTS) -> list[str]:
    return list(definition("verdicts")(points, front, work).values())


def test_verdicts_follow_what_was_measured():
    work = {"width 0.5": 2, "width 1": 6, "cnn": 3}
    said = verdicts(work, ["student", "cascade", "cnn"])
    assert said[0] == "does not hold here: most often right is cnn"
    assert said[1].startswith("holds: 2.8 times")
    assert said[2] == "does not hold here: on the front is none"
    assert said[3] == "does not hold here: cnn, 1,543 million a day"
    other = verdicts(work, ["width 0.5", "cnn"], POINTS | {"width 1": (60.0, 99.0, 98, 99.5)})
    assert other[0] == "holds: most often right is width 1"
    assert other[1].startswith("does not hold here: 1.1 times")
    assert other[2] == "holds: on the front width 0.5"
    assert verdicts(work, [], {name: (p[0] * 1e6, *p[1:]) for name, p in POINTS.items()})[3].startswith("holds")


# -- play -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def widget() -> dict[str, Any]:
    rng, n = np.random.default_rng(4), 200
    y = rng.integers(0, 4, n)
    sharp, soft = np.eye(4)[y] * 0.9 + 0.025, np.full((n, 4), 0.2)
    soft[np.arange(n), (y + 1) % 4] = 0.4
    space = SHARED | {
        "y": y, "turn": rng.permutation(n) / n, "in_doubt": in_doubt, "expected": definition("expected"),
        "by_day": {"p": sharp, "q": sharp, "cnn": sharp}, "by_night": {"p": soft, "q": sharp, "cnn": soft},
        "us": {"student": 20.0, "width 1": 100.0, "cnn": 50.0}, "levels": np.linspace(0.1, 1, 10),
        "measured_now": lambda threshold, share: 42.0, "curve": curve, "dots": dots, "text": text,
        "alone_as": {
            "small": ("p", "student", "black"), "large": ("q", "width 1", "blue"), "cnn": ("cnn", "cnn", "green")
        },
    }  # fmt: skip
    for name in ("evening", "dial_of", "look"):
        space[name] = definition(name, **{k: v for k, v in space.items() if k not in SHARED})
    return space


@pytest.mark.parametrize("share", [0, 30, 100])
def test_the_widget_mixes_day_and_dusk_and_computes_what_it_costs(widget, share):
    parts = widget["look"](0.8, share)
    told = {part.label: part.words for part in parts if part.kind == "text"}
    assert told == {
        "right": "100.0 %",
        "go up": f"{share}%",
        "computed": f"{20 + share:.0f} µs",
        "measured now": "42 µs",
    }
    places = {part.label: (part.x[0], part.y[0]) for part in parts if part.kind == "points"}
    assert places["cascade"] == (pytest.approx(20 + share), 100)
    assert places["small"] == (20, pytest.approx(100 - share))
    assert places["large"] == (100, 100)
    assert places["cnn"] == (50, pytest.approx(100 - share))


def test_a_cascade_that_never_asks_is_the_small_network(widget):
    parts = widget["look"](0.2, 50)
    places = {part.label: (part.x[0], part.y[0]) for part in parts if part.kind == "points"}
    assert places["cascade"] == places["small"]
    (dial,) = [part for part in parts if part.kind == "curve"]
    assert (np.diff(dial.x) >= 0).all()
    assert dial.x[0] == 20
    assert dial.x[-1] == 120


# -- break it ---------------------------------------------------------------------------------


def test_naming_the_mistakes_passes_and_a_blank_does_not(capsys):
    right = {"ash": "labels shifted", "beech": "too sure to ask", "cherry": "not divided by 255"}
    for suspicion, marks in ((right, "✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗"), (right | {"beech": "x"}, "✓✗✓")):
        run("mistakes = {", suspicion=suspicion)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


def test_the_symptoms_show_who_is_asked_and_how_it_answers():
    y = np.array([0, 1, 2, 3])
    p = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.4, 0.3, 0.3, 0], [0.4, 0.2, 0.2, 0.2]])
    q = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0.6, 0.4], [0, 0.8, 0, 0.2]])
    said = definition("symptoms", in_doubt=in_doubt, y=y, threshold=0.5)(p, q)
    assert said == "0.50 | 0.75 | 1.00 | 0.50 | 0.70"


# -- exercises --------------------------------------------------------------------------------


@given(seed=seeds, first=st.floats(0, 1), second=st.floats(0, 1))
def test_three_networks_in_a_row_answer_as_the_librarys_cascade(seed, first, second):
    rng = np.random.default_rng(seed)
    all_three = [probabilities(rng, 15) for _ in range(3)]
    answers, asked = definition("three", EXERCISES)(*all_three, first, second)
    theirs = cascade([reader(one) for one in all_three], (first, second))
    rows = np.arange(15.0)[:, None]
    np.testing.assert_array_equal(theirs.predict(rows), np.array(theirs.labels)[answers])
    np.testing.assert_allclose(np.cumsum(theirs.counts[::-1])[::-1] / 15, asked)
    assert definition("mean_us", EXERCISES)(asked, [1, 0, 0]) == 1


def test_more_pictures_find_a_difference_more_often():
    p_value = definition("p_value", EXERCISES)
    found = definition("found", EXERCISES, p_value=p_value)
    few, many = found(300, 0.03, 0.01), found(3000, 0.03, 0.01)
    assert few < 0.7 < many
    assert p_value(0, 0) == 1


# -- the whole --------------------------------------------------------------------------------


def test_no_framework_is_loaded():
    everything = "\n".join(cell.source for cell in CODE)
    assert not any(word in everything for word in ("keras", "tensorflow", "to_litert", "distill("))


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "mistakes = {", "raw = np.concatenate", "def symptoms(", 'Markdown("\\n".join(lines))')
    assert all(any(words in cell.source for words in giveaways) for cell in folded)
    assert len(folded) == 9
    assert all("measured" not in tags(cell) for cell in folded)

"""What lesson 04 computes by hand, held against independent ways; what it draws and says, from frozen results."""

import ast
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import bernoulli, norm
from sklearn.linear_model import LogisticRegression

from inferkit import course, plots
from inferkit.widgets import LiveFigure
from notebooks.source import SOURCES, read

SOURCE = SOURCES / "04_one_answer_or_a_distribution.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]


def cell_with(text: str) -> str:
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if text in cell.source]
    return str(found)


def run(space: dict[str, Any], *texts: str) -> dict[str, Any]:
    """Run the cells that hold these texts in a copy of a namespace."""
    space = {"print": lambda *_: None, "Markdown": str} | space
    for text in texts:
        exec(cell_with(text), space)
    return space


@pytest.fixture(scope="module")
def lesson() -> dict[str, Any]:
    """Give the lesson up to its exact answer: no figure, no PyMC."""
    return run(
        {"plt": plt, "COLOURS": plots.COLOURS, "slide_size": plots.slide_size},
        "X, benign = load_tumours", "three = X[unseen", "WIDTH = np.array", "def climb(", "top.round(2)",
        "def thousand(", "def exact(", "by_models = sigmoid", "def served(",
    )  # fmt: skip


# -- the story --------------------------------------------------------------------------------------


def test_the_three_are_what_the_text_says(lesson):
    """A and B are told 70 %, are strangers and malignant; nobody in the archive has a texture like B's."""
    assert [f"{p:.0%}" for p in lesson["told"]] == ["70%", "70%", "95%"]
    places = lesson["unseen"][[151, 161, 95]]
    assert not set(places) & set(lesson["archive"])
    assert lesson["label"][places].tolist() == ["malignant"] * 3
    assert len(lesson["archive"]) == 40
    assert not set(lesson["archive"]) & set(lesson["unseen"])
    assert lesson["three"][1, 1] < 0.85 * lesson["X"][lesson["archive"], 1].min()


def test_the_columns_are_the_ones_that_are_named():
    from inferkit.datasets import load_tumours

    tumours = load_tumours()
    assert list(tumours.feature_names[:2]) == ["mean radius", "mean texture"]
    assert list(tumours.target_names) == ["malignant", "benign"]


# -- by hand ------------------------------------------------------------------------------------------


def test_the_height_of_the_hill_is_likelihood_times_prior(lesson):
    """Up to a constant, which the difference of two heights does not see."""
    W = np.random.default_rng(0).normal(size=(5, 3))
    found = lesson["log_posterior"](W, lesson["Z"], lesson["y"], lesson["WIDTH"])
    expected = [
        bernoulli.logpmf(lesson["y"], 1 / (1 + np.exp(-lesson["Z"] @ w))).sum()
        + norm.logpdf(w, 0, lesson["WIDTH"]).sum()
        for w in W
    ]
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-9)


@pytest.mark.parametrize("patients", [10, 40, 400])
def test_the_climb_ends_at_the_top_and_the_bell_is_as_curved(lesson, patients):
    known = lesson["order"][:patients]
    Z, y, width = lesson["rows"](lesson["X"][known], lesson["X"][known]), lesson["sick"][known], lesson["WIDTH"]
    top, spread = lesson["climb"](Z, y, width)

    def slope(w):
        return approx_fprime(w, lambda w: lesson["log_posterior"](w[None], Z, y, width)[0], 1e-6)

    np.testing.assert_allclose(slope(top), 0, atol=2e-3)
    curvature = -np.array([(slope(top + 0.02 * e) - slope(top - 0.02 * e)) / 0.04 for e in np.eye(3)])
    np.testing.assert_allclose(curvature @ spread, np.eye(3), atol=0.03)


def test_the_top_is_scikit_learns_model(lesson):
    """With no prior on the first weight, as there, to the last digits that its solver gives."""
    Z, y = lesson["Z"], lesson["y"]
    top, _ = lesson["climb"](Z, y, np.array([1e4, 2.5, 2.5]))
    theirs = LogisticRegression(C=2.5**2, tol=1e-10).fit(Z[:, 1:], y)
    np.testing.assert_allclose(top, [theirs.intercept_[0], *theirs.coef_[0]], rtol=1e-4)


def test_the_mesh_is_the_posterior(lesson):
    """Against draws from a wider bell, weighed: 200,000 of them leave an error of some 0.002."""
    Z, y, width = lesson["Z"], lesson["y"], lesson["WIDTH"]
    top, spread = lesson["climb"](Z, y, width)
    rng = np.random.default_rng(1)
    root = 1.6 * np.linalg.cholesky(spread)
    steps = rng.standard_normal((200_000, 3))
    W = top + steps @ root.T
    log_weight = lesson["log_posterior"](W, Z, y, width) + (steps**2).sum(axis=1) / 2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    for z, p in zip(lesson["Z_three"], lesson["by_models"], strict=True):
        other = 1 / (1 + np.exp(-W @ z))
        assert p @ lesson["weight"] == pytest.approx(other @ weight, abs=0.01)
        q = [0.05, 0.5, 0.95]
        np.testing.assert_allclose(
            lesson["quantile"](p, lesson["weight"], q), lesson["quantile"](other, weight, q), atol=0.02
        )


@given(seed=st.integers(0, 999), n=st.integers(1, 40), q=st.floats(0.01, 0.99))
def test_a_quantile_of_equal_weights_is_numpys(lesson, seed, n, q):
    p = np.random.default_rng(seed).random(n)
    expected = np.quantile(p, q, method="inverted_cdf")
    found = lesson["quantile"](p, np.full(n, 1 / n), q)
    near = np.sort(p)[np.clip(np.searchsorted(np.sort(p), expected) + np.array([-1, 0, 1]), 0, n - 1)]
    exactly = abs(q * n - round(q * n)) < 1e-9  # on a step, rounding decides
    assert found in near if exactly else found == expected


def test_laplace_draws_have_the_bells_mean_and_spread(lesson):
    some = np.concatenate([lesson["thousand"](lesson["top"], lesson["spread"]) for _ in range(50)])
    scatter = np.sqrt(np.diag(lesson["spread"]))
    np.testing.assert_allclose((some.mean(axis=0) - lesson["top"]) / scatter, 0, atol=0.03)
    np.testing.assert_allclose(np.cov(some.T) / np.outer(scatter, scatter),
                               lesson["spread"] / np.outer(scatter, scatter), atol=0.03)  # fmt: skip


def test_what_is_served_answers_as_by_hand(lesson):
    strangers = lesson["X"][lesson["unseen"]]
    scores = lesson["rows"](strangers, lesson["X"][lesson["archive"]]) @ lesson["some"].T
    p = 1 / (1 + np.exp(-scores))
    served = lesson["served"](lesson["some"])
    np.testing.assert_allclose(served(strangers)[:, 1], p.mean(axis=1))
    np.testing.assert_allclose(served.predict_interval(strangers)[:, 1], np.quantile(p, [0.05, 0.95], axis=1).T)
    assert served.classes == ("benign", "malignant")


# -- figures ------------------------------------------------------------------------------------------


@pytest.fixture
def drawing(lesson):
    plots.use_style()
    yield run(lesson, "everywhere = np", "def map_figure(", "def stacked(", "def dots_figure(", "def mark_guess(")
    plt.close("all")


EVEN = (np.arange(100) + 0.5) / 100  # a hundred models, all as likely
FROZEN = {"A": (0.7, 0.5 + 0.4 * EVEN, np.full(100, 0.01)), "B": (0.7, EVEN, np.full(100, 0.01))}


def test_each_patient_has_twenty_dots_an_interval_and_the_point(drawing):
    (ax,) = drawing["dots_figure"](FROZEN).axes
    for row, (one, p, _) in enumerate(FROZEN.values()):
        dots, interval, point = ax.lines[3 * row : 3 * row + 3]
        assert set(interval.get_ydata()) == {-row}
        assert len(dots.get_xdata()) == 20
        np.testing.assert_allclose(np.sort(dots.get_xdata()), np.quantile(p, EVEN[2::5]), atol=0.02)
        assert len(set(zip(*dots.get_data(), strict=True))) == 20, "no dot hides another"
        np.testing.assert_allclose(interval.get_xdata(), np.quantile(p, [0.05, 0.95]), atol=0.01)
        assert point.get_xdata()[0] == one
    assert [text.get_text() for text in ax.texts] == ["A  52% to 88%", "B  4% to 94%"]


def test_the_guess_is_marked_in_the_row_of_b_and_only_if_there_is_one(drawing):
    assert len(drawing["dots_figure"](FROZEN).axes[0].lines) == 6
    mark = drawing["dots_figure"](FROZEN, 35).axes[0].lines[-1]
    assert mark.get_xydata().tolist() == [[0.35, -1.0]]


def test_no_label_lies_on_a_dot(drawing, lesson):
    answers = {
        n: (one, p, lesson["weight"]) for n, one, p in zip("ABC", lesson["told"], lesson["by_models"], strict=True)
    }
    fig = drawing["dots_figure"](answers)
    fig.draw_without_rendering()
    (ax,) = fig.axes
    dots = np.concatenate([ax.transData.transform(line.get_xydata()) for line in ax.lines[::3]])
    for text in ax.texts:
        box = text.get_window_extent().padded(6)
        assert not any(box.contains(*dot) for dot in dots), text.get_text()


def test_the_map_shows_who_is_known_and_who_is_asked(drawing):
    fig = drawing["map_figure"](drawing["everywhere"][:, 0], [12, 18], "%.0f")
    (ax,) = fig.axes
    benign, malignant, *three = ax.lines
    assert len(benign.get_xdata()) + len(malignant.get_xdata()) == 40
    assert [line.get_xydata()[0].tolist() for line in three] == drawing["three"].tolist()
    assert {"A", "B", "C", "benign", "malignant"} <= {text.get_text() for text in ax.texts}
    lines = [path.vertices for path in ax.collections[0].get_paths()]
    for level, line in zip((12, 18), lines, strict=True):
        np.testing.assert_allclose(line[:, 0], level)


# -- what the distribution adds -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def hospitals(lesson):
    space = dict(lesson)
    exec(cell_with("def hospital(").replace("range(20)", "range(2)"), space)
    return run(space, "def log_loss(", "def choose(", "def worth_knowing(", "def came_true(")


def test_a_hospitals_point_model_is_scikit_learns(hospitals):
    order = np.random.default_rng(1).permutation(569)
    archive, unseen = order[:50], order[400:]
    X, y = hospitals["X"], hospitals["sick"]
    scaled = (X - X[archive].mean(axis=0)) / X[archive].std(axis=0)
    theirs = LogisticRegression(C=2.5**2).fit(scaled[archive], y[archive]).predict_proba(scaled[unseen])[:, 1]
    true, free, top, mean = hospitals["hospital"](1, 50)
    assert (true == y[unseen]).all()
    np.testing.assert_allclose(top, theirs, atol=0.01)
    assert np.abs(free - 0.5).mean() > np.abs(top - 0.5).mean(), "with hardly a prior it is surer"
    assert 0 < abs(mean - top).max() < 0.2


def test_log_loss_of_a_coin_and_of_certainty(hospitals):
    true = np.array([0, 1, 1])
    assert hospitals["log_loss"](true, np.full(3, 0.5)) == pytest.approx(np.log(2))
    assert hospitals["log_loss"](true, np.array([0.1, 0.9, 0.8])) == pytest.approx(-np.log([0.9, 0.9, 0.8]).mean())


@given(p=st.floats(0, 1))
def test_what_is_chosen_costs_least(hospitals, p):
    costs = [20 * p, 4 * (1 - p), 1.0]
    (chosen,) = hospitals["choose"](np.array([p]))
    assert costs[chosen] == pytest.approx(min(costs))
    (forced,) = hospitals["choose"](np.array([p]), 2)
    assert costs[forced] == pytest.approx(min(costs[:2]))


def test_the_thresholds_are_those_in_the_text(hospitals):
    p = np.array([0.049, 0.051, 0.749, 0.751])
    assert hospitals["choose"](p).tolist() == [0, 2, 2, 1]
    assert hospitals["choose"](np.array([0.166, 0.167]), 2).tolist() == [0, 1]


def test_knowing_is_worth_what_it_saves(hospitals):
    worth = hospitals["worth_knowing"]
    half = np.array([0.5, 0.5])
    assert worth(np.array([0.0, 1.0]), half) == (1.0, 1.0)  # ask for 1, or know and pay nothing
    assert worth(np.array([0.3, 0.3]), half) == (1.0, 0.0)
    assert worth(np.array([0.0, 0.1]), half) == pytest.approx((1.0, 0.5))
    assert worth(np.array([0.0, 1.0]), np.array([0.9, 0.1])) == pytest.approx((1.0, 1.0))
    assert worth(np.array([0.0, 0.5]), np.array([0.9, 0.1])) == pytest.approx((0.9 * 0 + 0.1 * 10, 0.9))
    rng = np.random.default_rng(0)
    for p in rng.beta(1, 2, (50, 30)):
        now, saved = worth(p, np.full(30, 1 / 30))
        assert -1e-12 <= saved <= now <= 1


def test_what_came_true_is_counted_among_those_who_were_told_so(hospitals):
    cases = [(np.array([1, 0]), np.array([0.95, 0.2])), (np.array([0, 1]), np.array([0.99, 0.89]))]
    told, true, of = hospitals["came_true"](1, cases, 0.9, 1.1)
    assert (told, true, of) == (pytest.approx(0.97), 0.5, 2)
    assert hospitals["came_true"](1, cases, 0.2, 0.95) == (pytest.approx(0.545), 0.5, 2)


@pytest.mark.parametrize(("true", "verdict"), [(0.5, "does not hold"), (0.97, "holds")])
def test_the_verdicts_follow_what_was_measured(true, verdict):
    class Result:
        mean_cost, abstained = (0.6, 0.5) if true > 0.9 else (1.2, 0.5)

    space = {
        "np": np,
        "came_true": lambda *_: (0.98, true, 10),
        "hospitals": {20: None},
        "result": Result,
        "both": verdict,
    }
    shown = []
    exec(cell_with("verdicts = {"), space | {"Markdown": shown.append})
    lines = shown[0].splitlines()[2:]
    assert len(lines) == 4
    assert all(f"| {verdict}" in line for line in lines)


# -- play and break -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def play(lesson):
    return run(lesson, "def stacked(", "def doubt(", "def drawn_doubt(")


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_stacked_dots_stand_where_they_were_and_hide_none(play, p):
    places, heights = play["stacked"](np.array(p))
    assert len(set(zip(places, heights, strict=True))) == len(p)
    assert np.abs(places - p).max() <= 0.0125 + 1e-12
    assert 0 <= heights.min() <= heights.max() < 0.75


@pytest.mark.parametrize("patients", [10, 20, 40, 80, 160, 400])
@pytest.mark.parametrize("prior_width", [0.01, 0.3, 2.5, 10])
def test_every_place_of_the_sliders_can_be_drawn(play, prior_width, patients):
    parts = play["drawn_doubt"](prior_width, patients)
    assert [part.kind for part in parts] == ["points", "points", "text"] * 3
    for row, (m, s) in enumerate(zip(*play["doubt"](prior_width, patients), strict=True)):
        dots, interval, said = parts[3 * row : 3 * row + 3]
        spread = 1 / (1 + np.exp(-norm.ppf((np.arange(20) + 0.5) / 20, m, s)))
        np.testing.assert_allclose(dots.x, spread, atol=0.013)
        assert (np.floor(dots.y) == 2 - row).all(), "in the patient's own row"
        ends = 1 / (1 + np.exp(-norm.interval(0.9, m, s)[0])), 1 / (1 + np.exp(-norm.interval(0.9, m, s)[1]))
        np.testing.assert_allclose((interval.low[0], interval.high[0]), ends, atol=1e-4)
        assert said.words == f"{1 / (1 + np.exp(-m)):.0%}, {ends[0]:.0%} to {ends[1]:.0%}"


def test_the_widget_shows_what_the_text_says_of_it(play):
    """A narrow prior says 50 % to everybody; patients narrow the doubt; few and a wide prior let B be anything."""
    assert {part.words for part in play["drawn_doubt"](0.01, 40)[2::3]} == {"50%, 49% to 51%"}
    spreads = [play["doubt"](2.5, n)[1][0] for n in (10, 40, 400)]
    assert spreads == sorted(spreads, reverse=True)
    assert np.ptp(play["drawn_doubt"](10, 10)[3].x) > 0.9


def test_the_widget_can_be_made(play):
    figure = run(play | {"LiveFigure": LiveFigure}, "play = LiveFigure(")["play"]
    figure.set(patients=400)
    assert figure.error is None
    assert figure.alt.startswith("400 patients: the doubt about A is 71%")
    figure.close()


@pytest.fixture(scope="module")
def broken(lesson):
    from inferkit.bayes import CompiledPosterior

    rng = np.random.default_rng(0)
    drawn = lesson["W"][rng.choice(len(lesson["W"]), 1000, p=lesson["weight"])]
    return run(lesson | {"drawn": drawn, "CompiledPosterior": CompiledPosterior}, "given = {")


def test_each_fault_has_its_symptom_and_no_other_has_it(broken):
    strangers, sick, three = broken["X"][broken["unseen"]], broken["sick"][broken["unseen"]], broken["three"]
    p = {name: model(strangers)[:, 1] for name, model in broken["given"].items()}
    right = {name: np.mean((q > 0.5) == sick) for name, q in p.items()}
    wide = {name: np.ptp(model.predict_interval(three)[:, 1]) for name, model in broken["given"].items()}
    width = {n: np.diff(m.predict_interval(three)[:, 1]).max() for n, m in broken["given"].items()}
    assert set(p) == {"as it should be", "ash", "holly", "larch", "maple"}
    assert {n for n, q in p.items() if np.ptp(q) < 0.02} == {"ash", "holly"}
    assert {n for n, q in p.items() if q.min() > 0.99} == {"holly"}
    assert {n for n, share in right.items() if share < 0.25} == {"larch"}
    assert {n for n, w in width.items() if w < 0.01} == {"ash", "holly", "maple"}
    assert abs(right["maple"] - right["as it should be"]) < 0.02
    assert wide["as it should be"] > 0.5
    np.testing.assert_allclose(p["larch"], 1 - p["as it should be"])


def test_naming_the_faults_passes_and_a_blank_does_not(capsys):
    right = {
        "ash": "prior too narrow", "holly": "scale forgotten",
        "larch": "classes swapped", "maple": "averaged too early",
    }  # fmt: skip
    for suspicion, marks in ((right, "✓✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗✗"), (right | {"ash": "x"}, "✗✓✓✓")):
        exec(cell_with("faults = {"), {"suspicion": suspicion, "course": course})
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks
    (names,) = [c.source for c in read(SOURCE).cells if c.cell_type == "markdown" and "Name the fault" in c.source]
    assert all(f'"{fault}"' in names for fault in right.values())


# -- the whole ----------------------------------------------------------------------------------------


def test_what_is_compared_rests_on_no_sampler():
    """What holds draws of NUTS is measured, or shows nothing but truths."""
    for cell in CODE:
        if "nuts" in cell.source and "measured" not in cell.metadata.get("tags", []):
            shown = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Call) and _is(n, "print")]
            assert shown or "Markdown" not in cell.source
            assert not any(isinstance(part, ast.FormattedValue) and part.format_spec for n in shown
                           for part in ast.walk(n))  # fmt: skip


def _is(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == name


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "faults = {", "given = {")
    assert all(any(text in cell.source for text in giveaways) for cell in folded)
    assert len(folded) == 7

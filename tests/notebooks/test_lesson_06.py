"""What lesson 06 does by hand, held against the library and against what must be so; its figures."""

import ast

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit import course, plots
from inferkit.datasets import make_signs
from inferkit.predictor import Predictor, sign_reader
from inferkit.uncertainty import ConformalPredictor
from inferkit.uncertainty._scores import threshold
from notebooks.source import SOURCES, read, tags

SOURCE = SOURCES / "06_uncertainty_at_serving_speed.py"
CODE = [cell for cell in read(SOURCE).cells if cell.cell_type == "code"]
RESULTS = {  # as in the built lesson
    "one network": (0.838, 0.96), "temperature": (0.910, 1.22), "conformal": (0.909, 1.23),
    "ensemble of 5": (0.964, 1.18), "ensemble, conformal": (0.911, 0.98), "dropout, cut": (0.887, 1.12),
    "dropout, Keras": (0.887, 1.12), "Bayes, compiled": (0.912, 1.22), "Bayes, PyMC": (0.912, 1.22),
}  # fmt: skip
US = {
    "one network": 17, "temperature": 22, "conformal": 64, "ensemble of 5": 173, "ensemble, conformal": 220,
    "dropout, cut": 426, "dropout, Keras": 30_000, "Bayes, compiled": 97, "Bayes, PyMC": 75_000,
}  # fmt: skip


def cell_with(text):
    """Return the code of the only cell that holds a text."""
    (found,) = [cell.source for cell in CODE if text in cell.source]
    return found


def functions(*texts, **names):
    """Return what the cells with these texts define."""
    space = {"np": np, "plt": plt, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS, **names}
    for text in texts:
        exec(cell_with(text), space)
    return space


def definition(name, **names):
    """Return one function of the lesson, without what else stands in its cell."""
    (node,) = [
        node
        for cell in CODE
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    space = {"np": np, "plt": plt, "slide_size": plots.slide_size, "COLOURS": plots.COLOURS, **names}
    exec(ast.unparse(node), space)
    return space[name]


BELIEVED, COUNTED, JUDGED, TEMPERED, SOFTMAX, APART = map(
    definition, ("believed", "counted", "judged", "tempered", "softmax", "apart")
)


def some_rows(seed, n=200, k=12):
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.3), n)


# -- limits ------------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), asked=st.floats(0.05, 0.95))
def test_the_believed_limit_promises_what_was_asked_and_hardly_more(seed, asked):
    """What lies inside adds up to it; without the least likely sign inside it does not."""
    p = some_rows(seed)
    t = BELIEVED(p, asked)
    promised = p[p >= t].sum() / len(p)
    assert promised >= asked - 1e-9
    assert promised - t / len(p) < asked


@given(seed=st.integers(0, 999), n=st.integers(30, 300), asked=st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_the_counted_limit_is_the_librarys(seed, n, asked):
    p, y = some_rows(seed, n), np.random.default_rng(seed).integers(12, size=n)
    scores = np.sort(1 - p[np.arange(n), y])
    assert COUNTED(p, y, asked) == pytest.approx(1 - threshold(scores, asked), abs=1e-12)


def test_counted_sets_are_the_conformal_predictors():
    reader = sign_reader("signs-small-1")
    X, y = make_signs(240, random_state=1)
    new, _ = make_signs(120, random_state=2)
    library = ConformalPredictor(reader).fit(X, np.array(reader.labels)[y])
    ours = reader.predict_proba(new) >= COUNTED(reader.predict_proba(X), y)
    np.testing.assert_array_equal(library.predict_set(new), ours)


def test_sets_are_judged_by_the_truth_inside_and_their_size():
    sets = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    assert JUDGED(sets, np.array([0, 1, 2, 0])) == (0.5, 1.5)


@given(seed=st.integers(0, 99), hot=st.floats(0.5, 3))
def test_a_temperature_divides_the_logits_and_changes_no_answer(seed, hot):
    scores = np.random.default_rng(seed).normal(0, 2, (20, 5))
    p = TEMPERED(SOFTMAX(scores), hot)
    np.testing.assert_allclose(p, SOFTMAX(scores / hot), atol=1e-6)
    assert (p.argmax(axis=1) == scores.argmax(axis=1)).all()


# -- doubt -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def end():
    rng = np.random.default_rng(0)
    space = {"W1": rng.normal(size=(8, 6)), "b1": rng.normal(size=6), "W2": rng.normal(size=(6, 3)), "b2": np.zeros(3)}
    return definition("end", softmax=SOFTMAX, **space), space


def test_nothing_forgotten_is_two_dense_layers(end):
    answer, w = end
    h = np.random.default_rng(1).normal(size=(5, 8))
    features = np.where(h @ w["W1"] + w["b1"] > 0, h @ w["W1"] + w["b1"], 0)
    scores = np.exp(features @ w["W2"])
    np.testing.assert_allclose(answer(h), scores / scores.sum(axis=1, keepdims=True))


def test_both_layers_forget(end):
    """If all is forgotten, nothing but the last intercepts is left, and these are 0: three equal shares."""
    answer, _ = end
    np.testing.assert_allclose(answer(np.ones((2, 8)), forget=np.zeros_like), 1 / 3)


def test_forgetting_drops_one_in_ten_and_keeps_the_sum():
    """Each pass forgets at both places; of a million ones 100,000 become 0 (sd 300), and the mean stays 1."""
    seen = []

    def end(h, forget):
        seen.append(forget(np.ones((1000, 1000))))
        return h

    forgetful = definition("forgetful", end=end)
    forgetful(np.zeros((1, 3)), n=2)
    assert abs((seen[0] == 0).mean() - 0.1) < 0.002
    assert seen[0].max() == pytest.approx(1 / 0.9)
    assert abs(seen[0].mean() - 1) < 0.002
    assert (seen[0] != seen[1]).any()


def test_the_forgetful_mean_is_the_same_twice(end):
    forgetful = definition("forgetful", end=end[0])
    h = np.random.default_rng(2).normal(size=(4, 8))
    np.testing.assert_array_equal(forgetful(h), forgetful(h))
    assert np.abs(forgetful(h) - end[0](h)).max() > 1e-3


@pytest.fixture(scope="module")
def pictures():
    """1,200 rows of 24 features, of which the first has no effect, and signs drawn from known weights."""
    rng = np.random.default_rng(5)
    Z = rng.normal(size=(1200, 24))
    p = SOFTMAX(0.7 * Z @ np.vstack([np.zeros(12), rng.normal(size=(23, 12))]))
    return {"Z_known": Z, "known_y": np.array([rng.choice(12, p=row) for row in p]), "softmax": SOFTMAX}


@pytest.mark.parametrize("prior", [0.2, 1.0])
def test_the_nearest_normal_is_where_slope_and_curvature_come_to_rest(pictures, prior):
    """Its two equations, with draws of our own: no slope in the mean, and a precision that is the mean curvature."""
    mean, sd = definition("nearest_normal", **pictures)(prior)
    A, Y = np.column_stack([np.ones(1200), pictures["Z_known"]]), np.eye(12)[pictures["known_y"]]
    slope, curvature = np.zeros(mean.shape), np.zeros(mean.shape)
    for w in mean + sd * np.random.default_rng(9).normal(size=(1000, 25, 12)):
        P = SOFTMAX(A @ w)
        slope += (A.T @ (Y - P) - w / prior**2) / 1000
        curvature += ((A**2).T @ (P * (1 - P)) + 1 / prior**2) / 1000
    assert np.abs(slope * sd).mean() < 0.15  # in standard deviations of a weight
    np.testing.assert_allclose(sd, curvature**-0.5, rtol=0.1)


def test_a_wider_prior_leaves_more_doubt(pictures):
    fit = definition("nearest_normal", **pictures)
    assert fit(0.3, steps=300)[1].mean() < fit(1.0, steps=300)[1].mean() < fit(3.0, steps=300)[1].mean()


@pytest.mark.rotated
def test_pymc_finds_the_same_normal(pictures):
    """ADVI with noise of its own: on average a third of a standard deviation away at most; another prior is farther."""
    import warnings

    import pymc as pm

    from inferkit.bayes import InferenceWarning, sample

    space = {"pm": pm, "Z_known": pictures["Z_known"], "known_y": pictures["known_y"]}
    (model,) = [cell.source for cell in CODE if "with pm.Model() as last_layer" in cell.source]
    exec(model[model.index("with pm.Model") :], space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        found = sample(space["last_layer"], method="advi", draws=2000, steps=8000, random_state=1, progress=False)
    coef = found["posterior"]["coef"].values[0]
    fit = definition("nearest_normal", **pictures)
    (mean, sd), (other, _) = fit(), fit(0.5)
    away = [np.abs(coef.mean(axis=0) - m[1:]).mean() / sd[1:].mean() for m in (mean, other)]
    assert away[0] < 0.33 < away[1]
    np.testing.assert_allclose(coef.std(axis=0).mean(), sd[1:].mean(), rtol=0.15)


# -- figures -----------------------------------------------------------------------------------


@given(places=st.lists(st.floats(0, 10), min_size=1, max_size=8).map(sorted), gap=st.floats(0.1, 2))
def test_labels_move_apart_and_keep_their_order(places, gap):
    moved = APART(places, gap)
    assert (np.diff(moved) >= gap - 1e-9).all()
    if len(places) < 2 or np.diff(places).min() >= gap:
        np.testing.assert_allclose(moved, places, atol=1e-9)


@pytest.fixture
def drawing():
    plots.use_style()
    draw = functions(
        "def apart(", "def draw_way(", "def coverage_figure(", truth=np.zeros(4800)
    )["coverage_figure"]  # fmt: skip
    yield lambda: draw(US, RESULTS, (17 / 7, 75_000 * 5))
    plt.close("all")


def test_each_way_stands_at_its_time_and_its_coverage_with_its_interval(drawing):
    (ax,) = drawing().axes
    bars = {bar[0].get_xdata()[0]: bar for bar in ax.containers}
    assert set(bars) == set(US.values())
    for name, (kept, _) in RESULTS.items():
        dot, _, (span,) = bars[US[name]]
        assert dot.get_ydata()[0] == kept
        assert dot.get_marker() == ("s" if "conformal" in name else "o")
        (_, low), (_, high) = span.get_segments()[0]
        assert (low + high) / 2 == pytest.approx(kept)
        assert high - kept == pytest.approx(1.96 * np.sqrt(kept * (1 - kept) / 4800))
    broken = {plots.COLOURS["orange"]}
    assert {bars[US[name]][0].get_color() for name in ("one network", "ensemble of 5")} == broken
    assert not broken & {bars[US[name]][0].get_color() for name in ("conformal", "temperature")}


def test_no_two_labels_overlap_and_each_belongs_to_its_point(drawing):
    fig = drawing()
    fig.draw_without_rendering()
    texts = fig.axes[0].texts
    named = {" ".join(text.get_text().split("\n")[:-1]): text for text in texts}
    assert {name: tuple(text.xy) for name, text in named.items()} == {n: (US[n], RESULTS[n][0]) for n in RESULTS}
    windows = [plt.Text.get_window_extent(text) for text in texts]  # of the words, without the line to the point
    assert [(a, b) for i, a in enumerate(windows) for b in windows[:i] if a.overlaps(b)] == []


def test_every_line_of_the_evening_has_a_colour():
    looks = functions("LOOKS = {")["LOOKS"]
    assert set(looks) == set(RESULTS) - {"dropout, Keras", "Bayes, PyMC"}
    for name, colour in looks.items():
        assert colour in plots.COLOURS, name


# -- play --------------------------------------------------------------------------------------


def test_the_widget_answers_with_coverage_size_and_words():
    p, y = some_rows(3, 400), np.random.default_rng(3).integers(12, size=400)
    names = np.array([f"sign {k}" for k in range(12)])
    space = functions(
        "known_lines = [", "def ask(", believed=BELIEVED, counted=COUNTED, judged=JUDGED, p=p, p_known=p, known_y=y,
        truth=y, names=names, t=0.3,
    )  # fmt: skip
    parts = {part.label: part for part in space["ask"](0.8, "counted")}
    kept, size = JUDGED(p >= COUNTED(p, y, 0.8), y)
    assert parts["kept"].words == f"{kept:.1%}"
    assert parts["signs in a set"].words == f"{size:.2f}"
    assert (parts["you"].x[0], parts["you"].y[0]) == (0.8, kept)
    i = np.flatnonzero((p >= space["t"]).sum(axis=1) == 2)[2]  # the last of three
    inside = names[p[i] >= COUNTED(p, y, 0.8)]
    assert parts[f"a picture of {names[y[i]]}"].words == (" or ".join(inside) or "none")


# -- break it ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counts():
    reader = sign_reader("signs-small-1")
    known, known_y = make_signs(1200, random_state=61)
    p_known = reader.predict_proba(known)
    space = {"make_signs": make_signs, "reader": reader, "known": known, "known_y": known_y, "p_known": p_known}
    return functions("counts = {", **space)["counts"], COUNTED(p_known, known_y)


def test_each_mistake_has_its_symptom_and_no_other(counts):
    found, honest = counts
    right = {name: (q.argmax(axis=1) == y).mean() for name, (q, y) in found.items()}
    limits = {name: COUNTED(q, y) for name, (q, y) in found.items()}
    assert right["ash"] > 0.99
    assert limits["ash"] > 0.9 > honest, "it promises with a limit that fresh pictures do not reach"
    assert right["hazel"] < 0.15
    assert limits["hazel"] < 0.001
    assert 0.5 < right["rowan"] < 0.8
    assert limits["hazel"] < limits["rowan"] < honest


def test_naming_the_mistakes_passes_and_a_blank_does_not(capsys):
    right = {"ash": "counted at school", "hazel": "answers out of order", "rowan": "counted at dusk"}
    for suspicion, marks in ((right, "✓✓✓"), (dict.fromkeys(right, ...), "✗✗✗"), (right | {"ash": "x"}, "✗✓✓")):
        functions("mistakes = {", suspicion=suspicion, course=course)
        assert "".join(line[0] for line in capsys.readouterr().out.splitlines()) == marks


# -- the whole ---------------------------------------------------------------------------------


def test_frameworks_are_imported_where_they_are_needed_and_not_before():
    first = {}
    for place, cell in enumerate(CODE):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
                for name in names:
                    first.setdefault(name.partition(".")[0], place)
    places = {name: next(i for i, cell in enumerate(CODE) if text in cell.source) for name, text in (
        ("keras", "to_litert(keras.Model("), ("pymc", "with pm.Model() as last_layer"),
    )}  # fmt: skip
    assert {name: first[name] for name in places} == places


def test_what_gives_answers_away_is_folded_and_nothing_that_is_taught():
    folded = [cell for cell in CODE if cell.metadata.get("jupyter", {}).get("source_hidden")]
    giveaways = ("course.quiz(", "mistakes = {", "counts = {", "heads = ")
    assert all(any(text in cell.source for text in giveaways) for cell in folded)
    assert len(folded) == 8
    assert all("measured" not in tags(cell) for cell in folded)


def test_a_predictor_from_the_trunk_answers_with_names():
    reader = sign_reader("signs-small-1")
    make = definition(
        "from_trunk", reader=reader, Predictor=Predictor, names=np.array(reader.labels), trunk=reader.backend.model
    )(lambda p: p)
    X, _ = make_signs(12, random_state=3)
    np.testing.assert_array_equal(make.predict(X), reader.predict(X))

"""What lesson 05 computes by hand, held against joint normal distributions, quadrature and known chains."""

import ast
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from inferkit import plots
from inferkit.datasets import load_clinics
from notebooks.source import ROOT, SOURCES, read

NAME = "05_bayesian_inference_in_practice"
CODE = [cell.source for cell in read(SOURCES / f"{NAME}.py").cells if cell.cell_type == "code"]
CLINICS = load_clinics()
CLINIC, X = CLINICS.data[:, 0].astype(int), CLINICS.data[:, 1] / 10
Y, TRUTH = CLINICS.target, CLINICS.truth.clinic_slope


def run(*texts, **names):
    """Run the cells that hold these texts, each the only one, and return what they have defined."""
    space = {"np": np, "plt": plt, "clinic": CLINIC, "x": X, "y": Y, **names}
    for text in texts:
        (found,) = [source for source in CODE if text in source]
        exec(found, space)
    return space


@pytest.fixture(scope="module")
def exact():
    return run("def lines_of(y)", "def weigh(", "def exact(y")


# -- pooling --------------------------------------------------------------------------------------


def test_own_slopes_are_those_of_least_squares_with_their_standard_errors():
    own, se = run("def slopes(")["slopes"](CLINIC, X, Y, noise=6)
    for c in (0, 9, 23):
        inside = c == CLINIC
        design = np.column_stack([np.ones(inside.sum()), X[inside]])
        assert own[c] == pytest.approx(np.polyfit(X[inside], Y[inside], 1)[0])
        assert se[c] == pytest.approx(6 * np.sqrt(np.linalg.inv(design.T @ design)[1, 1]))


def test_the_pooled_slope_is_the_mean_of_the_product_of_two_bells():
    own, se = np.array([2.0, 9.0, 3.0]), np.array([0.5, 3.0, 1.0])
    pooled, weight = run("def pooled(")["pooled"](own, se, differ=0.9)
    mean = np.average(own, weights=1 / (0.81 + se**2))
    at = np.linspace(-30, 40, 200_001)
    for estimate, b, s, w in zip(pooled, own, se, weight, strict=True):
        product = np.exp(-(((at - b) / s) ** 2 + ((at - mean) / 0.9) ** 2) / 2)
        assert estimate == pytest.approx(product @ at / product.sum(), abs=1e-6)
        assert w == pytest.approx(0.81 / (0.81 + s**2))


# -- the exact posterior --------------------------------------------------------------------------


def marginal(noise, differ):
    """Return the log density of all drops at once, given the spreads: a normal distribution of 600 dimensions."""
    design = np.column_stack([np.ones(600), X])
    same = CLINIC[:, None] == CLINIC
    spread = np.diag(np.square(differ))
    covariance = noise**2 * np.eye(600) + same * (design @ spread @ design.T) + 100 * design @ design.T
    prior = -(np.sum(np.square(differ)) / 25 + noise**2 / 100) / 2
    return multivariate_normal.logpdf(Y, np.zeros(600), covariance) + prior


def test_spreads_are_weighed_as_by_the_joint_distribution_of_all_patients(exact):
    told, places = exact["lines_of"](Y), [(6.0, (2.0, 0.9)), (5.5, (0.3, 2.5)), (6.8, (5.0, 0.1))]
    ours = [exact["weigh"](*told, noise, np.array(differ))[0] for noise, differ in places]
    theirs = [marginal(*place) for place in places]
    assert np.diff(ours) == pytest.approx(np.diff(theirs), abs=1e-6)


def test_lines_given_the_spreads_are_drawn_from_the_joint_normal_distribution(exact):
    """Held against one linear solve for the 24 lines and the mean line.

    That one of 50 means of 4,000 draws is off by 5 standard errors comes by chance once in 35,000 runs.
    """
    noise, differ = 6.0, np.array([2.0, 0.9])
    design = np.zeros((600, 50))
    rows = np.arange(600)
    design[rows, 2 * CLINIC], design[rows, 2 * CLINIC + 1] = 1, X
    precision = design.T @ design / noise**2
    towards = np.kron(np.eye(24), np.eye(2)), np.kron(np.ones((24, 1)), np.eye(2))
    ties = np.hstack([towards[0], -towards[1]])
    precision += ties.T @ np.diag(np.tile(1 / differ**2, 24)) @ ties
    precision[48:, 48:] += np.eye(2) / 100
    mean = np.linalg.solve(precision, design.T @ Y / noise**2)
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    rng, told = np.random.default_rng(1), exact["lines_of"](Y)
    drawn = [exact["draw"](told, noise, differ, rng) for _ in range(4000)]
    found = np.array([np.append(line.ravel(), mu) for mu, _, _, line in drawn])
    assert np.abs((found.mean(axis=0) - mean) / (sd / np.sqrt(4000))).max() < 5
    assert found.std(axis=0) == pytest.approx(sd, rel=0.08)


def test_the_grid_is_wide_enough_to_hold_the_posterior(exact):
    p, _ = exact["exact"](Y, n=1)
    cube = p.reshape(9, 25, 36)
    for axis in range(3):
        along = cube.sum(axis=tuple({0, 1, 2} - {axis}))
        assert max(along[0], along[-1]) < 0.01 * along.max()


def test_the_exact_spread_of_eight_clinics_is_that_of_their_joint_distribution():
    names = run("differs, log_p =", inside=[c == CLINIC for c in range(24)])
    few = CLINIC < 8
    same, x, y = CLINIC[few][:, None] == CLINIC[few], X[few], Y[few] - 4
    places = [100, 300, 700]
    theirs = [
        multivariate_normal.logpdf(y, 3 * x, 36 * np.eye(len(x)) + (same * d**2 + 9) * np.outer(x, x)) - d**2 / 50
        for d in names["differs"][places]
    ]
    assert np.diff(np.log(names["p"][places])) == pytest.approx(np.diff(theirs), abs=1e-6)


# -- chains ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judges():
    return run("def r_hat(")


def test_r_hat_of_chains_apart_is_what_their_variances_say(judges):
    """Two chains of variance 1 around 0 and 4: between the halves' means 16/3, within 1."""
    flat = np.tile([-1.0, 1.0], 50)
    assert judges["r_hat"](np.array([flat, flat])) == pytest.approx(1)
    assert judges["r_hat"](np.array([flat, flat + 4])) == pytest.approx(np.sqrt(1 + 16 / 3))


def test_draws_that_resemble_each_other_are_worth_what_theory_says(judges):
    """Neighbours that correlate by r make n draws worth n (1 - r) / (1 + r)."""
    rng, r = np.random.default_rng(0), 0.8
    chain = rng.normal(size=(8, 20_000))
    for i in range(1, chain.shape[1]):
        chain[:, i] = r * chain[:, i - 1] + np.sqrt(1 - r**2) * chain[:, i]
    assert judges["effective"](chain) == pytest.approx(chain.size / 9, rel=0.15)


def test_the_walker_finds_the_posterior_that_a_grid_gives():
    """The grid is in the spread itself, with its half-normal prior; the walker goes by its logarithm."""
    own, se = run("def slopes(")["slopes"](CLINIC, X, Y)
    names = run("def metropolis(", own=own, se=se)
    means, spreads = np.meshgrid(np.linspace(0, 6, 61), np.linspace(0.02, 6, 150))
    variance = spreads[..., None] ** 2 + se**2
    log_p = -np.sum((own - means[..., None]) ** 2 / variance + np.log(variance), axis=-1) / 2 - spreads**2 / 50
    p = np.exp(log_p - log_p.max())
    walk = names["metropolis"]((3.0, 0.0), 0.5, 20_000, np.random.default_rng(3))
    for places, found in ((means, walk[:, 0]), (spreads, np.exp(walk[:, 1]))):
        mean = np.sum(p * places) / p.sum()
        sd = np.sqrt(np.sum(p * (places - mean) ** 2) / p.sum())
        assert found.mean() == pytest.approx(mean, abs=0.12 * sd)
        assert found.std() == pytest.approx(sd, rel=0.1)


# -- the figure, the fault, the pages ----------------------------------------------------------------


def test_each_arrow_runs_from_the_own_slope_to_the_pooled_one():
    plots.use_style()
    drawing = run("def shrinkage_figure(", slide_size=plots.slide_size, COLOURS=plots.COLOURS, patients=range(24))
    own, estimate, truth = np.arange(24.0), np.arange(24.0) / 2, np.arange(24.0) / 3
    (ax,) = drawing["shrinkage_figure"](own, estimate, truth, 5.0).axes
    assert [(a.xyann[1], a.xy[1]) for a in ax.texts] == list(zip(own, estimate, strict=True))
    centre, *marks = ax.lines
    assert set(centre.get_ydata()) == {5.0}
    assert [mark.get_ydata().tolist() for mark in marks] == [v.tolist() for v in (own, estimate, truth)]
    plt.close("all")


def test_the_broken_clinic_is_the_only_one_whose_scatter_the_model_would_not_make(exact):
    sent = run("y_sent = ", **{k: exact[k] for k in ("exact", "lines_of")})["y_sent"]
    assert set(CLINIC[sent != Y]) == {17}
    (source,) = [source for source in CODE if "exact(y_sent" in source]
    patients = np.bincount(CLINIC)
    space = {**exact, "y_sent": sent, "patients": patients, "rng": np.random.default_rng(0)}
    exec(source, space)
    cells = {int(row.split("|")[1]): [part.strip() for part in row.split("|")] for row in space["rows"]}
    ends = {c: [float(v) for v in parts[7].split(" to ")] for c, parts in cells.items()}
    outside = {c for c, parts in cells.items() if float(parts[6]) < ends[c][0] / 2}
    assert outside == {17}


def test_every_picture_of_the_built_lesson_says_what_it_shows():
    import nbformat

    built = nbformat.read(ROOT / f"{NAME}.ipynb", as_version=4)
    pages = [
        output.data.get("text/html", "")
        for cell in built.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pages) >= 6
    assert all(len(re.findall(r'<img alt="[^"]{20,}"', page)) == 1 for page in pages)


def test_pymc_is_imported_where_it_is_needed_and_not_before():
    first = next(i for i, source in enumerate(CODE) if "import pymc" in source)
    assert not any("inferkit.bayes" in source for source in CODE[:first])
    imported = {
        name.partition(".")[0]
        for source in CODE
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }
    assert imported <= {"numpy", "inferkit", "matplotlib", "IPython", "pymc", "xarray", "warnings"}

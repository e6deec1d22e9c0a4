"""What is wrong with draws: every check has a planted fault it must find, and sound draws it must pass."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from inferkit import InputError
from inferkit.bayes import Diagnosis, InferenceWarning, diagnose, sample
from inferkit.bayes._diagnose import _with_spread
from inferkit.bayes._diagnose_checks import bfmi, k_limit
from inferkit.bayes._diagnose_pareto import efficiency, pareto_k
from inferkit.bayes._pymc import _is_old, attributes, make_idata
from inferkit.bayes._sample_advi import last_gain
from tests.bayes_models import schools


@pytest.fixture(scope="module")
def arviz():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import arviz
    return arviz


def sound(seed: int = 0, chains: int = 4, draws: int = 1000, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(chains, draws, *shape))


def sticky(keep: float, seed: int = 0, draws: int = 1000) -> np.ndarray:
    """Four chains in which a draw keeps so much of the one before."""
    noise = np.random.default_rng(seed).normal(size=(4, draws)) * np.sqrt(1 - keep**2)
    chains = noise.copy()
    for i in range(1, draws):
        chains[:, i] = keep * chains[:, i - 1] + noise[:, i]
    return chains


def look(posterior, sample_stats=None, **attrs) -> Diagnosis:
    return diagnose(make_idata(posterior, sample_stats=sample_stats, attrs=attrs))


def kinds(diagnosis: Diagnosis) -> list[str]:
    return [problem.what for problem in diagnosis.problems]


def energies(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, 1000))


# ---------------------------------------------------------------- sound draws


@pytest.mark.parametrize("seed", range(20))
def test_sound_draws_pass(seed):
    """R-hat of four sound chains of 1,000 exceeds 1.01 less than once in a million numbers; 20 × 5 are looked at."""
    stats_ = {"diverging": np.zeros((4, 1000), dtype=bool), "energy": energies(seed)}
    found = look({"a": sound(seed), "b": sound(100 + seed, shape=(2, 2))}, stats_)
    assert found.ok, str(found)
    assert "no problem found" in str(found)


def test_the_numbers_are_arviz_own(arviz):
    draws = np.stack([sticky(0.5, 1), sticky(0.9, 2), sound(3) ** 3], axis=2)
    rows = look({"x": draws}).parameters
    for i, row in enumerate(rows):
        alone = make_idata({"x": draws[..., i]})
        alone = alone["posterior"].to_dataset() if hasattr(alone["posterior"], "to_dataset") else alone["posterior"]
        assert row.name == f"x[{i}]"
        assert row.rhat == pytest.approx(float(arviz.rhat(alone)["x"]))
        assert row.ess_bulk == pytest.approx(float(arviz.ess(alone, method="bulk")["x"]))
        assert row.ess_tail == pytest.approx(float(arviz.ess(alone, method="tail")["x"]))
        assert (row.mean, row.sd) == pytest.approx((draws[..., i].mean(), draws[..., i].std()))


@given(st.lists(st.lists(st.integers(1, 3), max_size=2), min_size=1, max_size=3))
@settings(deadline=None, max_examples=25)
def test_every_number_has_one_row_with_its_own_mean(shapes):
    draws = {f"v{i}": sound(i, 2, 8, tuple(shape)) for i, shape in enumerate(shapes)}
    rows = look(draws).parameters
    assert len({row.name for row in rows}) == len(rows) == sum(int(np.prod(shape)) for shape in shapes)
    means = np.concatenate([np.ravel(a.mean(axis=(0, 1))) for a in draws.values()])
    np.testing.assert_allclose([row.mean for row in rows], means)


def test_labels_are_the_models_and_only_parameters_are_looked_at():
    idata = make_idata(
        {"theta": sound(shape=(2, 2)), "made": np.zeros((4, 1000))},
        coords={"school": ["A", "B"], "year": [1, 2]}, dims={"theta": ["school", "year"]},
        attrs={"parameters": ["theta"]},
    )  # fmt: skip
    names = [row.name for row in diagnose(idata).parameters]
    assert names == ["theta[A, 1]", "theta[A, 2]", "theta[B, 1]", "theta[B, 2]"]
    assert kinds(diagnose(idata, var_names=["made"])) == ["standing still"]
    with pytest.raises(InputError, match=r"expected variables of the posterior \(theta, made\), got \['mu'\]"):
        diagnose(idata, var_names=["mu"])
    with pytest.raises(InputError, match="expected an InferenceData or DataTree"):
        diagnose(sound())


# ---------------------------------------------------------------- planted faults


def test_chains_that_disagree_are_found():
    apart = sound(shape=(3,))
    apart[0, :, 1] += 2
    found = look({"x": apart})
    problem = next(p for p in found.problems if p.what == "R-hat")
    assert problem.where == "x[1]"
    assert problem.value > 1.1
    assert "The chains disagree about x[1]: R-hat is" in str(found)
    assert "several peaks" in problem.advice


def test_a_chain_with_another_spread_is_found_too():
    """Folded R-hat: the means agree."""
    wide = sound()
    wide[0] *= 4
    assert "R-hat" in kinds(look({"x": wide}))


def test_sticky_chains_are_found():
    found = look({"x": sticky(0.99), "y": sound(5)})
    assert {"bulk ESS", "tail ESS"} <= set(kinds(found))
    problem = next(p for p in found.problems if p.what == "bulk ESS")
    assert problem.where == "x"
    assert problem.value < problem.limit == 400
    assert "The 4,000 draws of x are worth" in problem.words
    assert look({"x": sticky(0.3)}).ok


def test_divergences_are_found():
    diverging = np.zeros((4, 1000), dtype=bool)
    diverging[2, 7] = True
    found = look({"x": sound()}, {"diverging": diverging})
    assert kinds(found) == ["divergences"]
    assert "1 trajectory of 4,000 diverged" in str(found)
    assert "target_accept" in found.problems[0].advice
    diverging[3, 7] = True
    assert "2 trajectories of 4,000 diverged" in str(look({"x": sound()}, {"diverging": diverging}))


def test_an_energy_that_hardly_moves_is_found(arviz):
    energy = energies()
    energy[1] = np.cumsum(energy[1])
    found = look({"x": sound()}, {"energy": energy})
    assert kinds(found) == ["BFMI"]
    assert found.problems[0].where == "chain 1"
    assert bfmi(energy)[1] < 0.1
    np.testing.assert_allclose(bfmi(energy), _arviz_bfmi(arviz, energy), rtol=0.01)
    assert np.isnan(bfmi(np.ones((1, 9)))).all()


def _arviz_bfmi(arviz, energy):
    found = arviz.bfmi(make_idata({"x": sound()}, sample_stats={"energy": energy}))
    return found if isinstance(found, np.ndarray) else np.ravel(found["energy"].values)


@pytest.mark.parametrize(("cut", "ok"), [(0.03, True), (0.2, False)])
def test_trajectories_that_are_cut_off_are_found(cut, ok):
    reached = np.zeros((4, 1000), dtype=bool)
    reached[:, : int(1000 * cut)] = True
    found = look({"x": sound()}, {"reached_max_treedepth": reached})
    assert found.ok == ok
    assert ("20% of the trajectories were cut off" in str(found)) != ok


def test_a_chain_that_stands_still_is_found():
    still = sound()
    still[3] = 0.5
    assert "1 chain never moved x." in str(look({"x": still}))
    assert "4 chains never moved x." in str(look({"x": np.ones((4, 1000))}))


def test_what_is_constant_by_its_making_or_certain_is_no_fault():
    part = sound(shape=(2, 2))
    part[..., 0, 1] = 0  # a triangular matrix
    assert look({"root": part, "count": np.full((4, 1000), 3)}).ok


def test_draws_that_are_not_finite_are_found():
    broken = sound(shape=(2,))
    broken[1, 5, 1] = np.nan
    found = look({"x": broken})
    assert kinds(found)[0] == "not finite"
    assert "1 draw is NaN or infinite, first of x[1]." in str(found)


def test_one_chain_and_few_draws_are_named():
    assert kinds(look({"x": sound(chains=1)})) == ["one chain"]
    assert kinds(look({"x": sound(draws=3)})) == ["few draws"]
    assert kinds(look({"x": sound(chains=1, draws=1)})) == ["one chain", "few draws"]
    assert "bulk ESS" in kinds(look({"x": sound(draws=50)}))


@pytest.mark.rotated
def test_the_centred_eight_schools_are_found_wanting():
    """The funnel of the field's textbook: NUTS diverges in it at its usual settings."""
    with pytest.warns(InferenceWarning, match="diverged"):
        idata = sample(
            schools(centred=True).model, draws=500, tune=500, chains=2, random_state=1, cores=1, progress=False
        )
    problem = next(p for p in diagnose(idata).problems if p.what == "divergences")
    assert problem.value == int(np.sum(idata["sample_stats"]["diverging"].values))
    assert "non-centred" in problem.advice


# ---------------------------------------------------------------- approximations


def test_independent_draws_are_judged_by_their_weights_alone():
    good = look({"x": sound(chains=1)}, inference_method="laplace", pareto_k=0.3, ratio_efficiency=0.9)
    assert good.ok
    assert "they keep 90% of their worth (Pareto k 0.30)" in str(good)
    assert np.isnan(good.parameters[0].rhat)
    bad = look({"x": sound(chains=1)}, inference_method="advi", pareto_k=0.9, ratio_efficiency=0.5)
    assert kinds(bad) == ["Pareto k"]
    alike = look({"x": sound(chains=1)}, inference_method="laplace", pareto_k=2.0, ratio_efficiency=0.99)
    assert alike.ok
    moving = look({"x": sound(chains=1)}, inference_method="advi", pareto_k=0.1, elbo_gain=0.5, elbo_gain_se=0.01)
    assert kinds(moving) == ["ELBO"]
    noisy = look({"x": sound(chains=1)}, inference_method="advi", pareto_k=0.1, elbo_gain=0.5, elbo_gain_se=0.4)
    assert noisy.ok


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(100, 3000), shape=st.floats(0.05, 1.5))
@settings(deadline=None, max_examples=25)
def test_pareto_k_is_arvizs(seed, size, shape):
    import arviz

    assume(_is_old(arviz) or size >= 1000)
    ratios = stats.genpareto(shape).rvs(size, random_state=seed) + 0.1
    log_ratios = np.log(ratios)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _is_old(arviz):
            assert pareto_k(log_ratios) == pytest.approx(float(arviz.psislw(log_ratios)[1]), rel=1e-6)
        else:  # it takes the negative, and fits a tail of another length
            from arviz_stats.base import array_stats

            assert pareto_k(log_ratios) == pytest.approx(float(array_stats.psislw(-log_ratios)[1]), abs=0.1)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.8, 1.2])
def test_pareto_k_finds_the_shape_of_a_pareto_tail(shape):
    """With 100,000 draws the estimate's standard error is about (1 + k) / √900."""
    ratios = stats.genpareto(shape).rvs(100_000, random_state=1)
    assert abs(pareto_k(np.log(ratios)) - shape) < 5 * (1 + shape) / 30


def test_pareto_k_at_its_edges():
    assert pareto_k(np.zeros(1000)) == -np.inf
    assert pareto_k([0.0] * 999 + [np.nan]) == np.inf
    assert np.isnan(pareto_k(np.zeros(10)))
    assert pareto_k(np.r_[np.linspace(-800, -700, 999), 0.0]) > 0.7  # a single draw has all the weight
    assert k_limit(10**6) == 0.7
    assert k_limit(100) == pytest.approx(0.5)


def test_efficiency_is_the_share_of_equal_weights():
    assert efficiency(np.full(50, -3.0)) == pytest.approx(1)
    assert efficiency(np.log([1.0, 1, 0.000001, 0.000001])) == pytest.approx(0.5, abs=1e-3)
    assert efficiency([0, np.nan]) == 0


def test_the_gain_of_the_last_steps():
    rng = np.random.default_rng(0)
    flat = last_gain(50 + rng.normal(size=10_000))
    assert abs(flat["elbo_gain"]) < 5 * flat["elbo_gain_se"]
    assert flat["elbo_gain_se"] == pytest.approx(np.sqrt(2 / 1000), rel=0.1)
    falling = last_gain(np.linspace(100, 0, 10_000))
    assert falling["elbo_gain"] == pytest.approx(10, rel=1e-3)
    assert last_gain(np.array([3.0])) == {"elbo_gain": np.inf, "elbo_gain_se": 0.0}


# ---------------------------------------------------------------- what is shown


def test_the_text_and_the_table_are_the_same_on_every_version():
    draws = np.linspace(-1, 1, 100).reshape(1, 100)
    found = diagnose(
        make_idata({"dose_a": draws}, attrs={"inference_method": "laplace", "pareto_k": 0.25, "ratio_efficiency": 0.5})
    )
    assert str(found) == repr(found) == (
        "laplace, 1 chain of 100 draws: no problem found. An approximation, so its draws are independent; "
        "weighed to be the posterior's, they keep 50% of their worth (Pareto k 0.25)."
    )  # fmt: skip
    assert found._repr_markdown_().endswith(
        "| parameter | mean | sd | R-hat | ESS bulk | ESS tail |\n|---|--:|--:|--:|--:|--:|\n"
        r"| dose\_a | 0.00 | 0.58 | – | – | – |"
    )


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (0.91834, 0.1612, ("0.92", "0.16")),
        (-1e-17, 1.0, ("0.0", "1.0")),
        (12345.6, 120.0, ("12,350", "120")),
        (3.14159, 0.0, ("3.14", "0")),
        (float("nan"), float("nan"), ("–", "–")),
        (5.0, float("inf"), ("5", "∞")),
    ],
)
def test_a_mean_has_the_digits_that_its_spread_allows(mean, sd, shown):
    assert _with_spread(mean, sd) == shown


def test_long_tables_are_cut_and_say_so():
    found = look({"x": sound(draws=100, shape=(40,))})
    assert "10 more, not shown." in found._repr_markdown_()
    assert list(found.to_frame().columns) == ["name", "mean", "sd", "rhat", "ess_bulk", "ess_tail"]
    assert len(found.to_frame()) == 40


def test_attributes_can_be_written_to():
    idata = make_idata({"x": sound()})
    attributes(idata)["inference_method"] = "laplace"
    assert diagnose(idata).method == "laplace"

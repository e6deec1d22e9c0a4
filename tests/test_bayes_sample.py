"""One call, four methods: held against closed forms, grids and themselves."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from scipy.special import logit

from inferkit import InputError
from inferkit.bayes import InferenceWarning, diagnose, sample
from inferkit.bayes import _sample_nuts as nuts_module
from inferkit.bayes._laplace import find_mode
from inferkit.bayes._pymc import attributes, flat_draws, import_pymc, make_idata, posterior_arrays, quiet
from inferkit.bayes._sample_space import Space
from tests.bayes_models import (
    EFFECTS,
    Known,
    coin,
    compared_coin,
    line,
    schools,
    schools_truth,
    weights,
    weights_precision,
)

SURE = 5.0  # standard errors: a sound sampler is further off once in 1.7 million means
ONE = {"cores": 1, "progress": False}


def errors(idata, truth) -> dict[str, np.ndarray]:
    """Return how many Monte Carlo standard errors each mean is off."""
    effective = {row.name: row.ess_bulk for row in diagnose(idata, var_names=list(truth)).parameters}
    if attributes(idata)["inference_method"] in ("advi", "laplace"):
        effective = dict.fromkeys(effective, flat_draws(idata)[next(iter(truth))].shape[0])
    found = {}
    for name, (mean, sd) in truth.items():
        sizes = np.array([n for label, n in effective.items() if label.partition("[")[0] == name])
        off = np.ravel(flat_draws(idata)[name].mean(axis=0) - mean)
        found[name] = off / (np.ravel(sd) / np.sqrt(sizes))
    return found


def assert_spread(idata, truth, within: float) -> None:
    for name, (_, sd) in truth.items():
        np.testing.assert_allclose(flat_draws(idata)[name].std(axis=0), sd, rtol=within)


@pytest.fixture(scope="module")
def the_coin() -> Known:
    return coin()


@pytest.fixture(scope="module")
def the_weights() -> Known:
    return weights()


@pytest.fixture(scope="module")
def coin_draws():
    """Return draws of the coin's posterior by each method."""
    return compared_coin().idatas


FEW = {"draws": 200, "tune": 100, "chains": 3, "cores": 1, "progress": False}


def few(model, **change):
    """Sample less than would do, without being told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        return posterior_arrays(sample(model, **FEW | {"random_state": 1} | change))["p"]


@pytest.fixture(scope="module")
def few_nuts(the_coin):
    return few(the_coin.model)


# ---------------------------------------------------------------- closed forms


def test_nuts_finds_the_beta_posterior(the_coin, coin_draws):
    assert np.abs(errors(coin_draws["nuts"], the_coin.truth)["p"]).max() < SURE
    assert_spread(coin_draws["nuts"], the_coin.truth, 0.1)


def test_smc_finds_the_beta_posterior_and_its_evidence(the_coin, coin_draws):
    idata = coin_draws["smc"]
    assert np.abs(errors(idata, the_coin.truth)["p"]).max() < SURE
    exact = stats.betabinom(20, 2, 2).logpmf(14)
    np.testing.assert_allclose(attributes(idata)["log_marginal_likelihood"], exact, atol=0.1)


def test_laplace_is_the_normal_at_the_mode_of_the_unconstrained_space(the_coin):
    """In logit p the posterior Beta(a, b) has its mode at logit(a / (a + b)), and there the precision ab / (a + b)."""
    a, b = 16, 8
    mode, precision = find_mode(Space(the_coin.model))
    np.testing.assert_allclose(mode, logit(a / (a + b)), atol=1e-6)
    np.testing.assert_allclose(precision, a * b / (a + b), rtol=1e-6)
    draws = logit(flat_draws(sample(the_coin.model, method="laplace", draws=4000, random_state=0))["p"])
    assert stats.kstest(draws, stats.norm(logit(a / (a + b)), ((a + b) / (a * b)) ** 0.5).cdf).pvalue > 1e-5


def test_advi_comes_closer_to_the_beta_posterior_than_a_step_of_its_optimiser(the_coin, coin_draws):
    mean, sd = the_coin.truth["p"]
    draws = flat_draws(coin_draws["advi"])["p"]
    assert abs(draws.mean() - mean) < 0.05 * sd
    assert abs(draws.std() / sd - 1) < 0.05


def test_laplace_is_exact_where_the_posterior_is_normal(the_weights):
    mode, precision = find_mode(Space(the_weights.model))
    np.testing.assert_allclose(mode, the_weights.truth["w"][0], rtol=1e-6)
    np.testing.assert_allclose(precision, weights_precision(the_weights), rtol=1e-5)
    idata = sample(the_weights.model, method="laplace", draws=4000, random_state=1)
    assert np.abs(errors(idata, the_weights.truth)["w"]).max() < SURE
    assert_spread(idata, the_weights.truth, 0.08)
    assert attributes(idata)["ratio_efficiency"] > 0.999


@pytest.mark.rotated
def test_full_rank_advi_knows_the_correlation_and_mean_field_takes_the_conditional_spread(the_weights):
    """The mean-field optimum of a normal posterior has the true mean, and 1 / precision[i, i] for its variances."""
    precision = weights_precision(the_weights)
    covariance = np.linalg.inv(precision)
    draws = {}
    for full_rank in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InferenceWarning)  # mean field rightly fails its check
            idata = sample(
                the_weights.model, method="advi", draws=20_000, random_state=2, full_rank=full_rank, progress=False
            )
        draws[full_rank] = flat_draws(idata)["w"]
        assert np.abs(draws[full_rank].mean(axis=0) - the_weights.truth["w"][0]).max() < 0.01
    assert abs(np.corrcoef(draws[False].T)[0, 1]) < 0.05
    np.testing.assert_allclose(draws[False].var(axis=0), 1 / np.diag(precision), rtol=0.1)
    np.testing.assert_allclose(np.cov(draws[True].T), covariance, rtol=0.1)


@pytest.mark.rotated
def test_nuts_finds_a_regression_with_unknown_noise():
    known = line()
    idata = sample(known.model, random_state=5, **ONE)
    for name, off in errors(idata, known.truth).items():
        assert np.abs(off).max() < SURE, name
    assert_spread(idata, known.truth, 0.15)


def test_the_grid_of_eight_schools_agrees_with_what_is_published():
    """Posterior means as they are printed with this prior in the field's manuals: mu 4.4, tau 3.6, school A 6.2."""
    truth = schools_truth()
    assert abs(truth["mu"][0] - 4.4) < 0.05
    assert abs(truth["tau"][0] - 3.6) < 0.05
    assert abs(truth["theta"][0][0] - 6.2) < 0.1


@pytest.mark.rotated
def test_nuts_finds_eight_schools():
    known = schools()
    idata = sample(known.model, target_accept=0.95, random_state=6, **ONE)
    for name, off in errors(idata, known.truth).items():
        assert np.abs(off).max() < SURE, name
    assert set(flat_draws(idata)) == {"mu", "tau", "z", "theta"}
    assert list(idata["posterior"]["theta"].coords["school"].values) == list("ABCDEFGH")
    np.testing.assert_array_equal(posterior_arrays(idata, "posterior")["mu"].shape, (4, 1000))
    np.testing.assert_array_equal(idata["observed_data"]["effect"].values, EFFECTS)


@pytest.mark.rotated
def test_nuts_takes_discrete_parameters_along_and_the_approximations_refuse_them():
    """One coin toss z decides the mean of a normal: P(z = 1 | y) by Bayes' rule."""
    pm = import_pymc()
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.3)
        pm.Normal("y", 2.0 * z, 1.5, observed=1.8)
    yes, no = 0.3 * stats.norm(2, 1.5).pdf(1.8), 0.7 * stats.norm(0, 1.5).pdf(1.8)
    idata = sample(model, draws=2000, tune=100, chains=2, random_state=7, **ONE)
    share = flat_draws(idata)["z"].mean()
    assert abs(share - yes / (yes + no)) < 0.08
    for method in ("advi", "laplace"):
        with pytest.raises(InputError, match=r"continuous parameters; these are discrete: z\. Use method='nuts'"):
            sample(model, method=method)


# ---------------------------------------------------------------- the way back


@pytest.mark.rotated
def test_every_draw_is_mapped_back_as_pymc_maps_it():
    """Bounded, ordered and simplex parameters, a deterministic, and one that depends on nothing."""
    pm = import_pymc()
    with pm.Model(coords={"k": ["x", "y", "z"]}) as model:
        share = pm.Dirichlet("share", np.array([2.0, 3.0, 4.0]), dims="k")
        scale = pm.HalfNormal("scale", 2)
        pm.Uniform("between", -1, 3, shape=(2, 2))
        cut = pm.Normal("cut", 0, 1, shape=3, transform=pm.distributions.transforms.ordered, initval=[-1, 0, 1])
        pm.Deterministic("mixed", share * scale + cut, dims="k")
        pm.Deterministic("fixed", pm.Data("data", np.arange(2.0)) * 3)
    space = Space(model)
    points = space.start + np.random.default_rng(0).normal(size=(250, space.start.size))  # three portions
    values, logp = space.back(points)
    one_by_one = model.compile_fn(model.replace_rvs_by_values(model.unobserved_RVs), mode="FAST_COMPILE")
    density = model.compile_logp(mode="FAST_COMPILE")
    for i in (0, 99, 100, 249):
        point = _as_point(model, points[i])
        for name, expected in zip([rv.name for rv in model.unobserved_RVs], one_by_one(point), strict=True):
            np.testing.assert_allclose(values[name][i], expected, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(logp[i], density(point), rtol=1e-10)
    assert values["fixed"].shape == (250, 2)
    assert (np.diff(values["cut"], axis=1) > 0).all()


def _as_point(model, x):
    point, at = {}, 0
    for name, start in ((v.name, model.initial_point()[v.name]) for v in model.value_vars):
        point[name] = x[at : at + np.size(start)].reshape(np.shape(start))
        at += np.size(start)
    return point


@pytest.mark.parametrize("x", [-3.0, 0.0, 1.3])
def test_gradient_differences_give_the_hessian(the_coin, the_weights, x):
    """In x = logit p the log density is 16 log p + 8 log(1 - p): its second derivative is -24 p (1 - p)."""
    p = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(Space(the_coin.model).hessian(np.array([x])), [[-24 * p * (1 - p)]], rtol=1e-7)
    found = Space(the_weights.model).hessian(np.array([x, 10 * x]))
    np.testing.assert_allclose(found, -weights_precision(the_weights), rtol=1e-7)


# ---------------------------------------------------------------- seeds, attributes


@pytest.mark.parametrize("method", ["nuts", pytest.param("smc", marks=pytest.mark.rotated)])
def test_a_seed_gives_the_same_draws_whatever_the_cores(the_coin, few_nuts, method):
    one = few_nuts if method == "nuts" else few(the_coin.model, method=method)
    two, other = few(the_coin.model, method=method, cores=2), few(the_coin.model, method=method, random_state=2)
    np.testing.assert_array_equal(one, two)
    assert not np.isin(other, one).all()
    assert len(np.unique(one[:, 50])) == 3  # chains differ


@pytest.mark.parametrize("method", ["laplace", "advi"])
@pytest.mark.rotated
def test_a_seed_gives_the_same_draws_and_a_generator_goes_on(the_coin, method):
    options = {"steps": 2000} if method == "advi" else {}
    rng = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        first, again, third = (
            flat_draws(sample(the_coin.model, method=method, random_state=s, progress=False, **options))["p"]
            for s in (1, rng, rng)
        )
    np.testing.assert_array_equal(first, again)
    assert not np.isin(third, again).any()


def test_the_attributes_say_how_the_draws_were_made(the_coin, coin_draws):
    attrs = attributes(coin_draws["nuts"])
    assert (attrs["inference_method"], attrs["parameters"], attrs["interrupted"]) == ("nuts", ["p"], 0)
    assert attrs["sampling_time_s"] > 0
    assert attrs["compile_time_s"] > 0
    quick = attributes(sample(the_coin.model, method="laplace", draws=50, random_state=0))
    assert (quick["inference_method"], quick["interrupted"]) == ("laplace", 0)
    assert quick["pareto_k"] < 0.7


# ---------------------------------------------------------------- interrupts


def _interrupting(monkeypatch, chain: int, step: int) -> None:
    """Raise an interrupt where a key press would: in the midst of a chain, once."""
    real, done = nuts_module._Watch.__call__, []

    def call(self, trace, draw):
        real(self, trace, draw)
        if (draw.chain, draw.draw_idx) == (chain, step) and not done:
            done.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(nuts_module._Watch, "__call__", call)


@pytest.mark.parametrize(
    ("chain", "step", "chains", "draws"),
    [(1, 100 + 149, 2, 150), (0, 100 + 49, 1, 50), (1, 0, 1, 200)],
    ids=["in the second chain", "in the first", "between two"],
)
def test_an_interrupt_keeps_the_draws_so_far(the_coin, few_nuts, monkeypatch, capsys, chain, step, chains, draws):
    """And starts no other chain."""
    _interrupting(monkeypatch, chain, step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        idata = sample(the_coin.model, random_state=1, **FEW)
    kept = posterior_arrays(idata)["p"]
    assert f"Interrupted: {chains * draws} of 600 draws were kept ({chains} of 3 chains)." in capsys.readouterr().out
    np.testing.assert_array_equal(np.sort(kept, axis=0), np.sort(few_nuts[:chains, :draws], axis=0))
    assert attributes(idata)["interrupted"] == 1


def test_chains_that_move_together_are_not_taken_for_interrupted(the_coin):
    pm = import_pymc()
    with warnings.catch_warnings(), the_coin.model:
        warnings.simplefilter("ignore")
        idata = sample(the_coin.model, step=pm.DEMetropolis(), random_state=1, **FEW)
    assert posterior_arrays(idata)["p"].shape == (3, 200)


def test_an_interrupt_while_tuning_says_that_nothing_was_kept(the_coin, monkeypatch):
    _interrupting(monkeypatch, chain=0, step=50)
    with pytest.raises(KeyboardInterrupt, match="being tuned: nothing was kept"):
        sample(the_coin.model, random_state=1, **FEW)


def test_an_interrupt_of_advi_keeps_the_fit_so_far(the_coin, monkeypatch, capsys):
    from inferkit.bayes import _sample_advi

    real = _sample_advi._Watch.__call__

    def call(self, approximation, losses, step):
        real(self, approximation, losses, step)
        if step == 1500:
            raise KeyboardInterrupt

    monkeypatch.setattr(_sample_advi._Watch, "__call__", call)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        idata = sample(the_coin.model, method="advi", steps=10_000, random_state=0, progress=False)
    said = capsys.readouterr().out
    assert f"Interrupted: the fit is that of the first {attributes(idata)['steps']:,} steps." in said
    assert 1490 <= attributes(idata)["steps"] <= 1510
    assert abs(flat_draws(idata)["p"].mean() - the_coin.truth["p"][0]) < the_coin.truth["p"][1]


CHILD = """
import os, signal, threading, time, warnings
warnings.simplefilter("ignore")
signal.signal(signal.SIGINT, signal.default_int_handler)
from inferkit.bayes import _sample_nuts, sample
from inferkit.bayes._pymc import import_pymc
pm = import_pymc()
with pm.Model() as model:
    pm.Normal("x", 0, 1, shape=3)
real = _sample_nuts._Watch.__call__
seen = []
def call(self, trace, draw):
    real(self, trace, draw)
    seen.append(draw.tuning)
    if len(seen) - sum(seen) == 400:
        os.killpg(0, signal.SIGINT)  # as a terminal and Jupyter do: the workers get it too
_sample_nuts._Watch.__call__ = call
idata = sample(model, draws=1_000_000, tune=100, chains=2, cores=2, progress=False, random_state=1)
print(idata["posterior"].sizes["draw"] > 50, idata["posterior"].attrs["interrupted"])
"""


@pytest.mark.rotated
@pytest.mark.skipif(sys.platform == "win32", reason="NOT CHECKED: Windows has no process groups that a signal reaches")
def test_a_real_interrupt_of_two_processes_keeps_the_draws_so_far():
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert done.stdout.splitlines()[-1:] == ["True 1"], done.stdout + done.stderr
    assert "Interrupted: " in done.stdout


# ---------------------------------------------------------------- progress and warnings


def test_the_line_tells_chain_draw_divergences_and_time(monkeypatch):
    watch = nuts_module._Watch(nuts_module.ProgressLine(False), draws=1000, tune=500, chains=4, in_turn=True)
    watch.divergences = 2
    watch.done = [1500, 750, 0, 0]
    assert watch.words(1, 9.0) == "chain 2 of 4: draw 250 of 1,000, 2 divergences, about 15 s left"
    watch.done, watch.divergences = [100, 0, 0, 0], 1
    assert watch.words(0, 1.0) == "chain 1 of 4: tuning 100 of 500, 1 divergence, about 59 s left"


def test_divergences_count_only_after_tuning():
    watch = nuts_module._Watch(nuts_module.ProgressLine(False), draws=10, tune=10, chains=1, in_turn=True)
    for index, diverging in ((0, True), (10, True), (11, False), (12, True)):
        facts = [{"diverging": diverging}]
        watch(None, SimpleNamespace(chain=0, draw_idx=index, tuning=index < 10, stats=facts))
    assert (watch.divergences, watch.done) == (2, [13])


def test_the_line_is_shown_while_sampling(the_coin, monkeypatch):
    shown = []
    monkeypatch.setattr(nuts_module, "_EVERY_S", 0.0)
    monkeypatch.setattr(nuts_module.ProgressLine, "show", lambda self, text: shown.append(text))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)
        sample(the_coin.model, draws=20, tune=20, chains=2, cores=1, random_state=0)
    assert shown[0] == "compiling the model"
    assert shown[-1].startswith("chain 2 of 2: draw 20 of 20")


def test_a_failed_diagnosis_warns_at_the_line_of_the_caller(the_coin):
    with pytest.warns(InferenceWarning, match="A single chain can't show") as caught:
        sample(the_coin.model, draws=200, tune=200, chains=1, random_state=0, **ONE)
    assert Path(caught[0].filename) == Path(__file__)


def test_the_approximations_warn_where_the_posterior_is_not_normal():
    """A positive control: a funnel, which no normal distribution covers."""
    pm = import_pymc()
    with pm.Model() as funnel:
        v = pm.Normal("v", 0, 3)
        pm.Normal("x", 0, pm.math.exp(v / 2), shape=5)
    with pytest.warns(InferenceWarning, match="misses part of the posterior"):
        sample(funnel, method="laplace", random_state=0)


def test_advi_that_is_still_on_its_way_says_so():
    pm = import_pymc()
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("far", 0, 100), 1, observed=[100.0])
    with pytest.warns(InferenceWarning, match="ADVI hasn't settled: its bound still rose by .* Give it more steps"):
        sample(model, method="advi", random_state=0, steps=2000, progress=False)


# ---------------------------------------------------------------- no compiler

NO_COMPILER = """
import sys, warnings
warnings.simplefilter("error")
from inferkit.bayes import InferenceWarning, sample
from inferkit.bayes._pymc import compile_mode, import_pymc
pm = import_pymc()
import pymc.sampling.mcmc as mcmc
real, linkers = mcmc.init_nuts, []
def init_nuts(**kwargs):
    points, step = real(**kwargs)
    linkers.append(type(step._logp_dlogp_func._pytensor_function.maker.linker).__name__)
    return points, step
mcmc.init_nuts = init_nuts
with pm.Model() as model:
    pm.Normal("x", 0, 1)
warnings.simplefilter("ignore", InferenceWarning)
for _ in range(2):
    sample(model, draws=50, tune=50, chains=2, cores=1, random_state=0)
import pytensor
print("RESULT", repr(pytensor.config.cxx), linkers, compile_mode())
"""


@pytest.mark.rotated
def test_without_a_compiler_nothing_runs_in_plain_python(tmp_path):
    env = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", NO_COMPILER], capture_output=True, text=True, timeout=280, env=env)
    assert done.returncode == 0, done.stderr
    import pytensor

    by_default = type(pytensor.compile.mode.get_default_mode().linker).__name__ == "NumbaLinker"
    *said, result = done.stdout.splitlines()
    assert result == f"RESULT '' ['NumbaLinker', 'NumbaLinker'] {None if by_default else 'NUMBA'}"
    assert said == ([] if by_default else ["No C++ compiler was found, so the model is compiled with Numba."])
    assert done.stderr == ""


# ---------------------------------------------------------------- bad input


def _flat():
    pm = import_pymc()
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Normal("b", 0, 1)
        pm.Normal("y", b, 1, observed=[1.0, 2.0])
        pm.Deterministic("sum", a + b)
    return model


def _sum_only():
    pm = import_pymc()
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Flat("b")
        pm.Normal("y", a + b, 1, observed=[1.0, 2.0])
    return model


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "gibbs"}, "method: expected one of 'nuts', 'advi', 'laplace', 'smc', got 'gibbs'"),
        ({"method": ["nuts"]}, "method: expected one of"),
        ({"draws": 0}, "draws: expected a whole number of at least 1, got 0"),
        ({"draws": 2.5}, "draws: expected a whole number"),
        ({"draws": True}, "draws: expected a whole number"),
        ({"tune": -1}, "tune: expected a whole number of at least 0, got -1"),
        ({"chains": 0}, "chains: expected a whole number of at least 1, got 0"),
        ({"cores": 0}, "cores: expected a whole number of at least 1, got 0"),
        ({"target_accept": 1.0}, r"target_accept: expected a number between 0 and 1, got 1\.0"),
        ({"target_accept": "high"}, "target_accept: expected a number between 0 and 1, got 'high'"),
        ({"random_state": -1}, "random_state: expected a seed"),
        ({"method": "laplace", "steps": 3}, "method='laplace' takes no options, got steps"),
        ({"method": "advi", "steps": 0}, "steps: expected a whole number of at least 1, got 0"),
    ],
)
def test_bad_numbers_are_refused_at_the_door(the_coin, change, words):
    with pytest.raises(InputError, match=words):
        sample(the_coin.model, **change)


def test_what_is_no_model_or_has_no_parameters_is_refused():
    pm = import_pymc()
    with pytest.raises(InputError, match=r"expected a pymc\.Model, got dict"):
        sample({})
    with pm.Model() as empty:
        pm.Normal("y", 0, 1, observed=[1.0])
    with pytest.raises(InputError, match="there is nothing to infer"):
        sample(empty)


def test_nan_in_the_data_is_refused_and_says_where():
    pm = import_pymc()
    with pm.Model() as model:
        data = pm.Data("data", np.zeros((3, 2)))
        pm.Normal("y", pm.Normal("mu"), 1, observed=data)
    model.set_data("data", np.array([[0, 1], [2, np.nan], [np.nan, 5]]))
    with pytest.raises(InputError, match=r"'y' hold NaN in 2 of 6 places \(the first at \(1, 1\)\)"):
        sample(model)


@pytest.mark.parametrize(
    "method", ["nuts", *(pytest.param(name, marks=pytest.mark.rotated) for name in ("laplace", "advi", "smc"))]
)
def test_an_impossible_start_names_the_part_of_the_model(method):
    pm = import_pymc()
    with pm.Model() as model:
        pm.Exponential("wait", pm.HalfNormal("rate"), observed=[1.0, -2.0])
    with pytest.raises(InputError, match="no finite log density where it starts: wait has -inf"):
        sample(model, method=method, progress=False)


def test_advi_that_meets_nan_says_what_to_do():
    pm = import_pymc()
    with pm.Model() as model:
        x = pm.Normal("x", 0, 1)
        pm.Potential("edge", pm.math.log(x + 0.3))  # not a number where x < -0.3
    with pytest.raises(InputError, match="ADVI met NaN on its way: standardize the data"):
        sample(model, method="advi", random_state=0, progress=False)


def test_laplace_refuses_a_posterior_without_a_peak():
    with pytest.raises(InputError, match=r"isn't curved as a peak is .* a isn't held by data and prior"):
        sample(_flat(), method="laplace")
    with pytest.raises(InputError, match=r"isn't curved as a peak is|no peak of the posterior was found"):
        sample(_sum_only(), method="laplace")


def test_laplace_finds_a_peak_far_from_the_start_and_of_uneven_scale():
    pm = import_pymc()
    with pm.Model() as model:
        pm.Normal("far", 1e5, 1e3)
        pm.Normal("small", -1e-4, 1e-6)
    mode, precision = find_mode(Space(model))
    np.testing.assert_allclose(mode, [1e5, -1e-4], rtol=1e-3)
    np.testing.assert_allclose(np.diag(precision), [1e-6, 1e12], rtol=1e-3)


def test_quiet_leaves_the_loggers_and_warnings_as_they_were():
    import logging

    levels = [logging.getLogger(name).level for name in ("pymc", "pytensor.tensor.blas")]
    with pytest.raises(ZeroDivisionError), quiet():
        1 / _warned("theirs", DeprecationWarning)
    assert levels == [logging.getLogger(name).level for name in ("pymc", "pytensor.tensor.blas")]
    with pytest.warns(UserWarning, match="mine"), quiet():
        _warned("mine", UserWarning)


def _warned(text, category) -> int:
    warnings.warn(text, category, stacklevel=1)
    return 0


def test_draws_come_back_as_they_went_in():
    rng = np.random.default_rng(0)
    draws = {"a": rng.normal(size=(2, 5)), "b": rng.normal(size=(2, 5, 3, 4))}
    idata = make_idata(draws, coords={"k": list("xyz")}, dims={"b": ["k", "l"]}, attrs={"made": "here"})
    for name, values in posterior_arrays(idata).items():
        np.testing.assert_array_equal(values, draws[name])
    np.testing.assert_array_equal(flat_draws(idata)["b"], draws["b"].reshape(10, 3, 4))
    assert attributes(idata)["made"] == "here"
    with pytest.raises(InputError, match="expected a group 'prior', but it has"):
        posterior_arrays(idata, "prior")
    with pytest.raises(InputError, match="expected an InferenceData or DataTree"):
        posterior_arrays({"a": 1})

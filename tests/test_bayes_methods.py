"""Methods side by side, against a posterior that is known."""

import warnings

import numpy as np
import pytest
from scipy import stats

from inferkit import InputError
from inferkit.bayes import compare_methods
from inferkit.bayes._methods import MethodComparison, MethodRow, _Run, _standard
from inferkit.bayes._pymc import attributes, make_idata
from tests.bayes_models import coin, compared_coin

QUICK = {"cores": 1, "chains": 2, "progress": False}


@pytest.fixture(scope="module")
def known():
    return coin()


@pytest.fixture(scope="module")
def compared():
    return compared_coin()


def test_every_method_is_close_to_the_exact_posterior(compared):
    assert [row.method for row in compared.rows] == ["exact", "nuts", "advi", "laplace", "smc"]
    assert compared["exact"].standard
    for method in ("nuts", "smc", "advi"):
        row = compared[method]
        assert row.error_mean < 5 / np.sqrt(row.ess) + 0.02, method
        assert row.error_sd < 0.15, method
    assert compared.standard == "the exact posterior"


def test_laplace_shows_its_known_bias(compared):
    """It sits at the mean of p by chance of the logit's symmetry, less the skew: -0.067 sd by quadrature."""
    x = np.linspace(-4, 6, 20_001)
    q = stats.norm(np.log(2), np.sqrt(24 / 128)).pdf(x)
    bias = (q / q.sum()) @ (1 / (1 + np.exp(-x))) - stats.beta(16, 8).mean()
    expected = abs(bias) / stats.beta(16, 8).std()
    assert compared["laplace"].error_mean == pytest.approx(expected, abs=5 / np.sqrt(4000))
    assert expected > 0.05


def test_what_a_row_says(compared):
    for method in ("nuts", "advi", "laplace", "smc"):
        row = compared[method]
        assert row.seconds > 0
        assert row.ok
        assert row.ess_per_s > 0
    assert compared["laplace"].ess == 4000
    assert compared["advi"].ess == 20_000
    assert 100 < compared["nuts"].ess < 3000
    assert compared["nuts"].compile_seconds > 0
    assert np.isnan(compared["exact"].ess)
    assert attributes(compared.idatas["smc"])["inference_method"] == "smc"
    assert compared.diagnoses["nuts"].ok


def test_a_wrong_answer_has_a_large_error(known):
    """The planted fault: an exact answer that is half a standard deviation off, and twice as wide."""
    mean, sd = known.truth["p"]
    wrong = compare_methods(
        known.model, methods=["laplace"], exact={"p": (mean + 0.5 * 2 * sd, 2 * sd)}, random_state=0, progress=False
    )
    assert wrong["laplace"].error_mean == pytest.approx(0.5, abs=0.1)
    assert wrong["laplace"].error_sd == pytest.approx(0.5, abs=0.1)
    assert [row.method for row in wrong.rows] == ["laplace"]


@pytest.mark.rotated
def test_without_an_exact_answer_the_longest_chain_or_a_given_run_is_the_standard(known):
    found = compare_methods(known.model, methods=("laplace", "nuts"), random_state=1, **QUICK)
    assert found.standard == "the run of nuts"
    assert (found["nuts"].standard, found["laplace"].standard) == (True, False)
    assert found["nuts"].error_mean == 0
    given = make_idata({"p": stats.beta(16, 8).rvs((2, 20_000), random_state=1)})
    against = compare_methods(known.model, methods=["laplace"], reference=given, random_state=1, progress=False)
    assert against.standard == "the run that was given"
    assert against["laplace"].error_mean < 0.2
    with pytest.raises(InputError, match="nothing to measure errors against: add 'nuts' to methods"):
        compare_methods(known.model, methods=["laplace"], progress=False)


def test_of_two_chains_the_one_with_more_effective_draws_is_the_standard(compared):
    runs = [_Run(name, 1.0, compared.idatas[name], compared.diagnoses[name]) for name in ("nuts", "laplace", "smc")]
    assert compared["smc"].ess > compared["nuts"].ess
    assert _standard(None, None, runs).name == _standard(None, None, runs[::-1]).name == "smc"


def test_a_failed_diagnosis_is_noted_not_warned_of(known):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare_methods(known.model, methods=["nuts"], random_state=0, draws=20, tune=50, **QUICK)
    assert not found["nuts"].ok
    assert not found.diagnoses["nuts"].ok


def test_a_seed_gives_the_same_errors(known):
    exact = {"p": known.truth["p"]}
    one, two = (
        compare_methods(known.model, methods=["laplace"], exact=exact, random_state=3, progress=False) for _ in range(2)
    )
    assert one["laplace"].error_mean == two["laplace"].error_mean


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": ["gibbs"]}, r"methods: expected some of \('nuts', 'advi', 'laplace', 'smc'\), each once, got"),
        ({"methods": ["laplace", "laplace"]}, "each once"),
        ({"methods": []}, "methods: expected some of"),
        ({"options": {"nuts": {}}}, r"options: expected keys among the methods \('laplace',\), got \('nuts',\)"),
        ({"exact": {"q": (0, 1)}}, "'q': expected a variable that the standard and the model have in the same shape"),
        ({"exact": {"p": (np.zeros(2), np.ones(2))}}, r"the model has .*'p': \(\).* the standard has it as \(2,\)"),
        ({"var_names": ["q"]}, "the standard has it not"),
    ],
)
def test_bad_input_is_refused(known, change, words):
    arguments = {"methods": ["laplace"], "exact": {"p": (0.5, 0.1)}, "progress": False} | change
    with pytest.raises(InputError, match=words):
        compare_methods(known.model, **arguments)


ROWS = (
    MethodRow("exact", 0.0002, float("nan"), float("nan"), 0.0, 0.0, standard=True),
    MethodRow("nuts", 12.0, 8.0, 1600.0, 0.03, 0.01),
    MethodRow("laplace", 0.5, float("nan"), 1000.0, 0.314, 0.25, ok=False),
)


def test_the_table_is_readable_and_a_rate_leaves_compiling_out():
    found = MethodComparison(ROWS, "the exact posterior")
    assert str(found) == (
        "method   seconds  of these compiling    ESS  ESS/s  error of mean  error of sd  diagnosis ok\n"
        "exact     0.0002                   –      –      –       standard     standard           yes\n"
        "nuts          12                   8  1,600    400        0.03 sd           1%           yes\n"
        "laplace      0.5                   –  1,000  2,000        0.31 sd          25%            no\n"
        "Errors against the exact posterior; each is that of the worst parameter."
    )
    assert "| laplace | 0.5 | – | 1,000 | 2,000 | 0.31 sd | 25% | no |" in found._repr_markdown_()
    assert list(found.to_frame()["ess_per_s"])[1:] == [400, 2000]
    with pytest.raises(InputError, match="expected one of exact, nuts, laplace, got 'smc'"):
        found["smc"]

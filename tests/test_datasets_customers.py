"""Made customers: rows hang on seed and number alone, the truth is what it says, the bundled ones are registered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import make_tables as script
from inferkit import InputError, ModelFileError
from inferkit.datasets import _registered, churn_probability, iter_customers, load_customers, make_customers
from inferkit.datasets import _tables as tables
from inferkit.datasets._customers import CHURN_NAMES, CUSTOMER_COLUMNS
from inferkit.predictor import churn_scorer

MANY = make_customers(200_000, random_state=99)
TYPICAL = {
    "months": 24, "monthly_charge": 45.0, "data_gb": 40.0, "lines": 1, "support_calls": 0, "late_payments": 0,
    "contract": "monthly", "internet": "dsl", "payment": "card", "support_plan": "no", "paperless": "no",
}  # fmt: skip


def same(one, other):
    assert one.data.dtype.names == other.data.dtype.names
    for name in one.data.dtype.names:
        np.testing.assert_array_equal(one.data[name], other.data[name])
    for name in ("target", "probability", "customer"):
        np.testing.assert_array_equal(one[name], other[name])


def logit(**changed):
    p = churn_probability({name: [value] for name, value in (TYPICAL | changed).items()})[0]
    return np.log(p / (1 - p))


# -- the contract ------------------------------------------------------------------------------------


def test_the_bundled_customers_have_the_contract_of_all_loaders():
    customers = load_customers()
    assert customers.data.shape == customers.target.shape == customers.probability.shape == (script.N_CUSTOMERS,)
    assert customers.data.dtype.names == tuple(customers.feature_names) == tuple(CUSTOMER_COLUMNS)
    assert customers.target.dtype == np.int64
    assert customers.target_names == CHURN_NAMES
    assert set(customers.target) == {0, 1}
    assert customers.frame is None
    assert list(customers.units) == customers.feature_names
    assert customers.customer.tolist() == list(range(1, script.N_CUSTOMERS + 1))
    for name, words in customers.categories.items():
        assert set(customers.data[name]) == set(words)
    X, y = load_customers(return_X_y=True)
    np.testing.assert_array_equal(X["months"], customers.data["months"])
    np.testing.assert_array_equal(y, customers.target)


def test_they_come_as_a_data_frame():
    frame = load_customers(as_frame=True).frame
    assert frame.columns.tolist() == ["customer", *CUSTOMER_COLUMNS, "target"]
    plain = load_customers()
    for name in CUSTOMER_COLUMNS:
        assert frame[name].tolist() == plain.data[name].tolist()
    X, y = load_customers(return_X_y=True, as_frame=True)
    assert X.columns.tolist() == list(CUSTOMER_COLUMNS)
    assert y.tolist() == plain.target.tolist()
    (batch,) = iter_customers(5, 8, 3, as_frame=True)
    assert batch.frame.equals(make_customers(5, 3, as_frame=True).frame)


def test_all_rows_meet_the_contract_of_the_scorer():
    spec = churn_scorer().signature.input
    assert spec.check(MANY.data).shape == (200_000, 11)
    for name, about in CUSTOMER_COLUMNS.items():
        if "categories" not in about:  # the range is no wider than it must be to hold what can come
            assert MANY.data[name].min() >= about["low"]
            assert MANY.data[name].max() <= about["high"]


# -- rows hang on seed and number --------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 3 * tables.BLOCK),
    batch_size=st.integers(1, 3 * tables.BLOCK),
    first=st.integers(0, 2 * tables.BLOCK),
    seed=st.integers(0, 2**40),
)
def test_batches_are_the_rows_of_the_whole(n, batch_size, first, seed):
    batch_size = max(batch_size, n // 50)  # a batch for each row would take minutes
    parts = list(iter_customers(n, batch_size, seed, first=first))
    whole = make_customers(n, seed, first=first)
    assert [len(part.data) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
    assert 1 <= len(parts[-1].data) <= batch_size
    np.testing.assert_array_equal(np.concatenate([part.customer for part in parts]), first + 1 + np.arange(n))
    for name in CUSTOMER_COLUMNS:
        np.testing.assert_array_equal(np.concatenate([part.data[name] for part in parts]), whole.data[name])
    for name in ("target", "probability"):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])


def test_a_row_is_the_same_alone_and_among_many():
    B = tables.BLOCK
    many = make_customers(2 * B + 5, 12)
    for i in (0, 1, B - 1, B, 2 * B, 2 * B + 4):
        same(make_customers(1, 12, first=i), rows_of(many, i))


def rows_of(customers, i):
    part = make_customers(1, 12)
    for name in ("data", "target", "probability", "customer"):
        part[name] = customers[name][i : i + 1]
    return part


def test_blocks_and_seeds_are_not_alike():
    B = tables.BLOCK
    many = make_customers(2 * B, 12)
    other = make_customers(B, 13)
    for rows in (slice(0, B), slice(B, None)):
        assert (many.data["data_gb"][rows] == other.data["data_gb"]).mean() < 0.3  # alike by chance: many have none
    assert (many.data["data_gb"][:B] == many.data["data_gb"][B:]).mean() < 0.3


def test_a_generator_and_none_draw_afresh():
    rng = np.random.default_rng(5)
    assert (make_customers(50, rng).probability != make_customers(50, rng).probability).all()
    assert (make_customers(50).probability != make_customers(50).probability).all()
    np.testing.assert_array_equal(make_customers(9, np.random.default_rng(5)).target, make_customers(9, 5).target)


def test_a_stream_needs_the_memory_of_a_batch():
    import tracemalloc

    def peak(n):
        tracemalloc.start()
        for _ in iter_customers(n, 4096, 1):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(8192)
    assert peak(20 * 8192) < 1.5 * peak(4 * 8192)


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "3", None])
def test_a_number_of_rows_that_is_none_is_refused(n):
    with pytest.raises(InputError, match="n: expected a whole number ≥ 1"):
        make_customers(n)
    with pytest.raises(InputError, match="batch_size: expected a whole number ≥ 1"):
        iter_customers(5, n)  # at the call, not at the first row


def test_a_first_row_or_seed_that_is_none_is_refused():
    with pytest.raises(InputError, match="first: expected a whole number ≥ 0, got -1"):
        make_customers(5, first=-1)
    with pytest.raises(InputError, match="random_state"):
        iter_customers(5, 5, "seed")


# -- the truth ---------------------------------------------------------------------------------------


def test_the_truth_of_a_typical_customer_by_hand():
    expected = -1.75 + 0.1 + 1.5 * np.exp(-24 / 8) - 0.12 * np.log(41)
    assert logit() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"months": 0}, 1.5 * (1 - np.exp(-3))),
        ({"contract": "one year"}, -1.1),
        ({"contract": "two years"}, -2.0),
        ({"internet": "none"}, -0.1),
        ({"internet": "fibre"}, 0.25),
        ({"payment": "bank transfer"}, -0.1),
        ({"payment": "invoice"}, 0.25),
        ({"paperless": "yes"}, 0.1),
        ({"late_payments": 3}, 0.75),
        ({"data_gb": 0.0}, 0.12 * np.log(41)),
        ({"monthly_charge": 65.0}, 0.7),
        ({"support_calls": 1}, 0.0),
        ({"support_calls": 3}, 1.2),
        ({"support_calls": 12}, 2.4),
        ({"support_calls": 3, "support_plan": "yes"}, 0.4),
        ({"support_plan": "yes"}, 0.0),
        ({"lines": 4}, 0.0),
    ],
)
def test_each_column_moves_the_truth_as_the_card_says(changed, difference):
    assert logit(**changed) - logit() == pytest.approx(difference)


def test_the_price_matters_most_to_those_who_can_leave():
    yearly = logit(contract="one year", monthly_charge=65.0) - logit(contract="one year")
    assert yearly == pytest.approx(20 * 0.008)


def test_the_answers_have_the_probabilities_that_are_stated():
    y, p = MANY.target, MANY.probability
    np.testing.assert_array_equal(p, churn_probability(MANY.data))
    for lo, hi in [(0, 0.03), (0.03, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1)]:
        inside = (p >= lo) & (p < hi)
        spread = np.sqrt((p[inside] * (1 - p[inside])).sum())
        assert inside.sum() > 1000
        assert abs(y[inside].sum() - p[inside].sum()) < 5 * spread  # by chance once in 1.7 million times


def test_the_answers_depend_on_nothing_but_the_probability():
    # were the coin's number used elsewhere as well, a column would say more of the answer than the truth does
    rest = (MANY.target - MANY.probability) / np.sqrt(MANY.probability * (1 - MANY.probability))
    for name, about in CUSTOMER_COLUMNS.items():
        column = MANY.data[name]
        values = tables.codes(column, about["categories"]) if "categories" in about else column
        z = (values - values.mean()) / values.std()
        assert abs((z * rest).mean()) < 5 / np.sqrt(len(rest)), name


def test_shares_of_the_words_and_means_of_the_numbers():
    data = MANY.data
    assert (data["internet"] == "none").mean() == pytest.approx(0.2, abs=0.005)  # 5 standard errors: 0.0045
    assert (data["internet"] == "dsl").mean() == pytest.approx(0.38, abs=0.006)
    assert (data["payment"] == "card").mean() == pytest.approx(0.33, abs=0.006)
    assert (data["paperless"] == "yes").mean() == pytest.approx(0.6, abs=0.006)
    assert np.bincount(data["lines"], minlength=5)[1:] / len(data) == pytest.approx([0.58, 0.26, 0.11, 0.05], abs=0.006)
    assert (data["data_gb"][data["internet"] == "none"] == 0).all()
    late = data["late_payments"][data["payment"] == "invoice"]
    assert late.mean() == pytest.approx(1.0, abs=0.03)
    assert late.var() == pytest.approx(1.0, abs=0.05)
    new = (data["months"] == 0) & (data["contract"] == "monthly")
    assert new.sum() / (data["months"] == 0).sum() == pytest.approx(0.9, abs=0.02)


@given(mean=st.floats(0.01, 4), seed=st.integers(0, 2**32))
def test_poisson_numbers_are_the_quantiles_of_uniform_ones(mean, seed):
    from scipy.stats import poisson

    u = np.random.default_rng(seed).random(200)
    cut = np.minimum(poisson.ppf(u, mean), 5)
    np.testing.assert_array_equal(tables.poisson(u, np.full(200, mean), 5), cut)


def test_normal_numbers_are_normal():
    from scipy.stats import kstest

    rng = np.random.default_rng(3)
    p = kstest(tables.normal(rng.random(20_000), rng.random(20_000)), "norm").pvalue
    assert p > 1e-6  # false alarm: once in a million seeds


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({name: [value] for name, value in TYPICAL.items() if name != "months"}, "months"),
        ({**{name: [value] for name, value in TYPICAL.items()}, "contract": ["weekly"]}, "got 'weekly' in row 0"),
        (np.zeros((3, 11)), "expected a table with the columns"),
        (7, "expected a table with the columns"),
    ],
)
def test_the_truth_of_what_is_no_customer_is_refused(table, message):
    with pytest.raises(InputError, match=message):
        churn_probability(table)


# -- the bundled file --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with both tables as the script writes them, beside another's entry."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "registry.json").write_text('{"another": {"file": "another.csv"}}')
    script.write(folder)
    return folder


def test_the_bundled_file_is_what_the_program_writes(made):
    same(load_customers(), make_customers(script.N_CUSTOMERS, script.CUSTOMERS_SEED))
    assert (made / "customers.csv").read_bytes() == _registered.registered("customers.csv")
    assert '"another.csv"' in (made / "registry.json").read_text(encoding="utf-8")


def test_a_changed_file_is_refused(made, monkeypatch, tmp_path):
    for name in ("registry.json", "customers.csv"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    (tmp_path / "customers.csv").write_bytes((made / "customers.csv").read_bytes().replace(b"dsl", b"lsd", 1))
    monkeypatch.setattr(_registered, "bundled", lambda name: tmp_path / name)
    with pytest.raises(ModelFileError, match=r"customers\.csv: expected SHA-256"):
        load_customers()

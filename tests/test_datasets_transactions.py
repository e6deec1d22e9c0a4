"""Made payments: in order of time with a rhythm, rows hang on the seed alone, the truth is what it says."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import make_tables as script
from inferkit import InputError, ModelFileError
from inferkit.datasets import _registered, fraud_probability, iter_transactions, load_transactions, make_transactions
from inferkit.datasets import _tables as tables
from inferkit.datasets._transactions import BY_HOUR, FRAUD_NAMES, PER_DAY, TRANSACTION_COLUMNS, as_csv
from inferkit.predictor import fraud_scorer

MANY = make_transactions(300_000, random_state=77)
TYPICAL = {
    "amount": 40.0, "hour": 12.0, "distance_km": 5.0, "last_hour": 0, "minutes_since": 600.0,
    "merchant": "fuel", "channel": "chip", "country": "home",
}  # fmt: skip
OWN = ("target", "probability", "transaction", "time_s")


def logit(**changed):
    p = fraud_probability({name: [value] for name, value in (TYPICAL | changed).items()})[0]
    return np.log(p / (1 - p))


# -- the contract ------------------------------------------------------------------------------------


def test_the_bundled_payments_have_the_contract_of_all_loaders():
    payments = load_transactions()
    assert payments.data.shape == payments.target.shape == payments.probability.shape == (script.N_TRANSACTIONS,)
    assert payments.data.dtype.names == tuple(payments.feature_names) == tuple(TRANSACTION_COLUMNS)
    assert payments.target.dtype == np.int64
    assert payments.target_names == FRAUD_NAMES
    assert payments.transaction.tolist() == list(range(1, script.N_TRANSACTIONS + 1))
    assert list(payments.units) == payments.feature_names
    for name, words in payments.categories.items():
        assert set(payments.data[name]) == set(words)
    X, y = load_transactions(return_X_y=True)
    np.testing.assert_array_equal(X["amount"], payments.data["amount"])
    np.testing.assert_array_equal(y, payments.target)


def test_they_come_as_a_data_frame():
    framed, plain = load_transactions(as_frame=True), load_transactions()
    assert framed.frame.columns.tolist() == ["transaction", *TRANSACTION_COLUMNS, "target"]
    for name in TRANSACTION_COLUMNS:
        assert framed.data[name].tolist() == plain.data[name].tolist()
    np.testing.assert_array_equal(framed.time_s, plain.time_s)
    (batch,) = iter_transactions(5, 8, 3, as_frame=True)
    assert batch.frame.equals(make_transactions(5, 3, as_frame=True).frame)


def test_all_rows_meet_the_contract_of_the_scorer():
    assert fraud_scorer().signature.input.check(MANY.data).shape == (300_000, 8)
    known = {name: about for name, about in TRANSACTION_COLUMNS.items() if "categories" not in about}
    assert all(MANY.data[name].min() >= about["low"] for name, about in known.items())


# -- rows hang on the seed ---------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 3 * tables.BLOCK), batch_size=st.integers(1, 3 * tables.BLOCK), seed=st.integers(0, 2**40))
def test_batches_are_the_rows_of_the_whole(n, batch_size, seed):
    batch_size = max(batch_size, n // 50)  # a batch for each row would take minutes
    parts, whole = list(iter_transactions(n, batch_size, seed)), make_transactions(n, seed)
    assert [len(part.data) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
    for name in TRANSACTION_COLUMNS:
        np.testing.assert_array_equal(np.concatenate([part.data[name] for part in parts]), whole.data[name])
    for name in OWN:
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])


def test_the_first_rows_of_many_are_the_same_as_few():
    many, few = make_transactions(3 * tables.BLOCK, 4), make_transactions(tables.BLOCK + 3, 4)
    for name in OWN:
        np.testing.assert_array_equal(many[name][: len(few[name])], few[name])
    assert (many.time_s[:50] != make_transactions(50, 5).time_s).all()


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "3", None])
def test_a_number_of_rows_that_is_none_is_refused(n):
    with pytest.raises(InputError, match="n: expected a whole number ≥ 1"):
        make_transactions(n)
    with pytest.raises(InputError, match="batch_size: expected a whole number ≥ 1"):
        iter_transactions(5, n)


# -- time --------------------------------------------------------------------------------------------


def test_they_come_in_order_and_as_often_as_stated():
    days = MANY.time_s[-1] / 86_400
    assert (np.diff(MANY.time_s) >= 0).all()
    # the number of a Poisson process: five standard errors, once in 1.7 million times
    assert abs(len(MANY.data) - days * PER_DAY) < 5 * np.sqrt(len(MANY.data))
    np.testing.assert_allclose(MANY.data["hour"], MANY.time_s % 86_400 / 3600, atol=0.0101)
    assert (MANY.data["hour"] <= MANY.time_s % 86_400 / 3600 + 1e-9).all()  # cut, not rounded: 24.00 is no hour


def test_each_hour_has_its_share():
    whole_days = MANY.time_s < MANY.time_s[-1] // 86_400 * 86_400
    counts = np.bincount((MANY.time_s[whole_days] % 86_400 // 3600).astype(int), minlength=24)
    expected = np.array(BY_HOUR) / sum(BY_HOUR) * counts.sum()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_the_gaps_are_those_of_a_poisson_process():
    from scipy.stats import kstest

    noon = (MANY.time_s % 86_400 > 12 * 3600) & (MANY.time_s % 86_400 < 13 * 3600)  # one rate
    gaps = np.diff(MANY.time_s)[noon[1:] & noon[:-1]]
    gaps = gaps[gaps < 3600]
    mean = 3600 / (PER_DAY * BY_HOUR[12] / sum(BY_HOUR))
    assert kstest(gaps, "expon", args=(0, mean)).pvalue > 1e-6  # false alarm: once in a million seeds
    assert kstest(gaps, "expon", args=(0, 1.1 * mean)).pvalue < 1e-6  # a tenth off would be seen


def test_time_since_and_payments_in_the_last_hour_tell_the_same_story():
    k, since = MANY.data["last_hour"], MANY.data["minutes_since"]
    np.testing.assert_array_equal(k > 0, since < 60)
    for most in (1, 2, 4):  # the least of k uniform times: its mean is 60 / (k + 1)
        of_these = since[k == most]
        assert of_these.mean() == pytest.approx(60 / (most + 1), abs=5 * of_these.std() / np.sqrt(len(of_these)) + 0.05)


def test_the_columns_belong_together():
    data = MANY.data
    assert set(data["channel"][data["merchant"] == "web shop"]) == {"online"}
    assert set(data["channel"][data["merchant"] == "cash machine"]) == {"chip", "stripe"}
    assert set(data["channel"][data["merchant"] == "groceries"]) == {"chip", "contactless", "stripe"}
    km = {name: data["distance_km"][data["country"] == name] for name in ("home", "neighbour", "far")}
    assert km["home"].max() <= 600
    assert km["neighbour"].min() >= 40
    assert km["far"].min() >= 1000
    assert np.median(data["amount"][data["merchant"] == "travel"]) > 5 * np.median(
        data["amount"][data["merchant"] == "groceries"]
    )


# -- the truth ---------------------------------------------------------------------------------------


def test_the_truth_of_a_typical_payment_by_hand():
    assert logit() == pytest.approx(-7.7 - 0.3 + 0.75 * np.log(2), abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"merchant": "groceries"}, -0.2),
        ({"merchant": "restaurant"}, 0.1),
        ({"merchant": "web shop"}, 0.7),
        ({"merchant": "electronics"}, 1.3),
        ({"merchant": "travel"}, 0.8),
        ({"merchant": "cash machine"}, 1.1),
        ({"channel": "contactless"}, 0.3),
        ({"channel": "stripe"}, 2.2),
        ({"channel": "online"}, 1.0),
        ({"country": "neighbour"}, 0.6),
        ({"country": "far"}, 1.5),
        ({"amount": 400.0}, 0.75 * np.log(5.5)),
        ({"hour": 3.0}, 1.0),
        ({"last_hour": 4}, 2.8),
        ({"last_hour": 20}, 4.2),
        ({"distance_km": 10_100.0, "minutes_since": 600.0}, 2.5),
        ({"distance_km": 101.0, "minutes_since": 54.0}, 2.5 * np.log10(1.01)),
        ({"distance_km": 101.0, "minutes_since": 114.0}, 0.0),
        ({"distance_km": 10_100.0, "channel": "online"}, 1.0),
    ],
)
def test_each_column_moves_the_truth_as_the_card_says(changed, difference):
    assert logit(**changed) - logit() == pytest.approx(difference, abs=1e-6)


def test_the_answers_have_the_probabilities_that_are_stated():
    y, p = MANY.target, MANY.probability
    np.testing.assert_array_equal(p, fraud_probability(MANY.data))
    for lo, hi in [(0, 0.001), (0.001, 0.01), (0.01, 0.1), (0.1, 0.5), (0.5, 1)]:
        inside = (p >= lo) & (p < hi)
        spread = np.sqrt((p[inside] * (1 - p[inside])).sum())
        assert inside.sum() > 500
        assert abs(y[inside].sum() - p[inside].sum()) < 5 * spread  # by chance once in 1.7 million times


def test_the_answers_depend_on_nothing_but_the_probability():
    # were the coin's number used elsewhere as well, a column would say more of the answer than the truth does
    rest = (MANY.target - MANY.probability) / np.sqrt(MANY.probability * (1 - MANY.probability))
    for name, about in TRANSACTION_COLUMNS.items():
        column = MANY.data[name]
        values = tables.codes(column, about["categories"]) if "categories" in about else np.log1p(column)
        z = (values - values.mean()) / values.std()
        assert abs((z * rest).mean()) < 6 / np.sqrt(len(rest)), name


def test_no_rule_costs_less_than_the_truth_with_the_costs():
    y, p, amount = MANY.target, MANY.probability, MANY.data["amount"]

    def cost(alarm, false_alarm=5.0):
        return np.where(alarm, (1 - y) * false_alarm, y * amount).mean()

    best = cost(p * amount > (1 - p) * 5)
    rivals = [cost(p > t) for t in (0.01, 0.03, 0.1, 0.5)] + [cost(amount > t) for t in (100, 500)]
    assert best < min([*rivals, cost(p > 2), cost(p >= 0)])


# -- the bundled file --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with both tables as the script writes them."""
    folder = tmp_path_factory.mktemp("tables")
    script.write(folder)
    return folder


def test_the_bundled_file_holds_what_the_program_makes(made):
    ours, theirs = load_transactions(), make_transactions(script.N_TRANSACTIONS, script.TRANSACTIONS_SEED)
    for name in OWN:
        np.testing.assert_array_equal(ours[name], theirs[name])
    written = gzip.decompress((made / "transactions.csv.gz").read_bytes())  # another zlib packs otherwise
    assert written == gzip.decompress(_registered.registered("transactions.csv.gz")) == as_csv(theirs)


def test_a_changed_file_is_refused(made, monkeypatch, tmp_path):
    (tmp_path / "registry.json").write_bytes((made / "registry.json").read_bytes())
    changed = as_csv(load_transactions()).replace(b"fuel", b"food", 1)
    (tmp_path / "transactions.csv.gz").write_bytes(gzip.compress(changed, 9, mtime=0))
    monkeypatch.setattr(_registered, "bundled", lambda name: tmp_path / name)
    with pytest.raises(ModelFileError, match=r"transactions\.csv\.gz: expected SHA-256"):
        load_transactions()

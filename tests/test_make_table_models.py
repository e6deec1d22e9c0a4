"""The script trains what it registers, twice alike; both models lie near the truth; the scorers read tables right."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets import make_table_models as script
from inferkit import InputError
from inferkit._base import bundled, sha256
from inferkit.datasets import make_customers, make_transactions
from inferkit.models import load_reference
from inferkit.predictor import Predictor, churn_scorer, fraud_scorer
from inferkit.predictor._scorers import CHURN_LOGS, CHURN_SPREADS, FRAUD_LOGS, FRAUD_SPREADS

ROOT = Path(__file__).parent.parent
REGISTRY = json.loads(bundled("registry.json").read_text(encoding="utf-8"))
NAMES = ["churn-mlp", "fraud-mlp"]
SCORERS = {"churn-mlp": (churn_scorer, make_customers), "fraud-mlp": (fraud_scorer, make_transactions)}


@pytest.fixture(scope="module", params=NAMES)
def fresh(request):
    """Give rows that nobody has looked at, and what the model says of them."""
    scorer, make = SCORERS[request.param]
    table = make(150_000, random_state=2024)
    return request.param, table, scorer().predict_proba(table.data)[:, 1].astype(np.float64)


@pytest.mark.rotated(0)
def test_the_script_writes_what_it_registers_leaves_the_rest_and_gives_the_same_bytes_again(tmp_path):
    """Two hardly trained ones twice, in one process, beside another model's entry."""
    first, second = folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        (folder / "registry.json").write_text('{"another": {"file": "another.tflite"}}')
    code = (
        "from pathlib import Path; from datasets.make_table_models import make;"
        f"[make(Path(folder), scale=0.001, n_judged=1500) for folder in {list(map(str, folders))}]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    registry = json.loads((first / "registry.json").read_text(encoding="utf-8"))
    assert registry.pop("another") == {"file": "another.tflite"}
    assert list(registry) == NAMES
    assert {p.name for p in first.iterdir()} == {"registry.json", *(entry["file"] for entry in registry.values())}
    for name, entry in registry.items():
        content = (first / entry["file"]).read_bytes()
        assert (len(content), sha256(content)) == (entry["bytes"], entry["sha256"])
        assert entry["fresh_rows"].keys() == REGISTRY[name]["fresh_rows"].keys()
        for key in ("file", "description", "random_state", "n_parameters"):
            assert entry[key] == REGISTRY[name][key]
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_the_figures_are_those_of_fresh_rows(fresh):
    name, table, p = fresh
    registered, here = REGISTRY[name]["fresh_rows"], script.figures(p, table)
    assert registered["n"] == 200_000
    # other rows, as many: the log loss of fraud moves most, by some 2 % from one draw to the next
    for key in ("log_loss", "best_log_loss"):
        assert here[key] == pytest.approx(registered[key], rel=0.12)
    for key in ("auc", "best_auc"):
        assert here[key] == pytest.approx(registered[key], abs=0.03)
    assert here["distance"] == pytest.approx(registered["distance"], rel=0.1)


def test_the_models_lie_near_the_truth(fresh):
    name, table, p = fresh
    figures, truth = script.figures(p, table), table.probability
    assert figures["best_log_loss"] <= figures["log_loss"] < 1.02 * figures["best_log_loss"]
    # neither is the truth mistaken for the model, nor the model for a constant
    assert figures["distance"] < 0.2 * np.abs(truth - truth.mean()).mean()
    off = np.abs(np.log(p / (1 - p)) - np.log(truth / (1 - truth)))
    assert np.median(off) < 0.15
    place = np.digitize(p, np.quantile(p, np.linspace(0, 1, 16)[1:-1]))  # fifteen bins with as many rows each
    gap = np.bincount(place, p - truth) / np.bincount(place, truth)
    assert np.abs(np.bincount(place, p - truth)).sum() / len(p) < {"churn-mlp": 0.004, "fraud-mlp": 0.0003}[name]
    assert np.abs(gap).max() < 0.25


def test_the_figures_know_good_from_bad():
    customers = make_customers(20_000, random_state=3)
    best = script.figures(customers.probability, customers)
    assert (best["log_loss"], best["auc"], best["distance"]) == (best["best_log_loss"], best["best_auc"], 0)
    worse = script.figures(np.full(20_000, 0.2), customers)
    assert worse["log_loss"] > best["log_loss"] + 0.05
    assert worse["auc"] == 0.5


def test_fraud_found_by_the_model_costs_little_more_than_by_the_truth():
    payments = make_transactions(300_000, random_state=55)
    amount, y = payments.data["amount"], payments.target
    p = fraud_scorer().predict_proba(payments.data)[:, 1]

    def cost(p):
        return np.where(p * amount > (1 - p) * 5, (1 - y) * 5.0, y * amount).mean()

    assert cost(p) < 1.1 * cost(payments.probability) < 0.3 * (y * amount).mean()


@pytest.mark.rotated
def test_the_card_states_what_alarms_cost():
    payments = make_transactions(1_000_000, random_state=2025)
    amount, truth = payments.data["amount"], payments.probability
    rows = np.arange(0, 1_000_000, 4096)
    scorer = fraud_scorer()
    p = np.concatenate([scorer.predict_proba(payments.data[i : i + 4096])[:, 1] for i in rows]).astype(np.float64)
    rules = {
        "no alarm": p > 2,
        "alarm for all": p >= 0,
        "where p > 0.5, p the truth": truth > 0.5,
        "by the cost, p from `fraud-mlp`": p * amount > (1 - p) * 5,
        "by the cost, p the truth": truth * amount > (1 - truth) * 5,
    }
    card = (ROOT / "datasets/transactions.md").read_text(encoding="utf-8").splitlines()
    for name, alarm in rules.items():
        cost = 1000 * np.where(alarm, (1 - truth) * 5, truth * amount).mean()
        assert f"| {name} | {alarm.mean():.2%} | {cost:,.0f} |".replace("%", " %") in card
    assert f"{truth.mean():.2%} are fraud".replace("%", " %") in "\n".join(card)


# -- the scorers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spreads", "logs"), [(NAMES[0], CHURN_SPREADS, CHURN_LOGS), (NAMES[1], FRAUD_SPREADS, FRAUD_LOGS)]
)
def test_a_scorer_prepares_a_table_as_one_would_by_hand(name, spreads, logs):
    scorer, make = SCORERS[name]
    table = make(500, random_state=6)
    columns = []
    for column in scorer().signature.input.columns:
        values = table.data[column.name]
        if column.categories:
            columns += [(values == word).astype(float) for word in column.categories]
        else:
            middle, spread = spreads[column.name]
            columns.append(((np.log(1 + values) if column.name in logs else values) - middle) / spread)
    by_hand = load_reference(name)(np.column_stack(columns).astype(np.float32))
    np.testing.assert_allclose(scorer().predict_proba(table.data), by_hand, atol=1e-5)


def test_columns_of_numbers_are_about_one_wide(fresh):
    name, table, _ = fresh
    value = SCORERS[name][0]()
    x = value.signature.input.check(table.data)
    for step in value.preprocess:
        x = step(x)
    n_numbers = sum(column.categories is None for column in value.signature.input.columns)
    assert (np.abs(x[:, :n_numbers].mean(axis=0)) < 0.3).all()
    assert (np.abs(np.log2(x[:, :n_numbers].std(axis=0))) < 1).all()


def test_a_scorer_answers_alike_however_the_table_comes(fresh):
    import pandas as pd

    name, table, p = fresh
    scorer, few = SCORERS[name][0](), table.data[:40]
    records = [dict(zip(few.dtype.names, row.item(), strict=True)) for row in few]
    columns = {column: few[column] for column in few.dtype.names}
    for rows in (few, records, columns, pd.DataFrame(columns), pd.DataFrame(records)):
        np.testing.assert_allclose(scorer.predict_proba(rows)[:, 1], p[:40], atol=1e-6)
    answers = scorer.predict(few).tolist()
    assert set(answers) <= {"stays", "leaves", "fine", "fraud"}
    assert [scorer.predict_one(record) for record in records] == answers
    assert [scorer.predict_one(row) for row in few] == answers


def test_a_scorer_says_what_is_wrong_with_a_row():
    row = dict(zip(make_customers(1, 1).data.dtype.names, make_customers(1, 1).data[0].item(), strict=True))
    for changed, message in [
        ({"months": 73}, "'months': expected values from 0 to 72 months, got 73 in row 0"),
        ({"monthly_charge": np.nan}, "got nan in row 0"),
        ({"contract": "weekly"}, "expected one of 'monthly', 'one year', 'two years', got 'weekly'"),
    ]:
        with pytest.raises(InputError, match=message):
            churn_scorer().predict_one(row | changed)


def test_a_scorer_is_saved_and_opened(tmp_path):
    customers = make_customers(20, random_state=1)
    churn_scorer().save(tmp_path / "churn.predictor")
    again = Predictor.load(tmp_path / "churn.predictor")
    np.testing.assert_array_equal(again.predict_proba(customers.data), churn_scorer().predict_proba(customers.data))


@pytest.mark.parametrize("name", NAMES)
def test_the_card_states_what_is_registered(name):
    card, entry = (ROOT / "datasets/table_models.md").read_text(encoding="utf-8"), REGISTRY[name]
    fresh = entry["fresh_rows"]
    cells = (
        f"{entry['n_parameters']:,} | {entry['bytes']:,} | {fresh['log_loss']:.4f} | {fresh['best_log_loss']:.4f} "
        f"| {fresh['auc']:.3f} | {fresh['best_auc']:.3f} | {fresh['distance']:.4f}"
    )
    assert f"| `{name}` | {cells} |" in card.splitlines()

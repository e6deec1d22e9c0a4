"""Predictors over the tables of this package: who leaves, and what is fraud."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..datasets._customers import CHURN_NAMES, CUSTOMER_COLUMNS
from ..datasets._transactions import FRAUD_NAMES, TRANSACTION_COLUMNS
from ..models import load_reference
from ._predictor import Predictor
from ._signature import Column, TableSpec
from ._steps import Log1p, OneHot, Standardize, Step

# For each column of numbers a middle and a spread, of its logarithm where it has a long tail: round figures of the
# training rows. They belong to the trained networks; with others the answers are wrong.
CHURN_SPREADS = {
    "months": (28, 22),
    "monthly_charge": (44, 18),
    "data_gb": (3.3, 1.9),
    "lines": (1.6, 0.9),
    "support_calls": (0.8, 1.0),
    "late_payments": (0.4, 0.8),
}
CHURN_LOGS = ("data_gb",)
FRAUD_SPREADS = {
    "amount": (3.7, 1.0),
    "hour": (14.5, 4.5),
    "distance_km": (2.0, 1.4),
    "last_hour": (0.2, 0.6),
    "minutes_since": (6.2, 1.3),
}
FRAUD_LOGS = ("amount", "distance_km", "minutes_since")


def churn_scorer(name: str = "churn-mlp", *, num_threads: int = 1) -> Predictor:
    """Return a predictor of whether a telephone customer leaves, from a model that this package carries.

    Parameters
    ----------
    name : str, default="churn-mlp"
        One of the churn models that `inferkit.models.list_reference` lists.
    num_threads : int, default=1
        Threads that one call may use.

    Returns
    -------
    Predictor
        Takes tables with the columns of `inferkit.datasets.load_customers`; answers "stays" or "leaves". Its
        probabilities are meant to be used: they lie near those that `churn_probability` computes.

    Examples
    --------
    >>> from inferkit.datasets import load_customers
    >>> churn_scorer().predict(load_customers().data[:3]).tolist()
    ['stays', 'stays', 'stays']
    """
    steps = preparation(CUSTOMER_COLUMNS, CHURN_SPREADS, CHURN_LOGS)
    return _scorer(name, CUSTOMER_COLUMNS, steps, CHURN_NAMES, num_threads)


def fraud_scorer(name: str = "fraud-mlp", *, num_threads: int = 1) -> Predictor:
    """Return a predictor of whether a card payment is fraud, from a model that this package carries.

    Parameters
    ----------
    name : str, default="fraud-mlp"
        One of the fraud models that `inferkit.models.list_reference` lists.
    num_threads : int, default=1
        Threads that one call may use.

    Returns
    -------
    Predictor
        Takes tables with the columns of `inferkit.datasets.load_transactions`; answers "fine" or "fraud", whichever is
        likelier. Fraud is rare and costs more than a false alarm, so a bank decides by `predict_proba` and the cost.

    Examples
    --------
    >>> from inferkit.datasets import load_transactions
    >>> fraud_scorer().predict(load_transactions().data[:3]).tolist()
    ['fine', 'fine', 'fine']
    """
    steps = preparation(TRANSACTION_COLUMNS, FRAUD_SPREADS, FRAUD_LOGS)
    return _scorer(name, TRANSACTION_COLUMNS, steps, FRAUD_NAMES, num_threads)


def preparation(
    columns: Mapping[str, Mapping[str, Any]], spreads: Mapping[str, tuple[float, float]], logs: Sequence[str]
) -> tuple[Step, ...]:
    """Return the steps from a checked table to what the network takes: words to zeros and ones, numbers around zero.

    The columns of numbers come before those of words.
    """
    words = [about.get("categories") for about in columns.values()]
    n_words = sum(len(known) for known in words if known)
    mean, scale = zip(*(spreads[name] for name, known in zip(columns, words, strict=True) if not known), strict=True)
    return (
        OneHot(tuple(words)),
        Log1p(tuple(list(columns).index(name) for name in logs)),
        Standardize((*mean, *[0.0] * n_words), (*scale, *[1.0] * n_words)),
    )


def table_of(columns: Mapping[str, Mapping[str, Any]]) -> TableSpec:
    """Return the contract over the columns of a data set of this package."""
    return TableSpec(tuple(Column(name, **about) for name, about in columns.items()))


def _scorer(
    name: str, columns: Mapping[str, Mapping[str, Any]], steps: Sequence[Step], labels: Sequence[str], num_threads: int
) -> Predictor:
    model = load_reference(name, num_threads=num_threads)
    return Predictor(model, preprocess=steps, signature=table_of(columns), labels=labels, name=name)

"""Telephone customers who stay or leave: made by a program, so that each one's probability of leaving is known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _tables as tables
from ._registered import registered

if TYPE_CHECKING:
    from sklearn.utils import Bunch

CUSTOMER_COLUMNS: dict[str, dict[str, Any]] = {
    "months": {"unit": "months", "low": 0, "high": 72},
    "monthly_charge": {"unit": "€", "low": 0, "high": 200},
    "data_gb": {"unit": "GB a month", "low": 0, "high": 2000},
    "lines": {"unit": "lines", "low": 1, "high": 4},
    "support_calls": {"unit": "calls in three months", "low": 0, "high": 12},
    "late_payments": {"unit": "in twelve months", "low": 0, "high": 12},
    "contract": {"categories": ("monthly", "one year", "two years")},
    "internet": {"categories": ("none", "dsl", "fibre")},
    "payment": {"categories": ("bank transfer", "card", "invoice")},
    "support_plan": {"categories": ("no", "yes")},
    "paperless": {"categories": ("no", "yes")},
}
"""What each column holds: the unit and the range of numbers, or the words."""

CHURN_NAMES = ["stays", "leaves"]
_FILE, _N_DRAWS = "customers.csv", 14
_WHOLE = ("customer", "months", "lines", "support_calls", "late_payments", "target")
_DECIMALS = {"monthly_charge": 2, "data_gb": 1}


def make_customers(
    n: int = 1000, random_state: int | np.random.Generator | None = None, *, first: int = 0, as_frame: bool = False
) -> Bunch:
    """Make customers of a telephone company, with the probability that each leaves within three months.

    Row i hangs on the seed and on i alone. So the first rows of many are the same as few, `iter_customers` gives the
    same in batches, and several programs can each make a part.

    Parameters
    ----------
    n : int, default 1000
        How many.
    random_state : int, numpy.random.Generator or None
        A seed gives the same customers every time.
    first : int, default 0
        Number of the first row: customers `first` to `first + n - 1` of the seed's endless table.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).

    Returns
    -------
    Bunch
        As `load_customers` gives it.

    Raises
    ------
    InputError
        If `n` is no whole number above 0, or `first` none from 0 on.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    References
    ----------
    J. K. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011: the generator.

    Examples
    --------
    >>> customers = make_customers(3, random_state=0)
    >>> customers.data["contract"].tolist(), customers.data[2]["months"].item()
    (['one year', 'monthly', 'monthly'], 2)
    >>> bool(make_customers(1, random_state=0, first=2).data == customers.data[2:])
    True
    """
    n = tables.whole("n", n, 1)
    return next(iter_customers(n, n, random_state, first=first, as_frame=as_frame))


def iter_customers(
    n: int,
    batch_size: int = 65_536,
    random_state: int | np.random.Generator | None = None,
    *,
    first: int = 0,
    as_frame: bool = False,
) -> Iterator[Bunch]:
    """Make the customers of `make_customers` batch by batch, in the memory of one batch.

    Parameters
    ----------
    n : int
        How many in all.
    batch_size : int, default 65536
        How many at once; the last batch may be smaller.
    random_state : int, numpy.random.Generator or None
        A seed gives the same customers every time, whatever the batch size.
    first : int, default 0
        Number of the first row.
    as_frame : bool, default False
        Give data frames (needs pandas).

    Returns
    -------
    iterator of Bunch
        Each as `load_customers` gives it.

    Raises
    ------
    InputError
        If `n` or `batch_size` is no whole number above 0, or `first` none from 0 on.

    Examples
    --------
    >>> [len(batch.data) for batch in iter_customers(10, 4, random_state=0)]
    [4, 4, 2]
    """
    n, batch_size = tables.whole("n", n, 1), tables.whole("batch_size", batch_size, 1)
    block, skip = divmod(tables.whole("first", first, 0), tables.BLOCK)
    key = tables.key_of(random_state)
    blocks = (_block(key, number) for number in count(block))
    return (_bunch(columns, as_frame) for columns in tables.batches(blocks, skip, n, batch_size))


def load_customers(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load 4,000 customers of a telephone company, 744 of whom left within three months.

    They were made once by :func:`make_customers` and stay the same. The file is compared with its registered hash
    before it is used.

    Parameters
    ----------
    return_X_y : bool, default False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).

    Returns
    -------
    Bunch or tuple
        The keys stand in the module's description. ``data`` is a structured array (4000,) of 11 columns, six of
        numbers and five of words; ``target`` is (4000,) int64: 0 stays, 1 leaves; ``customer`` (4000,) int64: who.
        ``probability`` (4000,) float64 is what no real company knows: how likely each was to leave, as
        `churn_probability` computes it. ``categories`` has the words of each column of words. With ``as_frame=True``
        ``frame`` has ``customer`` before the columns of ``data``.

    Raises
    ------
    ModelFileError
        If the file is missing, or its bytes are not the registered ones.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    Examples
    --------
    >>> customers = load_customers()
    >>> customers.data.shape, customers.feature_names[:3]
    ((4000,), ['months', 'monthly_charge', 'data_gb'])
    >>> customers.data["internet"][:3].tolist()
    ['dsl', 'dsl', 'fibre']
    """
    kinds: dict[str, Any] = dict.fromkeys(CUSTOMER_COLUMNS, lambda v: np.array(v, dtype=object))
    kinds |= dict.fromkeys(_WHOLE, lambda v: np.array(v, dtype=np.int64))
    kinds |= dict.fromkeys(_DECIMALS, lambda v: np.array(v, dtype=np.float64))
    columns = tables.read_csv(registered(_FILE), kinds)
    bunch = _bunch(columns | {"probability": churn_probability(columns)}, as_frame)
    return (bunch.data, bunch.target) if return_X_y else bunch


def churn_probability(data: Any) -> NDArray[np.float64]:
    """Return the probability with which each customer leaves: the truth behind `make_customers`.

    Parameters
    ----------
    data : structured array, DataFrame or dict of columns
        The columns of ``load_customers().data``, (n,) each.

    Returns
    -------
    (n,) float64 array

    Raises
    ------
    InputError
        If a column is missing, or holds a word that is none of its own.

    Examples
    --------
    >>> customers = load_customers()
    >>> bool((churn_probability(customers.data) == customers.probability).all())
    True
    """
    return _probability(tables.numbers_of(data, CUSTOMER_COLUMNS))


def as_csv(customers: Bunch) -> bytes:
    """Return customers as the bundled file has them: a line each.

    Parameters
    ----------
    customers : Bunch
        From `make_customers`.

    Returns
    -------
    bytes
    """
    columns = {name: customers.data[name] for name in CUSTOMER_COLUMNS}
    return tables.write_csv({"customer": customers.customer, **columns, "target": customers.target}, _DECIMALS)


# -- the process -------------------------------------------------------------------------------------


def _probability(c: tables.Columns) -> NDArray[np.float64]:
    """Return the truth from numbers and codes. The data card has it in words."""
    monthly = c["contract"] == 0
    logit = -1.75 + np.array([0.0, -1.1, -2.0])[c["contract"]] + np.array([0.0, 0.1, 0.35])[c["internet"]]
    logit += 1.5 * np.exp(-c["months"] / 8)  # the first months decide
    logit += np.where(monthly, 0.035, 0.008) * (c["monthly_charge"] - 45)  # who can leave, compares prices
    trouble = np.clip(c["support_calls"] - 1, 0, 4)
    logit += np.where(c["support_plan"] == 1, 0.2, 0.6) * trouble  # one call is nothing; with a plan, each weighs less
    logit += 0.25 * c["late_payments"] + np.array([-0.1, 0.0, 0.25])[c["payment"]] + 0.1 * c["paperless"]
    logit -= 0.12 * np.log1p(c["data_gb"])
    p: NDArray[np.float64] = 1 / (1 + np.exp(-logit))
    return p


def _block(key: NDArray[np.uint64], number: int) -> tables.Columns:
    """Make one block of customers; numbers are rounded before the truth is computed from them."""
    u = tables.uniforms(key, number, _N_DRAWS)
    c: tables.Columns = {"months": np.minimum(73 * u[0] ** 1.6, 72).astype(np.int64)}
    months = c["months"]
    on_month = 0.22 + 0.68 * np.exp(-months / 30)
    c["contract"] = tables.pick(u[1], on_month, (1 - on_month) * (0.65 - 0.3 * months / 72))
    c["internet"] = tables.pick(u[2], 0.2, 0.38)
    c["payment"] = tables.pick(u[3], 0.42, 0.33)
    c["support_plan"] = (u[4] < np.where(c["internet"] == 0, 0.08, 0.25 + 0.12 * (c["contract"] > 0))).astype(np.int64)
    c["paperless"] = (u[5] < 0.6).astype(np.int64)
    c["lines"] = 1 + tables.pick(u[6], 0.58, 0.26, 0.11)
    c["data_gb"] = _data_gb(c, tables.normal(u[7], u[8]))
    c["monthly_charge"] = _charge(c, tables.normal(u[9], u[10]))
    calls = 0.45 + 0.55 * (c["internet"] == 2) + 0.7 * np.exp(-months / 4)
    c["support_calls"] = tables.poisson(u[11], calls, 12)
    c["late_payments"] = tables.poisson(u[12], 0.25 + 0.75 * (c["payment"] == 2), 12)
    probability = _probability(c)
    return {
        "customer": np.arange(number * tables.BLOCK, (number + 1) * tables.BLOCK) + 1,
        **{n: tables.words(c[n], a["categories"]) if "categories" in a else c[n] for n, a in CUSTOMER_COLUMNS.items()},
        "target": (u[13] < probability).astype(np.int64),
        "probability": probability,
    }


def _data_gb(c: tables.Columns, z: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = np.array([0.0, 30.0, 80.0])[c["internet"]] * np.sqrt(c["lines"])
    gigabytes: NDArray[np.float64] = np.clip(np.round(middle * np.exp(0.8 * z), 1), 0, 2000)
    return gigabytes


def _charge(c: tables.Columns, z: NDArray[np.float64]) -> NDArray[np.float64]:
    price = 14 + np.array([0.0, 20.0, 38.0])[c["internet"]] + 10 * (c["lines"] - 1) + 7 * c["support_plan"]
    charge = (price + 6 * z) * np.array([1.0, 0.93, 0.88])[c["contract"]]
    rounded: NDArray[np.float64] = np.clip(np.round(charge, 2), 8, 200)
    return rounded


def _bunch(columns: tables.Columns, as_frame: bool) -> Bunch:
    return tables.table_bunch(
        columns,
        CUSTOMER_COLUMNS,
        identity="customer",
        as_frame=as_frame,
        target_names=list(CHURN_NAMES),
        DESCR=_DESCR,
        licence="CC BY 4.0, as the course's figures. Made by this package; nothing was copied.",
        source="inferkit.datasets.make_customers",
    )


_DESCR = """Customers of a telephone company: who leaves
--------------------------------------------

Each row is a customer on one day: for how many months they have been with the company, what they pay a month, how much
data they use, their lines, their calls to support in the last three months, bills paid late in the last twelve, their
contract, internet, way of paying, support plan, and whether bills come on paper. The target is whether they leave
within the next three months.

No customer is real. A program (inferkit.datasets.make_customers) draws the columns one after the other, computes the
probability of leaving from them, and throws a coin of that weight. So the truth is known for every row
(inferkit.datasets.churn_probability), and a model can be compared with it. It bends and it interacts: the first months
decide more than later ones, the price matters to those on a monthly contract four times as much as to others, one call
to support means nothing and the next ones much, less so with a support plan.

Limits: real customers hide reasons that no column shows, are alike within a family, move with the seasons and with what
other companies offer. A model that does well here has shown that it finds a truth of just this form.
"""

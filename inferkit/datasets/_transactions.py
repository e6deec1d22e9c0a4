"""Card payments in order of time, a few of them fraud: made by a program, so that each one's probability is known."""

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

TRANSACTION_COLUMNS: dict[str, dict[str, Any]] = {
    "amount": {"unit": "€", "low": 0, "high": 10_000},
    "hour": {"unit": "hours since midnight", "low": 0, "high": 24},
    "distance_km": {"unit": "km from home", "low": 0, "high": 20_100},
    "last_hour": {"unit": "payments in the last hour", "low": 0, "high": 20},
    "minutes_since": {"unit": "minutes since the last payment", "low": 0, "high": 43_200},
    "merchant": {
        "categories": ("groceries", "fuel", "restaurant", "web shop", "electronics", "travel", "cash machine")
    },
    "channel": {"categories": ("chip", "contactless", "stripe", "online")},
    "country": {"categories": ("home", "neighbour", "far")},
}
"""What each column holds: the unit and the range of numbers, or the words."""

FRAUD_NAMES = ["fine", "fraud"]
PER_DAY = 8640
"""Payments of a day in the mean: one in ten seconds."""

BY_HOUR = (2, 1, 1, 1, 1, 2, 5, 12, 20, 26, 30, 36, 44, 40, 34, 32, 36, 46, 52, 44, 30, 20, 12, 5)
"""How many payments fall into each hour of the day, relative to each other."""

_FILE, _N_DRAWS = "transactions.csv.gz", 14
_WHOLE = ("transaction", "last_hour", "target")
_DECIMALS = {"time_s": 3, "amount": 2, "hour": 2, "distance_km": 1, "minutes_since": 1}
_DAY_S = 86_400
# Seconds since midnight at which each share of the day's payments has come: its inverse makes the daily rhythm.
_HOUR_ENDS_S = np.arange(25) * 3600.0
_SHARES = np.concatenate([[0.0], np.cumsum(BY_HOUR) / np.sum(BY_HOUR)])


def make_transactions(
    n: int = 1000, random_state: int | np.random.Generator | None = None, *, as_frame: bool = False
) -> Bunch:
    """Make card payments in order of time, with the probability that each is fraud.

    They come as a Poisson process with a daily rhythm, one in ten seconds in the mean, from midnight on. Row i hangs
    on the seed and on i alone. So the first rows of many are the same as few, and `iter_transactions` gives the same
    in batches.

    Parameters
    ----------
    n : int, default 1000
        How many.
    random_state : int, numpy.random.Generator or None
        A seed gives the same payments every time.
    as_frame : bool, default False
        Give ``data`` as a data frame and ``target`` as a series (needs pandas).

    Returns
    -------
    Bunch
        As `load_transactions` gives it.

    Raises
    ------
    InputError
        If `n` is no whole number above 0.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    References
    ----------
    J. K. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011: the generator.

    Examples
    --------
    >>> payments = make_transactions(3, random_state=0)
    >>> payments.data["merchant"].tolist(), bool((payments.time_s[1:] >= payments.time_s[:-1]).all())
    (['fuel', 'web shop', 'web shop'], True)
    """
    n = tables.whole("n", n, 1)
    return next(iter_transactions(n, n, random_state, as_frame=as_frame))


def iter_transactions(
    n: int,
    batch_size: int = 65_536,
    random_state: int | np.random.Generator | None = None,
    *,
    as_frame: bool = False,
) -> Iterator[Bunch]:
    """Make the payments of `make_transactions` batch by batch, in the memory of one batch.

    Parameters
    ----------
    n : int
        How many in all.
    batch_size : int, default 65536
        How many at once; the last batch may be smaller.
    random_state : int, numpy.random.Generator or None
        A seed gives the same payments every time, whatever the batch size.
    as_frame : bool, default False
        Give data frames (needs pandas).

    Returns
    -------
    iterator of Bunch
        Each as `load_transactions` gives it.

    Raises
    ------
    InputError
        If `n` or `batch_size` is no whole number above 0.

    Examples
    --------
    >>> [len(batch.data) for batch in iter_transactions(10, 4, random_state=0)]
    [4, 4, 2]
    """
    n, batch_size = tables.whole("n", n, 1), tables.whole("batch_size", batch_size, 1)
    blocks = _blocks(tables.key_of(random_state))
    return (_bunch(columns, as_frame) for columns in tables.batches(blocks, 0, n, batch_size))


def load_transactions(*, return_X_y: bool = False, as_frame: bool = False) -> Bunch | tuple[Any, Any]:
    """Load 20,000 card payments of two days and a half, 139 of them fraud.

    They were made once by :func:`make_transactions` and stay the same. The file is compared with its registered hash
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
        The keys stand in the module's description. ``data`` is a structured array (20000,) of 8 columns, five of
        numbers and three of words; ``target`` is (20000,) int64: 0 fine, 1 fraud; ``transaction`` (20000,) int64:
        which; ``time_s`` (20000,) float64: seconds since the first midnight. ``probability`` (20000,) float64 is what
        no bank knows: how likely each was to be fraud, as `fraud_probability` computes it. ``categories`` has the
        words of each column of words. With ``as_frame=True`` ``frame`` has ``transaction`` before the columns of
        ``data``.

    Raises
    ------
    ModelFileError
        If the file is missing, or its bytes are not the registered ones.
    MissingExtraError
        If ``as_frame=True`` and pandas is not installed.

    Examples
    --------
    >>> payments = load_transactions()
    >>> payments.data.shape, payments.feature_names[:3]
    ((20000,), ['amount', 'hour', 'distance_km'])
    """
    kinds: dict[str, Any] = dict.fromkeys(TRANSACTION_COLUMNS, lambda v: np.array(v, dtype=object))
    kinds |= dict.fromkeys(_WHOLE, lambda v: np.array(v, dtype=np.int64))
    kinds |= dict.fromkeys(_DECIMALS, lambda v: np.array(v, dtype=np.float64))
    columns = tables.read_csv(registered(_FILE), kinds)
    bunch = _bunch(columns | {"probability": fraud_probability(columns)}, as_frame)
    return (bunch.data, bunch.target) if return_X_y else bunch


def fraud_probability(data: Any) -> NDArray[np.float64]:
    """Return the probability with which each payment is fraud: the truth behind `make_transactions`.

    Parameters
    ----------
    data : structured array, DataFrame or dict of columns
        The columns of ``load_transactions().data``, (n,) each.

    Returns
    -------
    (n,) float64 array

    Raises
    ------
    InputError
        If a column is missing, or holds a word that is none of its own.

    Examples
    --------
    >>> payments = load_transactions()
    >>> bool((fraud_probability(payments.data) == payments.probability).all())
    True
    """
    return _probability(tables.numbers_of(data, TRANSACTION_COLUMNS))


def as_csv(transactions: Bunch) -> bytes:
    """Return payments as the bundled file has them, before it is packed.

    Parameters
    ----------
    transactions : Bunch
        From `make_transactions`.

    Returns
    -------
    bytes
    """
    t = transactions
    columns = {name: t.data[name] for name in TRANSACTION_COLUMNS}
    return tables.write_csv(
        {"transaction": t.transaction, "time_s": t.time_s, **columns, "target": t.target}, _DECIMALS
    )


# -- the process -------------------------------------------------------------------------------------


def _probability(c: tables.Columns) -> NDArray[np.float64]:
    """Return the truth from numbers and codes. The data card has it in words."""
    logit = -7.7 + np.array([-0.5, -0.3, -0.2, 0.4, 1.0, 0.5, 0.8])[c["merchant"]]
    logit += np.array([0.0, 0.3, 2.2, 1.0])[c["channel"]] + np.array([0.0, 0.6, 1.5])[c["country"]]
    logit += 0.75 * np.log1p(c["amount"] / 40)
    logit += 1.0 * np.exp(-(((c["hour"] - 3) / 2) ** 2))  # the dead of night
    logit += 0.7 * np.minimum(c["last_hour"], 6)
    # Nobody is at a till far from home soon after another payment; a web shop is far away from everyone.
    speed_kmh = c["distance_km"] / (c["minutes_since"] / 60 + 0.1)
    logit += np.where(c["channel"] == 3, 0.0, 2.5) * np.clip(np.log10(np.maximum(speed_kmh, 1) / 100), 0, 1)
    p: NDArray[np.float64] = 1 / (1 + np.exp(-logit))
    return p


def _blocks(key: NDArray[np.uint64]) -> Iterator[tables.Columns]:
    """Make block after block; what one hands to the next is the time."""
    days = 0.0
    for number in count():
        u = tables.uniforms(key, number, _N_DRAWS)
        arrived = days + np.cumsum(-np.log1p(-u[0])) / PER_DAY  # in days, as if every hour had as many
        days = float(arrived[-1])
        yield _block(number, u, arrived)


def _block(number: int, u: NDArray[np.float64], arrived: NDArray[np.float64]) -> tables.Columns:
    """Make one block of payments; numbers are rounded before the truth is computed from them."""
    time_s = np.round(_with_rhythm(arrived), 3)
    odd = u[1] < 0.025  # payments in odd circumstances: a journey, a spree, or somebody else's hand
    c: tables.Columns = {"hour": np.floor(time_s % _DAY_S / 36) / 100}
    c["merchant"] = tables.pick(u[2], *np.where(odd, _ODD_MERCHANTS[:, None], _MERCHANTS[:, None])[:-1])
    c["channel"] = _channel(c["merchant"], odd, u[3], u[12])
    c["country"] = tables.pick(u[4], np.where(odd, 0.55, 0.95), np.where(odd, 0.2, 0.035))
    c["distance_km"] = _distance(c["country"], tables.normal(u[5], u[6]))
    middle = np.array([26.0, 55.0, 30.0, 42.0, 160.0, 280.0, 110.0])[c["merchant"]] * np.where(odd, 1.8, 1.0)
    c["amount"] = np.clip(np.round(middle * np.exp(0.75 * tables.normal(u[7], u[8])), 2), 0.5, 10_000)
    c["last_hour"] = tables.poisson(u[9], np.where(odd, 2.2, 0.15), 20)
    c["minutes_since"] = _minutes_since(c["last_hour"], u[10])
    probability = _probability(c)
    columns = {
        n: tables.words(c[n], a["categories"]) if "categories" in a else c[n] for n, a in TRANSACTION_COLUMNS.items()
    }
    return {
        "transaction": np.arange(number * tables.BLOCK, (number + 1) * tables.BLOCK) + 1,
        "time_s": time_s,
        **columns,
        "target": (u[11] < probability).astype(np.int64),
        "probability": probability,
    }


_MERCHANTS = np.array([0.38, 0.11, 0.22, 0.16, 0.05, 0.03, 0.05])
_ODD_MERCHANTS = np.array([0.12, 0.05, 0.13, 0.30, 0.17, 0.08, 0.15])


def _with_rhythm(arrived: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn even days into seconds with `BY_HOUR`: as many payments in all, more of them at noon."""
    day, share = np.divmod(arrived, 1)
    seconds: NDArray[np.float64] = day * _DAY_S + np.interp(share, _SHARES, _HOUR_ENDS_S)
    return seconds


def _channel(
    merchant: tables.Codes, odd: NDArray[np.bool_], u: NDArray[np.float64], v: NDArray[np.float64]
) -> tables.Codes:
    at_till = tables.pick(u, np.where(odd, 0.35, 0.36), np.where(odd, 0.47, 0.63))
    at_machine = np.where(u < np.where(odd, 0.8, 0.99), 0, 2)  # which draws the card in
    at_till = np.where(merchant == 6, at_machine, at_till)
    is_online = (merchant == 3) | ((merchant == 5) & (v < 0.7))
    channel: tables.Codes = np.where(is_online, 3, at_till)
    return channel


def _distance(country: tables.Codes, z: NDArray[np.float64]) -> NDArray[np.float64]:
    middle, spread = np.array([5.0, 350.0, 5000.0])[country], np.array([1.3, 0.6, 0.5])[country]
    low, high = np.array([0.0, 40.0, 1000.0])[country], np.array([600.0, 2500.0, 20_000.0])[country]
    km: NDArray[np.float64] = np.round(np.clip(middle * np.exp(spread * z), low, high), 1)
    return km


def _minutes_since(last_hour: tables.Codes, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least of as many uniform times as the last hour has payments; an hour and more where it has none."""
    within = 60 * (1 - (1 - u) ** (1 / np.maximum(last_hour, 1)))
    beyond = np.minimum(60 - 900 * np.log1p(-u), 43_200)
    minutes: NDArray[np.float64] = np.where(last_hour > 0, np.minimum(np.round(within, 1), 59.9), np.round(beyond, 1))
    return minutes


def _bunch(columns: tables.Columns, as_frame: bool) -> Bunch:
    return tables.table_bunch(
        columns,
        TRANSACTION_COLUMNS,
        identity="transaction",
        as_frame=as_frame,
        target_names=list(FRAUD_NAMES),
        DESCR=_DESCR,
        licence="CC BY 4.0, as the course's figures. Made by this package; nothing was copied.",
        source="inferkit.datasets.make_transactions",
    )


_DESCR = """Card payments: which are fraud
------------------------------

Each row is one payment by card, in order of time: the amount, the hour of the day, how far the shop is from the card
holder's home, how many payments the card made in the hour before, how many minutes ago the last one was, the kind of
shop, how the card was read, and whether it was at home, in a neighbouring country or far away. The target is whether it
was fraud.

No payment is real. A program (inferkit.datasets.make_transactions) lets payments come as a Poisson process with a daily
rhythm, one in ten seconds in the mean, draws the columns, computes the probability of fraud from them, and throws a
coin of that weight. So the truth is known for every row (inferkit.datasets.fraud_probability). It bends and it
interacts: the amount counts by its logarithm, the dead of night counts, payments in a row count, and above all a
payment at a till that is farther from home than one gets in the time since the last payment.

With the truth comes the best that any rule can do. If a false alarm costs c and a missed fraud the amount a, the rule
with the least expected cost raises an alarm where p * a > (1 - p) * c.

Limits: there are no cards, so nobody has habits, and two rows never belong together; thieves do not learn, and no fraud
is discovered late. A model that does well here has shown that it finds a truth of just this form.
"""

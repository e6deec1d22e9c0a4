"""The checks behind `diagnose`, each with its limit and its advice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RHAT_LIMIT = 1.01
ESS_LIMIT = 100  # of each chain
BFMI_LIMIT = 0.3
DEPTH_LIMIT = 0.05  # share of trajectories that were cut off
ELBO_LIMIT = 0.1  # nats that the last tenth of the steps may gain
GOOD_SHARE = 0.95  # from here on two distributions differ too little for the tail of their ratios to say anything
INDEPENDENT = ("advi", "laplace")  # methods whose draws know nothing of each other

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    what : str
        Which check failed, for example ``"R-hat"``.
    where : str
        The parameter that is worst, or the chains.
    value, limit : float
        What was found, and what is allowed.
    words : str
        What is wrong, in a sentence.
    advice : str
        What to do next.
    """

    what: str
    where: str
    value: float
    limit: float
    words: str
    advice: str

    def __str__(self) -> str:
        return f"{self.words} {self.advice}"


@dataclass(frozen=True)
class Seen:
    """What the checks look at.

    Attributes
    ----------
    method : str
        How the draws were made.
    labels : list of str
        The name of each number.
    values : numpy.ndarray, shape (chains, draws, numbers)
        The draws.
    real : numpy.ndarray of bool, shape (numbers,)
        Whether each is a real number, not a whole one.
    rhat, bulk, tail : numpy.ndarray of float64, shape (numbers,)
        NaN where they can't be had.
    attrs : mapping
        Attributes of the posterior.
    stats : mapping
        What the sampler says of each draw.
    """

    method: str
    labels: list[str]
    values: npt.NDArray[Any]
    real: npt.NDArray[np.bool_]
    rhat: Floats
    bulk: Floats
    tail: Floats
    attrs: Mapping[str, Any]
    stats: Any

    @property
    def chains(self) -> int:
        """How many chains."""
        return int(self.values.shape[0])

    @property
    def draws(self) -> int:
        """How many draws in each."""
        return int(self.values.shape[1])

    @property
    def mean(self) -> Floats:
        """The mean of each number."""
        return np.asarray(self.values.mean(axis=(0, 1)), dtype=np.float64)

    @property
    def sd(self) -> Floats:
        """The standard deviation of each number."""
        return np.asarray(self.values.std(axis=(0, 1)), dtype=np.float64)

    def stat(self, name: str) -> npt.NDArray[Any] | None:
        """Return a statistic of the sampler, one for each draw; None if there is none."""
        found = np.asarray(self.stats[name].values) if name in self.stats else None
        return found if found is not None and found.shape[:2] == self.values.shape[:2] else None


def find_problems(seen: Seen) -> Iterator[Problem]:
    """Yield what is wrong, the gravest first."""
    yield from _not_finite(seen)
    if seen.method in INDEPENDENT:
        yield from _approximation(seen)
        return
    yield from _divergences(seen)
    yield from _standing_still(seen)
    yield from _too_few(seen)
    yield from _disagreeing(seen)
    yield from _effective(seen, seen.bulk, "bulk ESS", "the middle")
    yield from _effective(seen, seen.tail, "tail ESS", "the tails")
    yield from _energy(seen)
    yield from _cut_off(seen)


def _not_finite(seen: Seen) -> Iterator[Problem]:
    wrong = ~np.isfinite(seen.values)
    count = int(wrong.sum())
    if count:
        where = seen.labels[int(wrong.any(axis=(0, 1)).argmax())]
        yield Problem(
            "not finite", where, count, 0, f"{_many(count, 'draw')} {_are(count)} NaN or infinite, first of {where}.",
            "Look for a division by zero, a logarithm of zero or an overflow in the model; scale the data.",
        )  # fmt: skip


def _standing_still(seen: Seen) -> Iterator[Problem]:
    """Find chains that never move: of real numbers only, since a whole one may well be certain."""
    if seen.draws < 2:
        return
    still = (np.ptp(seen.values, axis=1) == 0) & seen.real  # (chains, numbers)
    whole = [name for name, places in _by_variable(seen).items() if still[:, places].all(axis=1).any()]
    if whole:
        count = int(still[:, _by_variable(seen)[whole[0]]].all(axis=1).sum())
        yield Problem(
            "standing still", whole[0], count, 0,
            f"{_many(count, 'chain')} never moved {whole[0]}{_others(len(whole))}.",
            "Look for a wrong start or a bound that holds it; give the sampler other initvals.",
        )  # fmt: skip


def _by_variable(seen: Seen) -> dict[str, list[int]]:
    """Return which numbers belong to each variable; a part of one may be constant by its making."""
    found: dict[str, list[int]] = {}
    for place, label in enumerate(seen.labels):
        found.setdefault(label.partition("[")[0], []).append(place)
    return found


def _too_few(seen: Seen) -> Iterator[Problem]:
    if seen.chains < 2:
        yield Problem(
            "one chain", "all", seen.chains, 2, "A single chain can't show whether it found the whole posterior.",
            "Run at least 2, better 4.",
        )  # fmt: skip
    if seen.draws < 4:
        yield Problem(
            "few draws", "all", seen.draws, 4,
            f"{_many(seen.draws, 'draw')} a chain {_are(seen.draws)} too few to judge.",
            "Draw at least some hundred.",
        )  # fmt: skip


def _disagreeing(seen: Seen) -> Iterator[Problem]:
    over = seen.rhat > RHAT_LIMIT
    if over.any():
        worst = int(np.nanargmax(seen.rhat))
        value, where = float(seen.rhat[worst]), seen.labels[worst]
        yield Problem(
            "R-hat", where, value, RHAT_LIMIT,
            f"The chains disagree about {where}{_others(int(over.sum()))}: "
            f"R-hat is {_over(value)}, above {RHAT_LIMIT}.",
            "Plot the chains: if they drift, tune and draw longer; if they sit in different places, the posterior "
            "has several peaks or the model can't tell parameters apart: change the model or its priors.",
        )  # fmt: skip


def _effective(seen: Seen, sizes: Floats, what: str, part: str) -> Iterator[Problem]:
    limit = ESS_LIMIT * seen.chains
    under = sizes < limit
    if under.any():
        worst = int(np.nanargmin(sizes))
        value, where = float(sizes[worst]), seen.labels[worst]
        total = seen.chains * seen.draws
        yield Problem(
            what, where, value, limit,
            f"The {total:,} draws of {where}{_others(int(under.sum()))} are worth {value:,.0f} independent ones for "
            f"{part} of the distribution, below {limit:,}.",
            f"Draw about {min(100, max(2, int(np.ceil(1.5 * limit / max(value, 1))))):,} times as many, or "
            "standardize the data and make the parameters less correlated.",
        )  # fmt: skip


def _divergences(seen: Seen) -> Iterator[Problem]:
    diverging = seen.stat("diverging")
    count = 0 if diverging is None else int(np.asarray(diverging, dtype=bool).sum())
    if count:
        yield Problem(
            "divergences", "all", count, 0,
            f"{_many(count, 'trajectory')} of {seen.chains * seen.draws:,} diverged: a narrow part of the posterior is "
            "not explored.",
            "Raise target_accept to 0.95; if they stay, write group effects non-centred "
            "(mu + tau * z with z ~ Normal(0, 1)) or give scales a narrower prior.",
        )  # fmt: skip


def _energy(seen: Seen) -> Iterator[Problem]:
    energy = seen.stat("energy")
    if energy is None or energy.ndim != 2 or seen.draws < 4:
        return
    values = bfmi(energy)
    if (values < BFMI_LIMIT).any():
        worst = int(np.nanargmin(values))
        yield Problem(
            "BFMI", f"chain {worst}", float(values[worst]), BFMI_LIMIT,
            f"Chain {worst} hardly changes its energy: its BFMI is {values[worst]:.2f}, below {BFMI_LIMIT}, so that "
            "the tails are reached slowly.",
            "Write group effects non-centred, or give scales lighter tails; longer tuning may help.",
        )  # fmt: skip


def bfmi(energy: npt.ArrayLike) -> Floats:
    """Return the Bayesian fraction of missing information of each chain.

    Parameters
    ----------
    energy : array-like of float, shape (chains, draws)
        The energy of each draw.

    Returns
    -------
    numpy.ndarray of float64, shape (chains,)
        About 1 where all is well; NaN where the energy never changes.
    """
    values = np.asarray(energy, dtype=np.float64)
    spread = values.var(axis=1)
    found: Floats = (np.diff(values, axis=1) ** 2).mean(axis=1) / np.where(spread > 0, spread, np.nan)
    return found


def _cut_off(seen: Seen) -> Iterator[Problem]:
    reached = seen.stat("reached_max_treedepth")
    share = 0.0 if reached is None else float(np.mean(np.asarray(reached, dtype=bool)))
    if share > DEPTH_LIMIT:
        yield Problem(
            "tree depth", "all", share, DEPTH_LIMIT,
            f"{share:.0%} of the trajectories were cut off before they turned: the steps are short for the posterior.",
            "Standardize the data, so that all parameters have a similar scale; or give nuts={'max_treedepth': 12}.",
        )  # fmt: skip


def k_limit(draws: int) -> float:
    """Return up to which Pareto k an approximation covers the posterior: 0.7, and less for few draws."""
    return float(min(0.7, 1 - 1 / np.log10(max(draws, 11))))


def _approximation(seen: Seen) -> Iterator[Problem]:
    k, limit = float(seen.attrs.get("pareto_k", np.nan)), k_limit(seen.draws)
    share = float(seen.attrs.get("ratio_efficiency", 0))
    if k > limit and share < GOOD_SHARE:
        yield Problem(
            "Pareto k", "all", k, limit,
            f"The normal approximation misses part of the posterior: its Pareto k is {_over(k)}, above {limit:.2f}.",
            "Use method='nuts', or take means as rough and intervals as too narrow.",
        )  # fmt: skip
    gain, error = (float(seen.attrs.get(name, 0)) for name in ("elbo_gain", "elbo_gain_se"))
    if gain > max(ELBO_LIMIT, 3 * error):
        yield Problem(
            "ELBO", "all", gain, ELBO_LIMIT,
            f"ADVI hasn't settled: its bound still rose by {gain:.2g} nats in the last tenth of the steps.",
            "Give it more steps, for example steps=100_000.",
        )  # fmt: skip


def _over(value: float) -> str:
    return f"{value:.2f}" if value < 10 or not np.isfinite(value) else f"{value:,.0f}"


def _many(count: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _others(count: int) -> str:
    """Return how many others share the fault with the one that is named."""
    return "" if count < 2 else f" and {_many(count - 1, 'other')}"
